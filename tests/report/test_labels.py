"""Labels that are shortened stay different, and say what differs."""

import pytest

from mmkit.report.labels import plain, shortened

MODELS = [f"transformers-text:weights=/mnt/models/encoder-{number}-uncased,pool=mean" for number in range(10)]


def test_where_a_path_is_all_that_differs_its_end_is_the_label():
    assert shortened([*MODELS, MODELS[0]]) == [
        *(f"encoder-{number}-uncased" for number in range(10)),
        *["encoder-0-uncased"],
    ]


def test_where_something_else_differs_the_component_stays():
    cells = ["cnn:width=32,layers=4,dropout=0.1", "cnn:width=32,layers=4,dropout=0.2", "resnet", "-"]
    assert shortened(cells) == ["cnn:dropout=0.1", "cnn:dropout=0.2", "resnet", "-"]
    cells = ["vit:weights=/data/models/large/one.pt", "clip:weights=/data/models/large/two.pt", "only:photo"]
    assert shortened(cells) == ["vit:weights=one.pt", "clip:weights=two.pt", "only:photo"]


@pytest.mark.parametrize(
    "cells",
    [
        ["concat", "sum"],
        ["low-rank:rank=4", "low-rank:rank=8"],
        ["only:a", "only:b"],
        ["<script>alert(1)</script>", "a/b"],
        ["cnn", "cnn:width=32,layers=4,dropout=0.1,norm=batch"],
        [],
    ],
)
def test_short_cells_and_names_stay_as_they_are(cells):
    assert shortened(cells) == cells


def test_ends_that_are_equal_are_told_by_more_of_the_path():
    cells = ["vit:weights=/data/models/first/model.pt", "vit:weights=/data/models/second/model.pt"]
    assert shortened(cells) == ["first/model.pt", "second/model.pt"]


def test_paths_with_spaces_and_of_windows():
    cells = ['vit:weights="/my data/models/a b/model one.pt"', 'vit:weights="C:\\\\data\\\\models\\\\model two.pt"']
    assert shortened(cells) == ["model one.pt", "model two.pt"]


def test_what_moves_the_cursor_is_escaped_and_scripts_are_not():
    assert plain("a\nb\tc\x1b[31m\u202ed\ud800") == "a\\nb\\tc\\x1b[31m\\u202ed\\ud800"
    for text in ("[/INST]", ":smile:", "日本語", "قط كبير", "क्षि", "می‌خواهم", "👩‍👩‍👧", "a　b"):
        assert plain(text) == text
