"""Event files for TensorBoard: loss, validation scores and learning rate of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkit.errors import UnavailableError


class Events:
    """Writes event files, of each phase of a training in a folder of its own.

    Args:
        folder: for one training.

    Raises:
        UnavailableError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_installed()
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def add(self, phase: str, entry: Mapping[str, int | float | None], rate: float) -> None:
        """Write an epoch. Where the files of an ended training hold it or later ones, TensorBoard shows the new ones.

        Args:
            phase: of the training.
            entry: of the epoch, as the history of a record has it.
            rate: the greatest learning rate of its last step.
        """
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra, and slow to import)

        number = entry["epoch"]
        if phase not in self._writers:
            made: Any = SummaryWriter
            self._writers[phase] = made(str(self._folder / phase), purge_step=number)
        writer = self._writers[phase]
        for name, value in entry.items():
            if name != "epoch" and value is not None:
                writer.add_scalar("loss/train" if name == "loss" else f"validation/{name}", value, number)
        writer.add_scalar("learning rate", rate, number)
        writer.flush()

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


def check_installed() -> None:
    """Check that event files can be written.

    Raises:
        UnavailableError: TensorBoard is not installed.
    """
    try:
        import tensorboard  # noqa: F401, PLC0415
    except ImportError as error:
        raise UnavailableError(
            "event files need TensorBoard, which is not installed: pip install 'mmkit-core[tensorboard]', or leave "
            "--tensorboard out"
        ) from error
