"""Resolved parameters as columns of numbers, for statistics and panels over the trials of a study.

A subset is one flag a part (is it in?), a mix one ratio a part, a parameter that its space draws on
a log scale is its decimal logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.columns import PARAM
from ablate.study.keys import find_key, meant_keys, written_domains

Kind = Literal["number", "log", "flag", "choice"]
Params = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Feature:
    """One number derived from a trial's resolved parameters.

    Attributes:
        key: dotted, of the parameter.
        part: of a subset or a mix; empty for a single value.
        kind: "number" unchanged, "log" of base 10, "flag" 0 or 1, "choice" the index in `choices`.
        values: `[trials]`; NaN where the parameter is left out.
        choices: of a choice, as text: the space's, else those that occur, sorted.
        ends: of a "number" or "log": lowest and highest value of its space, in the units of
            `values`; None if unknown.
        places: of them: number of distinct values between the ends, if it has steps.
    """

    key: str
    part: str
    kind: Kind
    values: NDArray[np.float64]
    choices: tuple[str, ...] = ()
    ends: tuple[float, float] | None = None
    places: int | None = None

    @property
    def name(self) -> str:
        """As the column of `trials_frame`, without `param.`; a mix has one a part."""
        return f"{self.key}.{self.part}" if self.part and self.kind == "number" else self.key

    @property
    def varies(self) -> bool:
        present = self.values[~np.isnan(self.values)]
        return len(present) > 0 and bool(np.ptp(present) > 0)


def trial_features(params: Params, space: Any) -> tuple[Feature, ...]:
    """The parameters that any of these trials has, by key, then by part in order of appearance; of
    a mix all ratios, although they are dependent.

    Args:
        params: resolved, one mapping per trial.
        space: as in the study file; parameters that it lacks are interpreted by their values.
    """
    written = written_domains(space)
    keys = sorted({key for of_trial in params for key in of_trial})
    return tuple(
        feature
        for key in keys
        for feature in _features(
            key, [of_trial.get(key, _ABSENT) for of_trial in params], written.get(key, {})
        )
    )


_ABSENT = object()


def _features(key: str, values: list[Any], domain: Mapping[str, Any]) -> Iterator[Feature]:
    present = [value for value in values if value is not _ABSENT]
    is_choice = "choice" in domain
    if all(map(_are_ratios, present)) and not is_choice:
        for part in dict.fromkeys(part for value in present for part in value):
            ratios = [value if value is _ABSENT else value.get(part, 0.0) for value in values]
            yield Feature(key, str(part), "number", _column(ratios, float))
    elif all(isinstance(value, (list, tuple)) for value in present) and not is_choice:
        for part in dict.fromkeys(part for value in present for part in value):
            is_in = [value if value is _ABSENT else part in value for value in values]
            yield Feature(key, str(part), "flag", _column(is_in, float))
    elif all(isinstance(value, bool) for value in present) and len(domain.get("choice", ())) < 3:
        yield Feature(key, "", "flag", _column(values, float), ("False", "True"))
    elif all(map(_is_number, present)) and not is_choice:
        is_log = domain.get("log") is True and all(value > 0 for value in present)
        kind: Kind = "log" if is_log else "number"
        ends, places = _range(domain, is_log=is_log)
        column = _column(values, math.log10 if is_log else float)
        yield Feature(key, "", kind, column, ends=ends, places=places)
    else:
        written = dict.fromkeys(map(_choice_text, domain.get("choice", ())))
        choices = (*written, *sorted({_choice_text(value) for value in present} - set(written)))
        place = {choice: float(at) for at, choice in enumerate(choices)}
        column = _column(values, lambda value: place[_choice_text(value)])
        yield Feature(key, "", "choice", column, choices)


def _range(
    domain: Mapping[str, Any], *, is_log: bool
) -> tuple[tuple[float, float] | None, int | None]:
    """Ends of a domain and its number of distinct values, as in Optuna's PED-ANOVA."""
    word = next((word for word in ("float", "int") if word in domain), None)
    if word is None:
        return None, None
    low, high = map(float, domain[word])
    step = domain.get("step") or (1 if word == "int" else None)
    if low >= high or (is_log and low <= 0):
        return None, None
    if is_log:
        places = None if word == "float" else math.ceil(math.log2(high - low + 1)) + 1
        return (math.log10(low), math.log10(high)), places
    return (low, high), None if step is None else round((high - low) / step) + 1


def _column(values: list[Any], number: Callable[[Any], float]) -> NDArray[np.float64]:
    column = np.array(
        [math.nan if value is _ABSENT else number(value) for value in values], dtype=float
    )
    column[~np.isfinite(column)] = math.nan
    return column


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_ratios(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _choice_text(value: Any) -> str:
    """A choice as text, a list joined by +."""
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def find_params(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The keys that a user means, each once: a key, or its last parts if unique; or a common prefix
    of several keys, for all of them, as `augment.mix`.

    Raises:
        ParameterError: if a name is unknown, or matches several.
    """
    found: dict[str, None] = {}
    for name in (name.removeprefix(PARAM) for name in names):
        inside = [key for key in keys if name and f".{key}".rpartition(".")[0].endswith(f".{name}")]
        if meant_keys(name, keys) or len({key.rpartition(".")[0] for key in inside}) != 1:
            inside = [find_key(name, keys, where="`params`", what="parameters of the study")]
        found |= dict.fromkeys(inside)
    return list(found)
