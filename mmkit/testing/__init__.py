"""The conformance kit: what every component must keep, checked by one body of checks.

A plugin's whole test file:

    import pytest
    from mmkit.testing import cases
    from acme_fusion.gated import GatedFusion

    @pytest.mark.parametrize("case", cases("fusion", GatedFusion))
    def test_gated(case):
        case()

The same without pytest:

    report = mmkit.testing.check("fusion", GatedFusion)
    assert report.ok, report

`mmkit plugins check NAME` does it for what is installed, and `mmkit plugins check FOLDER` for what is not.

Whether a component trains, is saved and loaded, is tried on `tiny_task`: a few small samples that are learnt at once.

    model, record = mmkit.fit(task=tiny_task({"a": "text", "b": "table"}), fusion=GatedFusion, training={"epochs": 1})

A component is made as everywhere: a class or a name, with
options. A class that no plugin registers needs its spec where the kit must know more than the class says: an encoder's
modality, a head's kinds of target, how many inputs a fusion takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmkit.testing.battery import CHECKS as CHECKS
    from mmkit.testing.battery import checks_of as checks_of
    from mmkit.testing.examination import Examination as Examination
    from mmkit.testing.examination import cases as cases
    from mmkit.testing.examination import check as check
    from mmkit.testing.settings import variants as variants
    from mmkit.testing.tiny import tiny_task as tiny_task
    from mmkit.testing.verdict import Check as Check
    from mmkit.testing.verdict import Report as Report
    from mmkit.testing.verdict import Result as Result

_PLACES = {
    "CHECKS": "battery",
    "checks_of": "battery",
    "Examination": "examination",
    "cases": "examination",
    "check": "examination",
    "variants": "settings",
    "tiny_task": "tiny",
    "Check": "verdict",
    "Report": "verdict",
    "Result": "verdict",
}

__all__ = ["CHECKS", "Check", "Examination", "Report", "Result", "cases", "check", "checks_of", "tiny_task", "variants"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
