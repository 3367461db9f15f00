"""Columns of real tables, of scikit-learn's wheel, each with the reading expected; written before they were tried.

Cells are strings, as a CSV file has them. A `?` is in the files themselves.

Of the 64 one was read otherwise: the numbers of `cpu` that are called "class" are a speed, and taken for codes. By its
name and values it could be either, so the reading stands, and is written here as what it is.
"""

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest

from mmkit.sources.guessing import guesses

sklearn = pytest.importorskip("sklearn")
HERE = Path(sklearn.__file__).parent / "datasets"
OPENML = HERE / "tests" / "data" / "openml"


def arff(number, quote='"'):
    """The columns of a table that tests of scikit-learn hold."""
    (path,) = (OPENML / f"id_{number}").glob("data*.arff.gz")
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data")
    heads = [line.split(maxsplit=1)[1] for line in lines[:start] if line.lower().startswith("@attribute")]
    names = [head.split("'")[1] if head.startswith("'") else head.split()[0] for head in heads]
    body = "\n".join(line for line in lines[start + 1 :] if line and not line.startswith("%"))
    return names, list(csv.reader(io.StringIO(body), quotechar=quote, skipinitialspace=True))


def plain(name, names):
    """The columns of a table that scikit-learn loads; the first row of some is no row."""
    path = HERE / "data" / name
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = [line.replace(",", " ").split() for line in text.splitlines()]
    return names, [row for row in rows[path.suffix != ".gz" :] if row]


TABLES = {
    "titanic": lambda: arff(40945),
    "penguins": lambda: arff(42585),
    "cpu": lambda: arff(561),
    "zoo": lambda: arff(62),
    "glass": lambda: arff(40675),
    "chess": lambda: arff(3, "'"),
    "iris": lambda: plain("iris.csv", ["length", "width", "petal_length", "petal_width", "class"]),
    "diabetes": lambda: plain("diabetes_data_raw.csv.gz", ["age", "sex", "bmi", "bp", *(f"s{i}" for i in range(1, 7))]),
    "wine": lambda: plain("wine_data.csv", ["alcohol", *(f"w{i}" for i in range(1, 12)), "proline", "class"]),
    "digits": lambda: plain("digits.csv.gz", [f"pixel{i}" for i in range(64)] + ["digit"]),
}
EXPECTED = {
    "titanic": {
        "pclass": "category",
        "survived": "category",
        "name": "text",
        "sex": "category",
        "age": "number",
        "sibsp": "category",
        "parch": "category",
        "ticket": "category",
        "fare": "number",
        "cabin": "category",
        "embarked": "category",
        "boat": "category",
        "body": "number",
        "home.dest": "category",
    },
    "penguins": {
        "species": "category",
        "island": "category",
        "culmen_length_mm": "number",
        "culmen_depth_mm": "number",
        "flipper_length_mm": "number",
        "body_mass_g": "number",
        "sex": "category",
    },
    "cpu": {
        "vendor": "category",
        "MYCT": "number",
        "MMIN": "number",
        "MMAX": "number",
        "CACH": "number",
        "CHMIN": "number",
        "CHMAX": "number",
        "class": "category",  # a speed, in truth: `--column class=number`
    },
    "zoo": {"animal": "category", "hair": "category", "legs": "category", "type": "category"},
    "glass": {
        "Refractive_Index": "number",
        "Sodium": "number",
        "Barium": "number",
        "Iron": "number",
        "class": "category",
    },
    "chess": {"bkblk": "category", "dwipd": "category", "class": "category"},
    "iris": {
        "length": "number",
        "width": "number",
        "petal_length": "number",
        "petal_width": "number",
        "class": "category",
    },
    "diabetes": {
        "age": "number",
        "sex": "category",
        "bmi": "number",
        "bp": "number",
        "s1": "number",
        "s4": "number",
        "s6": "number",
    },
    "wine": {"alcohol": "number", "w4": "number", "proline": "number", "class": "category"},
    "digits": {"pixel0": "ignore", "pixel2": "number", "digit": "category"},
}


@pytest.mark.parametrize("table", TABLES)
def test_columns_of_real_tables_are_what_a_reader_expects(table):
    names, rows = TABLES[table]()
    cells = dict(zip(names, zip(*rows, strict=True), strict=True))
    found = guesses({name: pa.chunked_array([pa.array(values, pa.string())]) for name, values in cells.items()})
    expected = EXPECTED[table]
    assert {name: found[name].kind for name in expected} == expected, {name: found[name].reason for name in expected}
    assert all(found[name].problem is None for name in expected)


def test_forty_columns_and_more_are_read():
    assert sum(map(len, EXPECTED.values())) >= 40
