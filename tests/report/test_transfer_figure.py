"""The transfer figure: trained on x tested on, what is drawn where, by values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_ablations import example_ablation, example_arm
from example_sources import ablation_source

from ablate.ablation.info import AblationInfo, Transfer
from ablate.errors import NothingToDrawError
from ablate.report.figures.transfer import FIGURE
from ablate.report.style import INK

TYPES = ("gaussian_noise", "<b>blur</b>")
DA = Transfer(
    "DA <i>single</i>",
    TYPES,
    (*TYPES, "contrast"),
    ((0.9, 0.5, 0.7), (0.4, 0.8, math.nan)),
    ((0.3, -0.1, 0.0), (-0.2, 0.2, math.nan)),
)


def draw(*transfers: Transfer, **changes: Any) -> tuple[Any, Any]:
    info = FIGURE.info([ablation_source(example_ablation(transfers=transfers, **changes))])
    return info, FIGURE.draw(info)  # type: ignore[arg-type]


def test_a_column_is_a_model_and_a_row_what_it_is_tested_on() -> None:
    _, figure = draw(DA)
    (cells,) = figure.data
    assert [list(row) for row in cells.z] == [[0.3, -0.2], [-0.1, 0.2], [0.0, None]]
    assert [list(row) for row in cells.text] == [["90.0", "40.0"], ["50.0", "80.0"], ["70.0", ""]]
    assert list(figure.layout.xaxis.ticktext) == ["gaussian_noise", "&lt;b&gt;blur&lt;/b&gt;"]
    assert figure.layout.yaxis.ticktext[2] == "contrast"
    assert figure.layout.yaxis.range[0] == 2.5  # the first is on top
    assert figure.layout.annotations[0].text == "<b>DA &lt;i&gt;single&lt;/i&gt;</b>"
    assert cells.hovertext[0][1] == (
        "trained on &lt;b&gt;blur&lt;/b&gt;<br>tested on gaussian_noise: <b>40.0</b> "
        "(-20.0 over plain)"
    )
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-0.3, 0.3)
    assert "colour: mean gain over plain" in " · ".join(figure.layout.meta["facts"])


def test_a_models_own_type_is_framed() -> None:
    _, figure = draw(DA)
    places = [(round(frame.x0), round(frame.y1)) for frame in figure.layout.shapes]
    assert places == [(0, 0), (1, 1)]
    assert {frame.line.color for frame in figure.layout.shapes} == {INK}


def test_a_gain_that_is_not_known_has_no_colour_and_its_number() -> None:
    unknown = replace(DA, gains=((math.nan,) * 3,) * 2)
    _, figure = draw(unknown)
    assert list(figure.data[0].z[0]) == [0.0, 0.0]
    assert figure.data[0].text[0][0] == "90.0"
    assert figure.layout.coloraxis.showscale is False
    assert "colour:" not in " · ".join(figure.layout.meta["facts"])


def test_arms_stand_side_by_side_as_far_as_they_fit() -> None:
    _, figure = draw(DA, replace(DA, arm="ST"))
    first, second = figure.layout.xaxis.domain, figure.layout.xaxis2.domain
    assert first[1] < second[0]
    assert figure.layout.yaxis.domain == figure.layout.yaxis2.domain
    assert figure.layout.yaxis2.ticktext == ()
    _, figure = draw(*(replace(DA, arm=f"arm {number}") for number in range(5)))
    assert figure.layout.xaxis4.domain == figure.layout.xaxis.domain
    assert figure.layout.yaxis4.domain[1] < figure.layout.yaxis.domain[0]
    assert figure.layout.meta["image_pixels"][0] <= 900


def test_the_frame_has_a_row_a_cell() -> None:
    info, _ = draw(DA)
    frame = info.frame()
    assert frame.dtypes.astype(str).to_dict() == {
        "arm": "string", "trained_on": "string", "tested_on": "string", "mean": "float64",
        "gain": "float64",
    }  # fmt: skip
    assert len(frame) == 6
    row = frame[(frame["trained_on"] == TYPES[1]) & (frame["tested_on"] == TYPES[0])].iloc[0]
    assert (row["mean"], row["gain"]) == (0.4, -0.2)


def test_before_a_run_has_ended() -> None:
    arm = replace(example_arm("DA", {}), cells=("DA: blur", "DA: contrast"))
    info, figure = draw(arms=(arm,), metrics=(), ended=0)
    assert len(info.frame()) == 0
    assert [note.text for note in figure.layout.annotations] == ["no successful run yet"]


@pytest.mark.parametrize("info", [example_ablation(), example_ablation(arms=(), metrics=())])
def test_an_ablation_without_single_models(info: AblationInfo) -> None:
    with pytest.raises(NothingToDrawError) as error:
        FIGURE.info([ablation_source(info)])
    assert str(error.value) == (
        "study example: figure transfer needs an arm with one model per type, got none. Set "
        "augment.types: each in an arm."
    )
