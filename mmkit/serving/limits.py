"""What a service takes at most, and what it refuses with."""

from __future__ import annotations

from dataclasses import dataclass

from mmkit.errors import UsageError


class RefusedError(Exception):
    """One sample cannot be answered; the others of its request are.

    Args:
        input: to blame; empty where it is the whole sample.
        reason: why, in the sender's words.
    """

    def __init__(self, input: str, reason: str) -> None:  # noqa: A002 (the sender's word for it)
        self.input = input
        self.reason = shortened(reason)
        super().__init__(self.reason)

    def document(self) -> dict[str, object]:
        """What stands in the place of the answer."""
        return {"error": {"input": self.input or None, "reason": self.reason}}


class FullError(Exception):
    """There is no room for more samples: 503, with Retry-After."""


@dataclass(frozen=True)
class Limits:
    """What a service takes at most.

    Args:
        most: rows of a batch; a sample is one, and one more for each input that an explanation leaves out.
        wait: seconds that the first sample of a batch waits for others; 0 takes those that are there.
        room: rows that may wait.
        body: bytes of a request.
        seconds: of a request, from its first byte to its answer; as long may its body take to arrive.
        streams: that are open at once.
        deadline: seconds from a chunk of a stream to its answer, beyond which it is late.
    """

    most: int = 32
    wait: float = 0.0
    room: int = 256
    body: int = 16 * 2**20
    seconds: float = 10.0
    streams: int = 64
    deadline: float = 1.0

    def __post_init__(self) -> None:
        if self.most < 1 or self.room < self.most:
            raise UsageError(
                f"a batch is of 1 or more samples, and as many may wait; got {self.most} with room for {self.room}"
            )
        if not 0 <= self.wait < self.seconds < float("inf"):
            raise UsageError(
                f"the wait is 0 seconds or more, and shorter than the timeout; got {self.wait:g} and {self.seconds:g}"
            )
        if self.streams < 0 or not 0 < self.deadline < float("inf"):
            raise UsageError(
                f"streams are 0 or more, and the deadline is above 0 seconds; got {self.streams} and {self.deadline:g}"
            )
        if self.body < 1024:
            raise UsageError(f"a request may have 1 KiB or more; got {self.body} bytes")

    @property
    def held(self) -> int:
        """Bytes of requests that are in memory at once; as many again may the windows of streams hold."""
        return max(16 * self.body, 256 * 2**20)


def shortened(text: str, most: int = 300) -> str:
    """A text of at most so many characters, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."
