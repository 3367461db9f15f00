"""The search for options within a budget: what it may choose from, and by learners whose clock is given."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from mmkit.errors import UnavailableError, UsageError
from mmkit.experiments.halving import Price
from mmkit.experiments.means import Means, asked_of
from mmkit.experiments.option_search import FINALS
from mmkit.experiments.outlook import outlook_of
from mmkit.experiments.plan import plan
from mmkit.experiments.ranges import RATE, Range, range_of, ranges_of, with_options
from mmkit.experiments.studies import Study
from mmkit.plugin import Component
from mmkit.registry.catalog import installed
from mmkit.registry.options import Option, options_of
from tests.experiments.learners import SAMPLES, Learners

WHOLE, START, EPOCH = 40, 1.0, 0.25
EACH = START + WHOLE * EPOCH  # seconds of a training: 11
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class TestRanges:
    @pytest.mark.parametrize(
        ("annotation", "default", "values"),
        [
            (Annotated[int, Gt(0)], 64, (32, 64, 128)),
            (Annotated[int, Gt(0)], 1, (1, 2)),
            (Annotated[int, Gt(0)], 3, (2, 3, 6)),
            (Annotated[int, Ge(2)], 2, (2, 4)),
            (Annotated[int, Ge(1), Le(2)], 1, (1, 2)),
            (Annotated[int, Gt(0)] | None, 5, (3, 5, 10)),
            (Annotated[float, Ge(0), Lt(1)], 0.1, SHARES),
            (Annotated[float, Interval(ge=0, lt=1)], 0.0, SHARES),
            (Annotated[float, Ge(0), Lt(1)], 0.12, tuple(sorted([*SHARES, 0.12]))),
            (Annotated[float, Gt(0)], 2.0, (0.5, 1.0, 2.0, 4.0, 8.0)),
            (Annotated[float, Ge(0)], 1e-3, (0.00025, 0.0005, 0.001, 0.002, 0.004)),
            (Annotated[float, Gt(0), Le(1)], 1.0, (*SHARES[1:], 1.0)),
            (Literal["lstm", "gru"], "gru", ("lstm", "gru")),
            (bool, True, (False, True)),
        ],
    )
    def test_of_an_annotation(self, annotation, default, values):
        found = range_of(Option("x", annotation, default))
        assert (found.values, found.default) == (values, default)
        assert found.ordered == (not isinstance(default, str | bool))

    @pytest.mark.parametrize(
        ("annotation", "default"),
        [
            (str, "image"),
            (str | None, None),
            (int, 4),  # without a bound
            (float, 1.0),
            (Annotated[int, Gt(0)] | None, None),
            (Annotated[int, Gt(0)], 50_000_000),  # a limit
            (Annotated[float, Ge(0)], 0.0),
            (Literal["one"], "one"),
            (Annotated[str, Component("encoder")], "mlp"),
            (tuple[int, ...], (1, 2)),
        ],
    )
    def test_what_is_left_alone(self, annotation, default):
        assert range_of(Option("x", annotation, default)) is None

    def test_what_the_user_gives_is_fixed_also_where_it_is_the_default(self):
        def names(*fusions, **given):
            made = plan(installed(), task="synthetic-xor", fusions=list(fusions), **given)
            return [ranges_of(one, made.rates).keys() for one in made.combinations]

        free, fixed, dotted = names("gated"), names("gated:width=128"), names("gated", options=["fusion.width=128"])
        assert "fusion.width" in free[0]
        assert fixed == dotted == [free[0] - {"fusion.width"}]

    def test_every_value_of_every_fusion_and_head_is_taken(self):
        catalog, seen = installed(), 0
        for kind in ("fusion", "head"):
            for entry in catalog.available(kind):
                choice = catalog.choose(kind, entry.full_name)
                for name, option in options_of(choice.component).items():
                    found = range_of(option)
                    for value in found.values if found else ():
                        assert catalog.choose(kind, choice, {name: value}).options[name] == value
                        seen += 1
        assert seen > 100

    def test_a_combination_with_other_options(self):
        made = plan(installed(), task="synthetic-xor", fusions=["gated"])
        one = with_options(made.combinations[0], {"fusion.width": 32, RATE: 0.1})
        assert str(one.fusion) == "gated:width=32"
        assert one.encoders == made.combinations[0].encoders
        assert with_options(one, {"fusion.width": 128}).key == made.combinations[0].key


RANGES = {
    "fusion.width": Range((32, 64, 128), 64, ordered=True),
    "head.loss": Range(("a", "b"), "a"),
    RATE: Range((0.1, 0.2, 0.3), 0.2, ordered=True),
}


class TestStudy:
    def test_defaults_come_first_with_every_rate(self):
        study, found = Study(RANGES, 1), []
        for _ in range(3):
            found.append(study.ask())
            study.tell(0.5)
        assert [one[RATE] for one in found] == [0.2, 0.1, 0.3]
        assert all((one["fusion.width"], one["head.loss"]) == (64, "a") for one in found)

    def test_nothing_is_asked_twice_what_is_left_is_known_and_it_ends(self):
        study, found = Study(RANGES, 1), []
        while (one := study.ask()) is not None:
            found.append(tuple(one.values()))
            study.tell(None if len(found) % 5 == 0 else one["fusion.width"] / 100)
            assert study.left == 3 * 2 * 3 - len(found)
        assert len(set(found)) == len(found) == 3 * 2 * 3

    def test_the_same_is_asked_of_the_same_seed_and_another_of_another(self):
        def asked(seed):
            study, found = Study(RANGES, seed), []
            for _ in range(10):
                found.append(study.ask())
                study.tell(found[-1]["fusion.width"] * found[-1][RATE])
            return found

        assert asked(1) == asked(1)
        assert asked(1) != asked(2)

    def test_what_is_good_is_tried_more_often_than_by_chance(self):
        ranges = {f"head.{name}": Range(tuple(range(11)), 5, ordered=True) for name in "abcd"}
        late = []
        for seed in range(5):
            study = Study(ranges, seed)
            for number in range(60):
                values = study.ask()
                distance = sum(abs(value - 9) for value in values.values())
                study.tell(-distance)
                late += [distance] if number >= 40 else []
        by_chance = 4 * sum(abs(value - 9) for value in range(11)) / 11
        assert sum(late) / len(late) < 0.6 * by_chance

    def test_without_optuna_the_error_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        with pytest.raises(UnavailableError, match=r"pip install 'mmkit-core\[search\]'"):
            planned(600)
        planned(600, search_options=False)


def planned(budget, fusions=("concat", "gated", "attention"), **given):
    given = {"search_options": True, "budget": budget, **given}
    return plan(installed(), task="synthetic-xor", fusions=list(fusions), **given)


def means_of(made, **prices):
    of = {one.key: Price(*prices.get(one.label, (START, EPOCH))) for one in made.all}
    return Means(asked_of(made), 10.0, 0.0, SAMPLES, of)


def good(combination, lr):
    """Fusions are better the wider they are, gated ones more so; single inputs with the lowest rate."""
    options = combination.fusion.options if combination.fusion else {}
    name = combination.fusion.name if combination.fusion else ""
    return 0.5 + options.get("width", 0) / 1000 * (2 if name == "gated" else 1) - (lr if not options else 0)


class World(Learners):
    """Learners of known scores on a machine of known speed."""

    def __init__(self, made, *, quality=good, seconds=lambda combination: EACH, failing=(), **prices):
        super().__init__(made, means_of(made, **prices), failing)
        self.quality, self.seconds = quality, seconds

    def name_of(self, combination):
        return combination.fusion.name if combination.fusion else combination.label

    def seconds_of(self, run):
        return self.seconds(run.combination)

    def score_of(self, run):
        return self.quality(run.combination, run.training.lr)

    def noted(self, attempt, seconds):
        run = attempt.run
        trial = attempt.rung is not None and not attempt.index  # one more seed of the best is none
        id_ = f"{run.combination.key} {run.training.lr:g} {run.seed}"
        return self.name_of(run.combination), id_, attempt.phase, trial, seconds

    def spent(self):
        """Seconds of the trainings that chose options, by the combination."""
        found = defaultdict(float)
        for name, _, _, trial, took in self.trained:
            found[name] += took * trial
        return dict(found)


class TestSearch:
    @pytest.mark.parametrize("budget", [700, 1500, 3000])
    def test_each_gets_the_same_time_and_all_ends_within_the_budget(self, budget):
        world = World(planned(budget))
        _, search = world.search()
        spent = world.spent()
        assert spent.keys() == {"concat", "gated", "attention", "only:left", "only:right"}
        full = {name: seconds for name, seconds in spent.items() if name in {"gated", "attention"}}
        assert max(full.values()) - min(full.values()) <= EACH
        assert max(spent.values()) <= max(full.values()) + EACH
        assert world.clock <= budget
        assert search.plan.combinations != world.plan.combinations

    def test_one_that_takes_longer_gets_fewer_trainings_and_no_more_time(self):
        def seconds(combination):
            return 3 * EACH if combination.fusion and combination.fusion.name == "attention" else EACH

        world = World(planned(4000), seconds=seconds, attention=(3 * START, 3 * EPOCH))
        world.search()
        spent = world.spent()
        count = Counter(name for name, _, _, trial, _ in world.trained if trial)
        assert abs(spent["attention"] - spent["gated"]) <= 3 * EACH
        assert count["gated"] > 2 * count["attention"]
        assert world.clock <= 4000

    def test_what_is_best_on_validation_is_confirmed_with_its_options_and_rate(self):
        world = World(planned(3000))
        done, search = world.search()
        confirmed = [one.attempt for one in done if one.attempt.phase == "confirm"]
        fused = {one.run.combination.label for one in confirmed if one.run.combination.fusion}
        assert len(fused) == 1
        assert next(iter(fused)).startswith("gated:width=256")
        assert {one.run.training.lr for one in confirmed if not one.run.combination.fusion} == {5e-4}
        assert Counter(one.run.combination.label for one in confirmed).most_common()[-1][1] == 5
        assert {one.run.combination.key for one in confirmed} <= {one.key for one in search.plan.all}
        # It is the best of what was tried, by the records alone.
        tried = [one for one in world.known.values() if one.rung and one.fusion.startswith("gated")]
        best = max(one.validation["accuracy"] for one in tried)
        assert next(iter(fused)) in {one.fusion for one in tried if one.validation["accuracy"] == best}

    def test_trainings_that_choose_read_no_test(self):
        for protocol in ("quick", "full"):
            world = World(planned(3000, protocol=protocol))
            world.search()
            assert not any(one.metrics for one in world.known.values() if one.rung and not one.index)

    def test_too_dear_options_are_not_chosen(self):
        def seconds(combination):
            return 2.5 * EACH if "width=256" in combination.label else EACH

        world = World(planned(4000), seconds=seconds)
        done, _ = world.search()
        assert any("width=256" in one.fusion for one in world.known.values())
        assert not any("width=256" in one.attempt.run.combination.label for one in done if not one.attempt.rung)
        assert world.clock <= 4000

    def test_a_slower_machine_tries_less(self):
        fast, slow = World(planned(2000)), World(planned(2000), seconds=lambda _: 1.5 * EACH)
        fast.search()
        slow.search()
        assert len(slow.trained) < len(fast.trained)
        assert slow.clock <= 2000

    def test_one_that_fails_is_recorded_as_failed_once(self):
        world = World(planned(1500), failing={"gated"})
        done, _ = world.search()
        failed = [one for one in world.known.values() if one.status == "failed"]
        assert [one.purpose for one in failed].count("comparison") == 1
        assert {one.attempt.phase for one in done if "gated" in one.attempt.run.combination.label} == {"search"}

    def test_a_given_rate_is_kept(self):
        world = World(planned(1500, training={"lr": 0.007}))
        done, _ = world.search()
        assert {one.attempt.run.training.lr for one in done} == {0.007}

    @pytest.mark.parametrize("after", [0, 1, 5, 17, 40, 70, 90])
    def test_what_was_interrupted_goes_on_as_it_would_have(self, after):
        whole, world = World(planned(2000)), World(planned(2000))
        expected, _ = whole.search()
        world.stop_after = after
        with pytest.raises(KeyboardInterrupt):
            world.search()
        world.stop_after = None
        found, _ = world.search()
        assert world.trained == whole.trained
        assert [one.attempt for one in found] == [one.attempt for one in expected]
        assert world.known == whole.known


class TestOutlook:
    def test_what_a_budget_affords_is_said(self):
        made = planned(3000)
        found = outlook_of(made, means_of(made))
        confirm = 2 * 5 * 3 * EACH  # twice, for options may be dearer
        assert found.confirm == confirm
        assert found.each == pytest.approx((1 - FINALS) * (3000 - 10 - confirm) / 5)
        assert "options of 5 combinations are searched, single inputs included, in 7 min for each" in found.sentence()
        assert found.document()["trainings"] == 5 * int(found.each / EACH)

    def test_one_that_is_too_small_is_refused_and_what_it_names_is_enough(self):
        made = planned(100)
        with pytest.raises(UsageError, match=r"--budget 100s is too small: .* give --budget 8m or more"):
            outlook_of(made, means_of(made))
        outlook_of(planned(480), means_of(planned(480)))

    def test_without_a_budget_it_is_refused(self):
        with pytest.raises(UsageError, match="--search-options needs the time that it may take: add --budget"):
            planned(None)
