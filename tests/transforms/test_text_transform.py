"""Texts to tokens: the vocabulary, what it never sees, and its way through JSON."""

import json
import pickle
import subprocess
import sys
from typing import get_args

import pytest
import snowballstemmer
import torch
from bm25s import stopwords as lists

from mmkit.errors import DataError
from mmkit.transforms.languages import Stemmer, StopWords, stop_words
from mmkit.transforms.text import TextTransform
from mmkit.transforms.vocabulary import PADDING, UNKNOWN

TRAIN = ["The old boat and the new boat", "我爱北京天安门", None, "Boats are running!", "北京 the"]


def fitted(train=TRAIN, **options):
    transform = TextTransform(**options)
    transform.fit(train)
    return transform


def words(transform, text):
    """The tokens of a text by name."""
    batch = transform([text])
    tokens = transform.state()["tokens"]
    return [tokens[row] for row in batch["tokens"][0][batch["mask"][0]].tolist()]


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_batch_of_present_and_missing():
    batch = fitted()(["the boat", None, "the"])
    assert batch["tokens"].dtype == torch.int64
    assert batch["mask"].tolist() == [[True, True], [False, False], [True, False]]
    assert (batch["tokens"][~batch["mask"]] == PADDING).all()
    assert (batch["tokens"][batch["mask"]] > UNKNOWN).all()


def test_all_missing_is_one_masked_token():
    batch = fitted()([None, None])
    assert batch["tokens"].shape == batch["mask"].shape == (2, 1)
    assert not batch["mask"].any()


def test_most_frequent_words_first_and_ties_by_name():
    transform = fitted(["b b b c c a a d"], vocabulary=5)
    assert transform.state()["tokens"] == ["[PAD]", "[UNK]", "b", "a", "c"]
    assert fitted(["b b b c c a a d"], min_count=3).state()["tokens"] == ["[PAD]", "[UNK]", "b"]


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
@pytest.mark.parametrize("sentence", ["我爱北京天安门", "我喜欢这个图片"])
def test_a_sentence_without_spaces_gives_several_tokens(tokenizer, sentence):
    seen = fitted(["我爱北京天安门", "这个图片很好看", "我爱北京天安门"], tokenizer=tokenizer)
    found = words(seen, sentence)
    assert len(found) == 7
    known = [character for character in sentence if character in "我爱北京天安门这个图片很好看"]
    assert [word for word in found if word != "[UNK]"] == known
    assert len(set(known)) >= 5


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_names_of_padding_in_a_text_are_not_padding(tokenizer):
    rows = fitted(["[PAD] [UNK]"], tokenizer=tokenizer)(["[PAD]"])["tokens"]
    assert (rows > UNKNOWN).all()


def test_bpe_makes_new_words_of_parts_of_known_ones():
    transform = fitted(["low lower lowest", "new newer newest", "wide wider widest"], tokenizer="bpe", vocabulary=40)
    parts = words(transform, "lowest")
    assert "".join(words(transform, "newlowest")) == "newlowest"
    assert UNKNOWN not in transform(["widlow"])["tokens"]
    assert len(parts) < len("lowest")
    assert words(transform, "ω") == ["[UNK]"]


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_a_vocabulary_has_at_most_the_rows_asked_for(tokenizer):
    assert fitted(vocabulary=10, tokenizer=tokenizer).size == 10


