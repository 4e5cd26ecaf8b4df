"""A study that was run again with new seeds and scored on the test images: of a front its
selection bias, and what its points gain there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ablate.ablation.cell import Arm, Design
from ablate.ablation.effects import arm_difference
from ablate.ablation.info import AblationInfo, ablation_info, info_of_results
from ablate.ablation.intervals import Estimate, t_interval
from ablate.ablation.results import BASELINE, Outcomes, References, Results, SplitName
from ablate.analysis.objectives import on_split
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.displayed import Displayed


@dataclass(frozen=True)
class ConfirmedPoint:
    """A confirmed trial of the front.

    Attributes:
        name: of its arm; metrics: that are compared, by their names on validation.
        selected: what the search chose it by, one seed.
        luck: that, less the fresh seeds on the same validation images: what selection has added.
            The search's score is of one seed and taken as it is, so the interval is over the
            fresh seeds, on these images.
        gains: on the test images, over the baseline: over the fresh seeds and images; at the level
            of the primary contrasts of `ConfirmInfo.test`, so that the intervals of all confirmed
            points hold together in 95 % of confirmations.
    """

    name: str
    metrics: tuple[str, ...]
    selected: Mapping[str, float]
    luck: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]


@dataclass(frozen=True)
class ConfirmInfo(Displayed):
    """A confirmation.

    Attributes:
        test: all arms on the test images; validation: on the validation images.
        points: of the front, in order; none of a confirmed ablation.
    """

    test: AblationInfo
    validation: AblationInfo
    points: tuple[ConfirmedPoint, ...]


def is_confirmation(record: StudyRecord) -> bool:
    """Whether a study confirms a front or an ablation: its test images are open."""
    return record.design is not None and record.test is not None


def study_ablation(record: StudyRecord, outcomes: Outcomes, references: References) -> AblationInfo:
    """Results of an ablation on the validation images, or of a confirmation on the test images.

    Args and raises: as `ablation_info`.
    """
    split: SplitName = "test" if is_confirmation(record) else "val"
    return ablation_info(record, outcomes, references, split=split)


def confirm_info(record: StudyRecord, outcomes: Outcomes, references: References) -> ConfirmInfo:
    """Results of a confirmation, from the runs that have ended so far.

    Args:
        record: of the confirmation; outcomes, references: as for `ablation_info`.

    Raises:
        ParameterError: if the study is not a confirmation.
    """
    if not is_confirmation(record) or record.design is None:
        raise ParameterError(
            f"study {record.name}: must be a confirmation, got another study. Name RUN/confirm, or "
            "run ablate confirm."
        )
    design = Design.from_json(record.design)
    on_test = Results(record, outcomes, references, "test")
    on_validation = Results(record, outcomes, references, "val")
    test = info_of_results(record, design, on_test, "test")
    asked = ["val_clean_accuracy", "val_robust_accuracy"]
    asked += [objective.metric for objective in record.study.objectives]
    metrics = tuple(
        metric
        for metric in dict.fromkeys(asked)
        if any(metric in selected for selected in design.selected.values())
    )
    baseline, points = Arm(BASELINE, (BASELINE,)), []
    for name, selected in design.selected.items():
        arm = Arm(name, (name,))
        luck = {
            metric: t_interval(selected[metric] - on_validation.values(name, metric))
            for metric in metrics
            if metric in selected
        }
        gains = {
            metric: arm_difference(on_test, arm, baseline, metric, test.level)
            for metric in (on_split(metric, "test") for metric in metrics)
            if np.isfinite(on_test.values(BASELINE, metric)).any()
        }
        points.append(ConfirmedPoint(name, metrics, selected, luck, gains))
    validation = info_of_results(record, design, on_validation, "val")
    return ConfirmInfo(test, validation, tuple(points))
