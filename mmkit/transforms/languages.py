"""What depends on the language: its most common words, and how words are cut to stems."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import snowballstemmer

StopWords = Literal[
    "danish", "dutch", "english", "french", "german", "italian", "korean", "norwegian", "portuguese", "russian",
    "spanish", "swedish", "turkish",
]  # fmt: skip
Stemmer = Literal[
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "esperanto", "estonian", "finnish",
    "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali",
    "norwegian", "persian", "polish", "porter", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish",
    "tamil", "turkish", "yiddish",
]  # fmt: skip


def stop_words(language: StopWords) -> Sequence[str]:
    """The most common words of a language, which say little of what a text is about."""
    # Imported here, since the package takes half a second.
    lists = importlib.import_module("bm25s.stopwords")
    name = "EN_PLUS" if language == "english" else language.upper()  # "EN" has 33 words only
    return getattr(lists, f"STOPWORDS_{name}")


@lru_cache(maxsize=2**16)
def stem(language: Stemmer, word: str) -> str:
    """The stem of a lower-case word (https://snowballstem.org)."""
    return _stemmer(language).stemWord(word)


@lru_cache
def _stemmer(language: Stemmer) -> Any:
    return snowballstemmer.stemmer(language)
