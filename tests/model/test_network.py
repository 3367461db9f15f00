"""The model as one module: names, missing inputs, losses reduced once."""

import math

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.model.network import Model, OnlyFusion, TrainingStep, encoder_widths, fusion_width, module_names
from mmkit.transforms.series import SeriesTransform
from tests.model.network_cases import FUSIONS, absent, in_float64, part, total, trained_from


class TestNames:
    def test_a_safe_name_does_not_change(self):
        assert module_names(["title", "image"]) == {"image": "image", "title": "title"}

    @pytest.mark.parametrize("given", ["type", "items", "train", "a.b", "7th", "__", "", "größe", "图片", "forward"])
    def test_any_name_becomes_one_that_a_module_may_give_to_a_child(self, given):
        (name,) = module_names([given]).values()
        assert name.isidentifier()
        assert "__" not in name
        nn.ModuleDict({name: nn.Identity()})
        nn.ParameterDict({name: nn.Parameter(torch.zeros(1))})
        nn.Module().add_module(name, nn.Identity())

    def test_a_safe_name_does_not_change_beside_one_that_becomes_it(self):
        """An option that names an input means the one that has this name."""
        assert module_names(["a.b", "a_b"]) == {"a.b": "a_b_1", "a_b": "a_b"}
        assert module_names(["type", "type_1"]) == {"type": "type_2", "type_1": "type_1"}

    def test_names_that_become_equal_are_numbered_in_any_order(self):
        names = module_names(["a.b", "a b", "a_b"])
        assert len(set(names.values())) == 3
        assert names == module_names(["a_b", "a.b", "a b"])

    def test_a_name_that_ends_in_a_number_stays_unique(self):
        names = module_names(["type", "type_1", "type 1", "type.1_1"])
        assert len(set(names.values())) == 4
        nn.ModuleDict({name: nn.Identity() for name in names.values()})

    def test_an_input_may_have_the_name_of_a_module_attribute(self):
        hostile = {name for kind in (nn.Module, nn.ModuleDict, nn.ParameterDict) for name in dir(kind())}
        names = module_names(hostile)
        assert len(set(names.values())) == len(hostile)
        children = nn.ModuleDict({name: nn.Linear(1, 1) for name in names.values()})
        assert len(list(children.parameters())) == 2 * len(hostile)
        assert set(children.state_dict()) == {f"{name}.{leaf}" for name in children for leaf in ("weight", "bias")}


