"""Loss terms, networks, contrasts and verdicts in plain words, the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import Effect, Shown, Verdict
from ablate.ablation.info import AblationInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.significance import LEAST_SEEDS, NonInferiority
from ablate.analysis.objectives import amount_text, is_accuracy
from ablate.files.shown import shown_if
from ablate.finetune.loss import TERMS, in_order
from ablate.ledger.record import ADAPTED
from ablate.report.numbers import metric_words
from ablate.study.scores import is_mean

_TERMS = ("fma", "st", "da", "ca")
"""Components whose names are abbreviations."""
_WITHOUT, _ADDED, _BOTH = "without ", "+ ", " * "
METHODS = ("fma", "st")
"""Loss terms that a study compares with training on distorted copies alone."""
PLAIN = "plain finetuning"
_NETWORKS = {
    "baseline": "Before finetuning",
    ADAPTED: "Before finetuning, adapted",
    "plain": "Plain finetuning",
    COMBINED_DA: "DA+CA",
}


def terms_words(loss_terms: str) -> str:
    """ "FMA with DA" of `clean+da+fma`, "plain finetuning" of `clean`; an unknown term keeps its
    name."""
    terms = in_order(loss_terms).split("+")
    if not {*terms} <= {*TERMS}:
        return "+".join(terms)
    methods = " and ".join(term.upper() for term in terms if term in METHODS)
    da = shown_if("da" in terms, "DA")
    words = " with ".join(filter(None, (methods, da))) or PLAIN
    return words if "clean" in terms else f"{words}, no clean loss"


def network_label(name: str) -> str:
    """How a legend calls an arm or a reference: "DA+CA" for `DA combined`."""
    return _NETWORKS.get(name, name)


def part_name(component: str) -> str:
    """ "FMA" of the component `fma`; any other keeps its name."""
    return component.upper() if component in _TERMS else component


def sides(effect: Effect, ablation: AblationInfo) -> tuple[str, str]:
    """The arm of a difference, and what it is compared with; an effect of factors has neither: both
    are empty."""
    names = [arm.name for arm in ablation.arms]
    for name in names:
        to = effect.contrast.removeprefix(f"{name} - ")
        if to != effect.contrast and (to in names or to == ablation.reference):
            return name, to
    return "", ""


def as_contribution(effect: Effect, ablation: AblationInfo) -> Effect:
    """What a part adds, of a contrast that leaves it out: the effect with sides and sign exchanged.

    Any other effect as it is, and all where a loss that may be tolerated is declared: what is kept
    is then said of the network without the part.
    """
    arm, to = sides(effect, ablation)
    has_margin = any(effect.kept is not None for effect in ablation.effects)
    if has_margin or not arm.startswith(_WITHOUT) or to != ablation.reference:
        return effect
    turned: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}

    def less(one: Estimate) -> Estimate:
        return replace(one, mean=-one.mean, low=-one.high, high=-one.low)

    return replace(
        effect,
        contrast=f"{to} - {arm}",
        estimate=less(effect.estimate),
        at_level=effect.at_level and less(effect.at_level),
        worst=effect.worst and less(effect.worst),
        by_baseline=tuple(-value for value in effect.by_baseline),
        verdict=turned.get(effect.verdict, effect.verdict),
    )


class ContrastWords(NamedTuple):
    """What is compared, and with what if that is said; of a contribution its part."""

    subject: str
    other: str = ""
    is_contribution: bool = False

    @property
    def text(self) -> str:
        start = shown_if(self.is_contribution, "contribution of ")
        return f"{start}{self.subject}{shown_if(self.other, f' against {self.other}')}"


def contrast_words(effect: Effect, ablation: AblationInfo) -> ContrastWords:
    """A contrast as a person reads it, with the sign that it has: "leaving out FMA", "contribution
    of FMA", "adding FMA to DA+CA", "FMA and ST beyond their sum", else "ST+CA against DA+CA"."""
    name = effect.contrast
    arms = [arm.name for arm in ablation.arms]
    if effect.kind == "interaction":
        return ContrastWords(f"{' and '.join(map(part_name, name.split(_BOTH)))} beyond their sum")
    if effect.kind in ("main effect", "Shapley value"):
        is_part = any(f"{_WITHOUT}{name}" in arm.split(", ") for arm in arms)
        if is_part or effect.kind == "Shapley value":
            return ContrastWords(part_name(name), is_contribution=True)
        return ContrastWords(f"effect of {part_name(name)}")
    arm, to = sides(effect, ablation)
    if not arm:  # of leave_family_out, on the family alone
        part, colon, _ = name.partition(": ")
        exposure, _, family = part.partition(" ")
        words = {"unseen": "not trained on", "seen": "trained on"}.get(exposure)
        return ContrastWords(f"gain on {family}, {words}" if colon and words else name)
    if effect.kind == "step":
        return ContrastWords(f"adding {part_name(arm.removeprefix(_ADDED))}")
    return _difference_words(arm, to, arms, ablation.reference)


