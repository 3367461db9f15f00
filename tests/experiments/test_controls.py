"""Controls: Shapley values against their definition, and a model that is known to read one input alone."""

from __future__ import annotations

import itertools
import math
import random
from statistics import fmean

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.data.dataset import Dataset
from mmkit.data.displaced import Absent, Displaced
from mmkit.experiments.beside import Beside
from mmkit.experiments.controls import SHARES, controls
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.explain.shapley import EXACT
from mmkit.records.record import Record
from mmkit.registry.catalog import installed


class Nothing:
    def rows(self, index, generator=None, *, host=None):
        return Features.of(torch.ones(len(index), 2))

    def to(self, device):
        return self


def data(names, size=40):
    return Dataset(size, {name: Nothing() for name in names}, {"mask": torch.ones(size, dtype=torch.bool)})


def present(changed):
    return frozenset(name for name, one in changed.inputs.items() if not isinstance(one, Absent))


def game(names, seed=0):
    """A score of its own for each subset."""
    drawn = random.Random(seed)
    subsets = itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(len(names) + 1))
    return {frozenset(subset): drawn.random() for subset in subsets}


def shapley(names, values):
    """By the weights of the subsets, as Shapley defines it."""
    found = {}
    for name in names:
        others = [other for other in names if other != name]
        found[name] = sum(
            math.factorial(count) * math.factorial(len(names) - count - 1) / math.factorial(len(names))
            * (values[frozenset(subset) | {name}] - values[frozenset(subset)])
            for count in range(len(names))
            for subset in itertools.combinations(others, count)
        )  # fmt: skip
    return found


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcde"])
def test_contributions_are_shapley_values_and_add_up(names):
    values = game(names)
    found = controls(lambda changed: values[present(changed)], data(names), values[frozenset(names)])
    assert {one.input: pytest.approx(one.value) for one in found.contributions} == shapley(names, values)
    assert all(one.error == 0 for one in found.contributions)
    total = sum(one.value for one in found.contributions)
    assert total == pytest.approx(values[frozenset(names)] - values[frozenset()])
    assert {frozenset(one.present): one.score for one in found.subsets} == values
    assert [len(one.present) for one in found.subsets] == sorted(len(subset) for subset in values)


def test_of_more_inputs_orders_are_drawn_with_their_error():
    names = "abcdefgh"
    assert len(names) > EXACT
    values = game(names)
    found = controls(lambda changed: values[present(changed)], data(names), values[frozenset(names)])
    expected = shapley(names, values)
    for one in found.contributions:
        assert 0 < one.error < 0.3
        assert abs(one.value - expected[one.input]) < 4 * one.error
    assert sum(one.value for one in found.contributions) == pytest.approx(
        values[frozenset(names)] - values[frozenset()]
    )
    without_one = {frozenset(names) - {name} for name in names}
    assert without_one <= {frozenset(one.present) for one in found.subsets}


def test_what_all_add_alike_is_exact_where_orders_are_drawn():
    weights = dict(zip("abcdefg", range(7), strict=True))
    found = controls(lambda changed: sum(weights[name] for name in present(changed)), data(weights), 21)
    assert {one.input: one.value for one in found.contributions} == pytest.approx(weights)
    assert all(one.error == 0 for one in found.contributions)


def test_noise_reaches_the_asked_share_of_one_input():
    def moved(changed):
        """The share of samples with another's value, of the one input that is displaced."""
        (one,) = [one for one in changed.inputs.values() if isinstance(one, Displaced)] or [None]
        return 0.0 if one is None else fmean((one.source != torch.arange(40)).tolist())

    found = controls(moved, data("ab"), 0.0)
    for one in found.noise:
        assert one.shares == list(SHARES)
        assert one.scores == pytest.approx(SHARES)
        assert one.area(0.0) == pytest.approx(0.5)


def test_a_metric_that_is_not_defined_leaves_out_what_hangs_on_it():
    found = controls(lambda changed: None if not present(changed) else 1.0, data("ab"), 1.0)
    assert found.contributions == []
    assert [one.score for one in found.subsets] == [None, 1.0, 1.0, 1.0]
    assert found.noise[0].area(None) is None


class Deaf(nn.Module):
    """Hears the first input alone."""

    def __init__(self, widths, *, width: int = 8):
        super().__init__()
        self.name = next(iter(widths))
        self.width = width
        self.project = nn.Linear(widths[self.name], width)

    def forward(self, features):
        heard = features[self.name]
        return Features.of(self.project(heard.vector()), heard.present())


def test_an_input_that_a_model_does_not_read_counts_for_nothing(tmp_path):
    asked = plan(
        installed(),
        task="synthetic-unique:train=96",
        fusions=[Deaf],
        seeds=1,
        baselines=False,
        training={"epochs": 6, "min_steps": 0, "lr": 0.02},
    )
    (run,) = asked.runs()
    record, _ = execute(run, beside=Beside(controls=True))
    plain, _ = execute(run)
    assert plain.controls is None
    assert plain.metrics == record.metrics
    found = record.controls
    heard, other = (one.input for one in found.noise)
    reached = record.metrics[record.metric]
    scores = {frozenset(one.present): one.score for one in found.subsets}
    assert scores[frozenset({heard, other})] == reached
    assert scores[frozenset({heard})] == reached
    assert scores[frozenset({other})] == scores[frozenset()] < reached
    noise = {one.input: one.scores for one in found.noise}
    assert noise[other] == [reached] * len(SHARES)
    assert noise[heard][-1] < reached
    contributions = {one.input: one.value for one in found.contributions}
    assert contributions[other] == 0
    assert contributions[heard] == pytest.approx(reached - scores[frozenset()])
    assert Record.of({**record.document(), "scores": None}, tmp_path).controls == found
