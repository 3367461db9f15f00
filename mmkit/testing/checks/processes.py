"""The check of what computes over a batch: two processes that share one compute what one does that has it all.

Axes: B batch.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from mmkit.errors import ContractError
from mmkit.layers.batch_sums import added_by
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_same, floats_to, leaves, rows

PARTS = ((0, 1, 2, 3), (4, 5))
"""The rows of each process: uneven, so that means of means are told from means."""
PATIENCE = 10
"""Seconds that a process waits for the sums of the other."""
TOLERANCE = 1e-8
"""In float64."""


def processes(specimen: ModuleSpecimen) -> str | None:
    """In training two processes that share a batch give what one gives that has it all, and the same gradients.

    In float64, with missing inputs. Threads stand for the processes, and what goes through
    `batch_sums` is added up. Dropout is switched off, and batch norms of torch do not count, since a training over
    processes replaces them by those that are synchronised.
    """
    module = _without_dropout(specimen.fresh().double().train())
    absent = (1, *PARTS[1]) if len(specimen.names) > 1 else (1, 4)  # one process has not got the last of several
    drawn = specimen.draw(6, absent={specimen.names[-1]: absent})
    inputs = floats_to(drawn, torch.float64)
    whole = deepcopy(module)
    before = _generators()
    expected = specimen.call(whole, inputs)
    if before != _generators():
        return "it draws random numbers beside dropout"
    copies = [deepcopy(module) for _ in PARTS]
    found = _together(
        [
            lambda copy=copy, part=part: specimen.call(copy, rows(inputs, part))  # type: ignore[misc]
            for copy, part in zip(copies, PARTS, strict=True)
        ]
    )
    for part, outputs in zip(PARTS, found, strict=True):
        kept = specimen.independent(expected)
        situation = f"in training, rows {list(part)} of 6 in a process of their own"
        expect_same(specimen.independent(outputs), rows(kept, part), situation, tolerance=TOLERANCE)
    wanted = _gradients([whole], _score(expected, [range(6)], [expected]))
    for name, gradient in _gradients(copies, _score(expected, PARTS, found)).items():
        expect_same(gradient, wanted[name], f"gradient of {name} over two processes", tolerance=TOLERANCE)
    at_first, buffers = dict(module.named_buffers()), dict(whole.named_buffers())
    for name, buffer in copies[0].named_buffers():
        if not torch.equal(buffers[name], at_first[name]) or not torch.equal(buffer, at_first[name]):
            expect_same(buffer, buffers[name], f"{name} after a batch in two processes", tolerance=TOLERANCE)
    return None


def _generators() -> tuple[Any, ...]:
    """The states of all generators; threads share them, so what draws differs from call to call."""
    return torch.get_rng_state().tolist(), repr(np.random.get_state(legacy=False)), repr(random.getstate())


def _without_dropout(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001
            part.p = 0.0
        if isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0  # type: ignore[assignment]
        if isinstance(part, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            part.eval()
    return module


def _score(whole: Any, parts: Any, found: list[Any]) -> Tensor:
    """A number to differentiate: every output of every row with a weight that is the same whichever process has it."""
    total, generator = torch.zeros((), dtype=torch.float64), Generator().manual_seed(1)
    places = [dict(leaves(one)) for one in found]
    for place, tensor in leaves(whole):
        if not tensor.is_floating_point():
            continue
        weight = torch.ones_like(tensor)
        if "penalties" not in place:
            weight = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        for part, outputs in zip(parts, places, strict=True):
            if outputs[place].requires_grad:
                total = total + (outputs[place] * weight[list(part)]).sum()
    return total


def _gradients(modules: list[nn.Module], score: Tensor) -> dict[str, Tensor]:
    """The gradients of the parameters, added up over the processes; zero where nothing arrives."""
    named = [{name: p for name, p in one.named_parameters() if p.requires_grad} for one in modules]
    flat = [parameter for one in named for parameter in one.values()]
    if not flat or not score.requires_grad:
        return {}
    found = iter(torch.autograd.grad(score, flat, allow_unused=True, materialize_grads=True))
    total: dict[str, Tensor] = {}
    for one in named:
        for name in one:
            gradient = next(found)
            total[name] = total[name] + gradient if name in total else gradient
    return total


def _together(tasks: list[Callable[[], Any]]) -> list[Any]:
    """What tasks give that run in a thread each, whose sums over the batch are added up.

    Raises:
        ContractError: one asks for sums more often than the other.
    """
    barrier = threading.Barrier(len(tasks))
    place = threading.local()
    mine: list[Tensor | None] = [None] * len(tasks)
    results: list[Any] = [None] * len(tasks)
    errors: list[Exception] = []
    ended: list[int] = []

    def add(sums: Tensor) -> Tensor:
        if ended:
            raise threading.BrokenBarrierError
        mine[place.number] = sums
        barrier.wait(PATIENCE)
        total = torch.stack([one for one in mine if one is not None]).sum(0)
        barrier.wait(PATIENCE)  # before the next sums take the place of these
        return total

    def work(number: int) -> None:
        place.number = number
        try:
            results[number] = tasks[number]()
        except Exception as error:  # noqa: BLE001 (raised below, in the thread that asked)
            errors.append(error)
        ended.append(number)
        if barrier.n_waiting:
            barrier.abort()  # the other waits for sums that do not come

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(tasks))]
    with added_by(add):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    broken = [error for error in errors if isinstance(error, threading.BrokenBarrierError)]
    if own := [error for error in errors if error not in broken]:
        raise own[0]
    if broken:
        raise ContractError("with other rows it sums over the batch more often: processes wait for each other for ever")
    return results
