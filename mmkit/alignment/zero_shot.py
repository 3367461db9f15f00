"""Zero-shot classification: the class whose description in words is the most similar, without training on any label.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020, section 3.1: several prompts per class, their unit vectors averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.alignment.embedder import Embedder, embedder_of, encoders_of
from mmkit.alignment.mapping import best_map, check_widths
from mmkit.alignment.options import AlignmentOptions
from mmkit.contract import Split, Target
from mmkit.data.splits import Splits, splits_of
from mmkit.data.subset import with_truth
from mmkit.errors import DataError, UsageError, one_of
from mmkit.experiments.plan import Named
from mmkit.features.sharing import Shared
from mmkit.metrics.intervals import intervals
from mmkit.metrics.tensors import metrics_of
from mmkit.plugin import EncoderSpec
from mmkit.registry.catalog import Catalog
from mmkit.report.html import paragraph, table
from mmkit.report.sheet import Sheet, between, independent, share
from mmkit.system.machine import machine, software
from mmkit.system.state import own_state
from mmkit.transforms.truth import Categories, category_name

TEMPLATES = ("a picture of {}",)
LOGIT_SCALE = 100.0
"""Factor of cosine similarities in the softmax over classes: the value that CLIP's reached in training."""


@dataclass(frozen=True, repr=False)
class ZeroShot:
    """The result of a zero-shot classification.

    Args:
        task: with its options.
        options: split, map, seed and settings.
        input: the input that was classified.
        encoders: "input" and "text".
        templates: prompts with {} in place of the class.
        classes: the names in words of each class.
        samples: number of samples that have the input and truth.
        left_out: number of samples that lack one of them.
        metrics: of classification, by name.
        intervals: of them, 95 %, over samples or the groups that these are in; none where it cannot be told.
        by_class: the recall of each class; None if no sample is of the class.
        majority: the accuracy of always predicting the most frequent class of the samples.
        strength: of the ridge map, chosen on validation; None without a map.
        unread: values that could not be read, by split.
        plugins: distributions of the components, with versions.
        intervals_over: the factors whose groups were drawn for them; empty where samples were.
    """

    task: str
    options: AlignmentOptions
    input: str
    encoders: dict[str, str]
    templates: tuple[str, ...]
    classes: dict[str, tuple[str, ...]]
    samples: int
    left_out: int
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    by_class: dict[str, float | None]
    majority: float
    strength: float | None
    unread: Mapping[Split, Sequence[str]]
    plugins: dict[str, str]
    intervals_over: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        reached = f"accuracy {share(self.metrics['accuracy'])}, most frequent class {share(self.majority)}"
        return f"<ZeroShot of {self.task}, {self.input} among {len(self.classes)} classes: {reached}>"

    def _repr_html_(self) -> str:
        return f"{table(self.sheet())}\n{paragraph(self.sentence())}"

    def sheet(self) -> Sheet:
        """Each class with its words and its recall, as text."""
        lines = [[label, ", ".join(words), share(self.by_class[label])] for label, words in self.classes.items()]
        return Sheet("", ["class", "called"], ["recall"], lines)

    def sentence(self) -> str:
        """The metrics over all classes, and the samples that they were measured on."""
        metrics = {"accuracy": "accuracy", "f1_macro": "macro F1", "recall_macro": "macro recall"}
        sentence = ", ".join(
            f"{title} {share(self.metrics[name])}{between(self.intervals.get(name))}" for name, title in metrics.items()
        )
        if self.intervals:
            sentence += f" (95 % over {independent(self.intervals_over)})"
        sentence += f"; always predicting the most frequent class: {share(self.majority)}"
        sentence += f". {self.samples} samples of the {self.options.split} split of {self.task}"
        if self.left_out:
            sentence += f"; {self.left_out} lack {self.input} or truth"
        if self.strength is not None:
            sentence += f"; ridge map fitted on train, strength {self.strength:g} chosen on validation"
        return f"{sentence}."

    def document(self) -> dict[str, Any]:
        """As plain JSON values, with machine and software."""
        return {
            "schema": 1,
            **asdict(self),
            "options": self.options.document(),
            "machine": machine(),
            "software": software(),
        }


