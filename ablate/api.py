"""The same as the command line, from Python: notebooks, scripts, and the commands themselves.

Every function takes a study as the command line does: a study file, a run folder, `URL#NAME`,
or `#NAME` with ABLATE_STORAGE in the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ablate.errors import FingerprintError, StudyExistsError, StudyNotFoundError, UsageError
from ablate.finetune.cache import cache_folder
from ablate.ledger.head import Head
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.locate import Place, locate, place_of_file
from ablate.search.drive import drive
from ablate.search.executor import Executor
from ablate.search.progress import Progress, Silent
from ablate.search.task import Job
from ablate.space.parse import parse_space
from ablate.study.fingerprint import changed_keys, noted_keys, study_fingerprint
from ablate.study.settings import Study
from ablate.vocabulary import names_for

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.robustness.trial import Prepared

ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; nothing here changes a score.

    Attributes:
        executor: "ray", or "inline" for a for-loop in this process.
        ray_address: of a running cluster; none starts Ray on this machine.
        takeover: drive the study even where another driver seems to be alive.
        accept_environment: go on although device, precision, threads or torch have changed.
        progress: is told what happens.
    """

    executor: ExecutorName = "ray"
    ray_address: str | None = None
    takeover: bool = False
    accept_environment: bool = False
    progress: Progress = field(default_factory=Silent)


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
        return _begin(place, run)
    ledger = Ledger.open(place.url, place.name)
    _check_same_study(ledger, place)
    if _is_finished(ledger):
        return ledger.read()
    if not resume:
        raise StudyExistsError(
            f"study {place.name}: launch begins a study, got one that is begun and unfinished in "
            f"{place.shown}. Use `ablate resume {study}`, or launch --resume."
        )
    return _go_on(ledger, place, run, ledger.trials)


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
    _check_same_study(ledger, place)
    total = _total(ledger, trials, add)
    if total == ledger.trials and _is_finished(ledger):
        return ledger.read()
    place.make_folder()
    return _go_on(ledger, place, run, total)


def read(study: str | Path) -> StudyRecord:
    """A study and its rows, as frozen data, at this moment."""
    return _open(locate(str(study))).read()


def load_trials(study: str | Path) -> pd.DataFrame:
    """A study's rows as a frame, one row a trial (columns: `ablate.analysis.frame`)."""
    from ablate.analysis.frame import trials_frame

    return trials_frame(read(study))


def plot_pareto(study: str | Path) -> Figure:
    """Robust against clean accuracy: the front, what it dominates, baseline and plain finetune."""
    from ablate.analysis.pareto import pareto_info
    from ablate.report.figures.pareto import plot_pareto as draw

    return draw(pareto_info(read(study)))


def make_executor(run: RunOptions, study: Study, secret: Sequence[str] = ()) -> Executor:
    """The executor that the options name; close it when done.

    Args:
        secret: variables of the environment that its processes must not inherit.
    """
    if run.executor == "inline":
        from ablate.search.executor import InlineExecutor

        return InlineExecutor(study.run)
    from ablate.search.ray_tune import RayExecutor

    return RayExecutor(study.run, run.ray_address, secret)


def _begin(place: Place, run: RunOptions) -> StudyRecord:
    assert place.study is not None
    assert place.file is not None
    study, base = _for_workers(place.study), place.file.absolute().parent
    space = parse_space(study, names_for(study.model.name))
    text = _without_password(place)

    def ledger_of(prepared: Prepared) -> Ledger:
        head = Head(
            study=study,
            text=text,
            space=space.to_json(),
            base=str(base),
            fingerprint=study_fingerprint(study, space, prepared.data_digest),
            baseline_sha256=prepared.baseline_sha256,
            environment=prepared.environment.to_json(),
            reference_point=_reference_point(study, prepared),
        )
        ledger = Ledger.create(place.url, head, study.search.trials)
        ledger.set_reference("baseline", prepared.baseline_scores)
        return ledger

    return _run(place, study, base, run, ledger_of)


def _go_on(ledger: Ledger, place: Place, run: RunOptions, total: int) -> StudyRecord:
    def same_ledger(prepared: Prepared) -> Ledger:
        _check_same_environment(ledger, prepared, accept=run.accept_environment)
        if total != ledger.trials:
            ledger.set_trials(total)
        return ledger

    return _run(place, ledger.head.study, Path(ledger.head.base), run, same_ledger)


