import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.contrastive import ContrastiveObjective

WIDTHS = {"audio": 3, "image": 4, "text": 6}
TARGET = Target("classes", 3)


def output_of(masks, widths=WIDTHS, dtype=torch.float64):
    features = {
        name: Features.of(torch.randn(len(masks[name]), d, dtype=dtype), torch.tensor(masks[name], dtype=torch.bool))
        for name, d in widths.items()
    }
    for one in features.values():
        one.tokens.requires_grad_()
    return ModelOutput(features, features["image"], torch.zeros(len(masks["image"]), 3))


def truth_of(size):
    return {"label": torch.zeros(size, dtype=torch.long), "mask": torch.zeros(size, dtype=torch.bool)}


@torch.no_grad()
def slow(objective, output, weight):
    """Pair by pair and sample by sample, as the papers write it."""
    names = list(output.features)
    size = output.output.shape[0]
    scale = math.exp(float(objective.log_scale))
    there = {name: output.features[name].present().tolist() for name in names}
    points = {
        name: [vector @ projection.weight.T for vector in output.features[name].vector()]
        for name, projection in zip(names, objective.projections, strict=True)
    }

    def likeness(a, i, b, j):
        return math.exp(scale * float(F.cosine_similarity(points[a][i], points[b][j], dim=0)))

    losses = []
    for i in range(size):
        terms = []
        for x, a in enumerate(names):
            for b in names[x + 1 :]:
                if there[a][i] and there[b][i]:
                    same = likeness(a, i, b, i)
                    forth = -math.log(same / sum(likeness(a, i, b, j) for j in range(size) if there[b][j]))
                    back = -math.log(same / sum(likeness(a, j, b, i) for j in range(size) if there[a][j]))
                    terms.append((forth + back) / 2)
        losses.append(weight * sum(terms) / len(terms) if terms else 0.0)
    return torch.tensor(losses, dtype=torch.float64)


MASKS = {
    "audio": [1, 1, 0, 1, 0, 1],
    "image": [1, 1, 1, 0, 0, 1],
    "text": [1, 0, 1, 1, 1, 1],
}


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
def test_it_is_its_definition(names):
    widths = {name: WIDTHS[name] for name in names}
    objective = ContrastiveObjective(widths, 8, TARGET, space=5, temperature=0.2, weight=0.5).double()
    output = output_of(MASKS, widths)
    loss = objective(output, truth_of(6))
    torch.testing.assert_close(loss, slow(objective, output, 0.5))
    assert loss[4] == 0
    assert loss.count_nonzero() >= 3


@pytest.mark.parametrize(
    "masks",
    [
        {"audio": [1, 0, 0], "image": [0, 1, 0], "text": [0, 0, 1]},  # no pair
        {"audio": [0, 0, 0], "image": [0, 0, 0], "text": [0, 0, 0]},  # nothing at all
        {"audio": [1, 0, 0], "image": [1, 0, 0], "text": [0, 0, 0]},  # one pair
        {"audio": [1], "image": [1], "text": [1]},  # a batch of one
    ],
)
def test_without_negatives_it_is_zero_and_finite(masks):
    objective = ContrastiveObjective(WIDTHS, 8, TARGET)
    output = output_of(masks, dtype=torch.float32)
    loss = objective(output, truth_of(len(masks["image"])))
    torch.testing.assert_close(loss, torch.zeros(len(loss)))
    loss.sum().backward()
    for tensor in [*objective.parameters(), *(one.tokens for one in output.features.values())]:
        assert tensor.grad.isfinite().all()


def test_a_missing_input_gets_no_gradient_and_every_parameter_one():
    objective = ContrastiveObjective(WIDTHS, 8, TARGET)
    output = output_of(MASKS, dtype=torch.float32)
    objective(output, truth_of(6)).sum().backward()
    for name, one in output.features.items():
        gradient = one.tokens.grad.abs().sum((1, 2))
        assert gradient.isfinite().all()
        assert not gradient[~one.present()].any(), name
        assert gradient[one.present()].any(), name
    for name, parameter in objective.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_scale_stops_at_100_and_can_come_back():
    objective = ContrastiveObjective(WIDTHS, 8, TARGET, weight=1.0).double()
    output = output_of(MASKS)
    with torch.no_grad():
        objective.log_scale.fill_(math.log(100))
    at_the_limit = objective(output, truth_of(6))
    with torch.no_grad():
        objective.log_scale.fill_(math.log(1e6))
    beyond = objective(output, truth_of(6))
    torch.testing.assert_close(beyond, at_the_limit)
    beyond.sum().backward()
    assert objective.log_scale.grad != 0


def test_training_draws_the_inputs_of_a_sample_together():
    torch.manual_seed(1)
    shared = torch.randn(16, 4)
    features = {
        "image": Features.of(shared @ torch.randn(4, 4)),
        "text": Features.of(shared @ torch.randn(4, 6)),
    }
    output = ModelOutput(features, features["image"], torch.zeros(16, 3))
    objective = ContrastiveObjective({"image": 4, "text": 6}, 8, TARGET, space=8, weight=1.0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
    first = float(objective(output, truth_of(16)).mean().detach())
    for _ in range(100):
        optimizer.zero_grad()
        objective(output, truth_of(16)).mean().backward()
        optimizer.step()
    # A guess among 16 costs log 16; inputs that tell the same can be matched nearly always.
    assert float(objective(output, truth_of(16)).mean().detach()) < math.log(16) / 10 < first


def test_half_precision_is_compared_in_single():
    objective = ContrastiveObjective(WIDTHS, 8, TARGET)
    output = output_of(MASKS, dtype=torch.float32)
    whole = objective(output, truth_of(6))
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(output, truth_of(6))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.05)


def test_one_input_has_nothing_to_be_compared_with():
    with pytest.raises(ValueError, match="pairs inputs and needs two; got image"):
        ContrastiveObjective({"image": 4}, 8, TARGET)


@pytest.mark.full
def test_it_compiles_as_one_graph():
    objective = ContrastiveObjective(WIDTHS, 8, TARGET)
    output = output_of(MASKS, dtype=torch.float32)
    compiled = torch.compile(objective, fullgraph=True, dynamic=False, backend="aot_eager")(output, truth_of(6))
    torch.testing.assert_close(compiled, objective(output, truth_of(6)))
