"""A study whose trials fail alike, or too often, is stopped early and can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from kept_notes import KeptNotes

import ablate
from ablate.cli.main import main
from ablate.errors import ParameterError, StoppedError

Write = Callable[..., Path]

LOOP = """
def train(context):
    number = context.number
    {code}
    for epoch in range(1, context.epochs + 1):
        context.report(epoch, {{"a": 0.5, "b": 0.5}})
"""
BROKEN = "{}['weight']"


@pytest.fixture
def write(work: Path) -> Write:
    def study(code: str, trials: int = 12, **keys: Any) -> Path:
        (work / "failing.py").write_text(LOOP.format(code=code))
        run, epochs = {"parallel": 2, **keys.pop("run", {})}, keys.pop("epochs", 2)
        content = {
            "version": 1,
            "name": "failing",
            "trainable": "failing:train",
            "finetune": {"budget": {"epochs": epochs}},
            "space": {"x": {"float": [0.0, 1.0]}},
            "objectives": [{"metric": "a"}, {"metric": "b"}],
            "search": {"trials": trials, "sampler": "random", **keys},
            "run": run,
        }
        file = work / "failing.yaml"
        file.write_text(yaml.safe_dump(content))
        return file

    return study


def states(file: Path) -> list[str]:
    return [row.state for row in ablate.read(file).rows]


def go_on(file: Path, **options: Any) -> None:
    ablate.resume(file, executor="inline", accept_environment=True, **options)


def test_a_broken_loop_is_stopped_after_its_first_rows(write: Write) -> None:
    file = write(BROKEN)
    done = CliRunner().invoke(main, ["launch", str(file), "--executor", "inline"])
    assert done.exit_code == 1
    said, *traceback = done.stderr.splitlines()
    place = file.with_name("failing.py")
    assert said == (
        "ablate: 2 trials failed with the same error and none succeeded; the last, trial 1: "
        f"KeyError: 'weight' ({place}:4). Fix it, then run `ablate resume`; if you change your own "
        "training loop, add --accept-environment."
    )
    assert traceback[-1] == "KeyError: 'weight'"
    assert states(file) == ["FAIL", "FAIL"]
    # The same once more: one row is enough.
    with pytest.raises(StoppedError, match=r"^3 trials failed with .*, trial 2: KeyError: 'weig"):
        go_on(file)
    # Corrected: what has failed stays failed, and the rest is run.
    (file.parent / "failing.py").write_text(LOOP.format(code=""))
    go_on(file)
    assert states(file) == ["FAIL"] * 3 + ["COMPLETE"] * 9


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "if number < 4: raise [KeyError, ValueError][number % 2](number)",
        "if number < 4: context.report(1, {'a': float('nan')})",
        "if 0 < number < 5: raise KeyError(number)",
    ],
)
def test_what_is_no_broken_loop_goes_on(write: Write, code: str) -> None:
    file = write(code)
    record = ablate.launch(file, executor="inline")
    assert (len(record.rows), record.count("FAIL")) == (12, 4)


def test_in_python_a_study_of_failures_alone_is_an_error_with_the_first_reason(
    write: Write,
) -> None:
    file = write("raise KeyError(number)", 2)
    for _ in range(2):  # as it ends, and where it has ended
        with pytest.raises(StoppedError) as stop:
            ablate.launch(file, executor="inline", progress=False)
        assert str(stop.value) == (
            "study failing: needs a trial that does not fail, got 2 that all did; the first, trial "
            "0: KeyError: 0. Correct that in a study of another name."
        )
    assert states(file) == ["FAIL", "FAIL"]


def test_trials_that_were_pruned_do_not_show_that_the_loop_works_to_its_end(write: Write) -> None:
    """A metric of a constraint may be reported with the last epoch alone."""
    file = write("", 12, run={"parallel": 1}, pruner={"reduction_factor": 2}, epochs=2)
    study = yaml.safe_load(file.read_text()) | {"constraints": [{"metric": "speed", "max": 1}]}
    file.write_text(yaml.safe_dump(study))
    (file.parent / "failing.py").write_text(LOOP.format(code="").replace("0.5", "abs(number - 2)"))
    with pytest.raises(StoppedError, match=r"^2 trials failed with the same error .*, trial \d: "):
        ablate.launch(file, executor="inline")
    assert states(file).count("FAIL") == 2
    assert "PRUNED" in states(file)


@pytest.mark.slow
def test_more_failures_than_may_be_stop_a_study(write: Write) -> None:
    code = "if number % 2 or number > 4: raise KeyError(number)"
    file = write(code, 10, run={"max_failed_fraction": 0.3, "max_failures": 1})
    with pytest.raises(StoppedError) as stop:
        ablate.launch(file, executor="inline")
    assert str(stop.value).startswith(
        "4 of 10 trials have failed, more than run.max_failed_fraction (0.3) allows; the "
        "last, trial 6: KeyError: 6 ("
    )
    assert states(file) == ["COMPLETE", "FAIL"] * 2 + ["COMPLETE", "FAIL", "FAIL"]
    assert ablate.read(file).rows[-1].attempt == 2
    # Each resume goes on to the next failure; with a larger fraction to the end.
    with pytest.raises(StoppedError, match=r"^5 of 10 trials have failed"):
        go_on(file)
    write(code, 10, run={"max_failed_fraction": 1})
    go_on(file)
    assert len(states(file)) == 10


def test_a_wrong_metric_on_resume_stops_the_study(write: Write) -> None:
    pruner = {"metric": "a", "min_epochs": 1, "reduction_factor": 2}
    file = write("", 3, pruner=pruner, epochs=3)
    ablate.launch(file, executor="inline", progress=KeptNotes())
    write("", 3, pruner={**pruner, "metric": "aa"}, epochs=3)
    with pytest.raises(ParameterError, match="must be reported after epoch 1, got a, b without aa"):
        go_on(file, add=4)
    assert states(file) == [*["COMPLETE"] * 3, "RUNNING"]


@pytest.mark.slow
def test_a_metric_that_no_report_has_is_said_once(write: Write) -> None:
    pruner = {"metric": "speed", "min_epochs": 1, "reduction_factor": 2}
    file = write("", 4, pruner=pruner, epochs=3)
    with pytest.raises(ParameterError) as stop:
        ablate.launch(file, executor="inline")
    assert str(stop.value) == (
        "search.pruner.metric: must be reported after epoch 1, got a, b without speed. Report it "
        "at each rung, or name another metric in the study file; then run `ablate resume FILE`."
    )
    assert states(file) == ["RUNNING"]
