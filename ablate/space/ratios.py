"""`{simplex: [a, b, c]}`: ratios that sum to 1.

Source: stick-breaking of Dirichlet(1, ..., 1), whose k-th piece takes a Beta(1, K - k) share of the
rest (Sethuraman 1994).  The share is drawn through the Beta's quantile, so that uniform draws are
uniform on the simplex.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ablate.errors import ParameterError, did_you_mean
from ablate.space.domain import Dimension, Domain, RealDimension
from ablate.space.spec import DomainError, Spec
from ablate.study.document import show
from ablate.study.settings import total_of


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
