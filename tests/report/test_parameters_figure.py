"""The parameters figure: which panels there are, in which order, and what stands in them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row
from example_sources import one_objective, usual_record

from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import Failure, StudyRecord
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet, looks, marker
from ablate.report.figures.figure import FigureOptions
from ablate.report.figures.parameters import FIGURE, ParametersInfo

SPACE = {
    "loss.terms": {"choice": ["clean+st", "clean+fma"]},
    "fma": {
        "when": {"loss.terms": {"contains": "fma"}},
        "parameters": {
            "loss.fma.weight": {"float": [0.01, 100.0], "log": True},
            "loss.fma.layers": {"subset": "taps"},
        },
    },
    "augment.mix": {"simplex": ["noise", "blur", "photometric"]},
}


def fma(weight: float, *layers: str) -> dict[str, Any]:
    return {"loss.terms": "clean+fma", "loss.fma.weight": weight, "loss.fma.layers": list(layers)}


def mix(noise: float, blur: float) -> dict[str, Any]:
    return {"augment.mix": {"noise": noise, "blur": blur, "photometric": 1 - noise - blur}}


ROWS = [
    example_row(0, (0.94, 0.70), params={**fma(0.1, "stem", "stage2"), **mix(0.5, 0.25)}),
    example_row(1, (0.90, 0.80), params={"loss.terms": "clean+st", **mix(0, 1)}),
    example_row(2, (0.92, 0.65), params={**fma(10.0, "stage1"), **mix(0, 0.5)}),
    example_row(3, None, state="FAIL", params={"late": 1}, failure=Failure("raised", "boom")),
]


def info_of(record: StudyRecord, *params: str, objective: str = "") -> ParametersInfo:
    found = FIGURE.info([StudySource(record)], FigureOptions(params=params, objective=objective))
    assert isinstance(found, ParametersInfo)
    return found


def draw(record: StudyRecord, *params: str, objective: str = "", sheet: Sheet = COLUMN) -> Any:
    return FIGURE.draw(info_of(record, *params, objective=objective), sheet)


def small(rows: Any = ROWS, **settings: Any) -> StudyRecord:
    return example_record(rows, **{"space": SPACE} | settings)


def titles(figure: Any) -> list[str]:
    """Of the panels."""
    return [note.text for note in figure.layout.annotations]


def trials(figure: Any, axis: str = "") -> list[Any]:
    """Traces of trials on the axes x2 and y2 of "2"."""
    return [one for one in figure.data if one.customdata is not None and one.xaxis == f"x{axis}"]


def facts(figure: Any) -> str:
    return " · ".join(figure.layout.meta["facts"])


def test_a_panel_has_the_trials_with_its_parameter_for_both_objectives() -> None:
    figure = draw(small(), "fma.weight", "terms")
    dominated, front = trials(figure)
    assert (front.customdata, dominated.customdata) == ([0], [2])
    np.testing.assert_allclose([front.x[0], front.y[0]], [0.1, 0.94], rtol=1e-6)
    np.testing.assert_allclose(trials(figure, "2")[1].y, [0.70], rtol=1e-6)
    assert {number for one in trials(figure, "3") for number in one.customdata} == {0, 1, 2}
    assert figure.layout.xaxis.type == "log"
    assert titles(figure) == [
        "fma.weight, clean", "fma.weight, robust", "terms, clean", "terms, robust",
    ]  # fmt: skip
    assert figure.layout.yaxis3.ticktext == ("st", "fma")
    look = looks(StudySource(small()))["clean+fma"]
    assert front.marker.to_plotly_json() == marker(look)
    assert dominated.marker.color == marker(look, on_front=False)["color"]


def test_one_objective_is_drawn_alone() -> None:
    figure = draw(small(), "terms", objective="robust")
    assert "yaxis2" not in figure.layout
    (st,) = [one for one in trials(figure) if 1 in one.customdata]
    assert abs(st.y[0]) < 0.5, "the row of the first choice"
    assert (st.x[0], st.text) == (pytest.approx(0.8), ("clean+st",))
    assert titles(draw(one_objective()))[0].endswith(", robust")
    with pytest.raises(ParameterError, match=r"^`objective`: must be an objective of the study, "):
        draw(small(), objective="robst")


def test_a_layer_is_a_row_with_minus_without() -> None:
    rows = [
        example_row(at, (0.9, robust), params=fma(1.0, *taps))
        for at, (taps, robust) in enumerate(
            [(["a"], 0.60), (["a"], 0.62), (["a", "b"], 0.70), (["a", "b"], 0.74)]
        )
    ]
    figure = draw(small(rows), "layers", objective="robust")
    assert figure.layout.yaxis.ticktext == ("a", "b")
    (b,) = [one for one in figure.data if one.hovertext]
    assert (list(b.x), list(b.y)) == (pytest.approx([11]), [1]), "a is in every trial"
    assert b.error_x.array[0] == pytest.approx(9.62, abs=0.01)
    assert b.hovertext[0].startswith("<b>b</b><br>11, 1.38 to 20.6")
    assert "not a tested effect; no mark: in all trials, or too few" in facts(figure)


def test_a_mix_has_a_panel_a_ratio() -> None:
    figure = draw(small(), "mix", objective="robust")
    assert titles(figure) == ["mix.noise, robust", "mix.blur, robust", "mix.photometric, robust"]
    ratios = [list(zip(one.customdata, one.x, strict=True)) for one in trials(figure)]
    assert sorted(pair for pairs in ratios for pair in pairs) == [(0, 0.5), (1, 0), (2, 0)]


def test_panels_are_in_order_of_importance_and_the_learning_rate_is_always_there() -> None:
    random = np.random.default_rng(0)
    names = [f"p{at}" for at in range(9)]
    rows = []
    for number in range(60):
        params = {name: float(random.uniform()) for name in [*names, "z.lr"]}
        rows.append(example_row(number, (params["p7"], params["p7"]), params=params))
    record = example_record(rows, references={}, reference_point=None, trainable="loops:train")
    info = info_of(record, objective="robust")
    assert info.panels[0].key == info.ranked[0] == "p7"
    info = replace(info, panels=sorted(info.panels, key=lambda one: one.key == "z.lr"))
    figure = FIGURE.draw(info, WIDE)
    assert figure.layout.meta["heading"] == "What matters most: p7 for robust accuracy"
    shown = titles(figure)
    assert shown[:2] == ["importance, robust", "p7, robust"]
    assert shown[-1] == "lr, robust"
    assert len(shown) == 10
    assert "no room for " in facts(figure)
    assert len(titles(FIGURE.draw(info, COLUMN))) == 8
    assert len(info_of(record, *names, objective="robust").panels) == 9


def test_no_order_is_stated_that_is_not_shown() -> None:
    record = usual_record(30)
    figure = draw(record, objective="robust")
    assert figure.layout.meta["heading"] == "Which settings of example matter, and where?"
    assert "order not shown" in figure.layout.title.subtitle.text
    few = draw(usual_record(8), objective="robust")
    assert "6 trials are too few for importance" in facts(few)
    assert "importance, robust" not in few.to_json()


def test_importance_is_of_all_sets_of_terms_with_the_set_as_a_parameter() -> None:
    rows = [
        example_row(at, (0.9, 0.6 + 0.2 * (at % 2)), params={
            "loss.terms": ("fma+clean", "clean+fma", "clean+st")[at % 2 + (at % 4 == 3)],
            "augment.strength": (at * 7 % 12) / 12,
        })
        for at in range(12)
    ]  # fmt: skip
    info = info_of(example_record(rows))
    assert info.compared == 12
    assert {one.key for one in info.importances[1]} == {"loss.terms", "augment.strength"}
    (terms,) = [one for one in info.panels if one.key == "loss.terms"]
    assert terms.features[0].choices == ("clean+fma", "clean+st"), "in whatever order written"


def test_the_frame_has_trials_importances_and_layers() -> None:
    info = info_of(usual_record(30))
    frame = info.frame()
    assert frame["kind"].value_counts().to_dict() == {"trial": 24, "importance": 16, "layer": 8}
    of_trials = frame[frame["kind"] == "trial"]
    points = pareto_info(usual_record(30)).points
    assert of_trials["number"].tolist() == [point.number for point in points]
    assert of_trials["param.augment.mix.noise"].tolist() == [
        point.params["augment.mix"]["noise"] for point in points
    ]
    shares = frame[(frame["kind"] == "importance") & (frame["metric"] == "val_clean_accuracy")]
    assert shares["share"].sum() == pytest.approx(1)
    assert shares["share"].tolist() == [one.share for one in info.importances[0]]
    assert len(info_of(small([])).frame()) == 0


def test_parameters_that_are_known_without_a_trial_may_be_named() -> None:
    assert info_of(small([])).keys == (
        "loss.terms", "loss.fma.weight", "loss.fma.layers", "augment.mix",
    )  # fmt: skip
    figure = draw(small(), "late")
    assert [note.text for note in figure.layout.annotations] == ["no complete trial"]
    with pytest.raises(ParameterError, match=r"^`params`: must be parameters of the study, got y"):
        draw(small(), "y")
    with pytest.raises(NothingToDrawError, match=r"^study example: figure parameters needs a "
                       r"parameter that is searched, got none\. Search one in"):  # fmt: skip
        draw(example_record([example_row(0, (0.9, 0.7), params={})]))


def test_collapsed_trials_are_outside_the_axes_and_odd_values_are_counted() -> None:
    rows = [example_row(at, (0.9, 0.7 + 0.01 * at), params={"a": at}) for at in range(9)]
    rows.append(example_row(9, (0.1, 0.1), params={"a": 9}))
    rows.append(example_row(10, (0.9, math.nan), params={"a": 10}))
    figure = draw(example_record(rows, references={}), "a")
    assert figure.layout.yaxis2.range[0] > 0.5
    assert "1 trials with a value that is not a number" in facts(figure)


def test_a_small_image_has_fewer_panels_and_names_the_others() -> None:
    sheet = Sheet(434, 320)
    figure = draw(usual_record(12), sheet=sheet)
    assert len(titles(figure)) == 2
    assert any(one.startswith("learning_rate") for one in titles(figure))
    assert "no room for " in facts(figure)
    assert figure.layout.meta["image_pixels"] == [sheet.width, sheet.height]


@pytest.mark.slow
def test_very_many_trials_are_light() -> None:
    figure = FIGURE.draw(info_of(usual_record(2600), "learning_rate"), WIDE)
    assert {one.type for one in trials(figure, "2")} == {"scattergl"}
    assert sum(len(one.x) for one in trials(figure, "2")) == 2080
    assert len(figure.to_json()) < 150_000


def test_trials_that_violate_a_constraint_are_among_those_shown() -> None:
    limits = [{"metric": "val_clean_accuracy", "min": 0.94}]
    figure = draw(usual_record(12, constraints=limits), "learning_rate")
    assert "trials that violate a constraint are among those shown" in facts(figure)
