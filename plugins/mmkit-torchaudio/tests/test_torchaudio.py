"""torchaudio's bundles as encoders: the models' own states of a clip alone, their weights, how they are tuned."""

import copy

import mmkit_torchaudio.weights
import pytest
import torch
from mmkit_torchaudio.encoder import TorchaudioEncoder
from mmkit_torchaudio.transform import BUNDLES, SMALL, TorchaudioTransform
from safetensors.torch import save_file
from torchaudio import pipelines
from torchaudio.functional import resample
from torchaudio.models import wav2vec2_model, wavlm_model

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check, tiny_task

RATE = 16_000
LARGE = SMALL._params | {
    "extractor_mode": "layer_norm",
    "extractor_conv_bias": True,
    "encoder_layer_norm_first": True,
    "encoder_num_layers": 3,
}
MODELS = {
    "base": (wav2vec2_model, SMALL._params, False),
    "large": (wav2vec2_model, LARGE, True),
    "wavlm": (wavlm_model, SMALL._params | {"encoder_num_buckets": 8, "encoder_max_distance": 20}, False),
    "recognition": (wav2vec2_model, SMALL._params | {"aux_num_out": 5}, False),
}


def noise(samples, channels=1, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


CLIPS = [(noise(9000), RATE), (noise(4001, 2, seed=1), RATE), None, (noise(600, seed=2), RATE)]


@pytest.fixture
def bundle(monkeypatch, request):
    """A small bundle of its own name, whose weights are nowhere."""
    factory, params, normalise = MODELS[request.param]
    kind = "WavLM" if factory is wavlm_model else "Wav2Vec2"
    found = pipelines.Wav2Vec2Bundle("small.pth", params, RATE, normalise, kind)
    monkeypatch.setitem(BUNDLES, "ITS", found)
    return found


def network(bundle):
    """A random model of a bundle: its weights are large enough to tell one input from another."""
    torch.manual_seed(0)
    model = (wavlm_model if bundle._model_type == "WavLM" else wav2vec2_model)(**bundle._params).eval()
    for weight in model.encoder.transformer.layers.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def made(name="SMALL", seconds=None, **options):
    transform = TorchaudioTransform(bundle=name, seconds=seconds)
    transform.fit(CLIPS)
    return TorchaudioEncoder(transform, **({"weights": "none"} | options)).eval(), transform


@pytest.mark.parametrize("bundle", MODELS, indirect=True)
def test_features_are_the_models_own_of_each_clip_alone(tmp_path, bundle):
    model = network(bundle)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    states = {}
    for row in (0, 1, 3):
        wave = CLIPS[row][0].mean(0, keepdim=True)
        if bundle._normalize_waveform:
            wave = torch.nn.functional.layer_norm(wave, wave.shape)
        with torch.no_grad():
            states[row] = model.extract_features(wave)[0]
    for layer in (1, 2, -1):
        encoder, transform = made("ITS", weights=str(tmp_path / "w.safetensors"), layer=layer)
        features = encoder(transform(CLIPS))
        for row, layers in states.items():
            expected = layers[layer - 1 if layer > 0 else layer][0]
            found = features.tokens[row][features.mask[row]]
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(features.vector()[row], expected.mean(0), atol=2e-5, rtol=1e-4)
        assert features.present().tolist() == [True, True, False, True]
        assert features.vector()[2].abs().max() == 0


@pytest.mark.parametrize("values", [[(noise(1), RATE)], [(noise(96_000, 8), 96_000), (noise(1), 44_101)], [None, None]])
def test_any_rate_length_and_number_of_channels_is_taken(values):
    encoder, transform = made()
    features = encoder(transform(values))
    assert features.tokens.isfinite().all()
    assert features.present().tolist() == [value is not None for value in values]


def test_clips_are_resampled_and_cut():
    _, transform = made()
    clip = noise(4410, 2)
    torch.testing.assert_close(transform([(clip, 44_100)])["wave"][0], resample(clip.mean(0), 44_100, RATE))
    assert made(seconds=0.1)[1]([CLIPS[0]])["mask"].sum() == 1600


def test_summaries_and_what_goes_into_the_first_layer():
    encoder, transform = made(pooling="max")
    batch = transform(CLIPS)
    features = encoder(batch)
    assert torch.equal(features.vector()[1], features.tokens[1][features.mask[1]].amax(0))
    assert made(pooling="none")[0](batch).pooled is None
    assert made(output="pooled")[0](batch).tokens.shape == (4, 1, 16)
    first, _ = made(layer=0)
    assert len(first.tuned.backbone.encoder.transformer.layers) == 0
    assert first(batch).tokens.isfinite().all()


@pytest.mark.parametrize(("tune", "more"), [("full", 2), ("partial:1", 1), ("lora", 2)])
def test_checkpointing_runs_layers_again_and_changes_no_gradient(tune, more):
    if tune == "lora":
        pytest.importorskip("peft")
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        encoder, transform = made(tune=tune, checkpointing=checkpointing)
        encoder.train()
        runs = []
        for layer in encoder.tuned.backbone.encoder.transformer.layers:
            layer.attention.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        torch.manual_seed(1)
        encoder(transform(CLIPS)).tokens.square().sum().backward()
        found.append({name: weight.grad for name, weight in encoder.named_parameters() if weight.requires_grad})
        assert len(runs) == 2 + checkpointing * more
    assert found[0]
    assert all(gradient is not None for gradient in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


@pytest.mark.parametrize("bundle", ["large", "wavlm"], indirect=True)
@pytest.mark.parametrize("options", [{}, {"tune": "full", "layer": 1}])
def test_the_contract_is_kept(bundle, options):
    report = check("encoder", "torchaudio", {"bundle": "ITS", "weights": "none", **options})
    assert report.ok, report


@pytest.mark.full
@pytest.mark.parametrize("name", ["WAV2VEC2_BASE", "WAVLM_BASE", "HUBERT_LARGE"])
def test_real_bundles_are_built(name):
    encoder, transform = made(name, layer=2)
    features = encoder(transform(CLIPS))
    assert features.tokens.shape == (4, 27, encoder.width)
    assert features.tokens.isfinite().all()


class TestWeights:
    def file(self, tmp_path, change=lambda state: state, name="w.pth"):
        state = change(dict(network(SMALL).state_dict()))
        torch.save(state, tmp_path / name)
        return tmp_path / name

    def test_older_names_of_normalised_weights_and_a_head_for_recognition_are_known(self, tmp_path):
        def older(state):
            prefix = "encoder.transformer.pos_conv_embed.conv."
            for number, part in enumerate("gv"):
                state[f"{prefix}weight_{part}"] = state.pop(f"{prefix}parametrizations.weight.original{number}")
            return state | {"aux.weight": torch.zeros(32, 16), "aux.bias": torch.zeros(32)}

        encoder, _ = made(weights=str(self.file(tmp_path, older)))
        expected = network(SMALL).state_dict()
        own = encoder.tuned.backbone.state_dict()
        assert len(own) == len(expected)
        assert all(torch.equal(value, expected[name]) for name, value in own.items())

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda s: {k: v for k, v in s.items() if k != "encoder.transformer.layer_norm.bias"},
                r"does not fit the model: it lacks 1: encoder\.transformer\.layer_norm\.bias",
            ),
            (lambda s: s | {"more": torch.zeros(1)}, "does not fit the model: it has besides 1: more"),
            (
                lambda s: s | {"encoder.transformer.layer_norm.bias": torch.zeros(3)},
                r"does not fit the model: it has in another shape 1: encoder\.transformer\.layer_norm\.bias",
            ),
            (lambda s: {"a": 1}, "holds no weights by name"),
        ],
    )
    def test_a_file_that_does_not_fit_is_said(self, tmp_path, change, said):
        with pytest.raises(DataError, match=said):
            made(weights=str(self.file(tmp_path, change)))

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR.")
        with pytest.raises(DataError, match="holds no weights that can be read safely"):
            made(weights=str(tmp_path / "evil.pth"))
        assert not (tmp_path / "owned").exists()

    def test_a_file_that_is_not_there_is_said(self, tmp_path):
        with pytest.raises(DataError, match="there is no file of weights"):
            made(weights=str(tmp_path / "nothing.pth"))

    @pytest.mark.parametrize("bundle", ["base"], indirect=True)
    def test_without_a_network_it_says_at_once_what_to_get_and_what_is_in_the_cache_is_taken(
        self, tmp_path, monkeypatch, bundle
    ):
        monkeypatch.setattr(mmkit_torchaudio.weights, "SERVER", "http://127.0.0.1:9/models/")
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        with pytest.raises(DataError, match=r"download http://127\.0\.0\.1:9/models/small\.pth, and put it at .*FILE"):
            made("ITS", weights="hub")
        (tmp_path / "checkpoints").mkdir()
        self.file(tmp_path / "checkpoints", name="small.pth")
        encoder, _ = made("ITS", weights="hub")
        name = "encoder.transformer.layers.1.attention.k_proj.weight"
        assert torch.equal(encoder.tuned.backbone.state_dict()[name], network(SMALL).state_dict()[name])

    def test_what_nobody_trained_or_made_is_said(self):
        with pytest.raises(DataError, match="bundle SMALL has no weights; set weights=none"):
            made(weights="hub")
        with pytest.raises(ValueError, match="torchaudio has no bundle WAV2VEC_BASE; did you mean WAV2VEC2_BASE"):
            made("WAV2VEC_BASE")
        with pytest.raises(ValueError, match="layer is 3; the model has 2, so expected -3 to 2"):
            made(layer=3)


