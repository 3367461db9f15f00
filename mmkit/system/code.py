"""The code of a component, known by its content, wherever it can change without a new version.

What pip has put into `site-packages` is known by its version. Everything else can be edited: a distribution that is
installed editable, a folder on the path, a script, a notebook. Two things are then hashed. The files: those of the
whole package, or of the module and of the modules of one's own that it imports. And what has been loaded: a file may
have been edited since, and a notebook has none. Of a notebook or a script that also means the values that its code
reads, such as a table of settings, which no file says: another cell or another argument has set them.

Nothing here is called at import, or when components are only listed.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import pickle
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmkit.system.files import utf8
from mmkit.system.hashing import digest, fingerprint

CORE = "mmkit"
ASIDE = ("cli", "report", "scaffold", "testing")
"""Rooms of mmkit that no record and no feature depends on."""
_BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
SUFFIXES = (".py", ".so", ".pyd", ".json", ".toml", ".txt", ".c", ".cpp", ".cu")
_CONSTANTS = (str, bytes, int, float, complex, bool, type(None), tuple, frozenset, np.ndarray, Tensor)


def code_of(*components: type) -> str | None:
    """A hash of the code of classes, bases included; empty where all of it is known by versions.

    None where code is neither in a file nor in functions that can be looked into: it could change unseen.
    """
    try:
        found = sorted(filter(None, map(_code_of_class, components)))
    except _HiddenError:
        return None
    return fingerprint(found) if found else ""


@functools.cache
def code_of_core() -> str:
    """A hash of mmkit's own files, but for those in `ASIDE`; empty where its version says all."""
    folder = Path(__file__).resolve().parent.parent
    if _is_installed(str(folder)):
        return ""
    return _of_files(file for file in _files_of(folder) if file.relative_to(folder).parts[0] not in ASIDE)


class _HiddenError(Exception):
    """Code that cannot be seen."""


def _code_of_class(component: type) -> str:
    """A hash of what a class is made of, and of the code of one's own that it reaches; empty where there is none."""
    reached = _Reached()
    reached.take(component)
    if not reached.modules:
        return ""
    files = _of_files(_files_of_modules(reached.modules))
    return fingerprint([files, sorted(reached.loaded), sorted(reached.versions)])


class _Reached:
    """The code that can be edited, from a class on, by the names that its functions read."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.versions: set[str] = set()
        self.modules: set[str] = set()
        self._seen: dict[int, Any] = {}  # the things themselves, so that no other gets the id of one that is gone

    def take(self, thing: Any) -> None:
        """Take a class, function or module, and what it reaches."""
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, types.ModuleType):
            if self._is_own(thing.__name__):
                self._module(thing.__name__)
        elif isinstance(thing, type):
            for base in thing.__mro__:
                if self._is_own(base.__module__):
                    self._module(base.__module__)
                    self._class(base)
        elif isinstance(thing, types.FunctionType):
            if self._is_own(thing.__module__ or ""):
                self._module(thing.__module__)
                self._function(thing)
        elif "__wrapped__" in getattr(thing, "__dict__", {}):  # a function that keeps its results
            self.take(thing.__wrapped__)
        else:
            self.take(type(thing))

    def _is_own(self, module: str) -> bool:
        """Whether a module is code that can be edited; the version of one that is installed is taken down."""
        top = module.partition(".")[0]
        if top == "__main__":  # a script or a notebook, whoever runs it
            return True
        if top in sys.stdlib_module_names | {"", CORE}:
            return False
        found = sys.modules.get(module)
        if found is None:
            return bool(module)
        file = getattr(found, "__file__", None)
        if file is None or not _is_installed(file):
            return True
        self.versions.add(f"{top} {_version(top)}")
        return False

    def _module(self, name: str) -> None:
        if name in self.modules:
            return
        self.modules.add(name)
        for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
            if isinstance(value, types.ModuleType):
                self.take(value)
            elif isinstance(value, type | types.FunctionType) and self._is_own(value.__module__ or ""):
                self._module(value.__module__)

    def _class(self, component: type) -> None:
        hidden, live = _file_of(component.__module__) is None, _is_live(component.__module__)
        written = _written_by(component) if live else frozenset()
        for name, value in vars(component).items():
            inner = _within(value)
            if isinstance(inner, property):
                for function in filter(None, (inner.fget, inner.fset, inner.fdel)):
                    self.take(function)
            elif isinstance(inner, types.FunctionType | type):
                self.take(inner)
            elif not live or name.startswith("__") or name in written:
                continue
            elif hidden and callable(inner) and not isinstance(inner, _CONSTANTS):
                raise _HiddenError(f"{component.__qualname__}.{name}")
            else:
                self._value(f"{component.__qualname__}.{name}", inner, live)

    def _function(self, function: types.FunctionType) -> None:
        self.loaded.add(digest(_of_code(function.__code__)))
        named = {name for code in _codes(function.__code__) for name in _globals_of(code)}
        held = {name: function.__globals__[name] for name in sorted(named) if name in function.__globals__}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not assigned yet
                held[name] = cell.cell_contents
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        held |= {f"default {number}": value for number, value in enumerate(defaults)}
        live = _is_live(function.__module__)
        for name, value in held.items():
            self._value(f"{function.__qualname__} {name}", value, live)

    def _value(self, name: str, value: Any, live: bool) -> None:
        """Take what code reads by a name: a constant, and of what is live all that it holds."""
        if isinstance(value, types.ModuleType | types.FunctionType | type):
            self.take(value)
            return
        if live or isinstance(value, _CONSTANTS):
            with contextlib.suppress(TypeError, RecursionError):  # it holds other things, say classes, or itself
                self.loaded.add(digest([name, value]))
                return
        if not live:
            for part in value if isinstance(value, tuple) else (value,):
                self.take(part)
        elif id(value) not in self._seen:
            self.take(value)
            for number, part in enumerate(self._parts(value)):
                self._value(f"{name} {number}", part, live)

    def _parts(self, value: Any) -> Iterable[Any]:
        """What a value holds; of an object of others' code, its bytes as pickle has them."""
        if isinstance(value, Mapping):
            return [part for pair in value.items() for part in pair]
        if isinstance(value, Sequence | Set):
            return value
        if isinstance(value, functools.partial):
            return value.func, value.args, value.keywords
        if isinstance(value, nn.Module) or (self._is_own(type(value).__module__) and hasattr(value, "__dict__")):
            return [part for pair in vars(value).items() for part in pair]
        with contextlib.suppress(Exception):  # what cannot be pickled holds no data: a lock, an open file
            return (pickle.dumps(value),)
        return ()


