"""The two commands of the README, every file that ships, and every file that a README names.

tests/test_docs.py has the code, commands, outputs and links of README and docs/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import PROGRAMS, missing

from ablate.lifecycle.place import place_of_file

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
SPACES = sorted((ROOT / "search_spaces").rglob("*.yaml"))


def test_two_commands_do_everything() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert blocks[:2] == [
        "pip install -e . && ablate launch studies/quickstart.yaml",
        "pip install -e '.[dev]' && python -m pytest",
    ]


FOUND = """
from needs import PROGRAMS
print([name for kind, (name, find) in PROGRAMS.items() if kind != "weights" and find()])
"""


@pytest.mark.slow
def test_ci_runs_the_second_command_where_no_program_is_and_then_the_tests_that_need_them() -> None:
    bare = subprocess.run(
        [ROOT / ".ci/bare", sys.executable, "-c", FOUND],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        check=False,
    )
    if os.geteuid() != 0:
        assert bare.stderr.count("\n") == 1
        assert bare.stderr.startswith(".ci/bare: must be allowed to unshare mounts, got ")
        missing("the right to mount (unshare -m)")
    assert (bare.stdout, bare.stderr) == ("[]\n", "")
    _, _, commands = (ROOT / ".ci/run").read_text().partition("env -u CI .ci/bare bash")
    assert f" -m '{' or '.join(['long', *PROGRAMS])}'\n" in commands


def test_the_readme_is_700_words_and_20_numbers() -> None:
    """Outside of code, comments and addresses; CIFAR-10 and ResNet-20 are names."""
    text = re.sub(r"^```.*?^```|<!--.*?-->|`[^`]*`", "", README, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)|(?<=[a-zA-Z])-\d+", "", text)
    assert len(re.findall(r"[^\W_][\w'.-]*", text)) <= 700, "move it to docs/"
    assert len(re.findall(r"\d[\d.,]*", text)) <= 20, "move it to docs/"


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


NAMED = [
    *sorted((ROOT / "ablate").rglob("README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "CONTRIBUTING.md",
]
IN_PACKAGES = {path.name for path in (ROOT / "ablate").rglob("*.*")}
ENDINGS = (".py", ".md", ".css", ".js", ".j2")
FOLDERS = ("ablate/", "tests/", "benchmarks/", "studies/", "search_spaces/", "docs/", "examples/")


def named_files(text: str) -> set[str]:
    """What a text in Markdown names as a file in backticks.

    A placeholder (`NAME.py`) is none, nor is a file that the reader is told to write.
    """
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    quoted = re.findall(r"(?<!Write )`([\w./-]+)`", text)
    named = {name for name in quoted if name.endswith(ENDINGS) or name.startswith(FOLDERS)} - set(
        ENDINGS
    )
    named |= set(re.findall(r"\bbenchmarks/\w+\.py", text))
    return {name for name in named if not any(part.isupper() for part in re.split("[/.]", name))}


@pytest.mark.parametrize("file", NAMED, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(file: Path) -> None:
    """A name without a folder may be of any file of the package."""
    places = (file.parent, ROOT / "ablate", ROOT)
    named = sorted(named_files(file.read_text()))
    gone = [name for name in named if not any((place / name).exists() for place in places)]
    assert [name for name in gone if "/" in name or name not in IN_PACKAGES] == []


@pytest.mark.parametrize("file", sorted((ROOT / "ablate").rglob("README.md")), ids=str)
def test_a_readme_of_a_package_has_40_lines_and_three_decisions(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 40
    _, _, decisions = text.partition("\n## Decisions\n")
    assert len(re.findall(r"^- \*\*", decisions, re.MULTILINE)) == 3
    assert "\n## " not in decisions


@pytest.mark.parametrize("init", sorted((ROOT / "ablate").glob("*/__init__.py")), ids=str)
def test_every_package_says_what_comes_in_and_goes_out(init: Path) -> None:
    title, _, *heads, after = init.with_name("README.md").read_text().splitlines()[:6]
    assert title.startswith(f"# {init.parent.name}: ")
    for head, what in zip(heads, ("In", "Out", "Must not know"), strict=True):
        assert re.match(rf"- \*\*{what}\*\*: .", head)
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
