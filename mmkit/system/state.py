"""The state that a computation runs in: its own, whatever the caller has set, and given back at the end.

A training depends on much that belongs to a thread or to the whole process: the global random generators, grad mode,
autocast, default device and dtype, flags for deterministic or faster algorithms. `own_state` sets all of it to what
torch starts with. Every function that the user calls, and every one that trains, predicts or measures, runs inside it.

Weights, dropout and many a component draw from torch's global generator, and torch lets neither `nn.init` nor dropout
take another. So what draws holds a lock: two trainings in two threads run one after the other, and each gives what it
gives alone. On one machine they would share the cores anyway. Predictions draw nothing and do not wait. What no lock
can keep away: another thread of the caller that draws from torch's global generator, or sets a flag, meanwhile.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

_DRAWING = threading.RLock()
_COUNTING = threading.Lock()
_DEVICES = ("cpu", "cuda", "mps")


class _Flags:
    """Settings of the whole process: the first computation that enters sets them, the last that leaves restores them.

    None waits for the others, because all of them want the same.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._before: dict[str, Any] = {}

    def enter(self) -> None:
        with _COUNTING:
            if not self._inside:
                self._before = flags()
                self._write({name: value for name, (_, _, value) in _FLAGS.items()})
            self._inside += 1

    def leave(self) -> None:
        with _COUNTING:
            self._inside -= 1
            if not self._inside:
                self._write(self._before)

    @staticmethod
    def _write(wanted: dict[str, Any]) -> None:
        current = flags()
        for name, value in wanted.items():
            if value != current[name]:
                _FLAGS[name][1](value)


def _attribute(of: Any, name: str, *, value: bool) -> tuple[Callable[[], Any], Callable[[Any], None], Any]:
    return lambda: getattr(of, name), lambda new: setattr(of, name, new), value


_cuda: Any = torch.backends.cuda  # partly untyped
_FLAGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], Any]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    "deterministic algorithms": (
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda new: torch.use_deterministic_algorithms(new[0], warn_only=new[1]),
        (False, False),
    ),
    "float32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    "cuDNN": _attribute(torch.backends.cudnn, "enabled", value=True),
    "cuDNN benchmark": _attribute(torch.backends.cudnn, "benchmark", value=False),
    "cuDNN deterministic": _attribute(torch.backends.cudnn, "deterministic", value=False),
    "flash attention": (_cuda.flash_sdp_enabled, _cuda.enable_flash_sdp, True),
    "memory-efficient attention": (_cuda.mem_efficient_sdp_enabled, _cuda.enable_mem_efficient_sdp, True),
    "plain attention": (_cuda.math_sdp_enabled, _cuda.enable_math_sdp, True),
    "cuDNN attention": (_cuda.cudnn_sdp_enabled, _cuda.enable_cudnn_sdp, True),
    "oneDNN": _attribute(torch.backends.mkldnn, "enabled", value=True),
    "fast path of attention": (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, True),
}
_flags = _Flags()


def flags() -> dict[str, Any]:
    """The settings of the whole process that choose dtypes and algorithms, by name."""
    return {name: read() for name, (read, _, _) in _FLAGS.items()}


@contextmanager
def own_state(device: torch.device | str = "cpu", *, seed: int | None = None) -> Iterator[None]:
    """A context, or a decorator, in which nothing that the caller has set decides; at its end all is as it was.

    Inside, gradients are computed, no autocast is on, tensors are made on the CPU and in float32, and the flags that
    choose algorithms are those that torch starts with. It may be entered within itself.

    Args:
        device: whose global generator is used, beside that of the CPU.
        seed: of the global generators of torch, numpy and Python, for what draws from them: such a computation waits
            until those of other threads are done. None is for what draws nothing, and leaves the generators alone.
    """
    modes = _modes()
    if seed is None and not modes:  # a prediction of one sample notices what a stack costs
        _flags.enter()
        try:
            yield
        finally:
            _flags.leave()
            torch.set_grad_enabled(True)
        return
    with ExitStack() as stack:
        stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        if seed is not None:
            stack.enter_context(_DRAWING)
        _flags.enter()
        stack.callback(_flags.leave)
        for mode in modes:
            stack.enter_context(mode)
        if seed is not None:
            stack.callback(restore_generators, generator_states(device))
            seed_generators(seed, device)
        yield


@contextmanager
def own_threads(count: int | None) -> Iterator[None]:
    """A context with so many threads of the CPU for torch; at its end all is as before. None changes nothing."""
    before = torch.get_num_threads()
    if count is None or count == before:  # to set them takes a lock of the whole process
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _modes() -> list[AbstractContextManager[object]]:
    """What undoes the modes of this thread that the caller has set."""
    modes: list[AbstractContextManager[object]] = []
    if torch.is_inference_mode_enabled():
        modes.append(torch.inference_mode(mode=False))
    if not torch.is_grad_enabled():
        modes.append(torch.enable_grad())
    modes += [torch.autocast(kind, enabled=False) for kind in _DEVICES if torch.is_autocast_enabled(kind)]
    # A default device is such a mode, and asking for it takes long.
    if torch._C._len_torch_function_stack() and torch.get_default_device().type != "cpu":  # noqa: SLF001
        modes.append(torch.device("cpu"))
    return modes


def seed_generators(seed: int, device: torch.device | str = "cpu") -> None:
    """Seed the global generators of torch, on the CPU and the device, of numpy and of Python; of no other device."""
    torch.default_generator.manual_seed(seed)
    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def generator_states(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The states of all generators that `seed_generators` seeds, by name: "torch", "numpy", "random", the device."""
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "random": random.getstate(),
    }
    device = torch.device(device)
    if device.type == "cuda":
        states[str(device)] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states[str(device)] = torch.mps.get_rng_state()
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Take back what `generator_states` gave."""
    for name, state in states.items():
        if name == "torch":
            torch.set_rng_state(state)
        elif name == "numpy":
            np.random.set_state(state)
        elif name == "random":
            random.setstate(state)
        elif name.startswith("cuda"):
            torch.cuda.set_rng_state(state, name)
        else:
            torch.mps.set_rng_state(state)
