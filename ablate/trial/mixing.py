"""Builds and scores mixtures of a search's trials (`ablate.study.mixture`), from kept weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ablate.errors import DataError, NotFiniteError, error_text
from ablate.finetune.interpolation import average_weights, interpolate_weights
from ablate.robustness.bits import Scored
from ablate.robustness.score import score_images
from ablate.study.mixture import Mixture
from ablate.study.scores import COSTS, Scores
from ablate.trial.task import Job, weights_file
from ablate.trial.workbench import Workbench


class Mixer:
    """Scores mixtures on the validation images, as trials are scored.

    Args:
        job: of the trials, whose weights are in its folder.
        trials: the scores of each complete one, by number.

    Attributes:
        threads: how many networks can be scored at once.
    """

    def __init__(self, job: Job, trials: Mapping[int, Scores]) -> None:
        self._folder, self._trials = Path(job.folder), trials
        threads, places = job.baseline_threads, (Path(job.base), Path(job.cache))
        self._bench = Workbench.get(job.study, *places, baseline_threads=threads)
        self._bench.environment.apply()
        cores = job.free_cores or 1 if self._bench.environment.device == "cpu" else 1
        self.threads = max(1, cores // self._bench.environment.threads)

    def clean_accuracy(self, mixture: Mixture) -> float:
        """On the clean images alone, at a small share of the cost; 0 if an output is not finite."""
        bench = self._bench
        try:
            split = bench.dataset.validation
            return score_images(self._build(mixture), split, bench.environment).accuracy
        except NotFiniteError:
            return 0.0

    def score(self, mixture: Mixture) -> Scored | None:
        """All scores, with the costs of all of its trials; None if an output is not finite."""
        own = [self._trials[number] for number in mixture.trials]
        seen = dict.fromkeys(name for scores in own for name in scores.seen_types)
        costs = {name: sum(getattr(one, name) for one in own) for name in ("epochs", *COSTS)}
        try:
            return self._bench.score(self._build(mixture), seen_types=tuple(seen), **costs)
        except NotFiniteError:
            return None

    def _build(self, mixture: Mixture) -> nn.Module:
        files = (weights_file(self._folder, number) for number in mixture.trials)
        model = self._bench.build_baseline()
        try:
            mean = average_weights(map(load_file, files))
        except (OSError, SafetensorError) as error:
            what = f"{mixture.name}: needs the weights that its trials wrote"
            raise DataError(f"{what}, got {error_text(error)}. Restore them.") from error
        model.load_state_dict(interpolate_weights(model.state_dict(), mean, mixture.alpha))
        return model
