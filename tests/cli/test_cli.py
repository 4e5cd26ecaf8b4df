"""The command line; what is of the process itself, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from example_records import example_record, example_row

from ablate.cli.main import main
from ablate.cli.show import is_good

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]


@pytest.mark.parametrize("command", ["", *main.commands])
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(main, [*([command] if command else []), "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output
    said = main.commands[command].help if command else main.help
    first_words = " ".join(str(said).split()[:5])
    assert first_words in " ".join(result.output.split())


@pytest.mark.slow
def test_launch_ends_with_the_front_and_its_picture(
    write_study: Write, ablate: Run, work: Path
) -> None:
    file = write_study("front", search={"trials": 2, "sampler": "random"})
    result = ablate("launch", file, "--executor", "inline")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "front: Pareto front" in result.stdout
    assert "plain finetune" in result.stdout
    picture = work / "runs" / "front" / "pareto.html"
    assert f"figure: {picture}" in result.stdout
    assert result.stdout.strip().splitlines()[-1].startswith("full report: ablate report runs/")
    assert "plotly" in picture.read_text()
    again = ablate("launch", file)
    assert again.returncode == 0
    assert "front: Pareto front" in again.stdout


def test_check_says_what_is_right_and_what_is_wrong(write_study: Write, ablate: Run) -> None:
    file = write_study()
    result = ablate("check", file)
    assert result.returncode == 0
    assert f"{file}: ok: study small, 4 trials, 4 parameters searched" in result.stdout
    file.write_text(
        file.read_text().replace("resnet8", "resnet9").replace("epochs: 2", "epochs: 0")
    )
    result = ablate("check", file)
    assert result.returncode == 2
    lines = result.stderr.removeprefix("ablate: ").splitlines()
    assert len(lines) == 3
    assert any(
        "model.name: unknown model, got 'resnet9'. Did you mean resnet8?" in x for x in lines
    )
    assert all(line.startswith(f"{file}:") for line in lines)


def test_check_names_types_that_change_nothing(write_study: Write, ablate: Run) -> None:
    file = write_study(dataset={"name": "digits"}, robustness={"suite": "families_all"})
    said = ablate("check", file).stdout
    assert "scores saturation and hue, which " in said
    assert "Use families_grey." in said


def test_schema_is_json(ablate: Run) -> None:
    schema = json.loads(ablate("schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "resnet8" in json.dumps(schema)


def test_status_and_trials_in_both_forms(done: Path, ablate: Run) -> None:
    assert "2 complete" in ablate("status", done).stdout
    (status,) = json.loads(ablate("status", "runs/done", "--json").stdout)
    assert status["trials"] == 2
    rows = json.loads(ablate("trials", done, "--sort", "-val_robust_accuracy", "--json").stdout)
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE"]
    robust = [row["val_robust_accuracy"] for row in rows]
    assert robust == sorted(robust, reverse=True)
    assert ablate("trials", done, "--state", "fail", "--json").stdout.strip() == "[]"
    assert "complete" in ablate("trials", done).stdout


@pytest.mark.slow
def test_status_and_plot_load_no_torch(done: Path, work: Path) -> None:
    for arguments in (["status", "runs/done"], ["plot", "runs/done", "-o", "front.html"]):
        code = (
            "import sys, ablate.cli.main\n"
            f"try: ablate.cli.main.main({arguments!r})\n"
            "except SystemExit as end: assert not end.code\n"
            "assert 'torch' not in sys.modules and 'ray' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (work / "front.html").stat().st_size > 1_000_000


def test_weights_are_exported(done: Path, ablate: Run, work: Path) -> None:
    from safetensors import safe_open

    result = ablate("export", done, "--trial", "1", "-o", "best.safetensors")
    assert (result.returncode, result.stderr) == (0, "")
    with safe_open(work / "best.safetensors", "np") as weights:
        assert len(list(weights.keys())) > 10
    result = ablate("export", "runs/done", "--trial", "plain", "-o", "plain.safetensors", "--json")
    (said,) = json.loads(result.stdout)
    assert said == {"number": None, "alpha": 1.0, "file": str(work / "plain.safetensors")}
    (status,) = json.loads(ablate("status", done, "--json").stdout)
    assert status["weight_bytes"] >= 2 * (work / "best.safetensors").stat().st_size


def test_layers_lists_the_taps(ablate: Run) -> None:
    rows = json.loads(ablate("layers", "resnet20", "--json").stdout)
    assert [row["name"] for row in rows] == ["stem", "stage1", "stage2", "stage3"]
    assert rows[-1]["shape"] == [64, 8, 8]
    result = ablate("layers", "resnet200")
    assert result.returncode == 2
    assert "Did you mean resnet20?" in result.stderr


def test_more_images_at_a_rung_than_there_are_are_refused_before_any_training(
    write_study: Write, ablate: Run
) -> None:
    file = write_study(search={"trials": 2, "pruner": {"images": 10**6}})
    for options in (("--dry-run",), ()):
        result = ablate("launch", file, "--executor", "inline", *options)
        assert result.returncode == 2
        assert "search.pruner.images: must be at most the " in result.stderr
        assert "obtaining the baseline" not in result.stdout


@pytest.mark.slow
def test_no_complete_trial_is_exit_code_1(write_study: Write, ablate: Run) -> None:
    space = {"finetune.learning_rate": {"choice": [1e30, 1e31]}}
    file = write_study("hopeless", space=space, search={"trials": 2})
    result = ablate("launch", file, "--executor", "inline")
    assert result.returncode == 1
    assert "2 of 2 trials failed" in result.stderr
    assert "no complete trial" in (Path("runs/hopeless/pareto.html")).read_text()


def test_a_storage_that_is_away_is_exit_code_3(write_study: Write, ablate_alone: Run) -> None:
    file = write_study("away", storage="postgresql+psycopg://u:s3cret@127.0.0.1:1/d")
    result = ablate_alone("launch", file)
    assert result.returncode == 3
    assert "storage postgresql+psycopg://u:***@127.0.0.1:1/d: must be reachable" in result.stderr
    assert "s3cret" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(ablate_alone: Run, work: Path) -> None:
    assert "Traceback" not in ablate_alone("status", "nothing").stderr
    assert "Traceback" in ablate_alone("--debug", "status", "nothing").stderr


@pytest.mark.long
def test_doctor_tries_what_it_names_and_says_what_is_broken(
    ablate_alone: Run, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_STORAGE", "postgresql+psycopg://u:s3cret@127.0.0.1:1/d")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    result = ablate_alone("doctor")
    assert result.returncode == 1
    for found in ("ray: starts here: ", "SQLite: works"):
        assert f"\nok      {found}" in result.stdout
    assert (
        "broken  ABLATE_STORAGE: storage postgresql+psycopg://u:***@127.0.0.1:1/d" in result.stdout
    )
    assert "s3cret" not in result.stdout
    assert "; export RAY_AUTH_MODE=token" in result.stdout


@pytest.mark.parametrize("command", ["check", "status"])
def test_a_path_that_is_not_utf8_is_one_line(
    command: str, write_study: Write, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_study("odd")
    folder = os.fsencode(work) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 (a path of bytes)
    (work / "odd.yaml").rename(os.fsdecode(folder + b"/odd.yaml"))
    shutil.copy(os.fsdecode(folder + b"/odd.yaml"), os.fsdecode(os.fsencode(work) + b"/\xff.yaml"))
    for study in (os.fsdecode(folder + b"/odd.yaml"), os.fsdecode(b"\xff.yaml")):
        result = CliRunner().invoke(main, [command, study])
        assert result.exit_code == 2
        assert result.stderr.endswith(": must be UTF-8, got other bytes in a name. Rename it.\n")
        assert result.stderr.count("\n") == 1
    monkeypatch.chdir(os.fsdecode(folder))
    result = CliRunner().invoke(main, [command, "odd.yaml"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert not file.exists()


def test_an_option_that_is_a_key_is_set() -> None:
    for option, key in (("--trials", "search.trials"), ("--lr", "finetune.learning_rate")):
        result = CliRunner().invoke(main, ["launch", "a.yaml", option, "3"])
        assert result.exit_code == 2
        assert f"Did you mean --set {key}=VALUE?" in result.stderr


def test_ctrl_c_while_the_file_is_read_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A custom training loop is imported then, which may take long."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stopped_loop.py").write_text("raise KeyboardInterrupt\n")
    (tmp_path / "own.yaml").write_text(
        "version: 1\nname: own\ntrainable: stopped_loop:train\nspace: {x: {float: [0, 1]}}\n"
        "objectives: [{metric: a}, {metric: b}]\n"
    )
    for command in ("check", "launch"):
        result = CliRunner().invoke(main, [command, "own.yaml"])
        assert result.exit_code == 130
        assert result.stderr == "ablate: stopped\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_that_its_budget_ended_is_not_unfinished(
    write_own: Write, ablate: Run, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = "import pathlib\ndef train(context):\n"
    loop += '    pathlib.Path(__file__).with_name(f"ran-{context.number}").touch()\n'
    loop += '    context.report(1, {"a": context.params["x"], "b": 1.0})\n'

    def monotonic() -> float:  # each trial takes 0.3 s
        return 0.3 * len(list(work.glob("ran-*")))

    monkeypatch.setattr("ablate.search.run_context.time", SimpleNamespace(monotonic=monotonic))
    search = {"trials": 50, "sampler": "random", "budget": {"seconds": 0.5}}
    file = write_own("short", loop, search=search)
    first = ablate("launch", file, "--executor", "inline")
    assert first.returncode == 0
    (status,) = json.loads(ablate("status", file, "--json").stdout)
    ended = status["counts"]["COMPLETE"]
    assert ended == 2
    assert (status["spent"], status["seconds_left"]) == ("search.budget.seconds: 0.5 spent", 0.0)
    assert f"({ended} in all)" in " ".join(first.stdout.split())
    printed = " ".join(ablate("status", file).stdout.split())
    assert f"short: {ended} of 50 trials ended; search.budget.seconds: 0.5 spent" in printed
    assert "none; to continue, raise search.budget in the study file, then ablate resume" in printed
    assert "left" not in printed
    again = ablate("resume", file, "--executor", "inline")
    assert again.returncode == 0
    assert (
        "search.budget.seconds: 0.5 spent: no further trial is started; raise it in the study "
        "file, then `ablate resume FILE`"
    ) in " ".join(again.stdout.split())
    ablate("report", file, "-o", "short.html")
    page = Path("short.html").read_text()
    assert f"Finished with {ended} of 50 rows (search.budget.seconds: 0.5 spent)" in page
    more = ablate("resume", file, "--add", "1", "--executor", "inline")
    assert (more.returncode, "budget must be raised before trials are added" in more.stderr) == (
        2,
        True,
    )
    file.write_text(file.read_text().replace("seconds: 0.5", "seconds: 600"))
    raised = ablate("resume", file, "--trials", ended + 1, "--executor", "inline")
    assert raised.returncode == 0, raised.stderr
    assert json.loads(ablate("status", file, "--json").stdout)[0]["spent"] is None


def test_a_search_of_which_all_trials_were_stopped_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped = [example_row(number, None, state="PRUNED") for number in range(2)]
    for rows, said in (
        (stopped, "no trial is complete, 2 of 2 were stopped; see `ablate trials runs/a`"),
        (
            [*stopped, example_row(2, None, state="FAIL")],
            "no trial is complete, 2 of 3 were stopped and 1 failed; see `ablate trials runs/a`",
        ),
    ):
        assert not is_good(example_record(rows), Path("runs/a"))
        assert capsys.readouterr().err == f"ablate: {said}\n"
    assert is_good(example_record([example_row(0, (0.9, 0.5)), *stopped]), Path("runs/a"))
