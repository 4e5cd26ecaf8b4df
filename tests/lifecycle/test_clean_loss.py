"""Robust accuracy at a stated clean loss as the outcome: each replicate tunes its arms by it, and
is confirmed at the alphas that its validation images say."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recompute
from safetensors.torch import load_file

import ablate
from ablate.errors import StudyFileError
from ablate.files.cache import cache_folder
from ablate.files.tar import read_tar, write_tar
from ablate.ledger.record import RowRecord
from ablate.lifecycle.open_study import open_ledger, read_outcomes
from ablate.lifecycle.place import locate
from ablate.study.interpolation import Curve
from ablate.trial.workbench import Workbench
from tests.commands import run_here

HEAD = """
version: 1
name: loss
dataset: {name: digits, image_size: 8, validation: {fraction: 0.1}}
model: {name: resnet8}
baseline: {epochs: 2}
finetune: {budget: {images: 400}, interpolation: {alphas: 4}}
augment: {types: [gaussian_noise]}
robustness: {suite: [gaussian_noise, gaussian_blur, contrast], severities: [3, 5], cells: 0.5}
answer: {clean_margin: 0.005}
objectives: [{metric: val_robust_accuracy_at_clean_loss}]
space: {finetune.learning_rate: {float: [0.1, 0.5], log: true}}
run: {gpus_per_trial: 0, precision: fp32}
"""
STUDY = f"""{HEAD}
ablation:
  design: arms
  arms: {{DA: {{loss.terms: clean+da}}, FMA: {{loss.terms: clean+fma}}}}
  tune: {{trials: 2, pick: best val_robust_accuracy_at_clean_loss, sampler: random}}
  replicates: 2
  seeds: 2
  primary: [{{compare: FMA, to: DA, metric: val_robust_accuracy_untrained_at_clean_loss}}]
"""
LOOKED = f"""{HEAD.replace("name: loss", "name: looked").replace("alphas: 4", "alphas: 2")}
ablation:
  design: arms
  arms:
    broken: {{loss.terms: clean, finetune.learning_rate: 1.0, finetune.weight_decay: 1.0}}
    DA: {{loss.terms: clean+da}}
    FMA: {{loss.terms: clean+fma}}
  tune: {{trials: 2, pick: best val_robust_accuracy_at_clean_loss, sampler: random}}
  replicates: 4
  seeds: 1
  primary:
    - {{compare: DA, to: broken, metric: val_clean_accuracy}}
    - {{compare: FMA, to: DA, metric: val_robust_accuracy_untrained_at_clean_loss}}
    - compare: FMA
      to: DA
      metric: val_robust_accuracy_untrained_at_clean_loss
      equivalent_within: 0.02
    - {{compare: DA, to: broken, metric: val_clean_accuracy_at_clean_loss, equivalent_within: 0.5}}
  stop:
    looks: [3, 4]
    spending: quadratic
    confirm: {{seeds: 1, suite: [gaussian_noise, contrast], severities: [3]}}
"""
UNTRAINED = "robust_accuracy_untrained"
LOSS = 0.005
REPLICATES = (0, 1)


def alpha_of(curves: list[Curve]) -> float:
    """Where their mean has lost so much, walking from the finetuned network to the baseline."""
    alphas = [0.0, 0.25, 0.5, 0.75, 1.0]
    means = [
        np.mean([curve.points[f"{alpha:g}"].clean_accuracy for curve in curves]) for alpha in alphas
    ]
    lower = means[0] - LOSS - 1e-9
    if means[-1] >= lower:
        return 1.0
    place = next(at for at in (3, 2, 1, 0) if means[at] >= lower)
    return float(np.interp(-lower, [-means[place], -means[place + 1]], alphas[place : place + 2]))


def robust_at(curve: Curve) -> float:
    alphas = [float(alpha) for alpha in curve.points]
    robust = [
        np.mean([list(by_severity.values()) for by_severity in point.accuracies.values()])
        for point in curve.points.values()
    ]
    return float(np.interp(alpha_of([curve]), alphas, robust))


def path_of(row: RowRecord) -> Curve:
    assert row.path is not None
    return row.path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the study, and its confirmation."""
    made = tmp_path_factory.mktemp("loss")
    (made / "loss.yaml").write_text(STUDY)
    with contextlib.chdir(made):
        options: Mapping[str, Any] = {"executor": "inline", "progress": False}
        ablate.launch("loss.yaml", accept_baseline=True, **options)
        ablate.confirm("runs/loss", seeds=2, **options)
    return made


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def scored_on(study: str) -> Mapping[str, Any]:
    with contextlib.closing(open_ledger(locate(study))) as ledger:
        return ledger.head.test or {}


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_each_replicate_picks_its_values_and_its_alphas() -> None:
    found = []
    for number in REPLICATES:
        record = ablate.read(f"runs/loss/r{number}")
        for place, arm in enumerate(("DA", "FMA")):
            trials = ablate.read(f"runs/loss/r{number}/tune/{place:02d}-{arm}").complete
            values = [robust_at(path_of(row)) for row in trials]
            assert [row.values for row in trials] == [(pytest.approx(one),) for one in values]
            picked = trials[int(np.argmax(values))].params["finetune.learning_rate"]
            rows = [row for row in record.complete if row.cell == arm]
            assert {row.params["finetune.learning_rate"] for row in rows} == {picked}
        alphas = {
            arm: alpha_of([path_of(row) for row in record.complete if row.cell == arm])
            for arm in ("DA", "FMA")
        }
        test = scored_on(f"runs/loss/confirm/r{number}")
        assert test["alphas"] == pytest.approx(alphas, abs=6e-5)
        assert test["clean_loss"] == LOSS
        found.append(test["alphas"])
    assert found[0] != found[1]
    assert {*scored_on("runs/loss/confirm")} == {"suite", "severities"}


