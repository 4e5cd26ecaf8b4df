"""What an ablation may claim: which effects are shown, their p values, verdicts and notes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from ablate.ablation.cell import FACTOR_EFFECTS
from ablate.ablation.effects import ALPHA, Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.power import DIFFERENCES, plan_text, seed_plan
from ablate.ablation.significance import FLIPS, LEAST_SEEDS, NonInferiority
from ablate.analysis.objectives import is_accuracy
from ablate.report.arms import (
    basis_notes,
    fingerprint_text,
    interval_notes,
    leading_metrics,
    minimized_notes,
    scale,
    shown_name,
)
from ablate.report.numbers import MISSING, count_text

TUNED = "exploratory (tuned)"
"""Of a declared contrast that was tuned on the images that it is scored on."""
WORST = ", failed runs as the worst"
"""Behind the name of a contrast, in the row of `Effect.worst`."""
_LEAST_SHOWN = 0.0001
_TWO_DIGITS_BELOW = 0.1


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
    if p < _LEAST_SHOWN:
        return "<.0001"
    text = ""
    for digits in (3, 4, 6) if p >= _TWO_DIGITS_BELOW else (2, 3, 4, 6):
        text = f"{p:.{digits}g}"
        if (float(text) < limit) == (p < limit):
            break
    return text.removeprefix("0")


def verdict_text(info: AblationInfo, effect: Effect) -> str:
    """The verdict, and what limits it."""
    if effect.primary and effect.tuned:
        return TUNED
    if effect.verdict == "too few seeds":
        return f"too few {info.paired}s: a claim needs {LEAST_SEEDS}"
    if effect.verdict == "at most one image":
        return f"no claim: {effect.verdict}"
    if info.looks and effect.verdict in ("better", "worse"):
        return f"{effect.verdict}, {info.looks + 1} looks"
    return effect.verdict


def kept_text(info: AblationInfo, effect: Effect) -> str:
    """Whether the contrast of a primary effect keeps what must be kept; empty of any other."""
    both = [(one.metric, one.kept) for one in info.effects if one.contrast == effect.contrast]
    metric, kept = next((one for one in both if one[1] is not None), ("", None))
    if kept is None or not effect.primary:
        return ""
    if effect.tuned:
        return TUNED
    if kept.kept is None:
        return f"too few {info.paired}s" if effect.estimate.n < LEAST_SEEDS else "no interval"
    if kept.kept:
        return f"yes (p {p_text(kept.p, ALPHA / 2)})"
    return f"not shown (bound -{_loss_text(metric, kept)})"


def _loss_text(metric: str, kept: NonInferiority) -> str:
    """The loss at the bound of one that is not kept: "3.0" points, "2.5" of another metric; more
    digits where these would lie within the margin."""
    factor = scale(metric)
    loss, margin = factor * -kept.low, factor * kept.margin
    texts = [f"{loss:.{digits}f}" for digits in (1, 2, 3)] if is_accuracy(metric) else []
    texts += [f"{loss:.{digits}g}" for digits in (4, 6, 17)]
    return next((text for text in texts if float(text) > margin), texts[-1])


def effects_notes(
    info: AblationInfo,
    shown: Sequence[Effect],
    name: Callable[[Effect], str] = lambda effect: effect.contrast,
    *,
    of_figure: bool = False,
) -> list[str]:
    """The notes under a table of effects; for a figure, without those of the table next to it: sign
    flips and planned power.

    Args:
        name: what a contrast is called.
    """
    notes = basis_notes(info, [effect.metric for effect in shown])
    if notes:
        notes.append("differences of accuracies in points")
    notes += interval_notes(info, shown)
    if any(effect.worst is not None for effect in shown):
        notes.append(
            f"{WORST.removeprefix(', ')}: each counts as the worst run of its arm in that metric; "
            "no test; elsewhere failed runs are left out with their pairs"
        )
    tested = [effect for effect in shown if effect.estimate.n]
    if tested:
        notes.append("p: two-sided, from the model of the interval")
        notes += [] if of_figure else _sign_flip_notes(info, tested, name)
    if info.primary:
        count = count_text(len(info.primary), "primary contrast")
        notes.append(f"adjusted: Holm over {count}; a claim needs less than {p_text(ALPHA)}")
        notes += _margin_notes(info)
        notes += [] if of_figure else _power_notes(info, name)
    else:
        notes.append("no contrast was declared primary: all are exploratory and support no claim")
    notes += minimized_notes(info)
    if info.aliases:
        notes.append(f"aliases: {'; '.join(info.aliases)}")
    return [*notes, *info.marks, fingerprint_text(info)]


def _claim_name(info: AblationInfo, effect: Effect, name: Callable[[Effect], str]) -> str:
    """ "FMA - plain"; with its metric where the claims are on several."""
    is_alone = len({one.metric for one in info.primary}) == 1
    return name(effect) + f" on {shown_name(info, effect.metric)}" * (not is_alone)


def _sign_flip_notes(
    info: AblationInfo, tested: Sequence[Effect], name: Callable[[Effect], str]
) -> list[str]:
    notes = []
    flipped = [effect for effect in tested if effect.p_seeds is not None]
    if flipped:
        exact = all(effect.is_exact for effect in flipped)
        how = "exact sign flips" if exact else f"{FLIPS:,} sign flips drawn"
        where = "" if info.n_images is None else ", on these images"
        found = "; ".join(
            f"{_claim_name(info, one, name)} {p_text(one.p_seeds)}" for one in flipped
        )
        over = f"over {info.paired}s, under exchangeability within a {info.paired}{where}"
        notes.append(f"{how} {over}: p {found}")
    return notes


def _power_notes(info: AblationInfo, name: Callable[[Effect], str]) -> list[str]:
    """What a next study needs for 80 % power, from the components of each primary contrast."""
    alpha = ALPHA / len(info.primary)
    notes = []
    for effect in info.primary:
        if effect.components is None or not is_accuracy(effect.metric):
            continue
        plans = [
            seed_plan(effect.components, effect.n_images, one, alpha=alpha) for one in DIFFERENCES
        ]
        on = "" if effect.n_images is None else f" on {effect.n_images:,} images"
        claim = _claim_name(info, effect, name)
        notes.append(f"{info.paired}s for 80 % power{on}, {claim}: {plan_text(plans, info.paired)}")
    if notes:
        notes.append(
            f"in brackets: with the {info.paired}s' variance at the ends of its 80 % range"
        )
    return notes


def _margin_notes(info: AblationInfo) -> list[str]:
    declared = next((one for one in info.effects if one.kept is not None), None)
    if declared is None or declared.kept is None:
        return []
    metric, margin = declared.metric, declared.kept.margin
    lost = f"{100 * margin:g} points" if is_accuracy(metric) else f"{margin:g}"
    bound = f"{shown_name(info, metric)} is worse by less than {lost}, at its interval's bound"
    return [f"kept: {bound}; p: one-sided, from the same model, not adjusted"]
