"""Findings: what is planted in random tables is found, and nothing else."""

import numpy as np
import pyarrow as pa
import pytest

from mmkit.sources.duplicates import duplicates
from mmkit.sources.findings import find
from mmkit.sources.splitting import split, trainable
from mmkit.sources.targets import read_target

WORDS = [
    "slow", "end", "moved", "home", "bus", "dinner", "prices", "rose", "service",
    "poor", "staff", "kind", "quick", "room", "small", "clean", "view", "lake",
]  # fmt: skip


def column(values):
    array = pa.array(values, from_pandas=True)
    return pa.chunked_array([array[:7], array[7:]])


def table(rows=2000, seed=0):
    """Columns that know something of the truth, but not all."""
    r = np.random.default_rng(seed)
    truth = r.choice(["fraud", "spam", "good"], rows, p=[0.2, 0.3, 0.5])
    code = np.searchsorted(["fraud", "good", "spam"], truth)
    columns = {
        "amount": column((code + r.normal(size=rows)).tolist()),
        "colour": column(np.where(r.random(rows) < 0.5, truth, r.permutation(truth)).tolist()),
        "day": column((np.datetime64("2020-01-01") + r.integers(0, 900, rows)).tolist()),
        "text": column([" ".join(r.choice(WORDS, 12)) for _ in range(rows)]),
    }
    kinds = {"amount": "number", "colour": "category", "day": "date", "text": "text"}
    return r, truth, code, columns, kinds


def texts(found, level=None):
    return [finding.text for finding in found if level in {None, finding.level}]


def all_found(columns, kinds, target, **about):
    copies = duplicates(columns, kinds)
    sides = about.pop("splits", None)
    if sides is None:
        sides = trainable(split(target.strata, units=copies), target, copies)
    return find(columns, kinds, target, splits=sides, copies=copies, **about)


def test_nothing_is_found_where_nothing_is_planted():
    for seed in range(5):
        _, truth, _, columns, kinds = table(seed=seed)
        assert all_found(columns, kinds, read_target({"y": column(truth.tolist())})) == []


SPELLINGS = [("TRUE", "true"), ("Ja ", "ja"), ("New  York", "new york"), ("\uff21pril", "april")]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
@pytest.mark.parametrize("labels", [False, True])
def test_a_class_in_two_spellings_is_found(one, other, labels):
    _, truth, _, columns, kinds = table()
    for seed, planted in enumerate([[one], [one, other]]):
        r = np.random.default_rng(seed)
        names = [r.choice([*planted, "neither"]) for _ in truth]
        target = read_target({"y": column([[name] for name in names] if labels else names)})
        found = [text for text in texts(all_found(columns, kinds, target), "warning") if "capitals" in text]
        assert len(found) == len(planted) - 1
        for text in found:
            assert text.startswith(f"2 {'labels' if labels else 'classes'} of the target differ from another")
            assert all(repr(name.strip()) in text or repr(name) in text for name in planted)


def test_letters_are_no_spellings():
    _, truth, _, columns, kinds = table()
    letters = np.random.default_rng(0).choice(["a", "A", "b", "B"], len(truth)).tolist()
    assert all_found(columns, kinds, read_target({"y": column(letters)})) == []


def each(code, drawn, form):
    return [form.format(int(c), int(v)) for c, v in zip(code, drawn, strict=True)]


LEAKS = [
    ("a code", "category", lambda r, code: [f"s{c}" for c in code]),
    ("a number", "number", lambda r, code: (code * 10 + r.normal(size=len(code))).tolist()),
    ("a number in strings", "number", lambda r, code: each(code, r.integers(0, 99, len(code)), "1{0}.{1:02} %")),
    ("days", "date", lambda r, code: each(code, r.integers(1, 10, len(code)), "201{0}-0{1}-01")),
    ("what is missing", "number", lambda r, code: [None if c == 0 else float(c) for c in code]),
    ("many values", "category", lambda r, code: each(code, r.integers(0, 15, len(code)), "{0}-{1}")),
]


@pytest.mark.parametrize(("shows", "kind", "values"), LEAKS, ids=[case[0] for case in LEAKS])
def test_a_column_that_tells_the_classes_alone_is_a_warning(shows, kind, values):
    r, truth, code, columns, kinds = table()
    columns["status"] = column(values(r, code))
    target = read_target({"y": column(truth.tolist())})
    found = find(columns, {**kinds, "status": kind}, target)
    assert [finding.columns for finding in found] == [("status",)]
    assert found[0].level == "warning"
    assert "status alone predicts the target (balanced accuracy" in found[0].text
    assert "--column status=ignore" in found[0].text
    # Ignored, it is no input, and tells nothing.
    assert find(columns, {**kinds, "status": "ignore"}, target) == []


