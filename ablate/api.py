"""The Python interface: what the commands do, for notebooks and scripts.

Every function takes a study as the commands do: a study file, a run folder, `URL#NAME`, or
`#NAME` with ABLATE_STORAGE in the environment; or, instead of a study file, an `ablate.Study` or a
dict of the same keys.  The examples use `own.yaml`, the study of docs/tutorials/own_loop.md;
tests/test_docstrings.py runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import StoppedError, UsageError, cut
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.drive import RunOptions
from ablate.lifecycle.launch import launch_study, resume_study
from ablate.lifecycle.open_study import (
    OpenStudy,
    open_ledger,
    open_place,
    open_study,
    read_ablations,
)
from ablate.lifecycle.place import Place, StudyReference, locate, place_of
from ablate.report.terminal.live import watching
from ablate.report.tracked import hand_over
from ablate.search.callbacks import Callbacks, EpochEnd
from ablate.search.drive import CallbackStop
from ablate.search.progress import EventLog, Progress
from ablate.study.settings import Study

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo
    from ablate.lifecycle.dry_run import DryRun

OnEpoch = Callable[[EpochEnd], object]
OnTrialEnd = Callable[[RowRecord], object]
OnStudyEnd = Callable[[StudyRecord], object]


def check(study: StudyReference, overrides: Sequence[str] = ()) -> Study:
    """Check a study before it is launched: every key, name, value and searched parameter.

    Args:
        study: a study file, an `ablate.Study`, or a dict of the same keys.
        overrides: `key=value` strings, as for `--set`.

    Returns:
        The study as it would be launched, its space inline.

    Raises:
        StudyFileError: with all problems, by line of a file, by path of the key of other studies.

    Example:
        >>> ablate.check("own.yaml", ["search.trials=3"]).search.trials
        3
        >>> data = {"name": "mine", "dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
        >>> ablate.check({**data, "search": {"trial": 1}}, ["search.trials=1"])
        Traceback (most recent call last):
            ...
        ablate.errors.StudyFileError: search.trial: unknown key. Did you mean trials?
    """
    checked = place_of(study, overrides, must_search=True).study
    assert checked is not None
    return checked


def dry_run(study: StudyReference, overrides: Sequence[str] = (), **options: Any) -> DryRun:
    """Estimate the cost of a study from a few real batches of its data; nothing is stored.

    Args:
        study, overrides: as for `check`.
        options: fields of `ablate.lifecycle.drive.RunOptions`.

    Returns:
        Runs, seconds, GPU hours and bytes, and of an ablation its cells
        (`ablate.lifecycle.dry_run.DryRun`).

    Raises:
        StudyFileError, DataError, ResourceError: as `launch` would.
        UsageError: for a training loop of your own, whose cost is not known.

    Example:
        >>> ablate.dry_run("own.yaml")
        Traceback (most recent call last):
            ...
        ablate.errors.UsageError: own.yaml: a dry run cannot estimate a custom training loop, got \
trainable my_loop:train. Launch it with `overrides=['search.trials=1']` to time one trial.
    """
    from ablate.lifecycle.dry_run import dry_run as estimate

    return estimate(study, overrides, **options)


def launch(
    study: StudyReference,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    progress: Progress | bool | None = None,
    on_epoch: OnEpoch | None = None,
    on_trial_end: OnTrialEnd | None = None,
    on_study_end: OnStudyEnd | None = None,
    **options: Any,
) -> StudyRecord:
    """Run a study.  A finished study is returned without running.

    Args:
        study: a study file, an `ablate.Study`, or a dict of the same keys.
        overrides: `key=value` strings, as for `--set`.
        resume: resume the study if it exists and is unfinished.
        progress: receives progress events (`ablate.report.terminal.live.watching`).  Default: a
            display in a terminal or notebook, otherwise nothing; False: nothing.
        on_epoch: called after each epoch, with an `ablate.search.callbacks.EpochEnd`.
        on_trial_end: called when a trial has ended, with its row (number, state, params, values).
        on_study_end: called at the end, with the record that is returned.
            A callback runs in a thread of the driver, which waits for it.  It stops the study by
            raising `ablate.StopStudy`; if it raises something else, a line in the log says so, and
            it is not called again.
        options: fields of `ablate.lifecycle.drive.RunOptions`.

    Returns:
        The study with all rows in a final state, or as a callback has stopped it.

    Raises:
        StudyFileError: if the study has errors; the message lists all of them.
        StudyExistsError: if the study exists and is unfinished, and `resume` is false.
        FingerprintError: if a study of this name exists with other contents, such as another
            function.
        StoppedError: if every trial has failed, with the reason of the first, or if too many have.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed.

    Example:
        >>> record = ablate.launch("own.yaml", executor="inline", progress=False)
        >>> record.count("COMPLETE")
        8
        >>> record.rows[0].params, record.rows[0].values
        ({'lr': 0.5}, (0.375, 2.625))
    """
    place = place_of(study, overrides)
    how: dict[str, Any] = {"progress": progress, **options}
    callbacks = Callbacks(on_epoch, on_trial_end, on_study_end)
    return _run(place, lambda run: launch_study(place, run, resume=resume), callbacks, **how)


def _run(
    place: Place,
    work: Callable[[RunOptions], StudyRecord],
    callbacks: Callbacks,
    *,
    title: str = "",
    progress: Progress | bool | None = None,
    **options: Any,
) -> StudyRecord:
    """The record of a run, also where a callback has stopped it."""
    with watching(progress, title or place.name) as shown:
        try:
            record = work(RunOptions(progress=shown, callbacks=callbacks, **options))
        except CallbackStop:
            record = open_place(place).record

        def note(event: str, text: str) -> None:
            EventLog(place.folder).driver(event, text=text)
            shown.note(text)

        callbacks.study_ended(record, note)
        for line in filter(None, hand_over(OpenStudy(place, record))):
            note("tracker", line)
        failed = [(row.number, row.failure.reason) for row in record.rows if row.failure]
        if failed and len(failed) == len(record.rows):
            first = f"trial {failed[0][0]}: {cut(failed[0][1].rstrip('.'))}"
            raise StoppedError(
                f"study {record.name}: needs a trial that does not fail, got {len(failed)} that "
                f"all did; the first, {first}. Correct that in a study of another name."
            )
        return record


def resume(
    study: StudyReference,
    *,
    trials: int | None = None,
    add: int | None = None,
    seeds: int | None = None,
    progress: Progress | bool | None = None,
    on_epoch: OnEpoch | None = None,
    on_trial_end: OnTrialEnd | None = None,
    on_study_end: OnStudyEnd | None = None,
    **options: Any,
) -> StudyRecord:
    """Finish an interrupted study: interrupted trials continue, missing trials are added.

    Args:
        study: a study file, a run folder, `URL#NAME`, or a study from Python.  One with a function
            that no module holds needs the same function.
        trials: new total number of trials; add: number of additional trials.  Neither: the
            number that the study was started with.
        seeds: for an ablation, instead of these: new number of runs of each cell.
        progress, on_epoch, on_trial_end, on_study_end, options: as for `launch`.

    Returns:
        The study with all rows in a final state, or as a callback has stopped it.

    Raises:
        StudyNotFoundError: if there is no such study.
        FingerprintError: if a change of the study or the environment would change scores.
        ParameterError: if the study needs a function that this process was not given.
        StoppedError: if every trial has failed, or too many have.
        InfrastructureError: if storage, cluster or workers fail; the study can be resumed again.

    Example:
        >>> record = ablate.resume("runs/own", add=2, executor="inline", progress=False)
        >>> len(record.rows)
        10
    """
    place = locate(study)
    how: dict[str, Any] = {"progress": progress, **options}
    callbacks = Callbacks(on_epoch, on_trial_end, on_study_end)
    return _run(place, lambda run: resume_study(place, run, trials, add, seeds), callbacks, **how)


def read(study: StudyReference) -> StudyRecord:
    """Read a study and its rows, as frozen data.

    Raises:
        StudyNotFoundError: if there is no such study.

    Example:
        >>> record = ablate.read("runs/own")
        >>> [objective.metric for objective in record.study.objectives]
        ['error', 'size']
        >>> record.rows[0].state
        'COMPLETE'
    """
    return open_study(study).record


def read_ablation(study: StudyReference | Sequence[StudyReference]) -> AblationInfo:
    """Read an ablation, or a confirmation on the test images: its arms and effects so far.

    Args:
        study: the ablation; or a list of several of the same arms and images, each from another
            baseline, which are read as one: a pair is then an ablation, of which the seeds are
            averaged, and intervals are for new baselines and new images.

    Raises:
        ParameterError: if the study is a search.
        UsageError: if several do not match.
        StudyNotFoundError: if there is no such study.

    Example:
        >>> ablation = ablate.read_ablation("runs/which")
        >>> effect = ablation.effects[0]
        >>> effect.contrast, effect.metric, effect.estimate.n
        ('lr: 0.1 - reference', 'error', 4)
        >>> print(f"{effect.estimate.mean:+.3f}")
        +1.812
    """
    if isinstance(study, str | Path | Study | Mapping):
        return open_study(study).ablation
    return read_ablations([open_study(ablation) for ablation in study])


def confirm(
    study: StudyReference,
    *,
    seeds: int = 8,
    trials: Sequence[int] | None = None,
    suite: str | Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    progress: Progress | bool | None = None,
    on_epoch: OnEpoch | None = None,
    on_trial_end: OnTrialEnd | None = None,
    on_study_end: OnStudyEnd | None = None,
    **options: Any,
) -> ConfirmInfo:
    """Train a search's front, or an ablation, with new seeds, and score it on the test images.

    An ablation keeps its cells, with the values that its tuning picked, its contrasts and its
    primary contrasts, which are those of the test metrics.  The study's database records when and
    why the test images were used.  Call it again to continue, or with more seeds.

    Args:
        study: the search or ablation.
        seeds: number of new seeds, at least 2; of a search paired over the front, the plain
            finetune and combined data augmentation, of an ablation over its cells.
        trials: of a search, numbers of trials of the front of trials; None: all of the front, with
            its mixtures, whose trials are trained again and averaged.  For one objective: of any
            complete trials; None: the best, and those that the images do not tell from it.
        suite, severities: for the test images, a name or a list of corruptions; None: the study's.
        progress, on_epoch, on_trial_end, on_study_end, options: as for `launch`; the callbacks see
            the runs of the confirmation, which is a study of its own.

    Returns:
        The points and arms on the test images, of as many runs as there are where a callback has
        stopped it; an ablation has no points.

    Raises:
        UsageError: if the study is itself a confirmation, was confirmed with other trials, another
            suite before, or the suite does not give the metric of a primary contrast.
        InfrastructureError: if storage, cluster or workers fail; it can be called again.

    Example:
        >>> info = ablate.confirm("runs/search", seeds=2, executor="inline", progress=False)
        >>> info.test.split, info.test.seeds
        ('test', 2)
        >>> [point.name for point in info.points]
        ['trial 0']
    """
    from ablate.lifecycle.confirmation import confirm_study

    if seeds < 2:
        raise UsageError(
            f"`seeds`: a confirmation needs at least two, got {seeds}. With 8 the smallest "
            "two-sided p is .0078."
        )
    place = locate(study)
    how: dict[str, Any] = {"progress": progress, "title": f"{place.name}, confirm", **options}
    asked: dict[str, Any] = {"seeds": seeds, "trials": trials}
    asked |= {"suite": suite, "severities": severities}
    callbacks = Callbacks(on_epoch, on_trial_end, on_study_end)
    with closing(open_ledger(place)) as ledger:
        confirming = partial(confirm_study, ledger, place, **asked)
        _run(place.confirmation, confirming, callbacks, **how)
    return open_place(place.confirmation).confirm_info


def read_confirmation(study: StudyReference) -> ConfirmInfo:
    """Read the confirmation of a search or ablation: its results so far.

    Args:
        study: the confirmation itself, `runs/NAME/confirm`.

    Raises:
        StudyNotFoundError: if there is no such study.

    Example:
        >>> info = ablate.read_confirmation("runs/search/confirm")
        >>> sorted(info.points[0].luck)
        ['val_clean_accuracy', 'val_robust_accuracy']
    """
    return open_study(study).confirm_info


def enqueue(study: StudyReference, values: Mapping[str, Any]) -> int:
    """Queue a trial with these parameters.  It runs next and counts towards the total.

    A running driver starts it; otherwise `resume` does.

    Args:
        study: the search.
        values: by dotted key of the space, or by the last parts of a key (`st.weight`) if they
            are unique.  Parameters you leave out are sampled.

    Returns:
        The trial's number.

    Raises:
        ParameterError: if a name is not a searched key, or a value is outside its range.
        StudyNotFoundError: if there is no such study.

    Example:
        >>> ablate.enqueue("runs/own", {"lr": 0.1})
        8
    """
    with closing(open_ledger(locate(study))) as ledger:
        return ledger.enqueue(values)


def load_trials(study: StudyReference) -> pd.DataFrame:
    """Load the trials of a study as a data frame, one row per trial.

    `ablate.analysis.frame` lists the columns.

    Raises:
        StudyNotFoundError: if there is no such study.

    Example:
        >>> frame = ablate.load_trials("runs/own")
        >>> len(frame), frame["state"].unique().tolist(), frame["param.lr"].tolist()[0]
        (8, ['COMPLETE'], 0.5)
    """
    from ablate.analysis.frame import trials_frame

    return trials_frame(read(study))


def plot_pareto(*studies: StudyReference) -> Figure:
    """Plot the Pareto front of one study or several, with the dominated trials.

    Of a robustness finetuning also the baseline and the plain finetune.  Same as
    `ablate.plot("pareto", *studies)`.

    Raises:
        StudyNotFoundError: if there is no such study.
        NothingToDrawError: if a study has one objective: draw "history".

    Example:
        >>> figure = ablate.plot_pareto("runs/own")
        >>> print(figure.layout.title.text)
        <b>Front of own</b>
    """
    from ablate.report.draw import plot

    return plot("pareto", *studies)
