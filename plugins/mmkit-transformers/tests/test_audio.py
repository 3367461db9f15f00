"""transformers' audio models as encoders: the models' own states of a clip alone, whatever its mates are."""

import json
import shutil

import pytest
import torch
import transformers
from mmkit_transformers.audio import TransformersAudioEncoder
from mmkit_transformers.audio_transform import TransformersAudioTransform
from mmkit_transformers.network import container
from mmkit_transformers.plugin import AUDIO_EXAMPLE
from torchaudio.functional import resample

import mmkit
from mmkit.errors import DataError
from mmkit.testing import check, tiny_task

RATE = 16_000
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}
WAVES = SMALL | {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
CLAP = {
    "audio_config": {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "window_size": 4,
    },
    "text_config": SMALL | {"vocab_size": 50, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
}
WHISPER = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_source_positions": 50,
    "num_mel_bins": 20,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
MELS = {"feature_size": 16, "sampling_rate": RATE, "hop_length": 160, "max_length_s": 1, "fft_window_size": 2048}
# Name: kind, its configuration, the extractor and its settings.
KINDS = {
    "wav2vec2": ("wav2vec2", WAVES, "Wav2Vec2", {}),
    "wav2vec2-large": (
        "wav2vec2",
        WAVES | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
        "Wav2Vec2",
        {"return_attention_mask": True},
    ),
    "hubert": ("hubert", WAVES, "Wav2Vec2", {"do_normalize": False}),
    "wavlm": ("wavlm", WAVES, "Wav2Vec2", {}),
    "data2vec-audio": (
        "data2vec-audio",
        WAVES | {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5},
        "Wav2Vec2",
        {},
    ),
    "wav2vec2-conformer": ("wav2vec2-conformer", WAVES, "Wav2Vec2", {}),
    "ast": (
        "audio-spectrogram-transformer",
        SMALL | {"max_length": 64, "num_mel_bins": 32},
        "AST",
        {"num_mel_bins": 32, "max_length": 64},
    ),
    "whisper": ("whisper", WHISPER, "Whisper", {"feature_size": 20, "chunk_length": 1}),
    "clap": ("clap", CLAP, "Clap", MELS | {"truncation": "rand_trunc"}),
    "clap-fused": (
        "clap",
        CLAP | {"audio_config": CLAP["audio_config"] | {"enable_fusion": True}},
        "Clap",
        MELS | {"truncation": "fusion"},
    ),
}
# Warnings of torch about what transformers' WavLM hands it, and of transformers about our narrow bands.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),
    pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values"),
]


def folder(tmp_path, name):
    """A small random model, with its feature extractor."""
    kind, config, extractor, settings = KINDS[name]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **json.loads(json.dumps(config)))
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / name)
    getattr(transformers, f"{extractor}FeatureExtractor")(**settings).save_pretrained(tmp_path / name)
    return tmp_path / name


