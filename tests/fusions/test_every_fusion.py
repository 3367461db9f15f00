"""What holds for every fusion, whatever it computes."""

import pytest
import torch
from torch.func import functional_call, stack_module_state

from mmkit.contract import Features, Target
from mmkit.fusions.outputs.late import LateFusion
from mmkit.fusions.outputs.log_pool import LogPoolFusion
from mmkit.fusions.tokens.attention import AttentionFusion
from mmkit.fusions.tokens.cross_attention import CrossAttentionFusion
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.fusions.vectors.gated import GatedFusion
from mmkit.fusions.vectors.low_rank import LowRankFusion
from mmkit.fusions.vectors.max import MaxFusion
from mmkit.fusions.vectors.mean import MeanFusion
from mmkit.fusions.vectors.product import ProductFusion
from mmkit.fusions.vectors.sum import SumFusion
from mmkit.fusions.vectors.tensor import TensorFusion

SIZE = 4

FUSIONS = {
    "concat": lambda widths: ConcatFusion(widths, width=8),
    "sum": lambda widths: SumFusion(widths, width=8),
    "mean": lambda widths: MeanFusion(widths, width=8),
    "max": lambda widths: MaxFusion(widths, width=8),
    "product": lambda widths: ProductFusion(widths, width=8),
    "gated": lambda widths: GatedFusion(widths, width=8),
    "low-rank": lambda widths: LowRankFusion(widths, width=8),
    "tensor": lambda widths: TensorFusion(widths, width=8),
    "tensor-inner": lambda widths: TensorFusion(widths, width=8, inner=3),
    "attention": lambda widths: AttentionFusion(widths, width=8),
    "attention-cls": lambda widths: AttentionFusion(widths, width=8, pool="cls"),
    "cross-attention": lambda widths: CrossAttentionFusion(widths, width=8),
    "late-classes": lambda widths: LateFusion(widths, Target("classes", SIZE), weights="learned"),
    "late-labels": lambda widths: LateFusion(widths, Target("labels", SIZE), weights="learned"),
    "late-scalar": lambda widths: LateFusion(widths, Target("scalar", SIZE), weights="learned"),
    "log-pool-classes": lambda widths: LogPoolFusion(widths, Target("classes", SIZE), weights="learned"),
    "log-pool-labels": lambda widths: LogPoolFusion(widths, Target("labels", SIZE), weights="learned"),
    "log-pool-scalar": lambda widths: LogPoolFusion(widths, Target("scalar", SIZE), weights="learned"),
}
OF_OUTPUTS = [build for name, build in FUSIONS.items() if name.startswith(("late", "log-pool"))]
MEANS = [build for name, build in FUSIONS.items() if name.startswith("late") or name == "log-pool-scalar"]


@pytest.fixture(params=FUSIONS)
def build(request):
    return FUSIONS[request.param]


@pytest.fixture(params=["one", "two", "three", "four"])
def alike(request, make, build):
    """Features for any fusion: outputs of size C for those that combine outputs."""
    case = make(request.param, dtype=torch.float32)
    if build not in OF_OUTPUTS:
        return case
    features = {name: Features.of(torch.randn(case.batch, SIZE), f.present()) for name, f in case.features.items()}
    return type(case)(dict.fromkeys(case.widths, SIZE), features)


def _close(got, expected, **tolerance):
    torch.testing.assert_close(got.tokens, expected.tokens, **tolerance)
    assert torch.equal(got.mask, expected.mask)
    torch.testing.assert_close(got.vector(), expected.vector(), **tolerance)


def _rows(features, rows):
    return Features(
        features.tokens[rows], features.mask[rows], None if features.pooled is None else features.pooled[rows]
    )


def _leaves(features):
    """Fresh leaves of the same values, and features of them."""
    leaves = {n: (f.tokens.clone(), None if f.pooled is None else f.pooled.clone()) for n, f in features.items()}
    for tokens, pooled in leaves.values():
        tokens.requires_grad_()
        if pooled is not None:
            pooled.requires_grad_()
    return leaves, {n: Features.of(leaves[n][0], f.mask, leaves[n][1]) for n, f in features.items()}


def test_shape_and_width(build, alike):
    fusion = build(alike.widths)
    fused = fusion(alike.features)
    batch, _, width = fused.tokens.shape
    assert (batch, width) == (alike.batch, fusion.width)
    assert fused.vector().shape == (alike.batch, fusion.width)


@pytest.mark.parametrize("train", [True, False])
def test_missing_inputs_leave_everything_finite(build, alike, train):
    fusion = build(alike.widths).train(train)
    leaves, features = _leaves(alike.features)
    fused = fusion(features)
    (fused.vector().square().sum() + fused.tokens.square().sum()).backward()
    gradients = [parameter.grad for parameter in fusion.parameters()]
    gradients += [leaf.grad for pair in leaves.values() for leaf in pair if leaf is not None and leaf.grad is not None]
    assert fused.tokens.isfinite().all()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        assert fusion.eval()(alike.features).vector().isfinite().all()


def test_every_parameter_and_every_input_counts(build, alike):
    fusion = build(alike.widths)
    if build in MEANS and len(alike.widths) == 1:
        pytest.skip("one input has nothing to be weighed against")
    leaves, features = _leaves(alike.features)
    fused = fusion.eval()(features)
    probe = torch.linspace(-1, 1, fused.vector().numel()).view_as(fused.vector())
    (fused.vector() * probe).sum().backward()
    one_key = min(f.mask.shape[1] for f in alike.features.values()) == 1 and isinstance(fusion, CrossAttentionFusion)
    for name, parameter in fusion.named_parameters():
        if one_key and (".query." in name or ".before_attention." in name):
            continue  # whatever is asked of one key, its weight is 1
        assert parameter.grad.abs().sum() > 0, name
    for name, (tokens, pooled) in leaves.items():
        there = alike.features[name].present()
        read = [leaf.grad for leaf in (tokens, pooled) if leaf is not None and leaf.grad is not None]
        reached = sum(gradient.flatten(1).abs().sum(1) for gradient in read) > 0
        assert reached[there].any(), name  # a maximum may pass over an input in one sample, not in all
        assert not reached[~there].any(), name


