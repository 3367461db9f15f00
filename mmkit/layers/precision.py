"""Where products are to be as precise as their factors, whatever autocast says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast. Where there is none to leave it does nothing, since entering one takes a while.

    >>> with torch.autocast("cpu", torch.bfloat16), exactly(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):  # meta has none
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
