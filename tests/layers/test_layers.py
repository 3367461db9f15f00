"""Layers against loops over single tokens, and under masks."""

import math

import pytest
import torch
from torch.func import functional_call, grad

from mmkit.layers.attention import Attention, TransformerLayer
from mmkit.layers.masked_group_norm import masked_group_norm
from mmkit.layers.pooling import pooled
from mmkit.layers.recurrent import Recurrent

MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=torch.bool)


def _attention_by_hand(layer, queries, context, mask):
    """[T D]: one sample, one query, one head and one key at a time."""
    head = queries.shape[1] // layer.heads
    keys = [layer.key_value(token).chunk(2) for token, real in zip(context, mask.tolist(), strict=True) if real]
    rows = []
    for query in layer.query(queries):
        seen = torch.zeros_like(query)
        for n in range(layer.heads):
            part = slice(n * head, (n + 1) * head)
            scores = [math.exp((query[part] @ k[part]).item() / math.sqrt(head)) for k, _ in keys]
            for score, (_, v) in zip(scores, keys, strict=True):
                seen[part] += score / sum(scores) * v[part]
        rows.append(layer.out(seen))
    return torch.stack(rows)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("under_vmap", [False, True])
def test_attention_is_its_definition(heads, under_vmap):
    layer = Attention(8, heads, context=6).double().eval().requires_grad_(requires_grad=False)
    queries, context = torch.randn(4, 3, 8, dtype=torch.float64), torch.randn(4, 4, 6, dtype=torch.float64)
    expected = torch.stack([_attention_by_hand(layer, *one) for one in zip(queries, context, MASK, strict=True)])
    if under_vmap:
        got = torch.vmap(layer)(queries.unsqueeze(1), context.unsqueeze(1), MASK.unsqueeze(1)).squeeze(1)
    else:
        got = layer(queries, context, MASK)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    assert (got[3] == 0).all()


@pytest.mark.parametrize("train", [True, False])
def test_attention_without_a_key_has_finite_gradients(train):
    layer = Attention(8, 2, dropout=0.5).train(train)
    tokens = torch.randn(4, 4, 8, requires_grad=True)
    layer(tokens, tokens, MASK).square().sum().backward()
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[3] == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_both_implementations_of_attention_have_the_same_gradients():
    layer = Attention(8, 2)
    tokens = torch.randn(4, 4, 8)
    probe = torch.randn(4, 4, 8)

    def loss(parameters, tokens, mask, probe):
        return (functional_call(layer, parameters, (tokens, tokens, mask)) * probe).sum()

    parameters = dict(layer.named_parameters())
    each = torch.vmap(grad(loss), in_dims=(None, 0, 0, 0))(
        parameters, tokens.unsqueeze(1), MASK.unsqueeze(1), probe.unsqueeze(1)
    )
    loss(parameters, tokens, MASK, probe).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(each[name].sum(0), parameter.grad, rtol=1e-4, atol=1e-5)


def test_attention_under_vmap_drops_weights_too():
    layer = Attention(8, 2, dropout=0.5)
    tokens, mask = torch.randn(2, 1, 4, 8), torch.ones(2, 1, 4, dtype=torch.bool)
    twice = tokens[:1].expand(2, -1, -1, -1)
    one, other = torch.vmap(layer, randomness="different")(twice, twice, mask)
    assert not torch.equal(one, other)
    one, other = torch.vmap(layer.eval())(twice, twice, mask)
    assert torch.equal(one, other)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 6 is not divisible by heads 4; take heads that divide it"):
        Attention(6, 4)


def test_transformer_layer_is_two_residual_branches():
    layer = TransformerLayer(8, 2).double().eval()
    tokens = torch.randn(4, 4, 8, dtype=torch.float64)
    state = tokens + layer.attention(layer.before_attention(tokens), layer.before_attention(tokens), MASK)
    expected = state + layer.feed_forward(state)
    torch.testing.assert_close(layer(tokens, MASK), expected)


def test_transformer_layer_does_not_see_padding():
    layer = TransformerLayer(8, 2).eval()
    tokens = torch.randn(4, 4, 8)
    garbage = torch.where(MASK.unsqueeze(-1), tokens, 1e3 * torch.randn(4, 4, 8))
    wider = torch.cat([torch.randn(4, 2, 8), garbage, torch.randn(4, 30, 8)], 1)
    mask = torch.cat([MASK.new_zeros(4, 2), MASK, MASK.new_zeros(4, 30)], 1)
    torch.testing.assert_close(layer(wider, mask)[:, 2:6][MASK], layer(tokens, MASK)[MASK])


