"""Tuning starts where training on the frozen features ended, and never ends behind it on validation."""

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features
from mmkit.data.packed import Packed
from mmkit.data.readings import Live
from mmkit.encoders.fcn import FcnEncoder
from mmkit.experiments.beside import Beside
from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import probed
from mmkit.experiments.run import execute
from mmkit.plugin import EncoderSpec
from mmkit.pretrained.tuning import Tuned
from mmkit.report.card import notes
from mmkit.system.settings import Settings
from mmkit.training import phases
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.loop import fit
from mmkit.training.phases import held


class Wrapped(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, batch):
        found = self.encoder(batch)
        return found.tokens, found.mask


class Pretrained(nn.Module):
    """Weights that are the same in every run, as if they came from a file."""

    reads = FcnEncoder.reads
    augments = False

    def __init__(self, transform, *, tune: str = "frozen"):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = FcnEncoder(transform, width=16)
        self.width = encoder.width
        self.tuned = Tuned(Wrapped(encoder), tune, blocks=())
        self.frozen = self.tuned.frozen

    def forward(self, batch):
        return Features.of(*self.tuned(batch))


def trained(tune, *, noise=0.0, beside=None, purpose="comparison", **training):
    chosen = mmkit.installed().choose(
        "encoder",
        Pretrained,
        {"noise": noise, "time_mask": 0.0, "tune": tune},
        spec=EncoderSpec("pretrained", "", "", modality="series"),
    )
    asked = plan(
        mmkit.installed(),
        task="synthetic-unique:train=64,missing=0.2",
        encoders={"series": [chosen]},
        fusions=["concat"],
        training={"epochs": 4, "min_steps": 0, **training},
        seeds=1,
        baselines=False,
        settings=Settings("cpu"),
    )
    return execute(asked.runs()[0], beside=beside, purpose=purpose)


def best(record):
    values = [entry[record.epoch_metric] for entry in record.history]
    return min(values) if record.epoch_metric.endswith("loss") else max(values)


def test_the_start_of_tuning_is_the_best_of_frozen():
    (frozen, model), (full, other) = trained("frozen"), trained("full")
    first = full.history[0]
    assert (first["epoch"], first["loss"]) == (0, None)
    assert first[full.epoch_metric] == pytest.approx(best(frozen), rel=1e-5)
    assert [entry["epoch"] for entry in full.history] == [0, 1, 2, 3, 4]
    assert full.encoded_once == []
    for name in frozen.encoders:  # features are scaled as they were before tuning
        one, two = (m.module.scalings[m.module.names[name]].state_dict() for m in (model, other))
        torch.testing.assert_close(two, one)
        assert float(one["tokens_scale"]) != 1


def test_a_search_for_a_rate_probes_and_leaves_tuning_out():
    """The rate of the list acts on the first phase alone, so a search sees what frozen encoders give."""
    (frozen, _), (searched, model) = trained("frozen"), trained("full", purpose="search")
    assert [one["epoch"] for one in searched.history] == [1, 2, 3, 4]
    assert searched.validation == pytest.approx(frozen.validation, rel=1e-5)
    assert searched.metrics == {}
    assert [one.name for one in searched.phases] == ["probing"]
    assert probed(searched)  # no run of the race
    weights = next(iter(model.module.encoders.values())).state_dict()
    _, untouched = trained("frozen")
    for name, value in next(iter(untouched.module.encoders.values())).state_dict().items():
        torch.testing.assert_close(weights[name], value)


def test_a_search_without_probing_tunes_since_the_rate_acts_there():
    searched, _ = trained("full", purpose="search", probe=False)
    assert "series" not in searched.encoded_once
    assert [one["epoch"] for one in searched.history] == [1, 2, 3, 4]
    assert [one.name for one in searched.phases] == ["tuning"]


