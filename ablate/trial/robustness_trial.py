"""A robustness finetuning as a worker's trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.study.scores import Scores

if TYPE_CHECKING:
    from ablate.files.durable import SavedState
    from ablate.robustness.bits import Scored
    from ablate.trial.robustness import TrialRun


def kept_scores(scored: Scored, tested: Scored | None) -> dict[str, Any]:
    """What an ablation keeps beside the scores of a network (`Report.kept`).

    Args:
        tested: on the test images, where a confirmation has opened them.
    """
    bits = {"val": scored.bits}
    if tested is None:
        return {"outcomes": bits}
    return {"outcomes": {**bits, "test": tested.bits}, "test": tested.scores.to_json()}


class RobustnessTrial:
    """A finetuning whose weights are exported in the end.

    Args:
        run: the finetuning.
        weights: file that its weights are exported to.
        number: of the trial; None: the plain finetune.
        keeps_bits: whether what its scores are means of is kept: in an ablation.
        test: suite and severities that the test images are scored under; None: they stay shut.
    """

    def __init__(
        self,
        run: TrialRun,
        weights: Path,
        number: int | None,
        *,
        keeps_bits: bool = False,
        test: Mapping[str, Any] | None = None,
    ) -> None:
        self._run = run
        self._keeps_bits = keeps_bits
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

    def interim(self) -> dict[str, float]:
        metrics = self._run.finish().scores.metrics()
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def save(self, folder: str) -> SavedState:
        return self._run.save(folder)

    def restore(self, saved: SavedState) -> None:
        self._run.restore(saved)

    def finish(self) -> Scores:
        scored = self._run.finish()
        if self._keeps_bits:
            tested = None if self._test is None else self._run.finish_test(**self._test)
            self._kept = kept_scores(scored, tested)
        self._run.export(self._weights, self._number)
        return scored.scores

    def kept(self) -> Mapping[str, Any] | None:
        return self._kept

    def close(self) -> str:
        return ""
