"""open_clip's towers as encoders: the models' own values, weights, tuning, saved models, and what is refused."""

import copy
import json
import pickle
import shutil
import time
import warnings
from pathlib import Path

import huggingface_hub
import mmkit_transformers.plugin
import open_clip
import pytest
import torch
import transformers
from mmkit_open_clip.image import OpenClipImageEncoder
from mmkit_open_clip.image_transform import OpenClipImageTransform
from mmkit_open_clip.plugin import EXAMPLE
from mmkit_open_clip.source import described, weights_file
from mmkit_open_clip.text import OpenClipTextEncoder
from mmkit_open_clip.text_transform import OpenClipTextTransform
from mmkit_open_clip.towers import image_tower, text_tower, tuning_blocks
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

import mmkit
import mmkit.cli
from mmkit.errors import DataError, UsageError
from mmkit.testing import check, tiny_task

BERT = mmkit_transformers.plugin.EXAMPLE
TEXTS = ["a red house!", "the blue sea, and more of it than that", "x"]
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3}
IMAGE = {"image_size": 32, "patch_size": 16, "layers": 3, "width": 16, "head_width": 8}
HF = {"context_length": 20, "vocab_size": 400, "hf_tokenizer_name": str(BERT)}
WHOLE = {"vocab_size": 400, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
KINDS = {
    "clip": {"vision_cfg": IMAGE, "text_cfg": TEXT},
    "quick": {"vision_cfg": IMAGE, "text_cfg": TEXT, "quick_gelu": True},
    "averaged": {"vision_cfg": {**IMAGE, "pool_type": "avg", "final_ln_after_pool": True}, "text_cfg": TEXT},
    "resnet": {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}, "text_cfg": TEXT},
    "siglip": {
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
        "text_cfg": {**TEXT, **HF, **WHOLE, "tokenizer_kwargs": {"clean": "canonicalize"}},
        "init_logit_bias": -10,
        "custom_text": True,
    },
    "mobile": {
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_efficientnet",
            "timm_pool": "avg",
            "timm_proj": None,
        },
        "text_cfg": {**TEXT, "no_causal_mask": True},
        "custom_text": True,
    },
    "bert": {
        "vision_cfg": IMAGE,
        "text_cfg": {**HF, "hf_model_name": str(BERT), "hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"},
    },
    "coca": {
        "vision_cfg": {**IMAGE, "attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2}
        | {"output_tokens": True},
        "text_cfg": {**TEXT, "context_length": 19, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "context_length": 19},
        "custom_text": True,
    },
}


def folder(tmp_path, kind="clip", change=lambda state: state, name="open_clip_model.safetensors", **preparation):
    """A small random model, as a folder that open_clip reads."""
    home = tmp_path / kind
    home.mkdir()
    config = {"embed_dim": 12, **copy.deepcopy(KINDS[kind])}
    way = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "resize_mode": "shortest", **preparation}
    (home / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": way}))
    if config["text_cfg"].get("hf_tokenizer_name"):
        for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            shutil.copy(BERT / file, home / file)
    torch.manual_seed(0)
    # open_clip says that a folder holds no weights yet.
    network = open_clip.create_model(f"local-dir:{home}", pretrained_text=False).eval()
    state = change({key: value.clone() for key, value in network.state_dict().items()})
    if name.endswith(".safetensors"):
        save_file(state, home / name)
    else:
        torch.save(state, home / name)
    return home, network


def images(count=2, size=(40, 60)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8) for _ in range(count)]


def of_images(model, pretrained="own", crop=1.0, **options):
    transform = OpenClipImageTransform(model=model, pretrained=pretrained, crop=crop)
    transform.fit(images())
    return OpenClipImageEncoder(transform, **options).eval(), transform


def of_texts(model, pretrained="own", **options):
    transform = OpenClipTextTransform(model=model, pretrained=pretrained)
    transform.fit(TEXTS)
    return OpenClipTextEncoder(transform, **options).eval(), transform


