"""What runs of a suite share changes nothing: each is the same to the bit as on its own."""

import pytest
import torch

import mmkit
from mmkit.data.sampling import augmentation
from mmkit.data.splits import splits_of
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.costs import Costs, measure_costs
from mmkit.experiments.dry_run import STEP_SAMPLES
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.experiments.subject import INFERENCE_BATCH
from mmkit.experiments.suite import carry_out
from mmkit.features.cache import cache_entries
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.plugin import EncoderSpec
from mmkit.speed.interleave import Timings
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen as Known

TASK = "synthetic-unique:train=48,missing=0.2"
SPEC = EncoderSpec("frozen-fcn", "x:X", "Frozen", modality="series")


class Frozen(FcnEncoder):
    """An encoder that never changes; its weights are drawn from the global generator, or come from elsewhere."""

    built = encoded = 0

    def __init__(self, transform, *, width: int = 16, drawn: bool = True):
        with torch.random.fork_rng(devices=[], enabled=not drawn):
            if not drawn:
                torch.manual_seed(5)
            super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True
        type(self).built += 1

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        type(self).encoded += len(batch["mask"])
        with torch.no_grad():
            return super().forward(batch)


@pytest.fixture(autouse=True)
def _fresh():
    Frozen.built = Frozen.encoded = 0


def asked(fusions=("concat", "late"), seeds=2, training=None, **options):
    encoder = mmkit.installed().choose("encoder", Frozen, {"noise": 0.0, "time_mask": 0.0, **options}, spec=SPEC)
    return plan(
        mmkit.installed(),
        task=TASK,
        encoders={"series": [encoder]},
        fusions=fusions,
        training={"epochs": 2, "min_steps": 0, "lr": 2e-3, **(training or {})},
        seeds=seeds,
        settings=Settings("cpu"),
    )


def results(record):
    told = ("history", "best_epoch", "metrics", "validation", "scores", "confusion", "samples", "encoded_once")
    return {name: getattr(record, name) for name in told}


class TestSuite:
    @pytest.fixture(autouse=True)
    def _cheap(self, monkeypatch):
        monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda *_, **__: Costs({}, {}))

    @pytest.mark.full
    @pytest.mark.parametrize(
        ("options", "cache"),
        [
            ({"drawn": True}, True),
            ({"drawn": True}, False),
            ({"drawn": False}, True),
            ({"noise": 0.1}, True),
            ({"noise": 0.1, "copies": 2}, True),
        ],
    )
    def test_every_run_is_bitwise_the_same_as_without_sharing(self, tmp_path, options, cache):
        options = dict(options)
        training = {"copies": options.pop("copies", 0)}
        planned = asked(training=training, **options)
        suite = carry_out(
            planned,
            tmp_path / "suite",
            mmkit.installed(),
            yardsticks=False,
            cache=tmp_path / "cache" if cache else None,
        )
        assert len(suite.records) == 10  # a race of two in two rounds, and three combinations with two seeds
        by_label = {one.label: one for one in planned.all}
        for record in suite.records:
            run = planned.run(by_label[record.fusion], record.seed)
            assert results(record) == results(execute(run, tested=record.phase == "confirm")[0])

    @pytest.mark.parametrize("drawn", [True, False])
    def test_encoders_are_built_and_samples_encoded_once_a_seed_or_once(self, tmp_path, drawn):
        planned = asked(("concat", "sum", "gated"), drawn=drawn)
        told = Progress()  # for which the time is estimated
        carry_out(
            planned, tmp_path / "suite", mmkit.installed(), cache=tmp_path / "cache", yardsticks=False, progress=told
        )
        # Of each seed of confirmation: left, right after left, and right alone, which begins elsewhere if left has
        # drawn; of each of the race, which has no single inputs, the first two. The rehearsal has a seed of its own,
        # and where left has drawn, the estimate of the time builds both of the first combination once more.
        assert Frozen.built == ((3 + 2) + 2 + 2 + 3 + 3 if drawn else 5 * 2)
        samples = 48 + 256 + 512
        rehearsed = STEP_SAMPLES * (3 * 2 + 2)
        paced = 48 * (3 if drawn else 2) + INFERENCE_BATCH * 2
        raced = 2 * 2 * (48 + 256) if drawn else 0  # the race reads no test
        assert Frozen.encoded == samples * (2 * 3 if drawn else 2) + raced + rehearsed + paced

    def test_trained_encoders_are_never_shared(self, tmp_path):
        planned = plan(mmkit.installed(), task=TASK, fusions=["concat", "sum"], seeds=1, settings=Settings("cpu"),
                       training={"epochs": 2, "min_steps": 0})  # fmt: skip
        shared = Shared()
        (_, first), (_, second) = (execute(run, shared=shared) for run in planned.runs()[:2])
        for name in ("left", "right"):
            assert first.module.encoders[name] is not second.module.encoders[name]
            # Read twice from the task, but with the same content.
            assert first.transforms.inputs[name] is second.transforms.inputs[name]


