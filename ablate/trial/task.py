"""What goes between the driver and a worker: plain JSON, nothing of the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.errors.masking import masked_data
from ablate.study.json_data import JsonData
from ablate.study.scores import Scores
from ablate.study.settings import Study


@dataclass(frozen=True)
class Job(JsonData):
    """What all trials of a run share.

    Attributes:
        study: without its storage; `run.gpus_per_trial` is a number.
        base: absolute folder that the study's relative paths start from.
        cache: absolute folder of data, baselines and evaluation sets.
        folder: absolute folder of the run: weights and logs go below it.
        checkpoints: absolute path or fsspec URI of the training states.
        test: suite and severities that a confirmation scores the test images under; none: they
            stay shut.
        baseline_threads: of torch while the baseline is trained; none: those of a trial.
        free_cores: of the node that prepares, which does nothing else meanwhile; none: a trial's.
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
    """What stands before the first trial.

    Attributes:
        data_digest: of the training images before the split; empty for a trainable, as is
        baseline_sha256: of the baseline's weights.
        baseline_scores: on the validation split; none for a trainable.
        environment: what the bits of a score depend on: `Environment.to_json()`; for a trainable
            `python`, its version, and `code`, the sha256 of the trainable's source.
        kept: beside the baseline's scores, as a row's (`Report.kept`).
        notes: what the user should read, such as what was damaged and made again.
    """

    data_digest: str
    baseline_sha256: str
    baseline_scores: Scores | None
    environment: Mapping[str, Any]
    kept: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report(JsonData):
    """What a worker says after an epoch, at a checkpoint amid one, and at the end.

    Exactly one of `scores`, `failure` and `lost` is there at the end, none before it; a report
    without any of these and without an entry only says where the attempt runs.

    Attributes:
        entry: the epoch's point of the curve: `epoch`, `epochs` (the budget), `seconds`, and of a
            finetuning `train_loss` and `images`, of a trainable the `scores` that it reported.
        checkpoint: what is durable after it; without an entry, amid an epoch.
        rung: the pruner's metric as it stands, after an epoch that trials are compared at; empty
            where a loop did not report it.
        kept: beside the scores: `outcomes`, by split which images were right, in bits; `test`, the
            scores on the test images.  In an ablation alone.
        lost: why the attempt cannot go on here, though the trial did nothing wrong.
        place: `host`, `pid`, `gpus` (their ids), `started` (seconds since 1970), `first_epoch`,
            `first_step` and `first_seconds` (of the checkpoint that it went on from, 0: from the
            beginning), `peak_memory_bytes`, `peak_gpu_bytes`, and `note` (why a checkpoint could
            not be used, what was damaged and made again), where there is something to say.
    """

    entry: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None
    kept: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    rung: Mapping[str, float] | None = None
    lost: str | None = None
    place: Mapping[str, Any] | None = None

    @property
    def progress(self) -> tuple[int, int] | None:
        """Epochs done, and steps of the next; none where nothing was trained."""
        if self.entry is not None:
            return int(self.entry["epoch"]), 0
        kept = self.checkpoint
        return None if kept is None else (int(kept["epoch"]), int(kept["step"]))

    @property
    def done(self) -> bool:
        return (self.scores, self.failure, self.lost) != (None, None, None)

    def masked(self) -> Report:
        """Without a secret that the worker has met, in what it says in its own words."""
        return replace(
            self,
            failure=masked_data(self.failure),
            lost=masked_data(self.lost),
            place=masked_data(self.place),
        )


def checkpoint_folder(checkpoints: str, number: int | None) -> str:
    """Path or URI of a row's training states, with one folder an attempt below it."""
    return f"{checkpoints.rstrip('/')}/{_row_name(number)}"


def log_file(folder: Path, number: int | None, attempt: int) -> Path:
    """Where what an attempt of a row prints goes, below the run's folder."""
    return folder / "logs" / _row_name(number) / f"attempt-{attempt}.log"


def weights_file(folder: Path, number: int | None) -> Path:
    """Where the finetuned weights of a row are, below the run's folder."""
    return folder / "weights" / f"{_row_name(number)}.safetensors"


def _row_name(number: int | None) -> str:
    return "plain" if number is None else f"{number:05d}"
