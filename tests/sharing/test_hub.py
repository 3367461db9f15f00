"""Models are pushed to the hub and loaded from it: only what a model is travels, and each refusal is one line."""

import json
import shutil
import socket

import pytest

import mmkit
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.sharing.fetching import located
from mmkit.sharing.names import Repository, repository_of, title_of
from mmkit.sharing.pushing import push

MODEL = {"model.json", "model.safetensors", "README.md"}
ROWS = "trained_on.safetensors"
SAMPLE = {"note": "sweet, with a stone"}


@pytest.fixture
def pushed(hub, trained):
    push(trained, "acme/fruit")
    hub.asked.clear()
    return hub


def closed_port():
    """The address of a port that nobody listens to."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


class TestThereAndBack:
    def test_the_model_answers_as_before(self, hub, trained):
        before = mmkit.load(trained)
        url = before.push("acme/fruit", message="The first one")
        repository = hub.repositories["acme/fruit"]
        assert url == f"{hub.url}/acme/fruit/commit/{repository.commits[-1][0]}"
        assert repository.commits[-1][2] == "The first one"
        assert set(hub.files("acme/fruit")) - {".gitattributes"} == MODEL
        after = mmkit.load("hub:acme/fruit")
        assert after.predict([SAMPLE]) == before.predict([SAMPLE])
        assert after.card.startswith("---\nlicense:")

    def test_a_table_is_answered_by_it_as_by_the_folder(self, pushed, trained, tmp_path):
        table = {"note": ["sweet, with a stone", "sour"]}
        asked = {"data": table, "progress": False, "device": "cpu"}
        mmkit.predict("hub:acme/fruit", out=tmp_path / "hub.csv", **asked)
        mmkit.predict(trained, out=tmp_path / "folder.csv", **asked)
        assert (tmp_path / "hub.csv").read_bytes() == (tmp_path / "folder.csv").read_bytes()
        with pytest.raises(UsageError, match=r"got a model in memory: model\.answers\(data\) gives its answers"):
            mmkit.predict(mmkit.load(trained), out=tmp_path / "memory.csv", **asked)

    def test_a_pushed_folder_has_the_bytes_of_its_files(self, hub, trained):
        found = push(trained, "acme/fruit")
        files = hub.files("acme/fruit")
        for name in ("model.json", "model.safetensors"):
            assert files[name] == (trained / name).read_bytes()
        assert found.sizes == {name: len(files[name]) for name in found.sizes}
        assert set(found.sizes) == MODEL

    @pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the hub's client
    def test_large_files_go_apart(self, hub, trained):
        hub.large.add("model.safetensors")
        push(trained, "acme/fruit")
        assert len(hub.stored) == 1
        assert hub.files("acme/fruit")["model.safetensors"] == (trained / "model.safetensors").read_bytes()

    def test_hashes_of_rows_travel_only_when_asked_for(self, hub, trained):
        push(trained, "acme/fruit", rows=True)
        assert hub.files("acme/fruit")[ROWS] == (trained / ROWS).read_bytes()
        assert mmkit.load("hub:acme/fruit").trained_on is not None
        assert (
            ROWS not in hub.files("acme/fruit")["README.md"].decode().partition("\n## Files\n")[2].partition("With")[2]
        )
        push(trained, "acme/fruit")  # those of a model that was there before go
        assert ROWS not in hub.files("acme/fruit")
        assert mmkit.load("hub:acme/fruit").trained_on is None

    def test_the_same_model_is_not_pushed_twice(self, pushed, trained):
        commits = len(pushed.repositories["acme/fruit"].commits)
        assert push(trained, "acme/fruit").before
        assert len(pushed.repositories["acme/fruit"].commits) == commits

    def test_a_model_without_a_folder_has_its_card(self, hub):
        model, record = mmkit.fit(
            task="digits", fusion="concat", limit=40, training={"epochs": 1, "min_steps": 0}, progress=False
        )
        model.push("acme/digits")
        card = hub.files("acme/digits")["README.md"].decode()
        assert "\n# digits\n" in card
        assert f"{100 * record.metrics['accuracy']:.1f}" in card
        assert 'mmkit.load("hub:acme/digits")\n' in card

    def test_a_model_without_a_card_gets_a_short_one(self, hub, trained, tmp_path):
        mmkit.load(trained).save(tmp_path / "plain")
        push(tmp_path / "plain", "acme/plain")
        card = hub.files("acme/plain")["README.md"].decode()
        assert card.startswith('---\nlibrary_name: "mmkit"\n')
        assert "It has no record of its training" in card

    def test_a_page_of_ones_own_stays_and_gets_front_matter(self, hub, trained, tmp_path):
        mmkit.load(trained).save(tmp_path / "own")
        (tmp_path / "own" / "README.md").write_text("# Mine\n\nBy hand.\n")
        push(tmp_path / "own", "acme/own")
        card = hub.files("acme/own")["README.md"].decode()
        assert card.startswith("---\n")
        assert card.endswith("# Mine\n\nBy hand.\n")

    def test_a_model_of_the_hub_is_pushed_elsewhere_with_its_new_name(self, pushed):
        mmkit.load("hub:acme/fruit").push("acme/copy")
        card = pushed.files("acme/copy")["README.md"].decode()
        assert card == pushed.files("acme/fruit")["README.md"].decode().replace("hub:acme/fruit", "hub:acme/copy")
        assert card.count("hub:acme/copy") == 1

    def test_the_card_says_what_did_not_travel(self, pushed):
        end = pushed.files("acme/fruit")["README.md"].decode().partition("\n## Files\n\n")[2]
        assert end == (
            "Here are `model.json`, `model.safetensors` and this card. With whoever trained the model: `record.json`, "
            "`splits.parquet`, `trained_on.safetensors`.\n"
        )


class TestLoading:
    def test_only_files_of_a_model_are_asked_for(self, pushed):
        repository = pushed.repositories["acme/fruit"]
        repository.commit({**pushed.files("acme/fruit"), "pytorch_model.bin": b"evil", "setup.py": b"evil()"})
        folder = located("hub:acme/fruit")
        assert {path.name for path in folder.iterdir()} == MODEL
        assert not [one for one in pushed.asked if "pytorch_model" in one or "setup.py" in one]

    def test_a_revision_is_a_tag_or_a_commit(self, pushed, trained, tmp_path):
        repository = pushed.repositories["acme/fruit"]
        first = repository.commits[-1][0]
        repository.tags["v1"] = first
        shutil.copytree(trained, tmp_path / "next")
        (tmp_path / "next" / "README.md").write_text("# Next\n")
        push(tmp_path / "next", "acme/fruit")
        assert "# Next" in mmkit.load("hub:acme/fruit").card
        for revision in ("v1", first):
            assert "# Next" not in mmkit.load(f"hub:acme/fruit@{revision}").card

    def test_a_private_model_needs_a_token(self, hub, trained, monkeypatch):
        mmkit.load(trained).push("acme/secret", private=True)
        assert hub.repositories["acme/secret"].private
        assert mmkit.load("hub:acme/secret").predict([SAMPLE])
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(
            DataError, match=r"no repository acme/secret, or it is private, and there is no token: `hf au"
        ):
            mmkit.load("hub:acme/secret")
        monkeypatch.setenv("HF_TOKEN", "hf_stranger")
        with pytest.raises(DataError, match="no repository acme/secret, or the token may not read it"):
            mmkit.load("hub:acme/secret")

    def test_a_gated_model_says_where_to_ask(self, pushed, monkeypatch):
        pushed.repositories["acme/fruit"].gated = True
        monkeypatch.setenv("HF_TOKEN", "hf_stranger")
        with pytest.raises(DataError, match=rf"acme/fruit is gated: ask for access on {pushed.url}/acme/fruit; log in"):
            mmkit.load("hub:acme/fruit")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("hub:acme/none", "has no repository acme/none, or the token may not read it"),
            ("hub:acme/fruit@v9", r"acme/fruit has no revision v9; http://.*/acme/fruit shows"),
            (
                "hub:acme/words",
                "holds no model of mmkit: it has no model.json and no model.safetensors; give a repository",
            ),
        ],
    )
    def test_what_is_not_there_is_said(self, pushed, name, message):
        pushed.repositories["acme/words"] = words = type(pushed.repositories["acme/fruit"])()
        words.commit({"config.json": b"{}", "pytorch_model.bin": b"x"})
        with pytest.raises(DataError, match=message):
            mmkit.load(name)
        assert not [one for one in pushed.asked if "/resolve/" in one]

    @pytest.mark.parametrize(
        "name", ["hub:", "hub:acme", "hub:a/b/c", "hub:../x", "hub:a/b@", "hub:a/../b", "hub:a/b@../c"]
    )
    def test_a_name_that_is_none_asks_nobody(self, hub, name):
        with pytest.raises(UsageError, match="is no repository of the hub; expected hub:OWNER/NAME"):
            mmkit.load(name)
        assert hub.asked == []

    @pytest.mark.parametrize(
        ("file", "message"),
        [("model.json", "was changed after it was saved"), ("model.safetensors", "does not fit model.json beside it")],
    )
    def test_what_was_changed_on_the_hub_is_refused(self, pushed, file, message):
        content = pushed.files("acme/fruit")[file].replace(b"note", b"mote").replace(b"\x00\x00\x80?", b"\x00\x00\x00?")
        if content == pushed.files("acme/fruit")[file]:
            content = content[:-1] + bytes([content[-1] ^ 1])
        pushed.repositories["acme/fruit"].commit({**pushed.files("acme/fruit"), file: content})
        with pytest.raises(DataError, match=message):
            mmkit.load("hub:acme/fruit")


class TestWithoutANetwork:
    def test_offline_the_cache_is_read_and_nobody_asked(self, pushed, monkeypatch):
        expected = mmkit.load("hub:acme/fruit").predict([SAMPLE])
        pushed.asked.clear()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert mmkit.load("hub:acme/fruit").predict([SAMPLE]) == expected
        assert pushed.asked == []

    def test_offline_without_a_copy_it_says_what_to_download(self, pushed, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        message = (
            "hub:acme/fruit@v1 is not in the hub's cache on this machine, and HF_HUB_OFFLINE is set; run `hf download "
            "acme/fruit --revision v1` on a machine with a network, and give the folder that it prints"
        )
        with pytest.raises(DataError) as error:
            mmkit.load("hub:acme/fruit@v1")
        assert str(error.value) == message
        assert pushed.asked == []

    def test_a_network_that_is_gone_leaves_the_copy_and_says_so(self, pushed, monkeypatch):
        expected = mmkit.load("hub:acme/fruit").predict([SAMPLE])
        commit = pushed.repositories["acme/fruit"].commits[-1][0]
        monkeypatch.setenv("HF_ENDPOINT", closed_port())
        with pytest.warns(
            UserWarning, match=rf"cannot be reached: hub:acme/fruit is that of .* cache, commit {commit[:12]}"
        ):
            assert mmkit.load("hub:acme/fruit").predict([SAMPLE]) == expected
        with pytest.raises(
            DataError, match=r"hub:acme/other is not in the hub's cache on this machine, and http.* cannot be"
        ):
            mmkit.load("hub:acme/other")

    def test_nothing_is_pushed(self, hub, trained, monkeypatch):
        model = mmkit.load(trained)
        monkeypatch.setenv("HF_ENDPOINT", closed_port())
        with pytest.raises(UnavailableError, match=r"nothing can be pushed to acme/fruit: http.* cannot be reached"):
            model.push("acme/fruit")

    def test_half_a_download_is_no_copy(self, pushed, monkeypatch):
        (located("hub:acme/fruit") / "model.safetensors").unlink()
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(DataError, match="is not in the hub's cache on this machine"):
            mmkit.load("hub:acme/fruit")


class TestPushing:
    def test_without_a_token(self, hub, trained, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(
            UsageError, match=r"nothing was pushed to acme/fruit: there is no token; log in: `hf auth login`"
        ):
            mmkit.load(trained).push("acme/fruit")
        assert hub.repositories == {}

    @pytest.mark.parametrize(
        ("token", "message"),
        [
            ("hf_unknown", "does not know the token; log in anew"),
            ("hf_reader", "the token may not do that with acme/fruit; it needs the right to write there"),
            ("hf_stranger", "the token may not do that with acme/fruit; it needs the right to write there"),
        ],
    )
    @pytest.mark.parametrize("there", [True, False], ids=["there", "new"])
    def test_without_the_right(self, hub, trained, token, message, there):
        if there:
            push(trained, "acme/fruit")
            (commit,) = hub.repositories["acme/fruit"].commits[1:]
        model = mmkit.load(trained)
        with pytest.raises(UsageError, match=f"nothing was pushed to acme/fruit: .*{message}"):
            model.push("acme/fruit", token=token, rows=True)
        assert [*hub.repositories] == (["acme/fruit"] if there else [])
        if there:
            assert hub.repositories["acme/fruit"].commits[1:] == [commit]

    def test_a_token_that_is_given_is_the_one_that_is_used(self, hub, trained, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_reader")
        mmkit.load(trained).push("acme/fruit", token="hf_writer")
        assert "acme/fruit" in hub.repositories

    def test_a_changed_folder_is_refused_before_anybody_is_asked(self, hub, trained, tmp_path):
        for name, message in (("model.json", "was changed after it was saved"), ("model.safetensors", "does not fit")):
            folder = tmp_path / name
            shutil.copytree(trained, folder)
            if name == "model.json":
                document = json.loads((folder / name).read_text())
                (folder / name).write_text(json.dumps({**document, "target": "scalar"}))
            else:
                (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"x")
            with pytest.raises(DataError, match=message):
                push(folder, "acme/fruit")
        with pytest.raises(DataError, match="holds no readable model of mmkit"):
            push(tmp_path, "acme/fruit")
        assert hub.asked == []

    def test_what_is_to_be_private_is_never_pushed_in_public(self, pushed, trained):
        with pytest.raises(
            UsageError, match=r"acme/fruit exists and is public, and a push does not make it private; .*/settings"
        ):
            push(trained, "acme/fruit", private=True, rows=True)
        assert ROWS not in pushed.files("acme/fruit")
        push(trained, "acme/fruit", private=False, rows=True)

    def test_what_somebody_else_pushed_meanwhile_stays(self, pushed, trained):
        repository = pushed.repositories["acme/fruit"]
        pushed.meanwhile = lambda: repository.commit({"theirs": b"x"})
        with pytest.raises(UsageError, match="somebody else has changed acme/fruit meanwhile"):
            push(trained, "acme/fruit", rows=True)
        assert pushed.files("acme/fruit") == {"theirs": b"x"}

    @pytest.mark.parametrize(
        ("name", "message"),
        [("fruit", "is no repository of the hub"), ("acme/fruit@v1", "give acme/fruit without a revision")],
    )
    def test_a_name_that_cannot_be(self, hub, trained, name, message):
        with pytest.raises(UsageError, match=message):
            push(trained, name)
        assert hub.asked == []


def test_what_a_model_of_the_hub_is_called(tmp_path):
    assert repository_of("acme/a.b-c_d@refs/pr/1") == Repository("acme/a.b-c_d", "refs/pr/1")
    assert title_of(tmp_path / "models--acme--a-b" / "snapshots" / "0a1b") == "a-b"
    assert title_of(tmp_path / "mine") == "mine"
    (tmp_path / "current").symlink_to(tmp_path / "mine")
    assert title_of(tmp_path / "current") == "current"
