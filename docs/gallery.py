"""The gallery of figures: pictures of recorded studies, drawn by the commands under them."""

from __future__ import annotations

import json
import lzma
import re
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import chdir, closing
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from ablate.cli.main import main
from ablate.report.figures import FIGURES, find_figure

LEDGERS = Path(__file__).parents[1] / "tests/report/ledgers"

STUDIES = {
    "runs/quickstart": (
        "`studies/quickstart.yaml` with its confirmation: 16 trials on handwritten digits.",
        ("pareto", "history", "profile", "severity", "parameters", "curves"),
    ),
    "runs/one_objective": (
        "The study of [one objective](../howto/one_objective.md): a pruner, a constraint, and "
        "networks between baseline and finetuned weights.",
        ("history",),
    ),
    "runs/cifar10_arms": (
        "Four methods on CIFAR-10, 8 seeds each: `python benchmarks/defaults.py methods`.",
        ("pareto",),
    ),
    "runs/ablation_quickstart": (
        "`studies/ablation_quickstart.yaml`: six arms on handwritten digits, 8 seeds each.",
        ("effects",),
    ),
}
"""Recorded studies, each with its dump in LEDGERS: what it is, and the figures that show it."""


def gallery_page() -> str:
    """Every figure, its picture, its caption and its command."""
    parts = [
        "# Figures\n\nEach picture is drawn by the command under it from a recorded study when "
        "this site is built. `ablate plot STUDY --figure all -o FOLDER` draws every figure that "
        "applies; from Python `ablate.plot(NAME, STUDY)` returns a plotly figure. "
        "[Print figures](../howto/figures.md) has sizes and formats.\n"
    ]
    by_figure = {figure: name for name, (_, shown) in STUDIES.items() for figure in shown}
    for figure in FIGURES:
        kind, study = find_figure(figure), by_figure.get(figure, "STUDY")
        command = f"ablate plot {study} --figure {figure} -o {figure}.svg"
        end = "" if kind.title.endswith("?") else "."
        parts.append(f"\n## {figure}\n\n**{kind.title}{end}** {kind.says}\n\n")
        if figure in by_figure:
            folder, title = f"figures/{Path(study).name}", kind.title
            images, path = gallery_images(), f"reference/{folder}/light/{figure}"
            caption, drawn = images[f"{path}.txt"], images[f"{path}.svg"]
            size = f"{{ width={_PIXELS_PER_INCH * _width(drawn):.0f} }}"
            parts.append(
                f"![{title}]({folder}/light/{figure}.svg#only-light){size}\n"
                f"![{title}]({folder}/dark/{figure}.svg#only-dark){size}\n\n"
                f"{STUDIES[study][0]}\n\n"
                f'<details markdown="1"><summary>Caption</summary>\n\n{_as_text(caption)}\n\n'
                "</details>\n\n"
            )
        parts.append(f"```bash\n{command}\n```\n")
    return "".join(parts)


_PIXELS_PER_INCH = 133
"""On a page: the smallest text of a figure has 7 pt in print, and 13 pixels here."""


def _width(svg: bytes) -> float:
    """In inches."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)', svg)
    assert found is not None
    return float(found[1]) / 96


def _as_text(caption: bytes) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", caption.decode().strip())


@cache
def gallery_images() -> Mapping[str, bytes]:
    """The pictures and captions of the gallery, by their path on the site."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as work, chdir(work):
        for study, (_, figures) in STUDIES.items():
            name = Path(study).name
            restore(name)
            for theme in ("light", "dark"):
                folder = Path("drawn", name, theme)
                folder.mkdir(parents=True)
                to = [str(folder), "--format", "svg"]
                if len(figures) == 1:
                    to = [str(folder / f"{figures[0]}.svg")]
                printed(["plot", study, "--figure", ",".join(figures), "--theme", theme, "-o", *to])
                for file in folder.iterdir():
                    found[f"reference/figures/{name}/{theme}/{file.name}"] = file.read_bytes()
    return found


def restore(name: str) -> None:
    """Write a recorded study into runs/NAME."""
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    dump = lzma.decompress((LEDGERS / f"{name}.sql.xz").read_bytes()).decode()
    with closing(sqlite3.connect(folder / "study.db")) as database:
        database.executescript(dump)
        study, *_ = database.execute("SELECT study_name FROM studies ORDER BY study_id").fetchone()
    (folder / "run.json").write_text(json.dumps({"name": study, "storage": None}))


def printed(command: Sequence[str]) -> str:
    """What an `ablate` command prints, which must succeed."""
    done = CliRunner().invoke(main, command)
    if done.exit_code != 0:
        raise RuntimeError(f"ablate {' '.join(command)}: {done.output}")
    return done.stdout
