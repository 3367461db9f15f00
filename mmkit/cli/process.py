"""What a command sets of its own process before it computes: threads, and how memory is kept."""

from __future__ import annotations

import torch

from mmkit.errors import UsageError
from mmkit.system.allocator import keep_large_blocks


def prepare(threads: int | None) -> None:
    """Set the threads, and keep large blocks of memory."""
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads takes 1 or more; got {threads}")
        torch.set_num_threads(threads)
    keep_large_blocks()