def test_tuning_that_ends_with_its_best_epoch_is_said_to_improve_still():
    record, _ = trained("full", tune_epochs=2, epochs=6, probe=False)
    assert [(one.name, one.planned) for one in record.phases] == [("tuning", 2)]
    assert record.best_epoch == 2
    assert record.still_improving
    assert "longer training may be better (train.tune_epochs)" in notes(record)[-1]


@pytest.mark.parametrize("tune_lr", [1e-4, 10.0])
def test_on_validation_the_result_is_never_behind_the_frozen_encoder(tune_lr):
    """Even at a rate that destroys the backbone."""
    frozen, _ = trained("frozen")
    full, _ = trained("full", tune_lr=tune_lr)
    name = full.epoch_metric
    ahead = full.validation[name] - frozen.validation[name]
    assert (-ahead if name.endswith("loss") else ahead) >= -1e-5
    if tune_lr == 10.0:
        assert full.best_epoch == 0


def test_tuning_changes_the_backbone():
    _, model = trained("full", tune_lr=1e-2, tune_epochs=6)
    _, frozen = trained("frozen")
    one, two = (next(iter(m.module.encoders.values())).state_dict() for m in (model, frozen))
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_only_the_first_phase_smooths_the_truth_and_holds_the_backbone(monkeypatch):
    seen = []

    def noted(step, *given, **options):
        backbone = next(iter(step.model.encoders.values()))
        seen.append((step.model.head.criterion.smoothing, any(p.requires_grad for p in backbone.parameters())))
        return fit(step, *given, **options)

    monkeypatch.setattr(phases, "fit", noted)
    _, model = trained("full")
    assert seen == [(0.1, False), (0.0, True)]
    assert model.module.head.criterion.smoothing == 0.1


def test_without_probing_the_start_does_not_count():
    record, model = trained("full", probe=False)
    assert [entry["epoch"] for entry in record.history] == [1, 2, 3, 4]
    assert float(next(iter(model.module.scalings.values())).tokens_scale) != 1


def test_an_input_that_is_augmented_is_probed_as_it_is(monkeypatch):
    shown = []

    def noted(step, data, *given, **options):
        shown.append({type(one) for one in data.inputs.values()})
        return fit(step, data, *given, **options)

    monkeypatch.setattr(phases, "fit", noted)
    record, _ = trained("full", noise=0.1)
    assert shown == [{Packed}, {Live}]
    assert record.history[0]["epoch"] == 0
    assert record.encoded_anew == record.encoded_once == []


def test_what_is_held_is_trained_again_afterwards_also_after_an_error():
    module = nn.Linear(2, 2)
    module.bias.requires_grad = False

    def stop():
        with held([module]):
            assert not any(p.requires_grad for p in module.parameters())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    assert (module.weight.requires_grad, module.bias.requires_grad) == (True, False)


class Ending(Checkpoints):
    """Ends the training after a number of checkpoints."""

    left = 0

    def write(self, state):
        super().write(state)
        Ending.left -= 1
        if not Ending.left:
            raise KeyboardInterrupt


def test_a_training_that_ends_in_either_phase_goes_on_to_the_same_bits(tmp_path):
    (plain, one), phases_seen = trained("full", epochs=2), []
    for left in (3, 1, 1, 2):  # of four in each phase: within probing, at its end, and twice within tuning
        Ending.left = left
        with pytest.raises(KeyboardInterrupt):
            trained("full", epochs=2, beside=Beside(Ending(tmp_path / "c.safetensors", 1e-9, 1, "x")))
        phases_seen.append(
            Checkpoints(tmp_path / "c.safetensors", of=["x", 64, plain.samples.validation]).read()["phase"]
        )
    again, other = trained("full", epochs=2, beside=Beside(Checkpoints(tmp_path / "c.safetensors", of="x")))
    assert phases_seen[0] == "probing"
    assert phases_seen[-1] == "tuning"
    assert (again.history, again.phases, again.metrics) == (plain.history, plain.phases, plain.metrics)
    ours, theirs = one.module.state_dict(), other.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
