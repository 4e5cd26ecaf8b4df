"""Studies of uneven classes: searched for, constrained, pruned and answered by measures that a mean
over images hides; recomputed by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import run_here
from sklearn.metrics import balanced_accuracy_score

import ablate
from ablate.data.load import load_dataset
from ablate.errors import ParameterError
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.open_study import open_study, read_outcomes
from ablate.lifecycle.place import locate
from ablate.report.answer import study_answer
from ablate.report.terminal.trials import trials_table
from ablate.robustness.bits import unpack_bits
from ablate.robustness.evaluation import summarise
from ablate.study.interpolation import Curve, curve_point
from ablate.study.scores import MEASURES, Scores

BALANCED, ROBUST = "val_balanced_accuracy", "val_robust_balanced_accuracy"
KEYS: dict[str, Any] = {
    "objectives": [{"metric": BALANCED}, {"metric": ROBUST}],
    "constraints": [{"metric": "val_robust_ece", "max": "baseline + 0.9"}],
    "search": {"trials": 3, "sampler": "random", "pruner": {"min_epochs": 1}},
}
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(
    write_study_in: Write, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Where a search of three trials has run, on 30, 8 and 30 images."""
    work = tmp_path_factory.mktemp("uneven")
    images = shutil.copytree(image_folder, work / "images")
    for number in range(8, 30):
        (images / f"train/middle/{number}.png").unlink()
    data = {"name": "image_folder", "path": str(images), "image_size": 16}
    file = write_study_in(work, "uneven", dataset={**data, "validation": {"fraction": 0.5}}, **KEYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        ablate.launch(file, executor="inline", accept_baseline=True)
    return work


@pytest.fixture
def record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StudyRecord:
    monkeypatch.chdir(folder)
    return ablate.read("runs/uneven")


def test_the_values_are_those_of_the_recorded_bits(record: StudyRecord, folder: Path) -> None:
    found = load_dataset(record.study.dataset, folder, folder / "cache", image_size=16)
    labels = found.validation.labels.numpy()
    assert sorted(np.bincount(labels).tolist()) == [4, 15, 15]
    _, outcomes, _ = read_outcomes(locate("runs/uneven"))
    assert record.complete
    for row in record.complete:
        assert isinstance(row.scores, Scores)
        assert {*row.scores.measures} == {*MEASURES}
        bits = unpack_bits([outcomes[row.number]["val"]], row.scores)

        def balanced(right: np.ndarray) -> float:
            answers = np.where(right, labels, (labels + 1) % 3)
            return float(balanced_accuracy_score(labels, answers))

        clean = balanced(bits.clean[0])
        of_types = {kind: balanced(right[0, 0]) for kind, right in bits.types.items()}
        families = row.scores.families.values()
        robust = np.mean([np.mean([of_types[kind] for kind in kinds]) for kinds in families])
        assert row.values == (pytest.approx(clean), pytest.approx(robust))
        recalls = [bits.clean[0][labels == label].mean() for label in range(3)]
        assert row.scores.metrics()["val_worst_class_accuracy"] == pytest.approx(min(recalls))


def test_rungs_compare_them_and_constraints_bound_them(record: StudyRecord) -> None:
    for row in record.rows:
        assert {BALANCED, ROBUST} <= {*row.rungs[0].scores}
    (bound,) = record.bounds
    baseline = record.references["baseline"].metrics()
    assert (bound.limit, bound.is_least) == (pytest.approx(baseline[bound.metric] + 0.9), False)
    # Of balanced accuracy as much may be lost as of plain accuracy.
    point = (pytest.approx(baseline[BALANCED] - 0.1), baseline[ROBUST])
    assert record.reference_point == point


def test_answer_tables_and_figure_name_them(record: StudyRecord, folder: Path) -> None:
    answer = run_here("status", "runs/uneven").stdout
    assert "robust balanced accuracy" in " ".join(answer.split())
    shown = ablate.plot_pareto("runs/uneven").layout.xaxis.title.text
    assert shown == "Balanced accuracy (validation)"
    columns = run_here("trials", "runs/uneven", "--columns", "trial,balanced,worst_class,ece,nll")
    assert "balanced %" in columns.stdout
    assert "nll" in columns.stdout
    frame = ablate.load_trials("runs/uneven")
    assert frame["val_nll"].notna().any()
    # They are in the full table, and not among what a person reads first.
    first = run_here("trials", "runs/uneven").stdout
    assert "robust_balanced" in first.replace("\n", "")
    assert "worst_class" not in first


def test_the_note_comes_where_they_are_not_taken(record: StudyRecord, folder: Path) -> None:
    text = " ".join(run_here("check", "uneven.yaml").stdout.split())
    assert "uneven classes in train/: middle 8 to " in text
    assert BALANCED not in text.partition("uneven classes")[2]
    plain = (folder / "uneven.yaml").read_text()
    for metric, other in ((BALANCED, "val_clean_accuracy"), (ROBUST, "val_robust_accuracy")):
        plain = plain.replace(metric, other)
    (folder / "plain.yaml").write_text(plain)
    text = " ".join(run_here("check", "plain.yaml").stdout.split())
    assert f"take {BALANCED} and {ROBUST}" in text


def test_rows_of_earlier_versions_have_no_value(record: StudyRecord) -> None:
    assert record.complete
    rows = []
    for row in record.complete:
        assert isinstance(row.scores, Scores)
        data = row.scores.to_json()
        del data["measures"]
        rows.append(replace(row, scores=Scores.from_json(data), rungs=()))
    old = replace(record, rows=tuple(rows))
    assert trials_table(old, columns=["worst_type"]).columns
    with pytest.raises(ParameterError) as error:
        trials_table(old, columns=["val_nll"])
    assert str(error.value) == (
        "columns: must be scored, got val_nll, of which no trial has a value: ablate did not "
        "compute it then, or not of sparse cells. Name another column."
    )


def test_a_curve_has_them_at_each_alpha(record: StudyRecord) -> None:
    scores = record.references["baseline"]
    other = replace(scores, measures={"ece": 0.5})
    curve = Curve({"0": curve_point(scores), "1": curve_point(other)})
    assert curve.scores(scores, 1.0).measures == {"ece": 0.5}
    assert curve.scores(other, 0.0).measures == scores.measures
    old = dict(vars(curve_point(scores)))
    del old["measures"]
    read = Curve.from_json({"points": {"0": old, "1": old}})
    assert read.scores(other, 0.0).measures == {}
    # What is no mean is not interpolated between two networks.
    assert not {*curve.at_clean_loss(scores, 0.01).at_clean_loss} & {*MEASURES}


@pytest.mark.slow
def test_arms_are_compared_and_networks_shown_by_them(record: StudyRecord, folder: Path) -> None:
    """A study that asks for balanced accuracy is answered in it, though other metrics are means."""
    arms = {name: {"loss.terms": terms} for name, terms in (("plain", "clean"), ("DA", "clean+da"))}
    study = yaml.safe_load((folder / "uneven.yaml").read_text())
    for section in ("space", "search", "constraints"):
        del study[section]
    ablation = {"design": "arms", "arms": arms, "seeds": 2}
    study |= {"name": "arms", "ablation": ablation, "finetune": {"budget": {"images": 96}}}
    Path("arms.yaml").write_text(yaml.safe_dump(study))
    ablate.launch("arms.yaml", executor="inline", accept_baseline=True)
    info = ablate.read_ablation("runs/arms")
    assert (info.rank_metric, info.metrics.count(BALANCED)) == (ROBUST, 1)
    said = study_answer(open_study("runs/arms").source).sentences[0]
    assert said.startswith("Too few seeds (2) to say which is best: their robust balanced accuracy")
    text = run_here("table", "runs/arms").stdout
    for heading in ("Balanced (%)", "Robust\\_balanced (%)", "Robust\\_balanced less plain"):
        assert f"| {heading} |" in text

    run_here("export", "runs/arms", "--trial", 0, "-o", "one.safetensors")
    shutil.copy("one.safetensors", "two.safetensors")
    asked = ("--types", "contrast", "--severities", 3, "--dataset", folder / "images")
    networks = ("evaluate", "one.safetensors", "two.safetensors", *asked)
    assert "Balanced" not in run_here(*networks).stdout  # the test images are even
    for number in (1, 2):
        (folder / f"images/test/left/{number}.png").unlink()
    text = run_here(*networks).stdout
    assert "Balanced (%)  Robust balanced (%)" in text
    scored = ablate.evaluate(
        "one.safetensors", dataset=folder / "images", types=["contrast"], severities=[3]
    )
    values = {line.name: line.value for line in summarise(scored)}
    for name in ("clean_balanced_accuracy", "mean_corruption_balanced_accuracy"):
        assert f" {100 * values[name]:.1f} " in text.replace("\n", " ")
