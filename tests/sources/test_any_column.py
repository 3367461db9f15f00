"""Columns of every type of Arrow and of strings that nobody meant: each is answered, or refused in plain words."""

import datetime as dt
import decimal
import itertools
import uuid

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import MmkitError
from mmkit.registry.catalog import installed
from mmkit.sources.dates import dates
from mmkit.sources.duplicates import duplicates, missing
from mmkit.sources.findings import find
from mmkit.sources.guess import TABLE
from mmkit.sources.guessing import guess, guesses
from mmkit.sources.hashes import different
from mmkit.sources.memory import hold
from mmkit.sources.numbers import numbers
from mmkit.sources.splitting import given_splits, groups_of, split, trainable
from mmkit.sources.targets import KINDS, read_target
from mmkit.tasks.own_data import OwnData

MODALITIES = [entry.spec for entry in installed().available("modality")]
POSSIBLE = {*TABLE, "ignore", *(spec.name for spec in MODALITIES)}

TYPED = {
    "no rows": pa.array([], pa.string()),
    "no rows of numbers": pa.array([], pa.float64()),
    "one row": pa.array(["a"]),
    "one null": pa.array([None], pa.int64()),
    "nulls": pa.nulls(30),
    "bools": pa.array([True, None, False] * 10),
    "int8": pa.array([1, None, -3] * 10, pa.int8()),
    "uint64": pa.array([2**64 - 1, 2**63, 5] * 10, pa.uint64()),
    "float16": pa.array(np.arange(30).astype(np.float16)),
    "infinite": pa.array([float("inf"), -float("inf"), float("nan"), None, 1.0, 2.0] * 5),
    "all infinite": pa.array([float("inf"), -float("inf")] * 15),
    "huge": pa.array([1e300, -1e300, 1e-300] * 10),
    "decimals": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.25")] * 10),
    "wide decimals": pa.array([decimal.Decimal(10) ** 50, decimal.Decimal(7)] * 15, pa.decimal256(60, 2)),
    "days": pa.array([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)] * 10),
    "date64": pa.array([dt.date(2020, 1, 1), dt.date(2021, 1, 1)] * 15, pa.date64()),
    "nanoseconds": pa.array([0, 10**18, None] * 10, pa.timestamp("ns", "Europe/Berlin")),
    "seconds, far away": pa.array([-(2**50), 2**50] * 15, pa.timestamp("s")),
    "times": pa.array([dt.time(1, 2), None, dt.time(3)] * 10),
    "durations": pa.array([dt.timedelta(1), dt.timedelta(2)] * 15),
    "intervals": pa.array([pa.MonthDayNano([1, 2, 3]), pa.MonthDayNano([2, 2, 3])] * 15),
    "large strings": pa.array(["some text here", "other words", None] * 10, pa.large_string()),
    "string views": pa.array(["a", "b", None] * 10, pa.string_view()),
    "bytes": pa.array([b"\xff", b"", None] * 10),
    "large bytes": pa.array([b"\xff\xd8\xff", b"x"] * 15, pa.large_binary()),
    "byte views": pa.array([b"\xff\xd8\xff", b"x"] * 15, pa.binary_view()),
    "bytes of one length": pa.array([b"ab", b"cd"] * 15, pa.binary(2)),
    "coded strings": pa.array(["a", "b", None] * 10).dictionary_encode(),
    "coded numbers": pa.array([5, 7, None] * 10).dictionary_encode(),
    "a code for null": pa.DictionaryArray.from_arrays(pa.array([0, 1, 2] * 10), pa.array(["a", None, "b"])),
    "a code for blank": pa.DictionaryArray.from_arrays(pa.array([0, 1, 2] * 10), pa.array(["a", "", "b"])),
    "lists": pa.array([[1, 2], [], None] * 10),
    "large lists": pa.array([[1.5], [2.5, 3.5]] * 15, pa.large_list(pa.float64())),
    "lists of nulls": pa.array([[None], [None, None]] * 15),
    "lists of lists": pa.array([[[1], []], [], None] * 10),
    "lists of bytes": pa.array([[b"a"], [b"b", b"c"]] * 15),
    "lists of mappings": pa.array([[{"a": 1}], []] * 15),
    "lists of codes": pa.array([["a"], ["b", "a"]] * 15, pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "list views": pa.array([[1, 2], [3]] * 15, pa.list_view(pa.int64())),
    "mappings": pa.array([{"a": 1, "b": None}, None] * 15),
    "bytes with a path": pa.array([{"bytes": b"\xff\xd8\xff", "path": None}, {"bytes": None, "path": "x"}, None] * 10),
    "maps": pa.array([[("a", 1)], []] * 15, pa.map_(pa.string(), pa.int64())),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([10, 30]), pa.array([1, 2])),
}
JUNK = [
    "", " ", "\t", "\x00", "a\x00b", "?", "-", "NA", "nan", "0", "-0", "00", "1", "1.", ".", "1e999", "1,2,3",
    "1.2.3", "$", "%", "5 %", "$5", "12 KB", "1/2", "1/1/1", "31/02/2020", "2020-02-30", "9999-99-99", "0000-00-00",
    "20200230", "[", "[]", "[1]", "[[1], 2]", '["a", 1]', "[NaN]", "{}", "null", "true", "a|b", "||", "x.jpg",
    "../x.jpg", "/", "~", ".jpg", "http://", "http://[::1", "s3://a/b.png", "data:,", "data:image/png;base64,",
    "data:image/png;base64,%%%", "A" * 64, "A" * 65, "=" * 80, "x" * 5000, 'x' * 300 + '.jpg', "\u200b", "\u202e",
    "我喜欢", "é", "é", "🙂", "a b c d e f g", "1" * 400, '-' + '9' * 30, "1e400", "+-5", "--5", "\uff11\uff12",
    "२०२०", "\\", "\n", "a\nb", "'", '"', "NaN", "inf", "-inf", "1_000",
]  # fmt: skip


