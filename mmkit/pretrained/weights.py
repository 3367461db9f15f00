"""Pretrained weights, for plugins: download from a hub, read a file safely, load into a module."""

from __future__ import annotations

import os
import pickle
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmkit.errors import DataError
from mmkit.system.files import at_home

_UNREACHABLE_UNTIL: dict[str, float] = {}
"""Servers that did not answer, with the time on the monotonic clock at which they may be tried again."""


def read(file: str | Path, within: str = "state_dict") -> dict[str, Tensor]:
    """Read the tensors of a file by name: of a .safetensors file, or of a torch file, without running code in it.

    Args:
        file: a local file.
        within: the key of the weights in a torch file that holds other things as well.

    Raises:
        DataError: the file is missing or damaged, holds code that loading would run, or holds no tensors by name.
    """
    file = at_home(file)
    if not file.is_file():
        raise DataError(f"there is no file of weights at {file}; give the path of an existing file")
    try:
        with warnings.catch_warnings(action="ignore"):
            weights = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message goes on to explain how to run it all the same
        raise DataError(
            f"{file} holds no weights that can be read safely: it is damaged, or holds more than tensors; no code in "
            "it was run; give a .safetensors file, or a file with a state dict only"
        ) from error
    except Exception as error:  # a damaged or malicious file can make the readers raise anything
        raise DataError(
            f"{file} holds no weights that can be read safely ({in_a_line(error)}): it is damaged, or no file of "
            "weights; download it again"
        ) from error
    if isinstance(weights, dict) and isinstance(weights.get(within), dict):
        weights = weights[within]
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{file} holds no weights by name; give a file with a state dict")
    return weights


def load(module: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a module. All names and shapes must match.

    Args:
        module: to load into.
        weights: by name.
        source: where they come from, for the message.

    Raises:
        DataError: weights are missing, unknown or of another shape; the message names them.
    """
    own = module.state_dict()
    mismatches = {
        "lacks": own.keys() - weights.keys(),
        "has besides": weights.keys() - own.keys(),
        "has in another shape": {
            name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape
        },
    }
    faults = [f"{fault} {len(names)}: {_first_five(names)}" for fault, names in mismatches.items() if names]
    if faults:
        raise DataError(f"{source} does not fit the model: it {'; it '.join(faults)}")
    module.load_state_dict(dict(weights))


def _first_five(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")


def fetched(repository: str, names: Sequence[str], instead: str, revision: str | None = None) -> Path:
    """The path of a file of a repository: from the hub's local cache, which needs no network, else downloaded.

    Args:
        repository: OWNER/NAME.
        names: of alternative files; the first that exists is taken.
        instead: what a user without a network can give instead, for the message.
        revision: a branch, a tag or a commit.

    Raises:
        DataError: it is neither cached nor downloadable; the message says what to download and how to use it.
    """
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision, local_files_only=True))
        except (OSError, ValueError):
            continue

    def unavailable(reason: str) -> DataError:
        return DataError(
            f"{names[0]} of {repository} is not on this machine, and {reason}; run `hf download {repository}` on a "
            f"machine with a network, and give {instead}"
        )

    reason = offline()
    if reason:
        raise unavailable(reason)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except EntryNotFoundError:
            continue
        except Exception as error:  # of the hub, the network or the disk
            raise unavailable(in_a_line(error)) from error
    raise unavailable("the hub has no such file")


def offline(address: str | None = None) -> str:
    """Why nothing can be downloaded now; empty if it can. Takes seconds, where the clients of hubs retry for a minute.

    A server that does not answer is not tried again for a minute.

    Args:
        address: URL of the server; None is the hub's, from HF_ENDPOINT if set.
    """
    if address is None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            return "HF_HUB_OFFLINE is set"
        address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if not address.startswith(("https://", "http://")):
        return f"{address} is no http or https address"
    if time.monotonic() < _UNREACHABLE_UNTIL.get(address, 0.0):
        return f"{address} cannot be reached"
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 (checked above)
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return ""
    except urllib.error.HTTPError:
        return ""  # an error status is an answer, too
    except OSError:
        _UNREACHABLE_UNTIL[address] = time.monotonic() + 60
        return f"{address} cannot be reached"


def in_a_line(error: Exception) -> str:
    """The type and the message of an error, in one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
