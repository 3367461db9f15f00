"""The sizes that a dry run shows are those of the trained model, whose vocabulary is fitted on all texts."""

import json

import mmkit
from mmkit.cli.dry_run import show_dry_run
from mmkit.contract import Samples
from mmkit.data.splits import splits_of
from mmkit.experiments.costs import measure_costs
from mmkit.experiments.dry_run import dry_run
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.speed.flops import parameters
from mmkit.system.executors.serial import Serial

SMALL = {"epochs": 1, "min_steps": 0}


class Words:
    """Two texts, each with a word of its own."""

    description = "Words."

    def __init__(self):
        self.inputs = {"a": "text", "b": "text"}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}

    def split(self, name):
        texts = [f"word{i}" for i in range(199)] + ["word0 word1 " * 100]  # one is long
        return Samples([f"{name}-{i}" for i in range(200)], {"a": texts, "b": texts}, [i % 2 for i in range(200)])


def test_a_dry_run_and_costs_count_what_is_trained():
    model, _ = mmkit.fit(task=Words, fusion="concat", training=SMALL, device="cpu")
    expected = parameters(model.module)[0]
    asked = plan(installed(), task=Words, fusions=["concat"], baselines=False)
    splits = splits_of(asked.task, installed(), asked.settings)
    (found,) = dry_run(asked.combinations, splits, asked.settings)
    assert found.parameters == expected > 2 * 199 * 64  # each word has a vector of 64
    costs = measure_costs(
        {"x": asked.combinations[0]}, splits, asked.training, asked.settings, rounds=3, max_seconds=0.2
    )
    assert costs.of["x"].cost.parameters == expected
    assert costs.of["x"].cost.flops_per_sample > 0


def test_the_command_shows_the_same(capsys):
    asked = plan(installed(), task=Words, fusions=["concat"], baselines=False)
    assert show_dry_run(asked, installed(), Serial(), cost=False, as_json=True) == 0
    (shown,) = json.loads(capsys.readouterr().out)["combinations"]
    model, _ = mmkit.fit(task=Words, fusion="concat", training=SMALL, device="cpu")
    assert shown["parameters"] == parameters(model.module)[0]
