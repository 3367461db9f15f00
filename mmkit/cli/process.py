"""Settings of the process of a command: number of threads, and memory allocation."""

from __future__ import annotations

import torch

from mmkit.errors import UsageError
from mmkit.system.allocator import keep_large_blocks


def prepare(threads: int | None) -> None:
    """Set the number of CPU threads, and keep large blocks of memory.

    Raises:
        UsageError: less than one thread.
    """
    if threads is not None:
        if threads < 1:
            raise UsageError(f"--threads takes 1 or more; got {threads}")
        torch.set_num_threads(threads)
    keep_large_blocks()
