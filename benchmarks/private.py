"""What privacy costs: accuracy of one model trained plainly, and at three epsilons, on 50,000 generated rows.

    python benchmarks/private.py FOLDER

Nobody's data: each row is made by chance. A message of 6 to 14 of 300 words is about one of two topics, of which each
word tells a little; a table row of two numbers and a category tells one of two kinds of customer; the label is the pair
of both, four classes. A tenth of the rows has no message, a tenth no table row, never both.

The model is `concat` of `bag` and `table-mlp`, the same options in every training (batches of 512 on average, 10
epochs, the default rate), three seeds of each; private ones differ in clipping and noise alone. What the rows tell at
best is known, since their making is: the likeliest class by the chances that they were drawn with. FOLDER keeps the
models: begun again, it goes on where it stopped.
"""

from __future__ import annotations

import datetime as dt
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import mmkit
from mmkit.system.machine import machine, software

RECORD = Path(__file__).parent / "records" / "private.json"
ROWS = 50_000
EPSILONS = (None, 8.0, 3.0, 1.0)
DELTA = 1e-5
SEEDS = range(3)
OPTIONS = {"batch_size": 512, "epochs": 10, "patience": None}
WORDS = [f"word{number}" for number in range(300)]
CATEGORIES = ("north", "south", "west")


def table(rows: int = ROWS) -> tuple[pa.Table, float]:
    """The generated rows: `message`, `age`, `visits`, `region`, `label`; and the accuracy of the likeliest class."""
    draw = np.random.default_rng(0)
    topic, kind = draw.integers(2, size=rows), draw.integers(2, size=rows)
    leaning = draw.normal(0, 0.5, len(WORDS))  # of each word, to one of the topics
    weights = np.exp(np.outer([-1, 1], leaning))
    weights /= weights.sum(1, keepdims=True)
    sizes = draw.integers(6, 15, rows)
    messages = [" ".join(draw.choice(WORDS, n, p=weights[of])) for of, n in zip(topic, sizes, strict=True)]
    age = draw.normal(40 + 12 * (2 * kind - 1), 10)
    visits = draw.poisson(np.where(kind, 9, 4)).astype(float)
    region = draw.choice(CATEGORIES, rows)
    lacking = draw.random(rows)
    no_message, no_row = lacking < 0.1, lacking > 0.9
    made = pa.table(
        {
            "message": pa.array([None if gone else text for text, gone in zip(messages, no_message, strict=True)]),
            "age": pa.array(age, mask=no_row),
            "visits": pa.array(visits, mask=no_row),
            "region": pa.array(region.tolist(), mask=no_row),
            "label": pa.array([f"{'ab'[t]}{'xy'[k]}" for t, k in zip(topic, kind, strict=True)]),
        }
    )
    by_words = {word: float(one) for word, one in zip(WORDS, np.log(weights[1] / weights[0]), strict=True)}
    for_topic = np.array([sum(by_words[word] for word in text.split()) for text in messages]) * ~no_message
    # Of normal numbers with one deviation, and of Poisson counts with means 4 and 9.
    for_kind = ((2 * 12 / 10**2) * (age - 40) + visits * np.log(9 / 4) - (9 - 4)) * ~no_row
    right = [np.where(score == 0, 0.5, (score > 0) == of) for score, of in ((for_topic, topic), (for_kind, kind))]
    return made, float((right[0] * right[1]).mean())


def trained(data: Path, folder: Path, epsilon: float | None, seed: int) -> dict[str, Any]:
    """What one training gives on test, and spends."""
    private = None if epsilon is None else {"epsilon": epsilon, "delta": DELTA}
    _, record = mmkit.fit(
        data=data,
        target="label",
        columns={"message": "text"},
        encoders={"message": "bag:width=32", "table": "table-mlp"},
        fusion="concat",
        training={**OPTIONS, **({} if private is None else {"private": private})},
        seed=seed,
        device="cpu",
        threads=1,
        out=folder / f"{epsilon or 'plain'}-{seed}",
        progress=False,
    )
    spent = record.private
    return {
        "accuracy": record.metrics["accuracy"],
        "log_loss": record.metrics["log_loss"],
        "spent": None if spent is None else spent.epsilon,
        "noise": None if spent is None else spent.noise,
        "steps": None if spent is None else spent.steps,
        "rows": record.samples.train if record.samples else None,
    }


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = folder / "generated.parquet"
    made, best = table()
    if not data.exists():
        pq.write_table(made, data)
    found = []
    for epsilon in EPSILONS:
        runs = [trained(data, folder, epsilon, seed) for seed in SEEDS]
        accuracies = [run["accuracy"] for run in runs]
        found.append(
            {
                "epsilon": epsilon,
                "delta": None if epsilon is None else DELTA,
                "accuracy": statistics.mean(accuracies),
                "accuracy_std": statistics.stdev(accuracies),
                "runs": runs,
            }
        )
        print(f"epsilon {epsilon or 'none'}: accuracy {100 * found[-1]['accuracy']:.1f} %", file=sys.stderr)
    document = {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "software": software(),
        "rows": ROWS,
        "options": OPTIONS,
        "accuracy_of_the_likeliest_class": best,
        "trainings": found,
    }
    RECORD.write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
