"""What a study would cost: a few real batches, and nothing kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablate.errors import UsageError
from ablate.finetune.cache import cache_folder
from ablate.finetune.environment import resolve_environment
from ablate.finetune.model import is_external
from ablate.locate import place_of_file
from ablate.robustness.estimate import TrialEstimate, estimate_trial
from ablate.robustness.workbench import Workbench
from ablate.running import RunOptions, make_executor


@dataclass(frozen=True)
class DryRun:
    """What a study would take, with the study's own settings in every trial.

    Attributes:
        trials: rows, and one more for the plain finetune.
        parallel: at once; gpus_per_trial: of each.
        trial: of one.
        seconds: of all, without the baseline; gpu_hours: of all.
        disk_bytes: training states, weights and evaluation set.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dry_run(file: Path, overrides: Sequence[str] = (), **options: Any) -> DryRun:
    """Estimate a study from a few real batches of its data.

    Raises:
        StudyFileError, DataError, ResourceError: as `launch` would.
    """
    place = place_of_file(file, overrides)
    study = place.study
    assert study is not None
    if study.trainable is not None:
        raise UsageError(
            f"{file}: --dry-run estimates a finetuning, got trainable {study.trainable}, of which "
            "nothing is known. Launch it with --set search.trials=1."
        )
    executor = make_executor(RunOptions(**options), study)
    parallel, gpus = executor.parallel, executor.gpus_per_trial
    executor.close()
    environment = resolve_environment(
        study.run.precision,
        threads=study.run.cpus_per_trial,
        device="cuda" if gpus else "cpu",
        compile_mode=study.run.compile,
    )
    bench = Workbench(study, file.absolute().parent, cache_folder(), environment)
    checkpoint = study.baseline.checkpoint
    if checkpoint is not None and not is_external(checkpoint):
        bench.build_baseline()  # a file that cannot be used is said now; nothing is fetched
    trial = estimate_trial(bench)
    each = trial.train_seconds + trial.score_seconds
    rows = study.search.trials + 1
    weights = trial.state_bytes // 2
    return DryRun(
        study=study.name,
        trials=study.search.trials,
        parallel=parallel,
        gpus_per_trial=gpus,
        device=environment.device_name,
        precision=environment.precision,
        trial=trial,
        seconds=each * rows / min(parallel, rows),
        gpu_hours=each * rows * gpus / 3600,
        disk_bytes=2 * trial.state_bytes * parallel + weights * rows + trial.evaluation_bytes,
    )