def _run(
    place: Place,
    study: Study,
    base: Path,
    run: RunOptions,
    ledger_of: Callable[[Prepared], Ledger],
) -> StudyRecord:
    run.progress.phase("starting the workers")
    executor = make_executor(run, study, place.secret)
    try:
        resolved = study.run.model_copy(update={"gpus_per_trial": executor.gpus_per_trial})
        job = Job(
            study=study.model_copy(update={"run": resolved}),
            base=str(base),
            cache=str(cache_folder()),
            folder=str(place.folder),
        )
        run.progress.phase("preparing data, baseline and evaluation set")
        ledger = ledger_of(executor.prepare(job))
        run.progress.totals(ledger.read())
        drive(ledger, executor, job, run.progress, takeover=run.takeover)
        return ledger.read()
    finally:
        executor.close()


def _open(place: Place) -> Ledger:
    if not Ledger.exists(place.url, place.name):
        raise StudyNotFoundError(
            f"study {place.name}: must have been launched, got no such study in {place.shown}. "
            "Launch it first, or check name and storage."
        )
    return Ledger.open(place.url, place.name)


def _check_same_study(ledger: Ledger, place: Place) -> None:
    """Refuse a study file that differs from what was begun; keep what changes no score."""
    if place.study is None:
        return
    begun, now = ledger.head.study, _for_workers(place.study)
    before, after = begun.model_dump(mode="json"), now.model_dump(mode="json")
    if changed := changed_keys(before, after):
        raise FingerprintError(
            f"study {place.name}: a study that is begun must not change, got "
            f"{'; '.join(changed)}. Change it back, or give the file another `name:`."
        )
    if noted := noted_keys(before, after):
        ledger.change_study(now, noted)


def _check_same_environment(ledger: Ledger, prepared: Prepared, *, accept: bool) -> None:
    head = ledger.head
    space = ledger.space
    sections = study_fingerprint(head.study, space, prepared.data_digest)
    different = [name for name in sections if sections[name] != head.fingerprint.get(name)]
    if different:
        raise FingerprintError(
            f"study {head.study.name}: what it depends on must be as it was begun, got other "
            f"{', '.join(different)}. Put it back, or launch under another name."
        )
    now = prepared.environment.to_json()
    changes = [
        f"{key}: {head.environment.get(key)} -> {now[key]}"
        for key in ("device", "precision", "threads", "torch")
        if head.environment.get(key) != now[key]
    ]
    if prepared.baseline_sha256 != head.baseline_sha256:
        changes.append("the baseline's weights came out with other bits")
    if changes and not accept:
        raise FingerprintError(
            f"study {head.study.name}: the environment must be as it was begun, got "
            f"{'; '.join(changes)}. Scores may differ in the last digits: go back, or add "
            "--accept-environment."
        )
    if changes:
        ledger.log({"accepted_environment": changes})


def _total(ledger: Ledger, trials: int | None, add: int | None) -> int:
    """N, as the options of a resume say it."""
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
    return trials if trials is not None else ledger.trials + (add or 0)


def _is_finished(ledger: Ledger) -> bool:
    counts = ledger.counts()
    terminal = sum(counts[state] for state in TERMINAL)
    return (
        terminal >= ledger.trials
        and terminal == sum(counts.values())
        and "plain" in ledger.references
    )


def _reference_point(study: Study, prepared: Prepared) -> tuple[float, ...]:
    """The file's, else the baseline's own values with 10 points of clean accuracy to lose."""
    if study.search.reference_point is not None:
        return study.search.reference_point
    metrics: Mapping[str, float] = prepared.baseline_scores.metrics()
    return tuple(_reference_value(objective.metric, metrics) for objective in study.objectives)


def _reference_value(metric: str, baseline: Mapping[str, float]) -> float:
    value = baseline[metric]
    return value - 0.10 if metric == "val_clean_accuracy" else value


def _for_workers(study: Study) -> Study:
    """The study without its storage: nobody but the driver is to know it."""
    return study.model_copy(update={"storage": None})


def _without_password(place: Place) -> str:
    assert place.file is not None
    assert place.study is not None
    text = place.file.read_text()
    storage = place.study.storage
    return text.replace(storage, place.shown) if storage and storage in text else text
