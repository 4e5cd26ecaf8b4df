"""Importances: PED-ANOVA against Optuna's own, and both on scores whose cause is known."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from example_records import example_record, example_row

from ablate.analysis.fanova import DEPTH, TREES, fanova
from ablate.analysis.features import Feature, varying_features
from ablate.analysis.importance import LEAST_TRIALS, METHODS, ImportancePanel, importance_info
from ablate.analysis.ped_anova import best_share, ped_anova
from ablate.ledger.record import RowRecord, StudyRecord

COST = [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")]


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


@pytest.mark.parametrize("trials", [9, 25])
@pytest.mark.parametrize("digits", [1, 6])  # of one digit many losses are equal
def test_ped_anova_is_optunas(trials: int, digits: int) -> None:
    random = np.random.default_rng(trials)
    params = [some_params(random) for _ in range(trials)]
    features = varying_features(params, {"weight": {"float": [0.01, 10], "log": True}})
    assert {feature.kind for feature in features} == {"log", "flag", "choice", "number"}
    losses = np.array([one["flag"] + math.log10(one["weight"]) for one in params]).round(digits)
    drawn = random.integers(0, trials, trials)
    weights = np.stack([np.ones(trials), np.bincount(drawn, minlength=trials)]).astype(float)
    found = ped_anova(features, losses, weights, 0.3)
    assert found[0] == pytest.approx(optunas_own(features, losses, [*range(trials)], 0.3))
    assert found[1] == pytest.approx(optunas_own(features, losses, drawn.tolist(), 0.3))


def test_the_best_are_a_tenth_or_five_or_half() -> None:
    assert best_share(1000) == 0.1
    assert best_share(20) == 0.25
    assert best_share(8) == 0.5


def test_fanova_parts_the_variance() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(size=(100, 3))
    scores = points[:, 0] + 0.5 * points[:, 1]  # of variance 1 : 0.25 : 0
    found = fanova(points, scores, [(0.0, 1.0)] * 3, seed=0)
    assert found[0] == pytest.approx(0.8, abs=0.1)
    assert found[1] == pytest.approx(0.2, abs=0.1)
    assert found[2] < 0.02
    assert fanova(points, scores, [(0.0, 1.0)] * 3, seed=0).tolist() == found.tolist()


def test_fanova_of_equal_scores_is_nothing() -> None:
    points = np.array([[0.0], [1.0]])
    assert fanova(points, np.ones(2), [(0.0, 1.0)], seed=0).tolist() == [0.0]


def test_fanova_is_optunas() -> None:
    random = np.random.default_rng(4)
    points = random.uniform(size=(60, 4)) * (1, 5, 1, 1) - (0, 2, 0, 0)
    points[:, 3] = points[:, 3].round()
    scores = points[:, 0] + points[:, 1] ** 2 + points[:, 2] * points[:, 3]
    bounds = [(float(of.min()), float(of.max())) for of in points.T]
    study = optuna.create_study()
    box = {str(at): optuna.distributions.FloatDistribution(*bounds[at]) for at in range(4)}
    for point, score in zip(points.tolist(), scores.tolist(), strict=True):
        params = {str(at): value for at, value in enumerate(point)}
        study.add_trial(optuna.trial.create_trial(value=score, params=params, distributions=box))
    theirs = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=3)
    found = theirs.evaluate(study)
    assert fanova(points, scores, bounds, seed=3) == pytest.approx([found[name] for name in box])


def caused_rows(count: int, *, terms: str = "clean+fma", first: int = 0) -> list[RowRecord]:
    """The layer decides over robust accuracy, the strength over clean accuracy, `idle` nothing."""
    random = np.random.default_rng(first)
    rows = []
    for number in range(first, first + count):
        taps = [tap for tap in ("stage1", "stage2") if random.random() < 0.5] or ["stage1"]
        params = {
            "loss.terms": terms,
            "loss.fma.layers": taps,
            "augment.strength": float(random.uniform(0.2, 1.0)),
            "idle": float(random.uniform()),
        }
        values = (1 - 0.1 * params["augment.strength"], 0.6 + 0.1 * ("stage2" in taps))
        rows.append(example_row(number, values, params=params))
    return rows


def only(record: StudyRecord, metric: str = "val_robust_accuracy") -> ImportancePanel:
    (panel,) = [one for one in importance_info(record).panels if one.metric == metric]
    return panel


def by_name(panel: ImportancePanel, method: str) -> dict[str, float]:
    return {f"{one.key}:{one.part}": one.shares[method] for one in panel.parameters}


def test_both_methods_find_the_cause() -> None:
    causes = {
        "val_robust_accuracy": "loss.fma.layers:stage2",
        "val_clean_accuracy": "augment.strength:",
    }
    panels = importance_info(example_record(caused_rows(30))).panels
    assert [panel.metric for panel in panels] == ["val_clean_accuracy", "val_robust_accuracy"]
    for panel in panels:
        for method in METHODS:
            shares = by_name(panel, method)
            assert max(shares, key=shares.__getitem__) == causes[panel.metric]
            assert math.fsum(shares.values()) == pytest.approx(1)


@pytest.mark.slow
def test_each_set_of_terms_is_a_study_of_its_own() -> None:
    rows = [
        *caused_rows(LEAST_TRIALS, terms="clean+fma"),
        *caused_rows(LEAST_TRIALS + 1, terms="clean+st", first=20),
        *caused_rows(LEAST_TRIALS - 1, terms="clean+da", first=40),
    ]
    rows[0] = replace(rows[0], params={**rows[0].params, "loss.terms": "fma+clean"})
    info = importance_info(example_record(rows))
    assert [(one.loss_terms, one.trials) for one in info.panels[::2]] == [
        ("clean+st", 9), ("clean+fma", 8),
    ]  # fmt: skip
    assert info.left_out == (("clean+da", 7),)
    frame = info.frame()
    assert set(frame.loss_terms) == {"clean+st", "clean+fma"}
    assert len(frame) == 2 * 2 * 2 * 4  # sets, objectives, methods, parameters
    assert frame.share.between(0, 1).all()
    assert (frame.sd >= 0).all()


@pytest.mark.slow
def test_a_minimised_objective_is_best_where_it_is_small() -> None:
    rows = [
        replace(row, values=(0.9, 10 * row.params["augment.strength"] ** 8))
        for row in caused_rows(20)
    ]
    found = {
        direction: by_name(
            only(
                example_record(
                    rows,
                    objectives=[COST[0], ("train_seconds", direction)],
                    reference_point=None,
                ),
                "train_seconds",
            ),
            "ped_anova",
        )["augment.strength:"]
        for direction in ("minimize", "maximize")
    }
    assert found["minimize"] != found["maximize"]
    assert min(found.values()) > 0.5


def test_equal_scores_make_nothing_important() -> None:
    rows = [replace(row, values=(0.9, 0.7)) for row in caused_rows(10)]
    panel = only(example_record(rows))
    assert [one.shares for one in panel.parameters] == [dict.fromkeys(METHODS, 0.0)] * 4


def test_a_parameter_that_some_trials_lack_has_ped_anova_alone() -> None:
    rows = caused_rows(12)
    rows[0] = replace(
        rows[0], params={key: value for key, value in rows[0].params.items() if key != "idle"}
    )
    panel = only(example_record(rows))
    (idle,) = [one for one in panel.parameters if one.key == "idle"]
    assert idle.shares["ped_anova"] > 0
    assert math.isnan(idle.shares["fanova"])
    others = [one.shares["fanova"] for one in panel.parameters if one.key != "idle"]
    assert math.fsum(others) == pytest.approx(1)


def test_a_score_that_is_no_number_does_not_count() -> None:
    rows = caused_rows(LEAST_TRIALS)
    rows[3] = replace(rows[3], values=(math.nan, 0.7))
    info = importance_info(example_record(rows))
    assert info.panels == ()
    assert info.left_out == (("clean+fma", LEAST_TRIALS - 1),)
    assert len(info.frame()) == 0


def test_a_parameter_that_decides_is_above_chance_and_one_that_does_not_is_not() -> None:
    random = np.random.default_rng(0)
    rows = []
    for number, (cause, other) in enumerate(random.uniform(0, 1, (60, 2)).tolist()):
        params = {"loss.terms": "clean+da", "cause": cause, "other": other}
        rows.append(example_row(number, (cause, cause), params=params))
    panel, again = importance_info(example_record(rows)).panels
    found = {one.key: one for one in panel.parameters}
    assert found["cause"].shares["ped_anova"] > found["cause"].null
    assert found["other"].shares["ped_anova"] < found["other"].null
    assert [one.null for one in panel.parameters] == [one.null for one in again.parameters]
