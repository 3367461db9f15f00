"""What counts as a text."""

import re

import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.text import Text


def test_a_string_is_the_text_itself_even_if_it_names_a_file(tmp_path):
    file = tmp_path / "page.txt"
    file.write_text("在文件里", encoding="utf-8")
    assert Text().decode(str(file)) == str(file)
    assert Text().decode(file) == "在文件里"


def test_bytes_are_utf8_with_or_without_its_mark():
    assert Text().decode("\ufeffnaïve".encode()) == Text().decode("naïve".encode()) == "naïve"


def test_an_empty_cell_of_a_table_is_missing():
    assert Text().decode(float("nan")) is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (" \n\t", "an empty text; a missing one is None"),
        ("", "an empty text"),
        (b"", "an empty text"),
        (3, "a text is a str, UTF-8 bytes or a pathlib.Path; got int"),
        (b"caf\xe9", "not UTF-8: unexpected end of data at byte 3"),
        ("so \ud83d", "half a surrogate pair at character 3"),
    ],
)
def test_what_is_no_text_says_why(raw, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Text().decode(raw)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the text file .*none\.txt: No such file"):
        Text().decode(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 noir")
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8"):
        Text().decode(tmp_path / "latin.txt")


def test_examples_are_texts_and_differ():
    generator = torch.Generator().manual_seed(0)
    examples = [Text().example(generator) for _ in range(20)]
    assert [Text().decode(example) for example in examples] == examples
    assert len(set(examples)) > 10
