"""The same as the command line, from Python: notebooks, scripts, and the commands themselves.

Every function takes a study as the command line does: a study file, a run folder, `URL#NAME`,
or `#NAME` with ABLATE_STORAGE in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import StudyExistsError, StudyNotFoundError, UsageError
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.lifecycle import begin, check_same_study, go_on, shown_folder
from ablate.locate import Place, locate, place_of_file
from ablate.running import RunOptions
from ablate.study.settings import SearchBudgetSettings

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


def launch(
    study: str | Path,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    **options: Any,
) -> StudyRecord:
    """Run the study of a file to its end; a finished one is returned as it is.

    Args:
        study: the study file.
        overrides: `key=value`, as `--set`.
        resume: go on where the study exists and is unfinished.
        options: see `RunOptions`.

    Returns:
        The study, all rows terminal.

    Raises:
        StudyFileError: if the file is wrong; every problem at once.
        StudyExistsError: if the study exists unfinished and `resume` is false.
        FingerprintError: if it exists with other contents.
        InfrastructureError: if storage, cluster or workers fail; it can be resumed.
    """
    run = RunOptions(**options)
    place = place_of_file(Path(study), overrides)
    place.make_folder()
    if not Ledger.exists(place.url, place.name):
        try:
            return begin(place, run)
        except StudyExistsError:
            if not resume:
                raise  # another driver has begun it meanwhile
    ledger = Ledger.open(place.url, place.name)
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
    study: str | Path, *, trials: int | None = None, add: int | None = None, **options: Any
) -> StudyRecord:
    """Finish what was begun: rows that were running are adopted, missing ones are added.

    Args:
        study: a study file, a run folder, or `URL#NAME`.
        trials: a new total N; add: more rows than before.  Neither: the N it was begun with.
        options: see `RunOptions`.

    Raises:
        StudyNotFoundError: if there is no such study.
        FingerprintError: if the file or the environment has changed in a way that matters.
        InfrastructureError: if storage, cluster or workers fail; it can be resumed again.
    """
    run = RunOptions(**options)
    place = locate(str(study))
    ledger = _open(place)
    check_same_study(ledger, place, run)
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


def read(study: str | Path) -> StudyRecord:
    """A study and its rows, as frozen data, at this moment."""
    ledger = _open(locate(str(study)))
    try:
        return ledger.read()
    finally:
        ledger.close()


def enqueue(study: str | Path, values: Mapping[str, Any]) -> int:
    """Append a row with these parameters: the next that is run; it counts towards N.

    A driver that runs meanwhile takes it up; where nobody drives, `resume` does.

    Args:
        values: by dotted key, as the study's space has them; what is left out is drawn.

    Returns:
        The row's number.

    Raises:
        ParameterError: if a key is not searched, or a value is outside its range.
        StudyNotFoundError: if there is no such study.
    """
    ledger = _open(locate(str(study)))
    try:
        return ledger.enqueue(values)
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


def plot_pareto(study: str | Path) -> Figure:
    """Robust against clean accuracy: the front, what it dominates, baseline and plain finetune."""
    from ablate.analysis.pareto import pareto_info
    from ablate.report.figures.pareto import plot_pareto as draw

    return draw(pareto_info(read(study)))


def _open(place: Place) -> Ledger:
    if not Ledger.exists(place.url, place.name):
        raise StudyNotFoundError(
            f"study {place.name}: must have been launched, got no such study in {place.shown}. "
            "Launch it first, or check name and storage."
        )
    return Ledger.open(place.url, place.name)


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
    counts = ledger.counts()
    there = sum(counts.values())
    terminal = sum(counts[state] for state in TERMINAL)
    if ledger.spent is not None and _budget(ledger, place) == _budget(ledger):
        there -= counts["WAITING"]
    elif there < ledger.trials:
        return False
    needs_plain = ledger.head.study.trainable is None
    return terminal == there and ("plain" in ledger.references or not needs_plain)


def _budget(ledger: Ledger, place: Place | None = None) -> SearchBudgetSettings:
    """The limits of the search: those that the user's file has now, else those in the ledger."""
    study = place.study if place is not None and place.study is not None else ledger.head.study
    return study.search.budget
