"""The answer in words, each computed from the data: of a search, its confirmation, an ablation."""

from __future__ import annotations

import math

from ablate.ablation.confirm import ConfirmInfo, point_name
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo, ArmInfo
from ablate.ablation.intervals import Estimate
from ablate.analysis.answer import Gain, closed_fraction, search_answer
from ablate.analysis.metrics import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, pareto_info
from ablate.report.arms import metric_words, scale
from ablate.report.effects import kept_text, p_text, verdict_text
from ablate.report.numbers import param_text
from ablate.report.source import StudySource

_BASELINE = "baseline"


def answer_sentences(source: StudySource) -> list[str]:
    """What the study answers so far, the most important first; never empty."""
    if source.ablation is not None:
        return _of_ablation(source.ablation)
    info = pareto_info(source.record)
    said = _of_search(info)
    if source.confirmation is not None:
        said = [*_of_confirmation(source.confirmation, info), *said]
    return said


def _of_search(info: ParetoInfo) -> list[str]:
    if not info.points:
        return [f"No trial is complete yet, of {info.trials}."]
    answer = search_answer(info)
    if answer is None:
        return [_best_of_each(info)]
    split = f" on {info.split} images" if info.split else ""
    said = []
    if answer.kept is None:
        said.append(
            "No trial gains robust accuracy without a loss of clean accuracy against the baseline."
        )
    else:
        said.append(
            f"At no loss of clean accuracy, {_configuration(answer.kept.point)} gains "
            f"{_points(answer.kept.robust)} of robust accuracy over the baseline{split}"
            f"{_over_plain(answer.kept)}{_closes(answer.kept)}."
        )
    best = answer.most_robust
    if answer.kept is None or best.point != answer.kept.point:
        verb = "gains" if best.robust >= 0 else "loses"
        said.append(
            f"The most robust, {_configuration(best.point)}, {verb} "
            f"{_points(abs(best.robust))}{_closes(best)}, and "
            f"{'gains' if best.clean >= 0 else 'loses'} {_points(abs(best.clean))} of clean "
            "accuracy."
        )
    seed = "" if info.seed is None else f" (seed {info.seed})"
    said.append(
        f"Each trial was trained once{seed} and chosen among {answer.chosen_from}: what is chosen "
        "so looks better than it is. Fresh seeds say by how much (ablate confirm)."
    )
    return said


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
    return f"{text[:1].upper()}{text[1:]}; {len(info.front)} trials are on the front."


def _of_confirmation(info: ConfirmInfo, search: ParetoInfo) -> list[str]:
    test = info.test
    configurations = {point_name(point.number): _configuration(point) for point in search.points}
    arms = {arm.name: arm for arm in test.arms}
    baseline = arms.get(_BASELINE)
    clean, robust = "test_clean_accuracy", "test_robust_accuracy"
    points = [
        arms[point.name]
        for point in info.points
        if point.name in arms and math.isfinite(_of(arms[point.name], robust).mean)
    ]
    if baseline is None or not points:
        return ["The front is being confirmed: no run on the test images has ended yet."]
    gap = _of(baseline, clean).mean - _of(baseline, robust).mean
    keeping = [arm for arm in points if _of(arm, clean).mean >= _of(baseline, clean).mean]
    best = max(keeping or points, key=lambda arm: _of(arm, robust).mean)
    lost = _of(baseline, clean).mean - _of(best, clean).mean
    head = "At no loss of clean accuracy" if keeping else f"At a loss of {_points(lost)} clean"
    gained = _of(best, robust)
    gain = gained.mean - _of(baseline, robust).mean
    over_plain = test.to_reference(best.name, robust)
    return [
        f"Confirmed over fresh seeds on the test images: {head[:1].lower()}{head[1:]}, "
        f"{configurations.get(best.name, best.name)} gains "
        f"{_points(gain)} of robust accuracy over the baseline"
        f"{_interval(gained, _of(baseline, robust).mean)}"
        f"{'' if over_plain is None else _and_over_plain(over_plain, test.reference)}"
        f"{_closing(closed_fraction(gain, gap))}."
    ]


def _of_ablation(info: AblationInfo) -> list[str]:
    said = []
    if info.ended < info.runs:
        said.append(f"{info.ended} of {info.runs} runs have ended: what follows will change.")
    said += [_effect_sentence(info, effect) for effect in info.primary if effect.estimate.n]
    if not info.primary:
        said.append("No contrast was declared primary: what follows is exploratory, and no claim.")
        found = [
            effect
            for effect in info.effects
            if effect.metric == info.rank_metric and effect.estimate.n
        ]
        found.sort(key=lambda effect: -abs(effect.estimate.mean))
        said += [_effect_sentence(info, effect) for effect in found[:3]]
    return said or ["No run has ended yet."]


def _effect_sentence(info: AblationInfo, effect: Effect) -> str:
    metric = effect.metric
    unit = " points" if is_accuracy(metric) else ""
    mean = effect.estimate.mean * scale(metric)
    digits = ".1f" if unit else ".4g"
    interval = ""
    if math.isfinite(effect.estimate.low):
        low, high = (end * scale(metric) for end in (effect.estimate.low, effect.estimate.high))
        interval = f", 95 % interval {low:+{digits}} to {high:+{digits}}"
    text = (
        f"{effect.contrast}: {mean:+{digits}}{unit} of {metric_words(metric)}{interval}, "
        f"n = {effect.estimate.n}"
    )
    if effect.primary:
        text += f": {verdict_text(info, effect)} (adjusted p {p_text(effect.p_adjusted)})"
        kept = kept_text(info, effect)
        declared = next((one for one in info.effects if one.kept is not None), None)
        if kept and declared is not None:
            text += f"; {metric_words(declared.metric)} kept: {kept}"
    return f"{text}."


def _configuration(point: ParetoPoint) -> str:
    """ "clean+fma on stage2+stage3 (trial 7)"."""
    layers = point.params.get("loss.fma.layers")
    on = f" on {param_text(layers)}" if layers and "fma" in point.loss_terms.split("+") else ""
    return f"{point.loss_terms}{on} (trial {point.number})"


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f} points"


def _over_plain(gain: Gain) -> str:
    if math.isnan(gain.robust_over_plain):
        return ""
    return f", {100 * gain.robust_over_plain:+.1f} against the plain finetune,"


def _closes(gain: Gain) -> str:
    return _closing(gain.closed_fraction)


def _closing(fraction: float) -> str:
    if not fraction > 0:
        return ""
    return f" and closes {100 * fraction:.0f} % of the gap between clean and robust accuracy"


def _of(arm: ArmInfo, metric: str) -> Estimate:
    return arm.estimates.get(metric) or Estimate(math.nan, math.nan, math.nan, math.nan, 0, "none")


def _interval(estimate: Estimate, less: float) -> str:
    if math.isnan(estimate.low):
        return f" (n = {estimate.n}: no interval)"
    low, high = 100 * (estimate.low - less), 100 * (estimate.high - less)
    return f" (95 % interval over seeds {low:.1f} to {high:.1f}, n = {estimate.n})"


def _and_over_plain(effect: Effect, reference: str) -> str:
    return f" and {_points(effect.estimate.mean)} over {reference}{_interval(effect.estimate, 0.0)}"
