"""Weights of a bundle: from torchaudio's server and torch's local cache, or from a file; read as tensors only."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mmkit.errors import DataError
from mmkit.pretrained.weights import in_a_line, load, offline, read

SERVER = "https://download.pytorch.org/torchaudio/models/"
HEAD = "aux."
"""What comes after the last layer, for recognition; nothing here reads it."""
RENAMED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
"""The parts of a normalised weight, by the names that they had when the bundles were trained."""


def fill(model: nn.Module, bundle: str, path: str, weights: str) -> None:
    """Put the weights into a model without a head.

    Args:
        model: of the bundle.
        bundle: its name.
        path: of its weights on the server; empty where there are none.
        weights: "hub", or a file.

    Raises:
        DataError: they are not available on this machine, cannot be read, or do not fit.
    """
    file = _downloaded(bundle, path) if weights == "hub" else Path(weights)
    given: dict[str, Tensor] = {}
    for name, value in read(file).items():
        owner, _, last = name.rpartition(".")
        if not name.startswith(HEAD):
            given[f"{owner}.{RENAMED[last]}" if last in RENAMED else name] = value
    load(model, given, file)


def _downloaded(bundle: str, path: str) -> Path:
    if not path:
        raise DataError(f"bundle {bundle} has no weights; set weights=none for new ones")
    url = path if path.startswith("https") else SERVER + path
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.is_file():
        return file
    reason = offline(url)
    if not reason:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), progress=False)
        except (OSError, RuntimeError) as error:
            reason = in_a_line(error)
    if reason:
        raise DataError(
            f"the weights of {bundle} are not on this machine, and {reason}; on a machine with a network download "
            f"{url}, and put it at {file}, or give it: torchaudio:weights=FILE"
        )
    return file
