"""The objectives that several studies share, without which their values are no one plane."""

from __future__ import annotations

from collections.abc import Sequence

from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings


def shared_objectives(records: Sequence[StudyRecord]) -> tuple[ObjectiveSettings, ...]:
    """The objectives of all these studies, at least one.

    Raises:
        ParameterError: if two differ in a metric, a direction or their order.
    """
    first = records[0]
    for record in records[1:]:
        if record.study.objectives != first.study.objectives:
            raise ParameterError(
                "studies in one figure must have the same objectives, got "
                f"{_listed(first)} and {_listed(record)}. Draw them one at a time."
            )
    return first.study.objectives


def _listed(record: StudyRecord) -> str:
    objectives = (f"{one.direction} {one.metric}" for one in record.study.objectives)
    return f"{', '.join(objectives)} (study {record.name})"
