"""`studies/paper`: its data, and its tables of the archives."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_results import (
    DIED,
    Example,
    images_right,
    make_design,
    make_example,
    make_scored,
    minus,
)
from recompute import Model, holm
from safetensors.torch import load_file
from scipy import stats

import ablate
from ablate.ablation.cell import Claim
from ablate.ablation.intervals import Estimate
from ablate.robustness.suites import find_suite
from ablate.study.keys import searched_paths
from ablate.study.scores import Scores

sys.path.append(str(Path(__file__).parents[1] / "studies" / "paper"))

import averages
import claims
import data
import recompute
import tables

ROOT = Path(__file__).parents[1]


def test_the_test_images_are_those_that_nobody_has_looked_at(tmp_path: Path) -> None:
    folder, frost = tmp_path / "images", tmp_path / "frost"
    for file in [
        "train/cat/0.png",
        *(f"test/{name}/{i}.png" for name in "ab" for i in range(1005)),
    ]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    frost.mkdir()
    data.main(folder, frost, tmp_path / "made")
    made = tmp_path / "made" / "data"
    assert (made / "train" / "cat" / "0.png").is_file()
    assert (tmp_path / "made" / "frost").resolve() == frost
    images = sorted((folder / "test").glob("*/*"))
    kept = torch.randperm(2010, generator=torch.Generator().manual_seed(1))[2000:]
    links = {link.relative_to(made): link.resolve() for link in (made / "test").glob("*/*")}
    assert set(links.values()) == {images[place] for place in kept}
    assert all(file == folder / link for link, file in links.items())


def test_the_study_is_as_the_plan_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "studies" / "paper" / "decide.yaml", tmp_path)
    study = ablate.check(tmp_path / "decide.yaml")
    settings, tune = study.ablation_section, study.tune_section
    assert settings.stop is not None
    assert settings.stop.looks == (4, 5, 6)
    assert (tune.trials, settings.seeds, settings.replicates) == (8, 1, 6)
    # What tuning sees and what the outcome is of have no type in common.
    assert settings.stop.confirm is not None
    tested = {*settings.stop.confirm.suite} - set(study.augment.types or ())
    assert len(tested) == 12
    assert not tested & {*find_suite(study.robustness.suite).types}
    # The default is the first trial of each arm, and what the arm that is not tuned has.
    assert isinstance(study.space, dict)
    assert settings.arms is not None
    (default,) = tune.enqueue
    assert settings.arms["plain"] == {"loss.terms": "clean", **default}
    assert sorted(default) == sorted(searched_paths(study.space))
    assert [*averages.ARMS] == ["FMA+CA", "DA+CA"]


# -- averages.py


@pytest.fixture
def averaged_study(work: Path) -> str:
    """The run folder of a small study as `decide.yaml`, confirmed."""
    study = {
        "version": 1,
        "name": "small",
        "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.1}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 1, "batch_size": 128},
        "finetune": {"budget": {"images": 96}, "interpolation": {"alphas": 2}},
        "augment": {"types": ["gaussian_noise"]},
        "space": {"finetune.learning_rate": {"float": [0.0005, 0.02], "log": True}},
        "objectives": [{"metric": "val_robust_accuracy_at_clean_loss"}],
        "answer": {"clean_margin": 0.005},
        "robustness": {"suite": ["contrast", "gaussian_noise"], "severities": [3], "cells": 0.5},
        "run": {"gpus_per_trial": 0, "keep_checkpoints": "all"},
        "ablation": {
            "design": "arms",
            "arms": {
                "DA+CA": {"loss.terms": "clean+da"},
                "FMA+CA": {"loss.terms": "clean+fma"},
            },
            "tune": {
                "trials": 2,
                "pick": "best val_robust_accuracy_at_clean_loss",
                "enqueue": [{"finetune.learning_rate": 0.001}],
            },
            "replicates": 2,
            "seeds": 1,
            "primary": [
                {
                    "compare": "FMA+CA",
                    "to": "DA+CA",
                    "metric": "val_robust_accuracy_untrained_at_clean_loss",
                }
            ],
        },
    }
    ablate.launch(study, executor="inline", progress=False)
    ablate.confirm("runs/small", seeds=2, executor="inline", progress=False)
    return "runs/small"


@pytest.mark.long
def test_an_average_is_that_of_all_trials_and_is_scored_where_it_loses_as_much(
    averaged_study: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["averages", averaged_study, "-o", "averages"])
    averages.main()
    printed = capsys.readouterr().out
    values: dict[str, list[float]] = {"FMA+CA": [], "DA+CA": []}
    for number in range(2):
        of_arms = json.loads(Path(f"averages/averages_{number}.json").read_text())
        for found, folder in zip(of_arms, ("01-FMA+CA", "00-DA+CA"), strict=True):
            search = f"{averaged_study}/r{number}/tune/{folder}"
            assert ablate.read(search).study.loss.terms.endswith(found["arm"][:-3].lower())
            rows = ablate.read(search).rows
            ends = [row.path.points["1"].clean_accuracy for row in rows if row.path is not None]
            least = found["validation"]["clean_accuracy"][0] - 0.1
            assert found["trials"] == [trial for trial in range(2) if ends[trial] >= least]
            assert found["left_out"] == [trial for trial in range(2) if ends[trial] < least]
            weights = [f"{search}/weights/{trial:05d}.safetensors" for trial in found["trials"]]
            files = [load_file(file) for file in weights]
            mean = {
                name: np.mean([file[name].numpy() for file in files], axis=0)
                for name in files[0]
                if files[0][name].is_floating_point()
            }
            baselines = (ablate.files.cache.cache_folder() / "baselines").glob(
                "*/weights.safetensors"
            )
            sha256 = ablate.read(search).baseline_sha256
            (start,) = (
                load_file(file)
                for file in baselines
                if hashlib.sha256(file.read_bytes()).hexdigest() == sha256
            )
            alpha, lost = found["alpha"], -np.array(found["validation"]["clean_accuracy"])
            lost -= lost[0]
            last = np.flatnonzero(lost < 0.005 + 1e-9)[-1]
            crossed = slice(last, last + 2)
            assert alpha == pytest.approx(
                np.interp(0.005, lost[crossed], np.array([0, 0.5, 1])[crossed]) if last < 2 else 1,
                abs=1e-4,
            )
            network = ablate.load_model(search, 0, alpha=1.0).network
            state = network.state_dict()
            for name, average in mean.items():
                first = start[name].float().numpy()
                state[name] = torch.from_numpy(first + alpha * (average - first))
            network.load_state_dict(state)
            scored = ablate.evaluate(
                network, dataset="digits", image_size=8, types=["contrast"], severities=[3]
            )
            assert scored.clean is not None
            expected = [scored.clean.accuracy, scored.accuracy()]
            assert found["test"]["average"] == pytest.approx(expected)
            confirmed = ablate.read(f"{averaged_study}/confirm/r{number}")
            tuned = np.mean(
                [
                    row.test_scores.metrics()["test_robust_accuracy_untrained_at_clean_loss"]
                    for row in confirmed.rows
                    if row.cell == found["arm"] and row.test_scores is not None
                ]
            )
            assert found["test"]["tuned"][1] == pytest.approx(tuned)
            values[found["arm"]].append(expected[1] - tuned)
    for arm, (first, second) in values.items():
        line = next(line for line in printed.splitlines() if line.startswith(f"| average of {arm}"))
        assert f"| {50 * (first + second):+.2f} [" in line
        assert f"| {100 * first:+.2f} {100 * second:+.2f} |" in line


# -- tables.py and claims.py


UNTRAINED = "val_robust_accuracy_untrained"
CLEAN = {"DA+ST+CA": 0.9}
"""The others are always right on clean images."""
ROBUST = {"plain": 0.3, "DA+CA": 0.5, "ST+CA": 0.5, "FMA+CA": 0.5, "DA+FMA+CA": 0.7}


def confirmation(place: int) -> Example:
    """Of one baseline, the six arms with four seeds; a run of the second has failed."""
    random = np.random.default_rng(place)
    seen = {"gaussian_noise": "seen_type", "impulse_noise": "seen_family"}
    runs: dict[str, list[Any]] = {
        arm: [
            make_scored(
                *(random, ROBUST.get(arm, 0.7)),
                clean=CLEAN.get(arm, 1.0),
                n=2000,
                n_corrupted=200,
                exposure=seen if arm != "plain" else {},
            )
            for _ in range(4)
        ]
        for arm in claims.ARMS
    }
    if place == 1:
        runs["ST+CA"][2] = DIED
    contrasts = [minus(arm) for arm in claims.ARMS[1:]]
    contrasts += [minus(arm, to) for arm, to, _ in claims.CLAIMS]
    declared = tuple(Claim(f"{arm} - {to}", UNTRAINED) for arm, to, _ in claims.CLAIMS)
    example = make_example(
        runs,
        baseline=make_scored(random, 0.3, n=2000, n_corrupted=200),
        design=make_design(claims.ARMS, contrasts=tuple(contrasts), claims=declared),
        settings={"seeds": 4},
    )
    own: dict[str, Any] = {"name": f"paper_kept_{place}", "baseline_sha256": f"{place}" * 64}
    return replace(example, record=replace(example.record, **own))


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [confirmation(place) for place in range(3)]


def read(examples: list[Example]) -> claims.Ablations:
    return claims.Ablations([(one.record, one.outcomes, one.references) for one in examples])


def seed_means(examples: list[Example], arm: str, metrics: list[str]) -> np.ndarray:
    """`[baselines, images]`, of the seeds at which all arms have ended well."""
    found = []
    for example in examples:
        failed = {row.pair for row in example.record.rows if row.failure is not None}
        rows = [row for row in example.record.rows if row.cell == arm and row.pair not in failed]
        bits = [(example.outcomes[row.number]["val"], row.scores) for row in rows]
        tables = [
            np.mean([images_right(text, scores, metric) for metric in metrics], axis=0)
            for text, scores in bits
            if isinstance(scores, Scores)
        ]
        found.append(np.mean(tables, axis=0))
    return np.array(found)


def test_a_claim_needs_all_its_parts(examples: list[Example]) -> None:
    arms = read(examples)
    untrained = [f"val_{metric}" for metric in arms.names()]
    assert untrained == ["val_accuracy.impulse_noise", "val_accuracy.gaussian_blur"]
    found = claims.claims_of(arms)
    larger = []
    for one, (arm, to, needs_clean) in zip(found, claims.CLAIMS, strict=True):
        model = Model(seed_means(examples, arm, untrained) - seed_means(examples, to, untrained))
        assert (one.effect.estimate.mean, one.effect.p) == pytest.approx((model.mean, model.p()))
        assert arms.model(arm, to, arms.names()).p() == pytest.approx(model.p())
        larger.append(model.p())
        if needs_clean:
            metric = ["val_clean_accuracy"]
            lost = Model(seed_means(examples, arm, metric) - seed_means(examples, "plain", metric))
            p = lost.p(-0.005)
            larger[-1] = max(model.p(), p if lost.mean > -0.005 else min(1.0, 2 - p))
            assert one.clean is not None
            assert one.clean.low == pytest.approx(lost.bounds(0.05 / 3)[0])
    assert [one.p for one in found] == pytest.approx(larger, rel=1e-5)
    assert [one.adjusted for one in found] == pytest.approx(holm(larger), rel=1e-5)
    assert [one.said for one in found] == [
        "more robust, clean accuracy within 0.5 points",
        "not shown; alone: more robust",
        "not shown",
    ]
    assert all(one.is_shown == excludes_0(one.effect.estimate) for one in found[::2])
    text = claims.claims(arms)
    assert "3 baselines (4, 3, 4 seeds, averaged)" in text
    for one in found:
        shares = " | ".join(f"{100 * share:+.2f}" for share in one.effect.by_baseline)
        assert f"| {shares} |" in text
    assert "seed 3 of ST+CA: " in tables.all_arms(arms)
    tables.by_type(arms)
    assert all(one.said.startswith("nothing") for one in claims.claims_of(read(examples[:2])))
    alone = read(examples[:1])
    assert all(one.said.startswith("nothing") for one in claims.claims_of(alone))
    assert "4 seeds of one baseline, and images; nothing is claimed" in claims.claims(alone)


def excludes_0(estimate: Estimate) -> bool:
    return estimate.low > 0 or estimate.high < 0 or 0 in (estimate.low, estimate.high)


def test_a_script_without_ablate_finds_the_same_claims(examples: list[Example]) -> None:
    arms = read(examples)
    untrained = [f"val_{metric}" for metric in arms.names()]
    clean = "val_clean_accuracy"

    def model(contrast: str, metric: str) -> recompute.Model:
        metrics = [clean] if metric == clean else untrained
        one, other = (seed_means(examples, arm, metrics) for arm in contrast.split(" - "))
        return recompute.Model(one - other)

    asked = [(f"{arm} - {to}", UNTRAINED) for arm, to, _ in claims.CLAIMS]
    found = recompute.claims(recompute.Effects(asked, (clean, claims.MARGIN), model))
    for one in claims.claims_of(arms):
        assert found[one.effect.contrast] == pytest.approx((one.p, one.adjusted), rel=1e-9)


RESULTS = ROOT / "studies" / "paper" / "results"
FINDINGS = (ROOT / "docs" / "results.md").read_text()


def test_the_tables_of_the_study_before_are_what_the_archives_say() -> None:
    archives = [recompute.read(RESULTS / f"paper_kept_{number}.tar") for number in range(3)]
    effects = recompute.pooled([recompute.Study(files, "confirm/") for files in archives])
    p_values = recompute.claims(effects)
    _, _, *rows = recompute.table(effects).splitlines()
    assert len(rows) == len(claims.CLAIMS)
    text = (RESULTS / "tables.md").read_text()
    for row in rows:
        contrast, _, difference, p, *_ = row.strip("| ").split(" | ")
        _, adjusted = (recompute.p_texts(one)[0] for one in p_values[contrast])
        line = next(line for line in text.splitlines() if line.startswith(f"| {contrast} |"))
        assert line.startswith(f"| {contrast} | {difference} | {p} |")
        assert line.endswith(f"| {adjusted} | not shown |")


def in_words(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def power_of_t(size: float, n: int, level: float) -> float:
    """Of a two-sided t test of n differences whose mean is `size` of their deviations."""
    least, shift = stats.t.isf(level / 2, n - 1), size * n**0.5
    return float(stats.nct.sf(least, n - 1, shift) + stats.nct.cdf(-least, n - 1, shift))


def test_the_findings_are_what_the_archive_says() -> None:
    """Their differences are in the tables, which a script without ablate finds again."""
    files = recompute.read(RESULTS / "fma_decided.tar")
    assert recompute.check(files)
    text = files["confirm/tables/effects.csv"].decode()
    effects = {(row["contrast"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    columns = ("robust_untrained at clean loss", "robust_untrained", "clean")
    rows = [line for line in FINDINGS.splitlines() if line.startswith("| ") and "CA - " in line]
    assert len(rows) == 3
    for row in rows:
        contrast, at_loss, p, *beside = (cell.strip() for cell in row.strip("| ").split("|"))
        for metric, cell in zip(columns, (at_loss, *beside), strict=True):
            found = effects[contrast.partition(",")[0], metric]
            ends = (float(found[f"difference.{end}"]) for end in ("mean", "low", "high"))
            assert cell == in_words(*ends)
        declared = effects[contrast.partition(",")[0], columns[0]]
        if contrast == "FMA+CA - DA+CA":
            size = float(declared["difference.mean"]) / float(declared["difference.sd"])
            enough = next(n for n in range(3, 100) if power_of_t(size, n, 0.05 / 3) >= 0.8)
            assert f"needs {enough} baselines for a power of 80 %" in FINDINGS
        assert declared["verdict"] == "not shown"
        assert p == recompute.p_texts(float(declared["p_adjusted"]))[0]
    # An adapted baseline has lost what it has lost: it is not compared at a stated loss.
    adapted = [metric for contrast, metric in effects if "adapted" in contrast]
    assert adapted
    assert not [metric for metric in adapted if metric.endswith("at clean loss")]


def test_the_averages_are_what_the_findings_say() -> None:
    made = [
        one
        for number in range(6)
        for one in json.loads((RESULTS / f"averages_{number}.json").read_text())
    ]
    for arm, model in averages.contrasts(made).items():
        images = [one["images"] for one in made if one["arm"] == arm]
        less = [np.subtract(one["average"], one["tuned"]) for one in images]
        again = recompute.Model(np.array(less))
        assert again.k == 6
        assert (model.mean, model.p()) == pytest.approx((again.mean, again.p()))
        assert f"{arm} {in_words(again.mean, *again.bounds(0.05 / 2))}" in FINDINGS
