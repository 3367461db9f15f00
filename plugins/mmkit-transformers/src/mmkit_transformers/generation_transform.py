"""True texts to tokens of a causal language model, and generated tokens back to texts.

Axes: B batch, T tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt
from tokenizers import Tokenizer
from torch import Generator
from transformers import AutoConfig

from mmkit.contract import Batch, Target
from mmkit.errors import DataError
from mmkit_transformers.source import fast_tokenizer, read


class GenerationTransform:
    """Tokenises answers with the model's own fast tokenizer; each ends with the model's end of text.

    Raw truth is a text that is not blank; None is missing. Batches are `tokens` [B T] long and `real` [B T] bool, T
    being `max_length`, with `mask` [B].

    Args:
        model: name of a model on the hub, or a folder that `save_pretrained` wrote.
        revision: revision on the hub: a branch, a tag or a commit.
        gguf: name of a GGUF file of that folder or repository, with model and tokenizer; it is read in float32 and
            needs the packages gguf and accelerate.
        max_length: greatest number of tokens of an answer, the end of text included; a longer truth is cut off and has
            no end of text.
        prompt: text between the prefix and the answer.

    Raises:
        ValueError: the target is no text.
    """

    augments = False

    def __init__(
        self,
        kind: str,
        *,
        model: str = "HuggingFaceTB/SmolLM2-135M-Instruct",
        revision: str | None = None,
        gguf: str | None = None,
        max_length: Annotated[int, Gt(0)] = 24,
        prompt: str = "",
    ) -> None:
        if kind != "text":
            raise ValueError(f"texts are a target of kind text; got {kind}")
        self.model = model
        self.revision = revision
        self.gguf = gguf
        self.max_length = max_length
        self.prompt = prompt
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.begin = 0
        """The token that begins every text: the model's own, else that of its end."""
        self.end = 0
        self.opening: list[int] = []
        """The tokens of the prompt."""
        self.samples = 0
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self._tokenizer: Tokenizer | None = None

    @property
    def named(self) -> dict[str, str]:
        """How transformers is told of the GGUF file."""
        return {} if self.gguf is None else {"gguf_file": self.gguf}

    def fit(self, values: Sequence[Any]) -> None:
        """Read the tokenizer and the configuration; of the texts, only how many there are is kept.

        Raises:
            DataError: they are not available on this machine, the model has no fast tokenizer or no end of text, no
                truth is there, or a truth is no text.
        """
        self.samples = len([_text(value) for value in values if value is not None])
        if not self.samples:
            raise DataError("no sample of the training split has truth; give some that have")
        config = read(AutoConfig.from_pretrained, self.model, self.revision, **self.named)
        tokenizer = fast_tokenizer(self.model, self.revision, **self.named)
        if tokenizer.eos_token_id is None:
            raise DataError(f"the tokenizer of {self.model} names no end of text (eos_token); give it one")
        self.config = config.to_dict()
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.end = tokenizer.eos_token_id
        self.begin = self.end if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self.opening = self._ids([self.prompt])[0] if self.prompt else []

    def __call__(self, values: Sequence[Any], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """The batch of raw texts.

        Raises:
            DataError: a truth is no text.
        """
        found = iter(self._ids([_text(value) for value in values if value is not None]))
        tokens = torch.full((len(values), self.max_length), self.end)
        real = torch.zeros(tokens.shape, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is not None:
                ids = [*next(found), self.end][: self.max_length]
                tokens[row, : len(ids)] = torch.tensor(ids)
                real[row, : len(ids)] = True
        return {"tokens": tokens, "real": real, "mask": real.any(1)}

    def target(self) -> Target:
        """A text of the tokenizer's vocabulary."""
        return Target("text", self._fitted().get_vocab_size(), samples=self.samples)

    def inverse(self, prediction: Batch) -> list[Any]:
        """Of each sample its `text`, without special tokens and surrounding space."""
        rows = zip(prediction["tokens"].tolist(), prediction["mask"].tolist(), strict=True)
        ids = [[token for token, real in zip(*row, strict=True) if real] for row in rows]
        return [{"text": text.strip()} for text in self._fitted().decode_batch(ids, skip_special_tokens=True)]

    def state(self) -> dict[str, Any]:
        """The tokenizer, whole, and the model's configuration: no file and no hub is needed to restore it."""
        return {
            "tokenizer": self._fitted().to_str(),
            "config": self.config,
            "begin": self.begin,
            "end": self.end,
            "opening": self.opening,
            "samples": self.samples,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._tokenizer = Tokenizer.from_str(state["tokenizer"])
        self.config = dict(state["config"])
        self.begin, self.end = state["begin"], state["end"]
        self.opening = list(state["opening"])
        self.samples = state["samples"]
        self.restored = True

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return [one.ids for one in self._fitted().encode_batch_fast(texts, add_special_tokens=False)]

    def _fitted(self) -> Tokenizer:
        if self._tokenizer is None:
            raise RuntimeError("this transform has no tokenizer yet; call fit or restore first")
        return self._tokenizer


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"truth is a text that is not blank, None where it is missing; got {value!r}")
    return value
