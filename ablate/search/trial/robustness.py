"""A robustness finetuning as a worker's trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.study.scores import Scores

if TYPE_CHECKING:
    from ablate.finetune.durable import SavedState
    from ablate.robustness.trial import TrialRun


class RobustnessTrial:
    """A finetuning whose weights are exported in the end.

    Args:
        run: the finetuning.
        weights: file that its weights are exported to.
        number: of the trial; None: the plain finetune.
    """

    def __init__(self, run: TrialRun, weights: Path, number: int | None) -> None:
        self._run = run
        self._weights = weights
        self._number = number

    @property
    def done(self) -> bool:
        return self._run.done

    @property
    def epoch(self) -> int:
        return self._run.epoch

    def run_epoch(self) -> Mapping[str, Any]:
        return asdict(self._run.run_epoch())

    def interim(self) -> dict[str, float]:
        metrics = self._run.finish().metrics()
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def save(self, folder: str) -> SavedState:
        return self._run.save(folder)

    def restore(self, saved: SavedState) -> None:
        self._run.restore(saved)

    def finish(self) -> Scores:
        scores = self._run.finish()
        self._run.export(self._weights, self._number)
        return scores

    def close(self) -> str:
        return ""
