"""The results of an ablation for display: arms, effects, ranks, transfer, caveats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Arm, Claim, Design
from ablate.ablation.designs.shapley import sampling_notes
from ablate.ablation.effects import (
    ALPHA,
    Effect,
    all_effects,
    arm_difference,
    tied_with_best,
)
from ablate.ablation.interpolated import ON_CURVE
from ablate.ablation.intervals import Estimate, t_interval
from ablate.ablation.results import (
    BASELINE,
    Outcomes,
    References,
    Replication,
    Results,
    SplitName,
    compared_metrics,
)
from ablate.ablation.searches import expected_best
from ablate.ablation.significance import RankStability, rank_stability
from ablate.analysis.caveats import COLLAPSED, StudyFacts, result_marks, study_facts
from ablate.analysis.objectives import SPLITS, is_accuracy, on_split
from ablate.errors import ParameterError
from ablate.files.shown import few
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.study.displayed import Displayed
from ablate.study.scores import COSTS, Scores


@dataclass(frozen=True)
class ArmInfo:
    """A line of the table.

    Attributes:
        cells: names of its configurations; several if it is the mean over single models.
        estimates: by metric, over seeds on these images; for a common baseline a number without sd.
        costs: mean per run, by name (`ablate.study.scores.COSTS`), NaN if unknown.
        failed: unsuccessful runs, such as "seed 3 (not_finite: ...)".
        collapsed: runs far below the others of their cell, such as "seed 3" (`Results.collapsed`).
        is_one_network: whether it is the common baseline, or the same adapted.
        alphas: of its interpolated networks, each once, ascending; empty without curves.
        members: of a soup, the arms whose networks of the same seed it averages.
    """

    name: str
    cells: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    costs: Mapping[str, float]
    failed: tuple[str, ...] = ()
    is_one_network: bool = False
    alphas: tuple[float, ...] = ()
    members: tuple[str, ...] = ()
    collapsed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """Models of one type each: trained on x tested on.

    Attributes:
        arm: whose models they are.
        trained_on: type of each model; tested_on: scored types.
        means: `[trained_on][tested_on]`, mean over seeds; gains: over the reference arm, within
            pairs.
        own, others: `[tested_on]`, over the reference arm and over seeds: of the model of that
            type, and of the mean of all others.
    """

    arm: str
    trained_on: tuple[str, ...]
    tested_on: tuple[str, ...]
    means: tuple[tuple[float, ...], ...]
    gains: tuple[tuple[float, ...], ...]
    own: tuple[Estimate, ...] = ()
    others: tuple[Estimate, ...] = ()


@dataclass(frozen=True)
class TuningCurve:
    """Expected best score of an arm, against the trials of its search.

    Attributes:
        scores: `[T]`, of n = 1..T trials; the mean over its models if an arm has several.
        is_random: whether the trials were independent samples, for which it is exact.
    """

    arm: str
    metric: str
    scores: tuple[float, ...]
    is_random: bool


@dataclass(frozen=True)
class AblationInfo(Displayed, StudyFacts):
    """The results of an ablation.

    Attributes:
        design: its kind; reference: name of the arm that others are compared with, or empty.
        metrics: in the order of the tables.
        arms: in the order of the design, the baseline first.
        effects: every contrast on every metric.
        best: by metric of the tables, the arms that are the best or tied with it.
        ranks: of the arms by `rank_metric`; None of fewer than two.
        seeds: K, of ablations that are read as one their number; runs: planned; ended: of them.
        aliases: of a fraction.
        failures: unsuccessful runs, with reasons.
        replications: the ablations that are read as one (`ablate.ablation.pooled`); else empty.
        tuned: why effects are exploratory though they were declared: what was tuned on the images
            that it is scored on; empty of a confirmation, and where nothing was.
        looks: how often seeds were added after the results of all others were there.
        compare: an arm, another, a metric and a level: the one less the other; None of an Info that
            was not made from results.
    """

    design: str
    reference: str
    metrics: tuple[str, ...]
    families: tuple[str, ...]
    minimized: tuple[str, ...]
    arms: tuple[ArmInfo, ...]
    effects: tuple[Effect, ...]
    best: Mapping[str, tuple[str, ...]]
    ranks: RankStability | None
    rank_metric: str
    transfers: tuple[Transfer, ...]
    tuning: tuple[TuningCurve, ...]
    seeds: int
    runs: int
    ended: int
    aliases: tuple[str, ...]
    failures: tuple[str, ...]
    replications: tuple[Replication, ...] = ()
    tuned: str = ""
    looks: int = 0
    compare: Callable[[str, str, str, float], Estimate] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What limits the claims: tuning on these images, and seeds that were added after looks."""
        return tuple(filter(None, (self.tuned, _looked(self.looks))))

    @property
    def paired(self) -> str:
        """What the values of an arm are of: "seed", or "baseline" where ablations are pooled."""
        return "baseline" if self.replications else "seed"

    def effect(self, contrast: str, metric: str) -> Effect:
        """One effect.

        Raises:
            KeyError: if there is no such contrast on that metric.
        """
        for effect in self.effects:
            if (effect.contrast, effect.metric) == (contrast, metric):
                return effect
        raise KeyError(f"{contrast} on {metric}")

    def to_reference(self, arm: str, metric: str) -> Effect | None:
        """An arm less the reference; None of the reference itself, and without one."""
        name = f"{arm} - {self.reference}"
        pairs = (one for one in self.effects if (one.contrast, one.metric) == (name, metric))
        return next(pairs, None)

    @property
    def primary(self) -> tuple[Effect, ...]:
        return tuple(effect for effect in self.effects if effect.primary)

    @property
    def level(self) -> float:
        """Of the interval of a primary contrast: 95 % for all of them together (Bonferroni)."""
        return 1 - ALPHA / max(1, len(self.primary))


