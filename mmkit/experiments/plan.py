"""What a suite will do: the product of all that was named, and the single-input baselines beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmkit.errors import UnavailableError, UsageError, one_of
from mmkit.experiments.run import Run
from mmkit.metrics.tensors import measured_as_tensors
from mmkit.model.combination import Combination, refusal
from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, Spec
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice, Text, options_of, split_commas, validated
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Training

Named = str | type | Choice
"""A component as a user gives it: "NAME:key=value,...", or a class."""

_BRINGS = {"text": ", such as mmkit-transformers"}
"""Where heads come from for kinds of target that mmkit's own do not predict."""


@dataclass(frozen=True)
class Plan:
    """All runs of a suite.

    Args:
        task: the chosen task.
        combinations: what is compared.
        baselines: each input alone, with the same encoder, head and budget.
        seeds: of every combination.
        training: options.
        settings: device, precision, limit and on_error.
        left_out: what `all` named but cannot run here, with the reason.
    """

    task: Choice
    combinations: tuple[Combination, ...]
    baselines: tuple[Combination, ...]
    seeds: tuple[int, ...]
    training: Training
    settings: Settings
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def all(self) -> tuple[Combination, ...]:
        """Combinations, then baselines."""
        return self.combinations + self.baselines

    def runs(self) -> list[Run]:
        """Every combination and baseline with every seed; one seed of all before the next."""
        return [
            Run(self.task, combination, seed, self.training, self.settings)
            for seed in self.seeds
            for combination in self.all
        ]


def plan(
    catalog: Catalog,
    *,
    task: Named = "digits",
    encoders: Mapping[str, Sequence[Named]] | None = None,
    fusions: Sequence[Named] = ("attention",),
    heads: Sequence[Named] = (),
    objectives: Sequence[Named] = (),
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    seeds: int = 3,
    baselines: bool = True,
    settings: Settings | None = None,
) -> Plan:
    """The plan of all that is named; everything is looked up and checked, and no data is read.

    Args:
        catalog: where names are looked up.
        task: whose samples.
        encoders: by input, or by modality for all inputs of it; several of one input are compared.
        fusions: one or several; "all" is whatever can run.
        heads: likewise; none is the first that suits the task.
        objectives: all of them, in every combination.
        options: "encoder.INPUT.key=value", "fusion.key=value", "head.key=value", "objective.key=value",
            "task.key=value" or "train.key=value", which beat those written after a name.
        training: options of training, which beat what the task recommends.
        seeds: how many; 3 are 0, 1 and 2.
        baselines: whether each input alone stands beside them.
        settings: device, precision, limit and on_error; None is their defaults.

    Raises:
        UsageError: a name, an option or a number that is not possible.
        UnavailableError: a component or a device that is not to be had.
    """
    dotted = _Dotted(options)
    chosen_task = catalog.choose("task", task, partial(dotted.take, "task"))
    made = chosen_task.component(**chosen_task.part(chosen_task.component))
    inputs = dict(made.inputs)
    left_out: list[tuple[str, str]] = []

    def choose(kind: str, named: Sequence[Named], prefix: str, suits: Any) -> list[Choice]:
        found = []
        for one in _expanded(catalog, kind, named, suits, left_out):
            found.append(catalog.choose(kind, one, partial(dotted.take, prefix)))
            refusal = suits(found[-1].spec)
            if refusal:
                raise UsageError(f"{kind} {found[-1].name} {refusal}")
        return found

    named_encoders = _by_input(inputs, encoders or {})
    by_input = {}
    for name, modality in inputs.items():
        dotted.alias(f"encoder.{modality}", f"encoder.{name}")
        given = named_encoders.get(name) or [_default_encoder(catalog, name, modality, made.encoders)]
        read = kinds_of(catalog, modality)
        by_input[name] = choose("encoder", given, f"encoder.{name}", lambda spec, kinds=read: _reads(spec, kinds))
    chosen_fusions = choose("fusion", fusions, "fusion", lambda spec: _fuses(spec, len(inputs), made.target))
    given_heads = heads or [_default_head(catalog, made.target)]
    chosen_heads = choose("head", given_heads, "head", lambda spec: _predicts(spec, made.target))
    chosen_objectives = tuple(choose("objective", objectives, "objective", lambda spec: refusal(spec, len(inputs))))

    schema = options_of(Training)
    asked_training = {**(training or {}), **dotted.take("train", schema)}
    if "epochs" in asked_training:  # who says how many epochs means it, however small the split
        asked_training = {"min_steps": 0, **asked_training}
    given_training = {**made.training, **asked_training}
    trained = Training(**validated("train", given_training, schema))  # type: ignore[arg-type]
    dotted.finish()
    if seeds < 1:
        raise UsageError(f"--seeds takes 1 or more; got {seeds}")
    if not chosen_fusions:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out)
        raise UsageError(f"no fusion is left to run: {reasons}")

    combinations = [
        Combination(dict(zip(by_input, chosen, strict=True)), fusion, head, chosen_objectives)
        for chosen in itertools.product(*by_input.values())
        for fusion in chosen_fusions
        for head in chosen_heads
    ]
    alone = [
        Combination({name: encoder}, None, head)
        for name, choices in by_input.items()
        for encoder in choices
        for head in chosen_heads
    ]
    return Plan(
        chosen_task,
        tuple(combinations),
        tuple(alone) if baselines else (),
        tuple(range(seeds)),
        trained,
        settings or Settings(),
        tuple(left_out),
    )


