"""What is claimed, from the confirmations of several baselines: README.md says what, and why so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ablate.ablation.effects import ALPHA, Effect, simultaneous
from ablate.ablation.info import ablation_info
from ablate.ablation.intervals import Estimate, MeanModel, over_seeds_and_images, t_interval
from ablate.ablation.pooled import Source, pooled_info
from ablate.ablation.results import PooledResults, Results, SplitName
from ablate.ablation.significance import LEAST_SEEDS, NonInferiority, holm, noninferiority
from ablate.lifecycle.open_study import read_outcomes
from ablate.lifecycle.place import locate
from ablate.report.arms import Cell, Unit
from ablate.report.tables import p_text

ARMS = ("plain", "DA+CA", "ST+CA", "FMA+CA", "DA+FMA+CA", "DA+ST+CA")
CLAIMS = (("DA+FMA+CA", "DA+CA", True), ("DA+ST+CA", "DA+CA", True), ("FMA+CA", "ST+CA", False))
"""One arm less another on untrained types; and whether the claim needs clean accuracy too."""
MARGIN = 0.005
"""Clean accuracy that may be lost to the plain finetune."""
CLEAN = "clean_accuracy"
ROUNDING = 1e-12
"""Of a share of an image."""


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column has names, the others numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def points(estimate: Estimate, decimals: int = 1) -> str:
    """ "+16.3 [+15.0, +17.6]" of a difference of accuracies."""
    return Cell(estimate=estimate, unit=Unit(100, decimals), is_difference=True).printed


def percent(estimate: Estimate) -> str:
    """ "71.3 [70.2, 72.4]", without an interval where there is none."""
    ends = f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{100 * estimate.mean:.1f}{ends}" if np.isfinite(estimate.low) else number(estimate)


def over(values: Iterable[float]) -> Estimate:
    """The mean of those that there are, and its t interval."""
    found = np.array([*values])
    return t_interval(found[np.isfinite(found)])


def number(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f}" if np.isfinite(estimate.mean) else "-"


# -- Ablations from one baseline or several --------------------------------------------------


class Ablations:
    """The same arms from some baselines, read as one.

    Attributes:
        parts: of each baseline; whole: over baselines, of one that baseline's own.
        records: of the studies, in the same order; numbers: "baseline 0" of each.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.records = [record for record, *_ in sources]
        self.numbers = [f"baseline {one.name.partition('~')[0][-1]}" for one in self.records]
        self.split: SplitName = "val" if self.records[0].test is None else "test"
        self.parts = [Results(*source, self.split) for source in sources]
        self.whole = self.parts[0]
        if len(sources) == 1:
            self.info = ablation_info(*sources[0], split=self.split)
        else:
            self.info = pooled_info(sources)
            planned = [one.study.ablation_section.seed_count for one in self.records]
            self.whole = PooledResults(self.parts, [one.name for one in self.records], planned)

    @classmethod
    def read(cls, studies: Sequence[str]) -> Ablations:
        """Args: studies: as of `ablate table`."""
        return cls([read_outcomes(locate(study)) for study in studies])

    @property
    def basis(self) -> str:
        """What intervals are over."""
        counts = ", ".join(str(len(part.whole_pairs())) for part in self.parts)
        if len(self.parts) == 1:
            return f"{counts} seeds of one baseline, and images; nothing is claimed"
        return f"{len(self.parts)} baselines ({counts} seeds, averaged), and images"

    def names(self, *exposed: str) -> list[str]:
        """The types that are not trained on by arms with copies, or those of an exposure."""
        asked: Sequence[Any] = exposed or ("untrained",)
        return [
            f"accuracy.{kind}" for one in asked for kind in self.whole.exposed_types("DA+CA", one)
        ]

    def groups(self) -> dict[str, list[str]]:
        """Means by what was trained on."""
        untrained, family, others, trained = map(
            self.names, ("untrained", "seen_family", "unseen", "seen_type")
        )
        return {
            f"{len(untrained)} untrained types": untrained,
            f"{len(family)} of trained families": family,
            f"{len(others)} of others": others,
            f"{len(trained)} trained types": trained,
            "clean": [CLEAN],
        }

    def value(self, arm: str, metrics: Sequence[str]) -> Estimate:
        """The mean of metrics, over pairs."""
        return over(self.whole.column(arm, self._named(metrics)).values)

    def less(self, arm: str, to: str, metrics: Sequence[str], of: Results | None = None) -> Any:
        """One arm less another in the mean of metrics, `[pairs, images]`.

        Args:
            of: one of the parts, of which the seeds are those that go into the whole.
        """
        one, other = ((of or self.whole).column(name, self._named(metrics)) for name in (arm, to))
        places = np.intersect1d(one.places, other.places)
        if of is not None:
            places = np.intersect1d(places, of.whole_pairs())
        first, second = one.shares_at(places), other.shares_at(places)
        if first is None or second is None:
            return np.empty((0, 1))
        found = first - second
        found[np.abs(found) <= ROUNDING] = 0.0
        return found

    def model(self, arm: str, to: str, metrics: Sequence[str]) -> MeanModel:
        return over_seeds_and_images(self.less(arm, to, metrics))

    def within(self, arm: str, to: str, metrics: Sequence[str]) -> Estimate:
        """Over seeds and images of these baselines alone, which are averaged seed by seed."""
        tables = [self.less(arm, to, metrics, part) for part in self.parts]
        seeds = min(map(len, tables))
        return over_seeds_and_images(np.mean([one[:seeds] for one in tables], axis=0)).estimate()

    def _named(self, metrics: Sequence[str]) -> list[str]:
        return [f"{self.split}_{metric}" for metric in metrics]


