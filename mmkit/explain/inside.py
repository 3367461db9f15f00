"""Which parts of an input speak for the answer: by gradients where there are any, else by occlusion.

Axes: B batch, T tokens, steps or frames, C channels, H height, W width, N columns of numbers, K of categories.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmkit.explain import occlusion
from mmkit.explain.gradients import Integral, embedded, integrated, mean_vector, repeated, with_vectors
from mmkit.explain.parts import Columns, Curve, Inside, Parts, Picture, TextParts
from mmkit.explain.sample import Sample, differentiable
from mmkit.transforms.table import MISSING, TableTransform

CELLS = 32
"""Cells of the grid over a picture, in each direction."""
LONGEST = 256
"""Segments of a curve."""
AGAIN = 1e-3
"""How close the output of pixels as numbers is to that of pixels as bytes, in units of the output."""
NO_GRADIENT = "its encoder gives no gradient"

Method = Callable[[Sample, str], "Inside | str"]


def inside(sample: Sample, name: str) -> Inside | None:
    """The attributions within an input that is there; None where its modality is not known.

    Args:
        sample: that is explained.
        name: of the input.
    """
    modality = sample.model.inputs[name]
    if modality not in METHODS:
        return None
    by_gradients, by_occlusion = METHODS[modality]
    with differentiable(sample.model):
        found = by_gradients(sample, name)
    return found if isinstance(found, Inside) else by_occlusion(sample, name, found)


def _found(parts: Parts, integral: Integral, against: str) -> Inside:
    return Inside(parts, "integrated gradients", against, "", integral.gained, integral.gap, integral.steps)


def _occluded(parts: Parts, against: str, reason: str, changes: int) -> Inside:
    return Inside(parts, "occlusion", against, reason, None, None, changes)


def _by_place(attributions: Tensor) -> Tensor:
    """[T] float64, sums of attributions [1 T ...] over what follows T."""
    return attributions[0].double().flatten(1).sum(1) if attributions.ndim > 2 else attributions[0].double()


def text(sample: Sample, name: str) -> Inside | str:
    """Of the vectors of tokens, compared with their mean over the vocabulary. A reason where it cannot be."""
    spans = getattr(sample.model.transforms.inputs[name], "spans", None)
    if spans is None:
        return "its tokenizer does not say where tokens stand"
    places = spans(sample.values[name])
    batch = sample.row(name)
    leaf = next((n for n, one in batch.items() if one.dtype == torch.int64 and one.shape == batch["mask"].shape), None)
    if places is None or leaf is None or len(places) != int(batch["mask"].sum()):
        return "its tokenizer does not say where tokens stand"
    at = embedded(sample, name, batch, leaf, same=True)
    if at is None:
        return "its encoder has no embedding of tokens"
    real = batch["mask"][0]  # [T]
    of_text = torch.zeros_like(real)
    of_text[real] = torch.tensor([start < end for start, end in places], device=real.device)
    mean = mean_vector(at.module).to(at.vectors)
    baseline = torch.where(of_text[None, :, None], mean, at.vectors)  # tokens that the model adds stay

    def forward(vectors: Tensor) -> Tensor:
        return with_vectors(sample, name, at, repeated(batch, len(vectors)), vectors)

    integral = integrated(sample, name, forward, [at.vectors], [baseline])
    if integral is None:
        return NO_GRADIENT
    values = _by_place(integral.attributions[0])[real.cpu()].tolist()
    parts = _joined(sample.values[name], places, values)
    return _found(parts, integral, "tokens that are the mean of all that the model knows")


def _joined(text: str, places: Sequence[tuple[int, int]], values: Sequence[float]) -> TextParts:
    """Tokens that share letters, as bytes of one letter do, joined to one."""
    spans: list[tuple[int, int]] = []
    sums: list[float] = []
    for (start, end), value in sorted(zip(places, values, strict=True)):
        if spans and start < spans[-1][1] and end > start:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            sums[-1] += value
        elif end > start:
            spans.append((start, end))
            sums.append(value)
    return TextParts(text, spans, sums)


def text_occluded(sample: Sample, name: str, reason: str) -> Inside:
    """Word after word left out."""
    spans, changed = occlusion.words(sample.values[name])
    values = occlusion.occluded(sample, name, changed)
    parts = TextParts(sample.values[name], spans, values)
    return _occluded(parts, "the text without the word", reason, len(changed))


def picture(sample: Sample, name: str) -> Inside | str:
    """Of the pixels, compared with the picture's own mean colour."""
    batch = sample.row(name)
    leaf = next((n for n, one in batch.items() if one.ndim == 4 and one.shape[1] in {1, 3}), None)
    if leaf is None:
        return "its batch has no pixels"
    whole = batch[leaf]
    pixels = whole.float()  # [1 C H W]
    baseline = pixels.cpu().double().mean((2, 3), keepdim=True).to(pixels).expand_as(pixels)

    def forward(changed: Tensor) -> Tensor:
        own = {**repeated(batch, len(changed)), leaf: changed}
        return sample.beside(name, sample.encoded(name, own))

    try:
        with torch.no_grad():
            apart = float((forward(pixels) - sample.beside(name, sample.encoded(name, batch))).abs())
    except (RuntimeError, TypeError) as error:
        return f"its encoder takes bytes alone ({type(error).__name__})"
    if apart > AGAIN * sample.output.unit:
        return "its encoder gives something else for pixels that are no bytes"
    integral = integrated(sample, name, forward, [pixels], [baseline])
    if integral is None:
        return NO_GRADIENT
    grid = _pooled(integral.attributions[0][0].double().sum(0))
    return _found(Picture(_bytes(whole[0]), grid), integral, "a picture of one colour, its own mean")


