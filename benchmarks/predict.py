"""How many rows a second does `mmkit predict` answer, and in how much memory?

A table of numbers, categories, a date and a text of a dozen words, as Parquet, is answered by a small model
(`table-mlp` and a bag of words, fused late), in a process of its own each time:

- as Parquet of 200,000 rows and of 20,000: their difference gives the rate without starting and loading. The two take
  turns, and the median of their rounds is recorded;
- the highest memory of the process, which must not grow with the rows;
- killed in the middle and called again: the answers must be those of the undisturbed call, byte for byte.

    python benchmarks/predict.py FOLDER
    python benchmarks/predict.py FOLDER --workers 4 [--engine ray]

With `--workers` the table of 200,000 rows is answered by one process and by several, in turns and with one thread each,
and `records/predict_workers.json` says what they save of the wall, the memory of the process that was asked for both
tables, and that the files are equal, also where the call was killed and called again.

FOLDER keeps the tables and the model. It ends with 1 where a goal is missed: 20,000 rows a second of CPU (what other
programs do then does not count; the wall is recorded beside it), 256 MiB above torch's own, of which a process that
only imports it has the more the more libraries its wheel brings, and 64 MiB more for ten times the rows.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

import mmkit
from mmkit.system.machine import machine, software

RECORD = Path(__file__).parent / "records" / "predict.json"
OF_WORKERS = Path(__file__).parent / "records" / "predict_workers.json"
ROWS = {"few": 20_000, "many": 200_000}
ROUNDS = 5
GOAL = {"rows_per_second": 20_000, "memory_above_torch_mib": 256, "growth_mib": 64}
WORDS = [f"{a}{b}" for a in ("ba", "do", "ki", "mu", "re", "si", "to", "wa") for b in ("l", "n", "r", "s", "t", "x")]
TRAINED_ON = 4000


def table(rows: int, seed: int) -> pa.Table:
    """Rows whose class hangs on a number, a category and words; made up, and called so."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 3, rows)
    words = np.array(WORDS)
    count = draw.integers(8, 17, rows)
    flat = draw.integers(0, len(WORDS), int(count.sum()))
    ends = np.cumsum(count)
    texts = [
        " ".join(words[flat[end - n : end]]) + f" {WORDS[c]}{c}" for end, n, c in zip(ends, count, label, strict=True)
    ]
    columns: dict[str, Any] = {f"n{i}": draw.normal(size=rows) + (label if i < 2 else 0) for i in range(6)}
    columns |= {f"c{i}": words[draw.integers(0, 20, rows)] for i in range(4)}
    columns["day"] = (np.datetime64("2020-01-01") + draw.integers(0, 2000, rows)).astype(str)
    columns |= {"text": texts, "label": [f"class {one}" for one in label]}
    return pa.table(columns)


