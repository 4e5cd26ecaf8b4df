"""What README and docs/ say is true: their code runs, their commands, keys, outputs and links.

A block that needs what CI lacks stands under `<!-- needs: WHAT -->`; its commands are parsed too.
"""

from __future__ import annotations

import lzma
import posixpath
import re
import runpy
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from commands import run_here

import ablate
from ablate.cli.main import main
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.report.figures import FIGURES
from ablate.robustness.evaluation import Evaluation
from ablate.study.scores import Scores
from ablate.study.settings import ModelSettings

ROOT = Path(__file__).parents[1]
PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
MADE = ("keys", "commands", "python", "figures")
"""Pages of docs/reference that are made when the site is built: docs/pages_from_code.py."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; needs: what CI lacks for it, if anything."""

    page: str
    language: str
    text: str
    needs: str


def blocks(language: str, page: str | None = None) -> list[Block]:
    fence = r"(?:<!-- needs: (.+) -->\n)?^```(\w*)\n(.*?)^```$"
    return [
        Block(name, found[2], found[3], found[1] or "")
        for name, text in PAGES.items()
        if page in (None, name)
        for found in re.finditer(fence, text, re.DOTALL | re.MULTILINE)
        if language in ("", found[2])
    ]


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def one_block(language: str, part: str, page: str) -> str:
    (found,) = [block.text for block in blocks(language, page) if part in block.text]
    return found


# -- Commands ---------------------------------------------------------------------------------

KNOWN_PROGRAMS = {"cd", "export", "git", "mkdir", "ray", "sbatch", ".", "mkdocs"}


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command: without comments, redirections and variables."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"\s&&\s", line):
            words = shlex.split(part, comments=True)
            if words:
                yield words[: words.index(">")] if ">" in words else words


def check_command(words: list[str]) -> None:
    """Refuse a command, an option or a number of arguments that does not exist."""
    program, *rest = words
    if program == "ablate":
        parse(main, rest)
    elif program == "python" and rest[0].startswith("benchmarks/"):
        code = (ROOT / rest[0]).read_text()
        missing = [word for word in rest if word.startswith("--") and f'"{word}"' not in code]
        assert missing == [], rest[0]
    elif program == "python":
        assert rest[:2] in (["-m", "pytest"], ["-m", "venv"])
    elif program == "pip":
        extras = re.findall(r"(?:ablate-robustness|\.)\[(.+?)\]", " ".join(rest))
        known = (ROOT / "pyproject.toml").read_text()
        assert rest[0] == "install"
        assert all(f"\n{name} = [" in known for one in extras for name in one.split(","))
    else:
        assert program in KNOWN_PROGRAMS, words


def parse(command: click.Command, words: list[str]) -> None:
    """Read the words as click would, without looking at files."""
    context = click.Context(command, info_name=command.name)
    if isinstance(command, click.Group):
        words = [word for word in words if word != "--debug"]
        if words and not words[0].startswith("-"):
            assert words[0] in command.commands, words
            parse(command.commands[words[0]], words[1:])
        return
    given, left, _ = command.make_parser(context).parse_args(list(words))
    assert left == []
    for parameter in command.params:
        value = given.get(str(parameter.name))
        missing = parameter.required and value in (None, (), click.core.UNSET)
        assert not missing, f"{command.name}: {parameter.name} is missing in {words}"
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            parameter.type.convert(value, parameter, context)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    known = {"sh", "bash", "yaml", "python", "console", "text"}
    assert {block.language for block in blocks("")} <= known


@pytest.mark.parametrize(
    "page", [name for name in PAGES if blocks("sh", name) + blocks("bash", name)]
)
def test_the_commands_of_a_page_exist(page: str) -> None:
    for block in (*blocks("sh", page), *blocks("bash", page)):
        for words in command_lines(block.text):
            check_command(words)


