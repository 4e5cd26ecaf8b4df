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
from ablate.ablation.significance import LEAST_SEEDS, RANKED_SEEDS
from ablate.ablation.study_source import StudySource, arm_terms
from ablate.analysis.caveats import baseline_warning, nearest_text
from ablate.analysis.objectives import is_accuracy, on_split
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.files.shown import count_text, few, shown_if
from ablate.ledger.record import StudyRecord
from ablate.report.arms import NOTHING, interval_notes, printed
from ablate.report.numbers import metric_text, metric_unit, metric_words, param_text
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

_MOST_METHODS = 2
_SEVERAL = " of several types"
_ONCE = (
    "It was trained once and is the best of {trials} on these images, so part of the gain may be "
    "luck: `ablate confirm` trains it again, and measures that on the test images."
)
_ON_TEST = (
    "Do not pick another trial by these numbers: the test images would no longer be a fair test."
)
_CHOSEN = "{who} was chosen by these numbers, so other images may give it a little less."
_UNDECLARED = "the comparisons were not declared before the runs"
_ALL_POINTS = (
    "intervals of the answer: 95 % for all confirmed points over one reference together, t over "
    "seeds and images"
)


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


class _Change(NamedTuple):
    """A difference in words, why it supports no claim (empty: it does), and its verdict."""

    words: str
    estimate: Estimate
    reason: str
    verdict: str


@dataclass(frozen=True)
class _Networks:
    """Networks by name, on the images of one split.

    Attributes:
        clean, robust: metrics.
        value: of a network in a metric; less: one less another.
        claim: of one less another, why it supports no claim (empty: it does), and its verdict where
            it was tested.
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
        """How many of 100 images are right before and after, with a decimal where that would be
        the same; of several networks as a range."""
        before, *after = (self.value(one, self.robust) for one in ("baseline", *names))
        ends = (min(after), max(after))
        if "_robust_accuracy" not in self.robust or math.isnan(before):
            unit = metric_unit(self.robust)
            start, *texts = (f"{metric_text(self.robust, one)}{unit}" for one in (before, *ends))
            range_ = " to ".join(dict.fromkeys(texts))
            return f"its {metric_words(self.robust)} is {range_}, {start} before finetuning"
        digits = int(round(100 * before) in [round(100 * one) for one in ends])
        start, *texts = (f"{100 * one:.{digits}f}" for one in (before, *ends))
        text = (
            f"of 100 distorted {self.split} images {'it gets' if len(names) == 1 else 'they get'} "
            f"{' to '.join(dict.fromkeys(texts))} right, {start} before finetuning"
        )
        start_clean, clean = (self.value(one, self.clean) for one in ("baseline", names[0]))
        if len(names) > 1 or math.isnan(start_clean) or math.isnan(clean):
            return text
        text += f"; of undistorted ones {100 * clean:.1f}, {100 * start_clean:.1f} before"
        change = self.less(names[0], "baseline", self.clean)
        is_open = change.low <= 0 <= change.high and change.mean != 0
        return text + shown_if(
            is_open, f" (the {'loss' if change.mean < 0 else 'gain'} may be chance)"
        )

    def part(self, methods: Mapping[str, str], over: _Over, taken: str) -> str:
        """What each method adds to a reference, and whether that earns most of the gain.

        Args:
            methods: their words by name; taken: whose gain it is.
        """
        changes = {}
        for name, words in methods.items():
            change = self.less(name, over.name, self.robust)
            if name != over.name and not math.isnan(change.mean):
                reason, verdict = self.claim(name, over.name)
                verdict = verdict or self._verdict(name, over.name, change)
                verdict = verdict.replace(" is kept", f" is kept compared with {over.called}")
                changes[name] = _Change(words, change, reason, verdict)
        if not changes:
            return ""
        if over.kinds is None:
            return self.changes(f"Over {over.called}, on", [*changes.values()], "method")
        copies = f"distorted copies{over.kinds}, without FMA or ST ({over.called})"
        best = taken or next(iter(changes))
        start, base, end = (self.value(one, self.robust) for one in ("baseline", over.name, best))
        lost = self.value(best, self.clean) - self.value(over.name, self.clean)
        is_most = base - start > (end - start) / 2 > 0 and not lost > self.margin
        most = f"Most of the gain comes from training on {copies}. Compared with that, on"
        said = most if is_most else f"Over {copies}, on"
        return self.changes(said, [*changes.values()], "method")

    def changes(self, over: str, changes: Sequence[_Change], called: str) -> str:
        """The sentence of differences; called: what one is of."""
        shown, left = changes[:_MOST_METHODS], len(changes) - _MOST_METHODS
        parts = [
            f"{one.words} {_told(one.estimate, self.robust)}"
            + shown_if(one.verdict, f", {one.verdict.replace('; ', ' and ')}")
            for one in shown
        ]
        parts += [f"{count_text(left, f'more {called}')} below"] if left > 0 else []
        reasons = dict.fromkeys(one.reason for one in shown)
        why = shown_if("" not in reasons, f": {', '.join(reasons)}")
        is_none = why or all(is_tie(one.estimate, self.n_images) for one in shown)
        metric, _, of = metric_words(self.robust).partition(", ")
        level = shown_if(
            any(not math.isnan(one.estimate.low) for one in shown), " (95 % intervals)"
        )
        return (
            shown_if(is_none, f"No claim is supported{why}. ")
            + f"{over} the {self.split} images, {metric}{f' ({of})' * bool(of)} changes by{level}: "
            + f"{'; '.join(parts)}."
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
        return more + shown_if(loses, " and a clean loss is not excluded")


def _told(estimate: Estimate, metric: str) -> str:
    """ "+16.3 points (+15.0 to +17.6)"."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if not is_accuracy(metric):
        return f"{mean:+.4g} ({low:+.4g} to {high:+.4g})" if not math.isnan(low) else f"{mean:+.4g}"
    shown, _, interval = printed(estimate).partition(" ")
    between = interval.strip("[]").replace(", ", " to ").replace(">0", "above 0")
    return f"{shown} points ({between.replace('<0', 'below 0') or 'no interval'})"


