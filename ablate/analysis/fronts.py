"""Fronts in one plane: of one study or several, with what a confirmation says of their trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.analysis.objectives import shared_objectives
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ConfirmedMean:
    """A trial of a front, run again over fresh seeds and scored on the same split.

    Attributes:
        number: of the trial.
        values: means, one an objective, all finite.
        low, high: bounds of the interval over seeds; NaN where there is none.
        seeds: the least that any of the means is over.
    """

    number: int
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


@dataclass(frozen=True)
class FrontsInfo:
    """Fronts of studies with the same objectives.

    Attributes:
        studies: at least one.
        confirmed: one entry a study; empty of one whose front was not confirmed.
    """

    studies: tuple[ParetoInfo, ...]
    confirmed: tuple[tuple[ConfirmedMean, ...], ...]

    @property
    def objectives(self) -> tuple[ObjectiveSettings, ...]:
        return self.studies[0].objectives

    def frame(self) -> pd.DataFrame:
        """One row a complete trial.

        Columns: study (text), number (int64), loss_terms (text), on_front, is_knee (bool), a
        float64 column an objective; where any front was confirmed also confirmed_seeds (Int64)
        and, an objective, confirmed.METRIC, confirmed.METRIC.low and .high (float64), missing of
        trials that were not confirmed.
        """
        import pandas as pd

        frames = []
        for info, means in zip(self.studies, self.confirmed, strict=True):
            frame = info.frame()
            knee = info.knee
            frame.insert(0, "study", info.study)
            frame.insert(4, "is_knee", frame["number"] == (-1 if knee is None else knee.number))
            if any(self.confirmed):
                found = {mean.number: mean for mean in means}
                rows = [found.get(number) for number in frame["number"].tolist()]
                seeds = [pd.NA if row is None else row.seeds for row in rows]
                frame["confirmed_seeds"] = pd.array(seeds, dtype="Int64")
                for place, objective in enumerate(self.objectives):
                    for ending, name in (("", "values"), (".low", "low"), (".high", "high")):
                        frame[f"confirmed.{objective.metric}{ending}"] = [
                            math.nan if row is None else getattr(row, name)[place] for row in rows
                        ]
            frames.append(frame)
        # A study without a trial has columns of no type, which would spread to all others.
        types = {"study": "string", "number": "int64", "loss_terms": "string"}
        types |= {"on_front": "bool", "is_knee": "bool"}
        types |= {objective.metric: "float64" for objective in self.objectives}
        return pd.concat(frames, ignore_index=True).astype(types)


def fronts_info(
    records: Sequence[StudyRecord], confirmed: Sequence[Sequence[ConfirmedMean]]
) -> FrontsInfo:
    """The fronts of these studies.

    Args:
        records: at least one.
        confirmed: one entry a record.

    Raises:
        ParameterError: if their objectives differ.
    """
    shared_objectives(records)
    return FrontsInfo(
        studies=tuple(pareto_info(record) for record in records),
        confirmed=tuple(tuple(means) for means in confirmed),
    )
