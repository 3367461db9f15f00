"""Event files of a suite: TensorBoard's own reader finds in each run's folder what its record has."""

import json
import sys

import pytest

import mmkit
from mmkit.errors import UnavailableError

TRAINING = {"epochs": 2, "min_steps": 0}


def bench(folder, **rest):
    given = {"training": {**TRAINING, "lr": 0.002}, "seeds": 2, "baselines": False, **rest}
    return mmkit.bench(
        task="synthetic-unique:train=48", fusion="concat", out=folder, cost=False, progress=False, yardsticks=False,
        device="cpu", tensorboard=True, **given,
    )  # fmt: skip


def scalars(folder):
    """(step, value) of each scalar, by tag, as TensorBoard reads it."""
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = loading.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_each_run_has_a_folder_whose_scalars_are_the_history_of_its_record(tmp_path):
    suite = bench(tmp_path)
    assert len(list((tmp_path / "tensorboard").iterdir())) == len(suite.records) == 2
    for record in suite.records:
        (folder,) = (tmp_path / "tensorboard").glob(f"concat-*-seed-{record.seed}")
        found = scalars(folder / "training")
        assert [value for _, value in found["loss/train"]] == pytest.approx([e["loss"] for e in record.history])
        assert [step for step, _ in found["loss/train"]] == [1, 2]
        name = record.epoch_metric
        expected = pytest.approx([e[name] for e in record.history])
        assert [value for _, value in found[f"validation/{name}"]] == expected
        assert len(found["learning rate"]) == 2


def test_each_run_of_a_search_has_one_of_its_own(tmp_path):
    bench(tmp_path, training={**TRAINING, "rates": [0.001, 0.002]}, seeds=1)
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert len(list((tmp_path / "tensorboard").iterdir())) == len(lines)
    assert len(list((tmp_path / "tensorboard").glob("*-search-lr-0.001-epochs-2"))) == 1


def test_without_tensorboard_nothing_is_trained_and_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UnavailableError, match=r"mmkit-core\[tensorboard\]"):
        bench(tmp_path / "s")
    assert not (tmp_path / "s").exists()
