"""Ctrl-C while others work: the first lets what is in progress end, the second ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Asked:
    """Whether the user has asked for the end."""

    def __init__(self) -> None:
        self.stop = False


@contextmanager
def interrupts(called: str, tell: Callable[[str], None], end: Callable[[], None]) -> Iterator[Asked]:
    """A context in which the first Ctrl-C is only noted; after it ends, it is raised.

    Outside of the main thread nothing changes, since signals do not arrive there.

    Args:
        called: what is in progress.
        tell: shows a line when it is noted.
        end: ends what is in progress, at a second one.

    Raises:
        KeyboardInterrupt: after the context, if there was one; at once at a second one.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (as `signal` calls it)
        if asked.stop:
            end()
            raise KeyboardInterrupt
        asked.stop = True
        tell(f"{called} in progress end first and are kept; Ctrl-C again ends them at once")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
    if asked.stop:
        raise KeyboardInterrupt