def _pooled(values: Tensor) -> Tensor:
    """[R K], sums of [H W] over cells of equal size; those at the right and at the bottom may be smaller."""
    side = max(1, math.ceil(max(values.shape) / CELLS))
    height, width = values.shape
    full = F.pad(values, (0, -width % side, 0, -height % side))
    return F.avg_pool2d(full[None], side)[0] * side**2


def _bytes(pixels: Tensor) -> Tensor:
    """uint8 [C H W], numbers brought to what can be shown."""
    if pixels.dtype == torch.uint8:
        return pixels.cpu()
    low, high = pixels.amin(), pixels.amax()
    return ((pixels - low) / (high - low).clamp(min=1e-9) * 255).to(torch.uint8).cpu()


def picture_occluded(sample: Sample, name: str, reason: str) -> Inside:
    """Patch after patch in the mean colour of the picture."""
    value = sample.values[name]
    (down, across), changed = occlusion.patches(value)
    grid = torch.tensor(occlusion.occluded(sample, name, changed), dtype=torch.float64).view(down, across)
    against = "the picture with its mean colour in that patch"
    return _occluded(Picture(_bytes(value), grid), against, reason, len(changed))


def curve(sample: Sample, name: str) -> Inside | str:
    """Of each step, compared with the mean of the signal over time."""
    batch = sample.row(name)
    mask = batch["mask"]
    leaf = next((n for n, one in batch.items() if one.is_floating_point() and one.shape[:2] == mask.shape), None)
    if leaf is None or mask.ndim != 2 or batch[leaf].ndim > 3:
        return "its batch has no steps in time"
    steps = batch[leaf]  # [1 T] or [1 T C]
    real = mask.view(*mask.shape, *[1] * (steps.ndim - 2))
    total = steps.cpu().double().masked_fill(~real.cpu(), 0).sum(1, keepdim=True)
    mean = total / mask.sum().cpu().clamp(min=1)  # of one sample
    baseline = torch.where(real, mean.to(steps).expand_as(steps), steps)

    def forward(changed: Tensor) -> Tensor:
        own = {**repeated(batch, len(changed)), leaf: changed}
        return sample.beside(name, sample.encoded(name, own))

    integral = integrated(sample, name, forward, [steps], [baseline])
    if integral is None:
        return NO_GRADIENT
    parts = _over_time(sample, name, _by_place(integral.attributions[0])[mask[0].cpu()])
    return _found(parts, integral, "a signal that stays at its own mean")


