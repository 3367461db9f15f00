"""Numbers and dates as people write them, each against Python reading one value at a time."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from mmkit.sources.dates import dates
from mmkit.sources.lists import listed
from mmkit.sources.numbers import form_of, numbers

NAN = float("nan")


def column(values, kind=None):
    array = pa.array(values, kind)
    return pa.chunked_array([array[: len(array) // 2], array[len(array) // 2 :]])


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "-2", "+3", " 4 ", "5.", ".5", "1e-3", "2E2"], [1, -2, 3, 4, 5, 0.5, 0.001, 200]),
        (["1.5", "na", "?", "", None, "-", "NULL", "2"], [1.5, NAN, NAN, NAN, NAN, NAN, NAN, 2]),
        (["$1,234.50", "$3", "-$5.25", "$-6", "$ 7"], [1234.5, 3, -5.25, -6, 7]),
        (["1.234,50 €", "3,14 €", "12 €", "1.000.000,1 €"], [1234.5, 3.14, 12, 1000000.1]),
        (["EUR 12", "EUR 1,234", "EUR 7.5"], [12, 1234, 7.5]),
        (["45 %", "3.5%", "100 %"], [45, 3.5, 100]),
        (["3,14", "2,5", "7", "-0,5"], [3.14, 2.5, 7, -0.5]),
        (["1,234", "999", "12,345,678", "1,000.25"], [1234, 999, 12345678, 1000.25]),
        (["12 KB", "3 MB", "1.5 GB", "7 B", "2kb"], [12e3, 3e6, 1.5e9, 7, 2e3]),
        (["1.2k", "3m", "950", "2bn"], [1200, 3e6, 950, 2e9]),
        (["180 cm", "175cm", "90.5 cm"], [180, 175, 90.5]),
        (["5", "x"] * 3, [NAN] * 6),
    ],
)
def test_numbers_in_strings(texts, values):
    assert np.array_equal(numbers(column(texts, pa.string())), np.array(values, float), equal_nan=True)
    coded = column(texts, pa.string()).dictionary_encode()
    assert np.array_equal(numbers(coded), np.array(values, float), equal_nan=True)


@pytest.mark.parametrize(
    "texts",
    [
        ["12 kg", "3 lb", "4 oz", "5 g"] * 5,  # units that cannot be compared
        ["1/2", "3/4"] * 5,
        ["00501", "00502"] * 5,
        ["1-2", "3-4"] * 5,
        ["A12", "B13"] * 5,
        ["192.168.0.1"] * 5,
        ["1,2,3"] * 5,
        ["\uff11\uff12", "\u0661"] * 5,  # digits of other scripts
    ],
)
def test_what_is_no_number_has_no_form(texts):
    assert form_of(texts) is None


@pytest.mark.parametrize(
    ("most", "rare", "values"),
    [
        ("5 MB", ["1 GB", "12", "5 kg"], [5e6, 1e9, 12, NAN]),
        ("138k", ["1.2m", "950", "1 GB"], [138e3, 1.2e6, 950, NAN]),
        ("5 kg", ["500 g", "7", "$5", "7 KG"], [5, NAN, 7, NAN, 7]),
        ("5 MB", ["12", "5 kg"], [5, 12, NAN]),
        ("12 m", ["12", "3 km"], [12, 12, NAN]),
        ("45 %", ["3", "4 kg"], [45, 3, NAN]),
        ("$138k", ["$1.2m", "$451", "451k", "$5 kg"], [138e3, 1.2e6, 451, 451e3, NAN]),
        ("$451", ["$451k", "5 kg", "7"], [451, 451e3, NAN, 7]),
        ("5 k€", ["3 €", "1.5 m€"], [5e3, 3, 1.5e6]),
        ("$5 pp", ["$6", "7 pp", "$5 kg"], [5, 6, 7, NAN]),
        ("451", ["451k", "5 kg"], [451, NAN, NAN]),
    ],
)
def test_a_rare_unit_is_scaled_or_its_number_is_none(most, rare, values):
    found = numbers(column([most] * 200 + rare))
    assert np.array_equal(found[199:], values, equal_nan=True)


def test_half_of_money_in_thousands_is_scaled():
    assert numbers(column(["$451", "$451k"] * 20)).tolist() == [451, 451e3] * 20


def test_a_part_is_read_in_the_form_of_the_whole():
    whole = column(["1.234", "1.234,5", "2.345.678", "3,5", "10"] * 4)
    form = form_of(whole.to_pylist())
    assert form is not None
    assert numbers(column(["1.234", "10"]), form).tolist() == [1234, 10]
    assert numbers(column(["1.234", "10"])).tolist() == [1.234, 10]


def test_types_of_arrow_are_numbers_by_themselves():
    assert numbers(column([True, False, None])).tolist()[:2] == [1, 0]
    assert np.isnan(numbers(column([1, None]))[1])
    assert numbers(column([2**60, 5], pa.uint64())).tolist() == [2.0**60, 5]


MOMENT = dt.datetime(2021, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("texts", "kind", "expected"),
    [
        (["2021-03-04", "2021-3-4", "2021/03/04", "2021.03.04", "20210304"], "date", dt.datetime(2021, 3, 4)),
        (["2021-03", "2021/3"], "date", dt.datetime(2021, 3, 1)),
        (["2021-03-04T05:06:07", "2021-03-04 05:06:07", "2021-03-04 5:06:07 AM"], "date", MOMENT),
        (["2021-03-04T05:06:07Z", "2021-03-04T07:06:07+02:00", "2021-03-03T23:36:07-0530"], "date", MOMENT),
        (["2021-03-04 05:06:07.25", "2021-03-04T05:06:07,250"], "date", MOMENT.replace(microsecond=250_000)),
        (["04.03.2021", "4/3/2021", "04-03-21", "4.3.21"], "date:dayfirst", dt.datetime(2021, 3, 4)),
        (["03/04/2021", "3/4/21", "03-04-2021"], "date:monthfirst", dt.datetime(2021, 3, 4)),
        (["04.03.2021 05:06:07", "4.3.2021, 5:06:07"], "date:dayfirst", MOMENT),
        (["3/4/2021 5:06:07 PM", "03/04/2021 17:06:07"], "date:monthfirst", MOMENT.replace(hour=17)),
        (["3/4/2021 12:00 AM"], "date:monthfirst", dt.datetime(2021, 3, 4)),
        (["31.12.69", "31/12/2069"], "date:dayfirst", dt.datetime(2069, 12, 31)),
        (["29.02.2020"], "date:dayfirst", dt.datetime(2020, 2, 29)),
    ],
)
def test_dates_in_strings(texts, kind, expected):
    assert dates(column(texts), kind).astype(object).tolist() == [expected] * len(texts)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("2021-02-30", "date"),
        ("2021-13-01", "date"),
        ("29.02.2021", "date:dayfirst"),
        ("31.04.2021", "date:dayfirst"),
        ("13/13/2021", "date:monthfirst"),
        ("2021-03-04 25:00", "date"),
        ("2021-03-04 10:61", "date"),
        ("0.1.2021", "date:dayfirst"),
        ("tomorrow", "date"),
        ("", "date"),
    ],
)
def test_what_is_on_no_calendar_is_missing(text, kind):
    found = dates(column([text, None, "2021-03-04" if kind == "date" else "04.03.2021"]), kind)
    assert np.isnat(found).tolist() == [True, True, False]


def test_every_day_of_a_century_is_read_as_python_reads_it():
    days = [dt.date(1950, 1, 1) + dt.timedelta(days=i) for i in range(0, 36_525, 3)]
    for form, kind in (("%Y-%m-%d", "date"), ("%d.%m.%Y", "date:dayfirst"), ("%m/%d/%Y", "date:monthfirst")):
        found = dates(column([day.strftime(form) for day in days]), kind)
        assert found.astype("datetime64[D]").astype(object).tolist() == days


def test_moments_that_are_numbers_and_types_of_arrow():
    seconds = int(MOMENT.replace(tzinfo=dt.UTC).timestamp())
    for values in ([seconds, seconds], [seconds * 1000] * 2, [str(seconds)] * 2):
        assert dates(column(values)).astype(object).tolist() == [MOMENT] * 2
    assert dates(column([20210304, None])).astype(object).tolist() == [dt.datetime(2021, 3, 4), None]
    assert dates(column([MOMENT, None])).astype(object).tolist() == [MOMENT, None]
    assert dates(column([MOMENT.date(), None])).astype(object).tolist() == [dt.datetime(2021, 3, 4), None]
    assert dates(column([MOMENT.time(), None])).astype(object).tolist() == [dt.datetime(1970, 1, 1, 5, 6, 7), None]


def test_lists_as_json():
    assert listed(["[1, 2]", " [] ", None, "[1,", "{}", "[[1], [2]]"]) == [[1, 2], [], None, None, None, [[1], [2]]]
    assert listed(["[" * 100_000 + "]" * 100_000]) == [None]


@pytest.mark.parametrize(
    "form",
    [
        *("%b %d %Y", "%B %d, %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d%b%Y", "%b-%d-%Y"),
        "%a, %d %b %Y %H:%M:%S GMT",
    ],
)
def test_dates_with_names_of_months_are_what_python_reads(form):
    days = [dt.datetime(2001, 1, 1) + dt.timedelta(days=97 * i, seconds=3601 * i) for i in range(90)]
    texts = [day.strftime(form) for day in days]
    expected = [np.datetime64(dt.datetime.strptime(text, form), "ms") for text in texts]
    assert dates(pa.chunked_array([texts])).tolist() == [moment.astype(object) for moment in expected]


def test_quarters_and_months_of_years_begin_with_their_first_day_and_other_words_are_no_dates():
    texts = ["1974Q3", "2020-Q4", "Q2 2021", "May 2020", "Sept 3, 2020", "3rd Oct 1999", "2020-05"]
    expected = ["1974-07-01", "2020-10-01", "2021-04-01", "2020-05-01", "2020-09-03", "1999-10-03", "2020-05-01"]
    assert [str(moment)[:10] for moment in dates(pa.chunked_array([texts]))] == expected
    for text in ("Feb 30 2020", "Mary 5 2000", "3281.1", "2020Q5", "may be 5 of them", "Jan 2000 was cold"):
        assert np.isnat(dates(pa.chunked_array([[text]]))).all()
