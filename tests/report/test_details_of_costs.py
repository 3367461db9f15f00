"""Costs in detail as tables and in the page: every figure is that of the record."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import pytest

from mmkit.records.breakdown import BatchSize, Breakdown, Closure, Mode, Part, Saving, Sweep
from mmkit.records.controls import Contribution, Controls, Noise, Subset
from mmkit.records.file import RecordFile
from mmkit.records.record import Record
from mmkit.report.breakdown import closure_of, details, time_of
from mmkit.report.page.page import page
from mmkit.report.summary import rows
from tests.report.test_page import SUITE, Parsed, suite

BREAKDOWN = Breakdown(
    64,
    0.0784,
    [Part("encoder of photo", 0.0293, 45_500), Part("fusion", 0.004, 0), Part("rest", 0.0467, 0)],
    Closure(1.02, 0.99, 1.04, 0.027, closes=True),
    [
        Saving("photo", 0.0324, 0.031, 0.034, 0.413, 62_700, 1_572_864),
        Saving("title", reason="fusion tensor takes 2 inputs; there are 1"),
    ],
    Sweep([BatchSize(1, 2080.0, 1850.0, 2360.0, None), BatchSize(2, 2110.0, 1900.0, 2360.0, 400_000)], "memory", 2),
    [
        Mode("eager", 12_800.0),
        Mode("compiled", 23_600.0, 0.55, 0.54, 0.56, 81.5, 1e-7),
        Mode("cuda graph", refused="CUDA graphs need a CUDA device; this is cpu"),
    ],
)
CONTROLS = Controls(
    [Subset([], 0.5), Subset(["photo"], 0.8), Subset(["title"], 0.7), Subset(["photo", "title"], 0.96)],
    [Noise("photo", [0.5, 1.0], [0.8, 0.6]), Noise("title", [0.5, 1.0], [0.9, 0.8])],
    [Contribution("photo", 0.28, 0.0), Contribution("title", 0.18, 0.0)],
)


def detailed(**given):
    chosen = {"controls": CONTROLS, "breakdown": replace(BREAKDOWN, **given)}
    return [replace(one, **chosen) if one.fusion == "attention" else one for one in SUITE]


def cells(sheet):
    return {line[0]: line[1:] for line in sheet.lines}


def test_each_table_has_the_figures_of_the_record():
    savings, parts, sizes, modes = details(rows(detailed()))
    assert cells(savings) == {
        "photo": ["28.0 ± 0.0", "32.4 us (31 to 34)", "41 %", "62.7k", "1.5 MiB"],
        "title": ["18.0 ± 0.0", "-", "-", "-", "-"],
    }
    assert "fusion tensor takes 2 inputs" in savings.title
    assert cells(parts) == {
        "encoder of photo": ["29.3 us", "37 %", "45.5k"],
        "fusion": ["4 us", "5 %", "-"],
        "rest": ["46.7 us", "58 %", "-"],
    }
    assert cells(sizes) == {
        "1": ["2.08k", "1.85k to 2.36k", "0.481 ms", "-"], "2": ["2.11k", "1.9k to 2.36k", "0.948 ms", "0.4 MiB"]
    }  # fmt: skip
    assert "2 samples reach 95 % of the best" in sizes.title
    assert "memory would not have sufficed" in sizes.title
    assert cells(modes) == {"eager": ["12.8k", "1", "-"], "compiled": ["23.6k", "0.55 (0.54 to 0.56)", "81.5 s"]}
    assert modes.title.endswith("not cuda graph: CUDA graphs need a CUDA device; this is cpu")


def test_what_was_not_measured_has_no_table():
    assert details(rows(SUITE)) == []
    assert len(details(rows(detailed(sweep=None, modes=[])))) == 2


@pytest.mark.parametrize(
    ("closure", "said"),
    [
        (Closure(1.02, 0.99, 1.04, 0.027, closes=True), "102.0 % of the whole (99.0 to 104.0)"),
        (Closure(1.02, 0.99, 1.04, 0.027, closes=True), "2.7 % apart (A/A): it closes"),
        (Closure(0.7, 0.65, 0.75, 0.02, closes=False), "it does NOT close"),
        (Closure(0.7, None, None, None, closes=False), "too few rounds to say"),
    ],
)
def test_closure_in_words(closure, said):
    assert said in closure_of(closure)


@pytest.mark.parametrize(
    ("ms", "text"), [(0.0293, "29.3 us"), (0.1, "0.1 ms"), (12.34, "12.3 ms"), (1500, "1.5 s"), (-0.002, "-2 us")]
)
def test_times_have_the_unit_that_suits(ms, text):
    assert time_of(ms) == text


def test_a_line_of_records_keeps_them(tmp_path):
    one = detailed()[0]
    file = RecordFile(tmp_path / "records.jsonl")
    file.append(one)
    (again,) = file.read().values()
    assert again.breakdown == BREAKDOWN
    assert isinstance(again, Record)


def test_the_page_has_every_cell_and_the_curve(tmp_path):
    text = page(suite(tmp_path, detailed()))
    shown = Parsed(text)
    for sheet in details(rows(detailed())):
        assert escape(f"{sheet.title}.", quote=False) in text
        for line in sheet.lines:
            assert f"<bdi>{line[0]}</bdi></th>" + "".join(f"<td>{cell}</td>" for cell in line[1:]) in text
    assert "#detail" in text
    told = next(given["aria-label"] for tag, given in shown.tags if given.get("aria-label", "").count("another sample"))
    points = "photo 96.0 at 0 %, 80.0 at 50 %, 60.0 at 100 %; title 96.0 at 0 %, 90.0 at 50 %, 80.0 at 100 %"
    assert told.endswith(points)


def test_a_page_without_them_says_so(tmp_path):
    shown = Parsed(page(suite(tmp_path, SUITE)))
    assert "Costs in detail, by part, input and size of the batch: bench --protocol full measures them" in shown.text
    assert "detail" not in shown.ids()
