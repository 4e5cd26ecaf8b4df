"""A robustness finetuning as a worker's trial: from values and seeds to scores."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ablate.data.dataset import Statistics
from ablate.files.durable import Checkpoint, load_blob, save_blob
from ablate.finetune.augment.augmentation import build_augmentation
from ablate.finetune.baseline_record import sha256_of
from ablate.finetune.interpolation import interpolate_weights
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.finetune.loss.objective import build_loss
from ablate.ledger.record import Row
from ablate.model.normalization import carried_statistics, channels_of
from ablate.model.taps import layer_names
from ablate.model.weights.export_metadata import ExportMetadata, export_weights, put_weights
from ablate.robustness.bits import Scored, kept_scores, pack_row
from ablate.study.interpolation import LOSS_BITS, Curve, accuracies, alpha_text, curve_point
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds, seeded_study
from ablate.trial.task import Interim, weights_file
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
        study = seeded_study(workbench.study, values, seeds)
        self._study = study
        self._bench = workbench.fitting(study)
        self._bench.environment.apply()
        model = self._bench.build_baseline()
        loss = build_loss(study.loss, layer_names(model))
        augment = (
            build_augmentation(study.augment, workbench.base) if loss.needs_augmented else None
        )
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
        run, content = self._finetuning, io.BytesIO()
        torch.save(dict(run.state()), content)
        return save_blob(
            folder, self.epoch, content.getvalue(), step=run.step, seconds=run.epoch_seconds
        )

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a training state, with the same bits as without interruption.

        Raises:
            CheckpointError: if the state is missing or damaged; then nothing is changed.
        """
        content = io.BytesIO(load_blob(saved))
        self._finetuning.load_state(torch.load(content, map_location="cpu", weights_only=True))

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
            channels=channels_of(model),
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
        scores = replace(self._score(self.result, images=images).scores, **costs)
        n_images = 0 if scores.n_images == len(self._bench.dataset.validation) else scores.n_images
        if not self._study.finetune.curve_alphas:
            return Interim(_finite_metrics(scores), n_images)
        by_alpha = {
            0.0: replace(self._bench.score_baseline(images).scores, **costs),
            _HALFWAY: replace(self._score(self._between(_HALFWAY), images=images).scores, **costs),
            1.0: scores,
        }
        points = {alpha_text(alpha): curve_point(one) for alpha, one in by_alpha.items()}
        study = self._study
        margin = study.answer.clean_margin
        curve = Curve(points).chosen(scores, margin, study.constraints)
        at_loss = curve.at_clean_loss(scores, margin).at_clean_loss
        by_alpha = {alpha: replace(one, at_clean_loss=at_loss) for alpha, one in by_alpha.items()}
        return Interim(
            _finite_metrics(by_alpha[curve.alpha]),
            n_images,
            {alpha_text(alpha): _finite_metrics(by_alpha[alpha]) for alpha in (_HALFWAY, 1.0)},
        )

    def _between(self, alpha: float) -> nn.Module:
        """A new network between the baseline and the current network."""
        model = self._bench.build_baseline()
        states = model.state_dict(), self.model.state_dict()
        put_weights(model, interpolate_weights(*states, alpha))
        return model

    def _score(self, model: nn.Module, **images: Any) -> Scored:
        return self._bench.score(model, **images, **self._about())

    def finish_test(self, test: Mapping[str, Any], alpha: float | None = None) -> Scored:
        """Scores of the same network on the test images.

        Args:
            test: `suite` and `severities`.
            alpha: of another network between baseline and finetuned weights, which is scored.

        Raises:
            NotFiniteError: if the network's output is NaN or infinite.
        """
        return self._score(self.result if alpha is None else self._between(alpha), test=test)

    def _about(self) -> dict[str, Any]:
        """What was seen in training, and what it cost."""
        return {"seen_types": self._seen_types, **self._costs()}

    def _costs(self) -> dict[str, Any]:
        run = self._finetuning
        return {"epochs": self.epoch, "train_seconds": run.train_seconds, **run.work._asdict()}


_HALFWAY = 0.5
"""Alpha of the network that is scored at a rung beside the finetuned one."""


def _finite_metrics(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in scores.metrics().items() if math.isfinite(value)}


class RobustnessTrial(TrialRun):
    """A finetuning as a worker's trial, whose weights are exported at the end.

    Args:
        row: what is run; without a number: the plain finetune.
        folder: of the run, for the exported weights.
        test: suite and severities for the test images; None: they are not used.
    """

    def __init__(
        self, workbench: Workbench, row: Row, folder: Path, test: Mapping[str, Any] | None
    ) -> None:
        super().__init__(workbench, dict(row.params), row.seeds)
        self._number, self._cell = row.number, row.cell
        self._weights = weights_file(folder, row.number)
        self._test = test

    def next_entry(self, pause: Callable[[], bool]) -> Mapping[str, Any] | None:
        report = self.run_epoch(pause)
        return None if report is None else asdict(report)

    def end(self) -> tuple[Scores, Mapping[str, Any]]:
        scored, curve = self.finish(), None
        scores, study = scored.scores, self._study
        if self._number is not None or study.asks_at_clean_loss:
            curve = self.finish_curve()
        tested = None if self._test is None else self.finish_test(self._test)
        kept = kept_scores(scored, tested, None if self._number is None else curve)
        if curve is not None:
            points = {
                alpha_text(alpha): curve_point(of_alpha.scores)
                for alpha, of_alpha in {**curve, 1.0: scored}.items()
            }
            places = self._bench.corrupted_places(self._bench.dataset.validation)
            corrupted = ""
            if places is not None and scores.cell_share == 1:
                is_corrupted = np.zeros(scores.n_images, dtype=np.bool_)
                is_corrupted[places.numpy()] = True
                corrupted = pack_row(is_corrupted)
            path = Curve(points, corrupted=corrupted)
            scores = path.at_clean_loss(scores, study.answer.clean_margin)
            if self._number is not None:  # the plain finetune is a reference, as it is
                kept["curve"] = path.to_json()
        alpha = None if self._test is None else self._test.get("alphas", {}).get(self._cell)
        if self._test is not None and tested is not None and alpha is not None:
            between = tested if alpha == 1 else self.finish_test(self._test, alpha)
            kept["outcomes"][LOSS_BITS] = between.bits
            kept["test"] = replace(
                tested.scores, at_clean_loss=accuracies(between.scores)
            ).to_json()
        self.export(self._weights, self._number)
        return scores, kept | {"weights": sha256_of(self._weights)}

    def close(self) -> str:
        return ""
