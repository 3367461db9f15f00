"""Splits: nothing spans two of them, shares hold, and the same rows always split the same way."""

import numpy as np
import pyarrow as pa
import pytest

from mmkit.errors import UsageError
from mmkit.sources.folding import folds
from mmkit.sources.splitting import check_sides, given_splits, groups_of, names_of, shares_of, split, trainable
from mmkit.sources.targets import read_target

SHARES = np.array([0.6, 0.15, 0.25])


def column(values):
    array = pa.array(values)
    return pa.chunked_array([array[:3], array[3:]])


def tables(count):
    """Random tables: strata of uneven shares, some truth missing, and units of uneven sizes."""
    for seed in range(count):
        r = np.random.default_rng(seed)
        rows = int(r.integers(30, 2000))
        classes = int(r.integers(1, 12))
        strata = r.choice(classes, rows, p=r.dirichlet(np.full(classes, 0.7))).astype(np.int32)
        strata[r.random(rows) < r.choice([0, 0.2])] = -1
        if (strata < 0).all():
            strata[0] = 0
        yield r, strata, r.integers(0, max(4, rows // int(r.integers(1, 9))), rows)


def test_each_class_has_its_share_in_each_split_within_one_row():
    for _, strata, _ in tables(60):
        sides = split(strata)
        for stratum in range(strata.max() + 1):
            rows = sides[strata == stratum]
            if len(rows) >= 3:
                counts = np.bincount(rows, minlength=3)
                assert (np.abs(counts[1:] - SHARES[1:] * len(rows)) <= 1 + 1e-9).all(), (counts, len(rows))
        assert (sides[strata < 0] == -1).all()
        assert (sides[strata >= 0] >= 0).all()


def test_no_unit_spans_two_splits_and_shares_hold_within_the_largest_unit():
    for _, strata, units in tables(60):
        sides = split(strata, units=units)
        known = strata >= 0
        for unit in np.unique(units[known]):
            assert len(set(sides[known & (units == unit)])) == 1
        largest = np.bincount(units[known]).max()
        counts = np.bincount(sides[known], minlength=3)
        left_to_train = sum(
            (rows := np.unique(units[known & (strata == s)])).size < 3 and rows.size for s in range(strata.max() + 1)
        )
        slack = largest * (1 + left_to_train)
        assert (np.abs(counts[1:] - SHARES[1:] * known.sum()) <= slack + 1).all()


def test_the_same_names_split_the_same_way_in_any_order():
    for r, strata, units in tables(30):
        names = [f"row {i}" for i in range(len(strata))]
        order = r.permutation(len(strata))
        for groups in (None, units):
            here = split(strata, units=groups, names=column(names))
            there = split(
                strata[order],
                units=None if groups is None else groups[order],
                names=column([names[i] for i in order]),
            )
            assert (here[order] == there).all()


def test_rows_are_dealt_by_blake2b_of_seed_and_name():
    from hashlib import blake2b

    names = [f"n{i}" for i in range(40)]
    by_hash = sorted(
        range(40), key=lambda i: int.from_bytes(blake2b(f"7\0n{i}".encode(), digest_size=8).digest(), "little")
    )
    sides = split(np.zeros(40, np.int32), names=column(names), seed=7)
    assert [int(sides[i]) for i in by_hash] == [2] * 10 + [1] * 6 + [0] * 24
    assert (split(np.zeros(40, np.int32), names=column(names), seed=8) != sides).any()


def test_more_rows_at_the_end_move_few_others():
    strata = np.zeros(10_000, np.int32)
    moved = (split(strata)[:9000] != split(strata[:9000])).mean()
    assert moved < 0.02


def test_validation_and_test_are_capped_and_the_rest_trains():
    sides = split(np.arange(10_000) % 4, limits=(100, 200))
    assert np.bincount(sides).tolist() == [9700, 100, 200]


def test_by_time_train_is_earlier_and_equal_times_stay_together():
    for seed in range(40):
        r = np.random.default_rng(seed)
        rows = int(r.integers(20, 500))
        times = r.integers(0, int(r.integers(3, 100)), rows)
        times[:3] = [0, 1, 2]
        moments = times.astype("datetime64[D]") if seed % 2 else times.astype(float)
        sides = split(np.zeros(rows, np.int32), times=moments)
        latest = [times[sides == side].max() for side in range(3)]
        earliest = [times[sides == side].min() for side in range(3)]
        assert latest[0] < earliest[1]
        assert latest[1] < earliest[2]
        biggest = np.bincount(times).max()
        assert abs((sides == 2).sum() - 0.25 * rows) <= biggest + 1


def test_by_time_units_stand_where_their_latest_row_is():
    times = np.array([0, 9, 1, 2, 3, 4, 5, 6, 7, 8], float)
    units = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    sides = split(np.zeros(10, np.int32), units=units, times=times, shares=(6, 2, 2))
    assert sides.tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 1, 1]


def test_rows_without_a_time_are_an_error_that_counts_them():
    times = np.array(["2020-01-01", "NaT", "2021-01-01", "NaT"], "datetime64[D]")
    with pytest.raises(UsageError, match="2 rows have no time"):
        split(np.zeros(4, np.int32), times=times)


def test_given_splits_stand_and_validation_is_cut_from_train_where_there_is_none():
    r = np.random.default_rng(0)
    given = r.integers(0, 3, 900).astype(np.int8)
    strata = r.integers(-1, 3, 900)
    kept = split(strata, given=given)
    assert (kept == np.where(strata < 0, -1, given)).all()
    given[given == 1] = 0
    units = r.integers(0, 300, 900)
    cut = split(strata, units=units, given=given)
    assert ((cut == 2) == ((given == 2) & (strata >= 0))).all()
    assert abs((cut == 1).sum() / ((given == 0) & (strata >= 0)).sum() - 0.2) < 0.02
    train = (cut == 0) | (cut == 1)
    assert all(len(set(cut[train & (units == unit)])) <= 1 for unit in range(300))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["train", "test", "holdout"], "got 'holdout'"),
        (["train", "train", "val"], "names no row test"),
        (["test", None, "val"], "names no row train"),
    ],
)
def test_a_column_of_splits_is_refused_with_what_it_holds(names, told):
    with pytest.raises(UsageError, match=told):
        given_splits(column(names))


