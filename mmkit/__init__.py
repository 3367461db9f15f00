"""mmkit: which encoders, fused how, give the best answer on your multimodal data, and at what cost?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmkit.alignment.retrieval import Retrieval as Retrieval
    from mmkit.alignment.zero_shot import ZeroShot as ZeroShot
    from mmkit.api import bench as bench
    from mmkit.api import compare as compare
    from mmkit.api import evaluate as evaluate
    from mmkit.api import fit as fit
    from mmkit.api import inspect as inspect
    from mmkit.api import load as load
    from mmkit.api import predict as predict
    from mmkit.api import retrieve as retrieve
    from mmkit.api import zero_shot as zero_shot
    from mmkit.contract import Features as Features
    from mmkit.contract import Samples as Samples
    from mmkit.errors import MmkitError as MmkitError
    from mmkit.experiments.suite import Suite as Suite
    from mmkit.model.trained import MultimodalModel as MultimodalModel
    from mmkit.records.record import Record as Record
    from mmkit.registry.catalog import installed as installed
    from mmkit.report.compare import SuiteComparison as SuiteComparison
    from mmkit.report.verdict import Verdict as Verdict

    __version__: str

# Public name -> its module, which is imported when the name is first used, so that `import mmkit` is fast.
_PUBLIC = {
    "Features": "mmkit.contract",
    "MmkitError": "mmkit.errors",
    "MultimodalModel": "mmkit.model.trained",
    "Record": "mmkit.records.record",
    "Retrieval": "mmkit.alignment.retrieval",
    "Samples": "mmkit.contract",
    "Suite": "mmkit.experiments.suite",
    "SuiteComparison": "mmkit.report.compare",
    "Verdict": "mmkit.report.verdict",
    "ZeroShot": "mmkit.alignment.zero_shot",
    "bench": "mmkit.api",
    "compare": "mmkit.api",
    "evaluate": "mmkit.api",
    "fit": "mmkit.api",
    "inspect": "mmkit.api",
    "installed": "mmkit.registry.catalog",
    "load": "mmkit.api",
    "predict": "mmkit.api",
    "retrieve": "mmkit.api",
    "zero_shot": "mmkit.api",
}

__all__ = [
    "Features",
    "MmkitError",
    "MultimodalModel",
    "Record",
    "Retrieval",
    "Samples",
    "Suite",
    "SuiteComparison",
    "Verdict",
    "ZeroShot",
    "bench",
    "compare",
    "evaluate",
    "fit",
    "inspect",
    "installed",
    "load",
    "predict",
    "retrieve",
    "zero_shot",
]


if not TYPE_CHECKING:  # a type checker would take every name for an object

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("mmkit-core")
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, "__version__"})
