"""The client of the hub: asked as mmkit, its bars on a terminal alone, and what it refuses in a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented there, and not said to be exported
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from mmkit.pretrained.weights import in_a_line
from mmkit.sharing.names import Repository, endpoint

LOG_IN = "`hf auth login`, or set HF_TOKEN"


def hub(token: str | None = None) -> HfApi:
    """The hub, asked with a token; None is the one of HF_TOKEN, or of `hf auth login`."""
    return HfApi(endpoint=endpoint(), token=token, library_name="mmkit")


def refusal(error: Exception, repository: Repository, token: str | None = None) -> str:
    """Why the hub has not done something, and what to do, in a line.

    Args:
        error: that its client raised.
        repository: that it was asked about.
        token: that was given.
    """
    if not isinstance(error, HfHubHTTPError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__  # of an upload
    name, status = repository.name, error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    known = bool(token or get_token())
    absent = isinstance(error, RepositoryNotFoundError)
    unread = "the token may not read it" if known else f"it is private, and there is no token: {LOG_IN}"
    reasons = [
        (isinstance(error, LocalTokenNotFoundError), f"there is no token; log in: {LOG_IN}"),
        (
            isinstance(error, GatedRepoError),
            f"{name} is gated: ask for access on {repository.url}; log in: {LOG_IN}",
        ),
        (
            isinstance(error, RevisionNotFoundError),
            f"{name} has no revision {repository.revision or 'main'}; {repository.url} shows those that there are",
        ),
        (status == 401 and known and not absent, f"{endpoint()} does not know the token; log in anew: {LOG_IN}"),
        (absent or status == 401, f"{endpoint()} has no repository {name}, or {unread}"),
        (status == 403, f"the token may not do that with {name}; it needs the right to write there"),
        (status == 412, f"somebody else has changed {name} meanwhile; look at {repository.url}, and push again"),
    ]
    return next((reason for holds, reason in reasons if holds), in_a_line(error))


@contextmanager
def bars() -> Iterator[None]:
    """The hub's bars of progress, on a terminal alone."""
    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
