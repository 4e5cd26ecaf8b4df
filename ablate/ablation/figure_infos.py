"""What each figure of an ablation shows: arms, tuning, transfer, effects, interactions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.cell import Design
from ablate.ablation.designs.factorial import Crossing, crossings
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo, ArmInfo, Transfer, TuningCurve
from ablate.ablation.results import BASELINE, Results
from ablate.finetune.loss import in_order
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ArmsInfo:
    """Arms and their scores.

    Attributes:
        ablation: the ablation, with its caveats.
        metrics: compared metrics.
        loss_terms: of each arm, such as "clean+fma"; empty if its models differ in them, for the
            baseline, a soup, and a custom training loop.
    """

    ablation: AblationInfo
    metrics: tuple[str, ...]
    loss_terms: tuple[str, ...]

    @property
    def arms(self) -> tuple[tuple[ArmInfo, str], ...]:
        """Those that were trained, with their loss terms."""
        both = zip(self.ablation.arms, self.loss_terms, strict=True)
        return tuple((arm, terms) for arm, terms in both if not arm.is_one_network)

    def baseline(self, metric: str) -> float:
        """Value of the common baseline; NaN if there is none."""
        return baseline_of(self.ablation, metric)

    def frame(self) -> pd.DataFrame:
        """One row per arm and metric.

        Columns: arm, loss_terms, metric, method: string; is_baseline: boolean, whether it is the
        common baseline, or the same adapted; mean, sd, low, high: float64, over seeds, in the
        metric's unit (accuracies: fractions), NaN if missing; n: int64, seeds.
        """
        import pandas as pd

        rows = [
            (
                *(arm.name, terms, metric, one.method, arm.is_one_network),
                *(one.mean, one.sd, one.low, one.high, one.n),
            )
            for arm, terms in zip(self.ablation.arms, self.loss_terms, strict=True)
            for metric in self.metrics
            if (one := arm.estimates.get(metric)) is not None
        ]
        names = ["arm", "loss_terms", "metric", "method", "is_baseline"]
        names += ["mean", "sd", "low", "high", "n"]
        types = dict.fromkeys(names[:4], "string") | {"is_baseline": "boolean"}
        types |= dict.fromkeys(names[5:9], "float64") | {"n": "int64"}
        return pd.DataFrame(rows, columns=names).astype(types)


def arms_info(record: StudyRecord, ablation: AblationInfo, metrics: Sequence[str]) -> ArmsInfo:
    """Arms on some metrics.

    Args:
        record: of the ablation.
        metrics: some of the ablation's.
    """
    return ArmsInfo(ablation, tuple(metrics), arm_terms(record, ablation))


def arm_terms(record: StudyRecord, ablation: AblationInfo) -> tuple[str, ...]:
    """The loss terms of each arm, as in `ArmsInfo`."""
    if record.design is None or record.study.trainable is not None:
        return ("",) * len(ablation.arms)
    design = Design.from_json(record.design)
    usual = record.study.loss.terms
    by_cell = {
        cell.name: in_order(str(cell.values.get("loss.terms", usual)))
        for cell in design.cells
        if cell.name != BASELINE and cell.name not in design.soups
    }
    terms = []
    for arm in ablation.arms:
        found = {by_cell.get(cell, "") for cell in arm.cells}
        terms.append(found.pop() if len(found) == 1 else "")
    return tuple(terms)


def baseline_of(ablation: AblationInfo, metric: str) -> float:
    """A metric of the common baseline; NaN if there is none."""
    found = (arm.estimates.get(metric) for arm in ablation.arms if arm.is_one_network)
    return next((one.mean for one in found if one is not None), math.nan)


# -- What tuning has bought each arm: expected best score against the trials of its search -


@dataclass(frozen=True)
class BudgetInfo:
    """Tuned arms.

    Attributes:
        metric: of the tuning.
        curves: one per arm; loss_terms: of each, as in `ArmsInfo`.
        baseline: value of the common baseline; NaN if there is none.
    """

    ablation: AblationInfo
    metric: str
    curves: tuple[TuningCurve, ...]
    loss_terms: tuple[str, ...]
    baseline: float

    def frame(self) -> pd.DataFrame:
        """One row per arm and number of trials.

        Columns: arm, loss_terms, metric: string; trials: int64, from 1; expected_best: float64, in
        the metric's unit (accuracies: fractions), NaN if all trials failed; gain: float64, minus
        the baseline; is_random: boolean, whether the trials were independent samples, for which the
        expectation is exact.
        """
        import pandas as pd

        rows = [
            (curve.arm, terms, curve.metric, trials, score, score - self.baseline, curve.is_random)
            for curve, terms in zip(self.curves, self.loss_terms, strict=True)
            for trials, score in enumerate(curve.scores, start=1)
        ]
        types = {
            **dict.fromkeys(("arm", "loss_terms", "metric"), "string"),
            "trials": "int64",
            **dict.fromkeys(("expected_best", "gain"), "float64"),
            "is_random": "boolean",
        }
        return pd.DataFrame(rows, columns=list(types)).astype(types)


def budget_info(record: StudyRecord, ablation: AblationInfo) -> BudgetInfo | None:
    """The tuning of an ablation's arms, all by the same metric.

    Args:
        record: of the ablation.

    Returns:
        None if the arms were not tuned.
    """
    if not ablation.tuning:
        return None
    metric = ablation.tuning[0].metric
    curves = tuple(curve for curve in ablation.tuning if curve.metric == metric)
    names = (arm.name for arm in ablation.arms)
    terms = dict(zip(names, arm_terms(record, ablation), strict=True))
    return BudgetInfo(
        ablation,
        metric,
        curves,
        tuple(terms.get(curve.arm, "") for curve in curves),
        baseline_of(ablation, metric),
    )


# -- Models of one type each, trained on x tested on: what a heat map shows ----------------


@dataclass(frozen=True)
class TransferInfo:
    """Arms with one model per type.

    Attributes:
        ablation: the ablation, with its caveats.
    """

    ablation: AblationInfo

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """One per arm; empty before the first successful run."""
        return self.ablation.transfers

    def frame(self) -> pd.DataFrame:
        """One row per arm, training type and test type.

        Columns:
            arm, trained_on, tested_on: string.
            mean, gain: float64, as fractions: accuracy over the seeds, and its difference to the
            reference arm at the same seeds; NaN if missing.
        """
        import pandas as pd

        rows = [
            (one.arm, trained, tested, one.means[row][column], one.gains[row][column])
            for one in self.transfers
            for row, trained in enumerate(one.trained_on)
            for column, tested in enumerate(one.tested_on)
        ]
        names = ["arm", "trained_on", "tested_on", "mean", "gain"]
        types = dict.fromkeys(names[:3], "string") | dict.fromkeys(names[3:], "float64")
        return pd.DataFrame(rows, columns=names).astype(types)


def can_transfer(ablation: AblationInfo) -> bool:
    """Whether an arm has, or may yet have, a model for each of several types.

    Before anything is scored, every arm of several models may.
    """
    is_early = not ablation.metrics and any(len(arm.cells) > 1 for arm in ablation.arms)
    return bool(ablation.transfers) or is_early


# -- Contrasts metric by metric: what a forest plot shows ----------------------------------


@dataclass(frozen=True)
class EffectsInfo:
    """Effects in display order.

    Attributes:
        ablation: the ablation, with its caveats.
        effects: metric by metric, those with primary contrasts first, then the one by which arms
            are ranked; in each, primary contrasts first, then by what they gain on that one.
    """

    ablation: AblationInfo
    effects: tuple[Effect, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics with effects, in order."""
        return tuple(dict.fromkeys(effect.metric for effect in self.effects))

    def on(self, metric: str) -> tuple[Effect, ...]:
        return tuple(effect for effect in self.effects if effect.metric == metric)

    def margin_on(self, metric: str) -> float | None:
        """The most that may be lost of a metric, as it was declared; None where none was."""
        kept = (effect.kept for effect in self.on(metric))
        return next((one.margin for one in kept if one is not None), None)

    def frame(self) -> pd.DataFrame:
        """One row an effect; columns as `effect_rows` has them."""
        return effects_frame(effect_rows(self.effects))


