"""Independence: what one input's features tell of another's is removed, by the Hilbert-Schmidt criterion (HSIC).

Gretton, Bousquet, Smola and Schoelkopf, "Measuring Statistical Dependence with Hilbert-Schmidt Norms", ALT 2005,
https://doi.org/10.1007/11564089_7. What differs: the criterion is lowered, and between all pairs of inputs; features
are standardised first, so that it is no way out to make them small; the Gaussian kernel's width is the mean squared
distance, which of standardised features is known, in place of a median; the linear kernel is divided by the width of
the input. The estimate is the biased one, from memory of the paper; the tests compare it with its matrices.

Axes: B batch, D an input's width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional as F

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.layers.pairs import check_pairs, exact_product, mean_over_pairs, standardised, wide


class IndependenceObjective(nn.Module):
    """tr(K H L H) / (n - 1)^2, K and L the kernels of two inputs over n rows, H their centring; 0 of independent ones.

    Inputs that say the same are drawn apart, so that each encoder keeps what the others do not tell. "gaussian" is
    exp(-|a - b|^2 / 2D), which sees every dependence; "linear" is a b / D, which makes it the mean squared correlation
    of their numbers, times (n / (n - 1))^2. With `given=truth` features are taken less the mean of their class: inputs
    may then tell of the class alike, and of nothing else. It is a loss of the whole batch, the mean over the pairs of
    inputs, and the same for each of its samples; it is over the rows that have both inputs, and truth where that is
    given, and a pair of which fewer than two rows have both counts nothing. Of independent inputs the estimate is not
    0, but up to about 1 / n: take large batches. It has no parameters, so it acts on encoders alone: where all are
    frozen it changes nothing.

    Args:
        kernel: "gaussian" or "linear".
        given: "nothing", or the "truth", of classes.
        weight: factor of this loss, which is added to the loss of the head. The criterion of two equal inputs is of the
            size of .02.

    Raises:
        ValueError: fewer than two inputs, or `given=truth` and the target is not classes.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        width: int,  # noqa: ARG002
        target: Target,
        *,
        kernel: Literal["gaussian", "linear"] = "gaussian",
        given: Literal["nothing", "truth"] = "nothing",
        weight: Annotated[float, Gt(0)] = 10.0,
    ) -> None:
        super().__init__()
        check_pairs(widths, "independence")
        if given == "truth" and target.kind != "classes":
            raise ValueError(f"given=truth takes the mean of each class; the target is {target.kind}: leave it out")
        self.inputs = tuple(widths)
        self.linear = kernel == "linear"
        self.classes = target.size if given == "truth" else 0
        self.weight = weight

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], one number."""
        features = [model_output.features[name] for name in self.inputs]
        present = [f.present() & truth["mask"] if self.classes else f.present() for f in features]  # [B] each
        vectors = [wide(f.vector()) for f in features]

        def loss(a: int, b: int, both: Tensor) -> Tensor:
            sides = [
                self._residual(vectors[place], truth, both) if self.classes else vectors[place] for place in (a, b)
            ]
            return self._criterion(standardised(sides[0], both), standardised(sides[1], both), both)

        return mean_over_pairs(present, loss, self.weight)

    def _residual(self, vectors: Tensor, truth: Batch, rows: Tensor) -> Tensor:
        """[B D] less the mean of each class over `rows`."""
        one_hot = F.one_hot(truth["label"].where(rows, 0), self.classes).to(vectors.dtype) * rows.unsqueeze(1)  # [B C]
        means = exact_product(one_hot.T, vectors) / one_hot.sum(0).clamp(min=1).unsqueeze(1)
        return vectors - exact_product(one_hot, means)

    def _criterion(self, one: Tensor, other: Tensor, rows: Tensor) -> Tensor:
        """From two standardised inputs [B D], zero where a row does not count."""
        count = rows.sum()
        scale = (count - 1).clamp(min=1).square()
        if self.linear:
            return exact_product(one.T, other).square().mean() / scale
        shown = rows.to(one.dtype)
        kernels = [_centred(_gaussian(side), shown) for side in (one, other)]
        return (kernels[0] * kernels[1]).sum().clamp(min=0) / scale


def _gaussian(values: Tensor) -> Tensor:
    """[B B]: exp(-|a - b|^2 / 2D) of the rows [B D]."""
    sizes = values.square().sum(1)
    squares = (sizes.unsqueeze(1) + sizes - 2 * exact_product(values, values.T)).clamp(min=0)
    return (-squares / (2 * values.shape[1])).exp()


def _centred(kernel: Tensor, shown: Tensor) -> Tensor:
    """H K H over the rows of weight 1, [B B], zero elsewhere."""
    count = shown.sum().clamp(min=1)
    kernel = kernel * shown.unsqueeze(1) * shown
    means = kernel.sum(0) / count  # a kernel is symmetric
    return (kernel - means - means.unsqueeze(1) + means.sum() / count) * shown.unsqueeze(1) * shown
