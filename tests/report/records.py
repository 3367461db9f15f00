"""Records of runs that nobody has done, for tests of reports."""

import numpy as np

from mmkit.records.record import Record
from mmkit.records.scores import Scores
from mmkit.report.summary import rows
from mmkit.report.verdict import verdict

WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, seed, test, validation=None, *, metric="accuracy", higher=True, scores=None, **rest):
    known = {
        "id": f"{fusion} {seed}",
        "task": "pets",
        "status": "ok",
        "encoders": {"a": "cnn"},
        "fusion": fusion,
        "head": "mlp",
        "objectives": [],
        "seed": seed,
        "metric": metric,
        "higher_is_better": higher,
        "metrics": {metric: test},
        "validation": {metric: test if validation is None else validation},
        "scores": None if scores is None else Scores.of(scores),
        "run": {},
        **WHERE,
    }
    if rest.get("status") == "failed":
        known |= {"metrics": {}, "validation": {}, "metric": ""}
    return Record(**{**known, **rest})


def over_seeds(fusion, table, **rest):
    """A record a row of scores [S N]; its metric is their mean."""
    return [record(fusion, seed, float(np.mean(row)), scores=list(row), **rest) for seed, row in enumerate(table)]


def table(mean, seeds=5, samples=200, number=0, spread=0.3, of_seeds=0.01):
    """Scores [S N] around a mean; those of one number share what samples have in common."""
    shared = np.random.default_rng(99).normal(size=samples) * spread
    draw = np.random.default_rng(number)
    return mean + shared + draw.normal(size=(seeds, samples)) * spread / 3 + draw.normal(size=(seeds, 1)) * of_seeds


def compared(*records, **terms):
    return verdict(rows(records), **terms)
