"""Settings that every run has: device, precision, limit of training samples, handling of unusable values, threads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from mmkit.errors import UnavailableError, UsageError
from mmkit.system.precision import Precision

OnError = Literal["fail", "skip", "missing"]
"""What to do with a value that cannot be read or transformed: "skip" drops its sample, "missing" drops the value."""

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Settings:
    """The settings of all runs of a suite. They are checked here, and nowhere else.

    Args:
        device: "cpu", "cuda" or "mps"; "auto" becomes the fastest of them that this machine has.
        precision: of the forward pass: "float32", "bfloat16" or "float16".
        limit: the greatest number of training samples; None is all.
        on_error: what to do with a value that cannot be read or transformed: "fail", "skip" or "missing".
        threads: of the CPU, which are set before any work; None becomes as many as torch has now. Other numbers of
            threads add up in another order, and give other last digits.

    Raises:
        UsageError: a value that is not allowed.
        UnavailableError: this machine has no such device.
    """

    device: str = "auto"
    precision: Precision = "float32"
    limit: int | None = None
    on_error: OnError = "fail"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("device", self.device, ("auto", *DEVICES)),
            ("precision", self.precision, get_args(Precision)),
            ("on_error", self.on_error, get_args(OnError)),
        ):
            if value not in allowed:
                hint = _meant(str(value)) if name == "device" else ""
                raise UsageError(f"{name} is one of {', '.join(allowed)}; got {value}{hint}")
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise UsageError(f"limit is 1 or more, or none; got {self.limit}")
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise UsageError(f"threads is 1 or more; got {self.threads}")
        object.__setattr__(self, "device", _available(self.device))
        object.__setattr__(self, "threads", self.threads or torch.get_num_threads())

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def device_of(given: torch.device | str) -> torch.device:
    """The device of torch, if this machine has it: "auto", "cpu", "cuda", "mps", or one with a number ("cuda:1").

    Raises:
        UsageError: torch has no such device.
        UnavailableError: this machine has no such device.
    """
    name = str(given)
    kind, colon, number = name.partition(":")
    if kind not in {"auto", *DEVICES} or (colon and not number.isdecimal()):
        raise UsageError(f"device is one of {_possible()}, one of several cuda:1; got {name}{_meant(name)}")
    device = _available(kind)
    if device == "cuda" and colon and int(number) >= torch.cuda.device_count():
        raise UnavailableError(f"this machine has {torch.cuda.device_count()} devices of cuda; got {name}")
    return torch.device(device, int(number)) if colon else torch.device(device)


def _possible() -> str:
    return ", ".join(("auto", *DEVICES))


def _meant(name: str) -> str:
    """What a device of another name is likely to be called here."""
    known = {"gpu": "cuda", "nvidia": "cuda", "hip": "cuda", "rocm": "cuda", "metal": "mps", "apple": "mps"}
    meant = known.get(name.lower().partition(":")[0])
    return f": a GPU is {meant} here, and auto takes the fastest there is" if meant else ""


def _available(device: str) -> str:
    """The device, if torch can use it on this machine; the fastest one for "auto"."""
    if device == "cpu":
        return device  # to ask for the others takes long
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if usable[name])
    if not usable[device]:
        raise UnavailableError(f"torch cannot use {device} on this machine; take --device cpu or auto")
    return device
