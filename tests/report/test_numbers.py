"""Numbers and names as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from ablate.report.numbers import (
    duration_text,
    gain_text,
    metric_label,
    metric_text,
    param_text,
    reference_text,
    short_names,
)
from ablate.study.json_data import json_value


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("val_clean_accuracy", "Clean accuracy"),
        ("test_robust_accuracy_unseen", "Robust accuracy, unseen families"),
        ("val_robust_accuracy_untrained", "Robust accuracy, types not trained on"),
        ("val_accuracy.noise", "Accuracy, noise"),
        ("val_accuracy.gaussian_noise.3", "Accuracy, gaussian_noise, severity 3"),
        ("train_seconds", "Training time (s)"),
        ("energy", "energy"),
    ],
)
def test_labels(metric: str, label: str) -> None:
    assert metric_label(metric) == label


def test_an_accuracy_is_percent_and_anything_else_is_not() -> None:
    assert metric_text("val_clean_accuracy", 0.96379) == "96.4"
    assert metric_text("train_seconds", 12.3456) == "12.35"
    assert metric_text("val_clean_accuracy", math.nan) == "-"
    assert reference_text(["val_clean_accuracy", "train_seconds"], (0.86, 60.0)) == "(86.0, 60)"


def test_gains_are_points_with_a_sign() -> None:
    assert gain_text("val_clean_accuracy", 0.1234) == "+12.3"
    assert gain_text("val_clean_accuracy", -0.0129) == "-1.3"
    # A small loss is not said to be none.
    assert gain_text("val_clean_accuracy", -0.0001) == "-0.0"
    assert gain_text("val_clean_accuracy", 0.0001) == "+0.0"
    for nothing in (0.0, -0.0):
        assert gain_text("val_clean_accuracy", nothing) == "0.0"
    assert gain_text("val_clean_accuracy", math.nan) == ""
    assert gain_text("train_seconds", 3.0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_params() -> None:
    assert param_text(0.0123456) == "0.0123"
    assert param_text(64) == "64"
    assert param_text(True) == "True"
    assert param_text(["stem", "stage1"]) == "stem+stage1"
    assert param_text({"noise": 0.25, "blur": 0.75}) == "noise 0.25, blur 0.75"


def test_short_names_are_told_apart() -> None:
    keys = ["loss.fma.weight", "loss.st.weight", "augment.strength", "weight"]
    assert short_names(keys) == {
        "loss.fma.weight": "fma.weight",
        "loss.st.weight": "st.weight",
        "augment.strength": "strength",
        "weight": "weight",
    }
    assert short_names([]) == {}


def test_json_has_no_nan() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert json_value({"a": [math.nan, 1.5, (math.inf,)], "b": moment, "c": None}) == {
        "a": [None, 1.5, [None]],
        "b": "2026-03-01T00:00:00+00:00",
        "c": None,
    }
