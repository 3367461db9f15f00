"""Metrics of numbers near their limits, against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from mmkit.metrics.formulas import of_numbers


def data(offset: float, error: float) -> tuple[Tensor, Tensor]:
    """Predictions and truths [50 1] float64: numbers of deviation 1 about an offset, and errors on them."""
    generator = torch.Generator().manual_seed(1)
    truth, noise = torch.randn(2, 50, 1, generator=generator, dtype=torch.float64)
    truth = truth + offset
    return truth + error * noise, truth


def exact(prediction: Tensor, truth: Tensor) -> dict[str, float]:
    """r2, Pearson's r, RMSE and MAE, rounded once."""
    x, y = ([Fraction(v) for v in values.flatten().tolist()] for values in (prediction, truth))
    n = len(x)
    errors = [a - b for a, b in zip(x, y, strict=True)]
    mx, my = sum(x) / n, sum(y) / n
    of_y = sum((b - my) ** 2 for b in y)
    of_x = sum((a - mx) ** 2 for a in x)
    both = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    squares = sum(e**2 for e in errors)
    return {
        "1 - r2": float(squares / of_y),
        "1 - r^2": float(1 - both**2 / (of_x * of_y)),
        "rmse": math.sqrt(squares / n),
        "mae": float(sum(map(abs, errors)) / n),
    }


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9])
@pytest.mark.parametrize("error", [1e-1, 4e-3, 1e-5, 3.0])
def test_metrics_of_numbers_are_exact_near_their_limits_and_at_an_offset(offset: float, error: float) -> None:
    prediction, truth = data(offset, error)
    found = {name: measure() for name, measure in of_numbers(prediction, truth).items()}
    expected = exact(prediction, truth)
    rounding = 1e-14  # of a result near 1
    assert found["r2"] is not None
    assert found["pearson"] is not None
    assert 1 - found["r2"] == pytest.approx(expected["1 - r2"], rel=1e-12, abs=rounding)
    assert 1 - found["pearson"] ** 2 == pytest.approx(expected["1 - r^2"], rel=1e-7, abs=rounding)
    assert found["rmse"] == pytest.approx(expected["rmse"], rel=1e-12)
    assert found["mae"] == pytest.approx(expected["mae"], rel=1e-12)


def test_r2_of_tiny_and_of_float32_numbers() -> None:
    prediction, truth = data(0.0, 4e-3)
    plain = of_numbers(prediction, truth)["r2"]()
    assert of_numbers(prediction * 1e-12, truth * 1e-12)["r2"]() == pytest.approx(plain, rel=1e-12)
    half = of_numbers(prediction.float(), truth.float())["r2"]()
    assert half is not None
    assert 1 - half == pytest.approx(exact(prediction.float(), truth.float())["1 - r2"], rel=1e-12)
