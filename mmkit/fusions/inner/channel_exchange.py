"""Channel exchange (CEN): a channel whose scale has shrunk to nothing is replaced by that of the other inputs.

Wang et al., "Deep Multimodal Fusion by Channel Exchanging", NeurIPS 2020, https://arxiv.org/abs/2011.05005. What
differs: the scales are those of a batch normalisation of this fusion, which follows each place, since an encoder need
have none of its own, nor show it; the paper reads those within its encoders, which share all their other weights. The
maps of different inputs have no positions in common, so a channel is replaced by the mean of the other over its
positions, unless `by` says otherwise. Inputs of unequal widths exchange the channels that all of them have. One linear
layer over the vectors of all inputs follows, where the paper has a decoder for each input. The published code exchanges
a channel wherever its scale is small; here only within the input's own share of the channels, whose scales are
penalised, so that no channel is lost to all inputs. There scales start at .1 and the penalty is .001, where that code
has 1 and .0002: in a training of some hundred steps no scale would come down to the threshold. The paper could not be
read here: the rest is that of its code.

Axes: B batch, M inputs, T positions, D' width at a place, H fused width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.layers.chosen import masked
from mmkit.layers.masked_norm import MaskedBatchNorm
from mmkit.layers.places import At, places_named, width_at
from mmkit.layers.vectors import one_token, there


class ChannelExchangeFusion(nn.Module):
    """At each place `X_m <- norm_m(X_m)`, then channel c from the others where its scale is small; then concatenation.

    Of the channels that all inputs have at a place, each input has a share of its own, the first the first: there alone
    may it be replaced, where |scale| < threshold, by the mean of the others that are present; where none is, it stays.
    What replaces it passes no gradient to its scale, which the penalty keeps small. At the place behind the encoders it
    is vectors that are exchanged. An input without places within its encoder takes part there alone.

    Args:
        widths: D of each input, by name.
        inner: widths within each encoder.
        width: H, the width of the fused features.
        threshold: of the absolute scale of a channel, below which it is replaced.
        shrink: weight of the penalty on the absolute scales of the channels that may be replaced, in training.
        start: the scales of the channels that may be replaced, at the start; those of all others start at 1.
        by: "mean", the mean of the other's channel over its positions, or "position", place by place, for maps that
            have the same positions, such as images of one scene.
        at: places counted from the end: "last", behind the encoders, "all", or numbers: [1, 2] is also before their
            last parts.

    Raises:
        ValueError: one input, or a place that fewer than two encoders have.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        inner: Mapping[str, tuple[int, ...]],
        *,
        width: Annotated[int, Gt(0)] = 128,
        threshold: Annotated[float, Gt(0)] = 0.02,
        shrink: Annotated[float, Ge(0)] = 1e-3,
        start: Annotated[float, Gt(0)] = 0.1,
        by: Literal["mean", "position"] = "mean",
        at: At = "all",
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"channels are exchanged between inputs; got {len(widths)} ({', '.join(widths)})")
        self.width = width
        self.shrink = shrink
        self.by_position = by == "position"
        self.places = _shared(at, inner)
        self.exchanges = nn.ModuleDict()
        for place in self.places:
            meet = {name: width_at(place, widths[name], inner[name]) for name in _with(place, inner)}
            self.exchanges[str(place)] = Exchange(meet, threshold, start)
        self.mix = nn.Linear(sum(widths.values()), width)
        self.inputs = tuple(widths)

    def exchange(self, place: int, features: Mapping[str, Features]) -> dict[str, Features]:
        """The features of a place, exchanged.

        Raises:
            ValueError: by position, and two maps have unequal numbers of positions.
        """
        layer = cast(Exchange, self.exchanges[str(place)])
        maps = {name: self._normal(layer, name, features[name]) for name in layer.norms}
        whole = {name: there(one).unsqueeze(2) for name, one in maps.items()}  # [B 1 1]
        if self.by_position:
            _check_positions(place, maps)
            shown = {name: one.tokens for name, one in maps.items()}
            real = {name: one.mask.unsqueeze(2) for name, one in maps.items()}  # [B T 1]
        else:
            shown = {name: one.vector().unsqueeze(1) for name, one in maps.items()}  # [B 1 D']
            real = whole
        changed = {}
        for name, one in maps.items():
            mask = one.mask.unsqueeze(2)
            tokens = torch.cat(layer.swapped(name, one.tokens, mask, shown, real), 2)
            pooled = one.pooled
            if pooled is not None:
                ends = {other: part.vector().unsqueeze(1) for other, part in maps.items()}
                pooled = torch.cat(layer.swapped(name, pooled.unsqueeze(1), whole[name], ends, whole), 2).squeeze(1)
            changed[name] = replace(features[name], tokens=tokens, pooled=pooled, penalties={}, details={})
        return changed

    def forward(self, features: Mapping[str, Features]) -> Features:
        """[B 1 H], with the penalty `shrink` in training."""
        parts = self._behind(features) if 1 in self.places else [features[name].vector() for name in self.inputs]
        fused = one_token(self.mix(torch.cat(parts, 1)), features, self.inputs)
        if self.training and self.shrink:
            penalty = torch.stack([cast(Exchange, layer).scales() for layer in self.exchanges.values()]).sum()
            fused.penalties["shrink"] = (self.shrink * penalty).expand(len(fused.mask))
        return fused

    def _behind(self, features: Mapping[str, Features]) -> list[Tensor]:
        """The vectors of the inputs, exchanged, in parts: [B ...] each."""
        layer = cast(Exchange, self.exchanges["1"])
        real = {name: None if features[name].complete else there(features[name]) for name in self.inputs}  # [B 1]
        vectors = {}
        for name, mask in real.items():
            every = there(features[name]) if mask is None else mask
            normal = layer.norms[name](features[name].vector(), every.squeeze(1))
            vectors[name] = normal if mask is None else masked(normal, mask)
        parts = []
        for name, vector in vectors.items():
            parts += layer.swapped(name, vector, real[name], vectors, real)
        return parts

    @staticmethod
    def _normal(layer: Exchange, name: str, features: Features) -> Features:
        """Normalised over the real positions of the batch; a summary of the positions is one more."""
        tokens, mask = features.tokens, features.mask
        if features.pooled is not None:
            tokens = torch.cat([tokens, features.pooled.unsqueeze(1)], 1)
            mask = torch.cat([mask, there(features)], 1)
        normal = layer.norms[name](tokens.transpose(1, 2), mask).transpose(1, 2)
        if features.pooled is None:
            return Features.of(normal, mask)
        return Features.of(normal[:, :-1], features.mask, normal[:, -1])


