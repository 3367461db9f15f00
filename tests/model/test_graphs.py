"""The model as one graph: compiled, exported, under vmap."""

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from mmkit.registry.catalog import installed
from tests.model.network_cases import FIRST, FUSIONS, SETS, WHOLE, absent, part, total, trained_from


def gradients(step):
    """Of what evaluation reads."""
    return {name: parameter.grad for name, parameter in step.named_parameters() if parameter.grad is not None}


class TestOneGraph:
    @pytest.fixture(autouse=True)
    def _afresh(self):
        torch.compiler.reset()  # or all models together reach the limit of recompilations

    @pytest.mark.parametrize("fusion", FIRST)  # the kit looks at the graph of each alone
    def test_a_step_is_one_graph(self, fusion):
        step, data = trained_from(fusion)
        batch, truth = data.batch(torch.arange(8))
        batch["left"] = absent(batch["left"], [1])
        compiled = torch.compile(step.eval(), fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(batch, truth)[0], step(batch, truth)[0])

    @pytest.mark.parametrize(  # of each fusion alone in `tests/fusions/test_every_fusion.py`
        "fusion", [f if f == "attention" else pytest.param(f, marks=pytest.mark.full) for f in FIRST]
    )
    def test_its_backward_pass_is_one_graph(self, fusion):
        step, data = trained_from(fusion, objectives=["unimodal", "contrastive"])
        batch, truth = data.batch(torch.arange(8))
        batch["left"] = absent(batch["left"], [1])
        compiled = torch.compile(step.eval(), fullgraph=True, backend="aot_eager")
        total(compiled(batch, truth)[0]).backward()
        found = {name: grad.clone() for name, grad in gradients(step).items()}
        step.zero_grad()
        total(step(batch, truth)[0]).backward()
        torch.testing.assert_close(found, gradients(step))

    @pytest.mark.full
    @pytest.mark.parametrize("encoders", SETS, ids=lambda encoders: ",".join(encoders.values()))
    def test_a_step_is_one_graph_with_every_encoder_that_claims_it(self, everything, encoders):
        step, data = trained_from("attention", everything, encoders)
        compiled = torch.compile(step.eval(), fullgraph=True, backend="eager")
        for rows in (range(6), range(6, 16)):  # another number of samples, and others that are missing
            batch, truth = data.batch(torch.tensor(rows))
            torch.testing.assert_close(compiled(batch, truth)[0], step(batch, truth)[0])

    def test_every_encoder_is_tested(self):
        whole = {
            e.name
            for e in installed().available("encoder")
            if e.distribution == "mmkit-core" and getattr(e.spec, "fullgraph", False)
        }
        assert {name for encoders in WHOLE for name in encoders.values()} == whole

    @pytest.mark.full
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("fusion", ["attention", "late"])
    def test_inductor_computes_the_same(self, fusion):
        step, data = trained_from(fusion)
        batch, truth = data.batch(torch.arange(8))
        compiled = torch.compile(step.eval(), fullgraph=True)
        total(compiled(batch, truth)[0]).backward()
        found = {name: grad.clone() for name, grad in gradients(step).items()}
        step.zero_grad()
        losses, _ = step(batch, truth)
        total(losses).backward()
        torch.testing.assert_close(compiled(batch, truth)[0], losses, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found, gradients(step), atol=1e-4, rtol=1e-3)

    @pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load's own
    @pytest.mark.parametrize("fusion", FIRST)  # the kit exports each fusion alone
    def test_an_exported_model_takes_other_missing_inputs(self, fusion, tmp_path):
        step, data = trained_from(fusion)
        model = step.eval().model
        both, _ = data.batch(torch.arange(8))  # together, so that they are equally long
        batch, other = part(both, slice(0, 4)), part(both, slice(4, 8))
        batch["left"] = absent(batch["left"], [1])
        torch.export.save(torch.export.export(model, (batch,)), tmp_path / "model.pt2")
        program = torch.export.load(tmp_path / "model.pt2").module()
        other["right"] = absent(other["right"], [0, 1, 2, 3])
        nothing = {name: absent(leaves, [0, 1, 2, 3]) for name, leaves in other.items()}
        for given in (batch, other, nothing):
            torch.testing.assert_close(program(given).output, model(given).output)

    @pytest.mark.parametrize("encoders", SETS, ids=lambda encoders: ",".join(encoders.values()))
    def test_an_exported_model_takes_any_number_of_samples(self, everything, encoders):
        step, data = trained_from("attention", everything, encoders)
        model = step.eval().model
        whole, _ = data.batch(torch.arange(16))
        batch = part(whole, slice(0, 6))
        shapes = {name: {leaf: {0: torch.export.Dim.DYNAMIC} for leaf in leaves} for name, leaves in batch.items()}
        program = torch.export.export(model, (batch,), dynamic_shapes=(shapes,)).module()
        for rows in (range(2), range(3, 16)):
            given = part(whole, torch.tensor(rows))
            torch.testing.assert_close(program(given).output, model(given).output)


@pytest.mark.parametrize(
    "fusion", [fusion if fusion in FIRST else pytest.param(fusion, marks=pytest.mark.full) for fusion in FUSIONS]
)
def test_seeds_train_in_one_pass_under_vmap_with_different_masks(fusion):
    steps = []
    for seed in range(3):
        torch.manual_seed(seed)
        steps.append(trained_from(fusion)[0].eval())
    data = trained_from(fusion)[1]
    every, known = data.batch(torch.arange(18))  # together, so that they are equally long
    rows = [slice(6 * seed, 6 * seed + 6) for seed in range(3)]
    shown = [(part(every, six), {leaf: tensor[six] for leaf, tensor in known.items()}) for six in rows]
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
