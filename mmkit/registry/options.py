"""The options of components: read from signatures, checked against annotations.

The keyword-only parameters of a constructor are its options, and their lines under `Args:` are their help. Nothing
here imports torch; pydantic is imported when the first value is checked, because it is slow to import.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from mmkit.errors import ContractError, UsageError, one_of
from mmkit.plugin import Component, ForTraining, Spec
from mmkit.registry.notation import Text, parse_component, parse_value, split_commas, split_components, write_value

__all__ = [
    "Choice",
    "Option",
    "Text",
    "components_in",
    "describe",
    "options_of",
    "parse_component",
    "parse_value",
    "split_commas",
    "split_components",
    "validated",
    "write_value",
]


class Option(NamedTuple):
    """One option of a component.

    Args:
        name: as the user writes it.
        annotation: the evaluated type, with the ranges of `Annotated`.
        default: the value if none is given.
        help: its line under `Args:`.
    """

    name: str
    annotation: Any
    default: object
    help: str = ""


def options_of(*factories: type) -> dict[str, Option]:
    """The options of several constructors together, by name. The first that has an option describes it.

    Args:
        factories: classes, such as an encoder and the transform that it reads.

    Raises:
        ContractError: an option has no default or no annotation, or its annotation cannot be evaluated.
    """
    options: dict[str, Option] = {}
    for factory in factories:
        for name, option in _own_options(factory).items():
            options.setdefault(name, option)
    return options


@cache
def _own_options(factory: type) -> dict[str, Option]:
    init: Any = factory.__init__  # type: ignore[misc]  # only its signature is read
    parameters = inspect.signature(init).parameters.values()
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    if not named:
        return {}
    where = f"{factory.__module__}.{factory.__qualname__}"
    scope = getattr(init, "__globals__", {})
    helps = _helps(factory)
    options = {}
    for parameter in named:
        annotation = parameter.annotation
        if parameter.default is parameter.empty or annotation is parameter.empty:
            raise ContractError(f"{where}: option {parameter.name} needs an annotation and a default")
        if isinstance(annotation, str):
            try:
                # Its own names first: a plugin may call something of its own Pattern, or Text.
                annotation = eval(annotation, vars(typing) | scope)  # noqa: S307 (the component's own source)
            except Exception as error:
                raise ContractError(
                    f"{where}: the annotation of option {parameter.name}, {annotation!r}, cannot be evaluated "
                    f"({error}); import its names at module level, not under TYPE_CHECKING"
                ) from error
        options[parameter.name] = Option(parameter.name, annotation, parameter.default, helps.get(parameter.name, ""))
    return options


def _helps(factory: type) -> dict[str, str]:
    import docstring_parser  # noqa: PLC0415 (a quarter of the time that listing plugins takes)

    helps: dict[str, str] = {}
    for owner in reversed(factory.__mro__):
        for text in (owner.__dict__.get("__doc__"), getattr(owner.__dict__.get("__init__"), "__doc__", None)):
            if text and "Args:" in text:
                parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)
                helps |= {p.arg_name: " ".join((p.description or "").split()) for p in parsed.params}
    return helps


def validated(owner: str, given: Mapping[str, object], schema: Mapping[str, Option]) -> dict[str, object]:
    """All options of a schema by name: given values, checked against the annotations, and defaults.

    Args:
        owner: the component, for messages: "fusion attention".
        given: values by name; a `Text` is read as TOML first.
        schema: from `options_of`.

    Raises:
        UsageError: an option that is not in `schema`, or a value that its annotation does not allow.
    """
    for name in given:
        if name not in schema:
            what = one_of(schema, name) if schema else "it has no options"
            raise UsageError(f"{owner} has no option {name}; {what}")
    return {
        name: _checked(owner, option, given[name]) if name in given else option.default
        for name, option in schema.items()
    }


def components_in(options: Mapping[str, object], schema: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    """Kind and name of each component that options name."""
    for name, option in schema.items():
        for part in parts_of(option.annotation):
            if isinstance(part, Component) and isinstance(value := options[name], str):
                yield part.kind, value


def parts_of(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of, nested parts and what stands beside a type included."""
    for part in typing.get_args(annotation):
        yield part
        yield from parts_of(part)


