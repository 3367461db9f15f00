"""A combination: encoders, a fusion, a head and objectives, with all their options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmkit.errors import UsageError
from mmkit.plugin import FusionSpec, ObjectiveSpec, Spec
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.hashing import fingerprint


@dataclass(frozen=True)
class Combination:
    """The chosen components of a model.

    Args:
        encoders: by input, sorted.
        fusion: None in a single-input baseline.
        head: for the fused features; at decision level, for each input.
        objectives: losses besides the head's.

    Raises:
        UsageError: the fusion or an objective does not take that many inputs, or an objective is given twice.
    """

    encoders: Mapping[str, Choice]
    fusion: Choice | None
    head: Choice
    objectives: tuple[Choice, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoders", dict(sorted(self.encoders.items())))
        count = len(self.encoders)
        if self.fusion is None and count != 1:
            raise UsageError(f"{count} inputs were given without a fusion; choose a fusion, or give one input")
        for choice in [self.fusion, *self.objectives]:
            reason = unsupported_inputs(choice.spec, count) if choice else ""
            if choice and reason:
                raise UsageError(f"{choice.kind} {choice.name} {reason}")
        names = [objective.name for objective in self.objectives]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"objective {name} is given {names.count(name)} times; give each objective once")

    @property
    def label(self) -> str:
        """The fusion with its options, or `only:INPUT`."""
        return str(self.fusion) if self.fusion else f"only:{next(iter(self.encoders))}"

    @property
    def key(self) -> str:
        """A hash over all names and options."""
        return fingerprint(self.document())

    @property
    def combines_outputs(self) -> bool:
        """Whether the fusion combines the outputs of heads (decision level)."""
        spec = self.fusion.spec if self.fusion else None
        return isinstance(spec, FusionSpec) and spec.combines == "outputs"

    @property
    def reads_unimodal(self) -> bool:
        """Whether the fusion or an objective reads the output of each input's own head."""
        specs = [objective.spec for objective in self.objectives]
        return self.combines_outputs or any(isinstance(s, ObjectiveSpec) and s.unimodal for s in specs)

    @property
    def reads_vectors(self) -> bool:
        """Whether all components read only the vectors of the inputs' features, and no tokens."""
        readers: list[Choice] = list(self.objectives)
        if self.fusion is None or self.reads_unimodal:
            readers.append(self.head)
        if self.fusion is not None and not self.combines_outputs:
            readers.append(self.fusion)
        return all(getattr(choice.spec, "vectors", False) for choice in readers)

    def choices(self) -> list[Choice]:
        """All chosen components."""
        fusion = [self.fusion] if self.fusion else []
        return [*self.encoders.values(), *fusion, self.head, *self.objectives]

    def plugins(self) -> dict[str, str]:
        """The distributions that the components come from, with their versions."""
        return {name: version for choice in self.choices() for name, version in choice.plugins.items()}

    def document(self) -> dict[str, Any]:
        """The names and all options of the components, as plain JSON values; `Combination.of` reads them."""

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
        """The combination that a document describes.

        Args:
            document: what `document` gave.
            catalog: where names are looked up.
            components: the classes of components that were given as classes, by recorded name; as choices if with
                specs.

        Raises:
            UsageError: an unknown name or option, or a component that was given as a class and is not in `components`.
            UnavailableError: a component that is not available on this machine.
        """

        def choose(kind: str, plain: Mapping[str, Any]) -> Choice:
            name = plain["name"]
            given = (components or {}).get(name)
            if given is None and "." in name and "/" not in name:
                raise UsageError(f"{kind} {name} was given as a class and is not installed; give it in `components`")
            return catalog.choose(kind, given or name, plain.get("options", {}))

        return Combination(
            {name: choose("encoder", plain) for name, plain in document["encoders"].items()},
            choose("fusion", document["fusion"]) if document["fusion"] else None,
            choose("head", document["head"]),
            tuple(choose("objective", plain) for plain in document["objectives"]),
        )


def unsupported_inputs(spec: Spec | None, inputs: int) -> str:
    """Why a fusion or an objective does not support a number of inputs; empty if it does."""
    if not isinstance(spec, FusionSpec | ObjectiveSpec):
        return ""
    low, high = spec.min_inputs, spec.max_inputs if isinstance(spec, FusionSpec) else None
    if low <= inputs and (high is None or inputs <= high):
        return ""
    supported = f"{low} or more" if high is None else f"{low}" if high == low else f"{low} to {high}"
    return f"takes {supported} inputs; there are {inputs}"
