"""Trains rows of a study again, and compares their scores with those that are stored.

A row is a function of study, parameters and seeds, so on one CPU machine it gives the same bits.
Elsewhere, and on a GPU, sums are rounded differently, training makes another network of it, and
scores can only be close.  How close: networks that are trained twice make errors that are about
independent from image to image (Jordan 2023, arXiv:2304.01910), so the variance of an accuracy is
at most that of a binomial proportion.  Taking this for the tolerance is our own choice.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.errors import DataError, InfrastructureError, ParameterError
from ablate.files.cache import cache_folder
from ablate.ledger.head import Head
from ablate.ledger.record import Row, RowRecord, StudyRecord
from ablate.ledger.row import SCORES, TEST, ended_as
from ablate.ledger.tables import OUTCOMES
from ablate.lifecycle.changes import changes_since
from ablate.lifecycle.known_names import named_callables
from ablate.lifecycle.open_study import open_ledger, open_place
from ablate.lifecycle.place import Place
from ablate.search.drive import InlineExecutor
from ablate.study.by_value import given_functions
from ablate.study.fingerprint import changed_keys
from ablate.study.scores import COSTS, Scores, scores_from_json
from ablate.study.settings import Study
from ablate.trial.task import Job, Prepared, Report
from ablate.trial.worker import Worker

STANDARD_ERRORS = 3
"""Within which an accuracy of another environment must be."""


@dataclass(frozen=True)
class Rerun:
    """A row that was trained again.

    Attributes:
        study, number: of the row.
        changes: of the environment, in words; none: its scores must be equal bit by bit.
        compared: what was compared, and by which rule.
        differences: what differs by more than the rule allows; none: it holds.
    """

    study: str
    number: int
    changes: tuple[str, ...]
    compared: str
    differences: tuple[str, ...]


def rows_to_rerun(record: StudyRecord) -> list[int]:
    """Numbers of the rows that were trained: complete, no copy of another's scores, no soup."""
    return [row.number for row in record.complete if row.copy_of is None and not row.members]


def draw_rows(places: Sequence[Place], count: int, seed: int) -> dict[Place, list[int]]:
    """Rows of these studies at random, each equally likely.

    Args:
        count: how many; all if there are fewer.
    """
    all_rows = [
        (place, number) for place in places for number in rows_to_rerun(open_place(place).record)
    ]
    drawn: dict[Place, list[int]] = defaultdict(list)
    for place, number in sorted(
        random.Random(seed).sample(all_rows, min(count, len(all_rows))),
        key=lambda one: (places.index(one[0]), one[1]),
    ):
        drawn[place].append(number)
    return drawn


def callables_of(drawn: Mapping[Place, Sequence[int]]) -> list[str]:
    """The callables that training these rows imports."""
    found: dict[str, None] = {}
    for place, numbers in drawn.items():
        record = open_place(place).record
        for number in numbers:
            study = record.study
            if study.trainable is None:
                study = study.with_values(dict(record.rows[number].params))
            found |= dict.fromkeys(named_callables(study).values())
    return list(found)


def rerun_rows(
    place: Place,
    numbers: Sequence[int],
    base: Path,
    values: Mapping[str, Any],
    begin: Callable[[str], None],
) -> Iterator[Rerun]:
    """Train rows of a study again, one after the other in this process; nothing is kept of them.

    Args:
        base: folder that relative paths of the study start from.
        values: of keys that say where data and weights lie, by dotted key.
        begin: called with a description of each step as it starts.

    Raises:
        ParameterError: if a value is of a key that affects scores, or a function of the study is
            not in this process.
        DataError: if data or weights are others than those of the study.
        InfrastructureError: if a row cannot be trained here, for reasons outside of it.
    """
    with closing(open_ledger(place)) as ledger:
        ledger_head, record = ledger.head, ledger.read()
        outcomes, _ = ledger.outcomes(numbers)
    study = _here(ledger_head, values)
    given_functions(study.model_dump(mode="json"))
    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        job = _job(ledger_head, study, base, Path(folder))
        worker = Worker(job)
        try:
            begin(f"{record.name}: preparing data and baseline")
            prepared = worker.prepare(lambda _step: None, cores=job.free_cores)
            changes = _changes(ledger_head, prepared, place)
            for number in numbers:
                begin(f"{record.name}: training trial {number} again")
                row = record.rows[number]
                report = _run(worker, row)
                yield _compared(ledger_head, row, outcomes.get(number), report, changes)
        finally:
            worker.close()


def _here(head: Head, values: Mapping[str, Any]) -> Study:
    """The study as it is run here: on the kind of device that it was run on, if there is one."""
    study = head.study
    try:
        moved = study.with_values(dict(values)) if values else study
    except (ValueError, KeyError) as error:
        raise ParameterError(
            f"--set {', '.join(values)}: must be keys of the study, such as dataset.path, with "
            "values that they take, got others. Correct the key or the value."
        ) from error
    before, after = (one.model_dump(mode="json") for one in (study, moved))
    if changed := changed_keys(before, after):
        raise ParameterError(
            f"--set: must only say where data and weights lie, got {'; '.join(changed)}, which "
            "changes scores. Leave it out."
        )
    is_cpu = head.environment.get("device", "cpu") == "cpu"
    run = {
        "gpus_per_trial": 0.0 if is_cpu else "auto",
        "epoch_timeout_seconds": None,
        "trackers": (),
        "checkpoints": None,
    }
    return moved.model_copy(update={"run": moved.run.model_copy(update=run)})


