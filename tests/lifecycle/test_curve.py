"""A search whose trials are curves: through the command line, from the key to an exported file."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from example_results import images_right
from safetensors.torch import load_file

import ablate
import ablate.finetune.baseline as baseline_module
from ablate.analysis.pareto import pareto_info, point_of
from ablate.files.cache import cache_folder
from ablate.finetune.baseline import Baseline
from ablate.finetune.interpolation import interpolate_weights
from ablate.ledger.record import RowRecord
from ablate.lifecycle.open_study import open_study
from ablate.model.weights.export_metadata import read_metadata
from ablate.robustness.bits import Scored
from ablate.study.scores import Scores
from ablate.trial.robustness import TrialRun
from ablate.trial.task import weights_file
from ablate.trial.workbench import Workbench
from tests.commands import run_here

pytestmark = pytest.mark.slow

STUDY = """
version: 1
name: curved
dataset: {name: digits, image_size: 8, validation: {fraction: 0.75}}
model: {name: resnet8}
baseline: {epochs: 2}
finetune:
  budget: {epochs: 1}
  interpolation: {alphas: [0.5, 1]}
augment: {families: [noise]}
space: {finetune.learning_rate: {float: [0.001, 1.0], log: true}}
answer: {clean_margin: 0.015, mixtures: false}   # which would be on the front too
search: {trials: 1, sampler: random, enqueue: [{finetune.learning_rate: 0.5}]}
robustness: {severities: [3], images: 100}
run: {gpus_per_trial: 0, precision: fp32}
"""
RATE = 0.5


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder of the study, finished."""
    made = tmp_path_factory.mktemp("curved")
    (made / "curved.yaml").write_text(STUDY)
    result = run_here(
        "launch", "curved.yaml", "--executor", "inline", "--accept-baseline", cwd=made
    )
    assert result.returncode == 0, result.stderr
    return made / "runs" / "curved"


def bench_of(run: Path) -> Workbench:
    return Workbench.get(ablate.read(run).study, run.parents[1], cache_folder())


def untimed(scored: Scored) -> Scores:
    return replace(scored.scores, train_seconds=0.0)


def first_row(run: Path) -> RowRecord:
    row = ablate.read(run).rows[0]
    assert row.params == {"finetune.learning_rate": RATE}
    return row


def test_a_row_keeps_its_curve_and_stands_where_the_rule_says(searched: Path) -> None:
    record = ablate.read(searched)
    baseline = record.references["baseline"]
    for row in record.rows:
        assert row.path is not None
        assert row.path.alphas == (0.0, 0.5, 1.0)
        assert isinstance(row.scores, Scores)
        at = {alpha: row.path.scores(row.scores, alpha) for alpha in row.path.alphas}
        assert at[0.0].clean_accuracy == baseline.clean_accuracy
        assert at[0.0].accuracies == baseline.accuracies
        assert row.scores == at[row.path.alpha]
        assert row.values == (row.scores.clean_accuracy, row.scores.robust_accuracy)
        assert row.path == row.path.chosen(row.scores, 0.015)
    row = first_row(searched)
    assert row.path is not None
    assert row.path.points["0.5"] != row.path.points["1"]
    assert row.path.points["0.5"] != row.path.points["0"]
    assert row.path.alpha == 0.5  # so high a rate loses clean accuracy
    found = pareto_info(record).points[0]
    assert found.point == point_of(row)
    assert found.name == "trial 0 at alpha 0.5"


def test_bits_are_of_the_networks_that_are_scored(searched: Path) -> None:
    source = open_study(searched).source
    row, (rows, references) = first_row(searched), source.read_bits([0])
    scored = {**source.record.references, "row": row.scores}
    assert set(references) == {"baseline", "plain"}
    for name, bits in {**references, "row": rows[0]}.items():
        scores = scored[name]
        assert isinstance(scores, Scores)
        clean, robust = (
            images_right(bits["val"], scores, f"val_{of}_accuracy").mean()
            for of in ("clean", "robust")
        )
        assert (clean, robust) == pytest.approx((scores.clean_accuracy, scores.robust_accuracy))
    assert row.path is not None
    finetuned = row.path.scores(scored["row"], 1.0)
    right = images_right(rows[0]["val@1"], finetuned, "val_robust_accuracy").mean()
    assert right == pytest.approx(finetuned.robust_accuracy)
    assert right != pytest.approx(scored["row"].robust_accuracy)
    assert source.answer is not None
    best, robust = source.answer.bests[0], source.answer.robust
    assert not math.isnan(source.answer.less(best, "baseline", robust).low)


