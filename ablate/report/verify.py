"""`ablate verify`: whether an archive is what it says.

Digests, then everything that follows from the rows, but Markdown, then rows that are trained again;
numbers of tables may differ by rounding.  A changed number of a CSV file is found even where the
manifest was changed with it: the bits of the images give the scores, the scores the values, and
these the tables.
"""

from __future__ import annotations

import csv
import io
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ablate
from ablate.analysis.caveats import baseline_warning
from ablate.errors import ParameterError, UsageError, cut, error_text
from ablate.ledger.head import Head
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.archive import (
    MANIFEST,
    UNREADABLE,
    folders_of,
    read_archive,
    read_manifest,
    sha256,
)
from ablate.lifecycle.open_study import OpenStudy, open_ledger, open_place
from ablate.lifecycle.place import place_of_archive
from ablate.lifecycle.rerun import STANDARD_ERRORS, Rerun, callables_of, draw_rows, rerun_rows
from ablate.report.archive import AS_GIVEN, TRIALS, derived_files, facts_of, place_in
from ablate.robustness.bits import unpack_bits
from ablate.robustness.suites import added_types, find_suite
from ablate.space.space import Space
from ablate.study.callables import imports_limited
from ablate.study.fingerprint import study_fingerprint
from ablate.study.scores import Scores

ROUNDING = 1e-9
"""By how much a number of a table may differ, as a share of it."""
_OTHER_BYTES = "other bytes for the same text"
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
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in self._text)

    @property
    def _text(self) -> str:
        if self.holds:
            rounding = f"; {self.rounded} numbers but for rounding" if self.rounded else ""
            return f"{self.what}: {self.compared}{rounding}"
        shown = "; ".join(self.differences[:_SHOWN])
        more = len(self.differences) - _SHOWN
        return f"{self.what}: {shown}{f'; and {more} more' if more > 0 else ''}"


