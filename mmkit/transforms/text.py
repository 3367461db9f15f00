"""Text to tokens, in any language; the vocabulary is fitted on the training split.

    normalise (NFKC, lower case, accents) -> split -> stop words, stems -> vocabulary

A script that writes no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) is split into characters,
each with its marks; all others into words, numbers and signs. So an unseen sentence keeps every part that was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Generator, Tensor

from mmkit.contract import Batch
from mmkit.transforms.languages import Stemmer, StopWords, stem, stop_words
from mmkit.transforms.pieces import cut, normal, pieces, places
from mmkit.transforms.together import WORTHWHILE, Array, batches, cut_ascii
from mmkit.transforms.vocabulary import PADDING, UNKNOWN, BytePairs, Words
from mmkit.transforms.word_vectors import read_word_vectors


class TextTransform:
    """Texts to `tokens` [B T] with their `mask`: 0 is padding, 1 an unknown token, then the vocabulary.

    The file of word vectors is read by `fit` only. A restored transform has no vectors; an encoder built on it gets its
    weights from its state dict.

    Args:
        tokenizer: "word" for whole words, or "bpe" for parts of words (byte-pair encoding); both are fitted on the
            training split.
        vocabulary: greatest number of tokens, padding and the unknown token included; the most frequent ones are kept.
        min_count: words (or pairs of parts) that are rarer than this in training are unknown.
        max_length: greatest number of tokens of a text; the rest is cut off.
        lowercase: ignore case: Apple and apple are one word.
        strip_accents: ignore accents of Latin and Greek letters: café and cafe are one word.
        stop_words: language whose most common words are left out; none keeps all words.
        stemmer: language whose words are cut to their stems; none keeps whole words.
        vectors: file of initial word vectors, in the text format of GloVe or word2vec; none starts with random ones.

    Raises:
        ValueError: `stemmer` without `lowercase`; `vectors` with `tokenizer` "bpe" or with `stemmer`.
    """

    augments = False
    streams = True

    def __init__(
        self,
        *,
        tokenizer: Literal["word", "bpe"] = "word",
        vocabulary: Annotated[int, Ge(3)] = 20_000,
        min_count: Annotated[int, Ge(1)] = 1,
        max_length: Annotated[int, Ge(1)] = 256,
        lowercase: bool = True,
        strip_accents: bool = False,
        stop_words: StopWords | None = None,
        stemmer: Stemmer | None = None,
        vectors: str | None = None,
    ) -> None:
        if stemmer is not None and not lowercase:
            raise ValueError(f"stemmer={stemmer} cuts lower-case words; it needs lowercase=true")
        if vectors is not None and (tokenizer != "word" or stemmer is not None):
            given = "tokenizer=bpe" if tokenizer != "word" else f"stemmer={stemmer}"
            raise ValueError(f"vectors are of whole words, {given} makes others; leave out one of the two")
        self.tokenizer = tokenizer
        self.most = vocabulary
        self.min_count = min_count
        self.max_length = max_length
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.language: StopWords | None = stop_words
        self.stemmer = stemmer
        self.vectors_file = vectors
        self.left_out: frozenset[str] = frozenset()
        self.vocabulary: Words | BytePairs | None = None
        self.vector_width: int | None = None
        self.vectors: Tensor | None = None

    @property
    def size(self) -> int:
        """V: padding and the unknown token included."""
        return len(self._fitted().tokens)

    def fit(self, values: Sequence[str | None]) -> None:
        """Learn the vocabulary, and read the vectors of its words.

        Raises:
            DataError: the file of vectors cannot be read.
        """
        words = () if self.language is None else stop_words(self.language)
        # A stop word of several pieces ("don't") is left out where its pieces are.
        self.left_out = frozenset(p[0] for word in words if len(p := pieces(self._normal(word))) == 1)
        counts: Counter[str] = Counter()
        for texts in batches(values):
            counts.update(self._counted(texts))
        kind = Words if self.tokenizer == "word" else BytePairs
        self.vocabulary = kind.learn(counts, self.most, self.min_count)
        self.vectors = None if self.vectors_file is None else self._read_vectors(Path(self.vectors_file))
        self.vector_width = None if self.vectors is None else self.vectors.shape[1]

    def __call__(self, values: Sequence[str | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`tokens` [B T] long and `mask` [B T]; a text of which no token is left has one unknown token."""
        values = values if isinstance(values, list) else list(values)
        lengths = np.zeros(len(values), np.int64)
        rows = np.zeros(0, np.int64)
        together = {i: text for i, text in enumerate(values) if text is not None and text.isascii()}
        if len(together) >= WORTHWHILE:
            rows, lengths[list(together)] = self._encoded_together(list(together.values()))
        else:
            together = {}
        alone = {i: self._encoded(text) for i, text in enumerate(values) if text is not None and i not in together}
        lengths[list(alone)] = [len(tokens) for tokens in alone.values()]
        mask = np.arange(max(lengths.max(initial=0), 1)) < lengths[:, None]  # [B T]
        padded = np.full(mask.shape, PADDING, dtype=np.int64)
        of_alone = np.zeros(len(values), bool)
        of_alone[list(alone)] = True
        padded[mask & ~of_alone[:, None]] = rows
        padded[mask & of_alone[:, None]] = list(chain.from_iterable(alone.values()))
        return {"tokens": torch.from_numpy(padded), "mask": torch.from_numpy(mask)}

    def told(self, values: Sequence[str | None]) -> str:
        """What is read of such texts, where it is not all."""
        encode = self._fitted().encode
        lengths = [len(encode(self._pieces(text))) for text in values if text is not None]
        longer = [length for length in lengths if length > self.max_length]
        if not longer:
            return ""
        said = f"{len(longer)} of {len(lengths)} are longer, up to {max(longer):,}"
        return f"the first {self.max_length} tokens; {said} (max_length)"

    def example(self, generator: Generator) -> str:
        """From 2 to 12 tokens of the vocabulary, drawn at random."""
        tokens = self._fitted().tokens[UNKNOWN + 1 :] or ["word"]
        count = int(torch.randint(2, 13, (), generator=generator))
        return " ".join(tokens[i] for i in torch.randint(len(tokens), (count,), generator=generator).tolist())

    def spans(self, value: str) -> list[tuple[int, int]] | None:
        """Where the tokens of a text stand in it; see `Transform`."""
        vocabulary = self._fitted()
        normalised = self._normal(value)
        origin = places(value, normalised, self._normal)
        if origin is None:
            return None
        found: list[tuple[int, int]] = []
        for start, end in cut(normalised):
            piece = normalised[start:end]
            if piece.lower() in self.left_out:
                continue
            if isinstance(vocabulary, BytePairs):
                token = piece if self.stemmer is None else stem(self.stemmer, piece)
                parts = vocabulary.parts(token)
                if token != piece:  # parts of a stem have no places of their own
                    parts = [(0, len(piece))] * len(parts)
            else:
                parts = [(0, len(piece))]
            found += [(origin[start + first][0], origin[start + last - 1][1]) for first, last in parts]
        return found[: self.max_length] or [(0, len(value))]

    def state(self) -> dict[str, Any]:
        """The tokens by row, merges of byte pairs, stop words, and the width of the vectors (not the vectors)."""
        vocabulary = self._fitted()
        return {
            "tokens": vocabulary.tokens,
            "merges": [list(pair) for pair in vocabulary.merges] if isinstance(vocabulary, BytePairs) else None,
            "stop_words": sorted(self.left_out),
            "vector_width": self.vector_width,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; no file is read."""
        tokens, merges = state["tokens"], state["merges"]
        self.vocabulary = Words(tokens) if merges is None else BytePairs(tokens, merges)
        self.left_out = frozenset(state["stop_words"])
        self.vector_width = state["vector_width"]
        self.vectors = None

    def _fitted(self) -> Words | BytePairs:
        if self.vocabulary is None:
            raise RuntimeError("this TextTransform has no vocabulary yet; call fit or restore first")
        return self.vocabulary

    def _normal(self, text: str) -> str:
        return normal(text, lowercase=self.lowercase, strip_accents=self.strip_accents)

    def _encoded(self, text: str) -> list[int]:
        """The tokens of a text; one unknown one where none is left."""
        most = self.max_length
        return self._fitted().encode(self._pieces(text)[:most])[:most] or [UNKNOWN]

    def _encoded_together(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """The tokens of texts of ASCII behind one another, and the number of each text's; as `_encoded` gives them."""
        found = [self._encoded_at_once(batch) for batch in batches(texts)]
        return np.concatenate([rows for rows, _ in found]), np.concatenate([lengths for _, lengths in found])

    def _encoded_at_once(self, texts: Sequence[str]) -> tuple[Array, Array]:
        codes, names, lengths = cut_ascii(texts, lowercase=self.lowercase)
        encode = self._fitted().encode
        of_names = [encode(self._kept([name])) for name in names]
        sizes = np.fromiter(map(len, of_names), np.int64, len(names))  # [V]: byte pairs are several, stop words none
        table = np.fromiter(chain.from_iterable(of_names), np.int64, int(sizes.sum()))
        size = sizes[codes]  # [P]
        ends = np.cumsum(size)
        rows = table[np.repeat((np.cumsum(sizes) - sizes)[codes] - (ends - size), size) + np.arange(size.sum())]
        lengths = np.diff(np.append(0, ends)[np.cumsum(lengths)], prepend=0)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # of each token in its text
        rows, lengths = rows[place < self.max_length], np.minimum(lengths, self.max_length)
        empty = np.flatnonzero(lengths == 0)
        return np.insert(rows, np.cumsum(lengths)[empty], UNKNOWN), np.maximum(lengths, 1)

    def _counted(self, texts: Sequence[str]) -> Counter[str]:
        """How often each piece occurs in texts, after stop words and stemming."""
        counts: Counter[str] = Counter()
        together = [text for text in texts if text.isascii()]
        if len(together) >= WORTHWHILE:
            codes, names, _ = cut_ascii(together, lowercase=self.lowercase)
            for name, count in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
                for piece in self._kept([name]):
                    counts[piece] += count
            texts = [text for text in texts if not text.isascii()]
        for text in texts:
            counts.update(self._pieces(text))
        return counts

    def _pieces(self, text: str) -> list[str]:
        """What is left of a text after stop words and stemming."""
        return self._kept(pieces(self._normal(text)))

    def _kept(self, found: list[str]) -> list[str]:
        """The pieces that are no stop words, cut to their stems."""
        if self.left_out:
            found = [piece for piece in found if piece.lower() not in self.left_out]
        return found if self.stemmer is None else [stem(self.stemmer, piece) for piece in found]

    def _read_vectors(self, path: Path) -> Tensor:
        """[V E] from the file; random of the same spread for words that it lacks, the mean for the unknown token."""
        rows = {token: row for row, token in enumerate(self._fitted().tokens) if row > UNKNOWN}
        vectors, found = read_word_vectors(path, rows)
        known = vectors[found]
        # A generator of its own: what is fitted depends on the training split alone, not on the run's seed.
        random = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0))
        vectors = torch.where(found[:, None], vectors, known.mean(0) + known.std(0, correction=0) * random)
        vectors[PADDING] = 0
        vectors[UNKNOWN] = known.mean(0)
        return vectors
