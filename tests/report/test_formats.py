"""A table in every format: nothing in a name is markup, numbers whole, LaTeX that compiles."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_ablations import (
    NOISE,
    ROBUST,
    estimate,
    example_ablation,
    example_arm,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
    scored_arm,
)
from example_records import TWO, example_record, example_row
from markdown_it import MarkdownIt
from printed_tables import RECORD, strict

from ablate.ablation.info import AblationInfo, Transfer
from ablate.analysis.pareto import pareto_info
from ablate.cli.main import main
from ablate.cli.show import show_end
from ablate.lifecycle.open_study import open_study
from ablate.report.arms import POINTS, Cell, Unit
from ablate.report.formats import (
    WRITERS,
    html_text,
    latex_text,
    markdown_text,
    notes_text,
    result_rows,
)
from ablate.report.formats import csv_text as csv_of
from ablate.report.tables import (
    Table,
    arms_table,
    effects_table,
    front_table,
    settings_table,
    text_column,
)

ODD = "<script>alert('&')</script> a_b & 50% | $x$ #1 {y} ~^\\ [z] * -- `c`"


def odd_ablation() -> AblationInfo:
    """Names with every character that some format takes for its own."""
    arms = (scored_arm("plain", 0.9, 0.6), scored_arm(ODD, 0.9, 0.7), scored_arm("[a]", 0.9, 0.6))
    return example_ablation(
        study="a_b & 50% {x}",
        question=f"Does {ODD}\n\nearn its keep?",
        arms=arms,
        effects=(example_effect(f"{ODD} - plain", 0.1),),
        marks=(ODD, "{[}: where seeds collapse"),
    )


NOTHING = example_ablation(arms=(example_arm("plain", {}),), metrics=(), families=(), effects=())
TABLES: dict[str, Table] = {
    "arms": arms_table(example_ablation()),
    "factorial": arms_table(factorial_ablation()),
    "own loop": arms_table(own_loop_ablation()),
    "odd": arms_table(odd_ablation()),
    "nothing": arms_table(NOTHING),
    "effects": effects_table(example_ablation()),
    "odd effects": effects_table(odd_ablation()),
    "front": front_table(pareto_info(RECORD)),
    "settings": settings_table(pareto_info(RECORD)),
}


@pytest.mark.parametrize(
    ("cell", "printed"),
    [
        (Cell("a name"), "a name"),
        (Cell(estimate=estimate(0.7731), unit=POINTS), "77.3 ± 0.4"),
        (Cell(estimate=estimate(0.7731, None), unit=POINTS), "77.3"),
        (Cell(estimate=estimate(math.nan, None)), "-"),
        (Cell(estimate=estimate(0.186), unit=POINTS, is_difference=True), "+18.6 [+17.6, +19.6]"),
        (
            Cell(estimate=estimate(-0.0001, 0.0002), unit=POINTS, is_difference=True),
            "-0.0 [-0.0, +0.0]",
        ),
        (Cell(estimate=estimate(0.0, 0.0), unit=POINTS, is_difference=True), "0.0 [0.0, 0.0]"),
        (Cell(estimate=estimate(-0.0, None), unit=POINTS, is_difference=True), "0.0"),
        (
            Cell(estimate=estimate(0.01, 0.0099), unit=POINTS, is_difference=True),
            "+1.0 [+0.01, +2.0]",
        ),
        (Cell(estimate=estimate(0.01, 0.01), unit=POINTS, is_difference=True), "+1.0 [>0, +2.0]"),
        (Cell(estimate=estimate(-0.5), unit=Unit(1, 3)), "-0.500 ± 0.004"),
    ],
)
def test_a_cell_as_it_is_read(cell: Cell, printed: str) -> None:
    assert cell.printed == printed


@pytest.mark.parametrize("write", WRITERS.values())
def test_every_format_writes_every_table(write: Callable[[Table], str]) -> None:
    for table in TABLES.values():
        text = write(table)
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "nan" not in text


# -- Markdown


def test_markdown() -> None:
    assert markdown_text(TABLES["arms"]).split("\n")[:6] == [
        "**Which term earns its keep? (digits, resnet8)**",
        "",
        "| Arm | Clean (%) | Noise (%) | Blur (%) | Robust (%) | Robust less plain |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
        r"| baseline | 95.0 | 50.0 | 70.0 | 60.0 | -1.0 \[-3.0, +1.0\] |",
        "| plain | **96.0 ± 0.4** | 51.0 ± 0.4 | 71.0 ± 0.4 | 61.0 ± 0.4 | reference |",
    ]
    assert "\n\n- validation accuracy in %, n" in markdown_text(TABLES["arms"])


@pytest.mark.parametrize("name", ["odd", "odd effects", "nothing"])
def test_nothing_in_a_name_is_markdown(name: str) -> None:
    """As GitHub's kind of Markdown reads it: every cell is there whole, and bold is all markup."""
    table = TABLES[name]
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown_text(table))
    blocks = [block for block in tokens if block.type == "inline"]
    parts = [part for block in blocks for part in block.children or []]
    assert {part.type for part in parts} <= {"text", "text_special", "strong_open", "strong_close"}
    read = ["".join(part.content for part in block.children or []) for block in blocks]
    cells = [cell.printed for row in table.rows for cell in row]
    written = [table.title, *table.headings, *cells, *table.notes]
    assert read == [" ".join(text.split()) for text in written]
    assert not re.search(r"(?<!\\)[$~]", markdown_text(table))  # GitHub's own


