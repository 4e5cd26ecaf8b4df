"""Trains rows of a study again, and compares their scores with those that are stored.

A row is a function of study, parameters and seeds, so on one CPU machine it gives the same bits.
Elsewhere, and on a GPU, sums are rounded differently and training makes another network of it.
Then clean and robust accuracy must be within three standard errors of the difference between two
proportions of n images: networks that are trained twice make errors that are about independent
from image to image (Jordan 2023, arXiv:2304.01910).
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_SHOWN = 3
"""Differences of one check that are printed; the others are counted."""


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


def draw_rows(
    studies: Sequence[OpenStudy], count: int, seed: int
) -> list[tuple[OpenStudy, list[RowRecord]]]:
    """Rows of these studies at random, each equally likely, of those that were trained: complete,
    no copy of another's scores, and no mixture.

    Args:
        count: how many; all if there are fewer.
    """
    trained = [
        (place, row.number)
        for place, study in enumerate(studies)
        for row in study.record.complete
        if row.copy_of is None and row.mixture is None
        if row.replicate is None  # which is a row of that study
    ]
    drawn = sorted(random.Random(seed).sample(trained, min(count, len(trained))))
    rows = [
        (study, [study.record.rows[number] for at, number in drawn if at == place])
        for place, study in enumerate(studies)
    ]
    return [(study, of_study) for study, of_study in rows if of_study]


def callables_of(study: Study, rows: Sequence[RowRecord]) -> list[str]:
    """The callables that training these rows imports."""
    if study.trainable is not None:
        return named_callables(study)
    varied = (named_callables(study.with_values(dict(row.params))) for row in rows)
    return list(dict.fromkeys(name for names in varied for name in names))


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
    name, head = opened.record.name, opened.head
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
                worker.begin(Row(row.number, 1, row.params, row.seeds, cell=row.cell))
                while not (report := worker.step()).done:
                    pass
                if report.lost is not None:
                    raise InfrastructureError(
                        f"trial {row.number} could not be trained here: {report.lost}"
                    )
                bits = outcomes.get(row.number, {})
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
    if changed := changed_keys(study.model_dump(mode="json"), moved.model_dump(mode="json")):
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
    for key in ("device_name", "python"):  # the version of Python is kept for a training loop alone
        if begun.get(key) != now.get(key):
            changes.append(f"{key}: {begun.get(key)} -> {now.get(key)}")
    if head.study.trainable is None and now.get("device") != "cpu":
        changes.append("a GPU, whose sums are not the same each time")
    return changes


def _compared(
    study: Study, row: RowRecord, bits: Mapping[str, str], report: Report, *, exact: bool
) -> tuple[str, list[str]]:
    """What was compared by which rule, and what differs by more than that allows.

    Args:
        exact: scores must be equal bit by bit; those of a training loop must be so in any case.
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
    exact |= not isinstance(row.scores, Scores)
    differences, compared = list[str](), list[str]()
    for old, new in pairs:
        before, now = old.metrics(), new.metrics()
        for name, archived in before.items():  # others are of a later version
            again = now.get(name, math.nan)
            text = f"{name}: archived {archived!r}, trained again {again!r}"
            if exact and name not in COSTS:
                compared.append(text)
                differences += [] if repr(archived) == repr(again) else [text]  # NaN equals NaN
            elif isinstance(old, Scores) and name.endswith(("_clean_accuracy", "_robust_accuracy")):
                n = old.n_images if "clean" in name else old.n_scored
                allowed = tolerance(archived, again, n)
                compared.append(f"{text}, tolerance {allowed:.4f} on {n} images")
                differences += [] if abs(again - archived) <= allowed else compared[-1:]
    if not exact:
        return f"within three standard errors: {'; '.join(compared)}", differences
    rule = f"{len(compared)} scores"
    if bits:
        there = attributes.get(OUTCOMES) or {}
        rule += f" and which images were right, {', '.join(bits)}"
        differences += [
            f"which images were right, {split}: not the same bits"
            for split in dict.fromkeys((*bits, *there))
            if bits.get(split) != there.get(split)
        ]
    return f"{rule} are equal bit by bit", differences


def tolerance(before: float, now: float, n: int) -> float:
    """Three standard errors of the difference between two proportions of n images, pooled.

    Of a mean over corrupted copies n is the number of images, not of copies: those of one image are
    right or wrong together.
    """
    pooled = (before + now) / 2
    return 3 * math.sqrt(2 * pooled * (1 - pooled) / n)
