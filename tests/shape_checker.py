"""What checks the shapes of arguments and results while the tests run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its annotations checked.

    One that is defined inside another is left as it is: it is made at each call of that one, and
    to make it checked takes longer than what it does.
    """
    if "<locals>" in function.__qualname__:
        return function
    return beartype(function)
