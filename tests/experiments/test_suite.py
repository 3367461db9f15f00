"""A suite in its folder: no run is repeated and none is lost, however it ends."""

import json
import signal
import subprocess
import sys
import time

import pytest
from pyarrow import parquet
from torch import nn

import mmkit
from mmkit.errors import DataError, UsageError
from mmkit.experiments.costs import CombinationCost, Costs
from mmkit.experiments.dry_run import STEP_SAMPLES
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.records.record import Cost, Speed

SMALL = {"epochs": 2, "min_steps": 0, "lr": 2e-3}
TASK = "synthetic-unique:train=48"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """Costs have tests of their own."""
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda combinations, *_, **__: Costs({}, {}))


class Failing(nn.Module):
    """A fusion that raises while it is used."""

    def __init__(self, widths):
        super().__init__()
        self.width = 4
        self.p = nn.Linear(4, 4)

    def forward(self, features):
        raise RuntimeError("the glue is dry")


def bench(folder, fusion="concat", seeds=2, **rest):
    return mmkit.bench(task=TASK, fusion=fusion, seeds=seeds, training=SMALL, device="cpu", out=folder, **rest)


def lines(folder):
    return (folder / "records.jsonl").read_bytes().splitlines()


def test_every_run_is_a_line_and_none_is_repeated(tmp_path):
    suite = bench(tmp_path)
    before = lines(tmp_path)
    assert len(suite.records) == len(before) == 6  # one fusion and two inputs, twice
    assert [json.loads(line)["fusion"] for line in before] == ["concat", "only:left", "only:right"] * 2
    again = bench(tmp_path)
    assert lines(tmp_path) == before
    assert again.records == suite.records


def test_a_larger_plan_runs_only_what_is_new(tmp_path):
    bench(tmp_path, seeds=1)
    before = lines(tmp_path)
    suite = bench(tmp_path, fusion=["concat", "sum"], seeds=2)
    after = lines(tmp_path)
    assert after[:3] == before
    assert len(suite.records) == 10  # two rounds of a race of two, and three combinations twice
    assert {record.id for record in suite.records} <= {json.loads(line)["id"] for line in after}
    assert len({json.loads(line)["id"] for line in after}) == len(after)  # nothing is done again


def test_the_ids_of_each_split_are_written_and_disjoint(tmp_path):
    bench(tmp_path, seeds=1)
    found = parquet.read_table(tmp_path / "splits.parquet").to_pylist()
    sets = [{row["id"] for row in found if row["split"] == name} for name in ("train", "validation", "test")]
    assert [len(ids) for ids in sets] == [48, 256, 512]
    assert len(set.union(*sets)) == 816


def test_a_failed_run_is_recorded_with_its_reason_and_the_others_continue(tmp_path):
    suite = bench(tmp_path, fusion=["concat", Failing], seeds=1)
    assert [record.status for record in suite.records] == ["ok", "failed", "ok", "ok", "ok"]
    assert [record.phase for record in suite.records] == ["search", "search", "confirm", "confirm", "confirm"]
    (failure,) = suite.failures
    assert "Failing raised RuntimeError: the glue is dry (tests/experiments/test_suite.py:" in failure.error
    assert "Failing" in failure.fusion


def test_a_failed_run_is_repeated_and_its_last_line_counts(tmp_path):
    class Sometimes(ConcatFusion):
        """Fails until it is mended, on more samples than a dry run has."""

        broken = True

        def forward(self, features):
            if type(self).broken and len(next(iter(features.values())).mask) > STEP_SAMPLES:
                raise RuntimeError("not yet")
            return super().forward(features)

    assert len(bench(tmp_path, fusion=Sometimes, seeds=1).failures) == 1
    Sometimes.broken = False
    suite = bench(tmp_path, fusion=Sometimes, seeds=1)
    assert suite.failures == []
    statuses = [(r["fusion"].rpartition(".")[2], r["status"]) for r in map(json.loads, lines(tmp_path))]
    assert statuses[0] == ("Sometimes", "failed")
    assert statuses[-1] == ("Sometimes", "ok")
    assert len(statuses) == 4


@pytest.mark.parametrize(("part", "name"), [("plugins", "mmkit-core"), ("software", "torch"), ("libraries", "timm")])
def test_records_of_other_versions_are_an_error_without_mix(tmp_path, monkeypatch, part, name):
    monkeypatch.setattr("mmkit.experiments.run.libraries", lambda _: {"timm": "1.0.99"})
    bench(tmp_path, seeds=1, baselines=False)
    record = json.loads(lines(tmp_path)[0])
    record[part][name] = "0.0.7"
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(UsageError, match=rf"holds records with {part} {name} 0\.0\.7, and now it is .*--mix"):
        bench(tmp_path, seeds=2, baselines=False)
    assert len(lines(tmp_path)) == 1
    assert len(bench(tmp_path, seeds=2, baselines=False, mix=True).records) == 2


def test_without_cost_nothing_is_measured_and_what_is_measured_later_counts_for_all_seeds(tmp_path, monkeypatch):
    asked = []

    def measure_costs(combinations, *_, **__):
        asked.append(len(combinations))
        return Costs({key: CombinationCost(Speed(1.0, 1.0, {}, 64, 32), Cost(1)) for key in combinations}, {})

    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", measure_costs)
    assert {record.throughput for record in bench(tmp_path, seeds=1, cost=False).records} == {None}
    assert asked.pop() == 0
    measured = bench(tmp_path, seeds=2).records
    assert [bool(record.throughput) for record in measured] == [True] * 6
    assert asked.pop() == 3
    kept = bench(tmp_path, seeds=3, cost=False).records  # without measuring again
    assert kept[-1].throughput == measured[-1].throughput
    assert bench(tmp_path, seeds=4, baselines=False).records[-1].throughput
    assert asked == []


