"""Confidence-weighted fusion, against its formula written out for one sample and one number at a time."""

import math

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.fusions.both.confidence import ConfidenceFusion


def sigmoid(number):
    return 1 / (1 + math.exp(-number))


def weights(scores, far, calibrated):
    """Of the inputs that are there, from what each predicts, and how far each is from uniform."""
    logs = [math.log(sigmoid(s)) for s in scores]
    sure = [sigmoid(s) + sum(logs[:i] + logs[i + 1 :]) / sum(logs) for i, s in enumerate(scores)]
    if calibrated and max(far) > 0:
        sure = [s * min(1, f / max(far)) for s, f in zip(sure, far, strict=True)]
    return [math.exp(s) / sum(math.exp(o) for o in sure) for s in sure]


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("calibrated", [True, False])
def test_it_is_its_formula(case, outputs, said, perturbed, same, kind, calibrated):
    fusion = perturbed(ConfidenceFusion(case.widths, Target(kind, 3), hidden=5, calibrate=calibrated))
    expected = []
    for sample in range(case.batch):
        here = [name for name in case.widths if said(outputs, name, sample) is not None]
        row = torch.zeros(3, dtype=torch.float64)
        for c in range(3):
            scores, far = [], []
            for name in here:
                score = fusion.predictors[name](case.vector(name, sample))
                scores.append(float(score[0 if kind == "classes" else c]))
                output = said(outputs, name, sample)
                if kind == "classes":
                    far.append(sum(abs(float(p) - 1 / 3) for p in output.softmax(0)) / 3)
                else:
                    far.append(abs(sigmoid(float(output[c])) - 0.5))
            for name, weight in zip(here, weights(scores, far, calibrated) if here else [], strict=True):
                row[c] += weight * float(said(outputs, name, sample)[c])
        expected.append(row)
    same(fusion(case.features, outputs).vector(), expected)


def test_the_shares_of_the_others_sum_to_one_less_than_the_inputs():
    torch.manual_seed(0)
    score = torch.randn(7, 4, 1).double()
    logs = score.sigmoid().log()
    total = logs.sum(1, keepdim=True)
    torch.testing.assert_close(((total - logs) / total).sum(1), torch.full((7, 1), 3.0).double())
    fusion = ConfidenceFusion(dict.fromkeys("abcd", 2), Target("classes", 3)).train()
    for flags in (None, torch.ones(7, 4, 1, dtype=torch.bool)):
        found = fusion._weights(score, score.sigmoid(), torch.randn(7, 4, 3).double(), flags)
        torch.testing.assert_close(found, (score.sigmoid() + (total - logs) / total).softmax(1))


def test_calibration_is_of_evaluation_alone(case, outputs):
    fusion = ConfidenceFusion(case.widths, Target("classes", 3)).double()
    plain = ConfidenceFusion(case.widths, Target("classes", 3), calibrate=False).double()
    plain.load_state_dict(fusion.state_dict())
    torch.testing.assert_close(
        fusion.train()(case.features, outputs).vector(), plain.train()(case.features, outputs).vector()
    )


def test_only_the_companion_trains_what_predicts_confidence_and_not_the_encoders():
    fusion = ConfidenceFusion({"a": 4, "b": 4}, Target("classes", 3)).train()
    features = {n: Features.of(torch.randn(5, 4, requires_grad=True)) for n in "ab"}
    outputs = {n: Features.of(torch.randn(5, 3, requires_grad=True)) for n in "ab"}
    fused = fusion(features, outputs)
    inputs = [f.tokens for f in features.values()]
    of_output = torch.autograd.grad(
        fused.vector().square().sum(), [*fusion.parameters(), *inputs], allow_unused=True, retain_graph=True
    )
    assert all(gradient is None for gradient in of_output)
    details = sum(detail.sum() for detail in fused.details.values())
    of_details = torch.autograd.grad(details, [*fusion.parameters(), *inputs], allow_unused=True)
    assert all(gradient is not None for gradient in of_details[:-2])
    assert of_details[-2:] == (None, None)


def test_one_input_is_itself(make):
    features = {"a": Features.of(torch.randn(5, 4).double())}
    outputs = {"a": Features.of(torch.randn(5, 3).double())}
    fusion = ConfidenceFusion({"a": 4}, Target("classes", 3)).double().eval()
    torch.testing.assert_close(fusion(features, outputs).vector(), outputs["a"].vector())


@pytest.mark.parametrize(("kind", "size"), [("classes", 1), ("labels", 10)])
def test_the_number_of_its_parameters(kind, size):
    fusion = ConfidenceFusion({"a": 8, "b": 16}, Target(kind, 10), hidden=32)
    assert sum(p.numel() for p in fusion.parameters()) == 24 * 32 + 2 * 32 + 2 * (32 * size + size)


def test_numbers_have_no_confidence():
    with pytest.raises(ValueError, match="the target is 'scalar': take late"):
        ConfidenceFusion({"a": 4}, Target("scalar", 3))
