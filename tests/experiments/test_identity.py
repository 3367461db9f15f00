"""A record is never taken for one of other data or other code, and what is asked of an old folder is done or said."""

import importlib
import json
import os
import re
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from pyarrow import parquet

import mmkit
import mmkit.cli
from mmkit.contract import Samples
from mmkit.errors import DataError, UsageError
from mmkit.experiments.costs import CombinationCost, Costs
from mmkit.experiments.saving import model_folder
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.records.record import Cost, Speed

SMALL = {"epochs": 2, "min_steps": 0, "lr": 2e-3}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """Costs have tests of their own."""
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda *_, **__: Costs({}, {}))


@pytest.fixture
def task(tmp_path):
    """A task of one input of each kind, and a dict in which a test may exchange its columns."""
    import soundfile
    from PIL import Image

    def columns(name, count=24):
        generator = torch.Generator().manual_seed(len(name))
        rows = torch.randn(count, 2, generator=generator)
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        for i in range(count):
            if not (folder / f"{name}{i}.png").exists():
                Image.new("L", (6, 6), i).save(folder / f"{name}{i}.png")
                soundfile.write(folder / f"{name}{i}.wav", np.full(800, i / 99), 8000)
        return {
            "row": [{"a": float(a), "b": "pq"[b > 0]} for a, b in rows],
            "text": [f"number {i} of {name}" for i in range(count)],
            "image": [str(folder / f"{name}{i}.png") for i in range(count)],
            "audio": [folder / f"{name}{i}.wav" for i in range(count)],
            "series": list(torch.randn(count, 5, 1, generator=generator)),
            "truth": ["yes" if a > 0 else "no" for a, _ in rows],
            "ids": [f"{name}-{i}" for i in range(count)],
        }

    class Mixed:
        inputs: ClassVar = {
            name: {"row": "table"}.get(name, name) for name in ("row", "text", "image", "audio", "series")
        }
        target, metric, encoders, training = "classes", "accuracy", {}, {}
        data: ClassVar = {name: columns(name) for name in ("train", "validation", "test")}

        def split(self, name):
            given = dict(self.data[name])
            ids, truth = given.pop("ids"), given.pop("truth")
            return Samples(ids, given, truth, groups=[f"g{i % 3}" for i in range(len(ids))])

    return Mixed


def bench(task, folder, **rest):
    asked = {
        "fusion": "concat",
        "baselines": False,
        "seeds": 1,
        "cost": False,
        "yardsticks": False,
        "training": SMALL,
        **rest,
    }
    return mmkit.bench(task=task, out=folder, device="cpu", progress=False, **asked)


def lines(folder):
    return (folder / "records.jsonl").read_bytes().splitlines()


def one_other(columns, name):
    """Change the fifth value of a column."""
    if name == "audio":
        columns[name][4].write_bytes(columns[name][4].read_bytes() + b"\0\0")
    elif name == "image":
        os.utime(columns[name][4], ns=(1, 1))
    elif name == "series":
        columns[name][4] = columns[name][4] + 1
    elif name == "row":
        columns[name][4] = {**columns[name][4], "b": "p" if columns[name][4]["b"] == "q" else "q"}
    elif name == "truth":
        columns[name][4] = "yes" if columns[name][4] == "no" else "no"
    else:
        columns[name][4] += "!"


