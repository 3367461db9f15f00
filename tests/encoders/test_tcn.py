"""The temporal convolutional network against one step and one tap at a time, each series alone, in float64."""

import itertools
import pickle
import types

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mmkit.encoders.tcn import TcnEncoder, WeightNormConv

SHAPES = [
    {"layers": 1, "kernel": 1},
    {"layers": 3, "kernel": 3},
    {"layers": 2, "kernel": 5, "width": 2},  # as wide as the input: the first shortcut is the input itself
    {"layers": 2, "kernel": 2, "causal": True},
    {"layers": 3, "kernel": 3, "causal": True},
]
LENGTHS = (9, 1, 0, 4)


def tcn(*, channels=2, **options):
    return TcnEncoder(types.SimpleNamespace(channels=channels), **{"width": 8, "dropout": 0.0} | options).double()


def batch_of(lengths, channels=2, padding=0):
    longest = max(lengths) + padding
    mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    return {"steps": torch.randn(len(lengths), longest, channels, dtype=torch.float64), "mask": mask}


def plain_convolution(conv, x, causal):
    """[outer] of each step of x, a list of [inner]; what lies outside of the series is zero."""
    weight = torch.empty_like(conv.direction)
    for row, (direction, length) in enumerate(zip(conv.direction, conv.length, strict=True)):
        weight[row] = length * direction / direction.square().sum().sqrt()
    kernel = weight.shape[2]
    before = kernel - 1 if causal else kernel // 2
    out = []
    for t in range(len(x)):
        total = conv.bias.clone()
        for tap in range(kernel):
            place = t + (tap - before) * conv.dilation
            if 0 <= place < len(x):
                total = total + weight[:, :, tap] @ x[place]
        out.append(total)
    return out


def plain(encoder, x, causal):
    """The tokens of one series [T C]."""
    values = list(x)
    for number, block in enumerate(encoder.blocks):
        assert block.first.dilation == block.second.dilation == 2**number
        inner = [step.relu() for step in plain_convolution(block.first, values, causal)]
        inner = [step.relu() for step in plain_convolution(block.second, inner, causal)]
        if block.shortcut is not None:
            values = [block.shortcut.weight[:, :, 0] @ step + block.shortcut.bias for step in values]
        values = [(a + b).relu() for a, b in zip(inner, values, strict=True)]
    return torch.stack(values)


@pytest.mark.parametrize("options", SHAPES)
def test_a_padded_batch_is_each_series_alone_step_by_step(options):
    encoder = tcn(**options)
    batch = batch_of(LENGTHS, padding=3)
    batch["steps"][~batch["mask"]] = float("nan")
    features = encoder(batch)
    assert torch.equal(features.mask, batch["mask"])
    assert features.tokens.shape == (*batch["mask"].shape, encoder.width)
    for row, length in enumerate(LENGTHS):
        if length:
            expected = plain(encoder, batch["steps"][row, :length], options.get("causal", False))
            torch.testing.assert_close(features.tokens[row, :length], expected)
        assert not features.tokens[row, length:].any()


@pytest.mark.parametrize("options", SHAPES)
def test_a_token_sees_as_many_steps_as_is_said(options):
    encoder = tcn(**options)
    for parameter in encoder.parameters():
        parameter.data.abs_()  # no ReLU cuts anything off
    before = after = (options["kernel"] - 1) * (2 ** options["layers"] - 1)
    if options.get("causal"):
        before, after = 2 * before, 0
    batch = batch_of([before + after + 5])
    steps = batch["steps"].abs_().requires_grad_()
    place = before + 2
    encoder(batch).tokens[0, place].sum().backward()
    seen = steps.grad[0].ne(0).all(1).nonzero().flatten().tolist()
    assert seen == list(range(place - before, place + after + 1))


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_every_parameter_gets_a_gradient(options, training):
    encoder = tcn(**options).train(training)
    tokens = encoder(batch_of(LENGTHS)).tokens
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_kernel_without_a_middle_is_only_for_causal_networks():
    tcn(kernel=4, causal=True)
    with pytest.raises(ValueError, match="kernel 4 is even; take an odd one, so that it has a middle, or causal=true"):
        tcn(kernel=4)


def test_dropout_takes_whole_channels_of_a_series():
    torch.manual_seed(0)
    block = tcn(layers=1, width=64, dropout=0.5).blocks[0]
    shares = block.dropout(torch.ones(3, 64, 7)).eq(0).double().mean(2)  # [B D], of the steps of each channel
    assert set(shares.unique().tolist()) == {0.0, 1.0}
    assert 0.3 < shares.mean() < 0.7  # 192 channels at 0.5: five standard deviations are 0.18


class TestWeightNorm:
    def pair(self, dilation=2):
        ours = WeightNormConv(3, 4, 3, dilation, causal=False).double()
        theirs = weight_norm(nn.Conv1d(3, 4, 3, padding=dilation, dilation=dilation)).double()
        theirs.parametrizations.weight.original0.data = ours.length.detach()[:, None, None].clone()
        theirs.parametrizations.weight.original1.data = ours.direction.detach().clone()
        theirs.bias.data = ours.bias.detach().clone()
        return ours, theirs

    def test_it_is_that_of_torch_with_its_gradients(self):
        ours, theirs = self.pair()
        x = torch.randn(2, 3, 11, dtype=torch.float64)
        grown = torch.randn(2, 4, 11, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))
        for module in (ours, theirs):
            (module(x) * grown).sum().backward()
        original = theirs.parametrizations.weight
        torch.testing.assert_close(ours.length.grad, original.original0.grad.flatten())
        torch.testing.assert_close(ours.direction.grad, original.original1.grad)
        torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)

    def test_it_begins_as_an_ordinary_convolution(self):
        torch.manual_seed(3)
        ours = WeightNormConv(3, 4, 3, 1, causal=False)
        torch.manual_seed(3)
        plain = nn.Conv1d(3, 4, 3, padding=1)
        x = torch.randn(2, 3, 5)
        torch.testing.assert_close(ours(x), plain(x))

    def test_only_the_direction_of_its_direction_counts(self):
        ours, _ = self.pair()
        x = torch.randn(2, 3, 11, dtype=torch.float64)
        before = ours(x)
        ours.direction.data *= torch.tensor([0.1, 2.0, 30.0, 7.0], dtype=torch.float64)[:, None, None]
        torch.testing.assert_close(ours(x), before)

    def test_it_can_be_pickled(self):
        ours, _ = self.pair()
        x = torch.randn(2, 3, 11, dtype=torch.float64)
        torch.testing.assert_close(pickle.loads(pickle.dumps(ours))(x), ours(x))


def test_causal_tokens_do_not_change_when_steps_are_added():
    encoder = tcn(layers=3, causal=True)
    steps = torch.randn(1, 12, 2, dtype=torch.float64)
    whole = encoder({"steps": steps, "mask": torch.ones(1, 12, dtype=torch.bool)}).tokens
    for length in itertools.chain(range(1, 12, 4), [11]):
        part = encoder({"steps": steps[:, :length], "mask": torch.ones(1, length, dtype=torch.bool)}).tokens
        torch.testing.assert_close(part, whole[:, :length])
