import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.distillation import DistillationObjective

CLASSES = Target("classes", 3)
LABELS = Target("labels", 3)
SCALAR = Target("scalar", 3, (), (), (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def taught(given):
    """What a model and its teachers give; of some inputs the teachers are wider."""

    def make(names=("audio", "image", "text"), more=None):
        torch.manual_seed(3)
        output = given.output(names=names)
        teachers = {}
        for name in names:
            own = output.features[name]
            width = own.tokens.shape[2] + (more or {}).get(name, 0)
            found = Features.of(torch.randn(8, 2, width, dtype=torch.float64), own.mask)
            teachers[name] = ModelOutput({name: found}, found, torch.randn(8, 3, dtype=torch.float64))
        logits = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
        return ModelOutput(output.features, output.fused, logits, {}, teachers)

    return make


def built(given, found, target=CLASSES, **options):
    widths = {name: given.widths[name] for name in found.features}
    taught = {name: one.fused.tokens.shape[2] for name, one in found.teachers.items()}
    return DistillationObjective(widths, 8, target, taught, **options).double()


@torch.no_grad()
def slow(found, distance):
    """Sample by sample and input by input."""
    losses = []
    for row in range(8):
        loss = 0.0
        for name, features in found.features.items():
            if bool(features.mask[row].any()):
                loss += float(distance(name, row))
        losses.append(loss)
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("names", [("image", "text"), ("audio", "image", "text")])
def test_features_are_their_definition(given, taught, names):
    found = taught(names, more={"text": 3})
    objective = built(given, found, weight=0.7)

    def distance(name, row):
        own = found.features[name].tokens[row][found.features[name].mask[row]].mean(0)
        its = found.teachers[name].fused.tokens[row][found.features[name].mask[row]].mean(0)
        if name == "text":
            own = objective.maps[name].weight @ own + objective.maps[name].bias
        return 0.7 * sum((a - b) ** 2 for a, b in zip(own, its, strict=True)) / len(its)

    torch.testing.assert_close(objective(found, given.truth(8)), slow(found, distance))
    assert list(objective.maps) == ["text"]
    assert sum(p.numel() for p in objective.parameters()) == 6 * 9 + 9


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_outputs_of_classes_are_their_definition(given, taught, temperature):
    found = taught()

    def distance(name, row):
        q = F.softmax(found.teachers[name].output[row] / temperature, 0)
        p = F.softmax(found.output[row] / temperature, 0)
        return temperature**2 * sum(a * torch.log(a / b) for a, b in zip(q, p, strict=True))

    objective = built(given, found, of="outputs", temperature=temperature)
    torch.testing.assert_close(objective(found, given.truth(8)), slow(found, distance))
    assert not list(objective.parameters())


def test_outputs_of_labels_and_of_numbers_are_their_definitions(given, taught):
    found = taught()

    def of_labels(name, row):
        q = torch.sigmoid(found.teachers[name].output[row] / 2)
        p = torch.sigmoid(found.output[row] / 2)
        terms = q * torch.log(q / p) + (1 - q) * torch.log((1 - q) / (1 - p))
        return 4 * terms.mean()

    objective = built(given, found, LABELS, of="outputs")
    torch.testing.assert_close(objective(found, given.truth(8)), slow(found, of_labels))

    def of_numbers(name, row):
        return sum((found.output[row] - found.teachers[name].output[row]) ** 2) / 3

    objective = built(given, found, SCALAR, of="outputs")
    torch.testing.assert_close(objective(found, given.truth(8)), slow(found, of_numbers))


def test_a_high_temperature_compares_centred_logits(given, taught):
    """The limit of Hinton et al., section 2.1: T^2 KL -> 1 / (2 C) times the squared difference of centred logits."""
    found = taught()
    loss = built(given, found, of="outputs", temperature=1e4)(found, given.truth(8))
    centred = found.output - found.output.mean(1, keepdim=True)
    expected = sum(
        (centred - one.output + one.output.mean(1, keepdim=True)).square().sum(1) / 6 * found.features[name].present()
        for name, one in found.teachers.items()
    )
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("of", ["features", "outputs"])
def test_of_a_teacher_that_says_the_same_nothing_is_to_be_learned(given, taught, of):
    found = taught()
    same = {name: ModelOutput({}, part, found.output) for name, part in found.features.items()}
    found = ModelOutput(found.features, found.fused, found.output, {}, same)
    assert built(given, found, of=of)(found, given.truth(8)).abs().max() < 1e-12


def test_what_is_missing_costs_nothing_and_a_frozen_input_has_no_teacher(given, taught):
    found = taught()
    loss = built(given, found)(found, given.truth(8))
    teachers = {name: one for name, one in found.teachers.items() if name != "audio"}
    fewer = ModelOutput(found.features, found.fused, found.output, {}, teachers)
    without = built(given, fewer)(fewer, given.truth(8))
    there = found.features["audio"].present()
    assert torch.equal(loss[~there], without[~there])
    assert (loss[there] > without[there]).all()
    nothing = taught(("image",))
    loss = built(given, nothing)(nothing, given.truth(8))
    assert torch.equal(loss == 0, ~nothing.features["image"].present())


def test_options_that_mean_nothing_are_refused():
    widths = {"a": 2, "b": 3}
    with pytest.raises(ValueError, match="the target is text"):
        DistillationObjective(widths, 8, Target("text", 3), widths, of="outputs")
    with pytest.raises(ValueError, match="a temperature is of of=outputs"):
        DistillationObjective(widths, 8, CLASSES, widths, temperature=3.0)
    with pytest.raises(ValueError, match="a temperature is of of=outputs"):
        DistillationObjective(widths, 8, SCALAR, widths, of="outputs", temperature=3.0)
