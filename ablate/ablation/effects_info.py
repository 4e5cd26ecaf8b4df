"""Contrasts of an ablation metric by metric: what a forest plot shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo

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
