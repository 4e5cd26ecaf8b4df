"""`ablate plot` and `ablate report` as they are typed, on a study that was really run."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from waiting import wait_until

import ablate
from ablate.cli.main import main
from ablate.lifecycle.place import place_of_file
from ablate.report.figures import FIGURES
from ablate.report.page.page import watch_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, write_study_in: Callable[..., Path]
) -> Iterator[Path]:
    """Where a study of four trials has been run."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        ablate.launch(write_study_in(work, "drawn"), executor="inline")
        ablate.launch(write_study_in(work, "again", search={"trials": 2}), executor="inline")
        yield work


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(folder)

    def call(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(part) for part in arguments])

    return call


def said(result: Result) -> str:
    """What a user reads of a refusal: one line, and exit code 2."""
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    return line


def test_a_figure_goes_where_it_is_told_or_into_the_run_folder(
    run: Callable[..., Result], folder: Path
) -> None:
    result = run("plot", "runs/drawn", "--figure", "history")
    assert result.output.split() == [str(folder / "runs" / "drawn" / "history.html")]
    result = run("plot", "runs/drawn", "-o", "front.html", "--theme", "dark", "--data")
    assert result.output.split() == ["front.html", "front.csv"]
    assert '"paper_bgcolor":"#16191E"' in (folder / "front.html").read_text()
    table = pd.read_csv(folder / "front.csv")
    frame = ablate.load_trials("runs/drawn")
    assert list(table["val_clean_accuracy"]) == list(frame["val_clean_accuracy"])


def test_all_figures_go_into_a_folder(run: Callable[..., Result], folder: Path) -> None:
    result = run("plot", "runs/drawn", "--figure", "all", "-o", "all/of/them")
    assert result.exit_code == 0
    names = [Path(line).stem for line in result.stdout.split()]
    said = [line.removeprefix("ablate: ") for line in result.stderr.splitlines()]
    assert "effects is left out: needs an ablation, got a search" in said
    left_out = [line.partition(" is left out: ")[0] for line in said]
    assert sorted([*names, *left_out]) == sorted(FIGURES), "each is drawn or spoken of"
    assert {"pareto", "profile", "curves"} <= set(names)
    assert names == [name for name in FIGURES if name in names]
    assert "effects" not in names, "a search has none"
    made = folder / "all" / "of" / "them"
    assert all((made / f"{name}.html").stat().st_size > 1_000_000 for name in names)


