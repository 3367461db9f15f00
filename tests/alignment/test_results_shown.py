"""What retrieval and zero-shot classification tell their user: a line, and a table in a notebook."""

from mmkit.alignment.options import AlignmentOptions
from mmkit.alignment.retrieval import Retrieval
from mmkit.alignment.zero_shot import ZeroShot

FIGURES = {"recall@1": 0.5, "recall@5": 0.75, "recall@10": 1.0, "mrr": 0.625, "median_rank": 1.5}


def retrieval(**rest):
    return Retrieval(
        **{
            "task": "clipart",
            "options": AlignmentOptions(),
            "encoders": {"image": "cnn", "title": "bow"},
            "samples": 8,
            "queries": 8,
            "left_out": 2,
            "directions": {"image -> title": FIGURES, "title -> image": {**FIGURES, "recall@1": 0.25}},
            "intervals": {"image -> title": {"recall@1": (0.25, 0.75)}, "title -> image": {}},
            "chance": 0.125,
            "strength": 0.1,
            "unread": {},
            "plugins": {},
            **rest,
        }
    )


def zero_shot(**rest):
    return ZeroShot(
        **{
            "task": "clipart",
            "options": AlignmentOptions(split="validation"),
            "input": "image",
            "encoders": {"input": "cnn", "text": "bow"},
            "templates": ("a picture of {}",),
            "classes": {"cat": ("cat", "kitten"), "<b>": ("[bold]",), "猫": ("猫",)},
            "samples": 8,
            "left_out": 0,
            "metrics": {"accuracy": 0.5, "f1_macro": None, "recall_macro": 0.25},
            "intervals": {"accuracy": (0.375, 0.625)},
            "by_class": {"cat": 1.0, "<b>": 0.0, "猫": None},
            "majority": 0.375,
            "strength": None,
            "unread": {},
            "plugins": {},
            **rest,
        }
    )


def test_a_retrieval_is_one_line_and_in_a_notebook_a_table():
    found = retrieval()
    assert repr(found) == (
        "<Retrieval of clipart, recall at 1: image -> title 50.0, title -> image 25.0; by chance 12.5>"
    )
    assert found.sheet().lines[0] == ["image -> title", "50.0 [25.0, 75.0]", "75.0", "100.0", "62.5", "1.5", "12.5"]
    assert found.sheet().lines[1] == ["title -> image", "25.0", "75.0", "100.0", "62.5", "1.5", "12.5"]
    assert found.sentence() == (
        "8 samples of the test split of clipart; the interval is over queries, among these candidates; 2 lack an "
        "input; ridge map fitted on train, strength 0.1 chosen on validation."
    )
    grouped = retrieval(intervals_over=["speaker", "writer"]).sentence()
    assert "; the interval is over groups by speaker and writer, among these candidates;" in grouped
    text = found._repr_html_()
    assert "image -&gt; title</td>" in text
    assert text.count("<tr>") == text.count("</tr>") == 3
    assert found.sentence() in text


def test_a_zero_shot_result_is_one_line_and_in_a_notebook_a_table_of_classes():
    found = zero_shot()
    assert repr(found) == "<ZeroShot of clipart, image among 3 classes: accuracy 50.0, most frequent class 37.5>"
    assert found.sheet().lines == [["cat", "cat, kitten", "100.0"], ["<b>", "[bold]", "0.0"], ["猫", "猫", "-"]]
    assert found.sentence().startswith(
        "accuracy 50.0 [37.5, 62.5], macro F1 -, macro recall 25.0 (95 % over samples); always"
    )
    assert "(95 % over groups); always" in zero_shot(intervals_over=["group"]).sentence()
    text = found._repr_html_()
    for part in ("&lt;b&gt;</td>", "[bold]</td>", "猫</td>", "macro F1 -, macro recall 25.0", "of clipart.</p>"):
        assert part in text
    assert "<b>" not in text
