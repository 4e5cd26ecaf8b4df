"""What a parameter may be: float, int, choice, subset or simplex, how each value is stored, and
under which values of other keys (`when`) it is searched at all.

The ratios of a simplex are drawn by stick-breaking of Dirichlet(1, ..., 1), whose k-th piece takes
a Beta(1, K - k) share of the rest (Sethuraman 1994).  The share is drawn through the Beta's
quantile, so that uniform draws are uniform on the simplex.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.errors import ParameterError, did_you_mean
from ablate.study.document import show
from ablate.study.json_data import JsonData
from ablate.study.settings import total_of

# -- What a sampler draws: one number or one of some values, by a name that storages keep --


@dataclass(frozen=True)
class NumberDimension:
    """A number in [low, high], both included; with a step, only low + k * step."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_whole: bool = False


@dataclass(frozen=True)
class CategoricalDimension:
    """One of some values: text, numbers, booleans or None."""

    name: str
    choices: tuple[str | int | float | bool | None, ...]


Dimension = NumberDimension | CategoricalDimension


class Domain(JsonData, ABC):
    """The values of one parameter, and the conversion of a sampler's draws to a value.

    A value is plain JSON (a resolved value); draws are raw values by the names of `dimensions`.
    `key` is the parameter's dotted key, and `values` are the resolved values of earlier parameters.
    """

    word: ClassVar[str]
    has_equal_draws: ClassVar[bool] = False
    """Whether several draws mean one value."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Keys of the space whose values this domain reads."""
        return ()

    @abstractmethod
    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        """The sampled dimensions, in this order; a fixed storage format."""

    @abstractmethod
    def resolve(self, key: str, raw: Mapping[str, Any], values: Mapping[str, Any], /) -> Any:
        """The value that the draws mean."""

    @abstractmethod
    def encode(self, key: str, value: Any, values: Mapping[str, Any], /) -> dict[str, Any]:
        """Draws that mean this value; raises `ParameterError` if it is not in this domain."""

    @abstractmethod
    def examples(self) -> tuple[Any, ...]:
        """Values at the ends of the domain; where these are allowed, all are."""

    @abstractmethod
    def holds(self, value: Any, /) -> bool:
        """Whether the domain contains the value, for conditions on it."""

    def items(self) -> tuple[Any, ...]:
        """What a value can contain, as `fma` in `clean+fma` or a layer in a subset."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Its word and its fields."""
        return {"domain": self.word, **super().to_json()}


# -- Numbers, stored as they are by the parameter's key ------------------------------------


class NumberDomain(Domain):
    """Numbers in [low, high], both included."""

    number: ClassVar[type[float]] = float
    low: float
    high: float
    log: bool
    step: float | None

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        is_whole = self.number is int
        return (NumberDimension(key, self.low, self.high, self.log, self.step, is_whole),)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> float:
        return self.number(raw[key])

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if self.holds(value):
            return {key: self.number(value)}
        raise ParameterError(f"{key}: must be {self}, got {show(value)}. Use one in this range.")

    def examples(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def holds(self, value: Any, /) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, self.number)):
            return False
        is_inside = self.low <= value <= self.high
        return is_inside and (self.step is None or is_on_step(value, self.low, self.step))

    def __str__(self) -> str:
        kind = "a whole number" if self.number is int else "a number"
        is_plain = self.step is None or (self.number is int and self.step == 1)
        steps = "" if is_plain else f" in steps of {self.step:g}"
        return f"{kind} in [{self.low:.12g}, {self.high:.12g}]{steps}"


@dataclass(frozen=True)
class FloatDomain(NumberDomain):
    """Floats, uniform or (`log`) uniform in their logarithm; with a step, only low + k * step."""

    word: ClassVar[str] = "float"

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class IntDomain(NumberDomain):
    """Ints, as `FloatDomain`."""

    word: ClassVar[str] = "int"
    number: ClassVar[type[float]] = int

    low: int
    high: int
    log: bool = False
    step: int = 1


def is_on_step(value: float, low: float, step: float) -> bool:
    """Whether a number is low + k * step; a float to a millionth of a step or as floats of its size
    can be."""
    if isinstance(value, int) and isinstance(low, int) and isinstance(step, int):
        return (value - low) % step == 0
    steps = (value - low) / step
    rounding = 4 * math.ulp(max(abs(value), abs(low))) / step
    return abs(steps - round(steps)) <= max(1e-6, rounding)


