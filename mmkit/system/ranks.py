"""Ranks: the processes that train one model together, each with its share of every batch.

Whoever starts them (torchrun, `accelerate launch`, Slurm, Ray's TorchTrainer) says in the environment which of them
this is: RANK of WORLD_SIZE, LOCAL_RANK on its machine, and where they meet: MASTER_ADDR and MASTER_PORT. Nothing else
of it is read, and none is imported. All ranks do the same, step by step; what only one may do (to write, to print), and
what may differ between machines (the time, a file), the first does and tells the others.

A rank that fails leaves word before it goes, so that the others end with its reason and not with a broken connection.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from mmkit.errors import MmkitError, UsageError
from mmkit.system.machine import usable_cores

_T = TypeVar("_T")

PATIENCE = 2.0
"""Seconds that a rank which fails waits for others that fail, too: what all of them find the first alone says."""


@dataclass(frozen=True)
class Ranks:
    """The ranks of a training, as one of them sees them; without others, the only one.

    Args:
        rank: of this process, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this rank writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """The rows [B ...] of a batch that are those of this rank: every `world`-th."""
        return rows if self.world == 1 else rows[self.rank :: self.world]

    def seed(self, seed: int) -> int:
        """The seed of what each rank draws for its own rows; that of the first is the one of a single process."""
        if self.first:
            return seed
        (state,) = np.random.SeedSequence((seed, self.rank)).generate_state(1, np.uint32)
        return int(state)

    def gathered(self, value: _T) -> list[_T]:
        """What each rank has, in their order."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value, _group)
        return found

    def told(self, make: Callable[[], _T]) -> _T:
        """What the first rank makes; the others get it. An error of its making is raised by all."""
        if self.world == 1:
            return make()
        word: list[Any] = [None]
        if self.first:
            try:
                word = [(make(), None)]
            except Exception as error:  # noqa: BLE001 (raised below, by all)
                word = [(None, _portable(error))]
        distributed.broadcast_object_list(word, group=_group, group_src=0)
        made: _T
        made, failed = word[0]
        if failed is not None:
            raise failed
        return made

    def own(self, make: Callable[[], _T]) -> _T:
        """What this rank makes. An error of any rank, the first of several, is raised by all."""
        if self.world == 1:
            return make()
        found: Exception | None = None
        try:
            made = make()
        except Exception as error:  # noqa: BLE001 (raised below, by all)
            found = _portable(error)
        (failed,) = self.any(found is not None)
        if failed:
            raise next(error for error in self.gathered(found) if error is not None)
        return made

    def each(self, make: Callable[[], _T]) -> list[_T]:
        """What each rank makes, in their order. An error of one is raised by all."""
        return self.gathered(self.own(make))

    def agreed(self, value: _T) -> _T:
        """The value of the first rank: where all have computed the same, but for the last digits of their machines."""
        return self.told(lambda: value)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, True where it is for any of the ranks."""
        if self.world == 1:
            return flags
        asked = torch.tensor(flags, dtype=torch.int32)
        distributed.all_reduce(asked, group=_group)
        return tuple(bool(one) for one in asked.tolist())


_current = Ranks()
_group: Any = None
"""Of the host, by which ranks tell each other values."""


def group() -> Any:
    """The group of processes by which ranks tell each other values on the host; None is torch's own."""
    return _group


def ranks() -> Ranks:
    """The ranks of the training that runs in this process."""
    return _current


class Launched(NamedTuple):
    """What the environment says of this process; see above.

    Args:
        rank: of this process.
        world: how many there are.
        local: which of those of its machine this is.
        beside: how many its machine has.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    beside: int = 1


def launched() -> Launched:
    """Which of how many ranks this process was started as; one of one where nobody says so.

    Raises:
        UsageError: what the environment says makes no sense.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Launched()
    names = {"RANK": None, "WORLD_SIZE": None, "LOCAL_RANK": "RANK", "LOCAL_WORLD_SIZE": "WORLD_SIZE"}
    given = {name: os.environ.get(name, os.environ.get(other or name, "")) for name, other in names.items()}
    if bad := [f"{name}={value}" for name, value in given.items() if not value.isdecimal()]:
        raise UsageError(f"the ranks of a training are whole numbers; the environment says {', '.join(bad)}")
    found = Launched(*map(int, given.values()))
    if not found.rank < found.world:
        raise UsageError(f"RANK is below WORLD_SIZE; the environment says RANK={found.rank}, WORLD_SIZE={found.world}")
    return found


