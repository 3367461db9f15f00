"""Energy-weighted fusion (QMF): each input counts by how much its own output speaks for any class at all.

Zhang, Wu, Zhang, Hu, Fu, Zhou and Peng, "Provable Dynamic Fusion for Low-Quality Multimodal Data", ICML 2023,
https://arxiv.org/abs/2306.02050. The authors' code was read, not the paper. What differs: an output is centred first,
without which a constant that is added to all of its logits, and changes nothing of what it predicts, changes its
weight, and may turn it negative; no gradient passes through the weights, as in the code for texts and images and not in
that for depth; missing inputs.

Axes: B batch, M inputs, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from mmkit.contract import Features, Target
from mmkit.layers.vectors import one_token, weighed


class EnergyFusion(nn.Module):
    """The sum of the outputs, each times its confidence w_m = scale * logsumexp(o_m - mean(o_m)).

    The energy of an output is -logsumexp of its logits. Centred, an output that does not tell classes apart weighs
    scale * log(C), the least there is. Weights do not sum to 1, so what many inputs are sure of is sharper. A missing
    input adds nothing. Where all are missing, all classes are equally likely.

    Args:
        widths: width of the output of each input, by name; all are C.
        target: what is predicted; classes.
        scale: of the confidences.
        centred: whether the mean of an output's logits is taken from them before its energy; false is as published.

    Raises:
        ValueError: the target is no class, or the outputs are not of its size.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        target: Target,
        *,
        scale: Annotated[float, Gt(0)] = 0.1,
        centred: bool = True,
    ) -> None:
        super().__init__()
        if target.kind != "classes":
            raise ValueError(
                f"energy is of the logits of classes; the target is {target.kind!r}: take late or log-pool"
            )
        if any(size != target.size for size in widths.values()):
            raise ValueError(f"each output has the target's size, {target.size}; got {dict(widths)}")
        self.width = target.size
        self.inputs = tuple(widths)
        self.scale = scale
        self.centred = centred

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 C], the output of the model; the details `confidence.INPUT` [B].

        That of a missing input says nothing: it is that of equal logits.
        """
        outputs = [features[name].vector() for name in self.inputs]  # [B C] each, zero where missing
        confidences = [self.scale * self._energy(output) for output in outputs]  # [B] each
        weights = [confidence.detach().unsqueeze(1) for confidence in confidences]
        fused = one_token(weighed(outputs, weights), features, self.inputs)
        of_inputs = zip(self.inputs, confidences, strict=True)
        return replace(fused, details={f"confidence.{name}": told for name, told in of_inputs})

    def _energy(self, output: Tensor) -> Tensor:
        """[B], less its sign, of [B C]."""
        energy = output.logsumexp(1)
        return energy - output.mean(1) if self.centred else energy
