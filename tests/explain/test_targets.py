"""Which output is explained, by kind of target, and many inputs."""

import pytest

import mmkit
from mmkit.errors import UsageError
from mmkit.testing import tiny_task

QUICK = {"epochs": 2, "min_steps": 0, "lr": 0.01}


def fitted(inputs, target, **given):
    task = tiny_task(inputs, target=target)
    model, _ = mmkit.fit(task=task, training=QUICK, device="cpu", progress=False, fusion="sum", **given)
    samples = task().split("test").inputs
    return model, {name: column[1] for name, column in samples.items()}


def summed(found):
    return sum(one.value for one in found.contributions if one.value is not None)


def test_of_labels_the_likeliest_is_explained_or_the_one_that_is_asked():
    model, sample = fitted({"a": "series", "b": "text"}, "labels")
    (answer,) = model.predict([sample])
    likeliest = max(answer["probabilities"], key=answer["probabilities"].get)
    found = model.explain(sample)
    assert found.output.name == likeliest
    assert found.value == pytest.approx(answer["probabilities"][likeliest], abs=1e-6)
    assert f"the probability of the label {likeliest} (the likeliest label)" in str(found)
    for name, probability in answer["probabilities"].items():
        one = model.explain(sample, output=name)
        assert one.value == pytest.approx(probability, abs=1e-6)
        assert summed(one) == pytest.approx(one.value - one.nothing, abs=1e-6)
    with pytest.raises(UsageError, match="the model has no label 'other'"):
        model.explain(sample, output="other")


def test_a_class_that_is_a_number_may_be_named_by_it():
    data = {
        "size": [float(i % 3) for i in range(60)],
        "colour": ["red", "blue"] * 30,
        "kind": [i % 3 for i in range(60)],
    }
    model, _ = mmkit.fit(
        data=data, target="kind", target_kind="classes", fusion="sum", training=QUICK, device="cpu", progress=False
    )
    sample = {"size": 1.0}
    assert model.explain(sample, output=1, parts=False).value == model.explain(sample, output="1", parts=False).value
    for wrong in (7, 1.5):
        with pytest.raises(UsageError, match=f"the model has no class '{wrong}'"):
            model.explain(sample, output=wrong, parts=False)


def test_a_number_is_explained_in_its_own_units():
    model, sample = fitted({"a": "series", "b": "text"}, "scalar")
    (answer,), (nothing,) = model.predict([sample]), model.predict([{}])
    found = model.explain(sample)
    assert found.value == pytest.approx(answer["value"], rel=1e-5, abs=1e-5)
    assert found.nothing == pytest.approx(nothing["value"], rel=1e-5, abs=1e-5)
    assert summed(found) == pytest.approx(answer["value"] - nothing["value"], rel=1e-4, abs=1e-5)
    assert "Explained is this number" in str(found)
    assert "units of the number" in str(found)


@pytest.fixture(scope="module")
def several():
    """A model of two numbers, one of them far from zero beside its spread."""
    rows = 60
    data = {
        "size": [float(i % 10) for i in range(rows)],
        "kind": [["small", "large"][i % 2] for i in range(rows)],
        "price": [1e9 + 3 * (i % 10) for i in range(rows)],
        "weight": [0.5 * (i % 2) for i in range(rows)],
    }
    model, _ = mmkit.fit(
        data=data, target="price,weight", fusion="sum", training={**QUICK, "epochs": 20}, device="cpu", progress=False
    )
    return model, {"size": 9.0, "kind": "large"}


def test_of_several_numbers_the_first_is_explained_or_the_one_that_is_asked(several):
    model, sample = several
    (answer,) = model.predict([sample])
    first, second = model.explain(sample), model.explain(sample, output="weight")
    assert first.value == pytest.approx(answer["values"][0], abs=0.1)
    assert second.value == pytest.approx(answer["values"][1], abs=1e-4)
    assert "Explained is price (the first of several)" in str(first)
    assert "Explained is weight (as asked)" in str(second)
    # In float32 a billion has steps of 64; contributions do not.
    assert summed(first) == pytest.approx(first.value - first.nothing, abs=1e-3)
    assert 0.01 < abs(summed(first)) < 100


def test_of_many_inputs_orders_are_drawn_and_errors_told():
    inputs = dict.fromkeys("abcdefg", "series")
    model, sample = fitted(inputs, "classes", encoders=dict.fromkeys(inputs, "fcn:width=8"))
    found = model.explain(sample, parts=False)
    assert found.permutations == 256
    assert all(one.error is not None and one.error >= 0 for one in found.contributions)
    assert summed(found) == pytest.approx(found.value - found.nothing, abs=1e-5)
    assert "over 256 orders of the inputs, drawn at random" in str(found)
    assert "±" in str(found)
    fewer = model.explain({name: value for name, value in sample.items() if name in "abc"}, parts=False)
    assert fewer.permutations == 0  # what is missing gives nothing, so that three are left
    assert fewer.subsets == 8
