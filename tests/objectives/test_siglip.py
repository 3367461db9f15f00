import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.siglip import SiglipObjective

TARGET = Target("classes", 3)


@torch.no_grad()
def slow(objective, output, given, weight):
    """Question by question: is it the same sample?"""
    names = list(output.features)
    size = output.output.shape[0]
    scale, bias = math.exp(float(objective.log_scale)), float(objective.bias)
    projections = dict(zip(names, objective.projections, strict=True))
    terms = [[] for _ in range(size)]
    for x, a in enumerate(names):
        for b in names[x + 1 :]:
            kept, first, second = given.rows(output, a, b)
            of_rows = dict.fromkeys(kept, 0.0)
            for i, one in zip(kept, first, strict=True):
                for j, other in zip(kept, second, strict=True):
                    alike = F.cosine_similarity(projections[a](one), projections[b](other), dim=0)
                    chance = 1 / (1 + math.exp(-(scale * float(alike) + bias)))  # that they are the same
                    cost = -math.log(chance if i == j else 1 - chance)
                    of_rows[i] += cost / 2
                    of_rows[j] += cost / 2
            for i, cost in of_rows.items():
                terms[i].append(cost)
    return torch.tensor([weight * sum(t) / len(t) if t else 0.0 for t in terms], dtype=torch.float64)


@pytest.mark.parametrize("names", [["image", "text"], ["audio", "image", "text"]])
def test_it_is_its_definition(given, names):
    widths = {name: given.widths[name] for name in names}
    objective = SiglipObjective(widths, 8, TARGET, space=5, temperature=0.5, bias=-0.7, weight=0.5).double()
    output = given.output(names=names)
    loss = objective(output, given.truth(8))
    torch.testing.assert_close(loss, slow(objective, output, given, 0.5))
    assert loss[4] == 0  # has one input
    assert loss.count_nonzero() >= 4


def test_it_is_the_sum_of_the_paper_over_the_batch(given):
    """-1/B sum_ij log sigmoid(s_ij (t x_i y_j + b)), as its algorithm 1 has it."""
    widths = {"image": 4, "text": 6}
    objective = SiglipObjective(widths, 8, TARGET, weight=1.0).double()
    everyone = {name: [1] * 8 for name in widths}
    output = given.output(everyone, names=tuple(widths))
    image, text = (
        F.normalize(p(f.vector())) for p, f in zip(objective.projections, output.features.values(), strict=True)
    )
    logits = image @ text.T * 10 - 10
    expected = -F.logsigmoid((2 * torch.eye(8, dtype=torch.float64) - 1) * logits).sum() / 8
    torch.testing.assert_close(objective(output, given.truth(8)).mean(), expected, rtol=1e-6, atol=0)


def test_the_bias_lets_many_other_samples_cost_little_at_the_start(given):
    """Of 256 samples the 255 others cost no more than the one that is the same; without the bias far more."""
    found = {}
    for bias in (-10.0, 0.0):
        torch.manual_seed(0)
        features = {name: Features.of(torch.randn(256, d)) for name, d in (("image", 4), ("text", 6))}
        objective = SiglipObjective({"image": 4, "text": 6}, 8, TARGET, bias=bias, weight=1.0)
        output = ModelOutput(features, features["image"], torch.zeros(256, 3))
        whole = objective(output, given.truth(256)).mean()
        alone = [
            objective(
                ModelOutput(
                    {n: Features.of(f.tokens[i : i + 1]) for n, f in features.items()},
                    features["image"],
                    torch.zeros(1, 3),
                ),
                given.truth(1),
            )
            for i in range(256)
        ]
        found[bias] = float((whole / torch.stack(alone).mean()).detach())
    assert found[-10.0] < 2
    assert found[0.0] > 30


def test_it_is_the_same_whichever_input_is_the_first(given):
    objective = SiglipObjective({"image": 4, "text": 6}, 8, TARGET).double()
    output = given.output(names=("image", "text"))
    loss = objective(output, given.truth(8))
    objective.inputs = ("text", "image")
    objective.projections = torch.nn.ModuleList(reversed(objective.projections))
    torch.testing.assert_close(objective(output, given.truth(8)), loss)
