"""Numbers and names as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from ablate.report.numbers import (
    duration_text,
    metric_label,
    metric_text,
    param_text,
    reference_text,
    short_names,
    signed_text,
)
from ablate.study.json_data import json_value


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("test_robust_accuracy_unseen", "Robust accuracy, unseen families"),
        ("val_accuracy.gaussian_noise.3", "Accuracy, gaussian_noise, severity 3"),
        ("train_seconds", "Training time (s)"),
        ("energy", "energy"),
    ],
)
def test_labels(metric: str, label: str) -> None:
    assert metric_label(metric) == label


def test_an_accuracy_is_percent_and_a_gain_has_a_sign() -> None:
    assert metric_text("val_clean_accuracy", 0.96379) == "96.4"
    assert metric_text("train_seconds", 12.3456) == "12.35"
    assert metric_text("val_clean_accuracy", math.nan) == "-"
    assert reference_text(["val_clean_accuracy", "train_seconds"], (0.86, 60.0)) == "(86.0, 60)"
    gains = (12.34, -0.01, 0.01, 0.0, -0.0)  # a small loss is not said to be none
    assert [signed_text(gain, 1) for gain in gains] == ["+12.3", "-0.0", "+0.0", "0.0", "0.0"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_params_and_their_short_names() -> None:
    given = (0.0123456, 64, True, ["stem", "stage1"], {"noise": 0.25, "blur": 0.75})
    texts = ["0.0123", "64", "True", "stem+stage1", "noise 0.25, blur 0.75"]
    assert [param_text(value) for value in given] == texts
    keys = ["loss.fma.weight", "loss.st.weight", "augment.strength", "weight"]
    assert list(short_names(keys).values()) == ["fma.weight", "st.weight", "strength", "weight"]


def test_json_has_no_nan() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert json_value({"a": [math.nan, 1.5, (math.inf,)], "b": moment}) == {
        "a": [None, 1.5, [None]],
        "b": "2026-03-01T00:00:00+00:00",
    }
