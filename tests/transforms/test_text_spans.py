"""Where the tokens of a text stand in it, in any script and whatever is normalised."""

import pytest

from mmkit.transforms.text import TextTransform

TEXTS = {
    "english": "The CAFÉ's 2nd shop: don't!",
    "chinese": "我爱北京天安门,很好!",
    "arabic": "مرحبا بالعالم، كيف الحال؟",
    "vowels": "مُحَمَّدٌ رَسُولٌ",
    "thai": "สวัสดีครับ ผมชื่อ",
    "hindi": "नमस्ते दुनिया",
    "decomposed": "cafe\u0301 nai\u0308ve",
    "ligature": "ﬁnd the oﬃce ①",
    "hangul": "\u1112\u1161\u11ab\u1100\u1173\u11af 한국어",
    "sharp": "STRAẞE İstanbul",
    "emoji": "so good 👍🏽 👩‍👩‍👧 !",
    "wide": "\uff26\uff55\uff4c\uff4c\u3000\uff57\uff49\uff44\uff54\uff48",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "options", [{}, {"tokenizer": "bpe"}, {"strip_accents": True}, {"lowercase": False}, {"max_length": 3}], ids=str
)
def test_a_span_for_each_token_and_its_text_gives_that_token(name, options):
    text = TEXTS[name]
    transform = TextTransform(**options)
    transform.fit([*TEXTS.values(), "other words"])
    spans = transform.spans(text)
    batch = transform([text])
    assert spans is not None
    assert len(spans) == int(batch["mask"].sum())
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    if options.get("tokenizer") == "bpe":
        return
    for token, (start, end) in zip(batch["tokens"][0].tolist(), spans, strict=True):
        alone = transform([text[start:end]])["tokens"][0].tolist()
        assert token in alone, (text[start:end], name)  # a ligature may hold a part of a word


def test_parts_of_words_have_their_own_places():
    transform = TextTransform(tokenizer="bpe", vocabulary=14)
    transform.fit(["lower lowest newer", "low new"] * 5)
    text = "Low Newest"
    spans, tokens = transform.spans(text), transform([text])["tokens"][0].tolist()
    assert [text[start:end].lower() for start, end in spans] == [transform.vocabulary.tokens[one] for one in tokens]
    assert "".join(text[start:end] for start, end in spans) == "LowNewest"


def test_stop_words_have_no_span_and_stems_that_of_their_word():
    transform = TextTransform(stop_words="english", stemmer="english")
    transform.fit(["running houses and the dogs"])
    text = "The dogs were running"
    assert [text[start:end] for start, end in transform.spans(text)] == ["dogs", "running"]
    assert transform.spans("the and") == [(0, 7)]  # one unknown token stands for all of it


def test_where_letters_cannot_be_told_apart_nothing_is_said(monkeypatch):
    """A normalisation that looks beyond a letter: no places, rather than wrong ones."""
    transform = TextTransform()
    transform.fit(["some text"])
    monkeypatch.setattr(transform, "_normal", lambda text: text.strip().replace("ab", "c"))
    assert transform.spans("xab") is None
    assert transform.spans("xyz") == [(0, 3)]
