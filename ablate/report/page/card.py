"""Parts of an answer: its cards, and how it names points and differences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ablate.ablation.answer import Part, SearchAnswer, is_tie
from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.analysis.caveats import nearest_text, stopped_beyond
from ablate.analysis.pareto import ParetoPoint
from ablate.ledger.record import StudyRecord
from ablate.report.arms import printed
from ablate.report.numbers import count_text, param_text, share_text
from ablate.report.style import terms_style
from ablate.study.scores import Scores

ASKED = {
    "fma": ("FMA", re.compile(r"\bFMA\b|feature[- ]map")),
    "st": ("ST", re.compile(r"\bST\b|stability")),
    "da": ("DA", re.compile(r"\bDA\b|data augmentation")),
    "ca": ("CA", re.compile(r"\bCA\b|combined augmentation")),
}
"""How a question names a loss term, and combined augmentations."""
_MOST_PARTS = 3
_MOST_NAMED = 8


class Images(NamedTuple):
    """Number of images that networks were scored on, clean and in each distorted copy."""

    clean: int
    robust: int


@dataclass(frozen=True)
class Card:
    """The numbers of one set of loss terms, one confirmed point or one arm.

    Attributes:
        terms: whose colour it has; empty for an arm.
        trial: its number; None for an arm.
        facts: name and value, in order.
    """

    title: str
    terms: str
    trial: int | None
    facts: tuple[tuple[str, str], ...]

    @property
    def colour(self) -> str:
        """Of its loss terms in the figures; empty for an arm."""
        return terms_style(self.terms).color if self.terms else ""


@dataclass(frozen=True)
class Answer:
    """What a study answers so far.

    Attributes:
        sentences: the most important first; never empty.
        notes: what the numbers and their intervals are.
    """

    sentences: tuple[str, ...]
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = ()


def asked_words(question: str) -> list[str]:
    return [key for key, (_, pattern) in ASKED.items() if pattern.search(question)]


def asked_points(keys: Sequence[str], ranked: Sequence[ParetoPoint]) -> dict[str, ParetoPoint]:
    """The first point with each of these loss terms, and without the others of them where there is
    one; by their names ("FMA with DA"), in the order of the points."""
    found = {}
    for key in keys:
        having = [one for one in ranked if key in _terms(one)]
        alone = [one for one in having if not _terms(one) & {*keys} - {key}]
        for point in (alone or having)[:1]:
            others = sorted(term.upper() for term in _terms(point) - {"clean", key})
            found[ASKED[key][0] + f" with {' and '.join(others)}" * bool(others)] = point
    return dict(sorted(found.items(), key=lambda named: ranked.index(named[1])))


def point_card(
    point: ParetoPoint,
    *,
    robust: Estimate,
    clean: str,
    over: Mapping[str, Estimate],
    parts: Sequence[Part],
    n_images: int,
    others: Sequence[tuple[str, str]],
) -> Card:
    """The card of a point: its gains over the baseline, and in robust accuracy over others."""
    facts = [
        ("Robust over baseline", told(robust, n_images)),
        *part_facts(parts, "Of it, by type"),
        ("Clean over baseline", clean),
        *((f"Over {name}", told(one, n_images)) for name, one in over.items()),
        *others,
    ]
    return Card(f"{point.loss_terms}: {point.name}", point.loss_terms, point.number, tuple(facts))


def compute_facts(point: ParetoPoint, other: ParetoPoint) -> list[tuple[str, str]]:
    """Of data augmentation as the other: how much more training takes, in FLOPs of network and
    teachers; in images through the network where FLOPs are not known."""
    costs = [one.scores for one in (point, other) if isinstance(one.scores, Scores)]
    for name, key in (("Training FLOPs", "train_flops"), ("Images trained on", "student_images")):
        counts = [getattr(scores, key) for scores in costs]
        if len(counts) == 2 and all(counts):
            return [(name, f"{counts[0] / counts[1]:.1f} times those of DA")]
    return []


def kept_facts(info: ConfirmInfo, point: ConfirmedPoint) -> list[tuple[str, str]]:
    """The probability that a confirmed point keeps the search's constraints, if it has any."""
    chance = share_text(point.feasible_probability)
    return [("Keeps the constraints", chance)] * bool(info.constraints)


def types_sentence(parts: Sequence[Part], whole: Estimate) -> list[str]:
    """Which corruption types carry a gain."""
    named = [part for part in parts if part.estimate.mean > 0][:_MOST_PARTS]
    if not named or not whole.mean > 0:
        return []
    carried = ", ".join(f"{part.kind} {printed(part.estimate)}" for part in named)
    return [
        f"Of these {100 * whole.mean:.1f} points, by type: {carried}; {len(parts)} types in all."
    ]


