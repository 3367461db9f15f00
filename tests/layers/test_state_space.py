"""State-space layers, against the plain recurrence: one sample, one head and one step after the other."""

import math

import pytest
import torch

from mmkit.layers.state_space import StateSpaceLayer, scan


def recurrence(values, decay, keys, queries):
    """[T N P] of one sample, step by step."""
    states = torch.zeros(keys.shape[1], *values.shape[1:], dtype=values.dtype)  # [S N P]
    found = []
    for v, a, k, q in zip(values, decay, keys, queries, strict=True):
        states = states * a.exp()[None, :, None] + k[:, None, None] * v[None]
        found.append((q[:, None, None] * states).sum(0))
    return torch.stack(found)


@pytest.mark.parametrize("chunk", [1, 3, 5, 8, 64])
@pytest.mark.parametrize("length", [1, 8, 17])
@pytest.mark.parametrize("most", [0.0, 0.3, 30.0, 1e4])
def test_chunks_give_what_the_recurrence_gives(chunk, length, most):
    torch.manual_seed(0)
    given = (
        torch.randn(2, length, 3, 4, dtype=torch.float64),
        -most * torch.rand(2, length, 3, dtype=torch.float64),
        torch.randn(2, length, 5, dtype=torch.float64),
        torch.randn(2, length, 5, dtype=torch.float64),
    )
    for each in given:
        each.requires_grad_()
    values, decay, keys, queries = given
    found = scan(values, decay, keys, queries, chunk)
    expected = torch.stack([recurrence(*row) for row in zip(*given, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    probe = torch.randn_like(found)
    own = torch.autograd.grad((found * probe).sum(), given)
    its = torch.autograd.grad((expected * probe).sum(), given)
    for one, other in zip(own, its, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_single_precision_is_near_over_many_chunks():
    torch.manual_seed(0)
    given = [torch.randn(2, 700, 3, 4), -0.5 * torch.rand(2, 700, 3), torch.randn(2, 700, 5), torch.randn(2, 700, 5)]
    found = scan(*given)
    values, decay, keys, queries = (each.double() for each in given)
    expected = scan(values, decay, keys, queries, 1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def slow(layer, tokens):
    """[T H] of the real tokens of one sample."""
    sizes, heads = layer.sizes, layer.heads
    width, states = sizes[0] // heads, sizes[2] // 4
    read = [layer.read(layer.before(token)).split(sizes) for token in tokens]

    def silu(values):
        return values / (1 + (-values).exp())

    rate = torch.zeros(2 * heads) if layer.rate is None else layer.rate.exp()
    mixed = [torch.zeros(sizes[0], dtype=torch.float64) for _ in tokens]
    for way, order in enumerate((list(range(len(tokens))), list(range(len(tokens)))[::-1])):
        for n in range(heads):
            state = torch.zeros(states, width, dtype=torch.float64)
            for t in order:
                _, values, shared, raw = read[t]
                step = math.log1p(math.exp(float(raw[way * heads + n] + layer.step[way * heads + n])))
                keys, queries = silu(shared)[2 * way * states : 2 * (way + 1) * states].chunk(2)
                v = silu(values)[n * width : (n + 1) * width]
                state = math.exp(-step * float(rate[way * heads + n])) * state + step * torch.outer(keys, v)
                mixed[t][n * width : (n + 1) * width] += queries @ state + (layer.skip[n] * v if way == 0 else 0)
    found = []
    for token, parts, part in zip(tokens, read, mixed, strict=True):
        gated = part * silu(parts[0])
        length = float((gated.square().mean() + 1e-5).sqrt())
        found.append(token + layer.out(gated / length * layer.norm.weight))
    return found


@pytest.mark.parametrize("decay", [True, False])
def test_a_layer_is_two_recurrences_over_the_real_tokens(decay):
    torch.manual_seed(0)
    layer = StateSpaceLayer(6, 3, 2, decay=decay).double().eval().requires_grad_(requires_grad=False)
    for parameter in layer.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    tokens, mask = torch.randn(4, 7, 6, dtype=torch.float64), torch.rand(4, 7) < 0.6
    mask[0], mask[1] = True, False
    found = layer(tokens, mask)
    for row, real in enumerate(mask):
        expected = slow(layer, list(tokens[row][real]))
        if expected:
            torch.testing.assert_close(found[row][real], torch.stack(expected), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer(tokens, None)[0], found[0])


def test_without_decay_and_with_equal_directions_it_is_linear_attention():
    """y_t = sum_s (q_t k_s) d_s v_s over all tokens, and the token itself once more."""
    torch.manual_seed(0)
    layer = StateSpaceLayer(4, 2, 3, decay=False).double().eval().requires_grad_(requires_grad=False)
    inner, _, shared, _ = layer.sizes
    layer.read.weight[2 * inner + shared // 2 : 2 * inner + shared] = layer.read.weight[2 * inner :][: shared // 2]
    layer.read.weight[-2:] = layer.read.weight[-4:-2]
    layer.step[2:] = layer.step[:2]
    tokens = torch.randn(2, 9, 4, dtype=torch.float64)
    gate, v, both, raw = layer.read(layer.before(tokens)).split(layer.sizes, 2)
    k, q = torch.nn.functional.silu(both)[..., :6].chunk(2, 2)
    d = torch.nn.functional.softplus(raw + layer.step)[..., :2]
    v = torch.nn.functional.silu(v).unflatten(2, (2, -1))
    scores = q @ k.transpose(1, 2) + torch.diag_embed((q * k).sum(2))
    seen = torch.einsum("bts,bsnp->btnp", scores, v * d.unsqueeze(3)) + v
    expected = tokens + layer.out(layer.norm(seen.flatten(2) * torch.nn.functional.silu(gate)))
    torch.testing.assert_close(layer(tokens, None), expected)


def test_heads_that_do_not_divide_the_inner_width_are_refused():
    with pytest.raises(ValueError, match=r"inner width 20 \(2 times 10\) is not divisible by heads 3"):
        StateSpaceLayer(10, 3, 4)