PAIRS = tiny_task({"a": "image", "b": "text"}, train=16, held_out=8)
LATER = {"quick", "averaged", "mobile"}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.full) if k in LATER else k for k in KINDS])
def test_summaries_are_the_models_own(tmp_path, kind):
    home, network = folder(tmp_path, kind)
    # CoCa normalises unless told not to; CLIP does not.
    looking, transform = of_images(f"local-dir:{home}")
    batch = transform([*images(), None])
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    features = looking(batch)
    expected = network.encode_image((batch["pixels"][:2] / 255 - mean) / std, normalize=False)
    torch.testing.assert_close(features.vector()[:2], expected, atol=1e-6, rtol=1e-5)
    assert features.tokens.shape[2] == looking.width == 12
    assert features.tokens.shape[1] > 1
    assert features.tokens[2].abs().max() == features.vector()[2].abs().max() == 0

    reading, transform = of_texts(f"local-dir:{home}")
    batch = transform([*TEXTS, None])
    features = reading(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokens = open_clip.get_tokenizer(f"local-dir:{home}")(TEXTS)
    torch.testing.assert_close(
        features.vector()[:3], network.encode_text(tokens, normalize=False), atol=1e-6, rtol=1e-5
    )
    assert features.tokens.shape[2] == reading.width == 12
    assert features.vector()[3].abs().max() == 0
    assert not features.mask[3].any()
    assert batch["mask"].sum(1).tolist() == [len(row) for row in _lengths(kind, home)] + [0]
    # The tokens of a text are the same whatever stands beside it.
    alone = reading(transform([TEXTS[2]]))
    real = features.mask[2]
    torch.testing.assert_close(features.tokens[2][real], alone.tokens[0][alone.mask[0]], atol=1e-6, rtol=1e-5)


def _lengths(kind, home):
    """The tokens of each text, padding left out, by the slow way."""
    text = KINDS[kind]["text_cfg"]
    if text.get("hf_tokenizer_name"):
        clean = open_clip.tokenizer.get_clean_fn(text.get("tokenizer_kwargs", {}).get("clean", "whitespace"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(home)
        return [tokenizer(clean(one), max_length=20, truncation=True).input_ids for one in TEXTS]
    tokenizer = open_clip.SimpleTokenizer()
    return [[0, *tokenizer.encode(one), 0] for one in TEXTS]


def test_tokens_are_the_states_that_the_summary_is_made_of(tmp_path):
    home, network = folder(tmp_path)
    looking, transform = of_images(f"local-dir:{home}")
    batch = transform(images())
    tower = network.visual
    tower.output_tokens = True
    pixels = (batch["pixels"] / 255 - looking.mean) / looking.std
    torch.testing.assert_close(looking(batch).tokens, tower(pixels)[1] @ tower.proj)
    reading, transform = of_texts(f"local-dir:{home}")
    features = reading(transform(TEXTS))
    ends = features.mask.sum(1) - 1
    torch.testing.assert_close(features.tokens[torch.arange(3), ends], features.vector())  # the end of the text
    assert of_texts(f"local-dir:{home}", output="pooled")[0](transform(TEXTS)).tokens.shape == (3, 1, 12)
    assert looking.output == "tokens"
    assert of_images(f"local-dir:{home}", output="pooled")[0](batch).tokens.shape == (2, 1, 12)


def test_a_batch_is_no_longer_than_its_longest_text_where_that_changes_nothing(tmp_path):
    transform = of_texts(f"local-dir:{folder(tmp_path)[0]}")[1]
    assert transform(TEXTS)["tokens"].shape == (3, 12)
    assert transform(["word " * 100])["tokens"].shape == (1, 20)
    assert transform([None])["mask"].tolist() == [[False, False]]
    assert of_texts(f"local-dir:{folder(tmp_path, 'mobile')[0]}")[1](TEXTS)["tokens"].shape == (3, 20)
    assert torch.equal(pickle.loads(pickle.dumps(transform))(TEXTS)["tokens"], transform(TEXTS)["tokens"])


@pytest.mark.parametrize(("mode", "size"), [("shortest", (40, 60)), ("squash", (40, 60)), ("longest", (60, 40))])
def test_images_are_prepared_as_the_model_says(tmp_path, mode, size):
    home, _ = folder(tmp_path, resize_mode=mode, interpolation="bicubic")
    transform = of_images(f"local-dir:{home}")[1]
    smooth = F.interpolate(torch.rand(1, 3, 6, 6), size=size, mode="bicubic").clamp(0, 1)
    image = (smooth[0] * 255).to(torch.uint8)
    ours = transform([image])["pixels"][0]
    theirs = open_clip.image_transform(
        32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1), resize_mode=mode, interpolation="bicubic"
    )
    expected = theirs(Image.fromarray(image.permute(1, 2, 0).numpy())) * 255
    # Cropping before resizing, or after it, rounds the place of the crop differently: within 6 of 256 levels.
    assert (ours - expected).abs().max() <= 6
    assert transform.images.mean == [0.5, 0.4, 0.3]
    assert OpenClipImageTransform(model="x", crop=0.5).augments


@pytest.mark.parametrize("kind", ["clip", "coca", "siglip", "resnet"])
def test_a_tower_is_built_without_the_other(kind):
    config = {"embed_dim": 12, **KINDS[kind]}
    looking, reading = image_tower(config), text_tower(config, None)
    assert not any("token_embedding" in name for name, _ in looking.named_parameters())
    assert not any("conv1" in name or "trunk" in name for name, _ in reading.named_parameters())


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("open-clip-image", {"tune": "full", "output": "pooled"}),
        ("open-clip-text", {"tune": "full", "output": "pooled"}),
    ],
)
def test_the_contract_is_kept(name, options):
    report = check("encoder", name, {"model": f"local-dir:{EXAMPLE}", "pretrained": "none", **options})
    assert report.ok, report