def threads_of_rank(threads: int | None) -> int | None:
    """Threads of the CPU of each rank: those that are asked for, else a fair share of the cores of its machine."""
    beside = launched().beside
    return threads if threads is not None or beside == 1 else max(1, usable_cores() // beside)


@contextmanager
def together(expected: int | None = None, device: str = "cpu") -> Iterator[Ranks]:
    """Train with the ranks that were started: inside, `ranks` gives them. Within another one, it is that.

    Args:
        expected: how many ranks there have to be; None is however many there are.
        device: "cpu", "cuda", "mps" or "auto", on which this rank trains: of several of CUDA that of its LOCAL_RANK,
            which is the current one from then on.

    Raises:
        UsageError: other ranks than expected, or what the environment says makes no sense.
        MmkitError: another rank has failed; it says which, and why.
    """
    global _current, _group
    made = not (distributed.is_available() and distributed.is_initialized())
    world = launched().world if made else distributed.get_world_size()
    if expected is not None and world != expected:
        refused = UsageError(
            f"{expected} ranks are asked for, and {world} {'was' if world == 1 else 'were'} started: a launcher starts "
            f"{expected} processes with RANK and WORLD_SIZE={expected} in their environment, as torchrun "
            f"--nproc-per-node {expected} does"
        )
        refused.said = launched().rank > 0
        raise refused
    if world == 1 or _current.world > 1:
        yield _current
        return
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_cuda:
        torch.cuda.set_device(card_of(launched().local, torch.cuda.device_count()))
    store = _joined("cpu:gloo,cuda:nccl" if on_cuda else "gloo") if made else None
    found = Ranks(distributed.get_rank(), world)
    _current, _group = found, distributed.new_group(backend="gloo")
    failed = True
    try:
        if on_cuda:
            _check_cards(found)
        yield found
        failed = False
    except BaseException as error:
        _fallen(error, found, store)
        raise
    finally:
        _current, _group = Ranks(), None
        if made and not (failed and on_cuda):  # what NCCL has begun may never end without the others
            distributed.destroy_process_group()


def card_of(local: int, cards: int) -> int:
    """Which of the cards that it sees a rank of a machine takes.

    Raises:
        UsageError: there are more ranks than cards.
    """
    if local < cards:
        return local
    if cards == 1:  # a launcher may show each rank its own card alone; that they are different is checked later
        return 0
    raise UsageError(f"this machine has {cards} cards, and each rank needs its own; start at most {cards} ranks on it")


def _check_cards(ranks: Ranks) -> None:
    """Check that each rank has a card of its own.

    Raises:
        UsageError: two of them share one.
    """
    cards = ranks.gathered(str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid))
    if len(set(cards)) < len(cards):
        raise UsageError(
            f"{len(cards)} ranks were started, and {len(set(cards))} of them can have a card of its own; start "
            f"{len(set(cards))}, or take --device cpu"
        )


def _joined(backend: str) -> Any:
    """Meet the other ranks; gives the store by which one that fails leaves word.

    Raises:
        UsageError: nobody says where.
        MmkitError: they do not come.
    """
    from torch.distributed.distributed_c10d import PrefixStore  # noqa: PLC0415 (not every build of torch has it)
    from torch.distributed.rendezvous import rendezvous  # noqa: PLC0415 (as above)

    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]:
        raise UsageError(
            f"ranks meet at MASTER_ADDR and MASTER_PORT, and the environment has no {' and no '.join(missing)}; "
            "torchrun sets them"
        )
    try:
        store, rank, world = next(iter(rendezvous("env://")))
        distributed.init_process_group(backend, store=PrefixStore("mmkit", store), rank=rank, world_size=world)
    except (RuntimeError, ValueError) as error:
        meeting = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise MmkitError(f"the ranks did not meet at {meeting}: {str(error).splitlines()[0]}") from error
    return PrefixStore("mmkit/failed", store)


def _fallen(error: BaseException, ranks: Ranks, store: Any) -> None:
    """Leave word of an error, or say what another rank has left.

    Args:
        error: of this rank; it is marked as `said` where the first rank has failed by itself, and says it.
        ranks: of the training.
        store: where word is left; None where whoever started the ranks looks after them.

    Raises:
        MmkitError: in place of a broken connection.
    """
    if store is None or isinstance(error, KeyboardInterrupt):
        return
    if _is_lost(error):
        reason = _word(store, ranks) if ranks.first else None  # the store may have gone with the first
        told = reason or f"the connection to another of the {ranks.world} ranks broke; what that has printed says why"
        raise MmkitError(f"{told}. Once that is mended, the same command goes on from the last checkpoint") from error
    with suppress(RuntimeError):  # as above
        store.set(str(ranks.rank), str(error) if isinstance(error, MmkitError) else f"{type(error).__name__}: {error}")
        gone, until = store.add("gone", 1), time.monotonic() + PATIENCE
        said = False
        while gone < ranks.world and not said and time.monotonic() < until:
            time.sleep(0.05)
            gone, said = store.add("gone", 0), not ranks.first and store.check(["0"])
        error.said = said or (not ranks.first and store.check(["0"]))  # type: ignore[attr-defined]  # MmkitError has it


def _is_lost(error: BaseException | None) -> bool:
    """Whether an error comes of a connection to another rank that broke."""
    while error is not None:
        if isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _word(store: Any, ranks: Ranks) -> str | None:
    """Which rank has left word of its failure, and what; None if none does."""
    with suppress(RuntimeError):
        for rank in range(1, ranks.world):
            if store.check([str(rank)]):  # left before the connection broke
                return f"rank {rank} of {ranks.world} has failed: {store.get(str(rank)).decode()}"
    return None


def _portable(error: Exception) -> Exception:
    """The error, or one with its message where it cannot be sent to other processes."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:  # noqa: BLE001 (pickle raises anything)
        return MmkitError(f"{type(error).__name__}: {error}")
    return error
