"""Components get the right status, and a broken plugin affects only itself."""

import re
from typing import Annotated

import pytest

from mmkit.errors import ContractError, UnavailableError, UsageError
from mmkit.plugin import Component, EncoderSpec, ModalitySpec, TaskSpec
from mmkit.registry.catalog import KINDS, installed
from mmkit.registry.entries import requirements, unmet
from mmkit.registry.options import describe, options_of

GOOD = """
from mmkit.plugin import FusionSpec, hookimpl

class Fusion:
    def __init__(self, widths, *, rank: int = 2):
        pass

@hookimpl
def mmkit_fusions():
    yield FusionSpec("{name}", "THIS:Fusion", "One of a stranger's")
"""
TASK = """
from mmkit.plugin import TaskSpec, hookimpl

@hookimpl
def mmkit_tasks():
    yield TaskSpec("own", "a:B", "a task", modalities=("image", "text"), target="classes")
"""
HEAD = """
from mmkit.plugin import HeadSpec, hookimpl

@hookimpl
def mmkit_heads():
    yield HeadSpec("own", "a:B", "a head", targets="classes")
"""


def plugin(name="braid"):
    return GOOD.format(name=name)


def entries_of(distribution, **settings):
    return [e for e in installed(environ={}, **settings).entries if e.distribution == distribution]


def broken(name="acme"):
    (entry,) = entries_of(name)
    assert (entry.kind, entry.name, entry.status, entry.spec) == ("plugin", name, "broken", None)
    # All other components are still there.
    assert {e.kind for e in installed(environ={}).entries if e.status == "ok"} == set(KINDS)
    return entry


def test_mmkits_own_components_are_registered_like_a_plugins_and_all_load():
    entries = entries_of("mmkit-core")
    assert {entry.kind for entry in entries} == set(KINDS)
    for entry in entries:
        assert entry.status == "ok"
        assert entry.full_name == f"mmkit-core/{entry.name}"
        assert entry.summary
        assert entry.load().__name__ == entry.spec.reference.partition(":")[2]


def test_the_spec_of_a_task_has_its_inputs_and_its_target():
    catalog = installed()
    for entry in catalog.available("task"):
        spec = entry.spec
        assert isinstance(spec, TaskSpec)
        task = entry.load()(**dict(spec.example))
        if spec.modalities or spec.target:  # else they hang on its options
            assert (dict(task.inputs), task.target) == (dict(spec.modalities), spec.target)


def test_a_modalitys_default_encoder_reads_it():
    catalog = installed()
    for entry in catalog.available("modality"):
        spec = entry.spec
        assert isinstance(spec, ModalitySpec)
        encoder = catalog.find("encoder", spec.encoder).spec
        assert isinstance(encoder, EncoderSpec)
        assert encoder.modality in {entry.name, spec.values}


def test_a_plugins_component_is_found_loaded_and_chosen(distribution):
    module = distribution("acme-fusion", plugin(), version="0.4")
    catalog = installed(environ={})
    entry = catalog.find("fusion", "braid")
    assert (entry.status, entry.full_name, entry.version) == ("ok", "acme-fusion/braid", "0.4")
    assert catalog.find("fusion", "Acme_Fusion/braid") is entry
    chosen = catalog.choose("fusion", "braid:rank=3")
    assert (chosen.component.__module__, chosen.options, str(chosen)) == (module, {"rank": 3}, "braid:rank=3")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "it calls sys.exit(3)"),
        ("class Odd(BaseException): pass\nraise Odd('so')", "Odd: so"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def mmkit_fusions(:", "SyntaxError: "),
        ("", "THIS implements no hook; the hooks are mmkit_tasks, "),
    ],
)
def test_a_broken_plugin_affects_only_itself(distribution, source, reason):
    module = distribution("acme", source.replace("\\\\n", "\\n"))
    entry = broken()
    assert reason.replace("THIS", module) in entry.reason
    assert "\n" not in entry.reason
    assert "Traceback" in entry.traceback


