"""An ablation that takes its reference from a search: which study, which trial, what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run_here

from ablate.errors import ParameterError, StudyFileError, StudyNotFoundError, UsageError
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head
from ablate.ledger.storage import sqlite_url
from ablate.lifecycle.ablation_reference import FoundReference, design_of, find_reference
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.place import place_of_file
from ablate.lifecycle.shipped import moved_paths
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
    measures = {"balanced_accuracy": clean, "robust_balanced_accuracy": robust}
    measures["robust_ece"] = 1 - robust
    families = {"noise": ("gaussian_noise",)}
    return Scores("val", 100, clean, accuracies, families, measures=measures)


def record_search(study: Study, text: str, work: Path, values: Sequence[Any]) -> Path:
    """The run folder of a search with these rows, clean and robust accuracy; None: not ended."""
    space = parse_space(study, names_for("resnet8"))
    head = Head(
        identity="0a1b2c3d",
        study=study,
        text=text,
        space=space.to_json(),
        base=str(work),
        fingerprint=study_fingerprint(study, space, "digest"),
        baseline_sha256="b" * 64,
        environment={"device": "cpu", "threads": 1},
        reference_point=(0.5, 0.5),
    )
    folder = work / "runs" / study.name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(f'{{"name": "{study.name}", "storage": null}}')
    (work / f"{study.name}.yaml").write_text(text)
    driving = Driving(Ledger.create(sqlite_url(folder / "study.db"), head, trials=len(values)))
    for pair in values:
        row = driving.ask()
        assert row is not None
        assert row.number is not None
        if pair is not None:
            driving.complete(row.number, scores(*pair))
    driving.ledger.close()
    return folder


@pytest.fixture
def search(work: Path) -> Path:
    """The run folder of a search of three trials, the last of which has not ended."""
    study = Study.model_validate({**OWN, "name": "search", "space": SPACE})
    return record_search(study, FILE, work, ((0.9, 0.6), (0.8, 0.7), None))


@pytest.mark.parametrize(
    "name",
    [
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "runs/none",
            "ablation.reference.study: runs/none: must be a study file, a run folder or URL#NAME, "
            "not recognised. Check the path.",
        ),
        (
            "other.yaml",
            "ablation.reference.study: study other: must have been launched, got no such study in "
            "sqlite:///{work}/runs/other/study.db. Launch it first, or check name and storage.",
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


# -- `ablate init --ablation-of`, and the tutorials' search and ablation ----------------------


def tutorial(page: str) -> str:
    """The study file of a tutorial."""
    text = (Path(__file__).parents[2] / "docs" / "tutorials" / page).read_text()
    found = re.search(r"^## The file\n\n```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def record_tutorial(work: Path, **changes: Any) -> Path:
    """The search of its tutorial, with two finished trials."""
    text = yaml.safe_dump(yaml.safe_load(tutorial("search.md")) | changes, sort_keys=False)
    (work / "tutorial.yaml").write_text(text)
    study = place_of_file(work / "tutorial.yaml").study
    assert study is not None
    return record_search(study, text, work, ((0.9, 0.6), (0.8, 0.9)))


def test_the_ablation_of_the_tutorials_takes_its_reference_from_their_search(work: Path) -> None:
    record_tutorial(work)
    written = yaml.safe_load(tutorial("ablation.md"))
    written["ablation"]["reference"] = {"study": "runs/my_study", "pick": "knee"}
    (work / "which_part.yaml").write_text(yaml.safe_dump(written))
    study = place_of_file(work / "which_part.yaml").study
    assert study is not None
    assert find_reference(study, work).study == "my_study"  # whose settings are the same


def test_init_writes_the_ablation_of_a_search(work: Path) -> None:
    terms = "clean+da+st+fma"
    space = {"loss.terms": {"choice": [terms]}, "finetune.learning_rate": {"float": [0.01, 0.1]}}
    loss = {"fma": {"layers": ["stage2", "stage3"]}}
    record_tutorial(work, space=space, loss=loss, dataset={"name": "digits", "path": "data"})
    (work / "data").mkdir()
    result = run_here("init", "--ablation-of", "runs/my_study", "--pick", "trial 1", cwd=work)
    assert result.stdout == (
        "wrote my_study_ablation.yaml\nrun it: ablate launch my_study_ablation.yaml\n"
    )
    file = work / "my_study_ablation.yaml"
    assert run_here("check", file, cwd=work).returncode == 0
    study = place_of_file(file).study
    assert study is not None
    assert study.dataset.path == "data"
    found = find_reference(study, work)
    assert found.text == "trial 1 of study my_study (trial 1)"
    design = design_of(study, work, str(file), found)
    parts = [term for term in terms.split("+") if term != "clean"]
    layers = ["layer:stage2", "layer:stage3"] if "fma" in parts else []
    cells = [*parts, "combined_augmentations", *layers, "noise", "blur", "photometric"]
    assert [cell.name for cell in design.cells] == ["reference", *(f"without {c}" for c in cells)]
    claims = [claim.contrast for claim in design.claims]
    assert claims == [f"without {one} - reference" for one in (*parts, "combined_augmentations")]
    again = run_here("init", "--ablation-of", "runs/my_study", cwd=work)
    assert (again.returncode, again.stderr) == (
        2,
        "ablate: my_study_ablation.yaml: must not exist, got a file. Name another FOLDER, or move "
        "the file.\n",
    )


@pytest.mark.parametrize(
    ("clean", "robust", "direction"),
    [
        ("val_clean_accuracy", "val_robust_accuracy", "maximize"),
        ("val_balanced_accuracy", "val_robust_balanced_accuracy", "maximize"),
        ("val_clean_accuracy", "val_robust_ece", "minimize"),
    ],
)
def test_a_written_ablation_claims_what_the_search_was_for(
    work: Path, clean: str, robust: str, direction: str
) -> None:
    objectives = [{"metric": clean}, {"metric": robust, "direction": direction}]
    record_tutorial(work, objectives=objectives)
    ran = run_here("init", "--ablation-of", "runs/my_study", "--pick", "trial 1", cwd=work)
    assert ran.returncode == 0, ran.stderr
    file = work / "my_study_ablation.yaml"
    assert run_here("check", file, cwd=work).returncode == 0
    written = yaml.safe_load(file.read_text())
    assert {claim["metric"] for claim in written["ablation"]["primary"]} == {robust}
    assert written["ablation"]["noninferior"]["metric"] == clean
    study = place_of_file(file).study
    assert study is not None
    assert [objective.metric for objective in study.objectives] == [clean, robust]


@pytest.mark.parametrize(
    ("pick", "said"),
    [
        ("trial 7", "--ablation-of: study my_study: must have that trial in state COMPLETE, got no "
         "trial 7. Pick another."),
        ("best", "--pick: must be knee, best METRIC or trial N, got 'best'. Give --pick knee."),
    ],
)  # fmt: skip
def test_what_init_refuses_of_a_search(work: Path, pick: str, said: str) -> None:
    record_tutorial(work)
    result = run_here("init", "--ablation-of", "runs/my_study", "--pick", pick, cwd=work)
    assert (result.returncode, result.stderr) == (2, f"ablate: {said}\n")
    assert not (work / "my_study_ablation.yaml").exists()


def test_the_ablation_of_a_search_with_an_own_network_stays_beside_it(work: Path) -> None:
    (work / "nets.py").write_text("")
    moved = Study.model_validate({**OWN, "name": "s", "model": {"name": "nets:build"}})
    with pytest.raises(UsageError, match=r"must be the folder of nets\.py, which the study impo"):
        moved_paths(moved, work, work / "other")
    assert moved_paths(moved, work, work)["model"] == {"name": "nets:build"}