def untrained(text: str, n: int) -> tuple[float, float]:
    """Clean accuracy, and that under blur and contrast: in full, noise is the first type."""
    right = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=7 * n)
    return right[:n].mean(), right[3 * n :].mean()


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_the_outcome_is_of_the_networks_at_these_alphas() -> None:
    """From the weights and from the bits."""
    info, by_replicate = ablate.read_confirmation("runs/loss/confirm").test, []
    for number in REPLICATES:
        study = f"runs/loss/confirm/r{number}"
        record, outcomes, _ = read_outcomes(locate(study))
        alphas = scored_on(study)["alphas"]
        means: dict[str, list[tuple[float, float]]] = {"DA": [], "FMA": []}
        for row in record.complete:
            scores = row.test_scores
            assert scores is not None
            pair = untrained(outcomes[row.number]["test_at_clean_loss"], scores.n_images)
            own = untrained(outcomes[row.number]["test"], scores.n_images)
            assert row.cell is not None
            means[row.cell].append(pair)
            metrics = scores.metrics()
            names = [f"test_{name}" for name in ("clean_accuracy", UNTRAINED)]
            assert [metrics[name] for name in names] == pytest.approx(own)
            assert [metrics[f"{name}_at_clean_loss"] for name in names] == pytest.approx(pair)
        row, n = record.complete[-1], scores.n_images
        bench = Workbench.get(record.study, Path.cwd(), cache_folder())
        model = bench.build_baseline()
        weights = load_file(f"{study}/weights/{row.number:05d}.safetensors")
        alpha, state = alphas[str(row.cell)], model.state_dict()
        for name, tensor in state.items():
            if tensor.is_floating_point():
                mixed = (1 - alpha) * tensor.double() + alpha * weights[name].double()
                tensor.copy_(mixed)
        again = bench.score(model, test=record.test, seen_types=("gaussian_noise",)).scores
        pair = untrained(outcomes[row.number]["test_at_clean_loss"], n)
        metrics = again.metrics()
        found = [metrics[f"test_{name}"] for name in ("clean_accuracy", UNTRAINED)]
        assert found == pytest.approx(pair, abs=2 / n)
        by_replicate.append(np.subtract(*(np.mean(means[arm], axis=0) for arm in ("FMA", "DA"))))
    clean, robust = np.transpose(by_replicate)
    effect = info.effect("FMA - DA", f"test_{UNTRAINED}_at_clean_loss")
    assert effect.primary
    assert effect.by_baseline == pytest.approx(tuple(robust))
    assert effect.estimate.mean == pytest.approx(robust.mean())
    assert (effect.n_images, effect.estimate.method) == (n, "t over seeds and images")
    beside = info.effect("FMA - DA", "test_clean_accuracy_at_clean_loss")
    assert beside.estimate.mean == pytest.approx(clean.mean())
    table = run_here("table", "runs/loss/confirm", "--effects", "--format", "csv").stdout
    for name in ("robust_untrained at clean loss", "robust_untrained", "clean at clean loss"):
        assert f"FMA - DA,{name}," in table
    notes = " ".join(run_here("table", "runs/loss/confirm", "--notes").stdout.split())
    assert "where clean accuracy on validation images is 0.5 points below the baseline's" in notes


