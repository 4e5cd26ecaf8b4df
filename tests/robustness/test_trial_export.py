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
TYPES = ("brightness", "contrast")


@pytest.mark.slow
def test_an_export_is_scored_as_its_trial(tmp_path: Path, session_cache: Path) -> None:
    bench = Workbench.get(STUDY, Path(), session_cache)
    values = {"loss.terms": "clean+da", "augment.families": ["photometric"]}
    run = TrialRun(bench, values, Seeds(split=0, train=0, evaluation=0))
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