class TestData:
    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_a_changed_value_of_any_column_and_split_is_refused(self, task, tmp_path, split):
        bench(task, tmp_path / "out")
        before = lines(tmp_path / "out")
        changed = []
        for name in ("truth", "row", "text", "image", "audio", "series"):
            one_other(task.data[split], name)
            changed.append(name if name == "truth" else f"input {name}")
            what = rf"other data: (.+) of {split} \(1 changed, the first is {split}-4\) changed; choose another --out"
            with pytest.raises(UsageError, match=what) as told:
                bench(task, tmp_path / "out")
            assert set(re.split(", | and ", re.search(what, str(told.value))[1])) == set(changed)
            assert lines(tmp_path / "out") == before

    def test_with_mix_the_run_is_done_anew_and_the_old_record_stays(self, task, tmp_path):
        first = bench(task, tmp_path / "out").records[0]
        one_other(task.data["test"], "truth")
        second = bench(task, tmp_path / "out", mix=True).records[0]
        assert first.id != second.id
        assert first.metrics != second.metrics
        assert second.metrics == bench(task, tmp_path / "fresh").records[0].metrics
        assert [json.loads(line)["id"] for line in lines(tmp_path / "out")] == [first.id, second.id]
        assert bench(task, tmp_path / "out", mix=True).records == [second]

    def test_what_is_said_of_samples_that_are_new_gone_or_elsewhere(self, task, tmp_path):
        bench(task, tmp_path / "out")
        data = task.data["train"]
        for column in data.values():
            column.pop(0)
        data["ids"][0] = "someone"
        task.data["validation"] = {name: column[::-1] for name, column in task.data["validation"].items()}
        with pytest.raises(UsageError) as raised:
            bench(task, tmp_path / "out")
        assert "of train (1 new, the first is someone; 2 gone, the first is train-0)" in str(raised.value)
        assert "of validation (24 at another place, the first is validation-23)" in str(raised.value)
        assert "of test" not in str(raised.value)

    def test_without_the_table_of_samples_the_columns_are_still_named(self, task, tmp_path):
        bench(task, tmp_path / "out")
        (tmp_path / "out" / "splits.parquet").write_bytes(b"torn")
        one_other(task.data["test"], "text")
        with pytest.raises(UsageError, match=r"other data: input text of test changed; "):
            bench(task, tmp_path / "out")

    def test_a_column_that_the_task_lacked_is_another_content(self, task, tmp_path):
        kept = task.data["train"].pop("text")
        with pytest.warns(UserWarning, match="input text is missing in every training sample"):
            bench(task, tmp_path / "out")
        task.data["train"]["text"] = kept
        with pytest.raises(UsageError, match=r"other data: input text of train .24 changed"):
            bench(task, tmp_path / "out")

    def test_values_that_cannot_be_told_apart_are_run_again_and_that_is_said_once(self, tmp_path):
        class Odd:
            def __init__(self, value):
                self.value = value

            def __array__(self, dtype=None, copy=None):
                return np.full((4, 1), self.value)

        class Task:
            inputs: ClassVar = {"s": "series"}
            target, metric, encoders, training = "classes", "accuracy", {}, {}

            def split(self, name):
                return Samples([f"{name}{i}" for i in range(8)], {"s": [Odd(i) for i in range(8)]}, ["y", "n"] * 4)

        said = "train, input s: values of type Odd cannot be hashed by their content and 2 more cannot be compared"
        for count in (1, 2):
            with pytest.warns(UserWarning, match=said) as told:
                assert bench(Task, tmp_path / "out").records[0].status == "ok"
            assert len(told) == 1
            assert len(lines(tmp_path / "out")) == count


