"""Pretrained weights: downloaded from a hub, read safely from a file, loaded into a module."""

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
    def test_weights_inside_a_checkpoint_are_found(self, tmp_path, within):
        torch.save({within: {"a": torch.ones(1)}, "step": 7}, tmp_path / "w.pt")
        assert weights.read(str(tmp_path / "w.pt"), within).keys() == {"a"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "there is no file of weights at"),
            (b"nothing", "holds no weights that can be read safely: it is damaged, or holds more than tensors"),
            (
                b"junk",
                "holds no weights that can be read safely .*: it is damaged, or no file of weights; download it again",
            ),
            (
                b"",
                "holds no weights that can be read safely .*: it is damaged, or no file of weights; download it again",
            ),
            ({"step": 7}, "holds no weights by name"),
            ([torch.ones(1)], "holds no weights by name"),
        ],
    )
    def test_a_file_without_weights_is_an_error(self, tmp_path, content, message):
        path = tmp_path / "w.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        with pytest.raises(DataError, match=message):
            weights.read(path)

    @pytest.mark.parametrize("how", ["pickle", "torch"])
    def test_a_file_with_code_is_rejected_and_not_run(self, tmp_path, how):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "owned"), "w"))

        path = tmp_path / "w.pt"
        path.write_bytes(pickle.dumps(Evil())) if how == "pickle" else torch.save({"a": Evil()}, path)
        with pytest.raises(DataError, match="holds no weights that can be read safely"):
            weights.read(path)
        assert not (tmp_path / "owned").exists()


class TestLoad:
    def test_matching_weights_are_loaded(self):
        given = {"weight": torch.full((2, 3), 5.0), "bias": torch.ones(2)}
        module = nn.Linear(3, 2)
        weights.load(module, given, "a file")
        assert all(torch.equal(value, given[name]) for name, value in module.state_dict().items())

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"bias": torch.ones(2)}, "a file does not fit the model: it lacks 1: weight$"),
            ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "c": torch.ones(1)}, "it has besides 1: c$"),
            ({"bias": torch.ones(2), "c": torch.ones(1)}, "it lacks 1: weight; it has besides 1: c$"),
            ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, "it has in another shape 1: weight$"),
            ({f"x{i}": torch.ones(1) for i in range(7)} | {"weight": 0, "bias": 0}, "besides 7: x0, x1, x2, x3, x4, "),
        ],
    )
    def test_weights_that_do_not_fit_are_named_and_change_nothing(self, given, message):
        module = nn.Linear(3, 2)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        tensors = {name: value if isinstance(value, torch.Tensor) else before[name] for name, value in given.items()}
        with pytest.raises(DataError, match=message):
            weights.load(module, tensors, "a file")
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.fixture
def server():
    """A server on localhost that answers every request with an error."""

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
        monkeypatch.setattr(weights, "_UNREACHABLE_UNTIL", {})

    def test_a_server_that_answers_with_an_error_is_online(self, server):
        assert weights.offline(server) == ""

    def test_a_server_that_does_not_answer_is_named(self):
        assert weights.offline("http://127.0.0.1:1") == "http://127.0.0.1:1 cannot be reached"

    def test_it_is_tried_again_after_a_minute_and_no_sooner(self, monkeypatch):
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

    def test_the_environment_sets_the_address_of_the_hub(self, monkeypatch, server):
        monkeypatch.setenv("HF_ENDPOINT", server)
        assert weights.offline() == ""
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert weights.offline() == "HF_HUB_OFFLINE is set"

    def test_an_address_without_http_is_not_tried(self):
        assert weights.offline("file:///etc/hosts") == "file:///etc/hosts is no http or https address"


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

    def test_a_cached_file_needs_no_network(self, monkeypatch):
        asked = self.hub(monkeypatch, here={"b"}, there={"a"})
        assert str(weights.fetched("o/n", ["a", "b"], "a file")) == "/o/n/b"
        assert all(local for _, local in asked)

    def test_otherwise_the_hub_is_asked_for_the_first_name_first(self, monkeypatch):
        self.hub(monkeypatch, there={"b", "c"})
        assert str(weights.fetched("o/n", ["a", "b", "c"], "a file")) == "/o/n/b"

    def test_the_error_without_a_network_says_what_to_do(self, monkeypatch):
        asked = self.hub(monkeypatch, there={"a"})
        monkeypatch.setattr(weights, "offline", lambda: "there is no network")
        with pytest.raises(
            DataError, match=r"a of o/n is not on this machine, and there is no network; .* give x=FILE"
        ):
            weights.fetched("o/n", ["a"], "x=FILE")
        assert all(local for _, local in asked)

    def test_a_file_that_the_hub_lacks_is_an_error(self, monkeypatch):
        self.hub(monkeypatch)
        with pytest.raises(DataError, match="the hub has no such file"):
            weights.fetched("o/n", ["a"], "x=FILE")
