"""Functions that a study was given from Python and that no module holds, such as a notebook's.

The study names one as `MODULE:NAME#DIGEST`, with a digest of its source, so that a study is plain
data and another function gives another fingerprint.  The function itself stays in this process; an
executor hands it to its workers.  Nothing of it is stored.
"""

from __future__ import annotations

import dis
import enum
import hashlib
import inspect
import json
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from ablate.errors import FingerprintError, ParameterError

_DIGITS = 12
_NAME = re.compile(rf"[\w.]+:[\w.<>]+#[0-9a-f]{{{_DIGITS}}}")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, PurePath, enum.Enum)
# Described in full by their text.
_DTYPES = "numpy.dtypes"
_AS_TEXT = ("torch.device", "torch.dtype", "torch.Size", "torch.layout", "numpy.dtype")
_OF_EVERY_CLASS = ("__dict__", "__weakref__", "__module__", "__doc__", "__qualname__")
_MADE_FOR_CLASSES = ("_abc_", "__dataclass", "__match_args__", "__static", "__firstlineno__")

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
        raise ParameterError(
            f"must be a function or a class written in Python, got {type(function).__name__} "
            f"{getattr(function, '__name__', '')}".rstrip()
            + ". Write a function with def that calls it."
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
        raise ParameterError(f"{where}: {_absent(name)}")
    return _GIVEN[name]


def given_functions(data: Any) -> dict[str, Callable[..., Any]]:
    """The functions that a study's plain data name, as workers need them.

    Raises:
        ParameterError: if one was not given in this process, so that the study must be resumed from
            Python.
        FingerprintError: if one, or something that it uses, has changed since it was given.
    """
    found: dict[str, Callable[..., Any]] = {}
    for where, name in _texts(data, ""):
        if not is_given(name):
            continue
        function = given_function(where, name)
        if source_digest(function) != name.rpartition("#")[2]:
            raise FingerprintError(
                f"{where}: a function must be as it was when the study was made, got "
                f"{function.__qualname__}, which uses other values now. Make the study again."
            )
        found[name] = function
    return found


def keep_functions(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Take the functions that came with a job."""
    _GIVEN.update(functions)


def _absent(name: str) -> str:
    return (
        f"must be a function that this process was given, got {name}, which is in no module. "
        "Go on from Python with the same function, as by ablate.resume(study)."
    )


def _texts(data: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, str):
        yield where, data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _texts(value, f"{where}.{key}" if where else str(key))
    elif isinstance(data, Sequence):
        for i, value in enumerate(data):
            yield from _texts(value, f"{where}[{i}]")


def _is_in_a_module(thing: Any) -> bool:
    """Whether another process can import it by its name."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if module in (None, "__main__") or name is None or module not in sys.modules:
        return False
    if not all(part.isidentifier() for part in module.split(".")):
        return False  # of `runpy`, for one
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


# -- What a function is: its source, and what it uses of what no module holds ------------------


def source_digest(function: Callable[..., Any]) -> str:
    """12 hex digits of the source of a function or class, of the functions and classes outside of
    modules that it uses, and of the values.

    Modules and what they hold count by name.

    Raises:
        ParameterError: if something has no source, or a value has no content that can be compared
            (`rule, got X. Fix.`).
    """
    try:
        found = _Describer().describe(function, function.__qualname__)
    except RecursionError:
        what = "which uses a list or mapping that contains itself"
        raise _unknown(function.__qualname__, what, "Make it inside the function") from None
    text = json.dumps(found, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


class _Describer:
    """Describes things as JSON; a function or class that was seen before is a number."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def describe(self, thing: Any, name: str) -> Any:
        if isinstance(thing, types.ModuleType):
            return ["module", thing.__name__]
        if _is_in_a_module(thing):
            return ["in", thing.__module__, getattr(thing, "__qualname__", thing.__name__)]
        if not isinstance(thing, types.FunctionType | type):
            return self._value(thing, name)
        if thing in self._seen:
            return ["seen", self._seen.index(thing)]
        self._seen.append(thing)
        return self._class(thing, name) if isinstance(thing, type) else self._function(thing, name)

    def _function(self, function: types.FunctionType, name: str) -> Any:
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError) as error:
            raise _unknown(name, "without source", "Write it with def in a file or a cell") from (
                error
            )
        used = {
            one: self.describe(function.__globals__[one], one)
            for one in _global_names(function.__code__)
            if one in function.__globals__
        }
        for one, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            if cell != types.CellType():  # an empty one is not set yet
                used[one] = self.describe(cell.cell_contents, one)
        defaults = [function.__defaults__, function.__kwdefaults__]
        return ["function", source, used, self.describe(defaults, name)]

    def _class(self, kind: type, name: str) -> Any:
        bases = [self.describe(base, base.__qualname__) for base in kind.__bases__]
        members = {
            member: self.describe(_member(member, value), f"{name}.{member}")
            for member, value in vars(kind).items()
            if member not in _OF_EVERY_CLASS and not member.startswith(_MADE_FOR_CLASSES)
        }
        return ["class", bases, members]

    def _value(self, value: Any, name: str) -> Any:
        kind = type(value)
        is_text = f"{kind.__module__}.{kind.__qualname__}" in _AS_TEXT
        if isinstance(value, _PLAIN) or is_text or kind.__module__ == _DTYPES:
            return [kind.__qualname__, value if isinstance(value, str) else repr(value)]
        if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
            return ["map", [self.describe(list(pair), name) for pair in value.items()]]
        if kind in (list, tuple):
            return [kind.__qualname__, [self.describe(one, name) for one in value]]
        if kind in (set, frozenset):
            return ["set", sorted(json.dumps(self.describe(one, name)) for one in value)]
        content = _array(value)
        if is_dataclass(value):
            parts = {one.name: getattr(value, one.name) for one in fields(value)}
            content = [self.describe(kind, kind.__qualname__), self.describe(parts, name)]
        if content is not None:
            return content
        raise _unknown(
            name,
            f"an object of {kind.__module__}.{kind.__qualname__}, whose content cannot be compared",
            "Make it inside the function, or write it into a module",
        )


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


def _array(value: Any) -> Any:
    """An array's or tensor's bytes; None for other things."""
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    if type(value).__module__ != "numpy" or not hasattr(value, "tobytes") or value.dtype.hasobject:
        return None
    return ["array", str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest()]


def _global_names(code: types.CodeType) -> list[str]:
    """Names that a function, and the functions in it, read from its module, in their order."""
    names = [str(one.argval) for one in dis.get_instructions(code) if one.opname in _READS_GLOBAL]
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return list(dict.fromkeys([*names, *(name for one in inner for name in _global_names(one))]))


_READS_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")


def _unknown(name: str, what: str, fix: str) -> ParameterError:
    return ParameterError(
        f"must have a fingerprint, got {name}, {what}: a resumed study could not tell whether it "
        f"has changed. {fix}."
    )
