"""Zero-shot classification: the class whose description in words lies nearest, without training on any label.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020, section 3.1: several prompts a class, their unit vectors averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.alignment.embedder import Embedder
from mmkit.alignment.retrieval import AlignmentOptions, best_map, check_widths, embedder_of, encoders_of
from mmkit.contract import Split, Target
from mmkit.data.splits import Splits, splits_of
from mmkit.data.subset import with_truth
from mmkit.errors import DataError, UsageError, one_of
from mmkit.experiments.plan import Named
from mmkit.features.sharing import Shared
from mmkit.metrics.tensors import metrics_of
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import Catalog
from mmkit.system.machine import machine, software
from mmkit.transforms.truth import Categories, category_name

TEMPLATES = ("a picture of {}",)
SHARPNESS = 100.0
"""Of the softmax over cosine similarities: CLIP's own, at the end of its training."""


@dataclass(frozen=True)
class ZeroShot:
    """What was found.

    Args:
        task: with its options.
        asked: the settings.
        input: that was classified.
        encoders: "input" and "text".
        templates: with {} for a class in words.
        classes: the words of each class.
        samples: that have the input and truth.
        left_out: that lack one of them.
        metrics: of the classes, by name.
        by_class: the share of each class that was found; None of one that no sample has.
        majority: the accuracy of always naming the class that is most frequent among the samples.
        strength: of the ridge map, chosen on validation; None without one.
        unread: values that could not be read and count as missing, by split.
        plugins: distributions of the components, with versions.
    """

    task: str
    asked: AlignmentOptions
    input: str
    encoders: dict[str, str]
    templates: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    samples: int
    left_out: int
    metrics: dict[str, float | None]
    by_class: dict[str, float | None]
    majority: float
    strength: float | None
    unread: dict[Split, list[str]]
    plugins: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As plain JSON values, with machine and software."""
        return {
            "schema": 1,
            **asdict(self),
            "asked": self.asked.document(),
            "machine": machine(),
            "software": software(),
        }


def classify_zero_shot(
    catalog: Catalog,
    *,
    task: Named,
    input: str,  # noqa: A002 (the user's word for it)
    encoder: Named,
    text_encoder: Named,
    templates: Sequence[str],
    classes: Mapping[str, str | Sequence[str]],
    pairs: str | None,
    asked: AlignmentOptions,
    shared: Shared | None = None,
) -> ZeroShot:
    """Classify one input by prompts.

    Args:
        catalog: where names are looked up.
        task: whose samples; it asks for classes.
        input: that is classified.
        encoder: of it.
        text_encoder: of the prompts.
        templates: each with {} for a class in words.
        classes: words of a class, one or several; a class that is left out is called by its label.
        pairs: the text input of which pairs with `input` a ridge map is fitted; None is the only one.
        asked: the settings.
        shared: keeps the vectors, and is told of the progress.

    Raises:
        UsageError: a template without {}, an unknown input or class, another kind of task, or vectors of two widths
            without a map.
        DataError: values cannot be read.
    """
    for template in templates:
        if "{}" not in template:
            raise UsageError(f"a template has {{}} where the class belongs (a picture of {{}}); got {template!r}")
    if not templates:
        raise UsageError("zero-shot classification needs a template, such as 'a picture of {}'; got none")
    shared = shared or Shared()
    chosen = catalog.choose("task", task)
    splits = splits_of(chosen, catalog, asked.settings)
    if splits.task.target != "classes":
        raise UsageError(f"zero-shot classification needs a task of classes; {chosen} asks for {splits.task.target}")
    ((name, choice),) = encoders_of(catalog, splits, {input: encoder}).items()
    texts = catalog.choose("encoder", text_encoder)
    if isinstance(texts.spec, EncoderSpec) and texts.spec.modality != "text":
        raise UsageError(f"encoder {texts.name} reads {texts.spec.modality}; prompts need one that reads text")
    truth = Categories("classes")
    truth.fit(splits("train").truth)
    words = _words(truth.names, classes)
    prompts = [template.replace("{}", said) for each in words.values() for said in each for template in templates]
    looking = embedder_of(name, choice, splits, asked, shared)
    if asked.map == "ridge":
        reading = embedder_of(_paired(splits, name, pairs), texts, splits, asked, shared)
    else:
        reading = Embedder("prompts", texts, prompts, settings=asked.settings, seed=asked.seed, shared=shared)
    check_widths(looking, reading, asked.map)
    mapped = best_map(looking, reading, splits) if asked.map == "ridge" else None

    whole = splits(asked.split)
    seen = [t if v is not None else None for t, v in zip(whole.truth, whole.inputs[name], strict=True)]
    known = with_truth(replace(whole, truth=seen))
    if not len(known):
        raise DataError(f"no sample of the {asked.split} split has {name} and truth")
    label = truth(known.truth)["label"]  # [N]
    points, said = looking(known.inputs[name], asked.split), reading(prompts)
    if mapped:
        points, said = mapped.of_a(points), mapped.of_b(said)
    means = _of_classes(said.double(), [len(each) * len(templates) for each in words.values()])
    nearness = F.normalize(points.double(), dim=-1) @ means.T  # [N C]
    metrics = metrics_of(Target("classes", len(words), tuple(words)))
    everyone = torch.ones(len(label), dtype=torch.bool)
    metrics.update({"probabilities": (SHARPNESS * nearness).softmax(-1)}, {"label": label, "mask": everyone})
    right = (nearness.argmax(-1) == label).double()
    of_class = {called: right[label == number] for number, called in enumerate(words)}
    return ZeroShot(
        task=str(chosen),
        asked=asked,
        input=name,
        encoders={"input": str(choice), "text": str(texts)},
        templates=tuple(templates),
        classes=words,
        samples=len(known),
        left_out=len(whole) - len(known),
        metrics=metrics.compute(),
        by_class={called: float(hits.mean()) if len(hits) else None for called, hits in of_class.items()},
        majority=float(label.bincount().max() / len(label)),
        strength=mapped.strength if mapped else None,
        unread=splits.unread,
        plugins={**chosen.plugins, **choice.plugins, **texts.plugins},
    )


def _words(labels: Sequence[str], classes: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The words of every class, in order of the labels; those of which none are given are their own."""
    classes = {category_name(given): said for given, said in classes.items()}
    for given, said in classes.items():
        if given not in labels:
            raise UsageError(f"the task has no class {given}; {one_of(labels, given)}")
        if not said or not all(word.strip() for word in ([said] if isinstance(said, str) else said)):
            raise UsageError(f"class {given} is given no words; give one or several")
    found = {label: classes.get(label, label.replace("_", " ")) for label in labels}
    return {label: (said,) if isinstance(said, str) else tuple(said) for label, said in found.items()}


def _paired(splits: Splits, name: str, pairs: str | None) -> str:
    """The text input that a map is fitted with."""
    texts = [other for other, modality in splits.task.inputs.items() if modality == "text" and other != name]
    if pairs is not None and pairs not in texts:
        raise UsageError(f"{pairs} is no other text input of the task; {one_of(texts, pairs)}")
    if pairs is None and len(texts) != 1:
        raise UsageError(
            f"--map ridge is fitted on pairs of {name} and a text; the task has {', '.join(texts) or 'no text input'}"
            f"{': name one with pairs' if texts else ', so take two towers of one model'}"
        )
    return pairs or texts[0]


def _of_classes(prompts: Tensor, counts: Sequence[int]) -> Tensor:
    """[C D], of unit length: the mean of the unit vectors of each class's prompts."""
    return torch.stack([F.normalize(F.normalize(part, dim=-1).mean(0), dim=0) for part in prompts.split(list(counts))])
