"""The supervised contrastive loss, against its definition one member of the batch at a time."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.supervised_contrastive import SupervisedContrastiveObjective

TARGET = Target("classes", 3)
LABELS = [0, 1, 1, 2, 0, 0, -100, 1]


def truth(labels):
    label = torch.tensor(labels)
    return {"label": label, "mask": label >= 0}


@torch.no_grad()
def slow(objective, output, labels, weight, temperature):
    """Every member by itself: an input of a sample that is there and has a label."""
    members = []
    for row, label in enumerate(labels):
        for projection, one in zip(objective.projections, output.features.values(), strict=True):
            if label >= 0 and one.present()[row]:
                members.append((row, label, projection(one.vector()[row])))
    of_rows = [[] for _ in labels]
    for i, (row, label, point) in enumerate(members):
        shares = {
            j: math.exp(float(F.cosine_similarity(point, other, dim=0)) / temperature)
            for j, (_, _, other) in enumerate(members)
            if j != i
        }
        alike = [j for j in shares if members[j][1] == label]
        if alike:
            of_rows[row].append(-sum(math.log(shares[j] / sum(shares.values())) for j in alike) / len(alike))
    return torch.tensor([weight * sum(t) / len(t) if t else 0.0 for t in of_rows], dtype=torch.float64)


@pytest.mark.parametrize("names", [["image"], ["image", "text"], ["audio", "image", "text"]])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_it_is_its_definition(given, names, temperature):
    widths = {name: given.widths[name] for name in names}
    objective = SupervisedContrastiveObjective(widths, 8, TARGET, space=5, temperature=temperature, weight=0.5).double()
    output = given.output(names=names)
    loss = objective(output, truth(LABELS))
    torch.testing.assert_close(loss, slow(objective, output, LABELS, 0.5, temperature))
    assert loss[6] == 0  # has no truth
    assert loss.count_nonzero() >= 4


def test_of_distinct_classes_each_member_is_told_from_all_others():
    """Of n samples with two inputs: the cross-entropy over 2n - 1 members of which one is the right one."""
    torch.manual_seed(0)
    n = 6
    features = {name: Features.of(torch.randn(n, d).double()) for name, d in (("image", 4), ("text", 6))}
    objective = SupervisedContrastiveObjective({"image": 4, "text": 6}, 8, Target("classes", n), weight=1.0).double()
    output = ModelOutput(features, features["image"], torch.zeros(n, n))
    points = torch.cat([p(f.vector()) for p, f in zip(objective.projections, features.values(), strict=True)])
    logits = F.cosine_similarity(points.unsqueeze(1), points.unsqueeze(0), dim=2) / 0.07
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    expected = F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n), reduction="none").view(2, n).mean(0)
    torch.testing.assert_close(objective(output, truth(list(range(n)))), expected)


def test_members_of_one_place_share_all_and_lose_least():
    """Where each class is one point, far from the others, the loss is the logarithm of the number of positives."""
    label = torch.arange(3).repeat(4)
    features = {"image": Features.of(20 * F.one_hot(label, 3).double())}
    objective = SupervisedContrastiveObjective({"image": 3}, 8, TARGET, space=3, temperature=0.01, weight=1.0).double()
    torch.nn.init.eye_(objective.projections[0].weight)
    output = ModelOutput(features, features["image"], torch.zeros(12, 3))
    torch.testing.assert_close(objective(output, truth(label.tolist())), torch.full((12,), math.log(3)).double())


@pytest.mark.parametrize(
    ("labels", "masks"),
    [
        ([0, 1, 2], {"image": [1, 1, 1], "text": [0, 0, 0]}),  # no two of a class
        ([-100, -100, -100], {"image": [1, 1, 1], "text": [1, 1, 1]}),  # no truth
        ([0, 0, 0], {"image": [0, 0, 0], "text": [0, 0, 0]}),  # nothing there
        ([0], {"image": [1], "text": [0]}),  # a batch of one
    ],
)
def test_without_another_of_the_class_nothing_is_lost(given, labels, masks):
    widths = {"image": 4, "text": 6}
    objective = SupervisedContrastiveObjective(widths, 8, TARGET)
    output = given.output(masks, names=tuple(widths), dtype=torch.float32)
    loss = objective(output, truth(labels))
    assert torch.equal(loss, torch.zeros(len(labels)))
    loss.sum().backward()
    for tensor in [*objective.parameters(), *(one.tokens for one in output.features.values())]:
        assert tensor.grad.isfinite().all()


def test_what_is_missing_or_has_no_truth_gets_no_gradient(given):
    objective = SupervisedContrastiveObjective(given.widths, 8, TARGET)
    output = given.output(dtype=torch.float32)
    objective(output, truth(LABELS)).sum().backward()
    for name, one in output.features.items():
        gradient = one.tokens.grad.abs().sum((1, 2))
        assert not gradient[~one.present()].any(), name
        assert gradient[6] == 0
        assert gradient[one.present()].any(), name
    assert all(parameter.grad.abs().sum() > 0 for parameter in objective.parameters())


def test_half_precision_is_compared_in_single(given):
    objective = SupervisedContrastiveObjective(given.widths, 8, TARGET)
    output = given.output(dtype=torch.float32)
    whole = objective(output, truth(LABELS))
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(output, truth(LABELS))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, rtol=0.1, atol=0.05)


def test_training_gathers_the_classes():
    torch.manual_seed(0)
    label = torch.arange(4).repeat(16)
    noise = {"image": 4, "text": 6}
    features = {n: Features.of(torch.eye(4, d)[label] + 0.3 * torch.randn(64, d)) for n, d in noise.items()}
    objective = SupervisedContrastiveObjective(noise, 8, Target("classes", 4), space=4, temperature=0.2, weight=1.0)
    output = ModelOutput(features, features["image"], torch.zeros(64, 4))
    least = math.log(31)  # of as many positives, and no others
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
    first = float(objective(output, truth(label.tolist())).mean().detach()) - least
    for _ in range(150):
        optimizer.zero_grad()
        objective(output, truth(label.tolist())).mean().backward()
        optimizer.step()
    assert float(objective(output, truth(label.tolist())).mean().detach()) - least < first / 2


@pytest.mark.parametrize("kind", ["labels", "scalar"])
def test_only_classes_are_compared(kind):
    with pytest.raises(ValueError, match=f"objective compares classes; the target is '{kind}'"):
        SupervisedContrastiveObjective({"image": 4}, 8, Target(kind, 3))


@pytest.mark.full
def test_it_compiles_as_one_graph(given):
    torch.compiler.reset()
    objective = SupervisedContrastiveObjective(given.widths, 8, TARGET).eval()
    output = given.output(dtype=torch.float32)
    compiled = torch.compile(objective, fullgraph=True, dynamic=False, backend="aot_eager")(output, truth(LABELS))
    torch.testing.assert_close(compiled, objective(output, truth(LABELS)))
