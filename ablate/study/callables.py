"""The functions and classes that a study names: of a module, or given from Python.

One of a module is `package.module:callable`, and importing it runs code: whoever starts a study, or
checks its file, runs its code; whoever only reads a study that somebody else has run does not
(`imports_limited`).  One that no module holds, such as a notebook's, is `MODULE:NAME#DIGEST`, with
a digest of its source, so that a study is plain data and another function gives another
fingerprint.  That function stays in this process; an executor hands it to its workers.  Nothing of
it is stored.
"""

from __future__ import annotations

import ast
import dis
import enum
import hashlib
import importlib
import inspect
import json
import re
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, NamedTuple

from ablate.errors import FingerprintError, ParameterError, did_you_mean, error_text
from ablate.files.cache import cache_folder
from ablate.files.shown import show_name

_LOCK = threading.RLock()
# Top-level package -> the folder that it was imported from, for modules found next to a study file.
_FOUND_IN: dict[str, Path] = {}

Allowed = Callable[[str, Path | None], bool]
"""Whether a callable may be imported: its name, and the folder of its study file."""


class Limit(NamedTuple):
    """What may be imported, and `KEY NAME` of what was refused so far."""

    allowed: Allowed
    refused: list[str]


_LIMIT: ContextVar[Limit | None] = ContextVar("imports", default=None)


class NotImportedError(ParameterError):
    """A callable may not be imported here."""


@contextmanager
def imports_limited(allowed: Allowed = lambda _name, _base: False) -> Iterator[list[str]]:
    """Within, `import_callable` refuses what is not allowed; in this thread.

    Yields:
        `KEY NAME` of what was refused so far.
    """
    refused: list[str] = []
    token = _LIMIT.set(Limit(allowed, refused))
    try:
        yield refused
    finally:
        _LIMIT.reset(token)


def is_limited() -> bool:
    """Whether the caller stands within `imports_limited`."""
    return _LIMIT.get() is not None


def may_import(name: str, base: Path | None) -> bool:
    """Whether `import_callable` would try to import this name."""
    limit = _LIMIT.get()
    return limit is None or is_given(name) or limit.allowed(name, base)


def remember_import(name: str, base: Path) -> None:
    """Note in the cache that this user has run a study that imports this name."""
    file = _note(name, base)
    with suppress(OSError):  # a cache that cannot be written: the user is asked again
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def was_imported(name: str, base: Path | None) -> bool:
    """Whether this user has run a study that imports this name from this folder."""
    return base is not None and _note(name, base).exists()


def _note(name: str, base: Path) -> Path:
    digest = hashlib.sha256(f"{base.absolute()}\0{name}".encode()).hexdigest()
    return cache_folder() / "imported" / digest


def is_callable_name(name: str) -> bool:
    """Whether a name has the form `package.module:callable`."""
    module, colon, function = name.partition(":")
    return bool(module and colon and function)


_OF_TYPES = re.compile(
    r"(?:^|\.)(augment\.(?:types|families)|(?:robustness|confirm)\.suite)(?:\.|$)"
)


def own_types(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, str, str]]:
    """The distortions and corruptions of one's own that a study's plain data name.

    Yields:
        The path of each name, the key that it is a value of, such as `augment.types`, and the name.
    """
    if isinstance(data, Mapping | list):
        for at, value in data.items() if isinstance(data, Mapping) else enumerate(data):
            yield from own_types(value, (*path, at))
        return
    of = _OF_TYPES.search(".".join(map(str, path)))
    if of is not None and isinstance(data, str) and is_callable_name(data):
        yield path, of[1], data


