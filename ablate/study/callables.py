"""Import what a study names as `package.module:callable`.

This runs code.  Whoever starts a study, or checks its file, runs its code; whoever only reads a
study that somebody else has run does not (`imports_limited`).
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from ablate.errors import ParameterError, did_you_mean, error_text
from ablate.files.cache import cache_folder
from ablate.files.shown import show_name
from ablate.study.by_value import given_function, is_given

_LOCK = threading.RLock()
# Top-level package -> the folder that it was imported from, for modules found next to a study file.
_FOUND_IN: dict[str, Path] = {}

Allowed = Callable[[str, Path | None], bool]
"""Whether a callable may be imported: its name, and the folder of its study file."""
_LIMIT: ContextVar[tuple[Allowed, list[str]] | None] = ContextVar("imports", default=None)


class NotImportedError(ParameterError):
    """A callable may not be imported here."""


@contextmanager
def imports_limited(allowed: Allowed = lambda _name, _base: False) -> Iterator[list[str]]:
    """Within, `import_callable` refuses what is not allowed; in this thread.

    Yields:
        `KEY NAME` of what was refused so far.
    """
    refused: list[str] = []
    token = _LIMIT.set((allowed, refused))
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
    return limit is None or is_given(name) or limit[0](name, base)


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


def import_callable(where: str, spec: str, base: Path | None) -> Callable[..., Any]:
    """Import the callable that a study names.

    Importing runs the module's code.  Installed modules take precedence over those in `base`; two
    studies in two folders may each have a module of the same name.

    Args:
        where: dotted key of the study, for messages.
        spec: `package.module:callable`; the part after the colon may contain dots.  Or the name of
            a function given from Python (`ablate.study.by_value`).
        base: folder of the study file, searched too.

    Raises:
        ParameterError: if the module or the callable does not exist, or its import fails.
        NotImportedError: if it may not be imported here.
    """
    if is_given(spec):
        return given_function(where, spec)
    if (limit := _LIMIT.get()) is not None and not limit[0](spec, base):
        limit[1].append(f"{where} {spec}")
        raise NotImportedError(
            f"{where}: must be code of a study that you have run from its folder, got {spec}, "
            "which is not imported to read a study. Read that code, then add --trust."
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
            names = [one for one in dir(held) if not one.startswith("_")]
            file = show_name(getattr(module, "__file__", None) or name)
            rule = f"{name} must have {attribute}, got a module without it ({file})"
            raise ParameterError(f"{where}: {rule}. {did_you_mean(part, names)}")
        held = getattr(held, part)
    if not callable(held):
        rule = f"{spec} must be callable, got {type(held).__name__}"
        raise ParameterError(f"{where}: {rule}. Name a function or a class.")
    return held  # type: ignore[no-any-return]


def _import(where: str, spec: str, name: str, base: Path | None) -> ModuleType:
    with _searched(name.partition(".")[0], base):
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            missing = getattr(error, "name", None) or ""
            is_absent = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(
                f"{missing}."
            )
            if not is_absent:
                rule = f"{name} must be importable, got {error_text(error)}"
                fix = f"Fix it: python -c 'import {name}'."
                raise ParameterError(f"{where}: {rule}. {fix}") from error
            folder = "" if base is None else show_name(base)
            folder = "this folder" if folder == "." else folder
            place = f" or put {name.replace('.', '/')}.py into {folder}" if folder else ""
            rule = f"must name a module that can be imported, got {spec!r} and no module {missing}"
            raise ParameterError(f"{where}: {rule}. Install it{place}.") from error


@contextmanager
def _searched(top: str, base: Path | None) -> Iterator[None]:
    """Search `base` for the length of an import, and forget a namesake from another folder."""
    if base is None:
        yield
        return
    folder = base.absolute()
    with _LOCK:
        if _FOUND_IN.get(top, folder) != folder:
            for loaded in [one for one in sys.modules if one.partition(".")[0] == top]:
                del sys.modules[loaded]
            del _FOUND_IN[top]
        sys.path.append(str(folder))
        # A file that was written since Python last looked into the folder.
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            if _place(sys.modules.get(top)) == folder:
                _FOUND_IN[top] = folder


def _place(module: ModuleType | None) -> Path | None:
    """The folder of a top-level module or package."""
    inside = [*getattr(module, "__path__", []), getattr(module, "__file__", None)][0]
    return None if inside is None else Path(inside).parent