# -- LaTeX


def test_latex_has_a_short_caption_and_its_notes_elsewhere() -> None:
    text = latex_text(TABLES["arms"])
    lines = text.split("\n")
    caption = "Accuracy on 359 validation images: mean and standard deviation over 8 seeds."
    assert rf"\caption{{{caption}}}" in lines
    assert r"\label{tab:example}" in lines
    assert r"baseline & $95.0$ & $50.0$ & $70.0$ & $60.0$ & $-1.0\ [-3.0, +1.0]$ \\" in lines
    assert (
        r"FMA & $\mathbf{95.5 \pm 0.4}$ & $\mathbf{67.3 \pm 0.4}$ & $\mathbf{87.3 \pm 0.4}$ & "
        r"$\mathbf{77.3 \pm 0.4}$ & $+16.3\ [+14.3, +18.3]$ \\"
    ) in lines
    assert "fingerprint" not in text
    assert notes_text(TABLES["arms"]).endswith("study example, fingerprint abc123def456\n")
    assert r"c & $0.5100 \pm 0.0040$ & -- & " in latex_text(TABLES["own loop"])
    assert "FMA against plain & robust" in latex_text(TABLES["effects"])


def test_nothing_in_a_name_is_latex_or_a_control_character() -> None:
    text = latex_text(TABLES["odd"])
    assert (
        r"\textless{}script\textgreater{}alert('\&')\textless{}/script\textgreater{} a\_b \& 50\% "
        r"\textbar{} \$x\$ \#1 \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} {[}z{]} "
        r"{*} -{}-{} `c`"
    ) in text
    assert r"\label{tab:a_b-50-x-}" in text
    assert "\n\n" not in text  # a paragraph would end the caption
    name = "a\x1b[2Jb\u202ec\rd"
    table = Table("x", "t\x07", (text_column("x", "x", [name]),))
    assert r"a\textbackslash{}x1b{[}2Jb\textbackslash{}u202ec d" in latex_text(table)
    assert r"| a\\x1b\[2Jb\\u202ec d |" in markdown_text(table)
    for written in (latex_text(table), markdown_text(table)):
        assert not set(written) & set("\x07\r\x1b\x9b\u202e")
    assert name in csv_of(table)


