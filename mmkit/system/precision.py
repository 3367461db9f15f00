"""The precision of the forward pass, by autocast; weights stay float32."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a forward pass runs on the device."""
    return torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32")
