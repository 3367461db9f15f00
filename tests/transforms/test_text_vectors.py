"""Files of word vectors: both formats, and what is wrong with a line."""

import gzip

import pytest
import torch

from mmkit.errors import DataError
from mmkit.transforms.word_vectors import read_word_vectors

ROWS = {"apple": 2, "苹果": 4, ".": 3}
GLOVE = "apple 1.5 -2\nof 0 0\n苹果 3 4e-1\n"


def write(tmp_path, text, name="vectors.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", [GLOVE, "3 2\n" + GLOVE, "3 2\n" + GLOVE.replace("\n", " \r\n")])
def test_glove_and_word2vec(tmp_path, text):
    vectors, found = read_word_vectors(write(tmp_path, text), ROWS)
    expected = torch.zeros(5, 2)
    expected[2] = torch.tensor([1.5, -2])
    expected[4] = torch.tensor([3, 0.4])
    assert torch.equal(vectors, expected)
    assert found.tolist() == [False, False, True, False, True]


def test_a_packed_file(tmp_path):
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(GLOVE.encode()))
    assert read_word_vectors(path, ROWS)[1].sum() == 2


def test_of_a_word_given_twice_the_first_holds(tmp_path):
    vectors, _ = read_word_vectors(write(tmp_path, "apple 1 2\napple 3 4\n"), ROWS)
    assert vectors[2].tolist() == [1, 2]


def test_words_of_others_may_hold_spaces_and_strange_characters(tmp_path):
    text = "a\x85b 1 2\n. . . 1 2\nat name@domain.com 1 2\nx\u2028y 1 2\napple 5 6\n"
    vectors, found = read_word_vectors(write(tmp_path, text), ROWS)
    assert found.tolist() == [False, False, True, False, False]
    assert vectors[2].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apple 1 2\nof 1\n", r"line 2: expected a word and 2 numbers; got 1 numbers"),
        ("apple 1 2\nof 1 2 3\n", r"line 2: expected a word and 2 numbers; got 3 numbers"),
        ("1 2\napple 1\n", r"line 2: expected a word and 2 numbers"),
        ("apple 1 2\n苹果 1 x\n", r"line 2: could not convert string to float: 'x'"),
        ("apple 1 nan\n", r"line 1: a number is not finite"),
        ("apple\n", r"line 1: expected a word and its numbers, or a header; got 'apple'"),
        ("", r"is empty; expected word vectors"),
        ("pear 1 2\n", r"none of the 3 words of the training split has a vector in .*is it the right file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_word_vectors(write(tmp_path, text), ROWS)


def test_a_file_that_is_not_there_or_not_packed(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the word vectors .*none\.txt"):
        read_word_vectors(tmp_path / "none.txt", ROWS)
    with pytest.raises(DataError, match=r"cannot read the word vectors .*plain\.gz"):
        read_word_vectors(write(tmp_path, GLOVE, "plain.gz"), ROWS)
