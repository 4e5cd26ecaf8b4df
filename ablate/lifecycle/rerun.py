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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ablate.errors import DataError, InfrastructureError, ParameterError
from ablate.files.cache import cache_folder
from ablate.ledger.record import Head, Row, RowRecord
from ablate.ledger.row import SCORES, TEST, ended_as
from ablate.ledger.tables import OUTCOMES
from ablate.lifecycle.changes import changes_since
from ablate.lifecycle.known_names import named_callables
from ablate.lifecycle.open_study import OpenStudy, read_bits
from ablate.search.drive import InlineExecutor
from ablate.study.callables import given_functions
from ablate.study.fingerprint import changed_keys
from ablate.study.scores import COSTS, Scores, scores_from_json
from ablate.study.settings import Study
from ablate.trial.task import Job, Prepared, Report
from ablate.trial.worker import Worker

STANDARD_ERRORS = 3
"""Within which an accuracy of another environment must be."""


@dataclass(frozen=True)
class Check:
    """One thing of an archive that was checked.

    Attributes:
        what: a file of the archive, or a row that was trained again.
        compared: what was compared with what.
        differences: where it differs, with the archived and the recomputed value; none: it holds.
        rounded: numbers that differ by rounding alone.
    """

    what: str
    compared: str
    differences: tuple[str, ...] = ()
    rounded: int = 0

    @property
    def holds(self) -> bool:
        return not self.differences

    @property
    def text(self) -> str:
        """One line, whatever the archive says: nothing in it moves a terminal's cursor."""
        text = self.compared
        if self.rounded:
            text += f"; {self.rounded} numbers but for rounding"
        if not self.holds:
            more = len(self.differences) - _SHOWN
            text = "; ".join(self.differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        line = f"{self.what}: {text}"
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


_SHOWN = 3
"""Differences of one check that are printed; the others are counted."""


def draw_rows(
    studies: Sequence[OpenStudy], count: int, seed: int
) -> list[tuple[OpenStudy, list[RowRecord]]]:
    """Rows of these studies at random, each equally likely, of those that were trained: complete,
    no copy of another's scores.

    Args:
        count: how many; all if there are fewer.
    """
    trained = [
        (place, row.number)
        for place, study in enumerate(studies)
        for row in study.record.complete
        if row.copy_of is None
    ]
    drawn = sorted(random.Random(seed).sample(trained, min(count, len(trained))))
    return [
        (studies[place], [studies[place].record.rows[number] for _, number in of_study])
        for place, of_study in groupby(drawn, key=itemgetter(0))
    ]


def callables_of(study: Study, rows: Sequence[RowRecord]) -> list[str]:
    """The callables that training these rows imports."""
    if study.trainable is not None:
        return list(named_callables(study).values())
    varied = (named_callables(study.with_values(dict(row.params))) for row in rows)
    return list(dict.fromkeys(name for names in varied for name in names.values()))


def rerun_rows(
    opened: OpenStudy,
    rows: Sequence[RowRecord],
    base: Path,
    values: Mapping[str, Any],
    begin: Callable[[str], None],
) -> Iterator[Check]:
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
    name = opened.record.name
    head = opened.head
    outcomes, _ = read_bits(opened.place, [row.number for row in rows])
    study = _study_here(head, values)
    given_functions(study.model_dump(mode="json"))
    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        executor = InlineExecutor(study.run, loads_torch=study.trainable is None)
        run = study.run.model_copy(update={"gpus_per_trial": executor.gpus_per_trial})
        worker = Worker(
            Job(
                study=study.model_copy(update={"run": run}),
                base=str(base.absolute()),
                cache=str(cache_folder()),
                folder=folder,
                checkpoints=f"{folder}/checkpoints",
                test=head.test,
                baseline_threads=head.environment.get("baseline_threads", run.cpus_per_trial),
                free_cores=executor.free_cores,
            )
        )
        try:
            begin(f"{name}: preparing data and baseline")
            prepared = worker.prepare(lambda _step: None, cores=executor.free_cores)
            changes = _changes(head, prepared, opened.place.shown)
            how = "trained again in the same environment"
            if changes:
                how = f"trained again in another environment ({'; '.join(changes)})"
            for row in rows:
                begin(f"{name}: training trial {row.number} again")
                assert row.seeds is not None
                worker.begin(Row(row.number, 1, row.params, row.seeds))
                while not (report := worker.step()).done:
                    pass
                if report.lost is not None:
                    raise InfrastructureError(
                        f"trial {row.number} could not be trained here: {report.lost}"
                    )
                bits = outcomes.get(row.number)
                rule, differences = _compared(head.study, row, bits, report, exact=not changes)
                if differences:
                    differences[0] = f"{how}: {differences[0]}"
                yield Check(f"{name} trial {row.number}", f"{how}, {rule}", tuple(differences))
        finally:
            worker.close()


def _study_here(head: Head, values: Mapping[str, Any]) -> Study:
    """The study as it is run here: on the kind of device that it was run on, if there is one."""
    study = head.study
    try:
        moved = study.with_values(dict(values)) if values else study
    except (ValueError, KeyError) as error:
        raise ParameterError(
            f"{', '.join(values)}: must be keys of the study, such as dataset.path, with values "
            "that they take, got others. Correct the key or the value."
        ) from error
    before, after = (one.model_dump(mode="json") for one in (study, moved))
    if changed := changed_keys(before, after):
        raise ParameterError(
            "a rerun may only be told where data and weights lie, got "
            f"{'; '.join(changed)}, which changes scores. Leave it out."
        )
    run = {
        "gpus_per_trial": 0.0 if head.environment.get("device", "cpu") == "cpu" else "auto",
        "epoch_timeout_seconds": None,
        "trackers": (),
        "checkpoints": None,
    }
    return moved.model_copy(update={"run": moved.run.model_copy(update=run)})


def _changes(head: Head, prepared: Prepared, shown: str) -> list[str]:
    """What of the environment is another one; refuses other data."""
    different, changes = changes_since(head, prepared)
    if different:
        raise DataError(
            f"{shown}: the inputs here must be those of study {head.study.name}, got other "
            f"{', '.join(different)}. Get the data and weights that it was run on, and name them: "
            "`overrides=['dataset.path=FOLDER']`."
        )
    begun, now = head.environment, prepared.environment
    for key in ("device_name", "python") if head.study.trainable is not None else ("device_name",):
        if begun.get(key) != now.get(key):
            changes.append(f"{key}: {begun.get(key)} -> {now.get(key)}")
    if head.study.trainable is None and now.get("device") != "cpu":
        changes.append("a GPU, whose sums are not the same each time")
    return changes


def _compared(
    study: Study, row: RowRecord, bits: Mapping[str, str] | None, report: Report, *, exact: bool
) -> tuple[str, list[str]]:
    """What was compared by which rule, and what differs by more than that allows.

    Args:
        exact: scores of ablate's own finetuning must be equal bit by bit, else within a tolerance;
            those of a training loop must be equal in any case.
    """
    if report.failure is not None:
        why = f"it was complete, and failed here: {report.failure['reason']}"
        return "the end of its training", [why]
    assert report.scores is not None
    assert row.scores is not None
    _, attributes = ended_as(study, scores_from_json(report.scores), report.kept or {})
    pairs = [(row.scores, scores_from_json(attributes[SCORES]))]
    if row.test_scores is not None:
        pairs.append((row.test_scores, scores_from_json(attributes[TEST])))
    rules, differences, count = list[str](), list[str](), 0
    for old, new in pairs:
        if not exact and isinstance(old, Scores) and isinstance(new, Scores):
            for text, is_close in _within_tolerance(old, new):
                rules.append(text)
                differences += [] if is_close else [text]
            continue
        before, now = (
            {name: value for name, value in scores.metrics().items() if name not in COSTS}
            for scores in (old, new)
        )
        count += len(before)
        differences += [
            f"{metric}: archived {before.get(metric)!r}, trained again {now.get(metric)!r}"
            for metric in dict.fromkeys((*before, *now))
            if repr(before.get(metric)) != repr(now.get(metric))  # NaN equals NaN
        ]
    if rules:
        return f"within {STANDARD_ERRORS} standard errors: {'; '.join(rules)}", differences
    rule = f"{count} scores"
    if bits is not None:
        there = attributes.get(OUTCOMES) or {}
        rule += f" and which images were right, {', '.join(bits)}"
        differences += [
            f"which images were right, {split}: not the same bits"
            for split in dict.fromkeys((*bits, *there))
            if bits.get(split) != there.get(split)
        ]
    return f"{rule} are equal bit by bit", differences


def _within_tolerance(old: Scores, new: Scores) -> Iterator[tuple[str, bool]]:
    """Both accuracies with the tolerance, and whether they are within it."""
    corrupted = old.n_corrupted or old.n_images
    for metric, n in (("clean_accuracy", old.n_images), ("robust_accuracy", corrupted)):
        before, now = getattr(old, metric), getattr(new, metric)
        allowed = tolerance(before, now, n)
        yield (
            f"{old.split}_{metric}: {100 * before:.2f} %, trained again {100 * now:.2f} %, "
            f"tolerance {100 * allowed:.2f} points on {n} images",
            abs(now - before) <= allowed,
        )


def tolerance(before: float, now: float, n: int) -> float:
    """Three standard errors of the difference between two proportions of n images.

    Each with one image right and one wrong added, so that it is not 0 at 0 and 1 (Agresti and
    Caffo 2000, The American Statistician 54).  Of a mean over corrupted copies n is the number of
    images, not of copies: those of one image are right or wrong together.
    """
    added = [(n * accuracy + 1) / (n + 2) for accuracy in (before, now)]
    return STANDARD_ERRORS * math.sqrt(sum(one * (1 - one) / (n + 2) for one in added))