# -- One of some values, and some of the items ---------------------------------------------


@dataclass(frozen=True)
class ChoiceDomain(Domain):
    """One of `choices`, of any JSON type.

    Stored under the parameter's key; a list or mapping as its JSON text, because storages accept
    only scalars.
    """

    word: ClassVar[str] = "choice"

    choices: tuple[Any, ...]

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (CategoricalDimension(key, tuple(map(stored, self.choices))),)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> Any:
        return next(choice for choice in self.choices if stored(choice) == raw[key])

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        for choice in self.choices:
            if same(choice, value):
                return {key: stored(choice)}
        choices = show(list(self.choices))
        raise ParameterError(
            f"{key}: must be one of {choices}, got {show(value)}. Use one of them."
        )

    def examples(self) -> tuple[Any, ...]:
        return self.choices

    def holds(self, value: Any, /) -> bool:
        return any(same(choice, value) for choice in self.choices)

    def items(self) -> tuple[Any, ...]:
        items: list[Any] = []
        for choice in self.choices:
            parts = choice.split("+") if isinstance(choice, str) else choice
            if isinstance(parts, list):
                items += [item for item in parts if isinstance(item, str | int | float)]
        return tuple(dict.fromkeys(items))


def stored(choice: Any) -> str | int | float | bool | None:
    """A choice as stored."""
    if choice is None or isinstance(choice, str | int | float):
        return choice
    return json.dumps(choice, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class SubsetDomain(Domain):
    """Some of `names`, in their order, never none.

    Stored as one boolean an item, `key[item]`; the last counts as true where all others are
    false, whatever was drawn for it.
    """

    word: ClassVar[str] = "subset"
    has_equal_draws: ClassVar[bool] = True

    names: tuple[str, ...]

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return tuple(CategoricalDimension(f"{key}[{name}]", (False, True)) for name in self.names)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> list[str]:
        return [name for name in self.names if raw[f"{key}[{name}]"]] or [self.names[-1]]

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if not isinstance(value, list | tuple) or not value:
            names = show(list(self.names))
            raise ParameterError(
                f"{key}: must be a list of at least one of {names}, got {show(value)}. Name one."
            )
        for name in value:
            _check_item(key, name, self.names)
        return {f"{key}[{name}]": name in value for name in self.names}

    def examples(self) -> tuple[list[str], ...]:
        return (list(self.names),)

    def holds(self, value: Any, /) -> bool:
        is_some = isinstance(value, list) and bool(value)
        return is_some and value == [name for name in self.names if name in value]

    def items(self) -> tuple[Any, ...]:
        return self.names


def _check_item(key: str, name: Any, names: Sequence[str]) -> None:
    if name not in names:
        fix = did_you_mean(str(name), names)
        raise ParameterError(f"{key}: unknown item, got {show(name)}. {fix}")


# -- Ratios --------------------------------------------------------------------------------


def break_stick(draws: Sequence[float]) -> list[float]:
    """K - 1 uniforms in [0, 1] -> K ratios >= 0 that sum to 1.

    The k-th piece is the share 1 - u ** (1 / (K - k)) of the rest.  The survival function is used
    rather than the distribution function: a share near 1 is then a draw near 0, where floats are
    dense, so that the inverse is exact to about 1e-15.
    """
    left, ratios = 1.0, list[float]()
    for k, draw in enumerate(draws):
        log_rest = math.log(draw) / (len(draws) - k) if draw > 0 else -math.inf
        ratios.append(left * -math.expm1(log_rest))
        left *= math.exp(log_rest)
    return [*ratios, left]


def join_stick(ratios: Sequence[float]) -> list[float]:
    """The inverse of `break_stick`; a piece of nothing left is drawn as 1."""
    draws = list[float]()
    for k, ratio in enumerate(ratios[:-1]):
        # Summed from the end, so that a small rest keeps its digits.
        left, rest = math.fsum(ratios[k:]), math.fsum(ratios[k + 1 :])
        draws.append((rest / left) ** (len(ratios) - 1 - k) if left > 0 and ratio > 0 else 1.0)
    return draws


@dataclass(frozen=True)
class SimplexDomain(Domain):
    """A ratio >= 0 for each of `names`, with sum 1.

    Stored as the K - 1 draws of `break_stick`, `key[item]` for all items but the last.  With `of`,
    the key of a subset in the space, the ratios of unselected items are set to 0 and the others
    scaled to sum 1 (to equal ratios if all are 0).
    """

    word: ClassVar[str] = "simplex"
    has_equal_draws: ClassVar[bool] = True

    names: tuple[str, ...]
    of: str | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        return () if self.of is None else (self.of,)

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return tuple(NumberDimension(f"{key}[{name}]", 0.0, 1.0) for name in self.names[:-1])

    def resolve(
        self, key: str, raw: Mapping[str, Any], values: Mapping[str, Any], /
    ) -> dict[str, float]:
        ratios = break_stick([float(raw[f"{key}[{name}]"]) for name in self.names[:-1]])
        chosen = self._chosen(values)
        kept = {
            name: ratio if name in chosen else 0.0
            for name, ratio in zip(self.names, ratios, strict=True)
        }
        total = math.fsum(kept.values())
        if total == 0:
            return {name: 1 / len(chosen) if name in chosen else 0.0 for name in self.names}
        return {name: ratio / total for name, ratio in kept.items()}

    def encode(self, key: str, value: Any, values: Mapping[str, Any], /) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            rule = f"must be a mapping of ratios, got {show(value)}"
            raise ParameterError(f"{key}: {rule}. Write {{{self.names[0]}: 1}}.")
        chosen = self._chosen(values)
        for name, ratio in value.items():
            _check_item(key, name, self.names)
            if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not ratio >= 0:
                rule = f"ratios must be numbers, at least 0, got {show(ratio)}"
                raise ParameterError(f"{key}: {rule}. Raise the ratio of {name}.")
            if ratio > 0 and name not in chosen:
                rule = f"must be 0 where {self.of} is {show(list(chosen))}, got {show(name)}"
                raise ParameterError(f"{key}: {rule}. Choose it there or set it to 0.")
        total = total_of(value)
        if not 0 < total < math.inf:
            rule = f"ratios must have a finite sum above 0, got {show(dict(value))}"
            raise ParameterError(f"{key}: {rule}. {'Lower' if total else 'Raise'} one.")
        draws = join_stick([value.get(name, 0.0) / total for name in self.names])
        return {f"{key}[{name}]": draw for name, draw in zip(self.names, draws, strict=False)}

    def examples(self) -> tuple[dict[str, float], ...]:
        return (dict.fromkeys(self.names, 1 / len(self.names)),)

    def holds(self, _value: Any, /) -> bool:
        return False

    def _chosen(self, values: Mapping[str, Any], /) -> Sequence[str]:
        return self.names if self.of is None else values[self.of]


DOMAINS: Mapping[str, type[Domain]] = {
    domain.word: domain
    for domain in (FloatDomain, IntDomain, ChoiceDomain, SubsetDomain, SimplexDomain)
}


# -- Under which values of other keys a parameter is searched ------------------------------


@dataclass(frozen=True)
class Condition(JsonData):
    """A key's value is `operand`, is one of it (`in`), or `contains` it.

    Attributes:
        key: dotted; of the space, or a fixed one of the study.
        operator: "is", "in" or "contains".
        operand: plain JSON; a list for "in".
    """

    key: str
    operator: str
    operand: Any

    @property
    def wanted(self) -> Sequence[Any]:
        """The values that satisfy it, unless it is `contains`."""
        return self.operand if self.operator == "in" else [self.operand]

    def holds(self, value: Any) -> bool:
        """Whether a value of the key satisfies it.

        A text joined by + contains its parts (`fma` in `clean+fma`), a list its items; other values
        contain nothing.
        """
        if self.operator != "contains":
            return any(same(value, item) for item in self.wanted)
        if isinstance(value, str):
            return self.operand in value.split("+")
        return isinstance(value, list | tuple) and any(same(v, self.operand) for v in value)

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {show(self.operand)}"


def same(a: Any, b: Any) -> bool:
    """Equality of plain JSON values: true is not 1, and a tuple is a list."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, tuple):
        a = list(a)
    return bool(a == b)
