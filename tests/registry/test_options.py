"""Options are read from signatures, parsed, checked and written as text."""

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import annotated_types
import pytest

from mmkit.errors import ContractError, UsageError
from mmkit.pretrained.tuning import Tune
from mmkit.registry.notation import as_json
from mmkit.registry.options import (
    Choice,
    Option,
    Text,
    describe,
    options_of,
    parse_component,
    parse_value,
    split_commas,
    validated,
    write_value,
)

Width = Annotated[int, annotated_types.Gt(0)]
Share = Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)]


class Component:
    """A component.

    Args:
        widths: what the core hands over.
        width: of the result,
            in two lines.
        cell: which one.
    """

    def __init__(
        self,
        widths: "NotEvaluated",  # type: ignore[name-defined]  # noqa: F821
        *,
        width: Width = 64,
        cell: Literal["lstm", "gru"] = "lstm",
    ) -> None:
        """Nothing."""


class Child(Component):
    """Says nothing of its options."""


class Grown(Component):
    """Has a constructor of its own.

    Args:
        depth: new.
    """

    def __init__(self, *, depth: "int | None" = None, width: "Width" = 32) -> None:
        """Nothing."""


class Bare:
    """Has no constructor."""


Pattern = Literal["causal", "full"]


class Named:
    """Calls something of its own as `typing` does, and takes another thing from there."""

    def __init__(self, *, pattern: "Pattern" = "causal", other: "Optional[int]" = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Nothing."""


def test_keyword_only_parameters_are_the_options_and_args_their_help():
    assert options_of(Component) == {
        "width": Option("width", Width, 64, "of the result, in two lines."),
        "cell": Option("cell", Literal["lstm", "gru"], "lstm", "which one."),
    }
    assert options_of(Child) == options_of(Component)
    assert options_of(Bare) == {}


def test_a_subclass_constructor_replaces_the_options_and_inherits_their_help():
    assert options_of(Grown) == {
        "depth": Option("depth", int | None, None, "new."),
        "width": Option("width", Width, 32, "of the result, in two lines."),
    }


def test_a_name_of_the_components_own_module_comes_before_one_of_typing():
    found = options_of(Named)
    assert (found["pattern"].annotation, found["other"].annotation) == (Pattern, int | None)


def test_the_first_of_two_describes_a_shared_option():
    both = options_of(Component, Grown)
    assert list(both) == ["width", "cell", "depth"]
    assert both["width"].default == 64


def test_an_option_without_a_default_or_with_an_unknown_annotation_breaks_the_contract():
    class Unset:
        def __init__(self, *, width: int):
            """Nothing."""

    class Untyped:
        def __init__(self, *, width=3):
            """Nothing."""

    class Unknown:
        def __init__(self, *, width: "Nowhere" = 3):  # type: ignore[name-defined]  # noqa: F821
            """Nothing."""

    with pytest.raises(ContractError, match="Unset: option width needs an annotation and a default"):
        options_of(Unset)
    with pytest.raises(ContractError, match="Untyped: option width needs an annotation and a default"):
        options_of(Untyped)
    with pytest.raises(ContractError, match=r"'Nowhere', cannot be evaluated .* import its names at module level"):
        options_of(Unknown)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("concat", "concat", {}),
        ("acme/braid:rank=3", "acme/braid", {"rank": "3"}),
        (" a : x = 1 , y = b ", "a", {"x": "1", "y": "b"}),
        ("a:path=C:/x=y", "a", {"path": "C:/x=y"}),
        ("a:sizes=[1, 2],b={c = [3, 4], d = 5}", "a", {"sizes": "[1, 2]", "b": "{c = [3, 4], d = 5}"}),
        ('a:x=\'1,2\',y="3,\\"4"', "a", {"x": "'1,2'", "y": '"3,\\"4"'}),
        ('a:x=it\'s,y=["b,]"]', "a", {"x": "it's", "y": '["b,]"]'}),
        ("a:x=", "a", {"x": ""}),
    ],
)
def test_a_component_is_a_name_and_options(text, name, options):
    assert parse_component(text) == (name, options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a component is NAME or NAME:key=value,...; got ''"),
        (":x=1", "a component is NAME"),
        ("a:", "a component is NAME"),
        ("a:width", "'width' in 'a:width' is not key=value; separate options by commas"),
        ("a:x=1,,y=2", "'' in 'a:x=1,,y=2' is not key=value"),
        ("a:x=1,x=2", "option x is given twice in 'a:x=1,x=2'"),
    ],
)
def test_a_malformed_component_is_an_error(text, message):
    with pytest.raises(UsageError, match=message):
        parse_component(text)


def test_commas_split_outside_brackets_only():
    assert list(split_commas("concat,late:weights=[1,2],sum")) == ["concat", "late:weights=[1,2]", "sum"]
    assert list(split_commas("")) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("[1, 'a']", [1, "a"]),
        ("{a = 1}", {"a": 1}),
        ('"3"', "3"),
        ("none", None),
        ('"none"', "none"),
        ("lstm", "lstm"),
        ("C:/a b", "C:/a b"),
        ("007", "007"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_a_value_is_toml_or_none_or_the_text_itself(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def _random_value(random_state, depth=2):
    """A random value of TOML, with strings of the characters that have a meaning in it."""
    kind = random_state.randrange(8 if depth else 6)
    if kind == 0:
        return random_state.choice([True, False])
    if kind == 1:
        return random_state.randrange(-1000, 1000)
    if kind == 2:
        return random_state.choice([0.1, -1e-30, 1e300, math.inf, -math.inf, random_state.random()])
    if kind < 6:
        signs = [
            "a",
            "B",
            "1",
            ".",
            "-",
            "_",
            ":",
            "=",
            ",",
            "#",
            " ",
            "'",
            '"',
            "\\",
            "[",
            "]",
            "{",
            "}",
            "é",
            "北",
            "𐀀",
        ]
        return "".join(
            random_state.choices(
                [*signs, "\n", "\t", "\x7f", "\x00", "none", "true", "\u2028"], k=random_state.randrange(5)
            )
        )
    if kind == 6:
        return [_random_value(random_state, depth - 1) for _ in range(random_state.randrange(3))]
    return {_random_key(random_state): _random_value(random_state, depth - 1) for _ in range(random_state.randrange(3))}


def _random_key(random_state):
    return "".join(random_state.choices(["k", "é", '"', ".", "=", " ", "𐀀"], k=random_state.randrange(4)))


def test_a_written_value_is_read_back_alone_and_in_a_component():
    random_state = random.Random(0)
    for value in [None, "", "none", "true", "0x10", *(_random_value(random_state) for _ in range(2000))]:
        text = write_value(value)
        assert parse_value(text) == value
        assert type(parse_value(text)) is type(value)
        name, options = parse_component(f"a:x={text},y=1")
        assert (name, parse_value(options["x"]), options["y"]) == ("a", value, "1")


def test_the_order_of_a_set_is_that_of_its_texts_and_not_of_the_process():
    names = [f"name {number:02}" for number in range(30)]
    assert write_value(frozenset(names)) == write_value(names)
    assert as_json({"parts": set(names), "file": Path("a")}) == {"parts": names, "file": "a"}


def _one(annotation, value, default=None):
    return validated("fusion f", {"o": value}, {"o": Option("o", annotation, default)})["o"]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Width, Text("3"), 3),
        (Width, 3, 3),
        (float, Text("3"), 3.0),
        (float | None, Text("none"), None),
        (float | None, Text("0.5"), 0.5),
        (bool, Text("true"), True),
        (str, Text("123"), "123"),
        (str, Text("1_0.50"), "1_0.50"),
        (str, Text("2024-01-01"), "2024-01-01"),
        (str | None, Text("none"), None),
        (Literal["none", "balanced"], Text("none"), "none"),
        (Literal["lstm", "gru"], Text('"gru"'), "gru"),
        (list[str], Text('["a", "b"]'), ["a", "b"]),
        (tuple[int, ...], Text("[1, 2]"), (1, 2)),
        (tuple[int, ...], [1, 2], (1, 2)),
        (Path, Text("a/b.txt"), Path("a/b.txt")),
        (Path | None, Text("none"), None),
        (int | Literal["auto"], Text("auto"), "auto"),
        (dict[str, float], Text("{a = 1}"), {"a": 1.0}),
        (frozenset[str], Text('["b", "a"]'), frozenset({"a", "b"})),
    ],
)
def test_the_annotation_decides_what_a_value_is(annotation, value, expected):
    found = _one(annotation, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Width, Text("zero"), "fusion f: option o takes int > 0; got zero"),
        (Width, Text("0"), "takes int > 0; got 0 .*greater than 0"),
        (Width, -1, "got -1"),
        (Width, Text("1.5"), "takes int > 0; got 1.5"),
        (Width, Text("true"), "takes int > 0; got true"),
        (Width, Text("none"), "got none"),
        (float, True, "takes float; got true"),
        (Share, Text("1"), "takes float >= 0, < 1; got 1"),
        (Share, math.nan, "got nan"),
        (Literal["lstm", "gru"], Text("rnn"), "takes lstm or gru; got rnn"),
        (bool, Text("maybe"), "takes bool; got maybe"),
        (list[int], Text("[1, 'a']"), "takes list of int; got .*item 1"),
        (tuple[float, ...], Text("[0.5, inf]"), "takes tuple of float; got .* \\(it is not finite\\)"),
        (dict[str, float], {"a": math.nan}, "takes dict of str to float; got .* \\(it is not finite\\)"),
        (list[str], Text("[a, b]"), r'takes list of str; got \[a, b\] \(it is not TOML; .* need quotes, \["a", "b"\]'),
    ],
)
def test_the_error_of_a_wrong_value_has_the_value_and_what_is_expected(annotation, value, message):
    with pytest.raises(UsageError, match=message):
        _one(annotation, value)


def test_defaults_are_filled_in_and_unknown_options_are_errors():
    schema = options_of(Component)
    assert validated("encoder e", {"cell": Text("gru")}, schema) == {"width": 64, "cell": "gru"}
    with pytest.raises(UsageError, match=r"encoder e has no option widht; did you mean width\? Possible: cell, width"):
        validated("encoder e", {"widht": 3}, schema)
    with pytest.raises(UsageError, match="head h has no option x; it has no options"):
        validated("head h", {"x": 3}, {})


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int"),
        (Width | None, "int > 0 or none"),
        (Share, "float >= 0, < 1"),
        (Tune, "frozen, lora, dora, full or partial:N"),
        (Literal["a", "b c"], 'a or "b c"'),
        (Mapping[str, list[int]], "Mapping of str to list of int"),
        (tuple[float, ...], "tuple of float"),
        (list, "list"),
    ],
)
def test_an_annotation_in_words(annotation, words):
    assert describe(annotation) == words


def test_a_choice_as_text_has_its_changed_options_only():
    chosen = Choice("encoder", "e", None, (Component,), {"width": 64, "cell": "gru"})
    assert str(chosen) == "e:cell=gru"
    assert str(Choice("encoder", "e", None, (Component,), {"width": 64, "cell": "lstm"})) == "e"
