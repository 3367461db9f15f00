"""What differences of speed can be seen: from the twins of all rows, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmkit.records.record import Speed, Twin
from mmkit.report.notes import notes
from mmkit.report.page.page import page
from mmkit.report.sight import percent, sights
from mmkit.report.summary import rows
from tests.report.records import record
from tests.report.test_page import SUITE, Parsed, suite


def twin(ratio=1.01, low=0.99, high=1.03, visible=0.04):
    return Twin(ratio, low, high, 0.05, 1.0, visible)


def speeds(*twins):
    return [
        record(f"f{at}", 0, 0.9, throughput=Speed(1.0, 1.0, {}, 64, 32, {"inference": one, "train": twin()}))
        for at, one in enumerate(twins)
    ]


def test_the_worst_row_says_what_can_be_seen():
    first, second = sights(rows(speeds(twin(), twin(0.95, 0.9, 1.01, 0.087))))
    assert first.apart == pytest.approx(0.05)
    assert (first.visible, first.clear) == (0.087, True)
    assert first.sentence() == (
        "Speed of predictions: each model was timed twice (A/A), and came out 5.0 % from itself at most over all "
        "rounds; single rounds lay further apart, by which differences between rows that are smaller than 8.7 % cannot "
        "be seen."
    )
    assert second.what == "training steps"


def test_with_too_few_rounds_nothing_can_be_told():
    one = sights(rows(speeds(twin(1.2, None, None, None), twin())))[0]
    assert one.visible is None
    assert one.sentence().endswith("with fewer than six rounds no difference between rows can be told from chance.")


@pytest.mark.parametrize(("low", "high", "clear"), [(1.03, 1.2, False), (0.8, 0.97, False), (1.01, 1.2, True)])
def test_a_model_that_differs_from_itself_is_not_clear(low, high, clear):
    assert sights(rows(speeds(twin(1.1, low, high))))[0].clear is clear


def test_that_compiled_steps_were_timed_as_they_are_is_said():
    records = [replace(one, run={"training": {"compile": True}}) for one in speeds(twin())]
    predictions, steps = (one.sentence() for one in sights(rows(records)))
    assert predictions.startswith("Speed of predictions: each model")
    assert steps.startswith("Speed of training steps (as they are; those of the trainings were compiled): each model")


def test_that_rows_were_timed_in_several_measurements_is_said():
    """As where a folder went on with more fusions."""
    found = rows(speeds(twin(), twin(), replace(twin(), reference_ms=1.1)))
    (told,) = [note for note in notes(found) if note.startswith("Speeds are of")]
    assert told.startswith("Speeds are of 2 measurements, each with rows in turns of its own: f0, f1; f2. ")
    assert not any(note.startswith("Speeds are of") for note in notes(rows(speeds(twin(), twin()))))


def test_without_times_nothing_is_said():
    assert sights(rows([record("late", 0, 0.9)])) == []
    assert sights(rows([record("late", 0, 0.9, throughput=Speed(1.0, 1.0, {}, 64, 32))])) == []


def test_shares_in_words():
    assert [percent(share) for share in (0.0123, 0.0994, 0.0996, 0.5)] == ["1.2 %", "9.9 %", "10 %", "50 %"]


@pytest.mark.parametrize(("visible", "mark"), [(0.04, "good"), (0.4, "mind"), (None, "mind")])
def test_the_page_says_it_where_numbers_are_trusted(tmp_path, visible, mark):
    one = twin(visible=visible)
    twins = {"inference": one, "train": one}
    records = [replace(each, throughput=replace(each.throughput, twins=twins)) for each in SUITE]
    text = page(suite(tmp_path, records))
    assert sights(rows(records))[0].sentence() in Parsed(text).text
    lines = [line for line in text.splitlines() if "<strong>A/A" in line]
    assert len(lines) == 2
    assert all(f'class="{mark}"' in line for line in lines)
