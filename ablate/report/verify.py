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
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ablate
from ablate.ablation.looks import Look
from ablate.ablation.results import Outcomes
from ablate.analysis.caveats import baseline_warning
from ablate.errors import ParameterError, UsageError, cut, error_text
from ablate.ledger.portable import ROWS, STUDY
from ablate.ledger.record import TERMINAL, Head, StudyRecord, edits_text
from ablate.lifecycle.archive import (
    MANIFEST,
    UNREADABLE,
    ArchiveFiles,
    ScoredNetwork,
    read_archive,
    scored_networks,
    sha256,
)
from ablate.lifecycle.open_study import OpenStudy, open_study, read_bits
from ablate.lifecycle.rerun import Check, callables_of, draw_rows, rerun_rows
from ablate.report.archive import TRIALS, derived_files, facts_of, studies_in
from ablate.robustness.bits import unpack_bits
from ablate.robustness.suites import added_types, find_suite
from ablate.space.space import Space
from ablate.space.start import point_of
from ablate.study.callables import imports_limited
from ablate.study.fingerprint import study_fingerprint
from ablate.study.interpolation import LOSS_BITS, accuracies
from ablate.study.keys import plain_values
from ablate.study.scores import AT_CLEAN_LOSS, Scores

ROUNDING = 1e-9
"""By how much a number of a table may differ, as a share of it."""
_WORDS = ("verdict", "kept")
"""Columns of which an earlier version said more: "too few seeds: a claim needs 3", "yes (p .1)"."""


@dataclass(frozen=True)
class Verification:
    """What was found in an archive.

    Attributes:
        sha256: of the file; empty of a run folder.
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
    """Check an archive of `ablate.archive`: digests, every table, and rows that are trained again;
    of a study that was registered also what has changed since, and of its run folder that alone.

    Nothing is unpacked to the disk, and without `rerun` and `trust` no code that the study names is
    imported.

    Args:
        archive: the file, or the run folder of a study that was registered.
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
    if file.is_dir():
        record = open_study(file).record
        begun = Verification(file, "", record.name, record.is_over, (*_check_registration(record),))
        if begun.checks and not rerun:
            return replace(begun, warning=baseline_warning(record))
        rule = "must be an archive, or without `rerun` a registered study, got the folder of a run"
        raise UsageError(f"{file}: {rule}. Write its archive: `ablate archive {file} -o FILE.tar`.")
    begin(f"reading {file}")
    files = read_archive(file, must_be_unchanged=False)
    studies = studies_in(files)
    first = studies[""].record
    checks = [_check_manifest(files, first)]
    if first.registration is None:
        checks.append(Check(first.name, "this archive has no registration"))
    begin("recomputing the tables")
    for folder, opened in studies.items():
        try:
            checks += _check_study(opened, folder, files)
        except UsageError:
            raise
        except (csv.Error, *UNREADABLE) as error:
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
        named = [name for opened, rows in draws for name in callables_of(opened.record.study, rows)]
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
        _difference(name, str(manifest.get(name)), str(value))
        for name, value in facts_of(record).items()
        if manifest.get(name) != value
    ]
    versions = f"archived by ablate {manifest.get('ablate')}, recomputed by {ablate.__version__}"
    compared = f"{len(listed)} files have their sha256; {versions}"
    return Check(MANIFEST, compared, tuple(differences))


def _check_registration(record: StudyRecord) -> Iterator[Check]:
    """A line a part that was registered."""
    if record.registration is not None:
        for name in record.registration.parts:
            change = record.since_registration.get(name)
            differs = () if change is None else (f"outside of what was registered: {change}",)
            text = f"as registered {record.registration.text}, by its own word"
            yield Check(f"{record.name}, {name}", text, differs)


def _check_study(opened: OpenStudy, folder: str, files: ArchiveFiles) -> Iterator[Check]:
    yield Check(f"{folder}{STUDY}", *_compare_fingerprint(opened.head))
    if opened.head.edits:
        yield Check(f"{folder}{STUDY}", *_compare_edits(opened.head, opened.record))
    yield from _check_registration(opened.record)
    outcomes, references = read_bits(opened.place)
    networks = list(scored_networks(opened.record, outcomes, references))
    compared, differences = _compare_scores(opened.record, networks)
    differences += tuple(_compare_at_clean_loss(opened.record, outcomes))
    yield Check(f"{folder}{ROWS}", compared, differences)
    for number, look in enumerate(opened.record.planned_looks):
        stop = opened.record.study.ablation_section.stop
        if stop is not None and stop.confirm is None:  # else the confirmation has taken it
            yield Check(f"{folder}look {number + 1}", *_compare_look(look, opened.look(number)))
    for name, made in derived_files(opened).items():
        if not name.endswith(".md"):
            archived = files.files.get(folder + name, b"").decode(errors="replace")
            yield Check(folder + name, *_compare_file(name, archived, made.decode()))


