"""Where the best trials of an objective lie, pair by pair of parameters: their ranks.

Source: optuna's plot_rank.  Differs: resolved parameters, complete trials alone, and ties share
their rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.analysis.parameters import ParametersInfo, mean_ranks, most_telling, parameters_info
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RankInfo(ParametersInfo):
    """The complete trials of a search with their rank in one objective.

    Attributes:
        ranks: one a point, from 1, the best; equal values share their mean rank; NaN where the
            value is no number.
    """

    ranks: tuple[float, ...]

    def frame(self) -> pd.DataFrame:
        """One row a complete trial: as `ParametersInfo.frame`, and rank (float64)."""
        return super().frame().assign(rank=list(self.ranks))


def rank_info(record: StudyRecord, *, params: Sequence[str] = (), objective: str = "") -> RankInfo:
    """The ranks of the complete trials, over pairs of parameters.

    Args:
        params: two to five; empty: the four that sort the trials best.
        objective: a metric; empty: the second objective.

    Raises: as `parameters_info`.
    """
    info = parameters_info(
        record,
        "rank",
        choose=most_telling(4),
        limit=5,
        least=2,
        params=params,
        objective=objective,
    )
    sign = -1.0 if info.objectives[info.objective].direction == "maximize" else 1.0
    ranks = mean_ranks([sign * point.values[info.objective] for point in info.points])
    return RankInfo(**vars(info), ranks=tuple(ranks.tolist()))
