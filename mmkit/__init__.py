"""mmkit: which encoders, fused how, give the best answer on your multimodal data, and at what price?"""

from __future__ import annotations

import importlib

# Name -> module. Nothing is imported before it is asked for: `import mmkit` costs next to nothing.
_FACE = {
    "Features": "mmkit.contract",
    "MmkitError": "mmkit.errors",
    "MultimodalModel": "mmkit.multimodal",
    "Samples": "mmkit.contract",
    "bench": "mmkit.api",
    "fit": "mmkit.api",
    "installed": "mmkit.catalog",
    "load": "mmkit.api",
    "retrieve": "mmkit.api",
    "zero_shot": "mmkit.api",
}

__all__ = [
    "Features",
    "MmkitError",
    "MultimodalModel",
    "Samples",
    "bench",
    "fit",
    "installed",
    "load",
    "retrieve",
    "zero_shot",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("mmkit-core")
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE, "__version__"})
