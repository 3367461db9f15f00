"""Embeddings of one input by a frozen encoder: the vectors that retrieval and zero-shot classification compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from mmkit.alignment.options import AlignmentOptions
from mmkit.contract import Encoder, Split
from mmkit.data.splits import Splits
from mmkit.errors import UsageError, one_of
from mmkit.experiments.plan import Named, kinds_of
from mmkit.features.extraction import Extraction
from mmkit.features.sharing import Shared
from mmkit.model.assembly import built, reads
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.settings import Settings
from mmkit.system.state import own_state


class Embedder:
    """The encoder of one input with its fitted transform. Vectors are computed once, then read from the cache.

    Args:
        name: name of the input.
        choice: the encoder.
        values: decoded values of the training split, which the transform is fitted on; None is a missing one.
        settings: device and precision are used.
        seed: of the weights of an encoder that has no pretrained ones.
        shared: keeps the vectors.

    Raises:
        UsageError: the encoder is not frozen, so its weights would be random.
    """

    def __init__(
        self,
        name: str,
        choice: Choice,
        values: Sequence[Any],
        *,
        settings: Settings,
        seed: int = 0,
        shared: Shared | None = None,
    ) -> None:
        transform = built(choice, reads(choice))
        transform.fit(values)
        with own_state(settings.device, seed=seed):
            encoder = cast(nn.Module, built(choice, None, transform))
        if not getattr(encoder, "frozen", False):
            raise UsageError(
                f"encoder {choice} of input {name} is not frozen, and nothing is trained here; expected a pretrained "
                "encoder: choose one (mmkit list-plugins --kind encoder), with tune=frozen"
            )
        self.name = name
        self.width = cast(Encoder, encoder).width
        self._extract = Extraction(
            name, choice, encoder.to(settings.device), transform, settings, Shared() if shared is None else shared
        )

    def __call__(self, values: Sequence[Any], split: Split | None = None) -> Tensor:
        """Vectors [N D] of decoded values, none missing; float32, on the CPU. `mmkit cache list` shows `split`.

        Raises:
            MmkitError: features are not finite.
        """
        ids = [str(number) for number in range(len(values))]
        return self._extract(values, ids, split=split).vectors.tokens.float()


def encoders_of(catalog: Catalog, splits: Splits, encoders: Mapping[str, Named]) -> dict[str, Choice]:
    """The chosen encoder of each input. An input may be named by its modality if no other input has that modality.

    Raises:
        UsageError: an unknown input, an ambiguous modality, two encoders of one input, or an encoder of another
            modality.
    """
    inputs = splits.task.inputs
    choices: dict[str, Choice] = {}
    for given, named in encoders.items():
        of_modality = [name for name, modality in inputs.items() if modality == given]
        if given not in inputs and len(of_modality) != 1:
            if of_modality:
                raise UsageError(f"{given} is the modality of several inputs, {', '.join(of_modality)}; name one input")
            raise UsageError(f"the task has no input {given}; {one_of([*inputs, *inputs.values()], given)}")
        name = given if given in inputs else of_modality[0]
        if name in choices:
            raise UsageError(f"input {name}, the only one of modality {inputs[name]}, is given two encoders; give one")
        choice = catalog.choose("encoder", named)
        readable = kinds_of(catalog, inputs[name])
        if isinstance(choice.spec, EncoderSpec) and choice.spec.modality not in readable:
            raise UsageError(
                f"encoder {choice.name} reads {choice.spec.modality}, and input {name} is "
                f"{' or '.join(sorted(readable))}; choose another encoder"
            )
        choices[name] = choice
    return choices


def embedder_of(name: str, choice: Choice, splits: Splits, options: AlignmentOptions, shared: Shared) -> Embedder:
    """The embedder of an input, with its transform fitted on the training split."""
    values = splits("train").inputs[name]
    return Embedder(name, choice, values, settings=options.settings, seed=options.seed, shared=shared)
