"""Ranks against the slow, obvious form: every candidate looked at, one query after the other."""

import pytest
import torch

from mmkit.errors import MmkitError, UsageError
from mmkit.metrics.retrieval import chance, figures, ranks


def alone(count):
    """Every sample an answer of its own."""
    return torch.arange(count).unsqueeze(1)


def slow(queries, candidates, ours, theirs):
    """Wrong candidates that stand before the best right one, plus one."""
    found = []
    for query, names in zip(queries, ours, strict=True):
        near = [float(query @ c / query.norm() / c.norm()) for c in candidates]
        right = [bool((names == other).any()) for other in theirs]
        best = max(n for n, yes in zip(near, right, strict=True) if yes)
        found.append(1 + sum(n >= best for n, yes in zip(near, right, strict=True) if not yes))
    return found


@pytest.mark.parametrize("at_once", [1, 50, 10_000])
@pytest.mark.parametrize("answers", [3, 40])
def test_ranks_are_those_of_the_slow_form(at_once, answers):
    generator = torch.Generator().manual_seed(answers)
    queries, candidates = (torch.randn(count, 5, generator=generator, dtype=torch.float64) * 3 for count in (17, 40))
    # Two ways to be the same; the first column alone makes sure of a right answer.
    ours = torch.stack((torch.arange(17) % answers, torch.randint(9, (17,), generator=generator)), 1)
    theirs = torch.stack((torch.arange(40) % answers, torch.randint(9, (40,), generator=generator)), 1)
    found = ranks(queries, candidates, (ours, theirs), at_once=at_once)
    assert found.tolist() == slow(queries, candidates, ours, theirs)
    assert found.max() > 1


def test_a_perfect_and_a_reversed_order():
    points = torch.eye(4)
    assert ranks(points, points * 7, (alone(4), alone(4))).tolist() == [1, 1, 1, 1]
    assert ranks(points, -points, (alone(4), alone(4))).tolist() == [4, 4, 4, 4]


def test_vectors_that_are_all_alike_find_nothing():
    same = torch.ones(6, 3)
    assert ranks(same, same, (alone(6), alone(6))).tolist() == [6] * 6
    assert ranks(torch.zeros(6, 3), same, (alone(6), alone(6))).tolist() == [6] * 6  # without a direction
    # Where an answer is right three times in six, three wrong ones stand before it.
    names = torch.tensor([0, 0, 0, 1, 1, 1]).unsqueeze(1)
    assert ranks(same, same, (names, names)).tolist() == [4] * 6


def test_half_precision_is_compared_in_more():
    # In bfloat16, the similarities of both candidates would be 1.
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.03], [1.0, 0.015]])
    names = (torch.tensor([[1]]), torch.tensor([[0], [1]]))
    assert ranks(queries.bfloat16(), candidates.bfloat16(), names).tolist() == [1]


def test_figures_by_hand():
    found = figures(torch.tensor([1, 2, 5, 11]))
    assert found == {
        "recall@1": 0.25,
        "recall@5": 0.75,
        "recall@10": 0.75,
        "mrr": pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 11) / 4, abs=1e-15),
        "median_rank": 3.5,
    }
    assert figures(torch.tensor([3]), at=(2, 3)) == {"recall@2": 0, "recall@3": 1, "mrr": 1 / 3, "median_rank": 3}
    assert set(figures(torch.tensor([], dtype=torch.long)).values()) == {None}


def test_chance_is_the_share_of_right_answers():
    assert chance(torch.arange(8).repeat(2, 1).T) == 1 / 8
    names = torch.randint(4, (30, 2), generator=torch.Generator().manual_seed(1))
    right = [[bool((one == other).any()) for other in names] for one in names]
    assert chance(names) == pytest.approx(torch.tensor(right).double().mean().item(), abs=1e-12)


@pytest.mark.parametrize(
    ("queries", "candidates", "names", "error", "said"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), alone(2), UsageError, "vectors of 3 and of 4 values cannot be compared"),
        (torch.full((2, 3), torch.nan), torch.ones(2, 3), alone(2), MmkitError, "2 of 2 query vectors are not finite"),
        (torch.ones(2, 3), torch.full((2, 3), torch.inf), alone(2), MmkitError, "2 of 2 candidate vectors"),
        (torch.ones(2, 3), torch.ones(2, 3), alone(2) + 1, UsageError, "no right answer among the candidates"),
    ],
)
def test_what_cannot_be_ranked_is_said(queries, candidates, names, error, said):
    with pytest.raises(error, match=said):
        ranks(queries, candidates, (names, alone(2)))
