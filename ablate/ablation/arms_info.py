"""Arms of an ablation beside one another: what a bar chart shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ablation.cell import Design
from ablate.ablation.info import AblationInfo, ArmInfo
from ablate.ablation.results import BASELINE
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ArmsInfo:
    """Arms and what they scored.

    Attributes:
        ablation: what they are of, with all that has to be said beside them.
        metrics: that arms are compared in; families: accuracies that robust accuracy is made of.
        loss_terms: of each of the ablation's arms, as "clean+fma"; empty where its models differ in
            them, of the baseline, and of a training loop of the user's own.
    """

    ablation: AblationInfo
    metrics: tuple[str, ...]
    families: tuple[str, ...]
    loss_terms: tuple[str, ...]

    @property
    def arms(self) -> tuple[tuple[ArmInfo, str], ...]:
        """Those that were trained, with their loss terms."""
        both = zip(self.ablation.arms, self.loss_terms, strict=True)
        return tuple((arm, terms) for arm, terms in both if not arm.is_one_network)

    def baseline(self, metric: str) -> float:
        """Of the one network that all runs start from; NaN where there is none."""
        return baseline_of(self.ablation, metric)

    def frame(self) -> pd.DataFrame:
        """One row an arm and metric.

        Columns: arm, loss_terms, metric, method: string; is_baseline: boolean, whether it is the
        one network that all runs start from; mean, sd, low, high: float64, over seeds, in the
        metric's own unit (accuracies: fractions), NaN where there is none; n: int64, seeds.
        """
        import pandas as pd

        rows = [
            (
                *(arm.name, terms, metric, one.method, arm.is_one_network),
                *(one.mean, one.sd, one.low, one.high, one.n),
            )
            for arm, terms in zip(self.ablation.arms, self.loss_terms, strict=True)
            for metric in (*self.metrics, *self.families)
            if (one := arm.estimates.get(metric)) is not None
        ]
        names = ["arm", "loss_terms", "metric", "method", "is_baseline"]
        names += ["mean", "sd", "low", "high", "n"]
        types = dict.fromkeys(names[:4], "string") | {"is_baseline": "boolean"}
        types |= dict.fromkeys(names[5:9], "float64") | {"n": "int64"}
        return pd.DataFrame(rows, columns=names).astype(types)


def arms_info(
    record: StudyRecord,
    ablation: AblationInfo,
    metrics: Sequence[str],
    families: Sequence[str] = (),
) -> ArmsInfo:
    """Arms on some metrics.

    Args:
        record: of the ablation.
        metrics, families: some of the ablation's metrics.
    """
    return ArmsInfo(ablation, tuple(metrics), tuple(families), arm_terms(record, ablation))


def arm_terms(record: StudyRecord, ablation: AblationInfo) -> tuple[str, ...]:
    """The loss terms of each arm, as `ArmsInfo` says."""
    if record.design is None or record.study.trainable is not None:
        return ("",) * len(ablation.arms)
    design = Design.from_json(record.design)
    usual = record.study.loss.terms
    by_cell = {
        cell.name: str(cell.values.get("loss.terms", usual))
        for cell in design.cells
        if cell.name != BASELINE
    }
    terms = []
    for arm in ablation.arms:
        found = {by_cell.get(cell, "") for cell in arm.cells}
        terms.append(found.pop() if len(found) == 1 else "")
    return tuple(terms)


def baseline_of(ablation: AblationInfo, metric: str) -> float:
    """A metric of the one network that all runs start from; NaN where there is none."""
    found = (arm.estimates.get(metric) for arm in ablation.arms if arm.is_one_network)
    return next((one.mean for one in found if one is not None), math.nan)
