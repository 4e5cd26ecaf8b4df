"""The results of an ablation for display: arms, effects, transfer, caveats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ablate.ablation.cell import Arm, Claim, Design
from ablate.ablation.effects import (
    ALPHA,
    Effect,
    MetricTable,
    all_effects,
    arm_difference,
    tied_with_best,
)
from ablate.ablation.intervals import Estimate, t_interval
from ablate.ablation.looks import Look, with_decisions
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
from ablate.analysis.caveats import COLLAPSED, StudyFacts, result_marks, study_facts
from ablate.analysis.objectives import SPLITS, amount_text, is_score, on_split
from ablate.errors import ParameterError
from ablate.files.shown import count_text, few
from ablate.ledger.record import TERMINAL, StudyRecord
from ablate.study.displayed import Displayed
from ablate.study.scores import AT_CLEAN_LOSS, COSTS, TOTALS, Scores, is_mean
from ablate.study.settings import Study


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
        alphas: at which its runs have lost the stated clean accuracy, ascending; empty without
            curves.
    """

    name: str
    cells: tuple[str, ...]
    estimates: Mapping[str, Estimate]
    costs: Mapping[str, float]
    failed: tuple[str, ...] = ()
    is_one_network: bool = False
    alphas: tuple[float, ...] = ()
    collapsed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """Of an arm with a model for each type of distortion: what training on the tested type gains.

    Attributes:
        tested_on: the scored types.
        own, others: one a type, over the reference arm and over seeds: of the model of that type,
            and of the mean of all others.
    """

    arm: str
    tested_on: tuple[str, ...]
    own: tuple[Estimate, ...]
    others: tuple[Estimate, ...]


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
        best: by metric that leads, is asked for or is declared, the arms that are the best or tied
            with it.
        rank_metric: by which arms are compared.
        seeds: K, of ablations that are read as one their number; runs: planned; ended: of them.
        aliases: of a fraction.
        failures: unsuccessful runs, with reasons.
        replications: the ablations that are read as one (`ablate.ablation.pooled`); else empty.
        tuned: why effects are exploratory though they were declared: what was tuned on the images
            that it is scored on; empty of a confirmation, and where nothing was.
        looks: how often seeds were added after the results of all others were there; 0 where looks
            were planned: what is added later decides nothing.
        look: what the last planned look has decided (`ablation.stop`); empty where none is planned.
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
    look: str = ""
    compare: Callable[[str, str, str, float], Estimate] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def cautions(self) -> tuple[str, ...]:
        """What limits the claims: tuning on these images, and seeds that were added after looks."""
        return _cautions(self.tuned, self.looks)

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
        try:
            return self.effect(f"{arm} - {self.reference}", metric)
        except KeyError:
            return None

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
    study, settings, first = record.study, record.study.ablation_section, results.first
    metrics = results.metrics()
    asked = [on_split(objective.metric, split) for objective in study.objectives]
    claims = declared_claims(record, design, results, split)
    # Of a custom training loop nothing says whether more is better of other metrics.
    ranked = [
        metric for metric in metrics if metric in {asked.metric for asked in study.objectives}
    ]
    if isinstance(first, Scores):
        metrics = [name for name in compared_metrics(first) if name in metrics]
        families = [f"{split}_accuracy.{family}" for family in first.families]
        at_loss = [f"{split}_{name}" for name in TOTALS if name.endswith(AT_CLEAN_LOSS)]
        declared = [claim.metric for claim in claims]
        leading = [f"{split}_clean_accuracy", f"{split}_robust_accuracy", *families, *at_loss]
        leading += [*declared, *asked]
        ranked = [name for name in dict.fromkeys(leading) if name in metrics]
    minimized, margin = minimized_metrics(study, split), settings.noninferior
    if margin is not None:
        margin = margin.model_copy(update={"metric": on_split(margin.metric, split)})
    arms = [_arm(results, arm, metrics) for arm in design.arms]
    why_tuned, tuned = _tuned(record, design)
    ended = sum(row.state in TERMINAL for row in record.rows)
    marks = [*_cautions(why_tuned, record.looks, is_planned=settings.stop is not None)]
    stop, look, looks = settings.stop, "", [*map(Look.from_json, record.planned_looks)]
    if stop is not None and stop.confirm is None:  # else its confirmation takes them
        look = (
            looks[-1].text if looks else f"no look yet: the first is at {stop.looks[0]} replicates"
        )
        marks.append(look)
    if collapsed := [f"{run} of {arm.name}" for arm in arms for run in arm.collapsed]:
        marks.append(
            f"{len(collapsed)} of {ended} runs collapsed, far below the others of their arm "
            f"({few(collapsed, 6)}): {COLLAPSED}"
        )
    marks += [*design.notes, *_loss_marks(arms, results, split), *_basis_marks(record, results)]
    if ended < record.trials:
        marks.append(f"{ended} of {record.trials} runs have ended; numbers will change")
    marks += result_marks(record)
    effects = all_effects(
        results,
        design.contrasts,
        metrics,
        claims,
        margin=margin,
        minimized=minimized,
        tuned=tuned,
    )
    return AblationInfo(
        **vars(study_facts(record, first, SPLITS[split], marks)),
        design=design.kind,
        reference=design.reference,
        metrics=tuple(metrics),
        families=tuple(first.families) if isinstance(first, Scores) else (),
        minimized=minimized,
        arms=tuple(arms),
        effects=with_decisions(effects, looks) if look else effects,
        best={
            metric: tied_with_best(results, design.arms, metric, is_minimized=metric in minimized)
            for metric in ranked
        },
        rank_metric=asked[0] if study.trainable else rank_metric(asked, split),
        transfers=tuple(_transfers(design, results, split)),
        tuning=() if results.replications else tuple(_tuning(record, design, minimized)),
        seeds=len(results.replications) or settings.seed_count,
        runs=record.trials,
        ended=ended,
        aliases=design.aliases,
        failures=tuple(results.failures()),
        replications=results.replications,
        tuned=why_tuned,
        looks=0 if stop else record.looks,
        look=look,
        compare=lambda one, other, metric, level: arm_difference(
            results, design.arm(one), design.arm(other), metric, level
        ),
    )


