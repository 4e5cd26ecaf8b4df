"""What a study answers, in at most three sentences: what to take, which part earns it, a caveat.

A page, a terminal and a notebook print the same.  Every number is of one split, which its sentence
names; a difference has its interval; below five seeds arms are not ranked, and nothing that was
trained once is claimed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ablate.ablation.answer import SearchAnswer, is_tie
from ablate.ablation.cell import FACTOR_EFFECTS
from ablate.ablation.confirm import ConfirmInfo
from ablate.ablation.design import COMBINED_DA
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.significance import LEAST_SEEDS
from ablate.ablation.study_source import StudySource, arm_terms
from ablate.analysis.caveats import baseline_warning, nearest_text
from ablate.analysis.objectives import is_accuracy, on_split
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.files.shown import few
from ablate.ledger.record import StudyRecord
from ablate.report.arms import NOTHING, interval_notes, printed
from ablate.report.numbers import count_text, metric_text, metric_unit, metric_words, param_text
from ablate.report.words import (
    METHODS,
    PLAIN,
    contrast_words,
    network_label,
    terms_words,
    verdict_words,
)
from ablate.robustness.measures import LEVEL
from ablate.study.scores import Scores

RANKED_SEEDS = 5
"""Fewer do not rank arms."""
_MOST_METHODS = 2
_MOST_NAMED = 8

# -- The sentences

_TAKE = "Take {who}: {scored}."
_NO_ORDER = "{why}: {scored}."
_FEW_SEEDS = "Too few seeds ({seeds}) to say which is best"
_CHOSEN_BEFORE = "The search, not these images, chose among these trials"
_OUTSIDE = "No trial loses at most {margin} on undistorted images; {who} loses least: {scored}."
_REPLACED = "{who} (the search prefers {first}, which was not trained again)"
_TIED = "{who}, not shown to be more robust than {others}"
_COUNTS = "of 100 distorted {split} images {got} {after} right, {before} before finetuning"
_CLEAN = "; of undistorted ones {after}, {before} before{chance}"
_METRIC = "its {metric} is {after}, {before} before finetuning"
_CHANCE = " (the {change} may be chance)"
_LUCK = "; trained again with new seeds, it shows {said} (validation images)"
_LUCKY = "that {points} points of the search's score were luck"
_NOT_LUCKY = "no sign that the search was lucky"
_ONCE = (
    "It was trained once and is the best of {trials} on these images, so part of the gain may be "
    "luck: `ablate confirm` trains it again, and measures that on the test images."
)
_CHOSEN = "{who} was chosen by these numbers, so other images may give it a little less."
_ON_TEST = (
    "Do not pick another one by these numbers: the test images would no longer be a fair test."
)
_CHANGES = "{claim}{over} the {split} images, {metric} changes by{intervals}: {parts}."
_OVER = "Over {reference}, on"
_MOST = "Most of the gain comes from training on {reference}. Over that, on"
_UNDECLARED = "the comparisons were not declared before the runs"
_LEVEL = " (95 % intervals)"
_COPIES = "distorted copies{kinds}, without FMA or ST ({name})"
_KINDS = " of several types"
_START = "the network before finetuning"
_NO_CLAIM = "No claim is supported{why}. "
_RUNNING = "{ended} of {runs} have ended: this will change."
_INTERVALS = "intervals of the answer: 95 %, of new images for these networks, t over images{pairs}"
_PAIRS = "; between sets of loss terms simultaneous for {pairs} pairs (Bonferroni)"
_ALL_POINTS = (
    "intervals of the answer: 95 % for all confirmed points over one reference together, t over "
    "seeds and images"
)
_COLLAPSED = "{trials} collapsed: far below the others and the baseline."
_FAILED = "{trials} failed ({kinds})."


@dataclass(frozen=True)
class Answer:
    """What a study answers so far.

    Attributes:
        sentences: one to three; a warning first, in place of the caveat.
        notes: what else limits it.
        trial: the number of the row to take, for `ablate export`; None where none is named.
    """

    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    trial: int | None = None


def sentences(source: StudySource) -> tuple[str, ...]:
    """What a study answers so far, in at most three sentences: the answer, which part earns it, a
    caveat; a warning that the study misleads comes first, in place of the caveat."""
    return study_answer(source).sentences


def study_answer(source: StudySource) -> Answer:
    """The answer of a study, from the rows that have ended."""
    answer = (
        _of_search(source) if source.ablation is None else _of_ablation(source, source.ablation)
    )
    if warning := baseline_warning(source.record):
        first, caveats = answer.sentences[:2], answer.sentences[2:]
        said = (f"Warning: {warning}.", *first)
        return replace(answer, sentences=said, notes=(*caveats, *answer.notes))
    return answer


def _answer(
    first: str,
    part: str,
    caveats: Sequence[str],
    notes: Sequence[str] = (),
    trial: int | None = None,
) -> Answer:
    said = (first, *filter(None, [part]), *caveats[:1])
    return Answer(said, (*caveats[1:], *notes), trial)


# -- What both kinds share


class _Over(NamedTuple):
    """What methods are compared with: a network, what it is called, and of which kinds the
    distorted copies are that it is trained on (None: on none, or on more than these)."""

    name: str
    called: str
    kinds: str | None = None


@dataclass(frozen=True)
class _Networks:
    """Networks by name, on the images of one split.

    Attributes:
        clean, robust: metrics.
        value: of a network in a metric; less: one less another.
        claim: what supports a claim of one less another: empty, or why none is; and its verdict
            where it was tested.
        margin: of clean accuracy that may be lost.
    """

    split: str
    clean: str
    robust: str
    value: Callable[[str, str], float]
    less: Callable[[str, str, str], Estimate]
    claim: Callable[[str, str], tuple[str, str]]
    n_images: int
    margin: float

    def scored(self, *names: str) -> str:
        """How many of 100 images are right before and after; of several networks as a range."""
        before = self.value("baseline", self.robust)
        after = [self.value(one, self.robust) for one in names]
        if "_robust_accuracy" not in self.robust or math.isnan(before):
            shown = (metric_text(self.robust, one) for one in (before, min(after), max(after)))
            start, *ends = (f"{one}{metric_unit(self.robust)}" for one in shown)
            metric, range_ = metric_words(self.robust), " to ".join(dict.fromkeys(ends))
            return _METRIC.format(metric=metric, after=range_, before=start)
        got = "it gets" if len(names) == 1 else "they get"
        text = _COUNTS.format(got=got, split=self.split, **_of_100(before, after, 0))
        clean = [self.value(one, self.clean) for one in ("baseline", names[0])]
        if len(names) > 1 or any(map(math.isnan, clean)):
            return text
        change = self.less(names[0], "baseline", self.clean)
        is_open = change.low <= 0 <= change.high and change.mean != 0
        chance = _CHANCE.format(change="loss" if change.mean < 0 else "gain") * is_open
        return text + _CLEAN.format(chance=chance, **_of_100(clean[0], clean[1:], 1))

    def part(self, methods: Mapping[str, str], over: _Over, taken: str) -> str:
        """What each method adds to a reference, and whether that earns most of the gain.

        Args:
            methods: their words by name; taken: whose gain it is.
        """
        reference, called, kinds = over
        found = {name: self.less(name, reference, self.robust) for name in methods}
        found = {name: one for name, one in found.items() if not math.isnan(one.mean)}
        if not found:
            return ""
        best = taken or next(iter(found))
        start, base, end = (self.value(one, self.robust) for one in ("baseline", reference, best))
        lost = self.value(best, self.clean) - self.value(reference, self.clean)
        is_half = base - start > (end - start) / 2 > 0
        is_most = is_half and kinds is not None and not lost > self.margin
        items = []
        for name, one in found.items():
            reason, verdict = self.claim(name, reference)
            said = verdict or self._verdict(name, reference, one)
            said = said.replace(" is kept", f" is kept beside {called}")
            items.append((methods[name], one, reason, said))
        words = called if kinds is None else _COPIES.format(kinds=kinds, name=called)
        said = (_MOST if is_most else _OVER).format(reference=words)
        return self.changes(said, items, "method")

    def changes(self, over: str, items: Sequence[tuple[str, Estimate, str, str]], of: str) -> str:
        """Args: items: of each difference its words, why it supports no claim, and its verdict; of:
        what one is called."""
        shown = items[:_MOST_METHODS]
        parts = [
            f"{words} {told(one, self.robust)}"
            + f", {verdict.replace('; ', ' and ')}" * bool(verdict)
            for words, one, _, verdict in shown
        ]
        parts += [f"{count_text(len(items) - len(shown), f'more {of}')} below"] * (
            len(items) > len(shown)
        )
        reasons = dict.fromkeys(reason for _, _, reason, _ in shown)
        are_ties = all(is_tie(one, self.n_images) for _, one, _, _ in shown)
        why = f": {', '.join(reasons)}" * ("" not in reasons)
        return _CHANGES.format(
            claim=_NO_CLAIM.format(why=why) * (bool(why) or are_ties),
            over=over,
            metric=_metric(self.robust),
            intervals=_LEVEL * any(not math.isnan(one.low) for _, one, _, _ in shown),
            split=self.split,
            parts="; ".join(parts),
        )

    def _verdict(self, name: str, reference: str, robust: Estimate) -> str:
        """Of a difference that was not tested."""
        if math.isnan(robust.low):
            return ""
        if is_tie(robust, self.n_images):
            return "no difference is shown"
        if "_robust_accuracy" not in self.robust:
            return ""
        clean = self.less(name, reference, self.clean)
        loses = robust.mean > 0 and not math.isnan(clean.mean) and not clean.low > -self.margin
        more = "more robust" if robust.mean > 0 else "less robust"
        return more + " and a clean loss is not excluded" * loses


def told(estimate: Estimate, metric: str) -> str:
    """ "+16.3 points (+15.0 to +17.6)"."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if not is_accuracy(metric):
        return f"{mean:+.4g} ({low:+.4g} to {high:+.4g})" if not math.isnan(low) else f"{mean:+.4g}"
    shown, _, interval = printed(estimate).partition(" ")
    between = interval.strip("[]").replace(", ", " to ").replace(">0", "above 0")
    return f"{shown} points ({between.replace('<0', 'below 0') or 'no interval'})"