@own_state(seed=0)
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
    options: AlignmentOptions,
    shared: Shared | None = None,
) -> ZeroShot:
    """Classify one input of a task by prompts.

    Args:
        catalog: where names are looked up.
        task: a classification task.
        input: the input to classify.
        encoder: frozen encoder of the input.
        text_encoder: frozen encoder of the prompts.
        templates: prompts, each with {} in place of the class.
        classes: one or several names in words, by label; the default is the label itself.
        pairs: the text input whose pairs with `input` a ridge map is fitted on; None is the task's only text input.
        options: split, map, seed and settings.
        shared: keeps the vectors, and has the progress to report to.

    Raises:
        UsageError: a template without {}, an unknown input or class, another kind of task, or vectors of different
            widths without a map.
        DataError: values cannot be read.
    """
    for template in templates:
        if "{}" not in template:
            raise UsageError(
                f"a template needs {{}} in place of the class, as in 'a picture of {{}}'; got {template!r}"
            )
    if not templates:
        raise UsageError("zero-shot classification needs a template, such as 'a picture of {}'; got none")
    shared = shared or Shared()
    chosen_task = catalog.choose("task", task)
    splits = splits_of(chosen_task, catalog, options.settings)
    if splits.task.target != "classes":
        raise UsageError(
            f"zero-shot classification needs a task with target classes; that of {chosen_task} is {splits.task.target}"
        )
    ((name, choice),) = encoders_of(catalog, splits, {input: encoder}).items()
    text_choice = catalog.choose("encoder", text_encoder)
    if isinstance(text_choice.spec, EncoderSpec) and text_choice.spec.modality != "text":
        raise UsageError(
            f"encoder {text_choice.name} reads {text_choice.spec.modality}; prompts need one that reads text"
        )
    truth = Categories("classes")
    truth.fit(splits("train").truth)
    names = _class_names(truth.names, classes)
    prompts = [template.replace("{}", each) for several in names.values() for each in several for template in templates]
    input_embedder = embedder_of(name, choice, splits, options, shared)
    if options.map == "ridge":
        text_embedder = embedder_of(_paired_text(splits, name, pairs), text_choice, splits, options, shared)
    else:
        text_embedder = Embedder(
            "prompts", text_choice, prompts, settings=options.settings, seed=options.seed, shared=shared
        )
    check_widths(input_embedder, text_embedder, options.map)
    ridge_map = best_map(input_embedder, text_embedder, splits) if options.map == "ridge" else None

    whole = splits(options.split)
    labels = [t if v is not None else None for t, v in zip(whole.truth, whole.inputs[name], strict=True)]
    samples = with_truth(replace(whole, truth=labels))
    if not len(samples):
        raise DataError(f"no sample of the {options.split} split has both input {name} and truth")
    label = truth(samples.truth)["label"]  # [N]
    vectors, prompt_vectors = input_embedder(samples.inputs[name], options.split), text_embedder(prompts)
    if ridge_map:
        vectors, prompt_vectors = ridge_map.of_a(vectors), ridge_map.of_b(prompt_vectors)
    class_vectors = _class_vectors(prompt_vectors.double(), [len(each) * len(templates) for each in names.values()])
    similarity = F.normalize(vectors.double(), dim=-1) @ class_vectors.T  # [N C]
    metrics = metrics_of(Target("classes", len(names), tuple(names)))
    mask = torch.ones(len(label), dtype=torch.bool)
    metrics.update({"probabilities": (LOGIT_SCALE * similarity).softmax(-1)}, {"label": label, "mask": mask})
    correct = (similarity.argmax(-1) == label).double()
    correct_of = {each: correct[label == number] for number, each in enumerate(names)}
    return ZeroShot(
        task=str(chosen_task),
        options=options,
        input=name,
        encoders={"input": str(choice), "text": str(text_choice)},
        templates=tuple(templates),
        classes=names,
        samples=len(samples),
        left_out=len(whole) - len(samples),
        metrics=metrics.compute(),
        intervals=intervals(metrics, list(samples.factors.values())),
        by_class={each: float(correct.mean()) if len(correct) else None for each, correct in correct_of.items()},
        majority=float(label.bincount().max() / len(label)),
        strength=ridge_map.strength if ridge_map else None,
        unread=splits.unread,
        plugins={**chosen_task.plugins, **choice.plugins, **text_choice.plugins},
        intervals_over=list(samples.factors),
    )


def _class_names(labels: Sequence[str], classes: Mapping[str, str | Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The names in words of every class, in the order of the labels; by default the label, with spaces."""
    classes = {category_name(label): names for label, names in classes.items()}
    for label, names in classes.items():
        if label not in labels:
            raise UsageError(f"the task has no class {label}; {one_of(labels, label)}")
        if not names or not all(name.strip() for name in ([names] if isinstance(names, str) else names)):
            raise UsageError(f"class {label} has an empty name; give one or several names in words")
    of_labels = {label: classes.get(label, label.replace("_", " ")) for label in labels}
    return {label: (names,) if isinstance(names, str) else tuple(names) for label, names in of_labels.items()}


def _paired_text(splits: Splits, name: str, pairs: str | None) -> str:
    """The text input whose pairs with input `name` a map is fitted on."""
    texts = [other for other, modality in splits.task.inputs.items() if modality == "text" and other != name]
    if pairs is not None and pairs not in texts:
        raise UsageError(f"the task has no other text input {pairs} to pair with {name}; {one_of(texts, pairs)}")
    if pairs is None and len(texts) != 1:
        raise UsageError(
            f"--map ridge is fitted on pairs of {name} and a text input; the task has "
            f"{'several, ' + ', '.join(texts) if texts else 'none'}; "
            f"{'name one with --pairs' if texts else 'take the two towers of one model instead'}"
        )
    return pairs or texts[0]


def _class_vectors(prompts: Tensor, counts: Sequence[int]) -> Tensor:
    """[C D], of unit length: the mean of the unit vectors of each class's prompts."""
    return torch.stack([F.normalize(F.normalize(part, dim=-1).mean(0), dim=0) for part in prompts.split(list(counts))])
