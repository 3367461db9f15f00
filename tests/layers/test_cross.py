"""Cross-attention layers and learned tokens, against PyTorch's attention row by row, and at their special points."""

import pytest
import torch
from torch import nn

from mmkit.layers.attention import TransformerLayer
from mmkit.layers.cross import CrossLayer
from mmkit.layers.latents import Latents

MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)


def _case(**options):
    torch.manual_seed(0)
    layer = CrossLayer(8, 2, context=6, **options).double().eval().requires_grad_(requires_grad=False)
    for parameter in layer.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return layer, torch.randn(4, 3, 8, dtype=torch.float64), torch.randn(4, 5, 6, dtype=torch.float64)


def _attended(layer, tokens, context):
    """[T D]: torch.nn.MultiheadAttention with the same weights, on the real context of one row."""
    own = layer.attention
    other = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, dtype=torch.float64, batch_first=True).eval()
    key, value = own.key_value.weight.chunk(2)
    other.q_proj_weight.data, other.k_proj_weight.data, other.v_proj_weight.data = own.query.weight, key, value
    none = torch.zeros(16, dtype=torch.float64)
    biases = [none[:8], none] if own.query.bias is None else [own.query.bias, own.key_value.bias]
    other.in_proj_bias.data = torch.cat(biases)
    other.out_proj.weight.data = own.out.weight
    nn.init.zeros_(other.out_proj.bias)
    real = layer.before_context(context)[None]
    return other(layer.before_attention(tokens)[None], real, real)[0][0].detach()


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_two_branches_of_the_real_context_alone(gated, bias):
    layer, tokens, context = _case(gated=gated, bias=bias)
    first, second = layer.gates.tanh().tolist() if gated else (1.0, 1.0)
    found = layer(tokens, context, MASK)
    for row, mask in enumerate(MASK):
        state = tokens[row]
        if mask.any():
            state = state + first * _attended(layer, state, context[row][mask])
        torch.testing.assert_close(found[row], state + second * layer.feed_forward(state))


def test_no_mask_is_one_that_is_all_true():
    layer, tokens, context = _case()
    torch.testing.assert_close(layer(tokens, context, None), layer(tokens, context, torch.ones_like(MASK)))
    inner = TransformerLayer(8, 2).double().eval()
    torch.testing.assert_close(inner(tokens, None), inner(tokens, torch.ones(4, 3, dtype=torch.bool)))
    torch.testing.assert_close(
        layer.weights(tokens, context, None), layer.weights(tokens, context, torch.ones_like(MASK))
    )


def test_queries_that_are_the_same_in_every_row_are_given_once():
    layer, tokens, context = _case(gated=True)
    one = tokens[:1]
    torch.testing.assert_close(layer(one, context, MASK), layer(one.expand(4, -1, -1), context, MASK))
    torch.testing.assert_close(layer.weights(one, context, MASK), layer.weights(one.expand(4, -1, -1), context, MASK))
    mapped = torch.vmap(lambda c, m: layer(one, c, m))(context[None], MASK[None])
    torch.testing.assert_close(mapped[0], layer(one, context, MASK))


def test_gates_at_zero_change_nothing_and_hide_all_behind_them():
    torch.manual_seed(0)
    layer = CrossLayer(8, 2, gated=True)
    tokens, context = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    found = layer(tokens, context, None)
    assert torch.equal(found, tokens)
    found.square().sum().backward()
    assert all(parameter.grad.abs().sum() == 0 for name, parameter in layer.named_parameters() if name != "gates")
    assert bool((layer.gates.grad != 0).all())


@pytest.mark.parametrize("expansion", [2, 4])
def test_sizes(expansion):
    def size(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert size(CrossLayer(8, 2, gated=True, bias=False, expansion=expansion)) == (4 + 2 * expansion) * 64 + 6 * 8 + 2
    assert size(CrossLayer(8, 2)) == 8 * 64 + 12 * 8
    assert size(TransformerLayer(8, 2)) == 8 * 64 + 10 * 8
    assert size(Latents(5, 8)) == 40


def test_the_first_tokens_alone_are_those_of_all():
    torch.manual_seed(0)
    layer = TransformerLayer(8, 2).double().eval()
    tokens = torch.randn(4, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens, MASK, first=2), layer(tokens, MASK)[:, :2])


def test_learned_tokens_are_the_same_in_every_row():
    latents = Latents(3, 8)
    tokens = torch.randn(2, 4, 8)
    found = latents.before(tokens)
    assert torch.equal(found[1, :3], latents()[0])
    assert torch.equal(found[:, 3:], tokens)
    assert latents.of(tokens.half()).dtype == torch.float16