SOUND = """
@hookimpl
def mmkit_objectives():
    from mmkit.plugin import ObjectiveSpec
    yield ObjectiveSpec("sound", "mmkit.objectives.contrastive:ContrastiveObjective", "Keeps all rules")
"""


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        (
            plugin().replace("mmkit_fusions", "mmkit_fusion"),
            "mmkit_fusion",
            "THIS implements mmkit_fusion, which is no h",
        ),
        (
            plugin().replace("@hookimpl", ""),
            "mmkit_fusions",
            "THIS.mmkit_fusions is not decorated with mmkit.plugin.ho",
        ),
        (plugin() + "    raise ValueError('late')", "mmkit_fusions", "mmkit_fusions: ValueError: late"),
        (plugin() + "    import sys; sys.exit(3)", "mmkit_fusions", "mmkit_fusions: it calls sys.exit(3)"),
        (
            plugin().replace("yield", "return"),
            "mmkit_fusions",
            "mmkit_fusions: TypeError: 'FusionSpec' object is",
        ),
        (plugin() + "    yield 'braid'", "mmkit_fusions[1]", "mmkit_fusions gives 'braid', not a FusionSpec"),
        (plugin().replace("mmkit_fusions", "mmkit_heads"), "braid", "mmkit_heads gives FusionSpec("),
        (plugin() + "    yield FusionSpec('braid', 'a:B', '')", "braid", "mmkit_fusions gives two of the name braid"),
        (
            plugin("Braid"),
            "Braid",
            "mmkit_fusions gives the name 'Braid'; a name is lower-case words joined by hyphens",
        ),
        (plugin("only"), "only", "mmkit_fusions gives the name 'only'"),
        (
            plugin().replace("THIS:Fusion", "THIS.Fusion"),
            "braid",
            "mmkit_fusions: braid refers to 'THIS.Fusion', not to",
        ),
        (
            plugin().replace("a stranger", "a\\\\nstranger"),
            "braid",
            "mmkit_fusions: the summary of braid is not one line",
        ),
        (
            TASK,
            "own",
            "mmkit_tasks: modalities of own is a tuple of pairs, an input and its modality; got ('image', 'text",
        ),
        (HEAD, "own", "mmkit_heads: targets of own is a tuple of kinds of target; got 'classes'"),
        (
            plugin().replace("stranger's\"", 'stranger", combines="feature"'),
            "braid",
            "mmkit_fusions: combines of braid is features or outputs or both; got 'feature'",
        ),
        (
            plugin().replace("stranger's\"", 'stranger", min_inputs="2"'),
            "braid",
            "mmkit_fusions: min_inputs of braid is int; got '2'",
        ),
        (
            plugin().replace("stranger's\"", 'stranger", max_inputs=(2,)'),
            "braid",
            "mmkit_fusions: max_inputs of braid is int or none; got (2,)",
        ),
        (
            plugin().replace("stranger's\"", 'stranger", requires=("==oops",)'),
            "braid",
            "requires of braid: InvalidRequirement",
        ),
    ],
)
def test_a_spec_that_cannot_be_used_costs_only_itself(distribution, source, name, reason):
    module = distribution("acme", source.replace("\\\\n", "\\n") + SOUND)
    found = {(entry.name, entry.status): entry for entry in entries_of("acme")}
    assert found.pop(("sound", "ok")).load()
    found.pop(("braid", "ok"), None)  # what the same hook gave before
    (entry,) = found.values()
    assert (entry.name, entry.status, entry.spec) == (name, "broken", None)
    assert reason.replace("THIS", module) in entry.reason
    assert "\n" not in entry.reason
    assert re.search(rf"{module}\.py:\d+$", entry.place)
    assert entry.why == f"{entry.reason} ({entry.place})"


def test_where_a_spec_is_given_is_known(distribution):
    module = distribution("acme", plugin() + "    yield FusionSpec('Knot', 'a:B', '')")
    source = (distribution.site / f"{module}.py").read_text().splitlines()
    lines = {entry.name: int(entry.place.rpartition(":")[2]) for entry in entries_of("acme")}
    assert [source[lines[name] - 1].strip()[:16] for name in ("braid", "Knot")] == ["yield FusionSpec"] * 2
    with pytest.raises(UnavailableError, match=r"fusion Knot is broken: mmkit_fusions gives the name 'Knot'.*py:\d+\)"):
        installed(environ={}).find("fusion", "Knot")


