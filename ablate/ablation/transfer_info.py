"""Models of one type each, trained on x tested on: what a heat map shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ablation.info import AblationInfo, Transfer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TransferInfo:
    """Arms with a model for each type.

    Attributes:
        ablation: what they are of, with all that has to be said beside them.
    """

    ablation: AblationInfo

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """An arm each; empty before a run has ended well."""
        return self.ablation.transfers

    def frame(self) -> pd.DataFrame:
        """One row an arm, a type that a model was trained on, and a type that it was tested on.

        Columns:
            arm, trained_on, tested_on: string.
            mean, gain: float64, as fractions: accuracy over the seeds, and what it is more than
                the reference arm's at the same seeds; NaN where no run has it.
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
