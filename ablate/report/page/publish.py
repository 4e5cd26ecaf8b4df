"""`ablate report`: from a study that a person names to its page, once or as it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablate.errors import ParameterError, StudyNotFoundError, UsageError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import OpenStudy, open_place
from ablate.lifecycle.place import Place, StudyReference, locate
from ablate.report.page.content import ReportContent, report_content
from ablate.report.page.page import report_page
from ablate.report.write import PAGE, check_file, write_text
from ablate.study.callables import imports_limited, was_imported


def write_report(
    study: StudyReference,
    output: str | Path,
    *,
    with_images: bool = True,
    brief: bool = False,
    trust: bool = False,
    begin: Callable[[str], None] = lambda _: None,
) -> None:
    """Write the report of a study, one HTML file.  It is written completely or not at all.

    Args:
        study: a study file, a run folder, `URL#NAME`, or a study from Python.
        output: file to write; its name must end in .html.
        with_images: include example images, if data and weights are available.
        brief: write only the first screen (`report_page`).
        trust: import, for the images, the functions that the study names although you have not run
            it here.
        begin: called with a description of each step as it starts.

    Raises:
        StudyNotFoundError: if there is no such study.
        ParameterError: if the name of the file does not end in .html.
        UsageError: if the study has not run anything, or the folder is missing or not writable.

    Example:
        >>> ablate.write_report("runs/own", "report.html")
    """
    check_page_file(Path(output))
    place = locate(study)
    begin(f"reading {place.file or place.name}")
    publish(
        open_place(place),
        Path(output),
        with_images=with_images,
        brief=brief,
        trust=trust,
        begin=begin,
    )


def publish(
    study: OpenStudy,
    file: Path,
    *,
    with_images: bool = True,
    brief: bool = False,
    trust: bool = False,
    begin: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Like `write_report`, for an open study and a checked file.

    Returns:
        The names of functions that were not imported, so that images are missing.
    """
    check_begun(study.record, study.reference)
    begin("drawing the figures")
    images = with_images and not brief
    content, refused = _content(study, 0.0, with_images=images, trust=trust)
    begin(f"writing {file}")
    write_text(report_page(content, brief=brief), file)
    return refused


def watch_report(
    place: Place,
    output: Path,
    *,
    every_seconds: float,
    written: Callable[[str], None],
    with_images: bool = True,
    trust: bool = False,
) -> None:
    """Rewrite the report while the study runs, until all its rows have ended.

    An open page reloads itself; the last one, which has the images, does not.  For a study file
    that is not launched yet, wait until it is.

    Args:
        written: called after each write, with the progress of the study.
        with_images: of the last one; trust: as `write_report`.

    Raises: as `publish`.
    """
    is_waiting = False
    while True:
        try:
            study = open_place(place)
        except StudyNotFoundError:
            if place.file is None:
                raise
            if not is_waiting:
                written("waiting for the study to be launched")
            is_waiting = True
            time.sleep(every_seconds)
            continue
        ended = is_ended(study.record)
        pause = 0.0 if ended else every_seconds
        content, _ = _content(study, pause, with_images=ended and with_images, trust=trust)
        write_text(report_page(content), output)
        written(content.state)
        if ended:
            return
        time.sleep(every_seconds)


def check_begun(record: StudyRecord, named: str) -> None:
    """Refuse a study that has neither a baseline nor a trial yet."""
    if record.foreign or record.fingerprint or any(row.attempts for row in record.rows):
        return
    fix = f"Run it: ablate resume {named}"
    if record.driver is not None:
        fix = f"{record.driver} is preparing it: wait, or run ablate report {named} --watch"
    raise UsageError(
        f"study {record.name}: a report needs a trial that has started, got none: the study was "
        f"never prepared. {fix}"
    )


def check_page_file(path: Path) -> None:
    """Refuse a file that no page can be written to, before anything is read.

    Raises: as `write_report`.
    """
    if path.suffix.lower() != PAGE:
        raise ParameterError(
            f"{path}: a report's file must end with {PAGE}, got {path.suffix or 'no ending'}. "
            f"Write {path.with_suffix(PAGE).name}."
        )
    check_file(path)


def is_ended(record: StudyRecord) -> bool:
    """Whether nothing of the study will change by itself."""
    return record.is_over and record.driver is None


def _content(
    study: OpenStudy, reload_seconds: float, *, with_images: bool, trust: bool
) -> tuple[ReportContent, list[str]]:
    """The content of the page, and the names of functions that were not imported for it."""
    source = study.source if with_images else replace(study.source, place=None)
    with imports_limited(lambda name, base: trust or was_imported(name, base)) as refused:
        content = report_content(
            source,
            reference=study.reference,
            now=time.time(),
            reload_seconds=reload_seconds,
            has_weights=study.place.archive is None,
        )
    return content, list(dict.fromkeys(refused))
