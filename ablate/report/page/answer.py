"""The answer in words and cards, computed from the data, for a search, its confirmation or an
ablation.

No difference stands without its interval, and one that its interval does not show is called a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ablate.ablation.answer import MOST_COMPARED, BestAnswer, SearchAnswer, SetAnswer
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import baseline_warning
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, Point
from ablate.report.arms import NOTHING, scale
from ablate.report.numbers import count_text, metric_text, metric_words, share_text
from ablate.report.page.ablation_answer import ablation_answer
from ablate.report.page.card import (
    ASKED,
    Answer,
    Card,
    Images,
    asked_points,
    asked_words,
    capital,
    compared,
    compute_facts,
    kept_facts,
    margin_text,
    named,
    nothing_counts,
    over_da,
    point_card,
    points,
    refused_curves,
    told,
    trial_numbers,
    types_sentence,
    unsuccessful,
    within,
)
from ablate.report.page.confirmed_answer import (
    best_confirmed,
    confirmed_answer,
    confirmed_notes,
)


def study_answer(source: StudySource) -> Answer:
    """The answer of a study, from the rows that have ended; first what it is to be read with."""
    answer, warning = _answer(source), baseline_warning(source.record)
    if not warning:
        return answer
    return replace(answer, sentences=(f"Warning: {warning}.", *answer.sentences))


def _answer(source: StudySource) -> Answer:
    if source.ablation is not None:
        return _of_ablation(source, source.ablation)
    if all(point.violation for point in source.front.points):
        return Answer(nothing_counts(source.record))
    if source.best is not None:
        return _of_best(source, source.best)
    if source.answer is None:
        return Answer((_best_of_each(source.front), *unsuccessful(source.record, ())))
    if source.confirmation is not None:
        return confirmed_answer(source, source.answer, source.confirmation)
    return _of_search(source, source.answer)


def _of_ablation(source: StudySource, info: AblationInfo) -> Answer:
    confirmed = source.answering
    if confirmed is source or confirmed.ablation is None:
        return ablation_answer(source.record, info)
    answer = ablation_answer(confirmed.record, confirmed.ablation)
    how = f"Confirmed with {confirmed.ablation.seeds} new seeds on the test images."
    return replace(answer, sentences=(how, *answer.sentences))


# -- A search


def _of_search(source: StudySource, answer: SearchAnswer) -> Answer:
    info = source.front
    n = Images(info.n_images or 1, info.n_corrupted or 1)
    first = answer.sets[0]
    said = [*_asked_sets(answer, info.question, n), _first_set(answer, first, n)]
    others = answer.sets[1:]
    if others:
        behind = "; ".join(
            f"{named(one.best)} {told(one.over['best'], n.robust)}{_if_outside(one)}"
            for one in others
        )
        said.append(f"The best points of the other sets, less this one: {behind}.")
    said += types_sentence(first.parts, first.robust)
    said += [_rival(answer, one, n) for one in answer.sets if one.rival is not None]
    said += unsuccessful(source.record, answer.collapsed)
    said.append(_optimistic(source, len(answer.ranked)))
    cards = tuple(_set_card(one, answer, n) for one in answer.sets)
    refused = refused_curves(source.record, [one.best.number for one in answer.sets])
    return Answer(tuple(said), cards, (*_search_notes(answer), *refused))


def _asked_sets(answer: SearchAnswer, question: str, n: Images) -> list[str]:
    """Of the best points of the sets that keep clean accuracy within the margin; and over data
    augmentation, where that is not asked for."""
    words = [one for one in asked_words(question) if one != "ca"]
    kept = [one.best for one in answer.sets if one.keeping]
    asked, outside = asked_points(words, kept), _outside(answer, words, kept)
    if not asked:
        return outside

    def less(one: ParetoPoint, other: ParetoPoint, _: int) -> Sequence[Estimate]:
        return [answer.compare(one, other)]

    gains = {one.best.number: one.over.get("DA") for one in answer.sets}
    over = {name: gains[point.number] for name, point in asked.items()}
    of_da = "the best point of DA alone" + ("" if answer.da is None else _if_outside(answer.da))
    return [
        *compared(asked, less, n, "In this search", f" {within(answer)} (exploratory)"),
        *outside,
        *over_da({} if "DA" in asked else over, of_da, n.robust),
    ]


def _outside(answer: SearchAnswer, words: Sequence[str], kept: Sequence[ParetoPoint]) -> list[str]:
    """The terms of the question that only points beyond the margin have."""
    there = {term for one in answer.sets for term in one.terms.split("+")}
    found = {term for point in kept for term in point.loss_terms.split("+")}
    lacking = [ASKED[word][0] for word in words if word in there - found]
    return [f"No point with {' or '.join(lacking)} is {within(answer)}."] * bool(lacking)


def _first_set(answer: SearchAnswer, first: SetAnswer, n: Images) -> str:
    if not first.keeping:
        return (
            f"No point keeps clean accuracy within {margin_text(answer)} of the baseline. "
            f"{capital(named(first.best))} loses least: {told(first.clean, n.clean)} of clean "
            f"and {told(first.robust, n.robust)} of robust accuracy over the baseline."
        )
    plain = first.over.get("plain")
    over = "" if plain is None else f", {told(plain, n.robust)} over the plain finetune"
    return (
        f"The most robust point of all {within(answer)}, {named(first.best)}: "
        f"{told(first.robust, n.robust)} of robust accuracy over the baseline{over}, and "
        f"{told(first.clean, n.clean)} of clean accuracy."
    )


def _rival(answer: SearchAnswer, one: SetAnswer, n: Images) -> str:
    assert one.rival is not None
    clean = f"{told(one.rival.clean, n.clean)} of clean accuracy"
    return (
        f"Just outside: {named(one.rival.point)} has {clean}, not shown to lose more than "
        f"{margin_text(answer)}, and {points(one.rival.robust)} of robust accuracy over "
        f"{one.best.name}."
    )


def _set_card(one: SetAnswer, answer: SearchAnswer, n: Images) -> Card:
    da = answer.da or one
    others = [] if da is one else compute_facts(one.best, da.best)
    tied = trial_numbers([point.number for point in one.tied])
    others += [("Tied in this set", tied)] * bool(one.tied)
    return point_card(
        one.best,
        robust=one.robust,
        clean=f"{told(one.clean, n.clean)}{_if_outside(one)}",
        over={key.replace("best", "the best set"): less for key, less in one.over.items()},
        parts=one.parts,
        n_images=n.robust,
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
    """Of objectives that are not clean and robust accuracy: the best trial of each; of equal ones
    the first on the front."""
    found = []
    for place, objective in enumerate(info.objectives):
        counted = (point for point in info.points if not point.violation)
        numbers = [point for point in counted if math.isfinite(point.values[place])]
        if not numbers:
            continue
        sign = 1 if objective.direction == "maximize" else -1
        best = max(
            numbers,
            key=lambda point: (sign * point.values[place], point.on_front, -point.number),
        )
        value = best.values[place] * scale(objective.metric)
        unit = " %" if is_accuracy(objective.metric) else ""
        found.append(
            f"the best {metric_words(objective.metric)} is {value:.4g}{unit} (trial {best.number})"
        )
    if not found:
        return "No complete trial has numbers for its objectives."
    if len(info.objectives) == 1:
        count = sum(not point.violation for point in info.points)
        kept = " that keep the constraints" if count < len(info.points) else ""
        return f"{capital(found[0])} of {count_text(count, 'complete trial')}{kept}."
    front = "1 trial is" if len(info.front) == 1 else f"{len(info.front)} trials are"
    return f"{capital('; '.join(found))}; {front} on the front."


# -- Words that all share


def _optimistic(source: StudySource, ranked: int) -> str:
    seed = "" if source.front.seed is None else f" (seed {source.front.seed})"
    stopped = source.record.count("PRUNED")
    trials = count_text(ranked + stopped, "trial")
    trials += f", {stopped} of them stopped early" * bool(stopped)
    return (
        f"Each point was trained once{seed} and chosen from {trials}, so its score is optimistic, "
        "and no interval covers other seeds: exploratory until `ablate confirm` measures both, on "
        "the test images."
    )


def _if_outside(one: SetAnswer) -> str:
    return "" if one.keeping else " (no point within the margin)"


# -- A search for one accuracy, and its confirmation


_MOST_CARDS = 5


def _of_best(source: StudySource, answer: BestAnswer) -> Answer:
    """The best trial, those that it may equal, and what is left of them on the test images."""
    metric, best, info = source.front.objectives[0].metric, answer.best, source.confirmation
    words = metric_words(metric)
    to = {"baseline": "the baseline", "plain": "the plain finetune"}
    gains = ", ".join(
        f"{told(one, answer.n_images)} over {to[name]}" for name, one in answer.over.items()
    )
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
    over = [(f"Over {to[name]}", told(one, answer.n_images)) for name, one in answer.over.items()]
    facts: dict[int, list[tuple[str, str]]] = {best.number: over, **less}
    if info is None:
        said.append(_optimistic(source, len(answer.ranked)))
        facts = dict([*facts.items()][:_MOST_CARDS])
    else:
        tested = info.objectives[0] if info.objectives else ""
        there = [one for one in info.points if math.isfinite(one.gains.get(tested, NOTHING).mean)]
        numbers = {Point.of_name(one.name).trial: one for one in there}
        facts = {number: facts.get(number, []) for number in numbers}
        for number, one in numbers.items():
            gain = f"{points(one.gains[info.objectives[0]])} over the baseline"
            facts[number].append(("On the test images", gain))
            facts[number].append(("The best of these", share_text(one.front_probability)))
            facts[number] += kept_facts(info, one)
        said += best_confirmed(info, there, best)
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
    notes: tuple[str, ...] = (
        "brackets: 95 % interval of new images for these networks, t over images",
        "a tie, or not shown: the interval of the difference contains 0 or is not known, or it is "
        f"at most one of {answer.n_images} images",
    )
    if info is not None:
        notes += tuple(f"on the test images, {note}" for note in confirmed_notes(info))
    return Answer(tuple(said), tuple(cards), notes)
