"""What predictions of the chosen fusion cost in detail: parts, inputs, sizes of the batch, ways of execution.

As costs, it does not depend on the weights, so it is measured on models that are then discarded. It is measured of
whole predictions from transformed values, frozen encoders included, as a user will run them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from mmkit.data.splits import Splits
from mmkit.errors import MmkitError
from mmkit.experiments.subject import INFERENCE_BATCH, Subject
from mmkit.features.sharing import Shared
from mmkit.model.combination import Combination, unsupported_inputs
from mmkit.model.network import Model
from mmkit.records.breakdown import BatchSize, Breakdown, Closure, Mode, Part, Saving, Sweep
from mmkit.speed import batches, modes
from mmkit.speed.flops import parameters
from mmkit.speed.interleave import Comparison, interleave
from mmkit.speed.memory import peak_memory
from mmkit.speed.parts import REST, Parts, parts_of
from mmkit.speed.stopwatch import Call
from mmkit.system.settings import Settings
from mmkit.system.state import own_state
from mmkit.training.optimisation import Training

MAX_SECONDS = 10.0
"""Seconds that each of the four measurements takes at most, beside warming up."""
ROUNDS = 60
"""Interleaved rounds of a measurement, at most."""
HEADS = "heads of inputs"


def breakdown_of(
    combination: Combination,
    splits: Splits,
    training: Training,
    settings: Settings,
    shared: Shared,
    *,
    with_modes: bool = False,
    rounds: int = ROUNDS,
    max_seconds: float = MAX_SECONDS,
) -> Breakdown:
    """Measure a combination.

    Args:
        combination: to measure.
        splits: of the task; the training split gives the batches.
        training: `batch_size` is that of the step whose memory is measured.
        settings: device and precision are used.
        shared: what the runs share.
        with_modes: also compile it, and record it as a CUDA graph; that takes up to minutes.
        rounds: of interleaved measurements.
        max_seconds: limit of each measurement.
    """
    shared.progress.stage(f"parts and inputs of {combination.label}")
    with own_state(settings.device, seed=0):
        features = Shared(progress=shared.progress)  # features of a few samples do not belong into the cache
        make = partial(Subject, training=training, settings=settings, shared=shared, features=features)

        def subject_of(one: Combination) -> Subject:
            subject = splits.own().retry_without_rejected(lambda own: make(one, own))
            subject.module.eval()
            return subject

        subject = subject_of(combination)
        found = parts_of(
            subject.whole(),
            _modules(subject.module),
            subject.module,
            rounds=rounds,
            device=settings.device,
            max_seconds=max_seconds,
        )
        others: dict[str, Subject | str] = {}
        for name in combination.encoders:
            try:
                others[name] = subject_of(without(combination, name))
            except MmkitError as error:
                others[name] = str(error)
        savings = _savings(subject, others, rounds=rounds, device=settings.device, max_seconds=max_seconds)
        shared.progress.stage(f"sizes of the batch of {combination.label}")
        swept = batches.sweep(
            partial(_sized, subject), device=settings.device, rounds=max(rounds // 3, 1), max_seconds=max_seconds
        )
        ways = []
        if with_modes:
            shared.progress.stage(f"{combination.label}, compiled")
            ways = _modes(subject, rounds=rounds, device=settings.device, max_seconds=max_seconds)
        return Breakdown(
            INFERENCE_BATCH,
            1000 * found.timings.median("whole") / INFERENCE_BATCH,
            _parts(found, subject.module),
            closure(found.closure, found.twin),
            savings,
            _sweep(swept),
            ways,
        )


def without(combination: Combination, name: str) -> Combination:
    """The same combination without one of its inputs: of two inputs the other alone.

    Raises:
        UsageError: its fusion does not take so few inputs.
    """
    encoders = {given: choice for given, choice in combination.encoders.items() if given != name}
    count = len(encoders)
    objectives = tuple(one for one in combination.objectives if not unsupported_inputs(one.spec, count))
    fusion = combination.fusion if count > 1 else None
    return replace(combination, encoders=encoders, fusion=fusion, objectives=objectives)


def _modules(model: Model) -> dict[str, str]:
    """The names of modules with the part of a prediction that each belongs to."""
    given = {name: of for of, name in model.names.items()}
    found = {f"encoders.{name}": f"encoder of {of}" for name, of in given.items()}
    found |= {f"scalings.{name}": f"encoder of {given[name]}" for name in model.scalings}
    found |= dict.fromkeys((f"unimodal.{name}" for name in model.unimodal), HEADS)
    found["fusion"] = "fusion"
    return found | ({"head": "head"} if model.head is not None else {})


def _parts(found: Parts, model: Model) -> list[Part]:
    sizes: dict[str, int] = {}
    for name, part in _modules(model).items():
        sizes[part] = sizes.get(part, 0) + parameters(model.get_submodule(name))[0]
    order = [name for name in found.seconds if name != REST]
    return [Part(name, 1000 * found.median(name) / INFERENCE_BATCH, sizes.get(name, 0)) for name in [*order, REST]]


def closure(parts: Comparison, twin: Comparison) -> Closure:
    """Whether parts add up, from their sum beside the whole, and the whole beside its twin."""
    known = parts.low is not None and parts.high is not None and twin.low is not None and twin.high is not None
    if not known:
        return Closure(parts.ratio, parts.low, parts.high, None, closes=False)
    noise = max(abs(1 - (twin.low or 1.0)), abs((twin.high or 1.0) - 1))
    closes = (parts.low or 0.0) <= 1 + noise and (parts.high or 0.0) >= 1 - noise
    return Closure(parts.ratio, parts.low, parts.high, noise, closes)


def _savings(
    subject: Subject, others: Mapping[str, Subject | str], *, rounds: int, device: str, max_seconds: float
) -> list[Saving]:
    ready = {name: one for name, one in others.items() if isinstance(one, Subject)}
    calls = {"": subject.whole(), **{name: one.whole() for name, one in ready.items()}}
    timed = interleave(calls, rounds=rounds, device=device, max_seconds=max_seconds)
    each = 1000 * timed.median("") / INFERENCE_BATCH
    memory = peak_memory(subject.train_from_scratch, device=device, model=subject.module)
    found = []
    for name, one in others.items():
        if not isinstance(one, Subject):
            found.append(Saving(name, reason=one))
            continue
        ratio = timed.compare(name, "")
        ends = (None, None) if ratio.low is None or ratio.high is None else (1 - ratio.high, 1 - ratio.low)
        low, high = (None if end is None else each * end for end in ends)
        needs = peak_memory(one.train_from_scratch, device=device, model=one.module)
        saved = None if memory is None or needs is None else memory - needs
        fewer = parameters(subject.module)[0] - parameters(one.module)[0]
        found.append(Saving(name, each * (1 - ratio.ratio), low, high, 1 - ratio.ratio, fewer, saved))
    return found


def _sized(subject: Subject, size: int) -> tuple[Call, int]:
    """A prediction of a batch of so many samples, and the bytes that the batch holds."""
    batch = subject.raw_batch(size)
    return subject.whole_of(batch), _bytes(batch)


def _bytes(value: Any) -> int:
    """Of all tensors in mappings, sequences and the fields of data classes."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    return sum(_bytes(getattr(value, each.name)) for each in fields(value)) if is_dataclass(value) else 0


def _sweep(found: batches.Sweep | None) -> Sweep | None:
    if found is None:
        return None
    sizes = [BatchSize(one.size, one.samples_per_s, *one.quartiles, one.memory) for one in found.rates]
    return Sweep(sizes, found.end, found.enough)


def _modes(subject: Subject, *, rounds: int, device: str, max_seconds: float) -> list[Mode]:
    ready = modes.prepared(subject.whole(), subject.prediction, device)
    timed = modes.timed(ready, rounds=rounds, device=device, max_seconds=max_seconds)
    found = []
    for name, one in ready.items():
        if one.call is None:
            found.append(Mode(name, preparing_s=one.seconds, difference=one.difference, refused=one.refused))
            continue
        rate, beside = INFERENCE_BATCH / timed.median(name), timed.compare(name, modes.EAGER)
        if name == modes.EAGER:
            found.append(Mode(name, rate))
        else:
            found.append(Mode(name, rate, beside.ratio, beside.low, beside.high, one.seconds, one.difference))
    return found
