"""Hashes of content: of plain JSON values, and of values in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b, sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit.system.files import utf8


def fingerprint(content: object) -> str:
    """A short hash over canonical JSON: the same content gives the same hash on every machine."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256(utf8(text)).hexdigest()[:16]


def digest(content: Any) -> str:
    """A hash of values in memory: tensors, arrays, texts, numbers, None, and mappings and sequences of them.

    Raises:
        TypeError: a value of another type, of which two different ones could have the same hash.
    """
    state = blake2b(digest_size=16)
    _feed(state.update, content)
    return state.hexdigest()


def _feed(update: Callable[[Any], None], content: Any) -> None:
    if isinstance(content, Tensor):
        plain = content.detach().cpu().contiguous()
        update(f"tensor {plain.dtype} {list(plain.shape)}:".encode())
        update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    elif isinstance(content, np.ndarray | np.generic) and not content.dtype.hasobject:
        update(f"array {content.dtype} {content.shape}:".encode())
        update(np.ascontiguousarray(content).tobytes())
    elif isinstance(content, bytes):
        update(f"bytes {len(content)}:".encode())
        update(content)
    elif isinstance(content, Mapping):
        update(f"mapping {len(content)}:".encode())
        for name in sorted(content):
            _feed(update, name)
            _feed(update, content[name])
    elif isinstance(content, Sequence) and not isinstance(content, str):
        update(f"sequence {len(content)}:".encode())
        for part in content:
            _feed(update, part)
    elif content is None or isinstance(content, str | int | float | bool):
        text = f"{type(content).__name__} {content!r}"
        update(f"{len(text)}:{text}".encode())
    else:
        raise TypeError(f"values of type {type(content).__name__} cannot be hashed by their content")