def test_only_the_names_count_not_their_order(build, alike):
    fusion = build(alike.widths).eval()
    backwards = dict(reversed(alike.features.items()))
    assert torch.equal(fusion(backwards).vector(), fusion(alike.features).vector())


def test_batch_mates_do_not_matter(build, alike):
    fusion = build(alike.widths).eval()
    fused = fusion(alike.features)
    for sample in range(alike.batch):
        row = slice(sample, sample + 1)
        one = {n: _rows(f, row) for n, f in alike.features.items()}
        torch.testing.assert_close(fusion(one).vector(), fused.vector()[row])


def test_more_padding_changes_nothing(build, alike):
    fusion = build(alike.widths).eval()
    padded = {
        n: Features.of(
            torch.cat([torch.zeros_like(f.tokens[:, :1]), f.tokens, torch.zeros_like(f.tokens).repeat(1, 9, 1)], 1),
            torch.cat([torch.zeros_like(f.mask[:, :1]), f.mask, torch.zeros_like(f.mask).repeat(1, 9)], 1),
            f.pooled,
        )
        for n, f in alike.features.items()
    }
    torch.testing.assert_close(fusion(padded).vector(), fusion(alike.features).vector())


def test_a_missing_input_has_no_say(build, alike):
    """Whatever belongs to an input that is missing in a sample gets no gradient from that sample."""
    fusion = build(alike.widths).eval()
    for name in alike.widths:
        missing = ~alike.features[name].present()
        fusion.zero_grad()
        fusion(alike.features).vector()[missing].square().sum().backward()
        own = [p for key, p in fusion.named_parameters() if key.startswith((f"project.{name}.", f"factors.{name}"))]
        assert all(parameter.grad.abs().sum() == 0 for parameter in own)


def test_inputs_are_not_changed_and_evaluation_repeats(build, alike):
    fusion = build(alike.widths).eval()
    before = {n: (f.tokens.clone(), f.mask.clone()) for n, f in alike.features.items()}
    state = torch.get_rng_state()
    first = fusion(alike.features)
    assert torch.equal(first.tokens, fusion(alike.features).tokens)
    assert torch.equal(torch.get_rng_state(), state)
    for name, (tokens, mask) in before.items():
        assert torch.equal(alike.features[name].tokens, tokens)
        assert torch.equal(alike.features[name].mask, mask)


def test_a_state_dict_is_all_there_is(build, alike):
    fusion, other = build(alike.widths).eval(), build(alike.widths).eval()
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(other(alike.features).vector(), fusion(alike.features).vector())
    build(alike.widths).to("meta").load_state_dict(fusion.state_dict(), assign=True)


def test_bfloat16_autocast(build, alike):
    fusion = build(alike.widths).eval()
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(alike.features).vector()
        fused.float().sum().backward()
    expected = fusion(alike.features).vector()
    torch.testing.assert_close(fused.float(), expected, rtol=0.1, atol=0.1)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in fusion.parameters())


def test_seeds_side_by_side_by_vmap(build, alike):
    """Three seeds in one pass, each with missing inputs of its own, equal three passes."""
    fusions = [build(alike.widths).eval() for _ in range(3)]
    for fusion in fusions:
        for parameter in fusion.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    orders = [torch.arange(alike.batch).roll(seed) for seed in range(3)]
    each = [{n: _rows(f, order) for n, f in alike.features.items()} for order in orders]
    stacked = {
        n: Features(
            torch.stack([e[n].tokens for e in each]),
            torch.stack([e[n].mask for e in each]),
            None if each[0][n].pooled is None else torch.stack([e[n].pooled for e in each]),
        )
        for n in alike.widths
    }
    parameters, buffers = stack_module_state(fusions)

    def one(parameters, buffers, features):
        return functional_call(fusions[0], (parameters, buffers), (features,)).vector()

    got = torch.vmap(one)(parameters, buffers, stacked)
    expected = torch.stack([fusion(features).vector() for fusion, features in zip(fusions, each, strict=True)])
    torch.testing.assert_close(got, expected)


@pytest.mark.full
@pytest.mark.parametrize("alike", ["one", "three"], indirect=True)
def test_compiles_whole(build, alike):
    torch.compiler.reset()
    fusion = build(alike.widths).eval()
    compiled = torch.compile(fusion, fullgraph=True, backend="aot_eager")
    _close(compiled(alike.features), fusion(alike.features))
    leaves = {n: Features(f.tokens.clone().requires_grad_(), f.mask, f.pooled) for n, f in alike.features.items()}
    fusion.train()
    compiled(leaves).tokens.sum().backward()
    gradients = [f.tokens.grad for f in leaves.values()] + [parameter.grad for parameter in fusion.parameters()]
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.full
@pytest.mark.parametrize("alike", ["three"], indirect=True)
def test_exports_with_any_batch(build, alike):
    fusion = build(alike.widths).eval()
    batch = torch.export.Dim("batch", min=2)
    axes = {n: [{0: batch}] * (2 if f.pooled is None else 3) + [{}, {}] for n, f in alike.features.items()}
    program = torch.export.export(fusion, (alike.features,), dynamic_shapes=(axes,))
    half = {n: _rows(f, slice(None, None, 2)) for n, f in alike.features.items()}
    _close(program.module()(half), fusion(half))