def _compare_look(archived: Mapping[str, Any], made: Look) -> tuple[str, tuple[str, ...]]:
    """A stored look, and the same look from the rows."""
    pairs = zip(archived["decisions"], made.to_json()["decisions"], strict=True)
    differences = [
        _difference(f"{old['contrast']}, {name}", str(old.get(name)), str(value))
        for old, new in pairs
        for name, value in new.items()
        if old.get(name) != value
        if not (
            isinstance(value, float) and math.isclose(value, old.get(name) or 0, rel_tol=ROUNDING)
        )
    ]
    if archived["cells"] != list(made.cells):
        differences.append(_difference("cells", str(archived["cells"]), str(list(made.cells))))
    return f"{len(made.decisions)} decisions are those of the rows", tuple(differences)


def _compare_fingerprint(head: Head) -> tuple[str, tuple[str, ...]]:
    """The fingerprint of the settings, but the data's, which are not here, and the design's."""
    added = added_types(find_suite(head.study.robustness.suite))
    made = study_fingerprint(head.study, Space.from_json(head.space), "", added)
    known = {name: value for name, value in made.items() if name not in ("data", "method")}
    differences = tuple(
        _difference(name, str(head.fingerprint.get(name)), value)
        for name, value in known.items()
        if head.fingerprint and head.fingerprint.get(name) != value
    )
    return f"{len(known)} sections of the fingerprint are those of the settings", differences


def _compare_edits(head: Head, record: StudyRecord) -> tuple[str, tuple[str, ...]]:
    """The spaces that were in force, and which rows lie in the last one."""
    space, fixed = Space.from_json(head.space), plain_values(head.study)
    outside = [row.number for row in record.rows if row.outside]
    differences = [
        f"space until trial {edit['rows']}: must be that of the fingerprint, got another"
        for edit in head.edits
        if edit["fingerprint"]  # it has none before its baseline is ready
        and study_fingerprint(head.study, Space.from_json(edit["space"]), "")["space"]
        != edit["fingerprint"]["space"]
    ]
    if len(outside) != head.outside:
        differences.append(_difference("trials outside", str(head.outside), str(len(outside))))
    differences += [
        f"trial {row.number}: counts, and lies outside of the space"
        for row in record.rows
        if row.state in TERMINAL and point_of(space, {**fixed, **row.params}) is None
    ]
    return edits_text(head.edits), tuple(differences)


def _compare_scores(
    record: StudyRecord, networks: list[ScoredNetwork]
) -> tuple[str, tuple[str, ...]]:
    """Accuracies from the bits of the images, and values from the accuracies."""
    differences, with_bits = list[str](), 0
    for name, split, scores, text in networks:
        if text is None:
            continue
        with_bits += 1
        made = _scores_of_bits(scores, text)
        pairs = {"clean_accuracy": (scores.clean_accuracy, made.clean_accuracy)}
        for kind, by_severity in scores.accuracies.items():
            for severity, accuracy in by_severity.items():
                pairs[f"accuracy.{kind}.{severity}"] = accuracy, made.accuracies[kind][severity]
        differences += [
            f"{name}, {split}_{metric}: archived {accuracy!r}, the bits give {again!r}"
            for metric, (accuracy, again) in pairs.items()
            if again != accuracy
        ]
    for row in record.rows:
        metrics = {} if row.scores is None else row.scores.metrics()
        differences += [
            f"trial {row.number}, value of {objective.metric}: archived {value!r}, recomputed "
            f"{metrics.get(objective.metric)!r}"
            for objective, value in zip(record.study.objectives, row.values or (), strict=False)
            if metrics.get(objective.metric) != value
        ]
    compared = f"values of {len(record.complete)} complete rows are those of their scores"
    if with_bits:
        compared += f", scores of {with_bits} networks those of the images' bits"
    return compared, tuple(differences)