def _running(ended: int, runs: int, what: str) -> list[str]:
    """That some have not ended, if any has."""
    said = f"{ended} of {count_text(runs, what)} have ended: this will change."
    return [said] if 0 < ended < runs else []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# -- A search, and its confirmation


def _of_search(source: StudySource) -> Answer:
    record, info, answer = source.record, source.front, source.answer
    failed = {row.number: row.failure.kind for row in record.rows if row.failure is not None}
    caveats = _running(record.ended, record.rows_at_end, "trial")
    if failed:
        caveats.append(
            f"{_trials([*failed])} failed ({', '.join(dict.fromkeys(failed.values()))})."
        )
    if all(point.violation for point in info.points):
        return Answer(_nothing_counts(record), tuple(caveats))
    if answer is None:
        return _answer(_best_of_each(info), "", caveats)
    if answer.collapsed:
        which = _trials(answer.collapsed)
        caveats.append(f"{which} collapsed: far below the others and the baseline.")
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
        less=lambda one, other, metric: answer.less(points[one], points.get(other, other), metric),
        claim=lambda *_: ("each was trained once", ""),
        n_images=info.n_corrupted or 1,
        margin=answer.margin,
    )
    best = answer.bests[0]
    trials = count_text(len(answer.ranked) + record.count("PRUNED"), "trial")
    caveats.insert(int(record.ended < record.rows_at_end), _ONCE.format(trials=trials))
    methods = _by_term(answer.bests)
    methods = methods or [one for one in answer.bests if one.loss_terms not in ("clean", "")]
    over = _Over("baseline", "the network before finetuning")
    if "plain" in record.references:
        over = _Over("plain", PLAIN)
    da = next((one for one in answer.bests if one.loss_terms in ("clean+da", "da")), None)
    if da is not None:
        over = _Over(da.name, "DA", "")
    words = {one.name: terms_words(one.loss_terms) for one in methods}
    scored = networks.scored(best.name)
    first = f"Take {_who(best)}: {scored}."
    if not answer.keeps(best):
        margin = f"{100 * answer.margin:g} {'point' if answer.margin == 0.01 else 'points'}"
        lost = f"No trial loses at most {margin} on undistorted images"
        first = f"{lost}; {_who(best)} loses least: {scored}."
    pairs = math.comb(len(answer.bests), 2)
    note = "intervals of the answer: 95 %, of new images for these networks, t over images"
    several = f"; between sets of loss terms simultaneous for {pairs} pairs (Bonferroni)"
    notes = [note + several * (pairs > 1)]
    return _answer(first, networks.part(words, over, best.name), caveats, notes, best.number)


def _confirmed(answer: SearchAnswer, info: ConfirmInfo, caveats: Sequence[str]) -> Answer | None:
    """Of the point that the search alone prefers among the confirmed ones; None before it has a
    score on the test images."""
    test, robust = info.test, on_split(answer.robust, "test")
    there = {one.name: one for one in info.points if not math.isnan(_mean(one.gains.get(robust)))}
    ranked = [point for point in answer.ranked if point.name in there]
    if not ranked:
        return None
    few_seeds = shown_if(test.seeds < LEAST_SEEDS, "too few seeds")
    networks = _networks(test, robust, answer.margin, lambda *_: (few_seeds, ""), test.level)
    chosen, first = ranked[0], answer.bests[0].name
    who = _who(chosen)
    if first != chosen.name:
        who += f" (the search prefers {first}, which was not trained again)"
    said = f"Take {who}: {networks.scored(chosen.name)}"
    luck = there[chosen.name].luck.get(answer.robust, NOTHING)
    if not math.isnan(luck.low):
        shown = "no sign that the search was lucky"
        if luck.low > 0:
            shown = f"that {100 * luck.mean:.1f} points of the search's score were luck"
        said += f"; trained again with new seeds, it shows {shown} (validation images)"
    over = _Over("plain", PLAIN)
    if not math.isnan(networks.value(COMBINED_DA, robust)):
        over = _Over(COMBINED_DA, network_label(COMBINED_DA), _SEVERAL)
    methods = {one.name: terms_words(one.loss_terms) for one in _by_term(ranked)}
    limits = [*_running(test.ended, test.runs, "run"), *map(_sentence, test.cautions), _ON_TEST]
    limits += [*map(_sentence, test.failures), *caveats]
    notes = [*interval_notes(test, test.primary), _ALL_POINTS]
    part = networks.part(methods, over, chosen.name)
    return _answer(f"{said}.", part, limits, notes, chosen.number)


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
    return "No complete trial keeps all constraints.", f"The nearest is {nearest_text(record)}."


