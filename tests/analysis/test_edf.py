"""Empirical distributions: shares by hand, by loss terms, of several studies."""

from __future__ import annotations

import math

import pytest
from example_records import example_record, example_row

from ablate.analysis.edf import edf_info
from ablate.report.figures.edf import plot_edf

ROWS = [
    example_row(0, (0.9, 0.7)),
    example_row(1, (0.8, math.nan)),
    example_row(2, (0.7, 0.9), params={"loss.terms": "clean+st"}),
    example_row(3, None, state="FAIL"),
]


def test_the_share_of_trials_with_at_most_a_value() -> None:
    frame = edf_info([example_record(ROWS)]).frame()
    of_clean = frame[(frame.metric == "val_clean_accuracy") & (frame.loss_terms == "clean+fma")]
    assert list(zip(of_clean.value, of_clean.share, strict=True)) == [(0.8, 0.5), (0.9, 1.0)]
    of_robust = frame[frame.metric == "val_robust_accuracy"]
    assert list(of_robust.value) == [0.7, 0.9], "what is not finite is left out"


def test_several_studies_are_a_line_each() -> None:
    info = edf_info([example_record(ROWS), example_record(ROWS[:1], name="other")])
    assert [(one.study, one.loss_terms) for one in info.distributions] == [
        ("example", ""), ("other", ""),
    ]  # fmt: skip
    figure = plot_edf(info)
    baseline = [trace for trace in figure.data if trace.name == "Baseline"]
    assert [trace.showlegend for trace in baseline] == [True, False]
    lines = [trace for trace in figure.data if trace not in baseline]
    first, _, _, last = lines
    assert list(first.x) == pytest.approx([0.7, 0.7, 0.8, 0.9])
    assert list(first.y) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (first.line.shape, first.name, last.name) == ("hv", "example (3)", "other (1)")
    assert [trace.showlegend for trace in lines] == [True, True, False, False]


def test_a_study_without_a_complete_trial_has_no_line() -> None:
    empty = example_record([example_row(0, None, state="PRUNED")], name="other")
    figure = plot_edf(edf_info([example_record(ROWS), empty]))
    lines = [trace for trace in figure.data if trace.name != "Baseline"]
    assert {trace.name for trace in lines} == {"example (3)", "example (2)"}
    nothing = plot_edf(edf_info([empty, empty]))
    assert nothing.layout.annotations[0].text == "no complete trial"


def test_nothing_yet() -> None:
    info = edf_info([example_record()])
    assert (info.distributions, len(info.frame())) == ((), 0)
    assert plot_edf(info).layout.annotations[0].text == "no complete trial"
