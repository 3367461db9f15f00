"""Every installed fusion, head, objective and encoder on the device: as on the CPU, in every way of running it."""

import copy
import warnings
from functools import cache, partial

import pytest
import torch
from torch import nn

from benchmarks.gpu.graphs import captured
from mmkit.contract import Features
from mmkit.layers.recurrent import Recurrent
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import installed
from mmkit.testing import Examination
from mmkit.testing.checks.graphs import Whole
from mmkit.testing.trees import comparable, expect_finite, expect_same, leaves, mapped
from mmkit.training.optimisation import Training, parameter_groups

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # a warning of a new device breaks nothing

CATALOG = installed()
KINDS = ("fusion", "head", "objective", "encoder")
EACH = [
    pytest.param(kind, entry.full_name, id=f"{kind}-{entry.name}")
    for kind in KINDS
    for entry in CATALOG.available(kind)
]
each = pytest.mark.parametrize(("kind", "name"), EACH)

CLOSE = 1e-4
"""Of the greatest number: float32 summed in another order."""
GRADIENT = 1e-3
"""Likewise, after a backward."""
COARSE = {torch.bfloat16: 0.15, torch.float16: 0.03}
"""Likewise, of formats with 8 and 11 bits."""


@cache
def specimens(kind, name):
    return Examination(kind, name, catalog=CATALOG).specimens


def moved(tree, device):
    return mapped(tree, lambda tensor: tensor.detach().to(device).requires_grad_(tensor.requires_grad))


def without_dropout(module):
    """What is drawn at random differs between devices."""
    for part in module.modules():
        for name, value in vars(part).items():
            if name.endswith("dropout") and isinstance(value, float):
                setattr(part, name, 0.0)
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
    return module


def drawn(specimen, **given):
    """Inputs in which each input is missing once, and all at once in one sample."""
    absent = {name: (1, 2 + i) for i, name in enumerate(specimen.names)}
    return specimen.draw(8, absent=absent, **given)


def fixed_way(specimen):
    """Whether what runs depends on shapes alone, so that it can be captured."""
    spec = getattr(specimen, "spec", None)
    return not (isinstance(spec, EncoderSpec) and not spec.fullgraph)


@each
def test_forward_backward_and_step_are_those_of_the_cpu(kind, name, device):
    for specimen in specimens(kind, name):
        here = without_dropout(specimen.fresh())
        there = copy.deepcopy(here).to(device)
        inputs = drawn(specimen)
        outputs = specimen.evaluate(moved(inputs, device), there)
        assert {tensor.device.type for _, tensor in leaves(outputs)} == {device.type}
        expect_same(moved(outputs, "cpu"), specimen.evaluate(inputs, here), "in evaluation", CLOSE)
        if draws(specimen, here):
            continue  # in training its numbers are those of a device's own generator
        _, expected = specimen.differentiate(inputs, here)
        there.train()
        given = moved(specimen.differentiable(inputs), device)
        found = gradients(specimen, there, given)
        wanted = {place: gradient for place, gradient in expected.items() if not place.startswith("input ")}
        assert {place for place, gradient in found.items() if gradient is not None} == {
            place for place, gradient in wanted.items() if gradient is not None
        }
        there_too = {place: gradient for place, gradient in wanted.items() if gradient is not None}
        expect_same({place: found[place].cpu() for place in there_too}, there_too, "gradient", GRADIENT)
        step_both(here, there, there_too)


def draws(specimen, module):
    """Whether a training pass draws numbers, beside dropout."""
    module.train()
    before = torch.get_rng_state()
    with torch.no_grad():
        specimen.call(module, drawn(specimen))
    drew = not torch.equal(before, torch.get_rng_state())
    module.eval()
    return drew


def gradients(specimen, module, given):
    """Of every parameter that is trained, as `specimen.differentiate` has them, on any device."""
    outputs = specimen.call(module, given)
    trained = {place: p for place, p in module.named_parameters() if p.requires_grad}
    score = specimen.score(moved_with_graph(outputs))
    if not trained or not score.requires_grad:
        return dict.fromkeys(trained)
    found = torch.autograd.grad(score, list(trained.values()), allow_unused=True)
    return dict(zip(trained, found, strict=True))


def moved_with_graph(tree):
    return mapped(tree, lambda tensor: tensor.to("cpu"))


def step_both(here, there, gradients_of):
    """Three steps of the fused optimizer with the same gradients, so that it alone is compared."""
    if not gradients_of:
        return
    for module in (here, there):
        for place, parameter in module.named_parameters():
            parameter.grad = gradients_of[place].to(parameter.device) if place in gradients_of else None
        optimizer = torch.optim.AdamW(parameter_groups(module, Training()), lr=1e-2, fused=True)
        for _ in range(3):
            nn.utils.clip_grad_norm_(module.parameters(), 1.0, foreach=True)
            optimizer.step()
    after = {place: p.detach() for place, p in here.named_parameters()}
    expect_same({place: p.detach().cpu() for place, p in there.named_parameters()}, after, "after a step", CLOSE)


