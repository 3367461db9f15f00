"""The fields of Debian's own list of packages, each with the reading expected: 19 columns as they stand there.

The readings were written from the rules before the list was tried. One came out otherwise: of the checksums of
descriptions a tenth occur twice, so they are categories, and no identifier.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess

import pytest

from mmkit.sources.guessing import guesses
from mmkit.sources.reading import read

EXPECTED = {
    "Package": "category",
    "Version": "category",
    "Source": "category",
    "Installed-Size": "number",
    "Maintainer": "text",
    "Architecture": "category",
    "Multi-Arch": "category",
    "Depends": "text",
    "Recommends": "text",
    "Description": "text",
    "Homepage": "category",
    "Description-md5": "category",
    "Tag": "text",
    "Section": "category",
    "Priority": "category",
    "Filename": "ignore",
    "Size": "number",
    "SHA256": "ignore",
    "Essential": "ignore",
}
ROWS = 20_000


@pytest.mark.full
def test_columns_of_the_list_are_what_a_reader_expects(tmp_path):
    listed = ""
    if program := shutil.which("apt-cache"):
        listed = subprocess.run([program, "dumpavail"], capture_output=True, text=True, check=False).stdout
    paragraphs = [one for one in listed.split("\n\n") if "\nDescription:" in one and "\nSize:" in one][:ROWS]
    if len(paragraphs) < ROWS:
        pytest.skip("the list of packages is not on this machine")
    file = tmp_path / "packages.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, EXPECTED, restval="", extrasaction="ignore")
        table.writeheader()
        for one in paragraphs:
            table.writerow(dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", one, re.MULTILINE)))
    found = guesses(read(str(file), {}).columns)
    assert {name: found[name].kind for name in EXPECTED} == EXPECTED
    assert all(found[name].problem is None for name in EXPECTED)