class TestCode:
    SOURCE = """
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.tasks.synthetic import SyntheticUnique
class Fusion(ConcatFusion):
    def forward(self, features):
        return super().forward(features)
class Task(SyntheticUnique):
    note = 1
"""

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(tmp_path))

        def write(source):
            (tmp_path / "own_fusion.py").write_text(source)
            for cached in tmp_path.glob("__pycache__/*"):
                cached.unlink()
            sys.modules.pop("own_fusion", None)
            importlib.invalidate_caches()
            return importlib.import_module("own_fusion")

        yield write
        sys.modules.pop("own_fusion", None)

    def test_an_edited_fusion_is_refused(self, own, tmp_path):
        def asked(module, **rest):
            return bench("synthetic-unique:train=32", tmp_path / "out", fusion=module.Fusion, **rest)

        first = asked(own(self.SOURCE)).records
        assert asked(own(self.SOURCE)).records == first
        edited = self.SOURCE.replace("super().forward(features)", "super().forward(dict(features))")
        with pytest.raises(UsageError, match=r"other code: that of fusion own_fusion\.Fusion changed; choose another"):
            asked(own(edited))
        assert asked(own(edited), mix=True).records[0].id != first[0].id

    def test_so_is_an_edited_task(self, own, tmp_path):
        bench(own(self.SOURCE).Task, tmp_path / "out", options=["task.train=32"])
        with pytest.raises(UsageError, match=r"other code: that of task own_fusion\.Task changed"):
            bench(own(self.SOURCE.replace("note = 1", "note = 2")).Task, tmp_path / "out", options=["task.train=32"])

    def test_what_a_failed_run_is_mended_by_is_no_other_code(self, own, tmp_path):
        def asked(module):
            return bench("synthetic-unique:train=32", tmp_path / "out", fusion=["concat", module.Fusion])

        broken = self.SOURCE.replace("return super()", "raise RuntimeError\n        return super()")
        failed = [record.fusion for record in asked(own(broken)).records if record.status == "failed"]
        assert len(failed) == 1
        assert "Fusion" in failed[0]
        assert {record.status for record in asked(own(self.SOURCE)).records} == {"ok"}

    def test_edited_code_of_mmkit_itself_is_refused(self, tmp_path, monkeypatch):
        bench("synthetic-unique:train=32", tmp_path / "out")
        monkeypatch.setattr("mmkit.experiments.identity.code_of_core", lambda: "another")
        with pytest.raises(UsageError, match=r"other code: that of mmkit-core changed"):
            bench("synthetic-unique:train=32", tmp_path / "out")


def test_another_file_of_weights_under_the_same_name_is_refused(task, tmp_path):
    file = tmp_path / "vectors.txt"

    def asked(vectors, **rest):
        file.write_text(f"number {vectors}\nof 0 0 1\n")
        return bench(task, tmp_path / "out", encoders={"text": f"bag:vectors={file}"}, **rest).records

    first = asked("1 0 0")
    assert asked("1 0 0") == first  # the same again, written anew
    with pytest.raises(UsageError, match=rf"that of vectors={file} of encoder bag changed; choose another --out"):
        asked("0 1 0")
    assert asked("0 1 0", mix=True)[0].id != first[0].id


def test_two_classes_of_one_name_are_not_taken_for_each_other(tmp_path):
    def made(gain):
        class Fusion(ConcatFusion):
            def forward(self, features):
                return super().forward(features) if gain else None

        return Fusion

    with pytest.raises(UsageError, match=r"two classes of fusion are called .*Fusion; give each a name of its own"):
        bench(TASK, tmp_path / "out", fusion=[made(0), made(1)])


class TestTask:
    def test_a_folder_belongs_to_one_task(self, tmp_path):
        bench("synthetic-unique:train=32", tmp_path / "out")
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
        said = r"holds records of the task synthetic-unique:train=32, and now it is {}; a folder belongs to one task"
        for other in ("digits", "synthetic-unique:train=33"):
            for mix in (False, True):
                with pytest.raises(UsageError, match=said.format(other)):
                    bench(other, tmp_path / "out", mix=mix)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()} == before

    def test_on_the_command_line_one_that_names_no_task_is_refused(self, tmp_path, capsys):
        bench("synthetic-unique:train=32", tmp_path / "out")
        with pytest.raises(SystemExit) as ended:
            mmkit.cli.main(["bench", "--out", str(tmp_path / "out")])
        assert ended.value.code == 2
        assert "and now it is digits; a folder belongs to one task: choose another --out" in capsys.readouterr().err


TASK = "synthetic-unique:train=48"


def best(suite):
    return min(suite.records, key=lambda record: record.validation["log_loss"])  # of fewer than 1,000 samples


def saved(suite):
    folder = model_folder(suite.folder, suite.plan.combinations[0])
    note = folder.with_name(f"{folder.name}.score.json")
    return json.loads(note.read_text()) if note.exists() else None


