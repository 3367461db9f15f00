"""Batch norms of torch that count the rows which are there: against the same norm over those rows alone."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.layers.counted_norm import Counted, norms_in
from mmkit.pretrained.tuning import Tuned

THERE = torch.tensor([True, False, True, True, False])


class Activated(nn.BatchNorm2d):
    """With an activation in its forward pass, as those of timm."""

    def forward(self, values):
        self.num_batches_tracked.add_(1)
        return F.relu(
            F.batch_norm(
                values,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
        )


@pytest.fixture
def values():
    torch.manual_seed(0)
    values = 5 + torch.randn(5, 3, 4, 4, dtype=torch.float64)
    values[~THERE] = -100.0
    return values.requires_grad_()


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, Activated])
def test_it_is_the_norm_of_the_rows_that_are_there(values, kind):
    norm = kind(3).double()
    alone = copy.deepcopy(norm)
    norm.forward = Counted(norm, THERE)
    found, expected = norm(values)[THERE], alone(values[THERE])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(norm.state_dict(), alone.state_dict())
    weights = torch.randn_like(expected)
    grad = torch.autograd.grad((found * weights).sum(), [values, *norm.parameters()])
    torch.testing.assert_close(
        grad, torch.autograd.grad((expected * weights).sum(), [values, *alone.parameters()]), check_dtype=False
    )


def test_no_row_leaves_the_statistics_as_they_are(values):
    norm = nn.BatchNorm2d(3).double()
    norm.forward = Counted(norm, torch.zeros(5, dtype=torch.bool))  # type: ignore[assignment]
    assert norm(values).isfinite().all()
    assert norm.running_mean.eq(0).all()
    assert norm.running_var.eq(1).all()


@pytest.mark.parametrize("rows", [None, THERE])
def test_in_evaluation_it_is_torchs_own(values, rows):
    norm = Activated(3).double().eval()
    expected = norm(values)
    norm.forward = Counted(norm, rows)
    assert torch.equal(norm(values), expected)


class TestInABackbone:
    def tuned(self, tune="full", **rest):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Conv2d(3, 4, 1), Activated(4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
        return Tuned(backbone.double(), tune, blocks=["2"], **rest).train()

    @pytest.mark.parametrize("checkpointing", [False, True])
    def test_rows_that_are_not_there_change_nothing(self, values, checkpointing):
        tuned = self.tuned(checkpointing=checkpointing)
        alone = copy.deepcopy(tuned)
        found, expected = tuned(values, rows=THERE)[THERE], alone(values[THERE])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(tuned.state_dict(), alone.state_dict())
        found.square().sum().backward()
        expected.square().sum().backward()
        for one, other in zip(tuned.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)
        torch.testing.assert_close(tuned.state_dict(), alone.state_dict())

    def test_only_what_is_trained_counts_anew_and_nothing_is_left_behind(self):
        tuned = self.tuned("partial:1")
        assert ["forward" in vars(norm) for norm in norms_in(tuned)] == [False, True]
        pickle.dumps(tuned)
        tuned.eval()
        assert ["forward" in vars(norm) for norm in norms_in(tuned)] == [False, False]
