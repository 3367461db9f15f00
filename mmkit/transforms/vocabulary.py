"""Rows of pieces of text: of whole pieces, or of parts of them by byte-pair encoding.

Row 0 is padding, row 1 an unknown token.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

PADDING, UNKNOWN = 0, 1
NAMES = ("[PAD]", "[UNK]")  # never a piece: in pieces, brackets stand alone
REMEMBERED = 2**18


class Words:
    """A row for each whole piece.

    Args:
        tokens: by row.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)
        self.rows = {token: row for row, token in enumerate(self.tokens)}

    @staticmethod
    def learn(counts: Mapping[str, int], size: int, min_count: int) -> Words:
        """The most frequent pieces; of equally frequent ones the first by name."""
        frequent = sorted((p for p in counts if counts[p] >= min_count), key=lambda piece: (-counts[piece], piece))
        return Words([*NAMES, *frequent[: size - len(NAMES)]])

    def encode(self, pieces: Sequence[str]) -> list[int]:
        """The row of each piece."""
        get = self.rows.get
        return [get(piece, UNKNOWN) for piece in pieces]


class BytePairs:
    """Rows of letters, and of the longer tokens that merging pairs makes of them.

    Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016,
    https://arxiv.org/abs/1508.07909; here pairs are merged within a piece only, and the end of a word has no mark.

    Args:
        tokens: by row.
        merges: pairs of tokens, the earliest first.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[Sequence[str]]) -> None:
        self.tokens = list(tokens)
        self.merges = [(left, right) for left, right in merges]
        rows = {token: row for row, token in enumerate(self.tokens)}
        self.model = models.BPE(vocab=rows, merges=self.merges, unk_token=NAMES[UNKNOWN])
        self.remembered: dict[str, list[int]] = {}

    @staticmethod
    def learn(counts: Mapping[str, int], size: int, min_count: int) -> BytePairs:
        """Letters and pairs that occur `min_count` times, up to `size` rows."""
        letters: Counter[str] = Counter()
        for piece, count in counts.items():
            for letter in piece:
                letters[letter] += count
        # The trainer alone would drop letters at random among equally rare ones.
        alphabet = Words.learn(letters, size, min_count).tokens[len(NAMES) :]
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_count,
            special_tokens=list(NAMES),
            limit_alphabet=len(alphabet),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        learner = Tokenizer(models.BPE(unk_token=NAMES[UNKNOWN]))
        learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        learner.train_from_iterator((" ".join([piece] * count) for piece, count in counts.items()), trainer)
        learnt = json.loads(learner.to_str())["model"]
        return BytePairs(sorted(learnt["vocab"], key=learnt["vocab"].__getitem__), learnt["merges"])

    def encode(self, pieces: Sequence[str]) -> list[int]:
        """The rows of each piece's parts."""
        rows: list[int] = []
        for piece in pieces:
            parts = self.remembered.get(piece)
            if parts is None:
                parts = [token.id for token in self.model.tokenize(piece)]
                if len(self.remembered) < REMEMBERED:
                    self.remembered[piece] = parts
            rows += parts
        return rows

    def parts(self, piece: str) -> list[tuple[int, int]]:
        """Where each part of a piece begins and ends, in characters."""
        places = [0]  # of each byte
        for place, letter in enumerate(piece, start=1):
            places += [place] * len(letter.encode())
        return [(places[token.offsets[0]], places[token.offsets[1]]) for token in self.model.tokenize(piece)]
