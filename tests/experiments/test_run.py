"""One run, sample to record; and that the test split is read once, last, and by nothing that is fitted."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from mmkit.errors import DataError, UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import Run, execute, failed
from mmkit.features.sharing import Shared
from mmkit.records.record import Record, SampleCounts
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.tasks.synthetic import SyntheticUnique
from mmkit.training.optimisation import Training
from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.truth import Categories

SMALL = {"epochs": 3, "min_steps": 0}


class Watched(SyntheticUnique):
    """Writes down who asks for which split, and gives another test split where it is told to."""

    asked: ClassVar[list] = []
    scramble = False

    def split(self, name):
        type(self).asked.append(name)
        samples = super().split(name)
        if name == "test" and self.scramble:
            flipped = {"00": "11", "01": "10", "10": "01", "11": "00"}
            columns = {key: [value * 100 for value in column] for key, column in samples.inputs.items()}
            return type(samples)(samples.ids, columns, [flipped[truth] for truth in samples.truth])
        return samples


@pytest.fixture
def watched():
    Watched.asked.clear()
    yield Watched
    Watched.scramble = False


def one(task="synthetic-unique:train=64", **rest):
    asked = {"encoders": {"series": ["fcn:width=16,layers=2"]}, "fusions": ["attention"], "training": SMALL, **rest}
    return plan(installed(), task=task, seeds=1, baselines=False, **asked).runs()[0]


class TestLeakage:
    def test_the_test_split_is_read_after_training(self, watched):
        epochs = []

        class Told(Progress):
            def update(self, what, done, total=None):
                epochs.append((what, done, list(watched.asked)))

        execute(one(watched), shared=Shared(progress=Told()))
        assert epochs == [("epochs", done, ["train", "validation"]) for done in (1, 2, 3)]
        assert watched.asked == ["train", "validation", "test"]

    def test_another_test_split_changes_only_test_scores(self, watched):
        before, model = execute(one(watched))
        watched.scramble = True
        after, other = execute(one(watched))
        for name, tensor in model.module.state_dict().items():
            assert torch.equal(tensor, other.module.state_dict()[name])
        kept = ("validation", "history", "best_epoch")
        assert {name: getattr(before, name) for name in kept} == {name: getattr(after, name) for name in kept}
        assert before.metrics != after.metrics
        assert before.id != after.id  # a record of other data is another record
        assert model.transforms.truth.state() == other.transforms.truth.state()

    def test_transforms_are_fitted_on_the_training_split_only(self, watched, monkeypatch):
        seen = []
        for kind in (SeriesTransform, Categories):
            fit = kind.fit
            monkeypatch.setattr(
                kind, "fit", lambda self, values, fit=fit: (seen.append(list(values)), fit(self, values))
            )
        _, model = execute(one(watched, options=["task.train=40"]))
        train = Watched(train=40).split("train")
        assert len(seen) == 3
        for values, expected in zip(seen, (train.inputs["left"], train.inputs["right"]), strict=False):
            assert all(torch.equal(value, other) for value, other in zip(values, expected, strict=True))
        assert seen[2] == train.truth
        left = torch.cat(train.inputs["left"]).double()
        torch.testing.assert_close(vars(model.transforms.inputs["left"])["mean"], left.mean(0))

    def test_another_validation_split_changes_only_which_epoch_is_kept(self, monkeypatch):
        before, model = execute(one())
        split = SyntheticUnique.split

        def shuffled(self, name):
            samples = split(self, name)
            return replace(samples, truth=samples.truth[::-1]) if name == "validation" else samples

        monkeypatch.setattr(SyntheticUnique, "split", shuffled)
        after, other = execute(one())
        losses = [[epoch["loss"] for epoch in record.history] for record in (before, after)]
        assert losses[0] == losses[1]
        assert before.validation != after.validation
        for name, transform in model.transforms.inputs.items():
            assert transform.state() == other.transforms.inputs[name].state()


class TestRecord:
    def test_a_record_has_all_fields_and_is_json(self):
        run = one()
        record, _ = execute(run)
        again = Record.of(json.loads(json.dumps(record.document(), allow_nan=False)), Path())
        assert replace(again, scores=record.scores) == record
        assert (record.status, record.error, record.fusion.partition(":")[0]) == ("ok", None, "attention")
        assert {"accuracy", "f1_macro", "recall_macro"} <= set(record.metrics)
        assert len(record.history) == 3
        assert record.samples.test == len(record.scores) == sum(map(sum, record.confusion)) == 512
        assert record.metrics["accuracy"] == pytest.approx(sum(record.scores) / 512)

    def test_a_run_is_read_back_from_its_json_document(self):
        run = one(fusions=["low-rank:rank=2"], objectives=["unimodal"], options=["encoder.left.width=16"])
        again = Run.of(json.loads(json.dumps(run.document())))
        assert again.document() == run.document()
        first, second = execute(run)[0], execute(again)[0]
        volatile = {"seconds", "loading"}
        assert {k: v for k, v in first.document().items() if k not in volatile} == {
            k: v for k, v in second.document().items() if k not in volatile
        }

    def test_a_document_needs_only_the_components(self):
        whole = one().document()
        brief = {name: whole[name] for name in ("task", "encoders", "fusion", "head")}
        assert Run.of(brief).document() == {**whole, "training": vars(Training())}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"training": {"lrr": 1}}, "train has no option lrr; did you mean lr"),
            ({"training": {"lr": -1}}, "train: option lr takes float > 0; got -1"),
            ({"precision": "float8"}, "precision is one of float32, bfloat16, float16; got float8"),
            ({"on_error": "cry"}, "on_error is one of fail, skip, missing; got cry"),
            ({"seed": -1}, "the seed of a run is 0 or more; got -1"),
            ({"limit": 0}, "limit is 1 or more, or none; got 0"),
            ({"preccision": "float32"}, "a run has no entry preccision; did you mean precision"),
            ({"head": {"name": "lineal"}}, "there is no head lineal; did you mean linear"),
            ({"task": "synthetic-unik"}, "there is no task synthetic-unik; did you mean synthetic-unique"),
        ],
    )
    def test_a_wrong_document_is_an_error(self, change, message):
        with pytest.raises(UsageError, match=message):
            Run.of(one().document() | change)

    @pytest.mark.parametrize("lacking", ["task", "encoders", "fusion", "head"])
    def test_a_document_that_lacks_a_component_is_an_error(self, lacking):
        document = one().document()
        del document[lacking]
        with pytest.raises(UsageError, match=f"a run needs task, encoders, fusion, head; the document lacks {lacking}"):
            Run.of(document)

    def test_samples_without_truth_are_left_out_and_counted(self, monkeypatch):
        split = SyntheticUnique.split

        def partly(self, name):
            samples = split(self, name)
            return replace(samples, truth=[None if i % 4 == 3 else t for i, t in enumerate(samples.truth)])

        monkeypatch.setattr(SyntheticUnique, "split", partly)
        record, _ = execute(one("synthetic-unique:train=100,inputs=3"))
        known = {"train": 75, "validation": 192, "test": 384}
        none = {split: dict.fromkeys(("front", "left", "right"), 0) for split in known}
        assert record.samples == SampleCounts(
            **known, without_truth={"train": 25, "validation": 64, "test": 128}, missing=none
        )
        scores = list(record.scores)
        assert [math.isnan(score) for score in scores] == [i % 4 == 3 for i in range(512)]
        assert record.metrics["accuracy"] == pytest.approx(sum(s for s in scores if s == s) / 384)  # noqa: PLR0124

    def test_a_test_split_without_truth_has_no_scores(self, monkeypatch):
        split = SyntheticUnique.split
        blank = {"test"}

        def without(self, name):
            samples = split(self, name)
            return replace(samples, truth=[None] * len(samples)) if name in blank else samples

        monkeypatch.setattr(SyntheticUnique, "split", without)
        record, _ = execute(one())
        assert set(record.metrics.values()) == {None}
        assert json.dumps(record.document(), allow_nan=False)
        blank.add("validation")
        with pytest.raises(DataError, match="no sample of the validation split has truth"):
            execute(one())
        blank = {"train"}
        with pytest.raises(DataError, match="no sample of the training split has truth"):
            execute(one())

    def test_unread_values_are_listed(self, monkeypatch):
        split = SyntheticUnique.split

        def torn(self, name):
            samples = split(self, name)
            left = ["no series", *samples.inputs["left"][1:]]
            return replace(samples, inputs={**samples.inputs, "left": left})

        monkeypatch.setattr(SyntheticUnique, "split", torn)
        with pytest.raises(DataError, match="sample synthetic-unique-train-00000, input left: "):
            execute(one())
        record, _ = execute(one(settings=Settings("cpu", on_error="missing")))
        assert record.unread == {"train": 1, "validation": 1, "test": 1}
        told = [one for one in record.unread_values if one.split == "test"]
        assert [one[:4] for one in told] == [(0, "synthetic-unique-test-00000", "input left", "test")]

    def test_the_id_depends_on_exactly_what_determines_the_result(self):
        run = one()
        splits = run.splits(installed())
        ids = {run.id(splits)}
        changed = [
            one(fusions=["concat"]),
            one(options=["fusion.heads=2"]),
            one(options=["train.lr=1e-2"]),
            one(settings=Settings("cpu", "bfloat16")),
            one(settings=Settings("cpu", on_error="missing")),
        ]
        ids |= {other.id(other.splits(installed())) for other in changed}
        other = one(task="synthetic-unique:train=65")
        ids.add(other.id(other.splits(installed())))
        assert len(ids) == 7
        assert one().id(splits) == run.id(splits)

    def test_a_failed_run_is_recorded_with_its_reason(self):
        run = one()
        record = failed(run, run.splits(installed()), RuntimeError("out of paper"))
        assert (record.status, record.error) == ("failed", "RuntimeError: out of paper")
        assert record.id == run.id(run.splits(installed()))
        assert json.dumps(record.document())

    def test_numbers_have_no_confusion_matrix_and_their_own_metrics(self):
        record, _ = execute(one("synthetic-regression:train=64"))
        assert record.confusion is None
        assert set(record.metrics) == {"mae", "rmse", "r2", "pearson", "spearman"}
        assert record.higher_is_better is False
        assert record.lower_is_better == ["mae", "rmse"]


def test_a_run_is_bitwise_reproducible():
    first, model = execute(one())
    torch.rand(5)
    second, other = execute(one())
    assert first.history == second.history
    assert first.metrics == second.metrics
    assert all(torch.equal(t, other.module.state_dict()[n]) for n, t in model.module.state_dict().items())


def test_another_seed_gives_another_model():
    run = one()
    (first, model), (second, other) = (execute(replace(run, seed=seed)) for seed in (0, 2**40))
    assert first.history != second.history
    assert first.id != second.id
    first_weights, second_weights = (one.module.state_dict()["head.logits.weight"] for one in (model, other))
    assert not torch.equal(first_weights, second_weights)


def test_a_last_batch_of_one_sample_trains_too():
    record, _ = execute(replace(one(), settings=Settings("cpu", limit=33)))
    assert record.samples.train == 33


def test_a_run_does_not_change_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    execute(one())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_trains_too(precision):
    record, model = execute(one(settings=Settings("cpu", precision)))
    assert record.precision == precision
    assert all(p.dtype == torch.float32 for p in model.module.parameters())


def test_more_training_learns_the_task():
    full = plan(installed(), task="synthetic-unique:train=128", seeds=1, baselines=False)
    assert execute(full.runs()[0])[0].metrics["accuracy"] > 0.95  # the best is 1, the best single input 0.5
