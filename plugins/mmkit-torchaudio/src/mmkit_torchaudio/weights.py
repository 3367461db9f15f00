"""Weights of a bundle: from torchaudio's server by way of torch's local cache, or from a file; tensors only."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmkit.errors import DataError

SERVER = "https://download.pytorch.org/torchaudio/models/"
HEAD = "aux."
"""What comes after the last layer, for recognition; nothing here reads it."""


def load(model: nn.Module, bundle: str, path: str, weights: str) -> None:
    """Put the weights into a model.

    Args:
        model: of the bundle.
        bundle: its name.
        path: of its weights on the server; empty where there are none.
        weights: "hub", or a file.

    Raises:
        DataError: they cannot be had here, cannot be read, or do not fit.
    """
    file = _downloaded(bundle, path) if weights == "hub" else Path(weights)
    try:
        found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or a malicious file makes the readers raise
        raise DataError(f"{file} holds no weights that can be read safely: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(f"{file} holds no weights by name; give a state dict")
    given = {name: value for name, value in found.items() if not name.startswith(HEAD)}
    try:
        report = model.load_state_dict(given, strict=False)  # it knows older names of normalised weights
    except RuntimeError as error:
        raise DataError(f"{file} does not fit {bundle}: {' '.join(str(error).split())[:300]}") from error
    missing = [name for name in report.missing_keys if not name.startswith(HEAD)]
    for said, names in (("lacks", missing), ("has besides", report.unexpected_keys)):
        if names:
            raise DataError(f"{file} does not fit {bundle}: it {said} {len(names)}: {', '.join(names[:5])}, ...")


def _downloaded(bundle: str, path: str) -> Path:
    if not path:
        raise DataError(f"bundle {bundle} has no weights; set weights=none for new ones")
    url = path if path.startswith("https") else SERVER + path
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.is_file():
        return file
    try:
        # Asked once and for seconds only, before a download that may be of gigabytes.
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):  # noqa: S310 (our own)
            pass
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=False)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"the weights of {bundle} are not on this machine, and cannot be had ({type(error).__name__}: {error}); "
            f"on a machine with a network download {url}, and put it at {file}, or give it: torchaudio:weights=FILE"
        ) from error
    return file
