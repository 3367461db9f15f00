"""Checks of what belongs to the whole process: a component neither changes it nor depends on it."""

from __future__ import annotations

import atexit
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkit.contract import Samples, Task
from mmkit.errors import ContractError
from mmkit.system.state import flags, generator_states, restore_generators, seed_generators
from mmkit.testing.checks.alike import content
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.modality import ModalitySpecimen
from mmkit.testing.specimens.task import SPLITS, TaskSpecimen

SEED = 76_543
"""Of the generators, such as no component takes for itself."""


def global_state(specimen: Any) -> str | None:
    """It leaves alone what belongs to the process: numpy's and Python's generators, torch's seed, modes and flags."""
    kept = generator_states()
    try:
        for what, act in _acts(specimen).items():
            seed_generators(SEED)
            np.random.random_sample()  # so that seeding with the same number shows
            random.random()  # noqa: S311
            before = _state()
            act()
            for name, value in _state().items():
                if value != before[name]:
                    shown = "" if isinstance(value, bytes) else f" (now {value})"
                    raise ContractError(f"{what} changes {name}{shown}; {_ADVICE.get(name, 'leave it as it was')}")
    finally:
        restore_generators(kept)
    return None


def _acts(specimen: Any) -> dict[str, Callable[[], object]]:
    if isinstance(specimen, TaskSpecimen):
        return {"a new task asked for a split": lambda: specimen.build().split("train")}
    if isinstance(specimen, ModalitySpecimen):
        values = specimen.examples(2)
        return {"decoding": lambda: [specimen.build().decode(value) for value in values]}
    given, inputs, built = specimen.given(), specimen.draw(4), []
    acts: dict[str, Callable[[], object]] = {}
    if isinstance(specimen, EncoderSpecimen | HeadSpecimen):
        values, transform = specimen.values(64), specimen.new_transform()
        acts["fitting its transform"] = lambda: transform.fit(values)
        acts["transforming"] = lambda: transform(values)
    acts["building"] = lambda: built.append(specimen.component(*given, **specimen.options))
    acts["a pass of training"] = lambda: specimen.differentiate(inputs, built[0])
    acts["a pass of evaluation"] = lambda: specimen.evaluate(inputs, built[0])
    return acts


def _state() -> dict[str, Any]:
    numpy: Any = np.random.get_state()
    return {
        **flags(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default device": str(torch.get_default_device()),
        "the number of threads": torch.get_num_threads(),
        "the folder": Path.cwd(),
        "numpy's generator": repr((numpy[0], numpy[1].tobytes(), *numpy[2:])).encode(),
        "Python's generator": repr(random.getstate()).encode(),
        "torch's seed": torch.initial_seed(),
    }


_ADVICE = dict.fromkeys(
    ("numpy's generator", "Python's generator"), "draw from the generator handed in, or from torch's in building"
) | {"torch's seed": "the core seeds it, once a run"}


def hash_order(specimen: TaskSpecimen) -> str | None:
    """Its splits do not depend on the hashes of texts, which are other ones in every process."""
    expected = {name: _of_split(samples) for name, samples in specimen.splits.items()}
    found = _in_another_process("task", (specimen.component, specimen.options))
    if isinstance(found, str):
        return found
    for name, parts in expected.items():
        for part, said in parts.items():
            if found[name][part] != said:
                raise ContractError(
                    f"in a process with other hashes the split {name} has other {part}; sort what comes from a set"
                )
    return None


def transform_hash_order(specimen: EncoderSpecimen | HeadSpecimen) -> str | None:
    """What its transform learns does not depend on the hashes of texts, which are other ones in every process."""
    target = specimen.target if isinstance(specimen, HeadSpecimen) else None
    given = (specimen.component, specimen.transform_options, target, [*specimen.values(24), None])
    expected = _of_transform(*given)
    found = _in_another_process("transform", given)
    if isinstance(found, str):
        return found
    for part, said in expected.items():
        if found[part] != said:
            raise ContractError(
                f"in a process with other hashes the transform's {part} is another; sort what comes from a set"
            )
    return None


def _of_split(samples: Samples) -> dict[str, str]:
    columns = {"ids": samples.ids, "truth": samples.truth}
    columns |= {f"groups {name}": labels for name, labels in samples.factors.items()}
    columns |= {f"input {name}": column for name, column in samples.inputs.items()}
    return {name: sha256(content(list(column))).hexdigest() for name, column in columns.items()}


def _of_transform(component: Any, options: dict[str, Any], target: str | None, values: list[Any]) -> dict[str, str]:
    transform = component.reads(*([] if target is None else [target]), **options)
    transform.fit(values)
    found = {"state": transform.state(), "batch": transform(values)}
    return {name: sha256(content(part)).hexdigest() for name, part in found.items()}


def _in_another_process(what: str, given: tuple[Any, ...]) -> Any:
    """What `_of_split` or `_of_transform` find where texts have other hashes; an excuse where that cannot be."""
    try:
        sent = pickle.dumps(given)
    except (pickle.PicklingError, AttributeError, TypeError):
        return "it is defined inside a function, and another process cannot import it"
    return _other_process()(what, sent)


class _OtherProcess:
    """A process of other hashes, which answers until this one ends: torch is imported once for all components."""

    def __init__(self) -> None:
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        self._process = subprocess.Popen(  # noqa: S603 (our own)
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        atexit.register(self._close)

    def _close(self) -> None:
        self._process.communicate()  # closes its standard input, by which it ends

    def __call__(self, what: str, sent: bytes) -> Any:
        """What it finds.

        Raises:
            ContractError: it could not be found, or the process ended.
        """
        assert self._process.stdin is not None  # noqa: S101 (both are pipes)
        assert self._process.stdout is not None  # noqa: S101
        try:
            pickle.dump((what, sys.path, sent), self._process.stdin)
            self._process.stdin.flush()
            said = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            _other_process.cache_clear()
            raise ContractError("another process that was to build it ended without a word") from error
        if "error" in said:
            raise ContractError(f"in another process it raised {said['error']}")
        return said.get("excuse", said.get("found"))


@cache
def _other_process() -> _OtherProcess:
    return _OtherProcess()


def serve() -> None:
    """Answer what another process sends to the standard input, a line each, until that is closed."""
    out, sys.stdout = sys.stdout, sys.stderr  # what components print must not stand between the answers
    while True:
        try:
            what, sys.path[:], sent = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own)
        except EOFError:
            return
        print(json.dumps(_answer(what, sent)), file=out, flush=True)


def _answer(what: str, sent: bytes) -> dict[str, Any]:
    try:
        given = pickle.loads(sent)  # noqa: S301 (our own)
    except (ImportError, AttributeError) as error:
        return {"excuse": f"another process cannot import it: {error}"}
    try:
        if what == "transform":
            return {"found": _of_transform(*given)}
        task: Task = given[0](**given[1])
        return {"found": {name: _of_split(task.split(name)) for name in SPLITS}}
    except Exception as error:  # noqa: BLE001 (whatever a component raises is what is wrong with it)
        return {"error": f"{type(error).__name__}: {error}"}
