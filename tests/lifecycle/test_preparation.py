"""A study exists from its first second, reports what is being prepared, and can be restarted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from commands import COMMAND, run_here
from own_study import LOOP

import ablate
from ablate.ablation.design import planned_rows
from ablate.errors import (
    AblateError,
    DataError,
    FingerprintError,
    StudyNotFoundError,
    UsageError,
)
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head, StudyRecord
from ablate.lifecycle.ablation_reference import design_of, find_reference
from ablate.lifecycle.changes import of_parent
from ablate.lifecycle.place import place_of_file, shown_folder
from ablate.space.parse import parse_space
from ablate.study.preparation import PreparationStep
from ablate.study.settings import Study
from ablate.trial.workbench import Workbench

Write = Callable[..., Path]


def command(*arguments: str) -> str:
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prepared_until(driver: subprocess.Popen[bytes], what: str) -> StudyRecord:
    """The study as it stands once this step has got on."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        try:
            record = ablate.read("runs/long")
        except AblateError:  # not there yet
            time.sleep(0.05)
            continue
        step = record.preparing
        if step is not None and step.what == what and step.done:
            return record
        time.sleep(0.05)
    raise AssertionError(f"never seen: {what}")


@pytest.mark.long
def test_a_study_that_is_being_prepared(
    write_study: Write, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_study("long", baseline={"epochs": 2000}, search={"trials": 1})
    environment = {**os.environ, "ABLATE_CACHE": str(work / "cache")}
    driver = subprocess.Popen(
        [*COMMAND, "launch", str(file), "--executor", "inline"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        record = prepared_until(driver, "training the baseline")
        assert record.driver is not None
        assert record.preparing is not None
        assert record.preparing.total == 2000
        assert {row.state for row in record.rows} == {"WAITING"}  # the first points
        status = command("status", "runs/long")
        assert "training the baseline: " in status
        assert "of 2000 epochs" in status
        assert "no event log" not in command("logs", "runs/long")
        with pytest.raises(
            UsageError, match="is preparing it: wait, or run ablate report runs/long"
        ):
            ablate.write_report("runs/long", work / "long.html")
        with pytest.raises(ablate.AblateError, match="one driver at a time"):
            ablate.launch(file, executor="inline")
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    left = ablate.read("runs/long")
    assert left.driver is None
    assert "its driver has ended" in command("status", "runs/long")
    with pytest.raises(UsageError, match=r"never prepared\. Run it: ablate resume runs/long"):
        ablate.write_report("runs/long", work / "long.html")

    # Nothing was scored yet, so the file may still change.
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "baseline": {"epochs": 1}}))
    monkeypatch.delenv("OMP_NUM_THREADS")
    record = ablate.launch(file, executor="inline", accept_baseline=True)
    assert [row.state for row in record.rows] == ["COMPLETE"]
    assert record.preparing is None
    assert record.environment["baseline_threads"] == len(os.sched_getaffinity(0))


def test_what_cannot_be_prepared_is_not_begun(write_study: Write, work: Path) -> None:
    file = write_study("wrong", dataset={"name": "image_folder", "path": "nowhere"})
    for _ in range(2):
        with pytest.raises(DataError, match="nowhere"):
            ablate.launch(file, executor="inline")
        with pytest.raises(StudyNotFoundError):
            ablate.read("runs/wrong")


@pytest.mark.slow
def test_the_baseline_takes_its_own_threads(tmp_path: Path) -> None:
    study = Study(
        version=1,
        name="threads",
        dataset={"name": "digits", "image_size": 8, "train_fraction": 0.2},
        model={"name": "resnet8"},
        baseline={"epochs": 1, "batch_size": 200},
        robustness={"images": 20},
    )
    there = torch.get_num_threads()
    trained_on: list[int] = []

    def look(step: PreparationStep) -> None:
        if step.done:
            trained_on.append(torch.get_num_threads())

    def prepare(threads: int | None) -> str:
        bench = Workbench.get(study, Path(), tmp_path, baseline_threads=threads)
        bench.prepare(look)
        assert torch.get_num_threads() == study.run.cpus_per_trial
        return bench.baseline.key

    try:
        keys = {prepare(threads) for threads in (None, 2, 2)}
    finally:
        torch.set_num_threads(there)
    assert trained_on == [1, 2]  # other threads give other bits, so each has its own
    assert len(keys) == 2