class Exchange(nn.Module):
    """The exchange at a place.

    Args:
        widths: D' of each input that has the place.
        threshold: see `ChannelExchangeFusion`.
        start: likewise.
    """

    def __init__(self, widths: Mapping[str, int], threshold: float, start: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.norms = nn.ModuleDict({name: MaskedBatchNorm(d) for name, d in widths.items()})
        common = min(widths.values())
        self.own = {name: (common * m // len(widths), common * (m + 1) // len(widths)) for m, name in enumerate(widths)}
        """The channels of each input that may be replaced: from, to."""
        with torch.no_grad():
            for name in self.own:
                self.scale(name).fill_(start)

    def swapped(
        self,
        name: str,
        values: Tensor,
        here: Tensor | None,
        shown: Mapping[str, Tensor],
        real: Mapping[str, Tensor | None],
    ) -> list[Tensor]:
        """[... D'] of one input, in three parts, its small channels from the others.

        Args:
            name: of the input.
            values: [... D'], zero where nothing is.
            here: [... 1] bool, where they are; None is everywhere.
            shown: what the others show, of the shape of `values`, or of one position.
            real: where they do, likewise.
        """
        first, last = self.own[name]
        others = [other for other in shown if other != name]
        seen, some = shown[others[0]][..., first:last], real[others[0]]
        if len(others) > 1:
            parts = [shown[other][..., first:last] for other in others]
            ones = torch.ones_like(shown[others[0]][..., :1])  # not of the parts, which may have no channel
            masks = [real[other] for other in others]
            shares = [ones if mask is None else mask for mask in masks]
            count = torch.stack([share.to(values.dtype) for share in shares]).sum(0)  # [... 1]
            seen, some = torch.stack(parts).sum(0) / count.clamp(min=1), count > 0
        replaced = self.scale(name).abs() < self.threshold
        for mask in (here, some):
            replaced = replaced if mask is None else replaced & mask
        own = torch.where(replaced, seen, values[..., first:last])
        return [values[..., :first], own, values[..., last:]]

    def scale(self, name: str) -> Tensor:
        """[...]: the scales of an input's own channels."""
        first, last = self.own[name]
        return cast(MaskedBatchNorm, self.norms[name]).weight[first:last]

    def scales(self) -> Tensor:
        """The sum of the absolute scales of all channels that may be replaced."""
        return torch.cat([self.scale(name) for name in self.own]).abs().sum()


def _check_positions(place: int, maps: Mapping[str, Features]) -> None:
    sizes = {name: one.mask.shape[1] for name, one in maps.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(
            f"exchange by position needs maps of as many positions; at place {place} they have {told}: take by=mean"
        )


def _with(place: int, inner: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The inputs that have a place."""
    return [name for name, widths in inner.items() if len(widths) >= place - 1]


def _shared(at: At, inner: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The places that two encoders have, of those that `at` names."""
    found = places_named(at, inner)
    alone = [place for place in found if len(_with(place, inner)) < 2]
    if alone and at != "all":
        names = ", ".join(_with(alone[0], inner)) or "none"
        raise ValueError(f"at {list(found)}: at place {alone[0]} there is {names} alone; take at=last or at=all")
    return tuple(place for place in found if place not in alone)
