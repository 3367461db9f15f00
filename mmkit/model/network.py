"""The model: encoders, a fusion and a head as one `nn.Module`, and the training step that wraps it.

Axes: B batch, C size of the target.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmkit.contract import Batch, Encoder, Features, Fusion, Head, ModelOutput
from mmkit.data.grouping import Grouped
from mmkit.data.readings import InputBatch
from mmkit.layers.batch_rows import whole_batch
from mmkit.layers.batch_sums import alone, in_company
from mmkit.layers.places import within
from mmkit.model.balancing import Balancing
from mmkit.model.missing import Missing
from mmkit.model.mixup import Mix
from mmkit.model.stages import encoded_together, inner_widths
from mmkit.model.temperature import Temperature


def module_names(inputs: Iterable[str]) -> dict[str, str]:
    """A safe module name for each input: a unique identifier that is no attribute of `nn.Module`.

    Safe names do not change. No name has a double underscore, so a component can join two names with one.

    >>> module_names(["a.b", "image", "type"])
    {'a.b': 'a_b', 'image': 'image', 'type': 'type_1'}
    """
    taken = set(dir(nn.ModuleDict())) | set(dir(nn.ParameterDict())) | set(dir(nn.Module()))
    ordered = sorted(inputs)
    stems = {given: _stem(given) for given in ordered}
    names = {}
    for given in sorted(ordered, key=lambda given: stems[given] != given or given in taken):  # safe ones keep theirs
        name, count = stems[given], 0
        while name in taken:
            count += 1
            name = f"{stems[given]}_{count}"
        taken.add(name)
        names[given] = name
    return {given: names[given] for given in ordered}


def _stem(given: str) -> str:
    stem = re.sub(r"_+", "_", re.sub(r"\W", "_", given, flags=re.ASCII)).strip("_")
    return stem if stem[:1].isalpha() else f"input_{stem}".strip("_")


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
        return replace(features[self.input], penalties={}, details={}, inner={})


class Model(nn.Module):
    """Encoders, then a fusion, then a head.

    Args:
        encoders: by input.
        fusion: built for the encoders' widths, with inputs named by `module_names`.
        head: of the fused features; None at decision level, where the fusion combines the outputs of the inputs' heads.
        unimodal: the own head of each input, if the fusion or an objective reads their outputs.
        scalings: of the features of inputs with a pretrained encoder, frozen or tuned.
        missing: what the fusion sees in place of missing inputs; None is nothing.
        both: whether the fusion reads features beside the outputs of the inputs' heads; then `head` is None.
        own_losses: whether at decision level each input's head gets the loss of its own.

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
        missing: Missing | None = None,
        *,
        both: bool = False,
        own_losses: bool = True,
    ) -> None:
        super().__init__()
        if head is None and not unimodal:
            raise ValueError("a model needs a head, or a head for each input")
        self.names = module_names(encoders)
        self.encoders = nn.ModuleDict({name: encoders[given] for given, name in self.names.items()})
        self.fusion = fusion
        self.head = head
        self.both = both
        self.own_losses = own_losses
        self.unimodal = nn.ModuleDict(
            {self.names[i]: unimodal[i] for i in self.names if i in unimodal} if unimodal else {}
        )
        self.scalings = nn.ModuleDict({self.names[i]: scaling for i, scaling in (scalings or {}).items()})
        self.missing = missing
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
        """The inputs with an encoder whose rows are independent of each other in training, too.

        There is none where the fusion acts within encoders, which then need all rows at once.
        """
        if self.fuses_within:
            return []
        return [given for given, name in self.names.items() if getattr(self.encoders[name], "rowwise", False)]

    @property
    def fuses_within(self) -> bool:
        """Whether the fusion acts between the parts of an encoder, so that inputs are not encoded each for itself."""
        return bool(within(self.fusion)) and any(map(inner_widths, self.encoders.values()))

    def encode(self, batch: Mapping[str, InputBatch]) -> dict[str, Features]:
        """The features of each input by module name, scaled, and zero where the input is missing.

        Args:
            batch: of each input by its own name: a batch, in groups or not, or features that a frozen encoder gave
                before.
        """
        if not self.fuses_within:
            return {name: self.encode_input(name, batch[given]) for given, name in self.names.items()}
        batches = {name: batch[given] for given, name in self.names.items()}
        if self.missing is not None and self.missing.leaves_out:
            batches |= self.missing.left(cast(dict[str, Batch | Features], batches))  # none is in groups, see `rowwise`
        return encoded_together(dict(self.encoders.items()), batches, self.fusion, self.encode_input, _masked)

    def encode_input(self, name: str, of_input: InputBatch) -> Features:
        """The features of the input whose module is called `name`, as `encode` gives them."""
        if isinstance(of_input, Features):
            features = of_input
        elif isinstance(of_input, Grouped):
            features = of_input.joined([self.encode_batch(name, group) for group in of_input.groups])
        else:
            features = self.encode_batch(name, of_input)
        if name in self.scalings:
            features = self.scalings[name](features)
        return features

    def encode_batch(self, name: str, batch: Batch) -> Features:
        """The features of a batch of the input whose module is called `name`, before they are scaled."""
        return _masked(self.encoders[name](batch))

    def fuse(self, features: Mapping[str, Features], seen: Mapping[str, Features] | None = None) -> ModelOutput:
        """Fusion and heads, from the features of the inputs.

        The heads of single inputs see which are missing; the fusion sees what `missing` puts in their place.

        Args:
            features: as encoded.
            seen: as a balance method lets the fusion see them, at decision level its heads; None is as encoded.
        """
        features = dict(features)
        of_fusion = features if seen is None else dict(seen)
        of_heads = of_fusion if self.head is None else features
        unimodal = {name: head(of_heads[name]) for name, head in self.unimodal.items()}
        if self.head is None:
            outputs = {
                name: Features.of(output, None if of_heads[name].complete else of_heads[name].present())
                for name, output in unimodal.items()
            }
            if self.both:
                shown = self._seen(of_fusion)
                outputs = {name: Features.of(part.vector(), shown[name].present()) for name, part in outputs.items()}
                fused: Features = self.fusion(shown, outputs)
            else:
                fused = self.fusion(self._seen(outputs))
            there = {} if seen is None else {name: part.present() for name, part in of_heads.items()}
            return ModelOutput(features, fused, fused.vector(), unimodal, seen=there)
        fused = self.fusion(self._seen(of_fusion))
        return ModelOutput(features, fused, self.head(fused), unimodal)

    def _seen(self, features: dict[str, Features]) -> dict[str, Features]:
        """What the fusion sees of the inputs, or of their outputs."""
        return features if self.missing is None else self.missing(features, left=self.fuses_within)

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


