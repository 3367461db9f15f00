"""What a device other than the CPU asks of the code, as far as it can be seen without one."""

import pytest
import torch
from torch import Tensor

from mmkit.contract import Features
from mmkit.data.dataset import on


@pytest.fixture
def copies(monkeypatch):
    """The device and `non_blocking` of every copy."""
    found, to = [], Tensor.to

    def noting(tensor, *given, **named):
        found.append((torch.device(given[0]).type, named.get("non_blocking", False)))
        return to(tensor, *given, **named)

    monkeypatch.setattr(Tensor, "to", noting)
    return found


@pytest.mark.parametrize(("device", "ahead"), [("cpu", False), ("meta", True)])
def test_a_copy_to_the_cpu_is_waited_for_before_anyone_reads_it(copies, device, ahead):
    """From a GPU such a copy goes to pinned memory, and the call returns before the values are there."""
    Features.of(torch.ones(2, 3), torch.tensor([True, False]), torch.ones(2, 3)).to(device)
    on({"x": torch.ones(2), "mask": torch.ones(2, dtype=torch.bool)}, torch.device(device))
    assert copies == [(device, ahead)] * 5
