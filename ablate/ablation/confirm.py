"""A study that was run again with new seeds and scored on the test images: of a front its
selection bias, and which points are still on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Arm, Design
from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import arm_difference
from ablate.ablation.info import AblationInfo, ablation_info, info_of_results
from ablate.ablation.intervals import Estimate, over_seeds_and_two_sets, t_interval
from ablate.ablation.results import BASELINE, Outcomes, References, Results, SplitName
from ablate.analysis.hypervolume import nondominated
from ablate.analysis.objectives import objectives_on, on_split
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.displayed import Displayed
from ablate.study.scores import Scores
from ablate.study.settings import ConstraintSettings, ObjectiveSettings


@dataclass(frozen=True)
class ConfirmedPoint:
    """A confirmed trial of the front.

    Attributes:
        name: of its arm; metrics: that are compared, by their names on validation.
        selected: what the search chose it by, one seed.
        luck: that, less the fresh seeds on the same validation images: what selection has added.
            The search's score is of one seed and taken as it is, so the interval is over the
            fresh seeds, on these images.
        gaps: validation less test, over the fresh seeds, and the images of both sets.
        baseline_gaps: the same of the baseline, which nothing has selected; NaN where not known.
        gains: on the test images, over the baseline: over the fresh seeds and images; over_da: the
            same over combined data augmentation at the same budget; at the level of the primary
            contrasts of `ConfirmInfo.test`, so that the intervals of all confirmed points over one
            reference hold together in 95 % of confirmations.
        front_probability: share of the resamples of seeds and test images in which its means are
            on the front of the confirmed points; of one objective, in which its mean is the best.
            Means that violate a constraint of the search are on no front. NaN for fewer than two
            seeds, and where only one of several objectives is known on the test images.
    """

    name: str
    metrics: tuple[str, ...]
    selected: Mapping[str, float]
    luck: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]
    baseline_gaps: Mapping[str, float]
    gains: Mapping[str, Estimate]
    over_da: Mapping[str, Estimate]
    front_probability: float


@dataclass(frozen=True)
class ConfirmInfo(Displayed):
    """A confirmation.

    Attributes:
        test: all arms on the test images; validation: on the validation images.
        points: of the front, in order; none of a confirmed ablation.
        objectives: test metrics for the front probability.
        constraints: test metrics of the search's constraints that it counts: those that the test
            images were scored for.
    """

    test: AblationInfo
    validation: AblationInfo
    points: tuple[ConfirmedPoint, ...]
    objectives: tuple[str, ...]
    constraints: tuple[str, ...] = ()


def is_confirmation(record: StudyRecord) -> bool:
    """Whether a study confirms a front or an ablation: its test images are open."""
    return record.design is not None and record.test is not None


def study_ablation(record: StudyRecord, outcomes: Outcomes, references: References) -> AblationInfo:
    """Results of an ablation on the validation images, or of a confirmation on the test images.

    Args and raises: as `ablation_info`.
    """
    split: SplitName = "test" if is_confirmation(record) else "val"
    return ablation_info(record, outcomes, references, split=split)


def confirm_info(record: StudyRecord, outcomes: Outcomes, references: References) -> ConfirmInfo:
    """Results of a confirmation, from the runs that have ended so far.

    Args:
        record: of the confirmation; outcomes, references: as for `ablation_info`.

    Raises:
        ParameterError: if the study is not a confirmation.
    """
    if not is_confirmation(record) or record.design is None:
        raise ParameterError(
            f"study {record.name}: must be a confirmation, got another study. Name RUN/confirm, or "
            "run ablate confirm."
        )
    design = Design.from_json(record.design)
    on_test = Results(record, outcomes, references, "test")
    on_validation = Results(record, outcomes, references, "val")
    test = info_of_results(record, design, on_test, "test")
    names = tuple(design.selected)
    objectives = objectives_on(record.study.objectives, "test")
    known = [objective for objective in objectives if _is_known(on_test, names, objective.metric)]
    constraints = [
        constraint
        for constraint in record.study.constraints
        if _is_judged(on_test, names, constraint)
    ]
    asked = ["val_clean_accuracy", "val_robust_accuracy"]
    asked += [objective.metric for objective in record.study.objectives]
    metrics = tuple(
        metric
        for metric in dict.fromkeys(asked)
        if any(metric in selected for selected in design.selected.values())
    )
    same_suite = _same_suite(on_test.first, on_validation.first)
    probabilities = dict[str, float]()
    if len(known) >= min(2, len(objectives)):
        probabilities = _front_probabilities(on_test, names, known, constraints)

    def over(name: str, other: str) -> dict[str, Estimate]:
        arms = Arm(name, (name,)), Arm(other, (other,))
        return {
            metric: arm_difference(on_test, *arms, metric, test.level)
            for metric in map(_on_test, metrics)
            if _is_known(on_test, [other], metric)
        }

    points = []
    for name in names:
        luck, gaps, baseline_gaps = {}, {}, {}
        for metric in metrics:
            values, tested = on_validation.values(name, metric), _on_test(metric)
            if metric in design.selected[name]:
                luck[metric] = t_interval(design.selected[name][metric] - values)
            # A cost is that of the run, whatever it is scored on.
            if tested != metric and (same_suite or metric == "val_clean_accuracy"):
                gaps[metric] = _gap_estimate(on_validation, on_test, name, metric)
                baseline_gaps[metric] = _baseline_gap(record, metric)
        points.append(
            ConfirmedPoint(
                name,
                metrics,
                design.selected[name],
                luck,
                gaps,
                baseline_gaps,
                gains=over(name, BASELINE),
                over_da=over(name, COMBINED_DA),
                front_probability=probabilities.get(name, math.nan),
            )
        )
    return ConfirmInfo(
        test=test,
        validation=info_of_results(record, design, on_validation, "val"),
        points=tuple(points),
        objectives=tuple(one.metric for one in known),
        constraints=tuple(_on_test(constraint.metric) for constraint in constraints),
    )


def _on_test(metric: str) -> str:
    return on_split(metric, "test")


def _is_known(results: Results, names: Sequence[str], metric: str) -> bool:
    return any(np.isfinite(results.values(name, metric)).any() for name in names)


def _is_judged(on_test: Results, names: Sequence[str], constraint: ConstraintSettings) -> bool:
    """Whether the test images were scored for a constraint."""
    metric = _on_test(constraint.metric)
    has_baseline = not constraint.reads_baseline or _is_known(on_test, [BASELINE], metric)
    return has_baseline and _is_known(on_test, names, metric)


def _gap_estimate(on_validation: Results, on_test: Results, name: str, metric: str) -> Estimate:
    """Validation less test, over the images of both sets where the ledger has them."""
    tested = _on_test(metric)
    first, second = on_validation.values(name, metric), on_test.values(name, tested)
    places = np.flatnonzero(np.isfinite(first - second)).tolist()
    shares = on_validation.shares(name, metric, places), on_test.shares(name, tested, places)
    if shares[0] is None or shares[1] is None:
        return t_interval(first - second)
    return over_seeds_and_two_sets(shares[0], shares[1]).estimate()


def _baseline_gap(record: StudyRecord, metric: str) -> float:
    if BASELINE not in record.references or BASELINE not in record.test_references:
        return math.nan
    before = record.references[BASELINE].metrics().get(metric, math.nan)
    return before - record.test_references[BASELINE].metrics().get(_on_test(metric), math.nan)


def _same_suite(one: object, other: object) -> bool:
    """Whether two scores are of the same copies but for the images."""
    if not isinstance(one, Scores) or not isinstance(other, Scores):
        return False
    cells = [{kind: [*row] for kind, row in of.accuracies.items()} for of in (one, other)]
    return cells[0] == cells[1] and one.mean_over == other.mean_over


# -- How sure a front is: the points' means over resampled seeds and images, sorted again


RESAMPLES = 2000
_AT_ONCE = 250
_DIGITS = 12
_ROUNDED = 9
"""Decimals of an excess: far less than one image, so that rounding violates nothing."""


def _front_probabilities(
    results: Results,
    names: Sequence[str],
    objectives: Sequence[ObjectiveSettings],
    constraints: Sequence[ConstraintSettings],
) -> dict[str, float]:
    """By point; a point of which no run has ended well is none that the others could be beaten by,
    and has none."""
    values = {
        name: np.array([results.values(name, objective.metric) for objective in objectives])
        for name in names
    }
    there = [name for name, of in values.items() if np.isfinite(of).all(axis=0).any()]
    if not there:
        return {}
    is_whole = np.isfinite([values[name] for name in there]).all(axis=(0, 1))
    places = np.flatnonzero(is_whole).tolist()

    def table(name: str, metric: str) -> NDArray[np.float64]:
        """By seed and image, `[places, n]`; by seed alone where the metric is no mean."""
        shares = results.shares(name, metric, places)
        return results.values(name, metric)[places, None] if shares is None else shares

    tables = [[table(name, objective.metric) for objective in objectives] for name in there]
    excesses: list[list[np.ndarray]] = [[] for _ in there]
    for constraint in constraints:
        metric = _on_test(constraint.metric)
        for side in constraint.sides:
            limit: Any = side.number
            if side.is_relative:
                limit = side.number + table(BASELINE, metric)
            for name, beyond in zip(there, excesses, strict=True):
                own = table(name, metric)
                beyond.append(limit - own if side.name == "min" else own - limit)
    found = front_probability(tables, objectives, excesses=excesses)
    return dict(zip(there, found.tolist(), strict=True))


def front_probability(
    tables: Sequence[Sequence[np.ndarray]],
    objectives: Sequence[ObjectiveSettings],
    *,
    excesses: Sequence[Sequence[np.ndarray]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The share of resamples of seeds and images in which a point's means are on the front.

    Both are drawn with replacement, the same draw for all points, and for all objectives of as
    many images (Owen 2007, arXiv:0712.1111, the pigeonhole bootstrap).

    Args:
        tables: of each point for each objective `[K, n_images]`, finite; `[K, 1]` of an objective
            that is no mean over images.
        excesses: of each point for each bound of a constraint `[K, n_images]`, finite: how far
            beyond the bound it is; at most 0 where it is kept. A bound that is relative to the
            baseline has the baseline's share of the same image in it, so both are resampled
            together.
        seed: of the draws.

    Returns:
        `[points]`, 0 to 1; equal points share their fate. NaN of fewer than two seeds: one seed
        does not say how seeds vary.
    """
    if not tables or len(tables[0][0]) < 2:
        return np.full(len(tables), math.nan)

    def resampled(of_points: Sequence[np.ndarray]) -> NDArray[np.float64]:
        return resampled_means(of_points, resamples=resamples, seed=seed)

    means = np.stack([resampled(of_points) for of_points in zip(*tables, strict=True)], axis=2)
    for place, of_point in enumerate(excesses):
        for excess in of_point:
            is_kept = np.round(resampled([excess])[:, 0], _ROUNDED) <= 0
            means[~is_kept, place] = math.nan
    shares: NDArray[np.float64] = np.mean([nondominated(one, objectives) for one in means], axis=0)
    return shares


