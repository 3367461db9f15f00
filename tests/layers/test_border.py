"""What a fusion sees of features at the border: nothing passes beside it, from within encoders neither."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.layers.border import detached, scaled, without
from tests.balances.steps import WITHIN, with_places
from tests.model.network_cases import in_float64, trained_from


def features():
    """Two tokens, a summary, and what a fusion took at two places; the last of three rows is missing."""
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    tokens, pooled = torch.randn(3, 2, 4), torch.randn(3, 4)
    inner = {"vectors": torch.randn(3, 5), "maps": torch.randn(3, 2, 2, 5)}
    for tensor in (tokens, pooled, *inner.values()):
        tensor.requires_grad_()
    return Features.of(tokens, mask, pooled, inner=inner), [tokens, pooled, *inner.values()]


def parts(part):
    return [part.tokens, part.pooled, *part.inner.values()]


@pytest.mark.parametrize("share", [0.0, 0.25, torch.tensor([0.5, 0.1, 0.7])])
def test_every_part_has_its_share_of_the_gradient(share):
    given, leaves = features()
    changed = scaled(given, torch.as_tensor(share))
    for one, before in zip(parts(changed), parts(given), strict=True):
        torch.testing.assert_close(one, before)
    found, plain = (
        torch.autograd.grad(sum(part.square().sum() for part in parts(of)), leaves, retain_graph=True)
        for of in (changed, given)
    )
    for one, before in zip(found, plain, strict=True):
        each = torch.as_tensor(share).expand(3).reshape(3, *(1,) * (one.ndim - 1))
        torch.testing.assert_close(one, each * before)


def test_no_part_of_what_is_detached_has_a_gradient():
    given, _ = features()
    assert not any(part.requires_grad for part in parts(detached(given)))


def test_what_is_left_out_is_zero_in_every_part():
    given, _ = features()
    left = without(given, torch.tensor([True, False, True]))
    assert left.present().tolist() == [True, False, False]
    for one, before in zip(parts(left), parts(given), strict=True):
        assert torch.equal(one[0], before[0])
        assert not one[1:].any()


@pytest.mark.parametrize("fusion", ["concat", "attention", *sorted(WITHIN)])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_gradient_of_encoders_is_scaled_as_the_border_says_whatever_the_fusion(fusion, share):
    torch.manual_seed(0)
    step, data = trained_from(fusion, **with_places(fusion))
    model = step.model.double().eval()
    assert model.fuses_within == (fusion in WITHIN)
    batch, truth = data.batch(torch.arange(12))
    encoded = model.encode(in_float64(batch))
    encoders = list(model.encoders.parameters())

    def gradients(seen):
        loss = model.output_head.loss(model.fuse(encoded, seen).output, truth).sum()
        return torch.autograd.grad(loss, encoders, retain_graph=True, allow_unused=True, materialize_grads=True)

    plain = gradients(None)
    assert any(gradient.any() for gradient in plain)
    found = gradients({name: scaled(part, torch.tensor(share)) for name, part in encoded.items()})
    for one, before in zip(found, plain, strict=True):
        torch.testing.assert_close(one, share * before)
