"""Exported models: which fusions and encoders each format takes, and what one sample costs beside eager.

    python -m benchmarks.export --formats   every fusion and encoder: writes records/exports.json, which pages read
    python -m benchmarks.export --record    CPU time of one sample: writes records/export_speed.json
    python -m benchmarks.export             the same, only printed; --aoti compiles every fusion and encoder, too

A format is taken where the graph gives what the model gives on all kinds of batches that `mmkit export` checks. Weights
are random, and gates that start at zero are opened a little.

Times are of the graph alone at batch 1, with one thread, on the CPU's own clock. In each round eager and every format
are timed in a new random order; of each round comes a ratio to eager, and the middle one is told with the 5 % and 95 %
points of all rounds. Eager is timed twice, as two programs: how far these are apart says what can be seen.
It ends with 1 where the middle ratio of onnx is above 0.3.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mmkit.data.splits import splits_of
from mmkit.data.subset import with_truth
from mmkit.errors import MmkitError
from mmkit.experiments.plan import plan
from mmkit.model.assembly import Transforms
from mmkit.model.exported import Format
from mmkit.model.exporting.batches import checked
from mmkit.model.exporting.folder import compared
from mmkit.model.exporting.graph import FILES, Flat, traced, write
from mmkit.model.exporting.values import examples
from mmkit.model.step import build_step
from mmkit.model.trained import MultimodalModel
from mmkit.plugin import EncoderSpec, FusionSpec
from mmkit.registry.catalog import BUILTIN, installed
from mmkit.system.machine import machine, software
from mmkit.system.onnx import OnnxGraph
from mmkit.system.settings import Settings
from mmkit.testing import tiny_task
from mmkit.testing.specimens.module import perturbed

RECORD = Path(__file__).parent / "records" / "exports.json"
SMALL = {"tensor": "tensor:inner=8"}
"""Whose size grows with the power of the inputs."""
TASK = "synthetic-unique:inputs=2,missing=0.3,train=64"
TIMED = ("concat", "attention", "cross-attention", "late")
SPEED = Path(__file__).parent / "records" / "export_speed.json"
GOAL = {"onnx": 0.3}
"""The CPU time of a sample, as a share of eager's, at most."""
WARM, CALLS = 5, 20
"""Rounds that are not counted; calls of a round."""
AGAIN = "eager again"
FORMATS: tuple[Format, ...] = ("onnx", "pt2")


def names(kind: str) -> list[str]:
    """The components of a kind that ship with mmkit."""
    return sorted(entry.name for entry in installed().available(kind) if entry.distribution == BUILTIN)


def of_fusion(name: str) -> MultimodalModel:
    """A small model with a fusion over two series."""
    spec = installed().find("fusion", name).spec
    layers = 2 if isinstance(spec, FusionSpec) and spec.inner else 1  # between which it acts
    return _model(TASK, SMALL.get(name, name), {"series": [f"fcn:width=16,layers={layers}"]})


def of_encoder(name: str) -> MultimodalModel:
    """A small model with an encoder beside a row of a table."""
    spec = installed().find("encoder", name).spec
    if not isinstance(spec, EncoderSpec):
        raise TypeError(f"{name} has no spec")
    return _model(tiny_task({"a": spec.modality, "b": "table"}), "concat", {"a": [name], "b": ["table-mlp"]})


def _model(task: Any, fusion: str, encoders: Mapping[str, Any]) -> MultimodalModel:
    torch.manual_seed(0)
    asked = plan(installed(), task=task, fusions=[fusion], encoders=encoders)
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    train = with_truth(splits("train"))
    combination, of = asked.combinations[0], splits.task
    transforms = Transforms.fitted(combination, of.target, train.inputs, train.truth)
    module = build_step(combination, transforms).eval().model
    perturbed(module)
    modalities = {name: installed().find("modality", kind).load()() for name, kind in of.inputs.items()}
    return MultimodalModel(module, combination, transforms, of.inputs, modalities, of.target)


def taken(model: MultimodalModel, formats: tuple[Format, ...] = FORMATS) -> dict[str, Any]:
    """By format, how far the graph is from the model on the batch where it is farthest; or why there is none."""
    cases = checked(model, examples(model))
    flat = Flat(model.network, cases.leaves)
    found: dict[str, Any] = {}
    try:
        program = traced(flat, cases)
    except MmkitError as error:
        return dict.fromkeys(formats, str(error))
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        expected = {what: flat(*flat.tensors(batch)) for what, batch in cases.cases.items()}
        outputs = list(next(iter(expected.values())))
        for one in formats:
            try:
                run = write(program, Path(folder) / FILES[one], one, cases.leaves, outputs)
                found[one] = float(f"{max(compared(run, flat, cases, expected).values()):.1e}")
            except MmkitError as error:
                found[one] = str(error)
    return found


