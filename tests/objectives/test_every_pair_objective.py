"""What holds for every objective that compares inputs, whatever it computes."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features, ModelOutput, Target
from mmkit.plugin import ObjectiveSpec
from mmkit.registry.catalog import BUILTIN, installed

CATALOG = installed()
NAMES = [
    entry.name
    for entry in CATALOG.available("objective")
    if entry.distribution == BUILTIN and isinstance(entry.spec, ObjectiveSpec) and entry.spec.min_inputs == 2
    if not entry.spec.teachers  # it compares inputs with their teachers
    if not entry.spec.unimodal  # it compares outputs
]
TARGET = Target("classes", 3)
APART = {"independence", "mutual-information"}
"""Those that push inputs apart."""
ROWS = {"kl-align", "siglip"}
"""Those of which one row alone may lose: siglip asks it whether it is itself."""


class Builder:
    """Builds an objective by its name."""

    def __init__(self, name):
        self.name = name

    def __call__(self, widths, **options):
        choice = CATALOG.choose("objective", self.name, options)
        return choice.component(widths, 8, TARGET, **choice.options)


@pytest.fixture(params=[*NAMES, "deep-cca:soft=true", "independence:kernel=linear", "moments:distance=mmd"])
def build(request):
    return Builder(request.param)


def test_there_are_objectives_of_pairs():
    assert {"barlow", "contrastive", "deep-cca", "moments", "siglip", "vicreg"} <= set(NAMES)


@pytest.mark.parametrize(
    "masks",
    [
        {"audio": [1, 0, 0], "image": [0, 1, 0], "text": [0, 0, 1]},  # no pair
        {"audio": [0, 0, 0], "image": [0, 0, 0], "text": [0, 0, 0]},  # nothing at all
        {"audio": [1, 0, 0], "image": [1, 0, 0], "text": [0, 0, 0]},  # one pair
        {"audio": [1], "image": [1], "text": [1]},  # a batch of one
    ],
)
def test_without_two_pairs_all_is_finite_and_nothing_is_lost_where_there_is_none(build, given, masks):
    objective = build(given.widths)
    output = given.output(masks, dtype=torch.float32)
    loss = objective(output, given.truth(len(masks["image"])))
    paired = sum(a + b == 2 for a, b in zip(masks["audio"], masks["image"], strict=True))
    assert loss.isfinite().all()
    if not paired or build.name not in ROWS:
        torch.testing.assert_close(loss, torch.zeros(len(loss)))
    loss.sum().backward()
    for tensor in [*objective.parameters(), *(one.tokens for one in output.features.values())]:
        assert tensor.grad.isfinite().all()


def test_a_missing_input_gets_no_gradient_and_every_parameter_one(build, given):
    objective = build(given.widths)
    output = given.output(dtype=torch.float32)
    objective(output, given.truth(8)).sum().backward()
    for name, one in output.features.items():
        gradient = one.tokens.grad.abs().sum((1, 2))
        assert gradient.isfinite().all()
        assert not gradient[~one.present()].any(), name
        assert gradient[one.present()].any(), name
    for name, parameter in objective.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_half_precision_is_compared_in_single(build, given):
    objective = build(given.widths)
    output = given.output(dtype=torch.float32)
    whole = objective(output, given.truth(8))
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(output, given.truth(8))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.05)


def test_one_input_has_nothing_to_be_compared_with(build):
    with pytest.raises(ValueError, match=f"the {build.name.partition(':')[0]} objective pairs inputs and needs two"):
        build({"image": 4})


def test_training_draws_the_inputs_of_a_sample_together(build):
    """Two views of the same numbers come to lose less than half of what two unrelated ones do at the start.

    Behind each view stands a linear encoder, which learns too.
    """
    if build.name.partition(":")[0] in APART:
        pytest.skip("it draws them apart")
    torch.manual_seed(1)
    shared = torch.randn(64, 4)
    views = {"image": shared @ torch.randn(4, 4), "text": shared @ torch.randn(4, 6)}
    encoders = nn.ModuleDict({name: nn.Linear(view.shape[1], view.shape[1]) for name, view in views.items()})
    truth = {"label": torch.zeros(64, dtype=torch.long), "mask": torch.ones(64, dtype=torch.bool)}
    objective = build({"image": 4, "text": 6}, space=4)
    optimizer = torch.optim.Adam([*objective.parameters(), *encoders.parameters()], lr=0.03)

    def loss():
        features = {name: Features.of(encoders[name](view)) for name, view in views.items()}
        return objective(ModelOutput(features, features["image"], torch.zeros(64, 3)), truth).mean()

    first = float(loss().detach())
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < first / 2


@pytest.mark.full
def test_it_compiles_as_one_graph(build, given):
    torch.compiler.reset()
    objective = build(given.widths).eval()
    output = given.output(dtype=torch.float32)
    compiled = torch.compile(objective, fullgraph=True, dynamic=False, backend="aot_eager")(output, given.truth(8))
    torch.testing.assert_close(compiled, objective(output, given.truth(8)))
