"""The model: encoders, a fusion and a head as one `nn.Module`, and the training step that wraps it.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self, cast

from torch import Tensor, nn

from mmkit.contract import Batch, Encoder, Features, Fusion, Head, ModelOutput
from mmkit.data.grouping import Grouped
from mmkit.data.readings import InputBatch
from mmkit.model.temperature import Temperature


def module_names(inputs: Iterable[str]) -> dict[str, str]:
    """A safe module name for each input: a unique identifier that is no attribute of `nn.Module`.

    Safe names do not change. No name has a double underscore, so a component can join two names with one.

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
    """The fusion of a single-input baseline `only:INPUT`: the unchanged features of its input.

    Args:
        widths: D of the only input.
    """

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        ((self.input, self.width),) = widths.items()

    def forward(self, features: Mapping[str, Features]) -> Features:
        """The features of the only input; its encoder's penalties and details count once, as the encoder's."""
        return replace(features[self.input], penalties={}, details={})


class Model(nn.Module):
    """Encoders, then a fusion, then a head.

    Args:
        encoders: by input.
        fusion: built for the encoders' widths, with inputs named by `module_names`.
        head: of the fused features; None at decision level, where the fusion combines the outputs of the inputs' heads.
        unimodal: the own head of each input, if the fusion or an objective reads their outputs.
        scalings: of the features of inputs with a pretrained encoder, frozen or tuned.

    Raises:
        ValueError: neither `head` nor `unimodal` is given.
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
        self.temperature: Temperature | None = None
        """Of its probabilities, fitted after training; None leaves them as the head gives them."""

    @property
    def output_head(self) -> Head:
        """The head that computes loss and prediction from the output; at decision level any of the equal heads."""
        return cast(Head, self.head if self.head is not None else next(iter(self.unimodal.values())))

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that learns. Frozen encoders stay in evaluation mode, whatever they do themselves."""
        super().train(mode)
        for encoder in self.encoders.values():
            if getattr(encoder, "frozen", False):
                encoder.eval()
        return self

    @property
    def rowwise(self) -> list[str]:
        """The inputs with an encoder whose rows are independent of each other in training, too."""
        return [given for given, name in self.names.items() if getattr(self.encoders[name], "rowwise", False)]

    def encode(self, batch: Mapping[str, InputBatch]) -> dict[str, Features]:
        """The features of each input by module name, scaled, and zero where the input is missing.

        Args:
            batch: of each input by its own name: a batch, in groups or not, or features that a frozen encoder gave
                before.
        """
        return {name: self.encode_input(name, batch[given]) for given, name in self.names.items()}

    def encode_input(self, name: str, of_input: InputBatch) -> Features:
        """The features of the input whose module is called `name`, as `encode` gives them."""
        if isinstance(of_input, Features):
            features = of_input
        elif isinstance(of_input, Grouped):
            features = of_input.joined([self._encoded(name, group) for group in of_input.groups])
        else:
            features = self._encoded(name, of_input)
        if name in self.scalings:
            features = self.scalings[name](features)
        return features

    def _encoded(self, name: str, batch: Batch) -> Features:
        encoded: Features = self.encoders[name](batch)
        zeroed = Features.of(encoded.tokens, encoded.mask, encoded.pooled, encoded.penalties, encoded.details)
        return replace(zeroed, complete=encoded.complete)

    def fuse(self, features: Mapping[str, Features]) -> ModelOutput:
        """Fusion and heads, from the features of the inputs."""
        features = dict(features)
        unimodal = {name: head(features[name]) for name, head in self.unimodal.items()}
        if self.head is None:
            outputs = {
                name: Features.of(output, None if features[name].complete else features[name].present())
                for name, output in unimodal.items()
            }
            fused: Features = self.fusion(outputs)
            return ModelOutput(features, fused, fused.vector(), unimodal)
        fused = self.fusion(features)
        return ModelOutput(features, fused, self.head(fused), unimodal)

    def forward(self, batch: Mapping[str, InputBatch]) -> ModelOutput:
        """`fuse(encode(batch))`."""
        return self.fuse(self.encode(batch))

    def predict(self, output: Tensor) -> Batch:
        """The prediction of an output [B C ...], that metrics and the inverse of the truth's transform read."""
        prediction = self.output_head.predict(output)
        return prediction if self.temperature is None else self.temperature(prediction)

    def predict_batch(self, batch: Mapping[str, InputBatch]) -> Batch:
        """The prediction of a batch."""
        return self.predict(self(batch).output)


class TrainingStep(nn.Module):
    """The model and all losses in one forward pass, for DDP, compile and vmap to wrap.

    Args:
        model: the model.
        objectives: losses besides the head's, by name; each is already weighted.
    """

    def __init__(self, model: Model, objectives: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.model = model
        self.names = module_names(objectives or {})
        self.objectives = nn.ModuleDict({name: (objectives or {})[given] for given, name in self.names.items()})

    def forward(
        self, batch: Mapping[str, InputBatch], truth: Batch, count: Tensor | None = None
    ) -> tuple[dict[str, Tensor], ModelOutput]:
        """The losses by name, each a mean over the samples with truth; training minimises their sum.

        The names are `head`, `unimodal.INPUT` at decision level, `objective.NAME`, and of the penalties of features
        `encoder.INPUT.NAME` and `fusion.NAME`.

        Args:
            batch: of each input.
            truth: with its `mask` [B].
            count: the divisor of the mean: the number of samples with truth in the whole accumulated batch, divided by
                the number of processes that average their gradients, so it can be a fraction. None is the number of
                samples with truth in this batch.
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
        divisor = known.sum() if count is None else count
        divisor = divisor.masked_fill(divisor == 0, 1)  # not clamped at 1, because `count` can be a fraction
        return {name: loss.masked_fill(~known, 0).sum() / divisor for name, loss in losses.items()}, output


def encoder_widths(encoders: Mapping[str, nn.Module]) -> dict[str, int]:
    """D of each input by module name: the first argument of a fusion's constructor."""
    return dict(sorted((name, cast(Encoder, encoders[given]).width) for given, name in module_names(encoders).items()))


def fusion_width(fusion: nn.Module) -> int:
    """H, the width of the fused features."""
    return cast(Fusion, fusion).width
