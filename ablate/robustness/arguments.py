"""Checks of the arguments of `evaluate` and `corrupt`, before anything is read.

Messages name a parameter in backticks, which a command shows as its option.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ablate.errors import ParameterError, StudyFileError, UsageError, did_you_mean
from ablate.robustness.corruption import SEVERITIES
from ablate.study.callables import is_callable_name

_PARAMETERS = {
    "baseline.checkpoint": "`checkpoint`",
    "needs model.name: ": "needs `model` ",
    "model.name": "`model`",
    "dataset.path": "`data`",
    "dataset.name": "`dataset`",
    "dataset.image_size": "`image_size`",
    "dataset.resize": "`resize`",
    "run.precision": "`precision`",
    "robustness.suite": "`suite`",
}


@contextmanager
def named_by_parameters() -> Iterator[None]:
    """The block's wrong use, where keys of a study have the names of a function's parameters."""
    try:
        yield
    except StudyFileError:
        raise
    except UsageError as error:
        raise error.named_by(_PARAMETERS) from error


def read_severities(values: Iterable[Any]) -> tuple[int, ...]:
    """Check severities: whole numbers from 1 to 5; returns each once, ascending.

    Raises:
        ParameterError: if there are none, or one is invalid.
    """
    if not isinstance(values, Iterable):
        raise ParameterError(
            f"`severities`: must be a list of whole numbers, got {values!r}. Write [{values!r}]."
        )
    given = list(values)
    wrong = [value for value in given if _whole(value) not in SEVERITIES]
    if wrong or not given:
        raise ParameterError(
            f"`severities`: must be whole numbers from 1 to 5, got {wrong[0] if wrong else 'none'}."
            " Correct them."
        )
    return tuple(sorted({int(value) for value in given}))


def read_names(
    name: str, values: Iterable[str] | None, known: Sequence[str] = ()
) -> tuple[str, ...] | None:
    """Several names.

    Args:
        known: names of training distortions; empty: any name.

    Raises:
        ParameterError: if it is a single text, which would be read letter by letter, or unknown.
    """
    if isinstance(values, str):
        raise ParameterError(
            f"`{name}`: must be a list of names, got the text {values!r}. Write [{values!r}]."
        )
    names = None if values is None else tuple(values)
    for given in names or ():
        if known and given not in known and not is_callable_name(given):
            raise ParameterError(
                f"`{name}`: must name training distortions, got {given!r}. "
                f"{did_you_mean(given, known)}"
            )
    return names


def read_statistics(name: str, values: Any) -> tuple[float, ...] | None:
    """A number for each channel.

    Raises:
        ParameterError: if it is anything else.
    """
    if values is None:
        return None
    try:
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ParameterError(
            f"`{name}`: must have a number for each channel, got {values!r}. Write [0.5, 0.5, 0.5]."
        ) from None


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse a value that is given and is not a whole number of at least `least`.

    Args:
        most: the largest allowed; None: any.

    Raises:
        ParameterError: naming the parameter.
    """
    if value is None:
        return
    number = _whole(value)
    if number is None:
        raise ParameterError(f"`{name}`: must be a whole number, got {value!r}. Correct it.")
    if number < least:
        raise ParameterError(f"`{name}`: must be at least {least}, got {number}. Correct it.")
    if most is not None and number > most:
        raise ParameterError(f"`{name}`: must be at most {most}, got {number}. Lower it.")


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a value that is given and is not in `known`.

    Raises:
        ParameterError: naming the parameter.
    """
    if value is not None and value not in known:
        raise ParameterError(
            f"`{name}`: must be {', '.join(known[:-1])} or {known[-1]}, got {value!r}. Correct it."
        )


def _whole(value: Any) -> int | None:
    """The number if its type is an integer type, including NumPy's."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
