"""The table of a paper in every format."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_ablations import (
    CLEAN,
    ROBUST,
    estimate,
    example_ablation,
    example_arm,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
    scored_arm,
)
from example_records import example_record, example_row
from markdown_it import MarkdownIt
from printed_tables import RECORD

from ablate.ablation.info import AblationInfo
from ablate.analysis.pareto import pareto_info
from ablate.report.arms import Cell
from ablate.report.paper.effects import effects_paper_table
from ablate.report.paper.formats import csv_text, html_text, latex_text, markdown_text
from ablate.report.paper.table import PaperTable, arms_paper_table, front_paper_table

FORMATS = (markdown_text, latex_text, csv_text, html_text)
ODD = "<script>alert('&')</script> a_b & 50% | $x$ #1 {y} ~^\\ [z] * -- `c`"


def odd_ablation() -> AblationInfo:
    """Names with every character that some format takes for its own."""
    arms = (scored_arm("plain", 0.9, 0.6), scored_arm(ODD, 0.9, 0.7), scored_arm("[a]", 0.9, 0.6))
    return example_ablation(
        study="a_b & 50% {x}",
        question=f"Does {ODD}\n\nearn its keep?",
        arms=arms,
        effects=(example_effect(f"{ODD} - plain", 0.1),),
        marks=(ODD,),
    )


TABLES: dict[str, PaperTable] = {
    "arms": arms_paper_table(example_ablation()),
    "factorial": arms_paper_table(factorial_ablation()),
    "own loop": arms_paper_table(own_loop_ablation()),
    "odd": arms_paper_table(odd_ablation()),
    "nothing": arms_paper_table(
        example_ablation(arms=(example_arm("plain", {}),), metrics=(), families=(), effects=())
    ),
    "front": front_paper_table(pareto_info(RECORD)),
}


def texts(table: PaperTable) -> list[list[str]]:
    return [[cell.printed for cell in row] for row in table.rows]


def number(mean: float, half: float | None = 0.01, **fields: object) -> Cell:
    return Cell(estimate=estimate(mean, half), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "printed"),
    [
        (Cell("a name"), "a name"),
        (Cell(), ""),
        (number(0.7731, scale=100), "77.3 ± 0.4"),
        (number(0.7731, None, scale=100), "77.3"),
        (number(math.nan, None), "-"),
        (number(0.186, scale=100, is_difference=True), "+18.6 [+17.6, +19.6]"),
        (number(0.186, None, scale=100, is_difference=True), "+18.6"),
        (number(-0.0001, 0.0002, scale=100, is_difference=True), "-0.0 [-0.0, +0.0]"),
        (number(0.0, 0.0, scale=100, is_difference=True), "0.0 [0.0, 0.0]"),
        (number(-0.0, None, scale=100, is_difference=True), "0.0"),
        (number(-0.5, decimals=3), "-0.500 ± 0.004"),
        (number(math.nan, None, is_difference=True), "-"),
    ],
)
def test_a_cell_as_it_is_read(cell: Cell, printed: str) -> None:
    assert cell.printed == printed


def test_the_arms_in_the_papers_layout() -> None:
    table = TABLES["arms"]
    assert table.title == "Which term earns its keep? (digits, resnet8)"
    assert [heading.text for heading in table.headings] == [
        "Arm", "Clean (%)", "Noise (%)", "Blur (%)", "Robust (%)", "Difference to plain",
    ]  # fmt: skip
    assert texts(table) == [
        ["baseline", "95.0", "50.0", "70.0", "60.0", "-1.0 [-3.0, +1.0]"],
        ["plain", "96.0 ± 0.4", "51.0 ± 0.4", "71.0 ± 0.4", "61.0 ± 0.4", "reference"],
        ["DA", "93.5 ± 0.4", "65.5 ± 0.4", "85.5 ± 0.4", "75.5 ± 0.4", "+14.5 [+12.5, +16.5]"],
        ["FMA", "95.5 ± 0.4", "67.3 ± 0.4", "87.3 ± 0.4", "77.3 ± 0.4", "+16.3 [+14.3, +18.3]"],
    ]
    bold = [[cell.is_bold for cell in row] for row in table.rows]
    assert bold[0] == [False, False, False, False, False, False]
    assert bold[3] == [False, True, True, True, True, False]
    assert "mean ± standard deviation over 8 seeds" in table.notes
    assert table.notes[-1] == "study example, fingerprint abc123def456"


def test_arms_without_a_reference_or_a_question() -> None:
    table = TABLES["factorial"]
    assert [heading.key for heading in table.headings][-1] == ROBUST
    untitled = arms_paper_table(example_ablation(question=""))
    assert untitled.title == "digits, resnet8"


def test_an_own_loops_metrics_keep_their_names() -> None:
    table = TABLES["own loop"]
    assert [heading.text for heading in table.headings] == [
        "Arm", "loss", "images/s", "Difference to a",
    ]  # fmt: skip
    assert texts(table)[2] == ["c", "0.5100 ± 0.0040", "-", "+0.0788 [+0.0688, +0.0888]"]
    assert "less is better: loss" in table.notes


def test_missing_runs_are_noted() -> None:
    arms = (scored_arm("plain", 0.9, 0.6), scored_arm("DA", 0.9, 0.6, "seed 1 (raised)", n=7))
    notes = arms_paper_table(example_ablation(arms=arms)).notes
    assert notes[-1] == "DA: n = 7, 1 failed"


def test_the_front_of_a_search() -> None:
    table = TABLES["front"]
    assert [heading.text for heading in table.headings] == [
        "Trial", "Loss terms", "Clean (%)", "Gain", "Robust (%)", "Gain",
    ]  # fmt: skip
    assert texts(table) == [
        ["baseline", "", "95.0", "", "60.0", ""],
        ["plain finetune", "", "96.0", "+1.0", "61.0", "+1.0"],
        ["trial 0", "clean+fma", "94.0", "-1.0", "70.0", "+10.0"],
        ["trial 1", "clean+st", "90.0", "-5.0", "80.0", "+20.0"],
    ]
    assert not any(cell.is_bold for row in table.rows for cell in row)
    assert table.notes == (
        "Pareto front, 2 of 3 complete trials",
        "validation accuracy in %, n = 359 images, robust = mean over families",
        "gain: over the baseline, in points",
        "single seed (0)",
        "types trained on are among the scored: not comparable with methods that hold them out",
        "study example, fingerprint abc123",
    )


def test_the_front_of_costs_and_of_an_own_loop() -> None:
    objectives = ((CLEAN, "maximize"), ("train_seconds", "minimize"))
    rows = [example_row(0, (0.9, 20.0)), example_row(1, (0.8, 5.0))]
    record = example_record(rows, objectives=objectives, reference_point=None)
    table = front_paper_table(pareto_info(record))
    assert [heading.key for heading in table.headings] == [
        "trial", "loss_terms", CLEAN, f"{CLEAN} - baseline", "train_seconds",
    ]  # fmt: skip
    assert texts(table)[0] == ["baseline", "", "95.0", "", "-"]
    assert texts(table)[3] == ["trial 1", "clean+fma", "80.0", "-15.0", "5.00"]
    assert "less is better: train_seconds" in table.notes
    record = example_record(
        [example_row(0, (0.9, 0.5))],
        objectives=[(CLEAN, "maximize"), ("loss", "minimize")],
        references={},
        reference_point=None,
        trainable="loops:train",
    )
    table = front_paper_table(pareto_info(record))
    assert [heading.text for heading in table.headings] == [
        "Trial", "val_clean_accuracy (%)", "loss",
    ]  # fmt: skip
    assert "accuracies in %" in table.notes


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", TABLES)
def test_every_format_writes_every_table_and_the_same_again(
    name: str, write: Callable[[PaperTable], str]
) -> None:
    text = write(TABLES[name])
    assert text.endswith("\n")
    assert text == write(TABLES[name])
    assert "nan" not in text


def test_markdown() -> None:
    assert markdown_text(TABLES["arms"]).split("\n")[:7] == [
        "**Which term earns its keep? (digits, resnet8)**",
        "",
        "| Arm | Clean (%) | Noise (%) | Blur (%) | Robust (%) | Difference to plain |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
        r"| baseline | 95.0 | 50.0 | 70.0 | 60.0 | -1.0 \[-3.0, +1.0\] |",
        "| plain | **96.0 ± 0.4** | 51.0 ± 0.4 | 71.0 ± 0.4 | 61.0 ± 0.4 | reference |",
        r"| DA | 93.5 ± 0.4 | 65.5 ± 0.4 | 85.5 ± 0.4 | 75.5 ± 0.4 | +14.5 \[+12.5, +16.5\] |",
    ]
    assert "\n\n- validation accuracy in %, n" in markdown_text(TABLES["arms"])


@pytest.mark.parametrize("name", TABLES)
def test_nothing_in_a_name_is_markdown(name: str) -> None:
    """As GitHub's kind of Markdown reads it: every cell is there whole, and bold is all markup."""
    table = TABLES[name]
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown_text(table))
    blocks = [block for block in tokens if block.type == "inline"]
    allowed = {"text", "text_special", "strong_open", "strong_close"}
    parts = [part for block in blocks for part in block.children or []]
    assert {part.type for part in parts} <= allowed
    read = ["".join(part.content for part in block.children or []) for block in blocks]
    cells = [cell.printed for row in table.rows for cell in row]
    written = [table.title, *(heading.text for heading in table.headings), *cells, *table.notes]
    assert read == [" ".join(text.split()) for text in written]
    assert not re.search(r"(?<!\\)[$~]", markdown_text(table))  # GitHub's own


