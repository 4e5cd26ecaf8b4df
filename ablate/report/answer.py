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
from ablate.analysis.objectives import amount_text, is_accuracy, on_split
from ablate.analysis.pareto import ParetoPoint
from ablate.analysis.summary import best_values
from ablate.files.shown import count_text, few, shown_if
from ablate.ledger.record import NOT_FINETUNED
from ablate.report.arms import ABOVE_ZERO, BELOW_ZERO, NOTHING, interval_notes, points_cell
from ablate.report.numbers import metric_text, metric_unit, metric_words, param_text, percent_text
from ablate.report.words import (
    METHODS,
    PLAIN,
    VerdictWords,
    contrast_words,
    network_label,
    terms_words,
    verdict_words,
)
from ablate.robustness.measures import LEVEL
from ablate.study.scores import AT_CLEAN_LOSS, Scores, clean_metric, less_is_better

_MOST_METHODS = 2
_UNDECLARED = "the comparisons were not declared before the runs"


@dataclass(frozen=True)
class Answer:
    """What a study answers so far.

    Attributes:
        sentences: one to three; a warning first, in place of the caveat.
        notes: what else limits it.
        trial: what to take, as `ablate export --trial` has it: the number of a row, or the trials
            of a mixture with its `--alpha`; None where none is named.
    """

    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    trial: int | str | None = None


def study_answer(source: StudySource) -> Answer:
    """The answer of a study, from the rows that have ended; a warning that the study misleads comes
    first, in place of the caveat."""
    answer = _of_search(source) if source.ablation is None else _of_ablation(source)
    if warning := baseline_warning(source.record):
        sentences = (f"Warning: {warning}.", *answer.sentences[:2])
        return replace(answer, sentences=sentences, notes=answer.sentences[2:] + answer.notes)
    return answer


def _answer(
    first: str,
    part: str,
    caveats: Sequence[str],
    notes: Sequence[str] = (),
    trial: int | str | None = None,
) -> Answer:
    """Of the caveats the first is a sentence, the others are notes."""
    return Answer((first, *filter(None, [part]), *caveats[:1]), (*caveats[1:], *notes), trial)


# -- A search, and its confirmation


def _of_search(source: StudySource) -> Answer:
    record, answer = source.record, source.answer
    is_running = 0 < record.ended < record.rows_at_end
    caveats = _running_text(record.ended, record.rows_at_end, "trial")
    caveats += map(_sentence, record.history)
    ended = (row for row in record.rows if row.failure is not None and not row.outside)
    failed = {row.number: row.failure.kind for row in ended if row.failure is not None}
    if failed:
        kinds = ", ".join(dict.fromkeys(failed.values()))
        caveats.append(f"{_trials_text([*failed])} failed ({kinds}).")
    if not record.complete:
        yet = "" if record.is_over else " yet"
        return Answer((f"None of {record.rows_at_end} trials is complete{yet}.",), tuple(caveats))
    if all(each.violation for each in (*source.front.points, *source.front.mixtures)):
        nearest = f"The nearest is {nearest_text(record)}."
        return Answer(("No complete trial keeps all constraints.", nearest), tuple(caveats))
    if answer is None:
        return _answer(_best_of_each(source), "", [*_luck(source), *caveats])
    if answer.collapsed:
        which = _trials_text(answer.collapsed)
        caveats.append(f"{which} collapsed: far below the others and the baseline.")
    if source.confirmation is not None:
        if confirmed := _confirmed(answer, source.confirmation, caveats):
            return confirmed
        caveats.insert(0, "Confirmation is running: no run on the test images has ended yet.")
    best, once = answer.bests[0], _once(answer, record.count("PRUNED"))
    caveats.insert(1 if is_running else 0, once)  # that it will change comes first
    points = {point.name: point for point in answer.ranked}

    def value(name: str, metric: str) -> float:
        scores = points[name].scores if name in points else record.references[name]
        return scores.metrics().get(metric, math.nan) if isinstance(scores, Scores) else math.nan

    networks = _Networks(
        split="validation",
        clean_metric=answer.clean,
        robust_metric=answer.robust,
        value=value,
        difference=lambda name, to, metric: answer.less(points[name], points.get(to, to), metric),
        claim=lambda *_: _Claim("each was trained once"),
        n_images=source.front.n_corrupted or 1,
        margin=answer.margin,
    )
    first = _first(networks, best, keeps=answer.keeps(best))
    over = _Over("baseline", "the network before finetuning")
    if "plain" in record.references:
        over = _Over("plain", PLAIN)
    for point in answer.bests:
        if point.loss_terms in ("clean+da", "da"):
            over = _Over(point.name, "DA", is_da_alone=True)
            break
    methods = _by_method(answer.bests) or [
        point for point in answer.bests if point.loss_terms not in ("clean", "")
    ]
    words = {point.name: terms_words(point.loss_terms) for point in methods}
    pairs = math.comb(len(answer.bests), 2)
    note = "intervals of the answer: 95 %, of new images for these networks, t over images"
    if pairs > 1:
        note += f"; between sets of loss terms simultaneous for {pairs} pairs (Bonferroni)"
    sentence = networks.sentence_of_methods(words, over, best.name)
    taken = _exported(best) if networks.gains(best.name) else None
    return _answer(first, sentence, caveats, [note, *source.front.refused], taken)