@dataclass(frozen=True)
class Verification:
    """What was found in an archive.

    Attributes:
        sha256: of the file.
        study: the first one in it; finished: whether all its rows have ended.
        warning: of the first study, what its numbers are to be read with; empty without one.
        checks: in order; seed: with which rows were drawn, None if none were.
    """

    file: Path
    sha256: str
    study: str
    finished: bool
    checks: tuple[Check, ...]
    seed: int | None = None
    warning: str = ""

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def verify(
    archive: str | Path,
    *,
    rerun: int = 0,
    seed: int | None = None,
    values: Mapping[str, Any] | None = None,
    trust: bool = False,
    begin: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Check an archive of `ablate.archive`: digests, every table, and rows that are trained again.

    Nothing is unpacked to the disk, and without `rerun` and `trust` no code that the study names is
    imported.

    Args:
        archive: the file.
        rerun: so many complete rows are drawn at random and trained again, in this process, with
            the data at hand; paths of the study are relative to the current folder.
        seed: for the draw; None: another one each time.
        values: of keys that say where data and weights lie here, such as `dataset.path`.
        trust: for `rerun`, import the functions that the study names: this runs their code.
        begin: called with a description of each step as it starts.

    Returns:
        All checks (`Verification`).  A row must have the same scores and bits, in another
        environment accuracies within the tolerance of `ablate.lifecycle.rerun`.

    Raises:
        UsageError: if it is no archive, a damaged one, or of a later version; if rows to train
            again need functions, without `trust`.
        DataError: if data or weights for a rerun are missing, or others than the study's.
        InfrastructureError: if a row cannot be trained here.

    Example:
        >>> made = ablate.archive("runs/own", "own.tar")
        >>> found = ablate.verify("own.tar", rerun=1, seed=0, trust=True)
        >>> found.holds, found.sha256 == made.sha256
        (True, True)
        >>> print(found.checks[-1].text)
        own trial 6: trained again in the same environment, 2 scores are equal bit by bit
    """
    file = Path(archive)
    if rerun < 0:
        raise ParameterError(f"--rerun: must be at least 0, got {rerun}. Write 3.")
    begin(f"reading {file}")
    files = read_archive(file, checked=False)
    manifest = read_manifest(file, files)
    kept = place_of_archive(file, files)
    record = open_place(kept).record
    checks = [_manifest(files, manifest, record)]
    begin("recomputing the tables")
    places = [place_in(kept, folder) for folder in folders_of(files)]
    for folder, place in zip(folders_of(files), places, strict=True):
        try:
            opened = open_place(place)
            checks += _of_study(opened, folder, files, str(manifest.get("ablate")))
        except UsageError:
            raise
        except UNREADABLE as error:
            raise UsageError(
                f"{file}: the rows of {place.name} must give its tables, got an error "
                f"({error_text(error)}): they were changed. Get the file again."
            ) from error
    drawn = {}
    if rerun:
        seed = secrets.randbelow(2**31) if seed is None else seed
        drawn = draw_rows(places, rerun, seed)
    named = callables_of(drawn)
    if named:
        if not trust:
            raise UsageError(
                f"--rerun: would import {', '.join(named)} and run that code, got no --trust. Read "
                "the code, then add --trust."
            )
        begin(f"importing {', '.join(named)}")
    with imports_limited(lambda name, _base: name in named):
        for place, numbers in drawn.items():
            again = rerun_rows(place, numbers, Path.cwd(), values or {}, begin)
            checks += [_of_rerun(one) for one in again]
    if rerun and not drawn:
        raise UsageError(
            f"--rerun: needs a complete row that was trained, got none in {file}. Leave it out."
        )
    return Verification(
        file,
        sha256(file.read_bytes()),
        record.name,
        record.is_over,
        tuple(checks),
        seed if rerun else None,
        baseline_warning(record),
    )


def _manifest(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], record: StudyRecord
) -> Check:
    listed = manifest["files"]
    differences = [
        f"{name} has sha256 {found[:12]}..., the manifest says {cut(listed[name]['sha256'], 15)}"
        for name in listed
        if (found := sha256(files[name])) != listed[name]["sha256"]
    ]
    differences += [
        f"{name}: archived {cut(str(manifest.get(name)), 60)}, recomputed {value}"
        for name, value in facts_of(record).items()
        if manifest.get(name) != value
    ]
    alone = f"{', '.join(AS_GIVEN)} and Markdown by it alone"
    compared = f"{len(listed)} files have their sha256 ({alone})"
    return Check(MANIFEST, compared, tuple(differences))


def _of_study(
    opened: OpenStudy, folder: str, files: Mapping[str, bytes], version: str
) -> Iterator[Check]:
    with closing(open_ledger(opened.place)) as ledger:
        head = ledger.head
        outcomes, references = ledger.outcomes()
    other = f" (archived by ablate {version}, recomputed by {ablate.__version__})"
    note = other if version != ablate.__version__ else ""
    yield _fingerprint(head, folder, note)
    yield _scores(opened, outcomes, references, folder)
    for name, made in derived_files(opened).items():
        there = files.get(folder + name)
        if there is None:
            yield Check(folder + name, "", (f"must be in the archive, got no such file{note}",))
        elif not name.endswith(".md"):
            old, new = there.decode(errors="replace"), made.decode()
            differences: list[str] = []
            rounded = 0
            if there != made and name.endswith(".csv"):
                differences, rounded = _table_differences(old, new, exact=name == TRIALS)
            elif there != made:
                differences = _line_difference(old, new)
            if differences and note:
                differences[-1] += note
            yield Check(folder + name, _what(name, new), tuple(differences), rounded)


def _what(name: str, text: str) -> str:
    """What was compared, of a file that is equal."""
    if name.endswith(".csv"):
        heads, *rows = _cells(text)
        return f"{len(rows)} rows of {len(heads)} columns are those recomputed from the rows"
    return f"{len(text.splitlines())} lines are those recomputed from the rows"


def _cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def _is_close(one: str, other: str) -> bool:
    """Whether two numbers differ by rounding alone: other processors add up in
    another order."""
    try:
        return math.isclose(float(one), float(other), rel_tol=ROUNDING, abs_tol=ROUNDING / 1000)
    except ValueError:
        return False


def _is_in_short(archived: str, column: str, made: str) -> bool:
    """Whether the cell is an earlier version's, which went on: "too few seeds: a claim needs 3"."""
    return column in ("verdict", "kept") and archived.removeprefix("no claim: ").startswith(made)


def _table_differences(old: str, new: str, *, exact: bool = False) -> tuple[list[str], int]:
    """Cells of two CSV tables that differ by more than rounding, and how many differ by it.

    Args:
        exact: its numbers are those that are stored, and not computed: they must be equal.
    """
    before, now = _cells(old), _cells(new)
    if before == now:
        return [_OTHER_BYTES], 0
    if before[:1] != now[:1]:
        heads = (cut(f"{of[:1]}", 60) for of in (before, now))
        return ["columns: archived {}, recomputed {}".format(*heads)], 0
    differences, rounded = [], 0
    for place, (one, other) in enumerate(zip_longest(before[1:], now[1:]), start=1):
        if one is None or other is None:
            there = "archived" if other is None else "recomputed"
            differences.append(
                f"row {place} is only {there}: {cut(','.join(one or other or []), 60)}"
            )
            continue
        named = f"row {place} ({cut(other[0], 40)})" if other else f"row {place}"
        for column, left, right in zip_longest(now[0], one, other, fillvalue=""):
            if left == right or (not exact and _is_in_short(left, column, right)):
                continue
            if not exact and _is_close(left, right):
                rounded += 1
            else:
                shown = f"archived {cut(left, 60)}, recomputed {cut(right, 60)}"
                differences.append(f"{named}, {column}: {shown}")
    return differences, rounded


def _line_difference(old: str, new: str) -> list[str]:
    """The first line that differs, from shortly before it does."""
    lines = zip_longest(old.splitlines(), new.splitlines(), fillvalue="")
    for place, (one, other) in enumerate(lines, start=1):
        if one != other:
            unlike = (
                at for at, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1
            )
            start = max(0, next(unlike, 0) - 20)
            texts = ("..." * bool(start) + cut(text[start:], 60) for text in (one, other))
            return ["line {}: archived {!r}, recomputed {!r}".format(place, *texts)]
    return [_OTHER_BYTES]


def _fingerprint(head: Head, folder: str, note: str) -> Check:
    """The fingerprint of the settings, but the data's, which are not here, and the design's."""
    added = added_types(find_suite(head.study.robustness.suite))
    made = study_fingerprint(head.study, Space.from_json(head.space), "", added)
    known = {name: made[name] for name in made if name not in ("data", "method")}
    differences = [
        f"{name}: archived {cut(str(head.fingerprint.get(name)), 15)}, recomputed {value[:12]}..."
        for name, value in known.items()
        if head.fingerprint and head.fingerprint.get(name) != value
    ]
    if differences:
        differences[-1] += note
    return Check(
        f"{folder}study.json",
        f"{len(known)} sections of the fingerprint are those of the settings",
        tuple(differences),
    )


def _scores(
    opened: OpenStudy, outcomes: Mapping[int, Any], references: Mapping[str, Any], folder: str
) -> Check:
    """Accuracies from the bits of the images, and values from the accuracies."""
    record, count = opened.record, 0
    differences: list[str] = []
    objectives = [objective.metric for objective in record.study.objectives]
    for name, scores, text in _networks(record, outcomes, references):
        count += 1
        differences += [f"{name}, {one}" for one in _not_of_bits(scores, text)]
    for row in record.rows:
        metrics = {} if row.scores is None else row.scores.metrics()
        for metric, value in zip(objectives, row.values or (), strict=False):
            if metrics.get(metric) != value:
                differences.append(
                    f"trial {row.number}, value of {metric}: archived {value!r}, recomputed "
                    f"{metrics.get(metric)!r}"
                )
    compared = f"values of {len(record.complete)} complete rows are those of their scores"
    if count:
        compared += f", scores of {count} networks those of the images' bits"
    return Check(f"{folder}rows.jsonl", compared, tuple(differences))


def _networks(
    record: StudyRecord, outcomes: Mapping[int, Any], references: Mapping[str, Any]
) -> Iterator[tuple[str, Scores, str]]:
    """Each network whose bits are there: its name, scores and bits."""
    for row in record.rows:
        for split, text in outcomes.get(row.number, {}).items():
            scores = row.test_scores if split == "test" else row.scores
            named = f"trial {row.number}"
            if "@" in split and row.path is not None and isinstance(scores, Scores):
                alpha = float(split.partition("@")[2])
                scores = row.path.scores(scores, alpha)
                named += f" at alpha {alpha:g}"
            if isinstance(scores, Scores):
                yield named, scores, text
    for all_scores in (record.references, record.test_references):
        for name, scores in all_scores.items():
            if scores.split in references.get(name, {}):
                yield name, scores, references[name][scores.split]


def _not_of_bits(scores: Scores, text: str) -> Iterator[str]:
    """Accuracies that are not the share of images that were right."""
    try:
        bits = unpack_bits([text], scores)
    except ValueError:
        yield f"{scores.split}: as many bits as images and copies, got another number"
        return
    pairs = [("clean_accuracy", scores.clean_accuracy, bits.clean[0])]
    for kind, by_severity in scores.accuracies.items():
        for place, (severity, accuracy) in enumerate(by_severity.items()):
            pairs.append((f"accuracy.{kind}.{severity}", accuracy, bits.types[kind][0, place]))
    for name, accuracy, right in pairs:
        if float(right.mean()) != accuracy:
            yield (
                f"{scores.split}_{name}: archived {accuracy!r}, the bits give "
                f"{float(right.mean())!r}"
            )


def _of_rerun(one: Rerun) -> Check:
    if one.changes:
        how = f"trained again in another environment ({'; '.join(one.changes)})"
        compared = f"{how}, within {STANDARD_ERRORS} standard errors: {one.compared}"
    else:
        how = "trained again in the same environment"
        compared = f"{how}, {one.compared} are equal bit by bit"
    differences = tuple(
        f"{how}: {text}" if not i else text for i, text in enumerate(one.differences)
    )
    return Check(f"{one.study} trial {one.number}", compared, differences)
