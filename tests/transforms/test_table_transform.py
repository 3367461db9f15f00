"""Rows to numbers and categories."""

import json
import pickle
import statistics

import pytest
import torch

from mmkit.errors import DataError, ValuesError
from mmkit.transforms.table import TableTransform

TRAIN = [
    {"size": 1, "colour": "red", "sold": True, "code": 7, "same": 0.1, "void": None},
    {"size": 2.5, "colour": "blue", "sold": False, "code": 9, "same": 0.1},
    None,
    {"size": None, "colour": None, "sold": True, "code": 7.0, "same": 0.1},
    {"size": 6, "colour": "red", "sold": None, "code": None, "same": 0.1},
]


def fitted(train=TRAIN, **options):
    transform = TableTransform(**options)
    transform.fit(train)
    return transform


def test_numbers_are_standardised_by_what_is_there():
    batch = fitted(ignore=("code",))(TRAIN)
    sizes = [1, 2.5, 6]
    mean, deviation = statistics.fmean(sizes), statistics.pstdev(sizes)
    assert list(fitted(ignore=("code",)).scales) == ["same", "size"]
    expected = [(1 - mean) / deviation, (2.5 - mean) / deviation, 0, 0, (6 - mean) / deviation]
    torch.testing.assert_close(batch["numbers"][:, 1], torch.tensor(expected))
    assert batch["present"][:, 1].tolist() == [True, True, False, False, True]
    # A column of equal numbers, though 0.1 + 0.1 + 0.1 is not 0.3 in binary.
    assert batch["numbers"][:, 0].tolist() == [0] * 5
    assert batch["mask"].tolist() == [True, True, False, True, True]


def test_categories_begin_with_missing_and_unknown():
    transform = fitted(categorical=("code",))
    assert list(transform.values) == ["code", "colour", "sold"]
    assert transform.sizes == (4, 4, 4)
    batch = transform([*TRAIN, {"code": 8, "colour": "green", "sold": "maybe"}, {"code": 9.0, "sold": "true"}])
    # code: 7, 9; colour: blue, red; sold: false, true
    assert batch["categories"].tolist() == [
        [2, 3, 3], [3, 2, 2], [0, 0, 0], [2, 0, 3], [0, 3, 0], [1, 1, 1], [3, 0, 3]
    ]  # fmt: skip


def test_rare_categories_are_unknown():
    assert fitted(min_count=2).values == {"colour": {"red": 2}, "sold": {"true": 2}}


def test_a_missing_column_is_a_missing_cell_and_no_cell_no_row():
    transform = fitted()
    batch = transform([{"size": 1}, {"void": 3}, {"colour": None}])
    assert batch["mask"].tolist() == [True, False, False]
    assert batch["present"].tolist() == [[False, False, True], [False] * 3, [False] * 3]  # code, same, size


@pytest.mark.parametrize("train", [[{"a": 1}, {"a": 2}], [{"a": "x"}, {"a": "y"}]])
def test_one_kind_of_column_alone(train):
    batch = fitted(train)([None, train[0]])
    assert sorted((batch["numbers"].shape[1], batch["categories"].shape[1])) == [0, 1]
    assert batch["mask"].tolist() == [False, True]


def test_all_missing():
    batch = fitted()([None, None])
    assert not batch["mask"].any()
    assert not batch["present"].any()
    assert not batch["categories"].any()
    assert {name: leaf.dtype for name, leaf in batch.items()} == {
        "numbers": torch.float32,
        "present": torch.bool,
        "categories": torch.int64,
        "mask": torch.bool,
    }


def test_state_through_json_and_pickle():
    transform = fitted([{"a": 1 / 3, "b": "x"}, {"a": 1e-300, "b": "y"}, {"a": 2e17, "b": None, "c": None}])
    restored = TableTransform()
    restored.restore(json.loads(json.dumps(transform.state())))
    assert restored.state() == transform.state()
    rows = [{"a": 0.7, "b": "z"}, {"a": None, "b": "y", "c": "any"}, None]
    for other in (restored, pickle.loads(pickle.dumps(transform))):
        batch, expected = other(rows), transform(rows)
        assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_of_numbers_and_others_in_one_column_the_fewer_are_wrong():
    rows = [{"a": 1, "b": "x"}, None, {"a": "x", "b": 2}, {"a": 3, "b": "y"}, {"a": 4, "b": 5}, {"a": 4, "b": "z"}]
    with pytest.raises(ValuesError) as caught:
        fitted(rows)
    assert {place: reason[:41] for place, reason in caught.value.reasons.items()} == {
        2: "column 'a' is one of numbers; got 'x'; me",
        4: "column 'b' is one of categories; got 5; m",
    }
    assert fitted([row for place, row in enumerate(rows) if place not in caught.value.reasons]).sizes == (5,)


