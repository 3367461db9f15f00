"""What fusions tell of themselves where it is asked for, against the same written out by hand."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.modality_attention import ModalityAttentionFusion
from mmkit.layers.attention import Attention


def features(seed=0):
    """Two inputs of 3 and 4 tokens with padding; the third sample lacks the second, the fourth lacks both."""
    torch.manual_seed(seed)
    first = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    second = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()
    return {
        "a": Features.of(torch.randn(4, 3, 5), first),
        "b": Features.of(torch.randn(4, 4, 6), second),
    }


def asked(fusion):
    fusion.detailed = True
    return fusion.eval()


def test_the_weights_of_attention_are_those_of_its_forward():
    torch.manual_seed(0)
    attention = Attention(8, heads=2, context=6).double().eval()
    queries, context = torch.randn(3, 4, 8).double(), torch.randn(3, 5, 6).double()
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
    weights = attention.weights(queries, context, mask)  # [B N T S]
    assert weights.shape == (3, 2, 4, 5)
    values = attention.key_value(context).unflatten(-1, (2, 2, -1))[:, :, 1].transpose(1, 2)  # [B N S D/N]
    by_hand = attention.out((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(by_hand, attention(queries, context, mask))
    torch.testing.assert_close(weights.sum(-1), mask.any(1).double()[:, None, None].expand(3, 2, 4))
    assert bool((weights.masked_select(~mask[:, None, None]) == 0).all())


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_attention_shares_are_those_of_torch(pool):
    """torch.nn.MultiheadAttention with the same weights gives the same mean over heads."""
    torch.manual_seed(1)
    fusion = asked(AttentionFusion({"a": 5, "b": 6}, width=8, heads=2, pool=pool))
    given = features()
    found = fusion(given).details
    assert set(found) == {"attention.a", "attention.b"}
    assert found["attention.a"].shape == (4, 3)
    assert found["attention.b"].shape == (4, 4)
    layer = fusion.layers[0]
    other = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    own = layer.attention
    with torch.no_grad():
        other.in_proj_weight.copy_(torch.cat([own.query.weight, own.key_value.weight]))
        other.in_proj_bias.copy_(torch.cat([own.query.bias, own.key_value.bias]))
    for row in range(3):
        tokens = torch.cat([fusion.project[n](given[n].tokens[row][given[n].mask[row]]) for n in "ab"])  # the real ones
        if pool == "cls":
            tokens = torch.cat([fusion.cls[None], tokens])
        normed = layer.before_attention(tokens)[None]
        _, weights = other(normed, normed, normed)  # [1 T T], the mean over heads
        expected = weights[0].mean(0) if pool == "mean" else weights[0, 0, 1:] / weights[0, 0, 1:].sum()
        got = torch.cat([found[f"attention.{n}"][row][given[n].mask[row]] for n in "ab"])
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(got.sum(), torch.tensor(1.0))
    assert bool((torch.cat([found["attention.a"][3], found["attention.b"][3]]) == 0).all())  # nothing to attend to


@pytest.mark.parametrize("tied", [False, True])
def test_gates_are_those_that_weigh_the_inputs(tied):
    torch.manual_seed(2)
    fusion = asked(GatedFusion({"a": 5, "b": 6}, width=8, tied=tied))
    given = features()
    fused = fusion(given)
    total = sum(fused.details[f"gate.{n}"] * fusion.project[n](given[n].vector()).tanh() for n in "ab")
    torch.testing.assert_close(total, fused.vector())


@pytest.mark.parametrize("fusion", [AttentionFusion, GatedFusion, ModalityAttentionFusion])
def test_nothing_is_given_where_nobody_asks_and_features_stay_the_same(fusion):
    torch.manual_seed(3)
    module = fusion({"a": 5, "b": 6}, width=8).eval()
    silent = module(features())
    assert silent.details == {}
    told = asked(module)(features())
    assert torch.equal(silent.tokens, told.tokens)
    assert told.details != {}


@pytest.mark.parametrize("fusion", [AttentionFusion, GatedFusion, ModalityAttentionFusion])
def test_details_pass_vmap_and_autocast(fusion):
    torch.manual_seed(4)
    module = asked(fusion({"a": 5, "b": 6}, width=8))
    expected = module(features()).details
    given = features()
    stacked = {n: torch.stack([part.tokens, part.tokens]) for n, part in given.items()}

    def run(tokens):
        return module({n: Features.of(tokens[n], part.mask) for n, part in given.items()}).details

    with torch.no_grad():
        mapped = torch.func.vmap(run)(stacked)
    for name, detail in expected.items():
        torch.testing.assert_close(mapped[name][1], detail.detach())
    with torch.autocast("cpu", torch.bfloat16):
        halved = module(features()).details
    for name, detail in expected.items():
        torch.testing.assert_close(halved[name].float(), detail, atol=0.03, rtol=0)


def test_details_go_with_features():
    """To a device, into parts of a batch, through pytrees."""
    one = Features.of(torch.ones(2, 3), details={"gate.a": torch.ones(2, 4)})
    assert one.to("cpu").details["gate.a"].shape == (2, 4)
    leaves, spec = torch.utils._pytree.tree_flatten(one)
    assert torch.utils._pytree.tree_unflatten(leaves, spec).details["gate.a"].shape == (2, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where inductor is imported
@pytest.mark.full
@pytest.mark.parametrize("fusion", [AttentionFusion, GatedFusion, ModalityAttentionFusion])
def test_details_compile_into_one_graph(fusion):
    torch.manual_seed(5)
    module = asked(fusion({"a": 5, "b": 6}, width=8))
    found = torch.compile(module, fullgraph=True)(features()).details
    for name, detail in module(features()).details.items():
        torch.testing.assert_close(found[name], detail)