@pytest.mark.slow
@pytest.mark.latex
def test_pdflatex_draws_every_table(tmp_path: Path) -> None:
    drawn = "\n".join(latex_text(table) for table in TABLES.values())
    head = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "tables.tex").write_text(f"{head}{drawn}\\end{{document}}\n", encoding="utf-8")
    options = ("-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape")
    done = subprocess.run(
        ["pdflatex", *options, "tables.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "tables.pdf").stat().st_size > 0


# -- CSV and JSON


def test_csv_has_full_precision() -> None:
    info = example_ablation()
    rows = list(csv.DictReader(io.StringIO(csv_of(TABLES["arms"]))))
    assert [row["arm"] for row in rows] == ["baseline", "plain", "DA", "FMA"]
    for row, arm in zip(rows, info.arms, strict=True):
        for metric in info.metrics:
            one = arm.estimates[metric]
            assert (float(row[f"{metric}.mean"]), int(row[f"{metric}.n"])) == (one.mean, one.n)
            for field in ("sd", "low", "high"):
                value = getattr(one, field)
                assert row[f"{metric}.{field}"] == ("" if math.isnan(value) else repr(value))
    assert float(rows[3][f"{ROBUST} - plain.mean"]) == 0.163
    assert rows[1][f"{ROBUST} - plain.n"] == ""
    odd = list(csv.reader(io.StringIO(csv_of(TABLES["odd"]))))
    assert odd[2][0] == ODD
    assert {len(row) for row in odd} == {1 + 5 * 5}


def test_csv_of_effects() -> None:
    first, *_, last = csv.DictReader(io.StringIO(csv_of(TABLES["effects"])))
    assert (first["contrast"], first["p"], first["kept"]) == ("DA - plain", "0.0625", "not shown")
    assert (float(first["difference.mean"]), last["p_adjusted"]) == (0.145, "-")


def test_an_ablation_as_data() -> None:
    info = example_ablation(
        transfers=(Transfer("DA", ("x",), (estimate(math.nan, None),), (estimate(0.1),)),),
        failures=("seed 1 of DA: raised: boom",),
    )
    (data,) = strict(result_rows(info))
    assert data["arms"][0]["estimates"][ROBUST] == {
        "mean": 0.6, "sd": None, "low": None, "high": None, "n": 1, "method": "none",
    }  # fmt: skip
    assert data["arms"][0]["costs"]["train_flops"] is None
    assert [effect["primary"] for effect in data["effects"]] == [
        False, False, True, False, True, False, False,
    ]  # fmt: skip
    assert data["effects"][6]["metric"] == NOISE
    assert data["transfers"][0]["own"][0]["mean"] is None
    assert (data["failures"], data["marks"]) == (["seed 1 of DA: raised: boom"], list(info.marks))


def test_a_front_as_data() -> None:
    rows = strict(result_rows(pareto_info(RECORD)))
    assert [(row["name"], row["number"]) for row in rows] == [
        ("baseline", None), ("plain", None), ("trial", 0), ("trial", 1),
    ]  # fmt: skip
    assert rows[2]["values"] == {"val_clean_accuracy": 0.94, "val_robust_accuracy": 0.70}
    assert math.isclose(rows[2]["gains"]["val_robust_accuracy"], 0.10)
    assert rows[2]["params"]["augment.mix"] == {"noise": 0.25, "blur": 0.75}
    assert math.isclose(rows[2]["scores"]["val_accuracy.gaussian_blur.1"], 0.85)
    assert (rows[3]["loss_terms"], rows[3]["scores"]) == ("clean+st", {})
    alone = example_record([example_row(0, (0.9, 0.7))], references={}, reference_point=None)
    assert strict(result_rows(pareto_info(alone)))[0]["gains"] == dict.fromkeys(TWO)
    nothing = example_record(references={}, reference_point=None)
    assert result_rows(pareto_info(nothing)) == []


# -- HTML


@pytest.mark.parametrize("name", ["odd", "odd effects", "nothing"])
def test_nothing_in_a_name_is_html(name: str) -> None:
    text = html_text(TABLES[name])
    assert not re.search(r"<script|https?:", text)
    cells = [unescape(one) for one in re.findall(r"<t[hd](?: [^>]*)?>(?:<strong>)?([^<]*)", text)]
    written = [cell.printed for row in TABLES[name].rows for cell in row]
    assert [one.replace("\u2212", "-") for one in cells] == [*TABLES[name].headings, *written]


# -- The commands


PAPER = Path(__file__).parents[2] / "studies" / "paper" / "results"


def test_the_ending_of_a_file_says_its_format(tmp_path: Path) -> None:
    study = str(PAPER / "paper_tune_0_plain.tar")
    begin = {".md": "**", ".tex": "% Needs", ".csv": "trial,", ".html": "<!doctype"}
    for ending, start in begin.items():
        file = tmp_path / f"table{ending}"
        main(["table", study, "-o", str(file)], standalone_mode=False)
        assert file.read_text().startswith(start)
    notes = (tmp_path / "table.notes.txt").read_text().splitlines()
    assert notes[1].startswith("validation accuracy in %, n = 5000 images")
    refused = CliRunner().invoke(main, ["table", study, "-o", str(tmp_path / "x.pdf")])
    assert refused.exit_code == 2
    assert "x.pdf: a table's file must end with .md, .tex, .csv, .html, got .pdf." in refused.output
    piped = CliRunner().invoke(main, ["table", study]).output
    assert piped.startswith("**")
    commented = CliRunner().invoke(main, ["table", study, "--format", "latex"]).output
    assert f"% {notes[0]}\n" in commented


@pytest.mark.parametrize(
    ("name", "first"),
    [("paper_tune_0_DA_FMA_CA", "Take trial "), ("paper_beside_0", "")],
)
def test_a_study_ends_on_one_screen(
    name: str, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(PAPER / f"{name}.tar")
    show_end(study, notes=False, as_json=False, of=study)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(first)
    assert len(printed) <= 25
    assert max(map(len, printed[:-1])) <= 100
    assert re.match(r"\d+ notes: --notes", printed[-2])
    assert printed[-1].startswith("full report: ablate report ")
    show_end(study, notes=True, as_json=False, of=study)
    assert "accuracy in %, n = 5000 images" in capsys.readouterr().out
