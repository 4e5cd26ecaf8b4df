"""What every figure owes: it bears any study, says what it stands on, and asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from functools import cache
from typing import Any

import pandas as pd
import pytest
from example_sources import ablations, one_objective, searches, usual_record

from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError, ParameterError
from ablate.report.draw import print_size
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.figure import FigureOptions
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS
from ablate.report.figures.parts.names import legend_pixels
from ablate.report.style import DARK, INCHES_PER_PIXEL, INK, SMALL_SIZE, dark

OF_ABLATIONS = ("effects", "interactions", "arms", "transfer")
OF_SEVERAL = ("attainment",)
"""Of several searches, or of an ablation's seeds."""
OF_CURVES = ("curve",)
"""Of trials with `finetune.interpolation`."""
OF_ONE = ("history",)
"""Of one objective. All other figures draw the usual search."""


@cache
def cases() -> Mapping[str, StudySource]:
    return {**searches(), **ablations()}


def draw(name: str, case: str) -> tuple[Any, Any]:
    kind = find_figure(name)
    info = kind.info([cases()[case]])
    return info, kind.draw(info)


drawn = cache(draw)


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
    width, height = meta["image_pixels"]
    assert 300 <= width <= WIDE_PIXELS[0]
    assert 150 <= height <= 3000
    assert "<script" not in text.replace(json.dumps(meta)[1:-1], "").replace(meta["title"], "")
    title = figure.layout.title
    assert title.text
    assert title.subtitle.text
    assert "<br>" not in title.text + title.subtitle.text, "two lines over a figure"
    assert meta["facts"], "the rest is its caption"
    assert min(font_sizes(json.loads(text))) >= SMALL_SIZE, "7 pt in print"
    for trace in figure.data:
        if trace.showlegend:
            assert trace.name, "what stands in the legend has a name"
    margin = figure.layout.margin
    room = legend_pixels(figure, width - margin.l - margin.r)
    assert margin.b >= meta["bottom"] + room, "the legend is beside the plot, not over it"
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


@pytest.mark.parametrize("name", FIGURES)
def test_the_smallest_text_has_seven_points_in_a_column(name: str) -> None:
    assert COLUMN_PIXELS[0] * INCHES_PER_PIXEL == pytest.approx(3.25, abs=0.01)
    assert WIDE_PIXELS[0] * INCHES_PER_PIXEL <= 6.75
    assert pytest.approx(7.0) == 72 * SMALL_SIZE * INCHES_PER_PIXEL
    info, own = drawn(name, first_case(name))
    size = print_size("3.25x2.4in", 7.0, titled=False)
    figure = size.draw(find_figure(name), info)
    remark = size.apply(figure)
    pixels, inches = figure.layout.meta["image_pixels"], figure.layout.meta["inches"]
    assert min(font_sizes(json.loads(figure.to_json()))) / pixels[0] * inches[0] * 72 >= 6.99
    assert inches[0] == 3.25
    assert pixels[0] / pixels[1] == pytest.approx(inches[0] / inches[1])
    if inches[1] > 2.42:
        assert remark.startswith(f"is {inches[1]:.1f} in high, which its text needs at 3.25x2.4in.")
    else:
        assert (inches[1], remark) == (pytest.approx(2.4, abs=0.02), "")
    assert len(figure.data) == len(own.data)


def test_a_high_legend_is_in_columns_of_print_which_leave_the_plot_room() -> None:
    _, figure = draw("pareto", "usual")
    entries = [one for one in figure.data if one.showlegend]
    print_size("3.25x2.4in", 7.0, titled=False).apply(figure)
    columns = [
        [one.name for one in entries if (one.legend or "legend") == name]
        for name in ("legend", "legend2", "legend3")
    ]
    assert sum(map(len, columns)) == len(entries) >= 7
    assert all(columns)
    assert figure.layout.legend2.font.size == SMALL_SIZE
    height, margin = figure.layout.meta["image_pixels"][1], figure.layout.margin
    assert height - margin.t - margin.b > 0.4 * height


