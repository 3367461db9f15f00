"""Torch's global generators, left as they were."""

from __future__ import annotations

import contextlib

import torch


def preserved_generators(device: torch.device | str) -> contextlib.AbstractContextManager[None]:
    """A context after which the global generators of the CPU and of the device are as they were before it."""
    device = torch.device(device)
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
