"""A call captured as a CUDA graph: all its kernels are launched by one command, with new inputs copied in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmkit.testing.trees import copied, leaves

_WARM = 3
"""Calls before the capture: libraries pick their kernels and take their memory, which a graph cannot do."""

Replay = Callable[..., Any]
"""Called with new inputs, or with none to compute the last again; gives the outputs, which the next call overwrites."""


def captured(call: Callable[..., Any], inputs: tuple[Any, ...], device: torch.device | str) -> Replay:
    """The call as a graph. Under autocast, its cache must be off: a graph cannot hold a weight that was cast before it.

    On another device than CUDA there are no graphs; the stand-in calls again and copies into the same outputs, so that
    whoever uses it can be tried there.

    Args:
        call: with the inputs; what it gives is tensors, features, and mappings and sequences of them.
        inputs: whose shapes all later ones have.
        device: on which the call computes.
    """
    held = copied(inputs)
    if torch.device(device).type == "cuda":
        outputs, run = _graph(call, held)
    else:
        outputs, run = _again(call, held)

    def replay(*new: Any) -> Any:
        if new:
            for (place, old), (other, tensor) in zip(leaves(held), leaves(new), strict=True):
                if place != other or old.shape != tensor.shape:
                    raise ValueError(f"captured with {place} {list(old.shape)}; got {other} {list(tensor.shape)}")
                old.copy_(tensor)
        run()
        return outputs

    return replay


def _graph(call: Callable[..., Any], held: tuple[Any, ...]) -> tuple[Any, Callable[[], None]]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM):
            call(*held)
    torch.cuda.current_stream().wait_stream(side)
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            outputs = call(*held)
    except Exception:
        torch.cuda.set_stream(stream)  # a capture that fails leaves its own behind
        raise
    return outputs, graph.replay


def _again(call: Callable[..., Any], held: tuple[Any, ...]) -> tuple[Any, Callable[[], None]]:
    outputs = copied(call(*held))  # what is expanded cannot be written to

    def run() -> None:
        made = call(*held)
        with torch.no_grad():
            for (_, old), (_, new) in zip(leaves(outputs), leaves(made), strict=True):
                old.copy_(new)

    return outputs, run