def blocks_and_runs(encoder, batch):
    """How many blocks a tower has, and how often one of them runs in a step of training."""
    blocks, _ = tuning_blocks(encoder.tuned.backbone.tower)
    runs = []
    for block in blocks:
        modules = encoder.tuned.backbone.tower.get_submodule(block).modules()
        norm = next(module for module in modules if "Norm" in type(module).__name__)
        norm.register_forward_pre_hook(lambda *_: runs.append(1))
    encoder.train()(batch).vector().sum().backward()
    return len(blocks), len(runs)


@pytest.mark.parametrize("kind", ["clip", "bert"])
@pytest.mark.parametrize("tune", ["full", "lora"])
def test_checkpointing_runs_the_blocks_of_a_text_tower_again(tmp_path, kind, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    encoder, transform = of_texts(f"local-dir:{folder(tmp_path, kind)[0]}", tune=tune, checkpointing=True)
    blocks, runs = blocks_and_runs(encoder, transform(TEXTS))
    assert runs == 2 * blocks > 0


@pytest.mark.parametrize("kind", ["clip", "resnet"])
def test_checkpointing_runs_the_blocks_of_an_image_tower_again(tmp_path, kind):
    encoder, transform = of_images(f"local-dir:{folder(tmp_path, kind)[0]}", tune="full", checkpointing=True)
    blocks, runs = blocks_and_runs(encoder, transform(images()))
    assert runs == 2 * blocks > 0


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
        with pytest.raises(DataError, match=r"tokenizer without words: .*local-dir:FOLDER"):
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
        def epoch_order(seed):
            torch.manual_seed(seed)
            return of_texts(f"local-dir:{EXAMPLE}", "none")[0].tuned.backbone.tower.text_projection

        assert torch.equal(epoch_order(1), epoch_order(1))
        assert not torch.equal(epoch_order(1), epoch_order(2))


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


@pytest.mark.parametrize("tune", ["frozen", "partial:1", pytest.param("full", marks=pytest.mark.full), "lora"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    home, network = folder(tmp_path)
    encoders = {
        "a": f"open-clip-image:model=local-dir:{home},tune={tune},checkpointing=true",
        "b": f"open-clip-text:model=local-dir:{home},tune={tune}",
    }
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    model, record = mmkit.fit(task=PAIRS, encoders=encoders, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a", "b"] if tune == "frozen" else [])
    before = network.state_dict()
    for name, prefix in (("a", "visual."), ("b", "")):
        state = model.module.encoders[name].tuned.backbone.tower.state_dict()
        plain = {_as_before(key): value for key, value in state.items() if "lora_" not in key}
        changed = {key for key, value in plain.items() if not torch.equal(value, before[prefix + key])}
        late = ("transformer.resblocks.2.", "ln_post", "proj", "ln_final", "text_projection")
        allowed = {"frozen": (), "lora": (), "partial:1": late, "full": ("",)}[tune]
        assert bool(changed) == bool(allowed)
        assert all(key.startswith(allowed) for key in changed)
        adapters = {key: value for key, value in state.items() if "lora_B" in key}
        assert len(adapters) == (3 * 4 if tune == "lora" else 0)  # 3 blocks of 4 linear layers
        assert all(value.abs().max() > 0 for value in adapters.values())  # they begin at zero
    model.save(tmp_path / "model")
    shutil.rmtree(home)
    samples = [{"a": images(1)[0], "b": "this is down"}, {"b": "up"}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


def _as_before(key):
    """The name of a weight before attention was opened for adapters."""
    names = {"attn.qkv.": "attn.in_proj_", "attn.out.": "attn.out_proj."}
    key = key.replace(".base_layer", "")
    for ours, theirs in names.items():
        key = key.replace(ours, theirs)
    return key


def test_adapters_begin_where_the_model_is(tmp_path):
    pytest.importorskip("peft")
    home, _ = folder(tmp_path)
    for made, values in ((of_images, images()), (of_texts, TEXTS)):
        plain, transform = made(f"local-dir:{home}")
        adapted = made(f"local-dir:{home}", tune="lora")[0]
        torch.testing.assert_close(adapted(transform(values)).tokens, plain(transform(values)).tokens)


def test_layers_learn_slower_towards_the_input(tmp_path):
    home, _ = folder(tmp_path)
    rates = of_texts(f"local-dir:{home}", tune="full", decay=0.5)[0].tuned.rates
    assert rates["backbone.tower.text_projection"] == 1
    assert rates["backbone.tower.transformer.resblocks.2.ln_1.weight"] == 0.5
    assert rates["backbone.tower.transformer.resblocks.0.ln_1.weight"] == 0.125
    assert rates["backbone.tower.token_embedding.weight"] == 0.0625
    with pytest.raises(ValueError, match="the backbone has 3 blocks"):
        of_texts(f"local-dir:{home}", tune="partial:4")


@pytest.mark.parametrize("kind", ["bert", pytest.param("siglip", marks=pytest.mark.full)])
def test_a_model_with_a_tokenizer_of_transformers_is_saved_whole(tmp_path, kind):
    home, _ = folder(tmp_path, kind)
    encoders = {"a": f"open-clip-image:model=local-dir:{home}", "b": f"open-clip-text:model=local-dir:{home}"}
    model, _ = mmkit.fit(
        task=PAIRS, encoders=encoders, fusion="concat", training={"epochs": 1, "min_steps": 0}, device="cpu"
    )
    model.save(tmp_path / "model")
    shutil.rmtree(home)
    samples = [{"a": images(1)[0], "b": "this is down"}, {"b": "up"}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)


class TestTogether:
    """Both towers of one random model: chance, but the same chance as open_clip's own."""

    def test_retrieval_is_that_of_the_models_own_similarities(self, tmp_path):
        home, network = folder(tmp_path)
        encoders = {"a": f"open-clip-image:model=local-dir:{home}", "b": f"open-clip-text:model=local-dir:{home}"}
        found = mmkit.retrieve(task=PAIRS, encoders=encoders, cache=tmp_path / "cache", device="cpu")
        looked, read = self.own(network, home)
        near = looked @ read.T
        wrong_before = [(near[i].argsort(descending=True) == i).nonzero().item() for i in range(8)]
        assert found.directions["a -> b"]["recall@5"] == sum(place < 5 for place in wrong_before) / 8
        assert found.directions["a -> b"]["mrr"] == pytest.approx(sum(1 / (1 + p) for p in wrong_before) / 8)
        assert found.directions["a -> b"]["mrr"] != found.directions["b -> a"]["mrr"]

    def test_zero_shot_is_that_of_open_clips_own_classifier(self, tmp_path):
        home, network = folder(tmp_path)
        templates, classes = ("a {} square", "{} and {}"), ("no", "yes")
        found = mmkit.zero_shot(
            task=PAIRS,
            input="a",
            encoder=f"open-clip-image:model=local-dir:{home}",
            text_encoder=f"open-clip-text:model=local-dir:{home}",
            templates=templates,
            cache=tmp_path / "cache",
            device="cpu",
        )
        tokenizer = open_clip.get_tokenizer(f"local-dir:{home}")
        said = [lambda c, t=template: t.replace("{}", c) for template in templates]
        heads = open_clip.build_zero_shot_classifier(network, tokenizer, classes, said)
        predicted = (self.own(network, home)[0] @ heads).argmax(1)
        truth = torch.tensor([0, 1] * 4)
        assert found.metrics["accuracy"] == pytest.approx((predicted == truth).double().mean().item())
        assert found.by_class["yes"] == pytest.approx((predicted[truth == 1] == 1).double().mean().item())

    @staticmethod
    def own(network, home):
        samples = PAIRS().split("test")
        pixels = of_images(f"local-dir:{home}")[1](samples.inputs["a"])["pixels"] / 255
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
        tokens = open_clip.get_tokenizer(f"local-dir:{home}")(samples.inputs["b"])
        with torch.no_grad():
            looked = network.encode_image((pixels - mean) / std, normalize=True)
            return looked, network.encode_text(tokens, normalize=True)


@pytest.mark.full
def test_a_model_of_the_usual_size_fits_open_clips_own(tmp_path):
    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32").eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    looking, transform = of_images("ViT-B-32", str(tmp_path / "w.safetensors"))
    batch = transform(images())
    pixels = (batch["pixels"] / 255 - looking.mean) / looking.std
    torch.testing.assert_close(looking(batch).vector(), network.encode_image(pixels), atol=1e-5, rtol=1e-4)
    assert looking(batch).tokens.shape == (2, 49, 512)
    reading, transform = of_texts("ViT-B-32", str(tmp_path / "w.safetensors"))
    expected = network.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS))
    torch.testing.assert_close(reading(transform(TEXTS)).vector(), expected, atol=1e-5, rtol=1e-4)


def test_a_wrong_option_is_a_matter_of_usage():
    with pytest.raises(UsageError, match="option tune takes"):
        mmkit.installed().choose("encoder", "open-clip-text:tune=some")


def test_the_example_is_small():
    assert sum(file.stat().st_size for file in Path(EXAMPLE).iterdir()) < 2000
