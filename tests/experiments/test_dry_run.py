"""A rehearsal finds what only built models can tell, each fault at its own combination, and reads little for it."""

import json
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features, Samples
from mmkit.data.bad_values import RejectedError
from mmkit.data.splits import splits_of
from mmkit.errors import UsageError
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.speed.flops import parameters
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.transforms.series import SeriesTransform

SMALL = {"epochs": 1, "min_steps": 0, "lr": 2e-3}
TASK = "synthetic-unique:train=48"


class Counted(nn.Module):
    """A frozen encoder that counts the samples it is shown."""

    reads = SeriesTransform
    frozen = True
    seen: ClassVar = Counter()

    def __init__(self, transform):
        super().__init__()
        self.width = 4
        self.weight = nn.Parameter(torch.ones(4), requires_grad=False)

    def forward(self, batch):
        type(self).seen["samples"] += len(batch["mask"])
        return Features.of(batch["mask"].any(1, keepdim=True) * self.weight)


class Dry(nn.Module):
    """A fusion whose backward fails."""

    def __init__(self, widths):
        super().__init__()
        self.width = next(iter(widths.values()))

    def forward(self, features):
        value = next(iter(features.values())).vector()
        value.register_hook(lambda _: (_ for _ in ()).throw(RuntimeError("no way back")))
        return Features.of(value * 1)


class Labelled:
    """Two series, with the truths that a test gives."""

    description = "Two series."
    truths: ClassVar = {}

    def __init__(self):
        self.inputs = {"a": "series", "b": "series"}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}

    def split(self, name):
        rows = [[[float(i % 2), 1.0]] * 4 for i in range(20)]
        truth = [*["u", "v"] * 9, "u", self.truths.get(name, "v")]
        return Samples([f"{name}-{i}" for i in range(20)], {"a": rows, "b": rows}, truth)


def tried(limit=None, **asked):
    settings = Settings("cpu", limit=limit)
    made = plan(installed(), **{"task": TASK, "seeds": 1, "settings": settings, **asked})
    splits = splits_of(made.task, installed(), settings)
    return dry_run(made.all, splits, Settings("cpu"), truths=["train"]), splits, made


def test_the_result_has_the_size_of_a_model_or_the_reason_of_the_failure():
    found, splits, asked = tried(fusions=["concat", "tensor:budget=1", Dry])
    assert [one.combination for one in found] == list(asked.all)
    concat, tensor, dry, left, right = found
    model, _ = mmkit.fit(task=TASK, fusion="concat", training=SMALL, device="cpu")
    assert (concat.parameters, concat.trainable) == parameters(model.module)
    assert isinstance(tensor.error, UsageError)
    assert str(dry.error) == "no way back"
    assert [one.error for one in (concat, left, right)] == [None] * 3
    assert set(splits.unread) == {"train"}  # nothing else was read


def test_frozen_parameters_are_counted_and_not_trained():
    (found,) = tried(encoders={"series": [Counted]}, fusions=["concat"], baselines=False)[0]
    assert found.error is None
    assert found.parameters - found.trainable == 8


def test_few_samples_are_encoded():
    Counted.seen.clear()
    tried(task="synthetic-unique", encoders={"series": [Counted]}, fusions=["concat"])
    assert 0 < Counted.seen["samples"] <= 4 * 4  # by two inputs together, then by each alone


def test_components_shared_with_a_run_are_built_once():
    built = []

    class Built(Counted):
        def __init__(self, transform):
            super().__init__(transform)
            built.append(self)

    still = ["encoder.series.time_mask=0", "encoder.series.noise=0"]
    asked = plan(installed(), task=TASK, encoders={"series": [Built]}, options=still, training=SMALL)
    splits, shared = splits_of(asked.task, installed(), Settings("cpu")), Shared()
    dry_run(asked.all, splits, Settings("cpu"), shared)
    assert len(built) == 2
    execute(asked.runs()[0], splits, shared=shared)
    assert len(built) == 2


