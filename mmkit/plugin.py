"""All that a plugin's entry module imports: the specs, and the hooks that give them.

A distribution registers one module under the entry-point group `mmkit.v1`. That module implements the hooks
it needs; each takes no argument and gives specs. A spec only names a component ("package.module:Attribute"):
the component's module is imported when somebody chooses it. This file needs the standard library and pluggy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pluggy

GROUP = "mmkit.v1"

hookspec = pluggy.HookspecMarker("mmkit")
hookimpl = pluggy.HookimplMarker("mmkit")


@dataclass(frozen=True)
class Spec:
    """What is known of a component before it is imported.

    The file of the component says the same, word for word, and a test compares the two for all that is installed. The
    docstring of its module begins with the summary and a full stop; the second paragraph begins with the paper. Where a
    module holds several components, or has no docstring, the docstring of the class does. A component without a paper
    cites none there.

    Args:
        name: lower-case words joined by hyphens, unique within its kind and distribution.
        reference: where the component is, "package.module:Attribute".
        summary: what it is, in one line without a full stop.
        requires: requirements (PEP 508) that this component has beyond its distribution's own; checked by
            metadata, never by import.
        paper: the source of the method, where it has one: authors, "title", venue and year, URL; of several works,
            one after the other with "; " between them.
        formula: what it computes, in one line: x_m is the vector of an input m, X_m its tokens, o_m its output, y what
            comes out.
        avoids: what published implementations do wrong and this one does not, in a sentence or two; empty where none
            is known.
    """

    kind: ClassVar[str] = "component"

    name: str
    reference: str
    summary: str
    requires: tuple[str, ...] = field(default=(), kw_only=True)
    paper: str = field(default="", kw_only=True)
    formula: str = field(default="", kw_only=True)
    avoids: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Component:
    """Marks an option that names another component: `encoder: Annotated[str, Component("encoder")] = "cnn"`.

    The name is looked up when the option is checked, and what is named is recorded, with its versions.

    Args:
        kind: "encoder", "fusion", ...
    """

    kind: str

    @property
    def documentation(self) -> str:
        """The option in a user's words."""
        return f'{self.kind} NAME, or "NAME:key=value,..."'


@dataclass(frozen=True)
class ForTraining:
    """Marks an option that changes nothing but how weights are trained: `Annotated[float, ForTraining()]`.

    Cached features of a frozen encoder do not depend on it; changing it keeps the cache valid.
    """


@dataclass(frozen=True)
class ModalitySpec(Spec):
    """A kind of raw value.

    Args:
        encoder: name of the encoder taken where nobody names one.
        values: name of the modality whose values in memory it gives, where it is another way to come by them (the sound
            of a video, for audio): encoders of that one read it too.
        extensions: ends of its files' names, in lower case with the dot. Of the modalities of a kind of file, one alone
            names them: columns of such names are taken for its values.
        magic: regular expressions, one of which matches the first bytes of its files (`.` is any byte).
        travels: how a value comes in a request to `mmkit serve`: the "bytes" of a file, a "text", or "json" (numbers,
            lists and mappings). `decode` then gets just that, from anybody, and opens no file that it names.
    """

    kind: ClassVar[str] = "modality"

    encoder: str | None = field(default=None, kw_only=True)
    values: str | None = field(default=None, kw_only=True)
    extensions: tuple[str, ...] = field(default=(), kw_only=True)
    magic: tuple[bytes, ...] = field(default=(), kw_only=True)
    travels: Literal["bytes", "text", "json"] = field(default="json", kw_only=True)


@dataclass(frozen=True)
class EncoderSpec(Spec):
    """Turns the values of one input into features.

    Args:
        modality: name of the modality that it reads.
        fullgraph: False where `torch.compile(fullgraph=True)` cannot take it (`nn.LSTM` and `nn.GRU`).
        exports: False where `torch.export` cannot take it (packed sequences, and `nn.LSTM`, whose loop it unrolls).
        example: options with which the conformance kit builds it, where the defaults need a download.
        pretrained: the option by which it reads pretrained weights of this machine, "model=FOLDER"; empty where an
            installed package holds them; None where it has none, and learns from random weights.
    """

    kind: ClassVar[str] = "encoder"

    modality: str = field(kw_only=True)
    fullgraph: bool = field(default=True, kw_only=True)
    exports: bool = field(default=True, kw_only=True)
    example: tuple[tuple[str, object], ...] = field(default=(), kw_only=True)
    pretrained: str | None = field(default=None, kw_only=True)


FAMILIES = ("vectors", "tokens", "outputs", "both", "inner")
"""What fusions read: one vector an input, all its tokens, the output of its own head, both features and output, or what
stands within encoders."""


