"""An ablation that takes its reference from a search: which study, which trial, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablate.errors import ParameterError, StudyFileError, StudyNotFoundError
from ablate.ledger.driving import Driving
from ablate.ledger.head import Head
from ablate.ledger.ledger import Ledger
from ablate.ledger.url import sqlite_url
from ablate.lifecycle.ablation_reference import FoundReference, design_of, find_reference
from ablate.lifecycle.known_names import names_for
from ablate.space.parse import parse_space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.scores import Scores
from ablate.study.settings import Study

OWN = {"version": 1, "dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
SPACE = {"loss.fma.weight": {"float": [0.1, 10.0]}}
FILE = "version: 1\nname: search\ndataset: {name: digits}\nmodel: {name: resnet8}\n"


def ablation(**reference: Any) -> Study:
    section = {"design": "leave_one_out", "components": ["fma"], "reference": reference}
    return Study.model_validate({**OWN, "name": "a", "ablation": section})


def scores(clean: float, robust: float) -> Scores:
    accuracies = {"gaussian_noise": {"3": robust}}
    return Scores("val", 100, clean, accuracies, {"noise": ("gaussian_noise",)})


@pytest.fixture
def search(work: Path) -> Path:
    """The run folder of a search of three trials, the last of which has not ended."""
    study = Study.model_validate({**OWN, "name": "search", "space": SPACE})
    space = parse_space(study, names_for("resnet8"))
    head = Head(
        identity="0a1b2c3d",
        study=study,
        text=FILE,
        space=space.to_json(),
        base=str(work),
        fingerprint=study_fingerprint(study, space, "digest"),
        baseline_sha256="b" * 64,
        environment={"device": "cpu", "threads": 1},
        reference_point=(0.5, 0.5),
    )
    folder = work / "runs" / "search"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"name": "search", "storage": null}')
    (work / "search.yaml").write_text(FILE)
    driving = Driving(Ledger.create(sqlite_url(folder / "study.db"), head, trials=3))
    for values in ((0.9, 0.6), (0.8, 0.7), None):
        row = driving.ask()
        assert row is not None
        assert row.number is not None
        if values is not None:
            driving.complete(row.number, scores(*values))
    driving.ledger.close()
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "{folder}",
        "runs/search",
        "search.yaml",
        "sqlite:///{folder}/study.db#search",
    ],
)
def test_a_trial_of_a_search_by_its_file_its_folder_or_its_storage(
    search: Path, work: Path, name: str
) -> None:
    study = ablation(study=name.format(folder=search), pick="best robust_accuracy")
    found = find_reference(study, work)
    assert found.text == "trial 1 of study search (best robust_accuracy)"
    assert found.study == "search"
    assert found.sections is not None
    assert set(found.values) == {"loss.fma.weight"}
    design = design_of(study, work, "a.yaml", found)
    assert design.cell("reference").values == found.values
    assert design.notes == ("reference: trial 1 of study search (best robust_accuracy)",)


def test_a_search_is_looked_for_beside_the_file_first(
    search: Path, work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_reference(ablation(study="runs/search"), work)
    assert found.text == "trial 0 of study search (knee)"


def test_a_reference_that_is_written_out(work: Path) -> None:
    study = ablation(**{"loss.fma.weight": 2.0})
    found = find_reference(study, work)
    assert found == FoundReference({"loss.fma.weight": 2.0})
    assert design_of(study, work, "a.yaml", found).notes == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "runs/none",
            "ablation.reference.study: runs/none: must be a study file, a run folder or URL#NAME, "
            "not recognised. Check the path.",
        ),
        (
            "sqlite:///none.db#search",
            "ablation.reference.study: must have been launched, got no study search in "
            "sqlite:///{work}/none.db. Launch it first.",
        ),
        (
            "other.yaml",
            "ablation.reference.study: must have been launched, got no study other in "
            "sqlite:///{work}/runs/other/study.db. Launch it first.",
        ),
        (
            "",
            "ablation.reference.study: {work}: must be a run folder, got one without run.json. "
            "Name runs/NAME, a study file, or URL#NAME.",
        ),
    ],
)
def test_a_search_that_is_not_there(work: Path, name: str, message: str) -> None:
    (work / "other.yaml").write_text(FILE.replace("search", "other"))
    with pytest.raises(StudyNotFoundError) as caught:
        find_reference(ablation(study=name), work)
    assert str(caught.value) == message.format(work=work)


def test_a_search_whose_file_is_wrong(work: Path) -> None:
    (work / "wrong.yaml").write_text(FILE + "loss: {fma: {wieght: 1}}\n")
    with pytest.raises(StudyFileError, match=r"wrong\.yaml:5:14: loss\.fma\.wieght: unknown key"):
        find_reference(ablation(study="wrong.yaml"), work)


def test_a_trial_that_has_not_ended_is_no_reference(search: Path, work: Path) -> None:
    with pytest.raises(ParameterError) as caught:
        find_reference(ablation(study="search.yaml", pick="trial 2"), work)
    assert str(caught.value) == (
        "ablation.reference: study search: must have that trial in state COMPLETE, got trial 2, "
        "which is RUNNING. Pick another."
    )


def test_what_is_wrong_with_a_design_on_a_trial_is_said_at_once(work: Path) -> None:
    section = {
        "design": "arms",
        "arms": {"plain": {"loss.terms": "clean"}, "b": {"loss.temrs": "clean"}},
        "reference": {"study": "search.yaml"},
    }
    study = Study.model_validate({**OWN, "name": "a", "ablation": section})
    found = FoundReference({"loss.fma.weight": 2.0}, "trial 1", "search", {})
    with pytest.raises(StudyFileError) as caught:
        design_of(study, work, "a.yaml", found)
    assert str(caught.value).splitlines() == [
        "a.yaml: ablation.arms.b.loss.temrs: unknown key. Did you mean loss.terms?",
        "a.yaml: finetune.budget: arms are compared at equal compute, got a budget of 4 epochs, "
        "in which copies cost extra. Write budget: {images: N}, {flops: N} or {seconds: N}.",
    ]


def test_a_trial_whose_values_the_study_does_not_take(work: Path) -> None:
    found = FoundReference({"loss.fma.weight": -2.0, "own.key": 1}, "trial 1", "search", {})
    with pytest.raises(StudyFileError) as caught:
        design_of(ablation(study="search.yaml"), work, "a.yaml", found)
    assert str(caught.value).splitlines() == [
        "a.yaml: ablation.reference.loss.fma.weight: must be at least 0, got -2. Raise it.",
        "a.yaml: ablation.reference.own.key: unknown key. Write a key of model, baseline, "
        "finetune, loss, augment.",
    ]
