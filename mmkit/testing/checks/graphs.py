"""Checks that a component can be captured as one graph."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from mmkit.plugin import EncoderSpec
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_finite, expect_same


class Whole(nn.Module):
    """What a component gives, as one forward: a head's loss and prediction too, but for a text made token by token."""

    def __init__(self, specimen: ModuleSpecimen, module: nn.Module) -> None:
        super().__init__()
        self.specimen = specimen
        self.module = module

    def forward(self, *inputs: Any) -> dict[str, Any]:
        """By name."""
        return self.specimen.captured(self.module, inputs)


def _excused(specimen: ModuleSpecimen) -> str | None:
    spec = getattr(specimen, "spec", None)
    return "its spec says fullgraph=False" if isinstance(spec, EncoderSpec) and not spec.fullgraph else None


def compiles(specimen: ModuleSpecimen) -> str | None:
    """`torch.compile(fullgraph=True)` takes it, in evaluation and in training, and the result is the same."""
    if excuse := _excused(specimen):
        return excuse
    inputs = specimen.draw(4, absent={specimen.names[0]: (2,)})
    whole = Whole(specimen, specimen.fresh())
    torch.compiler.reset()
    compiled = torch.compile(whole, fullgraph=True, dynamic=False, backend="eager")
    with warnings.catch_warnings():
        # A doubt of the compiler's about itself, whatever library the component is built on.
        warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
        whole.eval()
        with torch.no_grad():
            expect_same(compiled(*inputs), whole(*inputs), "compiled")
        whole.train()
        outputs = compiled(*specimen.differentiable(inputs))
    expect_finite(outputs, "compiled, in training")
    specimen.score(outputs)
    torch.compiler.reset()
    return None


def exports(specimen: ModuleSpecimen) -> str | None:
    """`torch.export` takes it, and the exported program gives the same, with other inputs missing too."""
    if excuse := _excused(specimen):
        return excuse
    inputs = specimen.draw(4)
    whole = Whole(specimen, specimen.fresh()).eval()
    with torch.no_grad():
        program = torch.export.export(whole, inputs, strict=False).module()
        expect_same(program(*inputs), whole(*inputs), "exported")
        if not isinstance(getattr(specimen, "spec", None), EncoderSpec):  # whose batches have other lengths
            others = specimen.draw(4, seed=2, absent=specimen.all_absent(1))
            expect_same(program(*others), whole(*others), "exported, another batch")
    return None