def test_a_run_folder_is_shown_as_a_shell_takes_it(work: Path) -> None:
    assert shown_folder(work / "runs" / "mine") == "runs/mine"
    assert shown_folder(work / "runs" / "my study") == "'runs/my study'"


def test_what_was_never_prepared_is_resumed_with_the_file_as_it_is(write_own: Write) -> None:
    place = place_of_file(write_own("early"))
    assert place.study is not None
    space = parse_space(place.study, {})
    head = Head("0a1b2c3d", place.study, "", space.to_json(), str(place.base))
    place.make_folder()
    Ledger.create(place.url, head, trials=3)  # as a driver that is killed in its preparation
    if find_spec("tensorboard") is not None:
        with pytest.raises(UsageError, match="study early: must have started a trial, got one"):
            ablate.track(place.folder, ["tensorboard"])
    file = write_own("early", run={"max_failures": 3}, search={"trials": 3, "sampler": "tpe"})
    record = ablate.resume(file, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3
    assert (record.study.run.max_failures, record.study.search.sampler) == (3, "tpe")
    assert "run.max_failures: 0 -> 3" in record.notes


def test_a_resume_that_is_refused_changes_nothing(write_own: Write) -> None:
    file = write_own("kept")
    ablate.launch(file, executor="inline")
    write_own("kept", f"{LOOP}# edited\n", run={"max_failures": 3})
    with pytest.raises(FingerprintError, match="the code of loop_kept:train has changed"):
        ablate.resume(file, add=1, executor="inline")
    record = ablate.read(file)
    assert (record.study.run.max_failures, record.notes) == (0, ())
    ablate.resume(file, add=1, executor="inline", accept_environment=True)
    assert ablate.read(file).study.run.max_failures == 3


@pytest.mark.parametrize("in_file", [True, False])
def test_seeds_are_added_to_an_ablation_that_was_never_prepared(
    work: Path, *, in_file: bool
) -> None:
    (work / "own_loop.py").write_text(LOOP)
    file = work / "arms.yaml"
    file.write_text(
        "version: 1\nname: arms\ntrainable: own_loop:train\nfinetune: {budget: {epochs: 1}}\n"
        "objectives: [{metric: a}, {metric: b}]\n"
        "ablation: {design: one_at_a_time, seeds: 2, reference: {x: 0.25}, factors: {x: [0.75]}}\n"
    )
    place = place_of_file(file)
    study = place.study
    assert study is not None
    design = design_of(study, place.base, str(file), find_reference(study, place.base))
    head = Head("0a1b2c3d", study, "", parse_space(study, {}).to_json(), str(place.base))
    place.make_folder()
    planned = planned_rows(study, design)
    Ledger.create(place.url, replace(head, design=design.to_json()), len(planned), planned)
    if in_file:
        file.write_text(file.read_text().replace("seeds: 2", "seeds: 3"))
    record = ablate.resume(file, seeds=None if in_file else 3, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 6


def test_an_arm_with_another_network_has_another_baseline() -> None:
    study = Study.model_validate(
        {"version": 1, "name": "a", "dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
    )
    parent = Head("0a1b2c3d", study, "", {}, "/", {"data": "d"}, "abc", {"baseline_threads": 4})
    other = study.model_copy(update={"model": study.model.model_copy(update={"name": "resnet20"})})
    assert of_parent(parent, study) == {
        "parent": "a",
        "environment": {"baseline_threads": 4},
        "baseline_sha256": "abc",
        "accepted_baseline": "",
    }
    assert of_parent(parent, other)["baseline_sha256"] == ""


def test_a_run_folder_is_of_one_study(
    write_own: Write, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of trials are named by their number alone."""
    file = write_own("twice")
    ablate.launch(file, executor="inline")
    note = (work / "runs/twice/run.json").read_text()
    other = f"sqlite:///{work}/other.db"
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("ABLATE_STORAGE", other)
        with pytest.raises(
            UsageError, match=r"^runs/twice: must be a run folder of study twice in"
        ):
            ablate.launch(file, executor="inline")
    assert (work / "runs/twice/run.json").read_text() == note
    assert not Ledger.exists(other, "twice")
    assert ablate.resume(file, add=1, executor="inline").ended == 4
