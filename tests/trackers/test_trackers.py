"""Trackers without a server: TensorBoard and W&B files, as their own readers show them."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from commands import run_alone, run_here
from own_study import write_own_study
from tracker_readers import differences, read_tensorboard, read_wandb

import ablate

LOOP = """
def train(context):
    for epoch in range(context.start_epoch + 1, context.epochs + 1):
        if context.number == 1 and epoch == 2:
            raise RuntimeError("broken")
        context.report(epoch, {"a": context.params["x"] / epoch, "b": 1.0 * epoch})
"""
KEYS: Mapping[str, object] = {
    "finetune": {"budget": {"epochs": 3}},
    "space": {
        "x": {"float": [0.0, 1.0]},
        "parts": {"subset": ["p", "q"]},
        "is_on": {"choice": [True, False]},
    },
    "search": {
        "trials": 6,
        "sampler": "random",
        "pruner": {"metric": "a", "min_epochs": 1, "reduction_factor": 2},
    },
}
SECRETS = {"WANDB_API_KEY": "0123456789" * 4, "MLFLOW_TRACKING_TOKEN": "a-token-of-the-server"}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of six rows, of which one failed and some were pruned, that is shown in
    TensorBoard and W&B; an MLflow server that it names is not there."""
    folder = tmp_path_factory.mktemp("tracked")
    away = {"mlflow": {"uri": "http://127.0.0.1:9"}}
    run = {"trackers": ["tensorboard", {"wandb": {"project": "p"}}, away]}
    file = write_own_study(folder, "own", LOOP, **KEYS, run=run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        result = run_here("launch", file, "--executor", "inline", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "output").write_text(result.stdout + result.stderr)
    return folder


@pytest.mark.long
def test_each_row_and_epoch_is_there_once(tracked: Path) -> None:
    record = ablate.read(tracked / "runs/own")
    assert {row.state for row in record.rows} == {"COMPLETE", "PRUNED", "FAIL"}
    board = read_tensorboard(tracked / "runs/own/tensorboard")
    wandb = read_wandb(tracked / "runs/own/wandb")
    assert differences(record, {"tensorboard": board, "wandb": wandb}) == []
    assert len(board.points) > 6
    for row in record.rows:
        params = {**row.params, "parts": "+".join(row.params["parts"])}
        assert board.rows[row.number]["params"] == params
        shown = wandb.rows[row.number]
        assert shown["params"] == params
        assert (shown["state"], shown["train_seed"]) == (row.state, 0)
        assert shown["fingerprint"] == record.fingerprint
        assert shown["worked_seconds"] > 0
        assert shown.get("exit_code", 0) == (row.state == "FAIL")
    assert wandb.rows[1]["failure_reason"] == "RuntimeError: broken"


@pytest.mark.slow
def test_the_hparams_page_has_columns(tracked: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    (folder,) = (tracked / "runs/own/tensorboard").iterdir()
    found = EventAccumulator(str(folder / "study"))
    found.Reload()
    content = found.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    assert {one.name for one in experiment.hparam_infos} == {"x", "parts", "is_on"}
    assert [one.name.tag for one in experiment.metric_infos] == ["a", "b"]
    assert (
        str(tracked / "runs/own/report.html").encode() in next(folder.glob("study/*")).read_bytes()
    )


@pytest.mark.slow
def test_the_pages_are_handed_over(tracked: Path) -> None:
    (study,) = (tracked / "runs/own/wandb").glob("*-study")
    files = {path.relative_to(study / "files") for path in study.rglob("files/**/*.*")}
    pages = {file.name.partition("_")[0] for file in files if file.parent.name == "html"}
    assert pages == {"pareto", "report"}
    assert {str(file) for file in files if file.suffix != ".html"} == {"study.yaml", "table.md"}


@pytest.mark.slow
def test_a_tracker_that_is_away_costs_a_line(tracked: Path) -> None:
    output = (tracked / "output").read_text()
    lines = [line for line in output.splitlines() if "mlflow" in line]
    about_rows, about_pages = lines
    assert "own: mlflow (http://127.0.0.1:9) fails: " in about_rows
    assert "No result is lost: run `ablate track runs/own`" in about_rows
    assert "mlflow (http://127.0.0.1:9) fails: " in about_pages


@pytest.mark.slow
def test_no_secret_is_stored_or_printed(tracked: Path) -> None:
    files = [path for path in tracked.rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        for secret in SECRETS.values():
            assert secret.encode() not in content, file


@pytest.mark.slow
def test_what_is_missing_is_written_again_and_once(tracked: Path, work: Path) -> None:
    """Also after a driver that died before it renamed a row."""
    shutil.copytree(tracked, work, dirs_exist_ok=True)
    (board,) = (work / "runs/own/tensorboard").iterdir()
    shutil.rmtree(board / "trial-00002")
    shutil.rmtree(next((work / "runs/own/wandb").glob("*-00003")))
    trackers = ("--tracker", "tensorboard", "--tracker", "wandb")
    driver = os.fork()
    if driver == 0:
        Path.replace = lambda _from, _to: os._exit(9)  # type: ignore[assignment,method-assign]
        run_here("track", "runs/own", *trackers)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1]) == 9
    assert set(read_tensorboard(board.parent).rows) == {0, 1, 3, 4, 5}
    result = run_here("track", "runs/own", *trackers)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"tensorboard: 6 trials, 1 of them new, in {work}/runs/own/tensorboard",
        f"wandb: 6 trials, 1 of them new, in {work}/runs/own/wandb",
    ]
    shown = {
        "tensorboard": read_tensorboard(board.parent),
        "wandb": read_wandb(work / "runs/own/wandb"),
    }
    assert differences(ablate.read("runs/own"), shown) == []
    assert not list((work / "runs/own").glob(".*")) + list((work / "runs/own/wandb").glob(".*"))


