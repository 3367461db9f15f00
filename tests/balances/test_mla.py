"""MLA: the projection against its definition, what a turn moves, and where turns cannot be taken."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import mmkit
from mmkit.balances.mla import Mla, less
from mmkit.contract import Features, ModelOutput, Target
from mmkit.data.splits import splits_of
from mmkit.errors import MmkitError, UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.subject import Subject
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.testing import tiny_task
from mmkit.training.descent import add_gradients, after_turn, turns_of
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training
from tests.balances.steps import balanced
from tests.model.network_cases import trained_from

TARGET = Target("classes", 3, ("x", "y", "z"), (3, 2, 2), samples=7)
TASK = tiny_task({"a": "series", "b": "table"}, train=24)
QUICK = {"epochs": 2, "min_steps": 0, "batch_size": 8}


class TestProjection:
    @pytest.mark.parametrize("alpha", [1e-4, 0.1, 3.0])
    def test_it_is_the_inverse_of_one_and_all_that_was_met(self, alpha):
        """By Sherman and Morrison: P = (1 + sum of r r^T / alpha)^-1."""
        generator = torch.Generator().manual_seed(0)
        p = torch.eye(6, dtype=torch.float64)
        met = torch.eye(6, dtype=torch.float64)
        for _ in range(4):
            r = torch.randn(6, generator=generator, dtype=torch.float64)
            p = less(p, r, alpha)
            met = met + torch.outer(r, r) / alpha
        torch.testing.assert_close(p, torch.linalg.inv(met), rtol=1e-6, atol=1e-9)

    def test_what_was_met_is_nearly_gone_and_what_is_orthogonal_stays(self):
        r = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
        other = torch.tensor([-4.0, 3.0, 7.0], dtype=torch.float64)
        p = less(torch.eye(3, dtype=torch.float64), r, 1e-3)
        assert (p @ r).norm() < 1e-3 * r.norm()
        torch.testing.assert_close(p @ other, other)

    def test_the_published_division_by_a_matrix_projects_nothing(self):
        r = torch.tensor([[3.0, 4.0, 1.0]], dtype=torch.float64)
        p = torch.eye(3, dtype=torch.float64)
        k = p @ r.T
        published = p - (k @ k.T) / (1e-2 + k @ r)
        assert (published @ r.T).norm() > 0.5 * r.norm()
        assert (less(p, r[0], 1e-2) @ r[0]).norm() < 1e-2 * r.norm()

    def test_no_features_change_nothing(self):
        assert torch.equal(less(torch.eye(3), torch.zeros(3), 0.1), torch.eye(3))

    def test_the_gradient_is_projected_by_the_turns_before(self):
        method = Mla({"a": 4, "b": 4}, 5, TARGET, alpha=0.2).double().train()
        head = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
        expected = torch.eye(5, dtype=torch.float64)
        for turn in method.turns:
            fused = Features.of(torch.randn(6, 5, dtype=torch.float64))
            there = torch.arange(6) != 2
            features = {turn[0]: Features.of(torch.ones(6, 1, 4, dtype=torch.float64), there[:, None])}
            method.weigh({}, ModelOutput(features, fused, fused.vector()), {})
            gradients = [torch.randn_like(parameter) for parameter in head.parameters()]
            for parameter, gradient in zip(head.parameters(), gradients, strict=True):
                parameter.grad = gradient.clone()
            method.turned(turn, head)
            torch.testing.assert_close(head[0].weight.grad, gradients[0] @ expected)
            for parameter, gradient in list(zip(head.parameters(), gradients, strict=True))[1:]:
                assert torch.equal(parameter.grad, gradient)
            expected = less(expected, fused.vector()[there].mean(0), 0.2)
        method.epoch(2, None)
        assert torch.equal(method.projection, torch.eye(5, dtype=torch.float64))

    def test_a_head_that_reads_them_in_no_linear_layer_is_refused(self):
        method = Mla({"a": 4, "b": 4}, 5, TARGET)
        with pytest.raises(UsageError, match="a linear layer of the head that reads 5 numbers, and this head has none"):
            method.turned(("a",), nn.Linear(4, 3))


class TestTurns:
    def test_a_turn_teaches_its_encoder_and_moves_nothing_of_other_inputs(self):
        step, batch, truth = balanced("mean", "mla")
        step.model.eval()
        seen = []
        for count in turns_of(step):
            assert count == 3
            step.zero_grad(set_to_none=True)
            add_gradients(step, step, batch, truth, "float32")
            after_turn(step)
            (turn,) = step.balance.turn
            seen.append(turn)
            for name, encoder in step.model.encoders.items():
                gradients = [parameter.grad for parameter in encoder.parameters()]
                if name == turn:
                    assert all(gradient.any() for gradient in gradients)
                else:
                    assert gradients == [None] * len(gradients)
            shared = [*step.model.fusion.parameters(), *step.model.head.parameters()]
            assert all(parameter.grad.any() for parameter in shared)
        assert sorted(seen) == sorted(step.model.names.values())
        assert step.balance.turn is None

    def test_its_loss_is_that_of_the_input_alone_where_it_is_there(self):
        step, batch, truth = balanced("concat", "mla")
        features = step.model.encode(batch)
        for _ in turns_of(step):
            losses, _ = step(batch, truth)
            (turn,) = step.balance.turn
            shown = {
                name: part if name == turn else Features.of(part.tokens, torch.zeros_like(part.mask), part.pooled)
                for name, part in features.items()
            }
            loss = step.model.output_head.loss(step.model.fuse(shown).output, truth)
            there = features[turn].present() & truth["mask"]
            assert not there.all()
            torch.testing.assert_close(losses["head"], loss[there].sum() / truth["mask"].sum())

    def test_a_training_is_one_step_of_the_optimiser_a_turn(self):
        """Against the same steps by hand."""
        results = []
        for by_hand in (False, True):
            torch.manual_seed(0)
            step, data = trained_from("mean", balances=["mla"])
            training = Training(epochs=1, min_steps=0, batch_size=64, warmup=0, clip=None, weight_decay=0.0, lr=0.01)
            for module in step.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
            if not by_hand:
                fit(step, data, lambda: (0.0, {}), training, seed=3)
            else:
                step.train()
                step.balance.before_epoch(1, None)
                batch, truth = data.batch(torch.arange(data.size))
                optimizer = torch.optim.AdamW(step.parameters(), lr=0.01, weight_decay=0.0)
                for turn in step.balance.turns:
                    step.balance.turn = turn
                    optimizer.zero_grad(set_to_none=True)
                    step(batch, truth)[0]["head"].backward()
                    step.balance.method.turned(turn, step.model.head)
                    optimizer.step()
            results.append({name: p.detach().clone() for name, p in step.named_parameters()})
        far = torch.cat([((results[0][n] - p).abs() > 1e-4).flatten() for n, p in results[1].items()])
        assert far.float().mean() < 0.02  # the sign of what is hardly a gradient is another in another order of sums

    def test_a_pass_that_nobody_says_the_turn_of_is_an_error(self):
        step, batch, truth = balanced("mean", "mla")
        with pytest.raises(MmkitError, match="balance mla takes turns, each with a step of the optimiser; only the"):
            step(batch, truth)
        parameters = {name: torch.stack([p.detach()] * 2) for name, p in step.named_parameters()}
        with pytest.raises(MmkitError, match="balance mla takes turns"):
            vmap(lambda given: functional_call(step, given, (batch, truth))[0]["head"])(parameters)
        step.eval()
        step(batch, truth)  # evaluation sees all inputs

    def test_a_compiled_training_runs_as_it_is_and_says_so(self):
        class Told(Progress):
            said: tuple[str, ...] = ()

            def warn(self, message):
                self.said = (*self.said, message)

        step, data = trained_from("mean", balances=["mla"])
        told = Told()
        training = Training(epochs=1, min_steps=0, batch_size=32, compile=True, micro_batch=20)
        fit(step, data, lambda: (0.0, {}), training, seed=0, progress=told)
        assert told.said == ("the training step runs as it is: its balance method takes turns",)


class TestWhereTurnsCannotBeTaken:
    @pytest.mark.parametrize(
        ("rest", "message"),
        [
            ({"fusion": "late"}, "one head for all learns, and fusion late has a head an input; choose a fusion of"),
            (
                {"fusion": "concat", "objectives": ["contrastive"]},
                "one input is there, and objective contrastive compares several; leave out one",
            ),
        ],
    )
    def test_it_is_refused_in_one_line(self, rest, message):
        with pytest.raises(UsageError, match=f"balance mla takes turns, in each of which {message}"):
            mmkit.fit(task=TASK, balance="mla", training=QUICK, device="cpu", **rest)

    def test_a_fusion_within_encoders(self):
        task = tiny_task({"a": "series", "b": "series"}, train=24)
        with pytest.raises(UsageError, match="mixes inputs within their encoders; choose another fusion"):
            mmkit.fit(
                task=task,
                encoders={"series": "fcn"},
                fusion="mmtm",
                balance="mla",
                training=QUICK,
                device="cpu",
            )

    def test_objectives_of_each_input_are_taken(self):
        _, record = mmkit.fit(
            task=TASK, fusion="mean", balance="mla", objectives=["unimodal"], training=QUICK, device="cpu"
        )
        assert len(record.history) == 2


def test_what_can_be_learnt_is_learnt():
    """Of the mean of inputs, each of which was trained alone."""
    _, record = mmkit.fit(
        task=tiny_task({"a": "series", "b": "table"}),
        fusion="mean",
        balance="mla",
        training={"epochs": 12, "min_steps": 0, "batch_size": 8, "lr": 0.01},
        device="cpu",
    )
    assert record.metrics["accuracy"] > 0.9


def test_what_it_costs_is_measured():
    """A step of training is that of all its turns."""
    asked = plan(installed(), task=TASK, fusions=["mean"], balances=["mla"])
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    subject = Subject(
        asked.combinations[0],
        splits,
        training=Training(batch_size=8),
        settings=Settings("cpu"),
        shared=Shared(),
        features=Shared(),
    )
    subject.step.train()
    before = {name: p.detach().clone() for name, p in subject.module.named_parameters()}
    subject.train()
    assert all(not torch.equal(p, before[name]) for name, p in subject.module.named_parameters())