def _of_100(before: float, after: Sequence[float], digits: int) -> dict[str, str]:
    """Counts of 100 images; with a decimal where before and after would be equal without."""
    ends = sorted({100 * min(after), 100 * max(after)})
    digits = digits or int(round(100 * before) in map(round, ends))
    texts = dict.fromkeys(f"{one:.{digits}f}" for one in ends)
    return {"before": f"{100 * before:.{digits}f}", "after": " to ".join(texts)}


def _running(ended: int, runs: int, what: str) -> list[str]:
    """That some have not ended, if any has."""
    return [_RUNNING.format(ended=ended, runs=count_text(runs, what))] * (0 < ended < runs)


def _trials(numbers: Sequence[int]) -> str:
    """ "Trial 3", "Trials 3, 9 and 2 more"."""
    return f"Trial{'s' * (len(numbers) > 1)} {few(numbers, _MOST_NAMED)}"


def _metric(metric: str) -> str:
    """ "robust accuracy (types not trained on)"."""
    name, _, of = metric_words(metric).partition(", ")
    return f"{name} ({of})" if of else name


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# -- A search, and its confirmation


def _of_search(source: StudySource) -> Answer:
    record, info, answer = source.record, source.front, source.answer
    failed = {row.number: row.failure.kind for row in record.rows if row.failure is not None}
    kinds = ", ".join(dict.fromkeys(failed.values()))
    caveats = _running(record.ended, record.rows_at_end, "trial")
    caveats += [_FAILED.format(trials=_trials([*failed]), kinds=kinds)] * bool(failed)
    if all(point.violation for point in info.points):
        return Answer(_nothing_counts(record), tuple(caveats))
    if answer is None:
        return _answer(_best_of_each(info), "", caveats)
    if answer.collapsed:
        caveats.append(_COLLAPSED.format(trials=_trials(answer.collapsed)))
    if source.confirmation is not None:
        confirmed = _confirmed(answer, source.confirmation, caveats)
        if confirmed is not None:
            return confirmed
        caveats.insert(0, "Confirmation is running: no run on the test images has ended yet.")
    points = {one.name: one for one in answer.ranked}

    def value(name: str, metric: str) -> float:
        scores = points[name].scores if name in points else record.references[name]
        return scores.metrics().get(metric, math.nan) if isinstance(scores, Scores) else math.nan

    networks = _Networks(
        *("validation", answer.clean, answer.robust, value),
        less=lambda one, other, metric: answer.compare(
            points[one], points.get(other, other), metric
        ),
        claim=lambda *_: ("each was trained once", ""),
        n_images=info.n_corrupted or 1,
        margin=answer.margin,
    )
    first, da = answer.sets[0], answer.da
    stopped = record.count("PRUNED")
    once = _ONCE.format(trials=count_text(len(answer.ranked) + stopped, "trial"))
    caveats.insert(int(record.ended < record.rows_at_end), once)
    bests = [one.best for one in answer.sets]
    methods = _by_term(bests) or [one for one in bests if one.loss_terms not in ("clean", "")]
    over = _Over("plain", PLAIN) if "plain" in record.references else _Over("baseline", _START)
    if da is not None:
        over = _Over(da.best.name, "DA", "")
    part = networks.part(
        {one.name: terms_words(one.loss_terms) for one in methods if one.name != over.name},
        *(over, first.best.name),
    )
    take = _TAKE if first.keeps else _OUTSIDE
    margin = f"{100 * answer.margin:g} point{'s' * (answer.margin != 0.01)}"
    scored = networks.scored(first.best.name)
    said = take.format(who=_who(first.best), margin=margin, scored=scored)
    pairs = math.comb(len(answer.sets), 2)
    notes = [_INTERVALS.format(pairs=_PAIRS.format(pairs=pairs) * (pairs > 1))]
    return _answer(said, part, caveats, notes, first.best.number)


