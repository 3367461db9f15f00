"""The model: encoders, a fusion and a head, as one `nn.Module`; and the step of training that wraps it.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from torch import Tensor, nn

from mmkit.contract import Batch, Encoder, Features, Fusion, Head, ModelOutput


def module_names(inputs: Iterable[str]) -> dict[str, str]:
    """A name for each input that any module may give to a child: an identifier that no attribute of a module has.

    Names that are safe stay as they are, and no name holds a double underscore, so that a component may join two.

    >>> module_names(["a.b", "image", "type"])
    {'a.b': 'a_b', 'image': 'image', 'type': 'type_1'}
    """
    taken = set(dir(nn.ModuleDict())) | set(dir(nn.ParameterDict())) | set(dir(nn.Module()))
    names = {}
    for given in sorted(inputs):
        stem = re.sub(r"_+", "_", re.sub(r"\W", "_", given, flags=re.ASCII)).strip("_")
        stem = stem if stem[:1].isalpha() else f"input_{stem}".strip("_")
        name, count = stem, 0
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        names[given] = name
    return names


class OnlyFusion(nn.Module):
    """No fusion: the features of the one input, as they are. It stands in the single-input baselines, `only:INPUT`.

    Args:
        widths: D of the one input.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        ((self.input, self.width),) = widths.items()

    def forward(self, features: Mapping[str, Features]) -> Features:
        """What came in."""
        return features[self.input]


class Model(nn.Module):
    """Encoders, then a fusion, then a head.

    Args:
        encoders: by input.
        fusion: built for the encoders' widths, under `module_names`.
        head: of the fused features; None at decision level, where the fusion combines the heads of the inputs.
        unimodal: each input's own head, where the fusion or an objective reads their outputs.
        scalings: of inputs whose encoder is frozen, what its features pass through.

    Raises:
        ValueError: neither a head nor heads of the inputs are given.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        head: nn.Module | None,
        unimodal: Mapping[str, nn.Module] | None = None,
        scalings: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if head is None and not unimodal:
            raise ValueError("a model needs a head, or a head for each input")
        self.names = module_names(encoders)
        self.encoders = nn.ModuleDict({name: encoders[given] for given, name in self.names.items()})
        self.fusion = fusion
        self.head = head
        self.unimodal = nn.ModuleDict(
            {self.names[i]: unimodal[i] for i in self.names if i in unimodal} if unimodal else {}
        )
        self.scalings = nn.ModuleDict({self.names[i]: scaling for i, scaling in (scalings or {}).items()})

    @property
    def output_head(self) -> Head:
        """The head whose loss and prediction read the output; at decision level all heads are of one make."""
        return cast(Head, self.head if self.head is not None else next(iter(self.unimodal.values())))

    def encode(self, batch: Mapping[str, Batch | Features]) -> dict[str, Features]:
        """Features of each input under its module name, zeroed where it is missing, and scaled.

        Args:
            batch: of each input, as the user names it; where a frozen encoder has made them before, its features, which
                are zero where nothing is there.
        """
        features = {}
        for given, name in self.names.items():
            here = batch[given]
            if isinstance(here, Features):
                features[name] = here
            else:
                found: Features = self.encoders[name](here)
                features[name] = Features.of(found.tokens, found.mask, found.pooled, found.penalties)
            if name in self.scalings:
                features[name] = self.scalings[name](features[name])
        return features

    def fuse(self, features: Mapping[str, Features]) -> ModelOutput:
        """Everything after the encoders."""
        features = dict(features)
        unimodal = {name: head(features[name]) for name, head in self.unimodal.items()}
        if self.head is None:
            outputs = {name: Features.of(output, features[name].present()) for name, output in unimodal.items()}
            fused: Features = self.fusion(outputs)
            return ModelOutput(features, fused, fused.vector(), unimodal)
        fused = self.fusion(features)
        return ModelOutput(features, fused, self.head(fused), unimodal)

    def forward(self, batch: Mapping[str, Batch | Features]) -> ModelOutput:
        """`fuse(encode(batch))`."""
        return self.fuse(self.encode(batch))

    def predict_batch(self, batch: Mapping[str, Batch | Features]) -> Batch:
        """What metrics and the inverse of the truth's transform read."""
        return self.output_head.predict(self(batch).output)


class TrainingStep(nn.Module):
    """All losses inside one forward: what DDP, compile and vmap wrap.

    Args:
        model: the model.
        objectives: losses beside the head's, by name; each is already weighted.
    """

    def __init__(self, model: Model, objectives: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.model = model
        self.names = module_names(objectives or {})
        self.objectives = nn.ModuleDict({name: (objectives or {})[given] for given, name in self.names.items()})

    def forward(
        self, batch: Mapping[str, Batch | Features], truth: Batch, count: Tensor | None = None
    ) -> tuple[dict[str, Tensor], ModelOutput]:
        """Losses by name, each a mean over the samples that have truth; their sum is what is minimised.

        They are `head`, `unimodal.INPUT` at decision level, `objective.NAME`, and the penalties of features,
        `encoder.INPUT.NAME` and `fusion.NAME`.

        Args:
            batch: of each input.
            truth: with its `mask` [B].
            count: how many samples share the mean: those with truth of the whole accumulated batch, divided by the
                number of processes that average their gradients, so it may be a fraction. None is those of this batch.
        """
        output: ModelOutput = self.model(batch)
        known = truth["mask"]
        losses = {"head": self.model.output_head.loss(output.output, truth)}
        if self.model.head is None:
            for name, head in self.model.unimodal.items():
                own = cast(Head, head).loss(output.unimodal[name], truth)
                losses[f"unimodal.{name}"] = own.masked_fill(~output.features[name].present(), 0)
        losses |= {f"objective.{given}": self.objectives[name](output, truth) for given, name in self.names.items()}
        for owner, features in output.features.items():
            losses |= {f"encoder.{owner}.{name}": penalty for name, penalty in features.penalties.items()}
        losses |= {f"fusion.{name}": penalty for name, penalty in output.fused.penalties.items()}
        share = known.sum() if count is None else count
        share = share.masked_fill(share == 0, 1)  # not clamped at 1: of one sample, each of two processes has half
        return {name: loss.masked_fill(~known, 0).sum() / share for name, loss in losses.items()}, output


def encoder_widths(encoders: Mapping[str, nn.Module]) -> dict[str, int]:
    """D by the inputs' module names: the first thing that a fusion is built from."""
    return dict(sorted((name, cast(Encoder, encoders[given]).width) for given, name in module_names(encoders).items()))


def fusion_width(fusion: nn.Module) -> int:
    """H."""
    return cast(Fusion, fusion).width
