"""The page of rules of a user's own data: its reasons, formats, limits and options are those of the code."""

import inspect
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import mmkit
from mmkit.sources import (
    duplicates,
    formats,
    guess,
    inputs,
    kept,
    looking,
    numbers,
    outliers,
    sampling,
    splitting,
    targets,
)
from mmkit.sources import whole_numbers as whole
from mmkit.sources.guessing import guesses
from mmkit.tasks.own_data import OwnData
from tests.sources import test_guessing as written

PAGE = Path(mmkit.__file__).parent / "sources" / "README.md"
TEXT = " ".join(PAGE.read_text("utf-8").split())


def rules():
    """What is seen, what it is taken for, and the reason, of each row of the table of rules."""
    section = PAGE.read_text("utf-8").partition("## What a column is taken for")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [(seen.strip(), kinds.split(", "), reason.strip().strip("`")) for seen, kinds, reason in rows[2:]]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Kind and reason of every column that tests of the rules have."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "img").mkdir()
    for name in written.JPEG_NAMES:
        (folder / name).write_bytes(b"x")
    r = np.random.default_rng(0)
    columns = {
        f"{number} {name}": written.as_column(values(r, 1000))
        for number, (_, name, values, _) in enumerate(written.CASES)
    }
    columns["quarter"] = pa.chunked_array([[f"20{i % 20:02}Q{i % 4 + 1}" for i in range(1000)]])
    columns["month"] = pa.chunked_array([[f"May {i % 28 + 1}, 20{i % 20:02}" for i in range(1000)]])
    columns["twin"] = columns["quarter"]
    return [(one.kind, one.reason) for one in guesses(columns, modalities=written.MODALITIES, files=folder).values()]


def test_there_are_rules():
    assert len(rules()) > 25


@pytest.mark.parametrize(("seen", "kinds", "reason"), rules(), ids=[one[0][:40] for one in rules()])
def test_each_reason_of_the_page_is_given_for_its_kind(found, seen, kinds, reason):
    pattern = re.compile(re.escape(reason).replace("…", ".*").replace("NAME", ".*") + ".*")
    of_rule = {kind.partition(":")[0] for kind, said in found if pattern.fullmatch(said)}
    assert of_rule & {"ignore" if kind == "ignored" else kind for kind in kinds}, (seen, of_rule)


def test_all_formats_are_on_the_page():
    for end in (*formats.EXTENSIONS, ".tar"):
        assert f"`{end}`" in TEXT


def test_all_options_are_on_the_page():
    for name in inspect.signature(OwnData).parameters:
        flag = "--column" if name == "columns" else f"--{name.replace('_', '-')}"
        assert flag in TEXT


@pytest.mark.parametrize(
    "words",
    [
        f"at most {sampling.MOST_ROWS:,} rows",
        f"more than {100 * numbers.MOST:.0f} % of the values",
        f"at least one of {guess.LOOKED_AT}",
        f"at most {whole.FEW} different whole numbers",
        f"Of more than {inputs.MOST_TEXTS} text columns",
        f"{targets.FEW + 1} to {targets.MANY} different whole numbers",
        f"more than {targets.MANY} different whole numbers",
        f"fewer than {targets.LEAST} rows",
        f"{100 * splitting.SHARES[0]:.0f} % train, {100 * splitting.SHARES[1]:.0f} % validation",
        f"at most {splitting.LIMITS[0]:,} rows), {100 * splitting.SHARES[2]:.0f} % test",
        f"(at most {splitting.LIMITS[1]:,})",
        f"equal texts of {duplicates.WORDS} words",
        f"{looking.VALUES} values of each input",
        f"at most {looking.BYTES // 2**20} MiB",
        f"more than {outliers.TIMES:.0f} times as far",
        f"more than {outliers.USUAL:.0f} times what",
        f"A table of {kept.LARGE // 2**20} MiB",
    ],
)
def test_limits_are_those_of_the_code(words):
    assert words in TEXT
