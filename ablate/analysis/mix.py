"""Scores over the ratios in which a search's trials mix three parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.features import are_ratios
from ablate.analysis.frame import typed_frame
from ablate.analysis.parameters import find_params
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.keys import written_domains

if TYPE_CHECKING:
    import pandas as pd

USUAL = "augment.mix"
_SIMPLEX = "simplex"


@dataclass(frozen=True)
class MixPoint:
    """A complete trial.

    Attributes:
        ratios: one per part, >= 0, with sum 1; 0 for parts that the trial does not name.
        score: of the objective, finite.
        loss_terms: empty for a custom training loop.
        on_front: of all objectives.
    """

    number: int
    ratios: tuple[float, ...]
    score: float
    loss_terms: str
    on_front: bool


@dataclass(frozen=True)
class MixInfo(Basis):
    """Positions of the trials on the simplex, and their scores.

    Attributes:
        key: of the parameter; others: keys of other mixes that the study searches.
        parts: three; in the space's order if it lists them, else in order of appearance; empty if
            unknown.
        metric: the objective; direction: "maximize" or "minimize".
        points: by number.
        not_finite: number of complete trials left out, because their score is not finite.
    """

    key: str
    others: tuple[str, ...]
    parts: tuple[str, ...]
    metric: str
    direction: str
    points: tuple[MixPoint, ...]
    not_finite: int

    @property
    def color_range(self) -> tuple[float, float]:
        """The scores between which colours differ, low to high; at least one point.

        The worst tenth of four trials or more, and at least one of them, share the colour of the
        worse end: one collapsed training would leave one colour for all others.
        """
        scores = sorted(point.score for point in self.points)
        cut = max(1, len(scores) // 10) if len(scores) >= 4 else 0
        kept = scores[cut:] if self.direction == "maximize" else scores[: len(scores) - cut]
        return kept[0], kept[-1]

    def frame(self) -> pd.DataFrame:
        """One row per complete trial.

        Columns:
            number: int64; loss_terms: string; on_front: bool.
            `<key>.<part>`: float64, 0 to 1; one a part.
            the objective's metric: float64.
        """
        types = {"number": "int64", "loss_terms": "string", "on_front": "bool"}
        ratios = [f"{self.key}.{part}" for part in self.parts]
        return typed_frame(
            types | dict.fromkeys([*ratios, self.metric], "float64"),
            [
                (point.number, point.loss_terms, point.on_front, *point.ratios, point.score)
                for point in self.points
            ],
        )


def mix_info(record: StudyRecord, place: int, params: Sequence[str] = ()) -> MixInfo:
    """The mixes of a study's complete trials.

    Args:
        place: index of the objective.
        params: the mix to show, by its key or the end of it; empty: `augment.mix`, or the first by
            name.

    Raises:
        NothingToDrawError: if no parameter is a mix of three parts.
        ParameterError: if `params` names none, or more than one.
    """
    domains = written_domains(record.study.space)
    mixes = _mixes(record, domains)
    if not mixes:
        searched = {*domains, *(key for row in record.rows for key in row.params)}
        raise NothingToDrawError(
            record.name,
            "mix",
            "needs a parameter that is a mix of three parts, got "
            f"{', '.join(sorted(searched)) or 'nothing'}",
            "Search one: {simplex: [a, b, c]}, or draw slice.",
        )
    key = _chosen(params, list(mixes))
    parts = mixes[key]
    objective = record.study.objectives[place]
    mixed = [one for one in pareto_info(record).points if key in one.params]
    points = [
        MixPoint(
            number=one.number,
            ratios=_ratios(one.params[key], parts),
            score=one.values[place],
            loss_terms=one.loss_terms,
            on_front=one.on_front,
        )
        for one in mixed
        if math.isfinite(one.values[place])
    ]
    return MixInfo(
        **vars(study_basis(record)),
        key=key,
        others=tuple(other for other in mixes if other != key),
        parts=parts,
        metric=objective.metric,
        direction=objective.direction,
        points=tuple(points),
        not_finite=len(mixed) - len(points),
    )


def _mixes(
    record: StudyRecord, domains: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """Key -> parts, the usual one first; a mix of the space counts before any trial has it."""
    named: dict[str, dict[str, None]] = {}
    for row in record.rows:
        for key, value in row.params.items():
            if _is_mix(value):
                named.setdefault(key, {}).update(dict.fromkeys(map(str, value)))
    found = {}
    for key in sorted({*named, *(key for key in domains if _SIMPLEX in domains[key])}):
        listed = domains.get(key, {}).get(_SIMPLEX)
        written = list(map(str, listed)) if isinstance(listed, (list, tuple)) else []
        parts = tuple(dict.fromkeys([*written, *named.get(key, ())]))
        if len(parts) in (0, 3):
            found[key] = parts
    return dict(sorted(found.items(), key=lambda one: one[0] != USUAL))


def _is_mix(value: Any) -> bool:
    """Ratios by name: none negative, one above 0."""
    return (
        are_ratios(value)
        and all(0 <= one < math.inf for one in value.values())
        and sum(value.values()) > 0
    )


def _chosen(params: Sequence[str], keys: list[str]) -> str:
    if not params:
        return keys[0]
    chosen = find_params(params, keys)
    if len(chosen) != 1:
        raise ParameterError(
            f"--params: figure mix takes one mix, got {', '.join(chosen)}. Name one of them."
        )
    return chosen[0]


def _ratios(mix: Mapping[Any, float], parts: Sequence[str]) -> tuple[float, ...]:
    named = {str(part): float(ratio) for part, ratio in mix.items()}
    total = math.fsum(named.values())
    return tuple(named.get(part, 0.0) / total for part in parts)
