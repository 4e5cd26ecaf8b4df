"""The power of a contrast, from the components of its variance, and designs by hours.

Source: noncentral t, as for a paired test (Cohen 1988, Statistical Power Analysis, ch. 2), with the
variance and the degrees of freedom of `intervals.over_seeds_and_images`.  Equivalence has a power
of at least 2 P - 1 where nothing differs, P that of a difference of the margin (Phillips 1990, J.
Pharmacokinet. Biopharm. 18, 137).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from ablate.ablation.cell import Claim, Design
from ablate.ablation.effects import ALPHA, Effect
from ablate.ablation.intervals import Components, expected_model
from ablate.ablation.searches import tuned_cells
from ablate.ablation.significance import LEAST_SEEDS
from ablate.analysis.accounting import trial_accounts
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import StudyRecord
from ablate.study.scores import Scores, base_name
from ablate.study.settings import Study

POWER = 0.8
LEAST_POWER = 0.2
"""A primary contrast with a lower planned power gets a warning."""

_MOST_DESIGNS = 8


def planned_power(
    components: Components, seeds: int, images: int | None, difference: float, alpha: float = 0.05
) -> float:
    """Probability that a true difference is shown, by the test at `alpha`, two-sided.

    Args:
        components: standard deviations of the contrast, as known, or estimated by a pilot.
        seeds: K, 2 or more.
        images: that are scored, 2 or more; None where they are not known.
        difference: the true one, above 0, in the metric's own unit.
    """
    from scipy.stats import nct

    model = expected_model(components, seeds, images)
    error = components.standard_error(seeds, images)
    if error == 0:
        return 1.0
    bound = model.estimate(1 - alpha).high  # of a mean of 0: half the width of the interval
    return float(nct.sf(bound / error, model.freedom, difference / error))


def power_lines(
    claims: Sequence[Claim],
    effects: Sequence[Effect],
    seeds: int,
    difference: float,
    images_scored: Callable[[str], int | None],
    *,
    paired: str = "seed",
) -> tuple[str, ...]:
    """The power of primary contrasts before a study is run, from a pilot's effects; with a warning
    below `LEAST_POWER`.

    For a contrast that the pilot has too, its components are used; for another one those of the
    pilot's contrast with the largest standard error on that metric, which plans for the worst.

    Args:
        claims: of the study; effects: of the pilot, on validation images.
        seeds: K of the study; difference: that should be shown.
        images_scored: n of a metric in the study; if it says None, as many as the pilot's.
        paired: what seeds are, "seed" or "replicate".

    Returns:
        A line a claim; those on a metric without components in the pilot are left out.
    """
    lines = []
    alpha = ALPHA / max(1, len(claims))
    for claim in claims:
        pilot = _effect_of(claim, effects, seeds)
        if pilot is None or pilot.components is None:
            continue
        components = pilot.components
        images = pilot.n_images
        if images is not None:
            images = images_scored(claim.metric) or images
        margin, of = claim.equivalent_within, f"a true difference of {difference:g}"
        power = planned_power(components, seeds, images, margin or difference, alpha)
        if margin is not None:
            power, of = max(0.0, 2 * power - 1), "no true difference"
        scored = "" if images is None else f" and {images:,} images"
        line = (
            f"{claim.text}: power {100 * power:.0f} % at {of}, with {seeds} {paired}s{scored}, "
            f"from the pilot's {pilot.contrast}"
        )
        if power < LEAST_POWER:
            line += f". Warning: below {100 * LEAST_POWER:.0f} %, a claim is unlikely"
        lines.append(line)
    return tuple(lines)


def _effect_of(claim: Claim, effects: Sequence[Effect], seeds: int) -> Effect | None:
    """The effect of a pilot that plans a claim: its own, else the one with the largest standard
    error on its metric; None where none has components."""
    metrics = {effect.metric for effect in effects}
    # A pilot without curves plans a claim at a clean loss by what it has as trained.
    metric = claim.metric if claim.metric in metrics else base_name(claim.metric)
    known = [
        (effect.components.standard_error(seeds, effect.n_images), effect)
        for effect in effects
        if effect.metric == metric and effect.components is not None
    ]
    known = [one for one in known if one[1].contrast == claim.contrast] or known
    return max(known, key=lambda one: one[0])[1] if known else None


# -- Designs by hours: replicates x seeds x images, with what each costs and shows --------------


@dataclass(frozen=True)
class Nested:
    """Standard deviations of D_rki = mu + R_r + S_rk + I_i + B_ri + E_rki: seeds k within
    replicates r, images i for all.

    Attributes:
        replicates, seeds, images, both, rest: of R, S, I, B and E, in the metric's unit.
    """

    replicates: float
    seeds: float
    images: float
    both: float
    rest: float

    @classmethod
    def of(cls, pooled: Components, parts: Sequence[Components], seeds: float) -> Nested:
        """Args: pooled: over replicates, whose seeds are averaged; parts: of each; seeds: in it."""
        own, rest = (
            sum(getattr(part, name) ** 2 for part in parts) / len(parts)
            for name in ("seeds", "rest")
        )
        replicates, both = pooled.seeds**2 - own / seeds, pooled.rest**2 - rest / seeds
        squares = (replicates, own, pooled.images**2, both, rest)
        return cls(*(math.sqrt(max(0.0, one)) for one in squares))

    @classmethod
    def of_one(cls, part: Components, ratio: float) -> Nested:
        """Of one replicate, with an assumed ratio of R to S; all of B is in E."""
        return cls(ratio * part.seeds, part.seeds, part.images, 0.0, part.rest)

    def components(self, seeds: int) -> Components:
        """Over replicates of so many seeds each."""
        of_replicates = math.sqrt(self.replicates**2 + self.seeds**2 / seeds)
        rest = math.sqrt(self.both**2 + self.rest**2 / seeds)
        return Components(of_replicates, self.images, rest, 2)


@dataclass(frozen=True)
class Prices:
    """Seconds of one worker.

    Attributes:
        baseline: of a replicate; run: of training all cells with one seed; scored: of scoring these
            networks, for each image; searched: of training the trials that tune a replicate.
        trials: networks that tuning scores, by those of one seed.
    """

    baseline: float
    run: float
    scored: float
    searched: float
    trials: float

    def hours(self, replicates: int, seeds: int, images: int | None) -> float:
        scoring = (seeds + self.trials) * self.scored * (images or 1)
        return replicates * (self.baseline + self.searched + seeds * self.run + scoring) / 3600


def prices_of(pilots: Sequence[StudyRecord], study: Study, design: Design) -> Prices:
    """From the complete runs of pilots: each cell of the design takes what theirs took on average,
    an epoch of a baseline what one of their quickest run took."""
    trained, scored, epochs = [], [], []
    for record in pilots:
        for row, account in zip(record.rows, trial_accounts(record), strict=True):
            scores, training = row.scores, account.worked_seconds
            if row.state != "COMPLETE":
                continue
            if isinstance(scores, Scores):
                training = scores.train_seconds
                images = scores.n_corrupted or scores.n_images
                scored.append(max(0.0, account.worked_seconds - training) / images)
            trained.append(training)
            epochs.append(training / max(1, len(row.curve)))
    tune, n_cells = study.ablation_section.tune, len(design.cells)
    searched = 0 if tune is None else tune.trials * len(tuned_cells(study, design.cells))
    is_given = study.baseline.checkpoint is not None or study.trainable is not None
    run = sum(trained) / len(trained)
    return Prices(
        baseline=0.0 if is_given else study.baseline.epochs * min(epochs),
        run=n_cells * run,
        scored=n_cells * sum(scored) / max(1, len(scored)),
        searched=searched * run,
        trials=searched / n_cells,
    )


def nested_of(
    claims: Sequence[Claim],
    effects: Sequence[Effect],
    *,
    parts: Sequence[Sequence[Effect]] = (),
    seeds: float = 1.0,
    ratio: float = 0.0,
) -> list[tuple[Claim, Nested]]:
    """The components of each claim, of those that are known.

    Args:
        effects: of several pilots read as one, or of the one that there is.
        parts: of each of several; seeds: that each has.
        ratio: of one: as of `Nested.of_one`.
    """
    found = []
    for claim in claims:
        whole = _effect_of(claim, effects, LEAST_SEEDS)
        if whole is None or whole.components is None:
            continue
        own = [
            one.components
            for one in chain.from_iterable(parts)
            if (one.contrast, one.metric) == (whole.contrast, whole.metric)
            if one.components is not None
        ]
        nested = Nested.of_one(whole.components, ratio)
        found.append((claim, Nested.of(whole.components, own, seeds) if own else nested))
    return found


class _Planned(NamedTuple):
    """A design; the half-width and the power are those of its worst claim."""

    hours: float
    replicates: int
    seeds: int
    images: int | None
    half_width: float
    power: float


def plan_lines(
    nested: Sequence[tuple[Claim, Nested]],
    prices: Prices,
    images: int | None,
    difference: float,
    hours: float | None,
) -> tuple[str, ...]:
    """Designs of replicates x seeds x images, cheapest first, each with more power than all before;
    the first with power `POWER` is marked.

    Args:
        nested: of each claim; the half-width and the power are those of the worst, at
            Bonferroni's level.
        images: the most that there are.
        difference: that should be shown.
        hours: the most that a design may take; None: as many as power `POWER` takes.
    """
    alpha = ALPHA / len(nested)
    shares = (1,) if images is None else (4, 2, 1)
    choices = [
        (replicates, seeds, None if images is None else max(2, images // share))
        for replicates in range(LEAST_SEEDS, 25)
        for seeds in (1, 2, 3, 4, 8)
        for share in shares
    ]
    designs: list[_Planned] = []
    for choice in sorted(choices, key=lambda one: prices.hours(*one)):
        taken = prices.hours(*choice)
        if hours is not None and taken > hours:
            break
        half, power = _worst(nested, *choice, difference=difference, alpha=alpha)
        if not designs or power > designs[-1].power + 0.005:
            designs.append(_Planned(taken, *choice, half, power))
        if hours is None and power >= POWER:
            break
    head = f"designs of {count_text(len(nested), 'claim')}, in hours of one worker, at a true"
    what = "replicates x seeds x images, half-width, power of the worst"
    lines = [f"{head} difference of {difference:g}: {what}"]
    cheapest = next((one for one in designs if one.power >= POWER), None)
    shown = designs[:: max(1, len(designs) // _MOST_DESIGNS)]
    for one in sorted({*shown, *designs[-1:], *filter(None, [cheapest])}):
        scored = "" if one.images is None else f" x {one.images:,}"
        mark = shown_if(one is cheapest, f"  <- the cheapest with power {100 * POWER:.0f} %")
        lines.append(
            f"{one.hours:8.2f} h  {one.replicates} x {one.seeds}{scored}  +-{one.half_width:.2g}  "
            f"{100 * one.power:.0f} %{mark}"
        )
    if cheapest is None:
        within = "24 replicates" if hours is None else f"{hours:g} hours"
        lines.append(f"no design within {within} has power {100 * POWER:.0f} %")
    return tuple(lines)


def _worst(
    nested: Sequence[tuple[Claim, Nested]],
    replicates: int,
    seeds: int,
    images: int | None,
    *,
    difference: float,
    alpha: float,
) -> tuple[float, float]:
    """The largest half-width and the smallest power of the claims."""
    widths, powers = [], []
    for claim, parts in nested:
        components, margin = parts.components(seeds), claim.equivalent_within
        widths.append(expected_model(components, replicates, images).estimate(1 - alpha).high)
        power = planned_power(components, replicates, images, margin or difference, alpha)
        powers.append(power if margin is None else max(0.0, 2 * power - 1))
    return max(widths), min(powers)