def rank_metric(asked: Sequence[str], split: SplitName) -> str:
    """Robust accuracy, or, where the study does not ask for it, what it asks for that is no mean
    over images, as balanced accuracy."""
    others = [metric for metric in asked if not is_mean(metric)]
    robust, main = [one for one in others if "_robust_" in one], f"{split}_robust_accuracy"
    return main if main in asked else next(iter(robust or others), main)


def minimized_metrics(study: Study, split: SplitName) -> tuple[str, ...]:
    """The metrics of which less is better."""
    asked = [
        objective.metric for objective in study.objectives if objective.direction == "minimize"
    ]
    others = [*COSTS, *(f"{split}_{name}" for name, total in TOTALS.items() if total.is_loss)]
    others = others if study.trainable is None else []
    return tuple(dict.fromkeys([*(on_split(metric, split) for metric in asked), *others]))


def declared_claims(
    record: StudyRecord, design: Design, results: Results, split: SplitName
) -> list[Claim]:
    """The declared contrasts; of a confirmed front each of its networks less the plain finetune, in
    the scores that were searched for. A confirmation claims nothing on validation images."""
    if record.test is not None and split == "val":
        return []
    if not design.selected:
        return [replace(claim, metric=on_split(claim.metric, split)) for claim in design.claims]
    asked = [on_split(objective.metric, split) for objective in record.study.objectives]
    return [
        Claim(f"{name} - {design.reference}", metric)
        for metric in filter(is_score, asked)
        if any(np.isfinite(results.values(one, metric)).any() for one in design.selected)
        for name in design.selected
    ]


def _cautions(tuned: str, looks: int, *, is_planned: bool = False) -> tuple[str, ...]:
    if is_planned and looks:
        return (*filter(None, [tuned]), "seeds outside the plan of looks, which decided before")
    times = "once" if looks == 1 else f"{looks} times"
    looked = (
        f"{looks + 1} looks: seeds were added {times} when all results were there, which "
        "intervals and p values do not allow for: differences are claimed too often"
    )
    return tuple(filter(None, (tuned, looked if looks else "")))


def _tuned(record: StudyRecord, design: Design) -> tuple[str, tuple[str, ...]]:
    """What was tuned on the images that it is scored on, in words, and its cells."""
    if record.test is not None:
        return "", ()
    where = "on the validation images that results are of"
    until = "exploratory until `ablate confirm`"
    if (stop := record.study.ablation_section.stop) is not None and stop.confirm is not None:
        text = f"exploratory: looks decide on the test images, in {record.name}~confirm"
        return text, tuple(cell.name for cell in design.cells)
    if record.study.trainable is not None:
        where, until = "by the scores that results are of", "exploratory"
    if "study" in record.study.ablation_section.reference:
        names = tuple(cell.name for cell in design.cells if cell.name != BASELINE)
        return f"{until}: a search chose the values of the reference {where}", names
    if design.tuning:
        return f"{until}: arms were tuned {where}", tuple(design.tuning)
    return "", ()