@pytest.mark.full
@pytest.mark.parametrize("batched", [False, True])
def test_transformer_layer_compiles_whole(batched):
    torch.compiler.reset()
    layer = TransformerLayer(8, 2).eval()

    def one(tokens, mask):
        return layer(tokens, mask)

    call = torch.vmap(one) if batched else one
    tokens, mask = torch.randn(3, 4, 4, 8), MASK.expand(3, 4, 4)
    if not batched:
        tokens, mask = tokens[0], mask[0]
    torch.testing.assert_close(
        torch.compile(call, fullgraph=True, backend="aot_eager")(tokens, mask), call(tokens, mask)
    )


@pytest.mark.full
def test_transformer_layer_exports_with_any_length():
    layer = TransformerLayer(8, 2).eval()
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    axes = {"tokens": {0: batch, 1: length}, "mask": {0: batch, 1: length}}
    program = torch.export.export(layer, (torch.randn(4, 4, 8), MASK), dynamic_shapes=axes)
    tokens, mask = torch.randn(3, 90, 8), torch.rand(3, 90) < 0.5
    torch.testing.assert_close(program.module()(tokens, mask)[mask], layer(tokens, mask)[mask])  # padding is free


PREFIX = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)


@pytest.fixture(params=["lstm", "gru"])
def cell(request):
    return request.param


@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_reads_each_row_to_its_own_end(cell, bidirectional):
    layer = Recurrent(3, 6, cell=cell, layers=2, bidirectional=bidirectional, dropout=0.3).double().eval()
    steps = torch.randn(4, 4, 3, dtype=torch.float64)
    states = layer(steps, PREFIX)
    assert states.shape == (4, 4, 6)
    for row, length in enumerate([4, 2, 1]):
        alone = layer.cell(steps[row : row + 1, :length])[0]
        torch.testing.assert_close(states[row : row + 1, :length], alone)


def test_recurrent_does_not_see_padding(cell):
    layer = Recurrent(3, 6, cell=cell, layers=1, bidirectional=True, dropout=0.0).eval()
    steps = torch.randn(4, 4, 3)
    wider = torch.cat([torch.where(PREFIX.unsqueeze(-1), steps, torch.inf), torch.full((4, 5, 3), torch.nan)], 1)
    wider[3] = 0  # a missing row comes as zeros
    mask = torch.cat([PREFIX, PREFIX.new_zeros(4, 5)], 1)
    torch.testing.assert_close(layer(wider, mask)[:, :4][PREFIX], layer(steps, PREFIX)[PREFIX])


@pytest.mark.parametrize("train", [True, False])
def test_recurrent_without_a_step_has_finite_gradients(cell, train):
    layer = Recurrent(3, 6, cell=cell, layers=2, bidirectional=False, dropout=0.1).train(train)
    steps = torch.randn(4, 4, 3, requires_grad=True)
    layer(steps, PREFIX).masked_fill(~PREFIX.unsqueeze(-1), 0).square().sum().backward()
    assert steps.grad.isfinite().all()
    assert (steps.grad[~PREFIX] == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    empty = torch.zeros(2, 4, dtype=torch.bool)
    with torch.no_grad():
        assert layer.eval()(steps[:2], empty).isfinite().all()


def test_recurrent_needs_an_even_width_for_two_directions(cell):
    with pytest.raises(ValueError, match="a bidirectional network needs an even width; got 5"):
        Recurrent(3, 5, cell=cell, layers=1, bidirectional=True, dropout=0.0)


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_group_normalisation_of_a_row_ignores_its_padding(groups):
    norm = torch.nn.GroupNorm(groups, 6).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    lengths = [4, 9, 1, 0]
    x = torch.randn(4, 6, 9, dtype=torch.float64) * 3 + 1
    mask = torch.arange(9) < torch.tensor(lengths).unsqueeze(1)
    found = masked_group_norm(x.masked_fill(~mask.unsqueeze(1), 1e3), mask, norm)
    for row, length in enumerate(lengths[:2]):
        torch.testing.assert_close(found[row, :, :length], norm(x[row : row + 1, :, :length])[0])
    assert found.isfinite().all()


def test_group_normalisation_has_finite_gradients_with_missing_rows():
    norm = torch.nn.GroupNorm(2, 2)
    x = torch.zeros(2, 2, 3, requires_grad=True)
    masked_group_norm(x, torch.tensor([[True, True, False], [False] * 3]), norm).sum().backward()
    assert x.grad.isfinite().all()
    half = masked_group_norm(x.bfloat16(), torch.ones(2, 3, dtype=torch.bool), norm)
    assert half.dtype == torch.bfloat16


def test_pooling_leaves_padding_out():
    tokens = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [9.0, 9.0]], [[7.0, 7.0]] * 3])
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert pooled(tokens, mask, "mean").tolist() == [[2.0, -3.0], [0.0, 0.0]]
    assert pooled(tokens, mask, "max").tolist() == [[3.0, -1.0], [0.0, 0.0]]
    assert pooled(tokens, mask, "cls").tolist() == [[1.0, -5.0], [7.0, 7.0]]
    assert pooled(tokens, mask, "none") is None
