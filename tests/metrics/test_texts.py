"""Metrics of texts against forms written out by hand, and the collection of answers."""

import collections
import math
import sys
from typing import ClassVar

import pytest
import torch

from mmkit.contract import Measure
from mmkit.errors import MmkitError, UnavailableError, UsageError
from mmkit.metrics.answers import HEAD_LOSS, Answers, measures_of
from mmkit.metrics.texts import MEASURES, bleu, bleu_resampled, exact_match, rouge_l

PAIRS = [
    ("the cat sat on the mat", "the cat sat on a mat today"),
    ("a red house", "A  red HOUSE"),
    ("", "something"),
    ("Bäume im Wald", "bäume stehen im wald"),
    ("quite another thing", "nothing of it"),
    ("one two three four five", "one two three four five"),
]


def told(texts):
    return [{"text": text} for text in texts]


ANSWERS, TRUTHS = told([a for a, _ in PAIRS]), [t for _, t in PAIRS]


def test_exact_match_ignores_case_and_spaces_only():
    assert exact_match(ANSWERS, TRUTHS) == [0, 1, 0, 0, 0, 1]
    assert exact_match(told(["a, b"]), ["a b"]) == [0]


def longest_common(a, b):
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest_common(a[1:], b[1:])
    return max(longest_common(a[1:], b), longest_common(a, b[1:]))


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence_of_words():
    pytest.importorskip("rouge_score")
    expected = []
    for answer, truth in PAIRS:
        a, t = answer.lower().split(), truth.lower().split()
        common = longest_common(a, t)
        expected.append(0 if not common else 2 * common / (len(a) + len(t)))
    assert rouge_l(ANSWERS, TRUTHS) == pytest.approx(expected)


def test_bleu_is_the_brevity_penalty_times_the_mean_precision_of_one_to_four_words():
    pytest.importorskip("sacrebleu")
    precisions = []
    for n in range(1, 5):
        right = total = 0
        for answer, truth in PAIRS:
            a, t = answer.split(), truth.split()
            grams, there = (collections.Counter(tuple(w[i : i + n]) for i in range(len(w) - n + 1)) for w in (a, t))
            right += sum((grams & there).values())
            total += sum(grams.values())
        precisions.append(right / total)
    assert min(precisions) > 0  # so nothing is smoothed
    lengths = [sum(len(pair[side].split()) for pair in PAIRS) for side in (0, 1)]
    brevity = min(1, math.exp(1 - lengths[1] / lengths[0]))
    expected = brevity * math.exp(sum(map(math.log, precisions)) / 4)
    assert bleu(ANSWERS, TRUTHS) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4, 5], [5, 5, 0], [1, 4, 4, 2], [2], [3, 0, 3, 1, 0, 5]])
def test_bleu_of_a_draw_is_that_of_its_samples_also_where_it_is_smoothed(places):
    pytest.importorskip("sacrebleu")
    expected = bleu([ANSWERS[i] for i in places], [TRUTHS[i] for i in places])
    assert bleu_resampled(ANSWERS, TRUTHS)(places) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "module", "package"),
    [(bleu, "sacrebleu", "sacrebleu"), (rouge_l, "rouge_score.rouge_scorer", "rouge-score")],
)
def test_a_missing_library_is_named(monkeypatch, metric, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=f"needs {package}: pip install {package}"):
        metric(ANSWERS, TRUTHS)


class TestAnswers:
    def made(self, losses=(0.5, 9.0, 1.5), known=(True, False, True), answers=("a b", "c", "d")):
        measures = {
            "exact_match": MEASURES["exact_match"],
            "length": Measure(lambda a, t: float(len(a)), higher_is_better=False),
        }
        given = None if answers is None else told(answers)
        truths = [t if k else None for t, k in zip(["a b", "c", "e"], known, strict=True)]
        return Answers(measures, torch.tensor(losses), torch.tensor(known), truths, given)

    def test_samples_without_truth_are_left_out_and_counted(self):
        found = self.made()
        assert (found.samples, found.without_truth) == (2, 1)
        assert found.compute() == {"exact_match": 0.5, "length": 2, HEAD_LOSS: 1}
        assert found.per_sample("exact_match") == [1, 0]
        assert found.per_sample(HEAD_LOSS) == [0.5, 1.5]
        assert found.per_sample("length") is None  # one figure of all

    def test_a_draw_computes_nothing_anew_that_can_be_had_of_what_is_there(self):
        asked = []

        def each(answers, truths):
            asked.append(len(answers))
            return [float(len(one["text"])) for one in answers]

        def whole(answers, truths):
            return sum(each(answers, truths)) / len(answers)

        def resampled(answers, truths):
            values = each(answers, truths)
            return lambda places: sum(values[i] for i in places) / len(places)

        measures = {"each": Measure(each), "known": Measure(whole, resampled=resampled), "whole": Measure(whole)}
        answers = told(["a", "bb", "cccc"])
        found = Answers(measures, torch.ones(3), torch.tensor([True, False, True]), ["x", None, "y"], answers)
        draws = [found.drawn(torch.tensor([1, 1])), found.drawn(torch.tensor([0, 1]))]
        values = [{name: measure() for name, measure in draw.items()} for draw in draws]
        assert values == [dict.fromkeys(measures, value) | {HEAD_LOSS: 1.0} for value in (4.0, 2.5)]
        assert asked == [2, 2, 2, 2, 2, 2]  # each, known, whole; known by its samples; whole of each draw
        assert found.resampled(torch.tensor([0, 1])).keys() == {"each", HEAD_LOSS}

    def test_whether_higher_is_better(self):
        assert [self.made().higher_is_better(name) for name in ("exact_match", "length", HEAD_LOSS)] == [
            True,
            False,
            False,
        ]

    def test_without_samples_every_metric_is_none(self):
        found = self.made(known=(False,) * 3)
        assert found.compute() == {"exact_match": None, "length": None, HEAD_LOSS: None}
        assert found.per_sample("exact_match") is None

    def test_without_answers_only_the_loss_can_be_computed(self):
        found = self.made(answers=None)
        assert found.compute([HEAD_LOSS]) == {HEAD_LOSS: 1}
        with pytest.raises(UsageError, match="exact_match needs answers, and none were generated"):
            found.compute()

    def test_an_unknown_name_is_an_error(self):
        with pytest.raises(UsageError, match="there is no metric lenght here; did you mean length"):
            self.made().compute(["lenght"])
        with pytest.raises(UsageError, match="there is no metric lenght here"):
            self.made().higher_is_better("lenght")

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_loss_that_is_not_finite_is_an_error(self, bad):
        with pytest.raises(MmkitError, match="1 of 2 losses are not finite"):
            self.made(losses=(bad, math.nan, 1.0)).compute([HEAD_LOSS])

    def test_a_kind_has_the_measures_of_its_transform_else_mmkits(self):
        class Own:
            measures: ClassVar = {"mine": Measure(lambda a, t: 1.0)}

        assert list(measures_of(Own(), "text")) == ["mine"]
        assert list(measures_of(object(), "text")) == ["exact_match", "bleu", "rouge_l"]
        assert measures_of(object(), "graph") == {}