@dataclass(frozen=True)
class FusionSpec(Spec):
    """Makes one set of features from those of all inputs.

    Args:
        min_inputs: fewest inputs that it takes.
        max_inputs: most inputs that it takes; None is any number.
        combines: "features" of the inputs; the "outputs" of one head an input (decision level); or "both", where the
            result is the output of the model, as at decision level.
        vectors: True where it reads nothing of features but `vector()` and `present()`. Where all who read those of a
            frozen encoder say so, no tokens are loaded in training.
        removable: False where, by design, an input that is missing leaves a trace (a learned stand-in, a constant
            factor, a flag), so that the result is not that of a fusion built without it. The conformance kit then does
            not compare the two.
        companion: name of an objective that comes along with it, unless `--objective none` leaves it out; one that is
            chosen by name takes its place.
        own_losses: False where, by design, the heads of the inputs at decision level do not each get the loss of their
            own: what trains them is the loss of the whole, and the companion.
        detaches: True where, by design, it passes no gradient on by one of its ways, or by any, or passes another one
            on than its own (straight through a choice). The conformance kit then does not compare its gradients with
            differences, nor ask that one reaches each input.
        inner: "exchange" where it acts between the parts of encoders, too (`StagedEncoder` of the contract).
        compares: True where a penalty of a sample hangs on the others of its batch, which is then not divided into
            micro-batches unless that is asked for.
    """

    kind: ClassVar[str] = "fusion"

    min_inputs: int = field(default=1, kw_only=True)
    max_inputs: int | None = field(default=None, kw_only=True)
    combines: Literal["features", "outputs", "both"] = field(default="features", kw_only=True)
    vectors: bool = field(default=False, kw_only=True)
    removable: bool = field(default=True, kw_only=True)
    companion: str = field(default="", kw_only=True)
    own_losses: bool = field(default=True, kw_only=True)
    detaches: bool = field(default=False, kw_only=True)
    inner: Literal["", "exchange"] = field(default="", kw_only=True)
    compares: bool = field(default=False, kw_only=True)

    @property
    def family(self) -> str:
        """What it reads, one of `FAMILIES`."""
        if self.inner:
            return "inner"
        return self.combines if self.combines != "features" else "vectors" if self.vectors else "tokens"


@dataclass(frozen=True)
class HeadSpec(Spec):
    """Turns fused features into a prediction.

    Args:
        targets: kinds of target that it can predict: "classes", "labels", "scalar", "text", ...
        example: options with which the conformance kit builds it, where the defaults need a download.
        vectors: True where it reads nothing of features but `vector()` and `present()`.
    """

    kind: ClassVar[str] = "head"

    targets: tuple[str, ...] = field(kw_only=True)
    example: tuple[tuple[str, object], ...] = field(default=(), kw_only=True)
    vectors: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class ObjectiveSpec(Spec):
    """A loss beside the head's.

    Args:
        min_inputs: fewest inputs that it makes sense for.
        unimodal: True where it reads `ModelOutput.unimodal`; the model then runs one head an input.
        vectors: True where it reads nothing of the inputs' features but `vector()` and `present()`.
        fusion: name of the only fusion that it goes with, whose output or details it reads; empty for all. Beside
            others it is left out.
        teachers: True where it reads `ModelOutput.teachers`; its option `teachers` then names a folder of saved models.
        compares: True where the loss of a sample hangs on the others of its batch. Several processes that share a batch
            then each give it all of it, as `vectors` has it, and of details those that are [B].
    """

    kind: ClassVar[str] = "objective"

    min_inputs: int = field(default=1, kw_only=True)
    unimodal: bool = field(default=False, kw_only=True)
    teachers: bool = field(default=False, kw_only=True)
    vectors: bool = field(default=False, kw_only=True)
    compares: bool = field(default=False, kw_only=True)
    fusion: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class BalanceSpec(Spec):
    """Changes how encoders are trained, so that no input is left behind by another.

    Args:
        min_inputs: fewest inputs that it makes sense for.
        max_inputs: most inputs that it takes; None is any number.
        targets: kinds of target that it knows; empty is any.
        unimodal: whether each input has a head of its own beside the model, while it is trained: "measured" heads learn
            from detached features and teach no encoder, "trained" ones teach it.
        validation: True where it measures losses on validation; then there is no training on train and validation.
        mixup: False where the features of a sample must be those of its truth, so that `train.mixup` is refused.
    """

    kind: ClassVar[str] = "balance"

    min_inputs: int = field(default=2, kw_only=True)
    max_inputs: int | None = field(default=None, kw_only=True)
    targets: tuple[str, ...] = field(default=(), kw_only=True)
    unimodal: Literal["", "measured", "trained"] = field(default="", kw_only=True)
    validation: bool = field(default=False, kw_only=True)
    mixup: bool = field(default=True, kw_only=True)


@dataclass(frozen=True)
class TaskSpec(Spec):
    """Samples with a question: splits of inputs and truth.

    Args:
        modalities: the modality of each input, by input; shown before the task is loaded. Empty where they hang on its
            options.
        target: the kind of target that it asks for; empty where it hangs on its options.
        licence: under which the data may be used.
        example: options with which the conformance kit builds it, where the defaults have no samples.
    """

    kind: ClassVar[str] = "task"

    modalities: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    target: str = field(default="", kw_only=True)
    licence: str = field(default="", kw_only=True)
    example: tuple[tuple[str, object], ...] = field(default=(), kw_only=True)


@hookspec
def mmkit_modalities() -> Iterable[ModalitySpec]:
    """Kinds of raw value."""
    return ()


@hookspec
def mmkit_encoders() -> Iterable[EncoderSpec]:
    """Encoders, each of one modality."""
    return ()


@hookspec
def mmkit_fusions() -> Iterable[FusionSpec]:
    """Fusions."""
    return ()


@hookspec
def mmkit_heads() -> Iterable[HeadSpec]:
    """Heads."""
    return ()


@hookspec
def mmkit_objectives() -> Iterable[ObjectiveSpec]:
    """Objectives: losses beside the head's."""
    return ()


@hookspec
def mmkit_balances() -> Iterable[BalanceSpec]:
    """Balance methods: how encoders are trained beside each other."""
    return ()


@hookspec
def mmkit_tasks() -> Iterable[TaskSpec]:
    """Tasks."""
    return ()
