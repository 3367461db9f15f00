"""The errors of mmkit, in one tree. A message says what was given, what was expected, and what to do.

    MmkitError                    1   a run, a check or a comparison failed
    ├── UsageError                2   the request is not possible: an unknown name, a wrong option
    ├── UnavailableError          3   a component or a device is not available on this machine
    ├── DataError                 4   data or weights are missing or cannot be read
    │   └── ValuesError               a transform names the values that it cannot be fitted on
    ├── TrainingError             1   a training led to nothing: it diverged, or no epoch has a score
    └── ContractError             1   a component breaks the contract; its author must fix it

The number is the exit code of the command line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

MANY = 40
"""The longest list of names that a message shows in full."""


class MmkitError(Exception):
    """Any error of mmkit's own; the command line prints its message as one line."""

    exit_code = 1
    said = False
    """Whether another process of the same training has said it."""


class UsageError(MmkitError):
    """The request is not possible: an unknown name, a wrong option, an unusable folder."""

    exit_code = 2


class UnavailableError(MmkitError):
    """A component or a device is not available on this machine."""

    exit_code = 3


class DataError(MmkitError):
    """Data or weights are missing or cannot be read."""

    exit_code = 4


class ValuesError(DataError):
    """Values that a transform cannot be fitted on, where it takes all values together to find out which.

    Args:
        reasons: why, by the index of the value among those that the transform was given.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__(next(iter(self.reasons.values())))

    def __reduce__(self) -> tuple[type, tuple[Mapping[int, str]]]:
        return ValuesError, (self.reasons,)


class TrainingError(MmkitError):
    """A training led to nothing: it diverged, or no epoch has a score. On several ranks it is the same on all."""


class ContractError(MmkitError):
    """A component breaks the contract of `mmkit.contract`."""


OF_PYTHON: Mapping[str, str] = {
    "column": 'columns={{"{0}": "{1}"}}',
    "decimal": 'decimal="{0}"',
    "files": "files={0}",
    "id": "id={0}",
    "include": "include={0}",
    "on-error": 'on_error="{0}"',
    "outside": "outside=True",
    "target": "target={0}",
    "target-kind": 'target_kind="{0}"',
}
"""How Python's face calls what messages name as an option of the command line, with its values in place of {}."""
_OPTION = re.compile(rf"--({'|'.join(sorted(OF_PYTHON, key=len, reverse=True))})(?![\w-])(?: ([\w.]+)(?:=([\w:.]+))?)?")
_VALUES = {"fail", "missing", "skip", "classes", "labels", "scalar", "text", "point", "comma"}


def as_python(message: str) -> str:
    """A message with the options of the command line as Python has them.

    >>> as_python("which column is to be predicted? --target COLUMN; --on-error skip drops such samples")
    'which column is to be predicted? target=COLUMN; on_error="skip" drops such samples'
    >>> as_python("leave it out, --column size=ignore; leave it out of --include")
    'leave it out, columns={"size": "ignore"}; leave it out of include'
    """

    def told(found: re.Match[str]) -> str:
        name, first, second = found.groups()
        form = OF_PYTHON[name]
        if "{0" not in form:
            return form + (f" {first}" if first else "")
        given = first is not None and (second is not None if "{1" in form else first.isupper() or first in _VALUES)
        if given:
            return form.format(first, second)
        return form.partition("=")[0] + found[0][len(name) + 2 :]

    return _OPTION.sub(told, message)


@contextmanager
def in_python() -> Iterator[None]:
    """A context, and a decorator of what is called from Python: errors name parameters, not options."""
    try:
        yield
    except MmkitError as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (as_python(error.args[0]), *error.args[1:])
        raise


def one_of(possible: Iterable[str], given: str) -> str:
    """The end of a message about an unknown name: the closest match, then all possible names (of many, the closest).

    >>> one_of(["concat", "sum"], "concta")
    'did you mean concat? Possible: concat, sum'
    >>> one_of(["accuracy", "log_loss"], "acc")
    'did you mean accuracy? Possible: accuracy, log_loss'
    >>> one_of(map(str, range(1000)), "77x")
    'did you mean 77? The nearest of 1000: 77, 977, 877, 797, 787'
    """
    names = sorted(set(possible))
    if not names:
        return "there are none to choose from"
    begun = [name for name in names if len(given) > 1 and name.startswith(given)]
    close = difflib.get_close_matches(given, names, n=1) or begun
    meant = f"did you mean {close[0]}? " if close else ""
    if len(names) > MANY:
        return f"{meant}The nearest of {len(names)}: {', '.join(difflib.get_close_matches(given, names, 5, cutoff=0))}"
    return f"{meant}Possible: {', '.join(names)}"
