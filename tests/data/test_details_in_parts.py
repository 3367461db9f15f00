"""Details of features go with them where a batch is put together of groups, or taken apart."""

import torch

from mmkit.contract import Features
from mmkit.data.grouping import Grouped
from mmkit.training.micro_batches import micro_batches


def features(count, steps, start):
    numbers = torch.arange(start, start + count).float()
    return Features.of(
        numbers[:, None, None].expand(count, steps, 2),
        torch.ones(count, steps, dtype=torch.bool),
        details={"one": numbers, "attention.a": numbers[:, None].expand(count, steps)},
    )


def test_groups_are_joined_with_zeros_behind_shorter_details():
    place = torch.tensor([2, 0, 1])
    joined = Grouped([{"mask": torch.ones(2, 1).bool()}, {"mask": torch.ones(1, 3).bool()}], place).joined(
        [features(2, 1, 0), features(1, 3, 5)]
    )
    assert joined.details["one"].tolist() == [5, 0, 1]
    assert joined.details["attention.a"].tolist() == [[5, 5, 5], [0, 0, 0], [1, 0, 0]]


def test_a_part_of_a_batch_has_its_own_details():
    truth = {"mask": torch.ones(4).bool()}
    parts = [batch["a"].details["one"].tolist() for batch, _ in micro_batches({"a": features(4, 2, 0)}, truth, 2)]
    assert parts == [[0, 1], [2, 3]]
