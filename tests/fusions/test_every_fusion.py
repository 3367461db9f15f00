"""What holds for every fusion, whatever it computes."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from mmkit.contract import Features, Target
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import BUILTIN, installed

SIZE = 4
CATALOG = installed()
SPECS = {
    entry.name: entry.spec
    for entry in CATALOG.available("fusion")
    if entry.distribution == BUILTIN and isinstance(entry.spec, FusionSpec)
}
SMALL = {"width": 8, "ratio": 0.5, "hidden": 8, "heads": 4, "dropout": 0.0}
"""Options for all that have them."""

VARIANTS = {
    "tensor:inner=3": ("tensor", {"inner": 3}),
    "modality-attention:score=own": ("modality-attention", {"score": "own"}),
    "modality-attention:per_feature=true": ("modality-attention", {"per_feature": True}),
    "multiplicative:form=scalar": ("multiplicative", {"form": "scalar"}),
    "multiplicative:form=matrix": ("multiplicative", {"form": "matrix"}),
    "mutan:rank=none": ("mutan", {"rank": None, "inner": 4}),
    "mfb:order=2": ("mfb", {"order": 2}),
    "product:activation=tanh,output=true": ("product", {"activation": "tanh", "output": True}),
    "attention:pool=cls": ("attention", {"pool": "cls"}),
    "block:norm=join": ("block", {"norm": "join"}),
    "deep-sets:pool=max": ("deep-sets", {"pool": "max"}),
    "deep-sets:pool=sum": ("deep-sets", {"pool": "sum"}),
    "embrace:probabilities=learned": ("embrace", {"probabilities": "learned"}),
    "gated-tensor:gate=linear": ("gated-tensor", {"gate": "linear"}),
    "mixture-of-experts:router=laplace": ("mixture-of-experts", {"router": "laplace"}),
    "sequential:change=0.1": ("sequential", {"change": 0.1}),
    "product-of-experts:mixture=true": ("product-of-experts", {"mixture": True}),
    "iterative:tied=true": ("iterative", {"tied": True}),
    "state-space:decay=false": ("state-space", {"decay": False}),
    "perceiver:pool=query": ("perceiver", {"pool": "query"}),
    "late:weights=learned": ("late", {"weights": "learned"}),
    "energy:centred=false": ("energy", {"centred": False}),
    "log-pool:weights=learned": ("log-pool", {"weights": "learned"}),
    "stacking:detach=false": ("stacking", {"detach": False}),
    "evidential:joint=true": ("evidential", {"joint": True}),
    "evidential:rule=mean": ("evidential", {"rule": "mean", "joint": True}),
}
"""Options that take another way through a fusion."""

ONLY_TWO = {"multiplicative:form=matrix"}
"""Of them, those that take two inputs and no other number."""

FUSIONS = {**{name: (name, {}) for name in SPECS}, **VARIANTS}
CHOOSING = (".query.", ".before_attention.", ".before_cross.", ".score.", ".of_")
"""In names of what chooses among several keys, and has no gradient where there is one."""

TARGETS = ("classes", "labels", "scalar")
DECISION = {"outputs", "both"}
LISTED = ("classes", "labels")
ONLY = {
    "evidential": ("classes",),
    "confidence": LISTED,
    "class-attention": LISTED,
    "energy": ("classes",),
    "vcdn": ("classes",),
}
"""Kinds of target that a fusion at decision level takes, where it does not take all."""


class Both(nn.Module):
    """A fusion of features and outputs as one of features: each output is a fixed linear map of the features."""

    def __init__(self, fusion):
        super().__init__()
        self.fusion = fusion
        self.width = fusion.width

    def forward(self, features):
        return self.fusion(features, {name: self.output(part) for name, part in features.items()})

    def output(self, part):
        weight = torch.linspace(-1, 1, part.width * SIZE, dtype=part.tokens.dtype).view(part.width, SIZE)
        return Features.of(part.vector() @ weight, None if part.complete else part.present())


class Builder:
    """Builds a fusion in its test size."""

    def __init__(self, name, target):
        self.label = name
        self.name, given = FUSIONS[name]
        self.only_two = name in ONLY_TWO
        self.spec: FusionSpec = SPECS[self.name]
        self.target = target
        self.choice = CATALOG.choose("fusion", self.name, lambda schema: self._small(schema) | given)

    @staticmethod
    def _small(schema):
        return {key: value for key, value in SMALL.items() if key in schema}

    def takes(self, inputs):
        if self.only_two:
            return inputs == 2
        return self.spec.min_inputs <= inputs <= (self.spec.max_inputs or inputs)

    def __call__(self, widths):
        asked = [Target(self.target, SIZE)] if self.target else []
        if self.spec.inner:
            asked = [dict.fromkeys(widths, ())]
        fusion = self.choice.component(widths, *asked, **self.choice.options)
        return Both(fusion) if self.spec.family == "both" else fusion


def _builders():
    for name, (of, _) in FUSIONS.items():
        for target in ONLY.get(of, TARGETS) if SPECS[of].family in DECISION else ("",):
            yield pytest.param(Builder(name, target), id=f"{name}-{target}".rstrip("-"))


@pytest.fixture(params=_builders())
def build(request):
    return request.param


@pytest.fixture(params=["one", "two", "three", "four"])
def alike(request, make, build):
    """Features for any fusion: outputs of size C for those that combine outputs."""
    case = make(request.param, dtype=torch.float32)
    if not build.takes(len(case.widths)):
        pytest.skip(f"{build.name} does not take {len(case.widths)} inputs")
    if build.spec.family != "outputs":
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


def _told(build, fused):
    """What the objective reads that comes along with the fusion."""
    return sum(detail.sum() for detail in fused.details.values()) if build.spec.companion else 0


def _leaves(features):
    """Fresh leaves of the same values, and features of them."""
    leaves = {n: (f.tokens.clone(), None if f.pooled is None else f.pooled.clone()) for n, f in features.items()}
    for tokens, pooled in leaves.values():
        tokens.requires_grad_()
        if pooled is not None:
            pooled.requires_grad_()
    return leaves, {n: Features.of(leaves[n][0], f.mask, leaves[n][1]) for n, f in features.items()}


@pytest.mark.parametrize("name", SPECS)
def test_it_has_a_formula_and_is_compared_with_an_obvious_form(name):
    assert SPECS[name].formula
    assert (Path(__file__).parents[2] / "benchmarks/fusions/obvious" / f"{name.replace('-', '_')}.py").exists()


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
    if len(alike.widths) == 1 and (
        build.name in {"late", "modality-attention"} or (build.name, build.target) == ("log-pool", "scalar")
    ):
        pytest.skip("one input has nothing to be weighed against")
    with torch.no_grad():  # a gate that starts at zero hides what stands behind it
        for parameter in fusion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    leaves, features = _leaves(alike.features)
    fused = fusion.eval()(features)
    probe = torch.linspace(-1, 1, fused.vector().numel()).view_as(fused.vector())
    ((fused.vector() * probe).sum() + _told(build, fused)).backward()
    unread = [
        name for name, parameter in fusion.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    if unread:  # what training alone reads: the noise of a router, what a penalty compares with, a branch not chosen
        trained = fusion.train()(alike.features)
        ((trained.vector() * probe).sum() + sum(penalty.sum() for penalty in trained.penalties.values())).backward()
    lengths = [f.mask.shape[1] for f in alike.features.values()]
    fewest = dict.fromkeys(("cross-attention", "co-attention", "guided-attention"), min(lengths))
    fewest |= dict.fromkeys(("gated-attention", "top-down"), sum(lengths[1:]))
    fewest["flex-moe"] = len(lengths)
    one_key = fewest.get(build.name) == 1
    carried = tuple(f"recur.{name}" for name, f in alike.features.items() if f.mask.shape[1] == 1)
    carried += ("keep.",) if max(lengths) == 1 else ()
    for name, parameter in fusion.named_parameters():
        if one_key and any(part in f".{name}" for part in CHOOSING):
            continue  # whatever is asked of one key, its weight is 1
        if name.startswith(carried):
            continue  # of one step nothing is carried on
        assert parameter.grad.abs().sum() > 0, name
    if build.name == "stacking" and "detach" not in FUSIONS[build.label][1]:
        return  # by design it leaves alone what it reads
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
    if not list(fusion.parameters()):
        pytest.skip(f"{build.name} has no parameters")
    for name in alike.widths:
        missing = ~alike.features[name].present()
        fusion.zero_grad()
        fused = fusion(alike.features)
        score = fused.vector()[missing].square().sum()
        if score.requires_grad:  # of some, the companion alone trains the parameters
            score.backward()
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
        if fused.requires_grad:
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
@pytest.mark.parametrize("alike", ["two"], indirect=True)  # the kit looks at the graphs of three
def test_compiles_whole(build, alike):
    torch.compiler.reset()
    fusion = build(alike.widths).eval()
    compiled = torch.compile(fusion, fullgraph=True, backend="aot_eager")
    leaves = {n: Features(f.tokens.clone().requires_grad_(), f.mask, f.pooled) for n, f in alike.features.items()}
    wanted = [*(f.tokens for f in leaves.values()), *fusion.parameters()]
    found, expected = compiled(leaves), fusion(leaves)
    _close(found, expected)
    weights = torch.randn_like(expected.tokens)

    def gradients(result):
        return torch.autograd.grad((result.tokens * weights).sum(), wanted, allow_unused=True, materialize_grads=True)

    torch.testing.assert_close(gradients(found), gradients(expected))
    fusion.train()
    assert all(gradient.isfinite().all() for gradient in gradients(compiled(leaves)))


@pytest.mark.full
@pytest.mark.parametrize("alike", ["two"], indirect=True)  # the kit looks at the graphs of three
def test_exports_with_any_batch(build, alike):
    fusion = build(alike.widths).eval()
    batch = torch.export.Dim("batch", min=2)
    # What the fields of Features are: tensors, then penalties, details, inner without any.
    axes = {n: [{0: batch}] * (2 if f.pooled is None else 3) + [{}, {}, {}] for n, f in alike.features.items()}
    program = torch.export.export(fusion, (alike.features,), dynamic_shapes=(axes,))
    half = {n: _rows(f, slice(None, None, 2)) for n, f in alike.features.items()}
    _close(program.module()(half), fusion(half))
