"""`hub:OWNER/NAME`: a saved model of the hub, downloaded to its cache and then read as any folder.

Only the files of a saved model are downloaded, by their names: JSON, safetensors and the card. Nothing of them is run.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from mmkit.errors import DataError
from mmkit.model.description import DESCRIPTION, WEIGHTS
from mmkit.model.trained import CARD, HUB
from mmkit.model.trained_on import FILE
from mmkit.pretrained.weights import offline
from mmkit.sharing.client import bars, hub, refusal
from mmkit.sharing.names import Repository, endpoint, repository_of

NEEDED = (DESCRIPTION, WEIGHTS)
FILES = (*NEEDED, FILE, CARD)
"""What is downloaded; of others nothing."""


def located(given: str | Path) -> Path:
    """The folder of a model: as given, or that of the hub's cache for `hub:OWNER/NAME[@REVISION]`.

    Raises:
        UsageError: it is no name of a repository.
        DataError: there is no such repository or revision, it is private, it holds no model, or it is neither in the
            cache nor to be had without a network; the message says what to do.
    """
    text = given if isinstance(given, str) else given.as_posix()
    if not text.startswith(HUB):
        return Path(given)
    repository = repository_of(text)
    reason = offline()
    if not reason:
        return _downloaded(repository)
    if (folder := _snapshot(repository, local=True)) is None:
        raise DataError(
            f"{repository} is not in the hub's cache on this machine, and {reason}; run `{_command(repository)}` on a "
            "machine with a network, and give the folder that it prints"
        )
    if os.environ.get("HF_HUB_OFFLINE", "") == "":
        warnings.warn(f"{reason}: {repository} is that of the hub's cache, commit {folder.name[:12]}", stacklevel=3)
    return folder


def _downloaded(repository: Repository) -> Path:
    try:
        found = hub().model_info(repository.name, revision=repository.revision)
    except Exception as error:  # of the hub, or of the way to it
        raise DataError(f"{repository} cannot be loaded: {refusal(error, repository)}") from error
    there = {one.rfilename for one in found.siblings or ()}
    if lacking := [name for name in NEEDED if name not in there]:
        raise DataError(
            f"{repository} holds no model of mmkit: it has no {' and no '.join(lacking)}; give a repository that "
            "`push` wrote"
        )
    try:
        folder = _snapshot(repository, local=False)
    except Exception as error:  # of the hub, the network or the disk
        raise DataError(f"{repository} cannot be downloaded: {refusal(error, repository)}") from error
    if folder is None:
        raise DataError(f"{repository} could not be downloaded as a whole; try again")
    return folder


def _snapshot(repository: Repository, *, local: bool) -> Path | None:
    """The folder in the hub's cache; None where it is not there as a whole."""
    try:
        with bars():
            folder = Path(
                snapshot_download(
                    repository.name,
                    revision=repository.revision,
                    allow_patterns=list(FILES),
                    local_files_only=local,
                    endpoint=endpoint(),
                    library_name="mmkit",
                )
            )
    except LocalEntryNotFoundError:
        if not local:
            raise
        return None
    return folder if all((folder / name).is_file() for name in NEEDED) else None


def _command(repository: Repository) -> str:
    return f"hf download {repository.name}{f' --revision {repository.revision}' if repository.revision else ''}"
