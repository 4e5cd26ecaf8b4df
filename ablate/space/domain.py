"""What a parameter may be: float, int, choice, subset or simplex; how each is read and stored.

The ratios of a simplex are drawn by stick-breaking of Dirichlet(1, ..., 1), whose k-th piece takes
a Beta(1, K - k) share of the rest (Sethuraman 1994).  The share is drawn through the Beta's
quantile, so that uniform draws are uniform on the simplex.
"""

from __future__ import annotations

import json
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from ablate.errors import ParameterError, did_you_mean
from ablate.space.condition import same
from ablate.study.document import show, unstorable
from ablate.study.json_data import JsonData
from ablate.study.names import OpenNames
from ablate.study.settings import total_of


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

    @classmethod
    @abstractmethod
    def parse(cls, spec: Spec) -> Self:
        """Read one as it is written; raises `DomainError`."""

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


# -- What a sampler draws: one number or one of some values, by a name that storages keep --


@dataclass(frozen=True)
class RealDimension:
    """A float in [low, high], both included."""

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        is_inside = self.low <= value <= self.high
        return is_inside and (self.step is None or is_on_step(value, self.low, self.step))


def is_on_step(value: float, low: float, step: float) -> bool:
    """Whether a float is low + k * step, to a millionth of a step or as floats of its size can
    be."""
    steps = (value - low) / step
    rounding = 4 * math.ulp(max(abs(value), abs(low))) / step
    return abs(steps - round(steps)) <= max(1e-6, rounding)


@dataclass(frozen=True)
class IntegerDimension:
    """An int in [low, high], both included."""

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1

    def holds(self, value: Any) -> bool:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        is_inside = is_whole and self.low <= value <= self.high
        return is_inside and (value - self.low) % self.step == 0


@dataclass(frozen=True)
class CategoricalDimension:
    """One of some values: text, numbers, booleans or None."""

    name: str
    choices: tuple[str | int | float | bool | None, ...]


Dimension = RealDimension | IntegerDimension | CategoricalDimension


# -- Numbers -------------------------------------------------------------------------------


class _IntervalDomain(Domain):
    """Numbers in [low, high], both included, stored as they are by the parameter's key."""

    def dimension(self, key: str) -> RealDimension | IntegerDimension:
        """The one that is drawn."""
        raise NotImplementedError

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return (self.dimension(key),)

    def encode(self, key: str, value: Any, _values: Mapping[str, Any], /) -> dict[str, Any]:
        if self.holds(value):
            return {key: self.resolve(key, {key: value}, {})}
        raise ParameterError(f"{key}: must be {self}, got {show(value)}. Use one in this range.")

    def examples(self) -> tuple[Any, ...]:
        dimension = self.dimension("")
        return (dimension.low, dimension.high)

    def holds(self, value: Any, /) -> bool:
        return self.dimension("").holds(value)


@dataclass(frozen=True)
class FloatDomain(_IntervalDomain):
    """Floats, uniform or (`log`) uniform in their logarithm; with a step, only low + k * step."""

    word: ClassVar[str] = "float"

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @classmethod
    def parse(cls, spec: Spec) -> FloatDomain:
        return cls(*_interval(spec, cls.word, whole=False))

    def dimension(self, key: str) -> RealDimension:
        return RealDimension(key, self.low, self.high, self.log, self.step)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> float:
        return float(raw[key])

    def __str__(self) -> str:
        step = "" if self.step is None else f" in steps of {self.step:g}"
        return f"a number in [{self.low:g}, {self.high:g}]{step}"


@dataclass(frozen=True)
class IntDomain(_IntervalDomain):
    """Ints, as `FloatDomain`."""

    word: ClassVar[str] = "int"

    low: int
    high: int
    log: bool = False
    step: int = 1

    @classmethod
    def parse(cls, spec: Spec) -> IntDomain:
        low, high, log, step = _interval(spec, cls.word, whole=True)
        return cls(low, high, log, 1 if step is None else step)

    def dimension(self, key: str) -> IntegerDimension:
        return IntegerDimension(key, self.low, self.high, self.log, self.step)

    def resolve(self, key: str, raw: Mapping[str, Any], _values: Mapping[str, Any], /) -> int:
        return int(raw[key])

    def __str__(self) -> str:
        step = "" if self.step == 1 else f" in steps of {self.step}"
        return f"a whole number in [{self.low}, {self.high}]{step}"