def made(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The model and the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    model, tables = folder / "model", {name: folder / f"{name}.parquet" for name in ROWS}
    for seed, (name, path) in enumerate(tables.items(), 1):
        if not path.exists():
            pa.parquet.write_table(table(ROWS[name], seed).drop(["label"]), path)
    if not (model / "model.json").exists():
        trained, _ = mmkit.fit(
            data=table(TRAINED_ON, 0), target="label", encoders={"table": "table-mlp"}, fusion="late",
            training={"epochs": 3}, device="cpu", progress=False,
        )  # fmt: skip
        trained.save(model)
    return model, tables


def command(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    """The command that is measured; it says its highest memory at its end."""
    code = (
        "import resource, sys, mmkit.cli\n"
        "try: mmkit.cli.main(sys.argv[1:])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
    )
    asked = ["predict", str(model), "--data", str(data), "--out", str(out), "--device", "cpu"]
    return [sys.executable, "-c", code, *asked, *more]


def of_torch() -> int:
    """The memory of a process that imports torch and pyarrow, and does nothing, in MiB."""
    code = "import resource, torch, pyarrow; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def timed(arguments: list[str]) -> tuple[float, float, int]:
    """Wall and CPU seconds of a process, and its highest memory in MiB."""
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, int(done.stderr.split()[-1])


def measured(model: Path, tables: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Both tables in rounds, in random order."""
    order, found = random.Random(0), {name: [] for name in tables}
    for _ in range(ROUNDS):
        for name in order.sample(sorted(tables), len(tables)):
            out = folder / f"{name}.answers.parquet"
            out.unlink(missing_ok=True)
            found[name].append(timed(command(model, tables[name], out)))
    more = ROWS["many"] - ROWS["few"]
    of = {
        clock: statistics.median(b[i] - a[i] for a, b in zip(found["few"], found["many"], strict=True))
        for i, clock in enumerate(("wall", "cpu"))
    }
    return {
        "rows": ROWS,
        "seconds": {
            name: {"wall": [r[0] for r in rounds], "cpu": [r[1] for r in rounds]} for name, rounds in found.items()
        },
        "rows_per_second": {clock: more / seconds for clock, seconds in of.items()},
        "memory_mib": {name: max(r[2] for r in rounds) for name, rounds in found.items()} | {"torch": of_torch()},
    }


def killed(model: Path, data: Path, folder: Path, whole: Path, *more: str) -> dict[str, Any]:
    """Killed once ten parts are there, and called again: whether the file is that of an undisturbed call."""
    broken = folder / "killed.answers.parquet"
    broken.unlink(missing_ok=True)
    arguments = command(model, data, broken, *more)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    parts = broken.with_name(f"{broken.name}.parts")
    while len(list(parts.glob("0*.parquet"))) < 10 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = len(list(parts.glob("0*.parquet")))
    subprocess.run(arguments, check=True, capture_output=True)
    return {"parts_when_killed": found, "equal": whole.read_bytes() == broken.read_bytes()}


def with_workers(model: Path, tables: dict[str, Path], folder: Path, workers: int, engine: str) -> dict[str, Any]:
    """The large table by one process and by several, in rounds and in random order; and what is equal."""
    several = ("--threads", "1", "--workers", str(workers), "--engine", engine)
    asked = {"one": ("--threads", "1"), "several": several}
    order, seconds, memory = random.Random(0), {name: [] for name in asked}, {name: [] for name in asked}
    for _ in range(ROUNDS):
        for name in order.sample(sorted(asked), len(asked)):
            out = folder / f"{name}.answers.parquet"
            out.unlink(missing_ok=True)
            wall, _, mib = timed(command(model, tables["many"], out, *asked[name]))
            seconds[name].append(wall)
            memory[name].append(mib)
    few = folder / "few.answers.parquet"
    few.unlink(missing_ok=True)
    one, other = (folder / f"{name}.answers.parquet" for name in asked)
    share = sorted(b / a for a, b in zip(*seconds.values(), strict=True))
    return {
        "rows": ROWS,
        "workers": workers,
        "engine": engine,
        "wall_seconds": seconds,
        "share_of_one": {"middle": statistics.median(share), "low": share[0], "high": share[-1]},
        "memory_mib": {
            "few": timed(command(model, tables["few"], few, *several))[2],
            "many": max(memory["several"]),
        },
        "equal": one.read_bytes() == other.read_bytes(),
        "killed": killed(model, tables["many"], folder, one, *several),
    }


def record_of(found: dict[str, Any]) -> dict[str, Any]:
    """What was found, with where and when."""
    return {
        "what": (__doc__ or "").splitlines()[0],
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "software": software(),
        "goal": GOAL,
        **found,
    }


def main() -> int:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--engine", default="processes")
    arguments = parser.parse_args()
    folder = arguments.folder
    model, tables = made(folder)
    if arguments.workers is not None:
        found = with_workers(model, tables, folder, arguments.workers, arguments.engine)
        OF_WORKERS.write_text(json.dumps(record_of(found), indent=1) + "\n")
        share, memory = found["share_of_one"], found["memory_mib"]
        print(
            f"{arguments.workers} workers take {share['middle']:.2f} of the wall of one ({share['low']:.2f} to "
            f"{share['high']:.2f}); MiB of the process that was asked {memory}; equal: {found['equal']}, "
            f"{found['killed']}"
        )
        good = found["equal"] and found["killed"]["equal"] and memory["many"] - memory["few"] <= GOAL["growth_mib"]
        print("no goal is missed" if good else "a goal is missed")
        return int(not good)
    found = measured(model, tables, folder)
    found |= {"killed": killed(model, tables["many"], folder, folder / "many.answers.parquet")}
    RECORD.write_text(json.dumps(record_of(found), indent=1) + "\n")
    rate, memory = found["rows_per_second"], found["memory_mib"]
    print(f"{rate['cpu']:,.0f} rows a second of CPU ({rate['wall']:,.0f} of the wall), MiB {memory}, {found['killed']}")
    good = (
        rate["cpu"] >= GOAL["rows_per_second"]
        and memory["many"] - memory["torch"] <= GOAL["memory_above_torch_mib"]
        and memory["many"] - memory["few"] <= GOAL["growth_mib"]
        and found["killed"]["equal"]
    )
    print("no goal is missed" if good else "a goal is missed")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
