"""Options of retrieval and of zero-shot classification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mmkit.contract import Split
from mmkit.errors import UsageError
from mmkit.system.settings import Settings

Map = Literal["none", "ridge"]


@dataclass(frozen=True)
class AlignmentOptions:
    """Options of retrieval and of zero-shot classification.

    Args:
        split: its samples are used.
        map: "none" if both encoders share a space, else "ridge".
        seed: of the weights of encoders that have no pretrained ones.
        settings: device, precision, limit and on_error.

    Raises:
        UsageError: an option that is not allowed.
    """

    split: Split = "test"
    map: Map = "none"
    seed: int = 0
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        for name, kind in (("split", Split), ("map", Map)):
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is one of {', '.join(get_args(kind))}; got {getattr(self, name)}")
        if self.seed < 0:
            raise UsageError(f"seed is 0 or more; got {self.seed}")

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"split": self.split, "map": self.map, "seed": self.seed, **self.settings.document()}
