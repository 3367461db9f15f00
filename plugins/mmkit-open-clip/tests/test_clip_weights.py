"""Which weights open_clip's towers read, by which names, and what is refused."""

import json
import time
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from mmkit_open_clip.image_transform import OpenClipImageTransform
from mmkit_open_clip.plugin import EXAMPLE
from mmkit_open_clip.source import described, weights_file
from mmkit_open_clip.text_transform import OpenClipTextTransform
from random_clips import IMAGE, TEXT, TEXTS, folder, of_images, of_texts

import mmkit
import mmkit.cli
from mmkit.errors import DataError, UsageError


class TestWeights:
    @pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
    def test_files_of_both_kinds_are_read_by_both_towers(self, tmp_path, name):
        home, network = folder(tmp_path, name=name)
        for made, prefix in ((of_images, "visual."), (of_texts, "")):
            own = made(f"local-dir:{home}", pretrained=str(home / name))[0].tuned.backbone.tower.state_dict()
            assert own
            assert all(torch.equal(value, network.state_dict()[prefix + key]) for key, value in own.items())

    def test_a_checkpoint_of_training_is_read(self, tmp_path):
        home, network = folder(tmp_path)
        wrapped = {"epoch": 3, "state_dict": {f"module.{key}": v for key, v in network.state_dict().items()}}
        torch.save(wrapped, tmp_path / "epoch_3.pt")
        own = of_texts(f"local-dir:{home}", pretrained=str(tmp_path / "epoch_3.pt"))[0].tuned.backbone.tower
        assert torch.equal(own.text_projection, network.text_projection)

    @pytest.mark.parametrize(
        ("made", "change", "said"),
        [
            (
                of_images,
                lambda s: {k: v for k, v in s.items() if k != "visual.proj"},
                "the visual tower of .* does not fit the model: it lacks 1: proj",
            ),
            (of_images, lambda s: {**s, "visual.more": torch.zeros(1)}, "it has besides 1: more"),
            (of_texts, lambda s: {**s, "foreign": torch.zeros(1)}, "holds foreign besides the two towers of a model"),
            (of_texts, lambda s: {**s, "ln_final.bias": torch.zeros(3)}, r"it has in another shape 1: ln_final\.bias"),
            (
                of_texts,
                lambda s: {k: v for k, v in s.items() if "resblocks" not in k},
                r"it lacks 36: .*, \.\.\.",
            ),
        ],
    )
    def test_a_file_that_does_not_fit_is_said(self, tmp_path, made, change, said):
        home, _ = folder(tmp_path, change=change)
        with pytest.raises(DataError, match=said):
            made(f"local-dir:{home}")

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
        for made in (of_images, of_texts):
            with pytest.raises(DataError, match="holds no weights that can be read safely"):
                made("ViT-B-32", pretrained=str(tmp_path / "evil.pt")) if made is of_images else made(
                    f"local-dir:{EXAMPLE}", pretrained=str(tmp_path / "evil.pt")
                )
        assert not (tmp_path / "owned").exists()

    def test_a_folder_without_its_tokenizer_is_refused_not_read_as_unknown_words(self, tmp_path):
        home, _ = folder(tmp_path, "bert")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (home / name).unlink()
        with pytest.raises(DataError, match=r"tokenizer without a vocabulary: .*local-dir:FOLDER"):
            of_texts(f"local-dir:{home}")

    def test_a_folder_that_is_given_as_a_name_or_has_no_configuration_is_said(self, tmp_path):
        home, _ = folder(tmp_path)
        with pytest.raises(UsageError, match=f"is a folder; give model=local-dir:{home}$"):
            of_images(str(home))
        (home / "open_clip_config.json").unlink()
        with pytest.raises(DataError, match=r"has no open_clip_config\.json; give a folder that has it"):
            of_images(f"local-dir:{home}")

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"junk", "can be read safely"), ([1, 2], "no weights by name"), ({}, "it lacks")],
    )
    def test_a_file_that_is_no_checkpoint_is_said(self, tmp_path, content, said):
        file = tmp_path / "w.pt"
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
        with pytest.raises(DataError, match=said):
            of_texts(f"local-dir:{EXAMPLE}", pretrained=str(file))

    def test_none_draws_new_ones_from_the_seed(self):
        def drawn(seed):
            torch.manual_seed(seed)
            return of_texts(f"local-dir:{EXAMPLE}", "none")[0].tuned.backbone.tower.text_projection

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))


