"""A study with `robustness.cells`: its numbers, archive, verification and confirmation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ablate
from ablate.errors import FingerprintError
from ablate.lifecycle.open_study import read_outcomes
from ablate.lifecycle.place import locate
from ablate.robustness.bits import unpack_bits
from ablate.robustness.sparse import scored_cells
from tests.commands import run_here

STUDY = """
version: 1
name: sparse
dataset: {name: digits, image_size: 8, validation: {fraction: 0.5}}
model: {name: resnet8}
baseline: {epochs: 1}
augment: {families: [noise]}
robustness: {suite: families_grey, severities: [1, 5], cells: 0.3, adapt_batch_norm: 16}
finetune: {budget: {images: 256}}
run: {gpus_per_trial: 0, precision: fp32}
ablation:
  design: arms
  seeds: 3
  arms: {plain: {loss.terms: clean}, DA: {loss.terms: clean+da}}
  primary:
    - {compare: DA, to: plain}
    - {compare: DA, to: plain, metric: val_accuracy.gaussian_blur.5}
    - {compare: DA, to: plain, metric: val_robust_accuracy_untrained}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sparse")
    (made / "sparse.yaml").write_text(STUDY)
    launched = run_here(
        "launch", "sparse.yaml", "--executor", "inline", "--accept-baseline", cwd=made
    )
    assert launched.returncode == 0, launched.stderr
    return made


@pytest.mark.slow
def test_effects_are_those_of_the_images_of_each_cell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    info = ablate.read_ablation("runs/sparse")
    record, outcomes, _ = read_outcomes(locate("runs/sparse"))
    rows = {(row.cell, row.pair): row for row in record.complete}
    scores = rows["DA", 0].scores
    design = scored_cells(scores.n_images, 10, 0.3, 0)
    cells = [(kind, level) for kind in scores.accuracies for level in (0, 1)]

    def differences(of: list[tuple[str, int]]) -> list[float]:
        """Of each seed, the mean over these cells of the mean over the images of each."""
        found = []
        for pair in range(3):
            bits = [
                unpack_bits([outcomes[rows[arm, pair].number]["val"]], scores).types
                for arm in ("DA", "plain")
            ]
            found.append(
                np.mean(
                    [
                        (one[kind][0, level][image].mean() - two[kind][0, level][image].mean())
                        for kind, level in of
                        for one, two, image in [(*bits, design[cells.index((kind, level))])]
                    ]
                )
            )
        return found

    blur = [("gaussian_blur", 1)]
    untrained = [cell for cell in cells if scores.exposure_of(cell[0]) != "seen_type"]
    assert 0 < len(untrained) < 10
    for metric, of in (
        ("val_accuracy.gaussian_blur.5", blur),
        ("val_robust_accuracy_untrained", untrained),
    ):
        effect = info.effect("DA - plain", metric)
        assert any(differences(of))
        assert effect.estimate.mean == pytest.approx(np.mean(differences(of)))
        assert effect.estimate.sd == pytest.approx(np.std(differences(of), ddof=1))
        assert effect.estimate.method == "t over seeds and images"
    assert info.effect("DA - plain", "val_accuracy.gaussian_blur.5").n_images == design[3].sum()
    table = run_here("table", "runs/sparse", "--effects", "--notes").stdout
    assert "each at 30 % of types and severities" in " ".join(table.split())


@pytest.mark.long
def test_it_is_archived_verified_and_confirmed_in_full(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ablate.confirm("runs/sparse", seeds=2, executor="inline", severities=[5])
    record, outcomes, _ = read_outcomes(locate("runs/sparse/confirm"))
    for row in record.complete:
        assert (row.scores.cell_share, row.test_scores.cell_share) == (0.3, 1)
        assert unpack_bits([outcomes[row.number]["test"]], row.test_scores).weights == {}
    info = ablate.read_confirmation("runs/sparse/confirm")
    assert (info.validation.cell_share, info.test.cell_share) == (0.3, 1)
    ablate.archive("runs/sparse", "sparse.tar")
    verified = run_here("verify", "sparse.tar", "--rerun", "1")
    assert verified.returncode == 0, verified.stdout
    with pytest.raises(FingerprintError, match=r"robustness\.cells: 0\.3 -> 0\.2"):
        ablate.launch("sparse.yaml", ["robustness.cells=0.2"], executor="inline")


@pytest.mark.long
def test_a_search_with_curves_and_rungs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = STUDY.partition("ablation:")[0].replace("name: sparse", "name: searched")
    text = text.replace("budget: {images: 256}", "budget: {epochs: 2}, interpolation: {}")
    space = "{finetune.learning_rate: {float: [0.001, 0.5], log: true}}"
    text += "answer: {mixtures: false}\n"
    text += f"space: {space}\nsearch: {{trials: 2, sampler: random, pruner: {{images: 60}}}}\n"
    Path("searched.yaml").write_text(text)
    ablate.launch("searched.yaml", executor="inline", accept_baseline=True)
    record = ablate.read("runs/searched")
    assert record.complete
    ablate.write_report("runs/searched", "searched.html")
    assert "each at 30 % of types and severities" in Path("searched.html").read_text()
