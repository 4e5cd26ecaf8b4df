"""Figures as files: what is written, and what is said where it cannot be."""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from example_records import example_record, example_row, example_scores
from example_sources import draw_front

from ablate.errors import AblateError, MissingDependencyError
from ablate.report.style import INCHES_PER_PIXEL
from ablate.report.write import write_figure

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NASTY = """Is <script>document.title="pwned"</script> & "it's" </script> safe?"""


def figure(**settings: Any) -> Any:
    rows = [
        example_row(0, (0.94, 0.70), scores=example_scores(0.94, 0.70)),
        example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", "loss.st.weight": 0.25}),
        example_row(2, (0.90, 0.65), params={"loss.terms": "clean+da", "a.b": NASTY}),
    ]
    return draw_front(example_record(rows, **settings))


def test_a_page_draws_and_asks_no_network(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "pareto.html"
    drawn = figure(question=NASTY)
    drawn.layout.meta |= {"caption": NASTY}
    write_figure(drawn, path)
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.set_default_timeout(120_000)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector(".scatterlayer .point")

    # Three trials, two references.
    points = page.locator(".scatterlayer .points path.point")
    assert points.count() == 5
    assert page.title() == "example: Pareto front"
    assert page.locator("figcaption").inner_text() == NASTY
    sides = "[svg.bottom, caption.top, caption.bottom]"
    bottom, top, end = page.evaluate(
        "() => { const [svg, caption] = ['.main-svg', 'figcaption'].map("
        f"(one) => document.querySelector(one).getBoundingClientRect()); return {sides}; }}"
    )
    assert bottom <= top + 1, "the figure covers no line of its caption"
    assert end <= 700 + 1, "both fit the window"
    assert "+10.0 robust for -1.0 clean" in (page.locator(".gtitle").text_content() or "")
    legend = page.locator(".legendtext").all_text_contents()
    sets = [f"{term} (1)" for term in ("DA", "FMA", "ST")]
    assert sorted(legend) == sorted(["Before finetuning", "Front", "Plain finetuning", *sets])
    tools = [tool.get_attribute("data-title") or "" for tool in page.locator(".modebar-btn").all()]
    assert "Zoom" in tools
    assert not any("share" in tool.lower() or "plotly" in tool.lower() for tool in tools)

    box = points.nth(0).bounding_box()  # dominated traces are drawn first
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function(
        "text => document.querySelector('.hoverlayer').textContent.includes(text)",
        arg="a.b: " + NASTY,
    )
    assert said == []
    assert asked == [path.as_uri()]
    page.close()


def test_a_png_has_400_pixels_an_inch(chromium_path: str, tmp_path: Path) -> None:
    path = tmp_path / "pareto.png"
    drawn = figure()
    write_figure(drawn, path)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    expected = [400 * INCHES_PER_PIXEL * side for side in drawn.layout.meta["image_pixels"]]
    assert struct.unpack(">II", data[16:24]) == pytest.approx(expected, abs=1)
    # An empty figure of that size is far smaller.
    assert len(data) > 50_000


def test_an_svg_and_a_pdf(chromium_path: str, tmp_path: Path) -> None:
    drawn = figure()
    write_figure(drawn, tmp_path / "pareto.svg")
    svg = (tmp_path / "pareto.svg").read_text()
    assert svg.startswith("<svg")
    width = re.search(r'width="([\d.]+)"', svg)
    assert width is not None
    assert float(width[1]) == pytest.approx(3.25 * 96, rel=0.01)
    assert "+10.0 robust for -1.0 clean" in svg
    write_figure(drawn, tmp_path / "pareto.PDF")
    assert (tmp_path / "pareto.PDF").read_bytes().startswith(b"%PDF")


def test_a_page_is_one_file_that_names_no_server_and_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "pareto.html"
    path.write_text("old")
    (tmp_path / "other").write_text("")
    write_figure(figure(), path)
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert len(text) > 3_000_000
    assert "<script src=" not in text
    assert "mathjax" not in text.lower().split("plotly.js v", 1)[0].replace("mathjaxconfig", "")
    assert {file.name for file in tmp_path.iterdir()} == {"pareto.html", "other"}
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.slow
def test_a_plot_loads_nothing_heavy() -> None:
    code = (
        "import sys; from plotly.graph_objects import Figure;"
        "import ablate.report.figures.pareto, ablate.report.write, ablate.report.formats;"
        "import ablate.report.terminal.live, ablate.analysis.summary;"
        "Figure().to_html();"
        "print(*(m for m in ('torch', 'ray', 'optuna', 'pandas', 'kaleido') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("front.gif", "a figure's file must end with .html, .png, .svg, .pdf, got .gif. Write"),
        ("front", "a figure's file must end with .html, .png, .svg, .pdf, got no ending. Write"),
        ("nowhere/front.html", "the folder must exist, got {folder}. Create it with: mkdir -p '"),
        ("", "must be a file, got a folder. Name a file in it."),
        ("/proc/front.html", "must be in a writable folder, got "),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / name
    with pytest.raises(AblateError) as caught:
        write_figure(figure(), path)
    assert str(caught.value).startswith(f"{path}: {said.format(folder=path.parent)}")
    assert list(tmp_path.iterdir()) == []


def test_without_kaleido(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(MissingDependencyError) as caught:
        write_figure(figure(), tmp_path / "front.png")
    assert str(caught.value) == (
        "a .png needs kaleido, which is not installed. "
        "Install it with: pip install 'ablate-robustness[images]', or write a .html."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("broken", [None, "#!/bin/sh\nexit 1\n"])
def test_without_a_browser_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    browser = tmp_path / "chromium"
    if broken:
        browser.write_text(broken)
        browser.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", os.fspath(browser))
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path))
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    with pytest.raises(MissingDependencyError) as caught:
        write_figure(figure(), tmp_path / "front.svg")
    assert str(caught.value) == (
        f"a .svg needs Chromium or Chrome that starts, got BROWSER_PATH={browser}. Install one "
        "(Debian, Ubuntu: apt install chromium; or: kaleido_get_chrome), or write a .html."
    )
    assert not (tmp_path / "front.svg").exists()