# -- One of some values, and some of the items ---------------------------------------------


Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class ChoiceDomain(Domain):
    """One of `choices`, of any JSON type.

    Stored under the parameter's key; a list or mapping as its JSON text, because storages accept
    only scalars.
    """

    word: ClassVar[str] = "choice"

    choices: tuple[Any, ...]

    @classmethod
    def parse(cls, spec: Spec) -> ChoiceDomain:
        spec.check_options(cls.word)
        choices = spec.items(cls.word)
        texts = [stored(choice) for choice in choices]
        for i, text in enumerate(texts):
            if text in texts[:i]:
                rule = f"stored as the same text, got {show(text)} twice. Remove one."
                raise DomainError(rule, cls.word, i)
        return cls(choices)

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


def stored(choice: Any) -> Scalar:
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

    @classmethod
    def parse(cls, spec: Spec) -> SubsetDomain:
        spec.check_options(cls.word)
        return cls(spec.names(cls.word))

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
            if name not in self.names:
                fix = did_you_mean(str(name), self.names)
                raise ParameterError(f"{key}: unknown item, got {show(name)}. {fix}")
        return {f"{key}[{name}]": name in value for name in self.names}

    def examples(self) -> tuple[list[str], ...]:
        return (list(self.names),)

    def holds(self, value: Any, /) -> bool:
        if not isinstance(value, list) or not value:
            return False
        return value == [name for name in self.names if name in value]

    def items(self) -> tuple[Any, ...]:
        return self.names


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

    @classmethod
    def parse(cls, spec: Spec) -> SimplexDomain:
        """Read one; raises `DomainError`.

        Instead of a list it may have `taps`, the key of a subset in the space, or the key of a list
        in the study.
        """
        spec.check_options(cls.word)
        source = spec.data[cls.word]
        names = _referred(spec, source) if isinstance(source, str) else spec.names(cls.word)
        if len(names) < 2:
            rule = f"simplex needs two items or more, got {show(list(names))}"
            raise DomainError(f"{rule}. Add one, or do not search it.", cls.word)
        return cls(names, source if isinstance(source, str) and source in spec.subsets else None)

    @property
    def requires(self) -> tuple[str, ...]:
        return () if self.of is None else (self.of,)

    def dimensions(self, key: str) -> tuple[Dimension, ...]:
        return tuple(RealDimension(f"{key}[{name}]", 0.0, 1.0) for name in self.names[:-1])

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
        ratios = self._ratios(key, value, self._chosen(values))
        draws = join_stick([ratios.get(name, 0.0) for name in self.names])
        return {f"{key}[{name}]": draw for name, draw in zip(self.names, draws, strict=False)}

    def examples(self) -> tuple[dict[str, float], ...]:
        return (dict.fromkeys(self.names, 1 / len(self.names)),)

    def holds(self, _value: Any, /) -> bool:
        return False

    def _chosen(self, values: Mapping[str, Any], /) -> Sequence[str]:
        return self.names if self.of is None else values[self.of]

    def _ratios(self, key: str, value: Any, chosen: Sequence[str]) -> dict[str, float]:
        if not isinstance(value, Mapping):
            rule = f"must be a mapping of ratios, got {show(value)}"
            raise ParameterError(f"{key}: {rule}. Write {{{self.names[0]}: 1}}.")
        for name, ratio in value.items():
            if name not in self.names:
                fix = did_you_mean(str(name), self.names)
                raise ParameterError(f"{key}: unknown item, got {show(name)}. {fix}")
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
        return {name: ratio / total for name, ratio in value.items()}


DOMAINS: Mapping[str, type[Domain]] = {
    domain.word: domain
    for domain in (FloatDomain, IntDomain, ChoiceDomain, SubsetDomain, SimplexDomain)
}


# -- A domain as it is written -------------------------------------------------------------


LARGEST = 2**53
"""Floats, in which samplers compute, are exact to here."""

MOST_CHOICES = 1_000
"""Largest number of choices; each row stores all of them."""

