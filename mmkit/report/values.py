"""The value of a metric as text."""

from __future__ import annotations

SHARES = ("accuracy", "f1", "precision", "recall", "auroc", "match", "bleu", "rouge")


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in percent."""
    return any(part in SHARES for part in metric.split("_"))


def written(value: float, metric: str) -> str:
    """The value of a metric as text: shares in percent with one decimal, others with three digits."""
    return f"{100 * value:.1f}" if is_share(metric) else f"{value:.3g}"
