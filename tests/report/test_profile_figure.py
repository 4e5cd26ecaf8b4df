"""The profile and the lines against severity: what is drawn where, by values."""

from __future__ import annotations

from typing import Any

import pytest
from example_records import example_record, example_row
from example_sources import FAMILIES, searches, sloped_scores
from plotly.graph_objects import Figure

from ablate.analysis.profile import profile_info, severity_info
from ablate.errors import NothingToDrawError
from ablate.ledger.record import StudyRecord
from ablate.report.figures import find_figure
from ablate.report.figures import profile as profile_figure
from ablate.report.figures.figure import FigureOptions
from ablate.report.figures.parts.heat_panels import HeatGrid, HeatPanel
from ablate.report.figures.profile import plot_profile
from ablate.report.figures.severity import plot_severity
from ablate.report.style import DIVERGING, INK, PAPER, terms_style

NOISE = ("gaussian_noise", "impulse_noise")


def record(*, terms: tuple[str, ...] = ("clean+fma", "clean+st"), **changes: Any) -> StudyRecord:
    """Trial 0 gains ten points on every type, and was trained on noise; trial 1 gains five."""
    rows = [
        example_row(
            number,
            (0.93 + 0.01 * number, 0.70 - 0.05 * number),
            scores=sloped_scores(
                0.93 + 0.01 * number, 0.70 - 0.05 * number, seen=() if number else NOISE
            ),
            params={"loss.terms": term},
        )
        for number, term in enumerate(terms)
    ]
    references = {"baseline": sloped_scores(0.95, 0.60), "plain": sloped_scores(0.96, 0.61)}
    return example_record(rows, **{"references": references, **changes})


def cells(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "heatmap"]


