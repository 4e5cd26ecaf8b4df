"""The walls of the house: which package may import what, read from the imports themselves."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ablate"
FILES = sorted(ROOT.rglob("*.py"))

# Who may import a heavy package anywhere in a file, inside functions too.
MAY_IMPORT = {
    "ray": ("search/", "doctor/"),
    "optuna": ("space/sampling.py", "ledger/"),
    "torch": (
        *("distortion/", "files/durable.py", "data/", "model/", "finetune/", "robustness/"),
        *("trial/", "search/drive.py", "doctor/", "trackers/tensorboard.py"),
    ),
    "plotly": ("report/", "doctor/", "api.py", "__init__.py"),
    "tensorboard": ("trackers/tensorboard.py",),
    "mlflow": ("trackers/mlflow.py",),
    "wandb": ("trackers/wandb.py",),
}

# The way of the data: what stands left knows nothing to its right.
ORDER = (
    *("errors", "files", "study", "distortion", "space", "data", "model", "finetune"),
    *(
        "robustness",
        "ledger",
        "trial",
        "search",
        "analysis",
        "trackers",
        "ablation",
        "lifecycle",
        "report",
    ),
    *("api", "doctor", "cli"),
)
LOOSE = {"__init__", "__main__", "api"}
"""Modules at the top, beside the packages."""


@functools.cache
def imports(file: Path) -> set[str]:
    """Modules that a file imports, and names from packages; none that only a type checker reads."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            if not isinstance(child, ast.expr):  # no statement stands in one
                walk(child)

    walk(ast.parse(file.read_text()))
    return found


def test_heavy_packages_stay_where_they_belong() -> None:
    wrong = []
    for file in FILES:
        name = str(file.relative_to(ROOT))
        for module in imports(file):
            allowed = MAY_IMPORT.get(module.partition(".")[0])
            if allowed is not None and not name.startswith(allowed):
                wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_private_names_of_optuna_stand_in_one_file() -> None:
    attributes = r'"fixed_params"|"tpe:|"study:|"constraints:'
    names = rf"optuna[\w.]*\._|\b_SYSTEM_ATTR|\._set_trial\b|\._thread_local\b|{attributes}"
    found = {
        str(file.relative_to(ROOT)): hits
        for file in FILES
        if (hits := set(re.findall(names, file.read_text())))
    }
    assert found.pop("space/space.py") == {'"fixed_params"'}, "which is left of the ledger"
    assert list(found) == ["ledger/tables.py"]


def test_at_the_top_stand_packages() -> None:
    assert {file.stem for file in ROOT.glob("*.py")} == LOOSE
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages | {"api"} == set(ORDER)


def test_nobody_knows_what_stands_right_of_it() -> None:
    wrong = []
    for file in FILES:
        name = str(file.relative_to(ROOT))
        room = name.partition("/")[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        known = ORDER[: ORDER.index(room) + 1]
        for module in imports(file):
            other = module.split(".")[1] if module.startswith("ablate.") else room
            if other not in known:
                wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {str(file.relative_to(ROOT.parent))[:-3].replace("/", "."): file for file in FILES}
    names = {name.removesuffix(".__init__"): file for name, file in names.items()}
    left = {name: imports(file) & set(names) - {name, "ablate"} for name, file in names.items()}
    while free := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in free}
    assert left == {}


def loaded_by(code: str) -> set[str]:
    heavy = {"torch", "ray", "optuna", "pandas", "plotly", "tensorboard", "mlflow", "wandb"}
    script = f"{code}\nimport sys; print('LOADED', *({heavy!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.rpartition("LOADED")[2].split())


def test_import_ablate_is_light() -> None:
    assert loaded_by("import ablate") == set()
    assert loaded_by("import ablate.cli.main") == set()


@pytest.mark.slow
@pytest.mark.parametrize("given", ["", "ACTIVE"])
def test_threads_that_wait_give_their_core_away_unless_asked_not_to(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    code = "import ablate, os; print(os.environ['OMP_WAIT_POLICY'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{given or 'PASSIVE'}\n"


def test_help_is_light() -> None:
    code = "import ablate.cli.main\ntry: ablate.cli.main.main(['--help'])\nexcept SystemExit: pass"
    assert loaded_by(code) == set()


def test_everything_public_is_there() -> None:
    import ablate

    for name in ablate.__all__:
        assert getattr(ablate, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        ablate.no_such_name  # noqa: B018


@pytest.mark.slow
def test_a_driver_and_a_worker_load_torch_only_where_they_train() -> None:
    modules = "ablate.search.ray_tune, ablate.lifecycle.launch, ablate.trial.worker"
    assert "torch" not in loaded_by(f"import {modules}")
    assert loaded_by("import ablate.lifecycle.place, ablate.lifecycle.study_file") == set()


@pytest.mark.slow
def test_training_runs_without_ray_and_optuna() -> None:
    modules = "ablate.finetune.baseline, ablate.trial.robustness, ablate.trial.estimate"
    assert loaded_by(f"import {modules}") & {"ray", "optuna"} == set()


def test_python_3_13_compiles_every_docstring() -> None:
    """It encodes them, and a surrogate (a backslash, u and d800 in text that is not raw) fails."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    surrogate = re.compile(r"\\u[dD][89a-fA-F]")
    for text in filter(surrogate.search, (file.read_text() for file in FILES)):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, documented):
                (ast.get_docstring(node) or "").encode()
