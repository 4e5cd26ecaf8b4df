"""A custom training loop in a worker: turns, ends, checkpoints, and every bad loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.files.durable import Checkpoint
from ablate.finetune.budget import SaveInterval
from ablate.ledger.record import Row
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial import own_loop
from ablate.trial.task import Job, Report, log_file
from ablate.trial.worker import Worker

SEEDS = Seeds(split=1, train=2, evaluation=3)
Start = Callable[..., Worker]
Run = Callable[..., list[Report]]

LOOP = """
def train(trial):
    total = 0
    if trial.checkpoint is not None:
        total = int((trial.checkpoint / "deep" / "total").read_text())
    for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        total = total * 31 + epoch + trial.seed
        (trial.checkpoint_folder / "deep").mkdir(exist_ok=True)
        (trial.checkpoint_folder / "deep" / "total").write_text(str(total))
        trial.report(epoch, {"a": total, "b": trial.params["net.width"], "train_loss": 1 / epoch})
"""


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts a worker for the function `train` of a module's text."""
    workers: list[Worker] = []
    module = f"loop_{abs(hash(request.node.nodeid))}"

    def of(code: str, *, epochs: int = 3, **sections: Any) -> Worker:
        (tmp_path / f"{module}.py").write_text(code)
        study = Study.model_validate(
            {
                "version": 1,
                "name": "own",
                "trainable": f"{module}:train",
                "finetune": {"budget": {"epochs": epochs}},
                "objectives": [{"metric": "a"}, {"metric": "b"}],
                **sections,
            }
        )
        folders = (str(tmp_path / name) for name in ("cache", "run", "checkpoints"))
        worker = Worker(Job(study, str(tmp_path), *folders))
        workers.append(worker)
        return worker

    yield of
    for worker in workers:
        worker.close()


@pytest.fixture
def run(start: Start) -> Run:
    """Runs one row of a module's text to its end."""

    def of(code: str, *, checkpoints: tuple[Checkpoint, ...] = (), **given: Any) -> list[Report]:
        worker = start(code, **given)
        worker.begin(row(checkpoints=checkpoints))
        return to_end(worker)

    return of


def row(number: int = 12, attempt: int = 1, checkpoints: tuple[Checkpoint, ...] = ()) -> Row:
    return Row(number, attempt, {"net.width": 4}, SEEDS, checkpoints)


def to_end(worker: Worker) -> list[Report]:
    reports = [worker.step()]
    while not reports[-1].done:
        reports.append(worker.step())
    return reports


def test_a_report_an_epoch_and_the_last_scores(run: Run) -> None:
    reports = run(LOOP)
    entries = [report.entry for report in reports]
    assert [entry["epoch"] for entry in entries if entry] == [1, 2, 3]
    assert [entry["train_loss"] for entry in entries if entry] == [1, 1 / 2, 1 / 3]
    assert reports[-1].scores == {"reported": {"a": 3012, "b": 4, "train_loss": 1 / 3}}
    assert [report.scores for report in reports[:-1]] == [None, None]
    assert Report.from_text(reports[-1].to_text()) == reports[-1]


def test_no_epoch_begins_before_the_one_before_was_handed_over(start: Start) -> None:
    code = "BEGUN = []\n" + LOOP.replace("total = total * 31", "BEGUN.append(epoch)\n        total")
    worker = start(code)
    worker.begin(row())
    worker.step()
    assert worker.job.study.trainable is not None
    begun = sys.modules[worker.job.study.trainable.partition(":")[0]].BEGUN
    assert begun == [1]
    worker.step()
    assert begun == [1, 2]


