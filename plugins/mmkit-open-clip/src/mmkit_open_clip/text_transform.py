"""Texts to the tokens that a model of open_clip knows, by its own tokenizer.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn, tokenize
from torch import Generator, Tensor

from mmkit.contract import Batch
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.pretrained.weights import in_a_line, offline
from mmkit_open_clip.image_transform import MODEL, PRETRAINED
from mmkit_open_clip.source import described


class OpenClipTextTransform:
    """Tokenises a whole batch at once.

    The tokenizer is open_clip's own, which ships with it, or a fast one of transformers, which comes from the folder of
    local-dir:, or by its name from the local cache of the hub.

    Args:
        model: a model name of open_clip ("ViT-B-32"), "hf-hub:OWNER/NAME", or "local-dir:FOLDER".
        pretrained: a tag of open_clip; a file of weights (safetensors, or a torch file of tensors); or "none" for
            random weights. With hf-hub: and local-dir:, a tag is ignored: they bring their own weights.
    """

    augments = False

    def __init__(self, *, model: str = MODEL, pretrained: str = PRETRAINED) -> None:
        self.model = model
        self.pretrained = pretrained
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.transformer: dict[str, Any] | None = None
        """That of the text model of transformers, where the tower is one."""
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self._fast: dict[str, Any] | None = None
        self._tokenize: _Simple | _Fast | None = None

    def fit(self, values: Sequence[str | None]) -> None:
        """Read the configuration and the tokenizer; nothing is fitted on the texts.

        Raises:
            DataError: there is no text, or configuration or tokenizer is not available on this machine.
            UsageError: open_clip knows no such model or weights, or its tokenizer is of a kind that is not read here.
            UnavailableError: transformers is needed, and not installed.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no text in this input; leave the input out")
        config, _ = described(self.model, self.pretrained)
        text = config["text_cfg"]
        fast = transformer = None
        if text.get("hf_tokenizer_name"):
            folder = self.model.removeprefix("local-dir:") if self.model.startswith("local-dir:") else ""
            fast = _read_fast(folder or text["hf_tokenizer_name"], text)
        if text.get("hf_model_name"):
            transformer = _of_transformers("AutoConfig", text["hf_model_name"]).to_dict()
        self._take(config, transformer, fast)

    def __call__(self, values: Sequence[str | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`tokens` [B T] long and `mask` [B T], False where padded or missing."""
        if self._tokenize is None:
            raise RuntimeError("this transform has no tokenizer yet; call fit or restore first")
        # A missing text has the tokens of an empty one, so that there is something to attend to; the mask hides it.
        tokens, mask = self._tokenize(["" if value is None else value for value in values])
        return {"tokens": tokens, "mask": mask & torch.tensor([value is not None for value in values])[:, None]}

    def spans(self, value: str) -> list[tuple[int, int]] | None:
        """Where the tokens of a text stand in it; None where the model's tokenizer does not say so."""
        return self._tokenize.spans(value) if isinstance(self._tokenize, _Fast) else None

    def state(self) -> dict[str, Any]:
        """Configurations, and the tokenizer whole where it is not open_clip's own."""
        return {"config": self.config, "transformer": self.transformer, "tokenizer": self._fast}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self._take(dict(state["config"]), state["transformer"], state["tokenizer"])
        self.restored = True

    @property
    def padding(self) -> int:
        """The token behind a text's end."""
        return 0 if self._fast is None else int(self._fast["padding"])

    def _take(self, config: dict[str, Any], transformer: Any, fast: dict[str, Any] | None) -> None:
        self.config, self.transformer, self._fast = config, transformer, fast
        self._tokenize = _Simple(config["text_cfg"]) if fast is None else _Fast(fast)


class _Simple:
    """open_clip's own tokenizer; where attention looks back only, a batch is cut behind its longest text."""

    def __init__(self, text: Mapping[str, Any]) -> None:
        given = dict(text.get("tokenizer_kwargs") or {})
        if given.get("reduction_mask"):
            raise UsageError(f"reduction_mask={given['reduction_mask']} leaves words out at random; take another model")
        length = text.get("context_length", 77)
        # All models without settings of their own share the tokenizer that open_clip made on import.
        self.tokenizer = (
            SimpleTokenizer(context_length=length, **given) if given else partial(tokenize, context_length=length)
        )
        self.cut = not text.get("no_causal_mask") and not text.get("embed_cls") and text.get("pool_type") != "last"

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens = self.tokenizer(list(texts))
        lengths = tokens.argmax(1) + 1  # the end of a text has the highest number
        tokens = tokens[:, : int(lengths.max())] if self.cut and len(texts) else tokens
        return tokens, torch.arange(tokens.shape[1]) < lengths[:, None]


class _Fast:
    """A tokenizer of transformers, as open_clip's `HFTokenizer` uses it, always of the full length."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.tokenizer = importlib.import_module("tokenizers").Tokenizer.from_str(given["tokenizer"])
        self.clean = get_clean_fn(given["clean"])
        self.separator, self.padding = given["separator"], given["padding"]

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        found = self.tokenizer.encode_batch([self.clean(text) for text in texts])
        tokens = torch.tensor([one.ids for one in found])
        mask = torch.tensor([one.attention_mask for one in found], dtype=torch.bool)
        if self.separator is not None:
            tokens = tokens.masked_fill(tokens == self.separator, 0)
        return tokens, mask

    def spans(self, text: str) -> list[tuple[int, int]] | None:
        """Of each real token; None where the text is cleaned of something first, which moves what follows."""
        if self.clean(text) != text:
            return None
        found = self.tokenizer.encode(text)
        return [span for span, real in zip(found.offsets, found.attention_mask, strict=True) if real]


def _read_fast(source: str, text: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer of transformers as plain values."""
    given = dict(text.get("tokenizer_kwargs") or {})
    clean, strips = given.pop("clean", "whitespace"), given.pop("strip_sep_token", False)
    if text.get("tokenizer_mode") or given.pop("language", None):
        raise UsageError(
            "the model's tokenizer has a mode or a language of its own, which mmkit-open-clip does not read"
        )
    found = _of_transformers("AutoTokenizer", source, **given)
    if not getattr(found, "is_fast", False):
        raise DataError(f"{source} has no fast tokenizer (tokenizer.json); convert it, or take another model")
    # Where the files are missing, transformers makes a tokenizer of nothing.
    if len(set(found.get_vocab()) - set(found.all_special_tokens)) <= 1:
        raise DataError(
            f"{source} has a tokenizer without a vocabulary: its files (tokenizer.json) are missing or empty; give "
            "model=local-dir:FOLDER with the model's own in it"
        )
    inner, length = found.backend_tokenizer, text.get("context_length", 77)
    inner.enable_truncation(length, direction=found.truncation_side)
    inner.enable_padding(
        direction=found.padding_side, pad_id=found.pad_token_id, pad_token=found.pad_token, length=length
    )
    return {
        "tokenizer": inner.to_str(),
        "clean": clean,
        "separator": found.sep_token_id if strips else None,
        "padding": found.pad_token_id,
    }


def _of_transformers(kind: str, source: str, **options: Any) -> Any:
    """What a class of transformers reads from a folder, from the hub's local cache, or from the hub."""
    try:
        read = getattr(importlib.import_module("transformers"), kind).from_pretrained
    except ImportError as error:
        raise UnavailableError("this model needs transformers: pip install 'mmkit-open-clip[hf]'") from error
    reason = ""
    for local in (True, False):
        try:
            return read(source, local_files_only=local, trust_remote_code=False, **options)
        except Exception as error:  # noqa: BLE001 (whatever a damaged file, or an absent one, makes the readers raise)
            reason = in_a_line(error) if not local or Path(source).is_dir() else offline()
        if reason:
            break
    what = "tokenizer" if kind == "AutoTokenizer" else "configuration"
    raise DataError(
        f"the {what} of {source} is not on this machine, or cannot be read ({reason}); on a machine with a network run "
        f"`hf download {source}`, and bring the hub's cache here, or give model=local-dir:FOLDER with the files in it"
    )