@pytest.mark.slow
def test_a_former_study_is_tracked(launched: Path, work: Path) -> None:
    """A robustness finetuning that had no trackers; one that is away ends the command with 3."""
    shutil.copytree(launched, work, dirs_exist_ok=True)
    result = run_here("track", "runs/done", "--tracker", "tensorboard")
    assert result.returncode == 0, result.stderr
    record = ablate.read("runs/done")
    shown = read_tensorboard(work / "runs/done/tensorboard").points
    for row in record.rows:
        assert row.scores is not None
        for name in ("val_clean_accuracy", "val_accuracy.gaussian_noise.3", "train_loss"):
            of_row = {key[1] for key in shown if key[0] == row.number and key[2] == name}
            assert of_row == ({1, 2} if name == "train_loss" else {2}), name
    assert set(shown.values()) == {1}
    (work / "file").write_text("")
    result = run_here(
        "track", "runs/done", "--tracker", f"{{tensorboard: {{folder: {work}/file}}}}"
    )
    assert result.returncode == 3
    assert "fails: " in result.stdout
    assert "run `ablate track runs/done` once it works" in result.stdout


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("tensorboad", "run.trackers[0]: must be one of tensorboard, mlflow, wandb, got "
                       "'tensorboad'. Did you mean tensorboard?"),
        ({"tensorboard": None, "mlflow": {"uri": "http://h"}},
         "run.trackers[0]: must be one of tensorboard, mlflow, wandb, got 'tensorboard' and "
         "'mlflow'. Write an item for each."),
        ({}, "run.trackers[0]: must be one of tensorboard, mlflow, wandb, got nothing. Write a "
             "name."),
        ({"wandb": {"projet": "p"}}, "run.trackers[0].wandb.projet: unknown key. Did you mean "
                                     "project?"),
        ({"mlflow": {"uri": "http://me:hunter22@host"}},
         "run.trackers[0].mlflow.uri: must hold no password, got one. Put it in the environment: "
         "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."),
    ],
)  # fmt: skip
def test_a_wrong_tracker_is_refused(work: Path, written: object, rule: str) -> None:
    file = write_own_study(work, "own", run={"trackers": [written]})
    result = run_here("check", file)
    assert result.returncode == 2
    assert result.stderr.rstrip().endswith(rule)


def test_a_tracker_that_is_not_installed_is_named(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    file = write_own_study(work, "own", run={"trackers": ["wandb"]})
    rule = "run.trackers[0]: wandb must be installed, got no such package. Run pip install "
    checked = run_here("check", file)
    assert checked.returncode == 2
    assert f"{rule}'ablate-robustness[wandb]'." in checked.stderr
    begun = run_here("launch", file, "--executor", "inline")
    assert begun.returncode == 2
    assert rule in begun.stderr
    assert run_here("status", file).returncode == 2  # no study was begun


def test_a_server_must_be_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file = write_own_study(work, "own", run={"trackers": ["mlflow"]})
    result = run_here("launch", file, "--executor", "inline")
    assert result.returncode == 2
    assert result.stderr.rstrip() == (
        "ablate: run.trackers: mlflow needs a server, got none. Write {mlflow: {uri: http://...}}, "
        "or set MLFLOW_TRACKING_URI."
    )


@pytest.mark.slow
def test_trackers_are_no_part_of_a_study(work: Path) -> None:
    """They may be added to a study that has been run; launched again, it is only shown."""
    file = write_own_study(work, "own")
    assert run_here("launch", file, "--executor", "inline").returncode == 0
    before = ablate.read("runs/own")
    write_own_study(work, "own", run={"trackers": ["tensorboard"]})
    result = run_here("launch", file, "--executor", "inline")
    assert result.returncode == 0, result.stderr
    assert "tensorboard: 3 trials, 3 of them new" in result.stdout + result.stderr
    after = ablate.read("runs/own")
    assert (after.fingerprint, after.rows) == (before.fingerprint, before.rows)
    assert len(list((work / "runs/own/tensorboard").iterdir())) == 1


def test_track_needs_a_tracker(launched: Path) -> None:
    result = run_here("track", "runs/done", cwd=launched)
    assert result.returncode == 2
    assert result.stderr.rstrip() == (
        "ablate: --tracker: must name one, because the study has no run.trackers, got none. "
        "Add --tracker tensorboard."
    )


def test_a_tracker_that_is_no_yaml_is_named(launched: Path) -> None:
    result = run_here("track", "runs/done", "--tracker", "{mlflow: {uri: http://x}", cwd=launched)
    assert result.returncode == 2
    assert result.stderr.startswith("ablate: --tracker:1:25: invalid YAML"), result.stderr


class Refusing(BaseHTTPRequestHandler):
    """A server of W&B that accepts no key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "invalid key"}]}')

    def log_message(self, *_given: object) -> None:
        pass


@pytest.mark.slow
def test_a_key_that_is_refused_is_not_printed(
    tracked: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Online, each run asks the server."""
    shutil.copytree(tracked, work, dirs_exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", SECRETS["WANDB_API_KEY"])
        online = "{wandb: {project: p, mode: online}}"
        result = run_alone("track", "runs/own", "--tracker", online)
        server.shutdown()
    assert result.returncode == 3
    assert re.search(r"wandb \(.*\) fails: .*run `ablate track", result.stdout)
    assert SECRETS["WANDB_API_KEY"] not in result.stdout + result.stderr
