"""Where models come from: a folder, or the hub by way of its local cache."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers.utils import logging

from mmkit.errors import DataError


def read(load: Callable[..., Any], model: str, revision: str | None, **options: Any) -> Any:
    """What `load` (a `from_pretrained`) gives for a folder or a name of the hub; code of the model's is never run.

    A name is looked for in the local cache first, so that what was downloaded once needs no network.

    Raises:
        DataError: it cannot be had here, or cannot be read; it says what to do.
    """
    with _quiet():
        return _read(load, model, revision, options)


def _read(load: Callable[..., Any], model: str, revision: str | None, options: dict[str, Any]) -> Any:
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise DataError(f"{model} is a folder without config.json; give one that save_pretrained wrote")
        try:
            return load(model, local_files_only=True, trust_remote_code=False, **options)
        except Exception as error:  # whatever a damaged file makes the readers raise
            raise DataError(f"{model} cannot be read: {_line(error)}") from error
    if folder.is_absolute() or model.startswith("."):
        raise DataError(f"there is no folder {model}; give one that save_pretrained wrote, or a name of the hub")
    named = {"revision": revision, "trust_remote_code": False, **options}
    try:
        return load(model, local_files_only=True, **named)
    except (OSError, ValueError):
        if constants.HF_HUB_OFFLINE:
            raise _unavailable(model, revision, "HF_HUB_OFFLINE is set") from None
    if not _reachable():
        raise _unavailable(model, revision, "the hub cannot be reached")
    try:
        return load(model, **named)
    except Exception as error:  # whatever the hub, the network or a file makes of it
        raise _unavailable(model, revision, _line(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without bars and reports: what is missing is said by mmkit, where it matters."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _reachable() -> bool:
    """Whether the hub answers at all, asked once and for seconds only: the hub's own client tries for a minute."""
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 (the endpoint is the user's own setting)
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True  # it answers, if only to say no
    except OSError:
        return False


def _unavailable(model: str, revision: str | None, reason: str) -> DataError:
    at, pin = (f" at revision {revision}", f" --revision {revision}") if revision else ("", "")
    return DataError(
        f"{model}{at} is not on this machine, and {reason}; on a machine with a network run "
        f"`hf download {model}{pin} --local-dir FOLDER`, and give model=FOLDER"
    )


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
