"""The report's page: what is in it, and what it does in a real Chromium."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from example_ablations import ROBUST, example_ablation
from example_records import BEGAN, example_record, example_row
from example_sources import ablation_source, searches, usual_record

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.intervals import NONE, Estimate
from ablate.ablation.study_source import StudySource
from ablate.ledger.record import Rung
from ablate.report.answer import Answer
from ablate.report.figures import FIGURES
from ablate.report.page.content import (
    SECTIONS,
    ReportContent,
    printed_terms,
    report_content,
)
from ablate.report.page.publish import report_page
from ablate.report.page.trials import trials_of
from ablate.report.write import write_text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

NOW = BEGAN.timestamp() + 600
NAME = "<script>alert(1)"


def content_of(source: StudySource, **changes: Any) -> ReportContent:
    return report_content(source, reference="runs/example", now=NOW, **changes)


@pytest.fixture(scope="module")
def usual() -> ReportContent:
    record = usual_record(30, name=NAME, question="Does </script><b>it</b> & 'that' help?")
    return content_of(StudySource(record))


@pytest.fixture(scope="module")
def page_text(usual: ReportContent) -> str:
    return report_page(usual)


def test_every_figure_has_its_section() -> None:
    named = [name for *_, names in SECTIONS for name in names]
    missing = sorted(set(FIGURES) - set(named))
    assert not missing, f"add to a section of SECTIONS in ablate/report/page/content.py: {missing}"
    assert sorted(named) == sorted(FIGURES)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["empty", "all failed", "own loop", "three objectives"])
def test_a_page_bears_any_search(case: str) -> None:
    content = content_of(searches()[case])
    page = report_page(content)
    assert page.startswith("<!doctype html>")
    assert page.count("<figure ") == len(content.figures) > 0
    assert page.rstrip().endswith("</html>")


def test_the_front_of_a_custom_loop_is_not_said_to_be_of_images(usual: ReportContent) -> None:
    own = content_of(searches()["own loop"])
    titles = [
        [table.title for section in content.sections for table in section.tables]
        for content in (own, usual)
    ]
    assert titles == [["Front of the search"], ["Front of the search, validation images"]]


def test_plotly_is_in_it_once_and_every_script_ends_where_it_should(page_text: str) -> None:
    assert len(re.findall(r"\* plotly\.js v\d", page_text)) == 1
    assert "<script>alert" not in page_text
    assert "</script><b>" not in page_text
    assert page_text.count("<script") == page_text.count("</script>")


def test_below_the_first_screen_all_is_folded_but_the_types(usual: ReportContent) -> None:
    assert usual.first is not None
    assert usual.first.anchor == "pareto"
    assert {section.anchor for section in usual.sections if section.is_open} == {"types"}
    for section in usual.sections:
        assert section.says.endswith("."), "one sentence on what it shows"
        assert "pareto" not in {figure.anchor for figure in section.figures}


def test_terms_that_the_page_prints_are_in_its_glossary(usual: ReportContent) -> None:
    labels = {"robust accuracy", "clean accuracy", "baseline", "front", "hypervolume", "severity"}
    assert labels <= set(usual.glossary)
    assert "Shapley value" not in usual.glossary, "it is not printed"
    ablation = content_of(ablation_source(example_ablation())).glossary
    assert {"arm", "contrast", "primary", "exploratory", "adjusted", "kept"} <= set(ablation)
    assert printed_terms(["DA and a plain finetune"]).keys() == {"plain", "DA"}
    assert printed_terms(["a dabbler"]) == {}


@pytest.mark.parametrize("brief", [False, True])
def test_commands_of_the_answer_are_code(usual: ReportContent, brief: bool) -> None:
    page = report_page(usual, brief=brief)
    assert "<code>ablate confirm</code> trains it again" in page
    injected = replace(usual, answer=Answer(("`<b>x</b>` and <i>",)))
    assert "<p><code>&lt;b&gt;x&lt;/b&gt;</code> and &lt;i&gt;</p>" in report_page(injected)


def test_a_brief_page_is_the_first_screen_and_static(
    usual: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nowhere")
    page = report_page(usual, brief=True)
    assert "<script" not in page
    assert "<details" not in page
    assert "script-src" not in page
    assert "no figure: drawing it as an image needs Chromium" in page
    assert len(page) < 100_000


def test_a_brief_page_has_its_figure_as_an_image(usual: ReportContent, chromium_path: str) -> None:
    page = report_page(usual, brief=True)
    assert page.count("data:image/png;base64,") == 1
    assert "no figure:" not in page


def test_a_password_of_the_storage_is_nowhere() -> None:
    record = usual_record(2, storage="postgresql+psycopg://me:SECRET@host/db")
    page = report_page(content_of(StudySource(record)))
    assert "SECRET" not in page
    assert "search:" in page, "the other settings are there"


def test_trials_are_data_of_the_table(usual: ReportContent) -> None:
    table = vars(usual.trials)
    keys = [column["key"] for column in table["columns"]]
    assert keys[:5] == [
        "number", "state", "val_clean_accuracy", "val_robust_accuracy", "param.loss.terms",
    ]  # fmt: skip
    assert len(table["values"]) == len(keys)
    assert table["values"][0] == tuple(range(30))
    robust = table["values"][3]
    assert robust[3] is None
    assert 50 < robust[0] < 90, "percent"
    assert set(table["exportable"]) == {at for at in range(30) if at % 10 not in (3, 7)}
    assert set(table["front"]) <= set(table["exportable"])
    json.dumps(table, allow_nan=False)


def test_stopped_trials_have_the_scores_of_their_last_rung() -> None:
    scores = {"val_clean_accuracy": 0.9, "val_robust_accuracy": 0.615}
    stopped = example_row(0, None, state="PRUNED", rungs=[Rung(3, scores, True, 4)])
    table = trials_of(example_record([stopped, example_row(1, (0.9, 0.7))], search={"pruner": {}}))
    columns = {column["key"]: column for column in table.columns}
    values = dict(zip(columns, table.values, strict=True))
    assert columns["rung_epoch"]["heading"] == "Last rung"
    assert values["rung_epoch"] == (3, None)
    assert columns["rung.val_robust_accuracy"]["percent"]
    assert values["rung.val_robust_accuracy"] == (61.5, None)
    without = trials_of(example_record([example_row(1, (0.9, 0.7))], search={"pruner": {}}))
    assert not any("rung" in column["key"] for column in without.columns)


def test_no_trial_of_an_archive_can_be_exported() -> None:
    """It has no weights."""
    record = example_record([example_row(0, (0.9, 0.7))])
    assert content_of(StudySource(record)).trials.exportable == (0,)
    assert content_of(StudySource(record), has_weights=False).trials.exportable == ()


def test_an_ablation_has_runs_and_no_front() -> None:
    content = content_of(ablation_source(example_ablation()))
    assert content.trials.front == ()
    types, effects = content.sections[:2]
    assert [figure.anchor for figure in types.figures] == ["profile"]
    assert effects.anchor == "ablation"
    assert len(effects.tables) == 2


@pytest.mark.slow
def test_a_confirmation_stands_after_the_trade_off() -> None:
    test = example_ablation(split="test")
    equal = Estimate(0.01, 0.0, math.nan, math.nan, 8, NONE)
    point = ConfirmedPoint(
        "trial 1", (ROBUST,), {ROBUST: 0.8}, {ROBUST: equal}, {}, {}, {}, {}, (), 1.0
    )
    content = content_of(
        StudySource(
            usual_record(12),
            confirmation=ConfirmInfo(test, test, (point,), (), lambda *_: equal),
            confirming=ablation_source(test).record,
        )
    )
    assert [section.anchor for section in content.sections][:2] == ["confirmed", "types"]
    anchors = [figure.anchor for figure in content.figures]
    assert len(anchors) == len(set(anchors))
    # What all intervals rest on stands below the answer, and below each table.
    assert "conditional on the one baseline that all runs start from" in content.marks
    for table in content.sections[0].tables:
        assert "conditional on the one baseline that all runs start from" in table.notes
    assert "8 equal seeds: no interval (how seeds vary is not known)" in table.notes


@pytest.mark.slow
def test_a_study_that_nobody_drives_says_so() -> None:
    begun = example_record([example_row(0, (0.9, 0.7))])
    said = content_of(StudySource(begun)).state
    assert said == "1 of 16 rows have ended; not running (continue with ablate resume)"
    driven = content_of(StudySource(replace(begun, driver="host:1"))).state
    assert driven == "1 of 16 rows have ended"


def test_the_export_line_can_be_pasted(usual: ReportContent) -> None:
    assert usual.export == (
        "ablate export runs/example --trial {trial} -o script-alert-1-{trial}.safetensors"
    )


# -- in Chromium ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(page_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_text(page_text, path)
    return path


class Looked:
    """A page that is open, and everything it said or asked for."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**options)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("#rows tbody tr", state="attached")
        self.page.evaluate(
            "document.querySelectorAll('details').forEach((one) => one.setAttribute('open', ''))"
        )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def draw_all(self) -> int:
        """Scroll to every figure; how many were drawn."""
        plots = self.page.locator(".plot")
        for at in range(plots.count()):
            plots.nth(at).evaluate("element => element.scrollIntoView()")
            plots.nth(at).locator(".main-svg").first.wait_for(state="attached")
        return plots.count()