@pytest.mark.long
@pytest.mark.usefixtures("inside")
def test_it_is_archived_verified_trained_again_and_recomputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ablate.archive("runs/loss", "loss.tar")
    found = ablate.verify("loss.tar", rerun=3, seed=1)
    assert found.holds, [check.text for check in found.checks if not check.holds]
    assert any("confirm" in check.what for check in found.checks[-3:])
    assert recompute.check(recompute.read("loss.tar"))
    files = read_tar(Path("loss.tar"))
    rows = files["confirm~r0/rows.jsonl"].decode().partition("\n")
    row = json.loads(rows[0])
    row["attributes"]["ablate:test"]["at_clean_loss"]["accuracy.contrast"] = 0.5
    files["confirm~r0/rows.jsonl"] = "".join([json.dumps(row), *rows[1:]]).encode()
    write_tar(Path("altered.tar"), "altered", files)
    found = ablate.verify("altered.tar")
    told = " ".join(check.text for check in found.checks if not check.holds)
    assert "test_accuracy.contrast_at_clean_loss: archived 0.5, recomputed 0." in told
    run_here("report", "runs/loss", "--no-images", "-o", "page.html")
    assert "at the stated clean loss" in Path("page.html").read_text()


@pytest.mark.long
def test_a_script_without_ablate_takes_the_same_looks(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("looked.yaml").write_text(LOOKED)
    ablate.launch("looked.yaml", executor="inline", progress=False, accept_baseline=True)
    ablate.archive("runs/looked", "looked.tar")
    files = recompute.read("looked.tar")
    assert recompute.check(files)
    text = capsys.readouterr().out
    for file in (
        *("confirm/looks", "confirm/tables/effects.csv"),
        *("confirm~r3/study.json, alphas", "r0/study.json, trials", "r0/curves"),
    ):
        line = next(line for line in text.splitlines() if line.startswith(f"{file}: "))
        assert line.endswith(" values equal")

    name = "confirm/study.json"
    changed = files[name].replace(b'"verdict": "better"', b'"verdict": "worse"', 1)
    assert not recompute.check(files | {name: changed})
    found = capsys.readouterr().out
    assert "look 1, DA - broken on test_clean_accuracy, verdict: archived worse" in found
    name = "confirm~r0/study.json"
    head = json.loads(files[name])["attributes"]["ablate:head"]
    stored = json.dumps(head["test"]["alphas"]["DA"]).encode()
    before, alphas, after = files[name].partition(b'"alphas"')
    changed = before + alphas + after.replace(stored, b"0.1234", 1)
    assert not recompute.check(files | {name: changed})
    assert f"{name}, alphas: row DA, alpha: archived 0.1234" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_a_confirmation_goes_on_at_its_alphas() -> None:
    before = [scored_on(f"runs/loss/confirm/r{number}") for number in REPLICATES]
    ablate.resume("runs/loss", seeds=3, executor="inline", progress=False)
    info = ablate.confirm("runs/loss", seeds=3, executor="inline", progress=False)
    assert info.test.runs == 12
    assert [scored_on(f"runs/loss/confirm/r{number}") for number in REPLICATES] == before


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_a_search_by_it_is_confirmed_at_the_alpha_of_each_trial() -> None:
    text = HEAD.replace("name: loss", "name: found").replace("cells: 0.5", "cells: 1.0")
    Path("found.yaml").write_text(text + "search: {trials: 2, sampler: random}\n")
    record = ablate.launch("found.yaml", executor="inline", progress=False, accept_baseline=True)
    for row in record.complete:
        assert row.values == (pytest.approx(robust_at(path_of(row))),)
    run_here("report", "runs/found", "--no-images", "-o", "found.html")
    info = ablate.confirm("runs/found", seeds=2, executor="inline", progress=False)
    claims = {(effect.contrast, effect.metric) for effect in info.test.primary}
    assert claims == {(f"{one.name} - plain", "test_robust_accuracy") for one in info.points}
    assert all(np.isfinite(effect.estimate.mean) for effect in info.test.primary)


@pytest.mark.parametrize(
    ("text", "where", "metric"),
    [
        (STUDY, "11:15: objectives[0].metric", "robust_accuracy"),
        (
            STUDY.partition("objectives:")[0]
            + "ablation: {design: arms, arms: {DA: {loss.terms: clean+da}, "
            "FMA: {loss.terms: clean+fma}}, "
            f"primary: [{{compare: FMA, to: DA, metric: val_{UNTRAINED}_at_clean_loss}}]}}",
            "11:125: ablation.primary[0].metric",
            UNTRAINED,
        ),
    ],
)
def test_it_needs_a_curve(text: str, where: str, metric: str, work: Path) -> None:
    Path("loss.yaml").write_text(text.replace(", interpolation: {alphas: 4}", ""))
    with pytest.raises(StudyFileError) as error:
        ablate.check("loss.yaml")
    assert str(error.value) == (
        f"loss.yaml:{where}: needs finetune.interpolation, got 'val_{metric}_at_clean_loss' "
        f"without its alphas. Add finetune.interpolation: {{alphas: 10}}, or use val_{metric}."
    )
