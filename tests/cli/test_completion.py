"""What a shell proposes for what was typed so far."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from click.shell_completion import get_completion_class

from ablate.cli.main import main
from ablate.lifecycle.shipped import shipped_studies
from ablate.report.figures import FIGURES


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a search and of its confirmation, in one database."""
    work = tmp_path_factory.mktemp("work")
    run = work / "runs" / "small"
    run.mkdir(parents=True)
    storage = f"sqlite:///{run / 'study.db'}"
    for name, count in (("small", 3), ("small~confirm", 5)):
        study = optuna.create_study(storage=storage, study_name=name)
        study.add_trials([optuna.trial.create_trial(value=1.0) for _ in range(count)])
    study.enqueue_trial({})
    (run / "run.json").write_text(json.dumps({"name": "small", "storage": None}))
    return work


@pytest.fixture
def folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs)
    return runs


def complete(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What bash is told for a line whose last word is incomplete: the type of each, and it."""
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    shell = get_completion_class("bash")
    assert shell is not None
    return shell(main, {}, "ablate", "_ABLATE_COMPLETE").complete().splitlines()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ablate pl", ["plain,plot"]),
        ("ablate launch quick", ["file,quick", "plain,quickstart"]),
        ("ablate init quick", ["plain,quickstart"]),
        ("ablate status sm", ["file,sm", "plain,runs/small"]),
        ("ablate plot runs/s", ["file,runs/s", "plain,runs/small"]),
        ("ablate export runs/small --trial ", ["plain,0", "plain,1", "plain,2"]),
        ("ablate logs runs/small --trial 2", ["plain,2"]),
        ("ablate plot runs/small --trials 0,2", ["plain,0,2"]),
        ("ablate logs runs/none --trial ", [""]),
        ("ablate plot runs/small --figure pareto,para", ["plain,pareto,parameters"]),
        ("ablate layers wrn-1", ["plain,wrn-16-2"]),
        (
            "ablate launch quickstart --set loss.fma.layers=[stem,stage",
            [f"plain,loss.fma.layers=[stem,stage{stage}" for stage in (1, 2, 3)],
        ),
        # As bash gives it, which splits at = and replaces what stands behind it.
        ("ablate launch quickstart --set loss.fma.layers = stage3", ["plain,[stage3"]),
        ("ablate launch quickstart --set loss.st.weight = 1", [""]),
    ],
)
def test_what_is_typed_is_completed(
    line: str, said: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (complete(line, monkeypatch) or [""]) == said


def test_every_shipped_study_and_figure_is_proposed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert complete("ablate init ", monkeypatch) == [f"plain,{name}" for name in shipped_studies()]
    assert complete("ablate plot x --figure ", monkeypatch) == [
        f"plain,{name}" for name in (*FIGURES, "all")
    ]


@pytest.mark.parametrize("storage", ["postgresql+psycopg://u:p@127.0.0.1/d", "sqlite:////no.db", 7])
def test_a_storage_that_is_not_there_gives_no_trials(
    storage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"name": "small", "storage": storage}))
    assert complete(f"ablate logs {tmp_path} --trial ", monkeypatch) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    command = tmp_path / "bin" / "ablate"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m ablate "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    run = subprocess.run(
        [program, "-c", TRY[shell]],
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.split(), run.stderr) == (["init"], "")


TRY = {
    "bash": 'eval "$(ablate completion bash)"; COMP_WORDS=(ablate ini); COMP_CWORD=1; '
    "_ablate_completion ablate; echo ${COMPREPLY[*]}",
    "zsh": "compdef() { :; }; compadd() { echo ${(P)${@[-1]}}; }; words=(ablate ini); CURRENT=2; "
    '_describe() { print -r -- "${${(P)3}[1]%%:*}"; }; '
    'eval "$(ablate completion zsh)"; _ablate_completion',
    "fish": "ablate completion fish | source; complete -C 'ablate ini' | cut -f 1",
}
