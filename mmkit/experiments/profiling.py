"""Traces of PyTorch's profiler: where the time of a training step and of a prediction of one combination goes.

DIR/profile/NAME-HASH.train.json and .predict.json are Chrome traces: Perfetto and chrome://tracing open them. The
ranges "encoder of INPUT", "fusion" and "head" say which part of the model an operation belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError, UsageError, one_of
from mmkit.experiments.plan import Plan
from mmkit.experiments.saving import model_folder
from mmkit.experiments.subject import FrozenEncoder, Subject
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.speed.stopwatch import Call, synchronizer
from mmkit.system.files import replacing
from mmkit.system.state import own_state

FOLDER = "profile"
WARM = 3
"""Calls before those that are traced: the first ones allocate."""
TRACED = 5
"""Calls in a trace."""


def profiled_one(plan: Plan, named: Mapping[str, Combination], asked: str | bool) -> Combination | None:
    """The combination that is to be traced; None where none is.

    Args:
        plan: of the suite.
        named: its combinations by the names of the tables.
        asked: its name; True is the only one of the plan.

    Raises:
        UsageError: the plan has several and none is named, or it has none of that name.
    """
    if asked is False:
        return None
    if asked is True:
        if len(plan.combinations) > 1:
            raise UsageError(
                f"a profile is of one combination, and there are {len(plan.combinations)}; name it with --profile-of: "
                f"{', '.join(named)}"
            )
        return plan.combinations[0]
    if asked not in named:
        raise UsageError(f"--profile-of {asked}: there is no such combination; {one_of(named, asked)}")
    return named[asked]


def write_traces(combination: Combination, plan: Plan, splits: Splits, folder: Path, shared: Shared) -> list[Path]:
    """Trace training steps and predictions of a combination, with weights as they are drawn.

    Args:
        combination: to be traced.
        plan: of the suite.
        splits: of its task; the training split gives the batches.
        folder: of the suite.
        shared: what its runs share.

    Returns:
        The files.

    Raises:
        MmkitError: the model cannot be built, or a file cannot be written.
    """
    make = partial(
        Subject, combination, training=plan.training, settings=plan.settings, shared=shared, features=Shared()
    )
    stem = folder / FOLDER / model_folder(folder, combination).name
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with own_state(plan.settings.device, seed=0):
        subject = splits.own().retry_without_rejected(make)
        frozen: dict[str, FrozenEncoder] = {}
        subject.encoders(frozen)

        def predict() -> None:
            for encoder in frozen.values():
                encoder.encode()
            subject.predict()

        for name, call in (("train", subject.train), ("predict", predict)):
            subject.step.train(name == "train")
            path = stem.with_name(f"{stem.name}.{name}.json")
            traced = _traced(call, subject.module, f"{name} step", plan.settings.device)
            try:
                with replacing(path) as (fresh,):
                    traced.export_chrome_trace(str(fresh))
            except OSError as error:
                raise MmkitError(f"cannot write {path}: {error.strerror}") from error
            written.append(path)
    return written


def _traced(call: Call, model: Model, name: str, device: str) -> Any:
    """The profiler after it has watched some calls."""
    wait = synchronizer(device)
    for _ in range(WARM):
        call()
    wait()
    activities = [ProfilerActivity.CPU]
    if torch.device(device).type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with _parts_named(model), profile(activities=activities, record_shapes=True, acc_events=True) as profiler:
        for _ in range(TRACED):
            with record_function(name):
                call()
        wait()
    return profiler


@contextmanager
def _parts_named(model: Model) -> Iterator[None]:
    """Inside, each pass of an encoder, the fusion or the head is a range of its name in a trace."""
    parts: dict[str, nn.Module] = {f"encoder of {name}": model.encoders[key] for name, key in model.names.items()}
    parts["fusion"] = model.fusion
    if model.head is None:
        parts |= {f"head of {name}": model.unimodal[key] for name, key in model.names.items()}
    else:
        parts["head"] = model.head
    with ExitStack() as hooks:
        for name, module in parts.items():
            ranges: list[Any] = []

            def enter(_module: nn.Module, _inputs: Any, name: str = name, ranges: list[Any] = ranges) -> None:
                ranges.append(record_function(name))
                ranges[-1].__enter__()

            def leave(_module: nn.Module, _inputs: Any, _output: Any, ranges: list[Any] = ranges) -> None:
                ranges.pop().__exit__(None, None, None)

            for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave)):
                hooks.callback(handle.remove)
        yield
