"""The contract: what every component must fit. A plugin's author needs no other page.

    raw sample -> decode -> Transform -> Encoder -> Fusion -> Head -> loss | metrics

Axes: B batch, T tokens (>= 1), D width of an input's features, H fused width, C size of the target.

Components are plain `nn.Module`s that fit these shapes; there is nothing to inherit. The positional parameters of
a constructor are what the core hands over. Its keyword-only parameters, each with a default, are the user's
options: the signature is the schema, and the help of an option is its line under `Args:`. Only keyword-only
annotations are ever evaluated. `Annotated[int, annotated_types.Gt(0)]` states a range, `Literal[...]` a choice. Of
`mmkit.plugin`, `Annotated[str, Component("encoder")]` names another component, and `ForTraining()` marks an option
that changes nothing but training.

Rules for every forward:

- No branch on values (`if mask.any()`): it breaks compile, export and DDP. Every input is always passed; absence is
  a row of `mask` that is all False, and padding is the same thing.
- A missing input contributes the neutral element of the operation: 0 to a sum, 1 to a product, -inf to a max, nothing
  to the count of a mean. All inputs missing: finite, in the output and in every gradient.
- `sum / count.clamp(min=1)` and `where(mask, softmax, 0)` are safe. A `where` after the division, or after a softmax
  over -inf, gives finite outputs and NaN gradients.
- A statistic over the rows of a batch, in training, is made of sums that go through `mmkit.layers.batch_sums`, so that
  processes which share a batch count all of it. An objective that compares samples says so in its spec (`compares`),
  and is given all of them.
- Inputs are not changed in place, and evaluation draws no random number.
- `Features.complete` is no value: a component may branch on it.

What belongs to the process is the core's, which sets it and gives it back: numpy's and Python's generators, torch's
seed, default dtype, grad mode, flags for algorithms. A component draws from torch's generator in building and training,
a transform from the one handed in, and neither changes the rest. Nothing depends on the order of a set of texts.

Kinds of target, None being missing truth everywhere. Of each: the raw truth that a task gives, the leaves of the batch
that `TruthTransform` makes of it and that losses and objectives read, the leaves that `Head.predict` gives and metrics
read, the answer that `inverse` gives of each sample, and the metrics by name.

    classes   truth      a string that is not blank, a whole number, or a bool; 7 and "7" are one class, as are "a" and
                         "a ", and True and 1
              batch      label [B] int64, mask [B]
              predicted  probabilities [B C], each row sums to 1
              answer     {"label": the likeliest, "probabilities": {class: probability}}
              metrics    accuracy, balanced_accuracy, f1_macro, f1_micro, precision_macro, recall_macro, auroc_macro,
                         average_precision_macro, log_loss
    labels    truth      a collection of those that apply, which may be empty; no row of 0 and 1
              batch      labels [B C] float of 0 and 1, mask [B]
              predicted  probabilities [B C], each for itself
              answer     {"labels": those above one half, "probabilities": {label: probability}}
              metrics    those of classes, subset_accuracy
    scalar    truth      a finite number, or a sequence of C of them
              batch      values [B C] float32 in the user's units; standardised [B C] float32, the same minus the mean
                         of the training split, by its deviation, exact where values are rounded; mask [B]
              predicted  values [B C] in the user's units; where a head has it, standardised [B C], which is then read
                         in their place
              answer     {"value": the number}, or {"values": C numbers}
              metrics    mae, rmse, r2, pearson, spearman
    text      truth      a string that is not blank
              batch      as head and transform agree, mask [B]
              predicted  tokens [B T] int64, mask [B T]
              answer     {"text": the answer}
              metrics    exact_match, bleu, rouge_l, head_loss
    another   of a plugin's own: truth, batch, prediction and answer as its head and transform agree, with mask [B]
              metrics    `measures` of the transform, head_loss

In training the truth has one leaf more, index [B] int64: the place of the sample in the training split.

Where truth is missing, `mask` is False and nothing may be read of the row's other leaves. Metrics are the task's to
name; `log_loss`, `mae`, `rmse` and `head_loss` are better where they are lower. Macro averages are over the classes or
labels that occur in the truth, not over those that are only predicted, which scikit-learn counts as well.

What may be reused, and from where; all of it is public:

    mmkit.errors            DataError: a value or truth cannot be read or taken, and the message says why;
                            ValuesError: of values to be fitted, which are to blame
    mmkit.transforms.truth  Categories (classes and labels) and Numbers (scalar): transforms of the truth;
                            category_name, numbers_of: one raw truth, checked
    mmkit.heads.loss        class_loss, label_loss, number_loss: [B], zero where truth is missing; CategoryLoss and
                            NumberLoss: the same with a head's usual options; loss_of: the plain one of a target
    mmkit.testing           check and cases: the conformance kit; tiny_task: a few samples that are learnt at once
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.utils._pytree import register_dataclass  # torch.export's takes no field to drop

Batch = Mapping[str, Tensor]
"""Tensors by name; dim 0 of every one is B."""

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder says of its input, and a fusion of all. Made by `Features.of`.

    Args:
        tokens: [B T D], zero under a False mask.
        mask: [B T] bool, True where a token is real. A row that is all False is a missing input.
        pooled: [B D], the component's own summary (CLS, a projection), zero where the input is missing; or None.
        penalties: [B] each, by name, already weighted: losses of training that only the component can know.
        complete: True where it is known, without looking at values, that no row is missing. A component may branch on
            it, and then leaves out what only a missing row needs; it gives the same without being told. Export and
            `torch.func` forget it.
        details: [B ...] each, by name: what objectives and explanations read beside the features (gates, attention,
            confidence). A fusion computes nothing with them: they are not masked, balance methods and mixup leave them
            as they are, and the cache of features drops them. "NAME.INPUT" is of one input: of `attention.INPUT` [B T],
            the share of the attention that each of its tokens gets, the sum over all inputs is 1; `gate.INPUT` [B H] is
            what lets it through, from 0 to 1; `weight.INPUT` [B] or [B H] is its share of what is fused, from 0 to 1,
            of which the sum over all inputs is 1.
        inner: [B ...] each, by name, zero where the input is missing: what a fusion within encoders took at places for
            its `forward`. What is done to tokens is done to it: it is masked, mixed, its gradient scaled.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor | None = None
    penalties: dict[str, Tensor] = field(default_factory=dict)
    complete: bool = False
    details: dict[str, Tensor] = field(default_factory=dict)
    inner: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(
        values: Tensor,
        mask: Tensor | None = None,
        pooled: Tensor | None = None,
        penalties: Mapping[str, Tensor] | None = None,
        details: Mapping[str, Tensor] | None = None,
        inner: Mapping[str, Tensor] | None = None,
    ) -> Features:
        """Features of [B T D] tokens, or of [B D] vectors as one token each, zeroed where nothing is there.

        >>> Features.of(torch.ones(2, 5, 8)).vector().shape
        torch.Size([2, 8])
        >>> features = Features.of(torch.ones(2, 8), torch.tensor([True, False]))  # the second is missing
        >>> features.tokens.shape, features.present(), features.vector().sum(1)
        (torch.Size([2, 1, 8]), tensor([ True, False]), tensor([8., 0.]))

        Args:
            values: [B T D] or [B D].
            mask: [B T] bool, or [B] for vectors; None is all True, so that the features are `complete`.
            pooled: [B D].
            penalties: [B] each.
            details: [B ...] each.
            inner: [B ...] each.

        Raises:
            ValueError: a shape or a dtype is not as above.
        """
        tokens = values.unsqueeze(1) if values.ndim == 2 else values  # [B T D]
        if tokens.ndim != 3 or tokens.shape[1] < 1:
            raise ValueError(f"features are [B T D] with T >= 1, or [B D]; got {list(values.shape)}")
        everything = mask is None  # then there is nothing to zero
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        elif mask.ndim == 1:
            mask = mask.unsqueeze(1)
        if mask.dtype != torch.bool or mask.shape != tokens.shape[:2]:
            raise ValueError(f"mask is bool {list(tokens.shape[:2])}; got {mask.dtype} {list(mask.shape)}")
        if not everything:
            tokens = tokens.masked_fill(~mask.unsqueeze(-1), 0)
        if pooled is not None:
            if pooled.shape != (tokens.shape[0], tokens.shape[2]):
                raise ValueError(
                    f"pooled is {[tokens.shape[0], tokens.shape[2]]} like the tokens; got {list(pooled.shape)}"
                )
            if not everything:
                pooled = pooled.masked_fill(~mask.any(1, keepdim=True), 0)
        inner = dict(inner or {})
        if inner and not everything:
            gone = ~mask.any(1)  # [B]
            inner = {n: state.masked_fill(gone.view(-1, *(1,) * (state.ndim - 1)), 0) for n, state in inner.items()}
        return Features(tokens, mask, pooled, dict(penalties or {}), everything, dict(details or {}), inner)

    @property
    def width(self) -> int:
        """D."""
        return self.tokens.shape[-1]

    def present(self) -> Tensor:
        """[B] bool: True where the input is there."""
        return self.mask.any(1)

    def vector(self) -> Tensor:
        """[B D]: pooled, else the mean of the real tokens; zero where the input is missing."""
        if self.pooled is not None:
            return self.pooled
        if self.tokens.shape[1] == 1:
            return self.tokens.squeeze(1)  # the mean of one, at no cost
        return self.tokens.sum(1) / self.mask.sum(1, keepdim=True).clamp(min=1)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Features:
        """The same with all that is computed with changed: tokens, `pooled` and `inner`.

        A balance method changes gradients by it, so that none passes beside it.

        >>> features = Features.of(torch.ones(2, 5, 8, requires_grad=True), inner={"state": torch.ones(2, 4)})
        >>> features.changed(torch.detach).tokens.requires_grad
        False

        Args:
            change: of a tensor [B ...]; it keeps the shape, and zero where a value is zero.
        """
        pooled = None if self.pooled is None else change(self.pooled)
        inner = {name: change(state) for name, state in self.inner.items()}
        return replace(self, tokens=change(self.tokens), pooled=pooled, inner=inner)

    def to(self, device: torch.device | str) -> Features:
        """The same on `device`."""
        waits = torch.device(device).type == "cpu"  # a copy to the CPU that is not waited for could be read too early
        return self._map(lambda tensor: tensor.to(device, non_blocking=not waits))

    def pin_memory(self) -> Features:
        """The same in pinned memory; a DataLoader calls it by this name."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Any) -> Features:
        penalties = {name: change(penalty) for name, penalty in self.penalties.items()}
        details = {name: change(detail) for name, detail in self.details.items()}
        return replace(self.changed(change), mask=change(self.mask), penalties=penalties, details=details)