def _first(networks: _Networks, best: ParetoPoint, *, keeps: bool) -> str:
    """What to take; a gain of less than one image is none."""
    scored, who = networks.scored(best.name), _who(best)
    if not networks.gains(best.name):
        return f"None is better than the network before finetuning; {who} is nearest: {scored}."
    if keeps:
        return f"Take {who}: {scored}."
    margin = amount_text("val_clean_accuracy", networks.margin)
    return f"No trial loses at most {margin} on undistorted images; {who} loses least: {scored}."


def _luck(source: StudySource) -> list[str]:
    """That what is best of each objective was chosen by the same numbers."""
    if source.record.study.trainable is not None:
        return []
    says = "`ablate confirm` measures that on the test images"
    says = says if source.confirmation is None else "its confirmation says how much"
    return [f"What is best was chosen by these numbers, so part of it may be luck: {says}."]


def _exported(point: ParetoPoint) -> int | str:
    """A network of a search as `Answer.trial` has it."""
    mixed = f"{point.point.numbers} --alpha {point.point.alpha:g}"
    return mixed if point.is_mixture else point.number


def _once(answer: SearchAnswer, pruned: int) -> str:
    """That a search alone has chosen what it names first."""
    mixtures = sum(point.is_mixture for point in answer.ranked)
    among = count_text(len(answer.ranked) - mixtures + pruned, "trial")
    among += shown_if(mixtures, f" and {count_text(mixtures, 'mixture')}")
    was, again = "It was trained once and is", "it"
    if answer.bests[0].is_mixture:
        was, again = "Its trials were trained once, and it is", "them"
    return (
        f"{was} the best of {among} on these images, so part of the gain may be luck: `ablate "
        f"confirm` trains {again} again, and measures that on the test images."
    )


def _confirmed(answer: SearchAnswer, info: ConfirmInfo, caveats: Sequence[str]) -> Answer | None:
    """Of the point that the search alone prefers among the confirmed ones; None before it has a
    score on the test images."""
    test, robust = info.test, on_split(answer.robust, "test")
    confirmed = {point.name: point for point in info.points if robust in point.gains}
    ranked = [
        point
        for point in answer.ranked
        if point.name in confirmed and not math.isnan(confirmed[point.name].gains[robust].mean)
    ]
    if not ranked:
        return None
    few_seeds = shown_if(test.seeds < LEAST_SEEDS, "too few seeds")
    networks = _networks(test, robust, answer.margin, lambda *_: _Claim(few_seeds), test.level)
    chosen, preferred = ranked[0], answer.bests[0].name
    who = _who(chosen)
    if preferred != chosen.name:
        who += f" (the search prefers {preferred}, which was not trained again)"
    first = f"Take {who}: {networks.scored(chosen.name)}"
    luck = confirmed[chosen.name].luck.get(answer.robust, NOTHING)
    if not math.isnan(luck.low):
        shown = "no sign that the search was lucky"
        if luck.low > 0:
            shown = f"that {percent_text(luck.mean)} points of the search's score were luck"
        first += f"; trained again with new seeds, it shows {shown} (validation images)"
    over = _Over("plain", PLAIN)
    if not math.isnan(networks.value(COMBINED_DA, robust)):
        called = network_label(COMBINED_DA)
        over = _Over(COMBINED_DA, called, is_da_alone=True, has_several_types=True)
    methods = {point.name: terms_words(point.loss_terms) for point in _by_method(ranked)}
    limits = [
        *_running_text(test.ended, test.runs, "run"),
        *map(_sentence, test.cautions),
        "Do not pick another trial by these numbers: the test images would no longer be a fair "
        "test.",
        *map(_sentence, test.failures),
        *caveats,
    ]
    notes = [
        *interval_notes(test, test.primary),
        "intervals of the answer: 95 % for all confirmed points over one reference together, t "
        "over seeds and images",
    ]
    sentence = networks.sentence_of_methods(methods, over, chosen.name)
    return _answer(f"{first}.", sentence, limits, notes, _exported(chosen))


