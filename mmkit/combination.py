"""A combination: encoders, a fusion and a head, with all their options; and how a model is born of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from torch import nn

from mmkit.catalog import Catalog
from mmkit.contract import Encoder, Samples, Transform, TruthTransform
from mmkit.data.refused import TRUTH, fitted, transformed
from mmkit.errors import ContractError, UsageError
from mmkit.features.scaling import Scaling
from mmkit.features.shared import Shared
from mmkit.model import Model, OnlyFusion, encoder_widths, fusion_width
from mmkit.options import Choice
from mmkit.plugin import FusionSpec, ObjectiveSpec, Spec


@dataclass(frozen=True)
class Combination:
    """What a model is made of.

    Args:
        encoders: by input, sorted.
        fusion: None where one input stands alone, as its own baseline.
        head: for the fused features; at decision level, for each input.
        objectives: losses beside the head's.

    Raises:
        UsageError: the fusion or an objective does not take that many inputs, or an objective is named twice.
    """

    encoders: Mapping[str, Choice]
    fusion: Choice | None
    head: Choice
    objectives: tuple[Choice, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoders", dict(sorted(self.encoders.items())))
        count = len(self.encoders)
        if self.fusion is None and count != 1:
            raise UsageError(f"{count} inputs were given without a fusion; name one, or give one input")
        for choice in [self.fusion, *self.objectives]:
            refused = refusal(choice.spec, count) if choice else ""
            if choice and refused:
                raise UsageError(f"{choice.kind} {choice.name} {refused}")
        names = [objective.name for objective in self.objectives]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"objective {name} is named {names.count(name)} times; name each objective once")

    @property
    def label(self) -> str:
        """The fusion with its options, or `only:INPUT`."""
        return str(self.fusion) if self.fusion else f"only:{next(iter(self.encoders))}"

    @property
    def combines_outputs(self) -> bool:
        """True at decision level."""
        spec = self.fusion.spec if self.fusion else None
        return isinstance(spec, FusionSpec) and spec.combines == "outputs"

    @property
    def reads_unimodal(self) -> bool:
        """True where something reads the output of each input's own head."""
        specs = [objective.spec for objective in self.objectives]
        return self.combines_outputs or any(isinstance(s, ObjectiveSpec) and s.unimodal for s in specs)

    @property
    def reads_vectors(self) -> bool:
        """True where nobody reads more of the inputs' features than their vectors."""
        readers: list[Choice] = list(self.objectives)
        if self.fusion is None or self.reads_unimodal:
            readers.append(self.head)
        if self.fusion is not None and not self.combines_outputs:
            readers.append(self.fusion)
        return all(getattr(choice.spec, "vectors", False) for choice in readers)

    def choices(self) -> list[Choice]:
        """All that was chosen."""
        fusion = [self.fusion] if self.fusion else []
        return [*self.encoders.values(), *fusion, self.head, *self.objectives]

    def plugins(self) -> dict[str, str]:
        """The distributions that the components come from, with their versions."""
        return {name: version for choice in self.choices() for name, version in choice.plugins.items()}

    def document(self) -> dict[str, Any]:
        """All names with all options, as plain JSON values."""

        def plain(choice: Choice) -> dict[str, Any]:
            return {"name": choice.name, "options": json.loads(json.dumps(choice.options, default=str))}

        return {
            "encoders": {name: plain(choice) for name, choice in self.encoders.items()},
            "fusion": plain(self.fusion) if self.fusion else None,
            "head": plain(self.head),
            "objectives": [plain(choice) for choice in self.objectives],
        }

    @staticmethod
    def of(
        document: Mapping[str, Any], catalog: Catalog, components: Mapping[str, type | Choice] | None = None
    ) -> Combination:
        """What `document` gave.

        Args:
            document: names and options.
            catalog: where names are looked up.
            components: by name, those that were given as classes; as choices where they had a spec.

        Raises:
            UsageError: an unknown name or option, or what `document` cannot have given.
            UnavailableError: a component that cannot be had here.
        """

        def choose(kind: str, plain: Mapping[str, Any]) -> Choice:
            name = plain["name"]
            given = (components or {}).get(name)
            if given is None and "." in name and "/" not in name:
                raise UsageError(f"{kind} {name} was given as a class; a name alone does not find it, give it again")
            return catalog.choose(kind, given or name, plain.get("options", {}))

        return Combination(
            {name: choose("encoder", plain) for name, plain in document["encoders"].items()},
            choose("fusion", document["fusion"]) if document["fusion"] else None,
            choose("head", document["head"]),
            tuple(choose("objective", plain) for plain in document["objectives"]),
        )


