"""The answer of a confirmation: all points that were retrained and scored on the test images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.ablation.answer import SearchAnswer
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import ALPHA
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, Point
from ablate.report.arms import NOTHING, interval_notes
from ablate.report.numbers import count_text, metric_words, share_text
from ablate.report.page.card import (
    ASKED,
    Answer,
    Images,
    asked_points,
    asked_words,
    capital,
    cautions,
    compared,
    kept_facts,
    named,
    over_da,
    point_card,
    points,
    told,
    types_sentence,
    unfinished,
    unsuccessful,
    within,
)

_CLEAN, _ROBUST = "test_clean_accuracy", "test_robust_accuracy"
_REPORT_ALL = (
    "To choose another of these points by these numbers would be a choice on the test set: report "
    "all of them, or the one that was chosen before."
)


def confirmed_answer(source: StudySource, answer: SearchAnswer, info: ConfirmInfo) -> Answer:
    """All confirmed points; the search's choice is named, as one by the test images would be a
    choice on the test set."""
    by_name = {
        one.name: one for one in info.points if not math.isnan(one.gains.get(_ROBUST, NOTHING).mean)
    }
    ranked = [point for point in answer.ranked if point.name in by_name]
    if not ranked:
        return Answer(("Confirmation is running: no run on the test images has ended yet.",))
    n = Images(info.test.n_images or 1, info.test.n_corrupted or 1)
    there = [by_name[point.name] for point in ranked]
    chosen, best = by_name.get(answer.sets[0].best.name), named(answer.sets[0].best)
    planned = [point for point in answer.ranked if point.name in {one.name for one in info.points}]
    said = [
        *unfinished(info.test),
        *cautions(info.test),
        *_asked_confirmed(info, source.front.question, ranked, planned, n),
        _retrained(info, there, *_of_front(source.front, info)),
    ]
    if chosen is None:
        why = "has no score yet" if answer.sets[0].best in planned else "is not among them"
        said.append(f"The point that the search would choose, {best}, {why}.")
    else:
        chosen_by = within(answer) if answer.sets[0].keeping else "it loses least clean accuracy"
        over = "".join(
            f", {told(one, n.robust)} over {to}" for to, one in _over(info, chosen).items()
        )
        said.append(
            f"Chosen by the search alone ({chosen_by}): {best}, "
            f"{told(chosen.gains[_ROBUST], n.robust)} of robust accuracy over the baseline"
            f"{over}, and {told(chosen.gains[_CLEAN], n.clean)} of clean accuracy."
        )
        said += types_sentence(chosen.parts, chosen.gains[_ROBUST])
    said.append(_REPORT_ALL)
    said += unsuccessful(source.record, answer.collapsed)
    said += [f"{capital(failure)}." for failure in info.test.failures]
    cards = tuple(
        point_card(
            point,
            robust=one.gains[_ROBUST],
            clean=told(one.gains.get(_CLEAN, NOTHING), n.clean),
            over=_over(info, one),
            parts=one.parts,
            n_images=n.robust,
            others=[("On the front", share_text(one.front_probability)), *kept_facts(info, one)],
        )
        for point, one in zip(ranked, there, strict=True)
    )
    return Answer(tuple(said), cards, confirmed_notes(info))


def confirmed_notes(info: ConfirmInfo) -> tuple[str, ...]:
    """Which intervals hold together: of all confirmed points over one reference."""
    notes = interval_notes(info.test, info.test.primary)
    if len(info.test.primary) > 1:
        notes.append(
            "over the baseline and combined DA at the same level; simultaneous over the confirmed "
            "points for each reference"
        )
    return tuple(notes)


def _asked_confirmed(
    info: ConfirmInfo,
    question: str,
    ranked: Sequence[ParetoPoint],
    planned: Sequence[ParetoPoint],
    n: Images,
) -> list[str]:
    """Each term by the confirmed point that the search ranks first; DA and CA by the arm that is
    retrained beside them."""
    words = asked_words(question)
    terms = [one for one in words if one in ("fma", "st")]
    asked = asked_points(terms, ranked)
    gains = {one.name: one.over_da.get(_ROBUST) for one in info.points}

    def less(one: ParetoPoint, other: ParetoPoint, of: int) -> Sequence[Estimate]:
        level = 1 - ALPHA / of
        return [info.compare(one.name, other.name, metric, level) for metric in (_ROBUST, _CLEAN)]

    said = []
    if asked:
        over = {name: gains[point.name] for name, point in asked.items()}
        said += compared(asked, less, n, "On the test images", " (exploratory)")
        at = " at alpha 1" * any(point.point.alpha != 1 for point in asked.values())
        said += over_da(over, f"combined data augmentation alone{at}", n.robust)
    combined = info.test.to_reference(COMBINED_DA, _ROBUST)
    if combined is not None and {"da", "ca"} & {*words}:
        name = "/".join(ASKED[one][0] for one in ("da", "ca") if one in words)
        said += over_da(
            {name: combined.estimate}, "plain, by combined data augmentation alone", n.robust
        )
    there = {term for point in planned for term in point.loss_terms.split("+")}
    missing = [ASKED[one][0] for one in terms if one not in there]
    if missing:
        said.append(
            f"No confirmed point has {' or '.join(missing)}: `ablate confirm --trials` adds one."
        )
    return said


def _over(info: ConfirmInfo, point: ConfirmedPoint) -> dict[str, Estimate]:
    """Robust accuracy over the arms that are retrained beside the points, where it is known."""
    plain = info.test.to_reference(point.name, _ROBUST)
    at = " at alpha 1" * (Point.of_name(point.name).alpha != 1)
    over = {
        f"plain{at}": NOTHING if plain is None else plain.estimate,
        f"combined DA{at}": point.over_da.get(_ROBUST, NOTHING),
    }
    return {name: one for name, one in over.items() if not math.isnan(one.mean)}


def _of_front(front: ParetoInfo, info: ConfirmInfo) -> tuple[str, str]:
    """What was retrained, and what its points may be: of the front, or of some of it."""
    confirmed = {Point.of_name(one.name).trial for one in info.points}
    if confirmed >= {point.number for point in front.front if point.copy_of is None}:
        return "The front was", "being on it"
    count = count_text(len(confirmed), "trial was", "trials were")
    return count, "being on the front of these"


def _retrained(info: ConfirmInfo, there: Sequence[ConfirmedPoint], what: str, of: str) -> str:
    chances = ", ".join(f"{one.name} {share_text(one.front_probability)}" for one in there)
    of = "keeping the constraints and " * bool(info.constraints) + of
    unknown = " and ".join(map(metric_words, info.unknown))
    but = f" Not judged, as the test images were not scored for it: {unknown}." * bool(unknown)
    seeds = f"{count_text(info.test.seeds, 'new seed')} and scored on the test images"
    return f"{what} retrained with {seeds}. Probability of {of}: {chances}.{but}"


def best_confirmed(
    info: ConfirmInfo, there: Sequence[ConfirmedPoint], best: ParetoPoint
) -> list[str]:
    if not there:
        return ["Confirmation is running: no run on the test images has ended yet."]
    tested = info.objectives[0]
    count = count_text(len(there), "trial was", "trials were")
    said = [
        *unfinished(info.test),
        *cautions(info.test),
        _retrained(info, there, count, "having the best mean"),
    ]
    chosen = next((one for one in there if one.name == best.name), None)
    if chosen is not None:
        said.append(
            f"Chosen by the search alone: {named(best)}, {points(chosen.gains[tested])} of "
            f"{metric_words(tested)} over the baseline on the test images."
        )
    return [*said, _REPORT_ALL, *(f"{capital(failure)}." for failure in info.test.failures)]
