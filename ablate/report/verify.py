"""`ablate verify`: whether an archive is what it says.

Digests, then everything that follows from the rows, but Markdown, then rows that are trained again;
numbers of tables may differ by rounding.  A changed number of a CSV file is found even where the
manifest was changed with it: the bits of the images give the scores, the scores the values, and
these the tables.
"""

from __future__ import annotations

import csv
import math
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ablate
from ablate.analysis.caveats import baseline_warning
from ablate.errors import ParameterError, UsageError, cut, error_text
from ablate.ledger.portable import ROWS, STUDY
from ablate.ledger.record import Head, StudyRecord
from ablate.lifecycle.archive import (
    MANIFEST,
    UNREADABLE,
    ArchiveFiles,
    ScoredNetwork,
    read_archive,
    scored_networks,
    sha256,
)
from ablate.lifecycle.open_study import OpenStudy, read_bits
from ablate.lifecycle.rerun import Check, callables_of, draw_rows, rerun_rows
from ablate.report.archive import TRIALS, derived_files, facts_of, studies_in
from ablate.robustness.bits import unpack_bits
from ablate.robustness.suites import added_types, find_suite
from ablate.space.space import Space
from ablate.study.callables import imports_limited
from ablate.study.fingerprint import study_fingerprint

ROUNDING = 1e-9
"""By how much a number of a table may differ, as a share of it."""


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
        raise ParameterError(f"`rerun`: must be at least 0, got {rerun}. Write 3.")
    begin(f"reading {file}")
    files = read_archive(file, must_be_unchanged=False)
    studies = studies_in(files)
    first = studies[""].record
    checks = [_check_manifest(files, first)]
    begin("recomputing the tables")
    for folder, opened in studies.items():
        try:
            checks += _check_study(opened, folder, files)
        except UsageError:
            raise
        except UNREADABLE as error:
            raise UsageError(
                f"{file}: the rows of {opened.record.name} must give its tables, got an error "
                f"({error_text(error)}): they were changed. Get the file again."
            ) from error
    if rerun:
        seed = secrets.randbelow(2**31) if seed is None else seed
        draws = draw_rows(list(studies.values()), rerun, seed)
        if not draws:
            raise UsageError(
                f"`rerun`: needs a complete row that was trained, got none in {file}. Leave it out."
            )
        named = [name for one, rows in draws for name in callables_of(one.record.study, rows)]
        shown = ", ".join(dict.fromkeys(named))
        if named and not trust:
            raise UsageError(
                f"`rerun`: would import {shown} and run that code, got no `trust=True`. Read the "
                "code, then add it."
            )
        if named:
            begin(f"importing {shown}")
        with imports_limited(lambda name, _base: name in named):
            for opened, rows in draws:
                checks += rerun_rows(opened, rows, Path.cwd(), values or {}, begin)
    return Verification(
        file,
        sha256(file.read_bytes()),
        first.name,
        first.is_over,
        tuple(checks),
        seed if rerun else None,
        baseline_warning(first),
    )


def _check_manifest(files: ArchiveFiles, record: StudyRecord) -> Check:
    manifest, listed = files.manifest, files.manifest["files"]
    differences = [
        f"{name} has sha256 {sha256(files.files[name])[:12]}..., the manifest says "
        f"{cut(listed[name]['sha256'], 15)}"
        for name in files.changed
    ]
    differences += [
        f"{name}: archived {cut(str(manifest.get(name)), 60)}, recomputed {value}"
        for name, value in facts_of(record).items()
        if manifest.get(name) != value
    ]
    versions = f"archived by ablate {manifest.get('ablate')}, recomputed by {ablate.__version__}"
    compared = f"{len(listed)} files have their sha256; {versions}"
    return Check(MANIFEST, compared, tuple(differences))


def _check_study(opened: OpenStudy, folder: str, files: ArchiveFiles) -> Iterator[Check]:
    yield Check(f"{folder}{STUDY}", *_compare_fingerprint(opened.head))
    networks = list(scored_networks(opened.record, *read_bits(opened.place)))
    yield Check(f"{folder}{ROWS}", *_compare_scores(opened.record, networks))
    for name, made in derived_files(opened).items():
        if not name.endswith(".md"):
            archived = files.files.get(folder + name, b"")
            yield Check(folder + name, *_compare_file(name, archived, made))


