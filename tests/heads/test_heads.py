import copy
from typing import Any

import pytest
import torch

from mmkit.contract import Features, Target
from mmkit.heads.linear import LinearHead
from mmkit.heads.mlp import MlpHead
from mmkit.heads.regression import RegressionHead
from mmkit.transforms.truth import Categories, Numbers

D = 6
RAW: dict[str, list[Any]] = {
    "classes": ["a", "b", "c", "c", None, "a"],
    "labels": [["a"], ["a", "b"], [], ["c"], None, ["b"]],
    "scalar": [[1.0, 5.0], [3.0, 2.0], [8.0, 1.0], [2.0, 2.0], None, [0.0, 9.0]],
}
HEADS = [
    (LinearHead, "classes", {}),
    (LinearHead, "labels", {"class_weights": "balanced"}),
    (MlpHead, "classes", {"loss": "focal", "class_weights": "balanced"}),
    (MlpHead, "labels", {"layers": 2, "norm": "none"}),
    (RegressionHead, "scalar", {}),
    (RegressionHead, "scalar", {"layers": 0, "loss": "huber"}),
]
every_head = pytest.mark.parametrize(("head", "kind", "options"), HEADS)


def built(head, kind, options, width=D):
    transform = (Numbers if kind == "scalar" else Categories)(kind)
    transform.fit(RAW[kind])
    return head(width, transform.target(), transform, **options), transform


def features(width=D):
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    return Features.of(torch.randn(6, 3, width), mask)


@every_head
def test_every_parameter_learns_and_a_missing_row_is_finite(head, kind, options):
    module, transform = built(head, kind, options)
    truth = transform(RAW[kind])
    loss = module.loss(module(features()), truth)
    assert loss.shape == (6,)
    assert loss[4] == 0
    loss.sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_head
def test_predictions_go_back_to_the_users_words(head, kind, options):
    module, transform = built(head, kind, options)
    module.eval()
    prediction = module.predict(module(features()))
    answers = transform.inverse(prediction)
    assert len(answers) == 6
    if kind == "classes":
        torch.testing.assert_close(prediction["probabilities"].sum(1), torch.ones(6))
        assert all(answer["label"] in "abc" for answer in answers)
    elif kind == "labels":
        assert all(set(answer["labels"]) <= set("abc") for answer in answers)
    else:
        assert all(len(answer["values"]) == 2 for answer in answers)


def test_a_prediction_of_numbers_is_in_the_users_units():
    module, _ = built(RegressionHead, "scalar", {"layers": 0})
    with torch.no_grad():
        module.numbers.weight.zero_()
        module.numbers.bias.zero_()
    values = module.predict(module(features()))["values"]
    mean = [sum(row[c] for row in RAW["scalar"] if row) / 5 for c in range(2)]
    torch.testing.assert_close(values, torch.tensor([mean] * 6))


@every_head
def test_loss_and_prediction_read_the_output_alone(head, kind, options):
    """At decision level the model asks any one of the inputs' heads, each of its own width."""
    one, transform = built(head, kind, options, width=D)
    other, _ = built(head, kind, options, width=D + 3)
    output, truth = one(features()), transform(RAW[kind])
    assert torch.equal(one.loss(output, truth), other.loss(output, truth))
    for leaf, tensor in one.predict(output).items():
        assert torch.equal(other.predict(output)[leaf], tensor)


@every_head
def test_the_state_dict_holds_all_that_was_learned(head, kind, options):
    module, transform = built(head, kind, options)
    fresh, _ = built(head, kind, options)
    fresh.load_state_dict(module.state_dict())
    given = features()
    output, truth = module.eval()(given), transform(RAW[kind])
    assert torch.equal(fresh.eval()(given), output)
    assert torch.equal(fresh.loss(output, truth), module.loss(output, truth))


@every_head
def test_in_double_precision_nothing_is_rounded_to_single(head, kind, options):
    module, transform = built(head, kind, options)
    module.double()
    given = features()
    wide = Features.of(given.tokens.double(), given.mask)
    output = module(wide)
    assert output.dtype == torch.float64
    assert module.loss(output, transform(RAW[kind])).dtype == torch.float64
    assert all(tensor.dtype == torch.float64 for tensor in module.predict(output).values())


@every_head
def test_under_autocast_loss_and_prediction_are_single(head, kind, options):
    module, transform = built(head, kind, options)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(features())
        assert output.dtype == torch.bfloat16
        loss = module.loss(output, transform(RAW[kind]))
        assert loss.dtype == torch.float32
        assert all(tensor.dtype == torch.float32 for tensor in module.predict(output).values())
    loss.sum().backward()


@every_head
def test_seeds_can_be_trained_in_one_pass(head, kind, options):
    modules = [built(head, kind, options)[0].eval() for _ in range(3)]
    transform = built(head, kind, options)[1]
    given, truth = features(), transform(RAW[kind])
    parameters, buffers = torch.func.stack_module_state(modules)

    class Step(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self):
            return self.inner.loss(self.inner(given), truth)

    step = Step(copy.deepcopy(modules[0]))

    def one(parameters, buffers):
        return torch.func.functional_call(
            step, {f"inner.{name}": value for name, value in {**parameters, **buffers}.items()}
        )

    together = torch.vmap(one)(parameters, buffers)
    apart = torch.stack([module.loss(module(given), truth) for module in modules])
    torch.testing.assert_close(together, apart)


@pytest.mark.full
@every_head
def test_heads_compile_as_one_graph(head, kind, options):
    module, transform = built(head, kind, options)
    module.eval()

    def step(given, truth):
        output = module(given)
        return module.loss(output, truth), module.predict(output)

    given, truth = features(), transform(RAW[kind])
    compiled = torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager")(given, truth)
    torch.testing.assert_close(compiled, step(given, truth))


@pytest.mark.parametrize(
    ("head", "kind"), [(LinearHead, "scalar"), (MlpHead, "scalar"), (RegressionHead, "classes"), (MlpHead, "text")]
)
def test_a_target_of_another_kind_is_refused(head, kind):
    with pytest.raises(ValueError, match=f"the target is of kind {kind}"):
        head(D, Target(kind, 2), None)
