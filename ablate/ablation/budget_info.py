"""What tuning has bought each arm: expected best score against the trials of its search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ablation.arms_info import arm_terms, baseline_of
from ablate.ablation.info import AblationInfo, TuningCurve
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BudgetInfo:
    """Arms that were tuned.

    Attributes:
        metric: that they were tuned on.
        curves: one an arm; loss_terms: of each, as in `ArmsInfo`.
        baseline: of the one network that all runs start from; NaN where there is none.
    """

    ablation: AblationInfo
    metric: str
    curves: tuple[TuningCurve, ...]
    loss_terms: tuple[str, ...]
    baseline: float

    def frame(self) -> pd.DataFrame:
        """One row an arm and number of trials.

        Columns: arm, loss_terms, metric: string; trials: int64, from 1; expected_best: float64, in
        the metric's own unit (accuracies: fractions), NaN where all trials failed; gain: float64,
        that less the baseline; is_random: boolean, whether the trials were independent draws, of
        which alone the expectation is exact.
        """
        import pandas as pd

        rows = [
            (curve.arm, terms, curve.metric, trials, score, score - self.baseline, curve.is_random)
            for curve, terms in zip(self.curves, self.loss_terms, strict=True)
            for trials, score in enumerate(curve.scores, start=1)
        ]
        types = {
            **dict.fromkeys(("arm", "loss_terms", "metric"), "string"),
            "trials": "int64",
            **dict.fromkeys(("expected_best", "gain"), "float64"),
            "is_random": "boolean",
        }
        return pd.DataFrame(rows, columns=list(types)).astype(types)


def budget_info(record: StudyRecord, ablation: AblationInfo) -> BudgetInfo | None:
    """The tuning of an ablation's arms, all by the same metric.

    Args:
        record: of the ablation.

    Returns:
        None of arms that were not tuned.
    """
    if not ablation.tuning:
        return None
    metric = ablation.tuning[0].metric
    curves = tuple(curve for curve in ablation.tuning if curve.metric == metric)
    names = (arm.name for arm in ablation.arms)
    terms = dict(zip(names, arm_terms(record, ablation), strict=True))
    return BudgetInfo(
        ablation,
        metric,
        curves,
        tuple(terms.get(curve.arm, "") for curve in curves),
        baseline_of(ablation, metric),
    )
