"""The same as the command line, from Python: notebooks, scripts, and the commands themselves.

Every function takes a study as the command line does: a study file, a run folder, `URL#NAME`,
or `#NAME` with ABLATE_STORAGE in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import UsageError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.drive import RunOptions
from ablate.lifecycle.open_study import open_ledger, open_study, read_outcomes
from ablate.lifecycle.place import locate, place_of_file
from ablate.lifecycle.resume import launch_study, resume_study
from ablate.report.terminal.live import watching
from ablate.search.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo


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
        progress: who is told how it goes (`ablate.report.terminal.live.watching`): by default a
            display where there is a terminal or a notebook; False: nobody.
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
        return launch_study(place, RunOptions(progress=told, **options), resume=resume)


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
        return resume_study(place, run, trials, add, seeds)


def read(study: str | Path) -> StudyRecord:
    """A study and its rows, as frozen data, at this moment.

    One that another tool wrote with Optuna has what that tool left: parameters, values and times
    (`ablate.ledger.foreign`); its database is not written.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    return open_study(study).record


def read_ablation(study: str | Path) -> AblationInfo:
    """What an ablation, or a confirmation on the test images, says so far: arms and effects.

    Raises:
        ParameterError: if the study is a search.
        StudyNotFoundError: if there is no such study.
    """
    return open_study(study).ablation


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
    from ablate.lifecycle.confirmation import confirm_front

    if seeds < 2:
        raise UsageError(
            f"--seeds: a confirmation needs at least two, got {seeds}. With 8 the smallest "
            "two-sided p is .0078."
        )
    place = locate(str(study))
    ledger = open_ledger(place)
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
    return confirm_info(*read_outcomes(place.confirmation))


def read_confirmation(study: str | Path) -> ConfirmInfo:
    """What the confirmation of a search says so far.

    Args:
        study: the confirmation itself, as `runs/NAME/confirm`.
    """
    from ablate.ablation.confirm import confirm_info

    return confirm_info(*read_outcomes(locate(str(study))))


def enqueue(study: str | Path, values: Mapping[str, Any]) -> int:
    """Append a row with these parameters: the next that is run; it counts towards N.

    A driver that runs meanwhile takes it up; where nobody drives, `resume` does.

    Args:
        values: by dotted key of the study's space, or its last parts where no other key ends so
            (`st.weight`); parameters you leave out are
            sampled.

    Returns:
        The row's number.

    Raises:
        ParameterError: if a name is no key that is searched, or a value is outside its range.
        StudyNotFoundError: if there is no such study.
    """
    ledger = open_ledger(locate(str(study)))
    try:
        return ledger.enqueue(values)
    finally:
        ledger.close()


def load_trials(study: str | Path) -> pd.DataFrame:
    """A study's rows as a frame, one row a trial (columns: `ablate.analysis.frame`)."""
    from ablate.analysis.frame import trials_frame

    return trials_frame(read(study))


def plot_pareto(*studies: str | Path) -> Figure:
    """Robust against clean accuracy: the front, what it dominates, baseline and plain finetune."""
    from ablate.report.draw import plot

    return plot("pareto", *studies)
