"""The model as one module: names, missing inputs, losses reduced once; compiled, exported, under vmap, distributed."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mmkit.catalog import installed
from mmkit.combination import Transforms, born
from mmkit.contract import Features
from mmkit.data import Dataset, with_truth
from mmkit.model import Model, OnlyFusion, TrainingStep, encoder_widths, fusion_width, module_names
from mmkit.plan import plan
from mmkit.run import splits_of

FUSIONS = sorted(entry.name for entry in installed().available("fusion") if entry.distribution == "mmkit-core")


def planned(fusion="attention", task="synthetic-unique:inputs=3,missing=0.3,train=64", **rest):
    return plan(installed(), task=task, fusions=[fusion], **rest)


def trained_from(fusion="attention", **rest):
    """A step, its data, and the combination that they come from."""
    asked = planned(fusion, **rest)
    splits = splits_of(asked.task, installed(), "fail", None)
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(asked.combinations[0], splits.task.target, train.inputs, train.truth)
    module, objectives = born(asked.combinations[0], transforms)
    data = Dataset.of(train, transforms.inputs, transforms.truth, augment=False)
    return TrainingStep(module, objectives), data


def absent(batch, rows, rubbish=7.0):
    """The batch with those rows missing, and rubbish where nothing is there."""
    mask = batch["mask"].clone()
    mask[rows] = False
    filled = {name: leaf.clone() for name, leaf in batch.items()}
    for name, leaf in filled.items():
        if name != "mask" and leaf.is_floating_point():
            leaf[rows] = rubbish
    return {**filled, "mask": mask}


def total(losses):
    return torch.stack(list(losses.values())).sum()


class TestNames:
    def test_a_safe_name_stays(self):
        assert module_names(["title", "image"]) == {"image": "image", "title": "title"}

    @pytest.mark.parametrize("given", ["type", "items", "train", "a.b", "7th", "__", "", "größe", "图片", "forward"])
    def test_any_name_becomes_one_that_a_module_may_give_to_a_child(self, given):
        (name,) = module_names([given]).values()
        assert name.isidentifier()
        assert "__" not in name
        nn.ModuleDict({name: nn.Identity()})
        nn.ParameterDict({name: nn.Parameter(torch.zeros(1))})
        nn.Module().add_module(name, nn.Identity())

    def test_names_that_become_alike_are_told_apart_whatever_their_order(self):
        names = module_names(["a.b", "a b", "a_b"])
        assert len(set(names.values())) == 3
        assert names == module_names(["a_b", "a.b", "a b"])


class TestModel:
    def test_a_model_without_any_head_is_refused(self):
        with pytest.raises(ValueError, match="needs a head"):
            Model({"a": nn.Identity()}, nn.Identity(), None)

    def test_what_an_encoder_leaves_under_the_mask_is_zeroed(self):
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

    def test_widths_go_by_module_names_and_sorted(self):
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
    def test_inputs_may_be_missing_for_some_for_all_and_altogether(self, fusion):
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
    def test_a_missing_row_is_not_seen_by_its_mates_nor_its_rubbish_by_itself(self, fusion):
        step, data = trained_from(fusion)
        model = step.double().eval().model
        batch, _ = data.batch(torch.arange(6))
        batch = {i: {n: x.double() if x.is_floating_point() else x for n, x in b.items()} for i, b in batch.items()}
        whole = model(batch).output
        torch.testing.assert_close(model({**batch, "left": absent(batch["left"], [2])}).output[3:], whole[3:])
        clean, rubbish = (absent(batch["left"], [2], rubbish) for rubbish in (0.0, 7.0))
        torch.testing.assert_close(model({**batch, "left": rubbish}).output, model({**batch, "left": clean}).output)


class TestTrainingStep:
    def test_a_loss_is_a_mean_over_the_samples_with_truth(self):
        step, data = trained_from("concat", objectives=["unimodal"])
        step.double().eval()
        batch, truth = data.batch(torch.arange(10))
        batch = {i: {n: x.double() if x.is_floating_point() else x for n, x in b.items()} for i, b in batch.items()}
        truth = {**truth, "mask": torch.arange(10) % 3 > 0}
        losses, output = step(batch, truth)
        assert set(losses) == {"head", "objective.unimodal"}
        head = step.model.judge.loss(output.output, truth)
        assert losses["head"].item() == pytest.approx(head[truth["mask"]].sum().item() / 6, abs=1e-12)

    def test_a_batch_without_any_truth_costs_nothing_and_has_gradients(self):
        step, data = trained_from("attention")
        batch, truth = data.batch(torch.arange(4))
        loss = total(step(batch, {**truth, "mask": torch.zeros(4, dtype=torch.bool)})[0])
        loss.backward()
        assert loss.item() == 0

    def test_micro_batches_that_share_a_count_add_up_to_the_whole(self):
        step, data = trained_from("attention")
        step.double().eval()
        batch, truth = data.batch(torch.arange(9))
        batch = {i: {n: x.double() if x.is_floating_point() else x for n, x in b.items()} for i, b in batch.items()}
        truth = {**truth, "mask": torch.tensor([True] * 3 + [False] * 2 + [True] * 4)}
        whole = total(step(batch, truth)[0])

        def part(rows):
            some = {i: {n: x[rows] for n, x in b.items()} for i, b in batch.items()}
            return total(step(some, {n: x[rows] for n, x in truth.items()}, truth["mask"].sum())[0])

        torch.testing.assert_close(part(slice(0, 4)) + part(slice(4, 9)), whole)


class TestOneGraph:
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_step_is_one_graph(self, fusion):
        step, data = trained_from(fusion)
        step.eval()
        torch.compiler.reset()  # or all fusions together reach the limit of recompilations
        batch, truth = data.batch(torch.arange(8))
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        batch["left"] = absent(batch["left"], [1])
        expected = step(batch, truth)[0]
        torch.testing.assert_close(compiled(batch, truth)[0], expected)
        total(compiled(batch, truth)[0]).backward()
        found = {name: p.grad.clone() for name, p in step.named_parameters() if p.grad is not None}
        step.zero_grad()
        total(step(batch, truth)[0]).backward()
        torch.testing.assert_close(found, {n: p.grad for n, p in step.named_parameters() if p.grad is not None})

    @pytest.mark.full
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("fusion", ["attention", "concat", "late"])
    def test_inductor_computes_the_same(self, fusion):
        step, data = trained_from(fusion)
        step.eval()
        batch, truth = data.batch(torch.arange(8))
        torch.testing.assert_close(
            torch.compile(step, fullgraph=True)(batch, truth)[0], step(batch, truth)[0], atol=1e-4, rtol=1e-4
        )

    @pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load's own
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_an_exported_model_takes_other_missing_inputs_than_it_was_shown(self, fusion, tmp_path):
        step, data = trained_from(fusion)
        model = step.eval().model
        batch, _ = data.batch(torch.arange(4))
        batch["left"] = absent(batch["left"], [1])
        torch.export.save(torch.export.export(model, (batch,)), tmp_path / "model.pt2")
        program = torch.export.load(tmp_path / "model.pt2").module()
        other, _ = data.batch(torch.arange(4, 8))
        other["right"] = absent(other["right"], [0, 1, 2, 3])
        for given in (batch, other):
            torch.testing.assert_close(program(given).output, model(given).output)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_seeds_train_in_one_pass_under_vmap_with_masks_of_their_own(fusion):
    steps = []
    for seed in range(3):
        torch.manual_seed(seed)
        steps.append(trained_from(fusion)[0].eval())
    data = trained_from(fusion)[1]
    shown = [data.batch(torch.arange(6) + 6 * seed) for seed in range(3)]
    for seed, (batch, _) in enumerate(shown):
        batch["left"] = absent(batch["left"], [seed])

    def stacked(*leaves):
        return torch.stack(leaves)

    batches = torch.utils._pytree.tree_map(stacked, *[batch for batch, _ in shown])
    truths = torch.utils._pytree.tree_map(stacked, *[truth for _, truth in shown])
    parameters, buffers = stack_module_state(steps)
    template = steps[0]

    def loss(parameters, buffers, batch, truth):
        return total(functional_call(template, (parameters, buffers), (batch, truth))[0])

    gradients, losses = vmap(torch.func.grad_and_value(loss))(parameters, buffers, batches, truths)
    for seed, (step, (batch, truth)) in enumerate(zip(steps, shown, strict=True)):
        alone = total(step(batch, truth)[0])
        alone.backward()
        torch.testing.assert_close(losses[seed], alone)
        for name, parameter in step.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradients[name][seed], expected, atol=2e-5, rtol=2e-4)