def resampled_means(
    tables: Sequence[np.ndarray], *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means over seeds and images that are both drawn with replacement, the same draw for all.

    Args:
        tables: `[K, n_images]` each, finite, K above 0; with one image, over seeds alone.
        seed: the same seed, K, n_images and resamples give the same draws; of seeds whatever
            n_images is.

    Returns:
        `[resamples, tables]`, to 12 digits, so that means that are equal tie, whatever the order
        they were added in.
    """
    n_seeds, n_images = np.shape(tables[0])
    of_seeds = _drawn(np.random.default_rng(seed), resamples, n_seeds)
    images = np.random.default_rng([seed, 1])
    means = np.empty((resamples, len(tables)))
    for start in range(0, resamples, _AT_ONCE):
        chunk = slice(start, min(start + _AT_ONCE, resamples))
        of_images = _drawn(images, chunk.stop - start, n_images)
        for place, table in enumerate(tables):
            means[chunk, place] = ((of_seeds[chunk] @ table) * of_images).sum(axis=1)
    return _settled(means / (n_seeds * n_images))


def _drawn(generator: np.random.Generator, resamples: int, n: int) -> NDArray[np.float64]:
    """How often each of n is drawn, `[resamples, n]`."""
    drawn = generator.integers(0, n, (resamples, n))
    drawn += n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts.astype(np.float64)


def _settled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round each value to this number of significant digits."""
    mantissa, exponent = np.frexp(values)
    settled: NDArray[np.float64] = np.ldexp(np.round(mantissa, _DIGITS), exponent)
    return settled
