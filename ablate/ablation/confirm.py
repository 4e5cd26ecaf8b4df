"""A confirmed front: its selection bias, and which points are still on it on the test images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.answer import Part, sorted_parts
from ablate.ablation.cell import Arm, Cell, Design, difference
from ablate.ablation.effects import arm_difference
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.ablation.intervals import Estimate, over_seeds_and_two_sets, t_interval
from ablate.ablation.results import BASELINE, Outcomes, References, Results, SplitName
from ablate.ablation.significance import RESAMPLES, resampled_means
from ablate.analysis.hypervolume import nondominated
from ablate.analysis.objectives import SPLITS
from ablate.analysis.pareto import ParetoPoint
from ablate.errors import ParameterError, UsageError, did_you_mean
from ablate.ledger.record import NOT_FINETUNED, StudyRecord
from ablate.robustness.measures import LEVEL
from ablate.study.document import show
from ablate.study.scores import Scores
from ablate.study.seeds import PLAIN
from ablate.study.settings import ObjectiveSettings

COMBINED_DA = "DA combined"
TRAINED_ON = "trained on the training images only; the validation images are held out"


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
        gains: on the test images, over the baseline: over the fresh seeds and images; over_da: the
            same over combined data augmentation at the same budget.
        parts: of the gain in robust accuracy over the baseline, by type, the largest first.
        baseline_gaps: the same of the baseline, which nothing has selected; NaN where not known.
        front_probability: share of the resamples of seeds and test images in which its means are
            on the front of the confirmed points; of one objective, in which its mean is the best.
    """

    name: str
    metrics: tuple[str, ...]
    selected: Mapping[str, float]
    luck: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]
    baseline_gaps: Mapping[str, float]
    gains: Mapping[str, Estimate]
    over_da: Mapping[str, Estimate]
    parts: tuple[Part, ...]
    front_probability: float


@dataclass(frozen=True)
class ConfirmInfo:
    """A confirmation.

    Attributes:
        test: all arms on the test images; validation: on the validation images.
        points: of the front, in order.
        objectives: test metrics for the front probability.
        compare: the name of an arm, of another, a test metric and a level: the one less the other.
    """

    test: AblationInfo
    validation: AblationInfo
    points: tuple[ConfirmedPoint, ...]
    objectives: tuple[str, ...]
    compare: Callable[[str, str, str, float], Estimate]


def front_design(
    points: Sequence[ParetoPoint], *, soup: bool = False, adapted: bool = False
) -> Design:
    """What a confirmation runs: plain finetune, combined data augmentation, and the front.

    Args:
        soup: also the mean of the front's networks at each seed.
        adapted: also the baseline with batch norm adapted at test time.

    Raises:
        UsageError: if the front has no soup.
    """
    cells = [Cell("plain", dict(PLAIN)), Cell(COMBINED_DA, {"loss.terms": "clean+da"})]
    cells += [Cell(point.name, point.retrained) for point in points]
    soups = {}
    if soup:
        cells.append(_soup_cell(points))
        soups[cells[-1].name] = tuple(point.name for point in points)
    fixed = NOT_FINETUNED if adapted else (BASELINE,)
    arms = [Arm(name, (name,)) for name in (*fixed, *(cell.name for cell in cells))]
    plain = arms[len(fixed)]
    return Design(
        kind="arms",
        cells=tuple(cells),
        arms=tuple(arms),
        contrasts=tuple(difference(arm, plain) for arm in arms if arm is not plain),
        reference=plain.name,
        notes=(TRAINED_ON,),
        selected={
            point.name: {
                name: value
                for name, value in (point.scores.metrics() if point.scores else {}).items()
                if math.isfinite(value)
            }
            for point in points
        },
        soups=soups,
    )


def _soup_cell(points: Sequence[ParetoPoint]) -> Cell:
    """A cell with the values that all points' baselines are made from."""
    if len(points) < 2:
        raise UsageError(
            f"--soup: needs two trials or more, got {len(points)}. Leave it out, or name more: "
            "--trials."
        )
    shared: dict[str, Any] = {}
    for key in dict.fromkeys(key for point in points for key in point.retrained):
        section = key.partition(".")[0]
        if section not in ("dataset", "model", "baseline") or key == "dataset.train_fraction":
            continue
        values = [point.retrained.get(key) for point in points]
        if any(value != values[0] for value in values):
            raise UsageError(
                f"--soup: needs trials that start from one baseline, got {key}: "
                f"{', '.join(map(show, values))}. Leave it out, or name trials that share it: "
                "--trials."
            )
        shared[key] = values[0]
    return Cell(f"soup of {len(points)} trials", shared)


