"""Every number that the answer of a search, or of its confirmation, has to print, from rows and
bits, by other and shorter code (`recomputed_arms`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from explicit_statistics import ADDED, confirmed_level, holm, images_right, simultaneous
from recomputed_arms import (
    CLEAN,
    ROBUST,
    Arms,
    Name,
    Triple,
    in_points,
    largest,
    of_types,
    printed,
    weights,
)
from scipy import stats

from ablate.ablation.design import COMBINED_DA
from ablate.ledger.record import StudyRecord
from ablate.robustness.bits import Scored

Facts = dict[str, str]


def asked(question: str, terms: Mapping[Name, str], order: Sequence[Name]) -> dict[str, Name]:
    """The first network of each term that is asked for, without the others where there is one."""
    words = {"fma": "FMA", "st": "ST", "da": "DA"}
    keys = [key for key, word in words.items() if re.search(rf"\b{word}\b", question)]
    found = {}
    for key in keys:
        own = [one for one in order if key in terms[one].split("+")]
        alone = [
            one for one in own if all(k == key or k not in terms[one].split("+") for k in keys)
        ]
        if own:
            found[key] = (alone or own)[0]
    return dict(sorted(found.items(), key=lambda pair: order.index(pair[1])))


# -- a search: one training a point, so the images alone vary


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        scored: of trials by number, and of "baseline" and "plain".
    """

    record: StudyRecord
    scored: Mapping[Name, Scored]

    @cached_property
    def terms(self) -> dict[Name, str]:
        return {row.number: self.record.loss_terms(row) for row in self.record.complete}

    @property
    def margin(self) -> float:
        return self.record.study.answer.clean_margin

    def right(self, name: Name, metric: str) -> np.ndarray:
        return images_right(self.scored[name].bits, self.scored[name].scores, metric)

    @cached_property
    def values(self) -> dict[tuple[Name, str], float]:
        names = [(name, metric) for name in self.scored for metric in (CLEAN, ROBUST)]
        return {key: float(self.right(*key).mean()) for key in names}

    def value(self, name: Name, metric: str = ROBUST) -> float:
        return self.values[name, metric]

    def less(
        self, one: Name, other: Name, metric: str = ROBUST, weight: float = 1, pairs: int = 1
    ) -> Triple:
        """Mean and interval over images, with the added images of `ADDED`."""
        bits = weight * (self.right(one, metric) - self.right(other, metric))
        n, mean, squares = len(bits), bits.mean(), (bits**2).sum()
        size = (bits**4).sum() / squares if squares else 1.0
        variance = (squares - n * mean**2 + ADDED * size) / (n + ADDED - 1)
        half = stats.t.isf(0.025 / pairs, n - 1) * math.sqrt(variance / n)
        return mean, mean - half, mean + half

    def parts(self, name: Name) -> dict[str, Triple]:
        """Of the gain over the baseline, by type."""
        return {
            kind: self.less(name, "baseline", f"val_accuracy.{kind}", weight)
            for kind, weight in weights(self.scored[name].scores).items()
        }

    def is_tie(self, difference: Triple, metric: str = ROBUST) -> bool:
        n = len(self.right("baseline", metric))
        return bool(difference[1] <= 0 <= difference[2] or abs(difference[0]) * n <= 1)

    def told(self, difference: Triple, metric: str = ROBUST) -> str:
        return in_points(difference) + " (a tie)" * self.is_tie(difference, metric)

    def keeps(self, number: Name) -> bool:
        return self.value(number, CLEAN) >= self.value("baseline", CLEAN) - self.margin - 1e-9

    @cached_property
    def order(self) -> list[Name]:
        """All trials: those within the margin first, the most robust first."""
        keys = {
            one: (self.keeps(one), self.value(one), self.value(one, CLEAN)) for one in self.terms
        }
        return sorted(keys, key=lambda one: (*keys[one], -int(one)), reverse=True)

    @cached_property
    def bests(self) -> list[Name]:
        """The best trial of each set of terms: the most robust within the margin, or the cleanest;
        sets in the order of their best, those with none within the margin by what it loses."""
        found = []
        for terms in dict.fromkeys(self.terms.values()):
            own = [one for one in self.order if self.terms[one] == terms]
            best = (
                own[0] if self.keeps(own[0]) else max(own, key=lambda one: self.value(one, CLEAN))
            )
            found.append(best)
        found.sort(key=self.order.index)
        outside = [one for one in found if not self.keeps(one)]
        outside.sort(key=lambda one: -self.value(one, CLEAN))
        return [one for one in found if self.keeps(one)] + outside

    def pairs(self) -> int:
        return max(1, math.comb(len(self.bests), 2))

    def da(self) -> Name | None:
        return next((one for one in self.bests if self.terms[one] in ("clean+da", "da")), None)

    def card(self, number: Name) -> Facts:
        bests, pairs, da = self.bests, self.pairs(), self.da()
        own = [one for one in self.terms if self.terms[one] == self.terms[number]]
        keeping = [one for one in self.order if one in own and self.keeps(one)]
        near = [one for one in keeping if one != number]
        ties = [str(one) for one in near if self.is_tie(self.less(one, number))]
        outside = " (no point within the margin)" * (not keeping)
        facts = {
            "Robust over baseline": self.told(self.less(number, "baseline")),
            "Of it, by type": largest(self.parts(number)),
            "Clean over baseline": self.told(self.less(number, "baseline", CLEAN), CLEAN) + outside,
            "Over plain": self.told(self.less(number, "plain")),
        }
        if da is not None and da != number:
            costs = [self.scored[one].scores for one in (number, da)]
            flops, images = (
                [getattr(c, k) for c in costs] for k in ("train_flops", "student_images")
            )
            facts["Over DA"] = self.told(self.less(number, da, pairs=pairs))
            unit, of = ("Training FLOPs", flops) if all(flops) else ("Images trained on", images)
            facts[unit] = f"{of[0] / of[1]:.1f} times those of DA"
        if number != bests[0]:
            facts["Over the best set"] = self.told(self.less(number, bests[0], pairs=pairs))
        if ties:
            facts["Tied in this set"] = f"Trial{'s' * (len(ties) > 1)} {', '.join(ties)}"
        return facts | {"Within the margin": f"{len(keeping)} of {len(own)} trials"}

    def sentences(self) -> list[str]:
        """The numbers of each sentence, in their order."""
        bests, pairs, da = self.bests, self.pairs(), self.da()
        points = f"{100 * self.margin:g}"
        said = []
        kept = [one for one in bests if self.keeps(one)]
        question = self.record.study.question
        named = asked(question, self.terms, kept)
        lacking = asked(question, self.terms, bests).keys() - named.keys()
        first, *others = list(named.values()) or [None]
        for other in dict.fromkeys(one for one in others if one != first):
            less = printed(self.less(first, other, pairs=pairs))  # type: ignore[arg-type]
            is_tie = self.is_tie(self.less(first, other, pairs=pairs))  # type: ignore[arg-type]
            said.append(f"{points} {first} {other} {less}" + " not shown" * is_tie)
        said += [points] * bool(lacking)
        over = [one for one in named.values() if one != da]
        if over and da is not None and "da" not in named:
            said.append(" ".join(self.told(self.less(one, da, pairs=pairs)) for one in over))
        best = bests[0]
        gains = [self.less(best, "baseline"), self.less(best, "plain")]
        told = [self.told(one) for one in gains]
        told.append(self.told(self.less(best, "baseline", CLEAN), CLEAN))
        said.append(f"{points} {best} {' '.join(told)}")
        behind = [f"{one} {self.told(self.less(one, best, pairs=pairs))}" for one in bests[1:]]
        said += [" ".join(behind)] * bool(behind)
        said.append(of_types(self.parts(best), gains[0]))
        for one in bests:
            said += self._rival(one)
        said += self.collapsed()
        return [*said, f"{self.record.study.finetune.seed} {len(self.terms)}"]

    def collapsed(self) -> list[str]:
        found = [one for one in self.terms if self._is_collapsed(one)]
        return [" ".join(map(str, found))] * bool(found)

    def _rival(self, best: Name) -> list[str]:
        """A more robust point of the set outside the margin, if its loss is not shown to be larger;
        the most robust first."""
        for one in sorted(self.terms, key=lambda one: -self.value(one)):
            is_of_set = self.terms[one] == self.terms[best] and not self.keeps(one)
            clean, robust = self.less(one, "baseline", CLEAN), self.less(one, best)
            is_better = robust[0] > 0 and not self.is_tie(robust)
            if is_of_set and is_better and clean[2] >= -self.margin:
                margin = f"{100 * self.margin:g}"
                return [f"{one} {self.told(clean, CLEAN)} {margin} {printed(robust)} {best}"]
        return []

    def _is_collapsed(self, number: Name) -> bool:
        """Three interquartile ranges below the quartile of a score, ten points below the baseline,
        not on the front and not the best of its set."""
        if number in self.bests:
            return False
        own = [self.value(number, metric) for metric in (CLEAN, ROBUST)]
        for other in self.terms:
            both = [self.value(other, metric) for metric in (CLEAN, ROBUST)]
            if both != own and both[0] >= own[0] and both[1] >= own[1]:
                break
        else:
            return False
        for metric in (CLEAN, ROBUST):
            quarter, half = np.quantile(
                [self.value(one, metric) for one in self.terms], (0.25, 0.75)
            )
            least = min(quarter - 3 * (half - quarter), self.value("baseline", metric) - 0.1)
            if half > quarter and self.value(number, metric) < least:
                return True
        return False


