"""What the parts have in common: their arguments, the card that they ran on, and a record written as it grows."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmkit.speed.interleave import Timings
from mmkit.system.machine import machine, software

_ASKED = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "clocks.max.mem",
    "temperature.gpu",
    "power.draw",
    "power.limit",
    "persistence_mode",
)


@dataclass(frozen=True)
class Asked:
    """How a part is run.

    Args:
        out: its record.
        device: where it computes.
        seconds: that it may take; it stops beginning new things in time.
        rehearse: small sizes and no compiler, to try the part itself.
        began: when it did, by the monotonic clock.
    """

    out: Path
    device: torch.device
    seconds: float
    rehearse: bool
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (time.monotonic() - self.began)


def asked(doc: str | None, arguments: list[str] | None = None) -> Asked:
    """The arguments of a part."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rehearse", action="store_true", help="small sizes, no compiler")
    given = parser.parse_args(arguments)
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device that torch can use; --device cpu --rehearse tries the scripts")
    return Asked(given.out, device, given.seconds, given.rehearse)


class Record:
    """A document on the disk, whole at every moment.

    Args:
        asked: where it is written, and on what device.
        what: it holds, in a line.
    """

    def __init__(self, asked: Asked, what: str) -> None:
        self.path = asked.out
        self.document: dict[str, Any] = {
            "what": what,
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "rehearsal": asked.rehearse or asked.device.type != "cuda",
            "device": asked.device.type,
            "card": card(asked.device),
            "machine": machine(),
            "software": {**software(), "triton": _triton()},
            "finished": False,
        }
        self.write()

    def put(self, **parts: Any) -> None:
        """Add parts, or change them."""
        self.document |= parts
        self.write()

    def write(self) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.fresh")
        fresh.write_text(json.dumps(self.document, indent=1, ensure_ascii=False, default=str) + "\n", "utf-8")
        fresh.replace(self.path)


def card(device: torch.device) -> dict[str, Any]:
    """The card and its clocks at this moment; empty on a CPU. `smi` is what nvidia-smi says, None without."""
    if device.type != "cuda":
        return {}
    about = torch.cuda.get_device_properties(device)
    return {
        "name": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "memory_bytes": about.total_memory,
        "smi": smi(),
    }


def smi() -> dict[str, str] | None:
    """Driver, clocks in MHz, temperature and power."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(zip(_ASKED, (part.strip() for part in told.stdout.splitlines()[0].split(",")), strict=False))


def microseconds(timings: Timings, name: str) -> dict[str, Any]:
    """Median and quartiles of a candidate, a call."""
    low, high = timings.quartiles(name)
    return {
        "us": round(timings.median(name) * 1e6, 3),
        "quartiles_us": [round(low * 1e6, 3), round(high * 1e6, 3)],
        "rounds": timings.rounds,
        "unsettled": name in timings.unsettled,
    }


def attempt(what: Callable[[], Any]) -> Any:
    """What it gives; where it raises, the error in a line, so that the rest goes on."""
    try:
        return what()
    except Exception as error:  # noqa: BLE001  (whatever breaks on a new device is what the record is for)
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:600]}


def _triton() -> str | None:
    try:
        import triton  # noqa: PLC0415  (a GPU's own; not every torch has it)
    except ImportError:
        return None
    return str(triton.__version__)