class TestCopies:
    def test_copies_are_encoded_once_for_all_seeds_and_fusions(self, tmp_path):
        planned = asked(("concat", "sum"), noise=0.1, drawn=False, training={"copies": 3})
        runs = [planned.run(one, seed) for seed in range(2) for one in planned.all]
        shared = Shared(tmp_path)
        records = [execute(run, shared=shared)[0] for run in runs if run.combination.fusion]
        assert Frozen.encoded == 2 * (3 * 48 + 256 + 512)
        assert {tuple(record.encoded_in_copies) for record in records} == {("left", "right")}
        assert {tuple(record.encoded_anew) for record in records} == {()}
        copies = [one.about["of"].get("copy") for one in cache_entries(tmp_path)]
        assert sorted(copies, key=str) == [0, 0, 1, 1, 2, 2, None, None, None, None]

    def test_more_copies_reuse_the_cached_ones(self, tmp_path):
        for copies, fresh in ((2, 2 * (2 * 48 + 256 + 512)), (3, 2 * 48), (1, 0)):
            Frozen.encoded = 0
            run = asked(["concat"], 1, noise=0.1, drawn=False, training={"copies": copies}).runs()[0]
            execute(run, shared=Shared(tmp_path))
            assert Frozen.encoded == fresh

    def test_copies_differ_and_epochs_choose_them_by_seed(self):
        (run,) = asked(["concat"], 1, noise=0.1, drawn=False, training={"copies": 3}).runs()[:1]
        splits = run.splits(mmkit.installed())
        train = splits.with_truth("train")
        transforms = Transforms.fitted(run.combination, splits.task.target, train.inputs, train.truth)
        known = Known(build_model(run.combination, transforms)[0], run.combination, transforms, copies=3)
        data = known.dataset(train, augment=True)
        first, second, third = (stored.tokens for stored in data.copies["left"].several)
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)
        again = known.dataset(train, augment=True)
        assert torch.equal(again.copies["left"].several[1].tokens, second)

        def numbers(seed):
            epochs = [data.draw_copies(augmentation(seed, epoch, 2)) for epoch in range(1, 13)]
            return [
                [next(k for k in range(3) if data.copies[n].several[k] is epoch.inputs[n]) for n in ("left", "right")]
                for epoch in epochs
            ]

        assert numbers(0) == numbers(0)
        assert numbers(0) != numbers(1)
        assert {k for pair in numbers(0) for k in pair} == {0, 1, 2}
        assert any(left != right for left, right in numbers(0))

    def test_without_augmentation_there_are_no_copies(self, tmp_path):
        record, _ = execute(asked(["concat"], 1, training={"copies": 3}).runs()[0], shared=Shared(tmp_path))
        assert (record.encoded_once, record.encoded_in_copies) == (["left", "right"], [])
        assert len(cache_entries(tmp_path)) == 6


class TestPrices:
    def test_a_shared_frozen_encoder_is_timed_once(self):
        planned = asked(("concat", "sum"), 1)
        combinations = {combination.label: combination for combination in planned.all}
        splits = splits_of(planned.task, mmkit.installed(), Settings("cpu"))
        found = measure_costs(combinations, splits, planned.training, Settings("cpu"), rounds=6, max_seconds=2)
        assert Frozen.built == 3
        for cost in found.of.values():
            assert cost.throughput.inference_samples_per_s > 0
            assert cost.throughput.latency_ms["p50"] > 0
            assert cost.cost.flops_per_sample > 0
        both, alone = (found.of[name].throughput.inference_samples_per_s for name in ("concat", "only:left"))
        assert both < alone
        assert set(found.rounds["inference"]["rates"]) == set(combinations)

    def test_parts_are_added_up_round_by_round(self):
        seconds = {"a": (1.0, 2.0), "b": (10.0, 30.0), "c": (5.0, 5.0)}
        timed = Timings(seconds, {"a": 3, "b": 2, "c": 9}, "clock", "cpu", ("b",))
        found = timed.summed({"one": ["a", "b"], "other": ["a", "c"], "third": ["c"]})
        assert found.seconds == {"one": (11.0, 32.0), "other": (6.0, 7.0), "third": (5.0, 5.0)}
        assert found.calls == {"one": 2, "other": 3, "third": 9}
        assert found.unsettled == ("one",)


class TestDigests:
    def test_values_that_cannot_be_hashed_are_encoded_in_every_run_with_one_warning(self, tmp_path):
        told = []

        class Told(Progress):
            def warn(self, message):
                told.append(message)

        shared = Shared(tmp_path, Told())
        runs = asked(["concat", "sum"], 1).runs()[:2]
        splits = runs[0].splits(mmkit.installed())
        samples = splits.with_truth("train")
        samples.inputs["left"] = [Odd(value) for value in samples.inputs["left"]]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Frozen.reads, "__call__", _plainly(Frozen.reads.__call__))
            patch.setattr(Frozen.reads, "fit", _plainly(Frozen.reads.fit))
            first, second = (execute(run, splits, shared=shared)[0] for run in runs)
        (message,) = told
        assert message.startswith(
            "values of type Odd cannot be hashed by their content, so their features are computed"
        )
        assert first.status == second.status == "ok"


class Odd:
    """A value in memory of a third party's making."""

    def __init__(self, value):
        self.value = value


def _plainly(function):
    def call(self, values, *rest):
        return function(self, [one.value if isinstance(one, Odd) else one for one in values], *rest)

    return call
