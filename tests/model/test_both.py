"""Models whose fusion reads features and outputs, from a plan to a saved model; the objectives that come along."""

import pytest
import torch

import mmkit
from mmkit.contract import Features
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.fusions.both.joint_pool import JointPoolFusion
from mmkit.heads.linear import LinearHead
from mmkit.model.combination import Combination
from mmkit.model.network import Model, TrainingStep
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import installed
from mmkit.transforms.truth import Categories


def objectives_of(**asked):
    found = plan(installed(), **asked)
    return {one.label: [str(objective) for objective in one.objectives] for one in found.combinations}


class TestCompanion:
    def test_it_comes_along_with_its_fusion_alone(self):
        assert objectives_of(fusions=["evidential", "concat", "confidence"]) == {
            "evidential": ["evidential-loss"],
            "concat": [],
            "confidence": ["confidence-loss"],
        }

    def test_none_leaves_it_out_and_others_stay(self):
        asked = ["none", "contrastive"]
        assert objectives_of(fusions=["evidential"], objectives=asked) == {"evidential": ["contrastive"]}
        assert objectives_of(fusions=["evidential"], objectives=["contrastive,none"]) == {"evidential": ["contrastive"]}
        assert objectives_of(fusions=["concat"], objectives=["none"]) == {"concat": []}

    def test_one_that_is_named_takes_its_place_and_goes_nowhere_else(self):
        found = objectives_of(fusions=["evidential", "concat"], objectives=["evidential-loss:anneal=7"])
        assert found == {"evidential": ["evidential-loss:anneal=7"], "concat": []}

    def test_its_options_are_given_as_those_of_any_objective(self):
        found = objectives_of(fusions=["evidential"], options=["objective.anneal=7"])
        assert found == {"evidential": ["evidential-loss:anneal=7"]}

    def test_it_is_an_error_where_its_fusion_is_not_chosen(self):
        with pytest.raises(
            UsageError, match="objective evidential-loss goes with fusion evidential only, which is not"
        ):
            plan(installed(), fusions=["concat"], objectives=["evidential-loss"])

    def test_all_objectives_leave_it_out_where_its_fusion_is_not_chosen(self):
        found = plan(installed(), fusions=["concat"], objectives=["all"])
        left = dict(found.left_out)
        assert left["objective mmkit-core/evidential-loss"].startswith("goes with fusion evidential only")
        assert "evidential-loss" not in {o.name for one in found.combinations for o in one.objectives}

    def test_a_combination_refuses_it_beside_another_fusion(self):
        catalog = installed()
        with pytest.raises(
            UsageError, match="objective confidence-loss goes with fusion confidence only; this one is c"
        ):
            Combination(
                {"a": catalog.choose("encoder", "table-mlp"), "b": catalog.choose("encoder", "fcn")},
                catalog.choose("fusion", "concat"),
                catalog.choose("head", "linear"),
                (catalog.choose("objective", "confidence-loss"),),
            )


class Same(torch.nn.Module):
    """An encoder that gives what it is given."""

    width = 4

    def forward(self, batch):
        return Features.of(batch["values"], batch["mask"])


@pytest.fixture
def parts():
    truth = Categories("classes")
    truth.fit(["x", "y", "z"])
    target = truth.target()
    heads = {name: LinearHead(4, target, truth) for name in "ab"}
    batch = {
        name: {"values": torch.randn(5, 4), "mask": torch.tensor([1, 1, i, 1, 0], dtype=torch.bool)}
        for i, name in enumerate("ab")
    }
    return heads, target, batch, {"label": torch.tensor([0, 1, 2, 0, 1]), "mask": torch.ones(5, dtype=torch.bool)}


def test_it_is_given_features_and_outputs_of_the_same_rows(parts):
    heads, target, batch, _ = parts
    fusion = JointPoolFusion({"a": 4, "b": 4}, target, hidden=8)
    model = Model({"a": Same(), "b": Same()}, fusion, None, heads, both=True)
    found = model(batch)
    expected = fusion.joint.second(fusion.joint.first(torch.cat([found.features[n].vector() for n in "ab"], 1)).relu())
    for name in "ab":
        expected = expected + heads[name](found.features[name]) * batch[name]["mask"].unsqueeze(1)
    torch.testing.assert_close(found.output, expected)


@pytest.mark.parametrize("own", [True, False])
def test_heads_have_losses_of_their_own_unless_the_spec_says_no(parts, own):
    heads, target, batch, truth = parts
    fusion = JointPoolFusion({"a": 4, "b": 4}, target, hidden=8)
    model = Model({"a": Same(), "b": Same()}, fusion, None, heads, both=True, own_losses=own)
    losses, _ = TrainingStep(model)(batch, truth)
    assert set(losses) == ({"head", "unimodal.a", "unimodal.b"} if own else {"head"})
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("fusion", ["joint-pool", "confidence", "evidential:joint=true", "stacking"])
def test_it_is_trained_and_saved_and_answers_the_same(fusion, tmp_path):
    task = "synthetic-unique:train=48"
    model = mmkit.fit(task=task, fusion=fusion, training={"epochs": 2, "min_steps": 0}, device="cpu")[0]
    chosen = installed().choose("task", task)
    columns = chosen.component(**chosen.part(chosen.component)).split("test").inputs
    raw = [{}, *({name: column[i] for name, column in columns.items()} for i in range(4))]
    answers = model.predict(raw)
    assert len(set(answers[0]["probabilities"].values())) == 1 or fusion in {"joint-pool", "stacking"}
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict(raw) == answers


def test_families_of_fusions_at_decision_level():
    assert FusionSpec("x", "x:X", "X", combines="both", vectors=True).family == "both"
    assert FusionSpec("x", "x:X", "X", combines="outputs").family == "outputs"
