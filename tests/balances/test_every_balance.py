"""What holds for every balance method: in training alone, in one graph, for seeds side by side, saved, refused."""

import json

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import mmkit
from mmkit.errors import ContractError, UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import Run
from mmkit.model.missing import Absence
from mmkit.plugin import BalanceSpec
from mmkit.registry.catalog import installed
from mmkit.testing import tiny_task
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training
from tests.balances.steps import balanced, gradients_of, with_places
from tests.features.test_cached_runs import chosen as frozen
from tests.model.network_cases import absent, total, trained_from

BALANCES = sorted(entry.name for entry in installed().available("balance") if entry.distribution == "mmkit-core")
FUSIONS = ["concat", "attention", "log-pool", "central", "mmtm"]
TASK = tiny_task({"a": "series", "b": "table"}, train=24)
QUICK = {"epochs": 2, "min_steps": 0, "batch_size": 8}
SUBSET = {"agm", "mla", "ogm", "opm", "pmr", "decoupled", "mmpareto", "mmpareto-weights", "gradient-blending"}
OWN_PASSES = {"mmpareto-weights"}
"""Those that no compiler and no vmap takes."""
TURNS = {"mla"}
"""Those that take turns, of which a step on its own knows nothing; their own tests say what holds of them."""
LEAVE_OUT = {"opm"}
"""Those that leave inputs out of the fusion: it sees other values by design."""
SETTLED = {"opm": "opm:rate=1,share=1,warmup=0"}
"""With options by which what it draws decides nothing, so that two passes are comparable."""


def targets(balance):
    """The kinds of target that it knows; empty is any."""
    spec = installed().find("balance", balance).spec
    assert isinstance(spec, BalanceSpec)
    return spec.targets


def test_all_are_there():
    assert set(BALANCES) >= SUBSET


@pytest.mark.parametrize("balance", [name for name in BALANCES if name not in TURNS])
@pytest.mark.parametrize("fusion", FUSIONS)
class TestInAStep:
    def test_values_are_those_without_it(self, fusion, balance):
        step, batch, truth = balanced(fusion, balance)
        output = step(batch, truth)[1]
        expected = step.model(batch)
        if balance not in LEAVE_OUT:
            torch.testing.assert_close(output.output, expected.output)
        for name, part in output.features.items():
            torch.testing.assert_close(part.vector(), expected.features[name].vector())

    def test_gradients_are_finite_whatever_is_missing(self, fusion, balance):
        step, batch, truth = balanced(fusion, balance)
        everyone = range(12)
        for gone in ([], ["left"], ["left", "right"], list(batch)):
            given = {name: absent(part, everyone) if name in gone else part for name, part in batch.items()}
            found = gradients_of(step, given, truth)
            assert all(torch.isfinite(gradient).all() for gradient in found.values()), gone
        none = {**truth, "mask": torch.zeros(12, dtype=torch.bool)}
        assert all(torch.isfinite(gradient).all() for gradient in gradients_of(step, batch, none).values())

    def test_every_parameter_has_a_gradient(self, fusion, balance):
        step, batch, truth = balanced(fusion, balance)
        step.model.train()
        assert set(gradients_of(step, batch, truth)) == {n for n, p in step.named_parameters() if p.requires_grad}

    def test_evaluation_has_nothing_of_it(self, fusion, balance):
        step, batch, truth = balanced(fusion, balance)
        step.eval()
        torch.manual_seed(0)
        plain, _ = trained_from(fusion, **with_places(fusion))
        plain.double().eval()
        assert all(
            torch.equal(tensor, step.state_dict()[name]) for name, tensor in plain.state_dict().items()
        )  # what a seed starts from is the same
        losses, expected = step(batch, truth)[0], plain(batch, truth)[0]
        torch.testing.assert_close({name: losses[name] for name in expected}, expected)
        found, without = gradients_of(step, batch, truth), gradients_of(plain, batch, truth)
        spec = installed().find("balance", balance).spec
        assert isinstance(spec, BalanceSpec)
        same = all(torch.allclose(found[name], gradient) for name, gradient in without.items())
        assert same == (spec.unimodal != "trained")  # heads that measure are in no gradient of the model


@pytest.mark.parametrize("balance", [name for name in BALANCES if name not in OWN_PASSES | TURNS])
class TestGraphs:
    @pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # dynamo's own, of autograd functions
    @pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.full)])
    def test_a_step_in_training_is_one_graph(self, balance, backend):
        torch.compiler.reset()
        step, batch, truth = balanced("concat", SETTLED.get(balance, balance))
        begun = {name: tensor.clone() for name, tensor in step.state_dict().items()}
        expected = gradients_of(step, batch, truth)
        step.load_state_dict(begun)  # what it remembers of a batch
        step.zero_grad()
        compiled = torch.compile(step, fullgraph=True, backend=backend)
        total(compiled(batch, truth)[0]).backward()
        found = {name: p.grad for name, p in step.named_parameters() if p.grad is not None}
        torch.testing.assert_close(found, expected)

    def test_seeds_side_by_side(self, balance):
        (step, batch, truth), (other, _, _) = (balanced("concat", SETTLED.get(balance, balance)) for _ in range(2))
        for module in other.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()
        other.double()
        steps = [step, other]
        parameters, buffers = stack_module_state(steps)

        def one(parameters, buffers):
            return torch.stack(list(functional_call(step, (parameters, buffers), (batch, truth))[0].values())).sum()

        vmap(one, randomness="different")(parameters, buffers).sum().backward()
        for place, each in enumerate(steps):
            expected = gradients_of(each, batch, truth)
            for name, gradient in expected.items():
                torch.testing.assert_close(parameters[name].grad[place], gradient)

    def test_with_tokens_and_inputs_that_are_left_out(self, balance):
        step, batch, truth = balanced("attention", balance, absence=Absence("token", 0.5))
        step.train()
        assert all(torch.isfinite(gradient).all() for gradient in gradients_of(step, batch, truth).values())


