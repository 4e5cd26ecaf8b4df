"""The displays: plain lines in a pipe, a panel on a terminal, and many threads at once."""

from __future__ import annotations

import io
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from example_records import example_record, example_row
from rich.console import Console

from ablate.ledger.record import Failure
from ablate.report.terminal.live import Display, LiveDisplay, PlainDisplay, make_display
from ablate.search.progress import Guarded
from ablate.study.preparation import PreparationStep

RECORD = example_record([example_row(0, (0.94, 0.70)), example_row(1, None, state="RUNNING")])


def terminal(height: int = 25) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=100, height=height, color_system=None
    )


def panel(display: LiveDisplay) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(display.render())
    return console.file.getvalue()


def run(display: Display | Guarded) -> None:
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at it is one second later."""
    monkeypatch.setattr("ablate.report.terminal.live.time.monotonic", itertools.count().__next__)


@pytest.mark.usefixtures("clock")
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
        "trial 1 complete: clean accuracy 90.0, robust accuracy 80.0 (2 of 4, 2 s left)",
        "trial 2 failed: not_finite: loss is NaN [step 3] (3 of 4, 1 s left)",
    ]


@pytest.mark.usefixtures("clock")
def test_the_searches_of_an_ablation_have_a_pace_each() -> None:
    console = Console(file=io.StringIO(), width=40)
    display = PlainDisplay(console, "example")
    for name in ("example~00-DA", "example~01-FMA"):
        display.totals(replace(RECORD, name=name, rows=(), trials=3))
        for number in (0, 1):
            display.started(number)
            display.finished(example_row(number, (0.9, 0.8)))
    left = [line.rpartition(", ")[2] for line in console.file.getvalue().splitlines()]
    assert [one for one in left if "left" in one] == ["2 s left)", "1 s left)"] * 2


@pytest.mark.usefixtures("clock")
def test_a_line_a_step_and_how_far_it_is_every_ten_seconds() -> None:
    console = Console(file=io.StringIO(), width=200)
    display = PlainDisplay(console, "example")
    for epoch in range(1, 13):
        display.preparing(PreparationStep("training the baseline", epoch, 12, "epochs"))
    display.preparing(PreparationStep("scoring the baseline"))
    assert console.file.getvalue().splitlines() == [
        "example: training the baseline: 1 of 12 epochs",
        "example: training the baseline: 11 of 12 epochs",
        "example: scoring the baseline",
    ]


def test_a_closed_pipe_does_not_stop_the_study() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as file:
        display = Guarded(PlainDisplay(Console(file=file), "example"))
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
    assert display._progress() == ("400 of 400", "")
    assert display._best[0].point.trials == (399,)


def test_trials_that_begin_again_count_once_and_enqueued_ones_too() -> None:
    display = LiveDisplay(terminal(), "example")
    try:
        display.totals(replace(RECORD, trials=4))
        for _ in range(2):
            display.started(1)
            assert "starting" in panel(display)
            display.epoch(1, 2, 4, 0.5)
        assert "1 complete, 1 running, 2 waiting" in panel(display)
        display.started(4)
        assert "1 complete, 2 running, 2 waiting" in panel(display)
    finally:
        display.close()


def test_many_trials_leave_room_for_notes() -> None:
    """What is printed above a panel that fills the screen scrolls away at once."""
    display = LiveDisplay(terminal(height=24), "example")
    try:
        display.totals(replace(RECORD, trials=64))
        for number in range(2, 42):
            display.started(number)
            display.epoch(number, 1, 2, float("nan"))
        lines = panel(display).splitlines()
    finally:
        display.close()
    assert len(lines) <= 24 - 4
    assert any(line.startswith("trial 15 ") for line in lines)
    assert any(line.strip() == "and 26 more" for line in lines)
    assert not any("nan" in line for line in lines), "an own loop need not say its loss"
