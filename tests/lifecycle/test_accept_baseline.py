"""A baseline that plain finetuning makes much better: the study stops before the first trial, and
goes on where a person accepts it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import ablate
from ablate.analysis.caveats import baseline_warning
from ablate.errors import UsageError
from ablate.lifecycle.open_study import open_study
from ablate.report.answer import study_answer
from ablate.study.baseline_checks import gain_rule, guess_rule
from ablate.study.seeds import is_plain
from ablate.study.settings import Study
from tests.commands import run_here
from tests.example_records import example_record, example_scores

Write = Callable[..., Path]
GAIN = r"plain finetuning raises clean accuracy by \d+\.\d points, from \d+\.\d to \d+\.\d % "


def write_untrained(write_study: Write) -> Path:
    """A search whose baseline has seen each digit twice: it has not converged."""
    return write_study(
        "early",
        dataset={"name": "digits", "image_size": 8, "train_fraction": 0.4},
        baseline={"epochs": 1, "learning_rate": 0.001, "batch_size": 64},
        finetune={"budget": {"images": 600}, "batch_size": 32, "learning_rate": 0.05},
        loss={"terms": "clean+da"},
        space={"finetune.learning_rate": {"float": [0.01, 0.1], "log": True}},
        robustness={"suite": ["contrast", "gaussian_noise"], "severities": [3], "images": 20},
        search={"trials": 1, "sampler": "random"},
    )


@pytest.mark.slow
def test_the_study_stops_before_its_first_trial(write_study: Write) -> None:
    file = write_untrained(write_study)
    told = run_here("launch", file, "--executor", "inline")
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    stopped = told.stderr
    assert stopped.startswith(
        "ablate: study early: the baseline must leave plain finetuning little"
    )
    for said in (
        "fed otherwise than it was trained (model.normalization, dataset.image_size, "
        "dataset.resize), or its training has not converged",
        "`ablate resume` with --accept-baseline",
    ):
        assert said in stopped
    record = ablate.read(file)
    assert (record.rows, set(record.references)) == ((), {"baseline", "plain"})
    assert record.accepted_baseline == ""
    with pytest.raises(UsageError, match=GAIN):  # and each time, without a second training
        ablate.resume(file, executor="inline")
    assert ablate.read(file).rows == ()
    going_on = run_here("resume", file, "--accept-baseline", "--executor", "inline")
    assert going_on.returncode == 0
    assert "early: plain finetune\n" not in going_on.stdout
    warning = f"warning: {ablate.read(file).accepted_baseline}: the baseline is fed wrongly or has"
    result = going_on.stdout[going_on.stdout.index("(1 of 1") :].splitlines()[1:]
    assert result[0].startswith(warning)
    shown = " ".join(run_here("status", file).stdout.split())
    assert shown.startswith("warning: plain finetuning raises")


@pytest.mark.slow
def test_every_result_says_first_that_it_was_accepted(write_study: Write) -> None:
    """Accepted beforehand, it waits for nothing; then in tables, page, archive, confirmation."""
    file = write_untrained(write_study)
    record = ablate.launch(file, accept_baseline=True, executor="inline")
    said = f"{record.accepted_baseline}: the baseline is fed wrongly or has not converged"
    assert re.match(GAIN, said)
    table = run_here("table", file, "--format", "md").stdout
    assert said in next(line for line in table.splitlines() if line)
    source = open_study(file).source
    assert study_answer(source).sentences[0].startswith(f"Warning: {said}")
    ablate.archive(file, "early.tar")
    assert ablate.verify("early.tar").warning.startswith(said)
    assert run_here("verify", "early.tar").stdout.startswith(f"warning: {said}")
    confirmed = run_here("confirm", file, "--seeds", 2, "--executor", "inline").stdout
    assert f"\nwarning: {said}" in confirmed


ARMS = {"DA": {"loss.terms": "clean+da"}, "plain": {"loss.terms": "clean"}}


@pytest.mark.slow
def test_an_ablation_runs_its_plain_row_first_and_stops_there(write_study: Write) -> None:
    """The row keeps its number, and nothing is run again when the study goes on."""
    search = write_untrained(write_study)

    data = yaml.safe_load(search.read_text())
    del data["space"], data["search"]
    data |= {"name": "arms", "ablation": {"design": "arms", "arms": ARMS, "seeds": 2}}
    file = search.with_name("arms.yaml")
    file.write_text(yaml.safe_dump(data))
    told = run_here("launch", file, "--executor", "inline")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert told.stderr.startswith("ablate: study arms: the baseline must leave plain finetuning")
    assert re.search(GAIN, told.stderr)
    stopped = ablate.read(file)
    assert [row.state for row in stopped.rows] == ["WAITING", "COMPLETE", "WAITING", "WAITING"]
    assert stopped.rows[1].cell == "plain"
    with pytest.raises(UsageError, match=GAIN):
        ablate.resume(file, executor="inline")
    assert ablate.read(file).rows == stopped.rows
    going_on = run_here("resume", file, "--accept-baseline", "--executor", "inline")
    assert going_on.returncode == 0
    record = ablate.read(file)
    assert [row.state for row in record.rows] == ["COMPLETE"] * 4
    assert record.rows[1] == stopped.rows[1]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"loss.terms": "clean", "finetune.learning_rate": 0.1}, True),
        ({"loss.terms": "clean", "baseline.seed": 0, "model.name": "resnet8"}, True),
        ({"loss.terms": "clean", "baseline.seed": 1}, False),  # another baseline
        ({"loss.terms": "clean", "model.name": "resnet20"}, False),
        ({"loss.terms": "clean", "finetune.budget.epochs": 0}, False),  # the baseline itself
        ({"finetune.learning_rate": 0.1}, False),
    ],
)
def test_which_rows_are_a_plain_finetune(params: dict[str, Any], expected: bool) -> None:
    data = {"version": 1, "name": "a", "dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
    study = Study.model_validate({**data, "loss": {"terms": "clean+da"}})
    assert is_plain(study, params) == expected


def test_what_a_plain_finetune_may_gain() -> None:
    """Up to 3 points, and up to 3 standard errors of the difference on the same images."""
    right = np.arange(1000) < 600
    few, more = (right | (np.arange(1000) >= place) for place in (980, 960))
    assert gain_rule(0.6, 0.62, 1000, (right, few)) is None  # 2 points, 4.5 standard errors
    found = gain_rule(0.6, 0.64, 1000, (right, more))
    assert found == (
        "plain finetuning raises clean accuracy by 4.0 points, from 60.0 to 64.0 % (standard "
        "error 0.6)"
    )
    assert gain_rule(0.6, 0.64, 1000, None) is None  # independent: a standard error of 2.2
    unlike = np.roll(more, 300)
    assert gain_rule(0.6, 0.64, 1000, (right, unlike)) is None
    assert gain_rule(0.6, 0.5, 1000, (right, ~right)) is None


def test_a_gain_that_does_not_stop_a_study_is_said_first() -> None:
    """Of few images 3 standard errors are many points: what may be wrong stands in the results."""

    def warning(gain: float, images: int) -> str:
        scores = {
            name: replace(example_scores(accuracy, 0.5), n_images=images)
            for name, accuracy in (("baseline", 0.51), ("plain", 0.51 + gain))
        }
        return baseline_warning(example_record([], references=scores))

    assert warning(0.11, 200) == (
        "plain finetuning raises clean accuracy by 11.0 points, from 51.0 to 62.0 % (standard "
        "error 4.9): the baseline may be fed wrongly, or not have converged"
    )
    assert warning(0.04, 200) == warning(0.025, 20_000) == ""
    # A network that was fed rightly gained 3.7 points, with a standard error of 3.7.
    assert warning(0.037, 365) == warning(0.073, 365) == ""
    assert "7.6 points" in warning(0.076, 365)


def test_a_baseline_that_is_no_better_than_a_guess() -> None:
    assert guess_rule(0.55, "cat", 0.549) is None
    assert str(guess_rule(0.51, "cat", 0.549)).startswith(
        "the baseline is right on 51.0 %, no more than a network that always answers cat (54.9 %)"
    )
