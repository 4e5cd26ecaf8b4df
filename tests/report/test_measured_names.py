"""What balanced accuracy, calibration and likelihood are called, and in which unit and direction
they are read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from example_results import make_scores

from ablate.ablation.mixtures import Ingredients
from ablate.analysis.objectives import amount_text, is_accuracy, metric_split, on_split
from ablate.analysis.pareto import reference_values
from ablate.errors import did_you_mean
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.report.figures.canvas import metric_axis
from ablate.report.numbers import metric_label, metric_text
from ablate.study.scores import TOTALS, clean_metric
from ablate.study.settings import ObjectiveSettings

ECE = ObjectiveSettings(metric="val_robust_ece", direction="minimize")


@pytest.mark.parametrize(
    ("metric", "axis", "text"),
    [
        ("val_balanced_accuracy", "Balanced accuracy (validation)", "12.5"),
        ("test_worst_type_accuracy", "Robust accuracy of the worst type (test)", "12.5"),
        (
            "val_robust_ece",
            "Robust expected calibration error (validation, less is better)",
            "0.125",
        ),
        ("test_nll", "Negative log-likelihood (test, less is better)", "0.125"),
        ("train_seconds", "Training time (s) (less is better)", "0.125"),
    ],
)
def test_axes_say_where_less_is_better(metric: str, axis: str, text: str) -> None:
    assert metric_axis(metric)["title"]["text"] == axis
    assert metric_text(metric, 0.125) == text
    assert is_accuracy(metric) == metric.endswith("accuracy")


def test_a_loss_is_a_score_and_no_fraction() -> None:
    assert metric_label("val_ece") == "Expected calibration error"
    assert metric_split("val_ece") == "validation"
    assert on_split("val_nll", "test") == "test_nll"
    assert amount_text("val_ece", 0.01) == "0.01"
    assert amount_text("val_worst_class_accuracy", 0.01) == "1 point"


def test_a_reference_has_scores_and_no_cost() -> None:
    cost = ObjectiveSettings(metric="train_seconds", direction="minimize")
    scores = make_scores(measures={"robust_ece": 0.25}, train_seconds=5.0)
    found = reference_values("baseline", scores, (ECE, cost))
    assert found[0] == 0.25
    assert math.isnan(found[1])
    assert reference_values("plain", scores, (ECE, cost)) == (0.25, 5.0)


def test_barriers_are_judged_by_means() -> None:
    def judged(*metrics: str) -> tuple[str, ...]:
        objectives = tuple(ObjectiveSettings(metric=metric) for metric in metrics)
        return Ingredients(0, {}, {}, make_scores(), objectives, None, (), 0.01).accuracies

    means = ("val_clean_accuracy", "val_robust_accuracy")
    assert judged("val_balanced_accuracy", "val_robust_worst_class_accuracy") == means
    assert judged(*means, "val_ece") == means
    assert judged("val_accuracy.noise") == (means[0], "val_accuracy.noise")


def test_the_nearest_name_begins_like_the_given_one() -> None:
    names = [f"val_{name}" for name in TOTALS]
    assert did_you_mean("val_robust", names) == "Did you mean val_robust_accuracy?"
    assert did_you_mean("val_balanced", names) == "Did you mean val_balanced_accuracy?"
    assert did_you_mean("val_rubust_ece", names) == "Did you mean val_robust_ece?"


def test_beside_a_loss_clean_accuracy_is_kept() -> None:
    """Its margin is of an accuracy."""
    assert clean_metric("val_robust_balanced_accuracy") == "val_balanced_accuracy"
    for metric in ("test_robust_nll", "test_robust_accuracy", "test_worst_type_accuracy"):
        assert clean_metric(metric) == "test_clean_accuracy"


def test_the_margin_is_of_balanced_accuracy_too() -> None:
    head = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
    pair = "[{metric: val_balanced_accuracy}, {metric: val_robust_balanced_accuracy}]"
    text = f"{head}answer: {{clean_margin: 0.02}}\nobjectives: {pair}\n"
    study = parse_study(text, "s.yaml", names=names_for, base=Path())
    assert study.answer.clean_margin == 0.02
