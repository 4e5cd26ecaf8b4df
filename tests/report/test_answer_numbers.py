"""Every number of an answer once more, from rows and bits, by other and shorter code."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row
from example_results import Example, make_design, make_example, make_scored
from explicit_statistics import ADDED, Explicit, holm, images_right, simultaneous
from scipy import stats

from ablate.ablation.cell import Arm, Claim, difference
from ablate.ablation.confirm import COMBINED_DA, confirm_info, front_design
from ablate.ablation.info import ablation_info
from ablate.ablation.study_source import StudySource
from ablate.report.page.answer import study_answer
from ablate.report.page.card import Answer
from ablate.robustness.bits import Scored

CLEAN, ROBUST = "val_clean_accuracy", "val_robust_accuracy"
WEIGHTS = {"gaussian_noise": 1 / 4, "impulse_noise": 1 / 4, "gaussian_blur": 1 / 2}
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w.]*\w)")
N, CORRUPTED = 61, 47  # so that no number lies halfway between two that are printed


def drawn(random: np.random.Generator, robust: float, clean: float, **fields: Any) -> Scored:
    rates = dict(zip(WEIGHTS, (robust - 0.1, robust, robust + 0.1), strict=True))
    return make_scored(random, rates, clean=clean, n=N, n_corrupted=CORRUPTED, **fields)


Triple = tuple[float, float, float]
"""Mean, and the ends of the interval."""


def printed(of: Triple) -> str:
    """ "+1.2 [-0.3, +2.7]", in points."""

    def one(value: float) -> str:
        return "0.0" if value == 0 else f"{100 * value:+.1f}"

    return "{} [{}, {}]".format(*map(one, of))


def in_points(of: Triple) -> str:
    return printed(of).replace(" [", " points [")


# -- a search


TERMS = {
    0: ("clean+da", 0.70, 0.95),
    1: ("clean+st", 0.78, 0.95),
    2: ("clean+st", 0.77, 0.95),
    3: ("clean+fma", 0.55, 0.95),
    4: ("clean+fma", 0.90, 0.90),
    5: ("clean+st+fma", 0.30, 0.50),
}


class Searched:
    """Six trials with bits, and what an answer has to say of them."""

    def __init__(self, question: str = "Which of FMA and ST buys more?", margin: float = 0.02):
        random = np.random.default_rng(3)
        base = drawn(random, 0.5, 0.95)
        self.scored = {
            number: drawn(random, robust, clean, student_images=100 + number)
            for number, (_, robust, clean) in TERMS.items()
        }
        self.scored |= {"baseline": base, "plain": drawn(random, 0.52, 0.96)}
        self.margin = margin
        rows = [
            example_row(
                number,
                (one.scores.clean_accuracy, one.scores.robust_accuracy),
                params={"loss.terms": TERMS[number][0]},
                scores=one.scores,
            )
            for number, one in self.scored.items()
            if isinstance(number, int)
        ]
        references = {name: self.scored[name].scores for name in ("baseline", "plain")}
        self.record = example_record(
            rows, references=references, question=question, answer={"clean_margin": margin}
        )

    @property
    def source(self) -> StudySource:
        texts = {name: {"val": one.bits} for name, one in self.scored.items()}
        rows = {name: text for name, text in texts.items() if isinstance(name, int)}
        references = {name: text for name, text in texts.items() if isinstance(name, str)}

        def read(numbers: Any) -> Any:
            return {number: rows[number] for number in numbers}, references

        return StudySource(self.record, read_bits=read)

    def right(self, name: int | str, metric: str) -> np.ndarray:
        one = self.scored[name]
        return images_right(one.bits, one.scores, metric)

    def less(
        self,
        one: int | str,
        other: int | str,
        metric: str = ROBUST,
        weight: float = 1,
        pairs: int = 1,
    ) -> Triple:
        """Mean and interval over images, with the added images of `ADDED`."""
        bits = weight * (self.right(one, metric) - self.right(other, metric))
        n, mean, squares = len(bits), bits.mean(), (bits**2).sum()
        size = (bits**4).sum() / squares if squares else 1.0
        variance = (squares - n * mean**2 + ADDED * size) / (n + ADDED - 1)
        half = stats.t.isf(0.025 / pairs, n - 1) * math.sqrt(variance / n)
        return mean, mean - half, mean + half

    def value(self, name: int | str, metric: str = ROBUST) -> float:
        return float(self.right(name, metric).mean())

    def clean(self, number: int) -> float:
        return self.value(number, CLEAN)

    def keeps(self, number: int) -> bool:
        return self.value(number, CLEAN) >= self.value("baseline", CLEAN) - self.margin - 1e-9

    def bests(self) -> list[int]:
        """The best trial of each set, the most robust first, those outside the margin last."""
        found = []
        for terms in {terms for terms, _, _ in TERMS.values()}:
            own = [number for number, (of, _, _) in TERMS.items() if of == terms]
            keeping = list(filter(self.keeps, own))
            best = max(keeping, key=self.value) if keeping else max(own, key=self.clean)
            found.append((bool(keeping), self.value(best), best))
        return [best for _, _, best in sorted(found, reverse=True)]


TRIPLE = re.compile(r"([+-]?\d+\.\d)(?: points)? (\[[^]]*\])")


def triples(texts: Iterable[str]) -> set[str]:
    return {" ".join(found) for text in texts for found in TRIPLE.findall(text)}


def is_tie(difference: Triple) -> bool:
    return bool(difference[1] <= 0 <= difference[2] or abs(difference[0]) * CORRUPTED <= 1)


def told(difference: Triple) -> str:
    return in_points(difference) + " (a tie)" * is_tie(difference)


def test_every_number_of_a_search() -> None:
    search = Searched()
    answer, bests = study_answer(search.source), search.bests()
    da, pairs = 0, math.comb(len(bests), 2)
    assert [card.trial for card in answer.cards] == bests
    for card, number in zip(answer.cards, bests, strict=True):
        terms = TERMS[number][0]
        own = [one for one, (of, _, _) in TERMS.items() if of == terms]
        robust, clean = (search.less(number, "baseline", one) for one in (ROBUST, CLEAN))
        parts = {
            kind: search.less(number, "baseline", f"val_accuracy.{kind}", weight)
            for kind, weight in WEIGHTS.items()
        }
        assert sum(part[0] for part in parts.values()) == pytest.approx(robust[0])
        ordered = sorted(parts, key=lambda kind: -parts[kind][0])
        keeping = list(filter(search.keeps, own))
        ties = [one for one in keeping if one != number and is_tie(search.less(one, number))]
        expected = {
            "Robust accuracy": f"{in_points(robust)} over the baseline",
            "Clean accuracy": in_points(clean) + " (no point within the margin)" * (not keeping),
            "Over plain": told(search.less(number, "plain")),
            "Over DA": told(search.less(number, da, pairs=pairs)),
            "Over the best set": told(search.less(number, bests[0], pairs=pairs)),
            "Compute": f"{(100 + number) / 100:.1f} times that of DA",
            "Points by type": ", ".join(f"{kind} {printed(parts[kind])}" for kind in ordered),
            "Tied in this set": f"Trial {ties[0]}" if ties else "",
            "Within the margin": f"{len(keeping)} of {len(own)} trials",
        }
        for name in (
            ["Over DA", "Compute"] * (number == da)
            + ["Over the best set"] * (number == bests[0])
            + ["Tied in this set"] * (not ties)
        ):
            del expected[name]
        assert dict(card.facts) == expected
    fma, st = (next(one for one in bests if TERMS[one][0] == f"clean+{of}") for of in ("fma", "st"))
    first, second = (fma, st) if bests.index(fma) < bests.index(st) else (st, fma)
    said = " ".join(answer.sentences)
    between = search.less(first, second, pairs=pairs)
    assert (
        f"(trial {first}) less {TERMS[second][0]} (trial {second}): {in_points(between)}." in said
    )
    everything = {
        printed(search.less(one, other, metric, weight, count))
        for one in search.scored
        for other in search.scored
        for metric, weight in ((CLEAN, 1), (ROBUST, 1), *PARTS)
        for count in (1, pairs)
    }
    assert triples(answer.sentences) <= everything
    assert len(triples(answer.sentences)) >= 8
    assert "Trial 5 collapsed" in said


PARTS = [(f"val_accuracy.{kind}", weight) for kind, weight in WEIGHTS.items()]


@pytest.mark.parametrize("margin", [0.02, 0.2])
def test_the_margin_decides_which_points_stand_for_a_set(margin: float) -> None:
    search = Searched(margin=margin)
    answer = study_answer(search.source)
    assert [card.trial for card in answer.cards] == search.bests()
    assert f"at a clean loss of at most {100 * margin:g} points" in " ".join(answer.sentences)


def test_without_bits_nothing_is_claimed() -> None:
    answer = study_answer(StudySource(Searched().record))
    text = " ".join([*answer.sentences, *(t for card in answer.cards for _, t in card.facts)])
    assert "[" not in text
    assert "points (no interval)" in text
    assert "FMA and ST are not shown to differ" in text or "ST and FMA are not shown" in text
    assert answer.notes == (
        "no intervals: this study has not stored which images were classified correctly",
    )


# -- an ablation


ARMS = {"plain": 0.5, "DA": 0.55, "DA+CA": 0.7, "ST+CA": 0.72, "FMA+CA": 0.64}
PRIMARY = [("FMA+CA", "plain"), ("ST+CA", "plain"), ("FMA+CA", "DA+CA"), ("ST+CA", "DA+CA")]


def drawn_ablation(seeds: int = 5) -> Example:
    random = np.random.default_rng(5)
    runs = {name: [drawn(random, rate, 0.9) for _ in range(seeds)] for name, rate in ARMS.items()}
    design = make_design(list(ARMS))
    arms = {name: Arm(name, (name,)) for name in ARMS}
    contrasts = {one.name: one for one in design.contrasts}
    contrasts |= {f"{one} - {to}": difference(arms[one], arms[to]) for one, to in PRIMARY}
    claims = tuple(Claim(f"{one} - {to}", ROBUST) for one, to in PRIMARY)
    design = replace(design, contrasts=tuple(contrasts.values()), claims=claims)
    return make_example(
        runs,
        design=design,
        baseline=drawn(random, 0.45, 0.95),
        question="What do FMA, ST and DA gain?",
        settings={"contrasts": [{"compare": "ST+CA", "to": "DA"}]},
    )


def answer_of(example: Example) -> Answer:
    info = ablation_info(example.record, example.outcomes, example.references)
    return study_answer(StudySource(example.record, info))


def table_of(example: Example, arm: str, metric: str, split: str = "val") -> np.ndarray:
    """`[K, n]`, from the bits of its rows."""
    rows = [row for row in example.record.rows if row.cell == arm]
    if arm == "baseline":
        references = example.record.references if split == "val" else example.record.test_references
        return images_right(example.references["baseline"][split], references["baseline"], metric)[
            None
        ]
    scores = [row.scores if split == "val" else row.test_scores for row in rows]
    texts = [example.outcomes[row.number][split] for row in rows]
    return np.stack(
        [images_right(text, one, metric) for text, one in zip(texts, scores, strict=True)]  # type: ignore[arg-type]
    )


def test_every_number_of_an_ablation() -> None:
    example = drawn_ablation()
    answer = answer_of(example)

    def model(one: str, to: str, metric: str = ROBUST, weight: float = 1) -> Explicit:
        return Explicit(weight * (table_of(example, one, metric) - table_of(example, to, metric)))

    models = {pair: model(*pair) for pair in PRIMARY}
    adjusted = dict(zip(models, holm([one.p() for one in models.values()]), strict=True))

    def claim(one: str, to: str) -> str:
        p, of = adjusted[one, to], models[one, to]
        low, high = simultaneous(of, len(PRIMARY), p)
        verdict = "not shown" if p >= 0.05 else "better" if of.mean > 0 else "worse"
        shown = "<.0001" if p < 1e-4 else f"{p:.{2 if p < 0.1 else 3}g}".removeprefix("0")
        text = in_points((of.mean, low, high)).replace(" points", " points of robust accuracy")
        return f"against {to} {text}, {verdict} (adjusted p {shown})"

    assert set(answer.sentences[:2]) == {
        f"{arm}: {claim(arm, 'plain')}; {claim(arm, 'DA+CA')}." for arm in ("FMA+CA", "ST+CA")
    }
    asked = {}
    for one, to in (("DA", "plain"), ("DA+CA", "plain")):
        of = model(one, to)
        text = in_points((of.mean, *of.bounds())).replace(" points", " points of robust accuracy")
        asked[one] = f"{one}: against {to} {text}, exploratory."
    # DA is in the question and in no declared contrast; CA is in no question.
    assert set(answer.sentences[2:]) == set(asked.values())
    for card in answer.cards:
        table = {metric: table_of(example, card.title, metric) for metric in (CLEAN, ROBUST)}
        facts = dict(card.facts)
        for name, metric in (("Clean accuracy", CLEAN), ("Robust accuracy", ROBUST)):
            means = 100 * table[metric].mean(axis=1)
            assert facts[name] == f"{means.mean():.1f} ± {means.std(ddof=1):.1f} %"
        parts = {
            kind: model(card.title, "plain", f"val_accuracy.{kind}", weight)
            for kind, weight in WEIGHTS.items()
        }
        ordered = sorted(parts, key=lambda kind: -parts[kind].mean)
        assert facts["Points by type"] == ", ".join(
            f"{kind} {printed((parts[kind].mean, *parts[kind].bounds()))}" for kind in ordered
        )
        for one, to in PRIMARY:
            if one == card.title:
                low, high = simultaneous(models[one, to], len(PRIMARY), adjusted[one, to])
                assert facts[f"Over {to}"] == printed((models[one, to].mean, low, high))


# -- a confirmed front


CONFIRMED = {"plain": (0.5, 0.95), COMBINED_DA: (0.7, 0.9)}
CONFIRMED |= {"trial 1": (0.75, 0.92), "trial 4": (0.85, 0.85), "trial 2": (0.55, 0.8)}


def test_every_number_of_a_confirmation() -> None:
    search = Searched()
    random = np.random.default_rng(11)

    def both(robust: float, clean: float) -> tuple[Scored, Scored]:
        return drawn(random, robust, clean), drawn(random, robust, clean, split="test")

    front = search.source.front.points
    points = [point for point in front if point.name in CONFIRMED]
    example = make_example(
        {name: [both(*rates) for _ in range(4)] for name, rates in CONFIRMED.items()},
        design=front_design(points),
        baseline=both(0.45, 0.9),
    )
    info = confirm_info(example.record, example.outcomes, example.references)
    source = replace(search.source, confirmation=info, confirming=example.record)
    answer = study_answer(source)

    def over(name: str, to: str, metric: str = ROBUST, weight: float = 1) -> Triple:
        tables = [table_of(example, arm, metric, "test") for arm in (name, to)]
        of = Explicit(weight * (tables[0] - tables[1]))
        return of.mean, *of.bounds()

    names = [point.name for point in points]
    draws = np.random.default_rng(0)
    tables = {
        (name, metric): table_of(example, name, metric, "test")
        for name in names
        for metric in (CLEAN, ROBUST)
    }
    on_front = dict.fromkeys(names, 0)
    for _ in range(2000):
        seeds = draws.integers(4, size=4)
        images = {
            CLEAN: draws.integers(N, size=N),
            ROBUST: draws.integers(CORRUPTED, size=CORRUPTED),
        }
        means = {key: table[seeds][:, images[key[1]]].mean() for key, table in tables.items()}
        for name in names:
            on_front[name] += not any(
                all(means[other, one] >= means[name, one] for one in (CLEAN, ROBUST))
                and any(means[other, one] > means[name, one] for one in (CLEAN, ROBUST))
                for other in names
            )
    assert [card.trial for card in answer.cards] == [point.number for point in points]
    for card, name in zip(answer.cards, names, strict=True):
        facts = dict(card.facts)
        chance = float(facts.pop("On the front").removesuffix(" %"))
        assert chance == pytest.approx(on_front[name] / 20, abs=4), "drawn by another generator"
        assert f"{name} {chance:.0f} %" in answer.sentences[0]
        parts = {
            kind: over(name, "baseline", f"val_accuracy.{kind}", weight)
            for kind, weight in WEIGHTS.items()
        }
        ordered = sorted(parts, key=lambda kind: -parts[kind][0])
        assert facts == {
            "Robust accuracy": f"{in_points(over(name, 'baseline'))} over the baseline",
            "Clean accuracy": in_points(over(name, "baseline", CLEAN)),
            "Over plain": told(over(name, "plain")),
            "Over DA combined": told(over(name, COMBINED_DA)),
            "Points by type": ", ".join(f"{kind} {printed(parts[kind])}" for kind in ordered),
        }
    chosen = f"trial {search.bests()[0]}"
    said = " ".join(answer.sentences)
    assert f"({chosen}), {in_points(over(chosen, 'baseline'))} of robust accuracy" in said
    assert f", {told(over(chosen, COMBINED_DA)).replace(' (a tie)', '')} over combined" in said
    assert f"and {in_points(over(chosen, 'baseline', CLEAN))} of clean accuracy." in said
    assert "would be a choice on the test set" in said
    assert "ablate confirm" not in said, "it is done"
    assert triples(answer.sentences) <= {
        printed(over(name, to, metric, weight))
        for name in names
        for to in ("baseline", "plain", COMBINED_DA)
        for metric, weight in ((CLEAN, 1), (ROBUST, 1), *PARTS)
    }