@pytest.mark.parametrize("durable", [1, 2])
def test_a_resumed_loop_gives_the_bits_of_one_that_was_not_stopped(
    start: Start, durable: int
) -> None:
    worker = start(LOOP)
    worker.begin(row())
    whole = to_end(worker)
    kept = tuple(Checkpoint(**r.checkpoint) for r in whole[:durable] if r.checkpoint)
    worker.begin(row(attempt=2, checkpoints=kept))
    resumed = to_end(worker)
    assert [r.entry["epoch"] for r in resumed if r.entry] == list(range(durable + 1, 4))
    assert resumed[-1].scores == whole[-1].scores
    assert resumed[0].place is not None
    assert resumed[0].place["first_epoch"] == durable
    again = [r.checkpoint["sha256"] for r in resumed if r.checkpoint]
    assert again == [r.checkpoint["sha256"] for r in whole[durable:] if r.checkpoint]


def test_a_torn_checkpoint_falls_back_and_is_said_once(start: Start) -> None:
    worker = start(LOOP)
    worker.begin(row())
    whole = to_end(worker)
    kept = tuple(Checkpoint(**r.checkpoint) for r in whole if r.checkpoint)
    Path(kept[-1].uri).write_bytes(b"torn")
    worker.begin(row(attempt=2, checkpoints=kept))
    resumed = to_end(worker)
    places = [report.place for report in resumed if report.place]
    assert places[0]["first_epoch"] == 1
    assert places[0]["note"].startswith("resumed from epoch 1: no checkpoint of epoch 2 (")
    assert "note" not in places[1]
    assert resumed[-1].scores == whole[-1].scores


def test_without_files_nothing_is_saved(run: Run, tmp_path: Path) -> None:
    reports = run("def train(t):\n  for e in range(3): t.report(e + 1, {'a': 1, 'b': 2})\n")
    assert [report.checkpoint for report in reports] == [None] * 3
    assert not (tmp_path / "checkpoints").exists()


def test_a_loop_may_end_early_and_be_resumed_after_its_last_epoch(start: Start) -> None:
    code = LOOP.replace("trial.epochs + 1", "3")
    worker = start(code)
    worker.begin(row())
    whole = to_end(worker)
    assert [report.entry is None for report in whole] == [False, False, True]
    assert whole[1].checkpoint is not None
    worker.begin(row(attempt=2, checkpoints=(Checkpoint(**whole[1].checkpoint),)))
    assert worker.step().scores == whole[-1].scores


AMID = """
def train(trial):
    total = 0
    if trial.checkpoint is not None:
        total = int((trial.checkpoint / "total").read_text())
    for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        for step in range(trial.start_step if epoch == trial.start_epoch + 1 else 0, 4):
            total = total * 31 + 10 * epoch + step
            if trial.save_due:
                (trial.checkpoint_folder / "total").write_text(str(total))
            if step < 3:
                trial.save(step + 1)
        trial.report(epoch, {"a": total, "b": 1})
"""


def test_a_loop_saves_amid_an_epoch_and_goes_on_there(start: Start) -> None:
    plain = start(AMID)
    plain.begin(row())
    whole = to_end(plain)
    assert len(whole) == 3  # nothing is due within 300 s
    worker = start(AMID, run={"checkpoint_seconds": 1e-9})
    for stop in (1, 2, 3):
        worker.begin(row())
        reports = []
        while len(reports) < stop:
            # A write is followed by 100 times what it took: here every step is to be one.
            worker._interval = SaveInterval(1e-9)
            reports.append(worker.step())
        assert [report.entry for report in reports] == [None] * stop
        assert [report.progress for report in reports] == [(0, step + 1) for step in range(stop)]
        kept = tuple(Checkpoint(**r.checkpoint) for r in reports if r.checkpoint)
        worker.begin(row(attempt=2, checkpoints=kept[-2:]))
        resumed = to_end(worker)
        assert resumed[-1].scores == whole[-1].scores
        entries = [report.entry for report in resumed if report.entry]
        assert [entry["epoch"] for entry in entries] == [1, 2, 3]
        assert entries[0]["seconds"] > kept[-1].seconds > 0
        place = resumed[0].place
        assert place is not None
        assert (place["first_epoch"], place["first_step"]) == (0, stop)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("save(0)", "steps must be saved in order, got 0 after step 0. Call save(step) with "),
        ("save(3); t.report(1, {'a': 1}); t.save(1); t.save(1)", "got 1 after step 1"),
        (
            "report(1, {'a': 1, 'b': 1}); t.save(1)",
            "save must be called before the last epoch ends, got 1 of 1 epochs done. Return after "
            "the last",
        ),
    ],
)
def test_a_bad_save_is_a_failure_with_its_reason(run: Run, call: str, reason: str) -> None:
    last = run(f"def train(t): t.{call}\n", epochs=2 if "save(3)" in call else 1)[-1]
    assert last.failure is not None
    assert reason in last.failure["reason"]


