"""What was found, shown at the width of a terminal, where a Chinese character is as wide as two letters."""

import textwrap
import unicodedata

import numpy as np
import pytest

import mmkit
from mmkit.sources.wrapping import cut, padded, wrapped


def wide(text):
    """Columns of a terminal, by Unicode's own table."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@pytest.mark.parametrize("width", [20, 33, 60, 80])
def test_ascii_is_folded_as_the_standard_library_does(width):
    r = np.random.default_rng(width)
    for _ in range(50):
        text = "  " * int(r.integers(2)) + " ".join("x" * int(n) for n in r.integers(1, 12, r.integers(1, 40)))
        expected = textwrap.wrap(text, width, subsequent_indent="    ", break_on_hyphens=False)
        assert wrapped(text, width, "    ") == expected


def test_chinese_lines_fit_and_lose_nothing():
    text = "target 情感: classes (3), " + ", ".join(["非常喜欢 12", "不喜欢 7", "没有意见 3"] * 6)
    for width in range(12, 90):
        lines = wrapped(text, width, "  ")
        assert max(map(wide, lines)) <= width
        assert "".join("".join(lines).split()) == "".join(text.split())


def test_words_wider_than_a_line_are_broken():
    assert wrapped("评论内容评论内容", 6) == ["评论内", "容评论", "内容"]


def test_cells_are_padded_and_cut_by_their_width():
    assert padded("评论", 6) == "评论  "
    assert cut("评论内容", 8) == "评论内容"
    assert cut("评论内容", 7) == "评论内…"
    assert wide(cut("评论内容" * 9, 24)) in (23, 24)


def test_the_columns_of_a_description_stand_below_each_other():
    data = {
        "评论内容": [f"我{'不' * (row % 2)}喜欢第{row}个图片" for row in range(60)],
        "price": [row + 0.5 for row in range(60)],
        "情感": ["喜欢" if row % 2 else "不喜欢" for row in range(60)],
    }
    lines = mmkit.inspect(data, target="情感").text(80).splitlines()
    table = lines[1:5]
    reasons = ["because", "words each", "numbers", "as you said"]
    starts = {wide(line[: line.index(what)]) for line, what in zip(table, reasons, strict=True) if what != "words each"}
    starts.add(wide(table[1].split("text")[0]) + len("target  "))
    assert len(starts) == 1
    assert max(map(wide, lines)) <= 80


def test_what_a_terminal_would_obey_is_escaped():
    assert wrapped("label \x1b[31m\ufeffred", 80) == ["label \\x1b[31m\\ufeffred"]
    lines = wrapped("\x1b" * 40, 20)
    assert "".join(lines) == "\\x1b" * 40
    assert all(len(line) <= 20 for line in lines)