class TestTargets:
    @pytest.mark.parametrize(
        ("balance", "target"),
        [
            (name, one)
            for name in BALANCES
            for one in ("classes", "labels", "scalar")
            if one in (targets(name) or (one,))
        ],
    )
    def test_a_training_of_every_kind_of_target_that_it_knows(self, balance, target):
        task = tiny_task({"a": "series", "b": "table"}, target=target, train=24)
        _, record = mmkit.fit(task=task, fusion="concat", balance=balance, training=QUICK, device="cpu")
        assert len(record.history) == 2
        assert record.fusion == f"concat + {mmkit.installed().choose('balance', balance)}"


@pytest.mark.parametrize("balance", BALANCES)
class TestAsPartOfACombination:
    def test_a_saved_model_has_no_part_of_it(self, balance, tmp_path):
        model, record = mmkit.fit(task=TASK, fusion="concat", balance=balance, training=QUICK, device="cpu")
        plain, without = mmkit.fit(task=TASK, fusion="concat", training=QUICK, device="cpu")
        assert model.module.state_dict().keys() == plain.module.state_dict().keys()
        assert record.id != without.id
        assert record.run["balance"]["name"] == balance
        assert without.run["balance"] is None
        assert Run.of(json.loads(json.dumps(record.run | {"task": "digits"}))).combination.balance.name == balance
        model.save(tmp_path / "model")
        loaded = mmkit.load(tmp_path / "model")
        assert loaded.combination.label == model.combination.label
        assert loaded.predict([{}]) == model.predict([{}])

    def test_it_is_refused_where_no_encoder_is_trained(self, balance):
        with pytest.raises(UsageError, match=f"balance {balance} changes how encoders are trained, and none is"):
            mmkit.fit(
                task="synthetic-unique:train=48",
                encoders={"series": frozen()},
                fusion="concat",
                balance=balance,
                training=QUICK,
                device="cpu",
            )


class TestPlan:
    def test_it_is_compared_with_none(self):
        asked = plan(installed(), task=TASK, fusions=["concat", "late"], balances=["none", "ogm,decoupled"])
        assert [one.label for one in asked.combinations] == [
            f"{fusion}{balance}"
            for fusion in (str(installed().choose("fusion", name)) for name in ("concat", "late"))
            for balance in ("", " + ogm", " + decoupled")
        ]
        assert len({one.key for one in asked.combinations}) == 6
        assert all(one.balance is None for one in asked.baselines)

    def test_all_is_every_one_that_suits(self):
        asked = plan(installed(), task=TASK, fusions=["concat"], balances=["none", "all"])
        assert {one.balance.name for one in asked.combinations[1:]} >= SUBSET

    def test_options_of_it(self):
        asked = plan(installed(), task=TASK, fusions=["concat"], balances=["ogm:alpha=.5"], options=["balance.until=3"])
        assert asked.combinations[0].label == "concat + ogm:alpha=0.5,until=3"

    def test_one_input_has_nothing_to_be_balanced_with(self):
        with pytest.raises(UsageError, match="balance ogm takes 2 or more inputs; there are 1"):
            plan(installed(), task=tiny_task({"a": "series"}), fusions=["concat"], balances=["ogm"])
        with pytest.raises(UsageError, match="only:a is a model of one input"):
            mmkit.fit(task=TASK, fusion="only:a", balance="ogm")

    def test_a_target_that_it_does_not_know(self):
        spec = BalanceSpec("classes-only", "x:X", "", targets=("classes",))
        choice = installed().choose("balance", Plain, {}, spec=spec)
        task = tiny_task({"a": "series", "b": "table"}, target="scalar")
        with pytest.raises(UsageError, match="knows classes, and the target of the task is scalar"):
            plan(installed(), task=task, fusions=["concat"], balances=[choice])

    def test_a_refit_trains_on_what_it_measures_on(self, tmp_path):
        with pytest.raises(UsageError, match="balance gradient-blending measures on validation, on which --refit"):
            mmkit.fit(task=TASK, fusion="concat", balance="gradient-blending", refit=True, out=tmp_path / "m")


class Plain(nn.Module):
    """It does nothing."""

    def __init__(self, widths, width, target):
        super().__init__()


class Measures(Plain):
    """It asks for validation."""

    def epoch(self, number, measure):
        measure("validation")


class Notes(Plain):
    """It notes where each sample stands."""

    def __init__(self, widths, width, target):
        super().__init__(widths, width, target)
        self.seen = []

    def weigh(self, losses, output, truth):
        self.seen.append((truth["index"].clone(), truth["label"].clone()))
        return losses


class TestHooks:
    def test_validation_is_measured_on_only_where_the_spec_says_so(self):
        with pytest.raises(ContractError, match="validation where its spec says validation=True"):
            mmkit.fit(task=TASK, fusion="concat", balance=Measures, training=QUICK, device="cpu")

    def test_the_truth_of_training_says_which_sample_it_is_of(self):
        step, data = trained_from("concat", balances=[Notes])
        notes = step.balance.method
        fit(step, data, lambda: (0.0, {}), Training(epochs=2, min_steps=0, batch_size=10, micro_batch=4), seed=3)
        index = torch.cat([at for at, _ in notes.seen])
        assert torch.equal(index.sort().values, torch.arange(data.size).repeat_interleave(2))
        assert torch.equal(data.truth["label"][index], torch.cat([label for _, label in notes.seen]))
