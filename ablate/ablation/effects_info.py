"""Contrasts of an ablation metric by metric: what a forest plot shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.cell import Design
from ablate.ablation.designs.factorial import Crossing, crossings
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.results import Results
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EffectsInfo:
    """Effects in the order in which they are read.

    Attributes:
        ablation: what they are of, with all that has to be said beside them.
        effects: metric by metric; in each, contrasts of which something is claimed come first.
    """

    ablation: AblationInfo
    effects: tuple[Effect, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that there is an effect on, in order."""
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
    metrics = dict.fromkeys([*ablation.metrics, *(effect.metric for effect in effects)])
    claimed = {effect.contrast for effect in ablation.primary}
    names = list(dict.fromkeys(effect.contrast for effect in ablation.effects))
    names.sort(key=lambda name: name not in claimed)
    by_metric = {metric: place for place, metric in enumerate(metrics)}
    by_name = {name: place for place, name in enumerate(names)}
    ordered = sorted(effects, key=lambda one: (by_metric[one.metric], by_name[one.contrast]))
    return EffectsInfo(ablation, tuple(ordered))


def effect_rows(effects: Sequence[Effect]) -> list[dict[str, Any]]:
    """Effects as flat records.

    Keys: contrast, kind, metric: text; primary: bool; mean, sd, low, high: float, in the metric's
    own unit (accuracies: fractions), NaN where there is none; n: seeds; method: of the interval;
    p, p_adjusted: float, NaN where not tested or exploratory; verdict: text; margin: float and
    kept: bool or None, where a margin is declared for the metric.
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
        None of a design without main effects and interactions.
    """
    shown = [one for one in ablation.effects if one.metric == metric and one.kind in _KINDS]
    if not any(one.kind == "interaction" for one in ablation.effects):
        return None
    found: tuple[Crossing, ...] = ()
    if record.design is not None and record.study.ablation is not None:
        results = Results(record, {}, {}, "test" if ablation.split == "test" else "val")
        design = Design.from_json(record.design)
        found = crossings(design, record.study.ablation, results, metric)
    return InteractionsInfo(ablation, metric, effects_info(ablation, shown), found)
