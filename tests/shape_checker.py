"""What checks the shapes of arguments and results while the tests run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from inspect import isclass
from typing import Any

import jaxtyping
from beartype import beartype

SHAPES = (jaxtyping.AbstractArray, jaxtyping.AbstractDtype)


def check_modules(modules: Sequence[str]) -> None:
    """Check the shapes in the signatures of these modules, as they are imported.

    A function without one is left as it is: jaxtyping binds the arguments of each call, and took an
    eighth of a small study for them.
    """
    decorate = jaxtyping.jaxtyped

    def jaxtyped(*, typechecker: Any) -> Callable[..., Any]:
        return lambda made: decorate(made, typechecker=typechecker) if has_shapes(made) else made

    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook(modules, "shape_checker.check_shapes")


def has_shapes(made: Any) -> bool:
    """Whether this function has a shape in its signature; a class may have one in its fields."""
    if isclass(made):
        return True
    names = re.findall(r"\w+", " ".join(map(str, made.__annotations__.values())))
    values = (made.__globals__.get(name) for name in names)
    return any(isclass(value) and issubclass(value, SHAPES) for value in values)


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its annotations checked.

    One that is defined inside another is left as it is: it is made at each call of that one, and
    to make it checked takes longer than what it does.
    """
    if "<locals>" in function.__qualname__:
        return function
    return beartype(function)