def test_bpe_is_the_same_in_every_process():
    code = (
        "from mmkit.transforms.vocabulary import BytePairs;"
        "words = 'zyxw abcd efgh ijkl mnop qrst uv abxy cdzw 我 爱 ефгх'.split();"
        "pairs = BytePairs.learn(dict.fromkeys(words, 2), 30, 1);"
        "print(ascii((pairs.tokens, pairs.merges)))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) > 100


def test_stop_words_are_left_out_but_a_text_of_them_is_there():
    transform = fitted(stop_words="english")
    assert words(transform, "The boat and the old") == ["boat", "old"]
    batch = transform(["the and", None])
    assert batch["mask"].tolist() == [[True], [False]]
    assert batch["tokens"].tolist() == [[UNKNOWN], [PADDING]]


def test_stop_words_without_lower_case():
    assert words(fitted(stop_words="english", lowercase=False), "The boat") == ["boat"]


def test_stemming_joins_forms_of_a_word():
    transform = fitted(stemmer="english")
    assert words(transform, "boats run") == words(transform, "Boat running") == ["boat", "run"]


def test_every_language_offered_is_there():
    for language in get_args(StopWords):
        assert len(stop_words(language)) > 50
    assert set(get_args(Stemmer)) <= set(snowballstemmer.algorithms())
    # "EN" is the short list; the transform takes the long one.
    assert set(stop_words("english")) > set(lists.STOPWORDS_EN) - {"such"}


@pytest.mark.parametrize("tokenizer", ["word", "bpe"])
def test_what_is_too_long_is_cut_off(tokenizer):
    transform = fitted(max_length=3, tokenizer=tokenizer)
    long = transform(["我爱北京天安门 boats are running"])
    same(long, transform(["我爱北"]))
    assert long["mask"].shape == (1, 3)


def test_validation_never_enters_the_vocabulary():
    transform = fitted()
    before = json.dumps(transform.state())
    transform(["entirely unseen words", "图片"])
    assert json.dumps(transform.state()) == before
    assert "unseen" not in transform.state()["tokens"]


@pytest.mark.parametrize(
    "options", [{}, {"tokenizer": "bpe", "vocabulary": 40}, {"stop_words": "english", "stemmer": "english"}]
)
def test_state_through_json_and_pickle(options):
    transform = fitted(**options)
    state = json.loads(json.dumps(transform.state()))
    restored = TextTransform(**options)
    restored.restore(state)
    assert restored.state() == transform.state() == state
    texts = ["The boats 我爱图片", "newest running", None]
    same(restored(texts), transform(texts))
    same(pickle.loads(pickle.dumps(transform))(texts), transform(texts))


def test_fitting_again_forgets():
    transform = fitted(stop_words="english")
    transform.fit(["apple"])
    assert transform.state()["tokens"] == ["[PAD]", "[UNK]", "apple"]


def test_no_text_at_all():
    assert fitted([None, None])(["boat"])["tokens"].tolist() == [[UNKNOWN]]
    assert fitted([None], tokenizer="bpe")(["boat"])["tokens"].tolist() == [[UNKNOWN] * 4]


def test_before_fitting():
    with pytest.raises(RuntimeError, match="no vocabulary yet; call fit or restore first"):
        TextTransform()(["boat"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stemmer": "english", "lowercase": False}, "stemmer=english cuts lower-case words; it needs lowercase=true"),
        ({"vectors": "x", "tokenizer": "bpe"}, "vectors are of whole words, tokenizer=bpe makes others"),
        ({"vectors": "x", "stemmer": "porter"}, "vectors are of whole words, stemmer=porter makes others"),
    ],
)
def test_options_that_cannot_work_together(options, message):
    with pytest.raises(ValueError, match=message):
        TextTransform(**options)


def test_vectors_are_read_while_fitting_and_never_again(tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("boat 1 2 3\nthe 3 4 7\nelsewhere 9 9 9\n")
    transform = fitted(["the boat sails"], vectors=str(file))
    rows = transform.state()["tokens"]
    assert transform.vectors[rows.index("boat")].tolist() == [1, 2, 3]
    assert transform.vectors[rows.index("the")].tolist() == [3, 4, 7]
    assert transform.vectors[UNKNOWN].tolist() == [2, 3, 5]  # the mean of the two
    assert transform.vectors[PADDING].tolist() == [0, 0, 0]
    assert transform.vectors[rows.index("sails")].isfinite().all()
    file.unlink()
    restored = TextTransform(vectors=str(file))
    restored.restore(json.loads(json.dumps(transform.state())))
    assert restored.vector_width == 3
    assert restored.vectors is None
    with pytest.raises(DataError, match=r"cannot read the word vectors .*vectors\.txt"):
        restored.fit(["the boat"])
