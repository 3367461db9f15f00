"""Where mmkit keeps files of its own: the folder of the cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mmkit.system.files import at_home


def default_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the cache: MMKIT_CACHE, else `mmkit/features` in the user's cache folder."""
    environ = os.environ if environ is None else environ
    if environ.get("MMKIT_CACHE"):
        return at_home(environ["MMKIT_CACHE"])
    return at_home(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmkit" / "features"
