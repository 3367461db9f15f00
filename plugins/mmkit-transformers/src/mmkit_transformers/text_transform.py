"""Texts to the tokens that a pretrained model knows, by its own tokenizer.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from tokenizers import Tokenizer
from torch import Generator
from transformers import AutoConfig

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit_transformers.source import fast_tokenizer, read


class TransformersTextTransform:
    """Tokenises a whole batch at once with the model's fast tokenizer.

    Args:
        model: name of a model on the hub, or a folder that `save_pretrained` wrote.
        revision: revision on the hub: a branch, a tag or a commit.
        max_length: greatest number of tokens of a text, the special tokens of the model included; none takes as many as
            the model allows.
    """

    augments = False

    def __init__(
        self,
        *,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        revision: str | None = None,
        max_length: Annotated[int, Gt(0)] | None = 128,
    ) -> None:
        self.model = model
        self.revision = revision
        self.max_length = max_length
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self._tokenizer: Tokenizer | None = None
        self._padding = 0
        self._words: int | None = None
        """How many tokens the model knows; None where that is not asked."""

    def fit(self, values: Sequence[str | None]) -> None:
        """Read the tokenizer and the configuration; nothing is fitted on the texts.

        Raises:
            DataError: they are not available on this machine, or the model has no fast tokenizer.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no text in this input; leave the input out")
        config = read(AutoConfig.from_pretrained, self.model, self.revision)
        tokenizer = fast_tokenizer(self.model, self.revision)
        self.config = config.to_dict()
        self._tokenizer = tokenizer.backend_tokenizer
        self._padding = tokenizer.pad_token_id or 0
        self._tokenizer.no_padding()
        text = config.get_text_config()
        self._words = getattr(text, "vocab_size", None)
        self._truncate(text)

    def _truncate(self, config: Any) -> None:
        places = getattr(config, "max_position_embeddings", None)
        usable = places if places and places > 0 else None  # -1 is no bound
        if config.model_type in _SHIFTED:
            # They count positions from the number of the padding token on: as many positions are not for tokens.
            self._padding = 1 if config.model_type == "mpnet" else getattr(config, "pad_token_id", None) or 0
            usable = None if usable is None else usable - self._padding - 1
        bounds = [bound for bound in (self.max_length, usable) if bound is not None]
        if bounds:
            self._fitted().enable_truncation(min(bounds))

    def __call__(self, values: Sequence[str | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`tokens` [B T] long and `mask` [B T], False where padded or missing.

        Raises:
            DataError: the tokenizer knows nothing in a text, which would then be taken for a missing one, or it gives a
                token that the model does not know.
        """
        texts = [value for value in values if value is not None]
        found = [one.ids for one in self._fitted().encode_batch_fast(texts)]
        for text, ids in zip(texts, found, strict=True):
            if not ids:
                raise DataError(f"{self.model}'s tokenizer gives no token for {text!r}")
            if self._words is not None and max(ids) >= self._words:
                raise DataError(
                    f"{self.model}'s tokenizer gives token {max(ids)} for {text!r}, and the model knows {self._words}; "
                    "give a folder with the tokenizer that belongs to the model"
                )
        numbered = iter(found)
        rows = [[] if value is None else next(numbered) for value in values]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        mask = np.arange(max(lengths.max(initial=0), 1)) < lengths[:, None]  # [B T]
        tokens = np.full(mask.shape, self._padding, dtype=np.int64)
        tokens[mask] = np.fromiter((token for row in rows for token in row), dtype=np.int64, count=int(lengths.sum()))
        return {"tokens": torch.from_numpy(tokens), "mask": torch.from_numpy(mask)}

    def spans(self, value: str) -> list[tuple[int, int]]:
        """Where the tokens of a text stand in it; those that the model adds stand for nothing of it."""
        offsets: list[tuple[int, int]] = self._fitted().encode(value).offsets
        return offsets

    def state(self) -> dict[str, Any]:
        """The tokenizer, whole, and the model's configuration: no file and no hub is needed to restore it."""
        return {"tokenizer": self._fitted().to_str(), "padding": self._padding, "config": self.config}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._tokenizer = Tokenizer.from_str(state["tokenizer"])
        self._padding = state["padding"]
        self.config = dict(state["config"])
        self.restored = True

    def _fitted(self) -> Tokenizer:
        if self._tokenizer is None:
            raise RuntimeError("this transform has no tokenizer yet; call fit or restore first")
        return self._tokenizer


_SHIFTED = {
    "altclip_text_model",
    "bridgetower_text_model",
    "camembert",
    "clap_text_model",
    "data2vec-text",
    "esm",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
