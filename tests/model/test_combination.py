"""Combinations, and the models built from them."""

import pytest
import torch
from torch import nn

from mmkit.errors import ContractError, UsageError
from mmkit.model.assembly import Transforms, build_model, built, reads
from mmkit.model.combination import Combination, unsupported_inputs
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import installed


def choose(kind, what, **options):
    return installed().choose(kind, what, options)


ENCODERS = {"b": choose("encoder", "fcn"), "a": choose("encoder", "table-mlp")}
HEAD = choose("head", "linear")


def test_inputs_are_sorted_and_the_label_names_the_fusion():
    combination = Combination(ENCODERS, choose("fusion", "low-rank", rank=2), HEAD)
    assert list(combination.encoders) == ["a", "b"]
    assert combination.label == "low-rank:rank=2"
    assert Combination({"b": ENCODERS["b"]}, None, HEAD).label == "only:b"


def test_several_inputs_need_a_fusion():
    with pytest.raises(UsageError, match="2 inputs were given without a fusion"):
        Combination(ENCODERS, None, HEAD)


def test_an_objective_given_twice_is_an_error():
    twice = (choose("objective", "contrastive", space=8), choose("objective", "contrastive", space=16))
    with pytest.raises(UsageError, match="objective contrastive is given 2 times; give each objective once"):
        Combination(ENCODERS, choose("fusion", "concat"), HEAD, twice)


def test_an_objective_that_does_not_support_the_inputs_is_an_error():
    with pytest.raises(UsageError, match="objective contrastive takes 2 or more inputs; there are 1"):
        Combination({"b": ENCODERS["b"]}, None, HEAD, (choose("objective", "contrastive"),))


@pytest.mark.parametrize(
    ("low", "high", "message"), [(2, None, "takes 2 or more"), (2, 3, "takes 2 to 3"), (2, 2, "takes 2")]
)
def test_the_error_says_how_many_inputs_a_fusion_takes(low, high, message):
    spec = FusionSpec("x", "x:X", "x", min_inputs=low, max_inputs=high)
    assert unsupported_inputs(spec, 1) == f"{message} inputs; there are 1"
    assert unsupported_inputs(spec, 2) == ""


def test_a_document_comes_back_as_the_same_combination():
    combination = Combination(
        ENCODERS, choose("fusion", "attention", heads=2), HEAD, (choose("objective", "contrastive"),)
    )
    assert Combination.of(combination.document(), installed()).document() == combination.document()
    assert combination.plugins() == {"mmkit-core": installed().versions["mmkit-core"]}


def test_a_component_given_as_a_class_comes_back_by_its_recorded_name():
    class Sum(nn.Module):
        def __init__(self, widths, *, scale: float = 1.0):
            super().__init__()

    combination = Combination(ENCODERS, installed().choose("fusion", Sum), HEAD)
    name = combination.document()["fusion"]["name"]
    again = Combination.of(combination.document(), installed(), {name: Sum})
    assert again.fusion.component is Sum
    with pytest.raises(UsageError, match=r"fusion .*Sum was given as a class and is not installed; give it in"):
        Combination.of(combination.document(), installed())


def test_options_may_be_left_out_of_a_document():
    document = Combination(ENCODERS, choose("fusion", "concat"), HEAD).document()
    brief = {**document, "fusion": {"name": "concat"}}
    assert Combination.of(brief, installed()).document() == document


def test_a_component_that_rejects_its_options_is_named():
    class Picky:
        def __init__(self, *, size: int = 0):
            raise ValueError(f"size is {size}; expected 1 or more")

    with pytest.raises(UsageError, match=r"fusion .*Picky.*: size is 0; expected 1 or more"):
        built(installed().choose("fusion", Picky), None)


def test_an_encoder_without_a_transform_breaks_the_contract():
    class Bare:
        def __init__(self, transform):
            pass

    with pytest.raises(ContractError, match="names no transform: it needs a class attribute `reads`"):
        reads(installed().choose("encoder", Bare))


def test_heads_of_inputs_are_built_only_if_something_reads_them():
    rows = [{"x": float(i)} for i in range(4)]
    values = {"a": rows, "b": [torch.full((3, 1), float(i)) for i in range(4)]}

    def model(fusion, *objectives):
        combination = Combination(ENCODERS, choose("fusion", fusion), HEAD, objectives)
        return build_model(combination, Transforms.fitted(combination, "classes", values, ["u", "v", "u", "v"]))[0]

    assert (len(model("concat").unimodal), model("concat").head is None) == (0, False)
    assert (len(model("late").unimodal), model("late").head is None) == (2, True)
    assert len(model("concat", choose("objective", "unimodal")).unimodal) == 2
