"""The answer in words, computed from the data, for a search, its confirmation or an ablation."""

from __future__ import annotations

import math

from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo, ArmInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.answer import Gain, closed_fraction, search_answer
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, pareto_info
from ablate.report.arms import (
    NOTHING,
    difference_cell,
    no_interval_text,
    scale,
    single_value,
)
from ablate.report.effects import kept_text, loss_text, p_text, verdict_text
from ablate.report.numbers import metric_words, param_text, share_text, signed_text

_BASELINE = "baseline"


def answer_sentences(source: StudySource) -> list[str]:
    """What the study answers so far, the most important first; never empty."""
    if source.ablation is not None:
        return _of_ablation(source.ablation)
    info = pareto_info(source.record)
    if source.confirmation is None:
        return [*_of_search(info), *_advice(info)]
    searched = [f"In the search, {text[:1].lower()}{text[1:]}" for text in _of_search(info)]
    return [_of_confirmation(source.confirmation, info), *searched]


def _of_search(info: ParetoInfo) -> list[str]:
    if not info.points:
        return [f"None of {info.trials} trials is complete yet."]
    answer = search_answer(info)
    if answer is None:
        return [_best_of_each(info)]
    split = f" on {info.split} images" if info.split else ""
    said = []
    if answer.kept is None:
        said.append(
            "No trial gains robust accuracy over the baseline without losing clean accuracy."
        )
    else:
        said.append(
            f"Without losing clean accuracy, {_configuration(answer.kept.point)} gains "
            f"{_points(answer.kept.robust)} of robust accuracy over the baseline{split}"
            f"{_over_plain(answer.kept)}{_closing(answer.kept.closed_fraction)}."
        )
    best = answer.most_robust
    if answer.kept is None or best.point != answer.kept.point:
        verb = "gains" if best.robust >= 0 else "loses"
        said.append(
            f"The most robust trial, {_configuration(best.point)}, {verb} "
            f"{_points(abs(best.robust))}{_closing(best.closed_fraction)}, and "
            f"{'gains' if best.clean >= 0 else 'loses'} {_points(abs(best.clean))} of clean "
            "accuracy."
        )
    return said


def _advice(info: ParetoInfo) -> list[str]:
    """That a choice among many flatters, where one was made."""
    answer = search_answer(info)
    if answer is None:
        return []
    seed = "" if info.seed is None else f" (seed {info.seed})"
    return [
        f"Each trial was trained once{seed} and selected from {answer.chosen_from}, so its score "
        "is optimistic. `ablate confirm` measures by how much, with new seeds."
    ]


def _best_of_each(info: ParetoInfo) -> str:
    """Of objectives that are not clean and robust accuracy: the best trial of each."""
    found = []
    for place, objective in enumerate(info.objectives):
        numbers = [point for point in info.points if math.isfinite(point.values[place])]
        if not numbers:
            continue
        sign = 1 if objective.direction == "maximize" else -1
        best = max(numbers, key=lambda point: (sign * point.values[place], -point.number))
        value = best.values[place] * scale(objective.metric)
        unit = " %" if is_accuracy(objective.metric) else ""
        found.append(
            f"the best {metric_words(objective.metric)} is {value:.4g}{unit} (trial {best.number})"
        )
    if not found:
        return "No complete trial has numbers for its objectives."
    text = "; ".join(found)
    return f"{text[:1].upper()}{text[1:]}; {_trials(len(info.front))} on the front."


def _trials(count: int) -> str:
    return "1 trial is" if count == 1 else f"{count} trials are"


def _of_confirmation(info: ConfirmInfo, search: ParetoInfo) -> str:
    """What the trial that the search would have been read for does on the test images.

    It is chosen by the search's own values: the best on the test images would be chosen by them.
    """
    test = info.test
    arms = {arm.name: arm for arm in test.arms}
    baseline = arms.get(_BASELINE)
    clean, robust = "test_clean_accuracy", "test_robust_accuracy"
    there = [
        point
        for point in _as_chosen(search)
        if point.name in arms and math.isfinite(_of(arms[point.name], robust).mean)
    ]
    if baseline is None or not there:
        return "Confirmation is running: no run on the test images has ended yet."
    arm = arms[there[0].name]
    before_clean, before = _of(baseline, clean).mean, _of(baseline, robust).mean
    after_clean, after = _of(arm, clean), _of(arm, robust)
    changed = after_clean.mean - before_clean
    gains = next(point.gains for point in info.points if point.name == arm.name)
    over_plain = test.to_reference(arm.name, robust)
    closed = closed_fraction(after.mean - before, before_clean - before)
    return (
        f"Confirmed over {after.n} new seeds on the test images: "
        f"{_configuration(there[0])}, as selected by the search, "
        f"{_changes(after.mean - before)} of robust accuracy over the baseline"
        f"{_interval(gains.get(robust, NOTHING))}"
        f"{'' if over_plain is None else _and_over_plain(over_plain, test.reference)}"
        f"{_closing(closed)}, and {_changes(changed)} of clean accuracy"
        f"{_interval(gains.get(clean, NOTHING))}."
    )


