"""Pretrained weights: from a hub that answers, out of a file that is safe, into a module that fits."""

import http.server
import pickle
import threading

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmkit.errors import DataError
from mmkit.pretrained import weights


class TestRead:
    @pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin"])
    def test_tensors_come_back_by_name(self, tmp_path, name):
        given = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
        save_file(given, tmp_path / name) if name.endswith("safetensors") else torch.save(given, tmp_path / name)
        found = weights.read(tmp_path / name)
        assert found.keys() == given.keys()
        assert all(torch.equal(found[key], given[key]) for key in given)

    @pytest.mark.parametrize("within", ["state_dict", "model_state"])
    def test_they_may_stand_within_a_checkpoint(self, tmp_path, within):
        torch.save({within: {"a": torch.ones(1)}, "step": 7}, tmp_path / "w.pt")
        assert weights.read(str(tmp_path / "w.pt"), within).keys() == {"a"}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "there is no file of weights at"),
            (b"nothing", "holds no weights that can be read safely: it is damaged, or holds more than tensors"),
            (b"junk", "holds no weights that can be read safely .*: it is damaged, or no file of weights; get it anew"),
            (b"", "holds no weights that can be read safely .*: it is damaged, or no file of weights; get it anew"),
            ({"step": 7}, "holds no weights by name"),
            ([torch.ones(1)], "holds no weights by name"),
        ],
    )
    def test_what_holds_none_is_said(self, tmp_path, content, said):
        path = tmp_path / "w.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(DataError, match=said):
            weights.read(path)

    @pytest.mark.parametrize("how", ["pickle", "torch"])
    def test_what_would_have_to_be_run_is_refused_and_not_run(self, tmp_path, how):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        path = tmp_path / "w.pt"
        path.write_bytes(pickle.dumps(Evil())) if how == "pickle" else torch.save({"a": Evil()}, path)
        with pytest.raises(DataError, match="holds no weights that can be read safely"):
            weights.read(path)
        assert not (tmp_path / "owned").exists()


class TestLoad:
    def test_a_module_gets_what_fits(self):
        given = {"weight": torch.full((2, 3), 5.0), "bias": torch.ones(2)}
        module = nn.Linear(3, 2)
        weights.load(module, given, "a file")
        assert all(torch.equal(value, given[name]) for name, value in module.state_dict().items())

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"bias": torch.ones(2)}, "a file does not fit the model: it lacks 1: weight$"),
            ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "c": torch.ones(1)}, "it has besides 1: c$"),
            ({"bias": torch.ones(2), "c": torch.ones(1)}, "it lacks 1: weight; it has besides 1: c$"),
            ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, "it has in another shape 1: weight$"),
            ({f"x{i}": torch.ones(1) for i in range(7)} | {"weight": 0, "bias": 0}, "besides 7: x0, x1, x2, x3, x4, "),
        ],
    )
    def test_what_does_not_fit_is_named_and_changes_nothing(self, given, said):
        module = nn.Linear(3, 2)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        tensors = {name: value if isinstance(value, torch.Tensor) else before[name] for name, value in given.items()}
        with pytest.raises(DataError, match=said):
            weights.load(module, tensors, "a file")
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.fixture
def server():
    """A server that says no to everything, on the loopback."""

    class No(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), No) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class TestOffline:
    @pytest.fixture(autouse=True)
    def plain(self, monkeypatch):
        for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(weights, "_UNREACHED", {})

    def test_a_server_that_answers_is_there_even_if_it_says_no(self, server):
        assert weights.offline(server) == ""

    def test_one_that_does_not_is_named(self):
        assert weights.offline("http://127.0.0.1:1") == "http://127.0.0.1:1 cannot be reached"

    def test_it_is_asked_again_after_a_minute_and_no_sooner(self, monkeypatch):
        now, asked = [100.0], []

        def refuse(request, timeout):
            asked.append(request.full_url)
            raise OSError

        monkeypatch.setattr("urllib.request.urlopen", refuse)
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        for later in (0, 59, 2):
            now[0] += later
            assert weights.offline("http://127.0.0.1:1") == "http://127.0.0.1:1 cannot be reached"
        assert len(asked) == 2
        weights.offline("http://127.0.0.1:2")
        assert len(asked) == 3

    def test_the_hub_is_where_the_environment_says(self, monkeypatch, server):
        monkeypatch.setenv("HF_ENDPOINT", server)
        assert weights.offline() == ""
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert weights.offline() == "HF_HUB_OFFLINE is set"

    def test_what_is_no_server_is_not_asked(self):
        assert weights.offline("file:///etc/hosts") == "file:///etc/hosts is no address of a server"


class TestFetched:
    @staticmethod
    def hub(monkeypatch, here=(), there=()):
        """A hub whose cache holds the files `here`, and which has those of `there`; gives what is asked for."""
        asked = []

        def download(repository, name, *, revision=None, local_files_only=False):
            asked.append((name, local_files_only))
            if name in (here if local_files_only else there):
                return f"/{repository}/{name}"
            if local_files_only:
                raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
            raise huggingface_hub.errors.EntryNotFoundError("not there")

        monkeypatch.setattr(weights, "hf_hub_download", download)
        monkeypatch.setattr(weights, "offline", lambda: "")
        return asked

    def test_what_the_cache_has_needs_no_network(self, monkeypatch):
        asked = self.hub(monkeypatch, here={"b"}, there={"a"})
        assert str(weights.fetched("o/n", ["a", "b"], "a file")) == "/o/n/b"
        assert all(local for _, local in asked)

    def test_else_the_hub_is_asked_the_best_first(self, monkeypatch):
        self.hub(monkeypatch, there={"b", "c"})
        assert str(weights.fetched("o/n", ["a", "b", "c"], "a file")) == "/o/n/b"

    def test_without_a_network_it_says_what_to_do_and_does_not_try(self, monkeypatch):
        asked = self.hub(monkeypatch, there={"a"})
        monkeypatch.setattr(weights, "offline", lambda: "there is no network")
        with pytest.raises(
            DataError, match=r"a of o/n is not on this machine, and there is no network; .* give x=FILE"
        ):
            weights.fetched("o/n", ["a"], "x=FILE")
        assert all(local for _, local in asked)

    def test_files_that_the_hub_lacks_are_said(self, monkeypatch):
        self.hub(monkeypatch)
        with pytest.raises(DataError, match="the hub has no such file"):
            weights.fetched("o/n", ["a"], "x=FILE")
