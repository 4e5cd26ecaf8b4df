"""Which parameters matter for which objective, within each set of loss terms, by two methods.

Optuna's own figure looks at the parameters that all trials have: under a space with conditions,
the weights and layers that the question is about vanish from it.  Here each set of loss terms is a
study of its own, and a subset of layers or a mix counts part by part.

Sources: PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255 (which parameter parts the best trials
from all); fANOVA, Hutter et al. 2014 (which moves the score anywhere in the space).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.bounds import MOST_OBJECTIVES
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.features import Feature, varying_features
from ablate.ledger.record import RowRecord, StudyRecord

if TYPE_CHECKING:
    import pandas as pd


LEAST_TRIALS = 8
"""Of a set: with fewer, the best half is fewer than four trials."""
MOST_SETS = 4
FANOVA_TRIALS = 128
"""Its trees have at most 32 leaves."""
RESAMPLES = {"ped_anova": 20, "fanova": 6}
METHODS = ("ped_anova", "fanova")
_SEED = 0
_TERMS = "loss.terms"

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class ParameterImportance:
    """One parameter, or one part of a subset or a mix.

    Attributes:
        key: dotted; part: empty for a parameter that is one value.
        shares: by method, 0 to 1; those of a panel sum to 1, or are all 0 where no score differs.
            NaN for fANOVA of a parameter that some trials of the set do not have.
        sds: by method, standard deviation of the share over bootstrap resamples of the trials.
    """

    key: str
    part: str
    shares: dict[str, float]
    sds: dict[str, float]


@dataclass(frozen=True)
class ImportancePanel:
    """One objective within one set of loss terms.

    Attributes:
        loss_terms: empty in a study with a training loop of the user's own.
        trials: complete, with numbers in all objectives; fanova_trials: that fANOVA has seen.
        best_share: of the trials that PED-ANOVA calls the best.
        parameters: that differ between these trials, by name; the same in all objectives.
    """

    loss_terms: str
    metric: str
    trials: int
    fanova_trials: int
    best_share: float
    parameters: tuple[ParameterImportance, ...]


@dataclass(frozen=True)
class ImportanceInfo(Basis):
    """Importances within the largest sets of loss terms.

    Attributes:
        panels: by set, the largest first, and in it by objective, of which at most the first
            `MOST_OBJECTIVES` have one.
        left_out: set -> its complete trials, of sets that have too few of them or are beyond the
            largest `MOST_SETS`.
    """

    panels: tuple[ImportancePanel, ...]
    left_out: tuple[tuple[str, int], ...]

    def frame(self) -> pd.DataFrame:
        """One row a set of terms, objective, method and parameter.

        Columns:
            loss_terms, metric, method ("ped_anova", "fanova"), param (dotted, with its part): text.
            trials: int64, of the set.
            share, sd: float64, from 0 to 1; NaN as in `ParameterImportance`.
        """
        import pandas as pd

        rows = [
            {
                "loss_terms": panel.loss_terms,
                "metric": panel.metric,
                "method": method,
                "param": f"{one.key}.{one.part}" if one.part else one.key,
                "trials": panel.trials,
                "share": one.shares[method],
                "sd": one.sds[method],
            }
            for panel in self.panels
            for method in METHODS
            for one in panel.parameters
        ]
        text = dict.fromkeys(("loss_terms", "metric", "method", "param"), "string")
        types = {**text, "trials": "int64", "share": "float64", "sd": "float64"}
        return pd.DataFrame(rows, columns=list(types)).astype(types)


def importance_info(record: StudyRecord) -> ImportanceInfo:
    """The importances of a search's parameters.

    Args:
        record: a set of terms counts where at least `LEAST_TRIALS` of its trials are complete;
            trials with a NaN or an infinity in an objective are left out.
    """
    sets = _by_terms(record)
    shown = [terms for terms in sets if len(sets[terms]) >= LEAST_TRIALS][:MOST_SETS]
    panels = [panel for terms in shown for panel in _panels(record, terms, sets[terms])]
    return ImportanceInfo(
        **vars(study_basis(record)),
        panels=tuple(panels),
        left_out=tuple((terms, len(rows)) for terms, rows in sets.items() if terms not in shown),
    )


def _by_terms(record: StudyRecord) -> dict[str, list[RowRecord]]:
    """Set of terms, as it is first written -> its rows; the largest set first."""
    own_loop = record.study.trainable is not None
    written: dict[frozenset[str], str] = {}
    sets: dict[str, list[RowRecord]] = {}
    for row in record.complete:
        if row.values is None or not all(map(math.isfinite, row.values)):
            continue
        if row.copy_of is not None:  # no trial of its own: it would count one twice
            continue
        terms = "" if own_loop else str(row.params.get(_TERMS, record.study.loss.terms))
        name = written.setdefault(frozenset(terms.split("+")), terms)
        sets.setdefault(name, []).append(row)
    return dict(sorted(sets.items(), key=lambda found: (-len(found[1]), found[0])))


def _panels(record: StudyRecord, terms: str, rows: Sequence[RowRecord]) -> list[ImportancePanel]:
    # The same terms may be written in several orders.
    params = [{key: row.params[key] for key in row.params if key != _TERMS} for row in rows]
    features = varying_features(params, record.study.space)
    table = np.array([row.values for row in rows], dtype=float)
    panels = []
    for place, objective in enumerate(record.study.objectives[:MOST_OBJECTIVES]):
        losses = table[:, place] * (-1 if objective.direction == "maximize" else 1)
        found = {
            "ped_anova": _ped_anova_shares(features, losses),
            "fanova": _fanova_shares(features, losses),
        }
        parameters = tuple(
            ParameterImportance(
                key=feature.key,
                part=feature.part,
                shares={method: float(found[method][0, at]) for method in METHODS},
                sds={method: float(found[method][1:, at].std(ddof=1)) for method in METHODS},
            )
            for at, feature in enumerate(features)
        )
        panels.append(
            ImportancePanel(
                loss_terms=terms,
                metric=objective.metric,
                trials=len(rows),
                fanova_trials=min(len(rows), FANOVA_TRIALS),
                best_share=best_share(len(rows)),
                parameters=parameters,
            )
        )
    return panels


def _ped_anova_shares(features: tuple[Feature, ...], losses: Shares) -> Shares:
    """`[1 + resamples, features]`: of the trials as they are, then of each resample."""
    n = len(losses)
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(n, np.full(n, 1 / n), RESAMPLES["ped_anova"])
    weights = np.concatenate([np.ones((1, n)), drawn])
    return normalised(ped_anova(features, losses, weights, best_share(n)))


def _fanova_shares(features: tuple[Feature, ...], losses: Shares) -> Shares:
    """As `_ped_anova_shares`; NaN for features that some trials do not have."""
    random = np.random.default_rng(_SEED)
    n = min(len(losses), FANOVA_TRIALS)
    some = np.sort(random.permutation(len(losses))[:n])
    whole = [not np.isnan(feature.values).any() for feature in features]
    points = np.stack([feature.values for feature in features], axis=1) if features else None
    shares = np.full((1 + RESAMPLES["fanova"], len(features)), math.nan)
    if points is not None and any(whole):
        points = points[:, whole]
        bounds = list(zip(points.min(axis=0), points.max(axis=0), strict=True))
        for resample in range(len(shares)):
            at = some if resample == 0 else random.choice(some, n)
            shares[resample, whole] = fanova(points[at], losses[at], bounds, seed=resample)
        shares[:, whole] = normalised(shares[:, whole])
    return shares


# -- fANOVA: how much of a score's variance over the whole space one parameter alone explains
#
# Source: Hutter et al. 2014, by Optuna's evaluator over a random forest of scikit-learn.


TREES = 12
DEPTH = 5
"""Optuna's 64 trees of any depth take 8 s for 500 trials; these take 0.1 s and rank alike."""


