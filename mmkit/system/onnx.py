"""ONNX graphs of exported programs, and running them. Its packages come with the extra `export`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkit.errors import UnavailableError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
"""Of ONNX: what onnxruntime 1.17 (2024) and all later ones run."""


def lacking() -> str:
    """The packages that are not installed, as text; empty where all are."""
    return ", ".join(name for name in PACKAGES if importlib.util.find_spec(name) is None)


class OnnxGraph:
    """An ONNX graph in onnxruntime, on the CPU: called with its inputs in their order, it gives its outputs.

    Args:
        path: of the file.
        threads: that it runs with; 0 is one per core.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors; warnings are about its own optimisations
        options.intra_op_num_threads = threads
        self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = [one.name for one in self._session.get_inputs()]
        self.outputs = [one.name for one in self._session.get_outputs()]

    @staticmethod
    def written(
        program: torch.export.ExportedProgram,
        path: Path,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> OnnxGraph:
        """Write an exported program as ONNX.

        Args:
            program: what `torch.export` gave; its nested inputs and outputs become flat ones, in their order.
            path: of the file.
            inputs: their names in the graph; None leaves them to torch.
            outputs: likewise.

        Raises:
            UnavailableError: an operation has no form in ONNX.
        """
        with _quiet():
            try:
                graph = torch.onnx.export(
                    program, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=True, verbose=False
                )
            except torch.onnx.OnnxExporterError as error:
                raise UnavailableError(f"torch cannot write it as ONNX: {_reason(error)}") from error
            if graph is None:
                raise AssertionError("without a file to write to, torch gives the graph")
            graph.save(path)
        return OnnxGraph(path)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of inputs in their order."""
        given: dict[str, Any] = {name: leaf.numpy() for name, leaf in zip(self.inputs, inputs, strict=True)}
        return [torch.from_numpy(leaf) for leaf in self._session.run(None, given)]


def _reason(error: BaseException) -> str:
    """What the exporter stopped at: the operation, and the first error of all."""
    found = re.search(r"call_function\[target=(?:torch\.ops\.)?([\w.]+)\]", str(error))
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{found[1] if found else type(error).__name__}: {textwrap.shorten(str(error), 200, placeholder=' ...')}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its steps, of versions and of its own deprecations; errors are raised."""
    said = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [one.level for one in said]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for one in said:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(said, before, strict=True):
                one.setLevel(level)
