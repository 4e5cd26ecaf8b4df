"""What every figure owes: it bears any study, says what it stands on, and asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from functools import cache
from typing import Any

import pandas as pd
import pytest
from example_sources import ablations, searches, usual_record

from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError, ParameterError
from ablate.report.draw import print_sheet
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import COLUMN, Sheet
from ablate.report.figures.figure import FigureOptions
from ablate.report.page.page import SECTIONS
from ablate.report.style import DARK, INK, PAPER, SERIES, SMALL_SIZE, dark, faint

OF_IMAGES = ("examples",)
"""Of data and weights: tests/report/test_examples.py."""
DRAWN = [name for name in FIGURES if name not in OF_IMAGES]


@cache
def cases() -> Mapping[str, StudySource]:
    return {**searches(), **ablations()}


@cache
def drawn(name: str, case: str) -> tuple[Any, Any]:
    kind = find_figure(name)
    info = kind.info([cases()[case]])
    return info, kind.draw(info, COLUMN)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_bears_any_study(name: str) -> None:
    for case in cases():
        bears(name, case)


def bears(name: str, case: str) -> None:
    """Draws it, or says in one line why it cannot."""
    source = cases()[case]
    try:
        info, figure = drawn(name, case)
    except NothingToDrawError as error:
        said = str(error)
        assert said.startswith(f"study {source.record.name}: figure {name} ")
        assert "\n" not in said
        assert ", got " in said
        return
    text = figure.to_json()
    json.loads(text, parse_constant=lambda number: pytest.fail(f"{number} is no JSON"))
    meta = figure.layout.meta
    assert source.record.name in meta["title"]
    assert source.record.fingerprint in str(meta) or source.ablation is not None
    assert 150 <= meta["image_pixels"][1] <= 3000
    assert "<script" not in text.replace(json.dumps(meta)[1:-1], "").replace(meta["title"], "")
    title = figure.layout.title
    assert title.text
    assert title.subtitle.text
    assert title.text.count("<br>") <= 1
    assert "<br>" not in title.subtitle.text
    assert meta["facts"], "the rest is its caption"
    assert min(font_sizes(json.loads(text))) >= SMALL_SIZE, "7 pt in print"
    for trace in figure.data:
        if trace.showlegend:
            assert trace.name, "what stands in the legend has a name"
    assert isinstance(info.frame(), pd.DataFrame)
    with pytest.raises(FrozenInstanceError):
        setattr(info, fields(info)[0].name, None)


def font_sizes(part: Any, name: str = "") -> list[float]:
    """Of all texts that print shows."""
    if isinstance(part, dict):
        own = [part["size"]] if name.endswith("font") and "size" in part else []
        inner = (font_sizes(one, key) for key, one in part.items() if key != "hoverlabel")
        return [*own, *(size for sizes in inner for size in sizes)]
    if isinstance(part, list):
        return [size for one in part for size in font_sizes(one)]
    return []


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("sheet", [COLUMN, print_sheet("3.25x2.4in", 7.0, titled=False)])
def test_an_image_has_its_size_and_letters_of_seven_to_nine_points(name: str, sheet: Sheet) -> None:
    info, figure = drawn(name, first_case(name))
    figure = figure if sheet == COLUMN else find_figure(name).draw(info, sheet)
    pixels, inches = figure.layout.meta["image_pixels"], figure.layout.meta["inches"]
    assert pixels[0] == sheet.width
    assert sheet.height in (None, pixels[1])
    points = [size / pixels[0] * inches[0] * 72 for size in font_sizes(figure.to_plotly_json())]
    assert min(points) >= 6.99
    assert max(points) <= 9
    assert bool(figure.layout.title.text) == sheet.titled
    assert figure.layout.legend.orientation == "h"


def test_a_size_is_in_inches_mm_or_pixels() -> None:
    sheet = print_sheet("3.25x2.4in", 7.0, titled=True)
    assert (sheet.width, sheet.height) == (435, 321)
    assert print_sheet("82.55x60.96mm", 7.0, titled=True) == sheet
    assert print_sheet("", 9.0, titled=False) == Sheet(points=9.0, titled=False)


def test_every_mark_is_seen_on_paper_and_in_the_dark() -> None:
    for color in {*SERIES, *map(faint, SERIES)}:
        assert contrast(color, "#FFFFFF") >= 3
        assert contrast(DARK.get(color, color), DARK[PAPER]) >= 3


def contrast(one: str, other: str) -> float:
    """Of two colours, by WCAG 2.1."""
    first, second = sorted((luminance(one), luminance(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return float(sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


@pytest.mark.parametrize("name", DRAWN)
def test_a_usual_study_is_drawn(name: str) -> None:
    case = first_case(name)
    assert case in ("usual", "ablation")
    info, figure = drawn(name, case)
    assert len(figure.data) > 0
    assert len(info.frame()) > 0
    same = find_figure(name).draw(info, COLUMN)
    assert same.to_json() == figure.to_json(), "the same study gives the same figure"


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_the_dark_form_differs_in_its_inks_alone(name: str) -> None:
    _, light = drawn(name, first_case(name))
    other = dark(light)
    assert other.layout.font.color == DARK[INK]
    assert other.layout.paper_bgcolor == DARK[PAPER]
    as_light, as_dark = light.to_json(), other.to_json()
    for ink, exchanged in DARK.items():
        as_light = as_light.replace(json.dumps(ink), json.dumps(exchanged))
    assert json.loads(as_light) == json.loads(as_dark)


def first_case(name: str) -> str:
    return next(case for case in ("usual", "ablation", *cases()) if _draws(name, case))


def _draws(name: str, case: str) -> bool:
    try:
        drawn(name, case)
    except NothingToDrawError:
        return False
    return True


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_heading_and_a_sentence(name: str) -> None:
    kind = find_figure(name)
    assert kind.name == name
    assert kind.section in SECTIONS
    assert kind.title[0].isupper()
    assert kind.says[0].isupper()
    assert kind.says.endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_several_studies_or_a_clear_no(name: str) -> None:
    kind = find_figure(name)
    two = [StudySource(usual_record()), StudySource(usual_record(20, seed=1, name="second"))]
    is_of_ablations = name in DRAWN and first_case(name) == "ablation"
    if is_of_ablations:
        two = [cases()["ablation"]] * 2
    if not kind.several:
        with pytest.raises(ParameterError, match=rf"^`name={name}`: takes one study, got 2\. "):
            kind.info(two)
        return
    if not is_of_ablations:  # of several: tests/ablation/test_pooled.py
        assert "second" in kind.draw(kind.info(two), COLUMN).to_json()


@pytest.mark.parametrize("name", FIGURES)
def test_an_option_that_a_figure_does_not_look_at_is_refused(name: str) -> None:
    kind = find_figure(name)
    asked = {"trials": (0,), "params": ("augment.strength",), "objective": "val_robust_accuracy"}
    for option, value in asked.items():
        if option not in kind.takes:
            with pytest.raises(ParameterError, match=rf"^`name={name}`: takes no `{option}`\. L"):
                kind.info([cases()["usual"]], FigureOptions(**{option: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "case", "said"),
    [
        ("pareto", "one objective", "needs two objectives, got one. Draw history."),
        ("effects", "one objective", "got a search. Draw history, or run ablate confirm and"),
    ],
)
def test_one_objective_has_its_own_figure(name: str, case: str, said: str) -> None:
    with pytest.raises(NothingToDrawError) as caught:
        drawn(name, case)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["history", "profile", "parameters", "curves"])
def test_one_objective_has_best_trials_and_no_front(name: str) -> None:
    _, figure = drawn(name, "one objective")
    assert len(figure.data) > 0
    text = figure.to_json()
    assert "on the front" not in text
    assert "dominated" not in text


def test_an_unknown_figure_is_answered_with_the_list() -> None:
    with pytest.raises(ParameterError, match=r"^`name`: must be one of pareto, .*got parto"):
        find_figure("parto")