@pytest.mark.parametrize("dtype", list(COARSE), ids=["bfloat16", "float16"])
@each
def test_under_autocast_it_is_finite_and_near_float32(kind, name, dtype, device):
    for specimen in specimens(kind, name):
        module = without_dropout(specimen.fresh()).to(device)
        inputs = moved(drawn(specimen), device)
        expected = specimen.evaluate(inputs, module)
        with torch.autocast(device.type, dtype):
            try:
                found = specimen.evaluate(inputs, module)
            except RuntimeError as error:
                if device.type == "cpu" and "primitive descriptor" in str(error):
                    pytest.skip(f"this CPU's library has no such kernel: {error}")
                raise
            expect_finite(found, f"in {dtype}")
            near(found, expected, COARSE[dtype])
            given = moved(specimen.differentiable(drawn(specimen)), device)
            module.train()
            outputs = specimen.call(module, given)
        score = specimen.score(moved_with_graph(outputs))
        trained = [p for p in module.parameters() if p.requires_grad]
        if trained and score.requires_grad:
            found = torch.autograd.grad(score, trained, allow_unused=True)
            expect_finite([g for g in found if g is not None], f"gradient in {dtype}")


def near(found, expected, tolerance):
    """Numbers near each other; what is chosen among tokens may differ by a hair."""
    ours, theirs = comparable(found), comparable(expected)
    for place, value in ours.items():
        if value.is_floating_point() and value.numel():
            off = (value.float() - theirs[place].float()).abs().max().item()
            allowed = tolerance * max(theirs[place].float().abs().max().item(), 0.01)
            assert off <= allowed, f"{place} is off by {off:.3g}, {allowed:.3g} allowed"


@each
def test_captured_as_a_graph_it_gives_the_same_for_new_inputs(kind, name, device):
    """On the CPU a stand-in takes the graph's place, so that this test itself is tried."""
    for specimen in specimens(kind, name):
        if not fixed_way(specimen):
            pytest.skip("its spec says fullgraph=False: what runs depends on values")
        module = specimen.fresh().to(device).eval()
        if getattr(module, "frozen", False):
            pytest.skip("a pretrained model of another library: it may copy from the host on its way")
        absent = {specimen.names[0]: (3,)}
        first, second = (moved(specimen.draw(8, seed=seed, absent=absent), device) for seed in (0, 2))
        if [leaf.shape for _, leaf in leaves(first)] != [leaf.shape for _, leaf in leaves(second)]:
            second = moved(specimen.replaced(first, second, specimen.names[0]), device)
        with torch.no_grad():
            call = partial(inference, specimen, module)
            replay = captured(call, first, device)
            for inputs in (second, first):
                expect_same(replay(*inputs), call(*inputs), "replayed", CLOSE)


def inference(specimen, module, *inputs):
    """What may be captured: of a head for texts the output alone, since how much of the truth is read hangs on it."""
    if getattr(specimen, "target", None) == "text":
        return {"output": module(inputs[0])}
    return specimen.captured(module, inputs)


@pytest.mark.parametrize("dtype", list(COARSE), ids=["bfloat16", "float16"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_of_recurrent_layers_join_what_others_give_under_autocast(cell, dtype, device):
    """CUDA's recurrent kernels may answer in another format than the one that autocast names."""
    layer = Recurrent(6, 8, cell=cell, layers=1, bidirectional=True, dropout=0.0).to(device)
    beside = nn.Linear(6, 8).to(device)
    steps, mask = torch.randn(5, 1, 6, device=device), torch.ones(5, 1, dtype=torch.bool, device=device)
    with torch.autocast(device.type, dtype):
        states = Features.of(layer(steps, mask), mask).vector()
        joined = torch.cat([states, beside(steps[:, 0])], 1)
    assert joined.shape == (5, 16)
    assert joined.isfinite().all()


@each
def test_compiled_it_gives_the_same(kind, name, device, record_property):
    """Forwards of fusions by inductor, which writes kernels; the rest is traced. On the CPU all is traced."""
    backend = "inductor" if device.type == "cuda" and kind == "fusion" else "aot_eager"
    record_property("backend", backend)
    for specimen in specimens(kind, name)[:1]:
        if not fixed_way(specimen):
            pytest.skip("its spec says fullgraph=False")
        module = without_dropout(specimen.fresh()).to(device)
        whole = Whole(specimen, module)
        inputs = moved(drawn(specimen), device)
        with warnings.catch_warnings(action="ignore"):
            torch.compiler.reset()
            compiled = torch.compile(whole, fullgraph=True, dynamic=False, backend=backend)
            whole.eval()
            with torch.no_grad():
                expect_same(compiled(*inputs), whole(*inputs), "compiled", GRADIENT)
            torch.compiler.reset()
            traced = torch.compile(whole, fullgraph=True, dynamic=False, backend="aot_eager")
            whole.train()
            given = moved(specimen.differentiable(drawn(specimen)), device)
            score = specimen.score(moved_with_graph(traced(*given)))
            trained = [p for p in module.parameters() if p.requires_grad]
            if trained and score.requires_grad:
                found = torch.autograd.grad(score, trained, allow_unused=True)
                expect_finite([g for g in found if g is not None], "gradient, compiled")
        torch.compiler.reset()