def _within(value: Any) -> Any:
    """The function within a class method, a cached property or a function that keeps its results."""
    if isinstance(value, classmethod | staticmethod):
        return value.__func__
    if isinstance(value, functools.cached_property):
        return value.func
    return value if isinstance(value, types.FunctionType | type) else getattr(value, "__wrapped__", value)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function, and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _globals_of(code: types.CodeType) -> set[str]:
    """The names that code reads from its module; `co_names` has those of attributes, too."""
    return {one.argval for one in dis.get_instructions(code) if one.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}


def _written_by(component: type) -> frozenset[str]:
    """The attributes that a class itself writes, such as a count of its calls: what it makes, not what it is given."""
    inner = map(_within, vars(component).values())
    codes = [code for one in inner if isinstance(one, types.FunctionType) for code in _codes(one.__code__)]
    return frozenset(one.argval for code in codes for one in dis.get_instructions(code) if one.opname == "STORE_ATTR")


def _of_code(code: types.CodeType) -> list[Any]:
    """What a function does, without the place where it stands."""
    constants = list(map(_constant, code.co_consts))
    return [code.co_name, code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, constants]


def _constant(value: object) -> Any:
    """A constant that a function holds, as a value that can be hashed."""
    if isinstance(value, types.CodeType):
        return _of_code(value)
    if isinstance(value, tuple):
        return list(map(_constant, value))
    return repr(value) if value is Ellipsis or isinstance(value, slice) else value


def _is_live(module: str) -> bool:
    """Whether the values of a module are set by whoever runs it, not by its file: a notebook, a script."""
    return module.partition(".")[0] == "__main__" or _file_of(module) is None


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_file() and not _is_installed(file) else None


def _files_of_modules(names: Iterable[str]) -> Iterator[Path]:
    """The files of modules; of a module that belongs to a distribution those of its whole package."""
    for name in names:
        file, folder = _file_of(name), _package(name)
        if folder is not None and _is_of_a_distribution(folder):
            yield from _files_of(folder)
        elif file is not None:
            yield file


def _is_of_a_distribution(package: Path) -> bool:
    """Whether a package lies in the source of a distribution, beside its build file or one folder below."""
    return any((above / file).is_file() for above in package.parents[:2] for file in _BUILD_FILES)


def _package(module: str) -> Path | None:
    """The folder of the package at the top of a module's name."""
    file = getattr(sys.modules.get(module.partition(".")[0]), "__file__", None)
    return Path(file).parent if file and Path(file).name == "__init__.py" else None


def _files_of(folder: Path) -> Iterator[Path]:
    return (
        file
        for file in folder.rglob("*")
        if file.suffix in SUFFIXES and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _of_files(files: Iterable[Path]) -> str:
    """A hash of the contents of files, whatever the folder that they stand in."""
    state = blake2b(digest_size=16)
    for file in sorted(set(files)):
        content = file.read_bytes()
        state.update(utf8(f"{file.parent.name}/{file.name} {len(content)}:"))
        state.update(content)
    return state.hexdigest()


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    found = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    return tuple(str(Path(path).resolve()) + "/" for path in found if path)


def _is_installed(path: str) -> bool:
    """Whether a file stands where pip puts what it installs as it was built."""
    resolved = str(Path(path).resolve())
    inside = any(part in {"site-packages", "dist-packages"} for part in Path(path).parts)
    return inside or resolved.startswith(_installed_folders())


@functools.cache
def _version(top: str) -> str:
    """The version of an installed package, by what it says itself or by its distribution."""
    own = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(own, str):
        return own
    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return ""
