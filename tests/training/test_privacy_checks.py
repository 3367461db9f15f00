"""What cannot be trained privately is found by what it does, and named."""

import re
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features, Samples
from mmkit.errors import UsageError
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.system.ranks import Ranks
from mmkit.training.optimisation import Training
from mmkit.training.privacy import Private
from mmkit.training.privacy_checks import check_asked, check_batch, check_rows_alone
from tests.model.network_cases import FUSIONS, TASK, trained_from

ENCODERS = {"series": "tcn:width=8,layers=1"}
MIXING_OBJECTIVES = (
    "barlow", "contrastive", "deep-cca", "independence", "moments", "siglip", "supervised-contrastive", "vicreg",
)  # fmt: skip
"""Objectives whose papers compare the rows of a batch."""
ALONE_OBJECTIVES = ("unimodal", "kl-align")
"""Those that look at one row."""


REFUSED = {
    "channel-exchange": "the fusion looks at several rows",
    "energy": "objective energy-ranking looks at several rows",
    "evidential": "objective evidential-loss keeps something in training (objectives.evidential_loss.batches)",
    "flex-moe": "the fusion looks at several rows",
    "mixture-of-experts": "the fusion looks at several rows",
    "shared-private": "the fusion looks at several rows",
}
"""Fusions that cannot be trained privately, with what comes along with them: batch normalisation, penalties that count
a batch, ranks of its rows, and a count of batches."""


def why(fusion="concat", encoders=None, task=TASK, **rest):
    step, data = trained_from(fusion, task, encoders or ENCODERS, **rest)
    before = {name: one.clone() for name, one in step.state_dict().items()}
    state = torch.get_rng_state()
    try:
        check_rows_alone(step, data, "float32")
    except UsageError as error:
        return str(error)
    finally:
        assert all(torch.equal(one, before[name]) for name, one in step.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
    return ""


def test_a_model_whose_rows_are_alone_passes_with_dropout_and_missing_inputs():
    assert why("attention") == ""


@pytest.mark.parametrize("fusion", [pytest.param(f, marks=pytest.mark.full) for f in FUSIONS])
def test_fusions_of_one_row_pass_and_those_that_count_a_batch_are_refused(fusion):
    found = why(fusion)
    assert bool(found) == (fusion in REFUSED), found
    assert found.startswith(REFUSED.get(fusion, ""))


@pytest.mark.parametrize("encoder", ["fcn:width=16,layers=1", "fcn:width=8,layers=2"])
def test_batch_normalisation_is_named_with_its_input(encoder):
    assert why(encoders={"series": encoder}) == (
        "the encoder of front looks at several rows at once in training, and private training takes each alone; choose "
        "another, such as one without recurrence and batch normalisation"
    )


def test_recurrence_has_no_rule_and_is_named():
    found = why(encoders={"series": "series-rnn"})
    assert found.startswith("the encoder of front cannot be trained privately: torch has no rule")
    assert "\n" not in found


class Twice:
    """A task of two inputs of one modality, some of them missing."""

    def __init__(self, modality):
        self.inputs = {"a": modality, "b": modality}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}

    def split(self, name):
        generator = torch.Generator().manual_seed(0)
        modality = installed().find("modality", self.inputs["a"]).load()()
        columns = {
            given: [None if row % 5 == place else modality.example(generator) for row in range(16)]
            for place, given in enumerate(self.inputs)
        }
        return Samples([f"{name}-{row}" for row in range(16)], columns, ["yn"[row % 2] for row in range(16)])


@pytest.mark.full
def test_the_page_names_the_encoders_that_remain():
    page = (Path(mmkit.__file__).parent / "training" / "privacy.md").read_text()
    (told,) = re.findall(r"Of mmkit's own encoders these remain: ([^.]*);", page)
    ours = [entry for entry in installed().available("encoder") if entry.distribution == "mmkit-core"]
    able = {one.name for one in ours if not why(task=made(of(one)), encoders=every(one))}
    assert set(re.findall("`([^`]*)`", told)) == able


def of(entry):
    """The modality that an encoder reads."""
    return cast(EncoderSpec, entry.spec).modality


def made(modality):
    return type(f"Twice{modality.title()}", (Twice,), {"__init__": lambda self: Twice.__init__(self, modality)})


def every(entry):
    return {"a": entry.name, "b": entry.name}


@pytest.mark.parametrize("objective", MIXING_OBJECTIVES)
def test_objectives_that_compare_rows_are_named(objective):
    if objective not in {entry.name for entry in installed().available("objective")}:
        pytest.fail(f"there is no objective {objective}")
    assert why(objectives=[objective]).startswith(f"objective {objective} looks at several rows at once")


