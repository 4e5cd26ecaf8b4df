"""A study as figures and the report read it: its rows, and what ablation and confirmation say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ablate.analysis.bounds import drawn_record
from ablate.ledger.record import StudyRecord

if TYPE_CHECKING:  # the statistics of an ablation load SciPy, which a front does without
    from ablate.ablation.confirm import ConfirmInfo
    from ablate.ablation.info import AblationInfo


@dataclass(frozen=True)
class StudySource:
    """A study, read at one moment.

    Attributes:
        ablation: where it is an ablation (`record.design`); None of a search.
        confirmation: where it is a search whose front was confirmed; confirming: the study that
            did so.
    """

    record: StudyRecord
    ablation: AblationInfo | None = None
    confirmation: ConfirmInfo | None = None
    confirming: StudyRecord | None = None

    @property
    def confirmed(self) -> StudySource | None:
        """The confirmation as a study of its own, on the test images."""
        if self.confirmation is None or self.confirming is None:
            return None
        return StudySource(self.confirming, self.confirmation.test)

    def as_drawn(self) -> StudySource:
        """The source as figures read it: without values that none can hold."""
        record = drawn_record(self.record)
        return self if record is self.record else replace(self, record=record)

    @property
    def is_search(self) -> bool:
        return self.record.design is None
