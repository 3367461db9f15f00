"""What an export gives back: the folder, and the tensors of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Format = Literal["onnx", "pt2", "aoti"]


@dataclass(frozen=True)
class Leaf:
    """One tensor that a graph takes.

    Args:
        input: its name.
        leaf: of the batch of this input.
        dtype: as numpy calls it.
        shape: sizes, or the names of those that vary.
        padding: the number that stands where nothing is there; None where it is not one number.
    """

    input: str
    leaf: str
    dtype: str
    shape: tuple[int | str, ...]
    padding: float | None

    @property
    def name(self) -> str:
        """In the graph."""
        return f"{self.input}.{self.leaf}"

    @property
    def varying(self) -> tuple[int, ...]:
        """The axes whose size varies."""
        return tuple(axis for axis, size in enumerate(self.shape) if isinstance(size, str))


@dataclass(frozen=True)
class Exported:
    """A model that was exported.

    Args:
        folder: where it is.
        format: of the graph.
        size: of the graph's file, in bytes.
        inputs: the tensors that it takes.
        outputs: the shape of each of its outputs, by name.
        apart: how far it was from the model, by the kind of batch.
    """

    folder: Path
    format: Format
    size: int
    inputs: tuple[Leaf, ...]
    outputs: Mapping[str, tuple[int | str, ...]]
    apart: Mapping[str, float]