def brush(page: Page) -> None:
    """Draw a box over the upper part of the front figure, by the mouse."""
    page.locator("#figure-pareto .plot").scroll_into_view_if_needed()
    page.click('#figure-pareto .modebar-btn[data-title="Box Select"]')
    plot = page.locator("#figure-pareto .nsewdrag").first.bounding_box()
    assert plot is not None
    page.mouse.move(plot["x"] + plot["width"] - 2, plot["y"] + 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + 2, plot["y"] + 0.6 * plot["height"], steps=4)
    page.mouse.up()
    page.wait_for_selector(".first + #selected")


@pytest.fixture(scope="module")
def looked(browser: Browser, file: Path) -> Iterator[Looked]:
    found = Looked(browser, file, viewport={"width": 1280, "height": 900})
    yield found
    found.context.close()


def test_all_figures_are_drawn_without_a_word_or_a_request(
    looked: Looked, usual: ReportContent
) -> None:
    assert looked.draw_all() == len(usual.figures) > 9
    outside = [url for url in looked.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert looked.said == []
    assert looked.page.locator("h1").inner_text() == "Does </script><b>it</b> & 'that' help?"
    assert looked.page.locator("img[alt='one <b>pixel</b>']").count() == 1


def test_a_click_in_one_figure_marks_the_trial_in_the_others(looked: Looked) -> None:
    looked.draw_all()
    page = looked.page
    page.locator("#figure-pareto .plot").evaluate("element => element.scrollIntoView()")
    # A mark of plotly's is under layers that catch the mouse: the place on the screen is clicked.
    place = page.evaluate(
        """() => {
            const plot = document.querySelector('[data-figure=pareto]');
            const at = plot.data.findIndex(
                (trace) => trace.customdata && trace.marker?.opacity === 1);
            const trace = plot._fullData[at], axes = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return {
                x: box.left + axes._size.l + axes.xaxis.d2p(trace.x[0]),
                y: box.top + axes._size.t + axes.yaxis.d2p(trace.y[0]),
                number: Number(trace.customdata[0]),
            };
        }"""
    )
    page.mouse.click(place["x"], place["y"])
    title = page.locator("#trial-title")
    title.wait_for()
    assert title.inner_text() == f"Trial {place['number']}, on the front"
    marked = page.evaluate(
        "() => [...drawn].filter(([, entry]) => entry.marks > 0).map(([name]) => name)"
    )
    assert {"pareto", "parameters", "curves"} <= set(marked)
    assert page.locator("#rows tr[aria-current=true] button").inner_text() == str(place["number"])
    page.locator("#trial-copy").click()
    page.wait_for_function("document.getElementById('said').textContent.includes('copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"ablate export runs/example --trial {place['number']} -o ")
    page.keyboard.press("Escape")
    assert page.locator("#trial").is_hidden()
    assert page.evaluate("() => [...drawn.values()].every((entry) => entry.marks === 0)")
    assert looked.said == []


def test_rows_sort_and_filter_and_obey_the_keyboard(looked: Looked) -> None:
    page = looked.page
    numbers = (
        "() => [...document.querySelectorAll('#rows tbody button')].map((b) => +b.textContent)"
    )
    page.locator("#rows thead button", has_text="Robust accuracy (%)").first.click()
    best = page.evaluate(numbers)
    robust = dict(zip(*[page.evaluate(f"trials.values[{at}]") for at in (0, 3)], strict=True))
    scored = [robust[number] for number in best if robust[number] is not None]
    assert scored == sorted(scored, reverse=True)
    assert robust[best[-1]] is None, "a row without a value comes last"
    page.fill("#filter", "state = complete, strength > 0.5, stage3")
    found = page.evaluate(numbers)
    assert 0 < len(found) < 20
    assert page.locator("#count").inner_text() == f"{len(found)} of 30 rows"
    page.fill("#filter", "")
    page.select_option("#state", "FAIL")
    assert set(page.evaluate(numbers)) == {7, 17, 27}
    page.select_option("#state", "")
    page.check("#front")
    assert set(page.evaluate(numbers)) == set(page.evaluate("trials.front"))
    page.uncheck("#front")
    # The rows of a filter, one more row, and a region of the front, beside all others.
    page.fill("#filter", "terms = clean+fma")
    page.click("#select-shown")
    assert page.locator("#selected").is_visible()
    fma = page.evaluate(numbers)
    assert page.locator("#selected-count").inner_text() == f"{len(fma)} of 30 rows selected"
    line = page.locator("#selected tbody tr", has=page.locator("th", has_text="terms"))
    assert f"clean+fma: {len(fma)}" in line.locator("td").nth(0).inner_text()
    assert "clean+fma: 0" in line.locator("td").nth(1).inner_text()
    page.fill("#filter", "")
    page.locator("#rows tbody tr").nth(0).click(modifiers=["Control"])
    added = page.evaluate("[...selected]")
    assert len(set(added) ^ set(fma)) == 1
    brush(page)
    both = page.evaluate("[...selected]")
    assert 1 < len(both) < 20
    strengths = page.evaluate(
        "trials.values[trials.columns.findIndex((one) => one.key === 'param.augment.strength')]"
    )
    both = sorted(strengths[number] for number in both)
    line = page.locator("#selected tbody tr", has=page.locator("th", has_text="strength"))
    shown = line.locator("td").nth(0).inner_text()
    assert shown == f"{statistics.median(both):.3g} ({both[0]:.3g} to {both[-1]:.3g})"
    assert line.locator("canvas").count() == 1
    page.click("#select-none")
    assert not page.locator("#selected").is_visible()
    page.locator("#rows tbody button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#trial").is_visible()
    page.keyboard.press("Escape")


def test_a_link_unfolds_its_section(browser: Browser, file: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(file.as_uri())
    assert page.locator("#methods").get_attribute("open") is None
    page.locator("nav a", has_text="Methods").click()
    page.locator("#methods-text").wait_for(state="visible")
    page.reload()
    assert page.locator("#methods-text").is_visible(), "it stays unfolded"
    context.close()


def test_everything_that_can_be_used_has_a_name(looked: Looked) -> None:
    nameless = looked.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')]
            .filter((one) => !one.closest('.plot'))
            .filter((one) => !(one.textContent.trim() || one.getAttribute('aria-label')
                || one.closest('label')))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    images = looked.page.evaluate("() => [...document.images].filter((one) => !one.alt).length")
    assert images == 0
    assert looked.page.locator("[role=img]:not([aria-label])").count() == 0


def test_both_themes(looked: Looked) -> None:
    page = looked.page

    def papers() -> tuple[str, str]:
        return page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                document.querySelector('[data-figure=pareto]').layout.paper_bgcolor]"""
        )

    page.emulate_media(color_scheme="light")
    assert tuple(papers()) == ("rgb(255, 255, 255)", "white")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "document.querySelector('[data-figure=pareto]').layout.paper_bgcolor === '#16191E'"
    )
    assert papers()[0] == "rgb(22, 25, 30)"
    page.locator("#theme").click()
    assert tuple(papers()) == ("rgb(255, 255, 255)", "white"), "a choice goes before the system's"
    page.emulate_media(color_scheme="light")
    assert looked.said == []


def test_words_of_a_study_stay_as_they_are_in_the_dark(looked: Looked) -> None:
    """Also those that any object of JavaScript's has as a property."""
    words = ["constructor", "toString", "__proto__"]
    assert looked.page.evaluate("(words) => exchanged(words)", words) == words


def test_a_phone_shows_all_of_it_without_moving_sideways(browser: Browser, file: Path) -> None:
    phone = Looked(browser, file, viewport={"width": 375, "height": 720}, device_scale_factor=1)
    try:
        phone.draw_all()
        wide = phone.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375
        plot = phone.page.locator("#figure-pareto .plot").bounding_box()
        assert plot is not None
        assert plot["width"] >= 300
        assert phone.said == []
    finally:
        phone.context.close()


def test_a_page_that_is_watched_loads_itself_again(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    begun = StudySource(usual_record(2, question="first"))
    write_text(report_page(content_of(begun)), file)
    looked = Looked(browser, file)
    try:
        looked.page.locator("#rows tbody button").first.click()
        # From now on the page may load itself at any moment.
        write_text(report_page(content_of(begun, reload_seconds=2)), file)
        looked.page.reload(wait_until="commit")
        ended = StudySource(usual_record(4, question="second"))
        write_text(report_page(content_of(ended)), file)
        looked.page.locator("h1", has_text="second").wait_for(timeout=60_000)
        looked.page.wait_for_selector("#trial-title:has-text('Trial 0')")
        assert looked.said == []
    finally:
        looked.context.close()