def test_a_save_that_is_due_needs_files(run: Run) -> None:
    last = run("def train(t): t.save(1)\n", run={"checkpoint_seconds": 1e-9})[-1]
    assert last.failure is not None
    assert "save needs files in checkpoint_folder, got none. Write the" in last.failure["reason"]


NO_FILES = {
    "os.mkfifo(f / 'pipe')": "a FIFO: pipe",
    "socket.socket(socket.AF_UNIX).bind(str(f / 'talk'))": "a socket: talk",
    "(f / 'out').symlink_to('/etc/hostname')": "a link out of the folder: out",
    "(f / 'nowhere').symlink_to('gone')": "a broken link: nowhere",
}


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file_is_refused_by_name(run: Run, make: str) -> None:
    code = (
        "import os, socket\n"
        f"def train(t):\n    f = t.checkpoint_folder; {make}\n"
        "    for e in range(t.epochs): t.report(e + 1, {'a': 1, 'b': 1})\n"
    )
    last = run(code)[-1]
    assert last.failure is not None
    assert last.failure["kind"] == "raised"
    assert (
        f"checkpoint_folder must contain only regular files and folders, got {NO_FILES[make]}. "
        "Move it to another folder." in last.failure["reason"]
    )


def test_links_within_the_folder_are_kept(start: Start) -> None:
    code = (
        "def train(t):\n"
        "    f = t.checkpoint_folder; e = t.start_epoch\n"
        "    if e == 0:\n"
        "        (f / 'step-1').mkdir(); (f / 'step-1' / 'x').write_text('7')\n"
        "        (f / 'last').symlink_to('step-1'); (f / 'a').symlink_to(f / 'step-1' / 'x')\n"
        "    else:\n"
        "        assert (t.checkpoint / 'last').is_symlink()\n"
        "        assert (t.checkpoint / 'last' / 'x').read_text() == '7'\n"
        "        assert (t.checkpoint / 'a').read_text() == '7'\n"
        "    for e in range(e, t.epochs): t.report(e + 1, {'a': 1, 'b': 1})\n"
    )
    worker = start(code)
    worker.begin(row())
    first = worker.step().checkpoint
    assert first is not None
    worker.begin(row(attempt=2, checkpoints=(Checkpoint(**first),)))
    assert to_end(worker)[-1].failure is None


BAD = {
    "report(1, {'a': 1}); t.report(3, {'a': 1, 'b': 1})": (
        "epochs must be reported in order, got 3 instead of 2. Call report(epoch, scores) once "
        "per epoch."
    ),
    "report('one', {'a': 1})": "got 'one' instead of 1",
    "params": "must report at least one epoch, got a function that returned without a report. Call "
    "context.report(epoch, scores).",
    "report(1, {'a': 1})": "the last report must have every objective and constraint, got a "
    "without b. Report b with the last epoch.",
    "report(1, {})": "got none without a",
    "report(1, {'a': 'high', 'b': 1})": "scores must be numbers, got a: 'high'. Convert it with "
    "float().",
    "report(1, {3: 1})": "names of scores must be text, got 3. Put it in quotes.",
    "report(1, {'a': 1, 'state': 1})": "a score must not be the name of a column of the trials, "
    "got 'state'. Rename the metric, such as loop_state.",
    "report(1, [1])": "scores must be numbers by name, got [1]. Write report(epoch, "
    "{'accuracy': 0.9}).",
    "report(1, {'a': 1, 'b': 1}); t.report(2, {'a': 1, 'b': 1}); t.report(3, {'a': 1, 'b': 1}); "
    "t.report(4, {'a': 1, 'b': 1})": (
        "must report at most context.epochs (3) epochs, got 4. Return after the last one."
    ),
}


