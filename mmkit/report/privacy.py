"""What a private training covers, and what not, in sentences."""

from __future__ import annotations

from math import exp

from mmkit.records.record import Record


def privacy_notes(record: Record) -> list[str]:
    """What a reader must know of a private training, a paragraph each; none of another."""
    if (one := record.private) is None:
        return []
    spent = (
        f"Private: epsilon {one.epsilon:.3g} at delta {one.delta:g} was spent, by {one.steps:,} steps. In each a row "
        f"took part with probability {one.rate:.3g}; the noise was {one.noise:.3g} times the norm {one.clip:g} to "
        f"which the gradient of each row was clipped ({one.accountant})."
    )
    covered = (
        "Covered: whether any one row of train was there. Of all that the weights tell, of every epoch and to whoever "
        f"has them, the odds of that change by a factor of {_factor(one.epsilon)} at most, but for a probability of "
        "delta."
    )
    uncovered = (
        "Not covered: what is fitted on train without noise and stands in model.json (vocabularies, categories, "
        "scaling, counts of rows and classes); the rows of validation and test, what they chose (the epoch, a "
        "temperature), and every figure that was measured on them; several rows of one person together; what "
        "pretrained weights were trained on; and other trainings on the same rows, such as those that were compared "
        "before this one: each spends its own."
    )
    handed = (
        "Give away model.json and model.safetensors alone, and the card where its counts and figures may be known: the "
        "other files of the folder say which rows there are, and how the model answers them."
    )
    return [spent, covered, uncovered, handed]


def _factor(epsilon: float) -> str:
    """e^epsilon in words.

    >>> _factor(1), _factor(8), _factor(20)
    ('2.7', '2,981', 'more than a million')
    """
    if epsilon > 13.8:
        return "more than a million"
    return f"{exp(epsilon):,.0f}" if epsilon > 4.6 else f"{exp(epsilon):.2g}"
