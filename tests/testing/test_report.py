"""What the kit says: statuses, reports, the parametrisation for pytest, and `mmkit plugins check`."""

import json
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import annotated_types
import pytest
import torch
from torch import nn

import mmkit.cli.plugins_check
import mmkit.testing
from mmkit.cli import main
from mmkit.contract import Features, Samples
from mmkit.errors import UsageError
from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec
from mmkit.registry.catalog import Catalog, Entry
from mmkit.testing import CHECKS, cases, check, checks_of
from mmkit.testing.battery import KINDS

NOTHING = Catalog((), {})


class Total(nn.Module):
    """A sum of projections."""

    def __init__(self, widths):
        super().__init__()
        self.width = 4
        self.maps = nn.ModuleDict({name: nn.Linear(d, 4) for name, d in widths.items()})

    def forward(self, features):
        parts = [torch.tanh(self.maps[n](f.vector())) * f.present().unsqueeze(1) for n, f in sorted(features.items())]
        return Features.of(sum(parts))


class Random(Total):
    def forward(self, features):
        return Features.of(torch.randn(len(features["a"].mask), 4))


def _check(component, **more):
    return check("fusion", component, catalog=NOTHING, **more)


def test_report_of_a_sound_component():
    report = _check(Total, spec=FusionSpec("total", "", "", vectors=True))
    assert report.ok
    # It has none of these.
    without = {"rates", "other-width", "not-negative", "details", "remarks", "decision", "exchange", "compares"}
    assert {r.check.name for r in report.results if r.status == "not applicable"} == without
    passed = len(checks_of("fusion")) - len(without)
    assert report.counts == {"passed": passed, "not applicable": len(without)}
    assert report.failed() == []
    assert str(report).endswith(f"Total: {passed} passed, {len(without)} not applicable")


def test_what_builds_on_a_failed_check_is_not_run_and_the_rest_is():
    report = _check(Random)
    found = {result.check.name: result for result in report.results}
    assert not report.ok
    assert found["deterministic"].status == "failed"
    assert (found["mates"].status, found["mates"].message) == ("not run", "deterministic failed")
    assert found["missing-rows"].status == "passed"
    assert not found["mates"].ok
    assert "not run for that: mates, padding, holes, vectors, decision, details, order" in str(report)


def test_what_needs_a_check_that_was_not_run_is_not_run_either():
    class Nothing(Total):
        def __init__(self, widths):
            raise RuntimeError("no")

    report = _check(Nothing)
    assert {r.status for r in report.results if r.check.name not in {"options", "builds"}} == {"not run"}
    assert "raised RuntimeError: no" in report.failed()[0].message


class SharedWriter:
    """A writer stands in all splits; the kit only advises."""

    description, target, metric = "Which?", "classes", "accuracy"
    inputs: ClassVar = {"a": "table"}
    encoders: ClassVar = {}
    training: ClassVar = {}

    def split(self, name):
        start = 100 * ("train", "validation", "test").index(name)
        rows = [{"x": float(start + number)} for number in range(8)]
        ids, truth = [f"{name}-{number}" for number in range(8)], ["no", "yes"] * 4
        return Samples(ids, {"a": rows}, truth, groups=["ann"] * 8)


def test_advice_fails_nothing():
    report = check("task", SharedWriter)
    assert [result.check.name for result in report.failed()] == ["groups-apart"]
    assert report.ok
    assert "1 advice unheeded" in str(report)


def test_options_and_spec_reach_the_component():
    two = FusionSpec("two", "", "", min_inputs=2, max_inputs=2)
    assert _check(Total, spec=two).ok
    with pytest.raises(UsageError, match="has no option rank"):
        check("fusion", Total, {"rank": 2}, catalog=NOTHING)


def test_a_signature_that_cannot_be_read_is_a_finding():
    class Unsigned(Total):
        def __init__(self, widths, *, rate=0.1):
            super().__init__(widths)

    report = _check(Unsigned)
    assert [result.check.name for result in report.failed()] == ["options"]
    assert "rate needs an annotation" in report.failed()[0].message
    assert report.counts == {"failed": 1, "not run": len(checks_of("fusion")) - 1}


def test_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    _check(Total)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "message"), [("encoder", "which modality"), ("head", "what can"), ("oracle", "fusion")]
)
def test_what_the_kit_must_know_is_asked_for(kind, message):
    with pytest.raises(UsageError, match=message):
        check(kind, Total, catalog=NOTHING)


def test_modality_of_an_encoder_is_looked_up():
    with pytest.raises(UsageError, match="no modality smell"):
        check("encoder", Total, spec=EncoderSpec("nose", "", "", modality="smell"), catalog=NOTHING)


def test_of_a_head_with_unknown_targets_alone_the_options_are_looked_at():
    report = check("head", Total, spec=HeadSpec("h", "", "", targets=("graph",)), catalog=NOTHING)
    assert report.counts == {"passed": 1, "not run": len(checks_of("head")) - 1}
    assert (report.ok, report.examined) == (False, False)


