"""Pushing: the files of a saved model to a repository of the hub, in one commit, with its card as README.md.

What travels is the model and its card. The record of its training, the description of its data and its splits stay, as
they may name files and values of whoever trained it; so do the hashes of its rows, unless they are asked for.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelInfo
from huggingface_hub.errors import RepositoryNotFoundError

from mmkit.errors import MmkitError, UnavailableError, UsageError
from mmkit.model.description import DESCRIPTION, WEIGHTS, checked
from mmkit.model.trained import CARD, card_in
from mmkit.model.trained_on import FILE
from mmkit.pretrained.weights import offline
from mmkit.report.card import used
from mmkit.report.front_matter import front_matter
from mmkit.sharing.client import bars, hub, refusal
from mmkit.sharing.names import Repository, repository_of
from mmkit.system.files import utf8

STAY = ("record.json", "data.json", "splits.parquet")
"""What a card speaks of, and does not travel."""
_LOADED = re.compile(r'mmkit\.load\("(?:\."\)  # this folder|hub:[^"]*"\))')


class Pushed(NamedTuple):
    """What was pushed.

    Args:
        repository: to which.
        url: of the commit.
        sizes: bytes of each file.
        before: whether the repository held all of it already.
    """

    repository: Repository
    url: str
    sizes: dict[str, int]
    before: bool


def push(
    folder: Path,
    to: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str | None = None,
    rows: bool = False,
    card: str | None = None,
) -> Pushed:
    """Push a saved model to a repository of the hub, which is created if needed.

    Args:
        folder: of the model; no component of it is loaded.
        to: OWNER/NAME.
        private: whether only its owner may read the repository; None is what its owner has chosen for new ones.
        token: None is that of HF_TOKEN, or of `hf auth login`.
        message: of the commit.
        rows: whether the hashes of the rows that it was trained on travel, too.
        card: in Markdown; None is the README.md of the folder, or a short one.

    Raises:
        UsageError: it is no name of a repository; there is no token, or it has no right; or the repository is public,
            and is to be private.
        DataError: the folder holds no model, or one that was changed after it was saved.
        UnavailableError: the hub cannot be reached.
    """
    repository = repository_of(to)
    if repository.revision:
        raise UsageError(f"a push makes a new commit of the main branch; give {repository.name} without a revision")
    description = checked(folder)
    if reason := offline():
        raise UnavailableError(f"nothing can be pushed to {repository.name}: {reason}")
    names = [DESCRIPTION, WEIGHTS, *([FILE] if rows and (folder / FILE).exists() else [])]
    contents: dict[str, str | bytes] = {name: str(folder / name) for name in names}
    contents[CARD] = utf8(shared_card(card or card_in(folder), repository, names, description))
    sizes = {name: len(one) if isinstance(one, bytes) else Path(one).stat().st_size for name, one in contents.items()}
    made_by = f"Model of mmkit {version('mmkit-core')}, digest {description['digest'][:12]}"
    api = hub(token)
    try:
        api.whoami()  # says what is wrong with a token before anything is created
        known = _existing(api, repository)
        _check_visible(known, repository, private=private)
        if known is None:
            api.create_repo(repository.name, private=private, exist_ok=True)
        there = set() if known is None else {one.rfilename for one in known.siblings or ()}
        stale = [FILE] if FILE in there and FILE not in names else []  # of the model that was there before
        with bars():
            commit = api.create_commit(
                repository.name,
                [
                    *(CommitOperationAdd(name, one) for name, one in contents.items()),
                    *(CommitOperationDelete(name) for name in stale),
                ],
                commit_message=message or made_by,
                parent_commit=None if known is None else known.sha,
            )
    except MmkitError:
        raise
    except Exception as error:  # of the hub, or of the way to it
        raise UsageError(f"nothing was pushed to {repository.name}: {refusal(error, repository, token)}") from error
    return Pushed(repository, commit.commit_url, sizes, known is not None and commit.oid == known.sha)


def shared_card(card: str | None, repository: Repository, names: list[str], description: dict[str, Any]) -> str:
    """The card for whoever finds the model on the hub.

    Args:
        card: of its training; None makes a short one.
        repository: of the model.
        names: of the files that travel beside it.
        description: as `model.json` has it.
    """
    if card is None:
        card = _short(repository, description)
    elif not card.startswith("---\n"):
        card = front_matter(_inputs(description), description["target"]) + card
    card = _LOADED.sub(f'mmkit.load("{repository}")', card)
    spoken = [name for name in (*STAY, FILE) if f"`{name}`" in card and name not in names]
    if spoken and "\n## Files\n" not in card:
        here = ", ".join(f"`{name}`" for name in names)
        there = ", ".join(f"`{name}`" for name in spoken)
        card = (
            f"{card.rstrip()}\n\n## Files\n\nHere are {here} and this card. With whoever trained the model: {there}.\n"
        )
    return card


def _short(repository: Repository, description: dict[str, Any]) -> str:
    """The card of a model that has none: what it reads and answers."""
    inputs = _inputs(description)
    told = ", ".join(f"{name} ({kind})" for name, kind in inputs.items())
    layout = description.get("layout")
    made = ", ".join(f"{name} {one}" for name, one in description["plugins"].items())
    return (
        f"{front_matter(inputs, description['target'])}# {re.sub(r'^.*/', '', repository.name)}\n\n"
        f"A model of mmkit: {told} -> {description['target']}.\n\n"
        f"{used(inputs, layout and layout['inputs'])}\n\n"
        f"It has no record of its training, so nothing is said of what it is worth. Made with {made or 'classes'}.\n"
    )


def _inputs(description: dict[str, Any]) -> dict[str, str]:
    """The modality of each input that the model reads."""
    return {
        name: kind for name, kind in description["inputs"].items() if name in description["combination"]["encoders"]
    }


def _check_visible(known: ModelInfo | None, repository: Repository, *, private: bool | None) -> None:
    """Check that who may read a repository is what is asked for.

    Raises:
        UsageError: it exists, and is not.
    """
    if known is None or private is None or bool(known.private) == private:
        return
    now, wanted = ("private", "public") if known.private else ("public", "private")
    raise UsageError(
        f"{repository.name} exists and is {now}, and a push does not make it {wanted}; change that on "
        f"{repository.url}/settings, or push to another repository"
    )


def _existing(api: Any, repository: Repository) -> ModelInfo | None:
    """The repository as it is; None where there is none that the token may read."""
    try:
        found: ModelInfo = api.model_info(repository.name)
    except RepositoryNotFoundError:
        return None
    return found
