import pytest
import torch
from torch.nn import functional as F

from mmkit.contract import Features, ModelOutput, Target
from mmkit.objectives.unimodal import UnimodalObjective

B, C = 5, 3
WIDTHS = {"image": 4, "text": 6}
PRESENT = {
    "image": torch.tensor([1, 1, 0, 0, 1], dtype=torch.bool),
    "text": torch.tensor([1, 0, 1, 0, 1], dtype=torch.bool),
}
TRUTH = torch.tensor([1, 1, 1, 1, 0], dtype=torch.bool)


def output_of(unimodal):
    features = {name: Features.of(torch.randn(B, d).double(), PRESENT[name]) for name, d in WIDTHS.items()}
    return ModelOutput(features, features["image"], torch.zeros(B, C), unimodal)


TARGETS = {
    "classes": (Target("classes", C), {"label": torch.tensor([0, 2, 1, 1, -9])}),
    "labels": (Target("labels", C), {"labels": torch.tensor([[0, 1, 1]] * 4 + [[float("nan")] * C])}),
    "scalar": (
        Target("scalar", C, mean=(1.0, 2.0, 3.0), std=(2.0, 0.5, 4.0)),
        {"values": torch.tensor([[1.0, 3.0, 5.0]] * 4 + [[float("nan")] * C])},
    ),
}


@torch.no_grad()
def slow(kind, output, truth, target, row):
    if kind == "classes":
        return F.cross_entropy(output[row], truth["label"][row])
    if kind == "labels":
        return F.binary_cross_entropy_with_logits(output[row], truth["labels"][row].double())
    standard = (truth["values"][row].double() - torch.tensor(target.mean).double()) / torch.tensor(target.std).double()
    return (output[row] - standard).square().mean()


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_it_is_the_sum_over_the_inputs_that_are_there(kind, weight):
    target, truth = TARGETS[kind]
    truth = {**truth, "mask": TRUTH}
    unimodal = {name: torch.randn(B, C, dtype=torch.float64, requires_grad=True) for name in WIDTHS}
    loss = UnimodalObjective(WIDTHS, 8, target, weight=weight)(output_of(unimodal), truth)
    expected = [
        weight
        * sum(
            float(slow(kind, unimodal[name], truth, target, row))
            for name in WIDTHS
            if PRESENT[name][row] and TRUTH[row]
        )
        for row in range(B)
    ]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))
    assert loss[3] == 0  # no input is there
    assert loss[4] == 0  # no truth is there
    loss.sum().backward()
    for name, output in unimodal.items():
        assert output.grad.isfinite().all()
        assert torch.equal(output.grad.abs().sum(1) > 0, PRESENT[name] & TRUTH)


def test_a_foreign_kind_of_target_is_refused():
    with pytest.raises(ValueError, match="the target is of kind text"):
        UnimodalObjective(WIDTHS, 8, Target("text", 9))
