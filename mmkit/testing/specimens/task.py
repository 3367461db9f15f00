"""Tasks under check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from mmkit.contract import Modality, Samples, Split, Task
from mmkit.plugin import TaskSpec
from mmkit.registry.catalog import Catalog

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class TaskSpecimen:
    """A task.

    Args:
        component: the class.
        options: those of its constructor.
        spec: what was registered, where it was.
        modality: gives the modality of a name.
        catalog: of encoders and heads.
    """

    label = ""

    def __init__(
        self,
        component: type,
        options: Mapping[str, Any],
        spec: TaskSpec | None,
        modality: Callable[[str], Modality],
        catalog: Catalog,
    ) -> None:
        self.component = component
        self.options = dict(options)
        self.spec = spec
        self.modality = modality
        self.catalog = catalog

    def build(self) -> Task:
        """A new one."""
        return self.component(**self.options)

    @cached_property
    def task(self) -> Task:
        """One that checks share."""
        return self.build()

    @cached_property
    def splits(self) -> dict[str, Samples]:
        """All its samples."""
        return {name: self.task.split(name) for name in SPLITS}
