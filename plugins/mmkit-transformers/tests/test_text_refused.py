"""Which text models transformers' encoder does not take, and how it says so; offline."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch
import transformers
from mmkit_transformers.plugin import EXAMPLE
from mmkit_transformers.source import read
from mmkit_transformers.text_transform import TransformersTextTransform
from random_texts import PLACES, SMALL, TEXTS, folder, made

from mmkit.errors import DataError


@pytest.mark.full
def test_what_is_in_the_local_cache_asks_no_server(tmp_path):
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 (the library's word)

        def log_message(self, *_):
            pass

    commit = "0" * 40
    kept = tmp_path / "models--some--model"
    shutil.copytree(EXAMPLE, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    code = """
from mmkit_transformers.text import TransformersTextEncoder
from mmkit_transformers.text_transform import TransformersTextTransform
transform = TransformersTextTransform(model="some/model")
transform.fit(["a red house"])
print(TransformersTextEncoder(transform).width)
"""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_HUB_CACHE": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        server.shutdown()
    assert (found.returncode, found.stdout.strip()) == (0, str(made()[0].width)), found.stderr
    assert [path for path in asked if "some/model" in path] == []


class TestRefused:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def test_a_name_of_the_hub_without_a_network_says_at_once_what_to_download(self):
        with pytest.raises(
            DataError,
            match=r"nobody/nothing at revision v1 is not on this machine.*hf download nobody/nothing --revision v1",
        ):
            TransformersTextTransform(model="nobody/nothing", revision="v1").fit(TEXTS)

    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("config.json", None, "is a folder without config.json"),
            ("config.json", "{", "cannot be read"),
            ("tokenizer.json", "{", "cannot be read"),
            ("model.safetensors", "junk", "cannot be read"),
        ],
    )
    def test_a_folder_that_is_damaged_is_said(self, tmp_path, file, content, said):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / file).unlink() if content is None else (tmp_path / "m" / file).write_text(content)
        with pytest.raises(DataError, match=said):
            made(tmp_path / "m")

    def test_a_folder_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(DataError, match="there is no folder"):
            made(tmp_path / "nowhere")

    def test_weights_that_lack_a_part_are_named(self, tmp_path):
        from safetensors.torch import load_file, save_file

        shutil.copytree(EXAMPLE, tmp_path / "m")
        state = load_file(EXAMPLE / "model.safetensors")
        del state["encoder.layer.1.output.dense.weight"]
        save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks 1 weights of its model: encoder\.layer\.1\.output\.dense\.weight"):
            made(tmp_path / "m")
        state["encoder.layer.7.output.dense.bias"] = state["encoder.layer.1.output.dense.bias"].clone()
        save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks 1 weights .*; it has 1 weights that .*: encoder\.layer\.7\.output"):
            made(tmp_path / "m")

    def test_weights_of_more_layers_than_the_configuration_has_are_named(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = json.loads((EXAMPLE / "config.json").read_text())
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
        with pytest.raises(
            DataError, match=r"has 16 weights that the model of its config.json does not have: encoder\.layer\.1"
        ):
            made(tmp_path / "m")

    def test_a_tokenizer_of_another_model_is_refused(self, tmp_path):
        where = tmp_path / "small"
        shutil.copytree(EXAMPLE, where)
        transformers.BertModel(transformers.BertConfig(vocab_size=9, **SMALL, **PLACES)).save_pretrained(where)
        _, transform = made(where)
        with pytest.raises(DataError, match=r"gives token \d+ for 'a red house', and the model knows 9; give a folder"):
            transform(TEXTS)

    @pytest.mark.parametrize("kind", ["bert", "t5", "gpt2"])
    def test_a_folder_without_its_tokenizer_is_refused_not_read_as_unknown_words(self, tmp_path, kind):
        where = folder(tmp_path, kind)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (where / name).unlink()
        with pytest.raises(DataError, match=r"tokenizer without a vocabulary: .*tokenizer\.json"):
            made(where)

    def test_code_that_comes_with_a_model_is_not_run_and_nobody_is_told_how(self, tmp_path):
        where = folder(tmp_path, "bert")
        config = json.loads((where / "config.json").read_text())
        own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
        (where / "config.json").write_text(json.dumps(config | own))
        (where / "own.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')")
        with pytest.raises(DataError, match="code of its own, which is never run; take a model that") as error:
            made(where)
        assert "trust_remote_code" not in str(error.value)
        assert not (tmp_path / "owned").exists()

    def test_weights_of_another_shape_are_refused(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = json.loads((EXAMPLE / "config.json").read_text())
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"intermediate_size": 24}))
        with pytest.raises(
            DataError,
            match=r"another shape than its config.json says: .*intermediate\.dense\.bias \[32\], not \[24\]",
        ):
            made(tmp_path / "m")

    def test_weights_of_a_head_for_another_task_are_left_out(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        config = transformers.AutoConfig.from_pretrained(EXAMPLE)
        whole = transformers.BertForMaskedLM(config)
        whole.save_pretrained(tmp_path / "m")
        encoder, _ = made(tmp_path / "m")
        name = "encoder.layer.1.output.dense.weight"
        assert torch.equal(encoder.states.tuned.backbone.state_dict()[name], whole.bert.state_dict()[name])

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / "pytorch_model.bin").write_bytes(
            b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
        )
        with pytest.raises(DataError, match="cannot be read"):
            made(tmp_path / "m")
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
    def test_so_it_is_in_the_hubs_local_cache(self, tmp_path, monkeypatch, name):
        monkeypatch.setattr("mmkit_transformers.source.offline", lambda: pytest.fail("it is there"))

        def from_pretrained(*_, **options):
            assert options["local_files_only"]
            return transformers.AutoModel.from_pretrained(tmp_path / "m")

        shutil.copytree(EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        (tmp_path / "m" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        with pytest.raises(
            DataError, match=r"^acme/m in the hub's local cache cannot be read: .*; or remove it"
        ) as error:
            read(from_pretrained, "acme/m", None)
        assert "weights_only" not in str(error.value)

    def test_a_layer_that_is_not_there_is_said(self):
        with pytest.raises(ValueError, match="layer is 3; the model has 2"):
            made(layer=3)
