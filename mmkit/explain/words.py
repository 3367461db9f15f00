"""What an explanation says in words, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.explain.found import Found
from mmkit.explain.output import WORDS
from mmkit.explain.parts import Detail

LIMITS = (
    "It says what this model did with this sample, and nothing of what is true: a contribution is no cause.",
    (
        "Contributions hang on what the model makes of samples that lack inputs. Where training had no such samples, "
        "that is a habit of the model."
    ),
    "Inputs that say the same share what they say: a small contribution does not mean that an input says little.",
    (
        "Attributions inside an input are against what it is compared with; against something else they are others. "
        "Like contributions, they are a mean over which of the other inputs are there."
    ),
    "What the fusion says of itself (attention, gates) is what it weighs, not what decides.",
    "It is one sample. What an input is worth on all of them, mmkit bench measures.",
)
"""What an explanation is not."""
NOTHING = ("0", "0.0")
"""How a change that is too small to be told is written."""


def number(found: Found, value: float) -> str:
    """A value of the output: a probability in percent, a number in the user's units."""
    return f"{value:.5g}" if found.output.kind == "scalar" else f"{100 * value:.1f} %"


def change(found: Found, value: float) -> str:
    """A difference of the output, signed; of probabilities in percentage points."""
    if found.output.kind == "scalar":
        text = f"{value:+.4g}"
        return NOTHING[0] if float(text) == 0 else text
    text = f"{100 * value:+.1f}"
    return NOTHING[1] if float(text) == 0 else text


def unit(found: Found) -> str:
    """What contributions are counted in."""
    return "units of the number" if found.output.kind == "scalar" else "percentage points"


def answer(found: Found) -> str:
    """What the model says, in a sentence."""
    given, kind = found.answer, found.output.kind
    if kind == "classes":
        share = given["probabilities"][given["label"]]
        return f"The model says {given['label']}, with a probability of {100 * share:.1f} %."
    if kind == "labels":
        return f"The model says {', '.join(given['labels']) or 'no label at all'}."
    if "value" in given:
        return f"The model says {given['value']:.5g}."
    several = ", ".join(f"{name} {value:.5g}" for name, value in zip(found.output.names, given["values"], strict=True))
    return f"The model says {several}."


def explained(found: Found) -> str:
    """Which number is explained, in a sentence."""
    out = found.output
    word = WORDS[out.kind]
    if out.kind == "scalar":
        if len(out.names) == 1:
            return f"Explained is this number, {number(found, found.value)}."
        why = "as asked" if out.asked else "the first of several"
        return f"Explained is {out.name} ({why}), {number(found, found.value)}."
    predicted = {"classes": "the predicted class", "labels": "the likeliest label"}[out.kind]
    why = "as asked" if out.asked else predicted
    return f"Explained is the probability of the {word} {out.name} ({why}), {number(found, found.value)}."


def nothing(found: Found) -> str:
    """What the model says where nothing is given, in a sentence."""
    return (
        f"Where every input is missing it is {number(found, found.nothing)}: what the model holds before it has seen "
        "anything of the sample. Contributions begin there."
    )


def total(found: Found) -> str:
    """How contributions add up."""
    given = [one.value for one in found.contributions if one.value is not None]
    return (
        f"Together {change(found, sum(given))}, from {number(found, found.nothing)} to {number(found, found.value)}, "
        f"in {unit(found)}."
    )


def how(found: Found) -> str:
    """How contributions were found."""
    if not found.permutations:
        return f"Exact Shapley values, over {found.subsets} subsets of the inputs."
    return (
        f"Shapley values over {found.permutations} orders of the inputs, drawn at random; after ± stands the standard "
        "error."
    )


def inside(found: Found, name: str) -> str:
    """How attributions inside an input were found, and what is left of its contribution."""
    one, rest = found.inside[name], found.by_presence(name)
    if one.gained is None or one.gap is None or rest is None:
        because = f", since {one.reason}" if one.reason else ""
        return (
            f"Occlusion{because}: what the output loses when a part is taken away, compared with {one.against}. "
            "The parts need not sum to anything."
        )
    close = one.gap <= 0.001 * found.output.unit
    gap = "they do" if close else f"they miss that by {change(found, one.gap).lstrip('+')}"
    return (
        f"Integrated gradients in {one.steps} steps, compared with {one.against}. All parts should sum to "
        f"{change(found, one.gained)}, what the input gives beyond that; {gap}. By being there at all "
        f"it gives {change(found, rest)}, the rest of its contribution of {change(found, sum(one.values) + rest)}."
    )


def remarks(found: Found) -> Iterator[str]:
    """What else there is to say of an explanation."""
    absent = [one.name for one in found.contributions if one.value is None]
    if absent:
        yield f"Missing in this sample, so that it gives nothing: {', '.join(absent)}."
    for name, reason in found.unread.items():
        yield f"Could not be used, so that it counts as missing: {name}: {reason}."
    if found.unknown:
        yield f"Not looked into, since mmkit does not know what its parts are: {', '.join(found.unknown)}."
    if found.precision != "float32":
        yield f"The model predicts in {found.precision}; this is in float32, which may differ in the last digits."


def cell(value: object) -> str:
    """A cell of a row: numbers with five digits."""
    if value is None:
        return "(empty)"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def detail(one: Detail) -> str:
    """What a fusion says of an input, in figures."""
    return f"{100 * one.value:.1f} %" if one.kind in {"attention", "gate", "weight"} else f"{one.value:.4g}"
