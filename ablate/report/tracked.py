"""Trackers brought up to date, with the front, the report and the table drawn for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ablate.errors import AblateError, ParameterError
from ablate.lifecycle.drive import track_rows
from ablate.lifecycle.open_study import OpenStudy, open_ledger, open_place
from ablate.lifecycle.place import StudyReference, locate
from ablate.study.settings import TrackerSettings
from ablate.study.translate import findings
from ablate.trackers import make_trackers
from ablate.trackers.feed import CaughtUp, finish


def track(
    study: StudyReference, trackers: Sequence[str | Mapping[str, Any]] = ()
) -> list[CaughtUp]:
    """Bring trackers up to date: every ended trial, once, and the study's front, report and table.

    Also of a finished study, and one that had no trackers.

    Args:
        study: a run folder, a study file, or as for `read`.
        trackers: names, or names with settings as in `run.trackers`, such as
            `{"mlflow": {"uri": "http://localhost:5000"}}`.  None named: those of the study.

    Returns:
        For each tracker what it has now: `tracker`, `place`, `rows`, `written` (how many of them
        are new) and `failed`, which says why it is not up to date, and is empty if it is.

    Raises:
        ParameterError: if no tracker is named and the study has none, or one has a wrong key.
        MissingDependencyError: if a tracker's package is not installed.
        LeaseError: if the study is running: it does this at its end.
        UsageError: if no trial has started.

    Example:
        >>> done = ablate.track("runs/own", ["tensorboard"])
        >>> done[0].rows, done[0].failed
        (8, '')
    """
    if isinstance(trackers, str):
        raise ParameterError(
            f"`trackers`: must be a list of trackers, got {trackers!r}. Write [{trackers!r}]."
        )
    place = locate(study)
    with closing(open_ledger(place)) as ledger:
        settings = _chosen(trackers, (place.study or ledger.head.study).run.trackers)
        done = track_rows(ledger, place, settings)
    good = [at for at, now in enumerate(done) if not now.failed]
    lines = hand_over(open_place(place), [settings[at] for at in good])
    failed = dict(zip(good, lines, strict=True))
    return [replace(now, failed=failed.get(at, now.failed)) for at, now in enumerate(done)]


def _chosen(named: Sequence[Any], of_study: Sequence[TrackerSettings]) -> list[TrackerSettings]:
    """The trackers that are named, with the study's settings where it has them."""
    found = [] if named else list(of_study)
    for data in named:
        given = [one for one in of_study if one.name == data]
        try:
            found += given or [TrackerSettings.model_validate(data)]
        except ValidationError as error:
            rule = findings(error, data)[0]
            key = ".".join(["`trackers`", *map(str, rule.path)])
            raise ParameterError(f"{key}: {rule.rule}") from None
    if not found:
        raise ParameterError(
            "`trackers`: must name one, because the study has no run.trackers, got none. "
            "Add `trackers=['tensorboard']`."
        )
    return found


def hand_over(study: OpenStudy, settings: Sequence[TrackerSettings] | None = None) -> list[str]:
    """Draw the pages of a study into its run folder, and hand them to these trackers, or its own.

    Returns:
        A line for each tracker: why it failed; empty if it has the pages.
    """
    from ablate.report.draw import draw_usual
    from ablate.report.formats import markdown_text
    from ablate.report.page.page import publish
    from ablate.report.tables import study_table
    from ablate.report.write import write_text

    if settings is None:
        settings = (study.place.study or study.record.study).run.trackers
    if not settings:
        return []
    folder = study.place.folder
    folder.mkdir(parents=True, exist_ok=True)
    report, table = folder / "report.html", folder / "table.md"
    made: list[Path] = []
    with suppress(AblateError):  # of a page that cannot be drawn, or not yet
        made.append(draw_usual(study))
    with suppress(AblateError):
        publish(study, report)
        made.append(report)
    with suppress(AblateError):
        write_text(markdown_text(study_table(study)), table)
        made.append(table)
    with closing(open_ledger(study.place)) as ledger:
        trackers = make_trackers(settings, Path(ledger.head.base), folder)
        return finish(trackers, study.record, ledger.head, made)
