"""The rows of a study as they are printed, and the same as data."""

from __future__ import annotations

import math

import pytest
from example_records import BEGAN, example_record, example_row, example_scores
from printed_tables import RECORD, lines, strict

from ablate.analysis.frame import trials_frame
from ablate.errors import ParameterError
from ablate.ledger.record import Attempt, Drive, Rung
from ablate.report.terminal.trials import trials_rows, trials_table


def test_trials() -> None:
    printed = lines(trials_table(RECORD))
    assert printed[0] == "example: 5 of 16 trials"
    assert "trial state clean % robust % parameters, or reason of failure" in printed
    assert "1 complete 90.0 80.0 st.weight 0.5; terms clean+st" in printed
    assert "3 fail - - raised: [boom] in step 3" in printed
    assert "4 running - - terms clean+fma" in printed
    assert printed[-3].startswith("- accuracies in %, on the validation split")


def test_several_attempts_are_shown_and_costs_if_they_are_asked_for() -> None:
    start = BEGAN.timestamp()
    attempts = [
        Attempt(1, start, start + 600, "lost", peak_memory_bytes=1_234_000_000),
        Attempt(2, start + 700, start + 4300, "complete", peak_gpu_bytes=9_000_000_000),
    ]
    row = example_row(0, (0.9, 0.7), attempts=attempts, params={"loss.terms": "clean+da+fma"})
    record = example_record([row], drives=[Drive(start, "here", 1, gpus_per_trial=0.5)])
    printed = lines(trials_table(record))
    assert "trial state clean % robust % attempts parameters, or reason of failure" in printed
    assert "0 complete 90.0 70.0 2 terms clean+da+fma" in printed
    asked = ["worked", "lost", "gpu_hours", "peak_memory", "peak_gpu"]
    assert "1 h 10 min 10 min 00 s 0.58 1.2 GB 9.0 GB" in lines(trials_table(record, asked))
    narrow = lines(trials_table(record), 45)
    assert "not shown (too wide): attempts" in narrow
    assert "0 complete 90.0 70.0" in " ".join(narrow)


def test_a_trial_that_was_stopped_says_where_and_how_far_beyond_a_constraint() -> None:
    scores = {"val_clean_accuracy": 0.8, "val_robust_accuracy": 0.6}
    row = example_row(0, None, state="PRUNED", rungs=[Rung(3, scores, True, 4)])
    constraints = [{"metric": "val_clean_accuracy", "min": 0.9}]
    judged = {"pruner": {"metric": "val_robust_accuracy"}}
    record = example_record([row], search=judged, constraints=constraints)
    printed = " ".join(lines(trials_table(record)))
    assert "stopped after epoch 3 at robust accuracy 60.0" in printed
    assert trials_frame(record)["rung_violation"].tolist() == pytest.approx([1 / 9])
    columns = ["trial", "rung_epoch", "rung_violation"]
    assert "0 3 0.1111" in lines(trials_table(record, columns))
    # On fewer images, what is relative to the baseline is not known.
    few = [example_row(0, None, state="PRUNED", rungs=[Rung(3, scores, True, 4, images=50)])]
    relative = [{"metric": "val_clean_accuracy", "min": "baseline - 0.01"}]
    known = (constraints, "0 3 0.1111")
    for of_rung, said in (known, (relative, "0 3 -"), ([*constraints, *relative], "0 3 -")):
        record = example_record(few, search={"pruner": {}}, constraints=of_rung)
        assert said in lines(trials_table(record, columns))
    waiting = example_record(
        [example_row(0, None, state="RUNNING")], search={"pruner": {}}, constraints=constraints
    )
    assert "0 - -" in lines(trials_table(waiting, columns))


@pytest.mark.parametrize(
    ("settings", "columns"),
    [
        ({"finetune": {"interpolation": {"alphas": [0.5, 1.0]}}}, ["alpha", "barrier"]),
        ({"search": {"pruner": {}}}, ["rung_epoch", "rung.robust", "rung.clean"]),
        ({"search": {"pruner": {"metric": "val_robust_accuracy"}}}, ["rung_epoch", "rung.robust"]),
    ],
)
def test_columns_are_known_before_a_trial_has_them(settings: dict, columns: list[str]) -> None:
    rows = [example_row(0, None, state="RUNNING")]
    printed = lines(trials_table(example_record(rows, **settings), ["trial", *columns]))
    assert f"0{' -' * len(columns)}" in printed
    with pytest.raises(ParameterError, match=f"got {columns[0]}"):
        trials_table(example_record(rows), columns)


def test_columns_are_chosen_by_the_names_of_the_table() -> None:
    printed = lines(trials_table(RECORD, ["trial", "robust", "fma.weight", "failure_kind"]))
    assert "trial robust % loss.fma.weight failure_kind" in printed
    assert "0 70.0 2.125 -" in printed
    assert "3 - - raised" in printed
    rows = strict(trials_rows(RECORD, ["number", "fma.weight"]))
    assert rows[:2] == [
        {"number": 0, "param.loss.fma.weight": 2.125},
        {"number": 1, "param.loss.fma.weight": None},
    ]
    with pytest.raises(ParameterError, match="columns: must be a column of the trials, got robst"):
        trials_table(RECORD, ["robst"])


def test_trials_as_data() -> None:
    rows = strict(trials_rows(RECORD))
    assert [row["number"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["param.augment.mix.noise"] == 0.25
    assert (rows[0]["worked_seconds"], rows[0]["lost_seconds"]) == (10.0, 0.0)
    assert rows[3]["failure_reason"] == "[boom] in step 3"
    assert rows[3]["finished"] == "2026-03-01T12:00:25+00:00"
    assert "finished" not in rows[4]
    assert "peak_memory_bytes" not in rows[0]
    nan = example_record([example_row(0, (math.nan, 0.7), scores=example_scores(0.9, 0.7))])
    assert strict(trials_rows(nan))[0]["val_clean_accuracy"] is None
