"""Whether two runs are of the same data: their fingerprints, column by column and split by split."""

from __future__ import annotations

from collections.abc import Mapping

from mmkit.contract import Split
from mmkit.data.content import UNKNOWN


def changed_columns(
    then: Mapping[Split, Mapping[str, str]], now: Mapping[Split, Mapping[str, str]]
) -> dict[Split, list[str]]:
    """The columns that are not what they were, by split."""
    changed: dict[Split, list[str]] = {}
    for split, after in now.items():
        before = then.get(split, {})
        names = dict.fromkeys([*after, *before])
        if found := [name for name in names if not same_hash(before.get(name, ""), after.get(name, ""))]:
            changed[split] = found
    return changed


def same_hash(then: str, now: str) -> bool:
    """Whether two hashes are the same, or one is of what cannot be known."""
    return then == now or then.startswith(UNKNOWN) or now.startswith(UNKNOWN)


def is_known(hash_: str) -> bool:
    """Whether a hash is of content, and not of what cannot be known."""
    return not hash_.startswith(UNKNOWN)
