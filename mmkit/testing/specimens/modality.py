"""Modalities under check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Generator

from mmkit.contract import Modality
from mmkit.plugin import ModalitySpec


class ModalitySpecimen:
    """A modality.

    Args:
        component: the class.
        options: none; a modality is built without arguments.
        spec: None where it is not known.
    """

    label = ""

    def __init__(self, component: type, options: Mapping[str, Any], spec: ModalitySpec | None = None) -> None:
        self.component = component
        self.spec = spec
        self.options = dict(options)

    def build(self) -> Modality:
        """A new one."""
        return self.component(**self.options)

    def examples(self, count: int, seed: int = 0) -> list[Any]:
        """Random values in memory."""
        generator = Generator().manual_seed(seed)
        modality = self.build()
        return [modality.example(generator) for _ in range(count)]
