"""A robustness finetuning as a worker's trial: from values and seeds to scores."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ablate.data.dataset import Statistics
from ablate.files.durable import Checkpoint, load_blob, save_blob
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.interpolation import interpolate_weights
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.model.normalization import carried_statistics
from ablate.model.taps import layer_names
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.robustness.bits import Scored, kept_scores, pack_row
from ablate.study.interpolation import Curve, alpha_text, curve_point
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds
from ablate.trial.task import Interim
from ablate.trial.workbench import Workbench


class TrialRun:
    """One finetuning of the baseline, epoch by epoch, and its scores.

    Args:
        workbench: workbench of the trial's study.
        values: resolved parameters by dotted key; `PLAIN` for the plain finetune.
        seeds: of the trial.

    Raises:
        ParameterError: if the values name an unknown term, layer, distance or family.
        pydantic.ValidationError: if a value is outside its key's domain.
    """

    def __init__(self, workbench: Workbench, values: Mapping[str, Any], seeds: Seeds) -> None:
        seeded = {
            "dataset.validation.seed": seeds.split,
            "finetune.seed": seeds.train,
            "robustness.seed": seeds.evaluation,
        }
        is_paired = workbench.study.ablation is not None  # all cells of a pair have its seed
        given = {**values, **seeded} if is_paired else {**seeded, **values}
        study = workbench.study.with_values(given)
        self._study = study
        self._bench = workbench.fitting(study)
        self._bench.environment.apply()
        model = self._bench.build_baseline()
        loss = build_loss(study.loss, layer_names(model))
        augment = build_augmentation(study.augment) if loss.needs_augmented else None
        self._seen_types = augment.types if augment else ()
        self._finetuning = Finetuning(
            model,
            self._bench.finetuning_images(study, loss),
            study.finetune,
            budget=study.finetune.budget,
            loss=loss,
            augment=augment,
            dataset_settings=study.dataset,
            environment=self._bench.environment,
            batch_norm=study.finetune.batch_norm,
        )

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self._finetuning.done

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._finetuning.epoch

    @property
    def model(self) -> nn.Module:
        """The network in its current state."""
        return self._finetuning.model

    @property
    def result(self) -> nn.Module:
        """The network that the trial is scored and exported as: the current one, or, where the
        study fixes `finetune.interpolation.alpha`, the one between it and the baseline."""
        alpha = self._study.finetune.result_alpha
        return self.model if alpha == 1 else self._between(alpha)

    @property
    def step(self) -> int:
        """Steps done in the current epoch; 0 between epochs."""
        return self._finetuning.step

    def run_epoch(self, pause: Callable[[], bool] | None = None) -> EpochReport | None:
        """Train for one epoch, or for the rest of the budget.

        Args:
            pause: called after every step except an epoch's last; returns whether to stop there.

        Returns:
            Results of the epoch; None if it was paused.

        Raises:
            NotFiniteError: if the loss is NaN or infinite.
            OutOfMemoryError: the message names the batch size.
        """
        return self._finetuning.run_epoch(pause)

    def save(self, folder: str) -> Checkpoint:
        """Write the training state; `folder` is a path or URI, only for this trial and attempt.

        Raises:
            UsageError: if the folder cannot be written.
            InfrastructureError: if the disk is full or broken.
        """
        run = self._finetuning
        return save_checkpoint(
            folder, self.epoch, run.state(), step=run.step, seconds=run.epoch_seconds
        )

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a training state, with the same bits as without interruption.

        Raises:
            CheckpointError: if the state is missing or damaged; then nothing is changed.
        """
        self._finetuning.load_state(load_checkpoint(saved))

    def export(self, path: Path, number: int | None = None) -> None:
        """Write the weights as safetensors, completely or not at all, with metadata for their use.

        Args:
            number: of the trial in its study; None: the plain finetune.

        Raises:
            UsageError: if the folder cannot be written.
            InfrastructureError: if the disk is full or broken.
        """
        dataset, study = self._bench.dataset, self._study
        channels, _, side = dataset.validation.images.shape[1:]
        nothing = Statistics((0.0,) * channels, (1.0,) * channels)
        model = self.result
        mean, std = carried_statistics(model) or nothing
        metadata = ExportMetadata(
            model=study.model.name,
            classes=dataset.classes,
            mean=mean,
            std=std,
            image_size=side,
            resize=study.dataset.resize,
            dataset=study.dataset.name,
            study=study.name,
            trial=number,
            loss_terms=study.loss.terms,
            seen_types=tuple(self._seen_types),
            alpha=study.finetune.result_alpha,
            baseline_sha256=self._bench.baseline.sha256,
        )
        export_weights(model, path, metadata)

    def finish(self) -> Scored:
        """Scores of the finetuned network on the validation split.

        Raises:
            NotFiniteError: if the network's output is NaN or infinite.
        """
        return self._score(self.result)

    def finish_curve(self) -> dict[float, Scored] | None:
        """Scores of the baseline and of the networks between it and the finetuned one.

        Returns:
            By alpha, from 0, the baseline; None where the study asks for no curve.

        Raises:
            NotFiniteError: if the output of one is NaN or infinite.
        """
        alphas = self._study.finetune.curve_alphas
        if not alphas:
            return None
        scored = {0.0: self._bench.score_baseline()}
        scored |= {alpha: self._score(self._between(alpha)) for alpha in alphas[:-1]}
        return scored

    def interim(self) -> Interim:
        """Scores for the comparison at a rung, on `search.pruner.images` images.

        Costs that are known beforehand are those of the whole budget.
        With `finetune.interpolation` the networks at alpha 1 and .5 are scored, and the rule of
        the curve (`choose_alpha`) takes one of them.
        """
        pruner = self._study.search.pruner
        images = None if pruner is None else pruner.images
        known = self._finetuning.final_work
        costs = self._costs() | ({} if known is None else known._asdict())
        scores = replace(self._score(self.result, images).scores, **costs)
        n_images = 0 if scores.n_images == len(self._bench.dataset.validation) else scores.n_images
        if not self._study.finetune.curve_alphas:
            return Interim(_finite_metrics(scores), n_images)
        by_alpha = {
            0.0: replace(self._bench.score_baseline(images).scores, **costs),
            _HALFWAY: replace(self._score(self._between(_HALFWAY), images).scores, **costs),
            1.0: scores,
        }
        points = {alpha_text(alpha): curve_point(one) for alpha, one in by_alpha.items()}
        study = self._study
        curve = Curve(points).chosen(scores, study.answer.clean_margin, study.constraints)
        return Interim(
            _finite_metrics(by_alpha[curve.alpha]),
            n_images,
            {alpha_text(alpha): _finite_metrics(by_alpha[alpha]) for alpha in (_HALFWAY, 1.0)},
        )

    @property
    def odd_images(self) -> str:
        """See `Curve.odd`."""
        places = self._bench.corrupted_places(self._bench.dataset.validation)
        return "" if places is None else pack_row((places % 2 == 1).numpy())

    def _between(self, alpha: float) -> nn.Module:
        """A new network between the baseline and the current network."""
        model = self._bench.build_baseline()
        states = model.state_dict(), self.model.state_dict()
        model.load_state_dict(interpolate_weights(*states, alpha))
        return model

    def _score(self, model: nn.Module, images: int | None = None) -> Scored:
        seen, costs = self._seen_types, self._costs()
        return self._bench.score(model, images=images, seen_types=seen, **costs)

    def finish_test(self, suite: str | Sequence[str], severities: Sequence[int]) -> Scored:
        """Scores of the same network on the test images, under this suite.

        Raises:
            NotFiniteError: if the network's output is NaN or infinite.
        """
        seen, costs = self._seen_types, self._costs()
        return self._bench.score_test(self.result, suite, severities, seen_types=seen, **costs)

    def _costs(self) -> dict[str, Any]:
        run = self._finetuning
        return {
            "epochs": self.epoch,
            "train_seconds": run.train_seconds,
            **run.work._asdict(),
        }