@dataclass(frozen=True, eq=False)
class ModelOutput:
    """All that a model found on its way. Inputs have the names that components are handed.

    Args:
        features: of each input.
        fused: of the fusion.
        output: of the head, [B C] for classes, labels and scalars; at decision level the fusion's vector.
        unimodal: the output of each input's own head, where something reads it; else empty.
        teachers: of each input, what a frozen model of that input alone found in the same batch, where an objective
            reads it: `fused` are its features, `output` is that of its head. No gradient goes there.
        seen: [B] bool of each input, True where the heads of single inputs saw it; empty where they saw all that is
            there. At decision level a balance method may hide inputs from them.
    """

    features: dict[str, Features]
    fused: Features
    output: Tensor
    unimodal: dict[str, Tensor] = field(default_factory=dict)
    teachers: dict[str, ModelOutput] = field(default_factory=dict)
    seen: dict[str, Tensor] = field(default_factory=dict)

    def shown(self, name: str) -> Tensor:
        """[B] bool: True where the input's own head saw it, so that `unimodal` says something of it."""
        return self.seen[name] if name in self.seen else self.features[name].present()


# Plain dataclasses fail export, vmap and FSDP2; torch's own registration serves all of them.
register_dataclass(
    Features,
    field_names=["tokens", "mask", "pooled", "penalties", "details", "inner"],
    drop_field_names=["complete"],  # no tensor; without it a component looks at the mask
    serialized_type_name="mmkit.Features",
)
torch.export.register_dataclass(ModelOutput, serialized_type_name="mmkit.ModelOutput")


