"""Tables as they are printed, and the same as data."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

from example_records import TWO, example_record, example_row, example_scores
from rich.console import Console
from rich.table import Table

from ablate.analysis.pareto import pareto_info
from ablate.analysis.summary import status_info
from ablate.dry_run import DryRun
from ablate.finetune.model.build import describe_layers
from ablate.ledger.record import Failure
from ablate.report.tables import (
    estimate_text,
    front_rows,
    front_table,
    layers_rows,
    layers_table,
    status_rows,
    status_table,
    trials_rows,
    trials_table,
)
from ablate.robustness.estimate import TrialEstimate
from ablate.study.settings import ModelSettings

RECORD = example_record(
    [
        example_row(
            0,
            (0.94, 0.70),
            scores=example_scores(0.94, 0.70),
            params={
                "loss.terms": "clean+fma",
                "loss.fma.weight": 2.125,
                "augment.mix": {"noise": 0.25, "blur": 0.75},
            },
        ),
        example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", "loss.st.weight": 0.5}),
        example_row(2, (0.90, 0.65)),
        example_row(3, None, state="FAIL", failure=Failure("raised", "[boom] in step 3")),
        example_row(4, None, state="RUNNING"),
    ]
)


def lines(table: Table) -> list[str]:
    """The printed lines, cells joined by one space."""
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    text = console.file.getvalue()
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in text.split("\n")]


def strict(rows: list) -> list:
    """As JSON gives them back; fails on NaN."""
    return json.loads(json.dumps(rows, allow_nan=False))


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


def test_trials() -> None:
    printed = lines(trials_table(RECORD))
    assert printed[0] == "example: 5 of 16 trials"
    assert "1 complete 90.0 80.0 - st.weight 0.5; terms clean+st" in printed
    assert "3 fail - - - raised: [boom] in step 3" in printed
    assert "4 running - - - terms clean+fma" in printed
    assert "accuracies in %, on the validation split" in printed


def test_trials_say_what_training_took() -> None:
    scores = example_scores(0.9, 0.7, train_seconds=75.0)
    trained = example_record([example_row(0, (0.9, 0.7), scores=scores)])
    assert any("1 min 15 s" in line for line in lines(trials_table(trained)))


def test_trials_as_data() -> None:
    rows = strict(trials_rows(RECORD))
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["param.augment.mix.noise"] == 0.25
    assert rows[3]["failure_reason"] == "[boom] in step 3"
    assert rows[3]["finished"] == "2026-03-01T12:00:25+00:00"
    assert "finished" not in rows[4]
    nan = example_record([example_row(0, (math.nan, 0.7))])
    assert strict(trials_rows(nan))[0]["val_clean_accuracy"] is None


def test_status() -> None:
    printed = lines(status_table(status_info(RECORD)))
    assert printed[0] == "example: 4 of 16 trials ended"
    assert "trials 1 running, 3 complete, 1 fail" in printed
    assert "best clean accuracy 94.0 % (trial 0)" in printed
    assert "best robust accuracy 80.0 % (trial 1)" in printed
    assert "hypervolume 0.014, reference point (85.0, 60.0)" in printed
    assert "rate 9.6 trials a minute" in printed
    assert "time left 1 min 15 s" in printed
    assert "failed: 1 raised: [boom] in step 3 (3)" in printed
    assert "storage sqlite:///runs/example/study.db" in printed


def test_status_of_nothing() -> None:
    info = status_info(example_record(references={}, reference_point=None))
    printed = lines(status_table(info))
    assert "trials none begun" in printed
    assert "hypervolume - (no reference point before the baseline is scored)" in printed
    assert "rate -" in printed
    assert "time left -" in printed
    (row,) = strict(status_rows(info))
    assert (row["hypervolume"], row["reference_point"], row["best"]) == (None, None, [])


def test_status_as_data() -> None:
    (row,) = strict(status_rows(status_info(RECORD)))
    assert row["counts"] == {"WAITING": 0, "RUNNING": 1, "COMPLETE": 3, "PRUNED": 0, "FAIL": 1}
    assert row["best"][1] == {"metric": "val_robust_accuracy", "value": 0.80, "number": 1}
    assert row["failures"] == [{"kind": "raised", "reason": "[boom] in step 3", "numbers": [3]}]


def test_layers_of_a_real_model() -> None:
    layers = describe_layers(ModelSettings(name="resnet8"))
    printed = lines(layers_table("resnet8", layers))
    assert printed[0] == f"resnet8: {len(layers)} layers for loss.fma.layers"
    first = layers[0]
    channels, height, width = first.shape
    assert f"{first.name} {first.module} {channels} x {height} x {width}" in printed
    assert strict(layers_rows(layers))[0] == {
        "name": first.name,
        "module": first.module,
        "shape": [channels, height, width],
    }


def test_estimate() -> None:
    trial = TrialEstimate(1150, 287, 0.05, 12.0, 2.0, 600_000, 7_000_000)
    info = DryRun("example", 16, 2, 0.5, "cpu, avx2", "fp32", trial, 119.0, 0.03, 25_000_000)
    assert estimate_text(info).split("\n") == [
        "example: 16 trials and the plain finetune, 2 at once, 0.5 GPU each, on cpu, avx2 in fp32",
        "one trial: 12 s of training on 1150 images, 2 s of scoring on 287",
        "all: 1 min 59 s without the baseline, 0.03 GPU hours, 25 MB of disk",
    ]


def test_markup_in_a_name_is_printed_as_it_is() -> None:
    rows = [example_row(0, (0.9, 0.7), params={"loss.terms": "[red]x[/red]", "a.b": "[bold]"})]
    record = example_record(rows, name="[red]study")
    assert lines(front_table(pareto_info(record)))[0].startswith("[red]study: Pareto front")
    assert any("[red]x[/red] b [bold]" in line for line in lines(front_table(pareto_info(record))))
    assert any("b [bold]" in line for line in lines(trials_table(record)))
    assert Path(record.name).name == "[red]study"
