"""The loss terms of an ablation's arms, and its models of one type each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ablation.cell import Design
from ablate.ablation.info import AblationInfo, Transfer
from ablate.ablation.results import BASELINE
from ablate.finetune.loss import in_order
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:
    import pandas as pd


def arm_terms(record: StudyRecord, ablation: AblationInfo) -> tuple[str, ...]:
    """The loss terms of each arm, such as "clean+fma"; empty where its models differ, of the
    baseline, a soup, and a custom training loop."""
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