def test_an_identifier_tells_nothing_held_out():
    _, truth, _, columns, kinds = table()
    columns["key"] = column([f"k{i}" for i in range(len(truth))])
    assert find(columns, {**kinds, "key": "category"}, read_target({"y": column(truth.tolist())})) == []


def test_a_column_that_tells_a_number_alone_is_a_warning():
    r, truth, _, columns, kinds = table()
    price = r.gamma(2, 100, len(truth))
    columns["net"] = column((price / 1.19 + r.normal(size=len(price))).tolist())
    columns["weight"] = column((price + r.normal(0, 100, len(price))).tolist())
    target = read_target({"price": column(price.tolist())})
    found = find(columns, {**kinds, "net": "number", "weight": "number"}, target)
    assert [finding.columns for finding in found] == [("net",)]
    assert "net alone predicts price" in found[0].text


def test_a_column_that_tells_a_label_alone_is_a_warning():
    r, truth, _, columns, kinds = table()
    labels = [[w for w in ("a", "b") if r.random() < 0.4] for _ in truth]
    columns["mark"] = column(["x" if "b" in row else "o" for row in labels])
    found = find(columns, {**kinds, "mark": "category"}, read_target({"y": column(labels)}))
    assert len(found) == 1
    assert "mark alone predicts the label b" in found[0].text


def test_a_list_that_tells_the_target_alone_is_a_warning():
    r, truth, code, columns, kinds = table()
    columns["words"] = column([[str(name)] for name in truth])
    columns["marks"] = column([[w for w in "abcdefghijk" if r.random() < 0.5] + ["z"] * int(c == 0) for c in code])
    columns["point"] = column([[float(r.normal()), float(c == 0) + r.random() / 3, 1.0] for c in code])
    columns["free"] = column([[w for w in "pqrstu" if r.random() < 0.5] for _ in code])
    kinds |= {"words": "tags", "marks": "tags", "point": "numbers", "free": "tags"}
    found = find(columns, kinds, read_target({"y": column(truth.tolist())}))
    assert [one.columns for one in found] == [("words",)]
    assert "words alone predicts the target" in found[0].text
    found = find(columns, kinds, read_target({"y": column((code == 0).tolist())}))
    told = ["words alone", "marks=z alone", "point.1 alone"]
    assert [text.partition(" predicts")[0] for text in texts(found, "warning")] == told
    assert "--column marks=ignore" in texts(found, "warning")[1]


@pytest.mark.parametrize("names", [("fraud", "spam", "good"), ("骗局", "垃圾", "正常")])
def test_names_of_classes_in_texts_are_a_warning(names):
    r, truth, code, columns, kinds = table()
    told = [f"{WORDS[i % 9]} {names[c].title()}." for i, c in enumerate(code)]
    columns["note"] = column([text if r.random() < 0.5 else "nothing to see" for text in told])
    # Words that are names of all classes alike are no leak.
    columns["chat"] = column([f"is it {n} or not" for n in r.choice(names, len(truth))])
    target = read_target({"y": column([names[c] for c in code])})
    found = find(columns, {**kinds, "note": "text", "chat": "text"}, target)
    assert [finding.columns for finding in found] == [("note",)]
    assert "of the texts in note hold the name of their class" in found[0].text


def test_copies_with_different_truth_bound_the_accuracy():
    _, truth, _, columns, kinds = table(100)
    twice = {name: column(values.to_pylist() + values.to_pylist()[:10]) for name, values in columns.items()}
    answers = truth.tolist() + truth.tolist()[:10]
    for row in range(3):
        answers[100 + row] = next(name for name in ("fraud", "spam", "good") if name != answers[row])
    found = all_found(twice, kinds, read_target({"y": column(answers)}))
    # 3 of 110 rows must be wrong: 107 / 110 = 97.27 %, which is below 97.3 %.
    told = "6 rows in 3 sets of copies have different truth; an accuracy above 97.3 % is not possible by these inputs"
    assert texts(found, "warning") == [told]
    assert texts(found, "note") == ["10 rows repeat an earlier one, and stay in its split"]