class Sorted(Twice):
    """Rows in the order of their sources and classes: those of the first, which are most, lack an input."""

    def __init__(self):
        super().__init__("series")

    def split(self, name):
        samples = super().split(name)
        rows = [place % 16 for place in range(64)]
        columns = {given: [column[row] for row in rows] for given, column in samples.inputs.items()}
        columns["a"][:40] = [None] * 40
        return Samples([f"{name}-{row}" for row in range(64)], columns, ["yn"[row // 32] for row in range(64)])


@pytest.mark.parametrize("objective", MIXING_OBJECTIVES)
def test_they_are_found_where_the_first_rows_lack_an_input(objective):
    found = why(task=Sorted, objectives=[objective])
    assert found.startswith(f"objective {objective} looks at several rows at once")


@pytest.mark.parametrize("objective", ALONE_OBJECTIVES)
def test_objectives_of_one_row_pass(objective):
    assert why(objectives=[objective]) == ""


class Remembering(nn.Module):
    """A fusion that keeps the last rows that it saw, and gives each row for itself."""

    def __init__(self, widths):
        super().__init__()
        self.width = next(iter(widths.values()))
        self.memory: torch.Tensor
        self.register_buffer("memory", torch.zeros(self.width))

    def forward(self, features):
        fused = sum(one.vector() for one in features.values())
        if self.training:
            self.memory = 0.9 * self.memory + 0.1 * fused.detach().mean(0)
        return Features.of(fused)


def test_a_component_that_keeps_something_of_the_rows_is_named_with_its_buffer():
    assert why(Remembering) == (
        "the fusion keeps something in training (model.fusion.memory), and private training keeps nothing of its rows "
        "but sums with noise; choose another, such as one without recurrence and batch normalisation"
    )


class Branching(Remembering):
    """A fusion that branches on values, as the contract forbids."""

    def forward(self, features):
        if all(bool(one.present().all()) for one in features.values()):
            return Features.of(sum(one.vector() for one in features.values()))
        return Features.of(sum(one.vector() for one in features.values()) * 0.5)


def test_control_flow_by_values_is_named():
    assert why(Branching).startswith("the fusion cannot be trained privately: torch has no rule")


PRIVATE = Training(private=Private(epsilon=3, delta=1e-5), patience=None)


def test_balance_methods_are_refused():
    step, _ = trained_from("concat", TASK, ENCODERS, balances=["ogm"])
    with pytest.raises(UsageError, match="balance ogm changes those of a batch; leave out"):
        check_asked(step, PRIVATE, "float32")


def test_several_ranks_are_refused(monkeypatch):
    step, _ = trained_from("concat", TASK, ENCODERS)
    check_asked(step, PRIVATE, "float32")
    monkeypatch.setattr("mmkit.training.privacy_checks.ranks", lambda: Ranks(1, 2))
    with pytest.raises(UsageError, match="private training is of one process"):
        check_asked(step, PRIVATE, "float32")


def test_float16_is_refused_and_bfloat16_is_not():
    step, data = trained_from("concat", TASK, ENCODERS)
    with pytest.raises(UsageError, match="take --precision bfloat16 or float32"):
        check_asked(step, PRIVATE, "float16")
    check_asked(step, PRIVATE, "bfloat16")
    check_rows_alone(step, data, "bfloat16")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patience": 3}, "leave out train.patience"),
        ({"clip": 2.0}, "give clip within --private, such as epsilon=E,delta=D,clip=2"),
        ({"sampler": "balanced"}, "sampler=balanced shows some rows more often"),
        ({"sampler": "over"}, "sampler=over shows some rows more often"),
        ({"mixup": 0.2}, "leave out train.mixup"),
        ({"rates": [0.01, 0.02]}, "give one by --lr in place of train.rates"),
    ],
)
def test_options_of_training_that_do_not_go_with_it_are_refused(options, reason):
    training = {"private": "epsilon=3,delta=1e-5", **options}
    with pytest.raises(UsageError, match=reason) as caught:
        mmkit.fit(task=TASK, training=training, search="rates" in options, progress=False)
    assert "\n" not in str(caught.value)


def test_more_than_one_training_is_refused():
    with pytest.raises(UsageError, match=r"bench trains many models .* mmkit train --private"):
        mmkit.bench(task=TASK, fusion="concat", training={"private": "epsilon=3,delta=1e-5"}, progress=False)
    with pytest.raises(UsageError, match="leave out --refit"):
        mmkit.fit(task=TASK, fusion="concat", training={"private": "epsilon=3,delta=1e-5"}, refit=True, progress=False)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("epsilon=3", "private needs delta"),
        ("delta=1e-5", "takes epsilon, .* or noise, .*; got neither"),
        ("epsilon=3,noise=1,delta=1e-5", "got both"),
        ("epsilon=0,delta=1e-5", "epsilon is a number above 0; got 0"),
        ("epsilon=nan,delta=1e-5", "epsilon is a number above 0; got nan"),
        ("epsilon=inf,delta=1e-5", "epsilon is a number above 0; got inf"),
        ("epsilon=3,delta=2", "delta is a probability between 0 and 1; got 2"),
        ("epsilon=3,delta=1e-5,clip=-1", "clip is a number above 0; got -1"),
        ("epsilon=three,delta=1e-5", "epsilon is a number; got 'three'"),
        ("epsilon=3,epsilon=4,delta=1e-5", "epsilon is given twice"),
        ("epsilom=3,delta=1e-5", "private has no entry epsilom; did you mean epsilon"),
        ("3", r"private is epsilon=E,delta=D\[,clip=C\]; got '3'"),
        ({"epsilon": True, "delta": 1e-5}, "epsilon is a number; got True"),
        (3, "private is epsilon=E,delta=D, or a mapping"),
    ],
)
def test_wrong_values_are_told_in_a_line(given, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        mmkit.fit(task=TASK, training={"private": given}, progress=False)
    assert "\n" not in str(caught.value)


def test_a_text_and_a_mapping_are_the_same():
    asked = Private.of("epsilon=3, delta=1e-5, clip=0.5")
    assert asked == Private.of({"epsilon": 3, "delta": 1e-5, "clip": 0.5}) == Private.of(asked.document())
    assert Private.of(str(asked)) == asked


def test_features_of_frozen_encoders_need_no_rule():
    """A frozen encoder runs before the gradients of rows are taken, so that it may be what it likes."""
    step, data = trained_from("concat", TASK, {"series": "series-rnn"})
    batch, truth = data.batch(torch.arange(4))
    with pytest.raises(UsageError):
        check_batch(step, batch, {**truth, "index": torch.arange(4)}, "float32")
    for encoder in step.model.encoders.values():
        encoder.requires_grad_(requires_grad=False).frozen = True
    check_batch(step, batch, {**truth, "index": torch.arange(4)}, "float32")
