"""A check that a component computes where its weights and inputs are, without any other device at hand."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from mmkit.errors import ContractError
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import leaves, mapped

ELSEWHERE = "meta"
"""Any device but the CPU: tensors without values, of which only shape, dtype and device are followed."""


def one_device(specimen: ModuleSpecimen) -> str | None:
    """All of it computes on the device of its weights and inputs: no tensor is made or kept on the CPU."""
    module = specimen.fresh()
    inputs = specimen.differentiable(specimen.draw(4, absent={specimen.names[0]: (2,)}))
    try:
        # What a component keeps besides parameters and buffers is followed as what it is: a tensor on the CPU.
        with FakeTensorMode(allow_non_fake_inputs=True), warnings.catch_warnings(action="ignore"):
            move(module)
            moved = mapped(inputs, elsewhere)
            for training in (False, True):
                module.train(training)
                outputs = specimen.captured(module, moved)
                for place, tensor in leaves(outputs):
                    if tensor.device.type != ELSEWHERE:
                        raise ContractError(f"{place} is on the {tensor.device.type}, and weights and inputs are not")
            _differentiate(module, outputs)
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        return f"its way depends on values ({error.func}), which are there on a real device only"
    except RuntimeError as error:
        if "different devices" not in str(error):
            raise
        found = str(error).splitlines()[0].rpartition("found ")[2]
        raise ContractError(
            f"an operation meets {found} ({ELSEWHERE} stands for any device but the CPU); make tensors with "
            "device=INPUT.device, and keep them as buffers"
        ) from error
    return None


def elsewhere(tensor: Tensor) -> Tensor:
    """An empty one like it; asking for a gradient where that one does."""
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=ELSEWHERE)
    return empty.requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else empty


def move(module: nn.Module) -> None:
    """Move to `ELSEWHERE` what `module.to(device)` moves, and nothing else; under a FakeTensorMode."""
    known: dict[int, Any] = {}  # a parameter in two places stays one
    for part in module.modules():
        for own in (part._parameters, part._buffers):  # noqa: SLF001 (`to` refuses to replace these by fake ones)
            for name, tensor in own.items():
                if tensor is None:
                    continue
                if id(tensor) not in known:
                    moved = elsewhere(tensor)
                    trained = isinstance(tensor, nn.Parameter)
                    known[id(tensor)] = nn.Parameter(moved, tensor.requires_grad) if trained else moved
                own[name] = known[id(tensor)]


def _differentiate(module: nn.Module, outputs: Any) -> None:
    scores = [tensor.float().sum() for _, tensor in leaves(outputs) if tensor.requires_grad]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if scores and trained:
        torch.autograd.grad(torch.stack(scores).sum(), trained, allow_unused=True)
