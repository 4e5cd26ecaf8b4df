"""The same as the command line, from Python: notebooks, scripts, and the commands themselves.

Every function takes a study as the command line does: a study file, a run folder, `URL#NAME`,
or `#NAME` with ABLATE_STORAGE in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import StudyExistsError, StudyNotFoundError, UsageError
from ablate.ledger.foreign import read_foreign
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.ledger.rescue import rescued_copy
from ablate.ledger.url import sqlite_url
from ablate.lifecycle import begin, begin_again, check_same_study, go_on, shown_folder
from ablate.locate import Place, locate, place_of_file
from ablate.report.live import watching
from ablate.running import RunOptions
from ablate.search.progress import Progress
from ablate.study.params import needs_plain
from ablate.study.settings import SearchBudgetSettings

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.ablation.results import Outcomes
    from ablate.ledger.twins import Foreseen


def launch(
    study: str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    progress: Progress | bool | None = None,
    **options: Any,
) -> StudyRecord:
    """Run the study of a file to its end; a finished one is returned as it is.

    Args:
        study: the study file.
        overrides: `key=value`, as `--set`.
        resume: go on where the study exists and is unfinished.
        progress: who is told how it goes (`ablate.report.live.watching`): by default a display
            where there is a terminal or a notebook; False: nobody.
        options: see `RunOptions`.

    Returns:
        The study, all rows terminal.

    Raises:
        StudyFileError: if the file is wrong; every problem at once.
        StudyExistsError: if the study exists unfinished and `resume` is false.
        FingerprintError: if it exists with other contents.
        InfrastructureError: if storage, cluster or workers fail; it can be resumed.
    """
    place = place_of_file(Path(study), overrides)
    with watching(progress, place.name) as told:
        return _launch(place, RunOptions(progress=told, **options), resume=resume)


def _launch(place: Place, run: RunOptions, *, resume: bool) -> StudyRecord:
    is_there = Ledger.exists(place.url, place.name)
    if not is_there:
        _refuse_to_forget(place)
    place.make_folder()
    if not is_there:
        try:
            return begin(place, run)
        except StudyExistsError:
            if not resume:
                raise  # another driver has begun it meanwhile
    ledger = Ledger.open(place.url, place.name)
    if begin_again(ledger, place, run):
        return begin(place, run)
    check_same_study(ledger, place, run)
    if _is_finished(ledger, place):
        return ledger.read()
    if not resume:
        raise StudyExistsError(
            f"study {place.name}: launch begins a study, got one that is begun and unfinished in "
            f"{place.shown}. Use `ablate resume {shown_folder(place.folder)}`, or launch --resume."
        )
    return go_on(ledger, place, run, None)


def resume(
    study: str | Path,
    *,
    trials: int | None = None,
    add: int | None = None,
    seeds: int | None = None,
    progress: Progress | bool | None = None,
    **options: Any,
) -> StudyRecord:
    """Finish what was begun: rows that were running are adopted, missing ones are added.

    Args:
        study: a study file, a run folder, or `URL#NAME`.
        trials: a new total N; add: more rows than before.  Neither: the N it was begun with.
        seeds: of an ablation, in place of these: a new number of runs of each cell.
        progress: as of `launch`.
        options: see `RunOptions`.

    Raises:
        StudyNotFoundError: if there is no such study.
        FingerprintError: if the file or the environment has changed in a way that matters.
        InfrastructureError: if storage, cluster or workers fail; it can be resumed again.
    """
    place = locate(str(study))
    with watching(progress, place.name) as told:
        run = RunOptions(progress=told, **options)
        return _resume(place, run, trials, add, seeds)


def _resume(
    place: Place, run: RunOptions, trials: int | None, add: int | None, seeds: int | None
) -> StudyRecord:
    ledger = _open(place)
    check_same_study(ledger, place, run)
    if ledger.head.design is not None or seeds is not None:
        return _resume_ablation(ledger, place, run, seeds, asks_rows=(trials, add) != (None, None))
    total = _total(ledger, trials, add)
    if total is not None and ledger.spent is not None and _budget(ledger, place) == _budget(ledger):
        raise UsageError(
            f"study {place.name}: a budget that is spent must be raised before more rows are asked "
            f"for, got {ledger.spent}. Raise it in the study file, then ablate resume FILE."
        )
    if total in (None, ledger.trials) and _is_finished(ledger, place):
        return ledger.read()
    place.make_folder()
    return go_on(ledger, place, run, total)


def _resume_ablation(
    ledger: Ledger, place: Place, run: RunOptions, seeds: int | None, *, asks_rows: bool
) -> StudyRecord:
    settings = ledger.head.study.ablation
    if settings is None:
        raise UsageError("--seeds: is of an ablation, got a search. Use --trials or --add.")
    if asks_rows:
        raise UsageError(
            f"study {place.name}: the rows of an ablation are those of its design, got --trials or "
            f"--add. Ask for more seeds: --seeds {settings.seed_count + 1}."
        )
    if seeds is not None and seeds < settings.seed_count:
        raise UsageError(
            f"--seeds: must be at least the {settings.seed_count} that are there, got {seeds}. "
            "Rows are never taken away."
        )
    asks_more = seeds is not None and seeds > settings.seed_count
    if not asks_more and _is_finished(ledger, place):
        return ledger.read()
    place.make_folder()
    return go_on(ledger, place, run, None, seeds=seeds)


def read(study: str | Path) -> StudyRecord:
    """A study and its rows, as frozen data, at this moment.

    One that another tool wrote with Optuna has what that tool left: parameters, values and times
    (`ablate.ledger.foreign`); its database is not written.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    place = locate(str(study))
    foreign = read_foreign(place.url, place.name)
    if foreign is not None:
        return foreign
    ledger = _open(place)
    try:
        return ledger.read()
    finally:
        ledger.close()


