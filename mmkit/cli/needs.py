"""What a component takes, or a task has, in words; read from its spec alone."""

from __future__ import annotations

from mmkit.plugin import BalanceSpec, EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, Spec, TaskSpec

HEADS = {
    True: ", each with its own head",
    "measured": ", each measured by its own head",
    "trained": ", each trained by its own head as well",
}
"""What is said of `unimodal`."""


def in_short(spec: Spec | None) -> str:
    """A few words for a column: an encoder's modality, how many inputs, which targets.

    >>> in_short(FusionSpec("late", "a:B", "", min_inputs=2, max_inputs=3, combines="outputs"))
    'outputs of 2 to 3 inputs'
    """
    words = ""
    if isinstance(spec, ModalitySpec):
        words = f"values of {spec.values}" if spec.values else ""
    elif isinstance(spec, EncoderSpec):
        words = spec.modality
    elif isinstance(spec, FusionSpec):
        inputs = count(spec.min_inputs, spec.max_inputs, "+")
        read = {"features": "", "outputs": "outputs of ", "both": "outputs, features of "}[spec.combines]
        words = read + inputs
    elif isinstance(spec, HeadSpec):
        words = ", ".join(spec.targets)
    elif isinstance(spec, ObjectiveSpec | BalanceSpec):
        words = count(spec.min_inputs, getattr(spec, "max_inputs", None), "+")
    elif isinstance(spec, TaskSpec):
        inputs = ", ".join(dict.fromkeys(modality for _, modality in spec.modalities))
        words = f"{inputs} -> {spec.target}" if inputs else "any"
    return words


def in_full(spec: Spec | None) -> str:
    """A phrase for the page of the component."""
    if isinstance(spec, EncoderSpec):
        return f"an input of modality {spec.modality}"
    if isinstance(spec, FusionSpec):
        features = "vectors" if spec.vectors else "features"
        read = {"features": features, "outputs": "outputs", "both": f"{features} and outputs"}[spec.combines]
        return f"the {read} of {count(spec.min_inputs, spec.max_inputs)}"
    if isinstance(spec, HeadSpec):
        return f"targets of kind {' or '.join(spec.targets)}"
    if isinstance(spec, ObjectiveSpec | BalanceSpec):
        targets, fusion = getattr(spec, "targets", ()), getattr(spec, "fusion", "")
        return (
            count(spec.min_inputs, getattr(spec, "max_inputs", None))
            + HEADS.get(spec.unimodal, "")
            + (f", and what fusion {fusion} says" if fusion else "")
            + (", and a saved model of each alone" if getattr(spec, "teachers", False) else "")
            + (f"; targets of kind {' or '.join(targets)}" if targets else "")
        )
    if isinstance(spec, TaskSpec):
        inputs = ", ".join(f"{name} ({modality})" for name, modality in spec.modalities)
        return f"inputs {inputs}; target {spec.target}" if inputs else "inputs and target by its options"
    return ""


def count(low: int, high: int | None, more: str = " or more") -> str:
    """So many inputs."""
    if high is None:
        return f"{low}{more} inputs"
    return f"{low} to {high} inputs" if high != low else f"{low} input{'s' * (low != 1)}"
