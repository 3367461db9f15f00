"""What each test sample adds to a metric: pseudo-scores, whose mean is the metric and whose spread is its own.

Of a metric that is a mean over samples they are the scores. Of any other, a sample's pseudo-score is the metric plus
the sample's influence on it, by the delta method: the standard error of the metric over samples is that of the mean of
the pseudo-scores. Where a class has few samples its size less one divides, as in the delete-one jackknife. Those on
areas under curves are in `curves.py`.

Axes: N samples, C classes, labels or numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmkit.metrics.formulas import constant, ranks

Influence = Callable[[], Tensor]
"""[N] float64, with mean 0."""


def of_classes(label: Tensor, predicted: Tensor, size: int) -> dict[str, Influence]:
    """The influence on metrics that counts of classes give, from true and predicted classes [N]."""
    right = (label == predicted).double()
    n = label.bincount(minlength=size).double()  # [C] how often it is true
    m = predicted.bincount(minlength=size).double()  # how often it is predicted
    tp = label[label == predicted].bincount(minlength=size).double()
    occurs = n > 0
    scale = len(label) / float(occurs.sum())

    def recall() -> Tensor:
        return scale * (right - (tp / n.clamp(min=1))[label]) / (n[label] - 1).clamp(min=1)

    def precision() -> Tensor:
        value = (right - (tp / m.clamp(min=1))[predicted]) / m[predicted].clamp(min=1)
        return scale * torch.where(occurs[predicted], value, 0.0)

    def f1() -> Tensor:
        both = (n + m).clamp(min=1)
        share = torch.where(occurs, 2 * tp / both / both, 0.0)
        hit = torch.where(occurs, 2 / both, 0.0)
        return scale * (right * hit[label] - share[label] - share[predicted])

    return {
        "recall_macro": recall,
        "balanced_accuracy": recall,
        "precision_macro": precision,
        "f1_macro": f1,
        "f1_micro": lambda: right - right.mean(),
    }


def of_labels(answer: Tensor, truth: Tensor) -> dict[str, Influence]:
    """The influence on metrics that counts of labels give, from answers and truth, bool [N C]."""
    said, true = answer.double(), truth.double()
    hit, samples = said * true, len(true)
    tp, n, m = hit.sum(0), true.sum(0), said.sum(0)  # [C]
    occurs, both = n > 0, (n > 0) & (n < samples)

    def f1() -> Tensor:
        total = (n + m).clamp(min=1)
        return samples * ((2 * hit - 2 * tp / total * (true + said)) / total)[:, occurs].mean(1)

    def f1_micro() -> Tensor:
        total = (n.sum() + m.sum()).clamp(min=1)
        return samples * (2 * hit.sum(1) - 2 * tp.sum() / total * (true.sum(1) + said.sum(1))) / total

    def recall() -> Tensor:
        return samples * ((hit - tp / n.clamp(min=1) * true) / (n - 1).clamp(min=1))[:, occurs].mean(1)

    def precision() -> Tensor:
        return samples * ((hit - tp / m.clamp(min=1) * said) / m.clamp(min=1))[:, occurs].mean(1)

    def balanced() -> Tensor:
        spared = (1 - said) * (1 - true)
        rest = samples - n
        of_yes = (hit - tp / n.clamp(min=1) * true) / (n - 1).clamp(min=1)
        of_no = (spared - spared.sum(0) / rest.clamp(min=1) * (1 - true)) / (rest - 1).clamp(min=1)
        return samples * ((of_yes + of_no) / 2)[:, both].mean(1)

    return {
        "f1_macro": f1,
        "f1_micro": f1_micro,
        "recall_macro": recall,
        "precision_macro": precision,
        "balanced_accuracy": balanced,
    }


def of_numbers(prediction: Tensor, truth: Tensor) -> dict[str, Influence]:
    """The influence on metrics of numbers, from values [N C] and true values [N C]; the mean over columns."""
    prediction, truth = prediction.double(), truth.double()

    def over(each: Callable[[Tensor, Tensor], Tensor | None]) -> Influence:
        def mean() -> Tensor:
            columns = (each(x, t) for x, t in zip(prediction.T, truth.T, strict=True))
            return torch.stack([column for column in columns if column is not None]).mean(0)

        return mean

    return {"rmse": over(_rmse), "r2": over(_r2), "pearson": over(_pearson), "spearman": over(_spearman)}


def _rmse(x: Tensor, t: Tensor) -> Tensor:
    error = (x - t).square()
    mean = error.mean()
    return (error - mean) / (2 * mean.sqrt()) if mean > 0 else torch.zeros_like(error)


def _r2(x: Tensor, t: Tensor) -> Tensor | None:
    if constant(t):
        return None
    error, deviation = (x - t).square(), (t - t.mean()).square()
    return -(error - error.mean() / deviation.mean() * deviation) / deviation.mean()


def _pearson(x: Tensor, t: Tensor) -> Tensor | None:
    if constant(x) or constant(t):
        return None
    a, b = _standardised(x), _standardised(t)
    r = (a * b).mean()
    return a * b - r * (a.square() + b.square()) / 2


def _spearman(x: Tensor, t: Tensor) -> Tensor | None:
    """That of the ranks, and how a sample moves the ranks of the others."""
    if constant(x) or constant(t):
        return None
    u, v = ranks(x) / len(x), ranks(t) / len(t)
    a, b = _standardised(u), _standardised(v)
    r = (a * b).mean()
    psi = a * b - r * (a.square() + b.square()) / 2
    psi = psi + _through_ranks(x, (b - r * a) / u.std(correction=0))
    psi = psi + _through_ranks(t, (a - r * b) / v.std(correction=0))
    return psi - psi.mean()


def _through_ranks(key: Tensor, weight: Tensor) -> Tensor:
    """[N]: the mean weight of the samples whose rank a sample raises; of an equal one half counts. Its mean is 0."""
    order = key.argsort(stable=True)
    ordered = key[order].contiguous()
    sums = torch.cat((weight.new_zeros(1), weight[order].cumsum(0)))
    low, high = (torch.searchsorted(ordered, key.contiguous(), right=right) for right in (False, True))
    raised = (sums[-1] - (sums[low] + sums[high]) / 2) / len(key)
    return raised - raised.mean()


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std(correction=0)


def of_bleu(counts: Tensor) -> Tensor:
    """[N]: the influence on the BLEU of a corpus, unsmoothed.

    Args:
        counts: [N 10] of each sample: matches and totals of n-grams, n from 1 to 4, length of the answer, of the truth.
    """
    counts = counts.double()
    total = counts.sum(0)
    matches, grams, length, reference = total[:4], total[4:8], total[8], total[9]
    brevity = torch.exp(1 - reference / length) if length < reference else total.new_ones(())
    value = brevity * (matches / grams).log().mean().exp()
    psi = len(counts) * (counts[:, :4] / matches - counts[:, 4:8] / grams).mean(1)
    if length < reference:
        psi = psi + len(counts) * (reference / length) * (counts[:, 8] / length - counts[:, 9] / reference)
    return value * psi