def test_a_column_of_splits_is_read_in_its_usual_spellings():
    found = given_splits(column(["Train", "dev", " TEST ", "valid", None, "", "training"]))
    assert found.tolist() == [0, 1, 2, 1, -1, -1, 0]


@pytest.mark.parametrize("text", ["60/15", "a/b/c", "60/0/40", "-1/2/3", "", "inf/1/1", "nan/1/1"])
def test_shares_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match="60/15/25"):
        shares_of(text)


def test_too_few_rows_are_an_error_that_says_how_many():
    with pytest.raises(UsageError, match=r"validation would be empty: there are 2 units to split at 60/15/25"):
        split(np.zeros(50, np.int32), units=np.arange(50) % 2)
    with pytest.raises(UsageError, match="no row has truth"):
        split(np.full(5, -1))


def test_three_groups_are_one_for_each_split():
    units = np.array([0] * 70 + [1] * 20 + [2] * 10)
    sides = split(np.zeros(100, np.int32), units=units)
    assert sorted(len(set(sides[units == unit])) for unit in range(3)) == [1, 1, 1]
    assert set(sides) == {0, 1, 2}


def test_few_units_of_many_strata_are_split_all_the_same():
    sides = split(np.arange(12), units=np.arange(12))
    assert np.bincount(sides, minlength=3).tolist() == [7, 2, 3]


def test_a_row_without_a_group_is_one_of_its_own():
    groups = groups_of(column(["a", None, "b", "a", None]))
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 4


def test_groups_that_differ_in_the_space_around_them_are_one():
    texts = ["p7", "p7 ", " p7", "", "  ", None, "p8"]
    for values in (column(texts), column(texts).dictionary_encode()):
        groups = groups_of(values).tolist()
        assert groups[0] == groups[1] == groups[2]
        assert len(set(groups)) == 5
    units = np.arange(60) % 30
    plain, spaced = ([f"g{unit}{end * (row % 2)}" for row, unit in enumerate(units)] for end in ("", " "))
    sides = [
        split(np.zeros(60, np.int32), units=groups_of(one), names=names_of(one)) for one in map(column, (plain, spaced))
    ]
    assert (sides[0] == sides[1]).all()