@dataclass(frozen=True)
class Target:
    """What kind of truth a task asks for, and what was fitted on the training split.

    Args:
        kind: "classes" (one of C), "labels" (any of C), "scalar" (C numbers), "text" (words, of a vocabulary of C), or
            a kind of a plugin's.
        size: C.
        names: of the classes, labels or numbers, C of them.
        counts: training samples with each class or label; empty for numbers.
        mean: of each number over the training split; empty for classes and labels.
        std: likewise, never 0.
        samples: training samples with truth.
    """

    kind: str
    size: int
    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    samples: int = 0


@dataclass(frozen=True)
class Samples:
    """The raw samples of one split, column by column, each read by position. A missing value is None.

    NaN, `pandas.NA` and a masked element of numpy are missing values as well; as truth NaN is none, but an error.

    A sequence may be lazy: it is read value by value, in any order, by several threads, and a value that must not be
    read raises a `DataError` then. Where it has a `fingerprint: str`, a hash of its content, it is known by that, and
    where it has `subset(index)`, a lazy column of some of its values, no value is read to choose samples. Two more are
    used where it has them: `gaps(index)`, [B] bool, True where a value is missing; and, of rows of a table,
    `arrow(index, names=None)`, their columns as an Arrow batch of numbers (float64) and dictionaries of strings, null
    where a cell is missing.

    Args:
        ids: of each sample, unique over all splits.
        inputs: raw values by input; an input that is left out is all None.
        truth: raw truth of each sample, by kind of target as this page says above.
        groups: who or what each sample stems from, where known: labels of one factor (a speaker), or of several by name
            ({"speaker": ..., "writer": ...}). A comparison counts groups, not samples, as what could have been others;
            the task's description says whether splits share groups.
    """

    ids: Sequence[str]
    inputs: Mapping[str, Sequence[Any]]
    truth: Sequence[Any]
    groups: Sequence[str] | Mapping[str, Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def factors(self) -> dict[str, Sequence[str]]:
        """The labels of `groups` by factor, "group" where there is one without a name; empty without groups."""
        if isinstance(self.groups, Mapping):
            return dict(self.groups)
        return {} if self.groups is None else {"group": self.groups}


@runtime_checkable
class Modality(Protocol):
    """A kind of raw value. Built without arguments.

    Raw values, as tasks and users give them, and values in memory, as `decode` gives them and transforms take them:

        text    str; UTF-8 bytes; a `pathlib.Path` of a file                   str that is not blank
        image   a path; bytes of a file; a Pillow image; an array or tensor    uint8 tensor [C H W], C 1 or 3
                [H W], [H W C] or [C H W]
        audio   a path; bytes of a file; (waveform [channels time] or [time],  (float32 tensor [channels time],
                samples per second)                                            samples per second)
        series  an array, tensor, nested list or part of a table [T C] or [T]  float32 tensor [T C]; float64 where a
                                                                               channel hardly changes beside its size
        table   a mapping of column to number, string, bool or None            the same as a dict; empty cells None

    A value in memory is a raw value too. A plugin's modality says itself what its values are; they can be pickled, and
    are tensors, arrays, bytes, texts, numbers, or mappings and sequences of those, so that features can be kept by
    them.
    """

    def decode(self, raw: Any) -> Any:
        """The value in memory of a raw one (a path, bytes, an array, the value itself); never called with None.

        Returns None where the value says itself that it is missing (a table row whose every cell is). Several threads
        may call at once.

        Raises:
            DataError: it cannot be read, or is empty; the message says why.
        """
        ...

    def example(self, generator: Generator) -> Any:
        """A random value in memory, for checks; values of one modality fit into one batch."""
        ...

    # Of a modality whose values have a course in time three more are read, where a class has them; `mmkit serve` then
    # takes its values in chunks, and answers by a window of the last of them.
    # unit: str, in what the length of a value is measured: "seconds", "steps".
    # length(value) -> float, of a value in memory.
    # joined(values, last) -> the last `last` units of values in memory that follow each other, as one value in memory,
    #   or all of them where they are shorter; a DataError where they do not fit each other, as of two sample rates.


@runtime_checkable
class Transform(Protocol):
    """Values in memory to tensors: picklable, without weights, at home in a loader's worker.

    A transform's constructor takes options only (that of the truth, see `TruthTransform`, one thing more).
    """

    augments: bool
    """True where a generator changes the result; otherwise a split is transformed once."""
    # Four more are read where a class has them.
    # streams: bool, True where `fit` passes over its values once and keeps none. Of values that are larger than memory
    #   it then gets all, else at most 20,000 (200,000 texts), drawn with seed 0; a record says on how many.
    # told(values) -> str, what the fitted transform takes of such values in a few words, where that is not all of them;
    #   `mmkit data inspect` shows it.
    # spans(value) -> list of (start, end) or None, of a transform of texts: which characters of the text each real
    #   token of its batch stands for, two equal numbers for none of them; None where that is not known. `mmkit explain`
    #   colours texts by it, and without it leaves out word after word.
    # example(generator) -> a random value in memory of the kind that it was fitted on (its columns, words, channels),
    #   which an export is checked with; without it one of the modality's.

    def fit(self, values: Sequence[Any]) -> None:
        """Learn (a vocabulary, a scaling) from the values of the training split; None is a missing one.

        They need not be a list: they may be read from disk as they are asked for.

        Raises:
            DataError: it cannot. The core tries each value alone to name its sample; where none is bad alone, a
                `ValuesError` says which they are.
        """
        ...

    def __call__(self, values: Sequence[Any], generator: Generator | None = None) -> Batch:
        """A batch. A missing value, None, gives a row whose `mask` is all False; all may be missing.

        Every batch has a bool leaf `mask`, [B T] or [B]. With a generator, augmentation is drawn from it alone;
        without one the result is deterministic. Several threads may call at once, each with a generator of its own.

        Raises:
            DataError: a value cannot be taken; the message says why. The core tries each alone to name its sample.
        """
        ...

    def state(self) -> dict[str, Any]:
        """What was fitted, as plain JSON values."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        ...


@dataclass(frozen=True)
class Measure:
    """A metric of answers in the user's words, for kinds of target that are not measured as tensors.

    Args:
        of: from the answers of all samples with truth, as `TruthTransform.inverse` gives them, and their raw truths:
            one figure a sample, whose mean the metric is; or one figure of all.
        higher_is_better: which way.
        influence: of one figure of all, from the same: what each sample adds to it, with mean 0, or None where that is
            not defined. Without it the metric has no margin over samples, and a comparison by it no verdict.
        resampled: of one figure of all, from the same: a function that gives the figure of the samples at some places,
            which may repeat. Without it `of` is called anew for each draw of an interval.
    """

    of: Callable[[Sequence[Any], Sequence[Any]], Sequence[float] | float]
    higher_is_better: bool = True
    influence: Callable[[Sequence[Any], Sequence[Any]], Sequence[float] | None] | None = None
    resampled: Callable[[Sequence[Any], Sequence[Any]], Callable[[Sequence[int]], float]] | None = None


@runtime_checkable
class TruthTransform(Transform, Protocol):
    """A transform of the truth, with its inverse: `__init__(kind, *, options)`, the kind of target being the task's.

    Its batch's `mask` is [B], True where there is truth; its other leaves are those of the kind of target. `fit` sees
    the truth of the training split, None among it; truth that only other splits hold is met by `__call__` alone, which
    says by a `DataError` what it does not know.
    """

    # One more attribute is read where a class has it: measures: Mapping[str, Measure], by the names of metrics, for a
    #   kind of target that mmkit does not know. `head_loss`, the head's own loss, is a metric of every such kind.
    # And one more method: columns(prediction: Batch) -> Mapping[str, Sequence], the answers of a batch as columns of a
    #   table, one value a sample, of one type each whatever the batch. Without it they are made of `inverse`.

    def target(self) -> Target:
        """What was fitted; the core hands it to the head."""
        ...

    def inverse(self, prediction: Batch) -> list[Any]:
        """What `Head.predict` gave, one value a sample in the user's words (a label with probabilities, a number)."""
        ...


class Encoder(Protocol):
    """Turns a batch of one input into features: `__init__(transform, *, options)`.

    Options of the encoder and of its transform are one namespace for the user.
    """

    reads: ClassVar[type[Transform]]
    """The transform that makes its batches; the core builds and fits one and hands it to the constructor."""
    width: int
    """D."""
    # Six more attributes are read where a module has them:
    #   frozen: bool, True where its weights never change: with a transform that does not augment, the core computes its
    #     features once and trains from them; centred, and brought to one norm.
    #   rowwise: bool, True where in training, too, nothing of a row hangs on its mates, as it does by the statistics of
    #     a batch norm: where texts of a batch differ much in length, the core shows them in two groups, less padded.
    #   rates: Mapping[str, float], of any module: its pretrained parameters that are trained further, by their names in
    #     it, with shares of their learning rate, `train.tune_lr`. Features of such an encoder are scaled likewise.
    #   chosen: Mapping[str, Any], of any component: options that it chose for itself when it was built, which are
    #     recorded and shown by a dry run.
    #   detailed: bool, False, of a fusion or any module in it: the core sets it where somebody reads the `details` of
    #     its features, which are given then, and only then; the features are the same but for rounding.
    #   remarks: a method of a fusion, from the features of all inputs to a list of sentences: what a user should know
    #     of it on such shapes (attention to one token has no choice). They are shown once, before training.

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens of the batch, each row independent of its mates in evaluation."""
        ...


class StagedEncoder(Encoder, Protocol):
    """An encoder that may be stopped between its parts, at its places, by what the core calls in place of `forward`.

        state = encoder.begin(batch)
        for number in range(len(encoder.inner)):
            state = encoder.stage(number, state)
            state = encoder.put(state, changed(encoder.get(state)))  # where a fusion acts
        features = encoder.finish(state)

    With nothing changed this gives what `forward` gives. A state is what the encoder likes it to be: a tuple or a
    mapping of tensors.
    """

    inner: tuple[int, ...]
    """D' at each place, from the beginning."""

    def begin(self, batch: Batch) -> Any:
        """The state before the first part."""
        ...

    def stage(self, number: int, state: Any) -> Any:
        """The state at place `number`, from 0, which the part before it leads to."""
        ...

    def get(self, state: Any) -> Features:
        """[B T' D'], what stands at the place of the state; of a map of an image the positions are tokens."""
        ...

    def put(self, state: Any, features: Features) -> Any:
        """The state with these tokens in their place; they have the shape and the mask of what `get` gave."""
        ...

    def finish(self, state: Any) -> Features:
        """The last part: the features."""
        ...


class Fusion(Protocol):
    """Makes one of many: `__init__(widths, *, options)`, with `widths` D by input.

    Names of inputs arrive safe as module names, and sorted. A fusion of `outputs` is built as
    `__init__(widths, target, *, options)`; it gets each input's output as one token of width C, and the `vector()` of
    what it returns is the model's output. One of `both` is built likewise, with the widths of the features, and called
    as `forward(features, outputs)`.

    A fusion with `inner="exchange"` is built as `__init__(widths, inner, *, options)`, with `inner` the widths D' at
    the places within each encoder (`StagedEncoder.inner`; empty where it has none, or is frozen). Its attribute
    `places` names those at which `exchange(place, features)` is called before `forward`, the farthest from the end
    first: place 2 is before the last part of an encoder, place 3 before the last two; of `inner` it is the width at -1,
    and -2. It gets the features of those encoders that have this place, and of those that have none at all, which were
    encoded before; it returns those that it changes, and what their `details` and `inner` hold is in those of the
    encoder's features in the end. What `forward` computes with is in `inner`. Place 1 is what `forward` gets, and what
    it does there is its own.
    """

    width: int
    """H."""

    def forward(self, features: Mapping[str, Features]) -> Features:
        """The fused features; one token, or several where a head may want to look at them."""
        ...


class Head(Protocol):
    """Predicts: `__init__(width, target, transform, *, options)`, `transform` being the fitted one of `reads`."""

    reads: ClassVar[type[TruthTransform]]
    """The transform of the truth, and its inverse."""

    def forward(self, features: Features) -> Tensor:
        """The output, [B C] for classes, labels and scalars; [B ...] of another kind."""
        ...

    def loss(self, output: Tensor, truth: Batch) -> Tensor:
        """[B], zero where truth is missing; the core reduces it. Not negative, but for a density of numbers."""
        ...

    def predict(self, output: Tensor) -> Batch:
        """What metrics and `inverse` read.

        The leaves are those of the kind of target. The prediction of texts is the only one that need not be one graph,
        since it is made token by token.
        """
        ...


class Objective(Protocol):
    """A loss beside the head's: `__init__(widths, width, target, *, options)`.

    One whose spec says `teachers` is built as `__init__(widths, width, target, taught, *, options)`, with `taught` the
    width of each teacher's features by input. It has an option `teachers`, a folder with saved models of single inputs,
    which the core reads. A frozen encoder learns nothing, so its input has no teacher.
    """

    def forward(self, model_output: ModelOutput, truth: Batch) -> Tensor:
        """[B], already weighted, and not negative: where the least value is known, its constant is added.

        Of `unimodal` the rows of an input count that its head saw, `model_output.shown(input)`.
        """
        ...


class Balance(Protocol):
    """Changes how encoders are trained beside each other: `__init__(widths, width, target, *, options)`.

    A module beside the model, in training alone: evaluation and a saved model have nothing of it. It needs an encoder
    that is trained. Where its spec asks for `unimodal`, each input has a head of its own beside the model, of the kind
    that the task has, whose loss is "balance.INPUT", zero where the input is missing. What it remembers is in buffers.
    """

    # All methods are optional, and it has one at least. Names of inputs are those of `widths`.
    #   split(features) -> (features, features): what the fusion sees, and what the inputs' own heads see. Values are
    #     those that are given; what differs is the gradient.
    #   border(features, unimodal, truth) -> features: what the fusion sees, after `split`. It scales or stops the
    #     gradient (`Features.changed`: `inner` has one, too), or clears masks (`mmkit.layers.border.without`).
    #     `unimodal` are the outputs of the inputs' own heads, by input.
    #   output(subsets, features, truth) -> output: the model's output, of the same values with another gradient.
    #     `subsets` are the outputs where the fusion sees the inputs of each subset alone, by their sorted names; () is
    #     none, and all of them what is given back. Each is a pass of fusion and head. `features` are what the fusion
    #     sees.
    #   weigh(losses, output, truth) -> losses: all losses by name, [B] each, before their means are summed: "head",
    #     "balance.INPUT", and what else `TrainingStep` names. Not negative. It may add losses of its own.
    #   backward(losses, parameters): in place of `sum(losses).backward()`, `losses` being means by name, and
    #     `parameters` a list of those of each encoder by input. It adds to the gradients of all parameters. Not for
    #     compiled steps, several processes, or seeds side by side.
    #   turns: a sequence of sequences of names of inputs, each input in one at least. A step of training is then one
    #     step of the optimiser for each turn, in which the inputs of the turn are there and all others missing;
    #     the encoders of those do not move. Rows without any of its inputs have no loss. Not for compiled steps,
    #     several processes, seeds side by side, a fusion of outputs or within encoders, or objectives on pairs.
    #   turned(turn, head): after the backward pass of a turn, before its step; it may change the gradients of the head
    #     in place.
    #   epoch(number, measure): before each epoch, from 1, outside of the graph. `measure("train")` is the mean of each
    #     loss by name over the split, in evaluation and unweighted; `measure("validation")` where the spec says
    #     `validation`.


class Task(Protocol):
    """Samples with a question. Its constructor takes options only, and reads no data but a description of it."""

    description: ClassVar[str]
    """What it asks, where its samples come from and how they were split, in a few sentences."""
    inputs: Mapping[str, str]
    """The modality of each input."""
    target: str
    """The kind of target."""
    metric: str
    """The metric that ranks, one of those of the kind of target."""
    # One more is read where a task has it: epoch_metric: str, by which the best epoch is chosen in place of `metric`,
    #   where that one is costly to measure after every epoch (texts are made token by token; `head_loss` is not), or
    #   where validation is so small that it is noise (of 200 samples right or wrong says less than `log_loss`).
    # Three more are of tasks whose samples hang on their options: identity: str, by which a run is known in place of
    #   those options, so that the same samples from another place are the same run; and document() -> dict, of plain
    #   JSON values, what was found in the data, which a suite keeps as `data.json`; and layout() -> dict, of plain JSON
    #   values, how inputs and truth are made of columns, which a saved model keeps to read new rows by.
    # Three more are of tasks whose samples are each tested once, in folds: folds: int, how many, 0 being none; fold:
    #   int, from 1, whose splits are those of one, and 0 for all, which have none; and order: Sequence[str], the ids of
    #   all samples, in which the scores of the folds are joined. Such a task has an option `fold`.
    encoders: Mapping[str, str]
    """The recommended encoder of each input, "NAME[:key=value,...]"; an input may be left out."""
    training: Mapping[str, Any]
    """Recommended options of training, where the defaults do not suit. A learning rate `lr` is then that of every
    combination, and none is searched: it belongs here only where a record shows that none loses by it."""

    def split(self, name: Split) -> Samples:
        """The samples of a split: the same in every process, disjoint from other splits. Test is asked for last."""
        ...
