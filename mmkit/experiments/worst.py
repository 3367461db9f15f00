"""The worst errors of a trained model on test, kept with their samples for a reader of the suite.

Axes: N samples of test, T steps, C channels, H height, W width.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmkit.contract import Samples, TruthTransform
from mmkit.data.dataset import Dataset
from mmkit.model.network import Model
from mmkit.model.prediction import losses_of_samples, predictions_at
from mmkit.records.splits import id_as_text
from mmkit.records.worst import FOLDER, PICTURES, Shown, Worst, WrongAnswer
from mmkit.system.files import replacing, utf8
from mmkit.system.hashing import digest
from mmkit.system.precision import Precision
from mmkit.transforms.truth import category_name, numbers_of

MOST = 24
"""Errors that are kept of a run."""
SIDE = 160
"""The longer side of a picture that is kept, in pixels."""
TINY = 64
"""The longer side of a picture that is kept as it is."""
STRETCHES = 200
"""Of a curve."""
CHANNELS = 4
"""Of a curve, at most."""
LETTERS = 1000
"""Of a text, at most."""
CELLS = 30
"""Of a row of a table, at most."""


def worst_errors(
    run: str,
    module: Model,
    transform: TruthTransform,
    data: Dataset,
    test: Samples,
    precision: Precision,
    folder: Path,
) -> Worst:
    """The wrong answers with the greatest loss, of numbers the answers with the greatest loss; their pictures are kept.

    Args:
        run: the id of its record.
        module: trained.
        transform: of the truth.
        data: the test split.
        test: its samples, decoded.
        precision: of the forward pass.
        folder: of the suite.

    Raises:
        OSError: a picture cannot be written.
    """
    kind = transform.target().kind
    losses, known = losses_of_samples(module, data, precision)
    order = losses.masked_fill(~known, -torch.inf).argsort(descending=True, stable=True)[: int(known.sum())]
    found: list[WrongAnswer] = []
    for index in order.split(MOST):
        answers = transform.inverse(predictions_at(module, data, index, precision))
        for row, answer in zip(index.tolist(), answers, strict=True):
            truth = test.truth[row]
            if not _wrong(kind, answer, truth):
                continue
            inputs = {name: _shown(column[row], folder) for name, column in test.inputs.items()}
            told, given = _in_words(kind, answer, truth)
            sure, of_truth = _probabilities(answer, truth) if kind == "classes" else (None, None)
            id_ = id_as_text(test.ids[row])
            found.append(WrongAnswer(row, id_, told, given, sure, of_truth, float(losses[row]), inputs))
            if len(found) == MOST:
                return Worst(run, kind, found)
    return Worst(run, kind, found)


def _wrong(kind: str, answer: Any, truth: Any) -> bool:
    if kind == "classes":
        return bool(answer["label"] != category_name(truth))
    if kind == "labels":
        return set(answer["labels"]) != set(map(category_name, truth))
    return bool(answer["text"] != truth) if kind == "text" else True


def _in_words(kind: str, answer: Any, truth: Any) -> tuple[str, str]:
    """Truth and answer as text."""
    if kind == "classes":
        return category_name(truth), str(answer["label"])
    if kind == "labels":
        return ", ".join(sorted(map(category_name, truth))) or "none", ", ".join(answer["labels"]) or "none"
    if kind == "scalar":
        given = answer["values"] if "values" in answer else [answer["value"]]
        return _numbers(numbers_of(truth)), _numbers(given)
    return _cut(str(truth)), _cut(str(answer["text"] if kind == "text" else answer))


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _probabilities(answer: Mapping[str, Any], truth: Any) -> tuple[float, float | None]:
    """Of the answer and of the truth; None of a class that training lacks."""
    known: Mapping[str, float] = answer["probabilities"]
    return known[answer["label"]], known.get(category_name(truth))


def _shown(value: Any, folder: Path) -> Shown:
    """A value in memory as a reader sees it, by what it is: a third party's modality needs no word here."""
    if value is None:
        return Shown("missing")
    if isinstance(value, str):
        return Shown("text", _cut(value))
    if isinstance(value, Mapping) and all(isinstance(cell, str | int | float | None) for cell in value.values()):
        cells = {str(name): _cut(_cell(cell)) for name, cell in list(value.items())[:CELLS] if cell is not None}
        more = len(value) - CELLS
        return Shown("table", f"and {more} more columns" if more > 0 else "", cells=cells)
    return _of_tensors(value, folder) or Shown("other", type(value).__name__)


def _of_tensors(value: Any, folder: Path) -> Shown | None:
    """A video [T C H W], a sound [C T] with its rate, a picture [C H W] or a series [T C]; None of another value."""
    found = None
    frames = value.get("frames") if isinstance(value, Mapping) else None
    if isinstance(frames, Tensor) and frames.ndim == 4 and len(frames) and _is_picture(frames[0]):
        places = torch.linspace(0, len(frames) - 1, min(3, len(frames))).long().tolist()
        found = Shown("picture", f"{len(frames)} frames", [_picture(frames[at], folder) for at in places])
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Tensor) and _is_curve(value[0]):
        found = _curve(value[0], f"{value[0].shape[1] / value[1]:.3g} s")  # samples per second
    elif isinstance(value, Tensor) and _is_picture(value):
        found = Shown("picture", f"{value.shape[2]} x {value.shape[1]}", [_picture(value, folder)])
    elif isinstance(value, Tensor) and _is_curve(value):
        found = _curve(value.T, f"{len(value)} steps")
    return found


def _is_picture(value: Tensor) -> bool:
    """Whether it can be kept as one: bytes in grey or colour."""
    return value.ndim == 3 and value.dtype == torch.uint8 and value.shape[0] in {1, 3} and value.numel() > 0


def _is_curve(value: Tensor) -> bool:
    return value.ndim == 2 and value.numel() > 0


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    """A text of at most `LETTERS`; a lone surrogate, which no file can hold, as its escape."""
    plain = utf8(text).decode()
    return plain if len(plain) <= LETTERS else f"{plain[: LETTERS - 1]}…"


def _curve(channels: Tensor, told: str) -> Shown:
    """The lowest and the highest value of each stretch of each channel [C T]."""
    parts = channels[:CHANNELS].double().nan_to_num(0.0, 0.0, 0.0).tensor_split(min(STRETCHES, channels.shape[1]), 1)
    low = torch.stack([part.amin(1) for part in parts], 1)
    high = torch.stack([part.amax(1) for part in parts], 1)
    more = f", {CHANNELS} of {len(channels)} channels" if len(channels) > CHANNELS else ""
    return Shown("curve", told + more, low=_rounded(low), high=_rounded(high))


def _rounded(values: Tensor) -> list[list[float]]:
    return [[float(f"{value:.4g}") for value in row] for row in values.tolist()]


def _picture(pixels: Tensor, folder: Path) -> str:
    """Keep a picture [C H W], made smaller where it is large; the name of its file."""
    array = pixels.cpu().permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    stream, small = io.BytesIO(), max(image.size) <= TINY
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "PNG" if small else "JPEG", **({} if small else {"quality": 80}))
    content = stream.getvalue()
    name = f"{digest(content)[:32]}.{'png' if small else 'jpg'}"
    path = folder / FOLDER / PICTURES / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as (fresh,):
            fresh.write_bytes(content)
    return name
