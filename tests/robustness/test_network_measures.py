"""Balanced accuracy, the worst class and type, calibration and likelihood, of any answers, against
scikit-learn and plain loops."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score
from torch import nn

from ablate.data.dataset import Split
from ablate.model.environment import Environment
from ablate.robustness.bits import Outcomes, SetOutcomes
from ablate.robustness.measures import class_measures, measure_network
from ablate.robustness.score import score_images
from ablate.study.scores import MEASURES, TOTALS, Scores, less_is_better, metric_names

CLASSES = 4
FAMILIES = {"noise": ("gaussian_noise", "shot_noise"), "weather": ("fog",)}
TYPES = [kind for kinds in FAMILIES.values() for kind in kinds]


def answers(probabilities: np.ndarray, labels: np.ndarray) -> Outcomes:
    likely = probabilities.argmax(axis=1)
    of_label = probabilities[np.arange(len(labels)), labels]
    return Outcomes(likely == labels, None, probabilities.max(axis=1), np.log(of_label))


def probabilities(random: np.random.Generator, n: int) -> np.ndarray:
    return random.dirichlet(np.full(CLASSES, 0.5), n) * 0.98 + 0.02 / CLASSES


def calibration_by_loops(probability: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al. 2017, eq. 3, as it is written."""
    total = 0.0
    for place in range(15):
        inside = [
            row
            for row in range(len(labels))
            if place / 15 < probability[row].max() <= (place + 1) / 15
        ]
        if inside:
            right = fmean(float(probability[row].argmax() == labels[row]) for row in inside)
            sure = fmean(float(probability[row].max()) for row in inside)
            total += len(inside) / len(labels) * abs(right - sure)
    return total


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, CLASSES))
def test_classes_are_those_of_scikit_learn(seed: int, n: int, present: int) -> None:
    random = np.random.default_rng(seed)
    labels, given_answers = random.integers(0, present, n), random.integers(0, CLASSES, n)
    found = class_measures(given_answers == labels, labels, CLASSES)
    there = np.unique(labels)
    recall = recall_score(labels, given_answers, labels=there, average=None, zero_division=0)
    assert found["worst_class_accuracy"] == pytest.approx(recall.min())
    assert found["balanced_accuracy"] == pytest.approx(recall.mean())
    if set(given_answers) <= set(labels) and len(there) > 1:  # or scikit-learn warns
        expected = balanced_accuracy_score(labels, given_answers)
        assert found["balanced_accuracy"] == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(1, 20),
    st.sampled_from(("families", "types")),
)
def test_measures_of_a_network_are_those_of_plain_loops(
    seed: int, n: int, n_copies: int, mean_over: Literal["families", "types"]
) -> None:
    random = np.random.default_rng(seed)
    labels, copy_labels = random.integers(0, CLASSES, n), random.integers(0, CLASSES, n_copies)
    clean = probabilities(random, n)
    copies = {(kind, at): probabilities(random, n_copies) for kind in TYPES for at in (1, 5)}
    found = SetOutcomes(
        answers(clean, labels), {cell: answers(one, copy_labels) for cell, one in copies.items()}
    )
    accuracies = {
        kind: {str(at): found.cells[kind, at].accuracy for at in (1, 5)} for kind in TYPES
    }
    scores = Scores("val", n, 0.5, accuracies, FAMILIES, mean_over=mean_over)
    measures = measure_network(found, scores, labels, copy_labels, CLASSES)
    assert {*measures} == {*MEASURES}

    def mean(values: dict[tuple[str, int], float]) -> float:
        """As a reader of the documentation would: severities, types, families."""
        types = {kind: fmean([values[kind, 1], values[kind, 5]]) for kind in TYPES}
        if mean_over == "types":
            return fmean(types.values())
        return fmean(fmean(types[kind] for kind in kinds) for kinds in FAMILIES.values())

    def likelihood(probability: np.ndarray, of: np.ndarray) -> float:
        return float(log_loss(of, probability, labels=range(CLASSES)))

    assert measures["nll"] == pytest.approx(likelihood(clean, labels))
    assert measures["ece"] == pytest.approx(calibration_by_loops(clean, labels))
    by_cell = {cell: likelihood(one, copy_labels) for cell, one in copies.items()}
    assert measures["robust_nll"] == pytest.approx(mean(by_cell))
    by_cell = {cell: calibration_by_loops(one, copy_labels) for cell, one in copies.items()}
    assert measures["robust_ece"] == pytest.approx(mean(by_cell))
    recalls = []
    for label in {*copy_labels.tolist()}:
        of_class = copy_labels == label
        recalls.append(
            mean({cell: float(one.correct[of_class].mean()) for cell, one in found.cells.items()})
        )
    assert measures["robust_balanced_accuracy"] == pytest.approx(fmean(recalls))
    assert measures["robust_worst_class_accuracy"] == pytest.approx(min(recalls))
    by_type = [fmean(row.values()) for row in accuracies.values()]
    metrics = Scores(**{**vars(scores), "measures": measures}).metrics()
    assert metrics["val_worst_type_accuracy"] == min(by_type)
    assert all(metrics[f"val_{name}"] == value for name, value in measures.items())


def test_even_classes_have_the_accuracies() -> None:
    random, labels = np.random.default_rng(0), np.arange(40) % CLASSES
    found = SetOutcomes(
        answers(probabilities(random, 40), labels),
        {(kind, 1): answers(probabilities(random, 40), labels) for kind in TYPES},
    )
    accuracies = {kind: {"1": found.cells[kind, 1].accuracy} for kind in TYPES}
    assert found.clean is not None
    scores = Scores("val", 40, found.clean.accuracy, accuracies, FAMILIES)
    measures = measure_network(found, scores, labels, labels, CLASSES)
    assert measures["balanced_accuracy"] == pytest.approx(scores.clean_accuracy)
    assert measures["robust_balanced_accuracy"] == pytest.approx(scores.robust_accuracy)
    assert measures["robust_worst_class_accuracy"] < scores.robust_accuracy


def test_a_network_scores_the_probability_of_the_label(environment: Environment) -> None:
    images = torch.randint(0, 256, (30, 3, 4, 4), dtype=torch.uint8)
    labels = torch.arange(30) % CLASSES
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES))
    outcomes = score_images(network, Split(images, labels, "d"), environment)
    with torch.no_grad():
        logits = network(images.float() / 255)
    expected = nn.functional.cross_entropy(logits, labels)
    assert outcomes.negative_log_likelihood == pytest.approx(float(expected), rel=1e-5)
    assert math.isclose(
        float(np.exp(outcomes.log_probability).max()),
        float(logits.softmax(1).gather(1, labels[:, None]).max()),
        rel_tol=1e-5,
    )


def test_each_has_a_direction_and_may_be_an_objective() -> None:
    names = metric_names(FAMILIES, (1, 5))
    for name, total in TOTALS.items():
        assert (f"val_{name}" in names) == total.is_objective
    losses = {name for name in MEASURES if less_is_better(f"val_{name}")}
    assert losses == {"ece", "robust_ece", "nll", "robust_nll"}
    assert all(map(less_is_better, ("test_ece", "train_seconds")))
    # Another name is not taken for one of these.
    assert not any(map(less_is_better, ("ece", "my_ece")))
