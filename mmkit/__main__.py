"""`python -m mmkit`, the same as the command `mmkit`."""

from __future__ import annotations

import sys
from pathlib import Path

from mmkit.cli import main

# With -m Python searches the working directory first; the command does not, and no plugin is loaded from there.
if sys.path and Path(sys.path[0]) == Path.cwd():
    del sys.path[0]

if __name__ == "__main__":
    main()