def _confirmed(answer: SearchAnswer, info: ConfirmInfo, caveats: Sequence[str]) -> Answer | None:
    """Of the point that the search alone prefers among the confirmed ones; None before it has a
    score on the test images."""
    test, robust = info.test, on_split(answer.robust, "test")
    there = {one.name: one for one in info.points if not math.isnan(_mean(one.gains.get(robust)))}
    ranked = [point for point in answer.ranked if point.name in there]
    if not ranked:
        return None
    few = "too few seeds" * (test.seeds < LEAST_SEEDS)
    networks = _networks(test, robust, answer.margin, lambda *_: (few, ""), test.level)
    chosen, first = ranked[0], answer.sets[0].best
    who = _who(chosen)
    if first.name != chosen.name:
        who = _REPLACED.format(who=who, first=first.name)
    luck = there[chosen.name].luck.get(answer.robust, NOTHING)
    lucky = _LUCKY.format(points=f"{100 * luck.mean:.1f}") if luck.low > 0 else _NOT_LUCKY
    scored = networks.scored(chosen.name)
    scored += _LUCK.format(said=lucky) * (not math.isnan(luck.low))
    methods = {one.name: terms_words(one.loss_terms) for one in _by_term(ranked)}
    has_da = not math.isnan(networks.value(COMBINED_DA, robust))
    over = _Over("plain", PLAIN)
    if has_da:
        over = _Over(COMBINED_DA, network_label(COMBINED_DA), _KINDS)
    part = networks.part(methods, over, chosen.name)
    said = [*_running(test.ended, test.runs, "run"), *map(_sentence, test.cautions), _ON_TEST]
    said += [*map(_sentence, test.failures), *caveats]
    notes = [*interval_notes(test, test.primary), _ALL_POINTS]
    return _answer(_TAKE.format(who=who, scored=scored), part, said, notes, chosen.number)