def is_confirmation(record: StudyRecord) -> bool:
    """Whether a study confirms a front: its test images are open."""
    return bool(record.design and record.design["selected"])


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
            f"study {record.name}: must be a confirmation, got another study. Run ablate confirm."
        )
    design = Design.from_json(record.design)
    on_test = Results(record, outcomes, references, "test")
    on_validation = Results(record, outcomes, references, "val")
    asked = [objective.metric for objective in record.study.objectives]
    metrics = tuple(
        name
        for name in dict.fromkeys(["val_clean_accuracy", "val_robust_accuracy", *asked])
        if any(name in selected for selected in design.selected.values())
    )
    same_suite = _same_suite(on_test.first, on_validation.first)
    names = list(design.selected)
    objectives = [
        tested
        for tested in map(_on_test, asked)
        if any(np.isfinite(on_test.values(name, tested)).any() for name in names)
    ]
    probabilities = _probabilities(record, on_test, names, objectives)
    points = []
    for name, probability in zip(names, probabilities, strict=True):
        luck, gaps, baseline_gaps = {}, {}, {}
        for metric in metrics:
            values = on_validation.values(name, metric)
            if metric in design.selected[name]:
                luck[metric] = _estimate(design.selected[name][metric] - values)
            tested = _on_test(metric)
            # A cost is that of the run, whatever it is scored on.
            if tested != metric and (same_suite or metric == "val_clean_accuracy"):
                gaps[metric] = _gap_estimate(on_validation, on_test, name, metric, tested)
                baseline_gaps[metric] = _gap(record, metric, tested)
        tested_metrics = list(map(_on_test, metrics))
        weights = on_test.first.type_weights if isinstance(on_test.first, Scores) else {}
        by_type = _over(on_test, name, BASELINE, [f"test_accuracy.{kind}" for kind in weights])
        points.append(
            ConfirmedPoint(
                *(name, metrics, design.selected[name], luck, gaps, baseline_gaps),
                gains=_over(on_test, name, BASELINE, tested_metrics),
                over_da=_over(on_test, name, COMBINED_DA, tested_metrics),
                parts=sorted_parts(
                    Part(kind, by_type[f"test_accuracy.{kind}"].times(weight))
                    for kind, weight in weights.items()
                    if by_type
                ),
                front_probability=probability,
            )
        )
    return ConfirmInfo(
        test=ablation_info(record, outcomes, references, split="test"),
        validation=ablation_info(record, outcomes, references, split="val"),
        points=tuple(points),
        objectives=tuple(objectives),
        compare=partial(_less, on_test),
    )


def _less(results: Results, name: str, other: str, metric: str, level: float = LEVEL) -> Estimate:
    return arm_difference(results, Arm(name, (name,)), Arm(other, (other,)), metric, level)


def _over(results: Results, name: str, other: str, metrics: Sequence[str]) -> dict[str, Estimate]:
    """An arm less another on these metrics; empty where the other has none of them."""
    return {
        metric: _less(results, name, other, metric)
        for metric in metrics
        if np.isfinite(results.values(other, metric)).any()
    }


def _probabilities(
    record: StudyRecord, results: Results, names: Sequence[str], objectives: Sequence[str]
) -> list[float]:
    """Front probability of each point; NaN for fewer than two seeds, and where only one of
    several objectives is known on the test images."""
    directions = {
        _on_test(objective.metric): objective.direction for objective in record.study.objectives
    }
    if len(objectives) < min(2, len(directions)):
        return [math.nan] * len(names)
    values = {name: [results.values(name, one) for one in objectives] for name in names}
    # A point of which no run has ended well is none that the others could be beaten by.
    there = [name for name, found in values.items() if np.isfinite(found).all(axis=0).any()]
    if not there:
        return [math.nan] * len(names)
    are_complete = np.isfinite([values[name] for name in there]).all(axis=(0, 1))
    places = np.flatnonzero(are_complete).tolist()
    tables = []
    for name in there:
        shares = [results.shares(name, one, places) for one in objectives]
        columns = [found[places, None] for found in values[name]]
        pairs = zip(shares, columns, strict=True)
        tables.append([column if share is None else share for share, column in pairs])
    found = front_probability(tables, [directions[one] for one in objectives])
    by_name = dict(zip(there, found.tolist(), strict=True))
    return [by_name.get(name, math.nan) for name in names]


