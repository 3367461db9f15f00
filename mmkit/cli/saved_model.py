"""A saved model for a command: loaded, with what there is to know of it as lines on stderr."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import Catalog


def load(directory: Path, catalog: Catalog, device: str) -> MultimodalModel:
    """The model in a folder.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
        UnavailableError: a plugin or a device that it needs is not available.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = MultimodalModel.load(directory, catalog=catalog, device=device)
    for one in told:
        print(f"mmkit: {one.message}", file=sys.stderr)
    return model
