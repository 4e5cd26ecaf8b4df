"""The displays: plain lines in a pipe, a panel on a terminal, and many threads at once."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from example_records import example_record, example_row, example_scores
from rich.console import Console

from ablate.ledger.record import Failure
from ablate.report.terminal.live import Display, LiveDisplay, PlainDisplay, make_display
from ablate.report.terminal.status import Epoch, Standing, time_left
from ablate.study.preparation import PreparationStep

RECORD = example_record([example_row(0, (0.94, 0.70)), example_row(1, None, state="RUNNING")])


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def panel(display: LiveDisplay) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(display.render())
    return console.file.getvalue()


def run(display: Display) -> None:
    display.preparing(PreparationStep("training the baseline"))
    unscored = example_record(references={}, reference_point=None, trials=4)
    display.totals(unscored)
    display.started(None)
    display.epoch(None, 1, 2, 0.5)
    display.totals(replace(RECORD, trials=4))
    display.started(1)
    display.epoch(1, 1, 2, float("nan"))
    display.finished(example_row(1, (0.90, 0.80)))
    display.started(2)
    display.finished(
        example_row(2, None, state="FAIL", failure=Failure("not_finite", "loss is NaN [step 3]"))
    )
    display.started(3)


def test_a_baseline_s_cost_is_not_its_value() -> None:
    """It is that of its own training, which no finetuning is compared with."""
    console = Console(file=io.StringIO(), width=200)
    display = make_display(console, "example")
    objectives = [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")]
    references = {
        name: example_scores(0.95, 0.6, train_seconds=73.0) for name in ("baseline", "plain")
    }
    display.totals(example_record(objectives=objectives, references=references))
    assert console.file.getvalue() == (
        "example: 0 of 16 trials ended; baseline: clean accuracy 95.0; plain: clean accuracy 95.0, "
        "training time (s) 73\n"
    )


def test_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=40)
    display = make_display(console, "example")
    assert isinstance(display, PlainDisplay)
    run(display)
    display.close()
    display.close()
    display.preparing(PreparationStep("nobody hears"))
    assert console.file.getvalue().splitlines() == [
        "example: training the baseline",
        "example: 0 of 4 trials ended",
        "example: plain finetune",
        "example: 1 of 4 trials ended; "
        "baseline: clean accuracy 95.0, robust accuracy 60.0; "
        "plain: clean accuracy 96.0, robust accuracy 61.0",
        "trial 1 complete: clean accuracy 90.0, robust accuracy 80.0 (2 of 4, 20 s left)",
        "trial 2 failed: not_finite: loss is NaN [step 3] (3 of 4, 10 s left)",
    ]


def test_a_line_a_step_and_how_far_it_is_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("ablate.report.terminal.live.time.monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=200)
    display = PlainDisplay(console, "example")
    for epoch, now in ((1, 101.0), (2, 102.0), (3, 112.0), (4, 113.0)):  # noqa: B007
        display.preparing(PreparationStep("training the baseline", epoch, 9, "epochs"))
    display.preparing(PreparationStep("scoring the baseline"))
    assert console.file.getvalue().splitlines() == [
        "example: training the baseline: 1 of 9 epochs",
        "example: training the baseline: 3 of 9 epochs",
        "example: scoring the baseline",
    ]


def test_a_closed_pipe_does_not_stop_the_study() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as file:
        display = PlainDisplay(Console(file=file), "example")
        for _ in range(3):
            display.preparing(PreparationStep("training the baseline" * 1000))
        run(display)


def test_panel() -> None:
    console = terminal()
    display = make_display(console, "example")
    assert isinstance(display, LiveDisplay)
    try:
        display.preparing(PreparationStep("training the baseline"))
        assert panel(display).split("\n")[0].split()[0] == "example"
        assert "training the baseline" in panel(display)
        display.preparing(PreparationStep("training the baseline", 3, 12, "epochs", 1950.4, 40.2))
        assert "3 of 12 epochs, 1,950 images a second, 40 s left" in panel(display)
        run(display)
        display.epoch(3, 1, 4, 0.25)
        text = panel(display)
    finally:
        display.close()
        display.close()
    escapes = console.file.getvalue()
    assert escapes.rindex("\x1b[?25h") > escapes.rindex("\x1b[?25l"), "the cursor is shown again"
    assert "3 of 4" in text
    assert "2 complete, 1 fail, 1 running" in text
    assert "trial 3" in text
    assert "epoch 1 of 4  loss 0.25" in text
    assert "plain finetune" not in text
    assert "best clean accuracy 94.0 (trial 0)" in text
    assert "best robust accuracy 80.0 (trial 1)" in text
    assert "left" in text.split("\n")[0]
    assert "training the baseline" not in text


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_many_threads_at_once(kind: type) -> None:
    display = kind(terminal(), "example")
    display.totals(example_record(trials=400))

    def work(first: int) -> None:
        for number in range(first, 400, 8):
            display.started(number)
            display.epoch(number, 1, 2, 0.5)
            if kind is LiveDisplay:
                display.render()
            display.finished(example_row(number, (number / 400, 0.7)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    display.close()
    assert display._standing.counts() == {"complete": 400}
    assert display._standing.best[0].number == 399


def test_a_standing_counts_trials_that_begin_again_once_and_enqueued_ones_too() -> None:
    standing = Standing()
    standing.reset(replace(RECORD, trials=4))
    standing.start(1, 0.0)
    standing.epoch(1, Epoch(2, 4, 0.5))
    standing.start(1, 5.0)
    assert standing.running == {1: None}
    assert standing.counts() == {"complete": 1, "running": 1, "waiting": 2}
    standing.start(4, 0.0)
    assert (standing.trials, standing.counts()["running"]) == (5, 2)


def test_time_left() -> None:
    standing = Standing()
    standing.reset(example_record(trials=5))
    assert standing.seconds_left(0.0) is None
    standing.start(0, 0.0)
    standing.start(1, 0.0)
    standing.finish(example_row(0, (0.9, 0.7)))
    # Four rows of 10 s, one of them 4 s old, two at once.
    assert standing.seconds_left(4.0) == pytest.approx((40 - 4) / 2)
    assert time_left(10, 0, [], 2) == 0
    assert time_left(10, 2, [9.0, 4.0], 2) == pytest.approx(3.5)
    assert time_left(10, 1, [25.0], 4) == 0


def test_many_trials_leave_room_for_notes() -> None:
    """What is printed above a panel that fills the screen scrolls away at once."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=24)
    display = LiveDisplay(console, "example")
    try:
        display.totals(replace(RECORD, trials=64))
        for number in range(2, 42):
            display.started(number)
            display.epoch(number, 1, 2, float("nan"))
        lines = panel(display).splitlines()
        assert len(lines) <= 24 - 4
        assert any(line.startswith("trial 15 ") for line in lines)
        assert any(line.strip() == "and 26 more" for line in lines)
        assert not any("nan" in line for line in lines), "an own loop need not say its loss"
    finally:
        display.close()
