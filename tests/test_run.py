"""One run, sample to record; and that the test split is read once, last, and by nothing that is fitted."""

import json
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from mmkit.catalog import installed
from mmkit.contract import Measure, Target
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.options import Choice
from mmkit.plan import plan
from mmkit.plugin import HeadSpec
from mmkit.record import fingerprint
from mmkit.run import Run, device_of, execute, failed
from mmkit.tasks.synthetic import SyntheticUnique
from mmkit.train import Training
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
    asked = {"encoders": {"series": ["fcn:width=16,layers=2"]}, "training": SMALL, **rest}
    return plan(installed(), task=task, seeds=1, baselines=False, **asked).runs()[0]


class TestLeakage:
    def test_test_is_asked_for_last_after_training_has_ended(self, watched):
        epochs = []
        execute(one(watched), report=lambda done, _: epochs.append((done, list(watched.asked))))
        assert [done for done, _ in epochs] == [1, 2, 3]
        assert all(asked == ["train", "validation"] for _, asked in epochs)
        assert watched.asked == ["train", "validation", "test"]

    def test_another_test_split_changes_nothing_but_its_own_scores(self, watched):
        before, model = execute(one(watched))
        watched.scramble = True
        after, other = execute(one(watched))
        for name, tensor in model.module.state_dict().items():
            assert torch.equal(tensor, other.module.state_dict()[name])
        kept = ("validation", "history", "best_epoch", "id")
        assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
        assert before["metrics"] != after["metrics"]
        assert model.transforms.truth.state() == other.transforms.truth.state()

    def test_transforms_are_fitted_on_the_training_split_alone(self, watched, monkeypatch):
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
        torch.testing.assert_close(model.transforms.inputs["left"].mean, left.mean(0).float())

    def test_another_validation_split_changes_which_epoch_is_kept_and_nothing_before(self, monkeypatch):
        before, model = execute(one())
        split = SyntheticUnique.split

        def shuffled(self, name):
            samples = split(self, name)
            return replace(samples, truth=samples.truth[::-1]) if name == "validation" else samples

        monkeypatch.setattr(SyntheticUnique, "split", shuffled)
        after, other = execute(one())
        losses = [[epoch["loss"] for epoch in record["history"]] for record in (before, after)]
        assert losses[0] == losses[1]
        assert before["validation"] != after["validation"]
        for name, transform in model.transforms.inputs.items():
            assert transform.state() == other.transforms.inputs[name].state()


