"use strict";
// The form is made of what GET models says of each input: how its value travels, and its columns where it has some.
// Nothing is asked of any other machine, and what is typed leaves this page only as the request.

const $ = (id) => document.getElementById(id);
const SHOWN = 10; // classes that are shown at first
let models = [];
let chosen = 0;
let token = sessionStorage.getItem("mmkit-token") || "";

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function asked(address, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(address, { ...options, headers });
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { error: { reason: `the service answered ${response.status}, and no JSON` } };
  }
  return { status: response.status, document };
}

async function begin() {
  const { status, document: found } = await asked("models");
  $("entrance").hidden = status !== 401;
  if (status === 401) {
    $("denied").textContent = token ? "That is not the token." : "";
    $("token").focus();
    return;
  }
  if (status !== 200) {
    $("about").textContent = found.error.reason;
    return;
  }
  models = found.models;
  $("model").replaceChildren(...models.map((one, place) => made("option", { value: place, textContent: one.name })));
  $("choice").hidden = models.length < 2;
  show();
}

// Models that read the same are asked together, and their answers stand beside each other.
function alike(one, other) {
  const read = (model) => JSON.stringify(model.inputs.map((i) => [i.name, i.travels, i.columns.map((c) => c.name)]));
  return read(one) === read(other);
}

function show() {
  const model = models[chosen];
  const kinds = { classes: "one of", labels: "any of", scalar: "numbers", text: "a text" };
  const names = model.target.names.slice(0, 6).join(", ") + (model.target.names.length > 6 ? ", ..." : "");
  const what = kinds[model.target.kind] || model.target.kind;
  document.title = `${model.name} - mmkit`;
  $("title").textContent = models.length > 1 ? "Ask the models" : `Ask ${model.name}`;
  $("about").textContent = `${model.label}: from ${model.inputs.map((one) => one.name).join(", ")} to ${what} ${names}`;
  $("inputs").replaceChildren(...model.inputs.map(field));
  $("explaining").hidden = !model.explains;
  $("sample").hidden = false;
  $("results").replaceChildren();
  $("program").hidden = false;
  $("command").textContent = command(model);
}

function command(model) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = model.inputs.map((one) => {
    if (one.travels === "bytes") return quoted(`${one.name}=@FILE${one.extensions[0] || ""}`);
    if (one.travels === "text") return quoted(`${one.name}=some words`);
    if (one.travels === "columns") {
      const cells = one.columns.slice(0, 3).map((column) => [column.name, column.choices[0] || null]);
      return quoted(`${one.name}=${JSON.stringify(Object.fromEntries(cells))}`);
    }
    return quoted(`${one.name}=${JSON.stringify(one.example)}`);
  });
  const address = new URL(`models/${encodeURIComponent(model.name)}/predict`, location.href);
  const key = token ? " -H 'Authorization: Bearer TOKEN'" : "";
  return `curl${key} ${address}${model.explains ? "?explain=true" : ""} \\\n  -F ${parts.join(" \\\n  -F ")}`;
}

function field(input) {
  const legend = made("legend", {}, `${input.name} `, made("span", { className: "soft", textContent: input.modality }));
  const error = made("p", { className: "error", id: `error-${input.name}` });
  error.setAttribute("role", "alert");
  const box = made("fieldset", {}, legend);
  box.dataset.input = input.name;
  const make = { bytes: file, text: text, columns: columns, json: json }[input.travels];
  const { parts, value } = make(input);
  box.append(...parts, error);
  box.value = value;
  return box;
}

function labelled(control, name) {
  control.setAttribute("aria-label", name);
  control.setAttribute("aria-describedby", `error-${name}`);
  return control;
}

function file(input) {
  const control = labelled(made("input", { type: "file", accept: input.extensions.join(",") }), input.name);
  const seen = made("div", { className: "seen" });
  const drop = made("label", { className: "drop" }, control);
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    control.files = event.dataTransfer.files;
    preview(control.files[0], seen);
  });
  control.addEventListener("change", () => preview(control.files[0], seen));
  return { parts: [drop, seen], value: () => control.files[0] || null };
}

