"""The frame's columns and their types."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from example_records import TWO, example_record, example_row, example_scores

from ablate.analysis.columns import (
    CELL,
    CURVE,
    LEADING,
    PARAM,
    RUNG,
    RUNG_EPOCH,
    RUNG_IMAGES,
    RUNG_VIOLATION,
    TRAILING,
    VIOLATION,
    column_heading,
    known_columns,
)
from ablate.analysis.frame import trials_frame
from ablate.ledger.record import Failure
from ablate.study.scores import RESERVED, RESERVED_PREFIXES

FIXED = [
    "number", "state", "attempt", *TWO,
    "failure_kind", "failure_reason", "enqueued", "copy_of",
    "worked_seconds", "lost_seconds", "gpu_hours", "peak_memory_bytes", "peak_gpu_bytes", "hosts",
    "started", "finished", "duration_seconds",
]  # fmt: skip


def test_an_empty_study_has_the_fixed_columns() -> None:
    frame = trials_frame(example_record())
    assert list(frame.columns) == FIXED
    assert len(frame) == 0
    assert frame["number"].dtype == "int64"
    assert frame["val_clean_accuracy"].dtype == "float64"
    assert list(frame["state"].cat.categories) == [
        "WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL", "OUTSIDE",
    ]  # fmt: skip
    assert str(frame["started"].dt.tz) == "UTC"


@pytest.mark.parametrize(
    ("pruner", "columns"),
    [({}, [RUNG_EPOCH]), ({"images": 100}, [RUNG_EPOCH, RUNG_IMAGES])],
)
def test_columns_of_rungs_are_known_before_a_row_reaches_one(
    pruner: dict[str, Any], columns: list[str]
) -> None:
    record = example_record(search={"pruner": pruner})
    assert [name for name in known_columns(record, []) if name.startswith("rung_")] == columns


def test_rows_and_types() -> None:
    frame = trials_frame(
        example_record(
            [
                example_row(
                    0,
                    (0.94, 0.70),
                    scores=example_scores(0.94, 0.70),
                    params={
                        "loss.terms": "clean+fma",
                        "loss.fma.layers": ["stem", "stage1"],
                        "augment.mix": {"noise": 0.25, "blur": 0.75},
                        "finetune.batch_size": 64,
                        "dataset.horizontal_flip": True,
                        "augment.strength": 1,
                    },
                ),
                example_row(
                    1,
                    None,
                    state="FAIL",
                    params={"loss.terms": "clean+st", "augment.strength": 0.5},
                    failure=Failure("not_finite", "loss is NaN in epoch 2"),
                    seconds=4,
                ),
                example_row(2, None, state="WAITING", params={}, enqueued=True),
            ]
        )
    )
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["state"].tolist() == ["COMPLETE", "FAIL", "WAITING"]
    assert frame["attempt"].tolist() == [1, 1, 0]
    assert frame["val_robust_accuracy"][0] == pytest.approx(0.70)
    assert math.isnan(frame["val_robust_accuracy"][1])
    assert frame["val_accuracy.gaussian_blur.5"][0] == pytest.approx(0.75)
    assert frame["param.loss.fma.layers"].fillna("none").tolist() == ["stem+stage1", "none", "none"]
    assert frame["param.augment.mix.noise"][0] == 0.25
    assert {name: str(frame[name].dtype) for name in frame if name.startswith(PARAM)} == {
        "param.augment.mix.blur": "float64",
        "param.augment.mix.noise": "float64",
        "param.augment.strength": "float64",
        "param.dataset.horizontal_flip": "boolean",
        "param.finetune.batch_size": "Int64",
        "param.loss.fma.layers": "string",
        "param.loss.terms": "string",
    }
    assert frame["failure_kind"].fillna("").tolist() == ["", "not_finite", ""]
    assert frame["duration_seconds"].tolist()[:2] == [10.0, 4.0]
    assert frame["enqueued"].tolist() == [False, False, True]
    assert frame["lost_seconds"].tolist()[:2] == [0.0, 4.0]
    assert math.isnan(frame["worked_seconds"][2])
    assert frame["peak_memory_bytes"].dtype == "Int64"
    assert pd.isna(frame["started"][2])
    assert frame["finished"][0] == pd.Timestamp("2026-03-01T12:00:10Z")
    assert list(frame.columns)[:5] == ["number", "state", "attempt", *TWO]


def test_no_metric_may_be_named_like_a_column() -> None:
    rung = (RUNG_EPOCH, RUNG_IMAGES, RUNG_VIOLATION)
    columns = {*LEADING, *CELL, *CURVE, VIOLATION, *rung, *TRAILING, "ended_trials"}
    assert {*columns, *map(column_heading, LEADING)} == RESERVED
    assert RESERVED_PREFIXES == (PARAM, RUNG)
