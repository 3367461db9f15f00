"""Finals of settings whose scores are given by seed: nothing is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmkit.experiments.finals import SEEDS, Setting, play, ranked, rounds
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from tests.report.records import record

WHOLE = 40


class Finals:
    """Settings, by a name, with the score of each of their seeds; and what the finals train."""

    def __init__(self, scores, *, time=1000, epochs=None, failing=()):
        made = plan(installed(), task="synthetic-xor", fusions=["concat"], baselines=False)
        self.scores, self.left, self.failing, self.trained = scores, time, failing, []
        self.epochs = epochs or dict.fromkeys(scores, WHOLE)
        (one,) = made.combinations
        self.names, self.settings = {}, []
        for name in scores:
            training = replace(made.training, epochs=self.epochs[name])
            setting = Setting(one, training, [self.record(name, 0)])
            self.names[id(setting)] = name
            self.settings.append(setting)

    def record(self, name, index):
        if (name, index) in self.failing:
            return record(name, index, None, status="failed", error="x")
        return record(name, index, 0.5, self.scores[name][index])

    def affords(self, several):
        return sum(one.training.epochs for one in several) <= self.left

    def train(self, several, index):
        names = [self.names[id(one)] for one in several]
        self.left -= sum(one.training.epochs for one in several)
        self.trained.append((index, names))
        return [self.record(name, index) for name in names]

    def play(self, sizes=None):
        found = play(self.settings, rounds() if sizes is None else sizes, self.affords, self.train)
        return [self.names[id(one)] for one in found]

    def played(self):
        self.play()
        return self.trained


LUCKY = {"lucky": [1.0] + [0.5] * 4, "sure": [0.9] * 5, "poor": [0.6] * 5, "worse": [0.55] * 5, "last": [0.1] * 5}


def test_one_that_was_lucky_with_its_first_seed_does_not_win():
    finals = Finals(LUCKY)
    assert finals.play([])[0] == "lucky"
    assert finals.play()[0] == "sure"
    assert finals.trained[0] == (1, ["lucky", "sure", "poor", "worse"])
    assert finals.trained[1] == (2, ["sure", "lucky"])
    assert max(len(one.records) for one in finals.settings) == SEEDS


def test_settings_with_more_seeds_are_before_others():
    finals = Finals({"a": [0.9, 0.1], "b": [0.8, 0.7], "c": [0.7]})
    assert finals.play([2]) == ["b", "a", "c"]


def test_fewer_take_part_where_there_is_no_time_for_all_and_none_where_there_is_none_for_two():
    assert [names for _, names in Finals(LUCKY, time=3 * WHOLE).played()] == [["lucky", "sure", "poor"]]
    assert Finals(LUCKY, time=2 * WHOLE - 1).played() == []


def test_a_short_training_and_a_long_one_compete():
    finals = Finals({"short": [1.0, 0.5], "long": [0.9, 0.9]}, epochs={"short": 2, "long": WHOLE}, time=2 + WHOLE)
    assert finals.play()[0] == "long"
    assert finals.trained == [(1, ["short", "long"])]


@pytest.mark.parametrize("failing", [{("lucky", 1)}, {("lucky", 0)}])
def test_one_that_fails_is_out(failing):
    finals = Finals(LUCKY, failing=failing)
    assert finals.play()[0] == "sure"
    assert "lucky" not in [finals.names[id(one)] for one in ranked(finals.settings)]
    assert all("lucky" not in names for index, names in finals.trained if index > 1)