_HALFWAY = 0.5
"""Alpha of the network that is scored at a rung beside the finetuned one."""


def _finite_metrics(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in scores.metrics().items() if math.isfinite(value)}


# -- As a worker's trial


class RobustnessTrial:
    """A finetuning whose weights are exported at the end.

    Args:
        run: the finetuning.
        weights: file for the exported weights.
        number: of the trial; None: the plain finetune.
        test: suite and severities for the test images; None: they are not used.
    """

    def __init__(
        self,
        run: TrialRun,
        weights: Path,
        number: int | None,
        *,
        test: Mapping[str, Any] | None = None,
    ) -> None:
        self._run = run
        self._test = test
        self._kept: Mapping[str, Any] | None = None
        self._weights = weights
        self._number = number

    @property
    def done(self) -> bool:
        return self._run.done

    @property
    def epoch(self) -> int:
        return self._run.epoch

    @property
    def step(self) -> int:
        return self._run.step

    def run_epoch(self, pause: Callable[[], bool]) -> Mapping[str, Any] | None:
        report = self._run.run_epoch(pause)
        return None if report is None else asdict(report)

    def interim(self) -> Interim:
        return self._run.interim()

    def save(self, folder: str) -> Checkpoint:
        return self._run.save(folder)

    def restore(self, saved: Checkpoint) -> None:
        self._run.restore(saved)

    def finish(self) -> Scores:
        scored, curve = self._run.finish(), None
        if self._number is not None:  # the plain finetune is a reference, as it is
            curve = self._run.finish_curve()
        tested = None if self._test is None else self._run.finish_test(**self._test)
        kept = kept_scores(scored, tested, curve)
        if curve is not None:
            points = {**curve, 1.0: scored}
            said = {alpha_text(one): curve_point(points[one].scores) for one in points}
            kept["curve"] = Curve(said, odd=self._run.odd_images).to_json()
        self._kept = kept
        self._run.export(self._weights, self._number)
        return scored.scores

    def kept(self) -> Mapping[str, Any] | None:
        return self._kept

    def close(self) -> str:
        return ""


# -- Its training state, durable


def save_checkpoint(
    folder: str | Path, epoch: int, state: Mapping[str, Any], *, step: int = 0, seconds: float = 0.0
) -> Checkpoint:
    """Write a state, flushed to the disk.

    Args:
        folder: path or fsspec URI, of this trial and attempt alone; made if missing.
        epoch: epochs done.
        state: tensors and plain Python data, as `torch.load(weights_only=True)` reads them.
        step: steps done in the epoch under way; seconds: that they took.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken, or the file system does not answer.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return save_blob(str(folder), epoch, buffer.getvalue(), step=step, seconds=seconds)


def load_checkpoint(saved: Checkpoint) -> dict[str, Any]:
    """Read a state back, on the CPU.

    Raises:
        CheckpointError: if the state is missing or its content is another one.
        InfrastructureError: if its file system does not answer.
    """
    content = io.BytesIO(load_blob(saved))
    state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    return state
