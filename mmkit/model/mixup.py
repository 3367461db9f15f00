"""Mixup of features: two samples of a batch mixed after encoding, and their losses with them.

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, https://arxiv.org/abs/1710.09412. Features are
mixed in place of raw values, which words and cells of a table do not allow, as in Verma et al., "Manifold Mixup: Better
Representations by Interpolating Hidden States", ICML 2019, https://arxiv.org/abs/1806.05236; tokens one by one, where
padding is zero, as in Guo, Mao and Zhang, "Augmenting Data with Mixup for Sentence Classification: An Empirical Study",
2019, https://arxiv.org/abs/1905.08941.

Each sample i has a partner j, drawn from the batch, and a share l = max(b, 1 - b) of its own, b ~ Beta(alpha, alpha).
The fusion sees l x_i + (1 - l) x_j of every input. The loss is l times that with the truth of i and 1 - l times that
with the truth of j, which for classes is the loss with the mixed truth.

Differs from Zhang et al.: b is drawn for each sample, as their formula has it and their code has not; the greater share
is the sample's own, by which the pairs are the same and a sample keeps its place. A sample that has other inputs than
its partner, or whose partner has no truth, stays as it is (l = 1): nothing is mixed with what is missing.

Axes: B batch, T tokens, D width, M inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmkit.contract import Batch, Features

TARGETS = frozenset({"classes", "labels", "scalar"})
"""Kinds of target whose losses may be mixed."""


@dataclass(frozen=True)
class Mix:
    """Which samples are mixed, and how.

    Args:
        partner: [B] of each sample.
        share: [B], its own.
    """

    partner: Tensor
    share: Tensor

    @staticmethod
    def drawn(features: Mapping[str, Features], known: Tensor, alpha: float) -> Mix:
        """Partners and shares for a batch.

        Args:
            features: of each input.
            known: [B] bool, True where there is truth.
            alpha: of the Beta distribution.
        """
        partner = torch.rand(known.shape, device=known.device).argsort()
        has = torch.stack([*(part.present() for part in features.values()), known], 1)  # [B M + 1]
        alike = (has == has[partner]).all(1)
        share = beta(alpha, known.shape, next(iter(features.values())).tokens)
        share = torch.maximum(share, 1 - share)
        return Mix(partner, torch.where(alike, share, 1.0))

    def features(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """The mixed features; penalties are those of the sample itself."""
        return {name: self._mixed(part) for name, part in features.items()}

    def _mixed(self, features: Features) -> Features:
        changed = self.share < 1
        mask = features.mask | (features.mask[self.partner] & changed.unsqueeze(1))
        return replace(features.changed(self._between), mask=mask)

    def _between(self, values: Tensor) -> Tensor:
        share = self.share.to(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
        return torch.lerp(values[self.partner], values, share)

    def truth(self, truth: Batch) -> dict[str, Tensor]:
        """The truth of the partners."""
        return {name: leaf[self.partner] for name, leaf in truth.items()}

    def losses(self, own: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """[B] by name, of those with the sample's own truth and of those with its partner's."""
        # A share of 1 has nothing of the other loss, whatever that is.
        return {
            name: torch.where(self.share < 1, torch.lerp(others[name], loss, self.share.to(loss.dtype)), loss)
            for name, loss in own.items()
        }


def beta(alpha: float, shape: torch.Size, like: Tensor) -> Tensor:
    """Draws from Beta(alpha, alpha), in the dtype of the losses.

    Of two draws of Gamma(alpha), as logarithms: Gamma(alpha + 1) times U^(1 / alpha), which for a small alpha is too
    small for float32.
    """
    kind = torch.promote_types(like.dtype, torch.float32)
    shapes = torch.full((2, *shape), alpha + 1, device=like.device, dtype=kind)
    logs = torch._standard_gamma(shapes).log()  # noqa: SLF001 (the public class clamps in place: no rule for vmap)
    uniform = torch.rand(shapes.shape, device=like.device, dtype=kind).clamp(min=torch.finfo(kind).tiny)
    first, second = (logs + uniform.log() / alpha).unbind()
    return torch.sigmoid(first - second)