def ablation_info(
    record: StudyRecord,
    outcomes: Outcomes,
    references: References,
    *,
    split: SplitName = "val",
) -> AblationInfo:
    """Results of a study's ablation, from the runs that have ended so far.

    Args:
        outcomes, references: which images each network classified correctly.
        split: "test" only for a confirmation.

    Raises:
        ParameterError: if the study is a search.
    """
    if record.design is None or record.study.ablation is None:
        raise ParameterError(
            f"study {record.name}: must be an ablation, got a search. Add ablation: to a study "
            "file, or run `ablate confirm`."
        )
    results = Results(record, outcomes, references, split)
    return info_of_results(record, Design.from_json(record.design), results, split)


def info_of_results(
    record: StudyRecord, design: Design, results: Results, split: SplitName
) -> AblationInfo:
    """As `ablation_info`, of results that have been read."""
    study, settings = record.study, record.study.ablation_section
    own_loop = study.trainable is not None
    first = results.first
    found = results.metrics()
    if isinstance(first, Scores):
        found = [name for name in (*compared_metrics(first), *ON_CURVE) if name in found]
    minimized = _minimized(record, split)
    margin = settings.noninferior
    if margin is not None:
        margin = margin.model_copy(update={"metric": on_split(margin.metric, split)})
    claims = _claims(record, design, results, split)
    arms = [
        replace(_arm(results, arm, found), members=design.soups.get(arm.name, ()))
        for arm in design.arms
    ]
    main = f"{split}_robust_accuracy"
    rank_metric = study.objectives[0].metric if own_loop else main
    why_tuned, tuned = _tuned(record, design)
    ended = sum(row.state in TERMINAL for row in record.rows)
    return AblationInfo(
        **vars(
            study_facts(
                record,
                first,
                SPLITS[split],
                (
                    *filter(None, (why_tuned, _looked(record.looks))),
                    *sampling_notes(design, results, rank_metric),
                    *_collapse_marks(arms, ended),
                    *_marks(record, results, design),
                ),
            )
        ),
        design=design.kind,
        reference=design.reference,
        metrics=tuple(found),
        families=tuple(first.families) if isinstance(first, Scores) else (),
        minimized=minimized,
        arms=tuple(arms),
        effects=all_effects(
            *(results, design.contrasts, found, claims),
            margin=margin,
            minimized=minimized,
            tuned=tuned,
        ),
        best={
            metric: tied_with_best(results, design.arms, metric, is_minimized=metric in minimized)
            for metric in _shown_metrics(record, found, first, split)
        },
        ranks=_ranks(design, results, rank_metric, rank_metric in minimized),
        rank_metric=rank_metric,
        transfers=_transfers(design, results, first, split),
        tuning=() if results.replications else _tuning(record, design, minimized),
        seeds=len(results.replications) or settings.seed_count,
        runs=record.trials,
        ended=ended,
        aliases=design.aliases,
        failures=tuple(results.failures()),
        replications=results.replications,
        tuned=why_tuned,
        looks=record.looks,
        compare=lambda one, other, metric, level: arm_difference(
            results, design.arm(one), design.arm(other), metric, level
        ),
    )