def _gap_estimate(
    on_validation: Results, on_test: Results, name: str, metric: str, tested: str
) -> Estimate:
    """Validation less test, over the images of both sets where the ledger has them."""
    first, second = on_validation.values(name, metric), on_test.values(name, tested)
    places = np.flatnonzero(np.isfinite(first - second)).tolist()
    shares = on_validation.shares(name, metric, places), on_test.shares(name, tested, places)
    if shares[0] is None or shares[1] is None:
        return _estimate(first - second)
    return over_seeds_and_two_sets(shares[0], shares[1]).estimate()


def _estimate(differences: NDArray[np.float64]) -> Estimate:
    return t_interval(differences[np.isfinite(differences)])


def _gap(record: StudyRecord, metric: str, tested: str) -> float:
    if BASELINE not in record.references or BASELINE not in record.test_references:
        return math.nan
    before = record.references[BASELINE].metrics().get(metric, math.nan)
    return before - record.test_references[BASELINE].metrics().get(tested, math.nan)


def _on_test(metric: str) -> str:
    head, _, rest = metric.partition("_")
    return f"test_{rest}" if head in SPLITS else metric


def _same_suite(one: object, other: object) -> bool:
    """Whether two scores are of the same copies but for the images."""
    if not isinstance(one, Scores) or not isinstance(other, Scores):
        return False
    same_cells = {kind: list(row) for kind, row in one.accuracies.items()} == {
        kind: list(row) for kind, row in other.accuracies.items()
    }
    return same_cells and one.mean_over == other.mean_over


# -- How sure a front is: the points' means over resampled seeds and images, sorted again


Direction = Literal["maximize", "minimize"]

_DIRECTIONS = get_args(Direction)


def front_probability(
    tables: Sequence[Sequence[np.ndarray]],
    directions: Sequence[Direction],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The share of resamples of seeds and images in which a point's means are on the front.

    Both are drawn with replacement, the same draw for all points, and for all objectives of as
    many images (Owen 2007,
    arXiv:0712.1111, the pigeonhole bootstrap).

    Args:
        tables: of each point for each objective `[K, n_images]`, finite; `[K, 1]` of an objective
            that is no mean over images.
        directions: one an objective.
        seed: of the draws.

    Returns:
        `[points]`, 0 to 1; equal points share their fate. NaN of fewer than two seeds: one seed
        does not say how seeds vary.

    Raises:
        ParameterError: if a shape is another, or a direction is unknown.
    """
    for direction in directions:
        if direction not in _DIRECTIONS:
            fix = did_you_mean(direction, _DIRECTIONS)
            raise ParameterError(f"directions: unknown direction, got {direction!r}. {fix}")
    for of_point in tables:
        shapes = [np.shape(table) for table in of_point]
        expected = [np.shape(table) for table in tables[0]]
        if (
            len(shapes) != len(directions)
            or shapes != expected
            or {len(one) for one in shapes} != {2}
        ):
            raise ParameterError(
                f"tables: must hold one [K, n_images] for each of {len(directions)} objectives, "
                f"the same for all points, got shapes {shapes}. Give one table per objective."
            )
    if not tables or len(tables[0][0]) < 2:
        return np.full(len(tables), math.nan)
    objectives = [
        ObjectiveSettings(metric=f"objective_{place}", direction=direction)
        for place, direction in enumerate(directions)
    ]
    means = np.stack(
        [
            resampled_means(
                [of_point[place] for of_point in tables], resamples=resamples, seed=seed
            )
            for place in range(len(directions))
        ],
        axis=2,
    )
    shares: NDArray[np.float64] = np.mean(
        [nondominated(sample, objectives) for sample in means], axis=0
    )
    return shares