class _Dotted:
    """Options written as "fusion.key=value"; each must be taken by some chosen component."""

    def __init__(self, options: Iterable[str]) -> None:
        self.given: dict[tuple[str, str], Text] = {}
        self.taken: set[tuple[str, str]] = set()
        self.aliases: dict[str, list[str]] = {}
        for text in options:
            path, equals, value = text.partition("=")
            owner, dot, key = path.strip().rpartition(".")
            if not (equals and dot and key):
                raise UsageError(f"-o {text} is not fusion.key=value, encoder.INPUT.key=value, head.key=value, ...")
            self.given[owner, key] = Text(value.strip())

    def alias(self, owner: str, other: str) -> None:
        """What is given for `owner` is also for `other`, which may be given more."""
        self.aliases.setdefault(other, []).append(owner)

    def take(self, owner: str, schema: Mapping[str, object]) -> dict[str, object]:
        """The options of `owner` that the schema has."""
        found: dict[str, object] = {}
        for source in [*self.aliases.get(owner, []), owner]:
            for (given, key), value in self.given.items():
                if given == source and key in schema:
                    found[key] = value
                    self.taken.add((given, key))
        return found

    def finish(self) -> None:
        """Raise for the first option that nothing took."""
        for owner, key in self.given:
            if (owner, key) not in self.taken:
                raise UsageError(f"-o {owner}.{key}: no chosen component has that option; see mmkit plugins show NAME")


def _expanded(
    catalog: Catalog, kind: str, named: Sequence[Named], suits: Any, left_out: list[tuple[str, str]]
) -> list[Named]:
    """Names one by one: commas separate bare names, and `all` is whatever is installed and suits."""
    found: list[Named] = []
    for one in named:
        if not isinstance(one, str) or ":" in one:
            found.append(one)
            continue
        for name in (part.strip() for part in split_commas(one)):
            if name != "all":
                found.append(name)
                continue
            for entry in catalog.entries:
                if entry.kind != kind or entry.spec is None:
                    continue
                reason = entry.reason if entry.status != "ok" else suits(entry.spec)
                if reason:
                    left_out.append((f"{kind} {entry.full_name}", reason))
                else:
                    found.append(entry.name if catalog.find(kind, entry.name) is entry else entry.full_name)
    return found


def _by_input(inputs: Mapping[str, str], encoders: Mapping[str, Sequence[Named]]) -> dict[str, Sequence[Named]]:
    """Encoders by input; what is named for an input beats what is named for its modality."""
    found: dict[str, Sequence[Named]] = {}
    for given, named in encoders.items():
        if given in inputs:
            continue
        of_modality = [name for name, modality in inputs.items() if modality == given]
        if not of_modality:
            raise UsageError(f"the task has no input {given}; {one_of([*inputs, *inputs.values()], given)}")
        found |= dict.fromkeys(of_modality, named)
    return found | {given: named for given, named in encoders.items() if given in inputs}


def _default_encoder(catalog: Catalog, name: str, modality: str, recommended: Mapping[str, str]) -> Named:
    if name in recommended:
        return recommended[name]
    spec = catalog.find("modality", modality).spec
    if isinstance(spec, ModalitySpec) and spec.encoder:
        return spec.encoder
    read = kinds_of(catalog, modality)
    fitting = [e.full_name for e in catalog.available("encoder") if _reads(e.spec, read) == ""]
    if len(fitting) == 1:
        return fitting[0]
    can = f"choose one of {', '.join(fitting)}" if fitting else "none is installed"
    raise UsageError(f"input {name} needs an encoder of {modality}: {can}, with --encoder {name}=NAME")


def _default_head(catalog: Catalog, target: str) -> Named:
    for entry in catalog.available("head"):
        if not _predicts(entry.spec, target):
            return entry.name
    there = [e for e in catalog.entries if e.kind == "head" and not _predicts(e.spec, target)]
    why = "".join(f"; {entry.full_name} is {entry.status}: {entry.reason}" for entry in there)
    bring = f"; install a plugin that brings one{_BRINGS.get(target, '')}"
    raise UnavailableError(f"no installed head predicts {target}{why or bring}")


def kinds_of(catalog: Catalog, modality: str) -> set[str]:
    """The modalities whose encoders read an input of this one: itself, and the one whose values in memory it gives."""
    spec = catalog.find("modality", modality).spec
    return {modality, (isinstance(spec, ModalitySpec) and spec.values) or modality}


def _reads(spec: object, kinds: Set[str]) -> str:
    if isinstance(spec, EncoderSpec) and spec.modality not in kinds:
        return f"reads {spec.modality}, and this input is {' or '.join(sorted(kinds))}"
    return ""


def _predicts(spec: object, target: str) -> str:
    if isinstance(spec, HeadSpec) and target not in spec.targets:
        return f"predicts {' or '.join(spec.targets)}, and the task asks for {target}"
    return ""


def _fuses(spec: Spec | None, inputs: int, target: str) -> str:
    if isinstance(spec, FusionSpec) and spec.combines == "outputs" and not measured_as_tensors(target):
        return f"combines outputs that are one vector, and those of a head for {target} are not"
    return refusal(spec, inputs)