def _claims(record: StudyRecord, design: Design, results: Results, split: SplitName) -> list[Claim]:
    """The declared contrasts; of a confirmed front each of its networks less the plain finetune, in
    the accuracies that were searched for. A confirmation claims nothing on validation images."""
    if record.test is not None and split == "val":
        return []
    if not design.selected:
        return [replace(one, metric=on_split(one.metric, split)) for one in design.claims]
    names = [*design.selected, *design.soups]
    asked = [on_split(one.metric, split) for one in record.study.objectives]
    return [
        Claim(f"{name} - {design.reference}", metric)
        for metric in filter(is_accuracy, asked)
        if any(np.isfinite(results.values(one, metric)).any() for one in names)
        for name in names
    ]


def _looked(looks: int) -> str:
    """That seeds were added after results were there; empty where they were not."""
    if not looks:
        return ""
    times = "once" if looks == 1 else f"{looks} times"
    return (
        f"{looks + 1} looks: seeds were added {times} when all results were there, which "
        "intervals and p values do not allow for: differences are claimed too often"
    )


def _tuned(record: StudyRecord, design: Design) -> tuple[str, tuple[str, ...]]:
    """What was tuned on the images that it is scored on, in words, and its cells."""
    if record.test is not None:
        return "", ()
    where = "on the validation images that results are of"
    until = "exploratory until `ablate confirm`"
    if record.study.trainable is not None:
        where, until = "by the scores that results are of", "exploratory"
    if "study" in record.study.ablation_section.reference:
        names = tuple(cell.name for cell in design.cells if cell.name != BASELINE)
        return f"{until}: a search chose the values of the reference {where}", names
    if design.tuning:
        return f"{until}: arms were tuned {where}", tuple(design.tuning)
    return "", ()


def _shown_metrics(
    record: StudyRecord, found: Sequence[str], first: object, split: SplitName
) -> list[str]:
    """Clean and robust accuracy and the families; of a custom training loop the objectives, since
    nothing says whether more is better of other metrics."""
    if not isinstance(first, Scores):
        asked = {objective.metric for objective in record.study.objectives}
        return [metric for metric in found if metric in asked]
    leading = [f"{split}_clean_accuracy", f"{split}_robust_accuracy"]
    families = [f"{split}_accuracy.{family}" for family in first.families]
    return [metric for metric in (*leading, *families, *ON_CURVE) if metric in found]


def _minimized(record: StudyRecord, split: SplitName) -> tuple[str, ...]:
    """Metrics for which less is better: by the objectives, and the costs of a finetuning."""
    asked = [one.metric for one in record.study.objectives if one.direction == "minimize"]
    costs = COSTS if record.study.trainable is None else ()
    return tuple(dict.fromkeys([*(on_split(metric, split) for metric in asked), *costs]))


def _arm(results: Results, arm: Arm, metrics: Sequence[str]) -> ArmInfo:
    cells = arm.cells
    is_fixed = results.is_fixed(cells[0])
    estimates = {}
    for metric in metrics:
        values = results.mean_values(arm.cells, metric)
        values = values[np.isfinite(values)]
        estimates[metric] = t_interval(values[:1] if is_fixed else values)
    failed = results.failed(cells)
    costs = {cost: results.cost(cells, cost) for cost in COSTS}
    if is_fixed:
        costs |= {"student_images": 0.0, "teacher_images": 0.0, "train_flops": 0.0}
    return ArmInfo(
        *(arm.name, cells, estimates, costs, tuple(failed)),
        is_one_network=is_fixed,
        alphas=results.alphas(cells),
        collapsed=() if is_fixed else tuple(results.collapsed(cells)),
    )


def _ranks(
    design: Design, results: Results, metric: str, is_minimized: bool
) -> RankStability | None:
    rows = {arm.name: results.mean_values(arm.cells, metric) for arm in design.arms}
    rows = {name: values for name, values in rows.items() if np.isfinite(values).any()}
    if len(rows) < 2:
        return None
    sign = -1.0 if is_minimized else 1.0
    return rank_stability(sign * np.stack(list(rows.values())), names=list(rows))