def _scores_of_bits(like: Scores, text: str) -> Scores:
    """The scores that the bits of a network give."""
    bits = unpack_bits([text], like)
    return replace(
        like,
        clean_accuracy=float(bits.clean.mean()),
        accuracies={
            kind: {
                severity: float(bits.of_cell(kind, place).mean())
                for place, severity in enumerate(by_severity)
            }
            for kind, by_severity in like.accuracies.items()
        },
    )


def _compare_at_clean_loss(record: StudyRecord, outcomes: Outcomes) -> Iterator[str]:
    """Accuracies at the stated clean loss: from the curve, on test images from the bits there."""
    margin = record.study.answer.clean_margin
    for row in record.complete:
        bits, pairs = outcomes.get(row.number, {}), list[tuple[Scores, Mapping[str, float]]]()
        own, tested = row.scores, row.test_scores
        if row.path is not None and isinstance(own, Scores) and own.at_clean_loss:
            pairs.append((own, row.path.at_clean_loss(own, margin).at_clean_loss))
        if isinstance(tested, Scores) and "test" in bits:
            text = bits.get(LOSS_BITS)
            made = {} if text is None else accuracies(_scores_of_bits(tested, text))
            pairs.append((tested, made))
        for scores, again in pairs:
            for name in {**scores.at_clean_loss, **again}:
                archived, now = scores.at_clean_loss.get(name), again.get(name)
                if archived != now:
                    metric = f"{scores.split}_{name}{AT_CLEAN_LOSS}"
                    yield f"trial {row.number}, {metric}: archived {archived}, recomputed {now}"


def _compare_file(name: str, archived: str, made: str) -> tuple[str, tuple[str, ...], int]:
    """A file that was made again, a table by the names of its columns, another line by line; and
    how many numbers differ by rounding.

    A column that the archive does not have is of a later version.
    """
    is_table = name.endswith(".csv")
    if is_table:
        (heads, *old), (made_heads, *new) = (
            list(csv.reader(io.StringIO(text, newline=""))) or [[]] for text in (archived, made)
        )
        compared = f"{len(new)} rows of {len(heads)} columns are those recomputed from the rows"
        if earlier := [head for head in heads if "_interpolated" in head]:
            kept = [place for place, head in enumerate(heads) if head not in earlier]
            heads, *old = ([row[place] for place in kept] for row in (heads, *old))
            compared += f"; no longer computed: {', '.join(earlier)}"
        if later := [head for head in made_heads if head not in heads]:
            compared += f"; not in the archive: {', '.join(later)}"
    else:
        heads = made_heads = ["line"]
        old, new = ([[line] for line in text.splitlines()] for text in (archived, made))
        compared = f"{len(new)} lines are those recomputed from the rows"
        old += [["no such line"]] * (len(new) - len(old))
        new += [["no such line"]] * (len(old) - len(new))
    if heads[:1] != made_heads[:1] or len(old) != len(new):
        size, now = f"{len(old)} by {heads[:1]}", f"{len(new)} by {made_heads[:1]}"
        return compared, (_difference("rows", size, now),), 0
    differences, rounded = list[str](), 0
    for number, (old_row, new_row) in enumerate(zip(old, new, strict=True), 1):
        cells = dict(zip(made_heads, new_row, strict=True))
        for column, before in zip(heads, old_row, strict=True):
            now = cells.get(column, "no such column")
            if before == now or (column in _WORDS and re.split(r":| \(", before)[0] == now):
                continue
            if is_table and name != TRIALS and _is_close(before, now):  # rows are stored
                rounded += 1
                continue
            row = f"row {number} ({cut(new_row[0], 40)}), {column}"
            differences.append(_difference(row if is_table else f"line {number}", before, now))
    return compared, tuple(differences), rounded


def _difference(where: str, archived: str, made: str) -> str:
    return f"{where}: archived {cut(archived, 60)}, recomputed {cut(made, 60)}"


def _is_close(archived: str, made: str) -> bool:
    """Whether two numbers differ by rounding alone: other processors add up in another order."""
    try:
        pair = float(archived), float(made)
    except ValueError:
        return False
    return math.isclose(*pair, rel_tol=ROUNDING, abs_tol=ROUNDING / 1000)
