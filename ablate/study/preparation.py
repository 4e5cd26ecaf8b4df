"""The steps before the first trial, as a display and the ledger show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ablate.study.json_data import JsonData


@dataclass(frozen=True)
class PreparationStep(JsonData):
    """One step of the preparation and its progress.

    Attributes:
        what: such as "training the baseline".
        done, total: units done, and in total; None: unknown.
        unit: of both, in the plural, such as "epochs".
        images_per_second: through the network; None: not known.
        seconds_left: of this step; None: not known.
    """

    what: str
    done: int | None = None
    total: int | None = None
    unit: str = ""
    images_per_second: float | None = None
    seconds_left: float | None = None


OnStep = Callable[[PreparationStep], None]
"""Called when a step starts or makes progress.  Returns at once and does not raise."""


def ignore_step(_step: PreparationStep) -> None:
    """Nobody watches."""
