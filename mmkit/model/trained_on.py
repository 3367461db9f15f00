"""Which rows a model was trained on, as salted hashes: what `mmkit evaluate` knows them by, and no more.

DIR/trained_on.safetensors   the hashes of each split, in order, those of single inputs (SPLIT/INPUT), and the salt

A row is known by all of its inputs together, so one changed or absent value makes it another one. Of inputs whose
values hardly repeat (texts, pictures, sounds; not rows of a table) each value has a hash of its own, by which the row
is known still.

The salt is drawn anew for each model, so hashes of two models say nothing of one another. Whoever has both the model
and a row can tell whether it is among them; a row that nobody has cannot be read from them. The file may be removed:
the model answers as before, and no longer knows its rows.

Axes: K hashes of a split.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mmkit.contract import Samples
from mmkit.data.row_hashes import MISSING, Hashes, hashes_of_inputs, together
from mmkit.errors import DataError

FILE = "trained_on.safetensors"
MOST = 2**17
"""Hashes of a split that are kept, one mebibyte; of more rows the smallest, which are a fair sample of all."""
DISTINCT = 0.9
"""Share of different values among those of training, from which on an input tells a row by itself."""
_SALT = 16


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The rows of a training, by their hashes.

    Args:
        salt: of the hashes.
        hashes: [K] in order, each once, by split: "train", and "validation" where that only chose the epoch.
        rows: how many different rows each split has; more than K where only the smallest hashes are kept.
        inputs: [K] in order, each once, of the values of single inputs, by input and split; of files that were saved
            before these were kept, none.
    """

    salt: bytes
    hashes: Mapping[str, Hashes]
    rows: Mapping[str, int]
    inputs: Mapping[str, Mapping[str, Hashes]] = field(default_factory=dict)

    @staticmethod
    def of(splits: Mapping[str, Sequence[Samples]], kinds: Mapping[str, str], most: int = MOST) -> TrainedOn | None:
        """The hashes of the raw samples of splits; None where a value cannot be known by its content.

        Args:
            splits: raw samples by split, in one or several parts, with the inputs of the model alone.
            kinds: the modality of each input.
            most: hashes of a split that are kept.
        """
        salt = secrets.token_bytes(_SALT)
        try:
            parts = {
                name: [hashes_of_inputs(part.inputs, kinds, salt) for part in several]
                for name, several in splits.items()
            }
        except TypeError:
            return None
        found = {name: np.unique(np.concatenate([*map(together, several)])) for name, several in parts.items()}
        kept = {name: hashes[:most].copy() for name, hashes in found.items()}
        inputs = {}
        for one in parts["train"][0]:
            if kinds.get(one) == "table":
                continue
            values = {name: np.concatenate([part[one] for part in several]) for name, several in parts.items()}
            there = {name: hashes[hashes != MISSING] for name, hashes in values.items()}
            known = {name: np.unique(hashes) for name, hashes in there.items()}
            if len(known["train"]) and len(known["train"]) >= DISTINCT * len(there["train"]):
                inputs[one] = {name: hashes[:most].copy() for name, hashes in known.items()}
        return TrainedOn(salt, kept, {name: len(hashes) for name, hashes in found.items()}, inputs)

    @property
    def sampled(self) -> bool:
        """Whether only a sample of the rows is known."""
        return any(self.rows[name] > len(hashes) for name, hashes in self.hashes.items())

    def looked_up(self, hashes: Hashes) -> Hashes:
        """Those of the hashes that can be looked up: all, or those as small as the ones that are kept."""
        ends = [int(kept[-1]) for name, kept in self.hashes.items() if self.rows[name] > len(kept)]
        return hashes[hashes <= np.uint64(min(ends))] if ends else hashes

    def counted(self, hashes: Hashes) -> dict[str, int]:
        """How many of the hashes are among those of each split; a row of several counts for the first."""
        left, counts = hashes, {}
        for name, kept in self.hashes.items():
            there = np.isin(left, kept)
            counts[name], left = int(there.sum()), left[~there]
        return counts

    def sharing(self, inputs: Mapping[str, Hashes]) -> dict[str, int]:
        """How many rows are not among those of any split, but have a value of a single input that one has.

        Args:
            inputs: [N], as `hashes_of_inputs` gives them.

        Returns:
            Rows by split; one of several counts for the first. Of a training with more rows than are kept, at least so
            many.
        """
        rows = together(inputs)
        left = ~np.isin(rows, np.concatenate([*self.hashes.values()]))
        counts = {}
        for name in self.hashes:
            there = np.zeros(len(rows), bool)
            for one, known in self.inputs.items():
                if one in inputs:
                    there |= np.isin(inputs[one], known[name])
            counts[name] = int((there & left).sum())
            left &= ~there
        return counts

    def write(self, path: Path, of: str) -> None:
        """Write the hashes to a file.

        Args:
            path: of the file.
            of: the hash of the model's weights.

        Raises:
            OSError: it cannot be written.
            SafetensorError: likewise.
        """
        rows = {f"rows of {name}": str(count) for name, count in self.rows.items()}
        inputs = {f"{name}/{one}": known[name] for one, known in self.inputs.items() for name in known}
        save_file({**self.hashes, **inputs}, path, {"salt": self.salt.hex(), "of": of, **rows})

    @staticmethod
    def read(path: Path, of: str) -> TrainedOn | None:
        """What `write` has written; None where there is no such file, or one that belongs to other weights.

        Args:
            path: of the file.
            of: the hash of the model's weights.

        Raises:
            DataError: it is damaged.
        """
        if not path.exists():
            return None
        try:
            with safe_open(path, "np") as file:
                about = file.metadata()
                whole = {name: file.get_tensor(name) for name in sorted(file.keys())}
            hashes = {name: one for name, one in whole.items() if "/" not in name}
            rows = {name: int(about[f"rows of {name}"]) for name in hashes}
            salt = bytes.fromhex(about["salt"])
            whose = about["of"]
            fits = all(one.dtype == np.uint64 and one.ndim == 1 for one in whole.values())
            inputs: dict[str, dict[str, Hashes]] = {}
            for name, _, one in (key.partition("/") for key in whole if "/" in key):
                inputs.setdefault(one, {})[name] = whole[f"{name}/{one}"]
            fits &= all(known.keys() == hashes.keys() for known in inputs.values())
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is damaged ({error}); remove it, and the model no longer knows its rows"
            ) from error
        if not fits or "train" not in hashes or len(salt) != _SALT:
            raise DataError(
                f"{path} is not what `save` wrote; without it the model answers as before, and no longer knows its rows"
            )
        return TrainedOn(salt, hashes, rows, inputs) if whose == of else None
