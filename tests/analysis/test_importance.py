"""Importance: PED-ANOVA against Optuna's own, and on scores whose cause is known."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import optuna
import pytest

from ablate.analysis.features import Feature, trial_features
from ablate.analysis.importance import (
    importances,
    leading,
    ped_anova,
)


def some_params(random: np.random.Generator) -> dict[str, Any]:
    params: dict[str, Any] = {
        "weight": float(10 ** random.uniform(-2, 1)),
        "flag": bool(random.random() < 0.5),
        "kind": "abc"[random.integers(3)],
    }
    if random.random() < 0.6:
        params["only_sometimes"] = float(random.uniform(2, 5))
    return params


def optunas_own(features: tuple[Feature, ...], losses: Any, trials: list[int], share: float) -> Any:
    """Of these trials, which may be there several times."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    ranges: dict[str, Any] = {}
    for feature in features:
        present = feature.values[~np.isnan(feature.values)]
        if feature.kind in ("flag", "choice"):
            ranges[feature.name] = CategoricalDistribution(
                tuple(range(max(2, len(feature.choices))))
            )
        else:
            ends = feature.ends or (present.min(), present.max())
            ranges[feature.name] = FloatDistribution(*ends)
    study = optuna.create_study()
    for at in trials:
        there = [feature for feature in features if not math.isnan(feature.values[at])]
        params = {
            one.name: int(one.values[at]) if one.kind in ("flag", "choice") else one.values[at]
            for one in there
        }
        distributions = {name: ranges[name] for name in params}
        study.add_trial(
            optuna.trial.create_trial(value=losses[at], params=params, distributions=distributions)
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluator.evaluate(study)
    return [found.get(feature.name, 0.0) for feature in features]


@pytest.mark.parametrize(
    ("trials", "digits"), [(9, 6), (25, 1)]
)  # of one digit many losses are equal
def test_ped_anova_is_optunas(trials: int, digits: int) -> None:
    random = np.random.default_rng(trials)
    params = [some_params(random) for _ in range(trials)]
    features = trial_features(params, {"weight": {"float": [0.01, 10], "log": True}})
    assert {feature.kind for feature in features} == {"log", "flag", "choice", "number"}
    losses = np.array([one["flag"] + math.log10(one["weight"]) for one in params]).round(digits)
    drawn = random.integers(0, trials, trials)
    weights = np.stack([np.ones(trials), np.bincount(drawn, minlength=trials)]).astype(float)
    found = ped_anova(features, losses, weights, 0.3)
    assert found[0] == pytest.approx(optunas_own(features, losses, [*range(trials)], 0.3))
    assert found[1] == pytest.approx(optunas_own(features, losses, drawn.tolist(), 0.3))


def caused(count: int, seed: int = 0) -> tuple[tuple[Feature, ...], Any]:
    """A layer decides over the score, all others do nothing; half of the trials have a weight."""
    random = np.random.default_rng(seed)
    params, losses = [], []
    for _ in range(count):
        params.append(
            {
                "layers": ["a", "b"] if random.random() < 0.12 else ["a"],
                "idle": float(random.uniform()),
                "strength": float(random.uniform()),
                "terms": "xy"[random.integers(2)],
            }
        )
        if params[-1]["terms"] == "y":
            params[-1]["weight"] = float(random.uniform())
        losses.append(-len(params[-1]["layers"]) - 0.3 * float(random.normal()))
    return trial_features(params, {}), np.array(losses)


def test_the_cause_leads_where_its_interval_is_above_all_others() -> None:
    found = importances(*caused(150))
    assert [one.key for one in found] == ["idle", "layers", "strength", "terms", "weight"]
    assert sum(one.share for one in found) == pytest.approx(1)
    for one in found:
        assert 0 <= one.low <= one.share <= one.high <= 1
    assert found == importances(*caused(150)), "the same trials give the same intervals"
    first = leading(found)
    assert first is not None
    assert first.key == "layers"
    assert first.low > max(one.high for one in found if one is not first)
