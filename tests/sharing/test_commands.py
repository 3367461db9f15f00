"""`mmkit push`, and hub:OWNER/NAME where a command takes a MODEL."""

import json

import pytest

from mmkit.registry.builtin.tasks import FRUIT

COMMANDS = {
    "predict": ("--data", FRUIT, "--out", "answers.csv"),
    "evaluate": ("--data", FRUIT),
    "explain": ("--data", FRUIT, "--row", "3", "--no-inside"),
    "export": ("--format", "pt2", "--out", "exported", "--force"),
    "push": ("acme/copy",),
}


def test_what_was_pushed_is_told(hub, trained, run):
    code, out, err = run("push", trained, "acme/fruit", "--private", "--message", "First")
    assert (code, err) == (0, "")
    sha, _, message = hub.repositories["acme/fruit"].commits[-1]
    assert (message, hub.repositories["acme/fruit"].private) == ("First", True)
    size = sum(map(len, hub.files("acme/fruit").values())) - len(hub.files("acme/fruit")[".gitattributes"])
    assert out.splitlines() == [
        f"acme/fruit: model.json, model.safetensors, README.md ({size / 1e6:,.1f} MB)",
        f"{hub.url}/acme/fruit/commit/{sha}",
        "answers for new rows:",
        "  mmkit predict hub:acme/fruit --data NEW --out ANSWERS.parquet",
    ]
    code, out, _ = run("push", trained, "acme/fruit")
    assert code == 0
    assert out.startswith("acme/fruit holds this model already; nothing was pushed\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_a_model_of_the_hub(hub, trained, run, command, tmp_path):
    run("push", trained, "acme/fruit")
    given = COMMANDS[command]
    here = run(command, trained, *given)
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("answers*")}
    there = run(command, "hub:acme/fruit", *given, *(["--force"] if command == "predict" else []))
    assert (here[0], there[0]) == (0, 0), (here, there)
    if command == "predict":
        assert kept == {path.name: path.read_bytes() for path in tmp_path.glob("answers*")}
    elif command == "evaluate":  # what it knows of the rows of its training stayed at home
        assert "keeps no hashes of its rows" in " ".join(there[1].split())
    elif command == "explain":
        assert there[1] == here[1]


def test_a_page_is_named_after_the_repository(hub, trained, run, tmp_path):
    run("push", trained, "acme/fruit")
    code, *_ = run("explain", "hub:acme/fruit", "--data", FRUIT, "--row", 3, "--no-inside", "--out", "page.html")
    assert code == 0
    assert "<title>Why fruit says so</title>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("command", ["serve", *COMMANDS])
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("hub:acme/none", 4, "has no repository acme/none"), ("hub:acme", 2, "'hub:acme' is no repository of the hub")],
)
def test_what_is_not_there_is_one_line(hub, run, command, name, code, message, tmp_path):
    found, out, err = run(command, name, *COMMANDS.get(command, ()))
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("mmkit: error: ")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_the_cache_is_told(hub, trained, run, monkeypatch):
    run("push", trained, "acme/fruit")
    assert run("evaluate", "hub:acme/fruit", "--data", FRUIT, "--json")[0] == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, out, err = run("evaluate", "hub:acme/fruit", "--data", FRUIT, "--json")
    assert code == 0
    assert json.loads(out)["rows"]
    assert "cannot be reached: hub:acme/fruit is that of the hub's cache, commit " in err


@pytest.mark.parametrize(
    ("token", "code", "message"),
    [("", 2, "there is no token; log in"), ("hf_reader", 2, "the token may not do that with acme/fruit")],
)
def test_a_push_without_rights_is_one_line(hub, trained, run, monkeypatch, token, code, message):
    monkeypatch.setenv("HF_TOKEN", token)
    found, out, err = run("push", trained, "acme/fruit")
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err
