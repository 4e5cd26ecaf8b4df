"""The summary numbers of an evaluation; each name states its convention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from ablate.robustness.corruption import BENCHMARK, SEVERITIES
from ablate.robustness.evaluation.evaluation import Evaluation
from ablate.robustness.measures import (
    ALEXNET_CLEAN_ERROR,
    Errors,
    Interval,
    alexnet_errors,
    mean_corruption_error,
    mean_interval,
    mean_over_types,
)
from ablate.study.scores import EXPOSURES

INCOMPARABLE = "not comparable with methods that hold these types out"
_IMAGENET_CLASSES = 1000
_FEW = 5  # number of missing types to list
_MEAN = "mean_corruption_accuracy_unnormalised"


@dataclass(frozen=True)
class SummaryLine:
    """One number.

    Attributes:
        name: states the convention.
        value: a fraction, or a ratio to another network's; NaN if it is not defined.
        over: what it is averaged over, and what it is divided by.
        interval: at 95 %, over the images; None for errors and ratios.
        unit: "fraction" or "ratio".
    """

    name: str
    value: float
    over: str
    interval: Interval | None = None
    unit: Literal["fraction", "ratio"] = "fraction"


def summarise(evaluation: Evaluation) -> list[SummaryLine]:
    """Compute the numbers that are defined for this evaluation, in a fixed order.

    If the suite has other types than the fifteen of the benchmark, such as the suite "all", the
    benchmark's means use only the fifteen, and the others have a separate mean.  AlexNet's errors
    are those on ImageNet: the mCE relative to them is given for 1,000 classes at ImageNet-C's
    scale, with all fifteen types and all five severities.
    """
    return [
        *_clean(evaluation),
        *_means(evaluation),
        *_exposed(evaluation),
        *_normalised(evaluation),
        *_calibration(evaluation),
    ]


def benchmark_types(evaluation: Evaluation) -> tuple[str, ...]:
    """The types of the benchmark's mean: those of its fifteen that were scored, or all types if
    none of them was."""
    types = evaluation.suite.types
    if evaluation.suite.made_by == "distortion":
        return types  # same names, but not part of the benchmark
    return tuple(kind for kind in types if kind in BENCHMARK) or types


def _clean(evaluation: Evaluation) -> Iterator[SummaryLine]:
    clean = evaluation.clean
    if clean is None:
        return
    over = f"{clean.n} images"
    yield SummaryLine("clean_accuracy", clean.accuracy, over, clean.interval)
    if clean.top5_accuracy is not None:
        yield SummaryLine("clean_top5_accuracy", clean.top5_accuracy, over, clean.top5_interval)


def _means(evaluation: Evaluation) -> Iterator[SummaryLine]:
    types = benchmark_types(evaluation)
    over = _over(evaluation, types)
    value = evaluation.accuracy(types)
    yield SummaryLine(_MEAN, value, over, evaluation.interval(types))
    error = mean_over_types(evaluation.errors(types))
    yield SummaryLine("mean_corruption_error_unnormalised", error, over)
    top5 = [scores.top5_accuracy for scores in evaluation.cells_of(types)]
    if None not in top5:
        name = "mean_corruption_top5_accuracy_unnormalised"
        yield SummaryLine(name, fmean(one for one in top5 if one is not None), over)
    others = tuple(kind for kind in evaluation.suite.types if kind not in types)
    if others:
        yield SummaryLine(
            "mean_extra_corruption_accuracy_unnormalised",
            evaluation.accuracy(others),
            _over(evaluation, others),
            evaluation.interval(others),
        )
    if evaluation.suite.mean_over == "families":
        families = evaluation.suite.families
        shares = np.mean([evaluation.shares(kinds) for kinds in families.values()], axis=0)
        yield SummaryLine(
            "mean_accuracy_over_families_unnormalised",
            fmean(evaluation.accuracy(kinds) for kinds in families.values()),
            _over(evaluation, types, f"{len(families)} families of their types"),
            mean_interval(shares),
        )


def _exposed(evaluation: Evaluation) -> Iterator[SummaryLine]:
    for exposed in EXPOSURES:
        kinds = evaluation.types_of(exposed)
        if kinds:
            over = _over(evaluation, kinds)
            interval = evaluation.interval(kinds)
            yield SummaryLine(f"{_MEAN}_{exposed}", evaluation.accuracy(kinds), over, interval)


def _normalised(evaluation: Evaluation) -> Iterator[SummaryLine]:
    types = benchmark_types(evaluation)
    errors, clean = evaluation.errors(types), evaluation.clean
    plain, relative = "mean_corruption_error", "relative_mean_corruption_error"
    if _has_alexnet(evaluation):
        alexnet = alexnet_errors()
        over = f"{_over(evaluation, types)}, divided by AlexNet's; {evaluation.data.n} images"
        yield SummaryLine(plain, mean_corruption_error(errors, alexnet), over, unit="ratio")
        if clean is not None:
            value = mean_corruption_error(errors, alexnet, clean.error, ALEXNET_CLEAN_ERROR)
            over += f", whose clean error is {ALEXNET_CLEAN_ERROR} as torchvision states it"
            yield SummaryLine(relative, value, over, unit="ratio")
    reference = evaluation.reference
    if reference is None:
        return
    over = f"{_over(evaluation, types)}, divided by those of {reference.name}"
    theirs = {kind: reference.errors[kind] for kind in types}
    value = mean_corruption_error(errors, theirs)
    told = over + _undefined(theirs, 0.0, "makes no errors")
    yield SummaryLine(f"{plain}_relative_to", value, told, unit="ratio")
    if clean is not None and reference.clean_error is not None:
        value = mean_corruption_error(errors, theirs, clean.error, reference.clean_error)
        told = over + _undefined(theirs, reference.clean_error, "loses no accuracy")
        yield SummaryLine(f"{relative}_relative_to", value, told, unit="ratio")


def _undefined(reference: Errors, clean_error: float, why: str) -> str:
    """Why a ratio is NaN; empty if it is not."""
    kinds = [
        kind for kind, row in reference.items() if math.fsum(one - clean_error for one in row) <= 0
    ]
    if not kinds:
        return ""
    more = f" and {len(kinds) - 1} more" if len(kinds) > 1 else ""
    return f"; not defined, since that network {why} on {kinds[0]}{more}"


def _calibration(evaluation: Evaluation) -> Iterator[SummaryLine]:
    bins = "15 bins of equal width"
    if evaluation.clean is not None:
        value = evaluation.clean.calibration_error
        yield SummaryLine("clean_expected_calibration_error", value, bins)
    types = benchmark_types(evaluation)
    found = [scores.calibration_error for scores in evaluation.cells_of(types)]
    value = fmean(found) if found else math.nan
    over = f"{_over(evaluation, types)}, {bins}"
    yield SummaryLine("mean_corruption_expected_calibration_error", value, over)


def _has_alexnet(evaluation: Evaluation) -> bool:
    suite = evaluation.suite
    return (
        suite.scale == "imagenet"
        and suite.made_by != "distortion"
        and len(evaluation.data.classes) == _IMAGENET_CLASSES
        and suite.severities == SEVERITIES
        and set(BENCHMARK) <= set(suite.types)
    )


def _over(evaluation: Evaluation, types: tuple[str, ...], name: str = "") -> str:
    """Describe what a number is averaged over, and whether it includes types that others hold out.

    Args:
        name: of the types; None: their count, or the name of a single one.
    """
    severities = evaluation.suite.severities
    name = name or (types[0] if len(types) == 1 else f"{len(types)} types")
    several = f" x {len(severities)} severities"
    over = name + (several if len(severities) > 1 else f" at severity {severities[0]}")
    missing = [kind for kind in BENCHMARK if kind not in types]
    is_part = evaluation.suite.made_by != "distortion" and set(types) < set(BENCHMARK)
    if is_part and types == benchmark_types(evaluation) and len(missing) <= _FEW:
        over += f", of the benchmark's 15 without {', '.join(missing)}"
    if any(kind in evaluation.types_of("seen_type") for kind in types):
        over += f"; {INCOMPARABLE}"
    return over
