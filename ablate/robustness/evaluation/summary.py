"""The summary numbers of an evaluation; each name states its convention."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
_BINS = "15 bins of equal width"


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
    clean, suite, types = evaluation.clean, evaluation.suite, benchmark_types(evaluation)
    cells, errors = evaluation.cells_of(types), evaluation.errors(types)
    over, lines = _over(evaluation, types), list[SummaryLine]()

    def add(name: str, value: float, over: str, interval: Interval | None = None) -> None:
        lines.append(SummaryLine(name, value, over, interval))

    def add_mean(name: str, kinds: Sequence[str]) -> None:
        value, of = evaluation.accuracy(kinds), _over(evaluation, kinds)
        add(name, value, of, evaluation.interval(kinds))

    if clean is not None:
        add("clean_accuracy", clean.accuracy, f"{clean.n} images", clean.interval)
        if clean.top5_accuracy is not None:
            value = clean.top5_accuracy
            add("clean_top5_accuracy", value, f"{clean.n} images", clean.top5_interval)
    add_mean(_MEAN, types)
    add("mean_corruption_error_unnormalised", mean_over_types(errors), over)
    top5 = [cell.top5_accuracy for cell in cells if cell.top5_accuracy is not None]
    if len(top5) == len(cells):
        add("mean_corruption_top5_accuracy_unnormalised", fmean(top5), over)
    if others := [kind for kind in suite.types if kind not in types]:
        add_mean("mean_extra_corruption_accuracy_unnormalised", others)
    if suite.mean_over == "families":
        families = suite.families.values()
        shares = np.mean([evaluation.shares(kinds) for kinds in families], axis=0)
        add(
            "mean_accuracy_over_families_unnormalised",
            fmean(evaluation.accuracy(kinds) for kinds in families),
            _over(evaluation, types, f"{len(families)} families of their types"),
            mean_interval(shares),
        )
    for exposed in EXPOSURES:
        if kinds := evaluation.types_of(exposed):
            add_mean(f"{_MEAN}_{exposed}", kinds)
    lines += _normalised(evaluation, types, errors, over)
    if clean is not None:
        add("clean_expected_calibration_error", clean.calibration_error, _BINS)
    value = fmean(cell.calibration_error for cell in cells) if cells else math.nan
    add("mean_corruption_expected_calibration_error", value, f"{over}, {_BINS}")
    return lines


def benchmark_types(evaluation: Evaluation) -> tuple[str, ...]:
    """The types of the benchmark's mean: those of its fifteen that were scored, or all types if
    none of them was."""
    types = evaluation.suite.types
    if evaluation.suite.made_by == "distortion":
        return types  # same names, but not part of the benchmark
    return tuple(kind for kind in types if kind in BENCHMARK) or types


def _normalised(
    evaluation: Evaluation, types: Sequence[str], errors: Errors, over: str
) -> Iterator[SummaryLine]:
    """The mCE relative to AlexNet, and to another network."""
    suite, n = evaluation.suite, evaluation.data.n
    clean_error = None if evaluation.clean is None else evaluation.clean.error
    plain, relative = "mean_corruption_error", "relative_mean_corruption_error"
    if (
        suite.scale == "imagenet"
        and suite.made_by != "distortion"
        and len(evaluation.data.classes) == _IMAGENET_CLASSES
        and suite.severities == SEVERITIES
        and set(BENCHMARK) <= set(suite.types)
    ):
        alexnet, of = alexnet_errors(), f"{over}, divided by AlexNet's; {n} images"
        yield SummaryLine(plain, mean_corruption_error(errors, alexnet), of, unit="ratio")
        if clean_error is not None:
            value = mean_corruption_error(errors, alexnet, clean_error, ALEXNET_CLEAN_ERROR)
            of += f", whose clean error is {ALEXNET_CLEAN_ERROR} as torchvision states it"
            yield SummaryLine(relative, value, of, unit="ratio")
    reference = evaluation.reference
    if reference is None:
        return
    of = f"{over}, divided by those of {reference.name}"
    theirs = {kind: reference.errors[kind] for kind in types}
    value = mean_corruption_error(errors, theirs)
    why = _undefined(theirs, 0.0, "makes no errors")
    yield SummaryLine(f"{plain}_relative_to", value, of + why, unit="ratio")
    if clean_error is not None and reference.clean_error is not None:
        value = mean_corruption_error(errors, theirs, clean_error, reference.clean_error)
        why = _undefined(theirs, reference.clean_error, "loses no accuracy")
        yield SummaryLine(f"{relative}_relative_to", value, of + why, unit="ratio")


def _undefined(reference: Errors, clean_error: float, why: str) -> str:
    """Why a ratio is NaN; empty if it is not."""
    kinds = [
        kind
        for kind, row in reference.items()
        if math.fsum(error - clean_error for error in row) <= 0
    ]
    if not kinds:
        return ""
    more = f" and {len(kinds) - 1} more" if len(kinds) > 1 else ""
    return f"; not defined, since that network {why} on {kinds[0]}{more}"


def _over(evaluation: Evaluation, types: Sequence[str], name: str = "") -> str:
    """Describe what a number is averaged over, and whether it includes types that others hold out.

    Args:
        name: of the types; empty: their count, or the name of a single one.
    """
    severities = evaluation.suite.severities
    over = name or (types[0] if len(types) == 1 else f"{len(types)} types")
    over += (
        f" x {len(severities)} severities"
        if len(severities) > 1
        else f" at severity {severities[0]}"
    )
    missing = [kind for kind in BENCHMARK if kind not in types]
    is_part = evaluation.suite.made_by != "distortion" and set(types) < set(BENCHMARK)
    if is_part and types == benchmark_types(evaluation) and len(missing) <= _FEW:
        over += f", of the benchmark's 15 without {', '.join(missing)}"
    if any(kind in evaluation.types_of("seen_type") for kind in types):
        over += f"; {INCOMPARABLE}"
    return over
