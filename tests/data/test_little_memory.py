"""Two million rows of table and text are read, described, fitted and trained on within 512 MiB above the imports.

The limit is the system's own (RLIMIT_DATA), in a process of its own: what it refuses is an error there, not a figure.
Mapped files do not count, and may go whenever memory is needed. The table has 11 columns; the whole takes about 25 s of
one core.
"""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest

ROWS = 2_000_000
LIMIT_MIB = 512

CHILD = """
import resource, sys
from pathlib import Path
import pyarrow.compute, pyarrow.parquet, torch
from mmkit.data.splits import splits_of
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.network import TrainingStep
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen

path, cache, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) * 2**20
torch.set_num_threads(1)
catalog, settings = installed(), Settings("cpu")
encoders = {"text": catalog.choose("encoder", "bag"), "table": catalog.choose("encoder", "table-mlp")}
fusion, head = catalog.choose("fusion", "concat"), catalog.choose("head", "linear")
for choice in (*encoders.values(), fusion, head):
    choice.component  # is imported
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
status = Path("/proc/self/status").read_text().splitlines()
imports = 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (imports + limit, imports + limit))
try:
    bytearray(limit + 2**20)
    sys.exit("the limit does not hold")
except MemoryError:
    pass
splits = splits_of(catalog.choose("task", f"own-data:data={path},target=label"), catalog, settings)
train, validation = splits.with_truth("train"), splits.with_truth("validation")
combination, shared = Combination(encoders, fusion, head, ()), Shared(cache)
transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth, train.ids, shared)
model, objectives = build_model(combination, transforms, shared)
frozen = Frozen(model, combination, transforms, settings, 0, shared)
data = frozen.dataset(train, augment=True, split="train")
frozen.dataset(validation, augment=False, split="validation")
step = TrainingStep(model, objectives)
optimizer = torch.optim.AdamW(step.parameters())
for index in torch.randperm(data.size, generator=torch.Generator().manual_seed(0))[: 50 * 256].split(256):
    optimizer.zero_grad()
    losses, _ = step(*data.batch(index))
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    optimizer.step()
print(splits.task.found.source.rows, len(train), len(validation), bool(loss.isfinite()))
"""


def write_table(path, rows):
    """Numbers, categories, a date, a text of about 16 words and a class that some of them tell."""
    draw = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"])
    pool = pa.array([" ".join(words[draw.integers(0, len(words), 8)]) for _ in range(50_000)])
    schema = None
    for start in range(0, rows, 250_000):
        size = min(250_000, rows - start)
        truth = draw.integers(0, 4, size)
        columns = {"post_id": np.arange(start, start + size)}
        for number in range(4):
            values = draw.normal(size=size) + (truth if number < 2 else 0)
            columns[f"number{number}"] = pa.array(values, mask=draw.random(size) < 0.03)
        for number, names in enumerate((5, 50, 900)):
            values = pa.array([f"c{name}" for name in range(names)]).take(pa.array(draw.integers(0, names, size)))
            columns[f"category{number}"] = values
        columns["day"] = (np.datetime64("2021-01-01") + draw.integers(0, 1000, size)).astype("datetime64[D]")
        halves = [pool.take(pa.array(draw.integers(0, len(pool), size))) for _ in range(2)]
        columns["text"] = pc.binary_join_element_wise(*halves, " ")
        columns["label"] = pa.array(["bad", "good", "other", "so"]).take(pa.array(truth))
        table = pa.table(columns)
        if schema is None:
            schema = table.schema
            writer = pa.parquet.ParquetWriter(path, schema)
        writer.write_table(table)
    writer.close()


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a limit of private memory")
def test_two_million_rows_train_in_little_memory(tmp_path):
    path = tmp_path / "posts.parquet"
    write_table(path, ROWS)
    environment = {**os.environ, "MMKIT_CACHE": str(tmp_path / "cache")}
    # Arrow's own pool takes a gigabyte of addresses at once, of which it uses little: the limit counts addresses.
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path), str(tmp_path / "cache"), str(LIMIT_MIB)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows, train, validation, finite = done.stdout.split()
    assert (int(rows), int(train), int(validation), finite) == (ROWS, 1_700_000, 100_000, "True")
