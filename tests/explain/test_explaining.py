"""Explanations of a trained model: axioms, what was planted, and what must not matter."""

import copy
import dataclasses
import json
import sys

import pytest
import torch
from rich.cells import cell_len

import mmkit
from mmkit.contract import Samples
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.explain import gradients, words
from mmkit.explain.explaining import explain
from mmkit.explain.sample import Sample, differentiable
from tests.explain.conftest import PATCH, SEGMENT, WORDS, trained
from tests.explain.test_shapley import by_orders


@pytest.fixture(scope="session")
def found(model, good):
    return model.explain(good)


def contributions(explained):
    return {one.name: one.value for one in explained.contributions}


def strongest(values):
    return max(range(len(values)), key=lambda place: abs(values[place]))


def test_contributions_sum_to_the_answer_less_that_of_nothing(model, good, found):
    answers = model.predict([good, {}])
    assert found.answer["probabilities"] == pytest.approx(answers[0]["probabilities"], abs=1e-6)
    assert found.output.name == answers[0]["label"] == "good"
    whole, nothing = (one["probabilities"]["good"] for one in answers)
    assert found.value == pytest.approx(whole, abs=1e-6)
    assert found.nothing == pytest.approx(nothing, abs=1e-6)
    assert sum(contributions(found).values()) == pytest.approx(whole - nothing, abs=1e-6)


def test_what_is_printed_fits_eighty_columns_whatever_the_script(found):
    name = "柿の実" * 12
    output = dataclasses.replace(found.output, name=name, asked=True)
    answer = {"label": name, "probabilities": {name: found.value}}
    wide = dataclasses.replace(found, title=name, output=output, answer=answer)
    assert max(map(cell_len, str(wide).splitlines())) <= 80
    assert "柿の実" in str(wide)
    assert f"The model says {name}" in str(wide).replace("\n", " ")


def test_contributions_are_those_of_predictions_of_samples_without_inputs(model, good, found):
    """By the model's own `predict` of all 16 subsets, and the definition over orders."""
    names = sorted(good)
    subsets = [tuple(bool(number >> place & 1) for place in range(4)) for number in range(16)]
    asked = [{name: good[name] if kept else None for name, kept in zip(names, one, strict=True)} for one in subsets]
    table = {
        subset: answer["probabilities"]["good"] for subset, answer in zip(subsets, model.predict(asked), strict=True)
    }
    expected = dict(zip(names, by_orders(4, table), strict=True))
    for name, value in contributions(found).items():
        assert value == pytest.approx(expected[name], abs=1e-5)


def test_the_planted_word_is_found(found):
    one = found.inside["text"]
    start, end = one.parts.spans[strongest(one.values)]
    assert one.method == "integrated gradients"
    assert one.parts.text[start:end] == WORDS["good"]


def test_the_planted_patch_is_found(found):
    one = found.inside["image"]
    grid = one.parts.grid
    assert grid.shape == (16, 16)
    apart = torch.ones_like(grid, dtype=torch.bool)
    apart[PATCH] = False
    assert grid[PATCH].sum() > 0
    assert grid[PATCH].abs().mean() > 5 * grid[apart].abs().mean()
    row, column = divmod(int(grid.abs().argmax()), 16)
    assert row in range(*PATCH[0].indices(16))
    assert column in range(*PATCH[1].indices(16))


def test_the_planted_stretch_is_found(found):
    one = found.inside["series"]
    assert one.parts.edges == [float(step) for step in range(41)]
    place = strongest(one.values)
    assert SEGMENT.start <= place < SEGMENT.stop
    sizes = torch.tensor(one.values).abs()
    apart = torch.cat([sizes[: SEGMENT.start], sizes[SEGMENT.stop :]])
    assert sizes[SEGMENT].mean() > 3 * apart.mean()


def test_the_planted_column_is_found(found):
    one = found.inside["table"]
    assert one.parts.names[strongest(one.values)] == "size"
    assert one.values[one.parts.names.index("size")] > 0


def test_attributions_inside_sum_to_what_the_input_gains(found):
    for name, one in found.inside.items():
        assert sum(one.values) == pytest.approx(one.gained, abs=0.02 * abs(one.gained) + 1e-4), name
        assert one.gap == pytest.approx(abs(sum(one.values) - one.gained), abs=1e-6)


def test_parts_and_being_there_at_all_make_the_contribution_on_every_face(found):
    told, page = " ".join(str(found).split()), found.html()
    for one in found.contributions:
        rest = found.by_presence(one.name)
        assert sum(found.inside[one.name].values) + rest == pytest.approx(one.value, abs=1e-9)
        assert found.document()["inside"][one.name]["by_presence"] == rest
        given, whole = words.change(found, rest), words.change(found, one.value)
        assert f"by being there at all: {given}, with the parts {whole}" in told
        assert f"By being there at all it gives {given}, the rest of its contribution of {whole}." in page


def test_of_a_number_they_are_gradients_times_distance_where_the_model_is_linear(model, good):
    """With a linear function captum's integral is exact: weight times distance."""
    sample = Sample.of(model, values(model, good))
    weight = torch.randn(5)
    with differentiable(model):
        got = gradients.integrated(sample, "table", lambda x: x @ weight, [torch.arange(5.0)[None]], [torch.ones(1, 5)])
    torch.testing.assert_close(got.attributions[0][0], weight * (torch.arange(5.0) - 1))
    assert got.gap < 1e-5


def values(model, sample):
    """Decoded."""
    read = model.decoded(Samples(["0"], {name: [value] for name, value in sample.items()}, [None]))
    return {name: read.samples.inputs[name][0] for name in sample}


