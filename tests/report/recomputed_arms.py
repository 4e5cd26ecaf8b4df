"""What an answer has to print of an ablation or a confirmation, from rows and bits, by other and
shorter code: each arm at every seed, so seeds and images vary."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from example_results import images_right
from recompute import Model, holm, simultaneous

from ablate.ledger.record import StudyRecord

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
INTERPOLATED = "_interpolated"
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
        bits: of rows by number, and of references by name, each by split and alpha.
    """

    record: StudyRecord
    bits: Mapping[Name, Mapping[str, str]]
    split: str = "val"

    def table(self, arm: str, metric: str) -> np.ndarray:
        """`[K, n]`, what the networks of an arm got of each image."""
        if metric.endswith(INTERPOLATED):
            return self._interpolated(arm, metric.removesuffix(INTERPOLATED))
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

    def _interpolated(self, arm: str, metric: str) -> np.ndarray:
        """Each run on each half of the images: of the network at the alpha that is best on the mean
        curve of the other seeds on the other half, within the margin of clean accuracy."""
        rows = [row for row in self.record.rows if row.cell == arm]
        alphas = [float(text) for text in rows[0].path.points]  # type: ignore[union-attr]
        tables = {
            one: {alpha: self._at(rows, alpha, one) for alpha in alphas} for one in (CLEAN, ROBUST)
        }
        made = tables[metric][0.0].copy()
        halves = {
            one: self._odd(rows[0], one, table[0.0].shape[1]) for one, table in tables.items()
        }
        margin = self.record.study.answer.clean_margin
        for run in range(len(rows)):
            for half in (False, True):
                means = {
                    one: {
                        alpha: np.delete(table[alpha], run, 0)[:, halves[one] != half].mean()
                        for alpha in alphas
                    }
                    for one, table in tables.items()
                }
                clean, robust = means[CLEAN], means[ROBUST]
                kept = [a for a in alphas if a and clean[0.0] - clean[a] <= margin + 1e-9]
                assert kept, "studies without such an alpha are not recomputed here"
                assert min(clean[0.0], clean[1.0]) - min(clean.values()) <= margin, "no barrier"
                best = max(kept, key=lambda a: (round(float(robust[a]), 9), a))
                there = halves[metric] == half
                made[run, there] = tables[metric][best][run, there]
        return made

    def _at(self, rows: Sequence, alpha: float, metric: str) -> np.ndarray:  # type: ignore[type-arg]
        key = "val" if alpha == 1 else f"val@{alpha:g}"
        return np.stack(
            [images_right(self.bits[row.number][key], row.scores, metric) for row in rows]
        )

    @staticmethod
    def _odd(row: object, metric: str, n: int) -> np.ndarray:
        """Which images have an odd index in the validation split."""
        text = row.path.odd  # type: ignore[attr-defined]
        if metric == CLEAN or not text:
            return np.arange(n) % 2 == 1
        return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n) == 1
