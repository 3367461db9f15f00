"""Windows over what comes in chunks: of each streamed input the last seconds, or steps, as one value.

A chunk is decoded once, when it comes; the window is joined anew for every answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmkit.data.decoded import bytes_in_memory
from mmkit.serving.answering import reading
from mmkit.serving.limits import RefusedError

CHUNK = 1024
"""Bytes that a chunk counts for beside its values, so that very many tiny ones have their limit, too."""
MOST = 3600.0
"""Seconds of a window, or thousands of steps."""
NEARLY = 1e-6
"""Share of a window by which it may be short, and is full: lengths are sums of floats."""


@dataclass
class Window:
    """The last of what came for one input.

    Args:
        name: of the input.
        kind: the name of its modality.
        modality: that decodes and joins its values; it has `unit`, `length` and `joined`.
        most: its length, in the modality's unit.
    """

    name: str
    kind: str
    modality: Any
    most: float
    size: int = 0
    """Bytes of what it holds."""
    _chunks: deque[tuple[Any, float, int]] = field(default_factory=deque)

    @property
    def length(self) -> float:
        """Of what it holds, which may be more than `most` by less than a chunk."""
        return math.fsum(length for _, length, _ in self._chunks)

    @property
    def full(self) -> bool:
        """Whether as much has come as it takes."""
        return self.length >= self.most * (1 - NEARLY)

    def decoded(self, raw: Any) -> tuple[Any, float, int]:
        """A chunk in memory, its length, and its bytes; the window stays as it is.

        Raises:
            RefusedError: it cannot be read, or does not fit what came before.
        """
        with reading(self.name, self.kind):
            value = self.modality.decode(raw)
            if value is None:
                raise RefusedError(self.name, "the chunk holds no value; null empties the window")
            length = float(self.modality.length(value))
            kept = _alone(self.modality.joined([value], min(length, self.most)))
            if self._chunks:
                self.modality.joined([self._chunks[-1][0], kept], self.most)
        return kept, min(length, self.most), bytes_in_memory(kept) + CHUNK

    def add(self, chunk: tuple[Any, float, int]) -> None:
        """Add a chunk that `decoded` gave; what no longer reaches into the window goes."""
        self._chunks.append(chunk)
        self.size += chunk[2]
        length = self.length
        while len(self._chunks) > 1 and length - self._chunks[0][1] >= self.most * (1 - NEARLY):
            _, gone, size = self._chunks.popleft()
            length -= gone
            self.size -= size

    def empty(self) -> None:
        """Forget all that came."""
        self._chunks.clear()
        self.size = 0

    def parts(self) -> list[Any]:
        """Its chunks in memory, which do not change any more."""
        return [value for value, _, _ in self._chunks]

    def joined(self, parts: list[Any]) -> Any:
        """The window as one value in memory, of what `parts` gave; None where nothing has come.

        Raises:
            RefusedError: the chunks cannot be joined.
        """
        with reading(self.name, self.kind):
            return self.modality.joined(parts, self.most) if parts else None


def _alone(value: Any) -> Any:
    """A value without what it was cut from, which a slice would keep in memory for as long as itself."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if type(value) in {tuple, list}:
        return type(value)(map(_alone, value))
    return {name: _alone(one) for name, one in value.items()} if type(value) is dict else value


def unit_of(modality: Any) -> str:
    """In what the windows of a modality are measured; empty where its values have no course in time."""
    has_all = callable(getattr(modality, "length", None)) and callable(getattr(modality, "joined", None))
    return str(getattr(modality, "unit", "")) if has_all else ""


def windows_of(given: Any, modalities: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Window]:
    """The windows that a stream asks for.

    Args:
        given: mapping of input to length, as JSON has it.
        modalities: of the inputs that can be streamed, by input.
        kinds: the names of modalities, by input.

    Raises:
        RefusedError: that is no such mapping, or an input cannot be streamed.
    """
    able = ", ".join(f"{name} in {unit_of(one)}" for name, one in modalities.items())
    if not isinstance(given, Mapping) or not given:
        raise RefusedError("", f"windows are a mapping of input to length; this model streams {able}")
    found = {}
    for name, most in given.items():
        if name not in modalities:
            raise RefusedError(str(name)[:80], f"it is no input that is streamed; this model streams {able}")
        unit = unit_of(modalities[name])
        limit = MOST if unit == "seconds" else 1000 * MOST
        if isinstance(most, bool) or not isinstance(most, int | float) or not 0 < most <= limit:
            told = f"a window is a number of {unit} above 0, {limit:,.0f} at most; got {str(most)[:40]}"
            raise RefusedError(name, told)
        found[name] = Window(name, kinds[name], modalities[name], float(most))
    return found
