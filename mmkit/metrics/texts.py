"""Metrics of generated texts against the true ones: exact match, BLEU and ROUGE-L.

BLEU is computed by sacrebleu and ROUGE-L by rouge-score. They are imported when a metric needs them; a plugin with a
head for texts requires them.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Measure
from mmkit.errors import UnavailableError
from mmkit.metrics.influence import of_bleu

Answers = Sequence[Mapping[str, Any]]
"""What the inverse of the truth's transform gave: each with its `text`."""


def exact_match(answers: Answers, truths: Sequence[str]) -> list[float]:
    """1 for each answer that equals the truth up to case and spaces, else 0.

    >>> exact_match([{"text": "A black  cat"}, {"text": "a dog"}], ["a black cat", "a cat"])
    [1.0, 0.0]
    """
    return [float(_plain(a["text"]) == _plain(t)) for a, t in zip(answers, truths, strict=True)]


def bleu(answers: Answers, truths: Sequence[str]) -> float:
    """BLEU of the whole corpus, between 0 and 1, with one reference each.

    Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", ACL 2002,
    https://aclanthology.org/P02-1040/; tokens and smoothing are those of sacrebleu's defaults (13a, exp), case counts:
    Post, "A Call for Clarity in Reporting BLEU Scores", WMT 2018, https://aclanthology.org/W18-6319/.

    Raises:
        UnavailableError: sacrebleu is not installed.
    """
    sacrebleu = _imported("sacrebleu", "sacrebleu", "bleu")
    return float(sacrebleu.corpus_bleu([answer["text"] for answer in answers], [list(truths)]).score) / 100


def bleu_influence(answers: Answers, truths: Sequence[str]) -> list[float] | None:
    """What each sample adds to `bleu`; None where no n-gram of some length matches, since BLEU is then smoothed.

    Raises:
        UnavailableError: sacrebleu is not installed.
    """
    every = _counts(answers, truths).double()
    if bool((every[:, :4].sum(0) == 0).any()):
        return None
    return of_bleu(every).tolist()


def bleu_resampled(answers: Answers, truths: Sequence[str]) -> Callable[[Sequence[int]], float]:
    """What gives `bleu` of the samples at some places, by their counts.

    Raises:
        UnavailableError: sacrebleu is not installed.
    """
    every = _counts(answers, truths)
    compute = _imported("sacrebleu", "sacrebleu", "bleu").BLEU.compute_bleu

    def of(places: Sequence[int]) -> float:
        total = every[torch.as_tensor(places)].sum(0).tolist()
        return float(compute(total[:4], total[4:8], total[8], total[9], smooth_method="exp").score) / 100

    return of


def _counts(answers: Answers, truths: Sequence[str]) -> Tensor:
    """[N 10] of each sample: matches and totals of n-grams, n from 1 to 4, length of the answer, of the truth."""
    sacrebleu = _imported("sacrebleu", "sacrebleu", "bleu")
    counts = []
    for answer, truth in zip(answers, truths, strict=True):
        one = sacrebleu.corpus_bleu([answer["text"]], [[truth]])
        counts.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
    return torch.tensor(counts)


def rouge_l(answers: Answers, truths: Sequence[str]) -> list[float]:
    """ROUGE-L of each answer: F1 of the longest common subsequence of words, in lower case, without stemming.

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL 2004 workshop,
    https://aclanthology.org/W04-1013/. Words of any script count; rouge-score's own tokenizer keeps only a to z.

    Raises:
        UnavailableError: rouge-score is not installed.
    """
    scoring = _imported("rouge_score.rouge_scorer", "rouge-score", "rouge_l")
    scorer = scoring.RougeScorer(["rougeL"], tokenizer=_Words())
    return [float(scorer.score(t, a["text"])["rougeL"].fmeasure) for a, t in zip(answers, truths, strict=True)]


MEASURES: Mapping[str, Measure] = {
    "exact_match": Measure(exact_match),
    "bleu": Measure(bleu, influence=bleu_influence, resampled=bleu_resampled),
    "rouge_l": Measure(rouge_l),
}


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _imported(module: str, package: str, metric: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(f"the metric {metric} needs {package}: pip install {package}") from error
