"""Data larger than memory: first batch, memory, training rate by number of rows; packed against memory, live against a
DataLoader.

    python benchmarks/own_data.py [ROWS ...] [--images N [N ...]] [--folder DIR] [--record FILE]

Without any it is 20000, 200000 and 2000000 rows, and 20000 images. Each part is noted in DIR with its day when it is
done (else in a folder that is removed), so that the same command goes on behind it.

Tables of 17 columns and a text are written to a folder of their own and removed again. Each number of rows is measured
in a process of its own, once: seconds of CPU and of the clock, and the peak of anonymous memory above the imports; then
in a second process, which finds what the first has kept.
Images are files of 11 KB, of 2,000 patterns. All are read once, which gives the peak of memory; then 2,048 by turns.
Ratios are medians of rounds that alternate in one process; before each, both give the same batches. The record says
how cost grows, and what that makes of 10 million rows.
"""  # noqa: D205 - one sentence

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mmkit.data.columns import Column
from mmkit.data.decoded import Decoded, Raw
from mmkit.data.loader import Loader
from mmkit.data.readings import Live
from mmkit.data.sampling import augmentation
from mmkit.data.splits import splits_of
from mmkit.data.whole import Whole
from mmkit.features.sharing import Shared
from mmkit.modalities.image import Image
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen

RECORD = Path(__file__).parent / "records" / "own_data.json"
BATCH, STEPS, ROUNDS = 64, 200, 7
DRAWN = 2000
DISTURBED = 2
"""Load for each core beyond which a part says that it was disturbed."""
LETTERS = (
    ("ka", "mo", "ri", "ten", "sal", "pu", "wen", "do"),
    ("la", "ne", "si", "vor", "tam", "gi", "ko", "ru"),
    "snlmr",
)