class TestNames:
    def test_tags_bring_their_own_preparation(self):
        config, way = described("ViT-B-16-SigLIP", "webli")
        assert (config["embed_dim"], way["size"]) == (768, 224)
        assert (tuple(way["mean"]), way["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
        # A file has no tag: it is prepared as all tags of its model agree.
        assert described("ViT-B-16-SigLIP", "some/file.pt")[1] == way
        assert described("ViT-B-32", "laion2b_s34b_b79k")[1]["mean"] == open_clip.OPENAI_DATASET_MEAN

    @pytest.mark.parametrize(
        ("model", "pretrained", "said"),
        [
            ("ViT-B-33", "none", "open_clip has no model ViT-B-33; did you mean ViT-B-32"),
            ("ViT-B-32", "laion2b", "no weights laion2b of ViT-B-32, and there is no such file"),
            ("ViT-B-32", "openai", "were trained with QuickGELU, unlike ViT-B-32; take model=ViT-B-32-quickgelu"),
            ("hf-hub:", "none", "belongs after hf-hub:"),
        ],
    )
    def test_what_is_not_known_is_said(self, model, pretrained, said):
        with pytest.raises(UsageError, match=said):
            described(model, pretrained)

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            (None, r"has no open_clip_config\.json"),
            ("{", "is no configuration of open_clip"),
            ("{}", "is no configuration of open_clip"),
            ('{"model_cfg": {"embed_dim": 3}}', "lacks vision_cfg, text_cfg"),
        ],
    )
    def test_a_folder_that_is_no_model_is_said(self, tmp_path, config, said):
        if config is not None:
            (tmp_path / "open_clip_config.json").write_text(config)
        with pytest.raises(DataError, match=said):
            described(f"local-dir:{tmp_path}", "none")

    def test_folders_and_files_that_are_not_there_are_said(self, tmp_path):
        with pytest.raises(DataError, match="there is no folder"):
            described(f"local-dir:{tmp_path / 'nowhere'}", "none")
        with pytest.raises(DataError, match=r"has no open_clip_model\.safetensors or .*pretrained=none"):
            weights_file(f"local-dir:{EXAMPLE}", "own")
        with pytest.raises(DataError, match="there is no file"):
            weights_file("ViT-B-32", str(tmp_path / "nothing.pt"))

    def test_a_folder_with_a_damaged_tokenizer_is_said(self, tmp_path):
        home, _ = folder(tmp_path, "bert")
        (home / "tokenizer.json").write_text("{")
        with pytest.raises(DataError, match=r"the tokenizer of .*bert is not on this machine, or cannot be read"):
            of_texts(f"local-dir:{home}")

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"tokenizer_kwargs": {"reduction_mask": "random"}}, "leaves words out at random"),
            ({"hf_tokenizer_name": "x", "tokenizer_mode": "clips"}, "a mode or a language of its own"),
        ],
    )
    def test_a_tokenizer_that_is_not_read_is_said(self, tmp_path, change, said):
        config = {"embed_dim": 12, "vision_cfg": IMAGE, "text_cfg": TEXT | change}
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        with pytest.raises(UsageError, match=said):
            of_texts(f"local-dir:{tmp_path}", "none")

    def test_splits_without_any_value_are_said(self):
        with pytest.raises(DataError, match="no image"):
            OpenClipImageTransform().fit([None])
        with pytest.raises(DataError, match="no text"):
            OpenClipTextTransform().fit([None, None])


class TestOffline:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch, tmp_path):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    @pytest.mark.parametrize(
        ("model", "pretrained", "said"),
        [
            (
                "ViT-B-32",
                "laion2b_s34b_b79k",
                r"laion/CLIP-ViT-B-32-laion2B-s34B-b79K.*cannot be reached.*pretrained=FILE",
            ),
            ("hf-hub:nobody/nothing", "own", r"hf download nobody/nothing.*model=local-dir:FOLDER"),
        ],
    )
    def test_what_is_not_here_is_said_at_once_with_what_to_do(self, model, pretrained, said):
        began = time.monotonic()
        with pytest.raises(DataError, match=said):
            weights_file(model, pretrained)
        assert time.monotonic() - began < 30  # no minute of retries

    def test_the_command_line_ends_with_code_4_and_one_line(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        encoders = [f"{side}=open-clip-{side}:model=hf-hub:nobody/nothing" for side in ("image", "text")]
        arguments = ["bench", "--task", "clipart", "--encoder", encoders[0], "--encoder", encoders[1], "--seeds", "1"]
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main([*arguments, "--no-baselines", "--no-cache", "--device", "cpu"])
        out, err = capsys.readouterr()
        assert (end.value.code, "Traceback" in err) == (4, False)
        assert "hf download nobody/nothing" in out + err

    def test_every_tag_of_open_clip_has_a_place_on_the_hub(self, monkeypatch):
        tags = [open_clip.get_pretrained_cfg(*pair) for pair in open_clip.list_pretrained()]
        assert tags
        assert all("/" in tag["hf_hub"] for tag in tags)
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"url": "https://example.org/w.pt"})
        with pytest.raises(
            DataError, match=r"not on the hub; download https://example\.org/w\.pt, and give pretrained=FILE"
        ):
            weights_file("RN50", "old")

    def test_a_tokenizer_of_the_hub_is_said(self):
        with pytest.raises(
            DataError, match=r"the tokenizer of timm/ViT-B-16-SigLIP is not on this machine.*cannot be reached"
        ):
            OpenClipTextTransform(model="ViT-B-16-SigLIP", pretrained="none").fit(TEXTS)


def test_a_wrong_option_is_a_matter_of_usage():
    with pytest.raises(UsageError, match="option tune takes"):
        mmkit.installed().choose("encoder", "open-clip-text:tune=some")


def test_the_example_is_small():
    assert sum(file.stat().st_size for file in Path(EXAMPLE).iterdir()) < 2000
