"""Numbers far beyond all others are found, and heavy tails are not taken for them."""

import numpy as np
import pyarrow as pa
import pytest

from mmkit.sources.findings import find
from mmkit.sources.outliers import outliers
from mmkit.sources.targets import read_target

HEAVY = {
    "normal": lambda r, n: r.normal(190, 30, n),
    "lognormal": lambda r, n: r.lognormal(5, 1, n),
    "lognormal, wide": lambda r, n: r.lognormal(0, 4, n),
    "rounded prices": lambda r, n: np.round(r.lognormal(5, 1.5, n), -1),
    "Pareto, 2": lambda r, n: r.pareto(2, n) + 1,
    "Pareto, 1": lambda r, n: r.pareto(1, n) + 1,
    "Pareto, without a mean": lambda r, n: r.pareto(0.5, n) + 1,
    "Cauchy": lambda r, n: r.standard_cauchy(n),
    "counts": lambda r, n: r.poisson(0.3, n).astype(float),
    "mostly nothing": lambda r, n: np.where(r.random(n) < 0.7, 0, r.pareto(1, n)),
}


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_tails_are_no_outliers(name):
    r = np.random.default_rng(0)
    alarms = sum(outliers(HEAVY[name](r, rows)).size > 0 for rows in (40, 220, 2000) for _ in range(400))
    assert alarms <= 2  # of 1,200, as 1 of 1,000 are expected at most


@pytest.mark.parametrize("name", ["normal", "lognormal", "Pareto, 2"])
def test_slips_are_found(name):
    r = np.random.default_rng(1)
    for _ in range(20):
        values = HEAVY[name](r, 220)
        values[[17, 30]] = 1e9, np.nan
        assert outliers(values).tolist() == [17]
        values[[3, 5]] = 1e9, -2e9
        assert outliers(values).tolist() == [3, 5, 17]


@pytest.mark.parametrize(
    "values", [np.zeros(0), np.full(9, np.nan), np.full(300, 5.0), np.array([1.0, 2.0, 1e9]), np.arange(300.0)]
)
def test_few_or_equal_values_tell_nothing(values):
    assert outliers(values).size == 0


def found(values):
    target = read_target({"price": pa.chunked_array([pa.array(values)])}, "scalar")
    sides = np.arange(len(values)) % 3
    return [one.text for one in find({}, {}, target, splits=sides.astype(np.int8)) if one.level == "warning"]


def test_it_is_said_with_row_split_and_range_and_nothing_is_changed():
    values = np.random.default_rng(2).uniform(100, 250, 220).round(1)
    assert found(values) == []
    values[[0, 1]] = 100.5, 249.5
    values[values > 249.5] = 249.0
    values[values < 100.5] = 101.0
    values[19] = 1e9
    (said,) = found(values)
    assert said.startswith(
        "price: 1 value lies far beyond all others, which are 100.5 to 249.5: 1,000,000,000 in row 19, validation "
    )
    values[20] = 2e9
    assert "2 values lie far beyond all others" in found(values)[0]
    assert found(values)[0].endswith("correct them, or leave them out, if they are a slip")