def _job(head: Head, study: Study, base: Path, folder: Path) -> Job:
    executor = InlineExecutor(study.run, loads_torch=study.trainable is None)
    run = study.run.model_copy(update={"gpus_per_trial": executor.gpus_per_trial})
    return Job(
        study=study.model_copy(update={"run": run}),
        base=str(base.absolute()),
        cache=str(cache_folder()),
        folder=str(folder),
        checkpoints=str(folder / "checkpoints"),
        test=head.test,
        baseline_threads=head.environment.get("baseline_threads", study.run.cpus_per_trial),
        free_cores=executor.free_cores,
    )


def _changes(head: Head, prepared: Prepared, place: Place) -> tuple[str, ...]:
    """What of the environment is another one; refuses other data."""
    different, changes = changes_since(head, prepared)
    if different:
        raise DataError(
            f"{place.shown}: the inputs here must be those of study {head.study.name}, got other "
            f"{', '.join(different)}. Get the data and weights that it was run on, and name them: "
            "--set dataset.path=FOLDER."
        )
    named, here = (one.get("device_name") for one in (head.environment, prepared.environment))
    if named != here:
        changes.append(f"device_name: {named} -> {here}")
    if head.study.trainable is not None:
        before, now = (one.get("python") for one in (head.environment, prepared.environment))
        changes += [f"python: {before} -> {now}"] * (before != now)
    elif prepared.environment.get("device") != "cpu":
        changes.append("a GPU, whose sums are not the same each time")
    return tuple(changes)


def _run(worker: Worker, row: RowRecord) -> Report:
    assert row.seeds is not None
    worker.begin(Row(row.number, 1, row.params, row.seeds))
    report = worker.step()
    while not report.done:
        report = worker.step()
    if report.lost is not None:
        raise InfrastructureError(f"trial {row.number} could not be trained here: {report.lost}")
    return report


def _compared(
    head: Head, row: RowRecord, outcomes: Any, report: Report, changes: tuple[str, ...]
) -> Rerun:
    name = head.study.name
    if report.failure is not None:
        why = f"it was complete, and failed here: {report.failure['reason']}"
        return Rerun(name, row.number, changes, "the end of its training", (why,))
    assert report.scores is not None
    assert row.scores is not None
    new, attributes = ended_as(head.study, scores_from_json(report.scores), report.kept or {})
    pairs = [(row.scores, scores_from_json(attributes[SCORES]))]
    if row.test_scores is not None:
        pairs.append((row.test_scores, scores_from_json(attributes[TEST])))
    if changes and isinstance(new, Scores):
        found: list[str] = []
        rules: list[str] = []
        for old, again in pairs:
            assert isinstance(old, Scores)
            assert isinstance(again, Scores)
            found += list(_too_far(old, again, rules))
        return Rerun(name, row.number, changes, "; ".join(rules), tuple(found))
    differences = [
        f"{metric}: archived {before!r}, trained again {now!r}"
        for old, again in pairs
        for metric, before, now in _different(old.metrics(), again.metrics())
    ]
    compared = [f"{sum(len(_counted(old.metrics())) for old, _ in pairs)} scores"]
    if outcomes is not None:
        there = attributes.get(OUTCOMES) or {}
        compared.append(f"which images were right, {', '.join(outcomes)}")
        differences += [
            f"which images were right, {split}: not the same bits"
            for split in dict.fromkeys((*outcomes, *there))
            if outcomes.get(split) != there.get(split)
        ]
    return Rerun(name, row.number, changes, " and ".join(compared), tuple(differences))


def _counted(metrics: Mapping[str, float]) -> dict[str, float]:
    """Without what a training costs, which is another time each time."""
    return {name: value for name, value in metrics.items() if name not in COSTS}


def _different(
    old: Mapping[str, float], new: Mapping[str, float]
) -> Iterator[tuple[str, float | None, float | None]]:
    before, now = _counted(old), _counted(new)
    for metric in dict.fromkeys((*before, *now)):
        pair = before.get(metric), now.get(metric)
        if repr(pair[0]) != repr(pair[1]):  # NaN equals NaN
            yield metric, *pair


def _too_far(old: Scores, new: Scores, rules: list[str]) -> Iterator[str]:
    """Accuracies that differ by more than the tolerance; adds a text for each that was compared."""
    corrupted = old.n_corrupted or old.n_images
    for metric, n in (("clean_accuracy", old.n_images), ("robust_accuracy", corrupted)):
        name = f"{old.split}_{metric}"
        before, now = (getattr(one, metric) for one in (old, new))
        allowed = tolerance(before, now, n)
        text = f"{name}: {100 * before:.2f} %, trained again {100 * now:.2f} %"
        rules.append(f"{text}, tolerance {100 * allowed:.2f} points on {n} images")
        if abs(now - before) > allowed:
            yield (
                f"{text}: a difference of {100 * (now - before):+.2f} points, tolerance "
                f"{100 * allowed:.2f}"
            )


def tolerance(before: float, now: float, n: int) -> float:
    """Three standard errors of the difference between two proportions of n images.

    Each with one image right and one wrong added, so that it is not 0 at 0 and 1 (Agresti and
    Caffo 2000, The American Statistician 54).  Of a mean over corrupted copies n is the number of
    images, not of copies: those of one image are right or wrong together.
    """
    added = [(n * accuracy + 1) / (n + 2) for accuracy in (before, now)]
    return STANDARD_ERRORS * math.sqrt(sum(one * (1 - one) / (n + 2) for one in added))
