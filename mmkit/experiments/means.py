"""What is measured before a search within a budget, by which the budget is spent; the folder of a suite keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmkit.contract import Split
from mmkit.experiments.halving import Price
from mmkit.experiments.plan import Plan
from mmkit.system.files import write_json
from mmkit.system.hashing import fingerprint

FILE = "budget.json"
SCHEMA = 1


@dataclass(frozen=True)
class Means:
    """What was measured before the first training, by which a budget is spent.

    Args:
        asked: what `asked_of` gives of the plan.
        setup: seconds until the first training.
        once: seconds of what is done once for all trainings, such as features of frozen encoders.
        samples: of an epoch of training.
        prices: of each combination that can be built, by key.
    """

    asked: str
    setup: float
    once: float
    samples: int
    prices: Mapping[str, Price]

    @staticmethod
    def read(folder: Path, asked: str) -> Means | None:
        """Those of a folder; None where it holds none of this plan, or they are damaged: then they are measured."""
        try:
            document = json.loads((folder / FILE).read_text("utf-8"))
            if document["schema"] != SCHEMA or document["asked"] != asked:
                return None
            prices = {key: Price(*map(float, price)) for key, price in document["prices"].items()}
            return Means(asked, float(document["setup"]), float(document["once"]), int(document["samples"]), prices)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Keep them in a folder.

        Raises:
            OSError: it cannot be written.
        """
        prices = {key: list(price) for key, price in self.prices.items()}
        write_json(folder / FILE, {"schema": SCHEMA, **asdict(self), "prices": prices})


def asked_of(plan: Plan, data: Mapping[Split, Mapping[str, str]] | None = None) -> str:
    """A hash of what determines how long trainings take; not of the budget, which may be raised in the same folder.

    Args:
        plan: of the suite.
        data: fingerprints of the task's columns by split; None where the hash is compared with no other.
    """
    asked = [[one.key for one in plan.all], asdict(plan.training), plan.settings.document(), str(plan.task)]
    return fingerprint([*asked, *(["options"] if plan.search_options else []), data])