def test_an_unreadable_value_of_the_test_split_ends_the_suite_at_the_first_run_that_reads_it(monkeypatch, tmp_path):
    whole = Labelled.split

    def torn(self, name):
        samples = whole(self, name)
        return replace(samples, inputs={**samples.inputs, "b": [*samples.inputs["b"][:-1], "mush"]})

    monkeypatch.setattr(Labelled, "split", lambda self, name: (torn if name == "test" else whole)(self, name))
    with pytest.raises(RejectedError, match=r"^sample test-19, input b: "):
        mmkit.bench(task=Labelled, fusion=["concat", "sum"], training=SMALL, device="cpu", out=tmp_path, cost=False)
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert {record["phase"] for record in records} == {"search"}  # which reads no test


@pytest.mark.parametrize("split", ["train", "validation", "test"])
class TestTruthThatCannotBeUsed:
    @pytest.fixture
    def suite(self, split, monkeypatch, tmp_path):
        monkeypatch.setattr(Labelled, "truths", {split: "" if split == "train" else "w"})
        Counted.seen.clear()

        def bench(**rest):
            return mmkit.bench(
                task=Labelled,
                encoders={"a": Counted, "b": "fcn"},
                fusion=["concat", "sum", "mean"],
                seeds=2,
                training=SMALL,
                device="cpu",
                out=tmp_path / "suite",
                cache=tmp_path / "cache",
                cost=False,
                **rest,
            )

        return bench

    def test_ends_a_suite_with_one_error_before_anything_is_encoded(self, suite, split, tmp_path):
        with pytest.raises(RejectedError, match=rf"^sample {split}-19, truth: "):
            suite()
        assert (tmp_path / "suite" / "records.jsonl").read_bytes() == b""
        once = {"train": 0, "validation": 0, "test": 60}  # test is read last, after the first run was trained
        rehearsals = 4 * 4  # four combinations have the input
        assert Counted.seen["samples"] <= once[split] + (rehearsals if split == "test" else 0)

    def test_unusable_truth_can_be_skipped(self, suite, split):
        found = suite(on_error="skip")
        assert not found.failures
        tested = [record for record in found.records if split != "test" or record.phase == "confirm"]
        assert {getattr(record.samples, split) for record in tested} == {19}


class Remarking(nn.Module):
    """A fusion that says what its inputs have."""

    def __init__(self, widths):
        super().__init__()
        self.width = 4
        self.mix = nn.ModuleDict({name: nn.Linear(width, 4) for name, width in widths.items()})

    def forward(self, features):
        return Features.of(sum(layer(features[name].vector()) for name, layer in self.mix.items()))

    def remarks(self, features):
        return [f"it has {', '.join(features)}"]


def test_remarks_of_a_fusion_are_noted_once():
    notes = []

    class Noting(Progress):
        def note(self, message):
            notes.append(message)

    asked = plan(installed(), task=TASK, fusions=[Remarking], baselines=False, training=SMALL)
    splits, shared = splits_of(asked.task, installed(), Settings("cpu")), Shared(progress=Noting())
    for _ in range(2):
        assert [one.error for one in dry_run(asked.all, splits, Settings("cpu"), shared)] == [None]
    assert notes == [f"fusion {asked.all[0].fusion}: it has left, right"]


@pytest.mark.parametrize(
    ("objective", "fusion", "frozen", "idle"),
    [
        ("contrastive", "concat", True, True),
        ("barlow", "concat", True, True),
        ("unimodal", "concat", True, True),
        ("unimodal", "late", True, False),
        ("contrastive", "concat", False, False),
        ("confidence-ranking", "late", True, False),
    ],
)
def test_an_objective_that_cannot_change_an_answer_is_noted(objective, fusion, frozen, idle):
    notes = []

    class Noting(Progress):
        def note(self, message):
            notes.append(message)

    encoders = {name: [Counted] for name in ("left", "right")} if frozen else {}
    asked = plan(
        installed(), task=TASK, fusions=[fusion], objectives=[objective], encoders=encoders, baselines=False,
        training=SMALL,
    )  # fmt: skip
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    tried = dry_run(asked.all, splits, Settings("cpu"), Shared(progress=Noting()))
    assert [one.error for one in tried] == [None]
    assert [f"objective {objective} teaches nothing" in note for note in notes] == [True] * idle