@dataclass(frozen=True)
class Transforms:
    """The transforms of a combination: of each input, and of the truth."""

    inputs: dict[str, Transform]
    truth: TruthTransform

    @staticmethod
    def fitted(
        combination: Combination,
        target: str,
        inputs: Mapping[str, Sequence[Any]],
        truth: Sequence[Any],
        ids: Sequence[str] | None = None,
        shared: Shared | None = None,
    ) -> Transforms:
        """Built, and fitted on values of the training split, in memory; None is a missing one.

        Args:
            combination: names them.
            target: the kind that the task asks for.
            inputs: values by input.
            truth: likewise.
            ids: of the samples; None numbers them.
            shared: has those that another run fitted on the same lists.

        Raises:
            RefusedError: values that a transform cannot be fitted on, by the ids of their samples.
        """
        shared = shared or Shared()
        ids = [str(i) for i in range(len(truth))] if ids is None else ids

        def made(name: str, choice: Choice) -> Any:
            transform = built(choice, reads(choice))
            fitted(name, transform, inputs[name], ids)
            return transform

        found = {
            name: shared.transform(name, choice, inputs[name], partial(made, name, choice))
            for name, choice in combination.encoders.items()
        }
        of_truth = built(combination.head, reads(combination.head), target)
        fitted(TRUTH, of_truth, truth, ids, of_truth=True)
        return Transforms(found, of_truth)

    def check_truth(self, samples: Samples) -> None:
        """See that all truth can be used, which costs little, before anything is computed that costs more.

        Raises:
            RefusedError: it cannot, by the ids of the samples.
        """
        transformed(TRUTH, self.truth, samples.truth, column=samples.truth, ids=samples.ids, of_truth=True)

    @staticmethod
    def of(combination: Combination, target: str) -> Transforms:
        """Built, not yet fitted."""
        inputs = {name: built(choice, reads(choice)) for name, choice in combination.encoders.items()}
        return Transforms(inputs, built(combination.head, reads(combination.head), target))


def born(
    combination: Combination, transforms: Transforms, shared: Shared | None = None
) -> tuple[Model, dict[str, nn.Module]]:
    """A new model of the combination, and its objectives; drawn from torch's global generator.

    Args:
        combination: names its parts.
        transforms: fitted.
        shared: has the frozen encoders of other runs.

    Raises:
        UsageError: options that cannot work together, in the component's own words.
    """
    target = transforms.truth.target()
    shared = shared or Shared()
    encoders = {}
    for name, choice in combination.encoders.items():
        transform = transforms.inputs[name]
        encoders[name] = shared.encoder(name, choice, transform, partial(built, choice, None, transform))
    widths = encoder_widths(encoders)

    def head(width: int) -> nn.Module:
        return cast(nn.Module, built(combination.head, None, width, target, transforms.truth))

    heads = {name: head(cast(Encoder, e).width) for name, e in encoders.items()} if combination.reads_unimodal else {}
    if combination.fusion is None:
        fusion: nn.Module = OnlyFusion(widths)
    elif combination.combines_outputs:
        fusion = built(combination.fusion, None, dict.fromkeys(widths, target.size), target)
    else:
        fusion = built(combination.fusion, None, widths)
    width = fusion_width(fusion)
    last = None if combination.combines_outputs else head(width)
    objectives = {choice.name: built(choice, None, widths, width, target) for choice in combination.objectives}
    scalings = {
        name: Scaling(cast(Encoder, encoder).width, vectors=combination.reads_vectors)
        for name, encoder in encoders.items()
        if getattr(encoder, "frozen", False)
    }
    return Model(encoders, fusion, last, heads, scalings), objectives


def refusal(spec: Spec | None, inputs: int) -> str:
    """Why a fusion or an objective cannot take so many inputs; empty where it can."""
    if not isinstance(spec, FusionSpec | ObjectiveSpec):
        return ""
    most = spec.most if isinstance(spec, FusionSpec) else None
    if spec.least <= inputs and (most is None or inputs <= most):
        return ""
    takes = (
        f"{spec.least} or more"
        if most is None
        else f"{spec.least}"
        if most == spec.least
        else f"{spec.least} to {most}"
    )
    return f"takes {takes} inputs; the task gives {inputs}"


def reads(choice: Choice) -> type:
    """The transform that an encoder or a head names.

    Raises:
        ContractError: it names none.
    """
    named = getattr(choice.component, "reads", None)
    if not inspect.isclass(named):
        raise ContractError(f"{choice.kind} {choice.name} names no transform: it needs a class attribute `reads`")
    return cast(type, named)


def built(choice: Choice, factory: type | None, *given: Any) -> Any:
    """The chosen component, or its transform, with the options that are its own.

    Raises:
        UsageError: it refuses its options, in its own words.
    """
    factory = factory or choice.component
    try:
        return factory(*given, **choice.part(factory))
    except ValueError as error:
        raise UsageError(f"{choice.kind} {choice}: {error}") from error
