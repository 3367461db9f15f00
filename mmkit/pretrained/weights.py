"""Pretrained weights, for plugins: from a hub that answers, out of a file that is safe, into a module that fits."""

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

_UNREACHED: dict[str, float] = {}
"""Until when servers that did not answer are not asked again."""


def read(file: str | Path, within: str = "state_dict") -> dict[str, Tensor]:
    """The tensors of a file by name: .safetensors, or a torch file, of which nothing but tensors is read.

    Args:
        file: on this disk.
        within: where a torch file holds more than weights, the name under which they stand.

    Raises:
        DataError: it is not there, is damaged, holds anything that would have to be run, or no tensors by name.
    """
    file = Path(file)
    if not file.is_file():
        raise DataError(f"there is no file of weights at {file}")
    try:
        with warnings.catch_warnings(action="ignore"):
            found = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words go on to say how to run it all the same
        raise DataError(
            f"{file} holds no weights that can be read safely: it is damaged, or holds more than tensors; nothing of "
            "it was run; give a .safetensors file, or a state dict alone"
        ) from error
    except Exception as error:  # whatever a damaged or a malicious file makes the readers raise
        raise DataError(
            f"{file} holds no weights that can be read safely ({in_a_line(error)}): it is damaged, or no file of "
            "weights; get it anew"
        ) from error
    if isinstance(found, dict) and isinstance(found.get(within), dict):
        found = found[within]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(f"{file} holds no weights by name; give a state dict")
    return found


def load(module: nn.Module, given: Mapping[str, Tensor], source: object) -> None:
    """Put weights into a module whose names and shapes they must have, all of them.

    Args:
        module: that gets them.
        given: by name.
        source: where they are from, for the message.

    Raises:
        DataError: some are missing, unknown or of another shape; it names them.
    """
    own = module.state_dict()
    faults = {
        "lacks": own.keys() - given.keys(),
        "has besides": given.keys() - own.keys(),
        "has in another shape": {name for name in own.keys() & given.keys() if own[name].shape != given[name].shape},
    }
    found = [f"{said} {len(names)}: {_some(names)}" for said, names in faults.items() if names]
    if found:
        raise DataError(f"{source} does not fit the model: it {'; it '.join(found)}")
    module.load_state_dict(dict(given))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")


def fetched(repository: str, names: Sequence[str], instead: str, revision: str | None = None) -> Path:
    """The first of these files that the hub's local cache has, or else the hub; what is there needs no network.

    Args:
        repository: OWNER/NAME.
        names: of files, the best first.
        instead: what a user without a network may give, for the message.
        revision: a branch, a tag or a commit.

    Raises:
        DataError: it cannot be had here; it says what to download, and how to give it.
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
        except Exception as error:  # whatever the hub, the network or the disk makes of it
            raise unavailable(in_a_line(error)) from error
    raise unavailable("the hub has no such file")


def offline(address: str | None = None) -> str:
    """Why nothing can be downloaded now; empty where it can. Asked in seconds: clients of hubs try for a minute.

    A server that does not answer is not asked again for a minute.

    Args:
        address: of the server; None is the hub's, HF_ENDPOINT or its own.
    """
    if address is None:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
            return "HF_HUB_OFFLINE is set"
        address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if not address.startswith(("https://", "http://")):
        return f"{address} is no address of a server"
    if time.monotonic() < _UNREACHED.get(address, 0.0):
        return f"{address} cannot be reached"
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 (checked above)
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return ""
    except urllib.error.HTTPError:
        return ""  # it answers, if only to say no
    except OSError:
        _UNREACHED[address] = time.monotonic() + 60
        return f"{address} cannot be reached"


def in_a_line(error: Exception) -> str:
    """An error's kind and message, in one line that is not too long."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
