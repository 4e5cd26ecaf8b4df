"""Launching again, resuming, and extending existing studies."""

from __future__ import annotations

from contextlib import closing

from ablate.errors import StudyExistsError, UsageError
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.lifecycle.begin import begin, begin_again, go_on
from ablate.lifecycle.changes import (
    check_same_study,
    note_changes_for_added_trials,
    note_files_not_read,
)
from ablate.lifecycle.drive import RunOptions, track_rows
from ablate.lifecycle.open_study import open_ledger, refuse_if_rescued, refuse_other_study
from ablate.lifecycle.place import Place, shown_folder
from ablate.study.seeds import needs_plain


def launch_study(place: Place, run: RunOptions, *, resume: bool) -> StudyRecord:
    """Run the study of a file to its end; a finished study is returned unchanged.

    Args:
        place: of the study file.
        resume: resume the study if it exists and is unfinished.

    Raises: as `ablate.launch`.
    """
    is_there = Ledger.exists(place.url, place.name)
    if not is_there:
        refuse_if_rescued(place)
    refuse_other_study(place)
    place.make_folder()
    if not is_there:
        try:
            return begin(place, run)
        except StudyExistsError:
            if not resume:
                raise  # another driver has started it meanwhile
    with closing(Ledger.open(place.url, place.name)) as ledger:
        if begin_again(ledger, place, run):
            return begin(place, run)
        check_same_study(ledger, place, run)
        if _is_finished(ledger, place):
            return _finished(ledger, place, run)
        if not resume:
            raise StudyExistsError(
                f"study {place.name}: launch starts a new study, got one that already exists and "
                f"is unfinished in {place.shown}. Use `ablate resume {shown_folder(place.folder)}`,"
                " or launch --resume."
            )
        return go_on(ledger, place, run, None)


def resume_study(
    place: Place, run: RunOptions, trials: int | None, add: int | None, seeds: int | None
) -> StudyRecord:
    """Finish an interrupted study, or extend it.

    Args:
        trials: new total number of rows; add: additional rows; seeds: of an ablation.

    Raises: as `ablate.resume`.
    """
    with closing(open_ledger(place)) as ledger:
        check_same_study(ledger, place, run)
        if ledger.head.design is None and seeds is None:
            return _resume_search(ledger, place, run, trials, add)
        return _resume_ablation(ledger, place, run, seeds, asks_rows=(trials, add) != (None, None))


def _resume_search(
    ledger: Ledger, place: Place, run: RunOptions, trials: int | None, add: int | None
) -> StudyRecord:
    total = _total(ledger, trials, add)
    there = sum(ledger.counts().values())
    if total is not None and total > there and _is_spent(ledger, place):
        raise UsageError(
            f"study {place.name}: a spent budget must be raised before trials are added, got "
            f"{ledger.spent}. Raise it in the study file, then run `ablate resume FILE`."
        )
    if total in (None, ledger.trials) and _is_finished(ledger, place):
        return _finished(ledger, place, run)
    refuse_other_study(place)
    place.make_folder()
    return go_on(ledger, place, run, total)


def _resume_ablation(
    ledger: Ledger, place: Place, run: RunOptions, seeds: int | None, *, asks_rows: bool
) -> StudyRecord:
    settings = ledger.head.study.ablation
    if settings is None:
        raise UsageError("--seeds: needs an ablation, got a search. Use --trials or --add.")
    if asks_rows:
        raise UsageError(
            f"study {place.name}: the runs of an ablation follow from its design, got --trials or "
            f"--add. Add seeds instead: --seeds {settings.seed_count + 1}."
        )
    if seeds is not None and seeds < settings.seed_count:
        raise UsageError(
            f"--seeds: must be at least the {settings.seed_count} that exist, got {seeds}. "
            "Runs are never removed."
        )
    asks_more = seeds is not None and seeds > settings.seed_count
    if not asks_more and _is_finished(ledger, place):
        return _finished(ledger, place, run)
    refuse_other_study(place)
    place.make_folder()
    return go_on(ledger, place, run, None, seeds=seeds)


def _finished(ledger: Ledger, place: Place, run: RunOptions) -> StudyRecord:
    """A finished study, whose trackers are brought up to date: its driver may have died before."""
    settings = (place.study or ledger.head.study).run.trackers
    command = f"`ablate track {shown_folder(place.folder)}`"
    for done in track_rows(ledger, place, settings) if settings else ():
        run.progress.note(done.text(command))
    note_files_not_read(ledger, place, run)
    record = ledger.read()
    if record.spent is not None and _is_spent(ledger, place):
        fix = "raise it in the study file, then `ablate resume FILE`"
        run.progress.note(f"{record.spent}: no further trial is started; {fix}")
    else:
        note_changes_for_added_trials(ledger, place, run)
    return record


def _total(ledger: Ledger, trials: int | None, add: int | None) -> int | None:
    """The total from the options of a resume; None without options."""
    if trials is not None and add is not None:
        raise UsageError("--trials and --add: give one, got both. --trials is the new total.")
    there = sum(ledger.counts().values())
    if trials is not None and trials < there:
        raise UsageError(
            f"--trials: must be at least the {there} trials that exist, got {trials}. "
            "Trials are never removed."
        )
    if add is not None and add < 1:
        raise UsageError(f"--add: must be at least 1, got {add}.")
    return ledger.trials + add if add is not None else trials


def _is_finished(ledger: Ledger, place: Place) -> bool:
    if place.study is not None and place.study.ablation and ledger.head.study.ablation:
        asked, begun = place.study.ablation.seed_count, ledger.head.study.ablation.seed_count
        if asked > begun:
            return False
    counts = ledger.counts()
    there = sum(counts.values())
    terminal = sum(counts[state] for state in TERMINAL)
    if _is_spent(ledger, place):
        there -= counts["WAITING"]
    elif there < ledger.trials:
        return False
    has_plain = "plain" in ledger.references or not needs_plain(ledger.head.study)
    return terminal == there and has_plain


def _is_spent(ledger: Ledger, place: Place) -> bool:
    """Whether a budget has ended the search, and the user's file, if there is one, has it too."""
    begun = ledger.head.study.search.budget
    return ledger.spent is not None and (place.study is None or place.study.search.budget == begun)
