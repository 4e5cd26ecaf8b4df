"""What the README says is run: its code, its study, and every file that ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import ablate
from ablate.cli.main import main
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.report.figures import FIGURES
from ablate.robustness.evaluation.evaluation import Evaluation
from ablate.study.settings import ModelSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
STUDIES = sorted((ROOT / "studies").rglob("*.yaml"))
SPACES = sorted((ROOT / "search_spaces").rglob("*.yaml"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_two_commands_do_everything() -> None:
    assert [block.strip() for block in blocks("sh")][:2] == [
        "pip install -e . && ablate launch studies/quickstart.yaml",
        "pip install -e '.[dev]' && python -m pytest",
    ]


def test_the_losses_run_in_somebodys_own_loop(capsys: pytest.CaptureFixture[str]) -> None:
    (loop,) = [block for block in blocks("python") if "FMALoss" in block]
    scope: dict[str, object] = {}
    exec(loop, scope)
    assert capsys.readouterr().out.count("loss") == 3


@pytest.mark.slow
def test_the_python_of_the_readme_runs(work: Path, write_study: object) -> None:
    (block,) = [block for block in blocks("python") if "ablate.launch" in block]
    file = write_study("quickstart", search={"trials": 1})  # type: ignore[operator]
    block = block.replace("studies/quickstart.yaml", str(file))
    scope: dict[str, object] = {}
    exec(block, scope)
    assert len(scope["frame"]) == 1  # type: ignore[arg-type]


def test_a_module_is_scored_and_images_are_corrupted(work: Path) -> None:
    (block,) = [block for block in blocks("python") if "ablate.evaluate" in block]
    scope: dict[str, object] = {}
    exec(block, scope)
    found = scope["found"]
    assert isinstance(found, Evaluation)
    assert sorted(found.suite.types) == ["contrast", "fog"]
    assert scope["snowed"].shape == (4, 3, 32, 32)  # type: ignore[attr-defined]


def test_the_options_that_the_readme_scores_with_exist() -> None:
    (block,) = [block for block in blocks("sh") if "ablate evaluate" in block]
    lines = [line.partition("#")[0].split() for line in block.splitlines()]
    assert len(lines) > 4
    for _, command, *words in lines:
        known = {option for one in main.commands[command].params for option in one.opts}
        assert {word for word in words if word.startswith("-")} <= known, command


def test_the_study_of_the_readme_is_right(tmp_path: Path) -> None:
    study, *_ = blocks("yaml")
    (tmp_path / "my_study.yaml").write_text(study)
    place = place_of_file(tmp_path / "my_study.yaml")
    assert place.study is not None
    assert place.study.search.trials == 32


def own_loop(folder: Path) -> str:
    """Write the README's own training loop and its study, `own.yaml`; return the loop."""
    (loop,) = [block for block in blocks("python") if "def train" in block]
    (study,) = [block for block in blocks("yaml") if "trainable:" in block]
    (folder / "my_loop.py").write_text(loop)
    (folder / "own.yaml").write_text(study)
    return loop