def _as_chosen(search: ParetoInfo) -> list[ParetoPoint]:
    """The front as a reader of the search takes from it: the most robust without a loss of clean
    accuracy first, then the most robust, then the others."""
    answer = search_answer(search)
    first = [] if answer is None else [answer.kept, answer.most_robust]
    return [*(gain.point for gain in first if gain is not None), *search.front]


def _changes(fraction: float) -> str:
    return f"{'gains' if fraction >= 0 else 'loses'} {_points(abs(fraction))}"


def _of_ablation(info: AblationInfo) -> list[str]:
    said = []
    if info.ended < info.runs:
        said.append(f"{info.ended} of {info.runs} runs have ended: the results below will change.")
    said += _shares(info)
    said += [_effect_sentence(info, effect) for effect in info.primary if effect.estimate.n]
    if not info.primary:
        said.append(
            "No contrast was declared primary: the results below are exploratory and support no "
            "claim."
        )
        found = [
            effect
            for effect in info.effects
            if effect.metric == info.rank_metric and effect.estimate.n
        ]
        found.sort(key=lambda effect: -abs(effect.estimate.mean))
        said += [_effect_sentence(info, effect) for effect in found[:3]]
    return said or ["No run has ended yet."]


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


def _effect_sentence(info: AblationInfo, effect: Effect) -> str:
    metric = effect.metric
    unit = " points" if is_accuracy(metric) else ""
    printed = difference_cell(info, metric, effect.estimate).parts
    kind = "simultaneous 95 %" if effect.primary and len(info.primary) > 1 else "95 %"
    interval = f", {kind} interval {printed.low} to {printed.high}" if printed.low else ""
    reason = no_interval_text(effect.estimate)
    text = (
        f"{effect.contrast}: {printed.mean}{unit} of {metric_words(metric)}{interval}, "
        f"n = {effect.estimate.n}{f' ({reason})' if reason else ''}"
    )
    if effect.primary:
        text += f": {verdict_text(effect)} (adjusted p {p_text(effect.p_adjusted)})"
        text += _kept(info, effect)
    return f"{text}."


def _kept(info: AblationInfo, effect: Effect) -> str:
    """Whether what must be kept is kept, by how much it may have fallen."""
    found = (one for one in info.effects if one.contrast == effect.contrast and one.kept)
    declared = next(found, None)
    if declared is None or declared.kept is None:
        return ""
    margin, kept = declared.kept.margin, declared.kept
    unit = " points" if is_accuracy(declared.metric) else ""
    by = scale(declared.metric)
    within = f"; {metric_words(declared.metric)} kept within {by * margin:g}{unit}: "
    if kept.kept is None:
        return f"{within}{kept_text(info, effect)}"
    if kept.kept:
        return f"{within}yes"
    return f"{within}not shown, up to {loss_text(declared.metric, kept)}{unit} may be lost"


def _configuration(point: ParetoPoint) -> str:
    """ "clean+fma on stage2+stage3 (trial 7)"."""
    layers = point.params.get("loss.fma.layers")
    on = f" on {param_text(layers)}" if layers and "fma" in point.loss_terms.split("+") else ""
    return f"{point.loss_terms}{on} ({point.name})"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f} points"


def _over_plain(gain: Gain) -> str:
    if math.isnan(gain.robust_over_plain):
        return ""
    return f", {100 * gain.robust_over_plain:+.1f} against the plain finetune,"


def _closing(fraction: float) -> str:
    if not fraction > 0:
        return ""
    return f" and closes {100 * fraction:.0f} % of the gap between clean and robust accuracy"


def _of(arm: ArmInfo, metric: str) -> Estimate:
    return arm.estimates.get(metric, NOTHING)


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return f" ({no_interval_text(estimate) or 'n = 0: no interval'})"
    low, high = (signed_text(100 * end, 1) for end in (estimate.low, estimate.high))
    return f" (95 % interval {low} to {high}, {estimate.method}, n = {estimate.n})"


def _and_over_plain(effect: Effect, reference: str) -> str:
    return f" and {_points(effect.estimate.mean)} over {reference}{_interval(effect.estimate)}"