def _difference_words(arm: str, to: str, arms: Sequence[str], reference: str) -> ContrastWords:
    if arm.startswith(_ADDED):
        added = [name for name in arms[: arms.index(arm) + 1] if name.startswith(_ADDED)]
        *first, last = (part_name(name.removeprefix(_ADDED)) for name in added)
        return ContrastWords(f"adding {', '.join(first)}{shown_if(first, ' and ')}{last}")
    if arm.startswith(_WITHOUT) and to == reference:
        return ContrastWords(f"leaving out {part_name(arm.removeprefix(_WITHOUT))}")
    if to.startswith(_WITHOUT) and arm == reference:
        return ContrastWords(part_name(to.removeprefix(_WITHOUT)), is_contribution=True)
    parts, other = arm.split("+"), to.split("+")
    if all(parts) and set(other) < set(parts):
        added_parts = "+".join(part for part in parts if part not in other)
        return ContrastWords(f"adding {added_parts} to {to}")
    return ContrastWords(arm, shown_if(to in ("baseline", "reference"), "the ") + to)


class VerdictWords(NamedTuple):
    """What a contrast allows to be said of its metric, and of a metric with a declared margin."""

    finding: str = ""
    margin: str = ""
    is_kept: bool = False
    is_equivalent: bool = False

    @property
    def text(self) -> str:
        return "; ".join(filter(None, (self.finding, self.margin)))


def verdict_words(effect: Effect, ablation: AblationInfo) -> VerdictWords:
    """What a primary contrast allows to be said; nothing of an exploratory one."""
    if not effect.primary:
        return VerdictWords()
    if effect.tuned:
        return VerdictWords("exploratory: tuned on these images")
    if effect.verdict == "too few seeds":
        return VerdictWords(f"too few {ablation.paired}s for a claim ({LEAST_SEEDS} needed)")
    words = {
        "not shown": "not shown to differ",
        "at most one image": "at most one image apart",
        "open": "open: a planned look decides",
    }
    if effect.equivalent_within is not None:
        same = f"equivalent within {amount_text(effect.metric, effect.equivalent_within)}"
        words |= {"equivalent": same, "not shown": f"not shown to be {same}"}
    text = words.get(effect.verdict, _direction(effect))
    if ablation.looks and effect.verdict in get_args(Shown):
        text += f", at {ablation.looks + 1} looks"
    found = VerdictWords(text, is_equivalent=effect.verdict == "equivalent")
    if not (declared := margins(effect, ablation)):
        return found
    metric, kept = declared[0]
    name = "clean accuracy" if metric.endswith("_clean_accuracy") else metric_words(metric)
    if kept.kept:
        return found._replace(margin=f"{name} is kept", is_kept=True)
    lost = f"{name.removesuffix(' accuracy')} loss" if is_mean(metric) else f"worse {name}"
    return found._replace(margin=f"a {lost} is not excluded")


def margins(effect: Effect, ablation: AblationInfo) -> list[tuple[str, NonInferiority]]:
    """The metrics whose loss may be tolerated, and whether its contrast keeps them."""
    same = (other for other in ablation.effects if other.contrast == effect.contrast)
    return [(other.metric, other.kept) for other in same if other.kept is not None]


def _direction(effect: Effect) -> str:
    is_robust, is_clean = (f"_{one}_accuracy" in effect.metric for one in ("robust", "clean"))
    if not is_accuracy(effect.metric) or not (is_robust or is_clean):
        return str(effect.verdict)
    more = "more" if effect.verdict == "better" else "less"
    return f"{more} robust" if is_robust else f"{more} accurate on clean images"
