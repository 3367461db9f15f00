"""Checks that a component can be captured as one graph."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mmkit.errors import UnavailableError
from mmkit.plugin import EncoderSpec
from mmkit.system.onnx import OnnxGraph, lacking
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_finite, expect_same

OF_OTHERS = 1e-3
"""Of the largest number: what other kernels round otherwise; a signed root near zero makes 500 times as much of it."""


class Whole(nn.Module):
    """What a component gives, as one forward: a head's loss and prediction too, but for a text made token by token."""

    def __init__(self, specimen: ModuleSpecimen, module: nn.Module) -> None:
        super().__init__()
        self.specimen = specimen
        self.module = module

    def forward(self, *inputs: Any) -> dict[str, Any]:
        """By name."""
        return self.specimen.captured(self.module, inputs)


class InUse(Whole):
    """The same without losses, which nobody exports."""

    def forward(self, *inputs: Any) -> dict[str, Any]:
        """By name."""
        return self.specimen.independent(super().forward(*inputs))


def _excused(specimen: ModuleSpecimen, field: str) -> str | None:
    """Why the check does not apply, where the spec of an encoder says that it cannot."""
    spec = getattr(specimen, "spec", None)
    return f"its spec says {field}=False" if isinstance(spec, EncoderSpec) and not getattr(spec, field) else None


def compiles(specimen: ModuleSpecimen) -> str | None:
    """`torch.compile(fullgraph=True)` takes it, in evaluation and in training, and the result is the same."""
    if excuse := _excused(specimen, "fullgraph"):
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
    if excuse := _excused(specimen, "exports"):
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


def onnx(specimen: ModuleSpecimen) -> str | None:
    """As an ONNX graph in onnxruntime it gives the same, whatever inputs are missing."""
    if excuse := _excused(specimen, "exports"):
        return excuse
    if packages := lacking():
        return f"{packages} is not installed"
    inputs = specimen.draw(4)
    whole = InUse(specimen, specimen.fresh()).eval()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program = torch.export.export(whole, inputs, strict=False)
        try:
            graph = OnnxGraph.written(program, Path(folder) / "whole.onnx")
        except UnavailableError as error:  # of what it cannot take, nothing is wrong
            return str(error)
        for what, given in _lacking_inputs(specimen, inputs):
            expected = whole(*given)
            leaves, shape = pytree.tree_flatten(expected)
            found = iter(graph([leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]))
            same = [next(found) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            expect_same(pytree.tree_unflatten(same, shape), expected, f"in onnxruntime, {what}", OF_OTHERS)
    return None


def _lacking_inputs(specimen: ModuleSpecimen, inputs: tuple[Any, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Inputs of the shapes of those that are given, with more and more of them missing, and words for each."""
    yield "where nothing is missing", inputs
    cases = {f"where {name} is missing in every row": {name: range(4)} for name in specimen.names}
    cases["where one row is without any input"] = dict.fromkeys(specimen.names, (1,))  # type: ignore[arg-type]
    cases["where every input is missing"] = dict.fromkeys(specimen.names, range(4))
    for what, absent in cases.items():
        if isinstance(getattr(specimen, "spec", None), EncoderSpec):  # whose batches have other lengths
            batch = {name: leaf.clone() for name, leaf in inputs[0].items()}
            batch["mask"][list(absent["sample"])] = False
            yield what, (batch,)
        else:
            yield what, specimen.draw(4, seed=2, absent=absent)
