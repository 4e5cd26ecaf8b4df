"""Empirical distribution of each objective over the complete trials of one study or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.frame import typed_frame
from ablate.analysis.objectives import shared_objectives
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Distribution:
    """The trials of a study, or of one of its sets of loss terms.

    Attributes:
        study, loss_terms: whose; loss_terms is empty if they are those of a whole study.
        values: `[objectives][trials]`, ascending; only finite values.
    """

    study: str
    loss_terms: str
    values: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class EdfInfo:
    """Distributions of the same objectives.

    Attributes:
        studies: at least one.
        distributions: of several studies one each; of one study one for each set of loss terms,
            the largest first. Without trials there is none.
    """

    studies: tuple[ParetoInfo, ...]
    distributions: tuple[Distribution, ...]

    @property
    def objectives(self) -> tuple[ObjectiveSettings, ...]:
        """Those that are shown: at most the first `MOST_OBJECTIVES`."""
        return self.studies[0].objectives[:MOST_OBJECTIVES]

    def frame(self) -> pd.DataFrame:
        """One row per objective and value.

        Columns: study, loss_terms, metric: text; value: float64; share: float64, the fraction of
        the trials whose value is at most this one.
        """
        types = dict.fromkeys(("study", "loss_terms", "metric"), "string")
        return typed_frame(
            types | dict.fromkeys(("value", "share"), "float64"),
            [
                (one.study, one.loss_terms, objective.metric, value, (at + 1) / len(values))
                for one in self.distributions
                for objective, values in zip(self.objectives, one.values, strict=True)
                for at, value in enumerate(values.tolist())
            ],
        )


def edf_info(records: Sequence[StudyRecord]) -> EdfInfo:
    """The distributions of these studies' objectives.

    Args:
        records: at least one; only complete trials count.

    Raises:
        ParameterError: if their objectives differ.
    """
    shared_objectives(records)
    studies = tuple(pareto_info(record) for record in records)
    found = []
    for info in studies:
        # Several studies have one line each, also one without a complete trial.
        groups: dict[str, list[int]] = {} if len(studies) == 1 else {"": []}
        for at, point in enumerate(info.points):
            groups.setdefault(point.loss_terms if len(studies) == 1 else "", []).append(at)
        for terms, places in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
            columns = info.values[places].T[:MOST_OBJECTIVES]
            values = tuple(np.sort(column[np.isfinite(column)]) for column in columns)
            found.append(Distribution(info.study, terms, values))
    return EdfInfo(studies, tuple(found))
