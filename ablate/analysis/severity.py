"""How accuracy falls with severity, family by family, of the best trials and the references."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ablate.analysis.caveats import Basis
from ablate.analysis.frame import typed_frame
from ablate.analysis.profile import ProfileInfo

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SeverityLine:
    """The line of a network and a family.

    Attributes:
        name: "baseline", "plain", "trial 17", or of an arm.
        number: of the trial; None for a reference.
        loss_terms: as written; empty for the baseline.
        family: of the suite.
        accuracies: `[1 + severities]`, as fractions: on clean images, then at each severity the
            mean over the family's types; NaN if one was not scored.
    """

    name: str
    number: int | None
    loss_terms: str
    family: str
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class SeverityInfo(Basis):
    """Accuracy against severity.

    Attributes:
        families: of the suite, in its order.
        severities: 0 (clean), then the scored ones, ascending.
        lines: family by family; within each the baseline, the plain finetune, then the trials;
            empty before anything is scored.
        on_front, seeds: as in `ProfileInfo`.
    """

    families: tuple[str, ...]
    severities: tuple[int, ...]
    lines: tuple[SeverityLine, ...]
    on_front: int
    seeds: int

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
                for severity, accuracy in zip(self.severities, line.accuracies, strict=True)
            ],
        )


def severity_info(info: ProfileInfo) -> SeverityInfo:
    """Accuracy against severity of the networks of a profile."""
    return SeverityInfo(
        **{field.name: getattr(info, field.name) for field in fields(Basis)},
        families=tuple(info.families),
        severities=(0, *info.severities) if info.profiles else (),
        lines=tuple(
            SeverityLine(
                name=one.name,
                number=one.number,
                loss_terms=one.loss_terms,
                family=family,
                accuracies=(one.clean_accuracy, *info.family_accuracies(one, family)),
            )
            for family in info.families
            for one in info.profiles
        ),
        on_front=info.on_front,
        seeds=info.seeds,
    )
