"""Effects: one forest of claims and exploratory contrasts, in words, at one level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from drawn_figures import facts, traces
from example_ablations import (
    CLEAN,
    NOISE,
    ROBUST,
    example_ablation,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
)
from example_results import make_design, make_example, make_scores
from example_sources import ablation_source

from ablate.ablation.cell import Claim
from ablate.ablation.effects import Effect, Verdict
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.errors import ParameterError
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet
from ablate.report.figures.effects import effects_info
from ablate.report.figures.figure import FigureOptions


def draw(info: AblationInfo, objective: str = "", sheet: Sheet = COLUMN) -> Any:
    kind = find_figure("effects")
    return kind.draw(kind.info([ablation_source(info)], FigureOptions(objective=objective)), sheet)


def heading(*effects: Effect, **changes: Any) -> str:
    figure = draw(example_ablation(**({"effects": effects} if effects else {}), **changes))
    return str(figure.layout.meta["heading"])


def names(figure: Any, axis: str = "yaxis") -> list[str]:
    return [text.replace("<br>", " ") for text in figure.layout[axis].ticktext]


def marks(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "markers" and trace.hovertext]


def test_effects_are_by_metric_and_claims_come_first() -> None:
    ablation = example_ablation()
    info = effects_info(ablation, ablation.effects)
    assert info.metrics == (ROBUST, CLEAN, NOISE)
    # FMA and DA are claimed on robust accuracy, FMA gains more: so they lead on clean accuracy too.
    order = ["FMA - plain", "DA - plain", "baseline - plain"]
    assert [one.contrast for one in info.effects] == [*order, *order, "FMA - plain"]
    first = effects_info(replace(ablation, seeds=4), ablation.effects).effects[0]
    assert first.contrast == "DA - plain", "no ranking below five seeds: as the design has them"
    frame = info.frame().set_index(["contrast", "metric"])
    row = frame.loc["FMA - plain", ROBUST]
    assert (row["mean"], row["n"], row["verdict"]) == (0.163, 8, "better")
    assert (row["primary"], row["p_adjusted"]) == (True, 0.015625)
    assert frame["kept"]["FMA - plain", CLEAN]
    assert not frame["kept"]["DA - plain", CLEAN]
    empty, full = effects_info(ablation, []).frame(), info.frame()
    assert list(map(str, empty.dtypes.items())) == list(map(str, full.dtypes.items()))


def test_intervals_of_a_picture_have_one_level() -> None:
    runs = {
        name: [make_scores(0.5 + 0.01 * at + shift) for at in range(6)]
        for name, shift in (("plain", 0.0), ("a", 0.02), ("b", 0.03))
    }
    runs["a"][2] = make_scores(0.61)
    claims = tuple(Claim(f"{name} - plain", ROBUST) for name in "ab")
    example = make_example(runs, design=make_design(list(runs), claims=claims))
    info = ablation_info(example.record, example.outcomes, example.references)
    assert info.level == 0.975
    assert info.effect("a - plain", ROBUST).at_level is None
    narrow, wide = (
        info.effect("a - plain", NOISE).estimate,
        info.effect("a - plain", NOISE).at_level,
    )
    assert wide is not None
    assert (wide.mean, wide.n) == (narrow.mean, narrow.n)
    assert wide.high - wide.low > narrow.high - narrow.low > 0


def test_claims_are_filled_and_stand_first_with_their_numbers_in_the_row() -> None:
    figure = draw(example_ablation())
    assert names(figure) == [
        "<b>Declared</b>", "FMA against plain", "DA against plain",
        "<b>Exploratory</b>", "baseline against plain",
    ]  # fmt: skip
    assert figure.layout.yaxis2.ticktext == (
        "", "+16.3 [+14.3, +18.3]", "+14.5 [+12.5, +16.5]", "", "-1.0 [-3.0, +1.0]",
    )  # fmt: skip
    assert figure.layout.yaxis2.tickvals == figure.layout.yaxis.tickvals
    better, not_shown, *others = marks(figure)
    assert list(better.x) == pytest.approx([16.3])
    assert better.error_x.array[0] == better.error_x.arrayminus[0] == pytest.approx(2.0)
    assert "open" not in better.marker.symbol + not_shown.marker.symbol
    assert all("open" in one.marker.symbol for one in others)
    assert [note.text for note in figure.layout.annotations] == [
        "more robust; clean accuracy is kept; p .016",
        "not shown to differ; a clean loss is not excluded; p .062",
    ]
    (margin,) = traces(figure, "Loss within the declared margin")
    assert (min(margin.x), max(margin.x), margin.xaxis) == (-2.0, 0.0, "x2")
    assert "intervals: 97.5 % (95 % for all 2 declared contrasts together)" in facts(figure)
    wide = draw(example_ablation(), sheet=WIDE).layout
    assert wide.xaxis.domain[1] < wide.xaxis2.domain[0]
    assert (wide.yaxis.tickvals, wide.yaxis3.showticklabels) == (wide.yaxis3.tickvals, False)


def test_the_title_says_what_is_shown_or_that_nothing_is() -> None:
    best = "FMA gains 16.3 points of robust accuracy over plain, as trained"
    assert heading() == best
    all_of = (
        example_effect(f"{one} - plain", 0.1, verdict=one, p_adjusted=0.01)
        for one in get_args(Verdict)
    )
    assert len(marks(draw(example_ablation(effects=tuple(all_of))))) == len(get_args(Verdict))
    few = example_effect("a - plain", 0.1, verdict="too few seeds", p_adjusted=0.01)
    none = "No claim is supported, as trained"
    assert heading(few) == f"{none}: too few seeds, a claim needs 3"
    assert heading(replace(few, p_adjusted=None)) == none
    other = replace(few, verdict="not shown", metric="val_robust_accuracy_at_clean_loss")
    assert heading(other) == "No claim is supported, at equal clean accuracy"
    without = [one for one in example_ablation().effects if one.contrast != "FMA - plain"]
    half = [replace(one, verdict="better") if one.primary else one for one in without]
    assert heading(*half) == (
        "DA gains 14.5 points of robust accuracy over plain (a clean loss is not excluded), "
        "as trained"
    )


def test_equivalence_is_in_the_row_and_the_title_and_a_contrast_has_one_mark() -> None:
    differs = example_effect("FMA - DA", 0.001, 0.004, p_adjusted=0.3, verdict="not shown")
    same = replace(differs, p_adjusted=0.02, verdict="equivalent", equivalent_within=0.01)
    assert heading(differs, same) == (
        "FMA against DA: shown to differ by no more than 1 point, as trained"
    )
    figure = draw(example_ablation(effects=(differs, same)))
    assert names(figure) == ["<b>Declared</b>", "FMA against DA"]
    assert len(marks(figure)) == 1
    assert [note.text for note in figure.layout.annotations] == [
        "not shown to differ; p .3<br>equivalent within 1 point; p .02"
    ]
    lacking = replace(same, verdict="not shown")
    assert heading(lacking) == "No claim is supported, as trained"
    frame = effects_info(example_ablation(), [differs, same]).frame()
    assert frame["equivalent_within"].tolist()[1:] == [0.01]


def test_factors_have_contributions_and_the_strongest_interactions() -> None:
    figure = draw(factorial_ablation())
    assert figure.layout.meta["heading"] == "FMA adds 10.0 points of robust accuracy, as trained"
    together = "FMA and ST beyond their sum"
    assert names(figure)[1:4] == ["contribution of FMA", "contribution of ST", together]
    many = [example_effect(f"a{at} * b", 0.01 * at, kind="interaction") for at in range(1, 20)]
    drawn = draw(factorial_ablation(effects=tuple(many)))
    assert [round(trace.x[0]) for trace in marks(drawn)] == [19, 18, 17, 16, 15, 14]


def test_another_metric_is_asked_for_by_its_heading_and_less_may_be_better() -> None:
    figure = draw(example_ablation(), "noise")
    assert [trace.x[0] for trace in marks(figure)] == pytest.approx([16.3])
    assert figure.layout.xaxis.title.text == "Points of accuracy, noise"
    rule = r"^`objective`: must be one of robust, clean, noise, got nose\. Did you mean noise"
    with pytest.raises(ParameterError, match=rule):
        draw(example_ablation(), "nose")
    layout = draw(own_loop_ablation()).layout
    assert layout.xaxis.title.text == "Difference in loss (less is better)"
    assert layout.meta["heading"] == "No claim is supported"


@pytest.mark.parametrize("sheet", [COLUMN, Sheet(435, 321)])
def test_without_room_exploratory_rows_are_cut_and_counted(sheet: Sheet) -> None:
    long = [f"<b>a contrast with a name of several lines, {at}" for at in range(80)]
    effects = [example_effect(name, 0.1, metric=one) for name in long for one in (CLEAN, ROBUST)]
    claim = example_effect("a" * 60, 0.1, p_adjusted=0.01, verdict="better")
    figure = draw(example_ablation(effects=(*effects, claim)), sheet=sheet)
    assert figure.layout.meta["image_pixels"][1] <= 3000
    assert f"{161 - len(marks(figure))} rows not shown, for want of room" in facts(figure)
    declared, _, *others = names(figure)
    assert declared == "<b>Declared</b>"
    assert all(one.startswith("&lt;b&gt;a contrast") for one in others[1:])
