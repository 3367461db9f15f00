"""`own_state`: nothing that the caller has set decides inside it, and all is given back."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmkit.system.state import own_state

ONEDNN: Any = torch.backends.mkldnn  # untyped

pytestmark = pytest.mark.usefixtures("torch_restored")


@pytest.fixture
def torch_restored() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(mode=False)
    torch.set_float32_matmul_precision("highest")
    torch.set_default_device(None)
    ONEDNN.enabled = True


def flags() -> dict[str, object]:
    """What the caller can set, read by torch's own functions."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "onednn": torch.backends.mkldnn.enabled,
    }


INSIDE = flags()


@contextmanager
def everything_set() -> Iterator[None]:
    """All that a caller may have set, at once."""
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.set_default_device("meta")
    ONEDNN.enabled = False
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.mark.parametrize("seed", [None, 3])
def test_what_the_caller_has_set_is_set_aside_and_given_back(seed: int | None) -> None:
    with everything_set():
        before = flags()
        with own_state(seed=seed):
            assert flags() == INSIDE
            layer = nn.Linear(2, 3)
            layer(torch.ones(1, 2)).sum().backward()
            assert layer.weight.dtype == torch.float32
            assert layer.weight.device.type == "cpu"
            assert layer.weight.grad is not None
        assert flags() == before
        assert all(before[name] != INSIDE[name] for name in before)


def test_it_is_given_back_after_an_error_and_by_the_outermost_alone() -> None:
    torch.set_default_dtype(torch.float64)
    with pytest.raises(KeyError), own_state(seed=1), own_state():
        raise KeyError
    assert torch.get_default_dtype() == torch.float64
    with own_state():
        with own_state(seed=1):
            pass
        assert torch.get_default_dtype() == torch.float32


def drawn() -> list[object]:
    return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]


def test_generators_are_seeded_inside_and_left_as_they_were() -> None:
    found = []
    for callers in (1, 2):
        torch.manual_seed(callers)
        np.random.seed(callers)
        random.seed(callers)
        with own_state(seed=5):
            found.append(drawn())
        after = drawn()
        torch.manual_seed(callers)
        np.random.seed(callers)
        random.seed(callers)
        assert drawn() == after
    assert found[0] == found[1]
    with own_state(seed=6):
        assert drawn() != found[0]


def test_without_a_seed_the_generators_are_the_callers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with own_state():
        assert torch.equal(torch.rand(2), expected)


def test_threads_draw_one_after_the_other_and_share_the_flags() -> None:
    torch.set_default_dtype(torch.float64)
    alone: Tensor
    with own_state(seed=2):
        alone = torch.rand(50)
    drawing, inside = threading.Barrier(4), []
    found: list[Tensor] = []

    def draw() -> None:
        drawing.wait()
        with own_state(seed=2):
            found.append(torch.cat([torch.rand(1) for _ in range(50)]))

    def predict() -> None:
        drawing.wait()
        with own_state():  # does not wait for the lock
            inside.append(torch.get_default_dtype())

    threads = [threading.Thread(target=work) for work in (draw, draw, draw, predict)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(torch.equal(one, alone) for one in found)
    assert inside == [torch.float32]
    assert torch.get_default_dtype() == torch.float64


def test_who_draws_nothing_does_not_wait() -> None:
    done = threading.Event()

    def predict() -> None:
        with own_state():
            done.set()

    with own_state(seed=0):
        thread = threading.Thread(target=predict)
        thread.start()
        assert done.wait(10)
        thread.join()
