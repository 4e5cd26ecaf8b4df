"""What an answer has to print of an ablation or a confirmation, from rows and bits, by other and
shorter code: each arm at every seed, so seeds and images vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from example_results import images_right
from recompute import Model, holm, simultaneous

from ablate.ledger.record import StudyRecord

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
Name = int | str
Triple = tuple[float, float, float]
"""Mean, and the ends of the interval."""


def told(of: Triple) -> str:
    """ "+1.2 points (-0.3 to +2.7)"; no end that excludes 0 reads as 0."""
    mean, *ends = ("0.0" if one == 0 else f"{100 * one:+.1f}" for one in of)
    near = 0 if of[0] > 0 else 1
    if (of[1] >= 0 or of[2] <= 0) and not float(ends[near]):
        longer = (f"{100 * of[1 + near]:+.{digits}f}" for digits in range(2, 8))
        ends[near] = next(filter(float, longer), f"{'above' if of[0] > 0 else 'below'} 0")
    return f"{mean} points ({ends[0]} to {ends[1]})"


def counts(split: str, robust: tuple[float, float], clean: tuple[float, float]) -> str:
    """Of 100 images, before and after."""
    whole = [f"{100 * one:.0f}" for one in robust]
    if whole[0] == whole[1]:
        whole = [f"{100 * one:.1f}" for one in robust]
    exact = [f"{100 * one:.1f}" for one in clean]
    return (
        f"of 100 distorted {split} images it gets {whole[1]} right, {whole[0]} before finetuning; "
        f"of undistorted ones {exact[1]}, {exact[0]} before"
    )


@dataclass(frozen=True)
class Arms:
    """An ablation, or a confirmation.

    Attributes:
        bits: of rows by number, and of references by name, each by split.
    """

    record: StudyRecord
    bits: Mapping[Name, Mapping[str, str]]
    split: str = "val"

    def table(self, arm: str, metric: str) -> np.ndarray:
        """`[K, n]`, what the networks of an arm got of each image."""
        is_test = self.split == "test"
        if arm == "baseline":
            scores = (self.record.test_references if is_test else self.record.references)[arm]
            return images_right(self.bits[arm][self.split], scores, metric)[None]
        rows = [row for row in self.record.rows if row.cell == arm]
        scored = [row.test_scores if is_test else row.scores for row in rows]
        return np.stack(
            [
                images_right(self.bits[row.number][self.split], one, metric)  # type: ignore[arg-type]
                for row, one in zip(rows, scored, strict=True)
            ]
        )

    def less(self, arm: str, to: str, metric: str = ROBUST, weight: float = 1) -> Model:
        return Model(weight * (self.table(arm, metric) - self.table(to, metric)))

    def triple(
        self, arm: str, to: str, metric: str = ROBUST, weight: float = 1, level: float = 0.95
    ) -> Triple:
        of = self.less(arm, to, metric, weight)
        return of.mean, *of.bounds(1 - level)

    def mean(self, arm: str, metric: str) -> float:
        """Over seeds and images, on its split."""
        return float(self.table(arm, metric).mean())

    def claims(self) -> dict[tuple[str, str, str], tuple[Triple, float]]:
        """Of each primary contrast: difference with its simultaneous interval, and adjusted p."""
        settings = self.record.study.ablation
        assert settings is not None
        claims = [(one.compare, one.to or "", one.metric or ROBUST) for one in settings.primary]
        models = [self.less(*claim) for claim in claims]
        adjusted = holm([one.p() for one in models])
        return {
            claim: ((one.mean, *simultaneous(one, len(claims), p)), p)
            for claim, one, p in zip(claims, models, adjusted, strict=True)
        }