MOST_ITEMS = 256
"""Largest number of items of a subset or simplex; each is a separate parameter in every row."""

_LONGEST_NAME = 200
"""Characters of an item: a database keeps 512 of `key[item]`."""

_LEAST_WIDTH = 1e-12
"""Of a range of floats, as a share of its ends: some 4,000 floats lie in it then."""


class DomainError(Exception):
    """What is wrong with a domain.

    Attributes:
        rule: `rule, got X. Fix.`; empty if it is reported elsewhere.
        at: path below the domain; at_key: whether the key there is wrong.
    """

    def __init__(self, rule: str, *at: str | int, at_key: bool = False) -> None:
        super().__init__(rule)
        self.rule, self.at, self.at_key = rule, at, at_key


@dataclass(frozen=True)
class Spec:
    """A domain as written; what it reads is refused by a `DomainError`.

    Attributes:
        data: the mapping, such as `{"float": [0, 1], "log": True}`.
        fixed: the study's values by dotted key, for references.
        subsets: items of each subset of the space by its key, for references.
        taps: of the study's network.
    """

    data: Mapping[str, Any]
    fixed: Mapping[str, Any]
    subsets: Mapping[str, tuple[str, ...]]
    taps: Sequence[str]

    def check_options(self, word: str, *options: str) -> None:
        known = (*options, "when")
        for name in self.data:
            if name not in (word, *known):
                rule = f"unknown option of {word}, got {show(name)}. {did_you_mean(name, known)}"
                raise DomainError(rule, name, at_key=True)

    def number(self, value: Any, name: str, *at: str | int, whole: bool) -> Any:
        """The value, if it is a finite number (a whole one); `name` is its own in the message."""
        if isinstance(value, int) and not isinstance(value, bool):
            if not whole:
                return self.number(float(value), name, *at, whole=False)
            if abs(value) >= LARGEST:
                rule = f"{name} must be within 2**53, got {show(value)}. Take a smaller one."
                raise DomainError(rule, *at)
            return value
        if whole or not isinstance(value, float) or not math.isfinite(value):
            kind = "a whole number" if whole else "a number"
            raise DomainError(f"{name} must be {kind}, got {show(value)}. Write {kind}.", *at)
        if 0 < abs(value) < sys.float_info.min:
            fix = f"Write 0, or at least {sys.float_info.min:.3g}."
            raise DomainError(f"{name} must keep its digits, got {show(value)}. {fix}", *at)
        return value

    def flag(self, name: str) -> bool:
        """The option's value; False if it is not given."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            rule = f"{name} must be true or false, got {show(value)}. Write true or false."
            raise DomainError(rule, name)
        return value

    def items(self, word: str, most: int = MOST_CHOICES) -> tuple[Any, ...]:
        """The list after the domain's word: not empty, nothing twice, all of it to be stored."""
        items = self.data[word]
        if not isinstance(items, list):
            raise DomainError(
                f"{word} needs a list, got {show(items)}. Write {word}: [a, b].", word
            )
        if not items:
            raise DomainError(f"{word} of nothing, got []. Name at least one.", word)
        if len(items) > most:
            rule = f"{word} must have at most {most} items, got {len(items)}"
            raise DomainError(f"{rule}. Name fewer, or search an int or float.", word)
        for i, item in enumerate(items):
            if rule := next(filter(None, map(_storage_rule, _leaves(item))), ""):
                raise DomainError(rule, word, i)
            if item in items[:i]:
                raise DomainError(f"given twice, got {show(item)}. Remove one.", word, i)
        return tuple(items)

    def names(self, word: str) -> tuple[str, ...]:
        """As `items`, of text; `taps`: every tap of the study's network."""
        if self.data[word] == "taps":
            if not self.taps:
                rule = f"taps needs a model whose taps are known, got {show('taps')}."
                is_reported = isinstance(self.taps, OpenNames) and self.taps.failure
                raise DomainError("" if is_reported else f"{rule} List the layers.", word)
            return tuple(self.taps)
        items = self.items(word, MOST_ITEMS)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                rule = f"items must be text, got {show(item)}. Put it in quotes."
                raise DomainError(rule, word, i)
            if len(item) > _LONGEST_NAME:
                rule = f"items must have at most {_LONGEST_NAME} characters, got {len(item)}"
                raise DomainError(f"{rule}. Shorten it.", word, i)
        return items


