"""Balanced accuracy, worst class and type, calibration and likelihood in a study file: what may be
asked for, in which direction, and what sparse scores refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.study.metrics import is_by_image, larger_is_better
from ablate.study.settings import Study
from tests.study.conftest import without_columns

HEAD = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
BUDGET = "finetune: {budget: {images: 500}}\n"
ARMS = BUDGET + "ablation: {design: arms, seeds: 2, arms: {plain: {loss.terms: clean}, DA: {}}, "
SPARSE = "robustness: {suite: families_grey, cells: 0.5}\n"
BIASED = "needs all images under each cell, or it is biased, got robustness.cells 0.5. Write "


def read(text: str) -> Study:
    return parse_study(HEAD + text, "s.yaml", names=names_for, base=Path())


def refusals(text: str) -> list[str]:
    with pytest.raises(StudyFileError) as raised:
        read(text)
    return without_columns(raised.value)


def test_each_may_be_an_objective_or_a_constraint() -> None:
    study = read(
        "objectives:\n"
        "  - {metric: val_worst_class_accuracy}\n"
        "  - {metric: val_worst_type_accuracy}\n"
        "  - {metric: val_robust_nll, direction: minimize}\n"
        "constraints:\n"
        "  - {metric: val_ece, max: baseline + 0.01}\n"
        "  - {metric: val_nll, max: 1.5}\n"
        "  - {metric: val_robust_nll, max: baseline + 2}\n"
        "  - {metric: val_robust_balanced_accuracy, min: 0.5}\n"
    )
    assert not is_by_image(study)
    assert not larger_is_better("val_robust_nll", study.objectives)
    # A pruner compares what is no objective by what it is.
    assert not larger_is_better("val_ece", study.objectives)
    assert larger_is_better("val_balanced_accuracy", study.objectives)
    assert is_by_image(read("constraints: [{metric: val_ece, max: 0.1}]\n"))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "objectives: [{metric: val_ece}]\n",
            "s.yaml:5: objectives[0]: val_ece must be minimized, got maximize. Add direction: "
            "minimize.",
        ),
        (
            "objectives: [{metric: val_balanced_accuracy, direction: minimize}]\n",
            "s.yaml:5: objectives[0]: val_balanced_accuracy must be maximized, got minimize. Leave "
            "direction out.",
        ),
        (
            "constraints: [{metric: val_nll, max: 0}]\n",
            "s.yaml:5: constraints[0].max: must be above 0, because val_nll is, got 0. No trial "
            "would keep it: change it.",
        ),
        (
            f"{SPARSE}objectives: [{{metric: val_worst_type_accuracy}}]\n",
            f"s.yaml:6: objectives[0].metric: val_worst_type_accuracy {BIASED}robustness.images "
            "for fewer images, or choose another metric.",
        ),
        (
            f"{SPARSE}constraints: [{{metric: val_robust_ece, max: 0.1}}]\n",
            f"s.yaml:6: constraints[0].metric: val_robust_ece {BIASED}robustness.images for fewer "
            "images, or choose another metric.",
        ),
        (
            f"{SPARSE}search: {{pruner: {{metric: val_robust_balanced_accuracy}}}}\n",
            f"s.yaml:6: search.pruner.metric: val_robust_balanced_accuracy {BIASED}"
            "robustness.images for fewer images, or choose another metric.",
        ),
        (
            f"{SPARSE}{ARMS}primary: [{{compare: DA, to: plain, "
            "metric: val_robust_worst_class_accuracy}]}\n",
            f"s.yaml:7: ablation.primary[0].metric: val_robust_worst_class_accuracy {BIASED}"
            "robustness.images for fewer images, or choose another metric.",
        ),
    ],
)
def test_refused(written: str, message: str) -> None:
    assert message in refusals(written)


def test_sparse_scores_give_the_others() -> None:
    read(
        f"{SPARSE}objectives:\n  - {{metric: val_balanced_accuracy}}\n"
        "  - {metric: val_robust_nll, direction: minimize}\n"
    )
    claims = "primary: [{compare: DA, to: plain, metric: val_ece}]"
    study = read(f"{SPARSE}{ARMS}{claims}, noninferior: {{metric: val_robust_nll, margin: 0.1}}}}")
    assert is_by_image(study)
