"""What a check is, and what it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not applicable", "not run"]


@dataclass(frozen=True)
class Check:
    """One rule of the contract that can be tried out.

    Args:
        run: takes a specimen of the component. It returns None where the rule is kept, or says why it does not apply;
            it raises `ContractError` where the rule is broken. Its name, with hyphens, is the check's; the first line
            of its docstring is the rule.
        kinds: of component that it applies to.
        needs: checks that must not have failed before it means anything.
        advice: True where a correct method may break the rule for a good reason; the report then says so, and passes.
        full: True where it takes seconds.
    """

    run: Callable[[Any], str | None]
    kinds: tuple[str, ...]
    needs: tuple[str, ...] = ()
    advice: bool = False
    full: bool = False

    @property
    def name(self) -> str:
        """Lower-case words joined by hyphens."""
        return self.run.__name__.replace("_", "-")

    @property
    def rule(self) -> str:
        """One line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Result:
    """What one check found.

    Args:
        check: the check.
        status: "passed", "failed", "not applicable", or "not run", an earlier check having failed or the kit having no
            example of what the component is for.
        message: what was given and expected, and how far off; or why it does not apply.
    """

    check: Check
    status: Status
    message: str = ""

    @property
    def ok(self) -> bool:
        """False where a mandatory check failed or could not run."""
        return self.check.advice or self.status in {"passed", "not applicable"}

    def __str__(self) -> str:
        said = f": {self.message}" if self.message else ""
        return f"{self.check.name} {self.status}{' (advice)' if self.check.advice else ''}{said}"


@dataclass(frozen=True)
class Report:
    """What all checks found of one component.

    Args:
        kind: of component.
        name: as chosen, with its changed options.
        results: in the order of the checks.
    """

    kind: str
    name: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """True where every mandatory check passed or does not apply."""
        return all(result.ok for result in self.results)

    @property
    def examined(self) -> bool:
        """False where nothing failed, and checks could not run since the kit has no examples; then `ok` is False."""
        return bool(self.failed()) or all(result.status != "not run" for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """Results by status."""
        return dict(Counter(result.status for result in self.results))

    def failed(self) -> list[Result]:
        """The checks that failed."""
        return [result for result in self.results if result.status == "failed"]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        checks = [
            {
                "name": r.check.name,
                "status": r.status,
                "mandatory": not r.check.advice,
                "message": r.message,
                "rule": r.check.rule,
            }
            for r in self.results
        ]
        whole = {"kind": self.kind, "component": self.name, "ok": self.ok, "examined": self.examined}
        return {**whole, "counts": self.counts, "checks": checks}

    def __str__(self) -> str:
        unheeded = [r for r in self.results if r.status == "failed" and r.ok]
        counts = Counter("advice unheeded" if r in unheeded else r.status for r in self.results)
        lines = [f"  {r}" for r in self.failed()]
        waiting = [r for r in self.results if r.status == "not run"]
        if waiting and not self.examined:
            lines.append(f"  not examined: {waiting[0].message}")
        elif waiting:
            lines.append(f"  not run for that: {', '.join(r.check.name for r in waiting)}")
        return "\n".join(
            [
                f"{self.kind} {self.name}: {', '.join(f'{count} {status}' for status, count in counts.items())}",
                *lines,
            ]
        )