@pytest.mark.parametrize(
    "name", [name for name in FIGURES if name not in OF_ABLATIONS + OF_SEVERAL + OF_CURVES]
)
def test_a_usual_search_is_drawn(name: str) -> None:
    usual = "one objective" if name in OF_ONE else "usual"
    info, figure = drawn(name, usual)
    assert len(figure.data) > 0
    assert len(info.frame()) > 0
    again, same = draw(name, usual)
    assert same.to_json() == figure.to_json(), "the same study gives the same figure"
    pd.testing.assert_frame_equal(again.frame(), info.frame())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_dark_form_differs_in_its_inks_alone(name: str) -> None:
    _, light = drawn(name, first_case(name))
    other = dark(light)
    assert other.layout.font.color == DARK[INK]
    assert other.layout.paper_bgcolor == DARK["white"]
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
    assert kind.title[0].isupper()
    assert kind.says[0].isupper()
    assert kind.says.endswith(".")


@pytest.mark.parametrize("name", FIGURES)
def test_several_studies_or_a_clear_no(name: str) -> None:
    kind = find_figure(name)
    kind_of = one_objective if name in OF_ONE else usual_record
    two = [StudySource(kind_of()), StudySource(kind_of(20, seed=1, name="second"))]
    if name in OF_ABLATIONS:
        two = [cases()["ablation"]] * 2
    if not kind.several:
        with pytest.raises(ParameterError, match=rf"^--figure {name}: takes one study, got 2\. "):
            kind.info(two)
        return
    if name not in OF_ABLATIONS:  # of several: tests/ablation/test_pooled.py
        assert "second" in kind.draw(kind.info(two)).to_json()


@pytest.mark.parametrize("name", FIGURES)
def test_an_option_that_a_figure_does_not_look_at_is_refused(name: str) -> None:
    kind = find_figure(name)
    asked = {"trials": (0,), "params": ("augment.strength",), "objective": "val_robust_accuracy"}
    for option, value in asked.items():
        if option not in kind.takes:
            with pytest.raises(ParameterError, match=rf"^--figure {name}: takes no --{option}\. L"):
                kind.info([cases()["usual"]], FigureOptions(**{option: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "case", "said"),
    [
        ("pareto", "one objective", "needs two objectives, got one. Draw history."),
        ("hypervolume", "one objective", "needs two objectives, got one. Draw history."),
        ("attainment", "one objective", "needs two objectives, got one. Draw history."),
        ("effects", "one objective", "got a search. Draw history, or run ablate confirm and"),
        ("history", "usual", "needs one objective, got 2. Draw pareto or hypervolume."),
    ],
)
def test_one_objective_has_its_own_figure(name: str, case: str, said: str) -> None:
    with pytest.raises(NothingToDrawError) as caught:
        drawn(name, case)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["history", "edf", "profile", "severity", "importance", "slice", "layers", "mix", "curves"],
)
def test_one_objective_has_best_trials_and_no_front(name: str) -> None:
    _, figure = drawn(name, "one objective")
    assert len(figure.data) > 0
    text = figure.to_json()
    assert "on the front" not in text
    assert "dominated" not in text


def test_an_unknown_figure_is_answered_with_the_list() -> None:
    with pytest.raises(ParameterError, match=r"^--figure: must be one of pareto, .*got parto"):
        find_figure("parto")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("rank", "Draw slice."),
        ("contour", "Draw slice."),
        ("parallel", "Use the table of trials of ablate report, or ablate trials."),
    ],
)
def test_a_removed_figure_is_answered_with_what_replaces_it(name: str, instead: str) -> None:
    with pytest.raises(ParameterError) as caught:
        find_figure(name)
    assert str(caught.value) == f"--figure: {name} was removed. {instead}"
