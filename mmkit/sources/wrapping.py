"""Lines for a terminal, where a Chinese, Japanese or Korean character takes the room of two letters.

What of the standard library folds and pads counts characters.
"""

from __future__ import annotations

from rich.cells import cell_len, chop_cells


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A text as lines of at most `width` columns, broken at spaces; words that are wider are broken.

    What a terminal would obey instead of showing it is escaped.

    Args:
        text: in one line; spaces at its beginning stay.
        width: of the terminal.
        indent: what all lines but the first begin with.
    """
    words = [piece for word in text.split() for piece in _pieces(_visible(word), width - cell_len(indent))]
    line = text[: len(text) - len(text.lstrip())]
    lines, empty = [], True
    for word in words:
        if not empty and cell_len(f"{line} {word}") > width:
            lines.append(line)
            line, empty = indent, True
        line += word if empty else f" {word}"
        empty = False
    return lines if empty else [*lines, line]


def _visible(word: str) -> str:
    return word if word.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in word)


def _pieces(word: str, width: int) -> list[str]:
    return [word] if cell_len(word) <= width else chop_cells(word, max(width, 2))


def padded(text: str, width: int) -> str:
    """A text with spaces after it, so that it is `width` columns wide."""
    return text + " " * (width - cell_len(text))


def cut(text: str, width: int) -> str:
    """A text of at most `width` columns, with a sign where it was cut."""
    return text if cell_len(text) <= width else chop_cells(text, width - 1)[0] + "…"
