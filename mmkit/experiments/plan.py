"""The plan of a suite: the product of all chosen components, and the single-input baselines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mmkit.contract import Task
from mmkit.errors import UnavailableError, UsageError, one_of
from mmkit.experiments.run import Run
from mmkit.experiments.studies import needs_optuna
from mmkit.metrics.tensors import measured_as_tensors
from mmkit.model.combination import Combination, goes_with, unsupported_inputs
from mmkit.plugin import BalanceSpec, EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, Spec
from mmkit.records.verdicts import Protocol
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice, Text, options_of, split_components, validated
from mmkit.report.labels import ALONE
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Search, Training
from mmkit.training.privacy import settled

Named = str | type | Choice
"""A component as a user gives it: "NAME:key=value,...", a class, or a choice."""

FUSIONS = ("concat", "log-pool", "attention")
"""The fusions that are compared where none is named: one a level, of vectors, of outputs and of tokens.

Of outputs it is `log-pool`: on five splits of `clipart` it is the best of five fusions on validation and better than
late fusion on test, by .19 of log loss and a point of accuracy (`benchmarks/records/clipart.json`).
"""
PLAINEST = ("concat", "log-pool")
"""Those of them that add nothing to a single input, or a linear layer at most."""
NONE = "none"
"""In place of a balance method: encoders are left to themselves; of an objective: what fusions bring is left out."""

PROTOCOLS: tuple[Protocol, ...] = ("quick", "full")

_PROVIDERS = {"text": ", such as mmkit-transformers"}
"""Plugins with heads for kinds of target that mmkit's own heads do not predict."""


@dataclass(frozen=True)
class Plan:
    """All runs of a suite.

    Args:
        task: the chosen task.
        combinations: that are compared.
        baselines: combinations of a single input each, with the same encoder, head and budget.
        seeds: fresh seeds of the chosen fusion and of every single input.
        training: options; `lr` is that of all combinations where there are no `rates`.
        settings: device, precision, limit and on_error.
        left_out: what `all` includes, or is compared by default, but cannot run, with the reason.
        rates: learning rates of which each combination gets the best on validation; empty where the rate is given.
        may_extend: whether the search also tries twice the epochs where the best one is among the last; not where a
            number of epochs is given, or a budget.
        optional: keys of combinations that `all` includes; those that cannot be built are left out.
        folds: the task of each fold, where every sample is tested once; empty where there is one split.
        base: of all seeds.
        protocol: "quick", or "full": every fusion is measured on test, and more seeds are added where they tell more.
        same: what the verdict takes for the same, in points of a share, else in units; None is the default.
        budget: seconds of the search and the confirmation; None races, however long it takes.
        search_options: whether the search is for the options of fusions and heads, too.

    Raises:
        UsageError: two classes of one kind have the same name, by which records would take one for the other.
    """

    task: Choice
    combinations: tuple[Combination, ...]
    baselines: tuple[Combination, ...]
    seeds: int
    training: Training
    settings: Settings
    left_out: tuple[tuple[str, str], ...] = ()
    rates: tuple[float, ...] = ()
    may_extend: bool = False
    optional: frozenset[str] = frozenset()
    folds: tuple[Choice, ...] = ()
    base: int = 0
    protocol: Protocol = "quick"
    same: float | None = None
    budget: float | None = None
    search_options: bool = False

    def __post_init__(self) -> None:
        known: dict[tuple[str, str], tuple[type, ...]] = {}
        for choice in (choice for combination in self.all for choice in combination.choices()):
            if known.setdefault((choice.kind, choice.name), choice.factories) != choice.factories:
                raise UsageError(f"two classes of {choice.kind} are called {choice.name}; give each a name of its own")

    @property
    def all(self) -> tuple[Combination, ...]:
        """The combinations, then the baselines."""
        return self.combinations + self.baselines

    @property
    def parts(self) -> tuple[Plan, ...]:
        """A plan for each fold; the plan itself where there is one split. Nothing is chosen across parts."""
        return tuple(replace(self, task=task, folds=()) for task in self.folds) or (self,)

    def run(self, combination: Combination, seed: int, training: Training | None = None) -> Run:
        """A run of a combination; its training is that of the plan where none was chosen."""
        return Run(self.task, combination, seed, training or self.training, self.settings)

    def runs(self) -> list[Run]:
        """A run of each combination, to know what the plan trains; which runs there will be, `protocol` says."""
        return [part.run(one, self.base) for part in self.parts for one in self.all]

    def without(self, failed: Mapping[str, Exception]) -> Plan:
        """The plan without the optional combinations that cannot be built; they are listed with the reason.

        Args:
            failed: the error of each combination that cannot be built, by key.
        """
        out = {key: error for key, error in failed.items() if key in self.optional}
        reasons = [(named(one), one_line(out[one.key])) for one in self.all if one.key in out]
        return replace(
            self,
            combinations=tuple(one for one in self.combinations if one.key not in out),
            baselines=tuple(one for one in self.baselines if one.key not in out),
            left_out=(*self.left_out, *reasons),
        )


