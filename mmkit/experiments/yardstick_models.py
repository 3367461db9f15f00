"""What a user could do without mmkit: linear models of features, and boosted trees of a table, by scikit-learn.

Each has one setting that is tuned on validation. scikit-learn is imported when the first one is fitted.

Axes: N samples, D numbers of a sample, C size of the target.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmkit.contract import Batch, Split

Array = NDArray[Any]
Parts = Mapping[Split, Array]
"""Of each split [N D]: "train", "validation", "test"."""
Answers = dict[Split, Array]
"""Predictions [N C] of "validation" and "test"."""
Score = Callable[[Array], float]
"""How good predictions [N C] of validation are; more is better."""

EVALUATED: tuple[Split, ...] = ("validation", "test")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of logistic regression, `C`."""
PENALTIES = (1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Of ridge regression, `alpha`."""
STEPS = (0.03, 0.1, 0.3)
"""Learning rates of boosting."""
ROUNDS = 200
"""The greatest number of trees of boosting; the best number is chosen, too."""
MOST_CATEGORIES = 250
"""Of a column for boosting, which takes 255; rarer ones count as missing."""


def linear(parts: Parts, truth: Array, score: Score, *, classes: bool) -> tuple[Answers, dict[str, Any]]:
    """Logistic regression of classes [N], or ridge regression of numbers [N C], on scaled inputs.

    Returns:
        Predictions of validation and test, probabilities or numbers [N C]; and what was chosen.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 (an extra, and slow to import)
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    fitted = []
    for strength in STRENGTHS if classes else PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=1000) if classes else Ridge(alpha=strength)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # validation says what it is worth
            model.fit(parts["train"], truth)
        predict = model.predict_proba if classes else model.predict
        fitted.append((score(_columns(predict(parts["validation"]))), strength, predict))
    _, strength, predict = max(fitted, key=lambda one: one[0])
    answers = {part: _columns(predict(parts[part])) for part in EVALUATED if part in parts}
    return answers, {"C" if classes else "alpha": strength}


def boosting(
    parts: Parts, categorical: Sequence[bool], truth: Array, score: Score, *, classes: bool
) -> tuple[Answers, dict[str, Any]]:
    """Histogram gradient boosting of a table [N D] with NaN for missing cells; its step and number of trees are tuned.

    Args:
        parts: the table.
        categorical: which of its columns hold categories, as whole numbers.
        truth: classes [N] or numbers [N 1] of the training split.
        score: of validation.
        classes: whether classes are predicted, or numbers.

    Returns:
        As of `linear`.
    """
    from sklearn.ensemble import (  # noqa: PLC0415 (an extra, and slow to import)
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
    )

    boosted = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    best: tuple[float, float, int, Any] = (-np.inf, 0.0, 0, None)
    for step in STEPS:
        model = boosted(
            learning_rate=step,
            max_iter=ROUNDS,
            early_stopping=False,
            categorical_features=list(categorical),
            random_state=0,
        )
        model.fit(parts["train"], truth if classes else truth[:, 0])
        staged = model.staged_predict_proba if classes else model.staged_predict
        for number, answer in enumerate(staged(parts["validation"]), start=1):
            found = score(_columns(answer))
            if found > best[0] or best[3] is None:  # of constant predictions no stage may have a score
                best = (found, step, number, staged)
    _, step, number, staged = best
    answers = {
        part: _columns(next(islice(staged(parts[part]), number - 1, None))) for part in EVALUATED if part in parts
    }
    return answers, {"learning_rate": step, "trees": number}


def averaged(answers: Sequence[Array]) -> Array:
    """The mean of predictions [N C]."""
    return np.mean(answers, axis=0)


def multiplied(answers: Sequence[Array]) -> Array:
    """The product of probabilities [N C], brought to the sum of 1."""
    logarithms = np.sum([np.log(np.maximum(answer, np.finfo(float).tiny)) for answer in answers], axis=0)
    product = np.exp(logarithms - logarithms.max(1, keepdims=True))
    return product / product.sum(1, keepdims=True)


def table_of(batches: Mapping[Split, Batch]) -> tuple[dict[Split, Array], list[bool]]:
    """A table [N D] of the batches that `TableTransform` makes of each split, and which columns hold categories."""
    train = batches["train"]
    parts: dict[Split, Array] = {}
    categorical = [False] * train["numbers"].shape[1] + [True] * train["categories"].shape[1]
    for name, batch in batches.items():
        numbers = batch["numbers"].double().masked_fill(~batch["present"], float("nan")).numpy()
        columns = [numbers]
        for column in range(batch["categories"].shape[1]):
            known, counts = np.unique(train["categories"][:, column].numpy(), return_counts=True)
            kept = [code for code in known[np.argsort(-counts, kind="stable")] if code > 1][:MOST_CATEGORIES]
            place = {int(code): float(at) for at, code in enumerate(kept)}  # 0 is missing, 1 is unknown
            codes = batch["categories"][:, column].tolist()
            columns.append(np.array([[place.get(code, np.nan)] for code in codes], dtype=float))
        parts[name] = np.concatenate(columns, axis=1)
    return parts, categorical


def _columns(answer: Array) -> Array:
    return answer[:, None] if answer.ndim == 1 else answer
