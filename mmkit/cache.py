"""Features of frozen encoders, computed once: packed, memory-mapped, and found again by what they were made of.

FOLDER/KEY/about.json     what they were made of; written last, so that a folder without it is unfinished
FOLDER/KEY/*.npy          packed tokens, offsets and summaries
FOLDER/KEY/parts/         of an unfinished one: the batches that are done, where a next process goes on

Axes: B samples, N real tokens of all of them, T tokens, D width.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmkit.contract import Features, Transform
from mmkit.record import fingerprint, owned

ABOUT = "about.json"


def default_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where features are kept: MMKIT_CACHE, else `mmkit/features` in the user's folder for caches."""
    environ = os.environ if environ is None else environ
    if environ.get("MMKIT_CACHE"):
        return Path(environ["MMKIT_CACHE"])
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmkit" / "features"


@dataclass(frozen=True)
class Stored:
    """The features of all samples of a split. Only real tokens are kept, one after the other.

    Args:
        tokens: [N D].
        offsets: [B + 1]; those of sample i are tokens[offsets[i]:offsets[i + 1]].
        pooled: [B D], or None.
        length: tokens of every sample, where all have as many; else None.
    """

    tokens: Tensor
    offsets: Tensor
    pooled: Tensor | None
    length: int | None

    @staticmethod
    def of(tokens: Tensor, offsets: Tensor, pooled: Tensor | None) -> Stored:
        """The features, with the common length found out."""
        lengths = offsets.diff()
        same = bool(len(lengths)) and bool((lengths == lengths[0]).all()) and int(lengths[0]) > 0
        return Stored(tokens, offsets, pooled, int(lengths[0]) if same else None)

    def to(self, device: torch.device) -> Stored:
        """The same on a device."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Stored(self.tokens.to(device), self.offsets.to(device), pooled, self.length)

    def rows(self, index: Tensor) -> Features:
        """The features of those samples: [len(index) T D], padded to the longest of them."""
        pooled = None if self.pooled is None else self.pooled.index_select(0, index)
        width = self.tokens.shape[1]
        if self.length is not None:
            tokens = self.tokens.view(-1, self.length * width).index_select(0, index).view(-1, self.length, width)
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
            return Features(tokens, mask, pooled)
        start = self.offsets[index]  # [B]
        lengths = self.offsets[index + 1] - start
        steps = torch.arange(max(int(lengths.max()), 1), device=index.device)  # [T]
        mask = steps < lengths.unsqueeze(1)  # [B T]
        place = (start.unsqueeze(1) + steps).masked_fill(~mask, 0)
        if not len(self.tokens):  # every sample lacks this input
            return Features(self.tokens.new_zeros(*mask.shape, width), mask, pooled)
        tokens = self.tokens.index_select(0, place.flatten()).view(*mask.shape, width)
        return Features(tokens.masked_fill(~mask.unsqueeze(-1), 0), mask, pooled)


def key_of(
    encoder: nn.Module, transform: Transform, values: str, settings: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A name for features by all that decides them, and that as plain values.

    Args:
        encoder: with its weights.
        transform: fitted.
        values: digest of the values in memory.
        settings: names, options and versions of encoder and transform, device and precision.
    """
    made_of = {
        **settings,
        "transform": digest(transform.state()),
        "weights": digest(encoder.state_dict()),
        "values": values,
    }
    return fingerprint(made_of), made_of


def digest(content: Any) -> str:
    """A hash of values in memory: tensors, arrays, texts, numbers, None, and mappings and sequences of them.

    Raises:
        TypeError: a value is none of these, so that two different ones could not be told apart.
    """
    found = blake2b(digest_size=16)
    _feed(found.update, content)
    return found.hexdigest()


def _feed(update: Callable[[bytes], None], content: Any) -> None:
    if isinstance(content, Tensor):
        plain = content.detach().cpu().contiguous()
        update(f"tensor {plain.dtype} {list(plain.shape)}:".encode())
        update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")  # type: ignore[arg-type]
    elif isinstance(content, np.ndarray):
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
        raise TypeError(f"values of {type(content).__name__} cannot be told apart by their content")