def named(combination: Combination) -> str:
    """A combination in words that tell it from others: fusion, head, and encoders."""
    encoders = " ".join(f"{name}={choice}" for name, choice in combination.encoders.items())
    return f"{combination.label} with head {combination.head} and {encoders}"


def one_line(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def plan(
    catalog: Catalog,
    *,
    task: Named = "digits",
    encoders: Mapping[str, Sequence[Named]] | None = None,
    fusions: Sequence[Named] | None = None,
    heads: Sequence[Named] = (),
    objectives: Sequence[Named] = (),
    balances: Sequence[Named] = (),
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    seeds: int = 5,
    seed: int = 0,
    protocol: str = "quick",
    same_within: float | None = None,
    budget: float | None = None,
    search_options: bool = False,
    baselines: bool = True,
    settings: Settings | None = None,
    search: bool = True,
    single: bool = False,
) -> Plan:
    """Plan a suite. All components and options are looked up and checked; no data is read.

    Args:
        catalog: where names are looked up.
        task: that the combinations are trained for.
        encoders: by input, or by modality for all inputs of it; several of one input are compared.
        fusions: one or several; "all" is every installed fusion that suits the task, None those of `FUSIONS` that do.
        heads: one or several; "all" is every installed head that suits the task, none is the first of them.
        objectives: losses besides the head's, in every combination that they go with; "none" leaves out those that
            fusions bring along.
        balances: one or several; "none" is to leave encoders to themselves, which is meant where nothing is given.
        options: "encoder.INPUT.key=value", "fusion.key=value", "head.key=value", "objective.key=value",
            "balance.key=value", "task.key=value" or "train.key=value"; they override options in names.
        training: options of training; they override what the task recommends.
        seeds: fresh seeds of the chosen fusion and of every single input.
        seed: the base of all seeds.
        protocol: "quick" or "full".
        same_within: what the verdict takes for the same, in points of a share, else in units of the metric; None is 1
            point, or 2 % of the best single input.
        budget: seconds within which combinations and learning rates are searched and what was found is confirmed; None
            races, however long it takes.
        search_options: also search the options of fusions and heads that are not given, in the same time for each
            combination and each input alone; needs a budget.
        baselines: also plan a combination of each input alone.
        settings: device, precision, limit and on_error; None is the defaults.
        search: whether each combination gets the best of `train.rates`, unless `train.lr` is given or the task
            recommends one.
        single: whether one model is trained, which alone can be private.

    Raises:
        UsageError: an unknown name, a wrong option, or a combination that is not possible.
        UnavailableError: a component that is not available on this machine; or options are to be searched, and Optuna
            is not installed.
    """
    dotted = _Dotted(options)
    chosen_task = catalog.choose("task", task, partial(dotted.take, "task"))
    built_task = chosen_task.component(**chosen_task.part(chosen_task.component))
    inputs = _inputs(chosen_task.name, built_task)
    left_out: list[tuple[str, str]] = []

    optional: list[Choice] = []

    def choose(kind: str, named: Sequence[Named], prefix: str, suits: Any) -> list[Choice]:
        choices = []
        for one, of_all in _expanded(catalog, kind, named, suits, left_out):
            if kind == "fusion" and isinstance(one, str) and one.startswith(ALONE):
                raise UsageError(
                    f"{one} is no fusion to compare: bench trains every input alone beside the fusions, in rows of "
                    f"that name; leave it out, or make that one model: mmkit train --fusion {one}"
                )
            choices.append(catalog.choose(kind, one, partial(dotted.take, prefix)))
            if of_all:
                optional.append(choices[-1])
            reason = suits(choices[-1].spec)
            if reason:
                raise UsageError(f"{kind} {choices[-1].name} {reason}")
        return choices

    named_encoders = _by_input(inputs, encoders or {})
    by_input = {}
    for name, modality in inputs.items():
        dotted.alias(f"encoder.{modality}", f"encoder.{name}")
        named = named_encoders.get(name) or [_default_encoder(catalog, name, modality, built_task.encoders)]
        readable = kinds_of(catalog, modality)
        by_input[name] = choose(
            "encoder", named, f"encoder.{name}", lambda spec, name=name, kinds=readable: reads(spec, name, kinds)
        )

    def fuses(spec: Spec | None) -> str:
        return _fuses(spec, len(inputs), built_task.target)

    if fusions is None:
        fusions = _default_fusions(catalog, fuses, left_out)
        if baselines and len(inputs) == 1:
            fusions = _without_plainest(fusions, next(iter(inputs)), left_out)
    chosen_fusions = choose("fusion", fusions, "fusion", fuses)
    named_heads = heads or [_default_head(catalog, built_task.target)]
    chosen_heads = choose("head", named_heads, "head", lambda spec: _predicts(spec, built_task.target))
    aims, unaccompanied = _listed(catalog, "objective", objectives)
    chosen_objectives = choose("objective", aims, "objective", lambda spec: _aims(spec, inputs, chosen_fusions))
    companion = partial(catalog.choose, "objective", options=partial(dotted.take, "objective"))
    objectives_of = _objectives_of(chosen_fusions, chosen_objectives, None if unaccompanied else companion)

    methods, unbalanced = _listed(catalog, "balance", balances)
    chosen_balances: list[Choice | None] = [None] if not methods or unbalanced else []
    chosen_balances += choose(
        "balance", methods, "balance", lambda spec: _balances(spec, len(inputs), built_task.target)
    )

    training_options, rates, given_epochs = _training(dotted, built_task.training, training or {}, search=search)
    dotted.finish()
    if training_options.private is not None and not single:
        raise UsageError(
            "bench trains many models on the same rows, and the epsilon of each adds to that of the others; private "
            "training is of one model: mmkit train --private"
        )
    kept_protocol = _checked_protocol(seeds, seed, protocol, same_within)
    folds = _folds(chosen_task, built_task)
    _check_budget(budget, folds, search_options=search_options)
    if not chosen_fusions:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left_out)
        raise UsageError(f"no fusion can run; choose one by name: {reasons}")

    combinations = [
        Combination(dict(zip(by_input, chosen, strict=True)), fusion, head, beside, balance)
        for chosen in itertools.product(*by_input.values())
        for fusion, beside in objectives_of
        for balance in chosen_balances
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
        _once(combinations),
        _once(alone) if baselines else (),
        seeds,
        training_options,
        settings or Settings(),
        tuple(left_out),
        rates,
        may_extend=not given_epochs and budget is None,
        optional=frozenset(
            one.key for one in (*combinations, *alone) if any(c is known for c in one.choices() for known in optional)
        ),
        folds=folds,
        base=seed,
        protocol=kept_protocol,
        same=same_within,
        budget=budget,
        search_options=search_options,
    )


