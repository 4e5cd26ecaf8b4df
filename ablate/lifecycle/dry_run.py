"""Estimates the cost of a study from a few real batches; stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.design import replicate_studies
from ablate.ablation.searches import tuned_cells
from ablate.errors import ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.finetune.baseline import first_network
from ablate.ledger.record import learned_text
from ablate.lifecycle.ablation_reference import design_of, find_reference, known_trials, plan_of
from ablate.lifecycle.drive import RunOptions, make_executor
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.place import Place, StudyReference, check_weights, place_of
from ablate.model import is_external, is_own_code
from ablate.model.environment import resolve_environment
from ablate.model.weights.preprocessing import unstated_sizes, weights_notes
from ablate.robustness.score import score_images
from ablate.space.parse import parse_space
from ablate.space.start import start_points
from ablate.study.baseline_checks import expected_rule
from ablate.study.json_data import JsonData
from ablate.study.keys import plain_values
from ablate.study.metrics import is_by_image
from ablate.study.preparation import Preprocessing
from ablate.study.seeds import needs_plain
from ablate.study.settings import Study
from ablate.trial.estimate import TrialEstimate, estimate_training, estimate_trial
from ablate.trial.workbench import Workbench

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a design.

    Attributes:
        differs: values by dotted key that differ from the study's.
        seconds: of one run, including scoring.
    """

    name: str
    differs: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class PlannedAblation:
    """A design before it is run.

    Attributes:
        design: its name; seeds: K; replicates: with so many runs each, None: the study is one.
        cells: in the order of their runs.
        aliases: the alias structure of a fraction.
        claims: the primary contrasts, as "A - B on METRIC".
        notes: notes for the reader; power: of the primary contrasts, a line each.
        tuning_trials: number of trials for tuning, over all cells and replicates; 0: none.
        confirmed_seeds: with which each replicate is confirmed for planned looks; 0: it is not.
    """

    design: str
    seeds: int
    cells: tuple[PlannedCell, ...]
    aliases: tuple[str, ...]
    claims: tuple[str, ...]
    notes: tuple[str, ...]
    power: tuple[str, ...]
    tuning_trials: int
    replicates: int | None = None
    confirmed_seeds: int = 0


@dataclass(frozen=True)
class ScoredBaseline:
    """A baseline on the clean validation images.

    Attributes:
        accuracy: in [0, 1]; images: of the split.
        preprocessing: how they reached it.
    """

    accuracy: float
    images: int
    preprocessing: Preprocessing


@dataclass(frozen=True)
class DryRun(JsonData):
    """The cost of a study, estimated with the study's own settings for every trial.

    Attributes:
        trials: number of rows; a search also runs the plain finetune.
        parallel: at once; gpus_per_trial: of each.
        trial: of one.
        seconds: of all, without the baseline and mixtures; gpu_hours: of all.
        mixtures: whether some are scored after the last trial; how many is not known before.
        disk_bytes: training states, weights and evaluation set.
        baseline: of a file of weights; None: it is trained, or fetched, when the study starts.
        ablation: its design; None of a search.
        data: what is in the image files, all of which were decoded, one line each.
        learned: what the sampler knows of other studies, a line each.
        first_points: that a search begins with: those of `search.enqueue`, then each method.
    """

    study: str
    trials: int
    parallel: int
    gpus_per_trial: float
    device: str
    precision: str
    trial: TrialEstimate
    seconds: float
    gpu_hours: float
    disk_bytes: int
    baseline: ScoredBaseline | None = None
    ablation: PlannedAblation | None = None
    data: tuple[str, ...] = ()
    first_points: tuple[Mapping[str, Any], ...] = ()
    learned: tuple[str, ...] = ()
    mixtures: bool = False


