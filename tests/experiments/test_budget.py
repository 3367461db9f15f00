"""A search within a budget, by learners whose curves and whose clock are given: nothing is trained."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest

import mmkit
from mmkit.data.splits import splits_of
from mmkit.errors import UsageError
from mmkit.experiments.budget import Budget
from mmkit.experiments.halving import (
    ROUNDS,
    Ladder,
    Ledger,
    Price,
    cost,
    ladder,
    lengths,
    shapes,
    shortened,
    thinned,
    with_finals,
)
from mmkit.experiments.means import Means, asked_of
from mmkit.experiments.outlook import outlook_of
from mmkit.experiments.plan import plan
from mmkit.experiments.protocol import so_far
from mmkit.experiments.search import Searched
from mmkit.registry.catalog import installed
from mmkit.report.summary import rows
from mmkit.training.optimisation import Training
from tests.experiments.learners import SAMPLES, Learners

NAMES = ["concat", "sum", "mean", "max", "product", "late", "attention", "gated"]
WHOLE, START, EPOCH = 40, 1.0, 0.25
EACH = START + WHOLE * EPOCH  # seconds of a training to the end: 11


def planned(budget, fusions=8, *, rates=True, **given):
    training = {} if rates else {"lr": 0.01}
    fusions = NAMES[:fusions]
    return plan(installed(), task="synthetic-xor", fusions=fusions, training=training, budget=budget, **given)


def means_of(made, setup=10.0, once=0.0, **prices):
    of = {one.key: Price(*prices.get(one.label, (START, EPOCH))) for one in made.all}
    return Means(asked_of(made), setup, once, SAMPLES, of)


class World(Learners):
    """Learners of known curves on a machine of known speed."""

    def __init__(self, made, quality, *, speed=1.0, failing=(), means=None):
        super().__init__(made, means or means_of(made), failing)
        self.quality, self.speed = quality, speed

    def seconds_of(self, run):
        price = self.means.prices[run.combination.key]
        return self.speed * price.seconds(run.training.plan(SAMPLES)[0])

    def score_of(self, run):
        return self.quality(run.combination.label, run.training.lr, run.training.plan(SAMPLES)[0])

    def noted(self, attempt, seconds):
        run = attempt.run
        epochs = run.training.plan(SAMPLES)[0]
        return run.combination.label, run.training.lr, epochs, attempt.phase, attempt.index


def good(name, lr, epochs):
    """Product is best, with the highest rate; everything is better with more epochs, and in the same order."""
    return 0.5 + 0.05 * NAMES.index(name) * (name == "product") * (1 + 10 * lr) * epochs / WHOLE if name in NAMES else 0


class TestArithmetic:
    def test_rungs_by_hand(self):
        assert lengths(40) == [1, 2, 3, 5, 10, 20, 40]
        assert thinned(24, 3) == (24, 6, 4)
        # 24 for 5 epochs, 6 for 10, 4 for 40, then six more seeds
        by_hand = 24 * (1 + 5 / 4) + 6 * (1 + 10 / 4) + 4 * (1 + 40 / 4)
        assert cost([Price(1, 0.25)] * 24, Ladder((24, 6, 4), (5, 10, 40))) == pytest.approx(by_hand)
        by_hand += 6 * (1 + 40 / 4)
        assert cost([Price(1, 0.25)] * 24, Ladder((24, 6, 4), (5, 10, 40), (4, 2))) == pytest.approx(by_hand)

    def test_a_first_rung_costs_what_its_own_candidates_cost_and_later_ones_the_mean(self):
        prices = [Price(0, 1), Price(0, 3)]
        assert cost(prices, Ladder((2, 1), (10, 20))) == 10 * 1 + 10 * 3 + 20 * 2

    def test_rungs_may_be_of_any_lengths(self):
        assert set(shapes(4)) == {(1,), (2,), (4,), (1, 2), (2, 4), (1, 4), (1, 2, 4)}
        assert max(map(len, shapes(40))) == 3

    def test_no_more_settings_meet_in_finals_than_were_tried(self):
        assert with_finals(Ladder((24, 6), (1, 10)), (4, 2)).finals == (4, 2)
        assert with_finals(Ladder((3,), (40,)), (4, 2)).finals == (3, 2)

    @pytest.mark.parametrize("count", [2, 3, 7, 24])
    @pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0, 3.0])
    def test_the_ladder_for_most_candidates_with_the_longest_ends(self, count, share):
        prices, seconds = [Price(START, EPOCH)] * count, share * count * EACH
        found = ladder(prices, WHOLE, seconds)

        def worth(one):
            return one.epochs[0] * one.epochs[-1] ** 2 * (2 + sum(one.finals))

        possible = [
            with_finals(Ladder(thinned(many, len(at)), at), finals)
            for at, many, finals in itertools.product(shapes(WHOLE), range(2, count + 1), ROUNDS)
        ]
        affordable = [one for one in possible if cost(prices, one) <= seconds]
        # One short training is no ladder, unless there is time for nothing else.
        affordable = [one for one in affordable if one.epochs != one.epochs[:1] or one.epochs == (WHOLE,)] or affordable
        if not affordable:
            assert found is None
            return
        most = max(one.sizes[0] for one in affordable)
        assert found.sizes[0] == most
        assert worth(found) == max(worth(one) for one in affordable if one.sizes[0] == most)
        assert cost(prices, found) <= seconds

    def test_where_there_is_time_all_are_trained_to_the_end(self):
        assert ladder([Price(START, EPOCH)] * 24, WHOLE, (24 + 6) * EACH) == Ladder((24,), (WHOLE,), (4, 2))

    def test_all_take_part_before_any_is_trained_to_the_end(self):
        found = ladder([Price(0.0, 1.0)] * 24, WHOLE, 24 * WHOLE / 16)
        assert found.sizes[0] == 24
        assert found.epochs[-1] < WHOLE

    def test_a_shorter_training_tunes_for_as_much_shorter(self):
        training = Training(epochs=40, tune_epochs=8)
        assert shortened(training, 40, 40) is training
        assert (shortened(training, 10, 40).epochs, shortened(training, 10, 40).tune_epochs) == (10, 2)
        assert shortened(Training(), 10, 40).tune_epochs == 3  # a quarter of 10
        assert shortened(training, 10, 40).plan(32) == (10, 1)  # not raised to a least number of steps

    def test_a_ledger_learns_how_fast_the_machine_is(self):
        ledger = Ledger(100.0, spent=10.0, reserved=40.0)
        assert ledger.left == 50
        for _ in range(3):
            ledger.paid(5.0, 10.0)
        assert ledger.ratio == 2
        assert ledger.left == (100 - 40) / 2 - 40  # what is set aside takes twice as long, too


class TestSearch:
    def test_where_there_is_time_for_all_nobody_is_stopped(self):
        world = World(planned(3600), good)
        done, _ = world.search()
        rungs = [one for one in world.known.values() if one.rung]
        assert {one.rung.epochs for one in rungs} == {WHOLE}
        assert not any(one.stopped for one in world.known.values())
        assert next(one.attempt.run for one in done if one.attempt.phase == "confirm").combination.label == "product"

    def test_the_best_is_found_in_less_time_than_all_take(self):
        made = planned(450)
        world = World(made, good)
        done, budget = world.search()
        assert (8 + 2) * 3 * EACH + 5 * 3 * EACH > 450  # all of them to the end, and confirmation
        confirmed = [one for one in done if one.attempt.phase == "confirm"]
        assert {one.attempt.run.combination.label for one in confirmed} == {"product", "only:left", "only:right"}
        assert {one.attempt.run.training.lr for one in confirmed if one.attempt.run.combination.fusion} == {0.01}
        assert budget.searched.records[confirmed[0].attempt.run.combination.key].lr == 0.01

    @pytest.mark.parametrize("budget", [330, 360, 450, 700, 2000])
    @pytest.mark.parametrize("speed", [0.5, 1.0])
    def test_the_time_for_confirmation_is_kept(self, budget, speed):
        made = planned(budget, seeds=4)
        world = World(made, good, speed=speed)
        done, _ = world.search()
        assert sum(one.attempt.phase == "confirm" for one in done) == 3 * 4
        assert world.clock <= budget

    @pytest.mark.parametrize("budget", [450, 700])
    def test_a_machine_that_becomes_slower_stops_more_of_them(self, budget):
        made = planned(budget)
        planned_for, slow = World(made, good), World(made, good, speed=1.4)
        planned_for.search()
        slow.search()
        assert sum(epochs for _, _, epochs, _, _ in slow.trained) < sum(one[2] for one in planned_for.trained)
        assert slow.clock <= budget * 1.02  # the first trainings were begun before it was known

    def test_single_inputs_climb_the_rungs_of_fusions(self):
        world = World(planned(250), good)
        _, budget = world.search()
        rungs = budget.rungs.epochs
        assert len(rungs) > 1
        for name in ("only:left", "only:right"):
            climbed = [one[1:3] for one in world.trained if (one[0], *one[3:]) == (name, "search", 0)]  # without finals
            assert [epochs for _, epochs in climbed] == [rungs[0]] * 3 + [one for one in rungs[1:] for _ in range(2)]
            assert {lr for lr, _ in climbed[:3]} == {5e-4, 2e-3, 1e-2}
        assert {one.rung.epochs for one in world.known.values() if one.rung} == set(rungs)

    def test_the_rate_and_the_number_of_epochs_that_are_best_are_confirmed(self):
        def early(name, lr, epochs):  # of product and of one input the trainings of 3 epochs are best
            peak = epochs == 3 and name in {"product", "only:left"}
            return good("product" if name.startswith("only") else name, lr, epochs) + peak

        world = World(planned(250), early)
        done, budget = world.search()
        rungs = budget.rungs.epochs
        assert 3 in rungs[:-1]
        confirmed = {
            one.attempt.run.combination.label: one.attempt.run.training.plan(SAMPLES)[0]
            for one in done
            if one.attempt.phase == "confirm"
        }
        assert confirmed == {"product": 3, "only:left": 3, "only:right": rungs[-1]}
        key = next(one.attempt.run for one in done if one.attempt.run.combination.label == "product").combination.key
        found = budget.searched.records[key]
        assert (found.lr, found.epochs) == (0.01, 3)
        assert {one.epochs for one in found.tried} <= set(rungs)
        # what was chosen has not been stopped, though it went no further with these options
        taken = [one for one in world.known.values() if one.rung and (one.fusion, one.rung.epochs) == ("product", 3)]
        assert {one.run["training"]["lr"]: one.stopped for one in taken} == {0.01: False, 2e-3: False, 5e-4: False}
        left = [one for one in world.known.values() if one.rung and (one.fusion, one.rung.epochs) == ("only:left", 3)]
        assert {one.run["training"]["lr"]: one.stopped for one in left}[0.01] is False

    @pytest.mark.parametrize("budget", [60, 100, 200, 300])
    def test_confirmation_is_no_longer_than_the_last_rung(self, budget):
        world = World(planned(budget), good)
        done, search = world.search()
        confirmed = [one.attempt.run.training.plan(SAMPLES)[0] for one in done if one.attempt.phase == "confirm"]
        assert len(confirmed) == 3 * 5
        assert max(confirmed) == search.rungs.epochs[-1] < WHOLE
        assert world.clock <= budget

    def test_without_rates_the_number_of_epochs_is_chosen_all_the_same(self):
        world = World(planned(260, rates=False), lambda name, lr, epochs: 0.9 if epochs == 10 else 0.5)
        done, search = world.search()
        assert search.rungs.epochs == (10, 20)
        assert {one.attempt.run.training.plan(SAMPLES)[0] for one in done if one.attempt.phase == "confirm"} == {10}

    def test_where_a_budget_chooses_the_length_alone_that_is_noted_as_well(self):
        done, search = World(planned(40, rates=False), good).search()
        singles = [one.attempt.run for one in done if not one.attempt.run.combination.fusion]
        assert singles
        for run in singles:
            found = search.searched.records[run.combination.key]
            assert (found.tried, found.lr, found.end) == ([], run.training.lr, None)
            assert found.epochs == run.training.plan(SAMPLES)[0] < WHOLE

    def test_every_combination_is_begun_with_the_middle_rate_before_others(self):
        made = planned(10 + (2 * 3 + 5 * 3 + 12) * (START + EPOCH), seeds=5)  # the singles, the seeds, twelve of 24
        world = World(made, good)
        world.search()
        fused = [(name, lr) for name, lr, _, phase, _ in world.trained if phase == "search" and name in NAMES]
        assert [lr for _, lr in fused[:8]] == [2e-3] * 8
        assert 8 < len(dict.fromkeys(fused)) < 24

    def test_what_was_stopped_is_recorded_so_and_no_run_of_the_comparison(self):
        world = World(planned(450), good)
        world.search()
        stopped = [one for one in world.known.values() if one.stopped]
        assert stopped
        for one in stopped:
            assert (one.purpose, one.metrics, one.rung.epochs < WHOLE) == ("search", {}, True)
        to_the_end = {one.fusion for one in world.known.values() if one.purpose == "comparison"}
        found = rows(list(world.known.values()))
        for row in found:
            assert bool(row.records) == (row.fusion in to_the_end)
        never = {row.fusion for row in found if not row.records}
        assert never  # some were stopped with every rate
        assert never == {one.fusion for one in stopped} - to_the_end
        # every candidate either came to the end or was stopped: nothing is lost
        last = {}
        for one in world.known.values():
            if one.rung and one.fusion in NAMES:
                key = one.fusion, one.run["training"]["lr"]
                last[key] = max(last.get(key, one), one, key=lambda each: each.rung.epochs)
        assert len(last) == 24
        assert all(one.stopped or one.rung.epochs == WHOLE for one in last.values())

    def test_scores_of_short_trainings_choose_nothing_on_the_last_rung(self):
        def tempting(name, lr, epochs):  # the best of short trainings is the worst in the end
            late = {"concat": 0.9, "sum": 0.8}.get(name, 0.3)
            return late if epochs == WHOLE else 1 - late if name in {"concat", "sum"} else 0.05

        world = World(planned(450, rates=False), tempting)
        done, _ = world.search()
        confirmed = {one.attempt.run.combination.label for one in done if one.attempt.phase == "confirm"}
        assert confirmed == {"concat", "only:left", "only:right"}

    def test_finalists_get_more_seeds_while_there_is_time(self):
        world = World(planned(2000, 3), good)
        done, _ = world.search()
        raced = [one for one in done if one.attempt.phase == "search" and one.attempt.rung is None]
        seeds = {}
        for one in raced:
            seeds.setdefault(one.attempt.run.combination.label, set()).add(one.attempt.index)
        assert seeds["product" if "product" in seeds else "concat"] >= {0, 1}
        assert max(map(len, seeds.values())) == 5  # not more, however much time there is
        assert all(one.attempt.tested is False for one in raced)  # quick: test is for what is confirmed

    def test_one_that_fails_is_out_and_recorded_as_failed(self):
        world = World(planned(450, rates=False), good, failing={"product", "sum"})
        done, _ = world.search()
        failed = [one for one in world.known.values() if one.status == "failed"]
        assert {(one.fusion, one.purpose) for one in failed} == {("product", "comparison"), ("sum", "comparison")}
        assert not any(one.stopped for one in failed)
        assert {one.attempt.run.combination.label for one in done if one.attempt.phase == "confirm"} & set(NAMES)

    @pytest.mark.parametrize(("budget", "epochs"), [(500, WHOLE), (10 + 15 * (START + 20 * EPOCH), 20)])
    def test_one_candidate_needs_no_search_and_is_trained_as_long_as_there_is_time(self, budget, epochs):
        world = World(planned(budget, 1, rates=False), good)
        done, _ = world.search()
        assert {one.attempt.phase for one in done} == {"confirm"}
        assert {one.attempt.run.training.plan(SAMPLES)[0] for one in done} == {epochs}

    @pytest.mark.parametrize("after", [0, 1, 5, 6, 7, 20, 29, 33, 36, 40, 45])
    def test_what_was_interrupted_goes_on_as_it_would_have(self, after):
        made = planned(450)
        whole = World(made, good)
        expected, _ = whole.search()
        world = World(made, good)
        world.stop_after = after
        with pytest.raises(KeyboardInterrupt):
            world.search()
        world.stop_after = None
        found, _ = world.search()
        assert world.trained == whole.trained  # nothing twice, nothing else
        assert [one.attempt for one in found] == [one.attempt for one in expected]
        assert world.known == whole.known

    def test_a_single_input_that_could_not_be_built_is_none_when_the_search_goes_on(self):
        made = planned(600, 2)
        means = means_of(made)
        prices = {key: price for key, price in means.prices.items() if key != made.baselines[0].key}
        search = Budget(made, replace(means, prices=prices), Searched())
        splits = splits_of(made.task, installed(), made.settings)
        found = so_far(made, splits, {}, {}, {}, lambda _: 0, search)
        assert (found.done, found.complete) == ([], False)

    def test_a_larger_budget_in_the_same_folder_takes_up_what_was_stopped(self):
        small = World(planned(450), good)
        small.search()
        large = World(planned(3600), good)
        large.known = dict(small.known)
        large.search()
        candidates = {(one.fusion, one.run["training"]["lr"]) for one in large.known.values() if one.rung}
        ended = {
            (one.fusion, one.run["training"]["lr"])
            for one in large.known.values()
            if one.rung and one.rung.epochs == WHOLE
        }
        assert candidates == ended
        shown = {row.fusion for row in rows(list(large.known.values())) if not row.records}
        assert not shown


class TestOutlook:
    def test_what_a_budget_affords_is_said(self):
        made = planned(450)
        found = outlook_of(made, means_of(made))
        last = found.ladder.epochs[-1]
        assert found.confirm == 5 * 3 * (START + last * EPOCH)
        sizes = zip((3, 2, 2), found.ladder.epochs, strict=False)
        climb = sum(size * (START + epochs * EPOCH) for size, epochs in sizes)
        assert found.singles == 2 * (climb + sum(found.ladder.finals) * (START + last * EPOCH))
        assert found.cost <= 450 - 10 - found.confirm - found.singles
        assert "set aside to confirm" in found.sentence()
        rungs = [f"{size} for {epochs} epochs" for size, epochs in zip(*found.ladder[:2], strict=True)]
        assert f"24 candidates (combinations x 3 learning rates): {', then '.join(rungs)}" in found.sentence()
        assert ", then the best 2 with a second seed" in found.sentence()
        assert (found.document()["rungs"], found.document()["finals"]) == ([[24, 5], [6, 40]], [2])

    def test_time_is_set_aside_for_the_dearest(self):
        made = planned(2000)
        found = outlook_of(made, means_of(made, attention=(1.0, 1.0)))
        assert found.confirm == 5 * (2 * EACH + 1 + WHOLE)

    def test_the_full_protocol_sets_time_aside_for_the_seeds_that_it_may_add(self):
        made = planned(2000, protocol="full")
        assert outlook_of(made, means_of(made)).confirm == 10 * 3 * EACH

    def test_that_trainings_are_shorter_than_whole_ones_is_said(self):
        long, short, alone = planned(3600), planned(100), planned(60, 1, rates=False)
        assert "a longer budget" not in outlook_of(long, means_of(long)).sentence()
        said = outlook_of(short, means_of(short)).sentence()
        assert said.endswith("; a longer budget has time for trainings of 40 epochs")
        said = outlook_of(alone, means_of(alone)).sentence()
        assert "each training of 5 epochs; a longer budget has time for trainings of 40 epochs" in said

    def test_one_that_is_too_small_is_refused_with_what_it_would_have_to_be(self):
        made = planned(30)
        said = r"--budget 30s is too small even for trainings of one epoch: .* give --budget 43s or more"
        with pytest.raises(UsageError, match=said) as error:
            outlook_of(made, means_of(made))
        needed = 10 + (2 * 3 + 3 * 5 + 2) * (START + EPOCH)
        assert Fraction(43) >= needed
        assert "confirm with 5 seeds" in str(error.value)
        enough = planned(needed)
        assert outlook_of(enough, means_of(enough)).ladder == Ladder((2,), (1,))

    def test_folds_are_refused(self, tmp_path):
        data = {"a": [row * 7 % 31 for row in range(40)], "b": ["yes", "no"] * 20}
        with pytest.raises(UsageError, match="--budget searches on one split, and each of 3 folds has its own"):
            mmkit.bench(data=data, target="b", folds=3, budget="30m", out=tmp_path, progress=False)