def read_ablation(study: str | Path) -> AblationInfo:
    """What an ablation, or a confirmation on the test images, says so far: arms and effects.

    Raises:
        ParameterError: if the study is a search.
        StudyNotFoundError: if there is no such study.
    """
    from ablate.ablation.confirm import study_ablation

    return study_ablation(*_read_outcomes(study))


def confirm(
    study: str | Path,
    *,
    seeds: int = 8,
    trials: Sequence[int] | None = None,
    suite: str | None = None,
    severities: Sequence[int] | None = None,
    progress: Progress | bool | None = None,
    **options: Any,
) -> ConfirmInfo:
    """Run the front of a search again over fresh seeds, and score it on the test images.

    The ledger of the search keeps that they were opened, when and for what.  Call it again to go
    on where it was stopped, or with more seeds.

    Args:
        seeds: K; paired over the front, the plain finetune and combined data augmentation.
        trials: of the front, these alone; None: all of it.
        suite, severities: of the test images; None: the search's.
        progress: as of `launch`.
        options: see `RunOptions`.

    Raises:
        UsageError: if the study is no search, or was confirmed otherwise before.
        InfrastructureError: if storage, cluster or workers fail; it can be called again.
    """
    from ablate.ablation.confirm import confirm_info
    from ablate.confirming import confirm_front, confirmation_place

    if seeds < 2:
        raise UsageError(
            f"--seeds: a confirmation needs two at least, got {seeds}. With 8 the least two-sided "
            "p is .0078."
        )
    place = locate(str(study))
    ledger = _open(place)
    with watching(progress, f"{place.name}, confirm") as told:
        confirm_front(
            ledger,
            place,
            RunOptions(progress=told, **options),
            seeds=seeds,
            trials=trials,
            suite=suite,
            severities=severities,
        )
    return confirm_info(*read_outcomes(confirmation_place(place)))


def read_confirmation(study: str | Path) -> ConfirmInfo:
    """What the confirmation of a search says so far.

    Args:
        study: the confirmation itself, as `runs/NAME/confirm`.
    """
    from ablate.ablation.confirm import confirm_info

    return confirm_info(*_read_outcomes(study))


def enqueue(study: str | Path, values: Mapping[str, Any]) -> int:
    """Append a row with these parameters: the next that is run; it counts towards N.

    A driver that runs meanwhile takes it up; where nobody drives, `resume` does.

    Args:
        values: by dotted key of the study's space, or its last parts where no other key ends so
            (`st.weight`); what is left out is drawn.

    Returns:
        The row's number.

    Raises:
        ParameterError: if a name is no key that is searched, or a value is outside its range.
        StudyNotFoundError: if there is no such study.
    """
    ledger = _open(locate(str(study)))
    try:
        return ledger.enqueue(values)
    finally:
        ledger.close()