def noise(samples, channels=1, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


CLIPS = [(noise(9000), RATE), (noise(4001, 2, seed=1), RATE), None, (noise(600, seed=2), RATE)]


def made(model=AUDIO_EXAMPLE, seconds=None, **options):
    transform = TransformersAudioTransform(model=str(model), seconds=seconds)
    transform.fit(CLIPS)
    return TransformersAudioEncoder(transform, **options).eval(), transform


def network(where):
    """What transformers itself makes of a folder: the part that listens."""
    model = transformers.AutoModel.from_pretrained(where).eval()
    return model.get_encoder() if model.config.is_encoder_decoder else getattr(model, "audio_model", model)


def alone(where, clip, **options):
    """What the model gives for one clip by its own extractor, without padding and without a mask."""
    waveform, rate = clip
    extractor = transformers.AutoFeatureExtractor.from_pretrained(where)
    given = extractor(waveform.mean(0).numpy(), sampling_rate=rate, return_tensors="pt")
    given = {name: value for name, value in given.items() if name != "attention_mask"}
    if "is_longer" in given:  # the extractor calls one clip of each batch so, by chance
        given["is_longer"] = torch.zeros_like(given["is_longer"])
    with torch.no_grad():
        return network(where)(**given, **options)


def flat(states):
    return states.flatten(2).transpose(1, 2) if states.ndim == 4 else states


@pytest.mark.parametrize("name", KINDS)
def test_features_are_the_models_own_of_each_clip_alone(tmp_path, name):
    where = folder(tmp_path, name)
    encoder, transform = made(where)
    features = encoder(transform(CLIPS))
    for row in (0, 1, 3):
        expected = flat(alone(where, CLIPS[row]).last_hidden_state)[0]
        found = features.tokens[row][features.mask[row]]
        if name == "whisper":  # 320 samples a token; the rest of its second is silence
            assert len(found) == -(-CLIPS[row][0].shape[1] // 320)
        else:
            assert len(found) == len(expected)
        torch.testing.assert_close(found, expected[: len(found)], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(features.vector()[row], found.mean(0), atol=2e-5, rtol=1e-4)
    assert not features.mask[2].any()
    assert features.vector()[2].abs().max() == 0
    # Layers that look beyond a clip's end are known, and clips run by themselves.
    assert encoder.alone == (name in {"data2vec-audio", "wav2vec2-conformer"})


@pytest.mark.parametrize("name", KINDS)
def test_any_rate_length_and_number_of_channels_is_taken(tmp_path, name):
    encoder, transform = made(folder(tmp_path, name))
    for values in ([(noise(1), RATE)], [(noise(9_600, 8), 96_000), (noise(1), 44_101)], [None, None]):
        features = encoder(transform(values))
        assert features.tokens.isfinite().all()
        assert features.present().tolist() == [value is not None for value in values]


@pytest.mark.parametrize("name", KINDS)
def test_what_is_above_the_layer_that_is_read_is_not_there(tmp_path, name):
    where = folder(tmp_path, name)
    encoder, transform = made(where, layer=0)
    features = encoder(transform(CLIPS))
    expected = flat(alone(where, CLIPS[0], output_hidden_states=True).hidden_states[0])[0]
    found = features.tokens[0][features.mask[0]]
    torch.testing.assert_close(found, expected[: len(found)], atol=2e-5, rtol=1e-4)
    kept, whole = (
        len(model.get_submodule(container(model))) for model in (encoder.states.tuned.backbone, network(where))
    )
    assert whole > 1
    assert kept == (whole if name.startswith("clap") else 1)  # stages differ in width, and stay


def test_clips_are_resampled_to_the_models_rate():
    _, transform = made()
    clip = noise(4410, 2)
    found = transform([(clip, 44_100)])["wave"][0]
    expected = resample(clip.mean(0), 44_100, RATE)
    torch.testing.assert_close(found, (expected - expected.mean()) / (expected.var(correction=0) + 1e-7).sqrt())


def test_a_clip_that_is_longer_than_the_window_is_cut_to_its_start(tmp_path):
    _, transform = made(folder(tmp_path, "clap"))
    long = noise(3 * RATE)
    found = transform([(long, RATE)])["spectrogram"]
    assert torch.equal(found, transform([(long, RATE)])["spectrogram"])
    assert torch.equal(found, transform([(long[:, :RATE], RATE)])["spectrogram"])
    _, short = made(seconds=0.1)
    assert short([(long, RATE)])["mask"].sum() == 1600


def test_summaries_and_layers(tmp_path):
    where = folder(tmp_path, "wavlm")
    batch = made(where)[1](CLIPS)
    states = alone(where, CLIPS[1], output_hidden_states=True).hidden_states
    for layer in (0, 2, -1):
        features = made(where, layer=layer, pooling="max")[0](batch)
        expected = states[layer][0]
        torch.testing.assert_close(features.tokens[1][features.mask[1]], expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(features.vector()[1], expected.amax(0), atol=2e-5, rtol=1e-4)
    assert made(where, pooling="none")[0](batch).pooled is None
    assert made(where, output="pooled")[0](batch).tokens.shape == (4, 1, 16)


@pytest.mark.parametrize("tune", ["lora", "dora"])
@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_adapters_stand_in_every_linear_layer_of_the_blocks_and_change_nothing_at_first(tmp_path, name, tune):
    pytest.importorskip("peft")
    where = folder(tmp_path, name)
    plain, transform = made(where)
    adapted, _ = made(where, tune=tune)
    batch = transform(CLIPS)
    expected, found = plain(batch), adapted(batch)
    torch.testing.assert_close(found.tokens[found.mask], expected.tokens[expected.mask], atol=1e-5, rtol=1e-4)
    adapted.train()(batch).tokens.square().sum().backward()
    adapters = {key: weight for key, weight in adapted.named_parameters() if ".lora_B" in key}
    assert {key.split(".lora_B")[0].rpartition(".")[2] for key in adapters} >= {
        "q_proj",
        "k_proj",
        "v_proj",
        "out_proj",
    }
    assert all(weight.requires_grad and weight.grad is not None for weight in adapters.values())


@pytest.mark.parametrize("name", ["ast", "clap"])
def test_the_models_own_summary_can_be_had(tmp_path, name):
    where = folder(tmp_path, name)
    encoder, transform = made(where, pooling="model")
    expected = alone(where, CLIPS[0]).pooler_output[0]
    torch.testing.assert_close(encoder(transform(CLIPS)).vector()[0], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "clap"])
def test_every_weight_that_is_trained_gets_a_gradient_and_sinusoids_stay(tmp_path, name):
    encoder, transform = made(folder(tmp_path, name), tune="full")
    encoder(transform(CLIPS)).tokens.square().sum().backward()
    trained = {name: weight.grad for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert len(trained) > 20
    assert [name for name, gradient in trained.items() if gradient is None] == []
    fixed = {name for name, weight in encoder.named_parameters() if not weight.requires_grad}
    assert {name.removeprefix("states.tuned.backbone.") for name in fixed} == {
        "wav2vec2": {"masked_spec_embed"},  # of an augmentation that is off
        "whisper": {"embed_positions.weight"},
        "clap": set(),
    }[name]


@pytest.mark.parametrize(("name", "norms"), [("clap", 1), ("wav2vec2-conformer", 3)])
def test_a_clip_that_is_missing_counts_in_no_batch_norm(tmp_path, name, norms):
    """As if it were not in the batch; the clips are of one length, since padding does count."""

    def after(clips):
        encoder, transform = made(folder(tmp_path, name), tune="full")
        encoder.train()(transform(clips))
        return {key: value for key, value in encoder.state_dict().items() if "running" in key}

    clips = [(noise(4000, seed=seed), RATE) for seed in range(3)]
    found, expected = after([*clips, None]), after(clips)
    assert len(found) == 2 * norms
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)


@pytest.mark.parametrize(
    "name", ["ast", *(pytest.param(one, marks=pytest.mark.full) for one in ("whisper", "data2vec-audio"))]
)
def test_the_contract_is_kept_by_spectrograms_and_by_clips_one_by_one(tmp_path, name):
    report = check("encoder", "transformers-audio", {"model": str(folder(tmp_path, name))})
    assert report.ok, report


def test_the_contract_is_kept_when_it_is_trained():
    report = check("encoder", "transformers-audio", {"model": str(AUDIO_EXAMPLE), "tune": "full"})
    assert report.ok, report


class TestRefused:
    def test_a_folder_without_an_extractor_is_said(self, tmp_path):
        shutil.copytree(AUDIO_EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "preprocessor_config.json").unlink()
        with pytest.raises(DataError, match=r"cannot be read: it has no feature extractor .*take a model of sound"):
            made(tmp_path / "m")

    def test_spectrograms_as_long_as_the_clip_are_said(self, tmp_path):
        shutil.copytree(AUDIO_EXAMPLE, tmp_path / "m")
        transformers.SeamlessM4TFeatureExtractor(feature_size=8, num_mel_bins=8).save_pretrained(tmp_path / "m")
        with pytest.raises(
            DataError, match=r"SeamlessM4TFeatureExtractor of .* gives spectrograms as long as the clip"
        ):
            made(tmp_path / "m")

    def test_a_name_of_the_hub_without_a_network_is_said(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(DataError, match=r"nobody/nothing is not on this machine.*hf download nobody/nothing"):
            made("nobody/nothing")
        assert DataError.exit_code == 4

    def test_a_folder_that_is_no_model_is_said(self, tmp_path):
        with pytest.raises(DataError, match=r"is a folder without config\.json"):
            made(tmp_path)

    def test_a_malicious_pickle_is_refused_and_not_run(self, tmp_path):
        shutil.copytree(AUDIO_EXAMPLE, tmp_path / "m")
        (tmp_path / "m" / "model.safetensors").unlink()
        evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
        (tmp_path / "m" / "pytorch_model.bin").write_bytes(evil)
        with pytest.raises(DataError, match="cannot be read"):
            made(tmp_path / "m")
        assert not (tmp_path / "owned").exists()

    def test_a_model_of_waves_of_another_kind_is_said(self, tmp_path):
        config = transformers.MoonshineConfig(
            **SMALL | {"vocab_size": 20},
            encoder_num_hidden_layers=1,
            decoder_num_hidden_layers=1,
            encoder_num_attention_heads=2,
            decoder_num_attention_heads=2,
        )
        transformers.MoonshineModel(config).save_pretrained(tmp_path)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="MoonshineEncoder has no convolutions like those"):
            made(tmp_path)

    @pytest.mark.parametrize("options", [{"pooling": "cls"}, {"pooling": "model"}, {"layer": 3}, {"tune": "partial:3"}])
    def test_what_a_model_cannot_give_is_said(self, options):
        with pytest.raises(ValueError, match=r"has no first token|has no pooled vector of its|layer is 3|has 2 blocks"):
            made(**options)

    def test_sound_of_zero_length_is_named(self):
        from mmkit.data.splits import Splits
        from mmkit.modalities.audio import Audio
        from mmkit.modalities.table import Table

        def broken(number, generator):
            return (torch.zeros(1, 0) if number == 3 else noise(2000, seed=number)), RATE

        task = tiny_task({"a": "audio", "b": "table"}, {"a": broken})
        splits = Splits(task(), {"a": Audio(), "b": Table()})
        with pytest.raises(DataError, match=r"train-3.*holds no sample \(shape \[1, 0\]\)"):
            splits("train")


@pytest.mark.parametrize(
    ("name", "tune", "allowed"),
    [
        ("wav2vec2", "frozen", ()),
        ("wav2vec2", "lora", ()),
        ("wav2vec2", "partial:2", ("encoder.layers.1.", "encoder.layers.2.")),
        ("wav2vec2", "full", ("",)),
        ("clap", "frozen", ()),  # its batch norm keeps its statistics
        ("whisper", "partial:1", ("layers.2.", "layer_norm.")),
        ("ast", "partial:1", ("layers.2.", "layernorm.")),
    ],
)
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, name, tune, allowed):
    if tune == "lora":
        pytest.importorskip("peft")
    where = folder(tmp_path, name)
    before = network(where).state_dict()
    training = {"epochs": 2, "min_steps": 0, "probe": False}
    encoder = f"transformers-audio:model={where},tune={tune}"
    task = tiny_task({"a": "audio", "b": "table"}, train=12, held_out=8)
    model, record = mmkit.fit(task=task, encoders={"a": encoder}, fusion="concat", training=training, device="cpu")
    assert record.encoded_once == (["a"] if tune == "frozen" else [])
    after = model.module.encoders["a"].states.tuned.backbone.state_dict()
    changed = {
        key.replace(".base_layer", "")
        for key, value in after.items()
        if ".lora_" not in key and not torch.equal(value, before[key.replace(".base_layer", "")])
    }
    assert bool(changed) == bool(allowed)
    assert all(key.startswith(allowed) for key in changed)
    if tune.startswith("partial"):
        assert {start for start in allowed if any(key.startswith(start) for key in changed)} == set(allowed)
    if tune == "lora":  # they begin at zero
        assert all(value.any() for key, value in after.items() if ".lora_B" in key)
    model.save(tmp_path / "model")
    shutil.rmtree(where)
    samples = [{"a": CLIPS[0]}, {"a": CLIPS[3], "b": {"x": 1.0}}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)