def write_table(path: Path, rows: int) -> None:
    """Eight numbers, five categories of 5 to 900 names, a flag, a date, an id, a text of 4 to 120 words, a label."""
    rng = np.random.default_rng(0)
    words = np.array([a + b + c for a in LETTERS[0] for b in LETTERS[1] for c in LETTERS[2]])
    shares = 1 / np.arange(1, len(words) + 1)
    writer = None
    for start in range(0, rows, 100_000):
        size = min(100_000, rows - start)
        truth = rng.integers(0, 4, size)
        columns: dict[str, Any] = {"post_id": [f"p{i:08d}" for i in range(start, start + size)]}
        for number in range(8):
            values = rng.normal(size=size) + (0.3 * truth if number < 2 else 0)
            columns[f"number{number}"] = pa.array(values, mask=rng.random(size) < 0.03)
        for number, names in enumerate((5, 20, 50, 200, 900)):
            values = np.char.add(f"c{number}_", rng.integers(0, names, size).astype(str))
            columns[f"category{number}"] = pa.array(values, mask=rng.random(size) < 0.02)
        columns["flag"] = rng.random(size) < 0.3
        columns["day"] = (np.datetime64("2021-01-01") + rng.integers(0, 1000, size)).astype("datetime64[D]")
        lengths = np.clip(rng.lognormal(2.7, 0.6, size), 4, 120).astype(int)
        chosen = words[rng.choice(len(words), lengths.sum(), p=shares / shares.sum())]
        ends = np.cumsum(lengths)
        columns["text"] = [
            " ".join([["great", "awful", "plain", "odd"][kind], *chosen[end - length : end]])
            for kind, end, length in zip(truth, ends, lengths, strict=True)
        ]
        columns["label"] = np.array(["good", "bad", "so", "other"])[truth]
        table = pa.table(columns)
        writer = writer or pa.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def anonymous() -> float:
    """MiB of memory that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


class Peak:
    """The greatest anonymous memory, looked at every 20 ms."""

    def __init__(self) -> None:
        self.most, self._end = anonymous(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self.most = max(self.most, anonymous())

    def stop(self) -> float:
        """MiB."""
        self._end.set()
        self._thread.join()
        return max(self.most, anonymous())


def measure_table(path: Path, rows: int, cache: Path) -> dict[str, Any]:
    """From the file to the first batch, then to a training rate."""
    catalog, settings = installed(), Settings("cpu")
    before, watch = anonymous(), Peak()
    wall, cpu = time.perf_counter(), time.process_time()
    splits = splits_of(catalog.choose("task", f"own-data:data={path},target=label"), catalog, settings)
    described = time.process_time() - cpu
    train, validation = splits.with_truth("train"), splits.with_truth("validation")
    encoders = {"text": catalog.choose("encoder", "bag"), "table": catalog.choose("encoder", "table-mlp")}
    combination = Combination(encoders, catalog.choose("fusion", "concat"), catalog.choose("head", "linear"), ())
    shared = Shared(cache)
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
    model, objectives = build_model(combination, transforms, shared)
    frozen = Frozen(model, combination, transforms, settings, 0, shared)
    data = frozen.dataset(train, augment=True, split="train")
    data.batch(torch.randperm(data.size)[:BATCH])
    first = time.perf_counter() - wall, time.process_time() - cpu
    frozen.dataset(validation, augment=False, split="validation")
    step = TrainingStep(model, objectives)
    optimizer = torch.optim.AdamW(step.parameters())
    steps = min(STEPS, data.size // BATCH)
    cpu = time.process_time()
    for index in torch.randperm(data.size)[: steps * BATCH].split(BATCH):
        optimizer.zero_grad()
        losses, _ = step(*data.batch(index))
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    rate = steps * BATCH / (time.process_time() - cpu)
    peak = watch.stop() - before
    readings = {name: one for name, one in data.inputs.items() if isinstance(one, Whole)}
    return {
        "rows": rows,
        "first_batch": {"wall_seconds": round(first[0], 1), "cpu_seconds": round(first[1], 1)},
        "described_cpu_seconds": round(described, 1),
        "memory_mib": round(peak),
        "train_samples_per_cpu_second": round(rate),
        "on_disk": sorted(name for name, one in readings.items() if one.place is not None),
        "packed": {name: ratio_packed(one) for name, one in sorted(readings.items()) if one.place is not None},
    }


def ratio_packed(packed: Whole) -> dict[str, Any]:
    """Rate of random batches from mapped files, against the same leaves in memory."""
    memory = Whole(
        {name: leaf.clone() for name, leaf in packed.leaves.items()},
        packed.along, packed.lengths, packed.least, packed.offsets, packed.fills,
    )  # fmt: skip
    size = len(packed.lengths) if packed.lengths is not None else len(packed.leaves["mask"])
    index = torch.randperm(size)[: STEPS * BATCH].split(BATCH)
    for one in index[:3]:
        assert all(torch.equal(packed.rows(one)[leaf], memory.rows(one)[leaf]) for leaf in memory.leaves)
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for reading in (packed, memory):
            began = time.process_time()
            for one in index:
                reading.rows(one)
            seconds.append(time.process_time() - began)
        ratios.append(seconds[1] / seconds[0])
    return {"of_memory": round(statistics.median(ratios), 2), "from_to": [round(f(ratios), 2) for f in (min, max)]}


class Files(TorchDataset[Tensor]):
    """What a user would write: an image a file, read and brought to one size."""

    def __init__(self, paths: list[str], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        pixels: Tensor = self.transform([Image().decode(self.paths[place])])["pixels"][0]
        return pixels


def write_images(folder: Path, count: int) -> None:
    """Patterns of 320x240, a JPEG each; behind 2,000 files they come again, as drawing takes longer than reading."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:240, 0:320]
    for number in range(min(count, DRAWN)):
        a, b, c = rng.random(3)
        drawn = np.stack([np.sin(x * a / 9 + k) * np.cos(y * b / 9 + c * k) for k in range(3)], 2)
        Pillow.fromarray(((drawn + 1) * 127).astype(np.uint8)).save(folder / f"{number}.jpg", quality=85)
    for number in range(DRAWN, count):
        shutil.copyfile(folder / f"{number % DRAWN}.jpg", folder / f"{number}.jpg")


