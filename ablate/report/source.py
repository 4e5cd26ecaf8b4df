"""A study as figures and the report read it: its rows, and what ablation and confirmation say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:  # the statistics of an ablation load SciPy, which a front does without
    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo


@dataclass(frozen=True)
class StudySource:
    """A study, read at one moment.

    Attributes:
        ablation: where it is an ablation (`record.design`); None of a search.
        confirmation: where it is a search whose front was confirmed.
    """

    record: StudyRecord
    ablation: AblationInfo | None = None
    confirmation: ConfirmInfo | None = None

    @property
    def is_search(self) -> bool:
        return self.record.design is None