def fanova(
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
    bounds: Sequence[tuple[float, float]],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """The importance of each column.

    A choice of more than two is a column of places in a fixed order: one column a choice, as
    Optuna makes it, costs 2 ** choices steps.

    Args:
        points: `[trials, columns]`, without NaN.
        scores: `[trials]`, finite; the direction does not matter.
        bounds: of each column, low below high; the variance is that over this box.
        seed: of the forest.

    Returns:
        `[columns]`, 0 to 1, of sum at most 1: the rest is interactions. 0 throughout where the
        scores are all the same.
    """
    from optuna import create_study
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.trial import create_trial

    if np.ptp(scores) == 0:
        return np.zeros(points.shape[1])
    names = [str(column) for column in range(points.shape[1])]
    box: dict[str, BaseDistribution] = {
        name: FloatDistribution(*ends) for name, ends in zip(names, bounds, strict=True)
    }
    with _quiet():
        study = create_study()
    study.add_trials(
        [
            create_trial(
                value=score, params=dict(zip(names, point, strict=True)), distributions=box
            )
            for score, point in zip(scores.tolist(), points.tolist(), strict=True)
        ]
    )
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
    try:
        found = evaluator.evaluate(study, names)
    except RuntimeError:  # every tree has met equal scores alone
        return np.zeros(points.shape[1])
    return np.array([found[name] for name in names], dtype=float)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's word that a study was made; whoever uses Optuna finds its log as it was."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


# -- PED-ANOVA: how differently a parameter is spread over the best trials and over all ----
#
# Source: Watanabe et al. 2023, arXiv:2304.10255; of a parameter that a condition left out in some
# trials, arXiv:2601.20800, theorem 4.2.  The same numbers as Optuna's `PedAnovaImportanceEvaluator`
# (which a test compares), worked for all resamples at once: one call of Optuna's takes 10 ms, and a
# figure needs hundreds.


Table = NDArray[np.float64]
_STEPS = 50
"""Places at which a number is looked at."""
_FEW_VALUES = 5
_LEAST_SIGMA = 0.5 / 1.64
_LEAST_TRIALS = 2


def ped_anova(
    features: tuple[Feature, ...], losses: Table, weights: Table, quantile: float
) -> Table:
    """The importance of each feature for being among the best trials.

    Args:
        features: each with one value a trial.
        losses: `[trials]`, less is better, finite.
        weights: `[resamples, trials]`, how often each trial is in a resample: whole numbers >= 0,
            whose sum is at least 1.
        quantile: the share that is "the best", in (0, 1]; equal losses are all in or all out.

    Returns:
        `[resamples, features]`, >= 0; 0 of what is spread alike, as where all are the best.
    """
    best = weights * _are_best(losses, weights, quantile)
    share = best.sum(axis=1) / weights.sum(axis=1)
    found = [_importance(feature, best, weights) for feature in features]
    return np.stack(found, axis=1) * share[:, None] ** 2 if found else np.zeros((len(weights), 0))


def _are_best(losses: Table, weights: Table, quantile: float) -> NDArray[np.bool_]:
    order = np.argsort(losses, kind="stable")
    counted = np.cumsum(weights[:, order], axis=1)
    needed = np.ceil(quantile * counted[:, -1])
    cutoff = losses[order][np.argmax(counted >= needed[:, None], axis=1)]
    return np.asarray(losses[None, :] <= cutoff[:, None])


def _importance(feature: Feature, best: Table, weights: Table) -> Table:
    there = ~np.isnan(feature.values)
    place, size, is_ordered = _grid(feature, feature.values[there])
    of_all = _counts(place, weights[:, there], size)
    of_best = _counts(place, best[:, there], size)
    n_all, n_best = of_all.sum(axis=1), of_best.sum(axis=1)
    used = (n_all >= _LEAST_TRIALS) & (n_best > 0)
    result = np.zeros(len(weights))
    if used.any():
        density = _number_density if is_ordered else _choice_density
        of_all, of_best = density(of_all[used]) + 1e-12, density(of_best[used]) + 1e-12
        divergence = (of_all * (of_best / of_all - 1) ** 2).sum(axis=1)
        alpha = (n_best / best.sum(axis=1))[used]
        beta = (n_all / weights.sum(axis=1))[used]
        result[used] = alpha**2 / beta * divergence
    return result


def _grid(feature: Feature, values: Table) -> tuple[NDArray[np.int64], int, bool]:
    """The place of each value, how many places there are, and whether they lie on a scale.

    The scale is the space's.  Where nothing says it, a number of few values (a batch size) is taken
    as a choice of these: a kernel between them would be as narrow as may be, and importance would
    be an accident of a resample.
    """
    if feature.kind in ("flag", "choice"):
        return values.astype(np.int64), max(len(feature.choices), 2), False
    ends, steps = feature.ends, min(feature.places or _STEPS, _STEPS)
    if ends is None:
        levels, place = np.unique(values, return_inverse=True)
        if len(levels) <= min(_FEW_VALUES, len(values) - 1):
            return place, len(levels), False
        ends = levels[0], levels[-1]
    at = (values - ends[0]) / (ends[1] - ends[0]) * (steps - 1)
    # A value halfway between two places goes to the lower one: as Optuna means it, which decides
    # by a rounding error where the scale is a logarithm.
    place = np.ceil(at - 0.5 - 1e-9).clip(0, steps - 1).astype(np.int64)
    return place, steps, True


def _counts(place: NDArray[np.int64], weights: Table, size: int) -> Table:
    """`[resamples, places]`: how many trials stand at each place."""
    rows = len(weights)
    flat = (np.arange(rows)[:, None] * size + place).ravel()
    counts = np.bincount(flat, weights.ravel(), rows * size).reshape(rows, size)
    return counts.astype(float)


def _choice_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, drawn a little to equal ones."""
    size = counts.shape[1]
    n = counts.sum(axis=1, keepdims=True)
    kernels = (counts > 0).sum(axis=1, keepdims=True) + 1
    smoothed = (counts + n / kernels) / (1 + size / kernels)
    return np.asarray((smoothed + 1 / size) / (n + 1))


def _number_density(counts: Table) -> Table:
    """`[resamples, places]` of counts -> of probabilities, by a kernel of Scott's width."""
    size = counts.shape[1]
    places = np.arange(size, dtype=float)
    n = counts.sum(axis=1)
    sigma = _scott_sigma(counts, places, n)
    kernels = _kernels(places, places[None, :], sigma[:, None], size)
    middle = np.array([[(size - 1) / 2]])
    prior = _kernels(places, middle, np.array([[float(size)]]), size)[0, 0]
    smoothed = np.einsum("bk,bkx->bx", counts, kernels)
    return np.asarray((smoothed + prior) / (n[:, None] + 1))


def _scott_sigma(counts: Table, places: Table, n: Table) -> Table:
    mean = counts @ places / n
    squared = (counts * (places[None, :] - mean[:, None]) ** 2).sum(axis=1)
    spread = np.sqrt(squared / np.maximum(1, n - 1))
    counted = np.cumsum(counts, axis=1)
    # Half a count, so that places before the first trial are none of its quarters.
    first = np.maximum(n // 4, 0.5)[:, None]
    lower = np.argmax(counted >= first, axis=1)
    upper = np.argmax(counted > (n * 3 // 4)[:, None], axis=1)
    sigma = 1.059 * np.minimum((upper - lower) / 1.34, spread) * n**-0.2
    return np.asarray(np.maximum(sigma, _LEAST_SIGMA))


def _kernels(places: Table, middles: Table, sigma: Table, size: int) -> Table:
    """`[resamples, middles, places]`: a normal distribution cut into whole places."""
    from scipy.special import ndtr

    def below(edge: Any) -> Any:
        return ndtr((edge - middles[..., None]) / sigma[..., None])

    inside = below(size - 0.5) - below(-0.5)
    return np.asarray((below(places + 0.5) - below(places - 0.5)) / inside)


def best_share(trials: int) -> float:
    """The share of trials that counts as the best: a tenth, or as many as make five, at most half.

    Five are what Optuna recommends at least.
    """
    return min(0.5, max(0.1, 5 / trials)) if trials else 0.5


def normalised(importances: Table) -> Table:
    """Shares of sum 1 along the last axis; 0 throughout where nothing has any importance."""
    total = importances.sum(axis=-1, keepdims=True)
    shares = np.zeros_like(importances)
    np.divide(importances, total, out=shares, where=total > 0)
    return shares
