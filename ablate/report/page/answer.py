"""The answer in words and cards, computed from the data, for a search, its confirmation or an
ablation.

No difference stands without its interval, and one that its interval does not show is called a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablate.ablation.answer import SearchAnswer, SetAnswer, is_tie
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import is_accuracy
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.ledger.record import StudyRecord
from ablate.report.arms import NOTHING, interval_notes, scale
from ablate.report.numbers import count_text, metric_words, share_text
from ablate.report.page.ablation_answer import ablation_answer
from ablate.report.page.card import (
    ASKED,
    Answer,
    Card,
    asked_words,
    capital,
    if_tie,
    named,
    part_facts,
    points,
    types_sentence,
)
from ablate.study.scores import Scores

_MOST_NAMED = 8
_CLEAN, _ROBUST = "test_clean_accuracy", "test_robust_accuracy"


def study_answer(source: StudySource) -> Answer:
    """The answer of a study, from the rows that have ended."""
    if source.ablation is not None:
        return ablation_answer(source.record, source.ablation)
    if not source.front.points:
        return Answer((f"None of {source.front.trials} trials is complete yet.",))
    if source.answer is None:
        return Answer((_best_of_each(source.front),))
    if source.confirmation is not None:
        return _of_confirmation(source, source.confirmation)
    return _of_search(source, source.answer)


# -- A search


def _of_search(source: StudySource, answer: SearchAnswer) -> Answer:
    info = source.front
    n = info.n_corrupted or 1
    first = answer.sets[0]
    said = [*_asked_sets(answer, info.question, n), _first_set(answer, first)]
    others = answer.sets[1:]
    if others:
        behind = "; ".join(
            f"{named(one.best)} {points(one.over['best'])}"
            f"{if_tie(one.over['best'], n)}{_if_outside(one)}"
            for one in others
        )
        said.append(f"The best points of the other sets, less this one: {behind}.")
    said += types_sentence(first.parts, first.robust)
    rivals = [one for one in answer.sets if one.rival is not None]
    said += [_rival(answer, one) for one in rivals]
    said += _unsuccessful(source.record, answer)
    seed = "" if info.seed is None else f" (seed {info.seed})"
    said.append(
        f"Each point was trained once{seed} and chosen from "
        f"{count_text(answer.chosen_from, 'trial')}, so its score is optimistic, and no interval "
        "covers other seeds. `ablate confirm` measures both, on the test images."
    )
    cards = tuple(_set_card(one, answer, n) for one in answer.sets)
    return Answer(tuple(said), cards, _search_notes(answer))


def _asked_sets(answer: SearchAnswer, question: str, n: int) -> list[str]:
    """The question in its own words: the terms that it names, compared with each other and DA."""
    asked = [key for key in asked_words(question) if key != "ca" and answer.best_with([key])]
    found = {key: answer.best_with([key], [one for one in asked if one != key]) for key in asked}
    sets = {key: one for key, one in found.items() if one is not None}
    order = sorted(sets, key=lambda key: answer.sets.index(sets[key]))
    said = []
    for key in order[1:]:
        best, other = sets[order[0]], sets[key]
        if best is other:
            continue
        names = ASKED[order[0]][0], ASKED[key][0]
        difference = answer.compare(best.best, other.best)
        pair = f"{named(best.best)} less {named(other.best)}: {points(difference)}"
        within = _within(answer)
        if is_tie(difference, n):
            said.append(f"{names[0]} and {names[1]} are not shown to differ {within}: {pair}.")
        else:
            who = f"In this search {names[0]} buys more robust accuracy than {names[1]}"
            said.append(f"{who} {within}: {pair}.")
    over = {key: sets[key].over["DA"] for key in order if "DA" in sets[key].over}
    if over and "da" not in order:
        parts = (f"{ASKED[key][0]} {points(one)}{if_tie(one, n)}" for key, one in over.items())
        said.append(f"Over the best point of data augmentation alone (DA): {'; '.join(parts)}.")
    return said


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


def _unsuccessful(record: StudyRecord, answer: SearchAnswer) -> list[str]:
    failed = [(row.number, row.failure.kind) for row in record.rows if row.failure is not None]
    said = []
    if answer.collapsed:
        said.append(
            f"{_numbers(answer.collapsed)} collapsed: far below the others in clean or robust "
            "accuracy."
        )
    if failed:
        kinds = ", ".join(dict.fromkeys(kind for _, kind in failed))
        said.append(f"{_numbers([number for number, _ in failed])} failed ({kinds}).")
    return said


def _set_card(one: SetAnswer, answer: SearchAnswer, n: int) -> Card:
    facts = [
        ("Robust accuracy", f"{points(one.robust)} over the baseline"),
        ("Clean accuracy", f"{points(one.clean)}{_if_outside(one)}"),
    ]
    names = {"plain": "Over plain", "DA": "Over DA", "best": "Over the best set"}
    for key, estimate in one.over.items():
        facts.append((names[key], f"{points(estimate)}{if_tie(estimate, n)}"))
    da = next((other for other in answer.sets if _is_da(other)), None)
    if da is not None and da is not one and _images(da.best) > 0:
        facts.append(("Compute", f"{_images(one.best) / _images(da.best):.1f} times that of DA"))
    facts += part_facts(one.parts)
    if one.tied:
        facts.append(("Tied in this set", _numbers([point.number for point in one.tied])))
    facts.append(("Within the margin", f"{one.keeping} of {one.trials} trials"))
    return Card(f"{one.terms}: {one.best.name}", one.terms, one.best.number, tuple(facts))


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
    front = "1 trial is" if len(info.front) == 1 else f"{len(info.front)} trials are"
    return f"{capital('; '.join(found))}; {front} on the front."


# -- A confirmed front


def _of_confirmation(source: StudySource, info: ConfirmInfo) -> Answer:
    """All confirmed points; the search's choice is named, as one by the test images would be a
    choice on the test set."""
    assert source.answer is not None
    by_name = {point.name: point for point in source.front.points}
    there = [
        one
        for one in info.points
        if one.name in by_name and not math.isnan(one.gains.get(_ROBUST, NOTHING).mean)
    ]
    if not there:
        return Answer(("Confirmation is running: no run on the test images has ended yet.",))
    n = info.test.n_corrupted or 1
    seeds = f"{count_text(info.test.seeds, 'new seed')} and scored on the test images"
    chances = ", ".join(f"{one.name} {share_text(one.front_probability)}" for one in there)
    said = [
        f"The front, {count_text(len(there), 'point')}, was retrained with {seeds}. Probability of "
        f"being on the front of these points: {chances}."
    ]
    choice = source.answer.sets[0].best
    chosen = next((one for one in there if one.name == choice.name), None)
    if chosen is None:
        said.append(f"The point that the search would choose, {named(choice)}, is not among them.")
    else:
        said.append(
            f"Chosen by the search alone ({_within(source.answer)}): {named(choice)}, "
            f"{points(chosen.gains[_ROBUST])} of robust accuracy over the baseline"
            f"{_over_arms(info, chosen, n)}, and {points(chosen.gains[_CLEAN])} of clean accuracy."
        )
        said += types_sentence(chosen.parts, chosen.gains[_ROBUST])
    said.append(
        "To choose another of these points by these numbers would be a choice on the test set: "
        "report all of them, or the one that was chosen before."
    )
    said += [f"{failure[:1].upper()}{failure[1:]}." for failure in info.test.failures]
    notes = interval_notes(info.test, [one for one in info.test.effects if one.metric == _ROBUST])
    cards = tuple(_point_card(one, by_name[one.name], info, n) for one in there)
    return Answer(tuple(said), cards, tuple(notes))


def _over_arms(info: ConfirmInfo, point: ConfirmedPoint, n: int) -> str:
    plain, da = info.test.to_reference(point.name, _ROBUST), point.over_da.get(_ROBUST)
    over = {"plain": None if plain is None else plain.estimate, "combined data augmentation": da}
    return "".join(
        f", {points(one)} over {name}{if_tie(one, n)}"
        for name, one in over.items()
        if one is not None
    )


def _point_card(one: ConfirmedPoint, point: ParetoPoint, info: ConfirmInfo, n: int) -> Card:
    facts = [
        ("Robust accuracy", f"{points(one.gains[_ROBUST])} over the baseline"),
        ("Clean accuracy", points(one.gains.get(_CLEAN, NOTHING))),
    ]
    plain = info.test.to_reference(one.name, _ROBUST)
    over = {
        "Over plain": NOTHING if plain is None else plain.estimate,
        "Over DA combined": one.over_da.get(_ROBUST, NOTHING),
    }
    for name, estimate in over.items():
        if not math.isnan(estimate.mean):
            facts.append((name, f"{points(estimate)}{if_tie(estimate, n)}"))
    facts += part_facts(one.parts)
    facts.append(("On the front", share_text(one.front_probability)))
    title = f"{point.loss_terms}: {one.name}"
    return Card(title, point.loss_terms, point.number, tuple(facts))


# -- Words that both share


def _if_outside(one: SetAnswer) -> str:
    return "" if one.keeping else " (no point within the margin)"


def _margin(answer: SearchAnswer) -> str:
    return count_text(1, "point") if answer.margin == 0.01 else f"{100 * answer.margin:g} points"


def _within(answer: SearchAnswer) -> str:
    return f"at a clean loss of at most {_margin(answer)}"


def _is_da(one: SetAnswer) -> bool:
    return {*one.terms.split("+")} - {"clean"} == {"da"}


def _images(point: ParetoPoint) -> float:
    """That went through the network and a teacher."""
    scores = point.scores
    return scores.student_images + scores.teacher_images if isinstance(scores, Scores) else math.nan


def _numbers(numbers: Sequence[int]) -> str:
    """ "Trial 3", "Trials 3, 9 and 2 more"."""
    shown = ", ".join(map(str, numbers[:_MOST_NAMED]))
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    return f"Trial{'s' * (len(numbers) > 1)} {shown}{more}"