# -- a confirmed front


@dataclass(frozen=True)
class Confirmed:
    """A search and the confirmation of its front."""

    search: Search
    arms: Arms

    def names(self) -> list[str]:
        """Of the confirmed points, as the search ranks them."""
        there = {row.cell for row in self.arms.record.rows}
        return [name for one in self.search.order if (name := f"trial {one}") in there]

    @cached_property
    def level(self) -> float:
        return confirmed_level(len(self.names()), 2)

    @cached_property
    def claims(self) -> dict[tuple[str, str], float]:
        """Holm's p of each point less plain, in clean and robust accuracy."""
        of = [(one, metric) for metric in (CLEAN, ROBUST) for one in self.names()]
        p_values = holm([self.arms.less(one, "plain", metric).p() for one, metric in of])
        return dict(zip(of, p_values, strict=True))

    def triple(self, one: str, to: str, metric: str = ROBUST) -> Triple:
        model = self.arms.less(one, to, metric)
        if to == "plain":
            ends = simultaneous(model, len(self.claims), self.claims[one, metric])
            return model.mean, *ends
        return model.mean, *model.bounds(self.level)

    def parts(self, one: str) -> dict[str, Triple]:
        return self.arms.parts(one, "baseline", self.level)

    def told(self, one: str, to: str, metric: str = ROBUST) -> str:
        difference = self.triple(one, to, metric)
        n = self.arms.table("plain", metric).shape[1]
        is_tie = difference[1] < 0 < difference[2] or abs(difference[0]) * n <= 1
        return in_points(difference) + " (a tie)" * bool(is_tie)

    def chances(self) -> dict[str, str]:
        """The share of 2,000 resamples of seeds and images in which no other point is better."""
        names = self.names()
        tables = {(one, m): self.arms.table(one, m) for one in names for m in (CLEAN, ROBUST)}
        k = len(tables[names[0], ROBUST])
        seeds = np.random.default_rng(0).integers(0, k, (2000, k))
        images = {}
        for metric in (CLEAN, ROBUST):
            n = tables[names[0], metric].shape[1]
            images[metric] = np.random.default_rng([0, 1]).integers(0, n, (2000, n))
        wins = dict.fromkeys(names, 0)
        for draw in range(2000):
            means = {
                key: round(float(table[seeds[draw]][:, images[key[1]][draw]].mean()), 12)
                for key, table in tables.items()
            }
            values = {one: (means[one, CLEAN], means[one, ROBUST]) for one in names}
            for one, own in values.items():
                wins[one] += not any(
                    other != own and other[0] >= own[0] and other[1] >= own[1]
                    for other in values.values()
                )
        return {one: f"{100 * count / 2000:.0f} %" for one, count in wins.items()}

    def card(self, name: str, chance: str) -> Facts:
        return {
            "Robust over baseline": self.told(name, "baseline"),
            "Of it, by type": largest(self.parts(name)),
            "Clean over baseline": self.told(name, "baseline", CLEAN),
            "Over plain": self.told(name, "plain"),
            "Over combined DA": self.told(name, COMBINED_DA),
            "On the front": chance,
        }

    def sentences(self, chances: Mapping[str, str]) -> list[str]:
        """The numbers of each sentence, in their order."""
        names, seeds = self.names(), self.arms.record.study.ablation_section.seed_count
        terms: dict[Name, str] = {
            f"trial {number}": terms for number, terms in self.search.terms.items()
        }
        question = self.search.record.study.question
        named = {key: str(one) for key, one in asked(question, terms, names).items() if key != "da"}
        first, *others = [*dict.fromkeys(named.values())] or [""]
        said = []
        for other in others:
            both = []
            more, fewer = first, other
            if self.arms.less(first, other).bounds(1 - 0.05 / len(others))[1] < 0:
                more, fewer = other, first
            for metric in (ROBUST, CLEAN):
                of = self.arms.less(more, fewer, metric)
                both.append(printed((of.mean, *of.bounds(1 - 0.05 / len(others)))))
            said.append(f"{more} {fewer} {' '.join(both)}")
        if named:
            said.append(" ".join(self.told(one, COMBINED_DA) for one in named.values()))
        each = " ".join(f"{one} {chances[one]}" for one in names)
        chosen = f"trial {self.search.bests[0]}"
        gains = [(chosen, to, m) for to, m in (("baseline", ROBUST), ("plain", ROBUST))]
        gains += [(chosen, COMBINED_DA, ROBUST), (chosen, "baseline", CLEAN)]
        all_gains = " ".join(self.told(*one) for one in gains)
        whole = self.triple(chosen, "baseline")
        return [
            *said,
            f"{seeds} {each}",
            f"{100 * self.search.margin:g} {chosen} {all_gains}",
            of_types(self.parts(chosen), whole),
            "",
            *self.search.collapsed(),
        ]