def _check_budget(budget: float | None, folds: Sized, *, search_options: bool) -> None:
    """Refuse a search that is not possible."""
    if budget is not None and folds:
        raise UsageError(f"--budget searches on one split, and each of {len(folds)} folds has its own; leave out one")
    if search_options and budget is None:
        raise UsageError("--search-options needs the time that it may take: add --budget, such as --budget 30m")
    if search_options:
        needs_optuna()


def _folds(choice: Choice, task: Task) -> tuple[Choice, ...]:
    """The task of each fold; none where the task has one split, or is one fold of several."""
    count = 0 if getattr(task, "fold", 0) else getattr(task, "folds", 0)
    return tuple(replace(choice, options={**choice.options, "fold": number}) for number in range(1, count + 1))


def _once(combinations: Iterable[Combination]) -> tuple[Combination, ...]:
    """Each combination once: two choices may be the same, one of them with a default written out."""
    found: dict[tuple[object, ...], Combination] = {}
    for one in combinations:
        classes = (choice.factories for choice in one.choices())  # two of one name are refused, not taken for one
        found.setdefault((one.key, *classes), one)
    return tuple(found.values())


def _training(
    dotted: _Dotted, recommended: Mapping[str, object], given: Mapping[str, object], *, search: bool
) -> tuple[Training, tuple[float, ...], bool]:
    """The options of training; the rates to search, none if the rate is given; and whether the epochs are given."""
    schema = options_of(Training) | (options_of(Search) if search else {})
    on_top = dotted.take("train", schema)
    if on_top.keys() & {"lr", "rates"}:  # they say of one thing, so the later overrides both
        given = {name: value for name, value in given.items() if name not in {"lr", "rates"}}
    chosen = {**given, **on_top}
    if "lr" in chosen and "rates" in chosen:
        raise UsageError("train.lr is the learning rate, and train.rates are several to choose from; give one of them")
    epochs = "epochs" in chosen
    if epochs:  # a given number of epochs is not raised by `min_steps`
        chosen = {"min_steps": 0, **chosen}
    options = validated("train", {**recommended, **chosen}, schema)
    rates = tuple(sorted(set(options.pop("rates", ()))))  # type: ignore[call-overload]  # checked
    if options["private"] is not None:
        return Training(**settled(options, chosen.keys())), (), epochs
    fixed = not search or "lr" in chosen or ("lr" in recommended and "rates" not in chosen)
    return Training(**options), () if fixed else rates, epochs  # type: ignore[arg-type]  # checked


