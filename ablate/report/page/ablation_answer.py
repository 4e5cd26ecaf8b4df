"""The answer of an ablation: every declared contrast, and those of arms that its question names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ablate.ablation.answer import Part, sorted_parts
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.interpolated import ON_CURVE
from ablate.analysis.objectives import is_accuracy
from ablate.ledger.record import StudyRecord
from ablate.report.arms import (
    curve_metrics,
    curve_notes,
    difference_cell,
    interval_notes,
    leading_metrics,
    metric_cells,
    no_interval_text,
    scale,
    shown_name,
    single_value,
)
from ablate.report.effects import kept_text, loss_text, p_text, verdict_text
from ablate.report.numbers import metric_unit, metric_words, share_text
from ablate.report.page.card import (
    ASKED,
    Answer,
    Card,
    asked_words,
    capital,
    cautions,
    part_facts,
    unfinished,
)
from ablate.study.scores import Scores


def ablation_answer(record: StudyRecord, info: AblationInfo) -> Answer:
    """What an ablation answers so far, arm by arm."""
    said = unfinished(info)
    said += cautions(info)
    said += _shares(info)
    declared = _declared(record, info)
    said += _by_arm(info, declared)
    if not info.primary:
        said.append("No contrast was declared primary: the results are exploratory.")
    if not declared:
        found = [one for one in info.effects if one.metric == info.rank_metric and one.estimate.n]
        found.sort(key=lambda effect: -abs(effect.estimate.mean))
        said += _by_arm(info, found[:3])
    said += _without_pairs(info) if info.ended == info.runs else []
    if not any(effect.estimate.n for effect in info.effects):
        none = "No two runs to compare have ended well." if info.ended else "No run has ended yet."
        said = [*said[: info.ended < info.runs], none]
    said += [f"{capital(failure)}." for failure in info.failures]
    notes = interval_notes(info, declared or [one for one in info.effects if one.estimate.n])
    notes += curve_notes(info) if _on_curve(declared) else []
    return Answer(tuple(said), _arm_cards(record, info, declared), tuple(notes))


def _declared(record: StudyRecord, info: AblationInfo) -> list[Effect]:
    """The primary contrasts, the further ones of the study, and those of the arms that its question
    names."""
    settings = record.study.ablation
    further = (
        []
        if settings is None
        else [f"{one.compare} - {one.to or info.reference}" for one in settings.contrasts]
    )
    found = [one for one in info.effects if one.primary]
    there = {one.contrast for one in found}
    asked = {ASKED[key][0] for key in asked_words(info.question)}
    answered = {word for name in [*there, *further] for word in _parts_of(name.split(" - ")[0])}
    for effect in info.effects:
        arm, _, to = effect.contrast.partition(" - ")
        is_asked = to == info.reference and _parts_of(arm) & (asked - answered)
        if effect.metric == info.rank_metric and effect.contrast not in there:
            found += [effect] * bool(effect.contrast in further or is_asked)
    return [one for one in found if one.estimate.n]


def _without_pairs(info: AblationInfo) -> list[str]:
    """Primary contrasts of which no pair of runs has ended well."""
    said = []
    for effect in info.effects:
        if effect.primary and not effect.estimate.n:
            arm, _, to = _sides(effect)
            against = f"against {to}, " if to else ""
            said.append(f"{arm}: {against}no pair of runs has ended well.")
    return said


def _by_arm(info: AblationInfo, effects: Iterable[Effect]) -> list[str]:
    """A sentence an arm, or an effect of a factor: what it is compared with, one after another."""
    said: dict[str, list[str]] = {}
    for effect in effects:
        arm, _, to = _sides(effect)
        against = f"against {to} " if to else ""
        said.setdefault(arm, []).append(f"{against}{_effect_text(info, effect)}")
    return [f"{arm}: {'; '.join(parts)}." for arm, parts in said.items()]


def _effect_text(info: AblationInfo, effect: Effect) -> str:
    """ "+13.8 points [+12.6, +15.1] of robust accuracy, better (adjusted p .016)"."""
    metric, n = effect.metric, effect.estimate.n
    unit = " points" if is_accuracy(metric) else ""
    printed = difference_cell(info, metric, effect.estimate).parts
    interval = f" [{printed.low}, {printed.high}]" if printed.low else ""
    reason = no_interval_text(effect.estimate)
    text = f"{printed.mean}{unit}{interval} of {metric_words(metric)}"
    text += f" ({reason})" * bool(reason) + f", n = {n}" * (n < info.seeds)
    if effect.worst is not None:
        worst = difference_cell(info, metric, effect.worst).printed
        text += f", with failed runs as the worst of their arm {worst}"
    if not effect.primary:
        return f"{text}, exploratory"
    return f"{text}, {verdict_text(info, effect)} (adjusted p {p_text(effect.p_adjusted)})" + _kept(
        info, effect
    )


def _sides(effect: Effect) -> tuple[str, str, str]:
    """The arm and what it is compared with; of an effect of a factor its name alone."""
    return (
        effect.contrast.partition(" - ")
        if effect.kind == "difference"
        else (effect.contrast, "", "")
    )


def _kept(info: AblationInfo, effect: Effect) -> str:
    """Whether what must be kept is kept, by how much it may have fallen."""
    found = (one for one in info.effects if one.contrast == effect.contrast and one.kept)
    declared = next(found, None)
    if declared is None or declared.kept is None:
        return ""
    margin, kept = declared.kept.margin, declared.kept
    unit = " points" if is_accuracy(declared.metric) else ""
    by = scale(declared.metric)
    within = f", {metric_words(declared.metric)} kept within {by * margin:g}{unit}: "
    if kept.kept is None:
        return f"{within}{kept_text(info, effect)}"
    if kept.kept:
        return f"{within}yes"
    return f"{within}not shown, up to {loss_text(declared.metric, kept)}{unit} may be lost"


def _shares(info: AblationInfo) -> list[str]:
    """Of design shapley: how the whole gain is divided among the components, the largest first."""
    found = [one for one in info.effects if one.metric == info.rank_metric and one.estimate.n]
    values = [one for one in found if one.kind == "Shapley value"]
    total = math.fsum(one.estimate.mean for one in values)
    if not values or len({one.estimate.n for one in values}) > 1:
        return []  # of different seeds they have no sum
    values.sort(key=lambda one: -one.estimate.mean)
    unit = " points" if is_accuracy(info.rank_metric) else ""
    has_shares = total > 0 and values[-1].estimate.mean >= 0

    def printed(mean: float) -> str:
        return difference_cell(info, info.rank_metric, single_value(mean)).printed

    parts = [
        f"{one.contrast} {printed(one.estimate.mean)}"
        + f" ({share_text(one.estimate.mean / total)})" * has_shares
        for one in values
    ]
    return [
        f"From none to all of the components, {metric_words(info.rank_metric)} changes by "
        f"{printed(total)}{unit}. Their Shapley values divide it: {', '.join(parts)}."
    ]


def _arm_cards(
    record: StudyRecord, info: AblationInfo, declared: Sequence[Effect]
) -> tuple[Card, ...]:
    """Of both sides of each comparison: their means, differences, and what the types give."""
    shown = {side for one in declared if one.kind == "difference" for side in _sides(one)}
    metrics = [*(curve_metrics(info) if _on_curve(declared) else ()), *leading_metrics(info)]
    columns = {metric: metric_cells(info, metric) for metric in metrics}
    cards = []
    for place, arm in enumerate(info.arms):
        if arm.name not in shown:
            continue
        facts = [
            (capital(metric_words(metric)), f"{cells[place].printed}{metric_unit(metric)}")
            for metric, cells in columns.items()
        ]
        for one in declared:
            if _sides(one)[0] == arm.name:
                on = "" if one.metric == info.rank_metric else f", {shown_name(info, one.metric)}"
                printed = difference_cell(info, one.metric, one.estimate).printed
                facts.append((f"Over {_sides(one)[2]}{on}", printed))
        at = " at alpha 1" * _on_curve(declared)
        parts = _parts(record, info, f"{arm.name} - {info.reference}")
        facts += part_facts(parts, f"Over {info.reference}{at}, by type")
        facts += [("Failed", ", ".join(arm.failed))] * bool(arm.failed)
        cards.append(Card(arm.name, "", None, tuple(facts)))
    return tuple(cards)


def _on_curve(effects: Iterable[Effect]) -> bool:
    return any(one.metric in ON_CURVE for one in effects)


def _parts(record: StudyRecord, info: AblationInfo, contrast: str) -> tuple[Part, ...]:
    """Of a contrast in robust accuracy, by type."""
    scores = next((row.scores for row in record.complete if isinstance(row.scores, Scores)), None)
    if scores is None:
        return ()
    by_metric = {one.metric: one.estimate for one in info.effects if one.contrast == contrast}
    return sorted_parts(
        Part(kind, by_metric[metric].times(weight))
        for kind, weight in scores.type_weights.items()
        if (metric := f"{scores.split}_accuracy.{kind}") in by_metric
    )


def _parts_of(name: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]+", name))