def test_latex() -> None:
    lines = latex_text(TABLES["arms"]).split("\n")
    assert lines[0] == r"% Needs \usepackage{booktabs,graphicx}."
    assert r"\caption{Which term earns its keep? (digits, resnet8)}" in lines
    assert r"\label{tab:example}" in lines
    assert r"\begin{tabular}{@{}lrrrrr@{}}" in lines
    assert (
        r"Arm & Clean (\%) & Noise (\%) & Blur (\%) & Robust (\%) & Difference to plain \\"
    ) in lines
    assert (r"baseline & $95.0$ & $50.0$ & $70.0$ & $60.0$ & $-1.0\ [-3.0, +1.0]$ \\") in lines
    assert (
        r"FMA & $\mathbf{95.5 \pm 0.4}$ & $\mathbf{67.3 \pm 0.4}$ & $\mathbf{87.3 \pm 0.4}$ & "
        r"$\mathbf{77.3 \pm 0.4}$ & $+16.3\ [+14.3, +18.3]$ \\"
    ) in lines
    assert r"mean $\pm$ standard deviation over 8 seeds; " in latex_text(TABLES["arms"])
    assert r"c & $0.5100 \pm 0.0040$ & -- & " in latex_text(TABLES["own loop"])
    bold = PaperTable("x", "x", TABLES["arms"].headings[:1], ((Cell("a_b", is_bold=True),),), ())
    assert r"\textbf{a\_b} \\" in latex_text(bold)