def effects_info(ablation: AblationInfo, effects: Sequence[Effect]) -> EffectsInfo:
    """The effects that are to be shown, ordered.

    Args:
        effects: some of the ablation's.
    """
    ranked = ablation.rank_metric
    primary = [effect.metric for effect in effects if effect.primary]
    order = [ranked] * (ranked in primary) + primary + [ranked]
    order += [*ablation.metrics, *(effect.metric for effect in effects)]
    metrics = dict.fromkeys(order)
    claimed = {effect.contrast for effect in ablation.primary}
    names = list(dict.fromkeys(effect.contrast for effect in ablation.effects))
    sign = 1 if ranked in ablation.minimized else -1
    gains = {
        one.contrast: sign * one.estimate.mean
        for one in ablation.effects
        if one.metric == ranked and math.isfinite(one.estimate.mean)
    }
    names.sort(key=lambda name: (name not in claimed, gains.get(name, math.inf)))
    by_metric = {metric: place for place, metric in enumerate(metrics)}
    by_name = {name: place for place, name in enumerate(names)}
    ordered = sorted(effects, key=lambda one: (by_metric[one.metric], by_name[one.contrast]))
    return EffectsInfo(ablation, tuple(ordered))


def effect_rows(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """Effects as flat records.

    Keys: contrast, kind, metric: text; primary: bool; mean, sd, low, high: float, in the metric's
    unit (accuracies: fractions), NaN if missing; n: seeds; method: of the interval; p, p_adjusted:
    float, NaN if not tested or exploratory; verdict: text; margin: float and kept: bool or None, if
    a margin is declared for the metric.
    """
    return [
        {
            "contrast": effect.contrast,
            "kind": effect.kind,
            "metric": effect.metric,
            "primary": effect.primary,
            "mean": effect.estimate.mean,
            "sd": effect.estimate.sd,
            "low": effect.estimate.low,
            "high": effect.estimate.high,
            "n": effect.estimate.n,
            "method": effect.estimate.method,
            "p": effect.p,
            "p_adjusted": math.nan if effect.p_adjusted is None else effect.p_adjusted,
            "verdict": effect.verdict,
            "margin": math.nan if effect.kept is None else effect.kept.margin,
            "kept": None if effect.kept is None else effect.kept.kept,
        }
        for effect in effects
    ]


_TYPES = {
    **dict.fromkeys(("contrast", "kind", "metric", "method", "verdict"), "string"),
    **dict.fromkeys(("first_level", "second_level"), "string"),
    **dict.fromkeys(("primary", "kept"), "boolean"),
    "n": "int64",
}
_COLUMNS = (
    *("contrast", "kind", "metric", "primary", "mean", "sd", "low", "high", "n", "method"),
    *("p", "p_adjusted", "verdict", "margin", "kept"),
)


def effects_frame(rows: Sequence[dict[str, Any]], more: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of `effect_rows` as a frame: text as string, primary and kept as boolean, n as int64,
    all else float64.

    Args:
        more: names of further columns, after `metric`; what a row lacks is missing.
    """
    import pandas as pd

    columns = [*_COLUMNS[:3], *more, *_COLUMNS[3:]]
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=_TYPES.get(name, "float64"))
            for name in columns
        }
    )


# -- Main effects and interactions of a factorial or a fraction, and the means behind them -


_KINDS = ("main effect", "interaction")


@dataclass(frozen=True)
class InteractionsInfo:
    """What factors do alone and together, on one metric.

    Attributes:
        effects: main effects and interactions; crossings: the means that each pair of factors has.
    """

    ablation: AblationInfo
    metric: str
    effects: EffectsInfo
    crossings: tuple[Crossing, ...]

    def strongest(self, most: int) -> tuple[Crossing, ...]:
        """So many crossings: those with the largest interactions, in the design's order."""
        sizes = {one.contrast: abs(one.estimate.mean) for one in self.effects.effects}
        # Of one that no seed has, nothing is known: it comes last.
        sizes = {name: size for name, size in sizes.items() if math.isfinite(size)}
        by_size = sorted(
            self.crossings, key=lambda one: -max(sizes.get(name, -1.0) for name in one.contrasts)
        )
        return tuple(one for one in self.crossings if one in by_size[:most])

    def frame(self) -> pd.DataFrame:
        """One row an effect, as `EffectsInfo.frame`; below them one row a mean of a crossing, with
        kind "mean", the two factors as contrast, and their levels as first_level, second_level."""
        rows = effect_rows(self.effects.effects)
        for crossing in self.crossings:
            for first, line in zip(crossing.first_levels, crossing.means, strict=True):
                for second, mean in zip(crossing.second_levels, line, strict=True):
                    rows.append(
                        {
                            "contrast": f"{crossing.first} * {crossing.second}",
                            "kind": "mean",
                            "metric": self.metric,
                            "first_level": first,
                            "second_level": second,
                            "mean": mean.mean,
                            "sd": mean.sd,
                            "low": mean.low,
                            "high": mean.high,
                            "n": mean.n,
                            "method": mean.method,
                        }
                    )
        return effects_frame(rows, ("first_level", "second_level"))


def interactions_info(
    record: StudyRecord, ablation: AblationInfo, metric: str
) -> InteractionsInfo | None:
    """Effects of the factors on a metric.

    Args:
        record: of the ablation.

    Returns:
        None of a design without main effects, and of one without interactions.
    """
    shown = [one for one in ablation.effects if one.metric == metric and one.kind in _KINDS]
    if not {one.kind for one in ablation.effects}.issuperset(_KINDS):
        return None
    found: tuple[Crossing, ...] = ()
    if record.design is not None and record.study.ablation is not None:
        results = Results(record, {}, {}, "test" if ablation.split == "test" else "val")
        design = Design.from_json(record.design)
        found = crossings(design, record.study.ablation, results, metric)
    return InteractionsInfo(ablation, metric, effects_info(ablation, shown), found)
