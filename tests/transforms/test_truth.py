import json
import pickle
import unicodedata

import numpy as np
import pytest
import torch

from mmkit.contract import TruthTransform
from mmkit.errors import DataError
from mmkit.transforms.truth import Categories, Numbers


def fitted(transform, values):
    transform.fit(values)
    return transform


def test_both_keep_the_contract():
    assert isinstance(Categories("classes"), TruthTransform)
    assert isinstance(Numbers("scalar"), TruthTransform)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([10, 2, -1, None, 2], ("-1", "2", "10")),
        (["10", "9"], ("9", "10")),
        (["b", "10", "a", "9"], ("10", "9", "a", "b")),
        ([True, False], ("False", "True")),
        ([np.int64(3), torch.tensor(1)], ("1", "3")),
        ([2.0, None, 1.0], ("1", "2")),
        ([np.str_("y"), "x"], ("x", "y")),
    ],
)
def test_classes_are_in_a_natural_order(values, names):
    assert fitted(Categories("classes"), values).target().names == names
    assert fitted(Categories("classes"), values[::-1]).target().names == names


def test_classes_to_tensors_and_back():
    transform = fitted(Categories("classes"), ["dog", "cat", None, "dog"])
    target = transform.target()
    assert (target.kind, target.size, target.counts, target.samples) == ("classes", 2, (1, 2), 3)
    batch = transform(["dog", None, "cat"])
    assert batch["label"].dtype == torch.long
    assert batch["label"][batch["mask"]].tolist() == [1, 0]
    assert batch["mask"].tolist() == [True, False, True]
    answers = transform.inverse({"probabilities": torch.tensor([[0.25, 0.75], [0.625, 0.375]])})
    assert answers == [
        {"label": "dog", "probabilities": {"cat": 0.25, "dog": 0.75}},
        {"label": "cat", "probabilities": {"cat": 0.625, "dog": 0.375}},
    ]


def test_a_class_is_known_by_its_text():
    transform = fitted(Categories("classes"), [7, "8"])
    assert transform(["7", 8])["label"].tolist() == [0, 1]