def randomised(model, seed):
    """The same model with all weights drawn anew, of the same spread."""
    module = copy.deepcopy(model.module)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * (parameter.std() if parameter.numel() > 1 else 0.1))
    return dataclasses.replace(model, module=module)


def alike(one, other):
    """Spearman's correlation of two attributions."""
    ranks = torch.stack([torch.tensor(values).argsort().argsort().double() for values in (one, other)])
    return float(torch.corrcoef(ranks)[0, 1])


def test_attributions_change_when_weights_are_randomised(model, good, found):
    """Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, https://arxiv.org/abs/1810.03292: what stays is
    an explanation of the input, not of the model. Signed ranks are compared, and their mean over models is near zero.
    """
    others = [randomised(model, seed).explain(good, output="good") for seed in range(6)]
    for name, one in found.inside.items():
        near = [alike(one.values, other.inside[name].values) for other in others]
        assert abs(sum(near) / len(near)) < 0.5, (name, near)
        assert min(near) < 0.3, (name, near)
    for other in others:
        assert list(contributions(other).values()) != pytest.approx(list(contributions(found).values()), abs=0.01)


def test_a_constant_input_gets_zero(model, good):
    flat = {
        **good,
        "image": torch.full((1, 16, 16), 77, dtype=torch.uint8),
        "series": torch.full((40, 1), 1.25),
    }
    inside = model.explain(flat).inside
    for name in ("image", "series"):
        assert max(map(abs, inside[name].values)) == 0, name


def test_an_empty_cell_and_a_mean_cell_get_zero(model, good):
    mean, _ = model.transforms.inputs["table"].scales["size"]
    row = {**good["table"], "size": mean, "noise": None}
    parts = model.explain({**good, "table": row}).inside["table"].parts
    values = dict(zip(parts.names, parts.values, strict=True))
    assert values["size"] == pytest.approx(0, abs=1e-6)
    assert values["noise"] == 0
    assert values["shop"] != 0


def test_a_missing_input_gives_nothing_and_is_named(model, good):
    some = model.explain({**good, "image": None})
    assert contributions(some)["image"] is None
    assert set(some.inside) == {"series", "table", "text"}
    assert "Missing in this sample, so that it gives nothing: image." in str(some)
    assert some.subsets == 8


def test_another_class_is_explained_where_it_is_asked(model, good, found):
    other = model.explain(good, output="bad")
    for name, value in contributions(other).items():
        assert value == pytest.approx(-contributions(found)[name], abs=1e-5)  # of two classes
    assert "the class bad (as asked)" in str(other)


def test_gates_are_told(found):
    assert {(one.kind, one.name) for one in found.details} == {("gate", name) for name in found.inside}
    assert all(0 < one.value < 1 for one in found.details)


def test_it_leaves_the_model_and_its_caller_as_they_were(model, good):
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    weights = list(model.module.parameters())
    grads = [(p.grad, None if p.grad is None else p.grad.clone()) for p in weights]  # those of training
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = model.explain(good).document(), model.explain(good).document()
    assert first == second
    assert torch.equal(state, torch.get_rng_state())
    assert not any(getattr(part, "detailed", False) for part in model.module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert all(p.grad is g and (g is None or torch.equal(g, b)) for p, (g, b) in zip(weights, grads, strict=True))
    assert not any(part._forward_hooks for part in model.module.modules())


def test_a_model_that_was_saved_explains_the_same(model, good, found, tmp_path):
    model.save(tmp_path / "model")
    again = mmkit.load(tmp_path / "model").explain(good).document()
    assert again == found.document()


def test_the_document_is_plain_json(found):
    document = found.document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == 1
    assert {part["kind"] for part in document["inside"].values()} == {"text", "picture", "curve", "columns"}
    tokens = document["inside"]["text"]["tokens"]
    assert all(tokens[i]["end"] <= tokens[i + 1]["start"] for i in range(len(tokens) - 1))


def test_without_captum_it_says_what_to_install(model, good, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)  # as if it were not installed
    with pytest.raises(UnavailableError, match=r"need captum: pip install 'mmkit-core\[explain\]'; or .* --no-inside"):
        explain(model, good)
    assert explain(model, good, parts=False).inside == {}


@pytest.mark.parametrize(
    ("sample", "output", "said"),
    [
        ([], None, "explain takes one sample, a mapping of names to values; got a list"),
        ({"txt": "x"}, None, "unknown input 'txt'.*text"),
        ({"text": "x"}, "god", "the model has no class 'god'.*good"),
    ],
)
def test_a_mistake_is_one_clear_line(model, sample, output, said):
    with pytest.raises(UsageError, match=said):
        model.explain(sample, output=output)


def test_a_sample_of_which_all_is_missing_has_nothing_to_explain(model):
    with pytest.raises(DataError, match="every input is missing, so there is nothing to explain"):
        model.explain({"text": None})


def test_a_model_that_writes_texts_is_refused(model):
    with pytest.raises(UsageError, match="the model writes texts; explained are classes, labels and numbers"):
        dataclasses.replace(model, target="text").explain({"text": "x"})


@pytest.mark.full
@pytest.mark.parametrize("fusion", ["late", "attention:width=16", "cross-attention:width=16", "only:text", "max"])
def test_it_works_with_every_kind_of_fusion(good, fusion):
    explained = trained(fusion, training={"epochs": 1}).explain(good)
    sums = sum(value for value in contributions(explained).values() if value is not None)
    assert sums == pytest.approx(explained.value - explained.nothing, abs=1e-5)
    shares = [one.value for one in explained.details if one.kind == "attention"]
    if fusion.startswith("attention"):
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    else:
        assert shares == []