# -- The claims ------------------------------------------------------------------------------


class Claim(NamedTuple):
    """A primary contrast.

    Attributes:
        effect: on untrained types, whose own p is that of the difference alone; its interval is
            simultaneous, and ends at 0 only where the claim is shown and it would hold 0.
        clean, kept: clean accuracy less plain's, and whether it is kept; None where not asked.
        p: the larger of the p of all parts; adjusted: by Holm over the claims.
    """

    effect: Effect
    clean: Estimate | None
    kept: NonInferiority | None
    p: float
    adjusted: float

    @property
    def is_shown(self) -> bool:
        """Whether all parts are."""
        return self.adjusted < ALPHA and self.effect.verdict in {"better", "worse"}

    @property
    def shown_alone(self) -> bool:
        """Whether the difference on untrained types is, at the level of one of the claims."""
        return self.effect.p < ALPHA / len(CLAIMS) and self.effect.verdict in {"better", "worse"}

    @property
    def said(self) -> str:
        """What is claimed."""
        effect, kept = self.effect, self.kept
        if not effect.by_baseline or effect.estimate.n < LEAST_SEEDS:
            return f"nothing: a claim needs {LEAST_SEEDS} baselines"
        if effect.verdict == "at most one image":
            return "nothing: at most one image"
        robust = f"{'more' if effect.estimate.mean > 0 else 'less'} robust"
        of_clean = f"clean accuracy within {100 * MARGIN:g} points"
        if self.is_shown:
            return robust if kept is None else f"{robust}, {of_clean}"
        alone = [robust] * (kept is not None and self.shown_alone)
        alone += [of_clean] * (kept is not None and bool(kept.kept))
        return f"not shown{'; alone: ' * bool(alone)}{', '.join(alone)}"


def claims_of(arms: Ablations) -> list[Claim]:
    """The primary contrasts, adjusted."""
    metric, level = f"{arms.split}_robust_accuracy_untrained", 1 - ALPHA / len(CLAIMS)
    parts: list[tuple[Effect, Estimate | None, NonInferiority | None]] = []
    for arm, to, needs_clean in CLAIMS:
        estimate = arms.model(arm, to, arms.names()).estimate(level)
        effect = replace(arms.info.effect(f"{arm} - {to}", metric), estimate=estimate)
        if needs_clean:
            model = arms.model(arm, "plain", [CLEAN])
            clean = model.estimate(level)
            parts.append((effect, clean, noninferiority(model, MARGIN, estimate=clean)))
        else:
            parts.append((effect, None, None))
    both = [joint_p(effect.p, kept) for effect, _, kept in parts]
    found = []
    for (effect, of_clean, kept), p, adjusted in zip(parts, both, holm(both), strict=True):
        shown = simultaneous(effect.estimate, is_rejected=adjusted < ALPHA)
        found.append(Claim(replace(effect, estimate=shown), of_clean, kept, p, adjusted))
    return found


def joint_p(p: float, kept: NonInferiority | None) -> float:
    """The larger p of what a claim needs, an intersection-union test; 1 where there is no test."""
    parts = [p] if kept is None else [p, min(1.0, 2 * kept.p)]
    return max(one if np.isfinite(one) else 1.0 for one in parts)


def claims(arms: Ablations) -> str:
    """The primary contrasts: both parts of each, and what is claimed."""
    rows = []
    for one in claims_of(arms):
        of_clean = ["not asked", ""]
        if one.clean is not None and one.kept is not None:
            of_clean = [points(one.clean, 2), p_text(min(1.0, 2 * one.kept.p))]
        both = [points(one.effect.estimate, 2), p_text(one.effect.p), *of_clean]
        rows.append([one.effect.contrast, *both, p_text(one.p), p_text(one.adjusted), one.said])
    heads = ["contrast", "untrained types", "p", "clean less plain", "p that it is kept"]
    table = markdown([*heads, "larger p", "Holm", "claimed"], rows)
    groups = arms.groups()
    shown = [*[*groups][1:3], "clean"]
    parts = [
        [
            f"{arm} - {to}",
            *(points(arms.model(arm, to, groups[name]).estimate(), 2) for name in shown),
            *(f"{100 * arms.less(arm, to, arms.names(), one).mean():+.2f}" for one in arms.parts),
        ]
        for arm, to, _ in CLAIMS
    ]
    return (
        f"Over {arms.basis}. Points of accuracy on test images; intervals simultaneous for "
        f"{len(CLAIMS)} contrasts; p that clean accuracy is kept: twice the one-sided p of a loss "
        f"of {100 * MARGIN:g} points or more. What is shown alone, at {ALPHA} / {len(CLAIMS)}, is "
        f"no claim.\n\n{table}\n\n"
        "The two parts of the untrained types and clean accuracy, of the same contrast (95 %), and "
        "the mean of each baseline on untrained types:\n\n"
        f"{markdown(['contrast', *shown, *arms.numbers], parts)}"
    )


def within(arms: Ablations) -> str:
    """The same contrasts for these baselines alone."""
    rows = []
    for arm, to, needs_clean in CLAIMS:
        clean = points(arms.within(arm, "plain", [CLEAN]), 2) if needs_clean else ""
        each = [
            points(over_seeds_and_images(arms.less(arm, to, arms.names(), part)).estimate(), 2)
            for part in arms.parts
        ]
        rows.append([f"{arm} - {to}", points(arms.within(arm, to, arms.names()), 2), clean, *each])
    each = [f"{one} alone" for one in arms.numbers]
    table = markdown(["contrast", "untrained types", "clean less plain", *each], rows)
    return f"Over seeds and images **of these baselines**, 95 % each: not a claim.\n\n{table}"
