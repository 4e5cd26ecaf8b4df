"""From Python: launch, resume, and everything that is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from kept_notes import KeptNotes

import ablate
from ablate.errors import (
    DataError,
    FingerprintError,
    StudyExistsError,
    StudyNotFoundError,
    UsageError,
)
from ablate.ledger.ledger import Ledger
from ablate.lifecycle.place import locate

Write = Callable[..., Path]


def ledger_of(study: Path) -> Ledger:
    place = locate(str(study))
    return Ledger.open(place.url, place.name)


def edit(file: Path, **keys: object) -> None:
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **keys}))


def test_launch_on_a_finished_study_gives_it_as_it_is(done: Path) -> None:
    before = ablate.read(done)
    assert ablate.launch(done, executor="inline") == before


@pytest.mark.slow
def test_more_rows_are_added_on_resume(done: Path) -> None:
    assert len(ablate.resume(done, add=1, executor="inline").rows) == 3
    assert len(ablate.resume(done, trials=4, executor="inline").rows) == 4
    with pytest.raises(UsageError, match=r"`trials`: must be at least the 4 trials .* got 1"):
        ablate.resume(done, trials=1)
    with pytest.raises(UsageError, match=r"`trials` and `add`: give one"):
        ablate.resume(done, trials=9, add=1)
    with pytest.raises(UsageError, match=r"`add`: must be at least 1, got 0"):
        ablate.resume(done, add=0)


def test_a_study_is_found_by_file_folder_and_url(
    done: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{work}/runs/done/study.db"
    expected = ablate.read(done)
    assert ablate.read("runs/done") == expected
    note = json.loads((work / "runs" / "done" / "run.json").read_text())
    assert note == {"name": "done", "storage": None}
    assert ablate.read(f"{url}#done") == expected
    monkeypatch.setenv("ABLATE_STORAGE", url)
    assert ablate.read("#done") == expected


def test_a_study_in_postgresql(
    write_study: Write, work: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_STORAGE", postgres_url)
    file = write_study("shared", search={"trials": 2})
    record = ablate.launch(file, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 2
    assert ablate.read("runs/shared") == record == ablate.read("#shared")
    password = postgres_url.split(":")[2].split("@", maxsplit=1)[0]
    assert password not in record.storage
    kept = [path for path in work.rglob("*") if path.is_file()]
    assert kept
    for path in kept:
        assert password.encode() not in path.read_bytes(), path


def test_a_study_that_is_begun_must_not_change(done: Path) -> None:
    edit(done, finetune={"budget": {"epochs": 3}, "batch_size": 24})
    for go_on in (ablate.launch, ablate.resume):
        with pytest.raises(FingerprintError, match=r"finetune\.budget\.epochs: 2 -> 3"):
            go_on(done, executor="inline")


@pytest.mark.slow
def test_what_changes_no_score_may_change(done: Path) -> None:
    edit(done, search={"trials": 2, "sampler": "tpe"}, question="Other words?")
    record = ablate.resume(done, add=1, executor="inline")
    assert record.study.search.sampler == "tpe"
    assert len(record.rows) == 3


@pytest.mark.slow
def test_another_environment_must_be_accepted(done: Path) -> None:
    edit(done, run={"cpus_per_trial": 2})
    with pytest.raises(FingerprintError, match=r"threads: 1 -> 2.*`accept_environment=True`"):
        ablate.resume(done, add=1, executor="inline")
    record = ablate.resume(done, trials=3, accept_environment=True, executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3


@pytest.mark.slow
def test_other_data_under_the_same_path_is_refused(
    write_study: Write, image_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(image_folder, copy)
    dataset = {"name": "image_folder", "path": str(copy), "image_size": 16}
    file = write_study("moving", dataset=dataset, search={"trials": 1})
    ablate.launch(file, executor="inline")
    rename(copy, "left", "lift")
    with pytest.raises(FingerprintError, match=r"study moving: .* got other names of classes\."):
        ablate.resume(file, add=1, executor="inline")
    rename(copy, "lift", "left")
    images = sorted((copy / "train" / "left").iterdir(), key=lambda file: file.stat().st_size)
    smaller, replaced = images[0], images[-1]
    status = replaced.stat()
    replaced.write_bytes(smaller.read_bytes().ljust(status.st_size, b"\0"))
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(FingerprintError, match=r"study moving: .* got other data\."):
        ablate.resume(file, add=1, executor="inline")


def rename(folder: Path, name: str, new: str) -> None:
    """A class, in both splits."""
    for split in ("train", "test"):
        (folder / split / name).rename(folder / split / new)


@pytest.mark.slow
def test_an_unfinished_study_is_not_begun_again(write_study: Write) -> None:
    file = write_study("unfinished", search={"trials": 1})
    ablate.launch(file, executor="inline")
    ledger_more = ablate.resume(file, executor="inline")
    assert len(ledger_more.rows) == 1

    ledger_of(file).set_trials(2)
    with pytest.raises(
        StudyExistsError, match=r"already exists and is unfinished .* Use `ablate resume"
    ):
        ablate.launch(file, executor="inline")
    assert len(ablate.launch(file, resume=True, executor="inline").rows) == 2


def test_a_study_that_was_never_launched(write_study: Write) -> None:
    with pytest.raises(StudyNotFoundError, match=r"study never: must have been launched"):
        ablate.resume(write_study("never"))


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("no-such-thing", r"no-such-thing: must be a study file, a run folder or URL#NAME"),
        ("#name", r"#name: needs ABLATE_STORAGE in the environment"),
        (".", r"\.: must be a run folder, got one without run\.json"),
    ],
)
def test_what_is_no_study(work: Path, reference: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        ablate.read(reference)


def test_a_run_folder_that_cannot_be_made(write_study: Write, work: Path) -> None:
    (work / "runs").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"runs/small: the run's folder must be writable, got"):
        ablate.launch(write_study(), executor="inline")


def test_a_change_that_waits_for_more_rows_says_so(done: Path) -> None:
    edit(done, search={"trials": 2, "sampler": "tpe", "pruner": {"min_epochs": 1}})
    for go_on in (ablate.launch, ablate.resume):
        listener = KeptNotes()
        assert len(go_on(done, executor="inline", progress=listener).rows) == 2
        (said,) = (note for note in listener.notes if "search.sampler" in note)
        assert said.startswith(
            "the study is finished, and this of its file was not read: search.sampler: 'random' -> "
            "'tpe'; search.pruner: nothing -> "
        )
        assert "to add trials with it: `ablate resume done.yaml --add N`; to run a" in said
        assert ledger_of(done).head.study.search.sampler == "random"


def test_a_file_that_asks_for_more_rows_says_how_to_get_them(done: Path) -> None:
    edit(done, search={"trials": 6, "sampler": "random"})
    listener = KeptNotes()
    assert len(ablate.launch(done, executor="inline", progress=listener).rows) == 2
    assert any("the file says 6 trials, the study has 2" in note for note in listener.notes)


def test_a_refused_driver_changes_nothing(done: Path) -> None:
    from ablate.errors import LeaseError

    lease = ledger_of(done).lease()
    lease.acquire()
    try:
        edit(done, search={"trials": 2, "sampler": "tpe"})
        with pytest.raises(LeaseError):
            ablate.resume(done, add=3, executor="inline")
        left = ablate.read(done)
        assert (left.trials, left.study.search.sampler) == (2, "random")
    finally:
        lease.release()


@pytest.mark.slow
def test_a_project_that_moved_goes_on(
    write_study: Write, image_folder: Path, work: Path, tmp_path: Path
) -> None:
    here = tmp_path / "one"
    shutil.copytree(image_folder, here / "data")
    dataset = {"name": "image_folder", "path": "data", "image_size": 16}
    file = write_study("moved", dataset=dataset, search={"trials": 1})
    first = here / "moved.yaml"
    file.rename(first)
    ablate.launch(first, executor="inline")
    here.rename(tmp_path / "two")
    record = ablate.resume(tmp_path / "two" / "moved.yaml", add=1, executor="inline")
    assert len(record.complete) == 2


@pytest.mark.slow
def test_a_training_seed_may_be_searched_and_a_confirmation_has_its_own(write_study: Write) -> None:
    space = {"finetune.seed": {"choice": [0, 1, 2, 3, 4, 5]}}
    short = {"budget": {"epochs": 1}, "batch_size": 24}
    search = {"trials": 3, "sampler": "random"}
    scored = {"suite": ["contrast"], "severities": [3]}
    file = write_study("seeds", space=space, finetune=short, search=search, robustness=scored)
    rows = ablate.launch(file, executor="inline").rows
    losses = {row.params["finetune.seed"]: row.curve[0]["train_loss"] for row in rows}
    assert len(losses) > 1
    assert len(set(losses.values())) == len(losses)
    ablate.confirm(file, seeds=2, executor="inline", progress=False)
    again = ablate.read("runs/seeds/confirm").rows
    for cell in {row.cell for row in again if row.curve}:
        of_cell = [row.curve[0]["train_loss"] for row in again if row.cell == cell]
        assert len(set(of_cell)) == len(of_cell) == 2, "each seed is another training"


def test_a_storage_in_memory_is_refused(write_study: Write) -> None:
    with pytest.raises(UsageError, match=r"storage: must be kept after the command ends, got"):
        ablate.launch(write_study("memory", storage="sqlite://"))


def test_a_run_folder_whose_note_is_damaged(work: Path) -> None:
    for note in (b'{"name"', b"[1]", b'{"name": "a", "storage": 5}', b"\xe9", b"[" * 100_000):
        (work / "run.json").write_bytes(note)
        with pytest.raises(StudyNotFoundError, match=r"run\.json: must contain name and storage"):
            ablate.read(work)
