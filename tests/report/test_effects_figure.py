"""Effects: one forest of claims and exploratory contrasts, in words, at one level."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
from drawn_figures import facts, traces
from example_ablations import (
    CLEAN,
    NOISE,
    ROBUST,
    estimate,
    example_ablation,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
    scored_arm,
)
from example_results import make_design, make_example, make_scores
from example_sources import ablation_source

from ablate.ablation.cell import Claim
from ablate.ablation.effects import Verdict
from ablate.ablation.info import AblationInfo, ablation_info
from ablate.ablation.intervals import t_interval
from ablate.errors import ParameterError
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet
from ablate.report.figures.effects import EffectsInfo, effects_info
from ablate.report.figures.figure import FigureOptions


def read(info: AblationInfo, objective: str = "") -> Any:
    kind = find_figure("effects")
    return kind.info([ablation_source(info)], FigureOptions(objective=objective))


def draw(info: AblationInfo, objective: str = "", sheet: Sheet = COLUMN) -> Any:
    return find_figure("effects").draw(read(info, objective), sheet)


def names(figure: Any, axis: str = "yaxis") -> list[str]:
    return [text.replace("<br>", " ") for text in figure.layout[axis].ticktext]


def marks(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.mode == "markers" and trace.hovertext]


# -- what is shown ---------------------------------------------------------------------------


def test_effects_are_by_metric_and_claims_come_first() -> None:
    ablation = example_ablation()
    info = effects_info(ablation, ablation.effects)
    assert info.metrics == (ROBUST, CLEAN, NOISE)
    # FMA and DA are claimed on robust accuracy, FMA gains more: so they lead on clean accuracy too.
    for metric in (CLEAN, ROBUST):
        assert [one.contrast for one in info.effects if one.metric == metric] == [
            "FMA - plain", "DA - plain", "baseline - plain",
        ]  # fmt: skip
    few = replace(ablation, seeds=4)
    first = effects_info(few, ablation.effects).effects[0]
    assert first.contrast == "DA - plain", "no ranking below five seeds: as the design has them"


def test_effects_as_a_frame() -> None:
    ablation = example_ablation()
    frame = effects_info(ablation, ablation.effects).frame()
    row = frame[(frame["contrast"] == "FMA - plain") & (frame["metric"] == ROBUST)].iloc[0]
    assert (row["mean"], row["n"], row["verdict"]) == (0.163, 8, "better")
    assert row["primary"]
    assert row["p_adjusted"] == 0.015625
    kept = frame.set_index(["contrast", "metric"])["kept"]
    assert kept["FMA - plain", CLEAN]
    assert not kept["DA - plain", CLEAN]
    assert frame["p_adjusted"].isna().sum() == len(frame) - 2
    empty = effects_info(ablation, []).frame()
    assert list(map(str, empty.dtypes)) == list(map(str, frame.dtypes))
    assert list(empty.columns) == list(frame.columns)


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
    other = info.effect("a - plain", NOISE)
    narrow, wide = other.estimate, other.at_level
    assert wide is not None
    assert (wide.mean, wide.n) == (narrow.mean, narrow.n)
    assert wide.high - wide.low > narrow.high - narrow.low > 0


def test_each_arm_over_the_baseline_where_none_is_the_reference() -> None:
    values = [0.60, 0.62, 0.64, 0.61]
    arm = scored_arm("with both", 0.9, 0.6)
    import numpy as np

    found = replace(arm, estimates={ROBUST: t_interval(np.array(values))})
    baseline = replace(scored_arm("baseline", 0.9, 0.5), is_one_network=True)
    ablation = factorial_ablation(arms=(baseline, found))
    (arm,) = EffectsInfo(ablation, ()).arms
    gain = arm.estimate
    of_level = t_interval(np.array(values) - 0.5, ablation.level)
    assert (gain.mean, gain.low, gain.high) == pytest.approx(
        (of_level.mean, of_level.low, of_level.high)
    )
    figure = draw(ablation)
    assert names(figure, "yaxis5") == ["<b>Each arm</b>", "with both"]
    assert figure.layout.xaxis3.title.text == "Points of robust accuracy over the baseline"
    assert EffectsInfo(example_ablation(), ()).arms == ()


# -- what is drawn ---------------------------------------------------------------------------


def test_claims_are_filled_and_stand_first_with_their_numbers_in_the_row() -> None:
    figure = draw(example_ablation())
    assert figure.layout.meta["heading"] == (
        "FMA gains 16.3 points of robust accuracy over plain, as trained"
    )
    assert names(figure) == [
        "<b>Declared</b>", "FMA against plain", "DA against plain",
        "<b>Exploratory</b>", "baseline against plain",
    ]  # fmt: skip
    assert figure.layout.yaxis2.ticktext == (
        "", "+16.3 [+14.3, +18.3]", "+14.5 [+12.5, +16.5]", "", "-1.0 [-3.0, +1.0]",
    )  # fmt: skip
    assert figure.layout.yaxis2.tickvals == figure.layout.yaxis.tickvals
    better, not_shown, exploratory, *of_clean = marks(figure)
    assert list(better.x) == pytest.approx([16.3])
    assert better.error_x.array[0] == better.error_x.arrayminus[0] == pytest.approx(2.0)
    assert "open" not in better.marker.symbol + not_shown.marker.symbol
    assert all("open" in one.marker.symbol for one in (exploratory, *of_clean))
    assert [note.text for note in figure.layout.annotations] == [
        "more robust; clean accuracy is kept; p .016",
        "not shown to differ; a clean loss is not excluded; p .062",
    ]
    (margin,) = traces(figure, "Loss within the declared margin")
    assert (min(margin.x), max(margin.x), margin.xaxis) == (-2.0, 0.0, "x2")
    assert "p under rows: Holm over 2 declared contrasts" in facts(figure)
    assert "intervals: 97.5 % (95 % for all 2 declared contrasts together)" in facts(figure)


def test_on_a_wide_sheet_robust_and_clean_stand_side_by_side_in_the_same_rows() -> None:
    figure = draw(example_ablation(), sheet=WIDE)
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    assert figure.layout.yaxis.domain == figure.layout.yaxis3.domain
    assert figure.layout.yaxis.tickvals == figure.layout.yaxis3.tickvals
    assert not figure.layout.yaxis3.showticklabels
    assert len(figure.layout.annotations) == 2


def test_of_one_seed_there_is_no_interval() -> None:
    effect = example_effect("FMA - plain", 0.1, None, n=1, p=1.0)
    nothing = replace(effect, contrast="DA - plain", estimate=replace(estimate(math.nan), n=0))
    figure = draw(example_ablation(seeds=1, effects=(effect, nothing)))
    (drawn,) = marks(figure)
    assert list(drawn.x) == pytest.approx([10.0])
    assert list(drawn.error_x.array) == [None]
    assert figure.layout.yaxis2.ticktext[1:] == (
        "+10.0<br>1 seed: no interval",
        "-<br>0 of 1 seeds",
    )


def test_every_verdict_is_drawn_and_no_claim_is_said_where_none_is() -> None:
    verdicts = get_args(Verdict)
    effects = tuple(
        example_effect(
            f"{verdict} - plain",
            0.1,
            verdict=verdict,
            **({} if verdict == "exploratory" else {"p_adjusted": 0.01}),
        )
        for verdict in verdicts
    )
    assert len(marks(draw(example_ablation(effects=effects)))) == len(verdicts)
    few = draw(example_ablation(effects=effects[-2:])).layout.meta["heading"]
    assert few == "No claim is supported, as trained: too few seeds, a claim needs 3"
    declared = draw(example_ablation(effects=effects[-1:]))
    assert declared.layout.meta["heading"] == "No claim is supported, as trained"
    assert "no contrast was declared before the first run" in facts(declared)
    interpolated = replace(effects[2], metric="val_robust_accuracy_interpolated")
    heading = draw(example_ablation(effects=(interpolated,))).layout.meta["heading"]
    assert heading == "No claim is supported, at equal clean accuracy"


def test_a_claim_of_two_parts_says_in_the_title_what_is_not_shown() -> None:
    ablation = example_ablation()
    effects = [one for one in ablation.effects if one.contrast != "FMA - plain"]
    shown = [replace(one, verdict="better") if one.primary else one for one in effects]
    figure = draw(example_ablation(effects=tuple(shown)))
    assert figure.layout.meta["heading"] == (
        "DA gains 14.5 points of robust accuracy over plain (a clean loss is not excluded), "
        "as trained"
    )


def test_factors_have_contributions_and_the_strongest_interactions() -> None:
    figure = draw(factorial_ablation())
    assert figure.layout.meta["heading"].startswith("FMA adds 10.0 points of robust accuracy")
    assert names(figure)[1:4] == [
        "contribution of FMA", "contribution of ST", "FMA and ST beyond their sum",
    ]  # fmt: skip
    many = tuple(example_effect(f"a{at} * b", 0.01 * at, kind="interaction") for at in range(1, 20))
    drawn = draw(factorial_ablation(effects=many))
    assert [round(trace.x[0]) for trace in marks(drawn)] == [19, 18, 17, 16, 15, 14]


def test_less_is_better_is_said_at_the_axis() -> None:
    figure = draw(own_loop_ablation())
    assert figure.layout.xaxis.title.text == "Difference in loss (less is better)"
    assert figure.layout.xaxis2.title.text == "Difference in images/s"
    assert [trace.x[0] for trace in marks(figure)][:2] == [0.0013, 0.0788]
    assert figure.layout.meta["heading"] == "No claim is supported"


def test_another_metric_is_asked_for_by_its_heading() -> None:
    figure = draw(example_ablation(), "noise")
    assert [trace.x[0] for trace in marks(figure)] == pytest.approx([16.3])
    assert figure.layout.xaxis.title.text == "Points of accuracy, noise"
    rule = r"^--objective: must be one of robust, clean, noise, got nose\. Did you mean noise"
    with pytest.raises(ParameterError, match=rule):
        draw(example_ablation(), "nose")


@pytest.mark.parametrize("sheet", [COLUMN, Sheet(435, 321)])
def test_without_room_exploratory_rows_are_cut_and_counted(sheet: Sheet) -> None:
    effects = tuple(
        example_effect(f"a contrast with a name of several lines, {at}", 0.1, metric=metric)
        for at in range(80)
        for metric in (CLEAN, ROBUST)
    )
    claim = example_effect("last", 0.1, p_adjusted=0.01, verdict="better")
    figure = draw(example_ablation(effects=(*effects, claim)), sheet=sheet)
    assert figure.layout.meta["image_pixels"][1] <= 3000
    shown = len(marks(figure))
    assert f"{161 - shown} rows not shown, for want of room" in facts(figure)
    assert names(figure)[:2] == ["<b>Declared</b>", "last"]


def test_names_are_shown_as_they_are_and_long_words_are_shortened() -> None:
    effects = (example_effect("<b>x", 0.1), example_effect("a" * 60, 0.1))
    figure = draw(example_ablation(effects=effects))
    escaped, long = names(figure)[1:]
    assert escaped == "&lt;b&gt;x"
    assert len(long) == 24
