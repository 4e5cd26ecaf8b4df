"""The tables of a study: of each one DataFrame, and how its columns are read.

`ablate.report.formats` writes them for a terminal, Markdown, LaTeX, CSV, HTML and JSON.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.ablation.cell import FACTOR_EFFECTS
from ablate.ablation.confirm import ConfirmInfo, confirm_info, is_confirmation
from ablate.ablation.effects import ALPHA, Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.power import needed_text
from ablate.ablation.significance import LEAST_SEEDS
from ablate.analysis.caveats import StudyFacts
from ablate.analysis.objectives import is_accuracy, short_metric
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
    runs_text,
    scale,
    shown_name,
    single_value,
    unit_of,
)
from ablate.report.numbers import (
    MISSING,
    metric_label,
    param_text,
    seed_texts,
    short_names,
)
from ablate.report.words import as_contribution, contrast_words, verdict_words

if TYPE_CHECKING:
    import pandas as pd

    from ablate.lifecycle.open_study import OpenStudy

REFERENCE_LABELS = {"baseline": "baseline", ADAPTED: ADAPTED, "plain": "plain finetune"}
_TERMS = "loss.terms"
MOST_ROWS = 12
"""Trials of a table at the end of a command."""
_NARROW = 12
WORST = ", failed runs as the worst"
"""Behind the name of a contrast, in the row of `Effect.worst`."""
_WORST_CASE = "worst case"
_LEAST_P, _TWO_DIGITS_BELOW = 0.0001, 0.1


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

    def at(self, places: Sequence[int]) -> Column:
        """Some of its rows."""
        data = {key: [values[place] for place in places] for key, values in self.data.items()}
        return replace(self, cells=tuple(self.cells[place] for place in places), data=data)


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

        return pd.DataFrame(
            {key: one for column in self.columns for key, one in column.data.items()}
        )


def texts(
    key: str, heading: str, values: Sequence[Any], shown: Sequence[str] = (), *, folds: int = 0
) -> Column:
    """A column of texts; `shown`: as they are read, if that is something else."""
    cells = tuple(map(Cell, shown or map(str, values)))
    return Column(key, heading, cells, {key: values}, folds=folds)


def numbers(
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
    cells = tuple(
        Cell(absent) if one is None else Cell("", one, *unit, is_difference, at in best)
        for at, (one, unit) in enumerate(zip(shown or estimates, each, strict=True))
    )
    fields = ("mean", "sd", "low", "high", "n")
    data = {f"{key}.{one}": [of and getattr(of, one) for of in estimates] for one in fields}
    return Column(key, heading, cells, data, is_text=False)


def _unit(metric: str, values: Iterable[float]) -> Unit:
    return Unit(scale(metric), decimals(metric, values))


def heading_of(metric: str, name: str) -> str:
    """ "Robust (%)" for an accuracy named "robust"; custom names unchanged."""
    if not is_accuracy(metric):
        return metric_label(metric)
    return f"{name if name == metric else name[:1].upper() + name[1:]} (%)"


def title_of(info: StudyFacts, title: str = "") -> str:
    """The question and subject of a study, or another title, after its warning, if it has one."""
    subject = f"{info.question} ({info.subject})" if info.question else info.subject
    warning = f"Warning: {info.warning}. " if info.warning else ""
    return warning + (title or subject)


def _on_images(info: StudyFacts) -> str:
    """ "359 validation images" of a caption; empty for a custom training loop."""
    return "" if info.n_images is None else f" on {info.n_images:,} {info.split} images"


# -- An ablation


def arms_table(info: AblationInfo) -> Table:
    """A row an arm: clean accuracy, each family, robust accuracy, the difference to the reference;
    for a custom training loop all its metrics."""
    leading, families = leading_metrics(info), family_metrics(info)
    curves = curve_metrics(info) if families else []
    metrics = [*leading[:1], *families, *leading[1:], *curves] if families else leading
    others = [(metric,) for metric in reversed(metrics) if metric != info.rank_metric]
    names = [arm.name for arm in info.arms]
    runs = [runs_text(info, arm) for arm in info.arms]
    shown = [name + shown_if(text, f" ({text})") for name, text in zip(names, runs, strict=True)]
    rank = heading_of(info.rank_metric, shown_name(info, info.rank_metric)).removesuffix(" (%)")
    spread = f": mean and standard deviation over {count_text(info.seeds, info.paired)}"
    return Table(
        columns=(
            texts("arm", "Arm", names, shown, folds=_NARROW),
            *(_metric(info, one, heading_of(one, shown_name(info, one))) for one in metrics),
            *_to_reference(info, f"{rank} less {info.reference}"),
        ),
        name=info.study,
        title=title_of(info),
        caption=title_of(info, f"Accuracy{_on_images(info)}{spread * (info.seeds > 1)}."),
        notes=(*arms_notes(info), *info.failures),
        narrow=(tuple(families), tuple(curves)) if info.families else tuple(others),
    )


def _metric(info: AblationInfo, metric: str, heading: str) -> Column:
    estimates = [arm.estimates.get(metric, NOTHING) for arm in info.arms]
    tied = info.best.get(metric, ())
    best = [place for place, arm in enumerate(info.arms) if arm.name in tied]
    return numbers(metric, heading, estimates, unit_of(info, metric), best=best)


def _to_reference(info: AblationInfo, heading: str) -> list[Column]:
    """Every arm less the reference, in `info.rank_metric`; nothing without a reference."""
    if not info.reference:
        return []
    metric = info.rank_metric
    effects = [info.to_reference(arm.name, metric) for arm in info.arms]
    estimates = [
        None if arm.name == info.reference else NOTHING if one is None else one.estimate
        for arm, one in zip(info.arms, effects, strict=True)
    ]
    key, unit = f"{metric} - {info.reference}", unit_of(info, metric)
    return [numbers(key, heading, estimates, unit, is_difference=True, absent="reference")]


class _Contrast(NamedTuple):
    """A row of the effects: as the design names it, as it is read, and whether it counts failed
    runs as the worst of their arm."""

    effect: Effect
    in_words: Effect
    is_worst: bool

    @property
    def ending(self) -> str:
        return shown_if(self.is_worst, WORST)

    def estimate(self, effect: Effect) -> Estimate | None:
        """Of `effect` or of `in_words`."""
        return effect.worst if self.is_worst else effect.estimate


def effects_table(info: AblationInfo) -> Table:
    """A row a contrast, the primary ones first, in words; of the frame by the names of the design,
    and with the signs that they have there."""
    primary, others = shown_effects(info)
    rows = [
        _Contrast(effect, as_contribution(effect, info), is_worst)
        for effect in (*primary, *others)
        for is_worst in ((False, True) if effect.worst is not None else (False,))
    ]
    contrasts = [row.effect.contrast + row.ending for row in rows]
    names = [contrast_words(row.in_words, info) + row.ending for row in rows]
    metrics = [shown_name(info, row.effect.metric) for row in rows]
    units = [unit_of(info, row.effect.metric) for row in rows]
    found = [row.estimate(row.effect) for row in rows]
    shown = [row.estimate(row.in_words) for row in rows]
    counts = [str(one.n) if one and one.n < info.seeds else "" for one in found]
    parts = [
        texts("contrast", "Contrast", contrasts, names, folds=_NARROW),
        texts("metric", "On", metrics, folds=8),
        numbers("difference", "Difference", found, units, shown=shown, is_difference=True),
        *([texts("n", "n", counts)] if any(counts) else []),
    ]
    for key, heading in (("p", "p"), ("p_adjusted", "Adjusted p")):
        tests = [None if row.is_worst else getattr(row.effect, key) for row in rows]
        parts.append(texts(key, heading, tests, [p_text(one) for one in tests]))
    verdicts = [
        _WORST_CASE if row.is_worst else verdict_words(row.in_words, info) or "exploratory"
        for row in rows
    ]
    data = {
        "verdict": [_WORST_CASE if row.is_worst else row.effect.verdict for row in rows],
        "kept": [MISSING if row.is_worst else _kept(info, row.effect) for row in rows],
    }
    parts.append(Column("verdict", "Verdict", tuple(map(Cell, verdicts)), data, folds=_NARROW))
    if info.replications:
        singles = [() if row.is_worst else row.effect.by_baseline for row in rows]
        printed = [
            ", ".join(
                Cell("", single_value(one), *unit, is_difference=True).printed
                for one in (() if row.is_worst else row.in_words.by_baseline)
            )
            for row, unit in zip(rows, units, strict=True)
        ]
        parts.append(texts("by_baseline", "By baseline", singles, printed))
    intervals = shown_if(
        any(one and math.isfinite(one.low) for one in found), ", with 95 % intervals"
    )
    return Table(
        columns=tuple(parts),
        name=f"{info.study}-effects",
        title=title_of(info),
        caption=title_of(info, f"Differences{_on_images(info)}{intervals}."),
        notes=tuple(_effects_notes(info, [*primary, *others])),
        narrow=(("by_baseline",), ("p",), ("n",), ("p_adjusted",)),
    )


def shown_effects(info: AblationInfo) -> tuple[list[Effect], list[Effect]]:
    """The primary effects, and a selection of the others: on clean and robust accuracy, and for a
    contrast on a single metric that one."""
    leading = leading_metrics(info)
    about = {one.contrast for one in info.effects if one.metric in leading}
    others = [
        one
        for one in info.effects
        if not one.primary and (one.metric in leading or one.contrast not in about)
    ]
    factors_first = partial(sorted, key=lambda effect: effect.kind not in FACTOR_EFFECTS)
    return factors_first(info.primary), factors_first(others)


def p_text(p: float | None, limit: float = ALPHA) -> str:
    """ ".0078", ".125" and "1"; more digits where these would lie on the other side of the limit;
    "-" where there is no test."""
    if p is None or math.isnan(p):
        return MISSING
    if p < _LEAST_P:
        return "<.0001"
    text = ""
    for digits in (3, 4, 6) if p >= _TWO_DIGITS_BELOW else (2, 3, 4, 6):
        text = f"{p:.{digits}g}"
        if (float(text) < limit) == (p < limit):
            break
    return text.removeprefix("0")


def _kept(info: AblationInfo, effect: Effect) -> str:
    """Whether the contrast of a primary effect keeps what must be kept; "-" of any other."""
    both = (one.kept for one in info.effects if one.contrast == effect.contrast)
    kept = next((one for one in both if one is not None), None)
    if kept is None or not effect.primary:
        return MISSING
    if effect.tuned:
        return "exploratory"
    if kept.kept is None:
        return f"too few {info.paired}s" if effect.estimate.n < LEAST_SEEDS else "no interval"
    return "yes" if kept.kept else "not shown"


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
        count = count_text(len(info.primary), "primary contrast")
        notes.append(f"adjusted: Holm over {count}; a claim needs less than {p_text(ALPHA)}")
        notes += [*_sign_flip_notes(info), *_margin_notes(info), *_power_notes(info)]
    else:
        notes.append("no contrast was declared primary: all are exploratory and support no claim")
    if info.aliases:
        notes.append(f"aliases: {'; '.join(info.aliases)}")
    return [*notes, *minimized_notes(info), *info.marks, fingerprint_text(info)]


def _sign_flip_notes(info: AblationInfo) -> list[str]:
    flipped = [effect for effect in info.primary if effect.p_seeds is not None]
    found = "; ".join(f"{_claim(info, one)} {p_text(one.p_seeds)}" for one in flipped)
    where = "" if info.n_images is None else ", on these images"
    return [f"sign flips over {info.paired}s{where}: p {found}"] if flipped else []


def _claim(info: AblationInfo, effect: Effect) -> str:
    """ "FMA against plain"; with its metric where the claims are on several."""
    is_alone = len({one.metric for one in info.primary}) == 1
    name = contrast_words(as_contribution(effect, info), info)
    return name + shown_if(not is_alone, f" on {shown_name(info, effect.metric)}")


def _power_notes(info: AblationInfo) -> list[str]:
    """What a next study needs for 80 % power, from the components of each primary contrast."""
    alpha, notes = ALPHA / len(info.primary), []
    for effect in info.primary:
        parts, images = effect.components, effect.n_images
        if parts is not None and is_accuracy(effect.metric):
            needed = needed_text(parts, images, alpha=alpha, paired=info.paired)
            notes.append(f"{info.paired}s for 80 % power, {_claim(info, effect)}: {needed}")
    return notes


def _margin_notes(info: AblationInfo) -> list[str]:
    declared = {one.metric: one.kept.margin for one in info.effects if one.kept is not None}
    return [
        f"kept: {shown_name(info, metric)} is worse by less than {scale(metric) * margin:g}"
        f"{' points' * is_accuracy(metric)}, at its interval's bound"
        for metric, margin in declared.items()
    ]


def result_table(info: AblationInfo) -> Table:
    """What an ablation ends with: its arms; of a design without a reference its effects on the
    metric by which arms are compared."""
    table = arms_table(info)
    if not info.reference:
        effects = tuple(one for one in info.effects if one.metric == info.rank_metric)
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
    rows = [(label, "", values) for label, values in _references(info)]
    rows += [(point.name, point.loss_terms, point.values) for point in info.leading]
    parts = [texts("trial", "Trial", [name for name, _, _ in rows])]
    if any(terms for _, terms, _ in rows):
        parts.append(texts("loss_terms", "Loss terms", [terms for _, terms, _ in rows]))
    for place, metric in enumerate(objective.metric for objective in info.objectives):
        values = [values[place] for _, _, values in rows]
        name = metric if info.n_images is None else short_metric(metric)
        unit = _unit(metric, values)
        parts.append(numbers(metric, heading_of(metric, name), [*map(single_value, values)], unit))
        if "baseline" in info.references and is_accuracy(metric):
            gains = [single_value(info.gains(one)[place]) for _, _, one in rows[1:]]
            key = f"{metric} - baseline"
            parts.append(numbers(key, "Gain", [None, *gains], unit, is_difference=True))
    metrics = [objective.metric for objective in info.objectives]
    less = [one.metric for one in info.objectives if one.direction == "minimize"]
    notes = [leading_text(info), *basis_notes(info, metrics)]
    if "baseline" in info.references and any(map(is_accuracy, metrics)):
        notes.append("gain: over the baseline, in points")
    if less:
        notes.append(f"less is better: {', '.join(less)}")
    what = "Pareto front" if len(info.objectives) > 1 else "Best trials"
    return Table(
        columns=tuple(parts),
        name=info.study,
        title=title_of(info),
        caption=title_of(info, f"{what} of a search{_on_images(info)}."),
        notes=(*notes, *seed_texts(info.seed), *info.marks, fingerprint_text(info)),
        narrow=(("loss_terms",),),
    )


def _references(info: ParetoInfo) -> list[tuple[str, tuple[float, ...]]]:
    labels = REFERENCE_LABELS.items()
    return [(label, info.references[name]) for name, label in labels if name in info.references]


def leading_text(info: ParetoInfo) -> str:
    """ "Pareto front, 3 of 16 complete trials"; "the best 5 of 16 ..." for one objective."""
    of = f"{len(info.leading)} of {len(info.points)} complete trials"
    return f"Pareto front, {of}" if len(info.objectives) > 1 else f"the best {of}"


def settings_table(info: ParetoInfo, most: int = MOST_ROWS) -> Table:
    """What a search ends with: the front with the parameters in which trials differ, in place of
    gains.

    Args:
        most: trials that are shown, from one end of the front to the other.
    """
    table, before, points = front_table(info), len(_references(info)), list(info.leading)
    places = list(range(before + len(points)))
    if len(points) > most:
        picked = [round(at * (len(points) - 1) / (most - 1)) for at in range(most)]
        places = [*range(before), *(before + place for place in picked)]
        points = [points[place] for place in picked]
    keys = _varied(info.points, points)
    short, params = short_names(keys), []
    for key in keys:
        values = [*[""] * before, *(one.params.get(key) for one in points)]
        shown = [MISSING if value is None else param_text(value) for value in values]
        params.append(texts(key, short[key], list(map(str, values)), shown))
    left_out = [f"{objective.metric} - baseline" for objective in info.objectives]
    if len({point.loss_terms for point in info.points}) < 2:
        left_out.append("loss_terms")
    kept = [one.at(places) for one in table.columns if one.key not in left_out]
    first = sum(one.is_text for one in kept)
    title = f"{info.study}: {leading_text(info)} ({info.trials} in all)"
    title += shown_if(len(points) < len(info.leading), f", {len(points)} of them shown")
    title += shown_if(info.n_images is not None, f"; {info.split} accuracy in %")
    return replace(
        table,
        title=title,
        columns=(*kept[:first], *params, *kept[first:]),
        narrow=tuple((key,) for key in reversed(keys)),
    )


def _varied(points: Sequence[ParetoPoint], shown: Sequence[ParetoPoint]) -> list[str]:
    """The parameters that differ between trials: mixes last, for their texts are long; before them
    those that most of the shown trials have first."""
    first: dict[str, Any] = {}
    for point in points:
        for key, value in point.params.items():
            first.setdefault(key, value)
    keys = [
        key
        for key in first
        if key != _TERMS
        and (len(points) == 1 or any(one.params.get(key) != first[key] for one in points))
    ]

    def place(key: str) -> tuple[bool, int]:
        there = [point.params[key] for point in shown if key in point.params]
        return any(isinstance(value, Mapping) for value in there), -len(there)

    return sorted(keys, key=place)


# -- The tables of a study, whatever it is


Result = ParetoInfo | AblationInfo | ConfirmInfo


def read_result(study: OpenStudy) -> Result:
    """What a search, an ablation or a confirmation has found."""
    from ablate.lifecycle.open_study import read_bits

    if study.record.design is None:
        return pareto_info(study.record)
    if is_confirmation(study.record):
        return confirm_info(study.record, *read_bits(study.place))
    return study.ablation


def facts_of(info: Result) -> StudyFacts:
    """What the numbers of a result are based on."""
    return info.test if isinstance(info, ConfirmInfo) else info


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
