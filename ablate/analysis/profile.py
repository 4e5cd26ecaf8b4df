"""Accuracy of the best trials by type and severity of corruption, compared with the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.analysis.pareto import pareto_info
from ablate.errors import ParameterError
from ablate.files.shown import few
from ablate.ledger.record import ADAPTED, StudyRecord
from ablate.study.scores import Exposure, Scores

if TYPE_CHECKING:
    import pandas as pd

MOST_TRIALS = 6
"""Number of trials shown by default."""
_LISTED = 12
Network = tuple[str, int | None, str, Scores]
"""Name, trial, loss terms and scores."""


@dataclass(frozen=True)
class Profile:
    """A network's accuracies, all as fractions from 0 to 1.

    Attributes:
        name: "baseline", "plain", "trial 17", or of an arm.
        number: of the trial; None for a reference and an arm.
        loss_terms: in one order, such as "clean+fma"; empty for the baseline.
        clean_accuracy: on clean images.
        accuracies: `[type][severity]`, in the order of the Info; NaN if not scored.
        exposure: of each type, what was seen of it in the finetuning.
    """

    name: str
    number: int | None
    loss_terms: str
    clean_accuracy: float
    accuracies: tuple[tuple[float, ...], ...]
    exposure: tuple[Exposure, ...]


@dataclass(frozen=True)
class ProfileInfo(Basis):
    """Profiles of the chosen trials.

    Attributes:
        families: family -> its scored types, in the order of the suite.
        severities: scored, ascending.
        profiles: the references that are scored, then the trials in the order of selection; empty
            before anything is scored.
        on_front: number of scored trials on the front, of which these are a selection; 0 if trials
            were requested by number, and of arms.
        seeds: over which each profile of an arm is a mean; 0 for a search.
    """

    families: Mapping[str, tuple[str, ...]]
    severities: tuple[int, ...]
    profiles: tuple[Profile, ...]
    on_front: int
    seeds: int = 0

    @property
    def types(self) -> tuple[str, ...]:
        """In the order of `Profile.accuracies`."""
        return tuple(kind for kinds in self.families.values() for kind in kinds)

    @property
    def baseline(self) -> Profile | None:
        return next((one for one in self.profiles if one.name == "baseline"), None)

    @property
    def chosen(self) -> tuple[Profile, ...]:
        """The profiles that are of trials, or of arms."""
        if self.seeds:
            return tuple(one for one in self.profiles if one is not self.baseline)
        return tuple(one for one in self.profiles if one.number is not None)

    def differences(self, profile: Profile) -> tuple[tuple[float, ...], ...]:
        """`[type][severity]`: accuracy less the baseline's; NaN where one of them is missing."""
        baseline = self.baseline
        if baseline is None:
            return tuple((math.nan,) * len(row) for row in profile.accuracies)
        return tuple(
            tuple(mine - its for mine, its in zip(row, other, strict=True))
            for row, other in zip(profile.accuracies, baseline.accuracies, strict=True)
        )

    def family_accuracies(self, profile: Profile, family: str) -> tuple[float, ...]:
        """`[severity]`: mean over the family's types; NaN where one of them is missing."""
        types = self.types
        rows = [profile.accuracies[types.index(kind)] for kind in self.families[family]]
        return tuple(fmean(column) for column in zip(*rows, strict=True))

    def frame(self) -> pd.DataFrame:
        """One row per network, type and severity.

        Columns:
            profile, loss_terms, family, type: text; loss_terms is missing for the baseline.
            trial: Int64, missing for a reference.
            severity: int64.
            accuracy, difference: float64, as fractions; the difference is to the baseline.
            exposure: text: "seen_type", "seen_family" or "unseen".
        """
        types = {"profile": "string", "trial": "Int64"}
        types |= dict.fromkeys(("loss_terms", "family", "type"), "string") | {"severity": "int64"}
        types |= dict.fromkeys(("accuracy", "difference"), "float64") | {"exposure": "string"}
        families = [family for family, kinds in self.families.items() for _ in kinds]
        rows = [
            (one.name, one.number, one.loss_terms or None, family, kind, *cell, exposure)
            for one in self.profiles
            for family, kind, accuracies, differences, exposure in zip(
                families,
                self.types,
                one.accuracies,
                self.differences(one),
                one.exposure,
                strict=True,
            )
            for cell in zip(self.severities, accuracies, differences, strict=True)
        ]
        return typed_frame(types, rows)


def profile_info(
    record: StudyRecord, trials: Sequence[int] = (), best: int | None = None
) -> ProfileInfo:
    """The profiles of selected trials.

    Args:
        record: of a study whose trials have `Scores`; trials of a custom training loop have no
            types and are never selected.
        trials: numbers, in display order, each once; empty: up to six of the front, evenly spread
            from the best in the first objective to the best in the others, with the knee and
            `best` in place of the nearest between them.
        best: number of the trial that the study's answer recommends, if any.

    Raises:
        ParameterError: if a number is not that of a complete trial.
    """
    front, on_front = _front(record, best)
    chosen = _asked(record, trials) if trials else front
    scored = {row.number: row for row in record.complete if isinstance(row.scores, Scores)}
    named: list[Network] = [
        (name, None, terms, record.references[name])
        for name, terms in (("baseline", ""), (ADAPTED, ""), ("plain", "clean"))
        if name in record.references
    ]
    for number in chosen:
        row = scored[number]
        assert isinstance(row.scores, Scores)
        named.append((f"trial {number}", number, record.loss_terms(row), row.scores))
    return ProfileInfo(
        **vars(study_basis(record)), **profiles_of(named), on_front=0 if trials else on_front
    )


