"""Of many samples some are queries, among all as candidates: time grows with the samples, not with their square."""

import torch

from mmkit.alignment import pairs
from mmkit.alignment.pairs import queries_of, ranks_both_ways
from mmkit.alignment.retrieval import Retrieval
from mmkit.metrics.ranking import chance, ranks


def test_queries_are_drawn_and_candidates_are_all(monkeypatch):
    monkeypatch.setattr(pairs, "MOST", 20)
    draw = torch.Generator().manual_seed(1)
    a = torch.randn(100, 6, generator=draw)
    b = a + 0.8 * torch.randn(100, 6, generator=draw)
    names = torch.stack((torch.arange(100) // 3, torch.arange(100) // 2), 1)
    chosen = queries_of(100)
    assert len(chosen) == 20 == len(set(chosen.tolist()))
    assert chosen.tolist() == sorted(chosen.tolist()) != list(range(20))
    assert torch.equal(queries_of(100), chosen)
    one, other = ranks_both_ways(a, b, names)
    assert torch.equal(one, ranks(a, b, (names, names))[chosen])
    assert torch.equal(other, ranks(b, a, (names, names))[chosen])
    right = (names[:, None] == names[None]).any(-1)
    assert chance(names, chosen) == float(right[chosen].double().mean())


def test_few_are_all_queries():
    assert queries_of(7).tolist() == list(range(7))


def test_the_sentence_says_so():
    def said(queries):
        options = type("Options", (), {"split": "test"})()
        return Retrieval("t", options, {}, 50_000, queries, 0, {}, {}, 0.0, None, {}, {}).sentence()

    assert said(10_000) == "50000 samples of the test split of t, 10,000 of them, drawn with seed 0, are queries."
    assert said(50_000) == "50000 samples of the test split of t."
