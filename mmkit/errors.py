"""One tree of errors. A message says what was given, what was expected, and what to do.

    MmkitError                    1   a run, a check or a comparison failed
    ├── UsageError                2   what was asked for cannot be: an unknown name, a wrong option
    ├── UnavailableError          3   a component or a device is not to be had on this machine
    ├── DataError                 4   data or weights are missing or cannot be read
    │   └── ValuesError               a transform says which of its values those are
    └── ContractError             1   a component does not keep the contract; its author must mend it

The number is the exit code of the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

MANY = 40
"""Names that nobody reads to the end."""


class MmkitError(Exception):
    """Anything mmkit says no to; the command line prints its message as one line."""

    exit_code = 1


class UsageError(MmkitError):
    """What was asked for cannot be."""

    exit_code = 2


class UnavailableError(MmkitError):
    """A component or a device is not to be had here."""

    exit_code = 3


class DataError(MmkitError):
    """Data or weights are missing or cannot be read."""

    exit_code = 4


class ValuesError(DataError):
    """Values that a transform cannot be fitted on, where only all of them together tell which.

    Args:
        reasons: by the place among the values that it was given.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__(next(iter(self.reasons.values())))


class ContractError(MmkitError):
    """A component does not keep the contract of `mmkit.contract`."""


def one_of(possible: Iterable[str], given: str) -> str:
    """The end of a message about a wrong name: the nearest match, then all that is possible; of many, the nearest.

    >>> one_of(["concat", "sum"], "concta")
    'did you mean concat? Possible: concat, sum'
    >>> one_of(map(str, range(1000)), "77x")
    'did you mean 77? The nearest of 1000: 77, 977, 877, 797, 787'
    """
    names = sorted(set(possible))
    if not names:
        return "nothing is possible here"
    close = difflib.get_close_matches(given, names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    if len(names) > MANY:
        return f"{meant}The nearest of {len(names)}: {', '.join(difflib.get_close_matches(given, names, 5, cutoff=0))}"
    return f"{meant}Possible: {', '.join(names)}"
