"""Which encoders and fusions can be exported, and to what."""

from __future__ import annotations

import json

from mmkit.registry.catalog import BUILTIN, installed
from parts.markdown import ROOT, table

EXPORTS = ROOT / "benchmarks" / "records" / "exports.json"


def exported_as(kind: str) -> dict[str, str]:
    """The formats that each fusion or encoder was exported to, by name, as the record has it."""
    found = json.loads(EXPORTS.read_text("utf-8"))[kind]
    return {
        name: ", ".join(one for one, apart in formats.items() if isinstance(apart, float)) or "none"
        for name, formats in found.items()
    }


def exports() -> str:
    """Which encoders and fusions can be exported, and to what."""
    parts = []
    for kind in ("encoder", "fusion"):
        taken = exported_as(kind)
        entries = [entry for entry in installed().available(kind) if entry.distribution == BUILTIN]
        rows = [(f"`{entry.name}`", entry.summary, taken.get(entry.name, "-")) for entry in entries]
        parts.append(table((kind, "what it does", "exports"), rows))
    return "\n\n".join(parts)
