"""Whether a training loop of the user's own reports what its pruner compares trials by.

A finetuning of ours always does: its metrics are checked with the study file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablate.errors import ParameterError
from ablate.study.settings import PrunerSettings


class PrunerMetric:
    """Looks at the reports of a loop.

    Args:
        settings: of the study's pruner.
        reported: whether any trial had the metric at a rung.
    """

    def __init__(self, settings: PrunerSettings, *, reported: bool) -> None:
        self._settings = settings
        self._looked = self.reported = reported

    def first_look(self, entry: Mapping[str, Any]) -> str | None:
        """What to say of the first report of all, where it lacks the metric."""
        if self._looked:
            return None
        self._looked = True
        scores = entry.get("scores", {})
        if self._settings.metric in scores:
            return None
        return (
            f"search.pruner.metric: the first report has {_names(scores)} without "
            f"{self._settings.metric}; it must be there from epoch {self._settings.min_epochs} on"
        )

    def missing(self, entry: Mapping[str, Any]) -> ParameterError | None:
        """What is wrong with a report at a rung."""
        scores = entry.get("scores", {})
        if self._settings.metric in scores:
            self.reported = True
            return None
        return ParameterError(
            f"search.pruner.metric: must be reported after epoch {entry['epoch']}, got "
            f"{_names(scores)} without {self._settings.metric}. Report it at each rung, or name "
            "another metric in the study file; then ablate resume FILE."
        )


def _names(scores: Mapping[str, Any]) -> str:
    return ", ".join(scores) or "none"
