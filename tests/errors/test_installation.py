"""What pip installs: its name, its extras, and what is said about them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ablate
from ablate.errors.installation import DISTRIBUTION, pip_install
from ablate.study.provenance import provenance, versions

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_name_is_that_of_the_project() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert pip_install("images") == "pip install 'ablate-robustness[images]'"


def test_every_extra_that_is_named_exists() -> None:
    texts = [*(ROOT / "ablate").rglob("*.py"), *(ROOT / "ablate").rglob("*.j2")]
    texts += [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "ablate").rglob("*.md")]
    named, of_others = set(), []
    for file in texts:
        text = file.read_text()
        named |= set(re.findall(r"""pip_install\(["'](\w+)["']\)""", text))
        for extras in re.findall(re.escape(DISTRIBUTION) + r"\[([\w,]+)\]", text):
            named |= set(extras.split(","))
        of_others += [f"{file}: {found}" for found in re.findall(r"\bablate\[\w+\]", text)]
    assert of_others == []
    assert {"images", "postgres", "timm", "dashboard"} <= named
    assert named - set(PROJECT["optional-dependencies"]) == set()


@pytest.mark.parametrize("package", ["ablate", "no-such-package"])
def test_the_version_is_of_the_code_that_runs(package: str) -> None:
    found = versions([package])
    assert found == ({"ablate": ablate.__version__} if package == "ablate" else {})
    assert provenance(ROOT)["packages"]["ablate"] == ablate.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == ablate.__version__
