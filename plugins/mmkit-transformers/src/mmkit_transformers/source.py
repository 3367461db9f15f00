"""Where models come from: a folder, or the hub and its local cache."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, modeling_gguf_pytorch_utils
from transformers.utils import logging

from mmkit.errors import DataError
from mmkit.pretrained.weights import in_a_line, offline

NO_ADAPTER: dict[str, Any] = {"adapter_kwargs": {"local_files_only": True}}
"""Options of models: without them the hub is asked for an adapter, for half a minute where there is no network, even if
the model is in the local cache."""


def read(load: Callable[..., Any], model: str, revision: str | None, **options: Any) -> Any:
    """What `load` (a `from_pretrained`) gives for a folder or a name of the hub; code of the model is never run.

    A name is looked for in the local cache first, so that what was downloaded once needs no network.

    Raises:
        DataError: it is not available on this machine, or cannot be read; it says what to do.
    """
    with _quiet():
        return _read(load, model, revision, options)


def _read(load: Callable[..., Any], model: str, revision: str | None, options: dict[str, Any]) -> Any:
    folder = Path(model)
    if folder.is_dir():
        needed = options.get("gguf_file") or "config.json"
        if not (folder / needed).is_file():
            raise DataError(
                f"{model} is a folder without {needed}; give one that has it, as save_pretrained writes them"
            )
        try:
            return load(model, local_files_only=True, trust_remote_code=False, **options)
        except Exception as error:  # anything that a damaged file makes the readers raise
            raise DataError(f"{model} cannot be read: {_why(load, error)}") from error
    if folder.is_absolute() or model.startswith("."):
        raise DataError(f"there is no folder {model}; give one that save_pretrained wrote, or a name of the hub")
    named = {"revision": revision, "trust_remote_code": False, **options}
    try:
        return load(model, local_files_only=True, **named)
    except (OSError, ValueError):
        reason = offline()
    except Exception as error:  # a file that is there and damaged
        raise DataError(
            f"{model} in the hub's local cache cannot be read: {_why(load, error)}; or remove it there, "
            "and get it again"
        ) from error
    if reason:
        raise _unavailable(model, revision, reason)
    try:
        return load(model, **named)
    except Exception as error:  # anything that the hub, the network or a file causes
        raise _unavailable(model, revision, _why(load, error)) from error


def fast_tokenizer(model: str, revision: str | None, **options: Any) -> Any:
    """The tokenizer of a model.

    Raises:
        DataError: it is not available on this machine, is not a fast one, or knows no words: where files are lacking,
            transformers makes one that takes all texts for unknown.
    """
    tokenizer = read(AutoTokenizer.from_pretrained, model, revision, **options)
    if not getattr(tokenizer, "is_fast", False):
        raise DataError(f"{model} has no fast tokenizer (tokenizer.json); convert it, or take another model")
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)) <= 1:  # some have a mark for spaces
        raise DataError(
            f"{model} has a tokenizer without a vocabulary: its files (tokenizer.json) are missing or empty; give a "
            "folder with the model's own, as the tokenizer's save_pretrained writes them"
        )
    return tokenizer


_NEEDED = {
    "AutoImageProcessor": "image processor (preprocessor_config.json); take a model of images",
    "AutoFeatureExtractor": "feature extractor (preprocessor_config.json); take a model of sound",
    "AutoVideoProcessor": "video processor (video_preprocessor_config.json); take a model of videos",
    "AutoTokenizer": "tokenizer (tokenizer.json); take a model of texts",
}
_LACKING = ("Can't load", "Couldn't instantiate", "Unrecognized")
"""How transformers begins where it finds none; then it lists all models, or asks about folders of the hub's names."""


def _why(load: Callable[..., Any], error: Exception) -> str:
    """Why something cannot be read, and what to do; the message of transformers would say how to run foreign code."""
    if isinstance(error, pickle.UnpicklingError):
        return "its weights are damaged, or hold more than tensors, and were not loaded; give them as .safetensors"
    if "trust_remote_code" in str(error):
        return "it comes with code of its own, which is never run; take a model that transformers itself knows"
    needed = _NEEDED.get(getattr(getattr(load, "__self__", None), "__name__", ""))
    if needed and str(error).startswith(_LACKING):
        return f"it has no {needed}, with all that save_pretrained writes"
    return in_a_line(error)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and reports; mmkit itself reports missing weights where they matter."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    gguf: Any = modeling_gguf_pytorch_utils  # its progress bar has no switch
    bar, gguf.tqdm = gguf.tqdm, partial(gguf.tqdm, disable=True)
    try:
        yield
    finally:
        gguf.tqdm = bar
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _unavailable(model: str, revision: str | None, reason: str) -> DataError:
    at, pin = (f" at revision {revision}", f" --revision {revision}") if revision else ("", "")
    return DataError(
        f"{model}{at} is not on this machine, and {reason}; on a machine with a network run "
        f"`hf download {model}{pin} --local-dir FOLDER`, and give model=FOLDER"
    )
