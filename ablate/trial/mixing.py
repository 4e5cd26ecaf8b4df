"""Builds and scores mixtures of trials (`ablate.study.mixture`), from kept weights: of a search on
the validation images, and as rows of its confirmation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ablate.errors import DataError, NotFiniteError, error_text
from ablate.finetune.interpolation import average_weights, interpolate_weights
from ablate.ledger.record import Row
from ablate.model.weights.export_metadata import (
    export_weights,
    mixed_metadata,
    put_weights,
    read_metadata,
)
from ablate.robustness.bits import Scored
from ablate.robustness.score import score_images
from ablate.study.mixture import Mixture
from ablate.study.scores import COSTS, Scores
from ablate.study.seeds import UNTRAINED
from ablate.trial.robustness import RobustnessTrial
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
            model = mixed_network(bench, self._folder, mixture)
            return score_images(model, split, bench.environment).accuracy
        except NotFiniteError:
            return 0.0

    def score(self, mixture: Mixture) -> Scored | None:
        """All scores, with the costs of all of its trials; None if an output is not finite."""
        taken = _taken([self._trials[number] for number in mixture.trials])
        try:
            model = mixed_network(self._bench, self._folder, mixture)
            return self._bench.score(model, **taken)
        except NotFiniteError:
            return None


class MixtureTrial(RobustnessTrial):
    """A row that trains nothing: its network is the mixture of other rows.

    Args: as of `RobustnessTrial`; the weights of the rows are in the folder.
    """

    def __init__(
        self, workbench: Workbench, row: Row, folder: Path, test: Mapping[str, Any] | None
    ) -> None:
        super().__init__(workbench, replace(row, params=UNTRAINED), folder, test)
        assert row.mixture is not None
        self._mixture, self._folder, self._ingredients = row.mixture, folder, row.ingredients

    @cached_property
    def result(self) -> nn.Module:
        return mixed_network(self._bench, self._folder, self._mixture)

    def _about(self) -> dict[str, Any]:
        return _taken(self._ingredients)

    def export(self, path: Path, _number: int | None = None) -> None:
        files = (weights_file(self._folder, one) for one in self._mixture.trials)
        told = mixed_metadata([one for one in map(read_metadata, files) if one], self._mixture)
        export_weights(self.result, path, replace(told, alpha=self._mixture.alpha))


def _taken(trials: Sequence[Scores]) -> dict[str, Any]:
    """What a mixture of these has seen, and its costs, which are those of all of them."""
    seen = dict.fromkeys(name for scores in trials for name in scores.seen_types)
    costs = {name: sum(getattr(one, name) for one in trials) for name in ("epochs", *COSTS)}
    return {"seen_types": tuple(seen), **costs}


def mixed_network(bench: Workbench, folder: Path, mixture: Mixture) -> nn.Module:
    """A new network with the weights of a mixture.

    Raises:
        DataError: if weights are missing in the run's folder, or damaged.
    """
    files = (weights_file(folder, number) for number in mixture.trials)
    model = bench.build_baseline()
    try:
        mean = average_weights(map(load_file, files))
    except (OSError, SafetensorError) as error:
        what = f"{mixture.name}: needs the weights that its trials wrote"
        raise DataError(f"{what}, got {error_text(error)}. Restore them.") from error
    put_weights(model, interpolate_weights(model.state_dict(), mean, mixture.alpha))
    return model
