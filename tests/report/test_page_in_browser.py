"""The page in a real Chromium: what its script does, and that it asks for nothing and complains of nothing."""

import json
import re
import shutil
import subprocess

import pytest

from mmkit.records.file import RecordFile
from mmkit.report.page.page import page
from tests.report.test_page import SUITE, record

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium to test the page in a browser"),
]
PROBE = """
<script>
const log = [];
window.addEventListener("error", (one) => log.push(String(one.message)));
document.addEventListener("securitypolicyviolation", (one) => log.push(one.blockedURI));
window.addEventListener("load", () => {
  const order = () => Array.from(document.querySelectorAll("table.rows tbody tr"))
    .filter((one) => !one.hidden).map((one) => one.dataset.order);
  const press = (key) => document.querySelector(`th[data-key="${key}"] button`).click();
  const found = {first: order()};
  press("time"); found.fastest = order();
  press("time"); found.slowest = order();
  press("test"); found.best = order();
  found.sorted = document.querySelector('th[data-key="test"]').getAttribute("aria-sort");
  press("order"); found.again = order();
  const words = document.getElementById("filter");
  words.value = "only: photo"; words.dispatchEvent(new Event("input")); found.filtered = order();
  found.told = document.getElementById("shown").textContent;
  words.value = ""; words.dispatchEvent(new Event("input"));
  document.querySelector('input[value="single input"]').click(); found.fusions = order();
  document.documentElement.style.width = "390px";
  found.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.log = log;
  found.loaded = performance.getEntriesByType("resource").map((one) => one.name.slice(0, 40));
  document.body.innerHTML = "";
  document.body.append(Object.assign(document.createElement("pre"), {id: "found", textContent: JSON.stringify(found)}));
});
</script>
"""


def in_browser(tmp_path, text):
    """What the probe found in the page, once it was loaded."""
    file = tmp_path / "page.html"
    file.write_text(text.replace("</title>", "</title>" + PROBE, 1))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", "--virtual-time-budget=5000", "--window-size=390,800", file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(found.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def test_the_table_sorts_and_filters_and_nothing_is_asked_for(tmp_path):
    file = RecordFile(tmp_path / "records.jsonl")
    for one in SUITE:
        file.append(one)
    found = in_browser(tmp_path, page(tmp_path))
    # By the lengths of their names, which their speeds hang on: attention, concat, only:photo, only:title.
    assert found["first"] == found["again"] == ["1", "2", "3", "4"]
    assert found["fastest"] == ["2", "1", "3", "4"]
    assert found["slowest"] == ["3", "4", "1", "2"]
    assert found["best"] == ["1", "2", "3", "4"]
    assert found["sorted"] == "descending"
    assert (found["filtered"], found["told"]) == (["3"], "1 of 4")
    assert found["fusions"] == ["1", "2"]
    assert (found["log"], found["loaded"]) == ([], [])
    assert found["wider"] <= 0


def test_names_that_look_like_code_do_nothing(tmp_path):
    file = RecordFile(tmp_path / "records.jsonl")
    evil = '</script><img src=x onerror="document.title=1"><script>throw 1</script>'
    for fusion in ("concat", "only:photo"):
        for seed in (0, 1):
            file.append(record(fusion, seed, task=evil, names=[evil, "b"], head=evil))
    found = in_browser(tmp_path, page(tmp_path))
    assert (found["log"], found["loaded"]) == ([], [])
