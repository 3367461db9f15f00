"""A combination: encoders, a fusion, a head, objectives and balance, with all their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mmkit.errors import UsageError
from mmkit.plugin import BalanceSpec, FusionSpec, ObjectiveSpec, Spec
from mmkit.registry.catalog import Catalog
from mmkit.registry.notation import as_json
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
        balance: how encoders are trained beside each other; None leaves them to themselves.

    Raises:
        UsageError: the fusion, an objective or the balance method does not take that many inputs, an objective goes
            with another fusion, or one is given twice.
    """

    encoders: Mapping[str, Choice]
    fusion: Choice | None
    head: Choice
    objectives: tuple[Choice, ...] = field(default=())
    balance: Choice | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoders", dict(sorted(self.encoders.items())))
        count = len(self.encoders)
        if self.fusion is None and count != 1:
            raise UsageError(f"{count} inputs were given without a fusion; choose a fusion, or give one input")
        for choice in [self.fusion, *self.objectives, self.balance]:
            reason = unsupported_inputs(choice.spec, count) if choice else ""
            if choice and reason:
                raise UsageError(f"{choice.kind} {choice.name} {reason}")
        for objective in self.objectives:
            if not goes_with(objective.spec, self.fusion.spec if self.fusion else None):
                only = getattr(objective.spec, "fusion", "")
                raise UsageError(f"objective {objective.name} goes with fusion {only} only; this one is {self.label}")
        names = [objective.name for objective in self.objectives]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"objective {name} is given {names.count(name)} times; give each objective once")

    @property
    def label(self) -> str:
        """The fusion with its options, or `only:INPUT`; and the balance method, "concat + ogm"."""
        name = str(self.fusion) if self.fusion else f"only:{next(iter(self.encoders))}"
        return name if self.balance is None else f"{name} + {self.balance}"

    @cached_property
    def key(self) -> str:
        """A hash over all names and options."""
        return fingerprint(self.document())

    @property
    def combines_outputs(self) -> bool:
        """Whether the fusion combines the outputs of heads (decision level), alone or beside features."""
        return self._fuses.combines != "features"

    @property
    def combines_both(self) -> bool:
        """Whether the fusion combines features and outputs."""
        return self._fuses.combines == "both"

    @property
    def own_losses(self) -> bool:
        """Whether at decision level each input's head gets the loss of its own."""
        return self._fuses.own_losses

    @property
    def _fuses(self) -> FusionSpec:
        spec = self.fusion.spec if self.fusion else None
        return spec if isinstance(spec, FusionSpec) else FusionSpec("", "", "")

    @property
    def fuses_within(self) -> bool:
        """Whether the fusion may act between the parts of encoders."""
        spec = self.fusion.spec if self.fusion else None
        return isinstance(spec, FusionSpec) and spec.inner == "exchange"

    @property
    def reads_unimodal(self) -> bool:
        """Whether the fusion or an objective reads the output of each input's own head."""
        specs = [objective.spec for objective in self.objectives]
        return self.combines_outputs or any(isinstance(s, ObjectiveSpec) and s.unimodal for s in specs)

    @property
    def taught(self) -> tuple[Choice, ...]:
        """The objectives that read teachers."""
        return tuple(one for one in self.objectives if isinstance(one.spec, ObjectiveSpec) and one.spec.teachers)

    @property
    def reads_vectors(self) -> bool:
        """Whether all components read only the vectors of the inputs' features, and no tokens."""
        readers: list[Choice] = list(self.objectives)
        if self.fusion is None or self.reads_unimodal or self.balance is not None:
            readers.append(self.head)
        if self.fusion is not None and (self.combines_both or not self.combines_outputs):
            readers.append(self.fusion)
        return all(getattr(choice.spec, "vectors", False) for choice in readers)

    def choices(self) -> list[Choice]:
        """All chosen components."""
        fusion = [self.fusion] if self.fusion else []
        balance = [self.balance] if self.balance else []
        return [*self.encoders.values(), *fusion, self.head, *self.objectives, *balance]

    def plugins(self) -> dict[str, str]:
        """The distributions that the components come from, with their versions."""
        return {name: version for choice in self.choices() for name, version in choice.plugins.items()}

    def document(self) -> dict[str, Any]:
        """The names and all options of the components, as plain JSON values; `Combination.of` reads them."""

        def plain(choice: Choice) -> dict[str, Any]:
            return {"name": choice.name, "options": as_json(choice.options)}

        return {
            "encoders": {name: plain(choice) for name, choice in self.encoders.items()},
            "fusion": plain(self.fusion) if self.fusion else None,
            "head": plain(self.head),
            "objectives": [plain(choice) for choice in self.objectives],
            "balance": plain(self.balance) if self.balance else None,
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
            choose("balance", document["balance"]) if document["balance"] else None,
        )


def unsupported_inputs(spec: Spec | None, inputs: int) -> str:
    """Why a component does not support a number of inputs; empty if it does."""
    if not isinstance(spec, FusionSpec | ObjectiveSpec | BalanceSpec):
        return ""
    low, high = spec.min_inputs, None if isinstance(spec, ObjectiveSpec) else spec.max_inputs
    if low <= inputs and (high is None or inputs <= high):
        return ""
    supported = f"{low} or more" if high is None else f"{low}" if high == low else f"{low} to {high}"
    return f"takes {supported} inputs; there are {inputs}"


def goes_with(objective: Spec | None, fusion: Spec | None) -> bool:
    """Whether an objective may stand beside a fusion: some go with one fusion only."""
    only = objective.fusion if isinstance(objective, ObjectiveSpec) else ""
    return not only or (fusion is not None and fusion.name == only)
