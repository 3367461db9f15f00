"""open_clip's towers as encoders give the models' own values."""

import pickle
import warnings

import open_clip
import pytest
import torch
import transformers
from mmkit_open_clip.image_transform import OpenClipImageTransform
from mmkit_open_clip.plugin import EXAMPLE
from mmkit_open_clip.towers import image_tower, text_tower
from PIL import Image
from random_clips import KINDS, PAIRS, TEXTS, folder, images, of_images, of_texts
from safetensors.torch import save_file
from torch.nn import functional as F

import mmkit
import mmkit.cli
from mmkit.testing import check

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