class _Dotted:
    """Options written as "fusion.key=value"; at least one chosen component must take each."""

    def __init__(self, options: Iterable[str]) -> None:
        self.given: dict[tuple[str, str], Text] = {}
        self.taken: set[tuple[str, str]] = set()
        self.aliases: dict[str, list[str]] = {}
        self.offered: dict[str, set[str]] = {}
        for text in options:
            path, equals, value = text.partition("=")
            owner, dot, key = path.strip().rpartition(".")
            if not (equals and dot and key and owner):
                raise UsageError(
                    "-o takes fusion.key=value, encoder.INPUT.key=value, head.key=value, objective.key=value, "
                    f"balance.key=value, task.key=value or train.key=value; got {text}"
                )
            self.given[owner, key] = Text(value.strip())

    def alias(self, owner: str, other: str) -> None:
        """Options given for `owner` also apply to `other`, unless it has its own."""
        self.aliases.setdefault(other, []).append(owner)

    def take(self, owner: str, schema: Mapping[str, object]) -> dict[str, object]:
        """The options given for `owner` that the schema has."""
        for source in [*self.aliases.get(owner, []), owner]:
            self.offered.setdefault(source, set()).update(schema)
        options: dict[str, object] = {}
        for source in [*self.aliases.get(owner, []), owner]:
            for (given, key), value in self.given.items():
                if given == source and key in schema:
                    options[key] = value
                    self.taken.add((given, key))
        return options

    def finish(self) -> None:
        """Check that each option was taken by some component.

        Raises:
            UsageError: an option was not taken.
        """
        for owner, key in self.given:
            if (owner, key) not in self.taken:
                raise UsageError(f"-o {owner}.{key}: {self._instead(owner, key)}")

    def _instead(self, owner: str, key: str) -> str:
        """Why no component took an option, and what is possible."""
        if owner not in self.offered:
            return f"there is no {owner} here; {one_of(self.offered, owner)}"
        options = self.offered[owner]
        where = "training has" if owner == "train" else "no chosen component has"
        said = f"{where} {'no such' if owner == 'train' else 'that'} option"
        lists = "train" if owner == "train" else "NAME"
        return f"{said}; {one_of(options, key)}; mmkit plugins show {lists} says what they are"