class TestSavedLater:
    def test_the_best_of_what_was_recorded_is_trained_again_and_saved(self, tmp_path):
        first = bench(TASK, tmp_path / "out", seeds=3)
        before = lines(tmp_path / "out")
        assert (saved(first), first.models) == (None, {})
        again = bench(TASK, tmp_path / "out", seeds=3, save=True)
        assert lines(tmp_path / "out") == before
        chosen = best(again)
        rank = -chosen.validation["log_loss"]
        assert saved(again) == {"metric": "log_loss", "rank": rank, "seed": chosen.seed, "id": chosen.id}
        alone, _ = mmkit.fit(task=TASK, fusion="concat", seed=chosen.seed, training=SMALL, device="cpu", progress=False)
        assert mmkit.load(again.models["concat"]).predict([{}]) == alone.predict([{}])

    def test_nothing_is_trained_where_the_best_is_saved(self, tmp_path, monkeypatch):
        bench(TASK, tmp_path / "out", seeds=2, save=True)
        monkeypatch.setattr("mmkit.experiments.steps.execute", lambda *_, **__: pytest.fail("trained"))
        bench(TASK, tmp_path / "out", seeds=2, save=True)

    @pytest.mark.parametrize("gone", ["model.json", "model.safetensors", "note"])
    def test_a_model_that_is_gone_is_made_again(self, tmp_path, gone):
        suite = bench(TASK, tmp_path / "out", save=True)
        before = saved(suite)
        folder = model_folder(suite.folder, suite.plan.combinations[0])
        (folder.with_name(f"{folder.name}.score.json") if gone == "note" else folder / gone).unlink()
        assert saved(bench(TASK, tmp_path / "out", save=True)) == before
        mmkit.load(folder)

    def test_a_worse_seed_is_never_saved_over_a_better_one(self, tmp_path):
        one = bench(TASK, tmp_path / "out", seeds=4)
        order = sorted(one.records, key=lambda record: record.validation["log_loss"])
        assert order[0].validation["log_loss"] < order[-1].validation["log_loss"]
        # As if the worst seed were still to be run, in a folder where no model was saved.
        path = tmp_path / "out" / "records.jsonl"
        kept = [line for line in lines(tmp_path / "out") if json.loads(line)["id"] != order[-1].id]
        path.write_bytes(b"\n".join(kept) + b"\n")
        assert saved(bench(TASK, tmp_path / "out", seeds=4, save=True))["id"] == order[0].id

    def test_fewer_seeds_later_take_no_better_model_away(self, tmp_path):
        suite = bench(TASK, tmp_path / "out", seeds=4, save=True)
        before = saved(suite)
        assert before["id"] == best(suite).id
        bench(TASK, tmp_path / "out", seeds=1, save=True)
        assert saved(suite) == before

    def test_a_model_of_other_data_does_not_stand_in_the_way(self, tmp_path, task):
        bench(task, tmp_path / "out", save=True)
        one_other(task.data["train"], "row")
        suite = bench(task, tmp_path / "out", save=True, mix=True)
        assert saved(suite)["id"] == suite.records[0].id


class TestCostLater:
    def test_what_lacks_it_is_measured_and_the_scores_stay(self, tmp_path, monkeypatch):
        first = bench(TASK, tmp_path / "out", seeds=2)
        found = CombinationCost(Speed(1.0, 2.0, {}, 64, 32), Cost(9))
        asked = []

        def measure(combinations, *_, **__):
            asked.append(sorted(combinations))
            return Costs(dict.fromkeys(combinations, found), {})

        monkeypatch.setattr("mmkit.experiments.steps.measure_costs", measure)
        again = bench(TASK, tmp_path / "out", seeds=2, cost=True)
        assert again.records == [replace(one, throughput=found.throughput, cost=found.cost) for one in first.records]
        assert len(asked) == 1
        assert bench(TASK, tmp_path / "out", seeds=2, cost=True).records == again.records
        assert bench(TASK, tmp_path / "out", seeds=2).records == again.records
        assert len(asked) == 1

    @pytest.mark.parametrize("what", ["data", "code", "machine", "training"])
    def test_costs_of_others_are_not_taken(self, task, tmp_path, monkeypatch, what):
        asked = []

        def measure(combinations, *_, **__):
            asked.append(len(combinations))
            return Costs({key: CombinationCost(Speed(1.0, 2.0, {}, 64, 32), Cost(9)) for key in combinations}, {})

        monkeypatch.setattr("mmkit.experiments.steps.measure_costs", measure)
        bench(task, tmp_path / "out", cost=True)
        bench(task, tmp_path / "out", cost=True, seeds=2)
        assert asked == [1]
        if what == "data":
            one_other(task.data["train"], "text")
        elif what == "code":
            monkeypatch.setattr("mmkit.experiments.identity.code_of_core", lambda: "another")
        elif what == "machine":
            monkeypatch.setattr("mmkit.experiments.steps.machine", lambda: {"cpu": "abacus"})
        other = {**SMALL, "missing": "token", "modality_dropout": 0.2} if what == "training" else SMALL
        bench(task, tmp_path / "out", cost=True, seeds=3, mix=True, training=other)
        assert asked == [1, 1]


