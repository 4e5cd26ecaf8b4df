"""Tables as they are printed, and the same as data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from example_records import TWO, example_record, example_row
from printed_tables import RECORD, lines, strict

from ablate.analysis.pareto import pareto_info
from ablate.lifecycle.dry_run import DryRun
from ablate.model.build import describe_layers
from ablate.report.terminal.lines import estimate_text
from ablate.report.terminal.tables import front_rows, front_table, layers_rows, layers_table
from ablate.report.terminal.trials import trials_table
from ablate.study.settings import ModelSettings
from ablate.trial.estimate import TrialEstimate


def test_front() -> None:
    printed = lines(front_table(pareto_info(RECORD)))
    assert printed[0] == "example: Pareto front, 2 of 3 complete trials (16 in all)"
    assert "trial clean % robust % loss terms parameters" in printed
    assert "baseline 95.0 60.0" in printed
    assert "plain finetune 96.0 (+1.0) 61.0 (+1.0)" in printed
    first = "0 94.0 (-1.0) 70.0 (+10.0) clean+fma mix noise 0.25, blur 0.75; fma.weight 2.12"
    second = "1 90.0 (-5.0) 80.0 (+20.0) clean+st st.weight 0.5"
    assert printed.index(first) < printed.index(second)
    assert not any(line.startswith("2 ") for line in printed)
    assert (
        "validation accuracy, %, n = 359 images, robust = mean over families of the mean over "
        "types; in brackets: gain over the baseline in points; hypervolume 0.014, reference point "
        "(85.0, 60.0); single seed (0), fingerprint abc123"
    ) in " ".join(printed)


@pytest.mark.parametrize("width", [80, 78])
def test_a_front_in_a_narrow_terminal_has_every_value(width: int) -> None:
    """A gain stands below its value."""
    params = {"loss.terms": "clean+da+fma", "finetune.learning_rate": 0.0123}
    record = example_record([example_row(0, (0.94, 0.705), params=params)])
    printed = lines(front_table(pareto_info(record)), width)
    assert any(line.startswith("0 94.0 70.5 clean+da+fma") for line in printed)
    assert any(line.startswith("(-1.0) (+10.5)") for line in printed)
    assert "learning_rate 0.0123" in " ".join(printed)


def test_front_of_nothing() -> None:
    info = pareto_info(example_record(references={}, reference_point=None))
    printed = lines(front_table(info))
    assert "Pareto front, 0 of 0 complete trials (16 in all)" in " ".join(printed)
    assert "hypervolume" not in " ".join(printed)
    assert front_rows(info) == []


def test_front_as_data() -> None:
    rows = strict(front_rows(pareto_info(RECORD)))
    assert [(row["name"], row["number"]) for row in rows] == [
        ("baseline", None), ("plain", None), ("trial", 0), ("trial", 1),
    ]  # fmt: skip
    assert rows[2]["values"] == {"val_clean_accuracy": 0.94, "val_robust_accuracy": 0.70}
    assert math.isclose(rows[2]["gains"]["val_robust_accuracy"], 0.10)
    assert rows[2]["params"]["augment.mix"] == {"noise": 0.25, "blur": 0.75}
    assert math.isclose(rows[2]["scores"]["val_accuracy.gaussian_blur.1"], 0.85)
    assert rows[3]["loss_terms"] == "clean+st"
    assert rows[3]["scores"] == {}


def test_front_as_data_where_the_baseline_is_not_scored() -> None:
    record = example_record([example_row(0, (0.9, 0.7))], references={}, reference_point=None)
    assert strict(front_rows(pareto_info(record)))[0]["gains"] == dict.fromkeys(TWO)


def test_layers_of_a_real_model() -> None:
    layers = describe_layers(ModelSettings(name="resnet8"))
    printed = lines(layers_table("resnet8", layers))
    assert printed[0] == f"resnet8: {len(layers)} layers for loss.fma.layers"
    first = layers[0]
    channels, height, width = first.shape
    shown = f"{first.name} {first.module} {channels} x {height} x {width} {channels} (axis 1)"
    assert shown in printed
    assert strict(layers_rows(layers))[0] == {
        "name": first.name,
        "module": first.module,
        "shape": [channels, height, width],
        "channel_axis": 1,
        "is_tap": True,
    }


def test_estimate() -> None:
    trial = TrialEstimate(45_000, 3_000, 287, 0.05, 12.0, 2.0, 600_000, 7_000_000)
    info = DryRun("example", 16, 2, 0.5, "cpu, avx2", "fp32", trial, 119.0, 0.03, 25_000_000)
    assert estimate_text(info).split("\n") == [
        "example: 16 trials and the plain finetune, 2 in parallel, 0.5 GPU each, on cpu, avx2 in "
        "fp32",
        "one trial: 12 s of training on 3,000 of 45,000 images, 2 s of scoring on 287",
        "total: 1 min 59 s plus the baseline, 0.03 GPU hours, 25 MB of disk",
        "note: timed alone; trials that share a GPU slow each other down",
    ]


def test_markup_in_a_name_is_printed_as_it_is() -> None:
    rows = [example_row(0, (0.9, 0.7), params={"loss.terms": "[red]x[/red]", "a.b": "[bold]"})]
    record = example_record(rows, name="[red]study")
    assert lines(front_table(pareto_info(record)))[0].startswith("[red]study: Pareto front")
    assert any("[red]x[/red] b [bold]" in line for line in lines(front_table(pareto_info(record))))
    assert any("b [bold]" in line for line in lines(trials_table(record)))
    assert Path(record.name).name == "[red]study"
