"""The graph of a model: tensors in a fixed order to its prediction, as one of three formats.

Axes: B batch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as shapes_config

from mmkit.errors import UnavailableError
from mmkit.model.exported import Format, Leaf
from mmkit.model.exporting.batches import Batches, Checked
from mmkit.model.graph import Run
from mmkit.model.network import Model
from mmkit.system.onnx import OnnxGraph, lacking

FILES: Mapping[Format, str] = {"onnx": "model.onnx", "pt2": "model.pt2", "aoti": "compiled.pt2"}
"""The name of the graph's file, by format."""


class Flat(nn.Module):
    """A model as a function of tensors in a fixed order, in float32 on the CPU.

    Args:
        model: a copy of it is taken.
        leaves: what it takes.
    """

    def __init__(self, model: Model, leaves: Sequence[Leaf]) -> None:
        super().__init__()
        self.model = deepcopy(model).cpu().float().eval()
        self.model.requires_grad_(requires_grad=False)
        self.leaves = tuple((one.input, one.leaf) for one in leaves)

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """The prediction, by name."""
        batch: dict[str, dict[str, Tensor]] = {name: {} for name, _ in self.leaves}
        for (name, leaf), tensor in zip(self.leaves, tensors, strict=True):
            batch[name][leaf] = tensor
        return dict(self.model.predict_batch(batch))

    def tensors(self, batches: Batches) -> tuple[Tensor, ...]:
        """The tensors of a batch, in their order."""
        return tuple(batches[name][leaf] for name, leaf in self.leaves)


def check_format(asked: Format) -> None:
    """Check that this machine can write a format.

    Raises:
        UnavailableError: a package or a compiler that it needs is not there.
    """
    if asked == "onnx" and (packages := lacking()):
        raise UnavailableError(f'ONNX needs {packages}: pip install "mmkit-core[export]"; --format pt2 needs nothing')
    compiler = os.environ.get("CXX") or "g++"
    if asked == "aoti" and shutil.which(compiler) is None:
        raise UnavailableError(
            f"aoti compiles the model, which needs a C++ compiler, and there is no {compiler}; --format pt2 needs none"
        )


@torch.no_grad()
def traced(flat: Flat, checked: Checked) -> torch.export.ExportedProgram:
    """The graph of a model, for any number of samples and any length.

    Raises:
        UnavailableError: `torch.export` cannot take it.
    """
    # Every axis that varies has a size of its own; torch finds out which are equal. It also notes what it took for
    # granted of strides at the sizes that it saw, such as odd lengths: no operation hangs on those, which is why its
    # guards are left out and other lengths are checked.
    shapes = tuple(dict.fromkeys(one.varying, torch.export.Dim.DYNAMIC) for one in checked.leaves)
    oblivious = shapes_config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # takes no size for 1
    with warnings.catch_warnings(), oblivious:
        warnings.simplefilter("ignore")  # torch's, of its own parts
        try:
            return torch.export.export(flat, flat.tensors(checked.whole), dynamic_shapes=(shapes,), strict=False)
        except Exception as error:  # whatever a component's code raises where it cannot be traced
            raise UnavailableError(f"torch.export cannot take it: {type(error).__name__}: {_line(error)}") from error


def write(
    program: torch.export.ExportedProgram, path: Path, asked: Format, leaves: Sequence[Leaf], outputs: Sequence[str]
) -> Run:
    """Write a graph to a file, and read it back.

    Args:
        program: what `traced` gave.
        path: of the file.
        asked: the format.
        leaves: its inputs.
        outputs: names of its outputs.

    Raises:
        UnavailableError: an operation has no form in ONNX, or the compiler fails.
    """
    if asked == "onnx":
        return OnnxGraph.written(program, path, [one.name for one in leaves], list(outputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if asked == "pt2":
            torch.export.save(program, path)
        else:
            try:
                torch._inductor.aoti_compile_and_package(program, package_path=str(path))  # noqa: SLF001 (its only name)
            except Exception as error:  # whatever inductor or the compiler raises
                raise UnavailableError(f"it cannot be compiled: {type(error).__name__}: {_line(error)}") from error
        return reading(path, asked, outputs)


def reading(path: Path, asked: Format, outputs: Sequence[str], threads: int = 0) -> Run:
    """The graph in a file.

    Args:
        path: of the file.
        asked: the format.
        outputs: names of its outputs.
        threads: that onnxruntime computes with; 0 is one per core. The others have those of torch.

    Raises:
        UnavailableError: onnxruntime is not installed.
        Exception: whatever its engine raises on a file that it cannot run.
    """
    if asked == "onnx":
        if importlib.util.find_spec("onnxruntime") is None:
            raise UnavailableError(f'{path.name} runs in onnxruntime: pip install "mmkit-core[export]"')
        return OnnxGraph(path, threads)
    module: Any
    if asked == "pt2":
        module = torch.export.load(path).module(check_guards=False)
    else:
        module = torch._inductor.aoti_load_package(str(path))  # noqa: SLF001
    return lambda tensors: [module(*tensors)[name] for name in outputs]


def _line(error: Exception) -> str:
    return textwrap.shorten(str(error), 240, placeholder=" ...")
