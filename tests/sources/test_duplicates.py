"""Copies: found by values, texts and files, against loops over all pairs."""

import datetime as dt

import numpy as np
import pyarrow as pa

from mmkit.sources.duplicates import duplicates, equal_files, equal_texts, joined
from mmkit.sources.hashes import different, firsts, hashes


def column(values, type_=None):
    array = pa.array(values, type_)
    return pa.chunked_array([array[: len(array) // 3], array[len(array) // 3 :]])


def first_equal(rows):
    """By comparing each row with all earlier ones."""
    return [next(j for j in range(i + 1) if rows[j] == rows[i]) for i in range(len(rows))]


def test_equal_values_have_equal_hashes_whatever_their_type_and_chunk():
    r = np.random.default_rng(0)
    kinds = {
        "whole": r.integers(-3, 3, 200).tolist(),
        "fractions": (r.integers(-3, 3, 200) / 4).tolist(),
        "words": [f"w{v}" for v in r.integers(0, 9, 200)],
        "bytes": [bytes([v]) for v in r.integers(0, 9, 200)],
        "bools": [bool(v) for v in r.integers(0, 2, 200)],
        "lists": [r.integers(0, 2, r.integers(0, 3)).tolist() for _ in range(200)],
        "lists of words": [[f"w{v}" for v in r.integers(0, 2, r.integers(0, 3))] for _ in range(200)],
        "lists of lists": [[[int(v)] for v in r.integers(0, 2, r.integers(0, 3))] for _ in range(200)],
        "mappings": [{"a": int(v), "b": "x"} for v in r.integers(0, 4, 200)],
        "dates": [dt.date(2020, 1, 1 + int(v)) for v in r.integers(0, 9, 200)],
    }
    for kind, values in kinds.items():
        values[::17] = [None] * len(values[::17])
        found = column(values)
        assert firsts(hashes(found)).tolist() == first_equal(values), kind
        assert different(found) == len({repr(v) for v in values if v is not None}), kind
    coded = column([f"w{v}" for v in r.integers(0, 9, 200)])
    assert (hashes(coded) == hashes(coded.dictionary_encode())).all()
    assert (hashes(column([0.0, -0.0, 1.0])) == hashes(column([0.0, 0.0, 1.0]))).all()


def test_texts_are_equal_but_for_case_and_what_stands_between_words():
    texts = [
        "The film was slow, but good!",
        "the film  was slow but GOOD",
        "The film was fast, but good!",
        "so good",
        "so good",
        None,
        None,
        "这个图片让我感到悲伤和难过",
        "这个图片让我感到悲伤和难过。",
        "我喜欢",
        "我喜欢",
        "\uff34\uff28\uff25 film was slow but good",
    ]
    assert equal_texts(column(texts)).tolist() == [0, 0, 2, 3, 4, 5, 6, 7, 7, 9, 10, 0]


def test_files_are_equal_by_their_bytes(tmp_path):
    contents = {"a": b"xx", "b": b"xx", "c": b"xy", "d": b"xxx", "empty": b"", "void": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in ("a", "b", "c", "d", "a", "empty", "void")]
    assert equal_files([*paths, None, None]).tolist() == [0, 0, 2, 3, 0, 5, 6, 7, 8]


def test_relations_are_joined_through_each_other():
    for seed in range(40):
        r = np.random.default_rng(seed)
        rows = int(r.integers(2, 60))
        relations = [firsts(r.integers(0, rows, rows).astype(np.uint64)) for _ in range(3)]
        # Slowly: sets that share a row become one, until none does.
        sets = [{i} for i in range(rows)]
        for relation in relations:
            for i, j in enumerate(relation):
                one, other = (next(s for s in sets if row in s) for row in (i, j))
                if one is not other:
                    sets.remove(other)
                    one |= other
        expected = [min(next(s for s in sets if i in s)) for i in range(rows)]
        assert joined(*relations).tolist() == expected


def test_a_long_chain_is_joined():
    rows = 1001
    pairs = np.arange(rows) // 2 * 2
    shifted = np.maximum((np.arange(rows) + 1) // 2 * 2 - 1, 0)
    assert (joined(pairs, shifted) == 0).all()


def test_few_columns_of_categories_make_no_copies():
    r = np.random.default_rng(0)
    few = {"a": column(r.integers(0, 2, 100).tolist()), "b": column(r.integers(0, 3, 100).tolist())}
    assert (duplicates(few, dict.fromkeys(few, "category")) == np.arange(100)).all()
    many = {**few, "c": column([*r.random(95).tolist(), *[0.5] * 5])}
    many["a"] = many["b"] = column([1] * 100)
    found = duplicates(many, dict.fromkeys(many, "number"))
    assert found.tolist() == [*range(95), *[95] * 5]


def test_a_picture_that_stands_for_missing_ones_joins_nothing(tmp_path):
    (tmp_path / "none.jpg").write_bytes(b"none")
    for i in range(200):
        (tmp_path / f"{i // 2}.jpg").write_bytes(b"%d" % (i // 2))
    names = [*[f"{i // 2}.jpg" for i in range(200)], *["none.jpg"] * 50]
    columns = {"image": column(names), "x": column(np.arange(250.0).tolist())}
    found = duplicates(columns, {"image": "image", "x": "number"}, files=tmp_path)
    assert found.tolist() == [*[i // 2 * 2 for i in range(200)], *range(200, 250)]


def test_rows_without_any_value_are_copies_of_none():
    columns = {"a": column([None, "", None, "x", "x", "y", "z"]), "b": column([None, None, None, 1.0, 1.0, 2.0, 3.0])}
    assert duplicates(columns, {"a": "category", "b": "number"}).tolist() == [0, 1, 2, 3, 3, 5, 6]


def test_ignored_columns_take_no_part():
    columns = {"id": column(list(range(9))), "x": column([1.5, 1.5, *np.arange(7.0)])}
    assert duplicates(columns, {"id": "ignore", "x": "number"}).tolist() == [0, 0, *range(2, 9)]
