"""The report's page: what is in it, and what it does in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from example_records import BEGAN, example_record, example_row, example_scores
from example_sources import searches, usual_record

from ablate.ablation.study_source import StudySource
from ablate.analysis.summary import status_info
from ablate.ledger.record import Drive, Rung, TestOpened
from ablate.lifecycle.open_study import OpenStudy
from ablate.report.page.page import (
    Glossary,
    ReportContent,
    origin_facts,
    report_content,
    report_page,
    trials_of,
)
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


@pytest.fixture
def _one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.report.page.page.FIGURES", ())


@pytest.fixture(scope="module")
def page_text(usual: ReportContent) -> str:
    return report_page(usual)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["all failed", "three objectives"])
def test_a_page_bears_any_search(case: str) -> None:
    content = content_of(searches()[case])
    page = report_page(content)
    assert page.startswith("<!doctype html>")
    assert page.count("<figure ") == len(content.figures) > 0
    assert page.rstrip().endswith("</html>")


def test_plotly_is_in_it_once_and_every_script_ends_where_it_should(page_text: str) -> None:
    assert len(re.findall(r"\* plotly\.js v\d", page_text)) == 1
    assert "<script>alert" not in page_text
    assert "</script><b>" not in page_text
    assert page_text.count("<script") == page_text.count("</script>")


def test_the_first_screen_is_the_answer_and_the_rest_is_folded(
    usual: ReportContent, page_text: str
) -> None:
    assert usual.first is not None
    assert usual.first.anchor == "pareto"
    first, below = page_text.split('class="section"', 1)
    for sentence in usual.answer.sentences:
        assert sentence.split()[-1].strip("`.") in first
    assert f"ablate export runs/example --trial {usual.answer.trial} -o " in first
    assert below.count('class="section">') == len(usual.sections) - 1, "none is open"
    anchors = [figure.anchor for figure in usual.figures]
    assert len(anchors) == len(set(anchors))


@pytest.mark.usefixtures("_one_figure")
def test_a_network_without_weights_has_no_command(usual: ReportContent) -> None:
    """Those of an archive."""
    record = example_record([example_row(0, (0.9, 0.7), scores=example_scores(0.9, 0.7))])
    assert content_of(StudySource(record)).command.endswith("-o example-0.safetensors")
    without = content_of(StudySource(record), has_weights=False)
    braces = report_content(StudySource(record), reference="runs/{a}", now=NOW)
    assert braces.command.startswith("ablate export runs/{a} --trial 0 ")
    assert (without.trials["exportable"], without.command) == ([], "")
    assert usual.command.endswith(f"-o script-alert-1-{usual.answer.trial}.safetensors")


@pytest.mark.usefixtures("_one_figure")
def test_a_study_without_a_question_asks_a_plain_one(usual: ReportContent) -> None:
    assert usual.question.startswith("Does ")
    record = example_record([example_row(0, (0.9, 0.7))], question="")
    assert content_of(StudySource(record)).question.startswith("What does robustness cost")


def test_levels_of_headings_leave_none_out(page_text: str) -> None:
    levels = [int(level) for level in re.findall(r"^ *(?:<summary>)?<h(\d)", page_text, re.M)]
    assert levels[0] == 1
    assert {*levels} == {1, 2, 3}
    assert levels.count(1) == 1


def test_terms_are_explained_where_they_stand_first() -> None:
    terms = Glossary()
    meaning = "Data augmentation, training on distorted copies: cross-entropy"
    first = terms.explained("DA and <b> `DA` & a plain finetune of DAs")
    assert first.startswith(f'<abbr title="{meaning}')
    assert "&lt;b&gt; <code>DA</code> &amp; a <abbr" in first
    assert first.endswith(" finetune of DAs")
    assert terms.explained("DA, a dabbler, and fronts").count("<abbr") == 1
    assert terms.spelled_out("FMA with DA; STEP") == (
        "FMA: feature-map augmentation loss · DA: data augmentation, training on distorted copies"
    )
    assert "\N{NO-BREAK SPACE}points" in terms.explained("a change of +1.7 points (-0.8 to +4.2)")


def test_notes_stand_once(usual: ReportContent) -> None:
    assert len(usual.notes) == len(set(usual.notes)) > 3
    for figure in usual.figures:
        assert not set(figure.facts.split(" · ")) & set(usual.notes)


@pytest.mark.usefixtures("_one_figure")
def test_a_password_of_the_storage_is_nowhere() -> None:
    record = usual_record(2, storage="postgresql+psycopg://me:SECRET@host/db")
    page = report_page(content_of(StudySource(record)))
    assert "SECRET" not in page
    assert "search:" in page, "the other settings are there"


def test_trials_are_data_of_the_table(usual: ReportContent) -> None:
    table = usual.trials
    keys = [column["key"] for column in table["columns"]]
    assert keys[:5] == [
        "number", "state", "val_clean_accuracy", "val_robust_accuracy", "param.loss.terms",
    ]  # fmt: skip
    assert len(table["values"]) == len(keys)
    assert table["values"][0] == list(range(30))
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
    columns = {column["key"]: column for column in table["columns"]}
    values = dict(zip(columns, table["values"], strict=True))
    assert columns["rung_epoch"]["heading"] == "Last rung"
    assert values["rung_epoch"] == [3, None]
    assert columns["rung.val_robust_accuracy"]["percent"]
    assert values["rung.val_robust_accuracy"] == [61.5, None]


def test_provenance_has_code_machine_seeds_dates_and_data() -> None:
    began = BEGAN.timestamp()
    made = {
        "python": "3.11.7",
        "platform": "Linux",
        "packages": {"torch": "2.6.0"},
        "git": {"commit": "abc", "dirty": True},
    }
    drive = Drive(began, "node0", 1, began + 120, "finished", provenance=made)
    opened = TestOpened(began + 60, "confirm 2 trials", "example~confirm")
    record = usual_record(10, drives=[drive])
    record = replace(record, test_opened=(opened,), parent="other")
    found = dict(origin_facts(status_info(record, NOW)))
    assert found["Code"] == "commit abc, with uncommitted changes"
    assert found["Versions"] == "python 3.11.7, torch 2.6.0"
    assert found["Started"] == "2026-03-01 12:00 UTC"
    assert found["Trials"].startswith("8 complete, 1 pruned, 1 fail")
    assert found["Seeds"] == "search 0; split 0; corrupted sets 0; training 0"
    assert found["Part of"] == "other"
    assert "hosts node0, node1" in found["Hardware"]
    assert found["Selected on"] == "the validation images"
    assert found["Test images used"].endswith("confirm 2 trials; scores in example~confirm")
    for test, used in ((None, "never"), ({"suite": "all"}, "by every run")):
        own = replace(record, test_opened=(), test=test)
        assert dict(origin_facts(status_info(own, NOW)))["Test images used"] == used


@pytest.mark.slow
def test_a_confirmed_search_has_both_splits(recorded: Callable[[str], OpenStudy]) -> None:
    content = content_of(recorded("quickstart").source)
    titles = [table.title for section in content.sections for table in section.tables]
    assert titles == [
        "Front of the search, validation images",
        "Means, test images",
        "Differences, test images",
    ]
    assert any(one.startswith("conditional on the one baseline") for one in content.notes)
    assert content.state == "finished; confirmed: 20 of 20 runs"


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
    # From below: above on the right are plotly's buttons.
    page.mouse.move(plot["x"] + plot["width"] - 2, plot["y"] + 0.6 * plot["height"])
    page.mouse.down()
    page.mouse.move(plot["x"] + 2, plot["y"] + 2, steps=4)
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
    assert looked.draw_all() == len(usual.figures) > 4
    outside = [url for url in looked.asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []
    assert looked.said == []
    assert looked.page.locator("h1").inner_text() == "Does </script><b>it</b> & 'that' help?"


def test_a_click_in_one_figure_marks_the_trial_in_the_others(looked: Looked) -> None:
    looked.draw_all()
    page = looked.page
    page.locator("#figure-pareto .plot").evaluate("element => element.scrollIntoView()")
    # A mark of plotly's is under layers that catch the mouse: the place on the screen is clicked.
    place = page.evaluate(
        """() => {
            const plot = document.querySelector('[data-figure=pareto]');
            const numbers = plot.data.map(
                (one) => Array.from(values(one.customdata) ?? [], numberOf));
            const number = trials.front[0];
            const at = numbers.findIndex((some) => some.includes(number));
            const point = numbers[at].indexOf(number);
            const trace = plot._fullData[at], axes = plot._fullLayout;
            const box = plot.getBoundingClientRect();
            return {
                x: box.left + axes._size.l + axes.xaxis.d2p(trace.x[point]),
                y: box.top + axes._size.t + axes.yaxis.d2p(trace.y[point]),
                number,
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
    page.locator("#trial .copy").click()
    page.wait_for_function("document.getElementById('said').textContent === 'Copied'")
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
    page.click("#select-none")
    assert not page.locator("#selected").is_visible()
    page.locator("#rows tbody button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#trial").is_visible()
    page.keyboard.press("Escape")


def test_a_filter_that_matches_no_column_says_so(looked: Looked) -> None:
    looked.page.fill("#filter", "robustness > 90")
    count = looked.page.locator("#count")
    assert count.inner_text() == 'no column "robustness": see Columns for their names'
    assert looked.page.locator("#rows tbody tr").count() == 0
    looked.page.fill("#filter", "")
    assert count.inner_text() == "30 of 30 rows"


def test_a_link_unfolds_its_section(browser: Browser, file: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(file.as_uri())
    assert page.locator("#settings").get_attribute("open") is None
    page.evaluate("location.hash = 'figure-parameters'")
    page.locator("#figure-parameters").wait_for(state="visible")
    page.reload()
    assert page.locator("#figure-parameters").is_visible(), "it stays unfolded"
    context.close()


def test_printing_draws_all_figures_and_unfolds_all(
    browser: Browser, file: Path, usual: ReportContent
) -> None:
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(file.as_uri())
    page.wait_for_selector(".plot .main-svg", state="attached")
    assert page.evaluate("drawn.size") == 1, "a figure is drawn when it comes into view"
    page.evaluate("""() => {
        addEventListener("beforeprint", () => setTimeout(() => {
            window.printed = [drawn.size, document.querySelectorAll("details:not([open])").length];
        }));
    }""")
    page.pdf()
    page.wait_for_function("window.printed")
    assert page.evaluate("drawn.size") == len(usual.figures)
    assert page.locator("details.section[open]").count() == 0, "folded again afterwards"
    page.close()


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
    assert tuple(papers()) == ("rgb(255, 255, 255)", "#FFFFFF")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "document.querySelector('[data-figure=pareto]').layout.paper_bgcolor === '#16191E'"
    )
    assert papers()[0] == "rgb(22, 25, 30)"
    page.locator("#theme").click()
    assert tuple(papers()) == ("rgb(255, 255, 255)", "#FFFFFF"), "a choice goes before the system's"
    page.emulate_media(color_scheme="light")
    assert looked.said == []


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