def _compare_fingerprint(head: Head) -> tuple[str, tuple[str, ...]]:
    """The fingerprint of the settings, but the data's, which are not here, and the design's."""
    added = added_types(find_suite(head.study.robustness.suite))
    made = study_fingerprint(head.study, Space.from_json(head.space), "", added)
    known = {name: value for name, value in made.items() if name not in ("data", "method")}
    differences = tuple(
        f"{name}: archived {cut(str(head.fingerprint.get(name)), 15)}, recomputed {value[:12]}..."
        for name, value in known.items()
        if head.fingerprint and head.fingerprint.get(name) != value
    )
    return f"{len(known)} sections of the fingerprint are those of the settings", differences


def _compare_scores(
    record: StudyRecord, networks: list[ScoredNetwork]
) -> tuple[str, tuple[str, ...]]:
    """Accuracies from the bits of the images, and values from the accuracies."""
    differences = [
        f"{network.name}, {difference}"
        for network in networks
        if network.bits is not None
        for difference in _differing_accuracies(network, network.bits)
    ]
    for row in record.rows:
        metrics = {} if row.scores is None else row.scores.metrics()
        for objective, value in zip(record.study.objectives, row.values or (), strict=False):
            if metrics.get(objective.metric) != value:
                differences.append(
                    f"trial {row.number}, value of {objective.metric}: archived {value!r}, "
                    f"recomputed {metrics.get(objective.metric)!r}"
                )
    compared = f"values of {len(record.complete)} complete rows are those of their scores"
    if count := sum(network.bits is not None for network in networks):
        compared += f", scores of {count} networks those of the images' bits"
    return compared, tuple(differences)


def _differing_accuracies(network: ScoredNetwork, text: str) -> Iterator[str]:
    """Accuracies that are not the share of images that were right."""
    scores = network.scores
    bits = unpack_bits([text], scores)
    shares = {"clean_accuracy": (scores.clean_accuracy, bits.clean[0])}
    for kind, by_severity in scores.accuracies.items():
        for place, (severity, accuracy) in enumerate(by_severity.items()):
            shares[f"accuracy.{kind}.{severity}"] = accuracy, bits.types[kind][0, place]
    for name, (accuracy, right) in shares.items():
        if (share := float(right.mean())) != accuracy:
            yield f"{scores.split}_{name}: archived {accuracy!r}, the bits give {share!r}"


def _compare_file(name: str, archived: bytes, made: bytes) -> tuple[str, tuple[str, ...], int]:
    """A file that was made again, cell by cell; and how many numbers differ by rounding."""
    old, new = (
        list(csv.reader(text.decode(errors="replace").splitlines())) for text in (archived, made)
    )
    heads = new[0] if name.endswith(".csv") else []
    differences, rounded, blank = list[str](), 0, list[str]()
    for number, (left, right) in enumerate(zip_longest(old, new, fillvalue=blank)):
        for before, now, column in zip_longest(left, right, heads, fillvalue=""):
            if before == now or (column in _WORDS and _is_start(now, before)):
                continue
            if name != TRIALS and _is_close(before, now):  # rows are stored, and not computed
                rounded += 1
                continue
            where = f"line {number + 1}"
            if heads:
                where = f"row {number} ({cut((right or left)[0], 40)}), {column}"
            differences.append(f"{where}: archived {cut(before, 60)}, recomputed {cut(now, 60)}")
    compared = f"{len(new)} lines are those recomputed from the rows"
    if heads:
        compared = f"{len(new) - 1} rows of {len(heads)} columns are those recomputed from the rows"
    return compared, tuple(differences), rounded


_WORDS = ("verdict", "kept")
"""Columns of which an earlier version said more: "no claim: too few seeds: a claim needs 3"."""


def _is_start(made: str, archived: str) -> bool:
    return archived.removeprefix("no claim: ").startswith(made)


def _is_close(archived: str, made: str) -> bool:
    """Whether two numbers differ by rounding alone: other processors add up in another order."""
    try:
        pair = float(archived), float(made)
    except ValueError:
        return False
    return math.isclose(*pair, rel_tol=ROUNDING, abs_tol=ROUNDING / 1000)
