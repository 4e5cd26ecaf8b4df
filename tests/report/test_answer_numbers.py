"""Every number of an answer, recomputed: of studies that are drawn here, and of recorded ones.

`ledgers/*.sql.xz` are dumps of the ledgers of real runs, without their leases and with other names
of folders and machines. On two CPU cores with Python 3.11, torch 2.13, torchvision 0.28, optuna
5.0, ray 2.60 and numpy 2.4:

    quickstart           ablate launch studies/quickstart.yaml; ablate confirm quickstart --seeds 5
                         at commit a137a59: a search of 16 trials, and its confirmed front
    ablation_quickstart  ablate launch studies/ablation_quickstart.yaml, at commit 7337473
    cifar10_arms         DA, ST, FMA and DA+FMA over 8 seeds of 24,000 images, with the networks
                         between them and one baseline (CIFAR-10, resnet20); its settings are in
                         the ledger, its commit is not known
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row
from example_results import Example, make_design, make_example, make_scored
from recomputed_answers import Confirmed, Search
from recomputed_arms import (
    CLEAN,
    INTERPOLATED,
    ROBUST,
    Arms,
    in_points,
    largest,
    numbers,
    p_text,
    printed,
)

from ablate.ablation.cell import Arm, Claim, difference
from ablate.ablation.confirm import confirm_info
from ablate.ablation.design import COMBINED_DA, front_design
from ablate.ablation.info import ablation_info
from ablate.ablation.study_source import StudySource
from ablate.lifecycle.open_study import OpenStudy, read_bits, read_outcomes
from ablate.report.page.answer import study_answer
from ablate.robustness.bits import Scored

TYPES = ("gaussian_noise", "impulse_noise", "gaussian_blur")
N, CORRUPTED = 61, 47  # so that no number lies halfway between two that are printed


def drawn(random: np.random.Generator, robust: float, clean: float, **fields: Any) -> Scored:
    rates = dict(zip(TYPES, (robust - 0.1, robust, robust + 0.1), strict=True))
    return make_scored(random, rates, clean=clean, n=N, n_corrupted=CORRUPTED, **fields)


def check_sentences(said: tuple[str, ...], expected: list[str]) -> None:
    assert [numbers(one) for one in said] == [numbers(one) for one in expected]
    assert [one.count("(a tie)") for one in said] == [one.count("(a tie)") for one in expected]


# -- a search


DRAWN = {
    0: ("clean+da", 0.70, 0.95),
    1: ("clean+st", 0.78, 0.95),
    2: ("clean+st", 0.77, 0.95),
    3: ("clean+fma", 0.55, 0.95),
    4: ("clean+fma", 0.90, 0.90),
    5: ("clean+st+fma", 0.30, 0.50),
    6: ("clean+st+fma", 0.60, 0.92),
}


def drawn_search(margin: float = 0.02, question: str = "Which of FMA and ST buys more?") -> Search:
    """Seven trials with bits; the last but one collapsed."""
    random = np.random.default_rng(3)
    base = drawn(random, 0.5, 0.95)
    scored: dict[int | str, Scored] = {
        number: drawn(random, robust, clean, student_images=100 + number)
        for number, (_, robust, clean) in DRAWN.items()
    }
    rows = [
        example_row(
            number,
            (one.scores.clean_accuracy, one.scores.robust_accuracy),
            params={"loss.terms": DRAWN[number][0]},
            scores=one.scores,
        )
        for number, one in scored.items()
        if isinstance(number, int)
    ]
    scored |= {"baseline": base, "plain": drawn(random, 0.52, 0.96)}
    references = {name: scored[name].scores for name in ("baseline", "plain")}
    answer = {"clean_margin": margin}
    record = example_record(rows, references=references, question=question, answer=answer)
    return Search(record, scored)


def source_of(search: Search) -> StudySource:
    texts = {name: {"val": one.bits} for name, one in search.scored.items()}
    references = {name: text for name, text in texts.items() if isinstance(name, str)}
    return StudySource(
        search.record, read_bits=lambda some: ({n: texts[n] for n in some}, references)
    )


def recorded_search(study: OpenStudy) -> Search:
    bits, of_references = read_bits(study.place)
    scored: dict[int | str, Scored] = {
        row.number: Scored(row.scores, bits[row.number]["val"])  # type: ignore[arg-type]
        for row in study.record.complete
    }
    for name, scores in study.record.references.items():
        scored[name] = Scored(scores, of_references[name]["val"])
    return Search(study.record, scored)


def check_search(search: Search, source: StudySource) -> None:
    answer = study_answer(source)
    assert [card.trial for card in answer.cards] == search.bests
    for card in answer.cards:
        assert card.trial is not None
        assert dict(card.facts) == search.card(card.trial)
    check_sentences(answer.sentences, search.sentences())
    assert numbers(answer.notes[0]) == ["95", *([str(search.pairs())] * (search.pairs() > 1))]


@pytest.mark.parametrize("margin", [0.02, 0.2])
def test_every_number_of_a_drawn_search(margin: float) -> None:
    search = drawn_search(margin)
    check_search(search, source_of(search))
    assert "Trial 5 collapsed" in " ".join(study_answer(source_of(search)).sentences)


def test_every_number_of_the_quickstart(recorded: Callable[[str], OpenStudy]) -> None:
    study = recorded("quickstart")
    source = replace(study.source, confirmation=None, confirming=None)
    check_search(recorded_search(study), source)


def test_without_bits_nothing_is_claimed() -> None:
    answer = study_answer(StudySource(drawn_search(0.2).record))
    text = " ".join([*answer.sentences, *(t for card in answer.cards for _, t in card.facts)])
    assert "[" not in text
    assert "points (no interval)" in text
    assert "In this search FMA and ST are not shown to differ" in text
    assert answer.notes == (
        "no intervals: this study has not stored which images were classified correctly",
    )


# -- a search for one accuracy


def for_one(search: Search) -> Search:
    """The same, for robust accuracy alone."""
    record = search.record
    study = record.study.model_copy(update={"objectives": record.study.objectives[1:]})
    rows = tuple(replace(row, values=row.values[1:] if row.values else None) for row in record.rows)
    return Search(replace(record, study=study, rows=rows, reference_point=None), search.scored)


def check_best(search: Search, source: StudySource) -> list[Any]:
    """Returns the numbers of the trials that are not told from the best."""
    answer = study_answer(source)
    best, *others = sorted(search.terms, key=lambda one: (-search.value(one), one))
    ties = [one for one in others[:12] if search.is_tie(search.less(one, best))]
    shown = {"Robust accuracy": f"{100 * search.value(best):.1f} %"}
    for to, name in {"the baseline": "baseline", "the plain finetune": "plain"}.items():
        shown[f"Over {to}"] = search.told(search.less(best, name))
    first, *rest = answer.cards
    assert (first.trial, dict(first.facts)) == (best, shown)
    assert answer.sentences[0].endswith(
        f"(trial {best}): {shown['Over the baseline']} over the baseline, "
        f"{shown['Over the plain finetune']} over the plain finetune."
    )
    assert [card.trial for card in rest] == ties[:4]
    for card in rest:
        assert dict(card.facts)["Less the best"] == in_points(search.less(card.trial, best))
    if ties:
        assert numbers(answer.sentences[1]) == numbers(f"{min(12, len(others))} {ties}")
    else:
        assert answer.sentences[1].startswith("It is shown to be better than each of the next")
    return ties


def test_every_number_of_a_drawn_search_for_one_accuracy() -> None:
    search = for_one(drawn_search())
    assert check_best(search, source_of(search)) == []
    del search.scored[4]  # without the best one, the next three are alike
    rows = tuple(row for row in search.record.rows if row.number != 4)
    fewer = Search(replace(search.record, rows=rows), search.scored)
    assert check_best(fewer, source_of(fewer)) == [2, 0]


def test_every_number_of_the_quickstart_for_robust_accuracy(
    recorded: Callable[[str], OpenStudy],
) -> None:
    study = recorded("quickstart")
    search = for_one(recorded_search(study))
    assert check_best(search, StudySource(search.record, read_bits=study.source.read_bits))


# -- an ablation


ARMS = {"plain": 0.5, "DA": 0.55, "DA+CA": 0.7, "ST+CA": 0.72, "FMA+CA": 0.64}
PRIMARY = [("FMA+CA", "plain"), ("ST+CA", "plain"), ("FMA+CA", "DA+CA"), ("ST+CA", "DA+CA")]


def drawn_ablation() -> Example:
    random = np.random.default_rng(5)
    runs = {name: [drawn(random, rate, 0.9) for _ in range(5)] for name, rate in ARMS.items()}
    design = make_design(list(ARMS))
    arms = {name: Arm(name, (name,)) for name in ARMS}
    contrasts = {one.name: one for one in design.contrasts}
    contrasts |= {f"{one} - {to}": difference(arms[one], arms[to]) for one, to in PRIMARY}
    claims = tuple(Claim(f"{one} - {to}", ROBUST) for one, to in PRIMARY)
    return make_example(
        runs,
        design=replace(design, contrasts=tuple(contrasts.values()), claims=claims),
        baseline=drawn(random, 0.45, 0.95),
        question="What do FMA, ST and DA gain?",
        settings={
            "contrasts": [{"compare": "ST+CA", "to": "DA"}],
            "primary": [{"compare": one, "to": to} for one, to in PRIMARY],
        },
    )


def check_ablation(arms: Arms, source: StudySource, exploratory: list[tuple[str, str]]) -> None:
    """Args: exploratory: contrasts that the question adds to the primary ones."""
    answer, info = study_answer(source), source.ablation
    assert info is not None
    said: dict[str, list[str]] = {}
    over: dict[str, dict[str, str]] = {}
    for (arm, to, metric), (less, p) in arms.claims().items():
        verdict = "not shown" if p >= 0.05 else "better" if less[0] > 0 else "worse"
        named = "robust accuracy" + ", interpolated" * metric.endswith(INTERPOLATED)
        text = f"against {to} {in_points(less)} of {named}, {verdict} (adjusted p {p_text(p)})"
        lost = arms.lost(arm, to)
        if lost is not None:
            margin = 100 * arms.record.study.ablation_section.noninferior.margin  # type: ignore[union-attr]
            kept = "yes" if not lost else f"not shown, up to {lost:.1f} points may be lost"
            text += f", clean accuracy kept within {margin:g} points: {kept}"
        said.setdefault(arm, []).append(text)
        on = ", robust, interpolated" * metric.endswith(INTERPOLATED)
        over.setdefault(arm, {})[f"Over {to}{on}"] = printed(less)
    for arm, to in exploratory:
        less = arms.triple(arm, to)
        text = f"against {to} {in_points(less)} of robust accuracy, exploratory"
        said.setdefault(arm, []).append(text)
        over.setdefault(arm, {})[f"Over {to}"] = printed(less)
    found = dict(one.removesuffix(".").split(": ", 1) for one in answer.sentences)
    assert {arm: sorted(text.split("; ")) for arm, text in found.items()} == {
        arm: sorted(texts) for arm, texts in said.items()
    }
    sides = [*arms.claims(), *((arm, to, "") for arm, to in exploratory)]
    shown = {side for arm, to, _ in sides for side in (arm, to)}
    assert {card.title for card in answer.cards} == shown
    is_interpolated = any(metric.endswith(INTERPOLATED) for _, _, metric in sides)
    for card in answer.cards:
        facts = {}
        for name, metric in (("Clean accuracy", CLEAN), ("Robust accuracy", ROBUST)):
            facts[name] = arms.mean(card.title, metric)
            if is_interpolated:
                facts[f"{name}, interpolated"] = arms.mean(card.title, metric + INTERPOLATED)
        facts |= over.get(card.title, {})
        if card.title != info.reference:
            at = " at alpha 1" * is_interpolated
            parts = arms.parts(card.title, info.reference)
            facts[f"Over {info.reference}{at}, by type"] = largest(parts)
        assert dict(card.facts) == facts
    assert numbers(answer.notes[0])[:2] == ["95", str(len(arms.claims()))]


def test_every_number_of_a_drawn_ablation() -> None:
    example = drawn_ablation()
    info = ablation_info(example.record, example.outcomes, example.references)
    arms = Arms(example.record, {**example.outcomes, **example.references})
    # DA is in the question and in no declared contrast; CA is in no question.
    check_ablation(arms, StudySource(example.record, info), [("DA", "plain"), ("DA+CA", "plain")])


@pytest.mark.parametrize("name", ["ablation_quickstart", "defaults_methods_cifar10_12"])
def test_every_number_of_a_recorded_ablation(
    name: str, recorded: Callable[[str], OpenStudy]
) -> None:
    study = recorded(name)
    bits, of_references = read_bits(study.place)
    check_ablation(Arms(study.record, {**bits, **of_references}), study.source, [])


# -- a confirmed front


RATES = {"plain": (0.5, 0.95), COMBINED_DA: (0.7, 0.9)}
RATES |= {"trial 1": (0.75, 0.92), "trial 4": (0.85, 0.85), "trial 2": (0.55, 0.8)}


def check_confirmation(confirmed: Confirmed, source: StudySource) -> None:
    answer, chances = study_answer(source), confirmed.chances()
    names = confirmed.names()
    assert [f"trial {card.trial}" for card in answer.cards] == names
    for card, name in zip(answer.cards, names, strict=True):
        assert dict(card.facts) == confirmed.card(name, chances[name])
    check_sentences(answer.sentences, confirmed.sentences(chances))
    said = " ".join(answer.sentences)
    assert "would be a choice on the test set" in said
    assert "In this search" not in said
    assert "`ablate confirm`" not in said, "it is done"


def test_every_number_of_a_drawn_confirmation() -> None:
    search = drawn_search()
    random = np.random.default_rng(11)

    def both(robust: float, clean: float) -> tuple[Scored, Scored]:
        return drawn(random, robust, clean), drawn(random, robust, clean, split="test")

    points = [point for point in source_of(search).front.points if point.name in RATES]
    example = make_example(
        {name: [both(*rates) for _ in range(4)] for name, rates in RATES.items()},
        design=front_design(points),
        baseline=both(0.45, 0.9),
    )
    info = confirm_info(example.record, example.outcomes, example.references)
    source = replace(source_of(search), confirmation=info, confirming=example.record)
    arms = Arms(example.record, {**example.outcomes, **example.references}, "test")
    check_confirmation(Confirmed(search, arms), source)


def test_every_number_of_the_confirmed_quickstart(recorded: Callable[[str], OpenStudy]) -> None:
    study = recorded("quickstart")
    record, bits, of_references = read_outcomes(study.place.confirmation)
    arms = Arms(record, {**bits, **of_references}, "test")
    check_confirmation(Confirmed(recorded_search(study), arms), study.source)
