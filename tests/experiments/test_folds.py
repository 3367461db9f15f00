"""A suite in folds: every row is tested once, all is chosen inside each fold, and a stopped suite goes on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

import mmkit
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.records.record import Fold
from mmkit.registry.catalog import installed
from mmkit.sources.memory import hold
from mmkit.tasks.own_data import OwnData

WORDS = ("the cat sat on a mat", "dogs ran over the old hill", "it rained a lot in the town")


def table(rows=60):
    return {
        "review": [f"{WORDS[row % 3]} {'good' if row % 2 else 'bad'} day {row}" for row in range(rows)],
        "price": [float(row * 7 % 31) for row in range(rows)],
        "label": ["yes" if row % 2 else "no" for row in range(rows)],
    }


def bench(out, **rest):
    return mmkit.bench(
        data=table(), target="label", out=out, cost=False, yardsticks=False, progress=False,
        **{"folds": 3, "fusion": "concat", "seeds": 1, "training": {"epochs": 2, "lr": 2e-3}, **rest},
    )  # fmt: skip


def test_every_row_is_tested_once_by_a_model_that_has_not_seen_it(tmp_path):
    suite = bench(tmp_path)
    assert [record.fold for record in suite.records[:3]] == [Fold(1, 3)] * 3
    assert Counter(record.fold.number for record in suite.records) == {1: 3, 2: 3, 3: 3}
    (row,) = (row for row in suite.rows if row.fusion == "concat")
    assert len(row.trainings) == 3
    (whole,) = row.records
    assert whole.samples.test == 60
    assert not np.isnan(whole.scores.values).any()
    assert whole.metrics["accuracy"] == pytest.approx(float(np.mean(whole.scores.values)))
    splits = parquet.read_table(tmp_path / "splits.parquet").to_pylist()
    tested = [one for one in splits if one["split"] == "test"]
    assert Counter(int(one["id"]) for one in tested) == dict.fromkeys(range(60), 1)
    for number in (1, 2, 3):
        of_fold = [one["id"] for one in splits if one["fold"] == number]
        assert len(set(of_fold)) == len(of_fold) == 60
    # A score stands at the place of its row: here those of one fold are of the rows that the table names.
    first = next(record for record in suite.records if record.fold.number == 1)
    there = np.flatnonzero(~np.isnan(first.scores.values))
    assert sorted(there.tolist()) == sorted(int(one["id"]) for one in tested if one["fold"] == 1)


def test_a_fold_is_the_run_of_a_task_of_its_own(tmp_path):
    suite = bench(tmp_path, baselines=False)
    options = ["task.folds=3", "task.fold=2"]
    asked = plan(
        installed(),
        task=suite.plan.task,
        fusions=["concat"],
        options=options,
        training={"epochs": 2, "lr": 2e-3},
        seeds=1,
        baselines=False,
    )
    second = next(record for record in suite.records if record.fold.number == 2)
    alone, _ = execute(replace(asked.runs()[0], seed=second.seed))
    assert (alone.id, alone.fold) == (second.id, Fold(2, 3))
    assert alone.metrics == second.metrics


def test_a_suite_that_was_stopped_goes_on(tmp_path):
    whole = bench(tmp_path)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    (tmp_path / "records.jsonl").write_text("".join(f"{line}\n" for line in lines[:4]))
    again = bench(tmp_path)
    after = [json.loads(line)["id"] for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert after == [json.loads(line)["id"] for line in lines]
    assert [one.metrics for one in again.records] == [one.metrics for one in whole.records]


def test_rates_are_searched_in_each_fold(tmp_path):
    suite = bench(tmp_path, baselines=False, training={"epochs": 2, "rates": [1e-3, 1e-2]})
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    searches = [line for line in lines if line["purpose"] == "search"]
    assert Counter(line["fold"]["number"] for line in searches) == {1: 2, 2: 2, 3: 2}
    for record in suite.records:
        of_fold = {line["id"] for line in searches if line["fold"]["number"] == record.fold.number}
        assert {tried.id for tried in record.search.tried} == of_fold


def test_a_folder_is_of_folds_or_of_one_split(tmp_path):
    bench(tmp_path, baselines=False)
    with pytest.raises(UsageError, match="holds records of 3 folds, and now it is one split; choose another --out"):
        bench(tmp_path, baselines=False, folds=None)
    with pytest.raises(UsageError, match="holds records of 3 folds, and now it is 4 folds"):
        bench(tmp_path, baselines=False, folds=4)


def test_what_folds_cannot_do_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"--save keeps one model .* leave out --folds to save models"):
        bench(tmp_path, save=True)
    with pytest.raises(UsageError, match=r"--folds 3 tests every row, .* --time price says that this must not be"):
        bench(tmp_path, time="price")
    with pytest.raises(UsageError, match="one model is trained, and 3 folds are for bench; leave out folds"):
        mmkit.fit(data=table(), target="label", folds=3, progress=False)
    with pytest.raises(UsageError, match=r"each of 3 folds has splits of its own, .* leave out --folds"):
        OwnData(data=hold(table()), target="label", folds=3).split("test")


def test_the_verdict_joins_what_each_fold_chose_by_its_own_validation(tmp_path):
    suite = bench(tmp_path, fusion=["concat", "late"], seeds=2)
    verdict = suite.verdict
    best = []
    for number in (1, 2, 3):
        of_fold = [one for one in suite.records if one.fold.number == number and not one.fusion.startswith("only:")]
        raced = [one for one in of_fold if one.phase == "search"]
        assert [one.metrics for one in raced] == [{}] * 4
        losses = {
            fusion: np.mean([one.validation["log_loss"] for one in raced if one.fusion == fusion])
            for fusion in ("concat", "late")
        }
        chosen = min(losses, key=losses.__getitem__)
        best.append([one for one in of_fold if one.phase == "confirm"])
        assert {one.fusion for one in best[-1]} == {chosen}
    right = sum(np.nansum(one.scores.values) for records in best for one in records)
    assert verdict.scores[0] == pytest.approx(right / 120)
    assert (verdict.folds, verdict.samples, verdict.seeds) == (3, 60, 2)
    assert "Chosen on validation in each of 3 folds." in verdict.sentence()
    seeds = {one.fold.number: one.seed for one in suite.records if (one.phase, one.index) == ("confirm", 0)}
    assert len(set(seeds.values())) == 3  # of other rows
    assert verdict.sentence().startswith("On these rows, ")
    assert verdict.sentence().endswith("so the margin does not hold for other data.")


def test_yardsticks_are_fitted_in_each_fold(tmp_path):
    pytest.importorskip("sklearn")
    suite = mmkit.bench(
        data=table(), target="label", out=tmp_path, cost=False, yardsticks=True, progress=False, folds=3, seeds=1,
        fusion="concat", training={"epochs": 1, "lr": 2e-3}, baselines=False,
    )  # fmt: skip
    beside = [record for record in suite.records if record.purpose == "yardstick"]
    assert [record.fold for record in beside] == [Fold(number, 3) for number in (1, 2, 3)]
    (row,) = (row for row in suite.rows if row.yardstick)
    assert row.records[0].samples.test == 60


def test_a_fold_that_failed_is_told_and_the_verdict_leaves_its_seed_out(tmp_path):
    suite = bench(tmp_path)
    records = [
        replace(one, status="failed", error="DataError: broken")
        if one.fold.number == 2 and one.fusion == "concat"
        else one
        for one in suite.records
    ]
    row = next(row for row in replace(suite, records=records).rows if row.fusion == "concat")
    assert (row.records, row.errors) == ([], ["fold 2 of 3: DataError: broken"])