def test_rows_of_prediction_change_nothing():
    transform = fitted()
    before = json.dumps(transform.state())
    transform([{"size": 100, "colour": "green"}])
    assert json.dumps(transform.state()) == before


def test_numbers_far_away_stay_finite():
    numbers = fitted([{"a": 1e-300}, {"a": 0}])([{"a": 1e300}, {"a": -1e300}])["numbers"]
    assert numbers.tolist() == [[1e6], [-1e6]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"size": "big"}, r"column 'size' is one of numbers; got 'big'"),
        ({"size": True}, r"column 'size' is one of numbers; got True"),
        ({"size": 10**400}, r"column 'size' holds a number too large"),
        ({"sise": 1}, r"the training split had no column 'sise'; did you mean size\? Possible: code, colour,"),
    ],
)
def test_a_row_that_does_not_fit_says_why(row, message):
    with pytest.raises(DataError, match=message):
        fitted()([{"size": 1}, row])


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ([{"a": 1}, {"a": "x"}], {}, r"column 'a' is one of numbers; got 'x'; mend it, or name it in categorical"),
        ([{"a": 1}], {"categorical": ("b",)}, r"categorical names column 'b', which no row has; Possible: a"),
        ([{"a": 1}], {"ignore": ("b",)}, r"ignore names column 'b', which no row has"),
        ([{"a": 1}], {"ignore": ("a",)}, r"the table has no column with a cell to learn from"),
        ([{"a": 1.7e308}, {"a": -1.7e308}], {}, r"column 'a' holds numbers too large to compute with"),
        ([None], {}, r"the table has no column with a cell to learn from"),
    ],
)
def test_a_training_split_that_does_not_serve_says_why(train, options, message):
    with pytest.raises(DataError, match=message):
        fitted(train, **options)


def test_mixed_cells_are_categories_where_they_are_named():
    transform = fitted([{"a": 1}, {"a": "x"}, {"a": 2.5}, {"a": False}], categorical=("a",))
    assert list(transform.values["a"]) == ["1", "2.5", "false", "x"]


def test_options_that_contradict():
    with pytest.raises(ValueError, match="column 'a' is in categorical and in ignore"):
        TableTransform(categorical=("a",), ignore=("a",))


@pytest.mark.parametrize(
    ("fitted_on", "given"),
    [
        ([True, False], [1, 0]),
        ([True, False], [1.0, 0.0]),
        ([True, False], ["True", "false"]),
        (["true", "false"], [True, False]),
        (["TRUE", "FALSE"], [True, False]),
        (["True", "False"], [1, 0]),
        (["caf\u00e9", "tea"], ["cafe\u0301 ", " tea"]),
    ],
)
def test_cells_that_mean_the_same_are_the_same(fitted_on, given):
    transform = TableTransform()
    transform.fit([{"a": cell} for cell in fitted_on])
    expected = transform([{"a": cell} for cell in fitted_on])["categories"]
    assert expected.min() > 1
    assert torch.equal(transform([{"a": cell} for cell in given])["categories"], expected)


def test_one_and_nought_among_other_names_are_names():
    transform = TableTransform(categorical=("a",))
    transform.fit([{"a": 1}, {"a": 0}, {"a": "true"}])
    assert transform([{"a": 1}, {"a": "true"}, {"a": 2}])["categories"].flatten().tolist() == [3, 4, 1]


def test_booleans_are_numbers_in_a_column_of_0_and_1():
    transform = TableTransform()
    transform.fit([{"a": 1}, {"a": 0}, {"a": 1.0}, {"a": None}])
    restored = TableTransform()
    restored.restore(json.loads(json.dumps(transform.state())))
    expected = transform([{"a": 1}, {"a": 0}])["numbers"]
    for each in (transform, restored):
        assert torch.equal(each([{"a": True}, {"a": False}])["numbers"], expected)


def test_booleans_and_numbers_of_one_column_are_yes_and_no():
    transform = TableTransform()
    transform.fit([{"a": 1}, {"a": 0}, {"a": True}, {"a": False}])
    assert transform.sizes == (4,)
    categories = transform([{"a": cell} for cell in (1, True, 0, False, "true")])["categories"].flatten().tolist()
    assert categories == [3, 3, 2, 2, 3]
