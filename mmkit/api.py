"""The Python interface: what `mmkit bench`, `retrieve` and `zero-shot` do, and one trained model, in one call each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from mmkit.alignment.retrieval import AlignmentOptions, Map, Retrieval, measure_retrieval
from mmkit.alignment.zero_shot import TEMPLATES, ZeroShot, classify_zero_shot
from mmkit.contract import Split
from mmkit.experiments.plan import Named, plan
from mmkit.experiments.run import execute
from mmkit.experiments.suite import Suite, carry_out
from mmkit.features.cache import default_folder
from mmkit.features.sharing import Shared
from mmkit.model.trained import MultimodalModel
from mmkit.records.record import Record
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice
from mmkit.system.bars import Bars
from mmkit.system.notebook import NotebookBars, in_notebook
from mmkit.system.precision import Precision
from mmkit.system.progress import Progress
from mmkit.system.settings import OnError, Settings

OneOrMore = Named | Sequence[Named]


def bench(
    *,
    task: Named = "digits",
    encoders: Mapping[str, OneOrMore] | None = None,
    fusion: OneOrMore = "attention",
    head: OneOrMore = (),
    objectives: OneOrMore = (),
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    seeds: int = 3,
    baselines: bool = True,
    device: str = "auto",
    precision: Precision = "float32",
    limit: int | None = None,
    on_error: OnError = "fail",
    out: str | Path | None = None,
    save: bool = False,
    mix: bool = False,
    cost: bool = True,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> Suite:
    """Compare combinations on a task, with each input alone beside them.

    A component is named as on the command line ("low-rank:rank=8"), or given as a class.

    Args:
        task: whose samples.
        encoders: by input, or by modality; several of one input are compared.
        fusion: one or several; "all" is whatever can run here.
        head: likewise; none is the first that suits the task.
        objectives: losses beside the head's, in every combination.
        options: "fusion.key=value", "encoder.INPUT.key=value", "train.key=value", ...; they beat those in a name.
        training: options of training, which beat what the task recommends.
        seeds: how many; 3 are 0, 1 and 2.
        baselines: whether each input alone is compared, too.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward: "float32", "bfloat16" or "float16".
        limit: at most so many training samples.
        on_error: what is done about a value that cannot be read or transformed: "fail", "skip" (its sample is left out)
            or "missing" (the value alone).
        out: folder of the suite; runs that it holds are not done again. None is a new one under `mmkit-runs`.
        save: keep the weights of the best seed of each combination, on validation.
        mix: go on in a folder of another machine or of other versions.
        cost: measure speed, memory and FLOPs of each combination as well.
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        progress: bars on a terminal and in a notebook; False is silent; or something of your own.

    Raises:
        UsageError: a name, an option or a folder that is not possible.
        UnavailableError: a component or a device that is not available on this machine.
        DataError: samples or records that cannot be read, or truth that cannot be used.
        MmkitError: no combination can be built, for the reason of the first.
    """
    catalog = catalog or installed()
    planned = plan(
        catalog,
        task=task,
        encoders={name: _list(given) for name, given in (encoders or {}).items()},
        fusions=_list(fusion),
        heads=_list(head),
        objectives=_list(objectives),
        options=options,
        training=training,
        seeds=seeds,
        baselines=baselines,
        settings=Settings(device, precision, limit, on_error),
    )
    folder = new_folder(planned.task.name) if out is None else Path(out)
    with _progress(progress) as shown:
        return carry_out(planned, folder, catalog, save=save, mix=mix, cost=cost, cache=_cache(cache), progress=shown)


def fit(
    *,
    task: Named = "digits",
    encoders: Mapping[str, Named] | None = None,
    fusion: Named = "attention",
    head: Named | None = None,
    objectives: OneOrMore = (),
    options: Iterable[str] = (),
    training: Mapping[str, object] | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
    limit: int | None = None,
    on_error: OnError = "fail",
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> tuple[MultimodalModel, Record]:
    """Train one model, and measure it.

    Args:
        task: whose samples.
        encoders: by input, or by modality.
        fusion: its name, or a class.
        head: likewise; None is the first that suits the task.
        objectives: losses beside the head's.
        options: "fusion.key=value", "encoder.INPUT.key=value", "train.key=value", ...; they beat those in a name.
        training: options of training, which beat what the task recommends.
        seed: of weights, order, augmentation and dropout.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward: "float32", "bfloat16" or "float16".
        limit: at most so many training samples.
        on_error: what is done about a value that cannot be read or transformed: "fail", "skip" or "missing".
        catalog: where names are looked up; None is what is installed.
        progress: bars on a terminal and in a notebook; False is silent; or something of your own.

    Returns:
        The model, which can predict and be saved, and the record of the run.

    Raises:
        UsageError: a name or an option that is not possible.
        UnavailableError: a component or a device that is not available on this machine.
        DataError: samples that cannot be read, or truth that cannot be used.
        MmkitError: training diverged.
    """
    catalog = catalog or installed()
    planned = plan(
        catalog,
        task=task,
        encoders={name: [given] for name, given in (encoders or {}).items()},
        fusions=[fusion],
        heads=[] if head is None else [head],
        objectives=_list(objectives),
        options=options,
        training=training,
        seeds=1,
        baselines=False,
        settings=Settings(device, precision, limit, on_error),
    )
    with _progress(progress) as shown:
        record, model = execute(replace(planned.runs()[0], seed=seed), catalog=catalog, shared=Shared(progress=shown))
    return model, record


def load(
    directory: str | Path,
    *,
    components: Mapping[str, type | Choice] | None = None,
    catalog: Catalog | None = None,
    device: torch.device | str = "cpu",
) -> MultimodalModel:
    """A model that `save` wrote. Nothing is downloaded.

    Args:
        directory: the folder.
        components: by their recorded names, those that were given as classes; as choices where they had a spec.
        catalog: where names are looked up; None is what is installed.
        device: for the model.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
        UnavailableError: a component's plugin is not installed; it names the distribution and its version.
    """
    return MultimodalModel.load(directory, components=components, catalog=catalog, device=device)


def retrieve(
    *,
    task: Named,
    encoders: Mapping[str, Named],
    split: Split = "test",
    map: Map = "none",  # noqa: A002 (the user's word for it)
    device: str = "auto",
    precision: Precision = "float32",
    on_error: OnError = "fail",
    seed: int = 0,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> Retrieval:
    """Is one input of a sample found by its other, among those of all samples of a split?

    Args:
        task: whose samples.
        encoders: of two inputs, both frozen; with a map, it leads from the first to the second.
        split: whose samples are queries and candidates.
        map: "none" where both encoders share a space, else "ridge".
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward: "float32", "bfloat16" or "float16".
        on_error: what is done about a value that cannot be read: "fail", "skip" or "missing".
        seed: of encoders without pretrained weights.
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        progress: bars on a terminal and in a notebook; False is silent; or something of your own.

    Raises:
        UsageError: what was asked for is not possible, such as vectors of two widths without a map.
        DataError: samples or weights that are not available.
    """
    with _progress(progress) as shown:
        return measure_retrieval(
            catalog or installed(),
            task=task,
            encoders=encoders,
            asked=AlignmentOptions(split, map, seed, Settings(device, precision, on_error=on_error)),
            shared=Shared(_cache(cache), shown),
        )


def zero_shot(
    *,
    task: Named,
    input: str,  # noqa: A002 (the user's word for it)
    encoder: Named,
    text_encoder: Named,
    templates: str | Sequence[str] = TEMPLATES,
    classes: Mapping[str, str | Sequence[str]] | None = None,
    pairs: str | None = None,
    split: Split = "test",
    map: Map = "none",  # noqa: A002 (the user's word for it)
    device: str = "auto",
    precision: Precision = "float32",
    on_error: OnError = "fail",
    seed: int = 0,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    progress: bool | Progress = True,
) -> ZeroShot:
    """Classify one input by what its classes are called, without training on any label.

    Args:
        task: whose samples; it asks for classes.
        input: that is classified.
        encoder: of it, frozen.
        text_encoder: of the prompts, frozen.
        templates: prompts, each with {} where the class belongs, one or several; those of a class are averaged.
        classes: words of a class, one or several, by its label; a class that is left out is called by its label.
        pairs: the text input that a ridge map is fitted with; None is the only one.
        split: whose samples are classified.
        map: "none" where both encoders share a space, else "ridge".
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the forward: "float32", "bfloat16" or "float16".
        on_error: what is done about a value that cannot be read: "fail", "skip" or "missing".
        seed: of encoders without pretrained weights.
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        progress: bars on a terminal and in a notebook; False is silent; or something of your own.

    Raises:
        UsageError: what was asked for is not possible, such as a template without {}.
        DataError: samples or weights that are not available.
    """
    with _progress(progress) as shown:
        return classify_zero_shot(
            catalog or installed(),
            task=task,
            input=input,
            encoder=encoder,
            text_encoder=text_encoder,
            templates=(templates,) if isinstance(templates, str) else templates,
            classes=classes or {},
            pairs=pairs,
            asked=AlignmentOptions(split, map, seed, Settings(device, precision, on_error=on_error)),
            shared=Shared(_cache(cache), shown),
        )


def new_folder(task: str) -> Path:
    """A folder that does not exist yet, under `mmkit-runs` in the working directory."""
    stem = f"{task.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = Path("mmkit-runs") / stem, 1
    while folder.exists():
        folder, count = Path("mmkit-runs") / f"{stem}-{count}", count + 1
    return folder


def _list(given: OneOrMore) -> list[Named]:
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _cache(given: str | Path | None) -> Path:
    return default_folder() if given is None else Path(given)


@contextmanager
def _progress(given: bool | Progress) -> Iterator[Progress]:
    if isinstance(given, Progress):
        shown = given
    elif given:
        shown = NotebookBars() if in_notebook() else Bars()
    else:
        shown = Progress()
    with warnings.catch_warnings():
        # What tqdm says in a notebook when it is imported, by torchmetrics and transformers; mmkit needs no widgets.
        warnings.filterwarnings("ignore", message="IProgress not found")
        with shown:
            yield shown
