"""Text: a string in any language.

A string is the text itself. A file is named by a `pathlib.Path`, since a string that names a file is a text as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from mmkit.errors import DataError
from mmkit.modalities.arrays import is_missing

EXAMPLE_WORDS = (
    "red",
    "round",
    "apple",
    "on",
    "the",
    "table",
    "running",
    "Boats",
    "苹果",
    "在桌子上",
    "猫",
    "2024",
    "!",
)


class Text:
    """A raw value is a string, UTF-8 bytes, or the Path of a UTF-8 file; in memory it is a `str` that is not blank."""

    def decode(self, raw: Any) -> str | None:
        """The text of a string, of UTF-8 bytes, or of a UTF-8 file named by a Path; None for NaN and other marks of a
        gap, as tables have them.

        Raises:
            DataError: another type, a file that cannot be read, bytes that are not UTF-8, or a blank text.
        """  # noqa: D205 - one sentence
        if is_missing(raw):
            return None
        where = ""
        if isinstance(raw, Path):
            where = f" in {raw}"
            try:
                raw = raw.read_bytes()
            except OSError as error:
                raise DataError(f"cannot read the text file {raw}: {error.strerror or error}") from error
        if isinstance(raw, bytes):
            try:
                raw = raw.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"text{where} is not UTF-8: {error.reason} at byte {error.start}; convert it"
                ) from error
        if not isinstance(raw, str):
            raise DataError(f"a text is a str, UTF-8 bytes or a pathlib.Path; got {type(raw).__name__}")
        try:
            raw.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"text{where} holds half a surrogate pair at character {error.start}; repair it") from error
        if not raw.strip():
            raise DataError(f"an empty text{where}; a missing one is None")
        return str(raw)

    def decode_many(self, raws: Sequence[Any]) -> list[str | None]:
        """What `decode` gives of each; strings of ASCII, as most are, need no more than a look.

        Raises:
            DataError: as `decode`, of the first that it is of.
        """
        return [
            raw if type(raw) is str and raw.isascii() and raw.strip() else None if raw is None else self.decode(raw)
            for raw in raws
        ]

    def example(self, generator: Generator) -> str:
        """From 1 to 12 words of two scripts, in random order."""
        count = int(torch.randint(1, 13, (), generator=generator))
        picks = torch.randint(len(EXAMPLE_WORDS), (count,), generator=generator)
        return " ".join(EXAMPLE_WORDS[i] for i in picks.tolist())
