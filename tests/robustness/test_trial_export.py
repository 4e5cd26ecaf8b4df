"""A trial's weights say how they are to be used, and are evaluated as the trial scores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ablate.model.weights.export_metadata import read_metadata
from ablate.robustness.evaluate import evaluate
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.score import score_set
from ablate.robustness.suites import find_suite
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial.robustness import TrialRun
from ablate.trial.workbench import Workbench

STUDY = Study.model_validate(
    {
        "version": 1,
        "name": "exported",
        "dataset": {"name": "digits", "image_size": 8, "validation": {"fraction": 0.5}},
        "model": {"name": "resnet8"},
        "baseline": {"epochs": 1},
        "finetune": {"budget": {"epochs": 1}},
        "robustness": {"severities": [5]},
        "run": {"precision": "fp32"},
    }
)
VALUES = {"loss.terms": "clean+da", "augment.families": ["photometric"]}
TYPES = ("brightness", "contrast")


@pytest.mark.slow
def test_an_export_is_scored_as_its_trial(tmp_path: Path, session_cache: Path) -> None:
    bench = Workbench.get(STUDY, Path(), session_cache)
    run = TrialRun(bench, VALUES, Seeds(split=0, train=0, evaluation=0))
    while not run.done:
        run.run_epoch()
    file = tmp_path / "trial.safetensors"
    run.export(file, 7)

    metadata = read_metadata(file)
    assert metadata is not None
    assert (metadata.model, metadata.dataset, metadata.image_size) == ("resnet8", "digits", 8)
    assert (metadata.study, metadata.trial, metadata.loss_terms) == ("exported", 7, "clean+da")
    assert metadata.seen_types == ("brightness", "contrast", "saturation")
    assert metadata.classes == bench.dataset.classes
    assert metadata.mean == pytest.approx(bench.dataset.mean)
    assert metadata.std == pytest.approx(bench.dataset.std)

    found = evaluate(file, types=TYPES, severities=(5,), device="cpu", precision="fp32", threads=1)
    test = bench.dataset.test()
    copies = EvaluationSet(test, find_suite(TYPES), (5,), 0, session_cache)
    expected = score_set(run.model, test, copies, bench.environment)
    assert expected.clean is not None
    assert found.clean is not None
    assert np.array_equal(found.clean.correct, expected.clean.correct)
    assert found.data.clean_identity == test.digest
    assert found.data.corrupted_identity == copies.identity
    for cell, outcomes in expected.cells.items():
        assert np.array_equal(found.cells[cell].correct, outcomes.correct)
    assert found.exposure == dict.fromkeys(TYPES, "seen_type")


@pytest.mark.slow
def test_an_export_has_the_scores_that_its_trial_was_chosen_by(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Workbench.get(STUDY, Path(), session_cache)
    run = TrialRun(bench, VALUES, Seeds(split=0, train=0, evaluation=0))
    run.run_epoch()
    run.export(tmp_path / "trial.safetensors", 0)
    chosen_by = run.finish().scores

    validation, train = bench.dataset.validation, bench.dataset.train.resident()
    for name, split in (("train", train), ("test", validation)):
        np.savez(tmp_path / f"{name}.npz", images=split.images, labels=split.labels)
    (tmp_path / "validation_images.py").write_text(READ_VALIDATION)
    monkeypatch.syspath_prepend(tmp_path)
    found = evaluate(
        tmp_path / "trial.safetensors",
        dataset="validation_images:read",
        data=tmp_path,
        suite="families",
        severities=(5,),
        device="cpu",
        precision="fp32",
        threads=1,
    )
    assert found.clean is not None
    assert found.clean.accuracy == chosen_by.clean_accuracy
    assert {kind: {"5": found.accuracy([kind])} for kind in found.suite.types} == {
        kind: dict(row) for kind, row in chosen_by.accuracies.items()
    }
    assert found.exposure == chosen_by.exposure


READ_VALIDATION = """
import numpy as np

def read(image_size, path):
    files = {key: np.load(path / f"{key}.npz") for key in ("train", "test")}
    pairs = {key: (file["images"], file["labels"]) for key, file in files.items()}
    return pairs | {"classes": [str(digit) for digit in range(10)]}
"""
