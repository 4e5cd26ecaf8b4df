"""Importance of parameters for each objective, within each set of loss terms, by two methods.

Optuna's own figure uses only parameters that all trials have: in a space with conditions, the
weights and layers of interest are missing.  Here each set of loss terms is analysed separately, and
a subset of layers or a mix is split into parts.

Sources: PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255 (which parameter parts the best trials
from all); fANOVA, Hutter et al. 2014 (which moves the score anywhere in the space).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.fanova import fanova, has_fanova
from ablate.analysis.features import Feature, varying_features
from ablate.analysis.frame import typed_frame
from ablate.analysis.ped_anova import best_share, normalised, ped_anova
from ablate.ledger.record import RowRecord, StudyRecord

if TYPE_CHECKING:
    import pandas as pd


LEAST_TRIALS = 8
"""Of a set: with fewer, the best half is fewer than four trials."""
MOST_SETS = 4
FANOVA_TRIALS = 128
"""Its trees have at most 32 leaves."""
RESAMPLES = {"ped_anova": 20, "fanova": 6}
PERMUTATIONS = 40
NULL_LEVEL = 0.95
METHODS = ("ped_anova", "fanova")
_SEED = 0
_TERMS = "loss.terms"

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class ParameterImportance:
    """One parameter, or one part of a subset or a mix.

    Attributes:
        key: dotted; part: empty for a single value.
        shares: by method, 0 to 1; those of a panel sum to 1, or are all 0 if all scores are equal.
            NaN for fANOVA of a parameter that some trials of the set lack; without scikit-learn, of
            all.
        sds: by method, standard deviation of the share over bootstrap resamples of the trials.
        null: PED-ANOVA's share that `NULL_LEVEL` of `PERMUTATIONS` permutations of the scores stay
            below: what a parameter without any influence may have.
    """

    key: str
    part: str
    shares: dict[str, float]
    sds: dict[str, float]
    null: float


@dataclass(frozen=True)
class ImportancePanel:
    """One objective within one set of loss terms.

    Attributes:
        loss_terms: empty for a custom training loop.
        trials: complete, with finite objectives; fanova_trials: used by fANOVA, 0 where
            scikit-learn is not installed.
        best_share: fraction of trials that PED-ANOVA treats as the best.
        parameters: that differ between these trials, by name; the same for all objectives.
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
        panels: by set, the largest first, then by objective (at most the first `MOST_OBJECTIVES`).
        left_out: set -> its complete trials, for sets with too few trials or beyond the largest
            `MOST_SETS`.
    """

    panels: tuple[ImportancePanel, ...]
    left_out: tuple[tuple[str, int], ...]

    def frame(self) -> pd.DataFrame:
        """One row a set of terms, objective, method and parameter.

        Columns:
            loss_terms, metric, method ("ped_anova", "fanova"), param (dotted, with its part): text.
            trials: int64, of the set.
            share, sd: float64, from 0 to 1; NaN as in `ParameterImportance`.
            null: float64, of PED-ANOVA; NaN for fANOVA.
        """
        rows = [
            (
                *(panel.loss_terms, panel.metric, method),
                f"{one.key}.{one.part}" if one.part else one.key,
                *(panel.trials, one.shares[method], one.sds[method]),
                one.null if method == "ped_anova" else math.nan,
            )
            for panel in self.panels
            for method in METHODS
            for one in panel.parameters
        ]
        text = dict.fromkeys(("loss_terms", "metric", "method", "param"), "string")
        numbers = dict.fromkeys(("share", "sd", "null"), "float64")
        return typed_frame(text | {"trials": "int64"} | numbers, rows)


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
    """Set of terms -> its rows; the largest set first."""
    sets: dict[str, list[RowRecord]] = {}
    for row in record.complete:
        if row.values is None or not all(map(math.isfinite, row.values)):
            continue
        if row.copy_of is not None:  # a copy, which would count a trial twice
            continue
        sets.setdefault(record.loss_terms(row), []).append(row)
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
        nulls = _null_shares(features, losses)
        parameters = tuple(
            ParameterImportance(
                key=feature.key,
                part=feature.part,
                shares={method: float(found[method][0, at]) for method in METHODS},
                sds={method: float(found[method][1:, at].std(ddof=1)) for method in METHODS},
                null=float(nulls[at]),
            )
            for at, feature in enumerate(features)
        )
        panels.append(
            ImportancePanel(
                loss_terms=terms,
                metric=objective.metric,
                trials=len(rows),
                fanova_trials=min(len(rows), FANOVA_TRIALS) if has_fanova() else 0,
                best_share=best_share(len(rows)),
                parameters=parameters,
            )
        )
    return panels


def _ped_anova_shares(features: tuple[Feature, ...], losses: Shares) -> Shares:
    """`[1 + resamples, features]`: of the trials, then of each resample."""
    n = len(losses)
    random = np.random.default_rng(_SEED)
    drawn = random.multinomial(n, np.full(n, 1 / n), RESAMPLES["ped_anova"])
    weights = np.concatenate([np.ones((1, n)), drawn])
    return normalised(ped_anova(features, losses, weights, best_share(n)))


def _null_shares(features: tuple[Feature, ...], losses: Shares) -> Shares:
    """`[features]`: PED-ANOVA's share that few permutations of the losses exceed."""
    random = np.random.default_rng(_SEED)
    once = np.ones((1, len(losses)))
    found = [
        ped_anova(features, random.permutation(losses), once, best_share(len(losses)))[0]
        for _ in range(PERMUTATIONS)
    ]
    shares: Shares = np.quantile(normalised(np.stack(found)), NULL_LEVEL, axis=0)
    return shares


def _fanova_shares(features: tuple[Feature, ...], losses: Shares) -> Shares:
    """As `_ped_anova_shares`; NaN for features that some trials do not have.

    All NaN without scikit-learn.
    """
    random = np.random.default_rng(_SEED)
    n = min(len(losses), FANOVA_TRIALS)
    some = np.sort(random.permutation(len(losses))[:n])
    whole = [not np.isnan(feature.values).any() for feature in features]
    points = np.stack([feature.values for feature in features], axis=1) if features else None
    shares = np.full((1 + RESAMPLES["fanova"], len(features)), math.nan)
    if points is not None and any(whole) and has_fanova():
        points = points[:, whole]
        bounds = list(zip(points.min(axis=0), points.max(axis=0), strict=True))
        for resample in range(len(shares)):
            at = some if resample == 0 else random.choice(some, n)
            shares[resample, whole] = fanova(points[at], losses[at], bounds, seed=resample)
        shares[:, whole] = normalised(shares[:, whole])
    return shares