@pytest.mark.parametrize("option", [{"micro_batch": 8}, {"mixup": 0.2}, {"copies": 2}, {"missing": "token"}])
def test_costs_of_a_folder_are_those_of_the_same_training_step(tmp_path, monkeypatch, option):
    asked = []
    monkeypatch.setattr(
        "mmkit.experiments.steps.measure_costs", lambda able, *_, **__: asked.append(1) or Costs({}, {})
    )
    for training in (SMALL, {**SMALL, "epochs": 1}, {**SMALL, **option}):
        mmkit.bench(task=TASK, fusion="concat", seeds=1, training=training, device="cpu", out=tmp_path, baselines=False)
    assert len(asked) == 2  # the epochs change no step


def test_combinations_that_cannot_be_built_are_not_measured_or_trained(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mmkit.experiments.steps.measure_costs", lambda able, *_, **__: asked.append(len(able)) or Costs({}, {})
    )
    found = bench(tmp_path / "some", fusion=["concat", "tensor:budget=1"], seeds=1)
    assert (len(found.failures), asked) == (1, [3])
    with pytest.raises(UsageError, match="fusion tensor:budget=1: "):
        bench(tmp_path / "none", fusion="tensor:budget=1", seeds=1)
    assert lines(tmp_path / "none") == []
    assert asked == [3]


def test_a_damaged_record_file_is_named_and_not_changed(tmp_path):
    (tmp_path / "records.jsonl").write_text("what is this\n")
    with pytest.raises(DataError, match="line 1 is no record"):
        bench(tmp_path)
    assert (tmp_path / "records.jsonl").read_text() == "what is this\n"


def test_the_model_of_the_best_seed_on_validation_is_saved(tmp_path):
    suite = bench(tmp_path, seeds=3, baselines=False, save=True)
    (folder,) = [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    note = json.loads(folder.with_name(f"{folder.name}.score.json").read_text())
    best = min(suite.records, key=lambda record: record.validation["log_loss"])  # of 256 samples
    assert (note["metric"], note["rank"]) == ("log_loss", -best.validation["log_loss"])
    again, _ = mmkit.fit(task=TASK, fusion="concat", seed=note["seed"], training=SMALL, device="cpu")
    chosen = again.predict([{}])
    assert mmkit.load(folder).predict([{}]) == chosen


def test_combinations_whose_names_hold_dots_are_all_saved(tmp_path):
    fusions = [f"attention:dropout={share}" for share in (0.15, 0.2, 0.3)]
    suite = bench(tmp_path, fusion=fusions, seeds=2, save=True)
    assert sorted(suite.models) == sorted([*fusions, "only:left", "only:right"])
    for name, folder in suite.models.items():
        scores = {r.seed: -r.validation["log_loss"] for r in suite.records if r.fusion == name}
        note = json.loads(folder.with_name(f"{folder.name}.score.json").read_text())
        assert note["rank"] == scores[note["seed"]] == max(scores.values())
        assert mmkit.load(folder).combination.label == name


class TestEnded:
    """Real processes, and real signals."""

    @staticmethod
    def start(folder, *more):
        command = [
            sys.executable,
            "-m",
            "mmkit",
            "bench",
            "--task",
            TASK,
            "--fusion",
            "concat,sum",
            "--out",
            str(folder),
        ]
        command += ["--seeds", "3", "--no-baselines", "--lr", "0.002", "--no-cost", "-o", "train.min_steps=150", *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def wait_for(folder, count, process):
        path, until = folder / "records.jsonl", time.monotonic() + 120
        while not path.exists() or path.read_bytes().count(b"\n") < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)

    @pytest.mark.full
    def test_a_killed_suite_continues_where_it_stopped(self, tmp_path):
        process = self.start(tmp_path)
        self.wait_for(tmp_path, 2, process)
        process.kill()
        process.communicate()
        finished = [
            line for line in (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
        ]
        assert 2 <= len(finished) < 7
        process = self.start(tmp_path)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert f"{len(finished)} of 7 runs are already in" in err  # a race of four, and three fresh seeds
        after = (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True)
        assert after[: len(finished)] == finished
        assert len(after) == len({json.loads(line)["id"] for line in after}) == 7
        assert "concat" in out

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_an_interrupted_suite_keeps_finished_runs(self, tmp_path, number):
        process = self.start(tmp_path)
        self.wait_for(tmp_path, 1, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert err.strip().splitlines()[-1] == "mmkit: interrupted"
        assert "Traceback" not in err
        kept = (tmp_path / "records.jsonl").read_text().splitlines()
        assert kept
        assert all(json.loads(line)["status"] == "ok" for line in kept)

    @pytest.mark.full
    def test_two_processes_cannot_write_to_one_folder(self, tmp_path):
        process = self.start(tmp_path)
        self.wait_for(tmp_path, 1, process)
        process.send_signal(signal.SIGSTOP)  # or it may be done before the other has started
        other = self.start(tmp_path)
        _, err = other.communicate(timeout=60)
        process.kill()
        process.communicate()
        assert other.returncode == 2
        assert "another process is writing to" in err


def test_the_repr_of_a_suite_is_one_line(tmp_path):
    suite = bench(tmp_path, seeds=1, baselines=False)
    assert repr(suite) == f"<Suite {tmp_path}: 1 run; best on validation: concat>"