def dry_run(given: StudyReference, overrides: Sequence[str] = (), **options: Any) -> DryRun:
    """Estimate a study from a few real batches of its data.

    Raises:
        StudyFileError, DataError, ParameterError, ResourceError: as `launch` would.
    """
    place = place_of(given, overrides)
    study = place.study
    assert study is not None
    if study.trainable is not None:
        raise UsageError(
            f"{place.file or place.name}: a dry run cannot estimate a custom training loop, got "
            f"trainable {study.trainable}. Launch it with "
            "`overrides=['search.trials=1']` to time one trial."
        )
    whole, study = study, replicate_studies(study)[0]
    points, learned = tuple[Mapping[str, Any], ...](), tuple[Mapping[str, Any], ...]()
    if study.ablation is None:
        space = parse_space(study, names_for(study.model.name, place.base))
        points = start_points(study, space) or study.search.enqueue
        learned = known_trials(study, place.base, space)
    executor = make_executor(RunOptions(**options), study)
    parallel, gpus = executor.parallel, executor.gpus_per_trial
    executor.close()
    environment = resolve_environment(
        study.run.precision,
        threads=study.run.cpus_per_trial,
        device="cuda" if gpus else "cpu",
        compile_mode=study.run.compile,
    )
    bench = Workbench(study, place.base, cache_folder(), environment)
    scan, skips = bench.scan_files(), study.dataset.skip_unreadable
    notes = () if scan is None else scan.notes(skip_unreadable=skips, advises=is_by_image(study))
    sizes = bench.image_size, bench.dataset.stored_size
    if unstated := unstated_sizes(study, place.base, *sizes):
        raise ParameterError(unstated)
    check_weights(study, place.file, place.base, len(bench.dataset.classes))
    notes += weights_notes(study, place.base, len(bench.dataset.classes))
    checkpoint, backbone, baseline = study.baseline.checkpoint, study.baseline.backbone, None
    start = None
    if checkpoint is not None and not is_external(checkpoint):  # nothing is downloaded, or trained
        start = bench.build_baseline()
        baseline = _score_baseline(bench, start)
    if backbone is not None and (is_own_code(backbone) or not is_external(backbone)):
        start, _ = first_network(bench.dataset, study.model, study.baseline, bench.base)
    trial = estimate_trial(bench, start)
    each, rows = trial.train_seconds + trial.score_seconds, study.search.trials
    work, planned = each * (rows + 1), None
    if study.ablation is not None:
        planned = _plan(place, whole, bench, start, trial.score_seconds)
        pairs = planned.seeds * (planned.replicates or 1)
        rows = len(planned.cells) * pairs
        confirmed = planned.confirmed_seeds * (planned.replicates or 1)
        work = (pairs + confirmed) * sum(cell.seconds for cell in planned.cells)
        work += planned.tuning_trials * each
    keep = study.run.keep_checkpoints
    networks = (rows if keep == "all" else min(rows, keep)) + needs_plain(study)
    states = 2 * trial.state_bytes * parallel
    return DryRun(
        study=study.name,
        trials=rows,
        parallel=parallel,
        gpus_per_trial=gpus,
        device=environment.device_name,
        precision=environment.precision,
        trial=trial,
        seconds=work / min(parallel, rows + 1),
        gpu_hours=work * gpus / 3600,
        disk_bytes=states + trial.evaluation_bytes + trial.state_bytes // 2 * networks,
        baseline=baseline,
        ablation=planned,
        data=(*(() if scan is None else scan.summary()), *notes),
        first_points=points[:rows],
        learned=tuple(map(learned_text, learned)),
        mixtures=study.ablation is None and study.answer.mixtures,
    )


def _score_baseline(bench: Workbench, model: nn.Module) -> ScoredBaseline:
    """Score it on the clean validation images alone.

    Raises:
        DataError: if its file is unusable.
        ParameterError: if it is not as `baseline.expected_accuracy` says.
    """
    split = bench.dataset.validation
    outcomes = score_images(model, split, bench.environment)
    preprocessing = bench.preprocessing_of(model)
    expected = bench.study.baseline.expected_accuracy
    if rule := expected_rule(expected, outcomes.accuracy, len(split), preprocessing):
        raise ParameterError(f"baseline.expected_accuracy: {rule}")
    return ScoredBaseline(outcomes.accuracy, len(split), preprocessing)


def _plan(
    place: Place,
    study: Study,
    bench: Workbench,
    start: nn.Module | None,
    score_seconds: float,
) -> PlannedAblation:
    """The design of an ablation with the time of a run of each cell; for an arm of several models,
    the first is timed."""
    settings, base, own = study.ablation_section, place.base, plain_values(study)
    design = design_of(study, base, str(place.file or ""), find_reference(study, base))
    seconds: dict[str, float] = {}
    for arm in design.arms:
        timed = [cell for cell in design.cells if cell.name in arm.cells]
        if timed:
            configured = study.with_values(dict(timed[0].values))
            fitting = bench.fitting(configured)
            begun = start if fitting is bench else None
            taken = estimate_training(fitting, configured, begun).train_seconds
            seconds |= {cell.name: taken + score_seconds for cell in timed}
    cells = []
    for cell in design.cells:
        differs = {key: value for key, value in cell.values.items() if value != own.get(key)}
        cells.append(PlannedCell(cell.name, differs, seconds[cell.name]))
    searches = len(tuned_cells(study, design.cells)) * (settings.replicates or 1)
    confirm = settings.stop and settings.stop.confirm
    return PlannedAblation(
        design=design.kind,
        seeds=settings.seed_count,
        cells=tuple(cells),
        aliases=design.aliases,
        claims=tuple(claim.text for claim in design.claims),
        notes=design.notes,
        power=plan_of(study, design, base),
        tuning_trials=settings.tune.trials * searches if settings.tune else 0,
        replicates=settings.replicates,
        confirmed_seeds=confirm.seeds if confirm else 0,
    )