def measure_images(folder: Path, count: int) -> dict[str, Any]:
    """Live against a plain DataLoader in place, over the same files with the same decoder and resizing."""
    from mmkit.transforms.image import ImageTransform  # noqa: PLC0415

    before, watch = anonymous(), Peak()
    paths = [str(folder / f"{number}.jpg") for number in range(count)]
    transform = ImageTransform(size=64)
    column = Column(Decoded(Raw(paths, Image(), "image"), None))
    transform.fit(column.take(range(min(200, count))))
    live = Live("image", transform, column, paths, augment=False)
    began, cpu, every = time.perf_counter(), time.process_time(), torch.arange(count).split(BATCH)
    with Loader() as load:
        for _batch in load(lambda number: live.made(every[number], augmentation(0, 1, number)), len(every)):
            pass
    passed = time.perf_counter() - began, time.process_time() - cpu
    took = min(count, 32 * BATCH)
    loader = DataLoader(Files(paths[:took], transform), batch_size=BATCH)
    index = torch.arange(took).split(BATCH)
    for one, batch in zip(index[:2], loader, strict=False):
        assert torch.equal(live.rows(one)["pixels"], batch)
    ratios, rates = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with Loader() as load:
            for _batch in load(lambda number: live.made(index[number], augmentation(0, 1, number)), len(index)):
                pass
        ours = time.perf_counter() - began
        began = time.perf_counter()
        for _batch in loader:
            pass
        ratios.append((time.perf_counter() - began) / ours)
        rates.append(took / ours)
    return {
        "images": count,
        "of_data_loader": round(statistics.median(ratios), 2),
        "from_to": [round(f(ratios), 2) for f in (min, max)],
        "images_per_second": round(statistics.median(rates)),
        "all": {"wall_seconds": round(passed[0], 1), "cpu_seconds": round(passed[1], 1)},
        "memory_mib": round(watch.stop() - before),
    }


def slope(found: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """CPU seconds and memory at more rows, by the straight line through the two largest tables."""
    if len(found) < 2:
        return {}
    one, other = found[-2:]
    said: dict[str, Any] = {"rows": rows}
    for name, of in (
        ("first_batch_cpu_seconds", lambda row: row["first_batch"]["cpu_seconds"]),
        ("memory_mib", lambda row: row["memory_mib"]),
    ):
        each = (of(other) - of(one)) / (other["rows"] - one["rows"])
        said[name] = round(of(other) + each * (rows - other["rows"]))
    return said


def noted(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured before, or else is now."""
    if not path.exists():
        began = time.perf_counter()
        found = {**measure(), "made": time.strftime("%Y-%m-%d"), "load": round(os.getloadavg()[0], 1)}
        if found["load"] > DISTURBED * (os.cpu_count() or 1):
            found["note"] = "others used the machine: rates and ratios of the clock say nothing of a quiet one"
        print(f"{path.stem}: {time.perf_counter() - began:.0f} s, {json.dumps(found)}", file=sys.stderr)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(json.dumps(found))
        fresh.replace(path)
    return dict(json.loads(path.read_text()))


def measured_table(folder: Path, rows: int) -> dict[str, Any]:
    """A table of so many rows, read for the first time and for the second."""
    path, cache = folder / f"{rows}.parquet", folder / f"cache-{rows}"
    shutil.rmtree(cache, ignore_errors=True)
    write_table(path, rows)
    command = [sys.executable, __file__, "--one", str(path), str(rows), str(cache)]
    first, second = (
        json.loads(
            subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "MMKIT_CACHE": str(cache)}
            ).stdout
        )
        for _ in range(2)
    )
    path.unlink()
    shutil.rmtree(cache, ignore_errors=True)  # few rows need none
    return {**first, "second_start": {name: second[name] for name in ("first_batch", "described_cpu_seconds")}}


def measured_images(folder: Path, count: int) -> dict[str, Any]:
    """Images that are drawn and removed again."""
    home = folder / "images"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    write_images(home, count)
    command = [sys.executable, __file__, "--one", str(home), str(count), ""]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    shutil.rmtree(home)
    return dict(json.loads(found.stdout))


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=[20_000, 200_000, 2_000_000])
    parser.add_argument("--images", nargs="*", type=int, default=[20_000])
    parser.add_argument("--folder", type=Path, help="where parts that are done are noted, and the tables are")
    parser.add_argument("--record", type=Path, default=RECORD, help="the file of the record")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # a process that measures one table, or images
    asked = parser.parse_args()
    if asked.one:
        path, count, cache = Path(asked.one[0]), int(asked.one[1]), Path(asked.one[2])
        print(json.dumps(measure_images(path, count) if path.is_dir() else measure_table(path, count, cache)))
        return
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        tables = [noted(folder / f"{rows}.json", lambda rows=rows: measured_table(folder, rows)) for rows in asked.rows]
        images = [
            noted(folder / f"{count}-images.json", lambda count=count: measured_images(folder, count))
            for count in asked.images
        ]
    document = {
        "schema": 1,
        "made": time.strftime("%Y-%m-%d"),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
        "software": software(),
        "tables": tables,
        "by_the_slope": slope(tables, 10_000_000),
        "images": images,
    }
    asked.record.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