def profiles_of(named: Sequence[Network]) -> dict[str, Any]:
    """The fields `families`, `severities` and `profiles` of a `ProfileInfo` of these networks."""
    families = _families([scores for *_, scores in named])
    types = [kind for kinds in families.values() for kind in kinds]
    severities = sorted(
        {int(one) for *_, scores in named for row in scores.accuracies.values() for one in row}
    )
    profiles = tuple(
        Profile(
            name=name,
            number=number,
            loss_terms=terms,
            clean_accuracy=scores.clean_accuracy,
            accuracies=tuple(
                tuple(
                    scores.accuracies.get(kind, {}).get(str(severity), math.nan)
                    for severity in severities
                )
                for kind in types
            ),
            exposure=tuple(scores.exposure_of(kind) for kind in types),
        )
        for name, number, terms, scores in named
    )
    return {"families": families, "severities": tuple(severities), "profiles": profiles}


def _front(record: StudyRecord, best: int | None) -> tuple[list[int], int]:
    """Numbers of up to `MOST_TRIALS` scored trials of the front, or of the best for one objective,
    and how many there are; both ends, the knee and `best` are among them."""
    info = pareto_info(record)
    points = [point.number for point in info.leading if isinstance(point.scores, Scores)]
    count = min(len(points), MOST_TRIALS)
    if count < 2:
        return points[:count], len(points)
    # Both ends are in: they are what the search could reach.
    places = [round(at * (len(points) - 1) / (count - 1)) for at in range(count)]
    knee = None if info.knee is None else info.knee.number
    kept = [points.index(number) for number in (knee, best) if number in points]
    for place in kept:
        if place not in places:
            free = (at for at in range(1, count - 1) if places[at] not in kept)
            places[min(free, key=lambda at: abs(places[at] - place))] = place
    places.sort()
    return [points[place] for place in places], len(points)


def _asked(record: StudyRecord, trials: Sequence[int]) -> list[int]:
    there = sorted(row.number for row in record.complete if isinstance(row.scores, Scores))
    for number in trials:
        if number not in there:
            raise ParameterError(
                f"--trials: must be complete trials of {record.name}, got {number}. "
                f"They are: {few(there, _LISTED) or 'none'}."
            )
    return list(dict.fromkeys(trials))


def _families(scores: Sequence[Scores]) -> dict[str, tuple[str, ...]]:
    """Families and types of all these networks, in order of appearance."""
    found: dict[str, dict[str, None]] = {}
    for one in scores:
        for family, kinds in one.families.items():
            found.setdefault(family, {}).update(dict.fromkeys(kinds))
    return {family: tuple(kinds) for family, kinds in found.items()}


# -- How accuracy falls with severity, family by family ------------------------------------


@dataclass(frozen=True)
class SeverityLine:
    """The line of a network and a family.

    Attributes:
        name: "baseline", "plain", "trial 17", or of an arm.
        number: of the trial; None for a reference.
        loss_terms: in one order; empty for the baseline.
        family: of the suite.
        accuracies: `[1 + severities]`, as fractions: on clean images, then at each severity the
            mean over the family's types; NaN if one was not scored.
    """

    name: str
    number: int | None
    loss_terms: str
    family: str
    accuracies: tuple[float, ...]


class SeverityInfo(ProfileInfo):
    """Accuracy against severity of the networks of a profile."""

    @property
    def levels(self) -> tuple[int, ...]:
        """0 (clean), then the severities; empty before anything is scored."""
        return (0, *self.severities) if self.profiles else ()

    @cached_property
    def lines(self) -> tuple[SeverityLine, ...]:
        """Family by family; within each in the order of the profiles."""
        return tuple(
            SeverityLine(
                name=one.name,
                number=one.number,
                loss_terms=one.loss_terms,
                family=family,
                accuracies=(one.clean_accuracy, *self.family_accuracies(one, family)),
            )
            for family in self.families
            for one in self.profiles
        )

    def frame(self) -> pd.DataFrame:
        """One row a network, family and severity.

        Columns:
            profile, loss_terms, family: text; loss_terms is missing of the baseline.
            trial: Int64, missing of a reference.
            severity: int64, 0 is clean.
            accuracy: float64, a fraction.
        """
        types = {"profile": "string", "trial": "Int64", "loss_terms": "string", "family": "string"}
        return typed_frame(
            types | {"severity": "int64", "accuracy": "float64"},
            [
                (line.name, line.number, line.loss_terms or None, line.family, severity, accuracy)
                for line in self.lines
                for severity, accuracy in zip(self.levels, line.accuracies, strict=True)
            ],
        )


def severity_info(info: ProfileInfo) -> SeverityInfo:
    """Accuracy against severity of the networks of a profile."""
    return SeverityInfo(**vars(info))