def foresee(study: str | Path, number: int, values: Mapping[str, Any]) -> Foreseen:
    """What comes of the row that `enqueue` has appended: what is drawn, whose scores it takes."""
    ledger = _open(locate(str(study)))
    try:
        return ledger.foresee(number, values)
    finally:
        ledger.close()


def events(study: str | Path, trial: int | None = None) -> list[dict[str, Any]]:
    """What happened in the runs of a study, oldest first (`ablate.search.events`).

    Args:
        trial: only what happened to this one.
    """
    from ablate.search.events import read_events

    return read_events(locate(str(study)).folder, trial)


def trial_output(study: str | Path, trial: int) -> list[tuple[Path, str]]:
    """What the attempts of a trial printed: each one's file and its text."""
    folder = locate(str(study)).folder / "logs" / f"{trial:05d}"
    files = sorted(folder.glob("attempt-*.log"), key=lambda file: int(file.stem.split("-")[1]))
    return [(file, file.read_text(encoding="utf-8", errors="replace")) for file in files]


def load_trials(study: str | Path) -> pd.DataFrame:
    """A study's rows as a frame, one row a trial (columns: `ablate.analysis.frame`)."""
    from ablate.analysis.frame import trials_frame

    return trials_frame(read(study))


def plot_pareto(*studies: str | Path) -> Figure:
    """Robust against clean accuracy: the front, what it dominates, baseline and plain finetune."""
    from ablate.drawing import plot

    return plot("pareto", *studies)


def _read_outcomes(study: str | Path) -> tuple[StudyRecord, Outcomes, Mapping[str, str]]:
    return read_outcomes(locate(str(study)))


def read_outcomes(place: Place) -> tuple[StudyRecord, Outcomes, Mapping[str, str]]:
    """A study, and which images its rows and its baseline were right on."""
    ledger = _open(place)
    try:
        record = ledger.read()
    finally:
        ledger.close()
    # After the rows: a run that ends meanwhile has bits that nobody asks for.
    return record, *read_bits(place)


def read_bits(place: Place) -> tuple[Outcomes, Mapping[str, str]]:
    """Which images the rows and the baseline of a study were right on, whose rows are read."""
    ledger = _open(place)
    try:
        outcomes, references = ledger.outcomes()
        return outcomes, references.get("baseline", {})
    finally:
        ledger.close()


def _open(place: Place) -> Ledger:
    if not Ledger.exists(place.url, place.name):
        _refuse_to_forget(place)
        raise StudyNotFoundError(
            f"study {place.name}: must have been launched, got no such study in {place.shown}. "
            "Launch it first, or check name and storage."
        )
    return Ledger.open(place.url, place.name)


def _refuse_to_forget(place: Place) -> None:
    """Where the database is gone and its rows were copied, the study is in the copy."""
    copy = rescued_copy(place.url)
    if copy is not None and Ledger.exists(sqlite_url(copy), place.name):
        raise StudyNotFoundError(
            f"study {place.name}: must be in {place.shown}, got no file there; its rows were "
            f"copied to {copy} as it was deleted. Rename the copy to go on with it, or remove it "
            "to begin anew."
        )


def _total(ledger: Ledger, trials: int | None, add: int | None) -> int | None:
    """N, as the options of a resume say it; none where they say nothing."""
    if trials is not None and add is not None:
        raise UsageError("--trials and --add: one of them, got both. --trials is a new total.")
    there = sum(ledger.counts().values())
    if trials is not None and trials < there:
        raise UsageError(
            f"--trials: must be at least the {there} rows that are there, got {trials}. "
            "Rows are never taken away."
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
    if ledger.spent is not None and _budget(ledger, place) == _budget(ledger):
        there -= counts["WAITING"]
    elif there < ledger.trials:
        return False
    has_plain = "plain" in ledger.references or not needs_plain(ledger.head.study)
    return terminal == there and has_plain


def _budget(ledger: Ledger, place: Place | None = None) -> SearchBudgetSettings:
    """The limits of the search: those that the user's file has now, else those in the ledger."""
    study = place.study if place is not None and place.study is not None else ledger.head.study
    return study.search.budget
