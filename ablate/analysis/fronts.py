"""Fronts of one study or several in one plane, with confirmed values of their trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ablate.analysis.frame import typed_frame
from ablate.analysis.objectives import is_accuracy, shared_objectives
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ConfirmedMean:
    """A trial of a front, retrained with new seeds and scored on the same split.

    Attributes:
        number: of the trial.
        values: means, one per objective, all finite.
        low, high: bounds of the interval over seeds; NaN without an interval.
        sds: standard deviations over seeds; NaN of one seed.
        seeds: smallest number of seeds of these means.
    """

    number: int
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    sds: tuple[float, ...]
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

    def one_image(self, objective: int) -> float:
        """What one image is worth in an accuracy, as a fraction: in a robust one, if it changes in
        each corrupted copy. NaN of other metrics, and where studies have different images."""
        metric = self.objectives[objective].metric
        is_clean = metric.endswith("clean_accuracy")
        counts = {one.n_images if is_clean else one.n_corrupted for one in self.studies}
        count = counts.pop() if len(counts) == 1 and is_accuracy(metric) else None
        return 1 / count if count else math.nan

    def one_seed(self, objective: int) -> float:
        """Standard deviation over training seeds of a confirmed trial, pooled over the trials; NaN
        without a confirmation."""
        sds = [mean.sds[objective] for means in self.confirmed for mean in means]
        squares = [sd**2 for sd in sds if math.isfinite(sd)]
        return math.sqrt(fmean(squares)) if squares else math.nan

    def frame(self) -> pd.DataFrame:
        """One row a complete trial.

        Columns: study (text), number (int64), loss_terms (text), on_front, is_knee (bool), a
        float64 column an objective; where any front was confirmed also confirmed_seeds (Int64)
        and, an objective, confirmed.METRIC, confirmed.METRIC.low and .high (float64), missing of
        trials that were not confirmed.
        """
        metrics = [objective.metric for objective in self.objectives]
        types = {"study": "string", "number": "int64", "loss_terms": "string"}
        types |= {"on_front": "bool", "is_knee": "bool"} | dict.fromkeys(metrics, "float64")
        if any(self.confirmed):
            types["confirmed_seeds"] = "Int64"
            for metric in metrics:
                named = (f"confirmed.{metric}{ending}" for ending in ("", ".low", ".high"))
                types |= dict.fromkeys(named, "float64")
        rows = []
        for info, means in zip(self.studies, self.confirmed, strict=True):
            found, knee = {mean.number: mean for mean in means}, info.knee
            for point in info.points:
                row: list[Any] = [info.study, point.number, point.loss_terms, point.on_front]
                row += [point is knee, *point.values]
                mean = found.get(point.number)
                if mean is not None:
                    row.append(mean.seeds)
                    row += chain.from_iterable(zip(mean.values, mean.low, mean.high, strict=True))
                rows.append(row + [None] * (len(types) - len(row)))
        return typed_frame(types, rows)


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
