"""Describes the machine and the software for records, without names of hosts, users or folders."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import InvalidRequirement, Requirement

_DISTRIBUTION = "mmkit-core"
_COMPUTES = ("torchvision", "torchaudio", "numpy", "pillow", "simplejpeg", "soundfile")


def machine() -> dict[str, Any]:
    """The machine. Two calls on one machine give the same, so that records can be compared.

    Returns:
        `cpu` and `architecture`; `cores` that this process may use, of `cores_total`, and a container's `cpu_quota`
        in cores (None without one); `threads` of torch; `memory_bytes`, the smaller of memory and a container's limit;
        `gpus` by name; `os`.
    """
    return {
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "cores": _cores(),
        "cores_total": os.cpu_count(),
        "cpu_quota": _quota(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory(),
        "gpus": _gpus(),
        "os": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",  # major and minor only
    }


def software() -> dict[str, Any]:
    """Versions of the software that computes. `cuda` and `cudnn` are those torch was built for, or None."""
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


def of_features(plugins: Iterable[str]) -> dict[str, str | None]:
    """Versions of all that values are decoded, transformed and encoded by: mmkit and its libraries, plugins and theirs.

    Args:
        plugins: names of their distributions.
    """
    known = {name: _version(name) for name in (_DISTRIBUTION, *_COMPUTES, *plugins)}
    return {**known, **libraries(plugins), "torch": torch.__version__}


def distributions_of(module: str) -> list[str]:
    """The distributions that a module is installed from; none where it is of none."""
    top = module.partition(".")[0]
    return [_DISTRIBUTION] if top == "mmkit" else sorted(set(_packages().get(top, ())))  # which takes a while


@functools.cache
def _packages() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def libraries(plugins: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that plugins require, without those of extras.

    Args:
        plugins: names of their distributions; mmkit itself and one that is not installed are skipped, and of old
            metadata what is no requirement.
    """
    versions = {}
    for plugin in plugins:
        if plugin == _DISTRIBUTION:  # `software` has what matters of its requirements
            continue
        try:
            lines = metadata.requires(plugin) or []
        except metadata.PackageNotFoundError:
            continue
        for line in lines:
            try:
                needed = Requirement(line)
            except InvalidRequirement:  # not PEP 508; pip took it, and so does the list of plugins
                continue
            version = _version(needed.name)
            if (
                needed.name != _DISTRIBUTION
                and version is not None
                and (needed.marker is None or needed.marker.evaluate({"extra": ""}))
            ):
                versions[needed.name] = version
    return dict(sorted(versions.items()))


def _cpu() -> str:
    if platform.system() == "Linux":
        # ARM's cpuinfo has no model name.
        model_name = _first(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")))
        return model_name or platform.machine()
    if platform.system() == "Darwin":
        sysctl = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return sysctl.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """How many cores this process may keep busy, a container's quota included; at least 1."""
    quota = _quota()
    return _cores() if quota is None else max(1, min(_cores(), round(quota)))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float | None:
    """The CPU time that the control group allows, in cores; None without a limit."""
    quota_and_period = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(quota_and_period) == 2 and quota_and_period[0].isdigit():
        return int(quota_and_period[0]) / int(quota_and_period[1])
    return None


def memory() -> int | None:
    """Bytes of memory, or of a container's limit where that is less; None if the system does not say."""
    limits = []
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit():
        limits.append(int(limit))
    return min(limits, default=None)


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
    match = re.search(pattern, text, re.MULTILINE)
    return match[1].strip() if match else None
