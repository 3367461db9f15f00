"""Ranks against the slow, obvious form: every candidate is compared, one query after the other."""

import pytest
import torch

from mmkit.errors import MmkitError, UsageError
from mmkit.metrics.ranking import chance, rank_metrics, ranks


def one_answer_each(count):
    """Labels under which every sample has one right answer: itself."""
    return torch.arange(count).unsqueeze(1)


def slow(queries, candidates, ours, theirs):
    """One plus the number of wrong candidates that rank before the best right one."""
    places = []
    for query, labels in zip(queries, ours, strict=True):
        similarity = [float(query @ c / query.norm() / c.norm()) for c in candidates]
        right = [bool((labels == other).any()) for other in theirs]
        best = max(s for s, yes in zip(similarity, right, strict=True) if yes)
        places.append(1 + sum(s >= best for s, yes in zip(similarity, right, strict=True) if not yes))
    return places


@pytest.mark.parametrize("at_once", [1, 50, 10_000])
@pytest.mark.parametrize("answers", [3, 40])
def test_ranks_are_those_of_the_slow_form(at_once, answers):
    generator = torch.Generator().manual_seed(answers)
    queries, candidates = (torch.randn(count, 5, generator=generator, dtype=torch.float64) * 3 for count in (17, 40))
    # Two labels each; the first column ensures that every query has a right answer.
    ours = torch.stack((torch.arange(17) % answers, torch.randint(9, (17,), generator=generator)), 1)
    theirs = torch.stack((torch.arange(40) % answers, torch.randint(9, (40,), generator=generator)), 1)
    found = ranks(queries, candidates, (ours, theirs), at_once=at_once)
    assert found.tolist() == slow(queries, candidates, ours, theirs)
    assert found.max() > 1


def test_a_perfect_order_and_a_reversed_one():
    points = torch.eye(4)
    assert ranks(points, points * 7, (one_answer_each(4), one_answer_each(4))).tolist() == [1, 1, 1, 1]
    assert ranks(points, -points, (one_answer_each(4), one_answer_each(4))).tolist() == [4, 4, 4, 4]


def test_constant_vectors_get_the_worst_ranks():
    same = torch.ones(6, 3)
    assert ranks(same, same, (one_answer_each(6), one_answer_each(6))).tolist() == [6] * 6
    assert ranks(torch.zeros(6, 3), same, (one_answer_each(6), one_answer_each(6))).tolist() == [6] * 6  # zero vectors
    # Of six candidates, three are wrong; all three rank before a right one.
    names = torch.tensor([0, 0, 0, 1, 1, 1]).unsqueeze(1)
    assert ranks(same, same, (names, names)).tolist() == [4] * 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_vectors_tie_wherever_they_stand(dtype):
    # A matrix product rounds the columns at its edge otherwise than those within.
    for count, width in [(7, 300), (33, 300), (65, 768), (1001, 64)]:
        same = torch.randn(width, generator=torch.Generator().manual_seed(0), dtype=dtype).expand(count, -1)
        assert set(ranks(same, same, (one_answer_each(count), one_answer_each(count))).tolist()) == {count}


def test_half_precision_is_compared_in_float32():
    # In bfloat16, the similarities of both candidates would be 1.
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.03], [1.0, 0.015]])
    names = (torch.tensor([[1]]), torch.tensor([[0], [1]]))
    assert ranks(queries.bfloat16(), candidates.bfloat16(), names).tolist() == [1]


def test_rank_metrics_by_hand():
    found = rank_metrics(torch.tensor([1, 2, 5, 11]))
    assert found == {
        "recall@1": 0.25,
        "recall@5": 0.75,
        "recall@10": 0.75,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 11) / 4, abs=1e-15),
        "median_rank": 3.5,
    }
    assert rank_metrics(torch.tensor([3]), at=(2, 3)) == {"recall@2": 0, "recall@3": 1, "mrr": 1 / 3, "median_rank": 3}
    assert set(rank_metrics(torch.tensor([], dtype=torch.long)).values()) == {None}


def test_chance_is_the_share_of_right_answers():
    assert chance(torch.arange(8).repeat(2, 1).T, torch.arange(8)) == 1 / 8
    names = torch.randint(4, (30, 2), generator=torch.Generator().manual_seed(1))
    right = [[bool((one == other).any()) for other in names] for one in names]
    assert chance(names, torch.arange(len(names))) == pytest.approx(
        torch.tensor(right).double().mean().item(), abs=1e-12
    )


@pytest.mark.parametrize(
    ("queries", "candidates", "names", "error", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), one_answer_each(2), UsageError, "queries have 3 values and candidates 4"),
        (
            torch.full((2, 3), torch.nan),
            torch.ones(2, 3),
            one_answer_each(2),
            MmkitError,
            "2 of 2 query vectors are not finite",
        ),
        (torch.ones(2, 3), torch.full((2, 3), torch.inf), one_answer_each(2), MmkitError, "2 of 2 candidate vectors"),
        (
            torch.ones(2, 3),
            torch.ones(2, 3),
            one_answer_each(2) + 1,
            UsageError,
            "no right answer among the candidates",
        ),
    ],
)
def test_vectors_that_cannot_be_ranked_are_an_error(queries, candidates, names, error, message):
    with pytest.raises(error, match=message):
        ranks(queries, candidates, (names, one_answer_each(2)))
