"""Batches put on a device."""

from __future__ import annotations

import torch

from mmkit.contract import Batch


def on(batch: Batch, device: torch.device) -> Batch:
    """Every leaf on a device. Copies to the CPU are complete when this returns."""
    return {name: leaf.to(device, non_blocking=device.type != "cpu") for name, leaf in batch.items()}


def pinned(batch: Batch) -> Batch:
    """Every leaf in pinned memory, which a device can read asynchronously."""
    return {name: leaf.pin_memory() for name, leaf in batch.items()}
