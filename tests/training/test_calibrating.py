"""The temperature, against a fine grid, and against probabilities that are known to be too sure."""

import numpy as np
import pytest
import torch
from scipy import optimize

from mmkit.model.temperature import Temperature
from mmkit.training.calibrating import fitted_temperature, golden_section


def made(kind, *, sharpened, count=4000, size=4, seed=0):
    """Predictions whose logits are those that drew the truth, multiplied by a number."""
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(count, size, generator=generator)
    if kind == "classes":
        truth = {"label": torch.multinomial(z.softmax(-1), 1, generator=generator).squeeze(1)}
        probabilities = (sharpened * z).softmax(-1)
    else:
        truth = {"labels": (torch.rand(count, size, generator=generator) < z.sigmoid()).float()}
        probabilities = (sharpened * z).sigmoid()
    truth["mask"] = torch.ones(count, dtype=torch.bool)
    return probabilities, truth


def batches(probabilities, truth, size=700):
    for at in range(0, len(probabilities), size):
        part = slice(at, at + size)
        yield {"probabilities": probabilities[part]}, {name: leaf[part] for name, leaf in truth.items()}


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_was_sharpened(kind, sharpened):
    found = fitted_temperature(batches(*made(kind, sharpened=sharpened)), kind)
    assert found.value == pytest.approx(sharpened, rel=0.06)  # 4000 samples; the spread over ten seeds is .02


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_it_is_where_scipy_finds_the_least_log_loss(kind):
    probabilities, truth = made(kind, sharpened=1.5, count=300)
    p = probabilities.double().numpy()

    def loss(temperature):
        if kind == "classes":
            z = np.log(p) / temperature
            z -= np.log(np.exp(z).sum(1, keepdims=True))
            return -z[np.arange(len(z)), truth["label"].numpy()].mean()
        q = 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))
        y = truth["labels"].numpy()
        return -(y * np.log(q) + (1 - y) * np.log(1 - q)).mean()

    expected = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8}).x
    assert fitted_temperature(batches(probabilities, truth), kind).value == pytest.approx(expected, rel=1e-4)


def test_samples_without_truth_say_nothing():
    probabilities, truth = made("classes", sharpened=2.0, count=400)
    whole = fitted_temperature(batches(probabilities, truth), "classes")
    more = torch.cat([probabilities, torch.eye(4)])
    longer = {"label": torch.cat([truth["label"], torch.zeros(4, dtype=torch.long)])}
    longer["mask"] = torch.arange(404) < 400
    assert fitted_temperature(batches(more, longer), "classes") == whole


def test_where_nothing_is_gained_the_temperature_is_one():
    uniform = torch.full((8, 2), 0.5)
    truth = {"label": torch.tensor([0, 1] * 4), "mask": torch.ones(8, dtype=torch.bool)}
    assert fitted_temperature(batches(uniform, truth), "classes") == Temperature("classes", 1.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_that_are_all_right_are_as_sure_as_the_rule_of_succession(classes):
    label = torch.arange(99) % classes
    probabilities = torch.full((99, classes), 0.4 / (classes - 1)).scatter(1, label[:, None], 0.6)
    truth = {"label": label, "mask": torch.ones(99, dtype=torch.bool)}
    found = fitted_temperature(batches(probabilities, truth), "classes")
    assert found({"probabilities": probabilities})["probabilities"].amax(1) == pytest.approx(100 / 101, rel=1e-4)
    assert found.value < 0.5


def test_labels_that_are_all_right_are_as_sure_as_the_rule_of_succession():
    labels = (torch.arange(60).view(30, 2) % 3 == 0).float()
    truth = {"labels": labels, "mask": torch.ones(30, dtype=torch.bool)}
    probabilities = 0.3 + 0.4 * labels
    found = fitted_temperature(batches(probabilities, truth), "labels")
    surest = found({"probabilities": probabilities})["probabilities"]
    assert torch.where(labels > 0, surest, 1 - surest).flatten() == pytest.approx(61 / 62, rel=1e-4)


def test_few_answers_that_are_all_right_do_not_make_them_less_sure():
    right = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    truth = {"label": torch.tensor([0, 1]), "mask": torch.ones(2, dtype=torch.bool)}
    assert fitted_temperature(batches(right, truth), "classes").value == 1.0


def test_answers_that_say_nothing_end_at_the_highest():
    p = torch.tensor([[0.99, 0.01]]).repeat(4, 1)
    truth = {"label": torch.tensor([0, 1, 1, 1]), "mask": torch.ones(4, dtype=torch.bool)}
    assert fitted_temperature(batches(p, truth), "classes").value == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize("at", [-3.9, 0.0, 1.234])
def test_a_golden_section_finds_the_minimum(at):
    assert golden_section(lambda x: abs(x - at) + (x - at) ** 4, -4, 4) == pytest.approx(at, abs=1e-6)
