"""How images are normalised for a network that is evaluated: said, carried or known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ablate.data.dataset import Statistics
from ablate.errors import ParameterError, UsageError
from ablate.model import is_external
from ablate.model.normalization import IMAGENET, Choice
from ablate.model.origin import Origin


@dataclass(frozen=True)
class Normalization:
    """What is said of how images are normalised.

    Attributes:
        choice: as `model.normalization` has it; None: nothing is said.
        mean, std: of each channel, both or none.
        dataset: gives the statistics of the data set's training images.
    """

    choice: Choice | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    dataset: Callable[[], Statistics] | None = None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ParameterError: naming the option.
        """
        mean, std = self.mean, self.std
        if mean is None and std is None:
            return
        if self.choice is not None:
            raise ParameterError(
                "--normalization: goes without --mean and --std, got both. Leave one of them out."
            )
        if mean is None or std is None or len(mean) != len(std) or len(mean) not in (1, 3):
            got = " and ".join(str(0 if one is None else len(one)) for one in (mean, std))
            raise ParameterError(
                f"--mean and --std: must have a number for each channel, 3 or 1, got {got}. "
                "Write --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5."
            )
        for value in mean:
            if not 0 <= value <= 1:
                raise _outside("--mean: must be from 0 to 1", value)
        for value in std:
            if not 0 < value <= 1:
                raise _outside("--std: must be above 0, up to 1", value)

    def resolve(self, origin: Origin) -> Statistics | None:
        """The statistics to build with; None: only the weights can say.

        Raises:
            UsageError: if nothing says them, and nothing is guessed.
            ParameterError: if the data set has none.
        """
        if self.mean is not None and self.std is not None:
            return Statistics(self.mean, self.std)
        if self.choice == "imagenet":
            return IMAGENET
        if self.choice == "none":
            return Statistics((0.0,) * 3, (1.0,) * 3)
        if self.choice == "dataset":
            if self.dataset is None:
                raise ParameterError(
                    "--normalization: dataset needs a data set whose training images are known, "
                    "got none. Give --mean and --std."
                )
            return self.dataset()
        if origin.statistics is not None:
            return origin.statistics
        if origin.kind == "network" and not is_external(origin.name):
            return None
        raise unsaid(origin.name)


def _outside(rule: str, value: float) -> ParameterError:
    fix = "Divide it by 255." if 1 < value < math.inf else "Correct it."
    return ParameterError(f"{rule}, since images are in [0, 1], got {value:g}. {fix}")


def are_close(one: Statistics, other: Statistics) -> bool:
    """Whether two differ by no more than rounding."""
    if len(one.mean) != len(other.mean):
        return False
    return all(
        abs(a - b) < 1e-4
        for mine, yours in zip(one, other, strict=True)
        for a, b in zip(mine, yours, strict=True)
    )


def unsaid(name: str) -> UsageError:
    """For a network of which nothing says it."""
    return UsageError(
        f"--mean and --std: must say how {name} normalises its images, got nothing that says it. "
        "Give both, or --normalization imagenet|dataset|none."
    )


def said_twice(name: str, inside: Statistics) -> ParameterError:
    """For a network that carries another than what is said."""
    mean, std = (", ".join(f"{value:.4g}" for value in one) for one in inside)
    return ParameterError(
        f"--normalization: {name} carries its own, mean ({mean}) and std ({std}), got another. "
        "Leave the option out."
    )
