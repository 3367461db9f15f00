"""How many values of each input are missing, in words."""

from __future__ import annotations

from collections.abc import Iterable

from mmkit.records.record import Record


def missing(records: Iterable[Record]) -> list[str]:
    """One line for each input that has missing values, with their number and that of the samples of each split.

    Where runs left out different samples, it is that of the first.
    """
    lines: dict[str, str] = {}
    for counts in (record.samples for record in records if record.samples):
        sizes = (("train", counts.train), ("validation", counts.validation), ("test", counts.test))
        inputs = {name for of_split in counts.missing.values() for name in of_split}
        for name in sorted(inputs):
            found = {str(split): of_split.get(name, 0) for split, of_split in counts.missing.items()}
            if any(found.values()):
                read = ((split, size) for split, size in sizes if size is not None)  # a run of a race reads no test
                said = ", ".join(f"{found[split]:,} of {size:,} in {split}" for split, size in read)
                lines.setdefault(name, f"missing values of {name}: {said}")
    return [lines[name] for name in sorted(lines)]
