"""Reading somebody else's study runs none of its code."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import run_here

import ablate
from ablate.errors import UsageError

CODE = """
from pathlib import Path
from torch import nn

with Path(__file__).with_name("imported").open("a") as file:
    file.write("x")


def small(classes):
    pool = nn.AdaptiveAvgPool2d(1)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, classes))
    net.taps = {"first": "0"}
    return net


def train(context):
    context.report(1, {"a": context.params["x"]})
"""


@pytest.fixture(scope="module")
def foreign_run(
    write_study_in: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a study of an own network and one of an own training loop, both run, as
    somebody else made it."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "code_of_others.py").write_text(CODE)
    file = write_study_in(
        folder,
        "net",
        model={"name": "code_of_others:small"},
        baseline={"epochs": 1, "batch_size": 30},
        finetune={"budget": {"epochs": 1}, "batch_size": 30},
        space={"finetune.learning_rate": {"float": [0.01, 0.1]}},
        loss={"terms": "clean+fma", "fma": {"layers": ["first"]}},
        search={"trials": 1, "sampler": "random"},
        robustness={"suite": ["brightness"], "severities": [3]},
    )
    loop = folder / "loop.yaml"
    loop.write_text(
        "version: 1\nname: loop\ntrainable: code_of_others:train\n"
        "finetune: {budget: {epochs: 1}}\nspace: {x: {float: [0, 1]}}\n"
        "objectives: [{metric: a}]\nsearch: {trials: 2, sampler: random}\n"
    )
    for one in (file, loop):
        result = run_here("launch", one, "--executor", "inline", cwd=folder)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def foreign(foreign_run: Path, session_cache: Path, work: Path) -> Iterator[Path]:
    """That folder, for somebody who has run nothing in it, and has not imported its code."""
    shutil.rmtree(session_cache / "imported", ignore_errors=True)
    (foreign_run / "imported").unlink(missing_ok=True)
    sys.modules.pop("code_of_others", None)
    yield foreign_run
    sys.modules.pop("code_of_others", None)


@pytest.mark.slow
def test_reading_imports_nothing(foreign: Path, work: Path) -> None:
    for name in ("net", "loop"):
        run = foreign / "runs" / name
        packed = work / f"{name}.tar"
        assert run_here("archive", run, "-o", packed).returncode == 0
        for command in (
            *(f"status {run}", f"trials {run}", f"table {packed}", f"report {run} -o r.html"),
        ):
            result = run_here(*command.split())
            assert result.returncode == 0, command + result.stdout + result.stderr
        assert run_here("verify", packed).returncode == 0
    assert "code_of_others" not in sys.modules
    assert not (foreign / "imported").exists()


@pytest.mark.slow
def test_images_of_a_report_import_what_one_has_run_oneself(
    foreign: Path, work: Path, session_cache: Path
) -> None:
    run = foreign / "runs" / "net"
    said = "images are left out: model.name code_of_others:small is code of a study that you have"
    result = run_here("report", run, "-o", "r.html")
    assert said in result.stderr
    image = '"source":"data:image'
    assert image not in Path("r.html").read_text()
    result = run_here("report", run, "-o", "trusted.html", "--trust")
    assert "images are left out" not in result.stderr
    assert (foreign / "imported").exists()
    assert image in Path("trusted.html").read_text()
    assert said in run_here("report", run, "-o", "r.html").stderr, "trusted once"
    # After a launch or resume of one's own it is one's own code.
    assert run_here("resume", run, "--add", "1", "--executor", "inline").returncode == 0
    result = run_here("report", run, "-o", "own.html")
    assert "images are left out" not in result.stderr
    assert image in Path("own.html").read_text()


@pytest.mark.slow
def test_a_rerun_says_what_it_would_import(foreign: Path, work: Path) -> None:
    packed = work / "loop.tar"
    ablate.archive(foreign / "runs" / "loop", packed)
    shutil.copy(foreign / "code_of_others.py", work)
    result = run_here("verify", packed, "--rerun", "1")
    assert result.returncode == 2
    assert result.stderr == (
        "ablate: --rerun: would import code_of_others:train and run that code, got no --trust. "
        "Read the code, then add it.\n"
    )
    with pytest.raises(UsageError, match="would import code_of_others:train"):
        ablate.verify(packed, rerun=1)
    assert not (work / "imported").exists()
    result = run_here("verify", packed, "--rerun", "1", "--trust")
    assert result.returncode == 0, result.stderr
    assert (work / "imported").exists()
    result = run_here("verify", packed, "--trust")
    assert result.stderr.startswith("ablate: --trust: is for rows that are trained again, got no ")


@pytest.mark.slow
def test_a_foreign_file_is_checked_without_its_code(foreign: Path, work: Path) -> None:
    result = run_here("check", foreign / "net.yaml", "--no-import")
    assert result.returncode == 0, result.stderr
    assert "net.yaml: ok: study net, 1 trials" in result.stdout
    assert result.stdout.splitlines()[-1].endswith(
        "not checked, because not imported: model.name code_of_others:small, and with it "
        "loss.fma.layers, finetune.frozen, robustness.adapt_batch_norm"
    )
    result = run_here("check", foreign / "loop.yaml", "--no-import")
    assert "not checked, because not imported: trainable code_of_others:train" in result.stdout
    wrong = foreign / "wrong.yaml"
    text = (foreign / "net.yaml").read_text()
    wrong.write_text(text.replace("code_of_others:small", "nowhere:small").replace("0.01", "0.5"))
    result = run_here("check", wrong, "--no-import")
    assert result.returncode == 2
    assert "low must be below high" in result.stderr
    assert "nowhere" not in result.stderr
    assert not (foreign / "imported").exists()
    assert run_here("check", foreign / "net.yaml").returncode == 0
    assert (foreign / "imported").exists()


def test_a_run_folder_names_variables_of_storages_alone(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("PGHOST", f"{work}/none.db")
    folder = work / "run"
    folder.mkdir()

    def status(storage: str) -> str:
        note = {"name": "any", "storage": storage}
        (folder / "run.json").write_text(json.dumps(note))
        result = run_here("status", folder)
        assert result.returncode == 2
        return result.stderr

    assert status("postgresql+psycopg://u:${AWS_SECRET_ACCESS_KEY}@host/db") == (
        f"ablate: {folder}: a run folder's storage may name variables ABLATE_... and PG... alone, "
        "got ${AWS_SECRET_ACCESS_KEY}. Name the study file, or URL#NAME.\n"
    )
    assert "study any: must have been launched" in status("sqlite:///${PGHOST}")
