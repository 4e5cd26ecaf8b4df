"""`robustness.adapt_batch_norm`: the baseline with batch norm adapted at test time, a reference."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

import ablate
from ablate.analysis.pareto import pareto_info
from ablate.errors import FingerprintError, StudyFileError
from ablate.files.cache import cache_folder
from ablate.ledger.record import ADAPTED
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.study_file import parse_study
from ablate.report.formats import result_rows
from ablate.robustness.score import adapted_batch_norm
from ablate.trial.workbench import Workbench
from tests.commands import run_here

HEAD = """
version: 1
name: {name}
dataset: {{name: digits, image_size: 8, validation: {{fraction: 0.75}}}}
model: {{name: resnet8}}
baseline: {{epochs: 2}}
augment: {{families: [noise]}}
robustness: {{severities: [5], images: 100, adapt_batch_norm: 16}}
run: {{gpus_per_trial: 0, precision: fp32}}
"""
SEARCH = """
finetune: {budget: {epochs: 1}}
space: {finetune.learning_rate: {float: [0.001, 1.0], log: true}}
search: {trials: 1, sampler: random}
"""
ABLATION = """
finetune: {budget: {images: 600}}
ablation:
  design: arms
  seeds: 2
  arms: {plain: {loss.terms: clean}, DA: {loss.terms: clean+da}}
  primary: [{compare: DA, to: adapted baseline}]
  contrasts: [{compare: adapted baseline, to: baseline}]
"""
MARK = (
    "adapted baseline: batch norm adapted at test time to batches of one copy; its own statistics "
    "count as 16 images"
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("adapted")
    (made / "searched.yaml").write_text(HEAD.format(name="searched") + SEARCH)
    result = run_here(
        "launch", "searched.yaml", "--executor", "inline", "--accept-baseline", cwd=made
    )
    assert result.returncode == 0, result.stderr
    return made


@pytest.mark.slow
def test_the_reference_has_the_accuracy_of_adapted_batches(searched: Path) -> None:
    record = ablate.read(searched / "runs" / "searched")
    scores = record.references[ADAPTED]
    assert scores.accuracies != record.references["baseline"].accuracies
    bench = Workbench.get(record.study, searched, cache_folder())
    model, copies = bench.build_baseline().eval(), bench.evaluation_set
    for kind, by_severity in scores.accuracies.items():
        images = torch.cat(list(copies.blocks(kind, 5))).float() / 255
        assert len(images) == 100  # one batch
        with torch.no_grad(), adapted_batch_norm(model, 16):
            right = (model(images).argmax(1) == copies.labels).float().mean().item()
        assert by_severity["5"] == pytest.approx(right, abs=0.011)  # sums in another order


@pytest.mark.slow
def test_it_stands_beside_the_baseline_wherever_that_is(searched: Path, tmp_path: Path) -> None:
    with contextlib.chdir(searched):
        table = run_here("table", "runs/searched", "--format", "md").stdout
        assert table.index("| baseline ") < table.index("| adapted baseline ")
        baseline, adapted, *_ = result_rows(pareto_info(ablate.read("runs/searched")))
        assert (baseline["name"], adapted["name"]) == ("baseline", ADAPTED)
        assert adapted["gains"]["val_robust_accuracy"] == pytest.approx(
            adapted["values"]["val_robust_accuracy"] - baseline["values"]["val_robust_accuracy"]
        )
        for name in ("pareto", "severity", "profile"):
            drawn = ablate.plot(name, "runs/searched").to_json()
            assert "Before finetuning, adapted" in drawn, name
        assert run_here("report", "runs/searched", "--no-images").returncode == 0
        page = (searched / "runs" / "searched" / "report.html").read_text()
        assert "adapted baseline" in page
        assert MARK in page
        assert MARK in " ".join(run_here("status", "runs/searched").stdout.split())


@pytest.mark.slow
def test_it_is_scored_once_and_its_number_is_in_the_fingerprint(searched: Path) -> None:
    with contextlib.chdir(searched):
        before = ablate.read("runs/searched").references[ADAPTED]
        ablate.resume("runs/searched", add=1, executor="inline")
        assert ablate.read("runs/searched").references[ADAPTED] == before
        with pytest.raises(FingerprintError, match=r"robustness\.adapt_batch_norm: 16 -> 8"):
            ablate.launch("searched.yaml", ["robustness.adapt_batch_norm=8"], executor="inline")


@pytest.mark.slow
def test_an_ablation_compares_with_it_image_by_image(searched: Path) -> None:
    (searched / "compared.yaml").write_text(HEAD.format(name="compared") + ABLATION)
    with contextlib.chdir(searched):
        ablate.launch("compared.yaml", executor="inline", accept_baseline=True)
        info = ablate.read_ablation("runs/compared")
        record = ablate.read("runs/compared")
        ablate.write_report("runs/compared", "compared.html")
    page = (searched / "compared.html").read_text()
    assert "adapted baseline" in page
    assert [arm.name for arm in info.arms] == ["baseline", ADAPTED, "plain", "DA"]
    assert [arm.is_one_network for arm in info.arms] == [True, True, False, False]
    adapted = info.arms[1]
    robust = record.references[ADAPTED].robust_accuracy
    assert adapted.estimates["val_robust_accuracy"].mean == robust
    assert adapted.costs["student_images"] == 0
    (claim,) = info.primary
    assert (claim.contrast, claim.metric) == (f"DA - {ADAPTED}", "val_robust_accuracy")
    assert claim.estimate.method == "t over seeds and images"
    by_hand = info.arms[3].estimates["val_robust_accuracy"].mean - robust
    assert claim.estimate.mean == pytest.approx(by_hand)
    assert info.effect(f"{ADAPTED} - plain", "val_robust_accuracy").estimate.n == 2
    both = info.effect(f"{ADAPTED} - baseline", "val_robust_accuracy").estimate
    gained = robust - record.references["baseline"].robust_accuracy
    assert both.mean == pytest.approx(gained)


def said(text: str, tmp_path: Path) -> list[str]:
    try:
        parse_study(text, "s.yaml", names=lambda name: names_for(name, tmp_path), base=tmp_path)
    except StudyFileError as error:
        return str(error).splitlines()
    return []


NETWORK = """
from torch import nn

