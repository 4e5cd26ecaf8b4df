"""Looks at an ablation between its replicates: what is decided, and which arms go on.

A graph says how the level of the declared contrasts is split, and where that of a rejected one goes
(Bretz et al. 2009, Statistics in Medicine 28, 586; with looks Maurer and Bretz 2013, Statistics in
Biopharmaceutical Research 5, 311).  A contrast spends its level by a power of the replicates that
are there (Lan and DeMets 1983, Biometrika 70, 659), which gives each look a nominal level: p is
compared with it, and the interval is at it (Jennison and Turnbull 1989, JRSS B 51, 305).  Nothing
stops for futility.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.cell import Claim, Design
from ablate.ablation.effects import (
    ALPHA,
    NO_DIFFERENCES,
    Effect,
    MetricTable,
    Verdict,
    claim_verdict,
    simultaneous,
)
from ablate.ablation.intervals import NONE, OVER_SEEDS_AND_IMAGES, Estimate, MeanModel
from ablate.ablation.results import Results
from ablate.ablation.significance import equivalence_p
from ablate.files.shown import shown_if
from ablate.study.json_data import JsonData
from ablate.study.settings import StopSettings

_CELLS = 200
"""Of the statistic's distribution between two looks. With 3,200 a nominal level changes by at most
1 % of itself, the familywise error by less than .0003."""


DECIDED: tuple[Verdict, ...] = ("better", "worse", "equivalent")
_POWERS = {"quadratic": 2, "cubic": 3, "quartic": 4}


@dataclass(frozen=True)
class Graph:
    """How the level of a family is split, and where that of a rejected contrast goes.

    Attributes:
        weights: `[m]`, the share of the level that each starts with; at most 1 in sum.
        transitions: `[m][m]`, the share of a rejected one's weight (line) that each other gets.
    """

    weights: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, count: int, settings: StopSettings) -> Graph:
        """That of a study; without one, equal shares of everything, which is Holm's test."""
        equal = (1 - np.eye(count)) / max(1, count - 1)
        return cls(
            settings.weights or (1 / count,) * count,
            settings.transitions or tuple(map(tuple, equal.tolist())),
        )

    def weights_without(self, rejected: Sequence[int]) -> tuple[float, ...]:
        """Those of all contrasts after some are rejected, in whatever order: 0 of these."""
        weights, shares = np.array(self.weights), np.array(self.transitions)
        for gone in rejected:
            weights += weights[gone] * shares[gone]
            through = np.outer(shares[:, gone], shares[gone])
            back = np.diag(through)[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(back < 1, (shares + through) / (1 - back), 0.0)
            np.fill_diagonal(shares, 0.0)
            weights[gone] = 0.0
            shares[gone] = shares[:, gone] = 0.0
        return tuple(weights.tolist())


@cache
def nominal_levels(level: float, looks: tuple[int, ...], power: int) -> tuple[float, ...]:
    """The level of each look at which a two-sided p is to be compared, so that a true null
    hypothesis is rejected until that look with the probability level * (look / last look)^power, of
    normal differences.

    With x of K replicates, U_K = sum x / sqrt(sum x^2) is a Markov chain where their mean is 0: by
    Basu's theorem U_1, ..., U_K do not depend on sum x^2, so U_{K+1} = U_K cos a + sin a, with an
    angle a between -pi/2 and pi/2 of the density cos(a)^(K-1), up to a constant.  Student's t is a
    function of U_K.  So the distribution of abs(U) among those that no look has rejected is carried
    from K to K + 1 (as by Armitage, McPherson and Rowe 1969, JRSS A 132, 235), in `_CELLS` cells,
    and the bound of a look is a root.  Nothing is drawn.

    Args:
        level: between 0 and 1, of all looks together.
        looks: K of each, ascending, 2 or more.

    Returns:
        One a look, between 0 and `level`.
    """
    from scipy.special import stdtr, stdtrit

    if not level > 0:
        return (0.0,) * len(looks)
    spent = [level * (look / looks[-1]) ** power for look in looks]
    count, nominal = looks[0], [spent[0]]
    t = -float(stdtrit(count - 1, spent[0] / 2))
    bound = t * math.sqrt(count / (count - 1 + t**2))
    edges = bound * np.linspace(0, 1, _CELLS + 1)
    mass = np.diff(2 * stdtr(count - 1, edges * np.sqrt((count - 1) / (count - edges**2))))
    for (before, look), (old, now) in zip(pairwise(looks), pairwise(spent), strict=True):
        for count in range(before, look):
            middles = (edges[1:] + edges[:-1])[:, None] / 2
            bound = math.sqrt(1 + edges[-1] ** 2)  # what is largest at the next replicate
            if count == look - 1:
                bound = _root(mass, middles, count, float(mass.sum()) - (now - old))
            edges = bound * np.linspace(0, 1, _CELLS + 1)
            mass = mass @ np.diff(_stays_within(edges, middles, count), axis=1)
        t = bound * math.sqrt((look - 1) / (look - bound**2))
        nominal.append(float(2 * stdtr(look - 1, -t)))
    return tuple(nominal)


def _root(
    mass: NDArray[np.float64], middles: NDArray[np.float64], count: int, left: float
) -> float:
    """The bound of abs(U) of one replicate more within which so much of the mass stays."""
    from scipy.optimize import brentq

    def excess(bound: float) -> float:
        return float(mass @ _stays_within(bound, middles, count)[:, 0]) - left

    return float(brentq(excess, 0.0, math.hypot(1, middles[-1, 0]), xtol=1e-13))


def _stays_within(
    bounds: float | NDArray[np.float64], middles: NDArray[np.float64], count: int
) -> Any:
    """The probability that abs(U) of one replicate more than `count` is at most a bound.

    Args:
        bounds: `[b]`; middles: `[cells, 1]`, U of `count` replicates, 0 or above.

    Returns:
        `[cells, b]`.
    """
    from scipy.special import stdtr

    def below(angle: NDArray[np.float64]) -> Any:  # its tangent times sqrt(count) is Student's t
        tangent = np.tan(np.clip(angle, -math.pi / 2, math.pi / 2))
        return stdtr(count, math.sqrt(count) * tangent)

    # U cos a + sin a = r sin(a + turn)
    turn, r = np.arctan(middles), np.hypot(1, middles)
    reach = np.arcsin(np.minimum(bounds / r, 1.0))
    return below(reach - turn) - below(-reach - turn) + 1 - below(math.pi - reach - turn)


# -- A look ------------------------------------------------------------------------------------


def repeated_model(model: MeanModel) -> MeanModel:
    """The model with which a look computes p and interval, valid at the small levels of looks.

    Satterthwaite's degrees of freedom, and noise that counts with the images, make p too small at
    them: of four replicates up to 2.6 times the error that .004 stands for.  Here all that varies
    over replicates has the t quantile of K - 1, and the images' part its own, which is conservative
    at every level (Banerjee 1961, Sankhya A 23, 359).
    """
    if model.method != OVER_SEEDS_AND_IMAGES:
        return model
    of_replicates = model.sd**2 / model.n
    of_images = max(model.total - of_replicates, 0.0)
    return replace(model, freedom=math.inf, of_seeds=of_replicates, of_images=of_images)


class Measured(NamedTuple):
    """A declared contrast on the replicates that are there.

    Attributes:
        contrast, metric: its names; cells: that it compares.
        model: of the differences over replicates and images.
        verdict: if it is rejected; one that is not in `DECIDED` cannot be.
        margin: of a claim of equivalence; None: that they differ.
    """

    contrast: str
    metric: str
    cells: tuple[str, ...]
    model: MeanModel
    verdict: Verdict
    margin: float | None = None

    @property
    def p(self) -> float:
        """Two-sided; of equivalence twice the larger of two one-sided ones."""
        model = repeated_model(self.model)
        return model.p() if self.margin is None else 2 * equivalence_p(model, self.margin)


def measure(
    results: Results, design: Design, claims: Sequence[Claim], minimized: Collection[str] = ()
) -> list[Measured]:
    """The declared contrasts of an ablation, on the replicates that have been read as one.

    Args:
        minimized: metrics of which less is better.
    """
    contrasts = {contrast.name: contrast for contrast in design.contrasts}
    found = []
    for claim in claims:
        contrast = contrasts[claim.contrast]
        differences = MetricTable(results, claim.metric).differences(contrast) or NO_DIFFERENCES
        margin, model = claim.equivalent_within, differences.model
        verdict = claim_verdict(
            model,
            differences.n_images,
            margin,
            is_rejected=True,
            is_minimized=claim.metric in minimized,
        )
        found.append(
            Measured(
                claim.contrast,
                claim.metric,
                tuple(cell for cell, weight in contrast.weights.items() if weight),
                model,
                verdict,
                margin,
            )
        )
    return found


@dataclass(frozen=True)
class Decision:
    """A declared contrast at a look; one that is decided stays as it was then.

    Attributes:
        replicates: of the look that it is of; n: those that have both sides of it.
        level: that it is tested at, over all looks; nominal: at this one.
        p: as of `Measured`; None where there is none.
        mean, sd, low, high: in the metric's unit, as in `Estimate`; None where there is none. The
            interval is at the nominal level of the weight that the contrast began with, so that
            all of them hold together.
        method: of the interval, as in `Estimate`.
        verdict: "not shown" until it is decided, and after the last look.
        is_open: whether it is tested again.
        equivalent_within: the margin of a claim of equivalence; None of any other.
    """

    contrast: str
    metric: str
    replicates: int
    n: int
    level: float
    nominal: float
    p: float | None
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    method: str
    verdict: Verdict
    is_open: bool
    equivalent_within: float | None = None

    def of(self, effect: Effect) -> Effect:
        """The effect as it was found at the look.  Its adjusted p is the level of all claims times
        p / nominal, so that it is at most .05 where the look rejects."""
        stored = (self.p, self.mean, self.sd, self.low, self.high)
        p, mean, sd, low, high = (math.nan if one is None else one for one in stored)
        adjusted = min(1.0, ALPHA * p / self.nominal) if self.nominal else math.nan
        return replace(
            effect,
            estimate=Estimate(mean, sd, low, high, self.n, self.method),
            p=p if self.equivalent_within is None else p / 2,
            p_adjusted=adjusted,
            verdict="open" if self.is_open else self.verdict,
            p_seeds=None,
            worst=None,
        )


@dataclass(frozen=True)
class Look(JsonData):
    """A look, as it is stored: it is never computed again.

    Attributes:
        number: from 1; replicates: that were there; seeds: of each, as planned.
        decisions: one a declared contrast, in their order.
        cells: that go on, in the order of the contrasts; none where all is decided, and at the end.
    """

    number: int
    replicates: int
    seeds: int
    decisions: tuple[Decision, ...]
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        """ "look 1, at 4 replicates: FMA - DA better; ST - DA open"."""
        found = [
            f"{one.contrast} {'open' if one.is_open else one.verdict}"
            + shown_if(one.replicates < self.replicates, f" (at {one.replicates})")
            for one in self.decisions
        ]
        return f"look {self.number}, at {self.replicates} replicates: {'; '.join(found)}"


def with_decisions(effects: Sequence[Effect], looks: Sequence[Look]) -> tuple[Effect, ...]:
    """Effects of a study with planned looks: primary ones are as the last look has found them, and
    open, without interval and p, before the first."""
    decided = looks[-1].decisions if looks else ()
    found = {(one.contrast, one.metric, one.equivalent_within): one for one in decided}

    def as_decided(effect: Effect) -> Effect:
        key = effect.contrast, effect.metric, effect.equivalent_within
        if not effect.primary:
            return replace(effect, at_level=None)
        if key in found:
            return found[key].of(effect)
        unseen = replace(effect.estimate, low=math.nan, high=math.nan, n=0, method=NONE)
        return replace(
            effect,
            estimate=unseen,
            p=math.nan,
            p_adjusted=math.nan,
            verdict="open",
            p_seeds=None,
            worst=None,
        )

    return tuple(map(as_decided, effects))


def take_look(
    settings: StopSettings,
    replicates: int,
    measured: Sequence[Measured],
    before: Look | None = None,
    *,
    seeds: int = 1,
) -> Look:
    """Test the declared contrasts that are open.

    One is rejected where p is at most the nominal level of the look.  Its weight goes to others,
    which are then tested again, on these replicates alone.

    Args:
        replicates: that are there, one of `settings.looks`.
        measured: in the order of `ablation.primary`.
        before: the look before this one; seeds: of each replicate.
    """
    graph, last = Graph.of(len(measured), settings), settings.looks[-1]
    place = settings.looks.index(replicates)
    earlier = before.decisions if before is not None else ()
    decided = {at: one for at, one in enumerate(earlier) if one.verdict in DECIDED}

    def nominal(weight: float) -> float:
        level = round(ALPHA * weight, 12)  # sums of thirds are one level
        return nominal_levels(level, settings.looks, _POWERS[settings.spending])[place]

    p_values = [one.p for one in measured]

    def decision(at: int, weight: float, *, is_rejected: bool) -> Decision:
        one, is_below = measured[at], p_values[at] <= nominal(weight)
        estimate = repeated_model(one.model).estimate(1 - nominal(graph.weights[at] or weight))
        estimate = simultaneous(estimate, one.margin, is_rejected=is_rejected)
        return Decision(
            one.contrast,
            one.metric,
            replicates,
            one.model.n,
            ALPHA * weight,
            nominal(weight),
            p=_finite(p_values[at]),
            mean=_finite(estimate.mean),
            sd=_finite(estimate.sd),
            low=_finite(estimate.low),
            high=_finite(estimate.high),
            method=estimate.method,
            verdict=one.verdict if is_below or one.verdict == "too few seeds" else "not shown",
            is_open=not is_rejected and replicates < last,
            equivalent_within=one.margin,
        )

    while True:
        weights = graph.weights_without([*decided])
        new = [
            at
            for at, one in enumerate(measured)
            if at not in decided and one.verdict in DECIDED
            if p_values[at] <= nominal(weights[at])
        ]
        if not new:
            break
        decided[new[0]] = decision(new[0], weights[new[0]], is_rejected=True)
    decisions = [
        decided.get(at) or decision(at, weights[at], is_rejected=False)
        for at in range(len(measured))
    ]
    going = [one.cells for one, now in zip(measured, decisions, strict=True) if now.is_open]
    return Look(place + 1, replicates, seeds, tuple(decisions), tuple(dict.fromkeys(chain(*going))))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