@pytest.mark.parametrize(
    ("asked", "alpha"), [((), 0.5), (("--alpha", "0.5"), 0.5), (("--alpha", "1"), 1.0)]
)
def test_an_export_scores_as_the_row_has_it(
    searched: Path, tmp_path: Path, asked: tuple[str, ...], alpha: float
) -> None:
    file = tmp_path / "exported.safetensors"
    result = run_here("export", searched, "--trial", "0", *asked, "-o", file, "--json")
    assert json.loads(result.stdout) == [{"number": 0, "alpha": alpha, "file": str(file)}]
    metadata = read_metadata(file)
    assert metadata is not None
    assert (metadata.alpha, metadata.trial) == (alpha, 0)
    if alpha == 1:
        assert file.read_bytes() == weights_file(searched, 0).read_bytes()

    row, bench = first_row(searched), bench_of(searched)
    assert row.path is not None
    model = bench.build_baseline()
    baseline = {name: one.clone() for name, one in model.state_dict().items()}
    model.load_state_dict(load_file(file))
    scored = bench.score(model).scores
    kept = row.path.points[f"{alpha:g}"]
    assert (scored.clean_accuracy, scored.accuracies) == (kept.clean_accuracy, kept.accuracies)

    finetuned = load_file(weights_file(searched, 0))
    between = interpolate_weights(baseline, finetuned, alpha)
    assert all((between[name] == one).all() for name, one in load_file(file).items())


def test_what_cannot_be_exported_is_said(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "exported.safetensors"
    result = run_here("export", searched, "--trial", "plain", "--alpha", "0.5", "-o", file)
    assert result.returncode == 2
    assert "must be the finished plain finetune of a search, got --alpha 0.5" in result.stderr
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "empty"))
    result = run_here("export", searched, "--trial", "0", "-o", file)
    assert result.returncode == 2
    assert "trial 0 at alpha 0.5: needs the baseline's weights in " in result.stderr
    assert not file.exists()


def test_a_baseline_that_changes_after_it_was_found_is_not_exported(
    searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, find = tmp_path / "exported.safetensors", baseline_module.kept_baseline
    metadata = read_metadata(weights_file(searched, 0))
    assert metadata is not None
    found = find(cache_folder(), metadata.baseline_sha256)
    assert found is not None
    content = found.path.read_bytes()

    def find_and_change(cache: Path, sha256: str) -> Baseline | None:
        found = find(cache, sha256)
        assert found is not None
        found.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return found

    monkeypatch.setattr(baseline_module, "kept_baseline", find_and_change)
    try:
        result = run_here("export", searched, "--trial", "0", "-o", file)
    finally:
        found.path.write_bytes(content)
    assert result.returncode == 3
    assert "must contain the baseline's weights as written, got other bytes" in result.stderr
    assert not file.exists()


def test_an_interrupted_trial_has_the_curve_of_one_that_was_not(
    searched: Path, tmp_path: Path
) -> None:
    row, bench = first_row(searched), bench_of(searched)
    assert row.seeds is not None
    values = {**row.params, "finetune.budget.epochs": 2}
    run = TrialRun(bench, values, row.seeds)
    saved = []
    while not run.done:
        run.run_epoch()
        saved.append(run.save(str(tmp_path / str(run.epoch))))
    whole = run.finish_curve()
    assert whole is not None
    # Between the first epoch and the last, and between that and the scoring of the curve.
    assert len(saved) == 2
    for kept in saved:
        later = TrialRun(bench, values, row.seeds)
        later.restore(kept)
        while not later.done:
            later.run_epoch()
        curve = later.finish_curve()
        assert curve is not None
        assert curve[0.5].bits == whole[0.5].bits != curve[0.0].bits
        assert untimed(curve[0.5]) == untimed(whole[0.5])


def test_the_average_of_the_weights_is_what_is_interpolated(searched: Path) -> None:
    row, bench = first_row(searched), bench_of(searched)
    assert row.seeds is not None
    run = TrialRun(bench, {**row.params, "finetune.ema_decay": 0.9}, row.seeds)
    while not run.done:
        run.run_epoch()
    average = {name: one.clone() for name, one in run.model.state_dict().items()}
    curve = run.finish_curve()
    assert curve is not None
    model = bench.build_baseline()
    model.load_state_dict(interpolate_weights(model.state_dict(), average, 0.5))
    assert bench.score(model).bits == curve[0.5].bits


def test_a_point_is_confirmed_at_the_alpha_of_the_search(searched: Path) -> None:
    with contextlib.chdir(searched.parents[1]):
        points = pareto_info(ablate.read("curved.yaml")).front
        assert any(point.point.alpha == 0.5 for point in points)
        info = ablate.confirm("curved.yaml", seeds=2, executor="inline")
        assert [point.name for point in info.points] == [point.name for point in points]
        record = ablate.read("runs/curved/confirm")
        for row in record.rows:
            assert (row.state, row.path) == ("COMPLETE", None)
            metadata = read_metadata(weights_file(searched / "confirm", row.number))
            assert metadata is not None
            named = next((point for point in points if point.name == row.cell), None)
            assert metadata.alpha == (1.0 if named is None else named.point.alpha)
        drawn = ablate.plot("pareto", "curved.yaml")
        assert drawn.layout.xaxis.title.text == "Clean accuracy (test)"
