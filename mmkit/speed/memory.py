"""The most memory that a call needs, found in a pass of its own.

On CUDA the allocator counts. On Linux the kernel keeps the highest resident size of a process and lets it be reset
(`/proc/self/clear_refs`, man 5 proc); where it does not, or on another system, there is no answer rather than a guess.
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
_RESET_HIGHEST = "5"
_NOT_RESET = 8 << 20
"""Bytes between highest and present size, above which the reset cannot have worked."""


def peak_memory(
    call: Callable[[], object], *, device: torch.device | str = "cpu", model: nn.Module | None = None
) -> int | None:
    """Bytes that a call needs at its highest, above what was there before; None where this cannot be known.

    The call is made twice: what only the first one allocates (compiled code, caches of the library) does not count.

    Args:
        call: what to measure.
        device: where it computes.
        model: its parameters and buffers are added to the sum.
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
    if on_glibc():  # freed memory that the allocator kept would be used again unseen
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
    """Bytes in memory now, and at the highest since the last reset.

    Raises:
        LookupError: the kernel does not say.
    """
    status = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE))
    return int(status["VmRSS"]) * 1024, int(status["VmHWM"]) * 1024