def chunked(array):
    return pa.chunked_array([array[: len(array) // 2], array[len(array) // 2 :]], type=array.type)


def answered(name, column, folder):
    """Ask everything of a column; only errors of mmkit's own may come, and they say something."""
    errors = []
    found = guess(name, column, modalities=MODALITIES, files=folder)
    assert found.kind in POSSIBLE, found
    assert 0 <= found.missing <= len(column), found
    assert found.reason
    for given in sorted(POSSIBLE - {"table"}):
        try:
            assert 0 <= guesses({name: column}, {name: given})[name].missing <= len(column)
        except MmkitError as error:
            errors.append(str(error))
    assert len(missing(column)) == len(column)
    assert 0 <= different(column) <= len(column)
    assert len(groups_of(column)) == len(column)
    kinds = {name: found.kind}
    copies = duplicates({name: column}, kinds, files=folder) if len(column) else None
    if found.kind == "number":
        assert np.isnan(numbers(column)).sum() == found.missing
    if found.kind.partition(":")[0] == "date":
        assert np.isnat(dates(column, found.kind)).sum() == found.missing
    for kind in (None, *KINDS):
        try:
            target = read_target({name: column}, kind)
            sides = trainable(split(target.strata, units=copies), target, copies)
        except MmkitError as error:
            errors.append(str(error))
            continue
        truth = [target.truth(row) for row in range(len(column))]
        assert [value is not None for value in truth] == target.known.tolist()
        find({name: column}, kinds, target, splits=sides, copies=copies)
    try:
        split(np.zeros(len(column), np.int32), names=column)
    except MmkitError as error:
        errors.append(str(error))
    try:
        given_splits(column)
    except MmkitError as error:
        errors.append(str(error))
    assert all(errors)


@pytest.mark.parametrize("case", TYPED)
def test_columns_of_any_type(case, tmp_path):
    answered("column", chunked(TYPED[case]), tmp_path)


@pytest.mark.parametrize("case", [case for case in TYPED if len(TYPED[case]) >= 30 and "far away" not in case])
def test_columns_of_any_type_as_text_and_as_names_of_rows_or_groups(case):
    column, rows = TYPED[case], np.arange(30)
    table = pa.table({"c": column, "z": pa.array(rows / 7), "y": pa.array(["a", "b"] * 15)})
    said = []
    for asked in ({"columns": {"c": "text"}}, {"columns": {"c": "category"}}, {"group": ("c",)}, {"id": "c"}):
        try:
            found = OwnData(data=hold(table), target="y", **asked).split("train")
        except MmkitError as error:
            said.append(str(error))
            continue
        for values in found.inputs.values():
            list(values)
    assert all(said)


def test_uuids_name_rows_and_groups():
    ids = [uuid.UUID(int=(2**127 + 977 * i**7) % 2**128) for i in range(60)]
    table = pa.table(
        {"c": pa.array([one.bytes for one in ids], pa.binary(16)), "y": ["a", "b"] * 30, "z": np.arange(60) / 7}
    )
    assert OwnData(data=hold(table), target="y", id="c").order == [one.hex for one in ids]
    grouped = OwnData(data=hold(table), target="y", group=("c",)).split("train").groups
    assert isinstance(grouped, dict)
    assert set(grouped["c"]) < {one.hex for one in ids}


def test_columns_of_any_strings(tmp_path):
    for seed in range(40):
        r = np.random.default_rng(seed)
        few = [JUNK[i] for i in r.integers(0, len(JUNK), r.integers(1, 6))]
        values = [few[i] for i in r.integers(0, len(few), r.integers(1, 60))]
        column = chunked(pa.array([None if r.random() < 0.1 else value for value in values], pa.string()))
        answered(str(r.choice(["id", "created_at", "zip", "x", "", "label|"])), column, tmp_path)


@pytest.mark.full
def test_columns_of_any_two_strings(tmp_path):
    for pair in list(itertools.combinations(JUNK, 2))[::5]:
        answered("x", chunked(pa.array([*pair] * 15)), tmp_path)