def test_report_as_json():
    document = json.loads(json.dumps(_check(Random).to_json()))
    assert document["ok"] is False
    assert document["kind"] == "fusion"
    by_name = {entry["name"]: entry for entry in document["checks"]}
    assert by_name["deterministic"]["status"] == "failed"
    assert by_name["deterministic"]["mandatory"] is True
    tasks = check("task", SharedWriter).to_json()["checks"]
    assert [entry["name"] for entry in tasks if not entry["mandatory"]] == ["groups-apart"]
    assert by_name["mates"]["rule"] == "In evaluation a sample's result does not depend on the others in its batch."


def test_cases_tell_pytest():
    random = {param.id: param.values[0] for param in cases("fusion", Random)}
    assert list(random) == [c.name for c in checks_of("fusion")]
    random["builds"]()
    with pytest.raises(AssertionError, match="a random number is drawn"):
        random["deterministic"]()
    with pytest.raises(pytest.skip.Exception, match="not run: deterministic failed"):
        random["mates"]()
    with pytest.raises(pytest.xfail.Exception, match="advice: train and validation share"):
        {param.id: param.values[0] for param in cases("task", SharedWriter)}["groups-apart"]()
    assert [param.id for param in cases("fusion", Random, full=True)] == [
        c.name for c in checks_of("fusion", full=True)
    ]


def test_every_check_has_a_rule_on_one_line_and_needs_what_comes_before_it():
    for kind in KINDS:
        before = set()
        for each in checks_of(kind, full=True):
            assert each.rule.endswith("."), each.name
            assert set(each.needs) <= {other.name for other in CHECKS}, each.name
            assert {n for n in each.needs if n in {other.name for other in checks_of(kind, full=True)}} <= before
            before.add(each.name)


def test_public_names_are_there():
    assert all(getattr(mmkit.testing, name) is not None for name in mmkit.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'chek'"):
        _ = mmkit.testing.chek


# ------------------------------------------------------------------------------------------------- mmkit plugins check

GOOD = Entry(
    "modality", "good", "acme/good", "acme", "1.0", "ok", spec=FusionSpec("good", "mmkit.modalities.series:Series", "")
)
BAD = Entry(
    "fusion", "bad", "acme/bad", "acme", "1.0", "ok", spec=FusionSpec("bad", "torch.nn:Identity", "Not a fusion")
)
ABSENT = replace(BAD, name="absent", full_name="acme/absent", status="missing-deps", reason="needs nothing2")
LOST = Entry("plugin", "lost", "lost", "lost", "0.1", "broken", "ImportError: nothing")


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments, entries=(GOOD, BAD, ABSENT, LOST)):
        monkeypatch.setattr(mmkit.cli.plugins_check, "catalog", lambda ctx: Catalog(tuple(entries), {}))
        with pytest.raises(SystemExit) as stop:
            main(["plugins", "check", *arguments])
        return stop.value.code, *capsys.readouterr()

    return run


def test_command_says_what_passed(command):
    code, out, err = command("good")
    assert (code, err) == (0, "")
    assert out == f"modality good: {len(checks_of('modality')) - 1} passed, 1 not applicable\n"


def test_command_fails_where_a_check_does(command):
    code, out, err = command("--all")
    assert code == 1
    assert "options failed: Identity takes *args" in out
    assert "plugin lost: broken: ImportError: nothing\n" in out
    assert out.endswith("3 components: 1 keep the contract, 2 do not\n")
    assert err == "mmkit: fusion acme/absent is missing-deps: needs nothing2\n"


def test_command_in_json(command):
    code, out, _ = command("acme", "--json")
    document = json.loads(out)
    assert (code, document["schema"], document["ok"]) == (1, 1, False)
    good, bad = document["components"]
    assert (good["full_name"], good["distribution"], good["version"], good["ok"]) == ("acme/good", "acme", "1.0", True)
    assert bad["ok"] is False
    assert bad["checks"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["goood"], 2, "did you mean good"),
        ([], 2, "--all"),
        (["good", "--all"], 2, "--all"),
        (["--all", "--kind", "fussion"], 2, "did you mean fusion"),
        (["good:rate=1"], 2, "has no option rate"),
        (["good:rate"], 2, "not key=value"),
        (["absent"], 3, "needs nothing2"),
        (["lost"], 3, "ImportError: nothing"),
    ],
)
def test_command_says_what_cannot_be(command, arguments, code, message):
    found, out, err = command(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_component_that_cannot_be_imported_costs_only_itself(command):
    gone = replace(BAD, name="gone", full_name="acme/gone", spec=FusionSpec("gone", "acme_gone:Gone", ""))
    code, out, _ = command("--all", entries=(gone, GOOD))
    assert code == 1
    assert "modality good: " in out
    assert "acme_gone" in out


def test_variants_change_one_countable_option_at_a_time():
    from mmkit.registry.options import Choice
    from mmkit.testing import variants

    class Shift:
        def __init__(
            self,
            *,
            by: Literal["row", "column"] = "row",
            wrap: bool = False,
            limit: Annotated[int, annotated_types.Gt(0)] | None = 3,
            size: int = 3,
        ):
            pass

    choice = Choice("encoder", "shift", None, (Shift,), {"by": "column", "wrap": False, "limit": 3, "size": 3})
    assert list(variants(choice)) == [{"by": "row"}, {"wrap": True}, {"limit": None}]