def part_facts(parts: Sequence[Part], name: str) -> list[tuple[str, str]]:
    shown = [f"{part.kind} {printed(part.estimate)}" for part in parts[:_MOST_PARTS]]
    return [(name, ", ".join(shown))] * bool(shown)


def named(point: ParetoPoint) -> str:
    """ "clean+fma on stage2+stage3 (trial 7)"."""
    layers = point.params.get("loss.fma.layers")
    on = f" on {param_text(layers)}" if layers and "fma" in _terms(point) else ""
    return f"{point.loss_terms}{on} ({point.name})"


def points(estimate: Estimate) -> str:
    """ "+16.3 points [+15.0, +17.6]"."""
    mean, _, interval = printed(estimate).partition(" ")
    return f"{mean} points {interval}" if interval else f"{mean} points (no interval)"


def told(estimate: Estimate, n_images: int) -> str:
    """ "+0.3 points [-1.0, +1.6] (a tie)"."""
    is_known = not math.isnan(estimate.low)
    return points(estimate) + " (a tie)" * (is_known and is_tie(estimate, n_images))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _terms(point: ParetoPoint) -> set[str]:
    return {*point.loss_terms.split("+")}


def trial_numbers(numbers: Sequence[int]) -> str:
    """ "Trial 3", "Trials 3, 9 and 2 more"."""
    shown = ", ".join(map(str, numbers[:_MOST_NAMED]))
    more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
    return f"Trial{'s' * (len(numbers) > 1)} {shown}{more}"


def nothing_counts(record: StudyRecord) -> tuple[str, ...]:
    """That no trial is complete, or none keeps the constraints, and which one is nearest."""
    said = "No complete trial keeps all constraints."
    if not record.complete:
        said = f"None of {record.rows_at_end} trials is complete{'' if record.is_over else ' yet'}."
        if not stopped_beyond(record):
            return (said,)
    return said, f"The nearest is {nearest_text(record)}."


def unsuccessful(record: StudyRecord, collapsed: Sequence[int]) -> list[str]:
    """Sentences on trials that collapsed, by number, and on those that failed."""
    failed = [(row.number, row.failure.kind) for row in record.rows if row.failure is not None]
    said = []
    if collapsed:
        which = trial_numbers(collapsed)
        below = "far below the others and the baseline in clean or robust accuracy"
        said.append(f"{which} collapsed: {below}.")
    if failed:
        kinds = ", ".join(dict.fromkeys(kind for _, kind in failed))
        said.append(f"{trial_numbers([number for number, _ in failed])} failed ({kinds}).")
    return said


def unfinished(info: AblationInfo) -> list[str]:
    """How many runs of an ablation or a confirmation have ended, while some have not."""
    if info.ended == info.runs:
        return []
    return [f"{info.ended} of {info.runs} runs have ended: the results below will change."]


def cautions(info: AblationInfo) -> list[str]:
    """What limits the claims of an ablation or a confirmation."""
    return [f"{capital(one)}." for one in info.cautions]


def refused_curves(record: StudyRecord, numbers: Sequence[int]) -> list[str]:
    """Why these trials stand at alpha 1, of those whose curves were refused."""
    paths = {row.number: row.path for row in record.rows}
    notes = {number: path.note for number in numbers if (path := paths[number]) is not None}
    return [f"trial {number}: {note}" for number, note in notes.items() if note]


# -- The words of a question, and a margin


Less = Callable[[ParetoPoint, ParetoPoint, int], Sequence[Estimate]]
"""A point less another in robust accuracy, and in clean accuracy where that is compared too; at a
level for so many comparisons."""


def compared(
    asked: Mapping[str, ParetoPoint], less: Less, n: Images, where: str, within: str = ""
) -> list[str]:
    """The points of the terms that the question names: the first less each of the others."""

    def of_clean(one: Estimate, first: str, second: str) -> str:
        if is_tie(one, n.clean):
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
        if is_tie(robust, n.robust):
            verdict = f"{first} and {name} are not shown to differ in robust accuracy"
        else:
            verdict = f"{more[0]} bought more robust accuracy than {fewer[0]}"
        verdict += "".join(of_clean(one, more[0], fewer[0]) for one in clean)
        said.append(f"{where} {verdict}{within}: {pair}.")
    return said


def over_da(over: Mapping[str, Estimate | None], da: str, n: int) -> list[str]:
    gains = [f"{name} {told(one, n)}" for name, one in over.items() if one is not None]
    return [f"Over {da}, robust accuracy: {'; '.join(gains)}."] * bool(gains)


def margin_text(answer: SearchAnswer) -> str:
    return count_text(1, "point") if answer.margin == 0.01 else f"{100 * answer.margin:g} points"


def within(answer: SearchAnswer) -> str:
    return f"at a clean loss of at most {margin_text(answer)}"