@torch.no_grad()
def encoded(
    encode: Callable[[Sequence[Any]], Features],
    values: Sequence[Any],
    folder: Path | None,
    key: str,
    made_of: Mapping[str, Any],
    *,
    batch_size: int = 64,
    report: Callable[[int, int], None] | None = None,
) -> Stored:
    """The features of all values: found in the folder, else computed and kept there.

    A pass that was interrupted goes on with the batch where it stopped. Several processes may ask for the same: one
    computes, the others wait and read.

    Args:
        encode: values in memory to their features, on the CPU.
        values: of a split; None is a missing one.
        folder: of the cache; None keeps nothing.
        key: of these features, as `key_of` gives it.
        made_of: likewise; written down for `mmkit cache list`.
        batch_size: samples that are encoded together.
        report: called with the samples that are done and all of them.
    """
    starts = range(0, len(values), batch_size)

    def part(start: int) -> dict[str, Tensor]:
        features = encode(values[start : start + batch_size])
        found = {"tokens": features.tokens[features.mask].float(), "lengths": features.mask.sum(1)}
        if features.pooled is not None:
            found["pooled"] = features.pooled.float()
        if report:
            report(min(start + batch_size, len(values)), len(values))
        return {name: leaf.contiguous() for name, leaf in found.items()}

    if folder is None:
        return Stored.of(*_joined([part(start) for start in starts]))
    home = folder / key
    if not (home / ABOUT).exists():
        parts = home / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        with owned(home, wait=True):
            if not (home / ABOUT).exists():  # else another process was quicker
                for start in starts:
                    file = parts / f"{start:09}-{batch_size}.safetensors"
                    if not file.exists():
                        save_file(part(start), file.with_suffix(".fresh"))
                        file.with_suffix(".fresh").replace(file)
                _keep(home, [load_file(parts / f"{start:09}-{batch_size}.safetensors") for start in starts], made_of)
                shutil.rmtree(parts)
    return _found(home)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor | None]:
    lengths = torch.cat([part["lengths"] for part in parts])
    offsets = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
    pooled = torch.cat([part["pooled"] for part in parts]) if "pooled" in parts[0] else None
    return torch.cat([part["tokens"] for part in parts]), offsets, pooled


def _keep(home: Path, parts: Sequence[Mapping[str, Tensor]], made_of: Mapping[str, Any]) -> None:
    tokens, offsets, pooled = _joined(parts)
    np.save(home / "tokens.npy", tokens.numpy())
    np.save(home / "offsets.npy", offsets.numpy())
    if pooled is not None:
        np.save(home / "pooled.npy", pooled.numpy())
    about = {"samples": len(offsets) - 1, "tokens": len(tokens), "width": tokens.shape[1], "made": time.time()}
    (home / "about.fresh").write_text(json.dumps({**about, "of": made_of}, ensure_ascii=False) + "\n", "utf-8")
    (home / "about.fresh").replace(home / ABOUT)


def _found(home: Path) -> Stored:
    def mapped(name: str) -> Tensor:
        # Copy on write: torch has no tensors that cannot be written to, and the file stays as it is.
        return torch.from_numpy(np.load(home / f"{name}.npy", mmap_mode="c"))

    pooled = mapped("pooled") if (home / "pooled.npy").exists() else None
    return Stored.of(mapped("tokens"), mapped("offsets"), pooled)


@dataclass(frozen=True)
class Held:
    """One entry of a cache.

    Args:
        key: its name.
        size: bytes on the disk.
        about: what `about.json` says; None of an unfinished one.
    """

    key: str
    size: int
    about: Mapping[str, Any] | None


def held(folder: Path) -> list[Held]:
    """What a cache holds, the largest first; nothing where there is none."""
    found = []
    for home in folder.iterdir() if folder.is_dir() else ():
        if home.is_dir():
            size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
            about = json.loads((home / ABOUT).read_text("utf-8")) if (home / ABOUT).exists() else None
            found.append(Held(home.name, size, about))
    return sorted(found, key=lambda one: one.size, reverse=True)


def clear(folder: Path, keys: Sequence[str]) -> int:
    """Remove entries; gives the bytes that are free again."""
    chosen = [one for one in held(folder) if one.key in keys]
    for one in chosen:
        shutil.rmtree(folder / one.key)
    return sum(one.size for one in chosen)