def test_commands_amid_a_sentence_exist() -> None:
    quoted = [
        (page, words)
        for page, text in PAGES.items()
        for words in re.findall(r"`ablate (\w[^`\n]*)`", without_blocks(text))
    ]
    assert len(quoted) > 60
    for page, words in quoted:
        name, *rest = shlex.split(words)
        command = main.commands.get(name)
        if name.isupper():  # ablate COMMAND --help
            continue
        assert command is not None, (page, words)
        known = {option for one in command.params for option in one.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= known, (page, words)


def test_every_command_is_in_the_docs_and_every_figure_in_help() -> None:
    text = "\n".join(PAGES.values())
    assert [name for name in main.commands if f"ablate {name}" not in text] == []
    help_text = " ".join(CliRunner().invoke(main, ["plot", "--help"]).output.split())
    assert f"{', '.join(FIGURES)}; or all" in help_text


# -- What commands print ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recorded studies in runs/."""
    folder = tmp_path_factory.mktemp("recorded")
    for name in ("quickstart", "ablation_quickstart"):
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text(f'{{"name": "{name}", "storage": null}}')
        dump = (ROOT / f"tests/report/ledgers/{name}.sql.xz").read_bytes()
        with closing(sqlite3.connect(run / "study.db")) as database:
            database.executescript(lzma.decompress(dump).decode())
    return folder


def test_what_a_page_shows_is_what_is_printed(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block shows whole lines of the output, in order."""
    monkeypatch.chdir(recorded)
    shown = blocks("console")
    assert len(shown) > 2
    for block in shown:
        command, *lines = block.text.splitlines()
        program, *words = shlex.split(command.removeprefix("$ "))
        assert program == "ablate"
        printed = CliRunner().invoke(main, words, env={"COLUMNS": "200"}).output.splitlines()
        places = [printed.index(line) for line in lines if line.strip()]
        assert places == sorted(places), block


READS = ("status", "trials", "table", "plot", "layers", "schema", "init", "check")
"""Commands that take a second; the others are run by tests of their own."""


def run_on_the_recorded(page: str, *, images: bool) -> Iterator[list[str]]:
    """The commands of a page that only read, on studies that are recorded.

    Args:
        images: those that draw images, which needs a browser; else the others.
    """
    for block in blocks("bash", f"docs/{page}.md"):
        for program, *words in [] if block.needs else command_lines(block.text):
            studies = [one for one in words if one.startswith("runs/") or ".yaml" in one]
            # A name in capitals is the reader's.
            is_read = program == "ablate" and words[0] in READS and not any(map(str.isupper, words))
            is_image = any(re.search(r"(^|\.)(pdf|png|svg)$", one) for one in words)
            if is_read and is_image == images and all(Path(one).exists() for one in studies):
                result = CliRunner().invoke(main, words)
                assert result.exit_code == 0, (words, result.output)
                yield words


@pytest.mark.slow
@pytest.mark.parametrize("page", ["start", "tutorials/search", "howto/figures", "howto/study"])
def test_commands_that_read_a_study_run(recorded: Path, work: Path, page: str) -> None:
    shutil.copytree(recorded, work, dirs_exist_ok=True)
    assert [*run_on_the_recorded(page, images=False)]


@pytest.mark.browser
def test_commands_that_draw_images_run(recorded: Path, work: Path) -> None:
    shutil.copytree(recorded, work, dirs_exist_ok=True)
    assert len([*run_on_the_recorded("howto/figures", images=True)]) == 3


@pytest.mark.slow
def test_the_readme_shows_what_the_quickstart_prints() -> None:
    """Its baseline, and the trial of its fourth point, within two points on any processor."""
    run = ROOT / "runs" / "quickstart"
    if not run.exists():
        pytest.skip("needs the README's first command")
    record = ablate.read(run)
    (shown,) = [block.text for block in blocks("text", "README.md")]
    numbers = re.findall(r"clean accuracy ([\d.]+), robust accuracy ([\d.]+)", shown)
    for found, percents in zip(
        (record.references["baseline"], record.rows[3].scores), numbers, strict=True
    ):
        assert isinstance(found, Scores)
        scores = (found.clean_accuracy, found.robust_accuracy)
        assert [100 * one for one in scores] == pytest.approx([*map(float, percents)], abs=2)


# -- Study files ------------------------------------------------------------------------------

BASE = {"version": 1, "name": "base", "dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
SEARCHED = {"space": {"loss.terms": {"choice": ["clean+da", "clean+fma"]}}}
OF_OWN_MODULES = ("my_loop:train", "my_data:load", "logit_mse")
"""Study files that import a module, or need a new loss: they are run, below and elsewhere."""


@pytest.mark.parametrize("page", [name for name in PAGES if blocks("yaml", name)])
def test_the_studies_of_a_page_are_right(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of a study is put into a small one."""
    monkeypatch.setenv("PGPASSWORD", "secret")
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    for block in blocks("yaml", page):
        if any(name in block.text for name in OF_OWN_MODULES):
            continue
        study = yaml.safe_load(block.text)
        if "version" not in study:
            study = BASE | ({} if "ablation" in study else SEARCHED) | study
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        (tmp_path / "whole.yaml").write_text(block.text)
        file = tmp_path / ("whole.yaml" if "version" in block.text else "study.yaml")
        assert place_of_file(file).name == study["name"]


# -- Python -----------------------------------------------------------------------------------


RUN_BELOW = (
    *("ablate.Study", "ablate.launch", "FMALoss", "ablate.evaluate"),
    *("huber_distance", "logit_mse_loss", "LogitMSESettings"),  # tests/finetune/test_loss_guide.py
)


@pytest.mark.parametrize(
    "block",
    [one for one in blocks("python") if not any(part in one.text for part in RUN_BELOW)],
    ids=lambda block: f"{block.page}:{block.text.split(maxsplit=2)[1].split('(')[0]}",
)
def test_the_python_of_a_page_runs(block: Block, work: Path) -> None:
    assert block.needs == ""
    exec(block.text, {})


@pytest.mark.slow
def test_the_python_that_launches_runs(work: Path, write_study: object) -> None:
    """README and docs show the same."""
    first, *others = (
        block.text
        for block in blocks("python")
        if "load_trials" in block.text and "ablate.Study(" not in block.text
    )
    assert set(others) <= {first}
    file = write_study("quickstart", search={"trials": 1})  # type: ignore[operator]
    scope: dict[str, object] = {}
    exec(first.replace("studies/quickstart.yaml", str(file)), scope)
    assert len(scope["frame"]) == 1  # type: ignore[arg-type]
    predicted = one_block("python", "load_model", "docs/howto/weights.md")
    exec(predicted.replace("studies/quickstart.yaml", str(file)), scope)
    assert set(scope["names"]) <= {"left", "middle", "right"}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("page", "trials"), [("python", 8), ("notebook", 6), ("from_optuna", 8), ("from_ray_tune", 8)]
)
def test_a_study_without_a_file_runs(
    work: Path, page: str, trials: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a script, since a function needs its source."""
    Path("script.py").write_text(one_block("python", "ablate.Study", f"docs/howto/{page}.md"))
    scope = runpy.run_path("script.py", run_name="__main__")
    assert ("size" in capsys.readouterr().out) == page.startswith("from_")
    assert scope["record"].count("COMPLETE") == trials
    assert "trainable: __main__:train#" in scope["study"].to_yaml()


def test_the_losses_run_in_somebodys_own_loop(capsys: pytest.CaptureFixture[str]) -> None:
    exec(one_block("python", "FMALoss", "docs/howto/losses.md"), {})
    assert capsys.readouterr().out.count("loss") == 3


def test_a_module_is_scored_and_images_are_corrupted(work: Path) -> None:
    scope: dict[str, object] = {}
    exec(one_block("python", "ablate.evaluate", "docs/tutorials/evaluation.md"), scope)
    found = scope["found"]
    assert isinstance(found, Evaluation)
    assert sorted(found.suite.types) == ["contrast", "fog"]
    assert scope["snowed"].shape == (4, 3, 32, 32)  # type: ignore[attr-defined]


OWN_LOOP = "docs/tutorials/own_loop.md"


def own_loop(folder: Path) -> str:
    """Write the tutorial's own training loop and its study, `own.yaml`; return the loop."""
    loop = one_block("python", "weight", OWN_LOOP)
    (folder / "my_loop.py").write_text(loop)
    (folder / "own.yaml").write_text(one_block("yaml", "trainable:", OWN_LOOP))
    return loop


def test_a_loop_of_ones_own_runs(work: Path) -> None:
    assert len(own_loop(work).splitlines()) <= 10
    record = ablate.launch("own.yaml", executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 8
    assert record.rows[0].params == {"lr": 0.5}
    assert record.rows[0].values == (0.375, 2.625)  # 3 * 0.5**3 away after three steps


DATA = """
import numpy as np


def load(image_size, path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = random.integers(0, 200, (60, 3, image_size, image_size), dtype=np.uint8)
    images[labels == 0, :, :, : image_size // 2] += 50
    return {"train": (images, labels), "test": (images, labels), "classes": ["lit", "dark"]}
"""


def test_distortions_of_ones_own_of_the_docs_run(work: Path) -> None:
    page = "docs/reference/distortions.md"
    (work / "my_camera.py").write_text(one_block("python", "def smear", page))
    (work / "camera.yaml").write_text(one_block("yaml", "my_camera:smear", page))
    for words in command_lines(one_block("bash", "camera.yaml", page)):
        result = run_here(*words[1:], cwd=work)
        assert result.returncode == 0, result.stderr
    made = {file.name for file in (work / "dusty").iterdir()}
    assert made == {"manifest.json", "labels.npy", "fog.npy", "my_camera:dust.npy"}


@pytest.mark.long
def test_data_and_network_of_the_docs_run(work: Path) -> None:
    block = one_block("yaml", "my_data:load", "docs/tutorials/own_data.md")
    (work / "own.yaml").write_text(block)
    (work / "my_data.py").write_text(DATA)
    network = build_model(ModelSettings(name="torchvision:resnet18"), 2, (0.5,) * 3, (0.5,) * 3, 0)
    export_weights(network, work / "resnet18.safetensors")
    small = ["finetune.budget.images=48", "finetune.batch_size=12", "search.trials=1"]
    record = ablate.launch(work / "own.yaml", [*small, "dataset.image_size=32"], executor="inline")
    (row,) = record.rows
    assert row.scores is not None, row.failure
    assert row.scores.student_images == 48
    assert row.scores.teacher_images == 24
    assert set(row.scores.seen_types) == {"gaussian_noise", "motion_blur", "jpeg"}
    assert len(row.scores.accuracies) == 16


# -- Links ------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


LINKING = PAGES | {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "ablate").rglob("README.md")))
}


@pytest.mark.parametrize("page", LINKING)
def test_links_lead_somewhere(page: str) -> None:
    made = {f"docs/reference/{name}.md" for name in MADE}
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", LINKING[page]):
        folder = posixpath.dirname(page)
        path = posixpath.normpath(posixpath.join(folder, target)) if target else page
        if path in made and page.startswith("docs/"):
            continue
        assert (ROOT / path).is_file(), target
        assert not anchor or anchor in anchors((ROOT / path).read_text()), f"{target}#{anchor}"