def import_callable(where: str, spec: str, base: Path | None) -> Callable[..., Any]:
    """Import the callable that a study names.

    Importing runs the module's code.  Installed modules take precedence over those in `base`; two
    studies in two folders may each have a module of the same name.

    Args:
        where: dotted key of the study, for messages.
        spec: `package.module:callable`; the part after the colon may contain dots.  Or the name of
            a function given from Python (`name_function`).
        base: folder of the study file, searched too.

    Raises:
        ParameterError: if the module or the callable does not exist, or its import fails.
        NotImportedError: if it may not be imported here.
    """
    if is_given(spec):
        return given_function(where, spec)
    if (limit := _LIMIT.get()) is not None and not may_import(spec, base):
        limit.refused.append(f"{where} {spec}")
        raise NotImportedError(
            f"{where}: must be code of a study that you have run from its folder, got {spec}, "
            "which is not imported to read a study. Read that code, then add `trust=True`."
        )
    name, colon, attribute = spec.partition(":")
    parts = attribute.split(".")
    if not colon or not all(part.isidentifier() for part in (*name.split("."), *parts)):
        rule = f"must be package.module:callable, got {spec!r}"
        fix = "Write the module, a colon and the callable's name."
        raise ParameterError(f"{where}: {rule}. {fix}")
    module = _import(where, spec, name, base)
    held: Any = module
    for part in parts:
        if not hasattr(held, part):
            names = [other for other in dir(held) if not other.startswith("_")]
            file = show_name(getattr(module, "__file__", None) or name)
            rule = f"{name} must have {attribute}, got a module without it ({file})"
            raise ParameterError(f"{where}: {rule}. {did_you_mean(part, names)}")
        held = getattr(held, part)
    if not callable(held):
        rule = f"{spec} must be callable, got {type(held).__name__}"
        raise ParameterError(f"{where}: {rule}. Name a function or a class.")
    return held  # type: ignore[no-any-return]


def _import(where: str, spec: str, name: str, base: Path | None) -> ModuleType:
    """Import a module, of `base` too, and forget a namesake from another folder."""
    folder, top = None if base is None else base.absolute(), name.partition(".")[0]
    with _LOCK:
        if folder is not None and _FOUND_IN.get(top, folder) != folder:
            for loaded in [module for module in sys.modules if module.partition(".")[0] == top]:
                del sys.modules[loaded]
            del _FOUND_IN[top]
        if folder is not None:
            sys.path.append(str(folder))
            # A file that was written since Python last looked into the folder.
            importlib.invalidate_caches()
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            missing = getattr(error, "name", None) or ""
            is_absent = f"{name}.".startswith(f"{missing}.")
            if not (isinstance(error, ModuleNotFoundError) and is_absent):
                rule = f"{name} must be importable, got {error_text(error)}"
                fix = f"Fix it: python -c 'import {name}'."
                raise ParameterError(f"{where}: {rule}. {fix}") from error
            shown = "" if base is None else show_name(base)
            shown = "this folder" if shown == "." else shown
            place = f" or put {name.replace('.', '/')}.py into {shown}" if shown else ""
            rule = f"must name a module that can be imported, got {spec!r} and no module {missing}"
            raise ParameterError(f"{where}: {rule}. Install it{place}.") from error
        finally:
            if folder is not None:
                sys.path.remove(str(folder))
                module = sys.modules.get(top)
                folders = [*getattr(module, "__path__", [])]
                inside = folders[0] if folders else getattr(module, "__file__", None)
                if inside is not None and Path(inside).parent == folder:
                    _FOUND_IN[top] = folder


# -- The code of a callable: its file, and what that imports of its own folder or package ---


_DIGESTS: dict[str, str] = {}
"""Module -> the digest of the code that it was imported from."""


def import_current(where: str, spec: str, base: Path | None) -> Callable[..., Any]:
    """As `import_callable`, from the current content of its files."""
    found = import_callable(where, spec, base)
    if is_given(spec):
        return found
    modules, name = _modules_of(spec, found), spec.partition(":")[0]
    digest = _digest_of(modules)
    if _DIGESTS.get(name, digest) != digest:  # edited since, as in a notebook
        for module in modules:
            del sys.modules[module]
        found = import_callable(where, spec, base)
    _DIGESTS[name] = digest
    return found


def code_digest(where: str, spec: str, base: Path | None) -> str:
    """sha256 of a callable's code: of the module that is named, of that which defines it, and of
    the modules in their folders and packages that these import, but within functions.

    Empty if there are no files, or its name has a digest.

    Raises:
        ParameterError: if it cannot be imported.
    """
    found = import_callable(where, spec, base)
    return "" if is_given(spec) else _digest_of(_modules_of(spec, found))


def _modules_of(spec: str, found: Callable[..., Any]) -> dict[str, Path]:
    """The modules that are a callable's code, with their files."""
    named, files = spec.partition(":")[0], dict[str, Path]()
    for first in (named, str(getattr(inspect.unwrap(found), "__module__", named))):
        waiting, home = [first], _source_file(first)
        while waiting:
            name = waiting.pop()
            file = None if name in files else _source_file(name)
            if home is None or file is None:
                continue
            if file.parent == home.parent or name.partition(".")[0] == first.partition(".")[0]:
                files[name] = file
                waiting += _imported_by(file, sys.modules[name].__package__ or "")
    return files


