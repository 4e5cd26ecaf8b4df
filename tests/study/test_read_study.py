"""A study file becomes a Study that needs no other file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import ValidationError

from ablate.errors import StudyFileError
from ablate.lifecycle.study_file import parse_study, read_study
from ablate.study.json_data import JsonData
from ablate.study.settings import Study
from tests.study.conftest import without_columns

Names = Mapping[str, Sequence[str]]


def test_a_space_of_a_file_stands_inline(tmp_path: Path, head: str, names: Names) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "x.yaml").write_text("loss.fma.weight: {float: [0.01, 30]}\n")
    file = tmp_path / "studies" / "s.yaml"
    file.write_text(head + "space: ../spaces/x.yaml\n")
    study = read_study(file, names=lambda _: names)
    assert study.space == {"loss.fma.weight": {"float": [0.01, 30]}}


def test_all_problems_of_a_study_and_its_space_file_come_at_once(
    tmp_path: Path, head: str, names: Names
) -> None:
    (tmp_path / "x.yaml").write_text("loss.fma.weight: {float: [30, 0.01]}\nlos.terms: {int: 1}\n")
    file = tmp_path / "s.yaml"
    file.write_text(head.replace("digits", "digit") + "space: x.yaml\nsearch: {trials: 0}\n")
    with pytest.raises(StudyFileError) as caught:
        read_study(file, ["loss.da.weight=-1"], names=lambda _: names)
    assert without_columns(caught.value) == [
        f"{file}:3: dataset.name: unknown data set, got 'digit'. Did you mean digits?",
        f"{file}:6: search.trials: must be at least 1, got 0. Raise it.",
        f"{tmp_path}/x.yaml:1: loss.fma.weight: low must be below high, got [30, 0.01]. Swap them.",
        f"{tmp_path}/x.yaml:2: los.terms: unknown key. Did you mean loss.terms?",
        "`overrides=loss.da.weight`: must be at least 0, got -1. Raise it.",
    ]


def test_a_missing_file(tmp_path: Path, names: Names) -> None:
    (tmp_path / "quickstart.yaml").write_text("")
    file = tmp_path / "quikstart.yaml"
    with pytest.raises(StudyFileError) as caught:
        read_study(file, names=lambda _: names)
    assert str(caught.value) == (
        f"{file}: no such file, got 'quikstart.yaml'. Did you mean {tmp_path}/quickstart.yaml?"
    )


def test_a_folder_in_place_of_a_file(tmp_path: Path, names: Names) -> None:
    (tmp_path / "one.yaml").write_text("")
    with pytest.raises(StudyFileError) as caught:
        read_study(tmp_path, names=lambda _: names)
    assert str(caught.value) == (
        f"{tmp_path}: must be a file, got a folder. Files there: one.yaml."
    )


def test_text_that_is_not_utf_8(tmp_path: Path, names: Names) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(StudyFileError) as caught:
        read_study(file, names=lambda _: names)
    assert str(caught.value) == (
        f"{file}: must be UTF-8 text, got 0xe9 at byte 9. Save it as UTF-8."
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("joi.yaml", None, "space: {base}/joi.yaml: no such file, got 'joi.yaml'. Did you mean"),
        ("joint.yaml", "- 1\n", "must be a mapping of parameters, got [1]. Write KEY: {{float:"),
        ("joint.yaml", "a: [\n", "invalid YAML: expected the node content, but found"),
    ],
)
def test_a_wrong_space_file(
    tmp_path: Path, head: str, name: str, content: str | None, message: str
) -> None:
    (tmp_path / "joint.yaml").write_text(content or "")
    with pytest.raises(StudyFileError) as caught:
        parse_study(head + f"space: {name}\n", "s.yaml", names=lambda _: {}, base=tmp_path)
    (problem,) = caught.value.problems
    assert message.format(base=tmp_path) in str(problem)
    where = "s.yaml" if content is None else str(tmp_path / name)
    assert problem.file == where


@pytest.mark.parametrize("text", ["", "- 1\n", "just text\n"])
def test_a_study_is_a_mapping(problems: Callable[..., list[str]], text: str) -> None:
    (line,) = problems(text)
    assert line.startswith("s.yaml:1: must be a mapping of keys, got ")
    assert line.endswith(". Start with version: 1.")


@dataclass(frozen=True)
class Kept(JsonData):
    study: Study


def test_a_stored_study_is_read_without_the_rules_of_its_sections(head: str, names: Names) -> None:
    study = parse_study(head, "s.yaml", names=lambda _: names, base=Path())
    data = Kept(study).to_json()
    data["study"]["finetune"]["budget"] = {"epochs": 1, "images": 5}  # which a later rule refuses
    assert Kept.from_json(data).study.finetune.budget.images == 5
    with pytest.raises(ValidationError, match="takes one unit"):
        Study.model_validate(data["study"])
