"""What `--time` reads: dates as they are found or said, numbers; and what it says of all else."""

import numpy as np
import pyarrow as pa
import pytest

import mmkit
from mmkit.errors import UsageError
from mmkit.sources.ordering import times_of

EUROPEAN = ["13.08.2023", "01.09.2023", "25.07.2022"]


def column(values, kind=None):
    array = pa.array(values, kind)
    return pa.chunked_array([array[:1], array[1:]])


def read(values, said=None, kind=None, needed=None):
    needed = np.ones(len(values), bool) if needed is None else np.array(needed)
    return times_of("sold", column(values, kind), needed, said)


@pytest.mark.parametrize(
    ("values", "said", "reading"),
    [
        (EUROPEAN, None, "dates, day first"),
        (EUROPEAN, "date:dayfirst", "dates, day first"),
        (["01.08.2023", "01.09.2023", "05.07.2022"], "date:dayfirst", "dates, day first"),
        (["08/13/2023", "09/01/2023", "07/25/2022"], None, "dates, month first"),
        (["2023-08-13", "2023-09-01", "2022-07-25"], None, "dates, year first"),
        (["13-Aug-23", "1-Sep-23", "25-Jul-22"], None, "dates with names of months"),
        (["2023", "2024", "2022"], None, "numbers"),
        ([7, 9, 5], None, "numbers"),
        ([7.5, 9.0, 5.0], None, "numbers"),
        (["20230813", "20230901", "20220725"], None, "dates, year first"),
    ],
)
def test_the_reading_that_is_found_or_said_orders_the_rows(values, said, reading):
    times, told = read(values, said)
    assert np.argsort(times).tolist() == [2, 0, 1]
    assert told == reading


def test_categories_and_times_of_arrow_order_rows():
    days = np.array(["2023-08-13", "2023-09-01", "2022-07-25"], "datetime64[D]")
    assert np.argsort(read(days)[0]).tolist() == [2, 0, 1]
    coded = pa.chunked_array([pa.array(EUROPEAN).dictionary_encode()])
    assert np.argsort(times_of("sold", coded, np.ones(3, bool))[0]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("values", [["Bern", "Basel", "Genf"], [True, False, True]])
def test_what_is_no_time_is_said_to_be_none(values):
    with pytest.raises(UsageError, match=r"column sold is no time: its values are .*, as .*name a column of dates, or"):
        read(values)


def test_day_or_month_first_is_asked_for():
    with pytest.raises(UsageError, match="no value shows which: --column sold=date:dayfirst, or"):
        read(["01.08.2023", "01.09.2023", "05.07.2022"])


def test_empty_cells_are_counted_among_rows_that_need_a_time():
    with pytest.raises(UsageError, match="2 of 5 rows have no time, the first is row 1: column sold is empty there"):
        read([*EUROPEAN[:1], None, "", *EUROPEAN[1:]])
    with pytest.raises(UsageError, match="1 of 3 rows has no time, the first is row 2"):
        read([1, 2, None])
    read([*EUROPEAN, None], needed=[True] * 3 + [False])


def test_cells_that_hold_something_else_are_shown():
    with pytest.raises(UsageError, match=r"1 of 61 rows cannot be read .* dates, day first: row 60 has 'soon'"):
        read([*EUROPEAN * 20, "soon"])
    with pytest.raises(UsageError, match=r"2 of 3 rows cannot be read .* month first: row 0 has '13\.08\.2023'"):
        read(EUROPEAN, "date:monthfirst")


def warnings_of(table, **about):
    found = mmkit.inspect(table, target="y", time="day", **about)
    late = int((table["day"][found.sides == 0] > table["day"][found.sides == 2].min()).sum())
    return late, [one.text for one in found.findings if "later" in one.text]


def rows(count=120):
    r = np.random.default_rng(0)
    return {"x": r.normal(size=count), "day": r.permutation(count), "y": r.choice(["a", "b"], count)}


def test_rows_of_train_that_are_later_than_test_are_said():
    table = rows()
    assert warnings_of(table) == (0, [])
    late, told = warnings_of({**table, "who": [f"p{n % 12}" for n in range(120)]}, group="who")
    (said,) = told
    assert late > 20
    assert said.startswith(f"{late} of ")
    assert said.endswith(" rows of train are later by day than the first of test, as groups span time")
    place = np.argsort(table["day"])
    x = table["x"].copy()
    x[place[-1]], x[place[0]] = x[place[-2]], x[place[1]] = 7.0, 8.0
    assert warnings_of({**table, "x": x}) == (0, [])
    x[place[30]], x[place[31]] = 7.0, 8.0
    assert warnings_of({**table, "x": x})[1][0].endswith("later by day than the first of test, as copies span time")


def test_given_splits_are_held_against_the_time():
    table = rows()
    place = np.argsort(np.argsort(table["day"]))
    splits = np.where(place < 70, "train", np.where(place < 90, "dev", "test"))
    assert warnings_of({**table, "part": splits}, splits="part") == (0, [])
    splits[place == 119] = "train"
    said = "1 of 71 rows of train is later by day than the first of test, as the given splits say so"
    assert warnings_of({**table, "part": splits}, splits="part") == (1, [said])
    day = [None, *map(float, table["day"][1:])]
    with pytest.raises(UsageError, match="1 of 120 rows has no time"):
        mmkit.inspect({**table, "day": day, "part": splits}, target="y", time="day", splits="part")
    splits = np.array([None if n == 0 else part for n, part in enumerate(splits)], object)
    mmkit.inspect({**table, "day": day, "part": splits}, target="y", time="day", splits="part")