def _source_file(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file is not None and file.endswith(".py") else None


def _imported_by(file: Path, package: str) -> Iterator[str]:
    """The modules that a file imports; some names are of what is in a module."""
    nodes: list[ast.AST] = [ast.parse(file.read_bytes())]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            start = above[: len(above) + 1 - node.level] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes += ast.iter_child_nodes(node)


def _digest_of(modules: Mapping[str, Path]) -> str:
    contents = [modules[name].read_bytes() for name in sorted(modules)]
    return hashlib.sha256(b"\0".join(contents)).hexdigest() if contents else ""


# -- Functions that no module holds ---------------------------------------------------------


_DIGITS = 12
_NAME = re.compile(rf"[\w.]+:[\w.<>]+#[0-9a-f]{{{_DIGITS}}}")

_GIVEN: dict[str, Callable[..., Any]] = {}
"""The functions of this process, by name."""


def is_given(name: str) -> bool:
    """Whether a name is that of a function given from Python."""
    return _NAME.fullmatch(name) is not None


def name_function(function: Callable[..., Any]) -> str:
    """The name of a function or class in a study: `package.module:function`, or with a digest of
    its source where no module holds it.

    Raises:
        ParameterError: if it cannot be named; the message has no key: `rule, got X. Fix.`
    """
    if not isinstance(function, types.FunctionType | type):
        kind = f"{type(function).__name__} {getattr(function, '__name__', '')}".rstrip()
        raise ParameterError(
            f"must be a function or a class written in Python, got {kind}. "
            "Write a function with def that calls it."
        )
    if _is_in_a_module(function):
        return f"{function.__module__}:{function.__qualname__}"
    module = re.sub(r"[^\w.]", "", function.__module__ or "__main__")
    name = f"{module}:{function.__qualname__}#{source_digest(function)}"
    _GIVEN[name] = function
    return name


def given_function(where: str, name: str) -> Callable[..., Any]:
    """A function that was given from Python in this process.

    Args:
        where: dotted key of the study, for messages.

    Raises:
        ParameterError: if it was not.
    """
    if name not in _GIVEN:
        raise ParameterError(
            f"{where}: must be a function that this process was given, got {name}, which is in no "
            "module. Go on from Python with the same function, as by ablate.resume(study)."
        )
    return _GIVEN[name]


def given_functions(data: Any, where: str = "") -> dict[str, Callable[..., Any]]:
    """The functions that a study's plain data name, as workers need them.

    Args:
        where: dotted key of the data, for messages.

    Raises:
        ParameterError: if one was not given in this process, so that the study must be resumed from
            Python.
        FingerprintError: if one, or something that it uses, has changed since it was given.
    """
    parts: list[tuple[str, Any]] = []
    if isinstance(data, Mapping):
        parts = [(f"{where}.{key}" if where else str(key), value) for key, value in data.items()]
    elif isinstance(data, Sequence) and not isinstance(data, str):
        parts = [(f"{where}[{i}]", value) for i, value in enumerate(data)]
    elif isinstance(data, str) and is_given(data):
        function = given_function(where, data)
        if source_digest(function) != data.rpartition("#")[2]:
            raise FingerprintError(
                f"{where}: a function must be as it was when the study was made, got "
                f"{function.__qualname__}, which uses other values now. Make the study again."
            )
        return {data: function}
    return {name: f for at, value in parts for name, f in given_functions(value, at).items()}


def keep_functions(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Take the functions that came with a job."""
    _GIVEN.update(functions)


def _is_in_a_module(thing: Any) -> bool:
    """Whether another process can import it by its name."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if module in (None, "__main__") or name is None or module not in sys.modules:
        return False
    if not all(part.isidentifier() for part in module.split(".")):
        return False  # of `runpy`, for one
    held: Any = sys.modules[module]
    for part in name.split("."):
        held = getattr(held, part, None)
    return held is thing


# -- What a function is: its source, and what it uses of what no module holds ------------------

_AS_TEXT = (type(None), bool, int, float, complex, str, bytes, range, slice, PurePath, enum.Enum)
# Described in full by their text too.
_NAMES_AS_TEXT = ("torch.device", "torch.dtype", "torch.Size", "torch.layout", "numpy.dtype")
_OF_EVERY_CLASS = ("__dict__", "__weakref__", "__module__", "__doc__", "__qualname__")
_MADE_FOR_CLASSES = ("_abc_", "__dataclass", "__match_args__", "__static", "__firstlineno__")


def source_digest(function: Callable[..., Any]) -> str:
    """12 hex digits of the source of a function or class, of the functions and classes outside of
    modules that it uses, and of the values.

    Modules and what they hold count by name.

    Raises:
        ParameterError: if something has no source, or a value has no content that can be compared
            (`rule, got X. Fix.`).
    """
    try:
        description = _describe(function, function.__qualname__, [])
    except RecursionError:
        what = "which uses a list or mapping that contains itself"
        raise _unknown(function.__qualname__, what, "Make it inside the function") from None
    text = json.dumps(description, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _describe(thing: Any, name: str, seen: list[Any]) -> Any:
    """A thing as JSON; a function or class that was seen before is a number."""
    if isinstance(thing, types.ModuleType):
        return ["module", thing.__name__]
    if _is_in_a_module(thing):
        return ["in", thing.__module__, getattr(thing, "__qualname__", thing.__name__)]
    if not isinstance(thing, types.FunctionType | type):
        return _describe_value(thing, name, seen)
    if thing in seen:
        return ["seen", seen.index(thing)]
    seen.append(thing)
    if isinstance(thing, types.FunctionType):
        return _describe_function(thing, name, seen)
    bases = [_describe(base, base.__qualname__, seen) for base in thing.__bases__]
    members = {
        member: _describe(_member(member, value), f"{name}.{member}", seen)
        for member, value in vars(thing).items()
        if member not in _OF_EVERY_CLASS and not member.startswith(_MADE_FOR_CLASSES)
    }
    return ["class", bases, members]


def _describe_function(function: types.FunctionType, name: str, seen: list[Any]) -> Any:
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise _unknown(name, "without source", "Write it with def in a file or a cell") from error
    values, code = function.__globals__, function.__code__
    read = {used: values[used] for used in _global_names(code) if used in values}
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    empty = types.CellType()  # one that is not set yet
    read |= {variable: cell.cell_contents for variable, cell in cells if cell != empty}
    used = {variable: _describe(value, variable, seen) for variable, value in read.items()}
    defaults = [function.__defaults__, function.__kwdefaults__]
    return ["function", source, used, _describe(defaults, name, seen)]


def _describe_value(value: Any, name: str, seen: list[Any]) -> Any:
    kind = type(value)
    is_text = f"{kind.__module__}.{kind.__qualname__}" in _NAMES_AS_TEXT
    if isinstance(value, _AS_TEXT) or is_text or kind.__module__ == "numpy.dtypes":
        return [kind.__qualname__, value if isinstance(value, str) else repr(value)]
    if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
        return ["map", [_describe(list(pair), name, seen) for pair in value.items()]]
    if kind in (list, tuple):
        return [kind.__qualname__, [_describe(item, name, seen) for item in value]]
    if kind in (set, frozenset):
        return ["set", sorted(json.dumps(_describe(item, name, seen)) for item in value)]
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return [_describe(kind, kind.__qualname__, seen), _describe(parts, name, seen)]
    if kind.__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    is_array = type(value).__module__ == "numpy" and hasattr(value, "tobytes")
    if is_array and not value.dtype.hasobject:
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return ["array", str(value.dtype), value.shape, digest]
    what = f"an object of {kind.__module__}.{kind.__qualname__}, whose content cannot be compared"
    raise _unknown(name, what, "Make it inside the function, or write it into a module")


def _member(name: str, value: Any) -> Any:
    """What a member of a class adds to its source."""
    if name == "__annotations__":
        return str(value)
    value = getattr(value, "__func__", value)
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, types.FunctionType):
        is_generated = inspect.unwrap(value).__code__.co_filename == "<string>"
        return None if is_generated else value  # by dataclass, from the annotations
    is_slot = isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
    return None if is_slot else value


def _global_names(code: types.CodeType) -> Iterator[str]:
    """Names that a function, and the functions in it, read from its module, in their order."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _unknown(name: str, what: str, fix: str) -> ParameterError:
    rule = f"must have a fingerprint, got {name}, {what}"
    why = "a resumed study could not tell whether it has changed"
    return ParameterError(f"{rule}: {why}. {fix}.")
