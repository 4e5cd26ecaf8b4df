"""A study's pages for its trackers: the front, the report and the table, drawn and handed over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from ablate.errors import AblateError
from ablate.lifecycle.open_study import OpenStudy, open_ledger
from ablate.study.settings import TrackerSettings
from ablate.trackers import make_trackers
from ablate.trackers.feed import attach


def hand_over(study: OpenStudy, settings: Sequence[TrackerSettings] | None = None) -> list[str]:
    """Draw the pages of a study into its run folder, and hand them to its trackers.

    Args:
        settings: of the trackers; None: those of the study.

    Returns:
        A line for each tracker that failed, none if all have them.
    """
    if settings is None:
        settings = (study.place.study or study.record.study).run.trackers
    if not settings:
        return []
    files = _pages(study)
    with closing(open_ledger(study.place)) as ledger:
        trackers = make_trackers(settings, Path(ledger.head.base), study.place.folder)
        return attach(trackers, study.record, ledger.head, files)


def _pages(study: OpenStudy) -> list[Path]:
    """The pages that can be drawn: a study of one objective has no front, say."""
    from ablate.report.draw import draw_to_files
    from ablate.report.figures.figure import USUAL
    from ablate.report.page.publish import publish
    from ablate.report.paper.formats import paper_table, table_text
    from ablate.report.write import write_text

    folder = study.place.folder
    folder.mkdir(parents=True, exist_ok=True)
    report, table = folder / "report.html", folder / "table.md"
    made: list[Path] = []
    with suppress(AblateError):
        drawn, _, _ = draw_to_files(
            [study], None, None, ending=None, theme="light", with_data=False, options=USUAL
        )
        made += drawn
    with suppress(AblateError):
        publish(study, report)
        made.append(report)
    with suppress(AblateError):
        write_text(table_text(paper_table(study, effects=False), "md"), table)
        made.append(table)
    return made