def test_no_name_brings_a_control_character_but_to_csv() -> None:
    cell = Cell("a\x1b[2Jb\u202ec\rd")
    table = PaperTable("x", "t\x07", TABLES["arms"].headings[:1], ((cell,),), ("n\x9b",))
    assert r"a\textbackslash{}x1b{[}2Jb\textbackslash{}u202ec d" in latex_text(table)
    assert r"| a\\x1b\[2Jb\\u202ec d |" in markdown_text(table)
    for text in (latex_text(table), markdown_text(table)):
        assert not set(text) & set("\x07\r\x1b\x9b\u202e")
    assert cell.text in csv_text(table)


def test_nothing_in_a_name_is_latex() -> None:
    text = latex_text(TABLES["odd"])
    assert (
        r"\textless{}script\textgreater{}alert('\&')\textless{}/script\textgreater{} a\_b \& 50\% "
        r"\textbar{} \$x\$ \#1 \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} {[}z{]} "
        r"{*} -{}-{} `c`"
    ) in text
    assert r"\label{tab:a_b-50-x-}" in text
    assert "\n\n" not in text  # a paragraph would end the caption


@pytest.mark.parametrize("name", TABLES)
def test_latex_is_well_formed(name: str) -> None:
    text = latex_text(TABLES[name])
    columns = len(TABLES[name].headings)
    assert _latex_problems(text) == []
    rows = [line for line in text.split("\n") if line.endswith(r" \\")]
    assert len(rows) == len(TABLES[name].rows) + 1
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (r"\begin{table}{\end{table}}", "table ends {"),
        (r"\begin{table}", "table has no end"),
        ("}", "} ends nothing"),
        (r"\begin{table}\end{tabular}", "tabular ends table"),
        ("$x", "$"),
        ("a_b", "_"),
        ("a & b", "&"),
    ],
)
def test_the_check_of_latex_finds_what_is_wrong(text: str, problem: str) -> None:
    assert problem in " ".join(_latex_problems(text))