@pytest.mark.parametrize("call", BAD)
def test_a_bad_loop_is_a_failure_with_its_reason(run: Run, call: str) -> None:
    last = run(f"def train(t): t.{call}\n")[-1]
    assert last.failure is not None
    assert last.failure["kind"] == "raised"
    assert BAD[call] in last.failure["reason"]
    assert "\n" not in last.failure["reason"]
    assert last.scores is None


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_an_objective_that_is_not_finite(run: Run, value: str) -> None:
    reports = run(f"def train(t): t.report(1, {{'a': float('{value}'), 'b': 1}})\n")
    assert len(reports) == 1
    assert reports[0].failure is not None
    assert reports[0].failure["kind"] == "not_finite"
    assert (
        f"an objective or constraint must be finite, got a {value} in epoch 1"
        in reports[0].failure["reason"]
    )


@pytest.mark.parametrize(
    ("raised", "kind", "reason"),
    [
        ("ValueError('no such\\nthing')", "raised", "ValueError: no such"),
        ("SystemExit(3)", "raised", "SystemExit: 3"),
        ("MemoryError()", "out_of_memory", "MemoryError"),
        ("__import__('ablate.errors').errors.StorageError('x')", "raised", "StorageError: x"),
    ],
)
def test_what_the_function_raises_is_the_trial_s_own(
    run: Run, raised: str, kind: str, reason: str
) -> None:
    last = run(f"def train(t):\n    raise {raised}\n")[-1]
    assert last.failure is not None
    assert last.failure["kind"] == kind
    assert last.failure["reason"].startswith(reason)
    assert "Lower" not in last.failure["reason"], "nothing is known of its settings"
    assert "in train" in last.failure["traceback"]


def test_a_full_disk_is_no_fault_of_the_trial(run: Run) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    code = "def train(t):\n    with open('/dev/full', 'w') as file: file.write('x')\n"
    last = run(code)[-1]
    assert last.failure is None
    assert last.lost is not None
    assert "the disk must have room for the files of the function, got 'No space left" in last.lost


def test_a_row_that_is_replaced_ends_inside_report(start: Start) -> None:
    code = (
        "ENDS = []\n"
        "def train(t):\n"
        "    (t.checkpoint_folder / 'x').write_text('')\n"
        "    try:\n"
        "        for e in range(t.epochs): t.report(e + 1, {'a': 1, 'b': 1})\n"
        "    except Exception: ENDS.append('caught')\n"
        "    finally: ENDS.append((t.number, t.checkpoint_folder))\n"
    )
    worker = start(code)
    worker.begin(row(1))
    worker.step()
    worker.begin(row(2))
    assert len(to_end(worker)) == 3
    assert worker.job.study.trainable is not None
    ends = sys.modules[worker.job.study.trainable.partition(":")[0]].ENDS
    assert [number for number, _ in ends] == [1, 2]
    assert not any(folder.exists() for _, folder in ends)


