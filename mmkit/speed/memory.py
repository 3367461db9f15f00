"""Peak memory of a call, measured in a separate pass.

On CUDA the allocator counts. On Linux the kernel keeps the peak resident size of a process, which can be reset
(`/proc/self/clear_refs`, man 5 proc). If it cannot be reset, and on other systems, the result is None and no guess.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mmkit.system.allocator import on_glibc

_PROCESS = Path("/proc/self")
_CONTAINER = Path("/sys/fs/cgroup")
_RESET_HIGHEST = "5"
_NOT_RESET = 8 << 20
"""If the peak exceeds the present size by more bytes than this right after a reset, the reset did not work."""


def peak_memory(
    call: Callable[[], object], *, device: torch.device | str = "cpu", model: nn.Module | None = None
) -> int | None:
    """Peak memory of a call in bytes, beyond what was in use before it; None if it cannot be measured.

    The call is made twice: memory that only the first one allocates (compiled code, caches of libraries) does not
    count.

    Args:
        call: to measure.
        device: on which it computes.
        model: the size of its parameters and buffers is added.
    """
    device = torch.device(device)
    call()
    gc.collect()
    needed: int | None
    if device.type == "cuda":
        needed = _on_cuda(call, device)
    elif device.type == "cpu":
        needed = _on_cpu(call)
    else:
        return None
    if needed is None:
        return None
    return needed + (0 if model is None else size(model))


def size(model: nn.Module) -> int:
    """Bytes of the parameters and buffers of a model."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def _on_cuda(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _on_cpu(call: Callable[[], object]) -> int | None:
    if on_glibc():  # memory that was freed and kept would be reused without being counted
        ctypes.CDLL(None).malloc_trim(0)
    try:
        (_PROCESS / "clear_refs").write_text(_RESET_HIGHEST)
        before, reset = _resident()
        if reset - before > _NOT_RESET:
            return None
        call()
        _, highest = _resident()
    except (OSError, LookupError):
        return None
    return max(highest - before, 0)


def _resident() -> tuple[int, int]:
    """Resident bytes now, and their peak since the last reset.

    Raises:
        LookupError: the kernel does not report them.
    """
    status = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE))
    return int(status["VmRSS"]) * 1024, int(status["VmHWM"]) * 1024


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that a process may still take on a device, without what a container forbids; None if nobody says."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    limits = [int(found[1]) * 1024] if found else []
    try:
        most, used = (int((_CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        limits.append(max(most - used, 0))
    except (OSError, ValueError):  # no container, or none with a limit
        pass
    return min(limits, default=None)
