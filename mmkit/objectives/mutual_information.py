"""CLUB: an upper bound of what two inputs say about each other, which is made small.

Cheng, Hao, Dai, Liu, Gan and Carin, "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", ICML 2020,
https://arxiv.org/abs/2006.12013. What differs:

- q is trained in the same step as what it measures, in place of a loop of its own: on features through which no
  gradient passes, and measures with weights through which none passes.
- Features are standardised over the batch. q's variance is bounded, so that else the bound would fall to zero by
  shrinking the features, which changes nothing of their information.
- Both ways for each pair of inputs, q(y | x) and q(x | y), so that none is the first.
- An estimate below zero, which information never is, counts as zero and teaches nothing.

Axes: B batch, D an input's width, E another's, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, mean_over_pairs, standardised, wide


class MutualInformationObjective(nn.Module):
    """mean_i (log q(y_i | x_i) - mean_j log q(y_j | x_i)), and what trains q: -log q(y_i | x_i).

    q(y | x) is normal, with mean and variance by layers that read x; the variance of each number is between 1/e and e.
    The loss of q is zero at the least: the constant of the least variance is added. It is a loss of the whole batch,
    the mean over the pairs of inputs and both ways, and the same for each of its samples; a pair of which fewer than
    two rows have both counts nothing.

    Args:
        hidden: H, the width of the hidden layer of q.
        weight: factor of this loss, which is added to the loss of the head.

    Raises:
        ValueError: fewer than two inputs.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        *,
        hidden: Annotated[int, Gt(0)] = 64,
        weight: Annotated[float, Gt(0)] = 0.01,
    ) -> None:
        super().__init__()
        check_pairs(widths, "mutual-information")
        self.inputs = tuple(widths)
        self.between = nn.ModuleDict(
            {
                f"{given}__{of}": Conditional(widths[given], widths[of], hidden)
                for given in widths
                for of in widths
                if given != of
            }
        )
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:  # noqa: ARG002
        """[B], one number."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() for f in features]  # [B] each
        vectors = [wide(f.vector()) for f in features]

        def loss(a: int, b: int, both: Tensor) -> Tensor:
            first, second = standardised(vectors[a], both), standardised(vectors[b], both)
            return (self._apart(a, b, first, second, both) + self._apart(b, a, second, first, both)) / 2

        return mean_over_pairs(present, loss, self.weight)

    def _apart(self, given: int, of: int, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """What `q(y | x)` learns by, and the bound that makes both tell less of each other."""
        q = self.between[f"{self.inputs[given]}__{self.inputs[of]}"]
        learnt: Tensor = q(x.detach(), y.detach(), rows)
        return learnt + q.bound(x, y, rows).clamp(min=0)  # type: ignore[operator]


class Conditional(nn.Module):
    """q(y | x): a normal distribution of each number of y, by a network that reads x.

    Args:
        given: D of x.
        of: E of y.
        hidden: H.
    """

    def __init__(self, given: int, of: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(given, hidden)
        self.out = nn.Linear(hidden, 2 * of)

    def forward(self, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """The mean over `rows` of -log q(y | x), but for a constant; zero at the least. It trains q.

        Args:
            x: [B D].
            y: [B E].
            rows: [B] bool.
        """
        mean, log_variance = self._of(x, fixed=False)
        terms = (y - mean).square() * (-log_variance).exp() + log_variance + 1  # of numbers, each 0 at the least
        return _mean(terms.sum(1) / 2, rows)

    def bound(self, x: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        """The mean over `rows` of log q(y_i | x_i) - mean_j log q(y_j | x_i); no gradient reaches q.

        The mean over all j is that of y and of its squares; no pair of rows is formed.
        """
        mean, log_variance = self._of(x, fixed=True)
        shown = rows.unsqueeze(1).to(y.dtype)
        count = shown.sum().clamp(min=1)
        middle, squares = (y * shown).sum(0) / count, (y.square() * shown).sum(0) / count  # [E] each
        of_others = squares - 2 * mean * middle + mean.square()  # [B E], the mean of (y_j - mean)^2
        terms = (of_others - (y - mean).square()) * (-log_variance).exp()
        return _mean(terms.sum(1) / 2, rows)

    def _of(self, x: Tensor, *, fixed: bool) -> tuple[Tensor, Tensor]:
        """Mean and log variance [B E] each, by weights as they are where `fixed`."""
        layers = (self.hidden, self.out)
        first, second = ([p.detach() if fixed else p for p in (one.weight, one.bias)] for one in layers)
        mean, log_variance = wide(F.linear(F.linear(x, *first).relu(), *second)).chunk(2, 1)
        return mean, log_variance.tanh()


def _mean(values: Tensor, rows: Tensor) -> Tensor:
    """Of [B], over those rows."""
    return values.masked_fill(~rows, 0).sum() / rows.sum().clamp(min=1)
