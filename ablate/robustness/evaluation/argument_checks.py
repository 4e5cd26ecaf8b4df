"""Checks of the arguments of `ablate evaluate` and `ablate corrupt`, before anything is read."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.errors import ParameterError, StudyFileError, UsageError
from ablate.robustness.corruption import SEVERITIES

_MADE_HERE = "applies only to generated copies, got it with --official. Leave it out."
_OF_CLEAN = (
    "applies only to the images of --dataset, got it with --official alone. Leave it out, or add "
    "--dataset."
)


_OPTIONS = {
    "baseline.checkpoint": "--checkpoint",
    "needs model.name: ": "needs MODEL ",
    "model.name": "MODEL",
    "dataset.path": "--data",
    "dataset.name": "--dataset",
    "dataset.image_size": "--image-size",
    "dataset.resize": "--resize",
    "run.precision": "--precision",
    "robustness.suite": "--suite",
}


@contextmanager
def named_by_options() -> Iterator[None]:
    """The block's wrong use, where keys of a study have the names of a command's options."""
    try:
        yield
    except StudyFileError:
        raise
    except UsageError as error:
        raise error.named_by(_OPTIONS) from error


@dataclass(frozen=True)
class Asked:
    """The arguments about images; see `ablate.robustness.evaluation.evaluate.evaluate`."""

    dataset: str | None
    data: Path | None
    official: Path | None
    suite: str | None
    types: tuple[str, ...] | None
    severities: tuple[int, ...]
    seed: int
    frost_images: Path | None
    resize: int | None


def check_official(asked: Asked, *, split: str | None, skip_unreadable: bool) -> None:
    """Refuse options that have no effect on official files.

    Raises:
        UsageError: naming the option.
    """
    if asked.official is None:
        return
    if skip_unreadable:
        raise UsageError(
            "--skip-unreadable: cannot be used with --official, whose copies must all have the "
            "same images. Leave it out, and replace the unreadable files."
        )
    of_clean = {} if asked.dataset is not None else {"--data": asked.data, "--split": split}
    made_here = {"--seed": asked.seed or None, "--frost-images": asked.frost_images}
    for options, why in ((made_here, _MADE_HERE), (of_clean, _OF_CLEAN)):
        for option, value in options.items():
            if value is not None:
                raise UsageError(f"{option}: {why}")


def read_severities(values: Iterable[Any]) -> tuple[int, ...]:
    """Check severities: whole numbers from 1 to 5; returns each once, ascending.

    Raises:
        ParameterError: if there are none, or one is invalid.
    """
    if not isinstance(values, Iterable):
        raise ParameterError(
            f"--severities: must be a list of whole numbers, got {values!r}. Write [{values!r}]."
        )
    given = list(values)
    wrong = [one for one in given if _whole(one) not in SEVERITIES]
    if wrong or not given:
        raise ParameterError(
            f"--severities: must be whole numbers from 1 to 5, got {wrong[0] if wrong else 'none'}."
            " Correct them."
        )
    return tuple(sorted({int(one) for one in given}))


def read_names(option: str, values: Iterable[str] | None) -> tuple[str, ...] | None:
    """Several names.

    Raises:
        ParameterError: if it is a single text, which would be read letter by letter.
    """
    if isinstance(values, str):
        raise ParameterError(
            f"{option}: must be a list of names, got the text {values!r}. Write [{values!r}]."
        )
    return None if values is None else tuple(values)


def read_statistics(option: str, values: Any) -> tuple[float, ...] | None:
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
            f"{option}: must have a number for each channel, got {values!r}. Write [0.5, 0.5, 0.5]."
        ) from None


def check_whole(values: Mapping[str, Any], least: int, most: int | None = None) -> None:
    """Refuse values that are given and are not whole numbers of at least `least`.

    Args:
        values: option -> its value, or None.
        most: the largest allowed; None: any.

    Raises:
        ParameterError: naming the option.
    """
    for option, value in values.items():
        if value is None:
            continue
        number = _whole(value)
        if number is None:
            raise ParameterError(f"{option}: must be a whole number, got {value!r}. Correct it.")
        if number < least:
            raise ParameterError(f"{option}: must be at least {least}, got {number}. Correct it.")
        if most is not None and number > most:
            raise ParameterError(f"{option}: must be at most {most}, got {number}. Lower it.")


def check_choice(option: str, value: Any, known: Sequence[str]) -> None:
    """Refuse a value that is given and is not in `known`.

    Raises:
        ParameterError: naming the option.
    """
    if value is not None and value not in known:
        raise ParameterError(
            f"{option}: must be {', '.join(known[:-1])} or {known[-1]}, got {value!r}. Correct it."
        )


def _whole(value: Any) -> int | None:
    """The number if its type is an integer type, including NumPy's."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None