def test_a_loop_of_ones_own_runs(work: Path) -> None:
    assert len(own_loop(work).splitlines()) <= 10
    record = ablate.launch("own.yaml", executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 8
    assert record.rows[0].params == {"lr": 0.5}
    assert record.rows[0].values == (0.375, 2.625)  # 3 * 0.5**3 away after three steps


DATA = """
import numpy as np


def load(image_size, path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = random.integers(0, 200, (60, 3, image_size, image_size), dtype=np.uint8)
    images[labels == 0, :, :, : image_size // 2] += 50
    return {"train": (images, labels), "test": (images, labels), "classes": ["lit", "dark"]}
"""


@pytest.mark.slow
def test_data_and_network_of_the_readme_run(work: Path) -> None:
    (block,) = [block for block in blocks("yaml") if "my_data:load" in block]
    (work / "own.yaml").write_text(f"version: 1\nname: own\n{block}")
    (work / "my_data.py").write_text(DATA)
    network = build_model(ModelSettings(name="torchvision:resnet18"), 2, (0.5,) * 3, (0.5,) * 3, 0)
    export_weights(network, work / "resnet18.safetensors")
    small = ["finetune.budget.images=48", "finetune.batch_size=12", "search.trials=1"]
    record = ablate.launch(work / "own.yaml", [*small, "dataset.image_size=32"], executor="inline")
    (row,) = record.rows
    assert row.scores is not None, row.failure
    assert row.scores.student_images == 48
    assert row.scores.teacher_images == 24
    assert set(row.scores.seen_types) == {"gaussian_noise", "motion_blur", "jpeg"}
    assert len(row.scores.accuracies) == 16


def test_files_ship() -> None:
    assert {file.stem for file in STUDIES} >= {"quickstart", "cifar10_joint"}
    assert {file.stem for file in SPACES} >= {"joint", "fma", "st", "mix"}


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_every_study_that_ships_is_right(file: Path) -> None:
    assert place_of_file(file).name == file.stem


@pytest.mark.parametrize("file", SPACES, ids=lambda file: file.name)
def test_every_space_that_ships_is_right(file: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        f"version: 1\nname: s\ndataset: {{name: digits}}\nmodel: {{name: resnet8}}\nspace: {file}\n"
    )
    place = place_of_file(study)
    assert place.study is not None
    assert place.study.space


def test_every_command_is_in_the_readme() -> None:
    for command in main.commands:
        assert f"`ablate {command}" in README, command


def test_every_figure_is_in_the_readme_and_in_the_help() -> None:
    _, _, table = README.partition("| figures | contents |\n")
    named = re.findall(r"`(\w+)`", table.partition("\n\n")[0])
    missing = sorted(set(FIGURES) - set(named))
    assert not missing, f"README.md, table of figures: name {missing}"
    help_text = " ".join(CliRunner().invoke(main, ["plot", "--help"]).output.split())
    assert f"{', '.join(FIGURES)}; or all" in help_text


def test_every_file_of_the_analysis_is_in_its_readme() -> None:
    folder = ROOT / "ablate/analysis"
    text = (folder / "README.md").read_text()
    missing = [file.name for file in folder.glob("[!_]*.py") if f"`{file.name}`" not in text]
    assert not missing, f"ablate/analysis/README.md, table of files: name {missing}"


def test_everything_public_is_documented() -> None:
    for name in ablate.__all__:
        assert getattr(ablate, name).__doc__, name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


PACKAGES = sorted(file.parent.name for file in (ROOT / "ablate").glob("*/__init__.py"))
NAMED = [
    *sorted((ROOT / "ablate").rglob("README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
]
ENDINGS = (".py", ".md", ".css", ".js", ".j2")
FOLDERS = ("ablate/", "tests/", "benchmarks/", "studies/", "search_spaces/", "docs/", "examples/")


def named_files(text: str) -> set[str]:
    """What a text in Markdown names as a file in backticks, or links to.

    A placeholder (`NAME.py`) is none, nor is a file that the reader is told to write.
    """
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    quoted = re.findall(r"(?<!Write )`([\w./-]+)`", text)
    named = {name for name in quoted if name.endswith(ENDINGS) or name.startswith(FOLDERS)}
    named |= set(re.findall(r"\bbenchmarks/\w+\.py", text))
    named |= set(re.findall(r"\]\((?!http)([^)#]+)\)", text))
    return {name for name in named if not any(part.isupper() for part in re.split("[/.]", name))}


@pytest.mark.parametrize("file", NAMED, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(file: Path) -> None:
    places = (file.parent, ROOT / "ablate", ROOT)
    gone = [
        name
        for name in sorted(named_files(file.read_text()))
        if not any((place / name).exists() for place in places)
    ]
    assert gone == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_comes_in_and_goes_out(package: str) -> None:
    lines = (ROOT / "ablate" / package / "README.md").read_text().splitlines()
    title, _, *heads, after = lines[:6]
    assert title.startswith(f"# {package}: ")
    assert [head.partition("**: ")[0] for head in heads] == [
        "- **In",
        "- **Out",
        "- **Must not know",
    ]
    assert all(head.partition("**: ")[2] for head in heads)
    assert after == ""


def test_every_function_of_the_architecture_is_in_its_file() -> None:
    """Of each "`file.py`, `Name.part`" every part is defined in that file."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)`, ((?:`[\w.]+`(?:,| and)? ?)+)", text)
    assert len(named) > 40
    for file, names in named:
        code = (ROOT / "ablate" / file).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                assert re.search(rf"(def|class) {part}\b|^    {part}:", code, re.MULTILINE), name