def test_a_figure_that_cannot_be_drawn_stops_no_other(
    run: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.report.figures.parameters._window", lambda *_: 1 / 0)
    names = "effects,pareto,parameters,curves"
    result = run("plot", "runs/drawn", "--figure", names, "-o", "some", "--trials", "1")
    assert result.exit_code == 2, "none of them takes trials"
    result = run("plot", "runs/drawn", "--figure", names, "-o", "some")
    assert result.exit_code == 2, "what was asked for by name is not there"
    assert result.stdout.split() == ["some/pareto.html", "some/curves.html"]
    lines = result.stderr.splitlines()
    assert "figure effects needs an ablation, got a search" in lines[0]
    why = "could not be drawn: ZeroDivisionError: division by zero."
    assert lines[1] == f"ablate: figure parameters {why}"
    # None of them: what was asked for cannot be done.
    result = run("plot", "runs/drawn", "--figure", "effects,parameters", "-o", "none")
    assert result.exit_code == 2
    assert "got a search" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert not (folder / "none").exists()


def test_images_of_several_figures(
    run: Callable[..., Result], folder: Path, chromium_path: str
) -> None:
    (folder / "images").mkdir()
    result = run(
        *("plot", "runs/drawn", "--figure", "pareto,parameters", "-o", "images", "--format", "png"),
        *("--size", "3.25x3in"),
    )
    assert result.exit_code == 0, result.output
    sizes = {}
    for name in ("pareto", "parameters"):
        data = (folder / "images" / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        sizes[name] = struct.unpack(">II", data[16:24])
    assert sizes["parameters"] == pytest.approx((1300, 1200), abs=2)
    caption = (folder / "images" / "pareto.txt").read_text()
    assert re.match(r"Trial \d: ", caption)
    assert " 4 of 4 trials complete; " in caption


@pytest.mark.parametrize(
    ("options", "line"),
    [
        *(
            (
                ["--size", size],
                "--size: must be width x height with in, mm or px, each from 1 to 40 inches, got "
                f"{size}. Write 3.25x2.4in.",
            )
            for size in ("3x", "3x2", "10x10mm")
        ),
        (["--font-size", "1"], "--font-size: must be from 4 to 40 points, got 1."),
        (
            ["--size", "3x2in", "-o", "a.html"],
            "--size and --font-size: apply to .png, .svg and .pdf, got a .html. A page fills its ",
        ),
    ],
)
def test_a_size_that_cannot_be_printed(
    run: Callable[..., Result], options: list[str], line: str
) -> None:
    assert said(run("plot", "runs/drawn", *options)).startswith(f"ablate: {line}")


def test_several_studies_in_one_figure(run: Callable[..., Result], folder: Path) -> None:
    result = run("plot", "runs/drawn", "runs/again", "-o", "both.html", "--data")
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(folder / "both.csv")["study"]) == {"drawn", "again"}
    line = said(run("plot", "runs/drawn", "runs/again", "--figure", "profile"))
    assert line == "ablate: --figure profile: takes one study, got 2. Draw one at a time."
    assert len(ablate.plot("pareto", "runs/drawn", "runs/again").data) > 4


def lasting(folder: Path) -> list[Path]:
    """Every file but SQLite's own, which are there as long as somebody holds the database."""
    return sorted(file for file in folder.rglob("*") if not file.name.endswith(("-wal", "-shm")))


def test_refusals_are_one_line_and_write_nothing(run: Callable[..., Result], folder: Path) -> None:
    before = lasting(folder)
    line = said(run("plot", "runs/drawn", "--figure", "nothing"))
    assert line.startswith("ablate: --figure: must be one of pareto, parameters, ")
    line = said(run("plot", "runs/drawn", "--figure", "effects"))
    assert "figure effects needs an ablation, got a search" in line
    line = said(run("plot", "runs/drawn", "--figure", "pareto,curves", "-o", "drawn.yaml"))
    assert line == (
        "ablate: drawn.yaml: must be a folder that can be created, got File exists. Choose another."
    )
    line = said(run("plot", "runs/drawn", "-o", "front.html", "--format", "png"))
    assert "The file name sets the format." in line
    line = said(run("plot", "runs/drawn", "-o", "front.jpg"))
    assert "must end with .html, .png, .svg, .pdf, got .jpg" in line
    for place in (".", "/", ".."):
        line = said(run("plot", "runs/drawn", "-o", place))
        assert "must be a file, got a folder. Name a file in it." in line
    line = said(run("plot", "runs/drawn", "--trials", "1"))
    assert line == "ablate: --trials: none of these figures takes it. Leave it out."
    line = said(run("plot", "runs/drawn", "--figure", "profile", "--trials", "99"))
    assert line.startswith("ablate: --trials: ")
    assert "99" in line
    line = said(run("report", "runs/drawn", "-o", "nowhere/report.html"))
    assert "the folder must exist, got nowhere" in line
    line = said(run("report", "runs/drawn", "-o", "report.pdf"))
    assert "a report's file must end with .html, got .pdf. Write report.html." in line
    line = said(run("plot", "runs/drawn", "--figure", "pareto,parameters", "-o", "both.png"))
    assert "must be a folder for several figures" in line
    assert said(run("report", "runs/none")).startswith("ablate: runs/none: must be a study file")
    assert lasting(folder) == before


def test_a_report_of_no_study_leaves_no_folder(
    folder: Path, run: Callable[..., Result], write_study_in: Callable[..., Path]
) -> None:
    write_study_in(folder, "unlaunched")
    for study in ("unlaunched.yaml", "sqlite:///a.db#b"):
        assert "must have been launched, got no such study" in said(run("report", study))
    assert sorted(one.name for one in (folder / "runs").iterdir()) == ["again", "drawn"]


def test_a_report_without_images_loads_no_torch(folder: Path, run: Callable[..., Result]) -> None:
    arguments = ["report", "runs/drawn", "-o", "plain.html", "--no-images"]
    code = (
        "import sys, ablate.cli.main\n"
        f"try: ablate.cli.main.main({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=folder)
    page = (folder / "plain.html").read_text()
    assert "ablate export runs/drawn --trial {trial}" in page


def test_a_report_that_takes_long_says_what_it_does(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtOnce(threading.Timer):
        def start(self) -> None:
            self.function(*self.args, **self.kwargs)

    monkeypatch.setattr("threading.Timer", AtOnce)
    result = run("report", "runs/drawn", "-o", "slow.html", "--no-images")
    assert result.stdout == "slow.html\n"
    lines = result.stderr.splitlines()
    assert lines[:2] == ["ablate: reading runs/drawn", "ablate: drawing the figures"]


def test_ctrl_c_ends_a_watch_with_its_code(
    folder: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ablate.report.page.page.watch_report", interrupted)
    result = run("report", "runs/drawn", "--watch", "-o", str(folder / "watched.html"))
    assert result.exit_code == 130
    assert "Aborted" not in result.output


LOOP = """
import pathlib, time

def train(context):
    until = time.monotonic() + 120
    while context.number == 5 and not pathlib.Path(__file__).with_name("seen").exists():
        assert time.monotonic() < until, "nobody has looked"
        time.sleep(0.05)
    for epoch in range(context.start_epoch + 1, context.epochs + 1):
        context.report(epoch, {"loss": context.params["x"] / epoch, "speed": 1.0 + epoch})
"""


def test_a_report_is_rewritten_as_the_study_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loops.py").write_text(LOOP)
    (tmp_path / "watched.yaml").write_text(
        """
version: 1
name: watched
trainable: loops:train
finetune: {budget: {epochs: 2}}
space: {x: {float: [0.0, 1.0]}}
objectives: [{metric: loss, direction: minimize}, {metric: speed}]
search: {trials: 6, sampler: random}
"""
    )
    launched = None
    try:
        states: list[str] = []
        reloads: list[bool] = []
        output = tmp_path / "report.html"

        def written(state: str) -> None:
            states.append(state)
            _, _, data = output.read_text().partition('"reloadSeconds":')
            reloads.append(float(data.partition(",")[0].strip(" }")) > 0)
            if reloads[-1]:
                (tmp_path / "seen").touch()

        def is_begun() -> bool:
            try:
                return bool(ablate.read("runs/watched").rows)
            except ablate.AblateError:
                return False

        watch = threading.Thread(
            target=watch_report,
            args=(place_of_file(Path("watched.yaml")), output),
            kwargs={"every_seconds": 0.3, "written": written},
        )
        launched = subprocess.Popen(
            [sys.executable, "-m", "ablate", "launch", "watched.yaml", "--executor", "inline"],
            stdout=subprocess.DEVNULL,
        )
        wait_until(is_begun)
        watch.start()
        watch.join(180)
        assert not watch.is_alive()
        assert states[-1] == "finished"
        assert reloads[-1] is False
        assert any(reloads), "while it runs the page loads itself again"
        assert ablate.read("runs/watched").is_over
    finally:
        if launched is not None:
            launched.kill()
            launched.wait()
