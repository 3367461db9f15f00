"""On what a record was made: the machine and the software, without any name of a host, a user or a place on disk."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

_DISTRIBUTION = "mmkit-core"


def machine() -> dict[str, Any]:
    """What the program runs on; the same from run to run on one machine, so that records can be compared.

    Returns:
        `cpu` and `architecture`; `cores` that this process may use, of `cores_total`, and the `cpu_quota` of a
        container in cores (None without one); `threads` of torch; `memory_bytes`, a container's limit included;
        `gpus` by name; `os`.
    """
    return {
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "cores": _cores(),
        "cores_total": os.cpu_count(),
        "cpu_quota": _quota(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory(),
        "gpus": _gpus(),
        "os": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",  # patches change nothing here
    }


def software() -> dict[str, Any]:
    """Versions of what computes. `cuda` and `cudnn` are those torch was built for, None without."""
    build = torch.__config__.show()
    cudnn: Any = torch.backends.cudnn  # untyped
    return {
        "python": platform.python_version(),
        "mmkit": _version(_DISTRIBUTION),
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "torchaudio": _version("torchaudio"),
        "numpy": _version("numpy"),
        "cuda": torch.version.cuda,
        "cudnn": cudnn.version() if cudnn.is_available() else None,
        "blas": _first(r"BLAS_INFO=(\w+)", build),
        "mkl": _first(r"Math Kernel Library Version ([\d.]+)", build),
        "onednn": _first(r"MKL-DNN v(\S+)", build),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def libraries(plugins: Iterable[str]) -> dict[str, str]:
    """Versions of what plugins are built on: the distributions, without extras, that theirs require.

    Args:
        plugins: their distributions; one that is not installed, and mmkit itself, add nothing.
    """
    found = {}
    for plugin in plugins:
        if plugin == _DISTRIBUTION:  # of what it requires, `software` names what computes
            continue
        try:
            lines = metadata.requires(plugin) or []
        except metadata.PackageNotFoundError:
            continue
        for needed in map(Requirement, lines):
            version = _version(needed.name)
            if (
                needed.name != _DISTRIBUTION
                and version is not None
                and (needed.marker is None or needed.marker.evaluate({"extra": ""}))
            ):
                found[needed.name] = version
    return dict(sorted(found.items()))


def _cpu() -> str:
    if platform.system() == "Linux":
        # ARM's cpuinfo has no model name; the architecture beside it then says what is known.
        found = _first(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")))
        return found or platform.machine()
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores' worth of time that this process may use, a container's limit included; at least 1."""
    quota = _quota()
    return _cores() if quota is None else max(1, min(_cores(), round(quota)))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float | None:
    """Cores' worth of time that the control group allows."""
    period = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(period) == 2 and period[0].isdigit():
        return int(period[0]) / int(period[1])
    return None


def _memory() -> int | None:
    known = []
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit():
        known.append(int(limit))
    return min(known, default=None)


def _gpus() -> list[str]:
    if torch.cuda.is_available():
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        return ["Apple MPS"]
    return []


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1].strip() if found else None
