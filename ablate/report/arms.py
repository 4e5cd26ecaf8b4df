"""What the tables and figures of an ablation share: a number as it is read, metrics, notes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo, ArmInfo
from ablate.ablation.intervals import NONE, OVER_SEEDS, OVER_SEEDS_AND_IMAGES, Estimate
from ablate.analysis.caveats import StudyFacts
from ablate.analysis.objectives import is_accuracy, short_metric
from ablate.files.shown import shown_if
from ablate.report.numbers import MISSING, count_texts, metric_words, signed_text
from ablate.study.scores import AT_CLEAN_LOSS, base_name, is_mean

_INTERVALS = {
    OVER_SEEDS_AND_IMAGES: "t over {0}s and images (of new {0}s on new images)",
    OVER_SEEDS: "t over {0}s (of new {0}s on these images)",
}
"""By what is paired."""
NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan, 0, NONE)
"""Of what no seed has."""
_DIGITS, _MORE_DECIMALS = 4, 6
ABOVE_ZERO, BELOW_ZERO = ">0", "<0"
"""Ends of an interval that Holm's test sets (`ablation.effects.simultaneous`)."""


class Unit(NamedTuple):
    """How a number is read: its factor, 100 for percent and points, and its decimals."""

    scale: float
    decimals: int = 1


PLAIN_UNIT, POINTS = Unit(1), Unit(100)


class Parts(NamedTuple):
    """A number as printed; empty where there is none, or the cell does not show it."""

    mean: str = ""
    sd: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Cell:
    """A number with its uncertainty, or a text.

    Attributes:
        text: of a cell without a number.
        estimate: in the metric's own unit.
        is_difference: shown with its sign and its interval; else with its standard deviation.
        is_bold: whether it is among the best.
    """

    text: str = ""
    estimate: Estimate | None = None
    unit: Unit = PLAIN_UNIT
    is_difference: bool = False
    is_bold: bool = False

    @property
    def parts(self) -> Parts:
        """The numbers that are shown; all empty of a text."""
        one = self.estimate
        if one is None:
            return Parts()
        if self.is_difference:
            return Parts(self._shown(one.mean), "", self._end(one.low), self._end(one.high))
        return Parts(self._shown(one.mean), self._shown(one.sd))

    @property
    def printed(self) -> str:
        """ "77.3 ± 0.4", "+18.6 [+16.2, +21.0]", "-" without a number, or the text."""
        if self.estimate is None:
            return self.text
        mean, sd, low, high = self.parts
        return (mean or MISSING) + shown_if(sd, f" ± {sd}") + shown_if(low, f" [{low}, {high}]")

    def _end(self, end: float) -> str:
        """An end of the interval, which does not read as 0 where the interval excludes 0: it has
        more decimals, or is `ABOVE_ZERO` or `BELOW_ZERO`."""
        estimate, shown = self.estimate, self._shown(end)
        if estimate is None or not (estimate.low >= 0 or estimate.high <= 0) or estimate.mean == 0:
            return shown
        scale, fewest = self.unit
        for decimals in range(fewest, fewest + _MORE_DECIMALS):
            shown = signed_text(scale * end, decimals)
            if not reads_as_zero(shown):
                return shown
        return ABOVE_ZERO if estimate.mean > 0 else BELOW_ZERO

    def _shown(self, value: float) -> str:
        if math.isnan(value):
            return ""
        if self.is_difference:
            return signed_text(self.unit.scale * value + 0.0, self.unit.decimals)
        return f"{self.unit.scale * value:.{self.unit.decimals}f}"


def reads_as_zero(text: str) -> bool:
    """Of "-0.0" and "0.000"."""
    return float(text) == 0


def points_cell(estimate: Estimate) -> Cell:
    """A difference of accuracies, as "+16.3 [+15.0, +17.6]"."""
    return Cell(estimate=estimate, unit=POINTS, is_difference=True)


def difference_cell(info: AblationInfo, metric: str, estimate: Estimate) -> Cell:
    """A difference, with as many decimals as its metric has."""
    return Cell(estimate=estimate, unit=unit_of(info, metric), is_difference=True)


def single_value(value: float) -> Estimate:
    """A number of one seed, without a spread."""
    return replace(NOTHING, mean=value, n=int(math.isfinite(value)))


# -- Metrics, and the unit in which a number of one is read


def leading_metrics(info: AblationInfo) -> list[str]:
    """Clean and robust accuracy, if they are scored; for a custom training loop all metrics."""
    if not info.families:
        return list(info.metrics)
    return _scored(info, ("clean_accuracy", "robust_accuracy"))


def family_metrics(info: AblationInfo) -> list[str]:
    """The accuracy of each family of the suite."""
    return _scored(info, [f"accuracy.{family}" for family in info.families])


def outcome_metrics(info: AblationInfo) -> list[str]:
    """What else is asked for, or a contrast or a margin declared on: of the whole network, but no
    mean."""
    named = {*info.best, *(one.metric for one in info.effects if one.kept is not None)}
    return [metric for metric in info.metrics if metric in named and not is_mean(metric)]


def curve_metrics(info: AblationInfo) -> list[str]:
    """Accuracies at the stated clean loss, if there are any, and before them those of the finetuned
    network."""
    at_loss = [metric for metric in info.metrics if metric.endswith(AT_CLEAN_LOSS)]
    own = [name for name in map(base_name, at_loss) if name not in leading_metrics(info)]
    return [*own, *at_loss]