// What a file is, its browser says; of what it does not know, the name and the size are enough.
async function preview(given, seen) {
  for (const one of seen.querySelectorAll("[src]")) URL.revokeObjectURL(one.src);
  seen.replaceChildren();
  if (!given) return;
  const about = made("p", { className: "soft", textContent: `${given.name}, ${size(given.size)}` });
  const kind = given.type.split("/")[0];
  if (kind === "image") {
    const image = made("img", { alt: `preview of ${given.name}`, src: URL.createObjectURL(given) });
    image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
    image.addEventListener("error", () => image.remove());
    seen.append(image);
  } else if (kind === "audio") {
    const canvas = made("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `waveform of ${given.name}`);
    seen.append(canvas, made("audio", { controls: true, src: URL.createObjectURL(given) }));
    try {
      const sound = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await given.arrayBuffer());
      draw(canvas, [sound.getChannelData(0)], true);
      about.textContent += `, ${sound.duration.toFixed(2)} s`;
    } catch {
      canvas.remove(); // a kind of sound that this browser does not play; the model may read it
    }
  } else if (kind === "video") {
    seen.append(made("video", { controls: true, src: URL.createObjectURL(given) }));
  }
  seen.append(about);
}

function size(bytes) {
  return bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function text(input) {
  const control = labelled(made("textarea", { rows: 3, spellcheck: false }), input.name);
  return { parts: [control], value: () => (control.value.trim() ? control.value : null) };
}

function json(input) {
  const example = input.example === null ? "" : JSON.stringify(input.example);
  const control = labelled(made("textarea", { rows: 4, className: "code", spellcheck: false }), input.name);
  control.placeholder = example ? `as in ${example}` : "JSON";
  const seen = made("div", { className: "seen" });
  const changed = () => drawn(control.value, seen);
  control.addEventListener("input", changed);
  const open = made("input", { type: "file", accept: ".json,.txt,application/json" });
  open.setAttribute("aria-label", `open a file of JSON for ${input.name}`);
  open.addEventListener("change", async () => {
    if (open.files[0]) control.value = (await open.files[0].text()).trim();
    open.value = "";
    changed();
  });
  const value = () => {
    if (!control.value.trim()) return null;
    try {
      JSON.parse(control.value);
    } catch (error) {
      throw new Error(`this is no JSON: ${error.message}`);
    }
    return control.value;
  };
  return { parts: [control, made("label", { className: "small" }, "Open a file", open), seen], value };
}

// Numbers over time, one curve a channel.
function drawn(written, seen) {
  seen.replaceChildren();
  let rows;
  try {
    rows = JSON.parse(written);
  } catch {
    return;
  }
  if (!Array.isArray(rows) || rows.length < 2) return;
  const steps = rows.map((row) => (Array.isArray(row) ? row : [row]));
  const count = steps[0].length;
  if (!steps.every((row) => row.length === count && row.every((one) => typeof one === "number"))) return;
  const canvas = made("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${steps.length} steps of ${count} numbers, drawn as curves`);
  seen.append(canvas);
  draw(canvas, Array.from({ length: count }, (_, channel) => steps.map((row) => row[channel])), false);
  seen.append(made("p", { className: "soft", textContent: `${steps.length} steps, ${count} a step` }));
}

function draw(canvas, channels, sound) {
  const width = (canvas.width = Math.max(canvas.clientWidth, 200) * devicePixelRatio);
  const height = (canvas.height = 80 * devicePixelRatio);
  const context = canvas.getContext("2d");
  const colours = ["--for", "--against", "--soft"].map((one) => getComputedStyle(canvas).getPropertyValue(one));
  let low = Infinity;
  let high = -Infinity;
  for (const channel of channels) for (const one of channel) (low = Math.min(low, one)), (high = Math.max(high, one));
  if (sound) (high = Math.max(Math.abs(low), Math.abs(high), 1e-6)), (low = -high);
  const y = (value) => height * (0.95 - 0.9 * ((value - low) / (high - low || 1)));
  channels.slice(0, 12).forEach((channel, place) => {
    context.strokeStyle = colours[place % colours.length];
    context.lineWidth = devicePixelRatio;
    context.beginPath();
    if (channel.length > 2 * width) {
      for (let x = 0; x < width; x += 1) {
        const part = channel.slice(Math.floor((x * channel.length) / width), Math.floor(((x + 1) * channel.length) / width));
        context.moveTo(x, y(Math.min(...part)));
        context.lineTo(x, y(Math.max(...part)) - 0.5);
      }
    } else {
      channel.forEach((value, at) => context.lineTo((at * width) / (channel.length - 1), y(value)));
    }
    context.stroke();
  });
}

function columns(input) {
  const controls = input.columns.map((column) => {
    const id = `column-${input.name}-${column.name}`;
    const control = made("input", { id, autocomplete: "off" });
    control.setAttribute("aria-describedby", `error-${input.name}`);
    const shown = { number: "a number", date: "2024-05-01 or 2024-05-01T10:00", numbers: "1, 2, 3", tags: "one, two" };
    control.placeholder = shown[column.kind] || "";
    if (column.decimal === "comma") control.placeholder = "a number, as 1.234,5";
    if (column.kind === "number") control.inputMode = "decimal";
    const label = made("label", { htmlFor: id }, column.name, control);
    if (column.choices.length) {
      const list = made("datalist", { id: `${id}-list` }, ...column.choices.map((value) => made("option", { value })));
      control.setAttribute("list", list.id);
      control.placeholder = column.choices.slice(0, 3).join(", ") + (column.choices.length > 3 ? ", ..." : "");
      label.append(list);
    }
    return { column, control, label };
  });
  const value = () => {
    const cells = {};
    for (const { column, control } of controls) {
      const written = control.value.trim();
      if (written) cells[column.name] = cell(column, written);
    }
    return Object.keys(cells).length ? JSON.stringify(cells) : null;
  };
  return { parts: [made("div", { className: "columns" }, ...controls.map((one) => one.label))], value };
}

// What is no number goes as it was written: the service reads it as the table of training was, or says why it cannot.
function cell(column, written) {
  const several = written.replace(/^\[|\]$/g, "").split(",").map((one) => one.trim()).filter(Boolean);
  const number = (one) => (Number.isFinite(Number(one)) ? Number(one) : one);
  if (column.kind === "number") return column.decimal === "comma" ? written : number(written);
  if (column.kind === "numbers") return several.map(number);
  return column.kind === "tags" ? several : written;
}

function wrong(name, reason) {
  const box = [...document.querySelectorAll("fieldset")].find((one) => one.dataset.input === name);
  if (!box) return false;
  box.classList.add("wrong");
  box.querySelector(".error").textContent = reason;
  return true;
}

async function ask(event) {
  event.preventDefault();
  for (const box of document.querySelectorAll("fieldset")) {
    box.classList.remove("wrong");
    box.querySelector(".error").textContent = "";
  }
  const form = new FormData();
  let faults = 0;
  for (const box of document.querySelectorAll("fieldset")) {
    try {
      const value = box.value();
      if (value !== null) form.append(box.dataset.input, value);
    } catch (error) {
      faults += 1;
      wrong(box.dataset.input, error.message);
    }
  }
  if (faults) return;
  $("ask").disabled = true;
  $("results").replaceChildren(made("p", { className: "busy", textContent: "The model answers ..." }));
  try {
    const together = [models[chosen], ...models.filter((one, place) => place !== chosen && alike(one, models[chosen]))];
    const found = await Promise.all(together.map((model) => one(model, form)));
    $("results").replaceChildren(...found);
  } finally {
    $("ask").disabled = false;
  }
}

async function one(model, form) {
  const explain = model.explains && $("explain").checked ? "?explain=true" : "";
  let told;
  try {
    told = await asked(`models/${encodeURIComponent(model.name)}/predict${explain}`, { method: "POST", body: form });
  } catch (error) {
    return card(model, made("p", { className: "error", textContent: `the service cannot be reached: ${error.message}` }));
  }
  if (told.status === 401) {
    begin();
    return card(model, made("p", { className: "error", textContent: "The token is no longer taken." }));
  }
  const answer = told.document.answers ? told.document.answers[0] : told.document;
  if (answer.error) {
    if (answer.error.input) wrong(answer.error.input, answer.error.reason);
    const said = answer.error.input ? `${answer.error.input}: ${answer.error.reason}` : answer.error.reason;
    return card(model, made("p", { className: "error", textContent: said }));
  }
  return card(model, ...answered(model, answer));
}

function card(model, ...parts) {
  const head = models.length > 1 ? [made("h2", { textContent: model.name })] : [];
  return made("article", { className: "card" }, ...head, ...parts);
}

function answered(model, answer) {
  const said = (words) => made("p", { className: "answer", textContent: words });
  const parts = [];
  if ("label" in answer) parts.push(said(answer.label));
  else if ("labels" in answer) parts.push(said(answer.labels.join(", ") || "none of them"));
  else if ("value" in answer) parts.push(said(figure(answer.value)));
  else if ("text" in answer) parts.push(said(answer.text));
  if (answer.probabilities) parts.push(shares(answer.probabilities));
  if (answer.values) parts.push(rows(answer.values.map((value, at) => [model.target.names[at] || at, figure(value)])));
  const known = ["label", "labels", "value", "values", "text", "probabilities", "explanation"];
  const others = Object.entries(answer).filter(([name]) => !known.includes(name));
  if (others.length) parts.push(made("pre", { textContent: JSON.stringify(Object.fromEntries(others), null, 1) }));
  if (answer.explanation) parts.push(...gave(model, answer.explanation));
  return parts;
}

function figure(value) {
  return Number(value.toPrecision(4)).toLocaleString("en");
}

function row(name, track, written, first) {
  const line = made("tr", { className: first ? "first" : "" }, made("th", { scope: "row", textContent: name }));
  if (track) line.append(made("td", {}, track));
  line.append(made("td", { className: "number", textContent: written }));
  return line;
}

function rows(pairs) {
  return made("table", {}, made("tbody", {}, ...pairs.map(([name, written]) => row(name, null, written))));
}

function shares(probabilities) {
  const sorted = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  const body = made("tbody");
  const line = ([name, share], place) => {
    const bar = made("span");
    bar.style.width = `${Math.max(100 * share, 0.5)}%`;
    return row(name, made("div", { className: "track" }, bar), `${(100 * share).toFixed(1)} %`, place === 0);
  };
  body.append(...sorted.slice(0, SHOWN).map(line));
  const table = made("table", {}, body);
  if (sorted.length <= SHOWN) return table;
  const more = made("button", { type: "button", textContent: `Show all ${sorted.length}` });
  more.addEventListener("click", () => {
    body.append(...sorted.slice(SHOWN).map((one) => line(one, 1)));
    more.remove();
  });
  return made("div", {}, table, more);
}

// By how much the output is higher with an input than without it.
function gave(model, explanation) {
  const share = model.target.kind !== "scalar";
  const found = Object.entries(explanation.contributions).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const most = share ? 1 : Math.max(...found.map(([, value]) => Math.abs(value)), 1e-9);
  const lines = found.map(([name, value]) => {
    const bar = made("span", { className: value < 0 ? "against" : "" });
    const width = Math.max((50 * Math.abs(value)) / most, 0.5);
    bar.style.width = `${width}%`;
    bar.style.left = value < 0 ? `${50 - width}%` : "50%";
    const sign = value < 0 ? "\u2212" : "+";
    const written = share ? (100 * Math.abs(value)).toFixed(1) : figure(Math.abs(value));
    return row(name, made("div", { className: "track" }, bar, made("i")), sign + written);
  });
  const unit = share ? "points" : "its unit";
  const note = `How much higher ${share ? "the probability of " : ""}${explanation.output} is with the input than without it, in ${unit}. Inputs that say the same stand in for each other, so these need not add up.`;
  return [
    made(models.length > 1 ? "h3" : "h2", { className: "gave", textContent: "What each input gave" }),
    made("table", {}, made("tbody", {}, ...lines)),
    made("p", { className: "soft", textContent: note }),
  ];
}

$("model").addEventListener("change", () => {
  chosen = Number($("model").value);
  show();
});
$("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("mmkit-token", token);
  begin();
});
$("sample").addEventListener("submit", ask);
$("sample").addEventListener("reset", () => setTimeout(show));
$("sample").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("sample").requestSubmit();
});
begin().catch((error) => ($("about").textContent = `the service cannot be reached: ${error.message}`));
