"""How a text is taken apart, in several scripts."""

import pytest

from mmkit.transforms.pieces import normal, pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two boats, 3.5 m", ["Two", "boats", ",", "3", ".", "5", "m"]),
        ("我爱北京天安门", list("我爱北京天安门")),
        ("2024年の旅", ["2024", "年", "の", "旅"]),
        ("スーパー kana", ["スー", "パー", "kana"]),
        ("ดี ครับ", ["ดี", "ค", "รั", "บ"]),  # a vowel above belongs to its consonant
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),  # a script with spaces keeps its words whole
        ("한국어 글", ["한국어", "글"]),
        ("Привет, мир", ["Привет", ",", "мир"]),
        ("cafe\u0301s", ["cafe\u0301s"]),  # an accent apart, as it is before normalising
        ("naïve_x", ["naïve_x"]),
        ("ok😀👍🏽", ["ok", "😀", "👍", "🏽"]),
        ("a\x00b\u3000c\n", ["a", "b", "c"]),
        ("[PAD]", ["[", "PAD", "]"]),
        (" \t", []),
    ],
)
def test_pieces(text, expected):
    assert pieces(text) == expected


def test_normal_forms():
    def plain(text, **options):
        return normal(text, **{"lowercase": True, "strip_accents": False, **options})

    assert plain("\uff21\uff22\uff23 ﬁne") == "abc fine"
    assert plain("Cafe\u0301") == plain("CAFÉ") == "café"
    assert plain("Apple", lowercase=False) == "Apple"
    assert plain("Café naïve ÅÄ Ωμέγα", strip_accents=True) == "cafe naive aa ωμεγα"
    # Marks of other scripts are not accents.
    assert plain("नमस्ते สวัสดี プ йод", strip_accents=True) == "नमस्ते สวัสดี プ йод"