def _checked(owner: str, option: Option, value: object) -> object:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 (0.2 s, and only a chosen component pays it)

    adapter: TypeAdapter[object] = TypeAdapter(option.annotation)
    readings = [value]
    if isinstance(value, Text):
        parsed = parse_value(value)
        readings = [parsed] if isinstance(parsed, str) else [parsed, str(value)]
    reason = ""
    for reading in readings:
        # Strict first. Then pydantic may take [1] for a tuple, but not True for 1.
        for strict in (True, False):
            try:
                if strict or not isinstance(reading, bool) or describe(option.annotation) == "bool":
                    read = adapter.validate_python(reading, strict=strict)
                    if not _finite(read):
                        reason = "it is not finite"  # and JSON, in which options are recorded, has no such number
                        continue
                    return _at_home(read)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                if first["type"] == "predicate_failed":  # its message names a function, and ours the allowed values
                    continue
                place = ".".join(str(part) for part in first["loc"] if isinstance(part, int))
                reason = reason or f"{f'item {place}: ' if place else ''}{first['msg']}"
    shown = str(value) if isinstance(value, Text) else write_value(value)
    if isinstance(value, Text) and value[:1] in {"[", "{"} and isinstance(readings[0], str):
        reason = 'it is not TOML; within brackets strings need quotes, ["a", "b"]'
    why = f" ({reason[:1].lower()}{reason[1:]})" if reason else ""
    raise UsageError(f"{owner}: option {option.name} takes {describe(option.annotation)}; got {shown}{why}")


def _finite(value: object) -> bool:
    """Whether a value has no number in it that is not finite."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _at_home(value: object) -> object:
    """The value; of a path that begins with `~/`, which no shell expands in KEY=~/X, that in the user's home folder."""
    if isinstance(value, str) and "~/" in value:
        return re.sub(r"(^|:)~(?=/)", lambda found: found[1] + os.path.expanduser("~"), value)  # noqa: PTH111
    return value


_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >=", "max_length": "length <="}


def describe(annotation: Any) -> str:
    """An annotation in words for users.

    >>> import annotated_types
    >>> describe(Annotated[int, annotated_types.Gt(0)] | None), describe(Literal["lstm", "gru"]), describe(list[str])
    ('int > 0 or none', 'lstm or gru', 'list of str')
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        documented = next(
            (part.documentation for part in arguments[1:] if hasattr(part, "documentation")), ""
        )  # by `doc`
        bounds = [
            f"{sign} {getattr(part, field)}"
            for part in arguments[1:]
            for field, sign in _SIGNS.items()
            if getattr(part, field, None) is not None
        ]
        return documented or " ".join([describe(arguments[0]), ", ".join(bounds)]).strip()
    if origin is Literal:
        return " or ".join(write_value(value) for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(describe(part) for part in arguments)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is not None and arguments:
        parts = [describe(part) for part in arguments if part is not Ellipsis]
        return f"{_name(origin)} of {' to '.join(parts) if issubclass(origin, Mapping) else ', '.join(parts)}"
    return _name(annotation)


def _name(annotation: Any) -> str:
    return str(getattr(annotation, "__name__", annotation))


@dataclass(frozen=True)
class Choice:
    """A chosen component with the values of all its options.

    Args:
        kind: "encoder", "fusion", ...
        name: as recorded: the bare name, "distribution/name", or the qualified name of a class.
        spec: of a registered component; None for a class that no plugin registers.
        factories: the component's class, then that of the transform that it `reads`, if any.
        options: values of all options, defaults included.
        distribution: the distribution that registers it, with its version; empty for a class that no plugin registers.
        inner: choices of the components that its options name.
        given: the names of the options that the user gave.
    """

    kind: str
    name: str
    spec: Spec | None
    factories: tuple[type, ...]
    options: dict[str, object]
    distribution: dict[str, str] = field(default_factory=dict)
    inner: tuple[Choice, ...] = ()
    given: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def plugins(self) -> dict[str, str]:
        """The distributions, with their versions, of the component and of those that its options name."""
        return {**self.distribution, **{name: v for choice in self.inner for name, v in choice.plugins.items()}}

    @property
    def whole(self) -> list[Choice]:
        """The choice, and those of the components that its options name, theirs included."""
        return [self, *(choice for inner in self.inner for choice in inner.whole)]

    @property
    def component(self) -> type:
        """The component's class."""
        return self.factories[0]

    def part(self, factory: type) -> dict[str, Any]:
        """The options that the constructor of `factory` takes."""
        return {name: self.options[name] for name in options_of(factory)}

    @property
    def changed(self) -> dict[str, object]:
        """The options that differ from their defaults."""
        schema = options_of(*self.factories)
        return {k: v for k, v in self.options.items() if k not in schema or v != schema[k].default}

    @property
    def feature_options(self) -> dict[str, object]:
        """The options that the features of a frozen encoder depend on: all but those of training."""
        schema = options_of(*self.factories)
        return {
            name: value
            for name, value in self.options.items()
            if name not in schema
            or not any(isinstance(part, ForTraining) for part in parts_of(schema[name].annotation))
        }

    def __str__(self) -> str:
        """The choice as "name:key=value,..." with changed options only, in the notation that `choose` takes."""
        options = ",".join(f"{name}={write_value(value)}" for name, value in self.changed.items())
        return f"{self.name}:{options}" if options else self.name
