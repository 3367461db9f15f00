"""What `all` includes and cannot be built is left out with its reason; what was named fails as before."""

import json

import pytest

import mmkit
from mmkit.errors import UsageError
from mmkit.experiments.costs import Costs
from mmkit.experiments.plan import plan
from mmkit.tasks.own_data import OwnData

HUGE = """
    import torch
    from mmkit.contract import Features
    from mmkit.plugin import FusionSpec, hookimpl

    class Huge(torch.nn.Module):
        def __init__(self, widths):
            raise ValueError("more than this machine holds")

    class Broken(torch.nn.Module):
        def __init__(self, widths):
            super().__init__()
            self.width = 4

        def forward(self, features):
            raise RuntimeError("the glue is dry")

    @hookimpl
    def mmkit_fusions():
        yield FusionSpec("huge", "THIS:Huge", "Too large")
        yield FusionSpec("broken", "THIS:Broken", "Raises")
"""
ASKED = {
    "task": "synthetic-unique:train=48",
    "training": {"epochs": 1, "lr": 2e-3},
    "seeds": 1,
    "device": "cpu",
    "cost": False,
}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda combinations, *_, **__: Costs({}, {}))


@pytest.mark.full
def test_all_leaves_out_what_cannot_be_built_and_nothing_fails(distribution, tmp_path):
    distribution("acme-huge", HUGE)
    suite = mmkit.bench(**ASKED, fusion="all", out=tmp_path, progress=False)
    assert suite.failures == []
    labels = {combination.label for combination in suite.plan.combinations}
    assert "tensor" in labels
    assert not labels & {"huge", "broken"}
    reasons = {name.partition(" ")[0]: reason for name, reason in suite.plan.left_out}
    assert reasons["huge"] == "UsageError: fusion huge: more than this machine holds"
    assert "fusion broken of acme-huge 1.0 raised RuntimeError: the glue is dry" in reasons["broken"]
    told = {name.partition(" ")[0] for name, _ in json.loads((tmp_path / "suite.json").read_text())["left_out"]}
    assert told >= {"huge", "broken"}
    assert all('"broken"' not in line for line in (tmp_path / "records.jsonl").read_text().splitlines())


def test_what_is_named_is_not_left_out(distribution, tmp_path):
    distribution("acme-huge", HUGE)
    suite = mmkit.bench(**ASKED, fusion=["concat", "huge"], baselines=False, out=tmp_path)
    assert [record.error for record in suite.failures] == ["UsageError: fusion huge: more than this machine holds"]
    assert suite.plan.left_out == ()


def test_where_nothing_would_be_left_the_error_is_that_of_the_first(distribution, tmp_path):
    distribution("acme-huge", HUGE)
    with pytest.raises(UsageError, match="fusion huge: more than this machine holds"):
        mmkit.bench(**ASKED, fusion="huge", out=tmp_path)


def test_heads_of_all_are_left_out_alike(distribution, tmp_path):
    distribution(
        "acme-head",
        """
        from mmkit.plugin import HeadSpec, hookimpl
        from mmkit.transforms.truth import Categories

        class Proud:
            reads = Categories

            def __init__(self, width, target, transform):
                raise ValueError("classes are beneath me")

        @hookimpl
        def mmkit_heads():
            yield HeadSpec("proud", "THIS:Proud", "Refuses", targets=("classes",))
        """,
    )
    suite = mmkit.bench(**ASKED, fusion="concat", head="all", out=tmp_path)
    assert suite.failures == []
    assert {record.head for record in suite.records} == {"linear", "mlp"}
    assert sum("proud" in name for name, _ in suite.plan.left_out) == 3  # of the fusion, and of two inputs alone


class TestDefault:
    def test_without_a_name_one_of_each_level_is_compared(self):
        asked = plan(mmkit.installed(), task="synthetic-unique")
        assert [one.label for one in asked.combinations] == ["concat", "log-pool", "attention"]

    def test_those_that_do_not_suit_the_task_are_left_out_with_the_reason(self):
        asked = (
            plan(mmkit.installed(), task="clipart-captions", heads=["generation:model=none"]) if _generates() else None
        )
        if asked is None:
            pytest.skip("no head for texts is installed")
        assert [one.label for one in asked.combinations] == ["attention"]
        assert dict(asked.left_out)["fusion log-pool"].startswith("combines outputs that are vectors")
        assert dict(asked.left_out)["fusion concat"].endswith("nearly the same as only:image, which is trained")

    def test_of_a_single_input_its_model_alone_is_trained_and_not_what_adds_nothing(self):
        data = {"n": [i * i + 0.5 for i in range(40)], "y": ["a", "b"] * 20}
        task = mmkit.installed().choose("task", "own-data", OwnData.options(data, "y", {}))
        asked = plan(mmkit.installed(), task=task)
        assert [one.label for one in asked.all] == ["attention", "only:table"]
        assert "concat" in [one.label for one in plan(mmkit.installed(), task=task, baselines=False).all]
        assert "concat" in [one.label for one in plan(mmkit.installed(), task=task, fusions=["concat"]).all]


def _generates():
    return any(entry.name == "generation" for entry in mmkit.installed().available("head"))