def _best_of_each(info: ParetoInfo) -> str:
    """Of other objectives the best trial of each; of equal ones the first on the front."""
    counted = [one for one in info.points if not one.violation]
    found = []
    for place, objective in enumerate(info.objectives):
        metric, sign = objective.metric, 1 if objective.direction == "maximize" else -1
        values = [
            (sign * one.values[place], one.on_front, -one.number)
            for one in counted
            if math.isfinite(one.values[place])
        ]
        if values:
            value, _, number = max(values)
            shown = f"{metric_text(metric, sign * value)}{metric_unit(metric)}"
            found.append(f"the best {metric_words(metric)} is {shown} (trial {-number})")
    if not found:
        return "No complete trial has numbers for its objectives."
    if len(info.objectives) > 1:
        found.append(f"{count_text(len(info.front), 'trial is', 'trials are')} on the front")
    return _sentence("; ".join(found))


def _trials(numbers: Sequence[int]) -> str:
    """ "Trial 3", "Trials 3, 9 and 2 more"."""
    return f"{'Trials' if len(numbers) > 1 else 'Trial'} {few(numbers, 8)}"


def _who(point: ParetoPoint) -> str:
    """ "trial 7 (FMA with DA, on stage3)"."""
    if not point.loss_terms:
        return point.name
    layers = point.params.get("loss.fma.layers") if "fma" in point.loss_terms.split("+") else None
    on = f", on {param_text(layers)}" if layers else ""
    return f"{point.name} ({terms_words(point.loss_terms)}{on})"


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
    if (shown.record.design or {}).get("selected"):
        why = "The search, not these images, chose among these trials"
        first = f"{why}: {networks.scored(*arms)}."
    elif max(own.seeds, info.seeds) < RANKED_SEEDS:
        why = f"Too few seeds ({info.seeds}) to say which is best"
        first = f"{why}: {networks.scored(*arms)}."
    else:
        taken, who = _taken(own if own.seeds >= RANKED_SEEDS else info, arms, margin)
        first = f"Take {who}: {networks.scored(taken)}."
        caveats += [_CHOSEN.format(who=taken)] if own.seeds < RANKED_SEEDS or info is own else []
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
    return best, best + shown_if(others, f", not shown to be more robust than {few(others)}")


def _part(
    source: StudySource,
    info: AblationInfo,
    arms: Sequence[str],
    networks: _Networks,
    taken: str,
) -> str:
    """What each method adds to distorted copies alone, else to the reference; of a design in
    factors, what each part adds."""
    factors = [
        _Change(contrast_words(one, info), one.estimate, "" if verdict else _UNDECLARED, verdict)
        for one in info.effects
        if one.kind in FACTOR_EFFECTS and one.estimate.n and one.metric == info.rank_metric
        for verdict in [verdict_words(one, info)]
    ]
    if factors:
        return networks.changes("On", factors, "part")
    terms = arm_terms(source)
    alone = [one for one in arms if terms.get(one) in ("clean+da", "da")]
    combined = [one for one in alone if one == COMBINED_DA or "CA" in re.split(r"\W+", one)]
    usual = [info.reference] if info.reference in alone else alone[:1]
    reference = next(iter(combined or usual), info.reference)
    methods = [one for one in arms if {*terms.get(one, "").split("+")} & {*METHODS}]
    methods = methods or [one for one in arms if one not in (reference, "plain")]
    contrasts = {f"{one} - {reference}" for one in methods}
    primary = [one for one in info.primary if one.contrast in contrasts]
    declared = {one.contrast.partition(" - ")[0] for one in primary}
    methods.sort(key=lambda one: (one != taken, one not in declared))
    called = PLAIN if reference == "plain" else network_label(reference)
    kinds = _SEVERAL * (reference in combined) if reference in alone else None
    networks = replace(networks, robust=primary[0].metric if primary else info.rank_metric)
    words = {one: network_label(one) for one in methods}
    return networks.part(words, _Over(reference, called, kinds), taken)