def _over_time(sample: Sample, name: str, values: Tensor) -> Curve:
    """A curve of steps [T], joined to at most `LONGEST` segments."""
    signal, length, unit = _signal(sample, name, len(values))
    count = min(LONGEST, len(values))
    cuts = [place * len(values) // count for place in range(count + 1)]
    sums = [float(values[start:end].sum()) for start, end in itertools.pairwise(cuts)]
    return Curve(signal, [length * cut / len(values) for cut in cuts], sums, length, unit)


def _signal(sample: Sample, name: str, steps: int) -> tuple[Tensor, float, str]:
    """What a model read of a series or a sound: [T' C], its length, and the unit of that."""
    value, transform = sample.values[name], sample.model.transforms.inputs[name]
    if not isinstance(value, tuple):
        return value[:steps], float(min(steps, len(value))), "steps"
    wave, rate = value  # [channels time]
    longest, own = getattr(transform, "longest", None), getattr(transform, "rate", None)
    read = wave.shape[1] if longest is None or own is None else min(wave.shape[1], round(longest / own * rate))
    return wave[:, :read].T, read / rate, "s"


def curve_occluded(sample: Sample, name: str, reason: str) -> Inside:
    """Segment after segment at the mean of the signal."""
    value = sample.values[name]
    signal = value[0].T if isinstance(value, tuple) else value  # [T C]
    edges, changed = occlusion.segments(signal)
    values = occlusion.occluded(sample, name, [(c.T, value[1]) if isinstance(value, tuple) else c for c in changed])
    rate, unit = (value[1], "s") if isinstance(value, tuple) else (1, "steps")
    parts = Curve(signal, [edge / rate for edge in edges], values, len(signal) / rate, unit)
    against = "the signal with its mean in that segment"
    return _occluded(parts, against, reason, len(changed))


def columns(sample: Sample, name: str) -> Inside | str:
    """Of numbers and of the vectors of categories, compared with mean numbers and empty categories."""
    transform, batch = sample.model.transforms.inputs[name], sample.row(name)
    if not isinstance(transform, TableTransform):
        return "its transform is not the one of tables that mmkit knows"
    numbers, categories = batch["numbers"], batch["categories"]
    inputs: list[Tensor] = [numbers] if numbers.shape[1] else []
    baselines = [torch.zeros_like(numbers)] if inputs else []  # the mean of training
    at = None
    if categories.shape[1]:
        at = embedded(sample, name, batch, "categories", same=False)
        empty = {**batch, "categories": torch.full_like(categories, MISSING)}
        against = embedded(sample, name, empty, "categories", same=False)
        if at is None or against is None:
            return "its encoder has no embedding of categories"
        inputs, baselines = [*inputs, at.vectors], [*baselines, against.vectors]

    def forward(*changed: Tensor) -> Tensor:
        own = repeated(batch, len(changed[0]))
        if numbers.shape[1]:
            own["numbers"] = changed[0]
        if at is None:
            return sample.beside(name, sample.encoded(name, own))
        return with_vectors(sample, name, at, own, changed[-1])

    integral = integrated(sample, name, forward, inputs, baselines)
    if integral is None:
        return NO_GRADIENT
    values = torch.cat([_by_place(part) for part in integral.attributions]).tolist()
    parts = _columns([*transform.scales, *transform.values], sample.values[name], values)
    said = [*(["mean numbers"] if numbers.shape[1] else []), *(["empty categories"] if categories.shape[1] else [])]
    return _found(parts, integral, f"a row of {' and '.join(said)}")


def _columns(names: Sequence[str], row: Mapping[str, Any], values: Sequence[float]) -> Columns:
    return Columns(list(names), [row.get(name) for name in names], list(values))


def columns_occluded(sample: Sample, name: str, reason: str) -> Inside:
    """Cell after cell emptied."""
    row = sample.values[name]
    names, changed = occlusion.cells(row)
    values = occlusion.occluded(sample, name, changed)
    against = "the row with an empty cell in that column"
    return _occluded(_columns(names, row, values), against, reason, len(changed))


METHODS: Mapping[str, tuple[Method, Callable[[Sample, str, str], Inside]]] = {
    "text": (text, text_occluded),
    "image": (picture, picture_occluded),
    "series": (curve, curve_occluded),
    "audio": (curve, curve_occluded),
    "table": (columns, columns_occluded),
}
