"""Where the cache is: features of frozen encoders, and tables that were read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mmkit.system.files import at_home

LOCKS = ".locks"
"""Locks of the entries, a folder each; never removed, because two processes could then lock two files of one name."""
ABOUT = "about.json"
"""What an entry is; written last, so an entry without it is unfinished."""
INSTEAD = "set MMKIT_CACHE to another folder"


def default_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the cache: MMKIT_CACHE, else `mmkit/features` in the user's cache folder."""
    environ = os.environ if environ is None else environ
    if environ.get("MMKIT_CACHE"):
        return at_home(environ["MMKIT_CACHE"])
    return at_home(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmkit" / "features"