def _transfers(
    design: Design, results: Results, first: object, split: SplitName
) -> tuple[Transfer, ...]:
    if not isinstance(first, Scores):
        return ()
    tested = tuple(first.accuracies)
    metrics = [f"{split}_accuracy.{kind}" for kind in tested]
    found = []
    for arm in design.arms:
        if len(arm.cells) < 2:
            continue
        trained = [design.cell(cell).values.get("augment.types") for cell in arm.cells]
        if not all(trained):
            continue
        reference = design.arm(design.reference)
        means, gains = [], []
        for cell in arm.cells:
            pairs = [
                (results.values(cell, metric), results.mean_values(reference.cells, metric))
                for metric in metrics
            ]
            means.append(tuple(_mean(values) for values, _ in pairs))
            gains.append(tuple(_mean(values - of_reference) for values, of_reference in pairs))
        names = tuple(str(types[0]) for types in trained if types)
        own, others = (
            tuple(
                _over(results, _cells(arm, names, kind, is_own=is_own), reference.cells, metric)
                for kind, metric in zip(tested, metrics, strict=True)
            )
            for is_own in (True, False)
        )
        found.append(Transfer(arm.name, names, tested, tuple(means), tuple(gains), own, others))
    return tuple(found)


def _cells(arm: Arm, names: Sequence[str], kind: str, *, is_own: bool) -> list[str]:
    """The cell of a type, or those of all others."""
    return [cell for cell, name in zip(arm.cells, names, strict=True) if (name == kind) == is_own]


def _over(
    results: Results, cells: Sequence[str], reference: Sequence[str], metric: str
) -> Estimate:
    """Some cells less the reference within pairs; of no cell nothing."""
    if not cells:
        return t_interval(np.empty(0))
    values = results.mean_values(cells, metric) - results.mean_values(reference, metric)
    return t_interval(values[np.isfinite(values)])


def _mean(values: NDArray[np.float64]) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else math.nan


def _tuning(
    record: StudyRecord, design: Design, minimized: Sequence[str]
) -> tuple[TuningCurve, ...]:
    if not design.tuning:
        return ()
    is_random = record.study.tune_section.sampler == "random"
    curves = []
    for arm in design.arms:
        tuned = [design.tuning[cell] for cell in arm.cells if cell in design.tuning]
        if not tuned:
            continue
        sign = -1.0 if tuned[0].metric in minimized else 1.0
        scores = [
            sign * expected_best(sign * np.array(cell.scores, dtype=np.float64)) for cell in tuned
        ]
        mean = tuple(float(value) for value in np.mean(scores, axis=0))
        curves.append(TuningCurve(arm.name, tuned[0].metric, mean, is_random))
    return tuple(curves)


def _marks(record: StudyRecord, results: Results, design: Design) -> tuple[str, ...]:
    settings = record.study.ablation_section
    ended = sum(row.state in TERMINAL for row in record.rows)
    marks = [*design.notes]
    if results.replications:
        marks += _pooled_marks(results)
    elif record.study.trainable is None:
        split = "on one split of the images"
        if settings.baseline_seeds == "one":
            split = (
                f"on the one baseline that all runs start from, and {split}; baseline - ARM varies "
                "over the seeds of ARM alone"
            )
        marks.append(f"conditional {split}")
    if ended < record.trials:
        marks.append(f"{ended} of {record.trials} runs have ended; numbers will change")
    marks += result_marks(record)
    return tuple(marks)


def _collapse_marks(arms: Sequence[ArmInfo], ended: int) -> list[str]:
    """How many runs collapsed, and which; none where none did."""
    found = [f"{one} of {arm.name}" for arm in arms for one in arm.collapsed]
    if not found:
        return []
    return [
        f"{len(found)} of {ended} runs collapsed, far below the others of their arm "
        f"({few(found, 6)}): {COLLAPSED}"
    ]


def _pooled_marks(results: Results) -> list[str]:
    """What is a mean over what, where several ablations are read as one."""
    parts = results.replications
    counts = [f"{one.seeds}" for one in parts]
    seeds = f"{counts[0]} seed{'s' * (parts[0].seeds != 1)} each"
    if len({*counts}) > 1:
        seeds = f"{', '.join(counts[:-1])} and {counts[-1]} seeds"
    images = f" and {results.first.n_images:,} images" if isinstance(results.first, Scores) else ""
    marks = [
        f"over {len(parts)} baselines of {seeds}{images}: a value is the mean over the seeds of "
        "one baseline; standard deviations, intervals and tests are over baselines",
        "conditional on one split of the images",
    ]
    marks += [
        f"{one.study}: {one.planned - one.seeds} of {one.planned} seeds left out, at which a run "
        "has not ended well"
        for one in parts
        if one.seeds < one.planned
    ]
    return marks
