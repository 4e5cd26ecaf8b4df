"""`studies/paper`: its data, and its tables of the archives."""

from __future__ import annotations

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

from ablate.ablation.cell import Claim
from ablate.ablation.intervals import Estimate
from ablate.study.scores import Scores

sys.path.append(str(Path(__file__).parents[1] / "studies" / "paper"))

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


def test_what_is_published_is_what_the_archives_say() -> None:
    results = ROOT / "studies" / "paper" / "results"
    archives = [recompute.read(results / f"paper_kept_{number}.tar") for number in range(3)]
    effects = recompute.pooled([recompute.Study(files, "confirm/") for files in archives])
    p_values = recompute.claims(effects)
    _, _, *rows = recompute.table(effects).splitlines()
    assert len(rows) == len(claims.CLAIMS)
    texts = [(ROOT / "docs" / "results.md").read_text(), (results / "tables.md").read_text()]
    for row in rows:
        contrast, _, difference, p, *_ = row.strip("| ").split(" | ")
        _, adjusted = (recompute.p_texts(one)[0] for one in p_values[contrast])
        for text in texts:
            line = next(line for line in text.splitlines() if line.startswith(f"| {contrast} |"))
            assert line.startswith(f"| {contrast} | {difference} | {p} |")
            assert line.endswith(f"| {adjusted} | not shown |")