def test_rows_without_a_group_are_in_all_splits():
    names = column([None if row % 2 else f"g{row // 20}" for row in range(400)])
    sides = split(np.zeros(400, np.int32), units=groups_of(names), names=names)
    assert np.bincount(sides[1::2], minlength=3).min() > 10


def test_nothing_is_asked_for_that_train_has_none_of():
    for r, strata, units in tables(60):
        words = [None if s < 0 else f"c{s}" for s in strata]
        if len({word for word in words if word}) < 2:
            continue
        target = read_target({"y": column(words)}, "classes")
        for groups in (None, units):
            sides = trainable(split(target.strata, units=groups), target, groups)
            train = set(target.values[sides == 0].tolist())
            assert set(target.values[sides > 0].tolist()) <= train
            if groups is not None:
                known = target.known
                assert all(len(set(sides[known & (units == unit)])) <= 1 for unit in np.unique(units))
        given = r.integers(0, 3, len(strata)).astype(np.int8)
        given[:2] = 0, 2
        fixed = trainable(np.where(target.known, given, -1).astype(np.int8), target, fixed=True)
        assert set(target.values[fixed > 0].tolist()) <= set(target.values[fixed == 0].tolist())
        assert ((fixed == given) | (fixed == -1)).all()


def test_labels_that_train_has_none_of_pull_their_rows_into_train():
    labels = [["a"]] * 6 + [["a", "b"]] * 3 + [["c"]]
    target = read_target({"y": column(labels)})
    sides = np.array([0, 0, 0, 1, 2, 1, 2, 2, 2, 1], np.int8)
    assert trainable(sides, target).tolist() == [0, 0, 0, 1, 2, 1, 0, 0, 0, 0]
    assert trainable(sides, target, fixed=True).tolist() == [0, 0, 0, 1, 2, 1, -1, -1, -1, -1]


def test_every_row_is_in_one_fold_with_its_unit_and_folds_are_alike():
    for _, strata, units in tables(30):
        known = strata >= 0
        if len(np.unique(units[known])) < 5:
            continue
        alone = folds(strata)
        assert (alone[~known] == -1).all()
        counts = np.bincount(alone[known], minlength=5)
        for stratum in range(strata.max() + 1):
            of_class = np.bincount(alone[strata == stratum], minlength=5)
            assert of_class.max() - of_class.min() <= 1
        assert counts.max() - counts.min() <= 1
        together = folds(strata, units=units)
        assert all(len(set(together[known & (units == unit)])) <= 1 for unit in np.unique(units))
        assert set(together[known]) == set(range(5))


def refused(values, kind="classes", *, fixed=False, sides=None, units=None):
    target = read_target({"y": column(values)}, kind)
    sides = split(target.strata, units=units) if sides is None else np.array(sides, np.int8)
    with pytest.raises(UsageError) as error:
        check_sides(trainable(sides, target, units, fixed=fixed), target, fixed=fixed)
    return str(error.value)


def test_classes_that_are_too_small_to_leave_a_validation_are_an_error_with_counts_and_cure():
    said = refused([f"c{n // 2}" for n in range(220)])
    assert said.startswith(
        "validation and test would be empty: 110 of 110 classes have 2 rows each, and a class needs 3"
    )
    assert said.endswith("join rare classes into larger ones, give more rows, or name another --target")
    assert "have fewer than 3 rows, and" in refused(["a", "b", "b", "c", "d"])
    assert refused(["1.5", "1.5", "2.5", "3.5"]).endswith("or, as they are numbers, write --target-kind scalar")


def test_given_splits_and_groups_that_leave_nothing_to_test_are_an_error():
    said = refused(list("aaabbb"), fixed=True, sides=[0, 0, 0, 1, 1, 2])
    assert said.startswith("validation and test would be empty: train has no row of the classes that stand there")
    said = refused(list("aaabbbccc"), sides=[0, 0, 0, 1, 1, 1, 2, 2, 2], units=np.repeat([0, 1, 2], 3))
    assert "the groups or copies that stand there are the only ones with their classes" in said


def test_splits_with_rows_are_no_error():
    target = read_target({"y": column(list("ab") * 20)})
    check_sides(split(target.strata), target)
