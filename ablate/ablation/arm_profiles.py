"""Accuracy of each arm of an ablation by type and severity, as the mean over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from ablate.ablation.figure_infos import arm_terms
from ablate.ablation.info import AblationInfo
from ablate.ablation.results import BASELINE
from ablate.analysis.caveats import study_basis
from ablate.analysis.profile import Network, ProfileInfo, profiles_of
from ablate.ledger.record import StudyRecord
from ablate.study.scores import Scores

MOST_ARMS = 8


def arms_profile(record: StudyRecord, ablation: AblationInfo) -> ProfileInfo:
    """The profiles of an ablation's arms, or of a confirmation's points.

    Args:
        record: of the ablation; its runs are scored on the split of `ablation`.

    Returns:
        The baseline, then the first `MOST_ARMS` arms with a complete run; of an arm of several
        models, the mean over these too.
    """
    is_test = ablation.split == "test"
    references = record.test_references if is_test else record.references
    named: list[Network] = []
    if BASELINE in references:
        named.append((BASELINE, None, "", references[BASELINE]))
    for arm, terms in zip(ablation.arms, arm_terms(record, ablation), strict=True):
        if arm.is_one_network:
            continue
        found = [
            row.test_scores if is_test else row.scores
            for row in record.rows
            if row.cell in arm.cells and row.state == "COMPLETE"
        ]
        scored = [scores for scores in found if isinstance(scores, Scores)]
        if scored and len(named) <= MOST_ARMS:
            named.append((arm.name, None, terms, _mean(scored)))
    basis = {
        **vars(study_basis(record)),
        "split": ablation.split,
        "n_images": ablation.n_images,
        "n_corrupted": ablation.n_corrupted,
    }
    return ProfileInfo(**basis, **profiles_of(named), on_front=0, seeds=ablation.seeds)


def _mean(scores: Sequence[Scores]) -> Scores:
    """Scores of the same types, averaged; a type is seen where the first network has seen it."""
    first = scores[0]
    accuracies = {
        kind: {
            severity: fmean(one.accuracies[kind][severity] for one in scores) for severity in row
        }
        for kind, row in first.accuracies.items()
    }
    clean = fmean(one.clean_accuracy for one in scores)
    return replace(first, clean_accuracy=clean, accuracies=accuracies)
