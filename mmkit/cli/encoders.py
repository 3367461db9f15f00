"""The option `--encoder` of commands that train."""

from __future__ import annotations

from collections.abc import Iterable

from mmkit.errors import UsageError


def encoders_by_input(texts: Iterable[str]) -> dict[str, list[str]]:
    """Encoders by input or modality, from `INPUT=NAME[:key=value,...]`.

    Raises:
        UsageError: a text is not of that form.
    """
    by_input: dict[str, list[str]] = {}
    for text in texts:
        name, equals, encoder = text.partition("=")
        if not (name and equals and encoder):
            raise UsageError(f"--encoder takes INPUT=NAME[:key=value,...]; got {text}")
        by_input.setdefault(name.strip(), []).append(encoder.strip())
    return by_input
