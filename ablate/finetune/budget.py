"""How long a finetuning is, in the unit that its budget names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from ablate.errors import ParameterError
from ablate.study.settings import DEFAULT_EPOCHS, BudgetSettings


class Work(NamedTuple):
    """What a finetuning takes, under the names of the scores.

    Attributes:
        student_images: images that go forward and backward, copies included.
        teacher_images: images that go forward through a teacher.
        train_flops: floating point operations of both, as torch counts them.
    """

    student_images: int
    teacher_images: int
    train_flops: int


@dataclass(frozen=True)
class Budget:
    """A budget for one objective and data set.

    Attributes:
        epoch_steps: steps in a pass over the training images.
        steps: of the complete training; None if it is limited by time.
        seconds: of training; None if it is limited by steps.
    """

    epoch_steps: int
    steps: int | None
    seconds: float | None

    @classmethod
    def of(
        cls,
        settings: BudgetSettings,
        *,
        epoch_steps: int,
        step_images: int,
        step_flops: Callable[[], int],
    ) -> Budget:
        """The budget in steps.

        Args:
            settings: one of epochs, images, flops and seconds; default: `DEFAULT_EPOCHS`.
            epoch_steps: steps in a pass over the training images.
            step_images: images through the student per step, including copies; a budget in images
                is rounded to whole steps, at least one.
            step_flops: counts the operations of a step, including teachers; a budget in FLOPs is
                rounded in the same way.

        Raises:
            ParameterError: if a budget in FLOPs meets a network whose operations are not counted.
        """
        if settings.seconds is not None:
            return cls(epoch_steps, None, settings.seconds)
        if settings.images is not None:
            return cls(epoch_steps, max(1, round(settings.images / step_images)), None)
        if settings.flops is not None:
            if not (per_step := step_flops()):
                raise ParameterError(
                    "finetune.budget.flops: needs a network whose operations torch can count, got "
                    "one that fails while they are counted. Write images or epochs."
                )
            return cls(epoch_steps, max(1, round(settings.flops / per_step)), None)
        epochs = DEFAULT_EPOCHS if settings.epochs is None else settings.epochs
        return cls(epoch_steps, epoch_steps * epochs, None)

    @property
    def epochs(self) -> int | None:
        """Passes over the training images, the last maybe in part; None where the clock ends it."""
        return None if self.steps is None else -(-self.steps // self.epoch_steps)

    def progress(self, steps: int, seconds: float) -> float:
        """Share, in [0, 1], spent after these steps and seconds; a budget of no steps is spent."""
        if self.seconds is not None:
            return min(1.0, seconds / self.seconds)
        return min(1.0, steps / self.steps) if self.steps else 1.0


class SaveInterval:
    """When the next training state within an epoch is due: regularly, using at most a hundredth of
    the time.

    Args:
        seconds: between two writes, or 100 times the duration of the last one, if that is longer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = time.monotonic() + seconds

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around each write: the next one is due so long after its end."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._due = ended + max(self._seconds, 100 * (ended - began))