def make(classes, image_size=8, channels=1):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def test_a_network_without_batch_norm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plainnet.py").write_text(NETWORK)
    text = HEAD.format(name="a") + SEARCH
    assert not said(text, tmp_path)
    assert (
        "s.yaml:8:44: robustness.adapt_batch_norm: needs a network with batch norm, got 16 for "
        "plainnet:make, which has none with statistics. Remove it."
    ) in said(text.replace("resnet8", "plainnet:make"), tmp_path)


def test_what_an_ablation_cannot_compare_with(tmp_path: Path) -> None:
    text = HEAD.format(name="a") + ABLATION
    assert not said(text, tmp_path)
    assert not said(text.replace("seeds: 2", "seeds: 2\n  compare_to: adapted baseline"), tmp_path)
    (line,) = said(text.replace("seeds: 2", "seeds: 2\n  baseline_seeds: each"), tmp_path)
    assert line.endswith(
        "robustness.adapt_batch_norm: adapts the one baseline of a study, got 16 with one a seed. "
        "Remove it, or ablation.baseline_seeds."
    )
    lines = said(text.replace(", adapt_batch_norm: 16", ""), tmp_path)
    assert len(lines) == 2
    assert "to: needs robustness.adapt_batch_norm, got 'adapted baseline' without it" in lines[0]
    lines = said(text.replace("plain: {", "adapted baseline: {"), tmp_path)
    assert "is always an arm, the network before finetuning, got values for it" in lines[0]
