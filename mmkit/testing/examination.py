"""One component under all checks of its kind."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

from mmkit.contract import Modality
from mmkit.errors import ContractError, UsageError
from mmkit.plugin import (
    BalanceSpec,
    EncoderSpec,
    FusionSpec,
    HeadSpec,
    ModalitySpec,
    ObjectiveSpec,
    Spec,
    TaskSpec,
)
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice
from mmkit.system.state import own_state
from mmkit.testing.battery import KINDS, checks_of
from mmkit.testing.specimens.balance import BalanceSpecimen
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import KINDS as TARGETS
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.modality import ModalitySpecimen
from mmkit.testing.specimens.objective import TARGETS as OBJECTIVE_TARGETS
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.specimens.task import TaskSpecimen
from mmkit.testing.verdict import Check, Report, Result


class Examination:
    """One component, set up once for all checks; each check runs at most once.

    Args:
        kind: "encoder", "fusion", ...
        what: a name with options, a class, or a choice.
        options: beat those in the name.
        spec: where `what` is a class that no plugin registers.
        modality: what an encoder reads, where no plugin registers it; a class.
        catalog: of what is installed; None scans for it.

    Raises:
        UsageError: an unknown kind, name or option; or a class of which the kit must know more.
    """

    def __init__(
        self,
        kind: str,
        what: str | type | Choice,
        options: Mapping[str, object] | None = None,
        *,
        spec: Spec | None = None,
        modality: type | None = None,
        catalog: Catalog | None = None,
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"there are no checks for {kind!r}; there are for {', '.join(KINDS)}")
        self.kind = kind
        self.catalog = installed() if catalog is None else catalog
        self.name = what if isinstance(what, str) else getattr(what, "__qualname__", str(what))
        self._modality = modality
        self._results: dict[str, Result] = {}
        try:
            self.choice = self.catalog.choose(kind, what, options or {}, spec=spec)
            if not options and isinstance(self.choice.spec, EncoderSpec | HeadSpec | TaskSpec) and ":" not in self.name:
                self.choice = self.catalog.choose(kind, self.choice, dict(self.choice.spec.example))
            self.name = str(self.choice)
        except ContractError as error:  # its options cannot be read, or it is not there: nothing else can be tried
            first, *others = checks_of(kind, full=True)
            self._results[first.name] = Result(first, "failed", str(error))
            self._results |= {c.name: Result(c, "not run", f"{first.name} failed") for c in others}

    def report(self, *, full: bool = False) -> Report:
        """All checks; with `full`, those that take seconds too."""
        results = tuple(self.result(check) for check in checks_of(self.kind, full=full))
        return Report(self.kind, self.name, results)

    def result(self, check: Check) -> Result:
        """What one check finds; those that it needs are run first."""
        if check.name not in self._results:
            self._results[check.name] = self._run(check)
        return self._results[check.name]

    def _run(self, check: Check) -> Result:
        for needed in checks_of(self.kind, full=True):
            if needed.name in check.needs and self.result(needed).status in {"failed", "not run"}:
                return Result(check, "not run", f"{needed.name} failed")
        specimens = self.specimens
        if not specimens and check.name == "options":  # which are read off the class
            specimens = [SimpleNamespace(component=self.choice.component, label="")]
        if not specimens:
            return Result(check, "not run", "the kit has no examples of its kinds of target")
        excuses = []
        for specimen in specimens:
            excuse, failure = _attempt(check, specimen)
            if failure:
                label = f"{specimen.label}: " if specimen.label else ""
                return Result(check, "failed", label + failure)
            excuses.append(excuse)
        if all(excuses):
            return Result(check, "not applicable", str(excuses[0]))
        return Result(check, "passed")

    @cached_property
    def specimens(self) -> Sequence[Any]:
        """The component in the situations that its spec allows."""
        choice, spec = self.choice, self.choice.spec
        component = choice.component
        own = choice.part(component)
        of_transform = choice.part(choice.factories[1]) if len(choice.factories) > 1 else {}
        if self.kind == "fusion":
            known = spec if isinstance(spec, FusionSpec) else FusionSpec(choice.name, "", "")
            return [FusionSpecimen(component, own, known)]
        if self.kind == "encoder":
            if not isinstance(spec, EncoderSpec):
                raise UsageError(f"which modality does {choice.name} read? Give spec=EncoderSpec(..., modality=...)")
            return [EncoderSpecimen(component, own, of_transform, spec, self.modality(spec.modality))]
        if self.kind == "head":
            if not isinstance(spec, HeadSpec):
                raise UsageError(f"what can {choice.name} predict? Give spec=HeadSpec(..., targets=(...))")
            return [HeadSpecimen(component, own, of_transform, spec, t) for t in spec.targets if t in TARGETS]
        if self.kind in {"objective", "balance"}:
            return _buildable(self._beside_targets(component, own, spec))
        if self.kind == "modality":
            return [ModalitySpecimen(component, own, spec if isinstance(spec, ModalitySpec) else None)]
        task_spec = spec if isinstance(spec, TaskSpec) else None
        return [TaskSpecimen(component, own, task_spec, self.modality, self.catalog)]

    def _beside_targets(self, component: type, own: Mapping[str, Any], spec: Spec | None) -> list[ObjectiveSpecimen]:
        """An objective or a balance method beside each kind of target that its spec allows."""
        if self.kind == "objective":
            known = spec if isinstance(spec, ObjectiveSpec) else ObjectiveSpec(self.choice.name, "", "")
            fusion = self.catalog.choose("fusion", known.fusion) if known.fusion else None
            return [ObjectiveSpecimen(component, own, known, t, fusion=fusion) for t in OBJECTIVE_TARGETS]
        of = spec if isinstance(spec, BalanceSpec) else BalanceSpec(self.choice.name, "", "")
        return [
            BalanceSpecimen(component, own, of, t) for t in OBJECTIVE_TARGETS if t in (of.targets or OBJECTIVE_TARGETS)
        ]

    def modality(self, name: str) -> Modality:
        """The modality of that name."""
        modality = self._modality or self.catalog.find("modality", name).load()
        return modality()


def _buildable(specimens: Sequence[ObjectiveSpecimen]) -> Sequence[ObjectiveSpecimen]:
    """Those that the component does not refuse with a ValueError; all where it refuses all."""
    kept = []
    for specimen in specimens:
        try:
            with own_state(seed=0):
                specimen.build()
        except Exception as error:  # noqa: BLE001 (the check `builds` says what it is)
            if isinstance(error, ValueError):
                continue
        kept.append(specimen)
    return kept or specimens[:1]


def _attempt(check: Check, specimen: Any) -> tuple[str | None, str | None]:
    """The excuse of a check that does not apply, and the message of one that fails."""
    with own_state(seed=0):
        try:
            return check.run(specimen), None
        except ContractError as error:
            return None, str(error)
        except Exception as error:  # noqa: BLE001 (whatever a component raises is what is wrong with it)
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return None, f"raised {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"


def check(
    kind: str,
    what: str | type | Choice,
    options: Mapping[str, object] | None = None,
    *,
    spec: Spec | None = None,
    modality: type | None = None,
    full: bool = False,
    catalog: Catalog | None = None,
) -> Report:
    """Run all checks on one component.

    Args:
        kind: "encoder", "fusion", "head", "objective", "balance", "modality" or "task".
        what: a name with options, a class, or a choice.
        options: beat those in the name.
        spec: where `what` is a class that no plugin registers.
        modality: the class of what an encoder reads, where no plugin registers it.
        full: also the checks that take seconds.
        catalog: of what is installed; None scans for it.

    Raises:
        UsageError: an unknown kind, name or option; or a class of which the kit must know more.
    """
    return Examination(kind, what, options, spec=spec, modality=modality, catalog=catalog).report(full=full)


def cases(
    kind: str,
    what: str | type | Choice,
    options: Mapping[str, object] | None = None,
    *,
    spec: Spec | None = None,
    modality: type | None = None,
    full: bool = False,
) -> list[Any]:
    """The checks as parameters for `pytest.mark.parametrize`: call each one to run it.

    A failure is an AssertionError; what does not apply or could not run is skipped; unheeded advice is an xfail. The
    component is set up when the first case runs, so that collecting costs nothing.

    Args:
        kind: as for `check`.
        what: as for `check`.
        options: as for `check`.
        spec: as for `check`.
        modality: as for `check`.
        full: also the checks that take seconds.
    """
    import pytest  # noqa: PLC0415 (a test's dependency, not the product's)

    examination = _Once(partial(Examination, kind, what, options, spec=spec, modality=modality))
    return [pytest.param(partial(_case, examination, c), id=c.name) for c in checks_of(kind, full=full)]


class _Once:
    """An examination that is set up when it is first asked for."""

    def __init__(self, make: Callable[[], Examination]) -> None:
        self._make = make

    @cached_property
    def examination(self) -> Examination:
        return self._make()


def _case(once: _Once, of: Check) -> None:
    settle(once.examination.result(of))


def settle(result: Result) -> None:
    """Tell pytest what a check found.

    Raises:
        AssertionError: a mandatory check failed.
    """
    import pytest  # noqa: PLC0415 (a test's dependency, not the product's)

    if result.status == "failed" and not result.ok:
        raise AssertionError(f"{result.check.rule}\n{result.message}")
    if result.status == "failed":
        pytest.xfail(f"advice: {result.message}")
    if result.status != "passed":
        pytest.skip(f"{result.status}: {result.message}")