class TestRecord:
    def test_a_record_has_what_the_format_says_and_is_json(self):
        run = one()
        record, _ = execute(run)
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        names = {"schema", "id", "status", "error", "task", "encoders", "fusion", "head", "seed", "metrics"}
        names |= {"validation", "history", "throughput", "cost", "machine", "software", "plugins", "libraries"}
        assert names <= set(record)
        assert (record["status"], record["error"], record["fusion"].partition(":")[0]) == ("ok", None, "attention")
        assert {"accuracy", "f1_macro", "recall_macro"} <= set(record["metrics"])
        assert len(record["history"]) == 3
        assert record["samples"]["test"] == len(record["scores"]) == sum(map(sum, record["confusion"])) == 512
        assert record["metrics"]["accuracy"] == pytest.approx(sum(record["scores"]) / 512)

    def test_a_run_is_described_by_plain_json_and_comes_back_the_same(self):
        run = one(fusions=["low-rank:rank=2"], objectives=["unimodal"], options=["encoder.left.width=16"])
        again = Run.of(json.loads(json.dumps(run.document())))
        assert again.document() == run.document()
        first, second = execute(run)[0], execute(again)[0]
        volatile = {"seconds", "loading"}
        assert {k: v for k, v in first.items() if k not in volatile} == {
            k: v for k, v in second.items() if k not in volatile
        }

    def test_of_a_document_only_the_components_are_needed(self):
        whole = one().document()
        brief = {name: whole[name] for name in ("task", "encoders", "fusion", "head")}
        assert Run.of(brief).document() == {**whole, "training": vars(Training())}

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"training": {"lrr": 1}}, "train has no option lrr; did you mean lr"),
            ({"training": {"lr": -1}}, "train: option lr takes float > 0; got -1"),
            ({"precision": "float8"}, "the precision of a run is float32 or bfloat16 or float16; got float8"),
            ({"on_error": "cry"}, "the on_error of a run is fail or skip or missing; got cry"),
            ({"seed": -1}, "the seed of a run is 0 or more; got -1"),
            ({"limit": 0}, "the limit of a run is 1 or more, or none; got 0"),
            ({"preccision": "float32"}, "a run has no preccision; did you mean precision"),
            ({"head": {"name": "lineal"}}, "there is no head lineal; did you mean linear"),
            ({"task": "synthetic-unik"}, "there is no task synthetic-unik; did you mean synthetic-unique"),
        ],
    )
    def test_a_document_that_is_wrong_says_where(self, change, said):
        with pytest.raises(UsageError, match=said):
            Run.of(one().document() | change)

    @pytest.mark.parametrize("lacking", ["task", "encoders", "fusion", "head"])
    def test_so_does_one_that_lacks_a_component(self, lacking):
        document = one().document()
        del document[lacking]
        with pytest.raises(UsageError, match=f"a run has task, encoders, fusion, head; the document lacks {lacking}"):
            Run.of(document)

    def test_what_has_no_truth_is_left_out_and_counted(self, monkeypatch):
        split = SyntheticUnique.split

        def partly(self, name):
            samples = split(self, name)
            return replace(samples, truth=[None if i % 4 == 3 else t for i, t in enumerate(samples.truth)])

        monkeypatch.setattr(SyntheticUnique, "split", partly)
        record, _ = execute(one("synthetic-unique:train=100,inputs=3"))
        known = {"train": 75, "validation": 192, "test": 384}
        assert record["samples"] == {**known, "without_truth": {"train": 25, "validation": 64, "test": 128}}
        assert len(record["scores"]) == 384

    def test_a_test_split_without_any_truth_has_no_scores(self, monkeypatch):
        split = SyntheticUnique.split
        blank = {"test"}

        def without(self, name):
            samples = split(self, name)
            return replace(samples, truth=[None] * len(samples)) if name in blank else samples

        monkeypatch.setattr(SyntheticUnique, "split", without)
        record, _ = execute(one())
        assert set(record["metrics"].values()) == {None}
        assert json.dumps(record, allow_nan=False)
        blank.add("validation")
        with pytest.raises(DataError, match="no sample of the validation split has truth"):
            execute(one())
        blank = {"train"}
        with pytest.raises(DataError, match="no sample of the training split has truth"):
            execute(one())

    def test_what_could_not_be_read_is_listed(self, monkeypatch):
        split = SyntheticUnique.split

        def torn(self, name):
            samples = split(self, name)
            left = ["no series", *samples.inputs["left"][1:]]
            return replace(samples, inputs={**samples.inputs, "left": left})

        monkeypatch.setattr(SyntheticUnique, "split", torn)
        with pytest.raises(DataError, match="sample synthetic-unique-train-00000, input left: "):
            execute(one())
        record, _ = execute(one(on_error="missing"))
        assert {name: len(lines) for name, lines in record["unread"].items()} == {
            "train": 1,
            "validation": 1,
            "test": 1,
        }
        assert record["unread"]["test"][0].startswith("sample synthetic-unique-test-00000, input left: ")

    def test_the_id_hangs_on_all_that_decides_the_result_and_on_nothing_else(self):
        run = one()
        splits = run.splits(installed())
        ids = {run.id(splits)}
        changed = [
            one(fusions=["concat"]),
            one(options=["fusion.heads=2"]),
            one(options=["train.lr=1e-2"]),
            one(precision="bfloat16"),
            one(on_error="missing"),
        ]
        ids |= {other.id(other.splits(installed())) for other in changed}
        other = one(task="synthetic-unique:train=65")
        ids.add(other.id(other.splits(installed())))
        assert len(ids) == 7
        assert one().id(splits) == run.id(splits)

    def test_a_run_that_could_not_be_done_is_recorded_with_its_reason(self):
        run = one()
        record = failed(run, run.splits(installed()), RuntimeError("out of paper"))
        assert (record["status"], record["error"]) == ("failed", "RuntimeError: out of paper")
        assert record["id"] == run.id(run.splits(installed()))
        assert json.dumps(record)

    def test_numbers_have_no_confusion_and_their_own_metrics(self):
        record, _ = execute(one("synthetic-regression:train=64"))
        assert record["confusion"] is None
        assert set(record["metrics"]) == {"mae", "rmse", "r2", "pearson", "spearman"}
        assert record["higher_is_better"] is False


def test_a_run_is_repeatable_to_the_bit_whatever_was_drawn_before():
    first, model = execute(one())
    torch.rand(5)
    second, other = execute(one())
    assert first["history"] == second["history"]
    assert first["metrics"] == second["metrics"]
    assert all(torch.equal(t, other.module.state_dict()[n]) for n, t in model.module.state_dict().items())


def test_another_seed_is_another_model():
    run = one()
    (first, model), (second, other) = (execute(replace(run, seed=seed)) for seed in (0, 2**40))
    assert first["history"] != second["history"]
    assert first["id"] != second["id"]
    first_weights, second_weights = (one.module.state_dict()["head.logits.weight"] for one in (model, other))
    assert not torch.equal(first_weights, second_weights)


