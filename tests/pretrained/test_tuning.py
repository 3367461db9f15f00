"""Which parameters each mode of tuning trains: tested by training."""

import copy

import pytest
import torch
from torch import nn

from mmkit.errors import UnavailableError, UsageError
from mmkit.pretrained.tuning import Tune, Tuned, is_mode
from mmkit.registry.options import Text, options_of, validated
from mmkit.training.optimisation import Training, parameter_groups

BLOCKS = ("blocks.0", "blocks.1", "blocks.2")


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)) for _ in range(3)
        )
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def trained(tune, **options):
    """A tuned backbone after three steps of AdamW, and what it was before."""
    torch.manual_seed(0)
    tuned = Tuned(Backbone(), tune, blocks=BLOCKS, after=("norm",), **options)
    head = nn.Linear(8, 1)
    before = copy.deepcopy(tuned.state_dict())
    optimizer = torch.optim.AdamW([p for p in [*tuned.parameters(), *head.parameters()] if p.requires_grad], lr=0.1)
    tuned.train()
    for _ in range(3):
        optimizer.zero_grad()
        head(tuned(torch.randn(16, 4) * 5 + 1)).square().mean().backward()
        optimizer.step()
    changed = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    return tuned, changed


def test_the_error_of_an_unknown_mode_lists_the_modes():
    class Component:
        """Built of a backbone.

        Args:
            tune: how much is trained.
        """

        def __init__(self, *, tune: Tune = "frozen"):
            self.tune = tune

    with pytest.raises(UsageError, match=r"option tune takes frozen, lora, dora, full or partial:N; got half$"):
        validated("encoder e", {"tune": Text("half")}, options_of(Component))


def test_frozen_changes_nothing_not_even_statistics():
    tuned, changed = trained("frozen")
    assert changed == set()
    assert tuned.frozen
    assert not any(module.training for module in tuned.backbone.modules())
    assert not tuned(torch.ones(2, 4)).requires_grad


def test_full_changes_everything():
    tuned, changed = trained("full")
    assert set(tuned.state_dict()) == changed
    assert not tuned.frozen
    assert all(module.training for module in tuned.backbone.modules())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_partial_changes_exactly_the_last_blocks_and_what_follows(count):
    tuned, changed = trained(f"partial:{count}")
    last = tuple(f"backbone.{name}." for name in (*BLOCKS[3 - count :], "norm"))
    assert changed == {name for name in tuned.state_dict() if name.startswith(last)}
    modes = [block.training for block in tuned.backbone.blocks]
    assert modes == [False] * (3 - count) + [True] * count
    assert not tuned.backbone.blocks[0][1].training or count == 3


@pytest.mark.parametrize("tune", ["lora", "dora"])
def test_adapters_change_and_the_base_does_not(tune):
    pytest.importorskip("peft")
    tuned, changed = trained(tune, rank=2)
    assert changed
    assert all("lora_" in name for name in changed)
    assert {name.split(".")[2] for name in changed} == {"0", "1", "2"}
    fresh = Tuned(Backbone(), tune, blocks=BLOCKS, rank=2)
    fresh.load_state_dict(tuned.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(fresh.eval()(x), tuned.eval()(x))


def test_switching_to_evaluation_and_back():
    tuned, _ = trained("partial:1")
    tuned.eval()
    assert not any(module.training for module in tuned.modules())
    tuned.train()
    assert [block.training for block in tuned.backbone.blocks] == [False, False, True]


def test_rates_fall_from_block_to_block():
    tuned = Tuned(Backbone(), "full", blocks=BLOCKS, after=("norm",), decay=0.5)
    shares = {name.split(".weight")[0]: share for name, share in tuned.rates.items() if name.endswith("weight")}
    assert shares["backbone.norm"] == 1
    assert [shares[f"backbone.blocks.{i}.0"] for i in range(3)] == [0.125, 0.25, 0.5]
    assert shares["backbone.stem"] == 0.0625
    found = parameter_groups(nn.ModuleList([tuned, nn.Linear(2, 2)]), Training(lr=7.0, tune_lr=1.0))
    groups = {group["peak"]: set() for group in found}
    for group in found:
        groups[group["peak"]] |= {id(parameter) for parameter in group["params"]}
    assert set(groups) == {7.0, 1.0, 0.5, 0.25, 0.125, 0.0625}
    assert groups[0.0625] == {id(p) for p in tuned.backbone.stem.parameters()}
    assert groups[1.0] == {id(p) for p in tuned.backbone.norm.parameters()}


@pytest.mark.parametrize("tune", ["partial", "partial:0", "partial:x", "half", ""])
def test_an_unknown_mode_is_an_error(tune):
    assert not is_mode(tune)
    with pytest.raises(ValueError, match=r"expected frozen, lora, dora, full or partial:N"):
        Tuned(Backbone(), tune, blocks=BLOCKS)


def test_more_blocks_than_the_backbone_has_are_an_error():
    with pytest.raises(ValueError, match="the backbone has 3 blocks"):
        Tuned(Backbone(), "partial:4", blocks=BLOCKS)


def test_without_peft_adapters_are_unavailable(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UnavailableError, match="pip install peft"):
        Tuned(Backbone(), "lora", blocks=BLOCKS)


def test_adapters_need_linear_layers():
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="needs linear layers"):
        Tuned(nn.Sequential(nn.Conv1d(1, 1, 1)), "lora", blocks=("0",))