def test_the_users_interrupt_is_no_plugins_failure(distribution):
    distribution("acme", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        installed()


def test_what_a_plugin_prints_goes_to_stderr(distribution, capsys):
    distribution("acme", "print('hello')" + plugin())
    installed()
    assert capsys.readouterr() == ("", "hello\n")


def test_a_plugin_for_another_interface_is_not_imported(distribution):
    distribution("acme", "raise RuntimeError", group="mmkit.v2")
    (entry,) = entries_of("acme")
    assert (entry.kind, entry.status) == ("plugin", "incompatible")
    assert entry.reason == "registers for mmkit.v2, and this mmkit reads mmkit.v1"


def test_a_plugin_for_both_interfaces_is_loaded(distribution):
    distribution("acme", plugin())
    points = distribution.site / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "[mmkit.v2]\nacme = not_there\n")
    assert [entry.status for entry in entries_of("acme")] == ["ok"]


@pytest.mark.parametrize("missing", ["not-installed-anywhere>=2", "numpy>=99"])
def test_requirements_are_checked_by_metadata(distribution, missing):
    distribution("acme", plugin(), requires=[missing, "tqdm-x; extra == 'bar'", "no-such; python_version < '3'"])
    (entry,) = entries_of("acme")
    assert (entry.kind, entry.name, entry.status) == ("fusion", "braid", "missing-deps")
    assert re.fullmatch(rf"needs {re.escape(missing)} \((not installed|\S+ is installed)\)", entry.reason)
    with pytest.raises(UnavailableError, match=r"fusion braid is missing-deps: needs"):
        installed().find("fusion", "braid")


def test_a_component_has_requirements_of_its_own(distribution):
    more = '    yield FusionSpec("knot", "THIS:Fusion", "", requires=("not-installed-anywhere", "numpy>=1"))'
    distribution("acme", plugin() + more)
    found = {entry.name: (entry.status, entry.reason) for entry in entries_of("acme")}
    assert found == {
        "braid": ("ok", ""),
        "knot": ("missing-deps", "needs not-installed-anywhere (not installed)"),
    }


def test_a_plugin_that_lacks_a_requirement_is_not_called_broken(distribution):
    distribution("acme", "import not_installed_anywhere", requires=["not-installed-anywhere"])
    (entry,) = entries_of("acme")
    assert (entry.kind, entry.status) == ("plugin", "missing-deps")


def test_a_built_in_name_stays_mmkits(distribution):
    module = distribution("acme", plugin("concat"))
    catalog = installed(environ={})
    assert catalog.find("fusion", "concat").distribution == "mmkit-core"
    assert catalog.find("fusion", "mmkit-core/concat").distribution == "mmkit-core"
    assert catalog.find("fusion", "acme/concat").status == "shadowed"
    assert catalog.find("fusion", "acme/concat").reason == "concat is mmkit's own; write acme/concat"
    assert "acme" not in {entry.distribution for entry in catalog.available("fusion")}
    chosen = catalog.choose("fusion", "acme/concat:rank=5")
    assert (chosen.component.__module__, str(chosen)) == (module, "acme/concat:rank=5")


def test_two_plugins_components_of_one_name_need_their_full_names(distribution):
    distribution("acme", plugin())
    distribution("zeta", plugin())
    catalog = installed(environ={})
    found = {entry.distribution: (entry.status, entry.reason) for entry in catalog.named("braid")}
    assert found == {
        "acme": ("ok", "zeta has a braid, too; write acme/braid"),
        "zeta": ("ok", "acme has a braid, too; write zeta/braid"),
    }
    with pytest.raises(UsageError, match="fusion braid is ambiguous; write acme/braid or zeta/braid"):
        catalog.choose("fusion", "braid")
    assert catalog.choose("fusion", "zeta/braid").name == "zeta/braid"


def test_components_of_two_kinds_may_share_a_name(distribution):
    distribution("acme", plugin("mlp"))
    assert installed(environ={}).find("fusion", "mlp").status == "ok"


@pytest.mark.parametrize(
    ("blocked", "environ"),
    [
        (["Acme"], {}),
        ([], {"MMKIT_DISABLE_PLUGINS": "other, acme"}),
        ([], {"MMKIT_PLUGINS": "other"}),
        ([], {"MMKIT_PLUGINS": ""}),
    ],
)
def test_a_blocked_plugin_is_not_imported(distribution, blocked, environ):
    distribution("acme", "raise KeyboardInterrupt")
    catalog = installed(blocked, environ)
    (entry,) = [entry for entry in catalog.entries if entry.distribution == "acme"]
    assert (entry.kind, entry.status) == ("plugin", "blocked")
    assert catalog.find("fusion", "concat").status == "ok"
    with pytest.raises(UnavailableError, match="plugin acme is blocked"):
        catalog.find("fusion", "acme/braid")
    with pytest.raises(UsageError, match=r"there is no fusion braid.*; plugin acme is blocked"):
        catalog.find("fusion", "braid")


