"""A search space: its parameters in the order in which they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ablate.errors import ParameterError, did_you_mean
from ablate.space.domain import DOMAINS, Condition, Dimension, Domain
from ablate.study.document import Finding, show
from ablate.study.seeds import Params

AUTO_ROWS, AUTO_DIMENSIONS = 256, 64
"""Up to which `auto` takes `gp`: it models no more rows, and takes seconds in more dimensions."""
FIXED = "fixed_params"
"""Optuna's attribute of a trial that was enqueued: raw draws by dimension."""
STARTUP = 10
"""Finished trials before `tpe` and `gp` model them; until then their points are random."""


def sampler_of(name: str, number: int, dimensions: int) -> str:
    """The sampler that draws the trial of this number: what `auto` is, others as they are."""
    if name != "auto":
        return name
    return "gp" if number < AUTO_ROWS and dimensions <= AUTO_DIMENSIONS else "tpe"


@dataclass(frozen=True)
class Parameter:
    """A searched key.

    Attributes:
        key: dotted key of the study.
        domain: its values.
        when: all must hold; otherwise it is not sampled, and the study's value is used.
    """

    key: str
    domain: Domain
    when: tuple[Condition, ...] = ()

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """What a sampler draws for it."""
        return self.domain.dimensions(self.key)

    @cached_property
    def requires(self) -> tuple[str, ...]:
        """Keys that its condition or its domain reads, of the space or of the study."""
        return (*(condition.key for condition in self.when), *self.domain.requires)

    def to_json(self) -> dict[str, Any]:
        when = [condition.to_json() for condition in self.when]
        return {"key": self.key, **self.domain.to_json(), "when": when}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Parameter:
        own = {key: value for key, value in data.items() if key not in ("key", "domain", "when")}
        domain = DOMAINS[data["domain"]].from_json(own)
        return cls(data["key"], domain, tuple(map(Condition.from_json, data["when"])))


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        parameters: ordered so that conditions refer to earlier ones.
        fixed: the study's values of keys that conditions read and the space does not search.

    A parameter is active if all its conditions hold.  If it depends on an inactive parameter, it is
    inactive too.
    """

    parameters: tuple[Parameter, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted keys, in the order in which they are drawn."""
        return tuple(parameter.key for parameter in self.parameters)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Everything that may be drawn."""
        return tuple(
            dimension for parameter in self.parameters for dimension in parameter.dimensions
        )

    def draw(self, ask: Callable[[Dimension], Any]) -> Params:
        """A point, drawn parameter by parameter.

        Args:
            ask: gives a raw value of a dimension; called for active parameters only, in order.
        """
        raw, values = dict[str, Any](), dict[str, Any]()
        for parameter in self.parameters:
            if not self.is_active(parameter, values):
                continue
            for dimension in parameter.dimensions:
                raw[dimension.name] = ask(dimension)
            values[parameter.key] = parameter.domain.resolve(parameter.key, raw, values)
        return Params(values, raw)

    def resolve(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """What raw draws mean: plain JSON values by dotted key, of active parameters only.

        Args:
            raw: by the names of `dimensions`; those of parameters that are not active are ignored.
        """
        return dict(self.draw(lambda dimension: raw[dimension.name]).values)

    def canonical(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """One set of draws for all that mean the same; ratios up to rounding.

        Args:
            raw: by the names of `dimensions`, each as drawn.  A parameter that is not drawn wholly,
                in a trial that was interrupted, is left out, and what depends on it.
        """
        values = dict[str, Any]()
        for parameter in self.parameters:
            is_drawn = all(dimension.name in raw for dimension in parameter.dimensions)
            if self.is_active(parameter, values) and is_drawn:
                key = parameter.key
                values[key] = parameter.domain.resolve(key, raw, values)
        return self.canonical_draws(Params(values, raw))

    def canonical_draws(self, params: Params) -> dict[str, Any]:
        """As `canonical`, of a point whose values are known."""
        draws, (values, raw) = dict[str, Any](), (params.values, params.raw)
        for parameter in self.parameters:
            key, domain = parameter.key, parameter.domain
            if key not in values:
                continue
            if domain.has_equal_draws:
                draws |= domain.encode(key, values[key], values)
            else:
                draws |= {dimension.name: raw[dimension.name] for dimension in parameter.dimensions}
        return draws

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Raw draws for these values, the inverse of `resolve` (a mix is scaled to sum 1).

        Args:
            values: by dotted key, of all active parameters.

        Raises:
            ParameterError: if a key is unknown, missing, or inactive with the other values, or a
                value is outside its domain.
        """
        raw, drawn = self._encode(values)
        if drawn:
            raise ParameterError(f"{drawn[0]}: is required, got nothing. Give its value.")
        return raw

    def encode_partial(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Raw draws for some values; a sampler draws the others.

        Args:
            values: by dotted key, of any parameters.  If a condition depends on a parameter left
                out, the value may become inactive and unused.

        Raises:
            ParameterError: as `encode`, if no sample of the others could make it valid; the message
                starts with the invalid key.
        """
        return self._encode(values)[0]

    def left_out(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Keys that a sampler draws, or may draw, given these values of others.

        Raises:
            ParameterError: as `encode_partial`.
        """
        return tuple(self._encode(values)[1])

    def _encode(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Raw draws, and the keys that are left out and may be active."""
        for key in values:
            if key not in self.keys:
                raise ParameterError(f"{key}: not in the space. {did_you_mean(key, self.keys)}")
        raw, known, drawn = dict[str, Any](), dict[str, Any](), list[str]()
        for parameter in self.parameters:
            key, domain = parameter.key, parameter.domain
            may_be_active = self._may_be_active(parameter, known, drawn)
            if key not in values:
                drawn += [key] if may_be_active else []
                continue
            if not may_be_active:
                when = " and ".join(map(str, parameter.when)) or "what it reads is searched"
                rule = f"is searched only when {when}, got {show(values[key])}"
                raise ParameterError(f"{key}: {rule}. Leave it out.")
            for missing in [needed for needed in domain.requires if needed in drawn]:
                rule = f"is a ratio of the items in {missing}, got none beside it"
                raise ParameterError(f"{key}: {rule}. Give {missing} too.")
            raw |= domain.encode(key, values[key], known)
            known[key] = domain.resolve(key, raw, known)
        return raw, drawn

    def to_json(self) -> dict[str, Any]:
        """Plain data, as stored in the ledger; docs/reference/storage_format.md has the format."""
        return {
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "fixed": dict(self.fixed),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Space:
        return cls(tuple(map(Parameter.from_json, data["parameters"])), data["fixed"])

    def is_active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Whether a parameter is active, given the values of earlier ones."""
        return self._may_be_active(parameter, values, ())

    def _may_be_active(
        self, parameter: Parameter, values: Mapping[str, Any], drawn: Container[str]
    ) -> bool:
        """Whether a parameter is active given `values`, or may be once `drawn` has values too."""
        for key in parameter.requires:
            if key not in values and key not in self.fixed and key not in drawn:
                return False
        return all(
            condition.key in drawn
            or condition.holds(
                values[condition.key] if condition.key in values else self.fixed[condition.key]
            )
            for condition in parameter.when
        )


# -- Whether parameter sets that are tried first lie in the space --------------------------


def enqueue_rules(space: Space, sets: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Every invalid value of `search.enqueue`.

    Args:
        sets: parameters by dotted key; some may be left out.
    """
    for i, values in enumerate(sets):
        left = dict(values)
        while left:
            try:
                space.encode_partial(left)
                break
            except ParameterError as error:
                message = str(error)
                key = next(key for key in left if message.startswith(f"{key}: "))
                yield Finding(("search", "enqueue", i, key), message.removeprefix(f"{key}: "))
                del left[key]
