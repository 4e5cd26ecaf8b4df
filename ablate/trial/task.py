"""The data exchanged between driver and workers: plain JSON, without the storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ablate.errors.masking import masked_data
from ablate.study.json_data import JsonData
from ablate.study.preparation import Preprocessing
from ablate.study.scores import Scores
from ablate.study.settings import Study


@dataclass(frozen=True)
class Job(JsonData):
    """The settings that all trials of a run share.

    Attributes:
        study: without its storage; `run.gpus_per_trial` is a number.
        base: absolute folder for the study's relative paths.
        cache: absolute folder of data, baselines and evaluation sets.
        folder: absolute run folder for weights and logs.
        checkpoints: absolute path or fsspec URI of the training states.
        test: suite and severities for the test images in a confirmation; None: they are not used.
        baseline_threads: torch threads for training the baseline; None: those of a trial.
        free_cores: cores of the otherwise idle preparing node; None: a trial's.
    """

    study: Study
    base: str
    cache: str
    folder: str
    checkpoints: str
    test: Mapping[str, Any] | None = None
    baseline_threads: int | None = None
    free_cores: int | None = None


@dataclass(frozen=True)
class Prepared:
    """The results of the preparation.

    Attributes:
        data_digest: of the training images before the split; empty for a trainable.
        baseline_sha256: of the baseline's weights; empty for a trainable.
        baseline_scores: on the validation split; None for a trainable.
        environment: what affects the bits of a score: `Environment.to_json()`; for a trainable
            `python` (version).
        kept: in addition to the baseline's scores, as for a row (`Report.kept`).
        adapted_scores, adapted_kept: the same of the baseline with batch norm adapted at test time;
            None without `robustness.adapt_batch_norm`.
        code: sha256 of the code of each callable that is compared by it: the training loop, and
            the user's own distortions and corruptions.
        of_files: sections of the fingerprint about the user's own data
            (`ablate.study.fingerprint.OF_FILES`).
        left_out: split -> number of image files that cannot be read and are left out.
        rung_scores: as `baseline_scores`, on the images that a trial is scored on at a rung; None
            where these are all, or no constraint is relative to the baseline.
        preprocessing: of the baseline's images; None for a trainable.
        unstated: why a new study must state the sizes of its images; empty if it need not.
        notes: notes for the user: on the image files, on what was damaged and regenerated.
    """

    data_digest: str
    baseline_sha256: str
    baseline_scores: Scores | None
    environment: Mapping[str, Any]
    kept: Mapping[str, Any] | None = None
    adapted_scores: Scores | None = None
    adapted_kept: Mapping[str, Any] | None = None
    rung_scores: Scores | None = None
    preprocessing: Preprocessing | None = None
    unstated: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    of_files: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interim:
    """The scores of a trial that is not finished, as of `ablate.ledger.record.Rung`."""

    scores: Mapping[str, float]
    images: int = 0
    by_alpha: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, metrics: Sequence[str]) -> dict[str, Any]:
        """Of these metrics only, as a report has it (`Report.rung`)."""

        def known(scores: Mapping[str, float]) -> dict[str, float]:
            return {metric: scores[metric] for metric in metrics if metric in scores}

        by_alpha = {alpha: known(scores) for alpha, scores in self.by_alpha.items()}
        optional = {"images": self.images, "by_alpha": by_alpha}
        return {"scores": known(self.scores)} | {key: v for key, v in optional.items() if v}


@dataclass(frozen=True)
class Report(JsonData):
    """A worker's report after an epoch, at a checkpoint within one, and at the end.

    The last report has exactly one of `scores`, `failure` and `lost`, earlier ones none; a report
    without these and without an entry only tells where the attempt runs.

    Attributes:
        entry: the epoch's point of the curve: `epoch`, `epochs` (the budget), `seconds`, and of a
            finetuning `train_loss` and `images`, of a trainable the `scores` that it reported.
        checkpoint: the checkpoint after it; without an entry, within an epoch.
        rung: after an epoch with a rung: `scores` of the pruner's metrics and the objectives,
            `images` and `by_alpha` (see `ablate.ledger.record.Rung`).
        kept: `outcomes`, correctness of each image by split, as bits; `test`, the scores on the
            test images; `weights`, sha256 of the file of the weights; with `finetune.interpolation`
            also `curve`.
        lost: why the attempt cannot continue here, for reasons outside the trial.
        place: `host`, `pid`, `gpus` (their ids), `started` (seconds since 1970), `first_epoch`,
            `first_step` and `first_seconds` (of the checkpoint that it continued from, 0: from the
            start), `peak_memory_bytes`, `peak_gpu_bytes`, and `note` (why a checkpoint could not be
            used, what was damaged and regenerated), if any.
    """

    entry: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None
    kept: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    rung: Mapping[str, Any] | None = None
    lost: str | None = None
    place: Mapping[str, Any] | None = None

    @property
    def progress(self) -> tuple[int, int] | None:
        """Epochs done, and steps of the next; None if nothing was trained."""
        if self.entry is not None:
            return int(self.entry["epoch"]), 0
        kept = self.checkpoint
        return None if kept is None else (int(kept["epoch"]), int(kept["step"]))

    @property
    def done(self) -> bool:
        return (self.scores, self.failure, self.lost) != (None, None, None)

    def masked(self) -> Report:
        """The report with secrets masked in its texts."""
        return replace(
            self,
            failure=masked_data(self.failure),
            lost=masked_data(self.lost),
            place=masked_data(self.place),
        )


def checkpoint_folder(checkpoints: str, number: int | None) -> str:
    """Path or URI of a row's training states, with one folder per attempt below it."""
    return f"{checkpoints.rstrip('/')}/{_row_name(number)}"


def log_file(folder: Path, number: int | None, attempt: int) -> Path:
    """File for the output of an attempt, below the run's folder."""
    return folder / "logs" / _row_name(number) / f"attempt-{attempt}.log"


def weights_file(folder: Path, number: int | None) -> Path:
    """File of the finetuned weights of a row, below the run's folder."""
    return folder / "weights" / f"{_row_name(number)}.safetensors"


def _row_name(number: int | None) -> str:
    return "plain" if number is None else f"{number:05d}"