def test_an_allowed_plugin_is_loaded(distribution):
    distribution("acme", plugin())
    assert installed(environ={"MMKIT_PLUGINS": "acme"}).find("fusion", "braid").status == "ok"


def test_blocking_an_unknown_plugin_is_an_error():
    with pytest.raises(UsageError, match="there is no plugin mmkit-cor to leave out; did you mean mmkit-core"):
        installed(["mmkit-cor"])


def test_the_error_of_an_unknown_name_lists_the_possible_ones():
    with pytest.raises(UsageError, match=r"there is no fusion concta; did you mean concat\? The nearest of \d+: con"):
        installed().find("fusion", "concta")


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("THIS:Missing", ContractError, "fusion braid of acme 1.0 refers to THIS:Missing, which is not a class but No"),
        ("THIS:mmkit_fusions", ContractError, "not a class"),
        ("made_nowhere.x:Fusion", ContractError, "there is no module made_nowhere"),
        ("THIS_heavy:Fusion", UnavailableError, "cannot be imported: ModuleNotFoundError: No module named 'heavy_lib'"),
        ("THIS_exits:Fusion", UnavailableError, r"cannot be imported: it calls sys.exit\(\)"),
        ("THIS_lazy:Fusion", UnavailableError, r"cannot be imported: ImportError: no heavy_lib \(.*_lazy.py:2\)"),
    ],
)
def test_the_error_of_a_component_that_cannot_be_loaded_names_its_plugin(distribution, reference, error, message):
    module = distribution("acme", plugin().replace("THIS:Fusion", reference))
    (distribution.site / f"{module}_heavy.py").write_text("import heavy_lib")
    (distribution.site / f"{module}_exits.py").write_text("import sys; sys.exit()")
    (distribution.site / f"{module}_lazy.py").write_text(
        "def __getattr__(name):\n    raise ImportError('no heavy_lib')"
    )
    with pytest.raises(error, match=message.replace("THIS", module)) as caught:
        installed(environ={}).find("fusion", "braid").load()
    assert "acme 1.0" in str(caught.value)


Named = Annotated[str, Component("fusion")]


class Around:
    """A component that holds others."""

    def __init__(self, *, inner: Annotated[str, Component("fusion")] = "concat", last: Named | None = None):
        """Options that name them."""


def test_components_that_options_name_are_chosen_and_their_versions_recorded(distribution):
    distribution("acme", plugin(), version="2.5")
    catalog = installed(environ={})
    own = catalog.choose("fusion", "concat").plugins
    around = catalog.choose("fusion", Around)
    assert around.plugins == own
    with_braid = catalog.choose("fusion", around, {"inner": "braid", "last": "sum:width=8"})
    assert with_braid.plugins == {"acme": "2.5", **own}
    assert with_braid.inner[1].options["width"] == 8
    assert catalog.choose("fusion", with_braid, {"inner": "sum", "last": None}).plugins == own
    with pytest.raises(UsageError, match="there is no fusion brade; did you mean braid"):
        catalog.choose("fusion", Around, {"last": "brade"})
    assert describe(options_of(Around)["inner"].annotation) == 'fusion NAME, or "NAME:key=value,..."'


@pytest.mark.parametrize(
    "line",
    [
        "acme",
        "acme>=1",
        "acme >=1.2.0",
        "acme>=1.2",
        "acme>=1.3",
        "acme>=2",
        "acme>=1.10",
        "gone",
        "acme<2",
        "acme>=1,<2",
        'gone; extra == "x"',
        'gone; python_version < "3"',
        "acme[x]>=1",
    ],
)
@pytest.mark.parametrize("version", ["1.2", "1.2.0", "1.9", "1.2+cu130", "1.3rc1", "2"])
def test_the_fast_check_of_requirements_agrees_with_the_standard(line, version):
    versions = {"acme": version}
    standard = all(met for _, _, met in requirements([line], versions))
    assert (unmet([line], versions) == []) == standard
