"""Layers over packed tokens against the same layers over all tokens, with gradients; and where nothing is packed."""

import pytest
import torch

from mmkit.layers import attention, packing
from mmkit.layers.attention import TransformerLayer


def _ragged(batch, length, width, *, holes=False):
    mask = torch.arange(length) < torch.randint(1, length, (batch, 1))
    if holes:
        mask &= torch.rand(batch, length) < 0.5
        mask[1] = False  # a missing input
    return torch.randn(batch, length, width, dtype=torch.float64) * mask.unsqueeze(2), mask


def _padded(monkeypatch):
    monkeypatch.setattr(attention, "worthwhile", lambda *_: None)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(("batch", "length"), [(6, 16), (35, 40)])
def test_real_tokens_and_all_gradients_are_those_of_all_tokens(monkeypatch, holes, batch, length):
    layer = TransformerLayer(8, heads=2).double()
    tokens, mask = _ragged(batch, length, 8, holes=holes)
    tokens.requires_grad_()
    probe = torch.randn_like(tokens) * mask.unsqueeze(2)

    def both():
        found = layer(tokens, mask)
        return found, torch.autograd.grad((found * probe).sum(), [tokens, *layer.parameters()])

    assert packing.worthwhile(mask, layer) is not None
    packed, gradients = both()
    _padded(monkeypatch)
    expected, wanted = both()
    real = mask.unsqueeze(2)
    torch.testing.assert_close(packed, expected * real, rtol=1e-11, atol=1e-11)
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_a_group_of_missing_inputs_is_passed_over(monkeypatch):
    layer, (tokens, mask) = TransformerLayer(8, heads=2).double(), _ragged(32, 20, 8)
    mask[:20] = False  # more than two groups of eight
    tokens = tokens * mask.unsqueeze(2)
    found = layer(tokens, mask)
    assert len(packing.Packing.of(mask).groups) == 2
    _padded(monkeypatch)
    torch.testing.assert_close(found, layer(tokens, mask) * mask.unsqueeze(2), rtol=1e-11, atol=1e-11)


def test_a_batch_without_any_token_is_left_as_it_is():
    layer = TransformerLayer(8, heads=2)
    assert packing.worthwhile(torch.zeros(3, 20, dtype=torch.bool), layer) is None


@pytest.mark.parametrize("batch", [5, 40])
def test_packing_is_undone(batch):
    tokens, mask = _ragged(batch, 24, 3, holes=True)
    packed = packing.Packing.of(mask)
    assert packed.pack(tokens).shape == (int(mask.sum()), 3)
    assert torch.equal(packed.unpack(packed.pack(tokens)), tokens)
    assert torch.equal(packed.of_rows(packed.rows(packed.pack(tokens))), packed.pack(tokens))
    counts, order = mask.sum(1).sort()
    closed = [row for rows in packed.rows(packed.pack(tokens)) for row in rows]
    assert len(packed.groups) == (4 if batch == 40 else 1)
    for row, count, index in zip(closed, counts.tolist(), order.tolist(), strict=True):
        assert torch.equal(row[:count], tokens[index][mask[index]])
        assert bool((row[count:] == 0).all())


def _full():
    return torch.ones(4, 20, dtype=torch.bool)


def _half():
    return torch.arange(20).expand(4, 20) < 10


def test_little_padding_and_short_rows_are_left_as_they_are():
    layer = TransformerLayer(8, heads=2)
    assert packing.worthwhile(_half(), layer) is not None
    for mask in (None, _full(), _half()[:, :15], _half().to("meta")):
        assert packing.worthwhile(mask, layer) is None


def test_a_hook_within_gets_rows_of_the_batch():
    layer, shapes = TransformerLayer(8, heads=2), []
    handle = layer.feed_forward[1].register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    layer(torch.randn(4, 20, 8), _half())
    assert shapes == [(4, 20, 8)]
    handle.remove()
    assert packing.worthwhile(_half(), layer) is not None


def test_it_is_not_for_transforms_or_graphs():
    layer, tokens, mask = TransformerLayer(8, heads=2).eval(), torch.randn(4, 20, 8), _half()
    expected = layer(tokens, mask)
    real = mask.unsqueeze(2)

    def one(row, shown):
        return layer(row.unsqueeze(0), shown.unsqueeze(0)).squeeze(0)

    torch.testing.assert_close(torch.func.vmap(one)(tokens, mask) * real, expected * real)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens, mask) * real, expected * real)
    exported = torch.export.export(layer, (tokens, mask)).module()
    torch.testing.assert_close(exported(tokens, mask) * real, expected * real)


@pytest.mark.filterwarnings("ignore")  # the tracer warns of shapes that are read
def test_a_trace_holds_for_other_masks():
    layer, tokens = TransformerLayer(8, heads=2).eval(), torch.randn(4, 20, 8)
    traced = torch.jit.trace(layer, (tokens, _half()), check_trace=False)
    other = torch.arange(20).expand(4, 20) < 15
    torch.testing.assert_close(traced(tokens, other) * other.unsqueeze(2), layer(tokens, other) * other.unsqueeze(2))


def test_autocast_gives_the_same_precision():
    layer, tokens, mask = TransformerLayer(8, heads=2).eval(), torch.randn(4, 20, 8), _half()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(tokens, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(tokens, mask), rtol=0.05, atol=0.05)
