"""Main effects and interactions of a factorial or a fraction, and the means behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ablation.cell import Design
from ablate.ablation.crossing import Crossing, crossings
from ablate.ablation.effects_info import EffectsInfo, effect_rows, effects_frame, effects_info
from ablate.ablation.info import AblationInfo
from ablate.ablation.results import Results
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd

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