def _expanded(
    catalog: Catalog, kind: str, named: Sequence[Named], suits: Any, left_out: list[tuple[str, str]]
) -> list[tuple[Named, bool]]:
    """Single components: several in one text are split, and `all` becomes every installed one that suits.

    Each with whether it is there by `all` alone.
    """
    expanded: list[tuple[Named, bool]] = []
    names = {"all", *_names(catalog, kind)}
    for one in named:
        if not isinstance(one, str):
            expanded.append((one, False))
            continue
        if not one.strip():
            raise UsageError(f"--{kind} takes NAME[:key=value,...]; got {one!r}")
        for name in split_components(one, names):
            if name != "all":
                expanded.append((name, False))
                continue
            for entry in catalog.entries:
                if entry.kind != kind or entry.spec is None:
                    continue
                reason = entry.reason if entry.status != "ok" else suits(entry.spec)
                if reason:
                    left_out.append((f"{kind} {entry.full_name}", reason))
                else:
                    known = catalog.find(kind, entry.name) is entry
                    expanded.append((entry.name if known else entry.full_name, True))
    return expanded


def _without_plainest(fusions: Sequence[Named], alone: str, left_out: list[tuple[str, str]]) -> list[Named]:
    """The fusions without those of `PLAINEST`, unless nothing would be left; with the reason."""
    kept = [name for name in fusions if name not in PLAINEST]
    if not kept:
        return list(fusions)
    reason = f"is with one input nearly the same as {ALONE}{alone}, which is trained"
    left_out += [(f"fusion {name}", reason) for name in fusions if name in PLAINEST]
    return kept


def _default_fusions(
    catalog: Catalog, suits: Callable[[Spec | None], str], left_out: list[tuple[str, str]]
) -> list[Named]:
    """Those of `FUSIONS` that suit the task; the others are left out with the reason."""
    found: list[Named] = []
    for name in FUSIONS:
        reason = suits(catalog.find("fusion", name).spec)
        if reason:
            left_out.append((f"fusion {name}", reason))
        else:
            found.append(name)
    return found


def _by_input(inputs: Mapping[str, str], encoders: Mapping[str, Sequence[Named]]) -> dict[str, Sequence[Named]]:
    """Encoders by input; those given for an input override those given for its modality."""
    by_input: dict[str, Sequence[Named]] = {}
    for given, named in encoders.items():
        if given in inputs:
            continue
        of_modality = [name for name, modality in inputs.items() if modality == given]
        if not of_modality:
            raise UsageError(f"the task has no input {given}; {one_of([*inputs, *inputs.values()], given)}")
        by_input |= dict.fromkeys(of_modality, named)
    return by_input | {given: named for given, named in encoders.items() if given in inputs}


def _inputs(name: str, task: Task) -> dict[str, str]:
    """The inputs of a task with their modalities, for which alone it may recommend encoders."""
    for given in task.encoders:
        if given not in task.inputs:
            raise UsageError(
                f"task {name} recommends an encoder for {given}, which is no input; {one_of(task.inputs, given)}"
            )
    return dict(task.inputs)


def _default_encoder(catalog: Catalog, name: str, modality: str, recommended: Mapping[str, str]) -> Named:
    if name in recommended:
        return recommended[name]
    spec = catalog.find("modality", modality).spec
    if isinstance(spec, ModalitySpec) and spec.encoder:
        return spec.encoder
    readable = kinds_of(catalog, modality)
    suitable = [e.full_name for e in catalog.available("encoder") if reads(e.spec, name, readable) == ""]
    if len(suitable) == 1:
        return suitable[0]
    advice = (
        f"choose one of {', '.join(suitable)}, with --encoder {name}=NAME"
        if suitable
        else "none is installed; install a plugin that has one"
    )
    raise UsageError(f"input {name} needs an encoder of {modality}: {advice}")


