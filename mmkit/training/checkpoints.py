"""Checkpoints: all that a training needs to go on as if it had never ended, bit for bit on one machine's CPU.

A checkpoint is one file, replaced as a whole: tensors as safetensors, all else as JSON in its metadata. Nothing is
pickled. What it holds is said in `training/loop.py`; what comes of seed, options and data alone is made anew.

Of several ranks the first reads it, for all, and writes it; all of them call every method, in the same places.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmkit.errors import DataError, MmkitError
from mmkit.system.files import replacing
from mmkit.system.ranks import ranks

SCHEMA = 2
ECHO = 1.0
"""Seconds within which a second signal is the same one, where a launcher passes on to its ranks what they got, too."""


@dataclass
class Checkpoints:
    """The checkpoint of one training, written from time to time.

    Args:
        path: of the file; its folder exists.
        minutes: between two checkpoints; None is only at the end of epochs.
        epochs: between two checkpoints; None is only by time.
        of: plain JSON values that say of which training the file is; one of another is not read.
        phase: the name of the phase that is being trained.
        before: plain JSON values that the later phase needs of those before it.
        clock: gives seconds.
    """

    path: Path
    minutes: float | None = 10
    epochs: int | None = 1
    of: Any = None
    phase: str = ""
    before: Any = None
    clock: Callable[[], float] = time.monotonic
    _last: float = field(default=0.0, init=False)
    _asked: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def read(self) -> dict[str, Any] | None:
        """The checkpoint: `phase`, `before` and the `state` of its loop; None if there is none of this training.

        Raises:
            DataError: the file cannot be read.
        """
        return ranks().told(self._read)

    def _read(self) -> dict[str, Any] | None:
        try:
            with safe_open(str(self.path), "pt") as file:
                document = json.loads(file.metadata()["document"])
                if document["schema"] != SCHEMA or document["of"] != self.of:
                    return None
                state = unpacked(document["state"], {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the checkpoint {self.path} cannot be read: {error}; remove it to begin anew") from error
        return {"phase": document["phase"], "before": document["before"], "state": state}

    def found(self) -> dict[str, Any] | None:
        """The state of the loop of this phase; None if there is none."""
        read = self.read()
        return None if read is None or read["phase"] != self.phase else read["state"]

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            MmkitError: it cannot be written.
        """
        self._last = self.clock()
        if not ranks().first:
            return
        tensors: dict[str, Tensor] = {}
        document = {
            "schema": SCHEMA,
            "of": self.of,
            "phase": self.phase,
            "before": self.before,
            "state": packed(state, tensors, {}),
        }
        try:
            with replacing(self.path) as (fresh,):
                save_file(tensors, str(fresh), {"document": json.dumps(document, allow_nan=False)})
        except (OSError, SafetensorError) as error:
            raise MmkitError(f"cannot write the checkpoint {self.path}: {error}; the one before it is kept") from error

    def after_step(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write a checkpoint within an epoch if it is time.

        Raises:
            KeyboardInterrupt: the user has asked for the end.
        """
        late = self.minutes is not None and self.clock() - self._last >= 60 * self.minutes
        asked, due = ranks().any(self._asked is not None, late)
        if asked or due:
            self.write(state())
            _end_if(asked)

    def after_epoch(self, epoch: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Write a checkpoint at the end of an epoch if it is its turn.

        Raises:
            KeyboardInterrupt: the user has asked for the end.
        """
        if self.epochs is not None and epoch % self.epochs == 0:
            self.write(state())
            _end_if(*ranks().any(self._asked is not None))
        else:
            self.after_step(state)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM end the training after its next step, with a checkpoint; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            echo = ranks().world > 1 and self._asked is not None and self.clock() - self._asked < ECHO
            if self._asked is not None and not echo:
                raise KeyboardInterrupt
            self._asked = self.clock() if self._asked is None else self._asked

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        _end_if(*ranks().any(self._asked is not None))  # after the last step; the checkpoint of an epoch is there


def _end_if(asked: bool) -> None:
    if asked:
        raise KeyboardInterrupt


def packed(value: Any, tensors: dict[str, Tensor], known: dict[tuple[Any, ...], str]) -> Any:
    """A nested value as JSON values, with each tensor moved into `tensors` and named in its place.

    Args:
        value: dicts, lists, tuples, tensors, numbers, texts, bools, None.
        tensors: receives the tensors, on the CPU.
        known: the names of those that it holds, by their memory: tensors that share it are kept once.

    Raises:
        TypeError: a value of another type.
    """
    if isinstance(value, Tensor):
        place = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride()) if value.numel() else None
        if place is not None and place in known:
            return {"tensor": known[place]}
        name = str(len(tensors))
        kept = value.detach().cpu().contiguous()
        tensors[name] = kept.clone() if kept.data_ptr() == value.data_ptr() else kept
        if place is not None:
            known[place] = name
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[packed(k, tensors, known), packed(v, tensors, known)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [packed(one, tensors, known) for one in value]}
    if isinstance(value, list):
        return [packed(one, tensors, known) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values; got {type(value).__name__}")


def unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `packed` was given.

    >>> import torch
    >>> held: dict[str, Tensor] = {}
    >>> unpacked(packed({0: (1, [torch.ones(2)])}, held, {}), held)
    {0: (1, [tensor([1., 1.])])}
    """
    if isinstance(value, list):
        return [unpacked(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensors[held]
    if kind == "tuple":
        return tuple(unpacked(one, tensors) for one in held)
    return {unpacked(k, tensors): unpacked(v, tensors) for k, v in held}