def texts(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def test_the_baseline_shows_accuracies_and_the_others_differences() -> None:
    figure = plot_profile(profile_info(record()))
    baseline, plain, fma, st = cells(figure)[:2] + cells(figure)[:1:-1]
    # The first row has the family's name, and nothing in it.
    assert list(baseline.z[0]) == [None, None, None]
    assert list(baseline.z[1]) == [0.0, 0.0, 0.0]
    assert list(baseline.text[1]) == ["55.0", "50.0", "45.0"]
    assert list(plain.z[1]) == pytest.approx([0.01, 0.01, 0.01])
    assert list(fma.z[1]) == pytest.approx([0.1, 0.1, 0.1])
    assert list(fma.text[1]) == ["+10.0", "+10.0", "+10.0"]
    assert list(st.text[1]) == ["+5.0", "+5.0", "+5.0"]
    assert fma.hovertext[1][2] == (
        "<b>Trial 0</b><br>gaussian_noise, severity 5<br>"
        "accuracy: <b>55.0</b> (+10.0 against the baseline)<br>trained on"
    )
    colours = figure.layout.coloraxis
    assert (colours.cmin, colours.cmax) == pytest.approx((-0.1, 0.1))
    assert [stop[1] for stop in colours.colorscale] == [color for _, color in DIVERGING]


def test_a_panel_says_whose_it_is() -> None:
    figure = plot_profile(profile_info(record()))
    said = texts(figure)
    assert said[0] == "<b>Baseline</b><br>accuracy<br>clean: 95.0"
    assert said[-1] == "<b>Trial 0</b><br>clean+fma<br>clean: 93.0 (-2.0)"
    marks = [trace for trace in figure.data if trace.type == "scatter"]
    assert [mark.customdata for mark in marks] == [None, None, (1,), (0,)]
    assert [mark.marker.color for mark in marks] == [
        INK, PAPER, terms_style("clean+st").color, terms_style("clean+fma").color,
    ]  # fmt: skip
    types = [kind for kinds in FAMILIES.values() for kind in kinds]
    assert [tick for tick in figure.layout.yaxis.ticktext if tick in types] == types


def test_types_that_were_trained_on_are_framed() -> None:
    figure = plot_profile(profile_info(record()))
    (frame,) = figure.layout.shapes
    rows = [figure.layout.yaxis.ticktext.index(kind) for kind in NOISE]
    assert (frame.yref, round(frame.y0), round(frame.y1)) == ("y4", *rows)
    assert "framed: types trained on" in " · ".join(figure.layout.meta["facts"])
    without = plot_profile(profile_info(record(), [1]))
    assert without.layout.shapes == ()
    assert "framed" not in " · ".join(without.layout.meta["facts"])


def test_numbers_lose_their_decimal_before_they_lose_their_cell() -> None:
    figure = plot_profile(profile_info(record(terms=("clean+fma",) * 5)))
    assert figure.layout.meta["image_pixels"][0] <= 900
    assert list(cells(figure)[-1].text[1]) == ["+10.0", "+10.0", "+10.0"]
    assert profile_figure._number(0.1, False, 30) == "+10"


def test_more_panels_than_fit_stand_in_lines() -> None:
    rows, severities = [f"noise{number}" for number in range(19)], list("12345")
    grid = HeatGrid.of(8, rows, severities, (30, 46), 118, 3)
    assert (grid.lines, grid.across) == (2, 4)
    assert grid.sizes["pixels"][0] <= 900
    figure = Figure()
    grid.draw(figure, [HeatPanel(("",), [])] * 8, ("", ""))
    first, fifth = figure.layout.xaxis.domain, figure.layout.xaxis5.domain
    assert first == pytest.approx(fifth)
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis5.domain[1]


def test_references_alone_are_drawn_and_it_is_said() -> None:
    figure = plot_profile(profile_info(record(terms=())))
    assert len(cells(figure)) == 2
    assert "no complete trial" in " · ".join(figure.layout.meta["facts"])
    empty = plot_profile(profile_info(record(terms=(), references={}, reference_point=None)))
    assert texts(empty) == ["no complete trial"]


def test_without_a_baseline_all_show_accuracies() -> None:
    figure = plot_profile(profile_info(record(references={}, reference_point=None)))
    assert list(cells(figure)[-1].text[1]) == ["65.0", "60.0", "55.0"]
    assert figure.layout.coloraxis.showscale is False


def test_a_mark_is_beside_its_name_however_wide_the_page_is() -> None:
    """The text is placed in pixels from the middle of its mark."""
    figure = plot_profile(profile_info(record()))
    marks = [trace for trace in figure.data if trace.type == "scatter"]
    for mark, note in zip(marks, figure.layout.annotations, strict=True):
        assert (note.x, note.y) == (mark.x[0], mark.y[0])
        assert (note.xref, note.yref) == (mark.xaxis, mark.yaxis)
        assert (note.xanchor, note.yanchor) == ("left", "top")
        assert note.xshift > mark.marker.size / 2


def test_lines_begin_at_the_clean_images() -> None:
    figure = plot_severity(severity_info(profile_info(record())))
    families, names = texts(figure)[:3], texts(figure)[3:]
    assert families == ["<b>noise</b>", "<b>blur</b>", "<b>photometric</b>"]
    assert list(figure.layout.xaxis.ticktext) == ["clean", "1", "3", "5"]
    trial = next(trace for trace in figure.data if trace.name == "Trial 0, clean+fma")
    assert list(trial.x) == [0, 1, 3, 5]
    assert list(trial.y) == pytest.approx([0.93, 0.65, 0.60, 0.55])
    assert list(trial.customdata) == [0, 0, 0, 0]
    assert trial.line.color == terms_style("clean+fma").color
    assert trial.hovertext[1] == (
        "<b>Trial 0</b>, clean+fma<br>noise, severity 1: <b>65.0</b> (+10.0 against the baseline)"
    )
    # At the ends of the lines of the last panel, from below.
    assert names == ["Baseline", "Plain finetune", "Trial 1, clean+st", "Trial 0, clean+fma"]
    assert not any(trace.showlegend for trace in figure.data)
    assert [trace.xaxis for trace in figure.data[::4]] == ["x", "x2", "x3"]


def test_lines_of_the_same_terms_differ_in_colour_and_dash() -> None:
    terms = ("clean+fma", "clean+st", "fma+clean", "clean+fma")
    figure = plot_severity(severity_info(profile_info(record(terms=terms), [0, 1, 2, 3])))
    lines = {trace.name: trace.line for trace in figure.data[:6]}
    assert {name: line.dash for name, line in lines.items()} == {
        "Baseline": "solid", "Plain finetune": "dot", "Trial 0, clean+fma": "solid",
        "Trial 1, clean+st": "solid", "Trial 2, clean+fma": "dash", "Trial 3, clean+fma": "dot",
    }  # fmt: skip
    trials = list(figure.data[2:6])
    colors = [trace.line.color for trace in trials]
    assert len(set(colors)) == len(trials)
    assert colors[:2] == [terms_style(one).color for one in terms[:2]]
    assert [trace.marker.color for trace in trials] == colors
    assert len({trace.marker.symbol for trace in trials}) == 2  # that of the terms
    names = {note.text: note.font.color for note in figure.layout.annotations}
    assert [names[trace.name] for trace in trials] == colors


@pytest.mark.parametrize("name", ["profile", "severity"])
def test_which_trials_can_be_asked_for(name: str) -> None:
    kind = find_figure(name)
    usual = searches()["usual"]
    frame = kind.info([usual], FigureOptions(trials=(4,))).frame()
    assert set(frame["trial"].dropna()) == {4}


@pytest.mark.parametrize("name", ["profile", "severity"])
def test_a_loop_of_the_users_own_has_no_types(name: str) -> None:
    with pytest.raises(NothingToDrawError) as error:
        find_figure(name).info([searches()["own loop"]])
    assert str(error.value) == (
        f"study example: figure {name} needs accuracies by type of corruption, got a custom "
        "training loop. Draw pareto."
    )
