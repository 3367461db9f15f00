"""Time of each fusion over that of a published implementation of the same formula, with the same weights.

    python -m benchmarks.fusions.public FOLDER [--fusion NAME ...] [--rounds 16] [--json FILE]

FOLDER holds checkouts of the repositories, each in a folder of its name: `git clone https://github.com/OWNER/NAME`. One
that is not there is left out, and told, as is one that imports what is not installed: some need `einops`, one
`einops-exts`. None of their code is in this repository. Both run in one process, in rounds of random order, where
nothing is missing. First it is checked that they give the same, with the same gradients of the inputs; where the
published one is not what its formula says, the note tells how. A ratio below 1 says that mmkit is faster.

FILE is written after each fusion. Where it is there, and of this machine and this software, what is measured takes the
place of what it says of the same fusion, and the rest is kept.
"""

from __future__ import annotations

import argparse
import importlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.fusions import speed
from benchmarks.fusions.public.load import commit, load
from benchmarks.fusions.record import document, given, write
from mmkit.contract import Features
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks

PARTS = ("load", "weights")
"""Files that are no method."""
NAMES = tuple(
    sorted(file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py") if file.stem not in PARTS)
)
SIZES = ((8, 128), (64, 128), (512, 128), (64, 512))
"""B and D."""
TOKENS = 32


def read(name: str, folder: Path) -> tuple[Any, Any, dict[str, str]] | None:
    """Our adapter, the published module, and where it is from; None where the repository is not in the folder."""
    adapter = importlib.import_module(f"benchmarks.fusions.public.{name.replace('-', '_')}")
    if adapter.FILE is None:  # what is installed
        version: str = torch.version.git_version
        return adapter, nn, {"repository": adapter.REPOSITORY, "path": "torch/nn", "commit": version}
    place = folder / adapter.REPOSITORY.split("/")[1]
    if not place.is_dir():
        return None
    origin = {"repository": adapter.REPOSITORY, "path": adapter.FILE, "commit": commit(place)}
    imports_from = getattr(adapter, "IMPORTS_FROM", None)
    folder = None if imports_from is None else place / imports_from
    return adapter, load(place / adapter.FILE, getattr(adapter, "STANDS_IN", {}), folder), origin


def measured(name: str, adapter: Any, module: Any, batch: int, width: int, *, backward: bool, rounds: int) -> Any:
    """The row of a size."""
    tokens = TOKENS if speed.over_tokens(name) else 1
    size = {"batch": batch, "width": width, "inputs": adapter.INPUTS, "tokens": tokens}
    fusion, features = speed.make(name, **size, missing=False, options=getattr(adapter, "OPTIONS", {}))
    if not getattr(adapter, "PADDED", True):
        features = [Features.of(each.tokens) for each in features]
    with warnings.catch_warnings(action="ignore"):  # of functions that torch has renamed, and of fast paths
        network, form = adapter.published(module, fusion)
    other = (form, list(network.eval().parameters()))
    gradients = getattr(adapter, "GRADIENTS_AGREE", True)
    agree = getattr(adapter, "AGREE", speed.AGREE) if gradients or not backward else None
    forms = speed.candidates(name, fusion, features, backward=backward, other=other, agree=agree)
    timings = interleave(forms, rounds=rounds, max_seconds=speed.MOST)
    compared = timings.compare("mmkit", "other").as_json()
    return {
        "fusion": name,
        **size,
        "what": "both ways" if backward else "forward",
        **{key: compared[key] for key in ("ratio", "low", "high", "verdict")},
        "seconds": {"mmkit": timings.median("mmkit"), "published": timings.median("other")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fusion", action="append", choices=NAMES)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_large_blocks()  # as every command of mmkit does
    torch.set_num_threads(1)
    held = given(options.json) if options.json and options.json.exists() else {"published": {}, "rows": []}
    origins, rows = held["published"], held["rows"]
    print(f"{'fusion':16}{'B':>5}{'D':>6}  {'':9}{'mmkit, us':>11}{'published':>11}  ratio  interval")
    for name in options.fusion or NAMES:
        try:
            found = read(name, options.folder)
        except ModuleNotFoundError as error:
            print(f"{name:16} left out: {error}, which it imports")
            continue
        if found is None:
            adapter = importlib.import_module(f"benchmarks.fusions.public.{name.replace('-', '_')}")
            print(f"{name:16} left out: https://github.com/{adapter.REPOSITORY} is not in {options.folder}")
            continue
        adapter, module, origin = found
        rows = [row for row in rows if row["fusion"] != name]
        origins[name] = origin | {"note": getattr(adapter, "NOTE", "none")}
        for batch, width in SIZES:
            for backward in (False, True):
                row = measured(name, adapter, module, batch, width, backward=backward, rounds=options.rounds)
                rows.append(row)
                us = "".join(f"{row['seconds'][form] * 1e6:11.0f}" for form in ("mmkit", "published"))
                interval = "-" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
                print(f"{name:16}{batch:5}{width:6}  {row['what']:9}{us}  {row['ratio']:5.2f}  {interval}", flush=True)
        if options.json:
            rows.sort(key=lambda row: row["fusion"])
            write(options.json, document(rows, published=dict(sorted(origins.items()))))


if __name__ == "__main__":
    main()
