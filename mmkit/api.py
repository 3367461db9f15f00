"""The Python interface: what `mmkit bench`, `retrieve` and `zero-shot` do, and one trained model, in one call each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mmkit.catalog import Catalog, installed
from mmkit.errors import UsageError, one_of
from mmkit.features.cache import default_folder
from mmkit.multimodal import MultimodalModel
from mmkit.plan import Named, plan
from mmkit.record import Record
from mmkit.run import execute
from mmkit.suite import Suite, Watcher, carry_out
from mmkit.unfused.prompts import TEMPLATES, ZeroShot, classified
from mmkit.unfused.retrieval import Asked, Retrieval, retrieval

Several = Named | Sequence[Named]


def bench(
    *,
    task: Named = "digits",
    encoders: Mapping[str, Several] | None = None,
    fusion: Several = "attention",
    head: Several = (),
    objectives: Several = (),
    out: str | Path | None = None,
    save: bool = False,
    mix: bool = False,
    price: bool = True,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    watcher: Watcher | None = None,
    **rest: Any,
) -> Suite:
    """Compare combinations on a task, with each input alone beside them.

    A component is named as on the command line ("low-rank:rank=8"), or given as a class.

    Args:
        task: whose samples.
        encoders: by input, or by modality; several of one input are compared.
        fusion: one or several; "all" is whatever can run here.
        head: likewise; none is the first that suits the task.
        objectives: losses beside the head's, in every combination.
        out: folder of the suite; what it holds is not done again. None is a new one under `mmkit-runs`.
        save: keep the weights of the best seed of each combination, on validation.
        mix: go on in a folder of another machine or of other versions.
        price: measure speed, memory and FLOPs of each combination as well.
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        watcher: told of the progress.
        rest: `seeds`, `training`, `options`, `baselines`, `device`, `precision`, `limit`, `on_error`; see `plan`.

    Raises:
        UsageError: a name, an option or a folder that is not possible.
        UnavailableError: a component or a device that is not to be had here.
        DataError: samples or records that cannot be read, or truth that cannot be used.
        MmkitError: no combination can be built, for the reason of the first.
    """
    catalog = catalog or installed()
    planned = plan(
        catalog,
        task=task,
        encoders={name: _several(given) for name, given in (encoders or {}).items()},
        fusions=_several(fusion),
        heads=_several(head),
        objectives=_several(objectives),
        **rest,
    )
    folder = Path(out) if out is not None else new_folder(planned.task.name)
    kept = default_folder() if cache is None else Path(cache)
    return carry_out(planned, folder, catalog, save=save, mix=mix, price=price, cache=kept, watcher=watcher)


def fit(
    *,
    task: Named = "digits",
    encoders: Mapping[str, Named] | None = None,
    fusion: Named = "attention",
    head: Named | None = None,
    objectives: Several = (),
    seed: int = 0,
    catalog: Catalog | None = None,
    **rest: Any,
) -> tuple[MultimodalModel, Record]:
    """Train one model, and see what it is worth.

    Args:
        task: whose samples.
        encoders: by input, or by modality.
        fusion: its name, or a class.
        head: likewise; None is the first that suits the task.
        objectives: losses beside the head's.
        seed: of weights, order, augmentation and dropout.
        catalog: where names are looked up; None is what is installed.
        rest: `training`, `options`, `device`, `precision`, `limit`, `on_error`; see `plan`.

    Returns:
        The model, which can predict and be saved, and the record of the run.
    """
    catalog = catalog or installed()
    planned = plan(
        catalog,
        task=task,
        encoders={name: [given] for name, given in (encoders or {}).items()},
        fusions=[fusion],
        heads=[] if head is None else [head],
        objectives=_several(objectives),
        seeds=1,
        baselines=False,
        **rest,
    )
    record, model = execute(replace(planned.runs()[0], seed=seed), catalog=catalog)
    return model, record


def load(directory: str | Path, **rest: Any) -> MultimodalModel:
    """A model that `save` wrote; see `MultimodalModel.load`."""
    return MultimodalModel.load(directory, **rest)


def retrieve(
    *,
    task: Named,
    encoders: Mapping[str, Named],
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    **rest: Any,
) -> Retrieval:
    """Is one input of a sample found by its other, among those of all samples of a split?

    Args:
        task: whose samples.
        encoders: of two inputs, both frozen; with a map, it leads from the first to the second.
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        rest: `split`, `map`, `device`, `precision`, `on_error`, `seed`; see `Asked`.

    Raises:
        UsageError: what was asked for cannot be, such as vectors of two widths without a map.
        DataError: samples or weights that cannot be had.
    """
    kept = default_folder() if cache is None else Path(cache)
    return retrieval(catalog or installed(), task=task, encoders=encoders, asked=_asked(rest), cache=kept)


def zero_shot(
    *,
    task: Named,
    input: str,  # noqa: A002 (the user's word for it)
    encoder: Named,
    text_encoder: Named,
    templates: str | Sequence[str] = TEMPLATES,
    classes: Mapping[str, str | Sequence[str]] | None = None,
    pairs: str | None = None,
    cache: str | Path | None = None,
    catalog: Catalog | None = None,
    **rest: Any,
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
        cache: folder for the features of frozen encoders; None is that of `mmkit cache`.
        catalog: where names are looked up; None is what is installed.
        rest: `split`, `map`, `device`, `precision`, `on_error`, `seed`; see `Asked`.

    Raises:
        UsageError: what was asked for cannot be, such as a template without {}.
        DataError: samples or weights that cannot be had.
    """
    return classified(
        catalog or installed(),
        task=task,
        input=input,
        encoder=encoder,
        text_encoder=text_encoder,
        templates=(templates,) if isinstance(templates, str) else templates,
        classes=classes or {},
        pairs=pairs,
        asked=_asked(rest),
        cache=default_folder() if cache is None else Path(cache),
    )


def new_folder(task: str) -> Path:
    """A folder that is not there yet, under `mmkit-runs` in the working directory."""
    stem = f"{task.rpartition('/')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = Path("mmkit-runs") / stem, 1
    while folder.exists():
        folder, count = Path("mmkit-runs") / f"{stem}-{count}", count + 1
    return folder


def _several(given: Several) -> list[Named]:
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _asked(rest: Mapping[str, Any]) -> Asked:
    known = [field.name for field in fields(Asked)]
    for name in rest:
        if name not in known:
            raise UsageError(f"there is no setting {name}; {one_of(known, name)}")
    return Asked(**rest)