def _latex_problems(text: str) -> list[str]:
    """Braces and environments that do not pair, and special characters outside their place."""
    problems, is_open = list[str](), list[str]()
    for line in text.split("\n"):
        if line.startswith(("%", r"\label")):
            continue
        bare = re.sub(r"\\[\\{}&%$#_]", "", line.removesuffix("%"))
        for match in re.finditer(r"\\begin\{(\w+)\}|\\end\{(\w+)\}|[{}]", bare):
            begun, ended = match[1], match[2]
            if begun or match[0] == "{":
                is_open.append(begun or "{")
                continue
            last = is_open.pop() if is_open else "nothing"
            if last != (ended or "{"):
                problems.append(f"{ended or '}'} ends {last}")
        if bare.count("$") % 2:
            problems.append(f"an odd number of $: {line}")
        outside = re.sub(r"\$[^$]*\$", "", bare)
        special = "%#_^~" if line.endswith(r" \\") else "&%#_^~"
        problems += [f"{one} outside its place: {line}" for one in special if one in outside]
    return problems + [f"{one} has no end" for one in is_open]


@pytest.mark.slow
@pytest.mark.latex
def test_pdflatex_draws_every_table(tmp_path: Path) -> None:
    drawn = "\n".join(latex_text(table) for table in TABLES.values())
    lines = [
        r"\documentclass{article}",
        r"\usepackage{booktabs,graphicx}",
        r"\begin{document}",
        drawn,
        r"\end{document}",
    ]
    (tmp_path / "tables.tex").write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run(
        [
            "pdflatex",
            "-interaction=nonstopmode",
            "-halt-on-error",
            "-no-shell-escape",
            "tables.tex",
        ],
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


def test_csv_has_full_precision() -> None:
    info = example_ablation()
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLES["arms"]))))
    assert [row["arm"] for row in rows] == ["baseline", "plain", "DA", "FMA"]
    for row, arm in zip(rows, info.arms, strict=True):
        for metric in info.metrics:
            one = arm.estimates[metric]
            assert float(row[f"{metric}.mean"]) == one.mean
            assert int(row[f"{metric}.n"]) == one.n
            assert row[f"{metric}.sd"] == ("" if math.isnan(one.sd) else repr(one.sd))
            assert row[f"{metric}.low"] == ("" if math.isnan(one.low) else repr(one.low))
            assert row[f"{metric}.high"] == ("" if math.isnan(one.high) else repr(one.high))
    assert float(rows[3][f"{ROBUST} - plain.mean"]) == 0.163
    assert rows[1][f"{ROBUST} - plain.n"] == ""


def test_csv_keeps_every_name_whole_and_one_row_an_arm() -> None:
    rows = list(csv.reader(io.StringIO(csv_text(TABLES["odd"]))))
    assert rows[2][0] == ODD
    assert {len(row) for row in rows} == {1 + 5 * 5}
    front = list(csv.DictReader(io.StringIO(csv_text(TABLES["front"]))))
    assert front[2]["loss_terms"] == "clean+fma"
    assert front[0][f"{ROBUST} - baseline.mean"] == ""
    assert front[2][f"{ROBUST}.n"] == "1"


class _Page(HTMLParser):
    """The tags of a page, and the text of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.strip("\n")


def test_html() -> None:
    page = _Page(html_text(TABLES["arms"]))
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert scopes == ["col"] * 6 + ["row"] * 4
    assert page.cells[6:12] == [
        "baseline", "95.0", "50.0", "70.0", "60.0", "\N{MINUS SIGN}1.0 [\N{MINUS SIGN}3.0, +1.0]",
    ]  # fmt: skip
    assert sum(tag == "strong" for tag, _ in page.tags) == 5
    text = html_text(TABLES["arms"])
    assert "color-scheme: light dark" in text
    assert "<li>mean ± standard deviation over 8 seeds</li>" in text


def test_a_page_runs_no_script_and_asks_no_network() -> None:
    text = html_text(TABLES["odd"])
    page = _Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    sources = [
        attributes[name]
        for _, attributes in page.tags
        for name in ("src", "href")
        if name in attributes
    ]
    assert sources == ["data:,"]
    assert "url(" not in text
    assert "http" not in text
    assert page.cells[12] == ODD


def test_effects_as_the_table_of_a_paper() -> None:
    table = effects_paper_table(example_ablation())
    assert [heading.text for heading in table.headings] == [
        *("Contrast", "On", "Difference", "p", "Adjusted p", "Verdict", "Kept")
    ]
    printed = [[cell.printed for cell in row] for row in table.rows]
    better = next(row for row in printed if row[0] == "FMA - plain" and row[1] == "robust")
    assert better[4:] == [".016", "better", "yes (p .0039)"]
    assert any("Holm over 2 primary contrasts" in note for note in table.notes)
    for write in (markdown_text, latex_text, csv_text, html_text):
        assert "FMA - plain" in write(table)