class TestModel:
    def test_a_model_without_a_head_is_an_error(self):
        with pytest.raises(ValueError, match="needs a head"):
            Model({"a": nn.Identity()}, nn.Identity(), None)

    def test_features_under_a_false_mask_are_zeroed(self):
        class Leaky(nn.Module):
            width = 2

            def forward(self, batch):
                values = batch["values"]
                return Features(values.unsqueeze(1), batch["mask"].unsqueeze(1), pooled=values)

        model = Model({"a.b": Leaky()}, OnlyFusion({"a_b": 2}), nn.Identity())
        batch = {"values": torch.ones(2, 2), "mask": torch.tensor([True, False])}
        features = model.encode({"a.b": batch})["a_b"]
        assert features.tokens.tolist() == [[[1, 1]], [[0, 0]]]
        assert features.vector().tolist() == [[1, 1], [0, 0]]

    def test_widths_are_by_module_name_and_sorted(self):
        class Wide(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.width = width

        assert list(encoder_widths({"type": Wide(3), "a.b": Wide(2)}).items()) == [("a_b", 2), ("type_1", 3)]
        assert fusion_width(Wide(5)) == 5

    def test_at_decision_level_each_input_has_a_head_and_none_follows(self):
        step, data = trained_from("late")
        batch, _ = data.batch(torch.arange(8))
        model = step.model.eval()
        output = model(batch)
        assert model.head is None
        assert set(output.unimodal) == {"front", "left", "right"}
        alone = model({name: leaves if name == "left" else absent(leaves, range(8)) for name, leaves in batch.items()})
        here = batch["left"]["mask"].any(1)
        torch.testing.assert_close(alone.output.softmax(-1)[here], alone.unimodal["left"].softmax(-1)[here])

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_inputs_may_be_missing_in_some_rows_in_all_rows_or_all_at_once(self, fusion):
        step, data = trained_from(fusion)
        batch, truth = data.batch(torch.arange(8))
        for rows in ([0, 3], list(range(8))):
            for inputs in (["left"], ["front", "left", "right"]):
                given = {name: absent(leaves, rows) if name in inputs else leaves for name, leaves in batch.items()}
                step.train().zero_grad()
                loss = total(step(given, truth)[0])
                loss.backward()
                assert loss.isfinite()
                assert all(p.grad is None or p.grad.isfinite().all() for p in step.parameters())
                with torch.no_grad():
                    assert step.eval().model(given).output.isfinite().all()

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_missing_row_affects_no_other_row_and_its_values_do_not_matter(self, fusion):
        step, data = trained_from(fusion)
        model = step.double().eval().model
        batch = in_float64(data.batch(torch.arange(6))[0])
        whole = model(batch).output
        torch.testing.assert_close(model({**batch, "left": absent(batch["left"], [2])}).output[3:], whole[3:])
        clean, rubbish = (absent(batch["left"], [2], rubbish) for rubbish in (0.0, 7.0))
        torch.testing.assert_close(model({**batch, "left": rubbish}).output, model({**batch, "left": clean}).output)


class Fined(nn.Module):
    """An encoder or a fusion with a penalty, [B]."""

    def __init__(self, component, penalty):
        super().__init__()
        self.component, self.penalty, self.width = component, penalty, component.width

    def forward(self, given):
        found = self.component(given)
        return Features.of(found.tokens, found.mask, found.pooled, {"fine": self.penalty})


class Learning(nn.Module):
    """It says that it is frozen, but its batch norm would go on learning, and its weights ask for gradients."""

    reads = SeriesTransform
    frozen = True

    def __init__(self, transform):
        super().__init__()
        self.width = transform.channels
        self.norm = nn.BatchNorm1d(transform.channels)

    def forward(self, batch):
        return Features.of(self.norm(batch["steps"].transpose(1, 2)).transpose(1, 2), batch["mask"])


def test_a_frozen_encoder_stays_in_evaluation_and_is_not_trained():
    # Augmented, so that the encoder runs in every step.
    step, data = trained_from("concat", encoders={"series": Learning})
    before = {name: tensor.clone() for name, tensor in step.model.encoders.state_dict().items()}
    step.train()
    losses, _ = step(*data.batch(torch.arange(8)))
    sum(losses.values()).backward()
    after = step.model.encoders.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [p for p in step.model.encoders.parameters() if p.requires_grad or p.grad is not None] == []
    assert step.model.fusion.training


def test_the_penalties_of_an_encoder_count_once_without_a_fusion():
    features = Features.of(torch.randn(3, 4), penalties={"fine": torch.ones(3)})
    fused = OnlyFusion({"a": 4})({"a": features})
    assert fused.penalties == {}
    assert torch.equal(fused.vector(), features.vector())


class TestTrainingStep:
    @pytest.mark.parametrize("fusion", ["attention", "late"])
    def test_each_loss_equals_the_sum_by_hand_over_samples_with_truth(self, fusion):
        step, data = trained_from(fusion, objectives=["unimodal:weight=0.5"], heads=["linear:label_smoothing=0.0"])
        step.double().eval()
        batch, truth = data.batch(torch.arange(10))
        batch = in_float64(batch)
        truth = {**truth, "mask": torch.arange(10) % 3 > 0}
        fines = torch.rand(2, 10, dtype=torch.float64)
        step.model.encoders["left"] = Fined(step.model.encoders["left"], fines[0])
        step.model.fusion = Fined(step.model.fusion, fines[1])
        losses, output = step(batch, truth)

        def by_hand(outputs, counts=lambda sample: True):
            total = 0.0
            for sample in range(10):
                if truth["mask"][sample] and counts(sample):
                    scores = outputs[sample].tolist()
                    total -= scores[int(truth["label"][sample])] - math.log(sum(map(math.exp, scores)))
            return total

        known = int(truth["mask"].sum())
        present = {name: batch[name]["mask"].any(1).tolist() for name in batch}
        own = {name: by_hand(output.unimodal[name], present[name].__getitem__) / known for name in batch}
        expected = {
            "head": by_hand(output.output) / known,
            "objective.unimodal": 0.5 * sum(own.values()),
            "encoder.left.fine": fines[0][truth["mask"]].sum().item() / known,
            "fusion.fine": fines[1][truth["mask"]].sum().item() / known,
        }
        if fusion == "late":
            expected |= {f"unimodal.{name}": value for name, value in own.items()}
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize("fusion", ["attention", "late"])
    def test_a_sample_without_truth_has_no_influence(self, fusion):
        step, data = trained_from(fusion, objectives=["unimodal"])
        step.double().eval()
        batch, truth = data.batch(torch.arange(7))
        batch = in_float64(batch)
        known = torch.tensor([True, True, False, True, False, True, True])
        total(step(batch, {"label": torch.where(known, truth["label"], -7), "mask": known})[0]).backward()
        with_all = {name: parameter.grad.clone() for name, parameter in step.named_parameters()}
        step.zero_grad()
        total(step(part(batch, known), {name: leaf[known] for name, leaf in truth.items()})[0]).backward()
        torch.testing.assert_close({name: parameter.grad for name, parameter in step.named_parameters()}, with_all)

    def test_a_batch_without_truth_has_zero_loss_and_zero_gradients(self):
        step, data = trained_from("attention")
        batch, truth = data.batch(torch.arange(4))
        loss = total(step(batch, {**truth, "mask": torch.zeros(4, dtype=torch.bool)})[0])
        loss.backward()
        assert loss.item() == 0
        assert all(parameter.grad.abs().max() == 0 for parameter in step.parameters())

    def test_micro_batches_that_share_a_count_add_up_to_the_whole(self):
        step, data = trained_from("attention")
        step.double().eval()
        batch, truth = data.batch(torch.arange(9))
        batch = in_float64(batch)
        truth = {**truth, "mask": torch.tensor([True] * 3 + [False] * 2 + [True] * 4)}
        whole = total(step(batch, truth)[0])

        def micro(rows):
            own = {name: leaf[rows] for name, leaf in truth.items()}
            return total(step(part(batch, rows), own, truth["mask"].sum())[0])

        torch.testing.assert_close(micro(slice(0, 4)) + micro(slice(4, 9)), whole)

    def test_a_count_may_be_less_than_one_sample(self):
        step, data = trained_from("concat")
        batch, truth = data.batch(torch.arange(3))
        truth = {**truth, "mask": torch.tensor([False, True, False])}
        step.eval()
        one, half = (total(step(batch, truth, torch.tensor(count))[0]) for count in (1.0, 0.5))
        torch.testing.assert_close(half, 2 * one)

    @pytest.mark.parametrize("name", ["head", "acme.losses.Mine", "acme/nce", "train"])
    def test_an_objective_of_any_name_replaces_no_other_loss(self, name):
        class One(nn.Module):
            def forward(self, output, truth):
                return torch.ones(4)

        step, data = trained_from("concat")
        losses, _ = TrainingStep(step.model, {name: One()})(*data.batch(torch.arange(4)))
        assert losses[f"objective.{name}"].item() == 1
        assert losses["head"].item() != 1
