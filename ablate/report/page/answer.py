"""The answer in words and cards, computed from the data, for a search, its confirmation or an
ablation.

No difference stands without its interval, and one that its interval does not show is called a tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ablate.ablation.answer import MOST_COMPARED, BestAnswer, SearchAnswer, SetAnswer, is_tie
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import ALPHA
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, Point
from ablate.report.arms import NOTHING, interval_notes, scale
from ablate.report.numbers import count_text, metric_text, metric_words, share_text
from ablate.report.page.ablation_answer import ablation_answer
from ablate.report.page.card import (
    ASKED,
    Answer,
    Card,
    asked_points,
    asked_words,
    capital,
    compute_facts,
    kept_facts,
    named,
    nothing_counts,
    point_card,
    points,
    refused_curves,
    told,
    trial_numbers,
    types_sentence,
    unfinished,
    unsuccessful,
)

_CLEAN, _ROBUST = "test_clean_accuracy", "test_robust_accuracy"


def study_answer(source: StudySource) -> Answer:
    """The answer of a study, from the rows that have ended."""
    if source.ablation is not None:
        return ablation_answer(source.record, source.ablation)
    if all(point.violation for point in source.front.points):
        return Answer(nothing_counts(source.record))
    if source.best is not None:
        return _of_best(source, source.best)
    if source.answer is None:
        return Answer((_best_of_each(source.front),))
    if source.confirmation is not None:
        return _of_confirmation(source, source.answer, source.confirmation)
    return _of_search(source, source.answer)


# -- The question in its own words


Less = Callable[[ParetoPoint, ParetoPoint, int], Sequence[Estimate]]
"""A point less another in robust accuracy, and in clean accuracy where that is compared too; at a
level for so many comparisons."""


def _compared(
    asked: Mapping[str, ParetoPoint], less: Less, n: int, where: str, within: str = ""
) -> list[str]:
    """The points of the terms that the question names: the first less each of the others."""

    def of_clean(one: Estimate, first: str, second: str) -> str:
        if is_tie(one, n):
            return ", with no difference in clean accuracy shown"
        return f", and {first if one.mean > 0 else second} has more clean accuracy"

    (first, best), *others = asked.items()
    others = [(name, point) for name, point in others if point is not best]
    said = []
    for name, point in others:
        more, fewer = (first, best), (name, point)
        if less(best, point, len(others))[0].high < 0:
            more, fewer = fewer, more
        robust, *clean = less(more[1], fewer[1], len(others))
        pair = f"{named(more[1])} less {named(fewer[1])}: {points(robust)}"
        pair += "".join(f" of robust and {points(one)} of clean accuracy" for one in clean)
        if is_tie(robust, n):
            verdict = f"{first} and {name} are not shown to differ in robust accuracy"
        else:
            verdict = f"{more[0]} bought more robust accuracy than {fewer[0]}"
        verdict += "".join(of_clean(one, more[0], fewer[0]) for one in clean)
        said.append(f"{where} {verdict}{within}: {pair}.")
    return said


def _over_da(over: Mapping[str, Estimate | None], da: str, n: int) -> list[str]:
    gains = [f"{name} {told(one, n)}" for name, one in over.items() if one is not None]
    return [f"Over {da}, robust accuracy: {'; '.join(gains)}."] * bool(gains)


# -- A search


def _of_search(source: StudySource, answer: SearchAnswer) -> Answer:
    info = source.front
    n = info.n_corrupted or 1
    first = answer.sets[0]
    said = [*_asked_sets(answer, info.question, n), _first_set(answer, first)]
    others = answer.sets[1:]
    if others:
        behind = "; ".join(
            f"{named(one.best)} {told(one.over['best'], n)}{_if_outside(one)}" for one in others
        )
        said.append(f"The best points of the other sets, less this one: {behind}.")
    said += types_sentence(first.parts, first.robust)
    said += [_rival(answer, one) for one in answer.sets if one.rival is not None]
    said += unsuccessful(source.record, answer.collapsed)
    said.append(_optimistic(info, len(answer.ranked)))
    cards = tuple(_set_card(one, answer, n) for one in answer.sets)
    refused = refused_curves(source.record, [one.best.number for one in answer.sets])
    return Answer(tuple(said), cards, (*_search_notes(answer), *refused))


def _asked_sets(answer: SearchAnswer, question: str, n: int) -> list[str]:
    """Of the best points of the sets; and over data augmentation, where that is not asked for."""
    words = [one for one in asked_words(question) if one != "ca"]
    asked = asked_points(words, [one.best for one in answer.sets])
    if not asked:
        return []

    def less(one: ParetoPoint, other: ParetoPoint, _: int) -> Sequence[Estimate]:
        return [answer.compare(one, other)]

    over_da = {one.best.number: one.over.get("DA") for one in answer.sets}
    over = {name: over_da[point.number] for name, point in asked.items()}
    return [
        *_compared(asked, less, n, "In this search", f" {_within(answer)}"),
        *_over_da({} if "DA" in asked else over, "the best point of DA alone", n),
    ]


def _first_set(answer: SearchAnswer, first: SetAnswer) -> str:
    if not first.keeping:
        return (
            f"No point keeps clean accuracy within {_margin(answer)} of the baseline. "
            f"{capital(named(first.best))} loses least: {points(first.clean)} of clean and "
            f"{points(first.robust)} of robust accuracy over the baseline."
        )
    plain = first.over.get("plain")
    over = "" if plain is None else f", {points(plain)} over the plain finetune"
    return (
        f"The most robust point of all {_within(answer)}, {named(first.best)}: "
        f"{points(first.robust)} of robust accuracy over the baseline{over}, and "
        f"{points(first.clean)} of clean accuracy."
    )


def _rival(answer: SearchAnswer, one: SetAnswer) -> str:
    assert one.rival is not None
    return (
        f"Just outside: {named(one.rival.point)} has {points(one.rival.clean)} of clean accuracy, "
        f"not shown to lose more than {_margin(answer)}, and {points(one.rival.robust)} of robust "
        f"accuracy over {one.best.name}."
    )


def _set_card(one: SetAnswer, answer: SearchAnswer, n: int) -> Card:
    da = next((other for other in answer.sets if other.terms in ("clean+da", "da")), one)
    others = [] if da is one else compute_facts(one.best, da.best)
    tied = trial_numbers([point.number for point in one.tied])
    others += [("Tied in this set", tied)] * bool(one.tied)
    return point_card(
        one.best,
        robust=one.robust,
        clean=f"{points(one.clean)}{_if_outside(one)}",
        over={key.replace("best", "the best set"): less for key, less in one.over.items()},
        parts=one.parts,
        n_images=n,
        others=[*others, ("Within the margin", f"{one.keeping} of {one.trials} trials")],
    )


def _search_notes(answer: SearchAnswer) -> tuple[str, ...]:
    if all(math.isnan(one.robust.low) for one in answer.sets):
        return ("no intervals: this study has not stored which images were classified correctly",)
    pairs = math.comb(len(answer.sets), 2)
    several = f"; between sets simultaneous for {pairs} pairs (Bonferroni)" * (pairs > 1)
    return (
        f"brackets: 95 % interval of new images for these networks, t over images{several}",
        "a tie: the interval contains 0, or the difference is at most one image",
    )


def _best_of_each(info: ParetoInfo) -> str:
    """Of objectives that are not clean and robust accuracy: the best trial of each."""
    found = []
    for place, objective in enumerate(info.objectives):
        counted = (point for point in info.points if not point.violation)
        numbers = [point for point in counted if math.isfinite(point.values[place])]
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
    if len(info.objectives) == 1:
        return f"{capital(found[0])} of {count_text(len(info.points), 'complete trial')}."
    front = "1 trial is" if len(info.front) == 1 else f"{len(info.front)} trials are"
    return f"{capital('; '.join(found))}; {front} on the front."


# -- A confirmed front


def _of_confirmation(source: StudySource, answer: SearchAnswer, info: ConfirmInfo) -> Answer:
    """All confirmed points; the search's choice is named, as one by the test images would be a
    choice on the test set."""
    by_name = {
        one.name: one for one in info.points if not math.isnan(one.gains.get(_ROBUST, NOTHING).mean)
    }
    ranked = [point for point in answer.ranked if point.name in by_name]
    if not ranked:
        return Answer(("Confirmation is running: no run on the test images has ended yet.",))
    n = info.test.n_corrupted or 1
    there = [by_name[point.name] for point in ranked]
    chosen, best = by_name.get(answer.sets[0].best.name), named(answer.sets[0].best)
    planned = [point for point in answer.ranked if point.name in {one.name for one in info.points}]
    said = [
        *unfinished(info.test),
        *_asked_confirmed(info, source.front.question, ranked, planned, n),
        _retrained(info, there, "The front was", "being on it"),
    ]
    if chosen is None:
        why = "has no score yet" if answer.sets[0].best in planned else "is not among them"
        said.append(f"The point that the search would choose, {best}, {why}.")
    else:
        over = "".join(f", {told(one, n)} over {to}" for to, one in _over(info, chosen).items())
        said.append(
            f"Chosen by the search alone ({_within(answer)}): {best}, "
            f"{points(chosen.gains[_ROBUST])} of robust accuracy over the baseline"
            f"{over}, and {points(chosen.gains[_CLEAN])} of clean accuracy."
        )
        said += types_sentence(chosen.parts, chosen.gains[_ROBUST])
    said.append(_REPORT_ALL)
    said += unsuccessful(source.record, answer.collapsed)
    said += [f"{capital(failure)}." for failure in info.test.failures]
    cards = tuple(
        point_card(
            point,
            robust=one.gains[_ROBUST],
            clean=points(one.gains.get(_CLEAN, NOTHING)),
            over=_over(info, one),
            parts=one.parts,
            n_images=n,
            others=[("On the front", share_text(one.front_probability)), *kept_facts(info, one)],
        )
        for point, one in zip(ranked, there, strict=True)
    )
    effects = [one for one in info.test.effects if one.metric == _ROBUST]
    return Answer(tuple(said), cards, tuple(interval_notes(info.test, effects)))


def _asked_confirmed(
    info: ConfirmInfo,
    question: str,
    ranked: Sequence[ParetoPoint],
    planned: Sequence[ParetoPoint],
    n: int,
) -> list[str]:
    """Each term by the confirmed point that the search ranks first; DA and CA by the arm that is
    retrained beside them."""
    words = asked_words(question)
    terms = [one for one in words if one in ("fma", "st")]
    asked = asked_points(terms, ranked)
    over_da = {one.name: one.over_da.get(_ROBUST) for one in info.points}

    def less(one: ParetoPoint, other: ParetoPoint, of: int) -> Sequence[Estimate]:
        level = 1 - ALPHA / of
        return [info.compare(one.name, other.name, metric, level) for metric in (_ROBUST, _CLEAN)]

    said = []
    if asked:
        over = {name: over_da[point.name] for name, point in asked.items()}
        said += _compared(asked, less, n, "On the test images", " (exploratory)")
        at = " at alpha 1" * any(point.point.alpha != 1 for point in asked.values())
        said += _over_da(over, f"combined data augmentation alone{at}", n)
    combined = info.test.to_reference(COMBINED_DA, _ROBUST)
    if combined is not None and {"da", "ca"} & {*words}:
        name = "/".join(ASKED[one][0] for one in ("da", "ca") if one in words)
        said += _over_da({name: combined.estimate}, "plain, by combined data augmentation alone", n)
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


# -- Words that all share


_REPORT_ALL = (
    "To choose another of these points by these numbers would be a choice on the test set: report "
    "all of them, or the one that was chosen before."
)


def _retrained(info: ConfirmInfo, there: Sequence[ConfirmedPoint], what: str, of: str) -> str:
    chances = ", ".join(f"{one.name} {share_text(one.front_probability)}" for one in there)
    of = "keeping the constraints and " * bool(info.constraints) + of
    unknown = " and ".join(map(metric_words, info.unknown))
    but = f" Not judged, as the test images were not scored for it: {unknown}." * bool(unknown)
    seeds = f"{count_text(info.test.seeds, 'new seed')} and scored on the test images"
    return f"{what} retrained with {seeds}. Probability of {of}: {chances}.{but}"


def _optimistic(info: ParetoInfo, chosen_from: int) -> str:
    seed = "" if info.seed is None else f" (seed {info.seed})"
    return (
        f"Each point was trained once{seed} and chosen from {count_text(chosen_from, 'trial')}, so "
        "its score is optimistic, and no interval covers other seeds. `ablate confirm` measures "
        "both, on the test images."
    )


def _if_outside(one: SetAnswer) -> str:
    return "" if one.keeping else " (no point within the margin)"


def _margin(answer: SearchAnswer) -> str:
    return count_text(1, "point") if answer.margin == 0.01 else f"{100 * answer.margin:g} points"


def _within(answer: SearchAnswer) -> str:
    return f"at a clean loss of at most {_margin(answer)}"


# -- A search for one accuracy, and its confirmation


_MOST_CARDS = 5


def _of_best(source: StudySource, answer: BestAnswer) -> Answer:
    """The best trial, those that it may equal, and what is left of them on the test images."""
    metric, best, info = source.front.objectives[0].metric, answer.best, source.confirmation
    words = metric_words(metric)
    to = {"baseline": "the baseline", "plain": "the plain finetune"}
    gains = ", ".join(f"{points(one)} over {to[name]}" for name, one in answer.over.items())
    value = metric_text(metric, best.values[0])
    said = [f"The best {words} is {value} %, of {named(best)}: {gains}."]
    compared = min(MOST_COMPARED, len(answer.ranked) - 1)
    if answer.ties:
        are = "is" if len(answer.ties) == 1 else "are"
        ties = trial_numbers([one.number for one, _ in answer.ties]).lower()
        after = count_text(compared, "trial")
        said.append(f"Of the next {after}, {ties} {are} not shown to be worse.")
    elif compared:
        said.append(f"It is shown to be better than each of the next {compared} on these images.")
    said += unsuccessful(source.record, ())
    less = {one.number: [("Less the best", points(behind))] for one, behind in answer.ties}
    over = [(f"Over {to[name]}", points(one)) for name, one in answer.over.items()]
    facts: dict[int, list[tuple[str, str]]] = {best.number: over, **less}
    if info is None:
        said.append(_optimistic(source.front, len(answer.ranked)))
        facts = dict([*facts.items()][:_MOST_CARDS])
    else:
        there = [one for one in info.points if info.objectives and info.objectives[0] in one.gains]
        numbers = {Point.of_name(one.name).trial: one for one in there}
        facts = {number: facts.get(number, []) for number in numbers}
        for number, one in numbers.items():
            gain = f"{points(one.gains[info.objectives[0]])} over the baseline"
            facts[number].append(("On the test images", gain))
            facts[number].append(("The best of these", share_text(one.front_probability)))
            facts[number] += kept_facts(info, one)
        said += _best_confirmed(info, there, best)
    cards = [
        Card(
            f"{one.loss_terms}: {one.name}",
            one.loss_terms,
            one.number,
            ((capital(words), f"{metric_text(metric, one.values[0])} %"), *facts[one.number]),
        )
        for one in answer.ranked
        if one.number in facts
    ]
    notes = (
        "brackets: 95 % interval of new images for these networks, t over images",
        "not shown: the interval of the difference contains 0 or is not known, or it is at most "
        f"one of {answer.n_images} images",
    )
    return Answer(tuple(said), tuple(cards), notes)


def _best_confirmed(
    info: ConfirmInfo, there: Sequence[ConfirmedPoint], best: ParetoPoint
) -> list[str]:
    if not there:
        return ["Confirmation is running: no run on the test images has ended yet."]
    tested = info.objectives[0]
    count = count_text(len(there), "trial was", "trials were")
    said = [*unfinished(info.test), _retrained(info, there, count, "having the best mean")]
    chosen = next((one for one in there if one.name == best.name), None)
    if chosen is not None:
        said.append(
            f"Chosen by the search alone: {named(best)}, {points(chosen.gains[tested])} of "
            f"{metric_words(tested)} over the baseline on the test images."
        )
    return [*said, _REPORT_ALL]
