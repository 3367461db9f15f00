"use strict";
// Sorts and filters the table of rows. Without a script it is whole, the best on validation first.
(() => {
  const table = document.querySelector("table.rows");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const tools = document.querySelector(".tools");
  const words = document.getElementById("filter");
  const kinds = Array.from(tools.querySelectorAll("input[type=checkbox]"));
  const shown = document.getElementById("shown");

  const value = (row, key) => {
    if (key === "order") return Number(row.dataset.order);
    const cell = Array.from(row.cells).find((one) => one.dataset.column === key);
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  const sort = (head, key, down) => {
    rows.sort((a, b) => {
      const x = value(a, key);
      const y = value(b, key);
      if (x === null || y === null) return (x === null) - (y === null); // what has no figure comes last
      return (down ? y - x : x - y) || value(a, "order") - value(b, "order");
    });
    body.append(...rows);
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  for (const head of table.tHead.rows[0].cells) {
    const text = head.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "head";
    button.append(...text.childNodes);
    text.replaceWith(button);
    const key = head.dataset.key;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      // The best first: the least where less is better.
      const first = !("lower" in head.dataset) && key !== "order";
      sort(head, key, now === null ? first : now === "ascending");
    });
  }

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const of = new Set(kinds.filter((one) => one.checked).map((one) => one.value));
    let count = 0;
    for (const row of rows) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !(of.has(row.dataset.kind) && wanted.every((word) => text.includes(word)));
      count += !row.hidden;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  };
  words.addEventListener("input", filter);
  for (const one of kinds) one.addEventListener("change", filter);
  tools.hidden = false;
})();