def _default_head(catalog: Catalog, target: str) -> Named:
    for entry in catalog.available("head"):
        if not _predicts(entry.spec, target):
            return entry.name
    unusable = [e for e in catalog.entries if e.kind == "head" and not _predicts(e.spec, target)]
    reasons = "".join(f"; {entry.full_name} is {entry.status}: {entry.reason}" for entry in unusable)
    advice = f"; install a plugin that has one{_PROVIDERS.get(target, '')}"
    raise UnavailableError(f"no installed head predicts {target}{reasons or advice}")


def kinds_of(catalog: Catalog, modality: str) -> set[str]:
    """The modalities whose encoders can read an input of this modality: itself, and that of its decoded values."""
    spec = catalog.find("modality", modality).spec
    return {modality, (isinstance(spec, ModalitySpec) and spec.values) or modality}


def reads(spec: object, name: str, kinds: Set[str]) -> str:
    """Why an encoder does not read an input of one of these modalities; empty where it does, or has no spec."""
    if isinstance(spec, EncoderSpec) and spec.modality not in kinds:
        return f"reads {spec.modality}, and input {name} is {' or '.join(sorted(kinds))}"
    return ""


def _balances(spec: Spec | None, inputs: int, target: str) -> str:
    if isinstance(spec, BalanceSpec) and spec.targets and target not in spec.targets:
        return f"knows {' or '.join(spec.targets)}, and the target of the task is {target}"
    return unsupported_inputs(spec, inputs)


def _predicts(spec: object, target: str) -> str:
    if isinstance(spec, HeadSpec) and target not in spec.targets:
        return f"predicts {' or '.join(spec.targets)}, and the target of the task is {target}"
    return ""


def _checked_protocol(seeds: int, seed: int, protocol: str, same_within: float | None) -> Protocol:
    if type(seeds) is not int or seeds < 1:
        raise UsageError(f"--seeds takes 1 or more; got {seeds!r}")
    if type(seed) is not int or seed < 0:
        raise UsageError(f"--seed takes 0 or more; got {seed!r}")
    if protocol not in PROTOCOLS:
        raise UsageError(f"--protocol takes {' or '.join(PROTOCOLS)}; got {protocol}")
    if same_within is not None and not (math.isfinite(same_within) and same_within > 0):
        raise UsageError(f"--same-within takes more than 0; got {same_within:g}")
    return "full" if protocol == "full" else "quick"


def _names(catalog: Catalog, kind: str) -> set[str]:
    return {name for entry in catalog.entries if entry.kind == kind for name in (entry.name, entry.full_name)}


def _listed(catalog: Catalog, kind: str, named: Sequence[Named]) -> tuple[list[Named], bool]:
    """The components one by one, and whether `NONE` is among them."""
    names = {NONE, *_names(catalog, kind)}
    found: list[Named] = []
    for one in named:
        found += split_components(one, names) if isinstance(one, str) else [one]
    return [one for one in found if one != NONE], NONE in found


def _objectives_of(
    fusions: Sequence[Choice], objectives: Sequence[Choice], companion: Callable[[str], Choice] | None
) -> list[tuple[Choice, tuple[Choice, ...]]]:
    """Each fusion with its objectives: those chosen that go with it, and the one that it brings along.

    Args:
        fusions: chosen.
        objectives: chosen.
        companion: chooses an objective by name; None leaves out those that fusions bring along.
    """
    found = []
    for fusion in fusions:
        beside = [one for one in objectives if goes_with(one.spec, fusion.spec)]
        name = getattr(fusion.spec, "companion", "")
        if name and companion and name not in [one.name for one in beside]:
            beside.append(companion(name))
        found.append((fusion, tuple(beside)))
    return found


def _aims(spec: Spec | None, inputs: Sized, fusions: Sequence[Choice]) -> str:
    """Why an objective serves none of the combinations; empty if it does."""
    if not any(goes_with(spec, one.spec) for one in fusions):
        return f"goes with fusion {getattr(spec, 'fusion', '')} only, which is not among those chosen"
    return unsupported_inputs(spec, len(inputs))


def _fuses(spec: Spec | None, inputs: int, target: str) -> str:
    if isinstance(spec, FusionSpec) and spec.combines != "features" and not measured_as_tensors(target):
        return f"combines outputs that are vectors, and the output of a head for {target} is not one"
    return unsupported_inputs(spec, inputs)
