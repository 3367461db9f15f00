"""`mmkit push`: a saved model to a repository of the hub, with its card."""

from __future__ import annotations

from typing import Annotated

import typer

from mmkit.cli.saved_model import Folder, folder_of
from mmkit.sharing.pushing import Pushed
from mmkit.sharing.pushing import push as push_folder
from mmkit.system.files import at_home


def push(
    model: Folder,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository; it is created if needed.")],
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who may read a new repository. [what its owner has chosen]"),
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Message of the commit.")] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Also push the hashes of the rows that the model was trained on.")
    ] = False,
) -> None:
    """Push a saved model to the hub, with its card: JSON, safetensors and README.md, in one commit.

    The model is checked to be as it was saved; no component of it is loaded. The token is that of HF_TOKEN, or of
    `hf auth login`. `mmkit.load("hub:OWNER/NAME")` loads it, and commands take hub:OWNER/NAME for MODEL.
    """
    print(
        "\n".join(
            lines(push_folder(at_home(folder_of(model)), repository, private=private, message=message, rows=rows))
        )
    )


def lines(pushed: Pushed) -> list[str]:
    """What was pushed, as lines."""
    name = pushed.repository.name
    if pushed.before:
        return [f"{name} holds this model already; nothing was pushed", pushed.url]
    size = sum(pushed.sizes.values())
    return [
        f"{name}: {', '.join(pushed.sizes)} ({size / 1e6:,.1f} MB)",
        pushed.url,
        "answers for new rows:",
        f"  mmkit predict {pushed.repository} --data NEW --out ANSWERS.parquet",
    ]