ROWS = [[0, 1, 0], [1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    "row",
    [list, tuple, np.array, torch.tensor, lambda r: torch.tensor(r).float(), lambda r: [bool(flag) for flag in r]],
)
def test_rows_of_flags_are_no_labels(row):
    with pytest.raises(DataError, match=r"list of those that apply, by name or number; got a row of 0 and 1, .*give "):
        Categories("labels").fit([row(one) for one in ROWS])
    with pytest.raises(DataError, match="got a row of 0 and 1"):
        Categories("labels").fit([row([0, 1]), None, row([1, 0])])
    with pytest.raises(DataError, match="got a row of 0 and 1"):
        fitted(Categories("labels"), [[0], [1], [0, 1]])([row(ROWS[0])])


def test_numbers_may_be_labels():
    transform = fitted(Categories("labels"), [np.array([3, 7]), [], [0], torch.tensor([0, 1]), [1]])
    assert transform.target().names == ("0", "1", "3", "7")
    assert transform([np.array([7, 3])])["labels"].tolist() == [[0, 0, 1, 1]]
    assert fitted(Categories("labels"), [[0, 1], [1], []]).target().names == ("0", "1")


@pytest.mark.parametrize("row", [np.eye(2)[0], torch.eye(3)[1], np.array(["a", "b"])])
def test_a_one_hot_row_is_no_class(row):
    with pytest.raises(DataError, match=r"got an array \[[23]\]: of a one-hot row give row.argmax\(\)"):
        Categories("classes").fit([row, row])


def test_a_row_of_one_is_that_one():
    assert fitted(Categories("classes"), [np.array([1]), torch.tensor([[2]])]).target().names == ("1", "2")


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_space_around_a_name_and_the_encoding_of_its_accents_tell_nothing_apart(kind):
    def of(names):
        return names if kind == "classes" else [[name] for name in names]

    decomposed = unicodedata.normalize("NFD", "café")
    assert decomposed != "café"
    transform = fitted(Categories(kind), of(["café", "cat ", decomposed, "cat", "\tcat\n"]))
    assert transform.target().names == ("café", "cat")
    assert transform.target().counts == (2, 3)
    leaf = transform(of([decomposed + " ", "  cat"]))[{"classes": "label", "labels": "labels"}[kind]]
    assert leaf.tolist() == ([0, 1] if kind == "classes" else [[1, 0], [0, 1]])
    with pytest.raises(DataError, match=r"not empty, .*got '  ': give None where it is missing"):
        transform(of(["  "]))


def test_yes_and_no_are_the_same_as_bools_and_as_numbers():
    of_bools = fitted(Categories("classes"), [True, False, np.True_])
    assert of_bools.target().names == ("False", "True")
    assert of_bools([1, 0, np.int64(1), 1.0, "0", torch.ones((), dtype=torch.bool)])["label"].tolist() == [
        1,
        0,
        1,
        1,
        0,
        1,
    ]
    of_numbers = fitted(Categories("classes"), [0, 1, 1])
    assert of_numbers([True, False, np.True_])["label"].tolist() == [1, 0, 1]
    both = fitted(Categories("classes"), [True, 0, 1, False, 2])
    assert (both.target().names, both.target().counts) == (("0", "1", "2"), (2, 2, 1))
    assert both([True, False])["label"].tolist() == [1, 0]
    assert fitted(Categories("labels"), [[True], [False, True], [0]]).target().names == ("0", "1")


def test_many_fractions_are_questioned():
    with pytest.raises(DataError, match=r"40 classes, 40 of them fractions such as 0.01; for numbers .* is scalar"):
        Categories("classes").fit([f"{n / 100 + 0.01:.2f}" for n in range(40)])
    ratings = [f"{n / 2}" for n in range(1, 11)]
    assert len(fitted(Categories("classes"), ratings).target().names) == 10
    assert len(fitted(Categories("classes"), list(range(40))).target().names) == 40
    with pytest.raises(DataError, match=r"got 1\.5: for numbers to be predicted the target is scalar"):
        Categories("classes").fit([1.5, 2.5])


def test_labels_to_tensors_and_back():
    transform = fitted(Categories("labels"), [["b", "a"], None, (), {"b"}, ["b", "b"]])
    target = transform.target()
    assert (target.kind, target.names, target.counts, target.samples) == ("labels", ("a", "b"), (1, 3), 4)
    batch = transform([["b"], None, [], ["a", "b"]])
    assert batch["labels"].tolist() == [[0, 1], [0, 0], [0, 0], [1, 1]]
    assert batch["mask"].tolist() == [True, False, True, True]
    answers = transform.inverse({"probabilities": torch.tensor([[0.75, 0.5], [0.25, 0.125]])})
    assert answers == [
        {"labels": ["a"], "probabilities": {"a": 0.75, "b": 0.5}},
        {"labels": [], "probabilities": {"a": 0.25, "b": 0.125}},
    ]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("classes", [None, None], "no sample of the training split has truth"),
        ("classes", ["a", "a"], "at least 2 classes; it holds only a"),
        ("classes", [], "no sample of the training split has truth"),
        ("classes", ["a", float("nan")], "a category is a string.*got nan"),
        ("classes", ["a", 1.5], "got 1.5"),
        ("classes", ["a", ""], "not empty.*got ''"),
        ("classes", ["a", ["b"]], r"got \['b'\]: of a one-hot row give the number of its class"),
        ("labels", [[], []], "at least 1 labels; it holds none"),
        ("labels", ["ab"], "a list of them.*got 'ab'"),
        ("labels", [3], "a list of them.*got 3"),
        ("labels", [{"a": 1}], "a list of them"),
    ],
)
def test_what_cannot_be_fitted(kind, values, message):
    with pytest.raises(DataError, match=message):
        Categories(kind).fit(values)


@pytest.mark.parametrize(("kind", "value"), [("classes", "brid"), ("labels", ["dog", "brid"])])
def test_an_unseen_category_is_named_with_what_is_possible(kind, value):
    transform = fitted(Categories(kind), ["dog", "bird"] if kind == "classes" else [["dog", "bird"]])
    with pytest.raises(DataError, match=r"'brid' does not occur.*did you mean bird\? Possible: bird, dog"):
        transform([value])