def _arm(results: Results, arm: Arm, metrics: Sequence[str]) -> ArmInfo:
    cells, is_fixed = arm.cells, results.is_fixed(arm.cells[0])
    estimates = {}
    for metric in metrics:
        values = MetricTable(results, metric).values(arm)
        estimates[metric] = t_interval(values[:1] if is_fixed else values)
    costs = {cost: results.cost(cells, cost) for cost in COSTS}
    if is_fixed:
        costs |= {"student_images": 0.0, "teacher_images": 0.0, "train_flops": 0.0}
    return ArmInfo(
        arm.name,
        cells,
        estimates,
        costs,
        tuple(results.failed(cells)),
        is_one_network=is_fixed,
        alphas=results.alphas(cells),
        collapsed=() if is_fixed else tuple(results.collapsed(cells)),
    )


def _transfers(design: Design, results: Results, split: SplitName) -> Iterator[Transfer]:
    if not isinstance(results.first, Scores):
        return
    tested = tuple(results.first.accuracies)
    for arm in design.arms:
        if len(arm.cells) == 1:
            continue
        types = [design.cell(cell).values.get("augment.types") for cell in arm.cells]
        if not all(types):
            continue
        found: dict[bool, list[Estimate]] = {True: [], False: []}
        for kind in tested:
            metric = f"{split}_accuracy.{kind}"
            of_reference = results.mean_values(design.arm(design.reference).cells, metric)
            for is_own, estimates in found.items():
                both = zip(arm.cells, types, strict=True)
                cells = [cell for cell, of in both if of and (str(of[0]) == kind) == is_own]
                value = results.mean_values(cells, metric) if cells else math.nan
                estimates.append(t_interval(value - of_reference))
        yield Transfer(arm.name, tested, tuple(found[True]), tuple(found[False]))


def _tuning(record: StudyRecord, design: Design, minimized: Sequence[str]) -> Iterator[TuningCurve]:
    for arm in design.arms:
        tuned = [design.tuning[cell] for cell in arm.cells if cell in design.tuning]
        if tuned:
            sign = -1.0 if tuned[0].metric in minimized else 1.0
            scores = [sign * np.array(one.scores, dtype=np.float64) for one in tuned]
            mean = np.mean([sign * expected_best(score) for score in scores], axis=0)
            tune = record.study.tune_section
            is_random = tune.sampler == "random" and not tune.enqueue
            yield TuningCurve(arm.name, tuned[0].metric, tuple(mean.tolist()), is_random)


def _loss_marks(arms: Sequence[ArmInfo], results: Results, split: SplitName) -> list[str]:
    """What metrics at a clean loss are of, with the alphas of each arm."""
    spans = []
    for arm in arms:
        ends = dict.fromkeys(f"{alpha:.2f}" for alpha in (*arm.alphas[:1], *arm.alphas[-1:]))
        spans += [f"{' to '.join(ends)} {arm.name}"] if ends else []
    where = "clean accuracy" if split == "val" else "clean accuracy on validation images"
    text = f"at clean loss: between baseline and finetuned weights, where {where} is "
    loss = amount_text("val_clean_accuracy", results.clean_loss)
    text += f"{loss} below the baseline's; the finetuned network "
    return [f"{text}(alpha 1) where it loses less; alpha {', '.join(spans)}"] if spans else []


def _basis_marks(record: StudyRecord, results: Results) -> list[str]:
    """What the numbers are conditional on; of several ablations also what is a mean over what."""
    parts = results.replications
    if not parts:
        if record.study.trainable is not None:
            return []
        where = "on one split of the images"
        if record.study.ablation_section.baseline_seeds == "one":
            where = (
                f"on the one baseline that all runs start from, and {where}; baseline - ARM varies "
                "over the seeds of ARM alone"
            )
        return [f"conditional {where}"]
    counts = [f"{part.seeds}" for part in parts]
    seeds = f"{count_text(parts[0].seeds, 'seed')} each"
    if len({*counts}) > 1:
        seeds = f"{', '.join(counts[:-1])} and {counts[-1]} seeds"
    images = f" and {results.first.n_images:,} images" if isinstance(results.first, Scores) else ""
    asked = record.study.ablation_section.replicates or 0
    is_short = asked > 0 and record.replicates_ended < 2
    ended = f"{record.replicates_ended} of {asked} replicates have ended: intervals need two"
    if is_short and not any(part.seeds for part in parts):
        return [ended]
    lost = record.replicates_ended - len(parts) if asked else 0
    gone = f"{lost} of {record.replicates_ended} replicates left out: no run of them is complete"
    return [
        *([ended] if is_short else []),
        *([gone] if lost > 0 else []),
        f"over {len(parts)} baselines of {seeds}{images}: a value is the mean over the seeds of "
        "one baseline; standard deviations, intervals and tests are over baselines",
        "conditional on one split of the images",
        *(
            f"{part.study}: {part.planned - part.seeds} of {part.planned} seeds left out, at which "
            "a run has failed, or has not ended"
            for part in parts
            if part.seeds < part.planned
        ),
    ]