def _leaves(value: Any) -> Iterator[Any]:
    """The text and numbers in a choice, keys of mappings too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list):
        yield value
        return
    for inner in value:
        yield from _leaves(inner)


def _storage_rule(value: Any) -> str | None:
    """Why a value cannot be kept in a database and read back, as `rule, got X. Fix.`"""
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be finite, got {show(value)}. Write a number, or text in quotes."
    return unstorable(value) if isinstance(value, str) else None


def _interval(spec: Spec, word: str, *, whole: bool) -> tuple[Any, Any, bool, Any]:
    """Low, high, whether it is logarithmic, and the step, or None."""
    spec.check_options(word, "log", "step")
    log, step, ends = spec.flag("log"), spec.data.get("step"), spec.data[word]
    if step is not None:
        step = spec.number(step, "step", "step", whole=whole)
    if not isinstance(ends, list) or len(ends) != 2:
        raise DomainError(f"{word} needs [low, high], got {show(ends)}. Write two numbers.", word)
    low = spec.number(ends[0], "low", word, 0, whole=whole)
    high = spec.number(ends[1], "high", word, 1, whole=whole)
    if rule := _range_rule(low, high, show(ends), log=log, whole=whole):
        raise DomainError(rule, word)
    if step is not None and (rule := _step_rule(low, high, step, log=log, whole=whole)):
        raise DomainError(rule, "step")
    return low, high, log, step


def _range_rule(low: float, high: float, ends: str, *, log: bool, whole: bool) -> str | None:
    widen = "Widen it, or fix the value in the study."
    if low >= high:
        return f"low must be below high, got {ends}. {'Swap them.' if low > high else widen}"
    if log and low <= 0:
        return f"log needs a low above 0, got {ends}. Raise low or drop log."
    # Samplers compute in floats.
    if whole and high - low >= LARGEST:
        return f"high - low must be below 2**53, got {ends}. Narrow it, or search a float."
    if not whole and not math.isfinite(high - low):
        return f"high - low must be finite, got {ends}. Narrow it."
    if not whole and high - low < _LEAST_WIDTH * max(abs(low), abs(high)):
        rule = f"low and high must differ by a fraction of more than {_LEAST_WIDTH:g}"
        return f"{rule}, got {ends}. {widen}"
    return None


def _step_rule(low: Any, high: Any, step: Any, *, log: bool, whole: bool) -> str | None:
    got, largest = f"got {show(step)}", max(high - low, abs(low), abs(high))
    if log:
        return f"step and log exclude each other, got step {show(step)}. Drop one."
    if step <= 0:
        return f"step must be above 0, {got}. Raise it."
    if step > high - low:
        return f"step must fit into [{low:.12g}, {high:.12g}], {got}. Lower it."
    if largest / step >= LARGEST / 2:
        return f"step must be larger than {largest:g} / 2**52, {got}. Raise it."
    if not ((high - low) % step == 0 if whole else _ends_on_step(low, high, step)):
        last = low + step * math.floor((high - low) / step)
        rule = f"step must lead from {low:.12g} to {high:.12g}, {got}"
        return f"{rule}. End the range at {last:.12g} or change the step."
    return None


def _ends_on_step(low: float, high: float, step: float) -> bool:
    """Whether steps lead to the end, as far as steps with nine digits do."""
    off = abs(low + step * round((high - low) / step) - high)
    return off <= min(1e-9 * max(abs(high), step), 0.01 * step) or is_on_step(high, low, step)


def _referred(spec: Spec, source: str) -> tuple[str, ...]:
    """The items of `{simplex: KEY}`."""
    if source in spec.subsets:
        return spec.subsets[source]
    value = spec.fixed.get(source)
    if source == "taps" or (source == "loss.fma.layers" and value == "taps"):
        return replace(spec, data={"simplex": "taps"}).names("simplex")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    known = [*spec.subsets, *(key for key in spec.fixed if isinstance(spec.fixed[key], list))]
    rule = "simplex must name a subset of the space or a list of the study"
    raise DomainError(f"{rule}, got {show(source)}. {did_you_mean(source, known)}", "simplex")