def test_a_last_batch_of_one_sample_trains_too():
    record, _ = execute(replace(one(), limit=33))
    assert record["samples"]["train"] == 33


def test_a_run_leaves_the_global_generator_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    execute(one())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_trains_too(precision):
    record, model = execute(one(precision=precision))
    assert record["precision"] == precision
    assert all(p.dtype == torch.float32 for p in model.module.parameters())


def test_more_training_learns_the_task():
    full = plan(installed(), task="synthetic-unique:train=128", seeds=1, baselines=False)
    assert execute(full.runs()[0])[0]["metrics"]["accuracy"] > 0.95  # the best is 1, the best single input 0.5


class TestDevice:
    def test_the_fastest_that_is_there_is_auto(self):
        assert device_of("auto") in {"cpu", "cuda", "mps"}
        assert device_of("cpu") == "cpu"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
    def test_one_that_is_not_there_is_unavailable(self):
        with pytest.raises(UnavailableError, match="no cuda device that torch can use; take --device cpu or auto"):
            device_of("cuda")

    def test_one_that_nobody_knows_is_a_usage_error(self):
        with pytest.raises(UsageError, match="--device takes auto, cpu, cuda or mps; got tpu"):
            device_of("tpu")


def test_training_is_part_of_the_document():
    assert one().document()["training"] == {**vars(Training()), **SMALL}
    assert fingerprint(one().document())


class TestAnotherKindOfTarget:
    """A kind that mmkit does not know, a shade, with a measure of its own."""

    class Shades:
        augments = False
        measures: ClassVar = {
            "close": Measure(
                lambda answers, truths: [abs(a - int(t, 2) / 3) for a, t in zip(answers, truths, strict=True)],
                higher_is_better=False,
            )
        }

        def __init__(self, kind):
            self.kind = kind

        def fit(self, values):
            pass

        def __call__(self, values, generator=None):
            shade = torch.tensor([[0.0] if v is None else [int(v, 2) / 3] for v in values])
            return {"shade": shade, "mask": torch.tensor([v is not None for v in values])}

        def state(self):
            return {}

        def restore(self, state):
            pass

        def target(self):
            return Target(self.kind, 1)

        def inverse(self, prediction):
            return prediction["shade"][:, 0].tolist()

    class Paints(torch.nn.Module):
        def __init__(self, width, target, transform):
            super().__init__()
            self.shade = torch.nn.Linear(width, 1)
            self.asked = 0

        def forward(self, features):
            return self.shade(features.vector())

        def loss(self, output, truth):
            return (output - truth["shade"]).square().squeeze(1).masked_fill(~truth["mask"], 0)

        def predict(self, output):
            self.asked += len(output)
            return {"shade": output}

    Paints.reads = Shades

    class Task(SyntheticUnique):
        metric_of_epochs: ClassVar = None

        def __init__(self):
            super().__init__(train=32)
            self.target, self.metric = "shade", "close"
            if self.metric_of_epochs:
                self.epoch_metric = self.metric_of_epochs

        def split(self, name):
            samples = super().split(name)
            numbers = [None if row == 0 else truth for row, truth in enumerate(samples.truth)]
            return replace(samples, truth=numbers)

    def made(self, monkeypatch, epochs_by=None):
        monkeypatch.setattr(self.Task, "metric_of_epochs", epochs_by)
        spec = HeadSpec("paints", "", "", targets=("shade",))
        head = Choice("head", "paints", spec, (self.Paints, self.Shades), {})
        return execute(one(self.Task, heads=[head]))

    def test_it_brings_its_own_metrics(self, monkeypatch):
        record, _ = self.made(monkeypatch)
        assert set(record["metrics"]) == set(record["validation"]) == {"close", "head_loss"}
        assert (record["metric"], record["epoch_metric"], record["higher_is_better"]) == ("close", "close", False)
        assert record["metrics"]["close"] == pytest.approx(sum(record["scores"]) / len(record["scores"]))
        assert len(record["scores"]) == record["samples"]["test"]
        assert record["samples"]["without_truth"] == {"train": 1, "validation": 1, "test": 1}
        kept = record["history"][record["best_epoch"] - 1]["close"]
        assert kept == min(entry["close"] for entry in record["history"])

    def test_the_best_epoch_may_be_chosen_without_a_single_answer(self, monkeypatch):
        record, model = self.made(monkeypatch, "head_loss")
        assert [set(entry) for entry in record["history"]] == [{"epoch", "loss", "head_loss"}] * 3
        # What has truth of validation, and all of test, once each and after training.
        samples = record["samples"]
        assert model.module.head.asked == samples["validation"] + samples["test"] + samples["without_truth"]["test"]
