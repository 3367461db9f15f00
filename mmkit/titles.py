"""Metrics and counts in words, as tables, sentences and cards call them."""

from __future__ import annotations

_TITLES = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "recall_macro": "macro recall",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "exact_match": "exact match",
    "log_loss": "log loss",
    "head_loss": "head's loss",
    "balanced_accuracy": "balanced accuracy",
    "subset_accuracy": "subset accuracy",
    "f1_micro": "micro F1",
    "precision_macro": "macro precision",
    "auroc_macro": "macro AUROC",
    "average_precision_macro": "macro average precision",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "pearson": "Pearson",
    "spearman": "Spearman",
}


def title_of(metric: str) -> str:
    """A metric in words; one that is not known here is called by its name.

    >>> title_of("f1_macro"), title_of("log_loss")
    ('macro F1', 'log loss')
    """
    return _TITLES.get(metric, metric)


def counted(number: int, one: str, several: str = "") -> str:
    """A count with its noun, in the singular of one.

    >>> counted(1, "row"), counted(1200, "row"), counted(2, "class", "classes")
    ('1 row', '1,200 rows', '2 classes')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