def test_numbers_to_tensors_and_back():
    raw = [[1.0, 10], None, (3.0, 10), np.array([8.0, 10])]
    transform = fitted(Numbers("scalar"), raw)
    target = transform.target()
    assert (target.kind, target.size, target.names, target.samples) == ("scalar", 2, ("0", "1"), 3)
    assert target.mean == pytest.approx((4.0, 10.0))
    assert target.std == pytest.approx((np.std([1.0, 3.0, 8.0]), 1.0))  # a constant number has the scale 1
    batch = transform(raw)
    assert batch["values"].dtype == torch.float32
    assert batch["values"].tolist() == [[1, 10], [0, 0], [3, 10], [8, 10]]
    assert batch["mask"].tolist() == [True, False, True, True]
    assert transform.inverse({"values": torch.tensor([[1.5, 2.0]])}) == [{"values": [1.5, 2.0]}]


def test_one_number_is_a_value():
    transform = fitted(Numbers("scalar"), [1, 2.5, torch.tensor(4.0)])
    assert transform.target().names == ("value",)
    assert transform([2, None])["values"].tolist() == [[2], [0]]
    assert transform.inverse({"values": torch.tensor([[1.5]])}) == [{"value": 1.5}]


@pytest.mark.parametrize("offset", [0.0, 1e6, 1.7e9, 1e12, -1e15])
def test_numbers_far_from_zero_keep_their_spread(offset):
    raw = offset + 30 * np.random.default_rng(0).uniform(-1, 1, 200)
    transform = fitted(Numbers("scalar"), raw.tolist())
    expected = (raw - raw.mean()) / raw.std()
    standardised = transform(list(raw))["standardised"]
    assert standardised.dtype == torch.float32
    np.testing.assert_allclose(standardised[:, 0].numpy(), expected, rtol=1e-6, atol=1e-6 + 1e-15 * abs(offset))
    values = torch.zeros(200, 1)
    answers = transform.inverse({"values": values, "standardised": standardised})
    np.testing.assert_allclose([answer["value"] for answer in answers], raw, rtol=1e-15, atol=1e-5)


def test_a_constant_that_is_no_binary_fraction_has_the_scale_1():
    assert fitted(Numbers("scalar"), [0.1] * 7).target().std == (1.0,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39, "3", [], [1.0, float("nan")], {"x": 1.0}])
def test_what_is_no_number(value):
    with pytest.raises(DataError, match="a finite number or a list of them, None where it is missing; got"):
        Numbers("scalar").fit([0.0, value])


def test_every_sample_has_as_many_numbers():
    with pytest.raises(DataError, match="as many numbers of truth as the first, 2; got 1"):
        Numbers("scalar").fit([[1.0, 2.0], [1.0]])
    with pytest.raises(DataError, match="as the first, 1; got 2"):
        fitted(Numbers("scalar"), [1.0, 2.0])([[1.0, 2.0]])
    with pytest.raises(DataError, match="no sample of the training split has truth"):
        Numbers("scalar").fit([None])


@pytest.mark.parametrize(
    ("transform", "kind", "values"),
    [
        (Categories, "classes", [3, 1, 2, None, 1]),
        (Categories, "labels", [["b"], ["a", "b"], []]),
        (Numbers, "scalar", [[1.5, 2.0], [2.5, 7.0]]),
    ],
)
def test_state_survives_json_and_the_object_survives_pickle(transform, kind, values):
    first = fitted(transform(kind), values)
    second = transform(kind)
    second.restore(json.loads(json.dumps(first.state())))
    for other in (second, pickle.loads(pickle.dumps(first))):
        assert other.target() == first.target()
        for leaf, tensor in first(values).items():
            assert torch.equal(other(values)[leaf], tensor)


@pytest.mark.parametrize(
    ("transform", "kind", "values"),
    [(Categories, "classes", [1, 2]), (Categories, "labels", [["a"]]), (Numbers, "scalar", [1.0, 2.0])],
)
def test_all_truth_of_a_batch_may_be_missing(transform, kind, values):
    batch = fitted(transform(kind), values)([None, None])
    assert not batch["mask"].any()
    assert all(len(tensor) == 2 and tensor.isfinite().all() for tensor in batch.values())


def test_the_kind_of_target_is_checked():
    with pytest.raises(ValueError, match="kind classes or labels; got scalar"):
        Categories("scalar")
    with pytest.raises(ValueError, match="kind scalar; got classes"):
        Numbers("classes")
