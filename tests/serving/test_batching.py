"""The batcher by itself: what gathers, what is refused, what is left out, and that nothing is lost at the end."""

import asyncio
import threading

import pytest

from mmkit.errors import UsageError
from mmkit.serving.batching import Batcher
from mmkit.serving.limits import FullError, Limits, RefusedError


class Model:
    """Answers with doubles, and waits in each batch until it is let go."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, questions):
        self.batches.append(list(questions))
        assert self.go.wait(30)
        if len(questions) > 1 and "poison" in questions:
            raise RuntimeError("a whole batch fails")
        return [
            RuntimeError("bad") if one == "poison" else RefusedError("x", "no") if one is None else 2 * one
            for one in questions
        ]


def batched(work, limits):
    """Run `work(batcher, model)` in a loop of its own, with the rows of each batch."""

    async def run():
        model, rows = Model(), []
        batcher = Batcher(model, limits, rows.append)
        batcher.start()
        try:
            await asyncio.wait_for(work(batcher, model), 30)
        finally:
            model.go.set()
            await batcher.close()
        return model, rows

    return asyncio.run(run())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_what_came_meanwhile_is_the_next_batch():
    async def work(batcher, model):
        model.go.clear()
        first = batcher.ask([1], [1])
        await until(lambda: model.batches)
        others = [batcher.ask([n], [1])[0] for n in range(2, 9)]
        assert batcher.rows == 7
        model.go.set()
        assert await asyncio.gather(*first, *others) == [2 * n for n in range(1, 9)]

    model, rows = batched(work, Limits(most=5, room=20))
    assert model.batches == [[1], [2, 3, 4, 5, 6], [7, 8]]
    assert rows == [1, 5, 2]


def test_questions_of_several_rows_count_as_such():
    async def work(batcher, model):
        model.go.clear()
        first = batcher.ask([0], [1])
        await until(lambda: model.batches)
        asked = batcher.ask([1, 2, 3, 4], [3, 3, 2, 9])
        model.go.set()
        await asyncio.gather(*first, *asked)

    model, rows = batched(work, Limits(most=6, room=20))
    assert model.batches == [[0], [1, 2], [3], [4]]  # the last is larger than a batch, and is one by itself
    assert rows == [1, 6, 2, 9]


def test_a_full_queue_takes_none_of_a_request():
    async def work(batcher, model):
        model.go.clear()
        first = batcher.ask([0], [1])
        await until(lambda: model.batches)
        kept = batcher.ask([1, 2, 3], [1, 1, 1])
        with pytest.raises(FullError):
            batcher.ask([4, 5], [1, 1])
        kept += batcher.ask([6], [1])
        model.go.set()
        assert await asyncio.gather(*first, *kept) == [0, 2, 4, 6, 12]

    batched(work, Limits(most=2, room=4))


def test_what_was_given_up_is_left_out():
    async def work(batcher, model):
        model.go.clear()
        first = batcher.ask([0], [1])
        await until(lambda: model.batches)
        gone, stays = batcher.ask([1, 2], [1, 1])
        gone.cancel()
        model.go.set()
        assert await asyncio.gather(*first, stays) == [0, 4]
        assert batcher.rows == 0

    model, _ = batched(work, Limits())
    assert model.batches == [[0], [2]]


def test_a_client_that_leaves_while_it_is_answered_harms_nobody():
    async def work(batcher, model):
        model.go.clear()
        (gone,) = batcher.ask([1], [1])
        await until(lambda: model.batches)
        gone.cancel()
        model.go.set()
        assert await batcher.ask([2], [1])[0] == 4

    batched(work, Limits())


def test_what_fails_fails_alone():
    async def work(batcher, model):
        model.go.clear()
        first = batcher.ask([0], [1])
        await until(lambda: model.batches)
        asked = batcher.ask([1, "poison", None, 2], [1] * 4)
        model.go.set()
        found = await asyncio.gather(*first, *asked, return_exceptions=True)
        assert found[:2] == [0, 2]
        assert found[4] == 4
        assert isinstance(found[2], RuntimeError)
        assert isinstance(found[3], RefusedError)

    batched(work, Limits())


def test_a_wait_gathers_and_ends():
    async def work(batcher, model):
        asked = batcher.ask([1], [1])
        await asyncio.sleep(0)
        asked += batcher.ask([2], [1])
        assert await asyncio.gather(*asked) == [2, 4]
        # A full batch does not wait: else this would take longer than the test may.
        batcher.limits = Limits(most=2, wait=25, seconds=60)
        assert await asyncio.gather(*batcher.ask([3, 4], [1, 1])) == [6, 8]

    model, _ = batched(work, Limits(wait=0.2))
    assert model.batches == [[1, 2], [3, 4]]


def test_at_the_end_what_waits_is_answered_and_nothing_more_is_taken():
    async def run():
        model = Model()
        model.go.clear()
        batcher = Batcher(model, Limits(most=2, wait=5), lambda rows: None)
        batcher.start()
        asked = batcher.ask(list(range(7)), [1] * 7)
        end = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(FullError):
            batcher.ask([1], [1])
        model.go.set()
        await end
        assert [one.result() for one in asked] == [2 * n for n in range(7)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"most": 0}, "1 or more"),
        ({"most": 64, "room": 32}, "64 with room for 32"),
        ({"wait": -1}, "0 seconds or more"),
        ({"wait": 10}, "shorter than the timeout"),
        ({"body": 10}, "1 KiB"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        Limits(**given)