def test_copies_and_groups_that_given_splits_share_are_counted():
    _r, truth, _, columns, kinds = table(300)
    twice = {name: column(values.to_pylist() + values.to_pylist()[:8]) for name, values in columns.items()}
    target = read_target({"y": column(truth.tolist() + truth.tolist()[:8])})
    sides = np.array([0] * 200 + [1] * 40 + [2] * 60 + [2] * 8, np.int8)
    users = np.array([*range(300), *range(5), *range(400, 403)])
    found = all_found(twice, kinds, target, splits=sides, given=True, groups={"user": users})
    assert texts(found) == [
        "the given splits share copies: 8 rows of validation and test repeat one of another split",
        "splits share values of user: 5 rows of validation and test have one that another split has",
    ]
    assert found[1].columns == ("user",)


def test_rows_without_input_are_counted():
    _, truth, _, columns, kinds = table(300)
    gone = {name: column([*values.to_pylist()[:-4], *[None] * 4]) for name, values in columns.items()}
    answers = [None, None, *truth.tolist()[2:]]  # those without truth are told with the target
    found = all_found(gone, kinds, read_target({"y": column(answers)}))
    assert texts(found) == ["4 rows have no value in any input"]


def test_classes_that_are_too_rare_or_not_tested_are_named():
    _, truth, _, columns, kinds = table(300)
    answers = ["once", "twice", "twice", *truth.tolist()[3:]]
    target = read_target({"y": column(answers)})
    found = all_found(columns, kinds, target)
    assert texts(found) == ["2 classes with fewer than 3 rows: once, twice; they are only trained on, and never tested"]
    later = np.where(target.values == target.names.index("spam"), 1, 2)
    sides = np.where(np.arange(300) < 200, 0, later).astype(np.int8)
    assert "test has no row of 1 class: spam" in texts(all_found(columns, kinds, target, splits=sides))
    sides[:3] = 2
    fixed = trainable(sides, target, fixed=True)
    told = "3 rows with truth are in no split: no split was given, or train has none of their truth"
    assert told in texts(all_found(columns, kinds, target, splits=fixed), "warning")


def test_classes_that_mostly_only_train_are_a_warning_with_the_rows_of_each_split():
    values = [str(n) for n in range(30)] * 2 + ["100"] * 12
    target = read_target({"y": column(values)}, "classes")
    sides = trainable(split(target.strata), target)
    (found,) = find({}, {}, target, splits=sides)
    assert found.level == "warning"
    held = ", ".join(f"{name} {(sides == side).sum()}" for side, name in enumerate(("train", "validation", "test")))
    assert f"never tested: 60 of 72 rows, so rows are {held}; join rare classes" in found.text
    assert found.text.endswith("write --target-kind scalar")


def test_one_is_told_in_the_singular():
    values = ["a", "b"] * 20 + ["c"]
    target = read_target({"y": column(values)})
    sides = trainable(split(target.strata), target)
    (found,) = find({}, {}, target, splits=sides)
    assert found.text == "1 class with fewer than 3 rows: c; it is only trained on, and never tested"
    sides[:2] = -1
    sides[2:][sides[2:] == 2] = 0
    assert "test has no row of 2 classes: a, b" in texts(find({}, {}, target, splits=sides))
    target = read_target({"y": column(["a"] * 20 + ["b"] * 20)})
    sides = np.array([0] * 10 + [2] * 9 + [-1] + [0] * 20, np.int8)
    found = texts(find({}, {}, target, splits=sides))
    assert found[0].startswith("1 row with truth is in no split")
    assert found[1] == "test has no row of 1 class: b"


def test_several_labels_in_a_cell_are_hinted_at():
    r = np.random.default_rng(0)
    city, style = r.choice(["Bern", "Basel", "Genf"], 200), r.choice(["old", "new", "mixed"], 200)
    for sign in (";", ", "):
        target = read_target({"y": column([f"{a}{sign}{b}" for a, b in zip(city, style, strict=True)])})
        (found,) = find({}, {}, target)
        assert found.level == "note"
        assert found.text == (
            f"9 classes of the target hold {sign[0]!r}, as 'Basel{sign}mixed', and 6 different parts make all of them: "
            f"if they are several labels in a cell, write | in place of {sign[0]} (or lists as JSON), and each is "
            "predicted by itself"
        )
    bars = read_target({"y": column([f"{a}|{b}" for a, b in zip(city, style, strict=True)])})
    assert (bars.kind, len(bars.names)) == ("labels", 6)


@pytest.mark.parametrize("values", [["Bern, CH", "Basel, CH", "Lyon, FR"], ["a;b", "c", "d"], ["a", "b", "c"]])
def test_classes_whose_parts_do_not_make_others_are_no_labels(values):
    assert find({}, {}, read_target({"y": column(values * 20)})) == []
