"""What a fusion took within encoders goes with features: into a batch of groups, parts of one, pytrees, processes."""

import pickle

import pytest
import torch
from torch.func import vmap

from mmkit.contract import Features
from mmkit.data.grouping import Grouped
from mmkit.model.missing import Absence, Missing
from mmkit.training.micro_batches import micro_batches


def features(count, start=0):
    numbers = torch.arange(start, start + count).float() + 1
    mask = torch.ones(count, 2, dtype=torch.bool)
    mask[-1] = False
    return Features.of(numbers[:, None, None].expand(count, 2, 3), mask, inner={"place": numbers})


def test_it_is_zero_where_the_input_is_missing():
    assert features(3).inner["place"].tolist() == [1, 2, 0]
    assert Features.of(torch.ones(2, 3), inner={"place": torch.ones(2)}).inner["place"].tolist() == [1, 1]


def test_groups_are_joined():
    place = torch.tensor([2, 0, 1, 3])
    groups = [{"mask": torch.ones(2, 2).bool()}, {"mask": torch.ones(2, 2).bool()}]
    joined = Grouped(groups, place).joined([features(2), features(2, 5)])
    assert joined.inner["place"].tolist() == [6, 1, 0, 0]


def test_a_part_of_a_batch_has_its_own():
    truth = {"mask": torch.ones(4).bool()}
    parts = [batch["a"].inner["place"].tolist() for batch, _ in micro_batches({"a": features(4)}, truth, 2)]
    assert parts == [[1, 2], [3, 0]]


@pytest.mark.parametrize("change", [lambda one: one.to("cpu"), lambda one: pickle.loads(pickle.dumps(one))])
def test_it_is_moved_and_pickled(change):
    assert change(features(3)).inner["place"].tolist() == [1, 2, 0]


def test_it_is_a_leaf_of_a_pytree():
    leaves, spec = torch.utils._pytree.tree_flatten(features(3))
    assert torch.utils._pytree.tree_unflatten(leaves, spec).inner["place"].tolist() == [1, 2, 0]
    doubled = vmap(lambda one: one.changed(lambda part: 2 * part))(features(3))
    assert doubled.inner["place"].tolist() == [2, 4, 0]
    assert torch.equal(doubled.tokens, 2 * features(3).tokens)


def test_an_input_that_is_left_out_for_a_token_shows_nothing_of_what_it_had_within():
    torch.manual_seed(0)
    given = {name: Features.of(torch.randn(40, 1, 3), inner={"place": torch.rand(40, 2) + 1}) for name in "ab"}
    found = Missing({"a": 3, "b": 3}, Absence("token", 0.5)).train()(given)
    for name, part in found.items():
        hidden = (part.tokens != given[name].tokens).any(2).squeeze(1)
        assert hidden.any()
        assert not part.inner["place"][hidden].any()
        assert torch.equal(part.inner["place"][~hidden], given[name].inner["place"][~hidden])