def test_a_loop_that_will_not_end_loses_one_attempt(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_loop, "STOP_SECONDS", 0.2)
    code = (
        "import threading\n"
        "LET_GO = threading.Event()\n"
        "def train(t):\n"
        "    try: t.report(1, {'a': 1, 'b': 1})\n"
        "    except BaseException: LET_GO.wait()\n"
    )
    worker = start(code)
    worker.begin(row(1))
    worker.step()
    worker.begin(row(2))
    lost = worker.step()
    assert lost.lost is not None
    assert "must end when report raises, got a loop that still ran 0.2 seconds" in lost.lost
    worker.begin(row(2, attempt=2))
    assert worker.step().entry is not None  # in a thread of its own
    assert worker.job.study.trainable is not None
    sys.modules[worker.job.study.trainable.partition(":")[0]].LET_GO.set()


def test_metrics_at_the_rungs_of_a_pruner(run: Run) -> None:
    pruner = {"metric": "a", "min_epochs": 1, "reduction_factor": 2}
    code = "def train(t):\n  for e in range(t.epochs): t.report(e + 1, {'a': e + 1, 'b': 1})\n"
    reports = run(code, epochs=4, search={"pruner": pruner})
    # Not at the budget itself: there are scores.
    assert [report.rung for report in reports] == [
        {"scores": {"a": 1.0, "b": 1.0}},
        {"scores": {"a": 2.0, "b": 1.0}},
        None,
        None,
    ]


def test_where_it_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    code = "def train(t): t.report(1, {'a': 1, 'b': 1})\n"
    place = run(code, epochs=1)[-1].place
    assert place is not None
    assert place["host"] == os.uname().nodename
    assert place["pid"] == os.getpid()
    assert place["gpus"] == ["3", "5"]
    assert place["first_epoch"] == 0
    assert place["peak_memory_bytes"] > 10 * 2**20
    place = run(code, epochs=1, run={"gpus_per_trial": 0})[-1].place
    assert place is not None
    assert place["gpus"] == []


def test_what_it_prints_is_kept(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import logging, sys\n"
        "LOG = logging.getLogger('own'); LOG.propagate = False\n"
        "def train(t):\n"
        "    if not LOG.handlers: LOG.addHandler(logging.StreamHandler())\n"
        "    print('to stdout'); print('to stderr', file=sys.stderr)\n"
        "    t.report(1, {'a': 1, 'b': 1}); LOG.warning('logged by %d', t.number)\n"
    )
    stdout = sys.stdout
    worker = start(code, epochs=1)
    for number in (3, 4):
        worker.begin(row(number))
        worker.step()
        assert sys.stdout is stdout
        text = log_file(tmp_path / "run", number, 1).read_text()
        assert text == f"to stdout\nto stderr\nlogged by {number}\n"
    said = capsys.readouterr()
    assert said.out == "to stdout\n" * 2
    assert said.err == "to stderr\nlogged by 3\nto stderr\nlogged by 4\n"


def test_what_it_prints_is_bounded(run: Run, tmp_path: Path) -> None:
    code = "def train(t): print('x' * 999_999); t.report(1, {'a': 1, 'b': 1}); print('y' * 9)\n"
    run(code, epochs=1)
    text = log_file(tmp_path / "run", 12, 1).read_text()
    assert len(text) < 1_000_100
    assert text[999_990:] == "x" * 9 + "\n" + "\n... more than 1 MB: left out from here on\n"


def test_code_that_is_edited_is_run_as_it_is_now(start: Start, tmp_path: Path) -> None:
    code = "def train(t): t.report(1, {'a': 1, 'b': 1})\n"
    worker = start(code, epochs=1)
    before = worker.prepare()
    worker.begin(row())
    assert worker.step().scores == {"reported": {"a": 1.0, "b": 1.0}}
    worker = start(code.replace("'b': 1", "'b': 22"), epochs=1)
    after = worker.prepare()
    worker.begin(row())
    assert worker.step().scores == {"reported": {"a": 1.0, "b": 22.0}}
    assert before.code.keys() == after.code.keys()
    assert before.code != after.code
    assert before.environment["python"] == after.environment["python"]
    assert (before.data_digest, before.baseline_sha256, before.baseline_scores) == ("", "", None)
