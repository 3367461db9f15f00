"""Mixup of features: shares, partners, what is mixed with what, and the losses."""

from types import SimpleNamespace

import pytest
import torch
from torch.func import vmap
from torch.nn import functional as F

import mmkit
from mmkit.contract import Features, Target
from mmkit.errors import UsageError
from mmkit.model.mixup import Mix, beta
from mmkit.model.step import build_step
from mmkit.testing import tiny_task
from tests.model.network_cases import absent, in_float64, total, trained_from

B = 60


def drawn(seed=0):
    """Features with holes, one pooled, some missing, in float64."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tokens, width in (("a", 3, 4), ("b", 1, 5)):
        values = torch.randn(B, tokens, width, generator=generator, dtype=torch.float64)
        mask = torch.rand(B, tokens, generator=generator) > 0.3
        pooled = torch.randn(B, width, generator=generator, dtype=torch.float64) if name == "a" else None
        inner = {"place": torch.randn(B, 2, width, generator=generator, dtype=torch.float64)} if name == "a" else None
        found[name] = Features.of(values, mask, pooled, inner=inner)
    return found, torch.rand(B, generator=generator) > 0.1


def mixed(alpha=1.0, seed=0):
    features, known = drawn(seed)
    torch.manual_seed(seed)
    mix = Mix.drawn(features, known, alpha)
    return features, known, mix, mix.features(features)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 3.0])
def test_shares_are_of_the_distribution(alpha):
    """Its mean is 1/2 and its variance 1 / (4 (2 alpha + 1)), to five standard errors; NaN is none of its values."""
    torch.manual_seed(0)
    count = 200_000
    found = beta(alpha, torch.Size([count]), torch.zeros(1)).double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert ((found >= 0) & (found <= 1)).all()
    assert abs(float(found.mean()) - 0.5) < 5 * (variance / count) ** 0.5
    assert abs(float(found.var()) / variance - 1) < 0.02


def test_it_is_the_weighted_sum_row_by_row():
    features, _, mix, found = mixed()
    assert sorted(mix.partner.tolist()) == list(range(B))
    changed = 0
    for row in range(B):
        share, other = float(mix.share[row]), int(mix.partner[row])
        assert share >= 0.5
        for name, part in features.items():
            tokens = share * part.tokens[row] + (1 - share) * part.tokens[other]
            torch.testing.assert_close(found[name].tokens[row], tokens)
            mask = part.mask[row] | part.mask[other] if share < 1 else part.mask[row]
            assert torch.equal(found[name].mask[row], mask)
            if part.pooled is not None:
                pooled = share * part.pooled[row] + (1 - share) * part.pooled[other]
                torch.testing.assert_close(found[name].pooled[row], pooled)
            for key, state in part.inner.items():
                torch.testing.assert_close(found[name].inner[key][row], share * state[row] + (1 - share) * state[other])
        changed += share < 1
    assert changed > 10


def test_samples_are_mixed_only_with_those_that_have_the_same_inputs_and_truth():
    features, known, mix, found = mixed()
    for row in range(B):
        alike = all(
            bool(part.present()[row]) == bool(part.present()[mix.partner[row]]) for part in features.values()
        ) and bool(known[row]) == bool(known[mix.partner[row]])
        assert alike or mix.share[row] == 1
        for name, part in features.items():
            assert bool(found[name].present()[row]) == bool(part.present()[row])
    assert (mix.share == 1).any()


class TestInAStep:
    def step(self, fusion="concat", rows=16, **rest):
        torch.manual_seed(0)
        step, data = trained_from(fusion, mixup=1.0, **rest)
        step.double().eval()
        step.training = True  # nothing but the mixing is in training
        batch, truth = data.batch(torch.arange(rows))
        batch = in_float64(batch)
        batch["left"] = absent(batch["left"], [1, 3])
        truth["mask"][4] = False
        return step, batch, truth

    @pytest.mark.parametrize("fusion", ["concat", "attention", "late"])
    def test_the_loss_of_classes_is_that_of_the_mixed_truth(self, fusion):
        step, batch, truth = self.step(fusion)
        torch.manual_seed(5)
        losses, output = step(batch, truth)
        torch.manual_seed(5)
        mix = Mix.drawn(step.model.encode(batch), truth["mask"], 1.0)
        assert (mix.share < 1).any()
        size = output.output.shape[1]
        own, other = (F.one_hot(label, size).double() for label in (truth["label"], truth["label"][mix.partner]))
        soft = mix.share.unsqueeze(1) * own + (1 - mix.share.unsqueeze(1)) * other
        smoothing = step.model.output_head.criterion.smoothing
        soft = (1 - smoothing) * soft + smoothing / size
        expected = -(soft * output.output.log_softmax(1)).sum(1)[truth["mask"]].mean()
        torch.testing.assert_close(losses["head"], expected)

    def test_evaluation_mixes_nothing(self):
        step, batch, truth = self.step()
        step.eval()
        state = torch.get_rng_state()
        losses, output = step(batch, truth)
        assert torch.equal(state, torch.get_rng_state())
        torch.testing.assert_close(output.output, step.model(batch).output)
        assert losses["head"] != self.step()[0](batch, truth)[0]["head"]

    @pytest.mark.parametrize("rest", [{"objectives": ["unimodal", "contrastive"]}, {"balances": ["ogm"]}])
    def test_gradients_are_finite_beside_other_losses(self, rest):
        step, batch, truth = self.step(**rest)
        step.train()
        losses, _ = step(batch, truth)
        total(losses).backward()
        assert all(torch.isfinite(p.grad).all() for p in step.parameters() if p.grad is not None)

    @pytest.mark.parametrize("objective", ["evidential-loss", "energy-ranking", "deep-cca:soft=true,space=4"])
    def test_objectives_note_each_sample_once(self, objective):
        """What they remember is of the sample's own truth, not of its partner's, too."""
        own = {"evidential-loss": "evidential", "energy-ranking": "energy"}.get(objective, "concat")
        step, batch, truth = self.step(own, objectives=[objective])
        step.train()
        truth = {**truth, "index": torch.arange(16)}
        seen = []
        for mixup in (1.0, 0.0):
            (module,) = step.objectives.values()
            before = {name: buffer.clone() for name, buffer in module.named_buffers()}
            step.mixup = mixup
            torch.manual_seed(0)
            losses, _ = step(batch, truth)
            total(losses).backward()
            seen.append({name: buffer - before[name] for name, buffer in module.named_buffers()})
            for name, buffer in module.named_buffers():
                buffer.copy_(before[name])
        counts = {"evidential-loss": "batches", "energy-ranking": "visits"}.get(objective, "seen")
        assert seen[0][counts].any()
        assert torch.equal(seen[0][counts], seen[1][counts])

    def test_a_method_that_keeps_the_means_of_classes_is_refused(self):
        with pytest.raises(UsageError, match=r"balance pmr .* and train\.mixup mixes them; leave out one"):
            self.step(balances=["pmr"])

    def test_it_is_one_graph_and_draws_for_each_of_seeds_side_by_side(self):
        torch.compiler.reset()
        step, batch, truth = self.step()
        torch.compile(step.train(), fullgraph=True, backend="eager")(batch, truth)  # raises where it is none

        def shares(values):
            return Mix.drawn({"a": Features.of(values)}, torch.ones(20, dtype=torch.bool), 1.0).share

        found = vmap(shares, randomness="different")(torch.zeros(2, 20, 1, 4))
        assert not torch.equal(found[0], found[1])


class TestAsAnOption:
    @pytest.mark.parametrize("target", ["classes", "labels", "scalar"])
    def test_a_training_with_it(self, target):
        task = tiny_task({"a": "series", "b": "table"}, target=target, train=24)
        training = {"epochs": 2, "min_steps": 0, "batch_size": 8}
        _, plain = mmkit.fit(task=task, fusion="concat", training=training, device="cpu")
        _, record = mmkit.fit(task=task, fusion="concat", training={**training, "mixup": 0.4}, device="cpu")
        assert record.history != plain.history
        assert record.run["training"]["mixup"] == 0.4

    def test_other_targets_are_refused(self):
        truth = SimpleNamespace(target=lambda: Target("text", 3))
        with pytest.raises(
            UsageError, match=r"train\.mixup mixes classes, labels, scalar; the target of the task is text"
        ):
            build_step(None, SimpleNamespace(truth=truth), mixup=0.2)