def test_parameters_that_a_backbone_keeps_fixed_stay_fixed():
    backbone = Backbone()
    backbone.stem.weight.requires_grad = False
    tuned = Tuned(backbone, "full", blocks=BLOCKS)
    assert [name for name, weight in tuned.named_parameters() if not weight.requires_grad] == ["backbone.stem.weight"]


def test_linear_layers_with_transposed_weights_get_adapters_too():
    pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    block = nn.Sequential(transformers.pytorch_utils.Conv1D(8, 4), nn.GELU(), transformers.pytorch_utils.Conv1D(3, 8))
    before = block(torch.ones(2, 4))
    tuned = Tuned(nn.Sequential(block), "lora", blocks=("0",), rank=2)
    torch.testing.assert_close(tuned(torch.ones(2, 4)), before)
    shapes = {name.split(".")[2]: list(weight.shape) for name, weight in tuned.named_parameters() if "lora_B" in name}
    assert shapes == {"0": [8, 2], "2": [3, 2]}


def test_gradients_pass_through_a_frozen_backbone_to_trained_modules_before_it():
    given = torch.randn(4, 4, requires_grad=True)
    still = Tuned(Backbone(), "frozen", blocks=BLOCKS)
    assert not still(given).requires_grad
    through = Tuned(Backbone(), "frozen", blocks=BLOCKS, through=True)
    through(given)[:, 0].sum().backward()
    assert given.grad.any()
    assert through.frozen
    assert all(p.grad is None for p in through.parameters())


def test_checkpointing_needs_blocks():
    with pytest.raises(ValueError, match="none were identified in this backbone; omit checkpointing"):
        Tuned(Backbone(), "full", blocks=(), checkpointing=True)


@pytest.mark.parametrize(("tune", "runs"), [("frozen", 3), ("partial:1", 4), ("full", 6), ("lora", 6)])
def test_checkpointing_runs_blocks_with_gradients_twice_and_changes_no_result(tune, runs):
    if tune == "lora":
        pytest.importorskip("peft")
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        tuned = Tuned(Backbone(), tune, blocks=BLOCKS, after=("norm",), checkpointing=checkpointing).train()
        counted = []
        for block in tuned.backbone.blocks:
            block[0].register_forward_pre_hook(lambda *_, counted=counted: counted.append(1))
        learnt = nn.Linear(8, 1)
        torch.manual_seed(1)
        learnt(tuned(torch.randn(16, 4))).square().mean().backward()
        gradients = {name: p.grad for name, p in tuned.named_parameters() if p.grad is not None}
        found.append((gradients, tuned.state_dict()))
        assert len(counted) == (runs if checkpointing else 3)
        assert copy.deepcopy(tuned).eval()(torch.ones(2, 4)).isfinite().all()
    for plain, again in zip(*found, strict=True):
        assert plain.keys() == again.keys()
        assert all(torch.equal(plain[name], again[name]) for name in plain)  # statistics of batch norms as well
