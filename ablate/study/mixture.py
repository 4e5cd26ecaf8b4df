"""A network of a search by its ingredients: a trial, or an average of trials, at a weight against
the baseline; and what the mixtures of a search scored.

Source: Wortsman et al. 2022, arXiv:2203.05482 (averages of finetunes from one baseline), and
arXiv:2109.01903 (weights between a network and its finetune).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from ablate.errors import ParameterError
from ablate.files.shown import shown_if
from ablate.study.json_data import JsonData
from ablate.study.scores import Scores


class Mixture(NamedTuple):
    """A network: `baseline + alpha * (mean of the trials' weights - baseline)`.

    Attributes:
        trials: numbers, ascending; one, or several that weigh the same.
        alpha: weight of their mean: 0 is the baseline, 1 the mean; above 1 it is beyond.
    """

    trials: tuple[int, ...]
    alpha: float = 1.0

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the trials' weights, as of the baseline's: the rest to 1 is the baseline's."""
        return (self.alpha / len(self.trials),) * len(self.trials)

    @property
    def numbers(self) -> str:
        """ "12", or "0-2,4,7"."""
        return _ranges_text(self.trials)

    @property
    def name(self) -> str:
        """ "trial 12", "trial 12 at alpha 0.5", or "average of trials 0-2,4 at alpha 0.75"."""
        what = "trial" if len(self.trials) == 1 else "average of trials"
        return f"{what} {self.numbers}" + shown_if(self.alpha != 1, f" at alpha {self.alpha:g}")

    @classmethod
    def of_name(cls, name: str) -> Mixture:
        """The network of this `name`."""
        numbers, _, alpha = name.rpartition("trial")[2].removeprefix("s").partition(" at alpha ")
        return cls(read_numbers(numbers), float(alpha or 1))


def read_numbers(text: str, where: str = "trial") -> tuple[int, ...]:
    """The trials of "12" or "0-2,4", ascending.

    Raises:
        ParameterError: if it is no such list.
    """
    found = set[int]()
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,7})(?:-(\d{1,7}))?\s*", part, re.ASCII)
        if ends is None or int(ends[1]) > int(ends[2] or ends[1]):
            rule = "must be trials such as 3 or 0-2,4"
            raise ParameterError(f"{where}: {rule}, got {text or 'nothing'}. Correct it.")
        found |= {*range(int(ends[1]), int(ends[2] or ends[1]) + 1)}
    return tuple(sorted(found))


def _ranges_text(numbers: Sequence[int]) -> str:
    """Numbers, ascending, as "0-2,4"; two in a row are no range."""
    parts = list[str]()
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ",".join(parts)


@dataclass(frozen=True)
class ScoredMixture(JsonData):
    """A mixture and what it scored on the validation images.

    Attributes:
        trials, alpha: see `Mixture`.
        scores: their costs are the sums of the trials' costs, what was seen in training is what any
            of them saw.
        bits: which images it classified correctly, of mixtures on the front; else empty.
    """

    trials: tuple[int, ...]
    alpha: float
    scores: Scores
    bits: str = field(default="", repr=False)

    @property
    def mixture(self) -> Mixture:
        return Mixture(self.trials, self.alpha)


@dataclass(frozen=True)
class Mixtures(JsonData):
    """The mixtures of a search, a function of its rows.

    Attributes:
        rows: how many had ended; 0: none was made yet.
        scored: all that were scored, in that order.
        notes: averages that were refused, and why.
    """

    rows: int = 0
    scored: tuple[ScoredMixture, ...] = ()
    notes: tuple[str, ...] = ()
