"""Targets: kinds, values and what hangs on them; values against plain Python."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import DataError, UsageError
from mmkit.sources.targets import epoch_metric, read_target, recommended_epochs
from mmkit.sources.truths import truth_layout, truths
from mmkit.titles import title_of
from mmkit.transforms.truth import Categories, Numbers


def column(values, kind=None):
    array = pa.array(values, kind, from_pandas=True)
    return pa.chunked_array([array[:2], array[2:5], array[5:]])


def read(values, kind=None, **columns):
    return read_target({"y": column(values), **columns}, kind)


KINDS = [
    ("strings", ["a", "b", None, "a", "b"] * 4, "classes", "accuracy"),
    ("bools", [True, False, None, True] * 4, "classes", "balanced_accuracy"),
    ("mostly one class", ["ok"] * 7 + ["bad"] * 3, "classes", "balanced_accuracy"),
    ("stars", [1, 2, 3, 4, 5] * 4, "classes", "accuracy"),
    ("stars with gaps", [1.0, 2.0, None, 3.0] * 4, "classes", "accuracy"),
    ("stars in strings", ["1", "2", "?", "3", "3"] * 4, "classes", "accuracy"),
    ("fractions", [0.5, 1.5, 2.0] * 4, "scalar", "mae"),
    ("fractions in strings", ["0,5", "1,5", "2,25"] * 4, "scalar", "mae"),
    ("amounts", list(range(300)), "scalar", "mae"),
    ("lists", [["a"], [], ["b", "a"], None] * 4, "labels", "f1_macro"),
    ("lists with strokes", ["a|b", "b", "a", ""] * 4, "labels", "f1_macro"),
    ("lists as JSON", ['["a"]', "[]", '["b", "a"]', None] * 4, "labels", "f1_macro"),
    ("lists of fractions", [[0.5, 1.0], [1.5, 2.0], None] * 4, "scalar", "mae"),
]


@pytest.mark.parametrize(("name", "values", "kind", "metric"), KINDS, ids=[case[0] for case in KINDS])
def test_the_kind_is_told_with_its_metric_and_the_truth_is_what_the_core_takes(name, values, kind, metric):
    target = read(values)
    assert (target.kind, target.metric) == (kind, metric)
    assert title_of(target.metric) in target.reason
    truth = [target.truth(row) for row in range(len(target))]
    transform = Numbers(kind) if kind == "scalar" else Categories(kind)
    transform.fit(truth)
    if kind != "scalar":
        assert transform.target().names == target.names
        assert transform.target().counts == target.counts
    assert [value is not None for value in truth] == target.known.tolist()
    assert target.missing == truth.count(None)


def test_dictionaries_are_classes_in_order_and_only_those_that_occur():
    plain = ["b", None, "a", "b"]
    coded = pa.chunked_array(
        [pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1]), pa.array(["a", "b", "unused"]))]
    )
    target = read_target({"y": coded})
    assert target.names == ("a", "b")
    assert [target.truth(row) for row in range(4)] == plain


def test_names_are_in_the_order_of_numbers_and_one_class_however_it_is_written():
    assert read([10, 9, 2, 9, 10, 2]).names == ("2", "9", "10")
    assert read(["b ", "a", "b", " a"] * 2).names == ("a", "b")
    assert read(["cafe\u0301", "caf\u00e9", "tea", "tea"] * 2).names == ("caf\u00e9", "tea")


@pytest.mark.parametrize(
    ("values", "kind", "error", "told"),
    [
        (
            list(range(11)) * 3,
            None,
            UsageError,
            "11 different whole numbers may be classes or amounts: write --target-kind",
        ),
        (list(range(200)), None, UsageError, "200 different whole numbers"),
        ([f"word{chr(97 + i)}" for i in range(20)], None, UsageError, "20 of 20 strings are different"),
        (["a"] * 9, None, DataError, "all rows have the one class a"),
        ([None, None, None], None, DataError, "no row has a value"),
        (["", " ", ""], "classes", DataError, "no row has a value"),
        (["a", "b"] * 5, "scalar", UsageError, "no numbers in one form"),
        ([1, 2] * 5, "text", UsageError, "a text is a string; got values of the type int64"),
        ([0.5, 1.5] * 5, "classes", UsageError, "for numbers to be predicted the target is scalar"),
        ([1, 2] * 5, "labels", UsageError, "labels are lists, or strings like"),
        ([1, 2] * 5, "klasses", UsageError, "there is no target of the kind 'klasses'; did you mean classes"),
        ([dt.date(2020, 1, 1)] * 5, None, UsageError, "the type date32"),
        ([[1.0], [1.0, 2.0]], "scalar", UsageError, "lists of 1 to 2 numbers"),
    ],
)
def test_what_is_no_target_or_two_is_refused_with_what_to_write(values, kind, error, told):
    with pytest.raises(error, match=told):
        read(values, kind)


def test_what_was_asked_for_is_taken():
    assert read(list(range(50)) * 2, "classes").names[:3] == ("0", "1", "2")
    scalar = read([1, 2, 3] * 4, "scalar")
    assert (scalar.kind, scalar.truth(1)) == ("scalar", 2.0)
    text = read(["one answer", None, " ", "another"], "text")
    assert [text.truth(row) for row in range(4)] == ["one answer", None, None, "another"]
    assert (text.metric, epoch_metric(text, 10), text.missing) == ("rouge_l", "head_loss", 2)


def test_a_cell_that_is_no_list_leaves_the_others_lists_and_a_gap_in_one_is_no_label():
    texts = ['["a", "b"]', '["c", null]', "[]", None] * 25
    target = read(["none", *texts])
    assert (target.kind, target.names, target.missing) == ("labels", ("a", "b", "c"), 26)
    assert [target.truth(row) for row in range(4)] == [None, ["a", "b"], ["c"], []]
    layout = truth_layout(["y"], target, {"y": column(["none", *texts])})
    found, wrong = truths(layout, target.names, {"y": column(texts[:3])})
    assert (found, wrong) == ([["a", "b"], ["c"], []], {})


def test_lists_of_one_length_are_labels_though_some_are_missing():
    target = read_target({"y": column([["a", "c"], ["b", "a"], None] * 10, pa.list_(pa.string(), 2))})
    assert (target.counts, target.missing) == ((20, 10, 10), 10)
    assert [target.truth(row) for row in range(4)] == [["a", "c"], ["a", "b"], None, ["a", "c"]]


def test_several_columns_are_one_target_of_numbers():
    target = read([1.5, 2, None, 4], other=column([1, None, 3, 4]))
    assert target.names == ("y", "other")
    assert [target.truth(row) for row in range(4)] == [[1.5, 1.0], None, None, [4.0, 4.0]]
    with pytest.raises(UsageError, match="several columns are one target of numbers"):
        read([1, 2], "classes", other=column([1, 2]))


def test_numbers_of_a_rare_unit_are_no_truth_but_classes_of_their_own():
    texts = [f"{i} kg" for i in range(300)] + ["500 g", "n/a"]
    assert read(texts).missing == 2
    doses = ["10 kg", "20 kg"] * 100 + ["500 g", "n/a"]
    assert read(doses, "classes").names == ("10 kg", "20 kg", "500 g")


def test_a_rare_word_among_classes_of_numbers_is_a_class_and_a_sign_for_missing_is_none():
    target = read(["1", "2", "3"] * 40 + ["K", "K", "K", "?"])
    assert (target.names, target.counts, target.missing) == (("1", "2", "3", "K"), (40, 40, 40, 3), 1)
    layout = truth_layout(["y"], target, {"y": column(["1"])})
    assert truths(layout, target.names, {"y": column(["K", "?"])}) == (["K", None], {})


def test_infinite_truth_is_missing():
    target = read([1.5, float("inf"), 3.5, -float("inf")])
    assert target.missing == 2
    assert target.truth(1) is None


def test_strata_are_classes_rarest_labels_and_tenths():
    assert read(["b", "a", None, "b", "a"]).strata.tolist() == [1, 0, -1, 1, 0]
    labels = read([["common"], ["common", "rare"], [], None, ["common", "some"], ["some"]])
    names = [*labels.names, "none"]
    assert [names[s] if s >= 0 else None for s in labels.strata] == ["common", "rare", "none", None, "some", "some"]
    r = np.random.default_rng(0)
    values = r.normal(size=1000)
    strata = read(values.tolist()).strata
    assert np.bincount(strata).tolist() == [100] * 10
    assert all(values[strata == i].max() < values[strata == i + 1].min() for i in range(9))
    assert set(read(["some text", "other"], "text").strata) == {0}


def test_classes_too_rare_to_be_in_all_splits_are_named():
    target = read(["a"] * 9 + ["b"] * 8 + ["c"] * 2 + ["d"])
    assert target.rare == ("c", "d")


def test_epochs_and_their_metric_hang_on_rows():
    target = read(["a", "b"] * 5)
    assert [epoch_metric(target, rows) for rows in (999, 1000)] == ["log_loss", "accuracy"]
    assert epoch_metric(read([0.5, 1.5] * 4), 10) == "mae"
    assert [recommended_epochs(rows) for rows in (1, 75_000, 100_000, 1_500_000, 10**7)] == [40, 40, 30, 2, 2]