def _scored(info: AblationInfo, names: Iterable[str]) -> list[str]:
    of_split = (f"{'test' if info.split == 'test' else 'val'}_{name}" for name in names)
    return [metric for metric in of_split if metric in info.metrics]


def shown_name(info: AblationInfo, metric: str) -> str:
    """ "robust" for `val_robust_accuracy`, as the split is in the notes; a metric of a custom
    training loop by its full name."""
    return short_metric(metric) if info.families else metric


def scale(metric: str) -> float:
    """What a number of this metric is multiplied by where a person reads it."""
    return 100.0 if is_accuracy(metric) else 1.0


def decimals(metric: str, values: Iterable[float]) -> int:
    """Decimals of a column: 1 of percent, else so many that the largest value has four digits."""
    if is_accuracy(metric):
        return 1
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    before = math.floor(math.log10(largest)) + 1 if largest else 1
    return max(0, _DIGITS - before)


def unit_of(info: AblationInfo, metric: str) -> Unit:
    """The unit of a metric's column."""
    means = [arm.estimates[metric].mean for arm in info.arms if metric in arm.estimates]
    return Unit(scale(metric), decimals(metric, means))


# -- Notes


def runs_text(info: AblationInfo, arm: ArmInfo) -> str:
    """ "n = 6, 2 failed, 1 collapsed": seeds, where they are fewer than planned, and runs; else
    empty."""
    shown = [*leading_metrics(info), *family_metrics(info)]
    counts = [arm.estimates[metric].n for metric in shown if metric in arm.estimates]
    n = min((count for count in counts if count), default=0)
    fewer = [f"n = {n}"] if n < info.seeds and not arm.is_one_network else []
    runs = {"failed": arm.failed, "collapsed": arm.collapsed}
    return ", ".join(fewer + [f"{len(those)} {what}" for what, those in runs.items() if those])


def arms_notes(info: AblationInfo, metrics: Collection[str]) -> list[str]:
    """What a reader of the arms, in these metrics, has to know: split, n, spread, interval, bold,
    marks."""
    notes, bold = basis_notes(info, info.metrics), "bold: the best"
    if info.seeds > 1:
        notes.append(f"mean ± standard deviation over {info.seeds} {info.paired}s")
        bold += ", and all whose paired difference to it has a 95 % interval that contains 0"
    else:
        notes.append("one seed: no standard deviation")
    if info.reference:
        unit = ", in points" if is_accuracy(info.rank_metric) else ""
        notes.append(f"difference to {info.reference}: {metric_words(info.rank_metric)}{unit}")
        pairs = [info.to_reference(arm.name, info.rank_metric) for arm in info.arms]
        notes += interval_notes(info, [pair for pair in pairs if pair is not None])
    return [*notes, bold, *minimized_notes(info, metrics), *info.marks, fingerprint_text(info)]


def basis_notes(info: StudyFacts, metrics: Iterable[str]) -> list[str]:
    """The split, its images and the meaning of robust accuracy; no line without accuracies.

    For a custom training loop, split and images are unknown.
    """
    if not any(map(is_accuracy, metrics)):
        return []
    if info.n_images is None:
        return ["accuracies in %"]
    counts = count_texts(info)
    return [
        ", ".join([f"{info.split} accuracy in %", *counts, f"robust = mean over {info.mean_over}"])
    ]


def interval_notes(info: AblationInfo, effects: Collection[Effect]) -> list[str]:
    """Notes on the kind of interval in brackets, and why there is none; no line without seeds."""
    methods = {effect.estimate.method for effect in effects}
    kinds = [text.format(info.paired) for method, text in _INTERVALS.items() if method in methods]
    if info.n_images is None and kinds:
        kinds = [OVER_SEEDS]  # the images of a custom training loop are unknown
    notes = [f"brackets: 95 % interval, {' or '.join(kinds)}"] if kinds else []
    claims = [effect.estimate for effect in effects if effect.primary]
    if kinds and claims and info.look:
        notes[0] += "; those of primary contrasts hold together over all planned looks"
    elif kinds and claims and len(info.primary) > 1:
        is_holm = any(0 in (claim.low, claim.high) for claim in claims)
        count = f"the {len(info.primary)} primary contrasts"
        notes[0] += f"; those of {count} are simultaneous (Bonferroni)"
        notes[0] += shown_if(is_holm, "; an end >0 or <0 is by Holm's test, which excludes 0")
    reasons = dict.fromkeys(no_interval_text(effect.estimate, info.paired) for effect in effects)
    unknown = f"(how {info.paired}s vary is not known)"
    return notes + [f"{reason} {unknown}" for reason in reasons if reason]


def no_interval_text(estimate: Estimate, paired: str) -> str:
    """ "1 seed: no interval", or that all seeds are equal; empty where there is an interval, and
    without seeds."""
    if not estimate.n or not math.isnan(estimate.low):
        return ""
    count = f"1 {paired}" if estimate.n == 1 else f"{estimate.n} equal {paired}s"
    return f"{count}: no interval"


def minimized_notes(info: AblationInfo, metrics: Iterable[str]) -> list[str]:
    """Which of these metrics are better when less; no line where none is."""
    less = [shown_name(info, one) for one in dict.fromkeys(metrics) if one in info.minimized]
    return [f"less is better: {', '.join(less)}"] if less else []


def fingerprint_text(info: StudyFacts) -> str:
    shown = ", ".join(one[:12] for one in info.fingerprint.split(", "))  # of each that is pooled
    return f"study {info.study}, fingerprint {shown}"
