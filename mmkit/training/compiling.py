"""The training step, compiled by `torch.compile`; what cannot be compiled runs as it is, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mmkit.model.network import TrainingStep


class Compiled:
    """Calls the compiled step. Where it cannot be compiled as one graph, the step itself from then on.

    Results are those of the step but for rounding. A graph is made anew for the first few sizes of a batch.

    Args:
        step: to compile.
        warn: told once why it is not compiled.
    """

    def __init__(self, step: TrainingStep, warn: Callable[[str], None]) -> None:
        self._step = step
        self._warn = warn
        # One graph: a broken one may be slower than none, and torch would not say so.
        self._call: Callable[..., Any] = torch.compile(step, fullgraph=True)

    def __call__(self, *given: Any) -> Any:
        """The losses by name and the output of the step."""
        if self._call is self._step:
            return self._step(*given)
        try:
            return self._call(*given)
        except Exception as error:  # noqa: BLE001 (compilers raise anything; an error of the step comes again below)
            result = self._step(*given)
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            self._warn(f"the training step cannot be compiled and runs as it is ({reason.rstrip(': ')})")
            self._call = self._step
            return result