class TestFolder:
    def test_a_line_is_small_and_scores_lie_beside_it(self, task, tmp_path):
        suite = bench(task, tmp_path / "out")
        (line,) = lines(tmp_path / "out")
        record = json.loads(line)
        assert record["scores"] == f"scores/{record['id']}.npy"
        stored = np.load(tmp_path / "out" / record["scores"])
        assert (stored.dtype, stored.shape) == (np.float32, (24,))
        assert stored.mean() == pytest.approx(record["metrics"]["accuracy"])
        assert suite.records[0].scores == bench(task, tmp_path / "out").records[0].scores

    def test_the_table_of_samples(self, task, tmp_path):
        bench(task, tmp_path / "out")
        table = parquet.read_table(tmp_path / "out" / "splits.parquet")
        assert table.column_names == ["row", "id", "split", "group", "content"]
        rows = [row for row in table.to_pylist() if row["split"] == "test"]
        assert [(row["row"], row["id"], row["group"]) for row in rows] == [
            (i, f"test-{i}", f"g{i % 3}") for i in range(24)
        ]

    def test_unread_values_are_counted_in_the_line_and_told_in_a_table(self, task, tmp_path):
        task.data["test"]["row"][3] = "no row"
        task.data["train"]["image"][1] = "nowhere.png"
        suite = bench(task, tmp_path / "out", on_error="missing")
        assert json.loads(lines(tmp_path / "out")[0])["unread"] == {"train": 1, "validation": 0, "test": 1}
        rows = parquet.read_table(tmp_path / "out" / "unread.parquet").to_pylist()
        assert [(row["row"], row["id"], row["column"], row["split"]) for row in rows] == [
            (1, "train-1", "input image", "train"),
            (3, "test-3", "input row", "test"),
        ]
        assert rows[0]["reason"] == "there is no image file at nowhere.png"
        assert suite.unread[0] == "sample train-1, input image: there is no image file at nowhere.png"
        assert bench(task, tmp_path / "out", on_error="missing").unread == suite.unread

    def test_a_suite_that_is_killed_between_the_scores_and_the_line_goes_on(self, tmp_path, monkeypatch):
        def killed(line):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("mmkit.records.file.utf8", killed)
            with pytest.raises(KeyboardInterrupt):
                bench(TASK, tmp_path / "out")
        (orphan,) = (tmp_path / "out" / "scores").iterdir()
        (tmp_path / "out" / "records.jsonl").write_bytes(b'{"schema": 2, "id"')  # and the line was half written
        suite = bench(TASK, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out" / "scores").iterdir()] == [orphan.name]
        assert len(lines(tmp_path / "out")) == 1
        assert suite.records[0].status == "ok"

    @pytest.mark.parametrize("content", [None, b"", b"torn", "float64"])
    def test_scores_that_are_gone_or_damaged_are_named(self, tmp_path, content):
        suite = bench(TASK, tmp_path / "out", seeds=2, baselines=True)
        path = tmp_path / "out" / suite.records[0].scores_file
        if content is None:
            path.unlink()
        elif content == "float64":
            np.save(path, np.zeros(512))
        else:
            path.write_bytes(content)
        with pytest.raises(DataError, match=path.name):
            _ = bench(TASK, tmp_path / "out", seeds=2, baselines=True).verdict
