"""Joined tokens: the inputs one after the other, and what they get, back to their own."""

import torch
from torch import nn

from mmkit.contract import Features
from mmkit.layers.tokens import attention_shares, first_of_missing, joined_tokens, mean_of_inputs


def test_tokens_of_chosen_inputs_stand_one_after_the_other_and_shares_go_back():
    torch.manual_seed(0)
    given = {
        "a": Features.of(torch.randn(2, 3, 4), torch.tensor([[1, 0, 1], [0, 0, 0]]).bool()),
        "b": Features.of(torch.randn(2, 1, 5)),
        "c": Features.of(torch.randn(2, 2, 4)),
    }
    project = nn.ModuleDict({"a": nn.Linear(4, 6), "b": nn.Linear(5, 6), "c": nn.Linear(4, 6)})
    tokens, mask = joined_tokens(given, project)
    assert tokens.shape == (2, 6, 6)
    assert torch.equal(tokens[:, 3:4], project["b"](given["b"].tokens))
    assert torch.equal(mask[:, :3], given["a"].mask)
    tokens, mask = joined_tokens(given, project, ("c", "a"))
    assert torch.equal(tokens[:, 2:], project["a"](given["a"].tokens))
    assert mask[:, :2].all()
    shares = attention_shares(given, ("c", "a"), torch.arange(10.0).view(2, 5))
    assert shares["attention.c"].tolist() == [[0, 1], [5, 6]]
    assert shares["attention.a"].tolist() == [[2, 3, 4], [7, 8, 9]]


def test_the_first_place_is_free_where_an_input_is_missing():
    features = Features.of(torch.ones(3, 2, 4), torch.tensor([[0, 1], [0, 0], [1, 1]]).bool())
    assert first_of_missing(features).tolist() == [[False, False], [True, False], [False, False]]


def test_the_mean_is_of_the_inputs_that_are_there():
    parts = [torch.tensor([[1.0, 2.0]] * 3), torch.tensor([[3.0, 6.0]] * 3), torch.tensor([[5.0, 1.0]] * 3)]
    there = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0]]).bool()
    assert mean_of_inputs(parts, there).tolist() == [[3, 3], [3, 1.5], [0, 0]]
    assert mean_of_inputs(parts, there, torch.full((3, 2), 9.0)).tolist() == [[3, 3], [3, 1.5], [9, 9]]