def timed(model: MultimodalModel, rounds: int, formats: tuple[Format, ...], draw: random.Random) -> dict[str, Any]:
    """CPU seconds of one sample in each round, eager twice and by format, in random order; each as a share of eager."""
    cases = checked(model, examples(model))
    flat = Flat(model.network, cases.leaves)
    program = traced(flat, cases)
    tensors = flat.tensors(cases.cases["1 sample"])
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        expected = {what: flat(*flat.tensors(batch)) for what, batch in cases.cases.items()}
        outputs = list(next(iter(expected.values())))
        runs: dict[str, Any] = dict.fromkeys(("eager", AGAIN), lambda given: flat(*given))
        for one in formats:
            runs[one] = write(program, Path(folder) / FILES[one], one, cases.leaves, outputs)
            if one == "onnx":
                runs[one] = OnnxGraph(Path(folder) / FILES[one], threads=1)
            compared(runs[one], flat, cases, expected)  # what gives something else is not timed
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(rounds + WARM):
            for name in draw.sample(sorted(runs), len(runs)):
                run = runs[name]
                began = time.process_time()
                for _ in range(CALLS):
                    run(tensors)
                if turn >= WARM:
                    seconds[name].append((time.process_time() - began) / CALLS)
    return {"seconds": seconds, "share": {name: _share(seconds, name) for name in runs if name != "eager"}}


def _share(seconds: Mapping[str, list[float]], name: str) -> dict[str, float]:
    ratios = sorted(one / eager for one, eager in zip(seconds[name], seconds["eager"], strict=True))
    low, high = (ratios[round(part * (len(ratios) - 1))] for part in (0.05, 0.95))
    return {"middle": statistics.median(ratios), "low": low, "high": high}


def speed(rounds: int, formats: tuple[Format, ...], *, record: bool) -> int:
    """Time the fusions and print them; 1 where a goal is missed."""
    draw, rows = random.Random(0), {}
    for name in TIMED:
        found = rows[name] = timed(of_fusion(name), rounds, formats, draw)
        told = ", ".join(
            f"{one} {share['middle']:.2f} ({share['low']:.2f} to {share['high']:.2f})"
            for one, share in found["share"].items()
        )
        eager = 1e3 * statistics.median(found["seconds"]["eager"])
        print(f"{name}: eager {eager:.2f} ms CPU a sample; as a share of it {told}", flush=True)
    missed = [(one, name) for one, most in GOAL.items() for name in TIMED if rows[name]["share"][one]["middle"] > most]
    print("no goal is missed" if not missed else f"missed: {', '.join(f'{one} of {name}' for one, name in missed)}")
    if record:
        document = {
            "what": "CPU seconds of one sample, and the share of eager's, by format",
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "machine": machine(),
            "software": software(),
            "rounds": rounds,
            "goal": GOAL,
            "fusions": rows,
        }
        SPEED.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return int(bool(missed))


def _formats(of: str, formats: tuple[Format, ...]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for kind, make in (("fusion", of_fusion), ("encoder", of_encoder)):
        for name in names(kind):
            if not of or name in of.split(","):
                yield kind, name, taken(make(name), formats)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", action="store_true", help="which formats fusions and encoders can be exported to")
    parser.add_argument("--only", default="", help="these fusions and encoders, by comma; others keep their rows")
    parser.add_argument("--aoti", action="store_true", help="also aoti, which takes up to a minute each")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--record", action="store_true", help="write the times to records/export_speed.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    formats: tuple[Format, ...] = (*FORMATS, "aoti") if arguments.aoti else FORMATS
    if not arguments.formats:
        return speed(arguments.rounds, formats, record=arguments.record)
    known = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {"fusion": {}, "encoder": {}}
    for kind, name, found in _formats(arguments.only, formats):
        known[kind][name] = {**known[kind].get(name, {}), **found}
        print(kind, name, found, flush=True)
        known["made_with"] = {"torch": torch.__version__, "onnxruntime": _version("onnxruntime")}
        RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


def _version(package: str) -> str:
    return metadata.version(package)


if __name__ == "__main__":
    sys.exit(main())
