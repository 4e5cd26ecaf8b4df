"""What pip installs: its name, its extras, and what is said about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from test_walls import FILES, imports

import ablate
from ablate.errors import DISTRIBUTION, pip_install
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
    assert {"images", "postgres", "timm"} <= named
    assert named - set(PROJECT["optional-dependencies"]) == set()


OTHER_NAMES = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "mlflow": "mlflow-skinny",
}
COMES_WITH = {
    "numpy": "scipy",
    "pydantic_core": "pydantic",
    "PIL": "torchvision",
    "markupsafe": "jinja2",
    "choreographer": "kaleido",
}


def test_what_is_imported_is_installed_and_what_is_installed_is_imported() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.match(r"[\w.-]+", one)[0] for one in requirements}  # type: ignore[index]

    core = names(PROJECT["dependencies"])
    extras = {extra: names(needs) for extra, needs in PROJECT["optional-dependencies"].items()}
    users = set().union(*(needs for extra, needs in extras.items() if extra not in {"dev", "docs"}))
    imported = {module.partition(".")[0] for file in FILES for module in imports(file)}
    imported -= sys.stdlib_module_names | {"ablate", "ablate_robustness"}
    needed = {COMES_WITH.get(name, OTHER_NAMES.get(name, name)) for name in imported}
    assert needed - core - users == set()
    assert core - needed == set()
    assert core & users == set()


@pytest.mark.parametrize("package", ["ablate", "no-such-package"])
def test_the_version_is_of_the_code_that_runs(package: str) -> None:
    found = versions([package])
    assert found == ({"ablate": ablate.__version__} if package == "ablate" else {})
    assert provenance(ROOT)["packages"]["ablate"] == ablate.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == ablate.__version__


THEIRS = "from .report import Report\n"  # as PyPI's ablate/__init__.py 0.2.3 imports it
SAID = (
    "{}: must not be installed beside ablate-robustness, got ablate 0.2.3, which is another "
    "package of the same name. Run `pip uninstall -y ablate && pip install --force-reinstall "
    "--no-deps ablate-robustness`, and use an environment for each."
)


def install(folder: Path, version: str, entry_points: str = "") -> None:
    """What importlib.metadata sees of a distribution `ablate`."""
    about = folder / f"ablate-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ablate\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with this one in it."""
    (tmp_path / "ablate").mkdir()
    for part in sorted((ROOT / "ablate").iterdir()):
        if part.name != "__init__.py":
            (tmp_path / "ablate" / part.name).symlink_to(part)
    shutil.copy(ROOT / "ablate" / "__init__.py", tmp_path / "ablate")
    shutil.copy(ROOT / "ablate_robustness.py", tmp_path)
    return tmp_path


def run_python(site: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site)},
        cwd=site.parent,
        capture_output=True,
        text=True,
        check=False,
    )


START = (
    "import sys, ablate_robustness; sys.argv = ['ablate', '--version']; ablate_robustness.main()"
)


def test_another_package_of_the_name_is_named_by_the_first_import(site: Path) -> None:
    install(site, "0.2.3")
    result = run_python(site, "import ablate; print(ablate.__version__)")
    assert result.stdout == f"{ablate.__version__}\n"
    assert f"UserWarning: {SAID.format(site / 'ablate')}\n" in result.stderr


def test_a_package_that_was_overwritten_is_named(site: Path) -> None:
    install(site, "0.2.3")
    (site / "ablate" / "__init__.py").write_text(THEIRS)
    said = SAID.format(site / "ablate")
    assert run_python(site, "import ablate").stderr.endswith(f"ImportError: {said}\n")
    result = run_python(site, START)
    assert (result.returncode, result.stderr) == (2, f"ablate: {said}\n")
