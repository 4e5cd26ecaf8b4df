"""The tables of a study: of each one DataFrame, and how its columns are read.

`ablate.report.formats` writes them for a terminal, Markdown, LaTeX, CSV, HTML and JSON.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ablate.ablation.cell import FACTOR_EFFECTS
from ablate.ablation.confirm import ConfirmInfo, is_confirmation
from ablate.ablation.effects import ALPHA, Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.significance import LEAST_SEEDS
from ablate.analysis.caveats import StudyFacts
from ablate.analysis.objectives import amount_text, is_accuracy, short_metric
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, pareto_info
from ablate.errors import UsageError
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import ADAPTED
from ablate.report.arms import (
    NOTHING,
    Cell,
    Unit,
    arms_notes,
    basis_notes,
    curve_metrics,
    decimals,
    family_metrics,
    fingerprint_text,
    interval_notes,
    leading_metrics,
    minimized_notes,
    outcome_metrics,
    runs_text,
    scale,
    shown_name,
    single_value,
    unit_of,
)
from ablate.report.numbers import MISSING, metric_label, param_text, seed_texts, short_names
from ablate.report.words import as_contribution, contrast_words, margins, verdict_words
from ablate.study.scores import AT_CLEAN_LOSS, base_name

if TYPE_CHECKING:
    import pandas as pd

    from ablate.lifecycle.open_study import OpenStudy

MOST_ROWS = 12
"""Trials of a table at the end of a command."""
_FOLD = 12
"""Characters from which on a narrow terminal breaks a name into lines."""
WORST = ", failed runs as the worst"
"""Behind the name of a contrast, in the row of `Effect.worst`."""


@dataclass(frozen=True)
class Column:
    """A column as it is read, and its numbers.

    Attributes:
        heading: for people, with the unit.
        cells: of each row.
        data: of the frame: KEY of texts; KEY.mean, KEY.sd, KEY.low, KEY.high (95 % interval) and
            KEY.n of numbers.
        is_text: whether it has texts.
        folds: characters from which on a narrow terminal breaks its texts into lines; 0: it never
            does.
    """

    key: str
    heading: str
    cells: tuple[Cell, ...]
    data: Mapping[str, Sequence[Any]]
    is_text: bool = True
    folds: int = 0


@dataclass(frozen=True)
class Table:
    """A table, independent of its format.

    Attributes:
        name: of the file, and of the label in LaTeX.
        title: the question and subject of the study, or what is shown.
        notes: for the reader, one sentence each.
        caption: in a paper, one sentence; empty: the title.
        narrow: keys of columns that a narrow terminal leaves out, group after group.
        keeps_empty: whether a terminal also shows columns in which nothing stands.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    caption: str = ""
    narrow: tuple[tuple[str, ...], ...] = ()
    keeps_empty: bool = False

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        """The cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def frame(self) -> pd.DataFrame:
        """Fractions and seconds at full precision."""
        import pandas as pd

        data = {key: values for column in self.columns for key, values in column.data.items()}
        return pd.DataFrame(data, dtype=object)


def text_column(
    key: str, heading: str, values: Sequence[Any], shown: Sequence[str] = (), *, folds: int = 0
) -> Column:
    """A column of texts; `shown`: as they are read, if that is something else."""
    cells = tuple(map(Cell, shown or map(str, values)))
    return Column(key, heading, cells, {key: values}, folds=folds)


def number_column(
    key: str,
    heading: str,
    estimates: Sequence[Estimate | None],
    units: Unit | Sequence[Unit],
    *,
    shown: Sequence[Estimate | None] = (),
    is_difference: bool = False,
    absent: str = "",
    best: Collection[int] = (),
) -> Column:
    """A column of numbers.

    Args:
        estimates: None where the row can have none: there stands `absent`.
        units: of the column, or of each row; best: rows in bold.
        shown: as they are read, if that is something else.
    """
    each = [units] * len(estimates) if isinstance(units, Unit) else units
    cells = []
    for row, (estimate, unit) in enumerate(zip(shown or estimates, each, strict=True)):
        cell = Cell(estimate=estimate, unit=unit, is_difference=is_difference, is_bold=row in best)
        cells.append(Cell(absent) if estimate is None else cell)
    data = {
        f"{key}.{name}": [estimate and getattr(estimate, name) for estimate in estimates]
        for name in ("mean", "sd", "low", "high", "n")
    }
    return Column(key, heading, tuple(cells), data, is_text=False)


def _unit(metric: str, values: Iterable[float]) -> Unit:
    return Unit(scale(metric), decimals(metric, values))


def _heading(metric: str, name: str) -> str:
    """ "Robust (%)" for an accuracy named "robust"; custom names unchanged."""
    if not is_accuracy(metric):
        return metric_label(metric)
    return f"{name if name == metric else name[:1].upper() + name[1:]} (%)"


def _title(info: StudyFacts, title: str = "") -> str:
    """The question and subject of a study, or another title, after its warning, if it has one."""
    subject = f"{info.question} ({info.subject})" if info.question else info.subject
    return shown_if(info.warning, f"Warning: {info.warning}. ") + (title or subject)


def _on_images(info: StudyFacts) -> str:
    """ "359 validation images" of a caption; empty for a custom training loop."""
    return "" if info.n_images is None else f" on {info.n_images:,} {info.split} images"


# -- An ablation


def arms_table(info: AblationInfo) -> Table:
    """A row an arm: clean accuracy, each family, robust accuracy, the difference to the reference;
    for a custom training loop all its metrics."""
    metrics, families = leading_metrics(info), family_metrics(info)
    curves = curve_metrics(info) if families else []
    narrow = [families, curves]
    if families:
        metrics = [*metrics[:1], *families, *metrics[1:], *outcome_metrics(info), *curves]
    elif not info.families:
        narrow = [[metric] for metric in reversed(metrics) if metric != info.rank_metric]
    names = [arm.name for arm in info.arms]
    runs = [runs_text(info, arm) for arm in info.arms]
    shown = [name + shown_if(text, f" ({text})") for name, text in zip(names, runs, strict=True)]
    columns = [text_column("arm", "Arm", names, shown, folds=_FOLD)]
    for metric in metrics:
        estimates = [arm.estimates.get(metric, NOTHING) for arm in info.arms]
        tied = info.best.get(metric, ())
        best = [place for place, name in enumerate(names) if name in tied]
        heading = _heading(metric, shown_name(info, metric))
        columns.append(number_column(metric, heading, estimates, unit_of(info, metric), best=best))
    if info.reference:
        columns.append(_to_reference(info))
    spread = f": mean and standard deviation over {count_text(info.seeds, info.paired)}"
    accuracy = f"Accuracy{_on_images(info)}{shown_if(info.seeds > 1, spread)}."
    return Table(
        columns=tuple(columns),
        name=info.study,
        title=_title(info),
        caption=_title(info, accuracy),
        notes=(*arms_notes(info, metrics), *info.failures),
        narrow=tuple(map(tuple, narrow)),
    )


def _to_reference(info: AblationInfo) -> Column:
    """Every arm less the reference, in `info.rank_metric`."""
    metric, reference = info.rank_metric, info.reference
    estimates: list[Estimate | None] = []
    for arm in info.arms:
        effect = info.to_reference(arm.name, metric)
        estimate = NOTHING if effect is None else effect.estimate
        estimates.append(None if arm.name == reference else estimate)
    name = _heading(metric, shown_name(info, metric)).removesuffix(" (%)")
    return number_column(
        f"{metric} - {reference}",
        f"{name} less {reference}",
        estimates,
        unit_of(info, metric),
        is_difference=True,
        absent="reference",
    )


def effects_table(info: AblationInfo) -> Table:
    """A row a contrast, the primary ones first, in words; of the frame by the names of the design,
    and with the signs that they have there."""
    primary, others = shown_effects(info)
    shown = [*primary, *_beside(info, [*primary, *others]), *others]
    rows = []  # what stands behind the name of the contrast, and the effect
    for effect in shown:
        rows.append(("", effect))
        if effect.worst is not None:
            blank: dict[str, Any] = {"p": math.nan, "p_adjusted": None, "by_baseline": ()}
            rows.append((WORST, replace(effect, estimate=effect.worst, **blank)))
    effects = [effect for _, effect in rows]
    in_words = [as_contribution(effect, info) for effect in effects]
    units = [unit_of(info, effect.metric) for effect in effects]
    estimates = [effect.estimate for effect in effects]
    counts = [str(estimate.n) if estimate.n < info.seeds else "" for estimate in estimates]
    words = [
        contrast_words(effect, info).text + end
        for (end, _), effect in zip(rows, in_words, strict=True)
    ]
    verdicts = [
        "worst case" if end else verdict_words(effect, info).text or "exploratory"
        for (end, _), effect in zip(rows, in_words, strict=True)
    ]

    def p_column(key: str, heading: str) -> Column:
        values = [getattr(effect, key) for effect in effects]
        return text_column(key, heading, values, [*map(p_text, values)])

    stored = [effect.contrast + end for end, effect in rows]
    columns = [
        text_column("contrast", "Contrast", stored, words, folds=_FOLD),
        text_column(
            "metric", "On", [shown_name(info, effect.metric) for effect in effects], folds=8
        ),
        number_column(
            "difference",
            "Difference",
            estimates,
            units,
            shown=[effect.estimate for effect in in_words],
            is_difference=True,
        ),
    ]
    if any(counts):
        columns.append(text_column("n", "n", counts))
    data: dict[str, list[Any]] = {
        "verdict": ["worst case" if end else effect.verdict for end, effect in rows],
        "kept": [_kept(info, effect) for effect in effects],
    }
    if any(effect.equivalent_within is not None for effect in effects):
        data["equivalent_within"] = [effect.equivalent_within for effect in effects]
    columns += [
        p_column("p", "p"),
        p_column("p_adjusted", "Adjusted p"),
        Column("verdict", "Verdict", tuple(map(Cell, verdicts)), data, folds=_FOLD),
    ]
    if info.replications:
        singles = [effect.by_baseline for effect in effects]
        printed = [
            ", ".join(
                Cell(estimate=single_value(value), unit=unit, is_difference=True).printed
                for value in effect.by_baseline
            )
            for effect, unit in zip(in_words, units, strict=True)
        ]
        columns.append(text_column("by_baseline", "By baseline", singles, printed))
    has_intervals = any(math.isfinite(estimate.low) for estimate in estimates)
    intervals = shown_if(has_intervals, ", with 95 % intervals")
    return Table(
        columns=tuple(columns),
        name=f"{info.study}-effects",
        title=_title(info),
        caption=_title(info, f"Differences{_on_images(info)}{intervals}."),
        notes=tuple(_effects_notes(info, shown)),
        narrow=(("by_baseline",), ("p",), ("n",), ("p_adjusted",)),
    )


def shown_effects(info: AblationInfo) -> tuple[list[Effect], list[Effect]]:
    """The primary effects, and a selection of the others: on clean and robust accuracy, and for a
    contrast on a single metric that one."""
    leading = [*leading_metrics(info), info.rank_metric]
    about = {effect.contrast for effect in info.effects if effect.metric in leading}
    others = [
        effect
        for effect in info.effects
        if not effect.primary and (effect.metric in leading or effect.contrast not in about)
    ]

    def is_not_of_factors(effect: Effect) -> bool:
        return effect.kind not in FACTOR_EFFECTS

    return sorted(info.primary, key=is_not_of_factors), sorted(others, key=is_not_of_factors)


def _beside(info: AblationInfo, shown: Sequence[Effect]) -> list[Effect]:
    """Of claims at the stated clean loss what else was measured: the same of the finetuned
    networks, and the clean accuracy of those that were compared."""
    clean = f"{'test' if info.split == 'test' else 'val'}_clean_accuracy{AT_CLEAN_LOSS}"
    asked = {
        (claim.contrast, metric)
        for claim in info.primary
        if claim.metric.endswith(AT_CLEAN_LOSS)
        for metric in (base_name(claim.metric), clean)
    }
    found = [one for one in info.effects if (one.contrast, one.metric) in asked]
    return [one for one in found if one not in shown]


def p_text(p: float | None, limit: float = ALPHA) -> str:
    """ ".0078", ".125" and "1"; more digits where these would lie on the other side of the limit;
    "-" where there is no test."""
    if p is None or math.isnan(p):
        return MISSING
    if p < 0.0001:
        return "<.0001"
    text = ""
    for digits in (3, 4, 6) if p >= 0.1 else (2, 3, 4, 6):
        text = f"{p:.{digits}g}"
        if (float(text) < limit) == (p < limit):
            break
    return text.removeprefix("0")


def _kept(info: AblationInfo, effect: Effect) -> str:
    """Whether the contrast of a primary effect keeps what must be kept; "-" of any other."""
    declared = margins(effect, info)
    if not declared or not effect.primary:
        return MISSING
    if effect.tuned:
        return "exploratory"
    is_kept = declared[0][1].kept
    if is_kept is None:
        return f"too few {info.paired}s" if effect.estimate.n < LEAST_SEEDS else "no interval"
    return "yes" if is_kept else "not shown"


def _effects_notes(info: AblationInfo, shown: Sequence[Effect]) -> list[str]:
    notes = basis_notes(info, [effect.metric for effect in shown])
    if notes:
        notes.append("differences of accuracies in points")
    notes += interval_notes(info, shown)
    if any(effect.worst is not None for effect in shown):
        notes.append(
            f"{WORST.removeprefix(', ')}: each counts as the worst run of its arm in that metric; "
            "no test; elsewhere failed runs are left out with their pairs"
        )
    if any(effect.estimate.n for effect in shown):
        notes.append("p: two-sided, from the model of the interval")
    if info.primary:
        notes += _claims_notes(info)
    else:
        notes.append("no contrast was declared primary: all are exploratory and support no claim")
    if info.aliases:
        notes.append(f"aliases: {'; '.join(info.aliases)}")
    notes += minimized_notes(info, [effect.metric for effect in shown])
    return [*notes, *info.marks, fingerprint_text(info)]


def _claims_notes(info: AblationInfo) -> list[str]:
    """Of the primary contrasts: how they are adjusted, the test over seeds, and what is kept."""
    count, paired = count_text(len(info.primary), "primary contrast"), info.paired
    if info.look:
        rule = f"adjusted: p (of equivalence doubled) times {p_text(ALPHA)} over its look's level"
        return [f"{rule}; {count} planned"]
    notes = [f"adjusted: Holm over {count}; a claim needs less than {p_text(ALPHA)}"]
    several_metrics = len({effect.metric for effect in info.primary}) > 1
    names = [
        contrast_words(as_contribution(effect, info), info).text
        + shown_if(several_metrics, f" on {shown_name(info, effect.metric)}")
        for effect in info.primary
    ]
    claims = [*zip(names, info.primary, strict=True)]
    flips = [f"{name} {p_text(one.p_seeds)}" for name, one in claims if one.p_seeds is not None]
    if flips:
        where = "" if info.n_images is None else ", on these images"
        notes.append(f"sign flips over {paired}s{where}: p {'; '.join(flips)}")
    for metric, margin in {
        effect.metric: effect.kept.margin for effect in info.effects if effect.kept is not None
    }.items():
        loss, name = amount_text(metric, margin), shown_name(info, metric)
        notes.append(f"kept: {name} is worse by less than {loss}, at its interval's bound")
    for name, effect in claims:
        within = effect.equivalent_within
        if within is not None:
            amount = amount_text(effect.metric, within)
            notes.append(
                f"{name}, equivalent within {amount}: shown to differ by no more than {amount}, "
                "where the interval is within it; p: the larger of two one-sided, doubled for Holm"
            )
    return notes


def result_table(info: AblationInfo) -> Table:
    """What an ablation ends with: its arms; of a design without a reference its effects on the
    metric by which arms are compared."""
    table = arms_table(info)
    if not info.reference:
        effects = tuple(effect for effect in info.effects if effect.metric == info.rank_metric)
        table = effects_table(replace(info, effects=effects))
    seeds = count_text(info.seeds, info.paired)
    basis = shown_if(info.n_images is not None, f", {info.split} accuracy in %")
    title = f"{info.study}: {info.ended} of {info.runs} runs ended, {seeds}{basis}"
    return replace(table, title=title)


# -- A search


def front_table(info: ParetoInfo) -> Table:
    """Baseline, plain finetune, then the front, or the best of one objective: values and gains.

    Nothing has a spread: a search trains each trial once.
    """
    metrics = [objective.metric for objective in info.objectives]
    less = [objective.metric for objective in info.objectives if objective.direction == "minimize"]
    columns = _front_columns(info, info.leading, with_gains="baseline" in info.references)
    notes = [_leading_text(info), *basis_notes(info, metrics)]
    if any(column.heading == "Gain" for column in columns):
        notes.append("gain: over the baseline, in points")
    if less:
        notes.append(f"less is better: {', '.join(less)}")
    if any(point.is_mixture for point in info.leading):
        notes.append("average: of trials' weights; alpha: 0 is the baseline, 1 is finetuned")
    notes += info.refused
    what = "Pareto front" if len(info.objectives) > 1 else "Best trials"
    return Table(
        columns=tuple(columns),
        name=info.study,
        title=_title(info),
        caption=_title(info, f"{what} of a search{_on_images(info)}."),
        notes=(*notes, *seed_texts(info.seed), *info.marks, fingerprint_text(info)),
        narrow=(("loss_terms",),),
    )


def _front_columns(
    info: ParetoInfo, points: Sequence[ParetoPoint], params: Sequence[str] = (), *, with_gains: bool
) -> list[Column]:
    """Of the references, then of these points: names, loss terms, parameters, values and gains."""
    labels = {"baseline": "baseline", ADAPTED: ADAPTED, "plain": "plain finetune"}
    references = {
        label: info.references[key] for key, label in labels.items() if key in info.references
    }
    columns = [text_column("trial", "Trial", [*references, *(point.name for point in points)])]
    blank = [""] * len(references)
    terms = [point.loss_terms for point in points]
    if any(terms):
        columns.append(text_column("loss_terms", "Loss terms", [*blank, *terms]))
    short = short_names(params)
    for key in params:
        values = [point.params.get(key) for point in points]
        shown = [MISSING if value is None else param_text(value) for value in values]
        columns.append(text_column(key, short[key], [*blank, *values], [*blank, *shown]))
    rows = [*references.values(), *(point.values for point in points)]
    for place, metric in enumerate(objective.metric for objective in info.objectives):
        numbers = [values[place] for values in rows]
        name = metric if info.n_images is None else short_metric(metric)
        unit = _unit(metric, numbers)
        estimates = [*map(single_value, numbers)]
        columns.append(number_column(metric, _heading(metric, name), estimates, unit))
        if with_gains and is_accuracy(metric):
            gains = [None, *(single_value(info.gains(values)[place]) for values in rows[1:])]
            key = f"{metric} - baseline"
            columns.append(number_column(key, "Gain", gains, unit, is_difference=True))
    return columns


def _leading_text(info: ParetoInfo) -> str:
    """ "Pareto front, 3 of 16 complete trials"; "the best 5 of 16 ..." for one objective."""
    mixed = sum(point.is_mixture for point in info.leading)
    counted = f"{len(info.leading) - mixed} of {len(info.points)} complete trials"
    counted += shown_if(info.mixtures, f" and {mixed} of {len(info.mixtures)} mixtures")
    return f"Pareto front, {counted}" if len(info.objectives) > 1 else f"the best {counted}"


def settings_table(info: ParetoInfo, most: int = MOST_ROWS) -> Table:
    """What a search ends with: the front with the parameters in which trials differ, in place of
    gains.

    Args:
        most: trials that are shown, from one end of the front to the other.
    """
    points = list(info.leading)
    if len(points) > most:
        points = [points[round(at * (len(points) - 1) / (most - 1))] for at in range(most)]
    keys = _varied(info.points, points)
    title = f"{info.study}: {_leading_text(info)} ({info.trials} in all)"
    title += shown_if(len(points) < len(info.leading), f", {len(points)} of them shown")
    title += shown_if(info.n_images is not None, f"; {info.split} accuracy in %")
    columns = _front_columns(info, points, keys, with_gains=False)
    if len({point.loss_terms for point in info.points}) < 2:
        columns = [column for column in columns if column.key != "loss_terms"]
    narrow = tuple((key,) for key in reversed(keys))
    return replace(front_table(info), title=title, columns=tuple(columns), narrow=narrow)


def _varied(points: Sequence[ParetoPoint], shown: Sequence[ParetoPoint]) -> list[str]:
    """The parameters that differ between trials: mixes last, for their texts are long; before them
    those that most of the shown trials have first."""
    first = {key: value for point in reversed(points) for key, value in point.params.items()}
    in_order = dict.fromkeys(key for point in points for key in point.params)
    keys = [
        key
        for key in in_order
        if key != "loss.terms"
        and (len(points) == 1 or any(point.params.get(key) != first[key] for point in points))
    ]

    def place(key: str) -> tuple[bool, int]:
        values = [point.params[key] for point in shown if key in point.params]
        return any(isinstance(value, Mapping) for value in values), -len(values)

    return sorted(keys, key=place)


# -- The tables of a study, whatever it is


Result = ParetoInfo | AblationInfo | ConfirmInfo


def read_result(study: OpenStudy) -> Result:
    """What a search, an ablation or a confirmation has found."""
    if study.record.design is None:
        return pareto_info(study.record)
    if is_confirmation(study.record):
        return study.confirm_info
    return study.ablation


def end_table(info: Result) -> Table:
    """What the command that ran the study ends with."""
    if isinstance(info, ParetoInfo):
        return settings_table(info)
    return result_table(info if isinstance(info, AblationInfo) else info.test)


def study_table(*studies: OpenStudy, effects: bool = False) -> Table:
    """Of an ablation or confirmation, or of several read as one, its arms or its effects; of a
    search its front, or for one objective its best trials.

    Raises:
        UsageError: if effects are asked of a search, or several studies do not match.
    """
    from ablate.lifecycle.open_study import read_ablations

    record = studies[0].record
    if len(studies) == 1 and record.design is None:
        if effects:
            raise UsageError(
                f"study {record.name}: `effects` needs an ablation, got a search. Leave it out."
            )
        return front_table(pareto_info(record))
    info = read_ablations(studies) if len(studies) > 1 else studies[0].ablation
    return effects_table(info) if effects else arms_table(info)