def _masked(encoded: Features) -> Features:
    """Features that are zero where nothing is there."""
    zeroed = Features.of(
        encoded.tokens, encoded.mask, encoded.pooled, encoded.penalties, encoded.details, encoded.inner
    )
    return replace(zeroed, complete=encoded.complete)


class TrainingStep(nn.Module):
    """The model and all losses in one forward pass, for DDP, compile and vmap to wrap.

    Args:
        model: the model.
        objectives: losses besides the head's, by name; each is already weighted.
        balance: how the encoders are trained beside each other; None leaves them to themselves.
        mixup: alpha of the mixup of features in training; 0 is none.
        teachers: models of single inputs that objectives read, by module name of the input. They are frozen here.
        compares: names of the objectives that compare samples; of several processes each gives them the whole batch.
    """

    def __init__(
        self,
        model: Model,
        objectives: Mapping[str, nn.Module] | None = None,
        balance: Balancing | None = None,
        mixup: float = 0.0,
        teachers: Mapping[str, Model] | None = None,
        compares: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.compares = frozenset(compares)
        self.names = module_names(objectives or {})
        self.objectives = nn.ModuleDict({name: (objectives or {})[given] for given, name in self.names.items()})
        self.balance = balance
        self.mixup = mixup
        self.teachers = nn.ModuleDict(dict(teachers or {})).requires_grad_(requires_grad=False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that learns; teachers stay in evaluation mode."""
        super().train(mode)
        self.teachers.eval()
        return self

    def forward(
        self, batch: Mapping[str, InputBatch], truth: Batch, count: Tensor | None = None
    ) -> tuple[dict[str, Tensor], ModelOutput]:
        """The losses by name, each a mean over the samples with truth; training minimises their sum.

        The names are `head`, `unimodal.INPUT` at decision level where heads have losses of their own,
        `objective.NAME`, of a balance method's heads `balance.INPUT`, and of the penalties of features
        `encoder.INPUT.NAME` and `fusion.NAME`.

        Args:
            batch: of each input.
            truth: with its `mask` [B].
            count: the divisor of the mean: the number of samples with truth in the whole accumulated batch, divided by
                the number of processes that average their gradients, so it can be a fraction. None is the number of
                samples with truth in this batch.
        """
        output, of_balance, mix = self._output(batch, truth)
        if self.teachers:
            output = replace(output, teachers=self._taught(batch, mix))
        losses = self._losses(output, of_balance, truth)
        if mix is not None:
            losses = mix.losses(losses, self._losses(output, of_balance, mix.truth(truth), noting=False))
        for owner, features in output.features.items():
            losses |= {f"encoder.{owner}.{name}": penalty for name, penalty in features.penalties.items()}
        losses |= {f"fusion.{name}": penalty for name, penalty in output.fused.penalties.items()}
        if self.balance is not None:
            losses = self.balance.weighed(losses, output, truth)
        known = truth["mask"]
        divisor = known.sum() if count is None else count
        divisor = divisor.masked_fill(divisor == 0, 1)  # not clamped at 1, because `count` can be a fraction
        return {name: loss.masked_fill(~known, 0).sum() / divisor for name, loss in losses.items()}, output

    def _output(
        self, batch: Mapping[str, InputBatch], truth: Batch
    ) -> tuple[ModelOutput, dict[str, Tensor], Mix | None]:
        """What the model gives, what a balance method's heads do, and how samples are mixed."""
        mixing = self.training and self.mixup > 0
        if self.balance is None and not mixing:
            return self.model(batch), {}, None
        features, mix = self.model.encode(batch), None
        if mixing:
            mix = Mix.drawn(features, truth["mask"], self.mixup)
            features = mix.features(features)
        if self.balance is None:
            return self.model.fuse(features), {}, mix
        features = self.balance.taking(features)
        seen, outputs = self.balance.at_border(features, truth)
        found = self.balance.of_subsets(self.model.fuse(features, seen), seen, self.model.fuse, truth)
        return found, outputs, mix

    @torch.no_grad()
    def _taught(self, batch: Mapping[str, InputBatch], mix: Mix | None) -> dict[str, ModelOutput]:
        """What each teacher finds in the batch, of features that are mixed as the model's are."""
        found = {}
        for name, module in self.teachers.items():
            teacher = cast(Model, module)
            features = teacher.encode(batch)
            found[name] = teacher.fuse(features if mix is None else mix.features(features))
        return found

    def _losses(
        self, output: ModelOutput, of_balance: Mapping[str, Tensor], truth: Batch, *, noting: bool = True
    ) -> dict[str, Tensor]:
        """[B] of all that reads the truth, by name; of the second truth of mixed samples objectives note nothing."""
        losses = {"head": self.model.output_head.loss(output.output, truth)}
        if self.model.head is None and self.model.own_losses:
            for name, head in self.model.unimodal.items():
                own = cast(Head, head).loss(output.unimodal[name], truth)
                losses[f"unimodal.{name}"] = own.masked_fill(~output.shown(name), 0)
        losses |= {f"objective.{given}": self._objective(given, output, truth, noting=noting) for given in self.names}
        return losses | ({} if self.balance is None else self.balance.losses(of_balance, output.features, truth))

    def _objective(self, given: str, output: ModelOutput, truth: Batch, *, noting: bool) -> Tensor:
        """[B] of an objective; where it is not `noting` its buffers stay as they are."""
        objective = self.objectives[self.names[given]]

        def loss(output: ModelOutput, truth: Batch) -> Tensor:
            if noting:
                return cast(Tensor, objective(output, truth))
            copies = {name: buffer.clone() for name, buffer in objective.named_buffers()}
            return cast(Tensor, functional_call(objective, copies, (output, truth)))

        if given not in self.compares or not in_company():
            return loss(output, truth)
        whole, whole_truth, own = whole_batch(output, truth)
        with alone():
            return loss(whole, whole_truth)[own]


def encoder_widths(encoders: Mapping[str, nn.Module]) -> dict[str, int]:
    """D of each input by module name: the first argument of a fusion's constructor."""
    return dict(sorted((name, cast(Encoder, encoders[given]).width) for given, name in module_names(encoders).items()))


def widths_within(encoders: Mapping[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    """The widths within each encoder by module name: the second argument of a fusion that acts there."""
    return dict(sorted((name, inner_widths(encoders[given])) for given, name in module_names(encoders).items()))


def fusion_width(fusion: nn.Module) -> int:
    """H, the width of the fused features."""
    return cast(Fusion, fusion).width