def _by_method(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Of each method the first point that has it, and not the other where there is one."""
    found = []
    for method in METHODS:
        having = [point for point in points if method in point.loss_terms.split("+")]
        alone = [one for one in having if len({*one.loss_terms.split("+")} & {*METHODS}) == 1]
        found += (alone or having)[:1]
    return found


def _best_of_each(source: StudySource) -> str:
    """Of other objectives the best trial of each; of equal ones the first on the front."""
    record, info = source.record, source.front
    front = {point.number for point in info.front if not point.is_mixture}
    rows = sorted(record.rows, key=lambda row: (row.number not in front, row.number))
    asked, texts = [objective.metric for objective in info.objectives], []
    before = dict(zip(asked, info.references.get("baseline", ()), strict=False))

    def said(metric: str, value: float) -> str:
        return f"{metric_text(metric, value)}{metric_unit(metric)}"

    for one in best_values(rows, info.objectives, record.bounds, info.mixtures):
        was = before.get(one.metric, math.nan)
        whose = one.point.name
        whose += shown_if(not math.isnan(was), f"; baseline {said(one.metric, was)}")
        best = said(one.metric, one.value)
        texts.append(f"the best {metric_words(one.metric)} is {best} ({whose})")
    if not texts:
        return "No complete trial has numbers for its objectives."
    if len(info.objectives) > 1:
        mixed = count_text(len(info.front) - len(front), "mixture")
        are = f"{count_text(len(front), 'trial is', 'trials are')} on the front"
        texts.append(are + shown_if(len(front) < len(info.front), f", and {mixed}"))
    return _sentence("; ".join(texts))


def _trials_text(numbers: Sequence[int]) -> str:
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


def _of_ablation(source: StudySource) -> Answer:
    shown, own = source.answering, source.ablation
    info = shown.ablation or own
    assert info is not None
    assert own is not None
    caveats = _running_text(info.ended, info.runs, "run")
    limits = [*info.cautions, *(warning for warning in info.warnings if warning != info.warning)]
    caveats += map(_sentence, [*limits, *info.failures])

    def claim(name: str, other: str) -> _Claim:
        found = [effect for effect in info.primary if effect.contrast == f"{name} - {other}"]
        if not found:
            return _Claim(_UNDECLARED)
        # of one metric both of difference and of equivalence, where both are declared
        words = [verdict_words(one, info) for one in found if one.metric == found[-1].metric]
        both = " and ".join(dict.fromkeys(one.finding for one in words))
        verdict = words[-1]._replace(finding=both)
        is_claim = found[-1].estimate.n >= LEAST_SEEDS and not found[-1].tuned
        return _Claim("" if is_claim else verdict.text, verdict)

    margin = source.record.study.answer.clean_margin
    ranked = _ranked_by(info)
    networks = _networks(info, ranked, margin, claim)
    # Of replicates there is a baseline each; a training loop of one's own names what it likes.
    fixed = NOT_FINETUNED if source.record.study.trainable is None else ()
    arms = [
        arm.name
        for arm in info.arms
        if arm.name not in fixed and not math.isnan(networks.value(arm.name, ranked))
    ]
    if not arms:
        nothing = "No run has ended well." if info.ended else "No run has ended yet."
        tuned = shown_if(source.tuning, f"The arms are still being tuned ({source.tuning}).")
        return _answer(nothing, tuned, caveats)
    taken = ""
    if (shown.record.design or {}).get("selected"):
        why = "The search, not these images, chose among these trials"
        first = f"{why}: {networks.scored(*arms)}."
    elif max(own.seeds, info.seeds) < RANKED_SEEDS:
        why = f"Too few {info.paired}s ({info.seeds}) to say which is best"
        first = f"{why}: {networks.scored(*arms)}."
    else:
        taken, who = _taken(own if own.seeds >= RANKED_SEEDS else info, networks, arms)
        is_at_loss = ranked.endswith(AT_CLEAN_LOSS)
        take = "At the stated clean loss take" if is_at_loss else "Take"
        first = f"{take} {who}: {networks.scored(taken)}."
        if own.seeds < RANKED_SEEDS or info is own:
            caveats.append(
                f"{taken} was chosen by these numbers, so other images may give it a little less."
            )
    notes = interval_notes(info, info.primary or info.effects)
    rows = [row.number for row in source.record.complete if row.cell == taken]
    sentence = _sentence_of_methods(shown, info, arms, networks, taken)
    if source.record.planned_looks and sentence:  # its question is the declared contrasts
        first, sentence = sentence, first
    return _answer(first, sentence, caveats, notes, min(rows, default=None))


def _taken(info: AblationInfo, networks: _Networks, arms: Sequence[str]) -> tuple[str, str]:
    """Of these arms the most robust that keeps clean accuracy within the margin, or of all; with
    those that it is not shown to beat as `networks`, which may be of other images."""
    means, ranked = {arm.name: arm.estimates for arm in info.arms}, _ranked_by(info)
    clean = clean_metric(ranked)
    sign = -1 if ranked in info.minimized else 1
    start = means.get("baseline", {}).get(clean, NOTHING).mean

    def standing(name: str) -> tuple[bool, float]:
        loss = start - means[name].get(clean, NOTHING).mean
        return not loss > networks.margin, sign * means[name].get(ranked, NOTHING).mean

    best = max((name for name in arms if name in means), key=standing)

    def is_tied(name: str) -> bool:
        found = networks.difference(best, name, networks.robust_metric)
        return found.low <= 0 <= found.high

    others = [name for name in arms if name != best and is_tied(name)]
    how = "more robust" if networks.counts_images else "better"
    return best, best + shown_if(others, f", not shown to be {how} than {few(others)}")


def _ranked_by(info: AblationInfo) -> str:
    """What arms are ranked by: what is declared, where that is at the stated clean loss."""
    declared = (one.metric for one in info.primary if one.metric.endswith(AT_CLEAN_LOSS))
    return next(declared, info.rank_metric)


def _sentence_of_methods(
    source: StudySource,
    info: AblationInfo,
    arms: Sequence[str],
    networks: _Networks,
    taken: str,
) -> str:
    """What each method adds to distorted copies alone, else to the reference; of a design in
    factors, what each part adds."""
    factors = []
    for effect in info.effects:
        of_rank = effect.metric == info.rank_metric and effect.estimate.n
        if effect.kind in FACTOR_EFFECTS and of_rank:
            verdict = verdict_words(effect, info)
            claim = _Claim("" if verdict.finding else _UNDECLARED, verdict)
            factors.append(_Change(contrast_words(effect, info).text, effect.estimate, claim))
    if factors:
        return networks.changes("On", factors, "part")
    terms = arm_terms(source)
    alone = [arm for arm in arms if terms.get(arm) in ("clean+da", "da")]
    combined = [arm for arm in alone if arm == COMBINED_DA or "CA" in re.split(r"\W+", arm)]
    usual = [info.reference] if info.reference in alone else alone[:1]
    reference = next(iter(combined or usual), info.reference)
    methods = [arm for arm in arms if {*terms.get(arm, "").split("+")} & {*METHODS}]
    if not methods:  # distorted copies are themselves what is compared
        reference = info.reference or reference
        others = [arm for arm in arms if arm != reference]
        methods = [arm for arm in others if arm not in NOT_FINETUNED] or others
    contrasts = {f"{arm} - {reference}" for arm in methods}
    primary = [effect for effect in info.primary if effect.contrast in contrasts]
    declared = {effect.contrast.partition(" - ")[0] for effect in primary}
    methods.sort(key=lambda arm: (arm != taken, arm not in declared))
    called = PLAIN if reference == "plain" else network_label(reference)
    is_alone, has_several = reference in alone, reference in combined
    over = _Over(reference, called, is_da_alone=is_alone, has_several_types=has_several)
    networks = replace(networks, robust_metric=primary[0].metric if primary else info.rank_metric)
    by_name = {arm: network_label(arm) for arm in methods}
    return networks.sentence_of_methods(by_name, over, taken)


def _networks(
    info: AblationInfo,
    robust_metric: str,
    margin: float,
    claim: Callable[[str, str], _Claim],
    level: float = LEVEL,
) -> _Networks:
    """The arms of an ablation or a confirmation; a difference that is no contrast of it has an
    interval at this level."""
    arms = {arm.name: arm.estimates for arm in info.arms}
    effects = {
        (effect.contrast, effect.metric): effect.estimate for effect in reversed(info.effects)
    }  # of two claims that of a difference, which is the first

    def difference(name: str, other: str, metric: str) -> Estimate:
        effect = effects.get((f"{name} - {other}", metric))
        if effect is None and info.compare is not None and {name, other} <= {*arms}:
            return info.compare(name, other, metric, level)
        return effect or NOTHING

    return _Networks(
        split=info.split or "",
        clean_metric=clean_metric(robust_metric),
        robust_metric=robust_metric,
        value=lambda name, metric: arms.get(name, {}).get(metric, NOTHING).mean,
        difference=difference,
        claim=claim,
        n_images=info.n_corrupted or 1,
        margin=margin,
    )


# -- The sentences of both


class _Over(NamedTuple):
    """What methods are compared with: a network, what it is called, whether it is trained on
    distorted copies with neither FMA nor ST, and whether these are of several types."""

    name: str
    called: str
    is_da_alone: bool = False
    has_several_types: bool = False


class _Claim(NamedTuple):
    """Why a difference supports no claim (empty: it does), and its verdict where it was tested."""

    reason: str
    verdict: VerdictWords = VerdictWords()


class _Change(NamedTuple):
    """A difference in words."""

    words: str
    estimate: Estimate
    claim: _Claim


@dataclass(frozen=True)
class _Networks:
    """Networks by name, on the images of one split.

    Attributes:
        value: of a network in a metric.
        difference: of a network less another, in a metric; claim: what it allows to be said.
        margin: of clean accuracy that may be lost.
    """

    split: str
    clean_metric: str
    robust_metric: str
    value: Callable[[str, str], float]
    difference: Callable[[str, str, str], Estimate]
    claim: Callable[[str, str], _Claim]
    n_images: int
    margin: float

    @property
    def counts_images(self) -> bool:
        return "_robust_accuracy" in self.robust_metric

    def gains(self, name: str) -> bool:
        """Whether a network is better than the baseline by what one image is worth, at least."""
        before, after = (self.value(one, self.robust_metric) for one in ("baseline", name))
        return not (after - before) * self.n_images < 1 - 1e-9

    def scored(self, *names: str) -> str:
        """How many of 100 images are right before and after, with a decimal where that would be
        the same; of several networks as a range."""
        robust = self.robust_metric
        before, *after = (self.value(name, robust) for name in ("baseline", *names))
        ends = (min(after), max(after))
        if not self.counts_images or math.isnan(before):
            unit = metric_unit(robust)
            start, *texts = (f"{metric_text(robust, value)}{unit}" for value in (before, *ends))
            range_ = " to ".join(dict.fromkeys(texts))
            whose = "its" if len(names) == 1 else "their"
            text = f"{whose} {metric_words(robust)} is {range_}, {start} before finetuning"
            beside = [self.value(name, self.clean_metric) for name in (names[0], "baseline")]
            if len(names) == 1 and self.clean_metric != robust and not any(map(math.isnan, beside)):
                now, then = (f"{metric_text(self.clean_metric, one)} %" for one in beside)
                text += f"; its {metric_words(self.clean_metric)} is {now}, {then} before"
            return text
        digits = 1 if round(100 * before) in [round(100 * end) for end in ends] else 0
        start, *texts = (f"{100 * one:.{digits}f}" for one in (before, *ends))
        text = (
            f"of 100 distorted {self.split} images {'it gets' if len(names) == 1 else 'they get'} "
            f"{' to '.join(dict.fromkeys(texts))} right, {start} before finetuning"
        )
        clean, clean_before = (
            self.value(name, self.clean_metric) for name in (names[0], "baseline")
        )
        if len(names) > 1 or math.isnan(clean_before) or math.isnan(clean):
            return text
        text += f"; of undistorted ones {percent_text(clean)}, {percent_text(clean_before)} before"
        change = self.difference(names[0], "baseline", self.clean_metric)
        if change.low <= 0 <= change.high and change.mean != 0:
            text += f" (the {'loss' if change.mean < 0 else 'gain'} may be chance)"
        return text

    def sentence_of_methods(self, methods: Mapping[str, str], over: _Over, taken: str) -> str:
        """What each method adds to a reference, and whether that earns most of the gain.

        Args:
            methods: their words by name; taken: whose gain it is.
        """
        changes, names = [], []
        for name in [name for name in methods if name != over.name]:
            change = self.difference(name, over.name, self.robust_metric)
            if not math.isnan(change.mean):
                reason, verdict = self.claim(name, over.name)
                if not verdict.finding:
                    verdict = self._verdict(name, over.name, change)
                kept = verdict.margin + shown_if(verdict.is_kept, f" compared with {over.called}")
                verdict = verdict._replace(margin=kept)
                changes.append(_Change(methods[name], change, _Claim(reason, verdict)))
                names.append(name)
        if not changes:
            return ""
        if not over.is_da_alone:
            return self.changes(f"Over {over.called}, on", changes, "method")
        types = shown_if(over.has_several_types, " of several types")
        copies = f"distorted copies{types}, without FMA or ST ({over.called})"
        best = taken or names[0]
        start, base, end = (
            self.value(name, self.robust_metric) for name in ("baseline", over.name, best)
        )
        if less_is_better(self.robust_metric):
            start, base, end = -start, -base, -end
        lost = self.value(best, self.clean_metric) - self.value(over.name, self.clean_metric)
        opening = f"Over {copies}, on"
        gain = self.difference(best, "baseline", self.robust_metric)
        is_gain = math.isnan(gain.low) or not is_tie(gain, self.n_images)
        if base - start > (end - start) / 2 > 0 and is_gain and not lost > self.margin:
            opening = f"Most of the gain comes from training on {copies}. Compared with that, on"
        return self.changes(opening, changes, "method")

    def changes(self, opening: str, changes: Sequence[_Change], called: str) -> str:
        """The sentence of differences; called: what one is of."""
        shown, left = changes[:_MOST_METHODS], len(changes) - _MOST_METHODS
        parts = [self._change_text(change) for change in shown]
        if left > 0:
            parts.append(f"{count_text(left, f'more {called}')} below")
        reasons = dict.fromkeys(change.claim.reason for change in shown)
        why = shown_if("" not in reasons, f": {', '.join(reasons)}")
        is_none = why or all(
            is_tie(change.estimate, self.n_images) and not change.claim.verdict.is_equivalent
            for change in shown
        )
        metric, _, part = metric_words(self.robust_metric).partition(", ")
        metric += shown_if(part, f" ({part})")
        has_intervals = any(not math.isnan(change.estimate.low) for change in shown)
        return (
            shown_if(is_none, f"No claim is supported{why}. ")
            + f"{opening} the {self.split} images, {metric} changes by"
            + f"{shown_if(has_intervals, ' (95 % intervals)')}: {'; '.join(parts)}."
        )

    def _change_text(self, change: _Change) -> str:
        text = f"{change.words} {_difference_text(change.estimate, self.robust_metric)}"
        verdict = change.claim.verdict
        allowed = " and ".join(filter(None, (verdict.finding, verdict.margin)))
        return text + shown_if(allowed, f", {allowed}")

    def _verdict(self, name: str, reference: str, robust: Estimate) -> VerdictWords:
        """Of a difference that was not tested."""
        if math.isnan(robust.low):
            return VerdictWords()
        if is_tie(robust, self.n_images):
            return VerdictWords("no difference is shown")
        if not self.counts_images:
            return VerdictWords()
        if robust.mean < 0:
            return VerdictWords("less robust")
        clean = self.difference(name, reference, self.clean_metric)
        loses = not math.isnan(clean.mean) and not clean.low > -self.margin
        return VerdictWords("more robust", shown_if(loses, "a clean loss is not excluded"))


def _difference_text(estimate: Estimate, metric: str) -> str:
    """ "+16.3 points (+15.0 to +17.6)"."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if not is_accuracy(metric):
        return f"{mean:+.4g} ({low:+.4g} to {high:+.4g})" if not math.isnan(low) else f"{mean:+.4g}"
    parts = points_cell(estimate).parts
    in_words = {ABOVE_ZERO: "above 0", BELOW_ZERO: "below 0"}
    ends = [in_words.get(end, end) for end in (parts.low, parts.high) if end]
    return f"{parts.mean} points ({' to '.join(ends) or 'no interval'})"


def _running_text(ended: int, runs: int, what: str) -> list[str]:
    """That some have not ended, if any has."""
    text = f"{ended} of {count_text(runs, what)} have ended: this will change."
    return [text] if 0 < ended < runs else []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