def _by_term(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Of each method the first point that has it, and not the other where there is one."""
    found = []
    for term in METHODS:
        having = [one for one in points if term in one.loss_terms.split("+")]
        alone = [one for one in having if len({*one.loss_terms.split("+")} & {*METHODS}) == 1]
        found += (alone or having)[:1]
    return found


def _nothing_counts(record: StudyRecord) -> tuple[str, ...]:
    """That no trial is complete, or none keeps the constraints, and which one is nearest."""
    if not record.complete:
        yet = "" if record.is_over else " yet"
        return (f"None of {record.rows_at_end} trials is complete{yet}.",)
    nearest = f"The nearest is {nearest_text(record)}."
    return "No complete trial keeps all constraints.", nearest


def _best_of_each(info: ParetoInfo) -> str:
    """Of other objectives the best trial of each; of equal ones the first on the front."""
    found = []
    for place, objective in enumerate(info.objectives):
        sign = 1 if objective.direction == "maximize" else -1
        values = {
            (sign * one.values[place], one.on_front, -one.number): one.values[place]
            for one in info.points
            if not one.violation and math.isfinite(one.values[place])
        }
        if values:
            best, metric = max(values), objective.metric
            value = f"{metric_text(metric, values[best])}{metric_unit(metric)}"
            found.append(f"the best {metric_words(metric)} is {value} (trial {-best[2]})")
    if not found:
        return "No complete trial has numbers for its objectives."
    if len(info.objectives) > 1:
        found.append(f"{count_text(len(info.front), 'trial is', 'trials are')} on the front")
    return _sentence("; ".join(found))


def _who(point: ParetoPoint) -> str:
    """ "trial 7 (FMA with DA, on stage3)"."""
    layers = point.params.get("loss.fma.layers") if "fma" in point.loss_terms.split("+") else None
    on = f", on {param_text(layers)}" if layers else ""
    return f"{point.name} ({terms_words(point.loss_terms)}{on})" if point.loss_terms else point.name


# -- An ablation


def _networks(
    info: AblationInfo,
    robust: str,
    margin: float,
    claim: Callable[[str, str], tuple[str, str]],
    level: float = LEVEL,
) -> _Networks:
    """The arms of an ablation or a confirmation; a difference that is no contrast of it has an
    interval at this level."""
    arms = {arm.name: arm for arm in info.arms}
    effects = {(one.contrast, one.metric): one.estimate for one in info.effects}

    def less(one: str, other: str, metric: str) -> Estimate:
        if (found := effects.get((f"{one} - {other}", metric))) is not None:
            return found
        if info.compare is None or not {one, other} <= {*arms}:
            return NOTHING
        return info.compare(one, other, metric, level)

    return _Networks(
        *(info.split or "", f"{'test' if info.split == 'test' else 'val'}_clean_accuracy", robust),
        value=lambda name, metric: _mean(
            arms[name].estimates.get(metric) if name in arms else None
        ),
        less=less,
        claim=claim,
        n_images=info.n_corrupted or 1,
        margin=margin,
    )


def _mean(estimate: Estimate | None) -> float:
    return math.nan if estimate is None else estimate.mean


def _of_ablation(source: StudySource, own: AblationInfo) -> Answer:
    shown = source.answering
    info = shown.ablation or own
    caveats = _running(info.ended, info.runs, "run")
    limits = [*info.cautions, *(one for one in info.warnings if one != info.warning)]
    caveats += map(_sentence, [*limits, *info.failures])
    primary = {one.contrast: one for one in info.primary}

    def claim(one: str, other: str) -> tuple[str, str]:
        effect = primary.get(f"{one} - {other}")
        if effect is None:
            return _UNDECLARED, ""
        verdict = verdict_words(effect, info)
        return "" if effect.estimate.n >= LEAST_SEEDS and not effect.tuned else verdict, verdict

    margin = source.record.study.answer.clean_margin
    networks = _networks(info, info.rank_metric, margin, claim)
    arms = [
        arm.name
        for arm in info.arms
        if not arm.is_one_network and not math.isnan(networks.value(arm.name, info.rank_metric))
    ]
    if not arms:
        nothing = "No run has ended well." if info.ended else "No run has ended yet."
        return _answer(nothing, "", caveats)
    taken = ""
    is_of_front = bool((shown.record.design or {}).get("selected"))
    if max(own.seeds, info.seeds) >= RANKED_SEEDS and not is_of_front:
        taken, who = _taken(own if own.seeds >= RANKED_SEEDS else info, arms, margin)
        first = _TAKE.format(who=who, scored=networks.scored(taken))
        caveats += [_CHOSEN.format(who=taken)] * (own.seeds < RANKED_SEEDS or info is own)
    else:
        few = _FEW_SEEDS.format(seeds=info.seeds)
        why = _CHOSEN_BEFORE if is_of_front else few
        first = _NO_ORDER.format(why=why, scored=networks.scored(*arms))
    notes = interval_notes(info, info.primary or info.effects)
    rows = [row.number for row in source.record.complete if row.cell == taken]
    part = _part(shown, info, arms, networks, taken)
    return _answer(first, part, caveats, notes, min(rows, default=None))


def _taken(info: AblationInfo, arms: Sequence[str], margin: float) -> tuple[str, str]:
    """Of these arms the most robust that keeps clean accuracy within the margin, or of all; with
    those that it is not shown to beat."""
    means = {arm.name: arm.estimates for arm in info.arms}
    clean = info.rank_metric.replace("_robust_", "_clean_")
    sign = -1 if info.rank_metric in info.minimized else 1
    start = _mean(means.get("baseline", {}).get(clean))

    def standing(name: str) -> tuple[bool, float]:
        loss = start - _mean(means[name].get(clean))
        return not loss > margin, sign * _mean(means[name].get(info.rank_metric))

    best = max((one for one in arms if one in means), key=standing)
    tied = info.best.get(info.rank_metric, ())
    others = [one for one in arms if one in tied and one != best] if best in tied else []
    named = [*others[:2], *[f"{len(others) - 2} more"] * (len(others) > 2)]
    return best, _TIED.format(who=best, others=" and ".join(named)) if others else best


def _part(
    source: StudySource,
    info: AblationInfo,
    arms: Sequence[str],
    networks: _Networks,
    taken: str,
) -> str:
    """What each method adds to distorted copies alone, else to the reference; of a design in
    factors, what each part adds."""
    factors = [one for one in info.effects if one.kind in FACTOR_EFFECTS and one.estimate.n]
    factors = [one for one in factors if one.metric == info.rank_metric]
    if factors:
        verdicts = [verdict_words(one, info) for one in factors]
        return networks.changes(
            "On",
            [
                (contrast_words(one, info), one.estimate, _UNDECLARED * (not verdict), verdict)
                for one, verdict in zip(factors, verdicts, strict=True)
            ],
            "part",
        )
    terms = arm_terms(source)
    alone = [one for one in arms if terms.get(one) in ("clean+da", "da")]
    combined = [one for one in alone if one == COMBINED_DA or "CA" in re.split(r"\W+", one)]
    usual = [info.reference] if info.reference in alone else alone[:1]
    reference = next(iter(combined or usual), info.reference)
    methods = [one for one in arms if {*terms.get(one, "").split("+")} & {*METHODS}]
    methods = methods or [one for one in arms if one not in (reference, "plain")]
    primary = [
        one for one in info.primary if one.contrast in {f"{m} - {reference}" for m in methods}
    ]
    declared = {one.contrast.partition(" - ")[0] for one in primary}
    methods.sort(key=lambda one: (one != taken, one not in declared))
    called = PLAIN if reference == "plain" else network_label(reference)
    kinds = _KINDS * (reference in combined) if reference in alone else None
    metric = primary[0].metric if primary else info.rank_metric
    return replace(networks, robust=metric).part(
        {one: network_label(one) for one in methods if one != reference},
        *(_Over(reference, called, kinds), taken),
    )
