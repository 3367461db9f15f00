"""How runs are carried out, whatever they are of: device, precision, training samples, unusable values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from mmkit.errors import UnavailableError, UsageError
from mmkit.system.precision import Precision

OnError = Literal["fail", "skip", "missing"]
"""What is done about a value that cannot be read or transformed: "skip" leaves its sample out, "missing" the value."""

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Settings:
    """What holds for all runs of a suite. Checked here, and nowhere else.

    Args:
        device: "cpu", "cuda" or "mps"; "auto" becomes the fastest of them that this machine has.
        precision: of the forward: "float32", "bfloat16" or "float16".
        limit: at most so many training samples; None is all.
        on_error: what is done about a value that cannot be read or transformed: "fail", "skip" or "missing".

    Raises:
        UsageError: a value that is not possible.
        UnavailableError: this machine has no such device.
    """

    device: str = "auto"
    precision: Precision = "float32"
    limit: int | None = None
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        for name, given, possible in (
            ("device", self.device, ("auto", *DEVICES)),
            ("precision", self.precision, get_args(Precision)),
            ("on_error", self.on_error, get_args(OnError)),
        ):
            if given not in possible:
                raise UsageError(f"{name} is one of {', '.join(possible)}; got {given}")
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise UsageError(f"limit is 1 or more, or none; got {self.limit}")
        object.__setattr__(self, "device", _available(self.device))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def _available(device: str) -> str:
    """The device itself if torch can use it here; the fastest for "auto"."""
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if usable[name])
    if not usable[device]:
        raise UnavailableError(f"torch cannot use {device} on this machine; take --device cpu or auto")
    return device
