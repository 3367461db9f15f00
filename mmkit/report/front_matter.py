"""The front matter of a card: what the hub reads of it, in YAML.

Strings are written as in JSON, which YAML reads as they are. Fields and values are those of
https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmkit.records.record import Record
from mmkit.titles import title_of

LICENCES = frozenset(
    {
        "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause",
        "bsd-3-clause-clear", "bsl-1.0", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
        "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
        "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0",
        "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa",
        "odbl", "odc-by", "ofl-1.1", "openrail", "openrail++", "osl-3.0", "pddl", "postgresql", "unlicense",
        "wtfpl", "zlib",
    }
)  # fmt: skip
"""Licences that the hub knows by a name; another one is `other`, with its text as its name."""
TAGS = {
    (("text",), "classes"): "text-classification",
    (("text",), "labels"): "text-classification",
    (("image",), "classes"): "image-classification",
    (("image",), "labels"): "image-classification",
    (("audio",), "classes"): "audio-classification",
    (("audio",), "labels"): "audio-classification",
    (("video",), "classes"): "video-classification",
    (("video",), "labels"): "video-classification",
    (("table",), "classes"): "tabular-classification",
    (("table",), "labels"): "tabular-classification",
    (("table",), "scalar"): "tabular-regression",
    (("image",), "text"): "image-to-text",
    (("image", "text"), "text"): "image-text-to-text",
}
"""The hub's names of tasks, by modalities and kind of target; for most sets of several modalities it has none."""


def front_matter(
    inputs: Mapping[str, str],
    target: str,
    *,
    licence: str | None = None,
    name: str = "",
    data: str = "",
    record: Record | None = None,
) -> str:
    """The front matter of a model, with the lines that enclose it.

    Args:
        inputs: the modality of each.
        target: its kind.
        licence: as its maker gave it; None leaves it out.
        name: of the model.
        data: that it was tested on.
        record: of its run; None has no metrics.
    """
    kinds = tuple(sorted(set(inputs.values())))
    task = TAGS.get((kinds, target))
    found: dict[str, Any] = {}
    if licence is not None:
        known = licence.strip().lower().replace(" ", "-")
        found |= {"license": known} if known in LICENCES else {"license": "other", "license_name": _clean(licence)}
    found["library_name"] = "mmkit"
    if task is not None:
        found["pipeline_tag"] = task
    found["tags"] = ["mmkit", *(["multimodal"] if len(inputs) > 1 else []), *kinds]
    scores = {} if record is None else _scores(record)
    if record is not None and scores:
        found["metrics"] = [record.metric]
        rows = [{"type": one, "name": title_of(one), "value": score} for one, score in scores.items()]
        of = {"name": _clean(data), "type": _clean(data), "split": "test"}
        result = {"task": {"type": task or target}, "dataset": of, "metrics": rows}
        found["model-index"] = [{"name": _clean(name), "results": [result]}]
    return "\n".join(["---", *_lines(found), "---", "", ""])


def _scores(record: Record) -> dict[str, float]:
    """The scores on test that are numbers, that of the task first."""
    names = sorted(record.metrics, key=lambda name: name != record.metric)
    return {name: score for name in names if (score := record.metrics[name]) is not None and math.isfinite(score)}


def _lines(value: Mapping[str, Any] | Sequence[Any]) -> Iterator[str]:
    """A mapping or a list as lines of YAML."""
    entries = [(f"{name}:", one) for name, one in value.items()] if isinstance(value, Mapping) else None
    for head, one in entries if entries is not None else [("-", one) for one in value]:
        if not isinstance(one, Mapping | list):
            yield f"{head} {_plain(one)}"
            continue
        inner = list(_lines(one))
        if head == "-":  # its first line stands beside the dash
            inner = [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
            yield from inner
        else:
            yield head
            yield from (f"  {line}" for line in inner)


def _plain(value: Any) -> str:
    """A value as JSON, and a number as YAML 1.1 knows it: 5e-05 is a string there, 5.0e-05 is not."""
    text = json.dumps(value, ensure_ascii=False)
    mantissa, e, power = text.partition("e")
    return f"{mantissa}.0e{power}" if isinstance(value, float) and e and "." not in mantissa else text


def _clean(text: str) -> str:
    """A text in one line, without what cannot be printed."""
    return "".join(one for one in " ".join(text.split()) if one.isprintable())
