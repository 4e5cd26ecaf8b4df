"""The pictures of README and docs: their numbers are those of the archives, and of the text."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
NUMBERS = json.loads((IMAGES / "numbers.json").read_text())
PAPER = {"paper": [8.94, 8.86, 1.98]}
"""What the abstract of the paper reports, and no picture shows."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = [
    (file, names, paragraph)
    for file in PAGES
    for names, paragraph in re.findall(r"<!-- numbers: (.+?) -->\n(.+)", file.read_text())
]

sys.path.append(str(ROOT / "docs"))


def leaves(tree: Any) -> Iterator[float]:
    if isinstance(tree, dict | list):
        for one in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(one)
    elif isinstance(tree, int | float):
        yield tree


def test_both_readme_and_findings_have_numbers_of_pictures() -> None:
    assert {file.name for file, _, _ in MARKED} >= {"README.md", "results.md"}


@pytest.mark.parametrize(
    ("file", "names", "paragraph"), MARKED, ids=[f"{file.name}:{at}" for file, at, _ in MARKED]
)
def test_each_number_of_the_text_is_one_of_its_picture(
    file: Path, names: str, paragraph: str
) -> None:
    """Rounded as the text has it; without its sign; "of 100" are percent, and 95 % the level."""
    known = [*leaves([(NUMBERS | PAPER)[name] for name in names.split()]), 100, 95]
    text = re.sub(r"\]\([^)]*\)|[A-Za-z]+-\d+", "", paragraph)
    for number in re.findall(r"\d+(?:\.\d+)?", text):
        decimals = len(number.partition(".")[2])
        assert number in {f"{abs(one):.{decimals}f}" for one in known}, f"{number}: {paragraph}"


@pytest.mark.slow
def test_the_numbers_are_those_of_the_archives() -> None:
    import pictures

    found = {"gains": pictures.gains(), "front": pictures.front()}
    for name, numbers in found.items():
        assert [*leaves(numbers)] == pytest.approx([*leaves(NUMBERS[name])], abs=1e-3), name


def test_the_diagram_is_the_script_s(tmp_path: Path) -> None:
    import pictures

    pictures.draw_method(tmp_path / "method.svg")
    assert (tmp_path / "method.svg").read_text() == (IMAGES / "method.svg").read_text()


def test_every_picture_is_small_and_on_a_page() -> None:
    texts = "".join(file.read_text() for file in PAGES)
    for file in IMAGES.iterdir():
        assert file.stat().st_size < 200_000, f"{file.name}: at most 200 kB"
        assert file.name == "numbers.json" or f"images/{file.name}" in texts, file.name