@pytest.mark.parametrize("tune", ["frozen", "lora", "partial:1", "full"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    model = network(SMALL)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    before = copy.deepcopy(model.state_dict())
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    encoder = f"torchaudio:bundle=SMALL,weights={tmp_path / 'w.pth'},tune={tune}"
    task = tiny_task({"a": "audio", "b": "table"}, train=12, held_out=8)
    fitted, record = mmkit.fit(task=task, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a"] if tune == "frozen" else [])
    after = fitted.module.encoders["a"].tuned.backbone.state_dict()
    changed = {
        name.replace(".base_layer", "")
        for name, value in after.items()
        if ".lora_" not in name and not torch.equal(value, before[name.replace(".base_layer", "")])
    }
    allowed = {"frozen": (), "lora": (), "partial:1": ("encoder.transformer.layers.1.",), "full": ("",)}[tune]
    assert bool(changed) == bool(allowed)
    assert all(name.startswith(allowed) for name in changed)
    if tune == "lora":  # they begin at zero
        assert all(value.any() for name, value in after.items() if ".lora_B" in name)
    fitted.save(tmp_path / "model")
    (tmp_path / "w.pth").unlink()
    samples = [{"a": CLIPS[0]}, {"a": CLIPS[3], "b": {"x": 1.0}}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == fitted.predict(samples)
