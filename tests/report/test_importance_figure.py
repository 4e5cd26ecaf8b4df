"""The importance figure's bars, by values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_records import example_record
from example_sources import usual_record

from ablate.ablation.study_source import StudySource
from ablate.analysis.importance import ImportanceInfo, importance_info
from ablate.errors import NothingToDrawError
from ablate.report.figures import find_figure
from ablate.report.figures.importance import plot_importance
from ablate.report.style import PAPER, terms_style


@pytest.fixture(scope="module")
def info() -> ImportanceInfo:
    return importance_info(usual_record(30))


def bars(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.type == "bar" and not trace.showlegend]


@pytest.mark.slow
def test_a_bar_is_a_parameter_by_a_method_in_the_colour_of_its_terms(info: ImportanceInfo) -> None:
    figure = plot_importance(info)
    assert [trace.name for trace in bars(figure)] == ["PED-ANOVA", "fANOVA"] * 2
    full, hatched = bars(figure)[2:]
    assert full.marker.color == terms_style("clean+st").color == hatched.marker.pattern.fgcolor
    assert hatched.marker.pattern.bgcolor == PAPER
    (panel,) = info.panels[1:]
    assert panel.metric == "val_robust_accuracy"
    names = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    drawn = {names[place]: share for place, share in zip(full.y, full.x, strict=True)}
    strength = next(one for one in panel.parameters if one.key == "augment.strength")
    blur = next(one for one in panel.parameters if one.part == "blur")
    assert drawn["strength"] == strength.shares["ped_anova"]
    assert drawn["mix.blur"] == blur.shares["ped_anova"]
    at = list(names.values()).index("strength")
    assert full.error_x.array[at] == strength.sds["ped_anova"]
    assert full.error_x.arrayminus[at] <= full.x[at], "no share is below zero"
    nulls = [trace for trace in figure.data if trace.type == "scatter"]
    assert [trace.showlegend for trace in nulls] == [True, False]
    assert nulls[1].x[at] == strength.null


def test_a_whisker_ends_where_shares_do(info: ImportanceInfo) -> None:
    panel = info.panels[0]
    shares = dict.fromkeys(panel.parameters[0].shares, 0.9)
    wide = replace(panel.parameters[0], shares=shares, sds=dict.fromkeys(shares, 0.95))
    figure = plot_importance(replace(info, panels=(replace(panel, parameters=(wide,)),) * 2))
    for trace in bars(figure):
        assert (trace.x[0], trace.error_x.arrayminus[0]) == (0.9, 0.9)
        assert trace.error_x.array[0] == pytest.approx(0.1)
    assert "bootstraps of the trials, within 0% and 100%" in " ".join(figure.layout.meta["facts"])


def test_the_most_important_stand_above(info: ImportanceInfo) -> None:
    figure = plot_importance(info)
    means = [sum(shares) for shares in zip(*(trace.x for trace in bars(figure)), strict=True)]
    assert means == sorted(means, reverse=True)
    low, high = figure.layout.yaxis.range
    assert low > high, "the axis runs down"


@pytest.mark.parametrize("count", [1, 2])
def test_few_parameters_are_enough(info: ImportanceInfo, count: int) -> None:
    """One row of panels that is lower than the gap between two rows."""
    panels = tuple(replace(one, parameters=one.parameters[:count]) for one in info.panels)
    figure = plot_importance(replace(info, panels=panels))
    assert len(figure.layout.yaxis.ticktext) == count
    assert figure.layout.yaxis.domain[0] == 0


def test_what_is_left_out_is_said(info: ImportanceInfo) -> None:
    facts = " · ".join(plot_importance(info).layout.meta["facts"])
    assert "clean+fma (6), clean+st+fma (5), clean+da (4)" in facts
    assert "sd over 20 (fANOVA: 6) bootstraps" in facts
    assert "the best 50% of the trials" in facts


def test_without_scikit_learn_ped_anova_is_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.analysis.fanova.find_spec", lambda _: None)
    info = importance_info(usual_record(30))
    assert all(math.isnan(one.shares["fanova"]) for one in info.panels[0].parameters)
    figure = plot_importance(info)
    assert [trace.name for trace in bars(figure) if len(trace.x)] == ["PED-ANOVA"] * 2
    assert [trace.name for trace in figure.data if trace.type == "bar" and trace.showlegend] == [
        "PED-ANOVA"
    ]
    facts = " · ".join(figure.layout.meta["facts"])
    assert "fANOVA is not drawn: it needs pip install 'ablate-robustness[fanova]'" in facts
    assert "sd over 20 bootstraps" in facts


def test_too_few_trials() -> None:
    figure = plot_importance(importance_info(usual_record(8)))
    texts = [note.text for note in figure.layout.annotations]
    assert texts == ["fewer than 8 complete trials of every set of terms"]
    assert not figure.data


def test_a_parameter_named_like_markup(info: ImportanceInfo) -> None:
    first, *others = info.panels[0].parameters
    odd = replace(first, key="a.<b>x</b>", part="")
    panels = tuple(replace(one, parameters=(odd, *others)) for one in info.panels)
    figure = plot_importance(replace(info, panels=panels))
    assert "&lt;b&gt;x&lt;/b&gt;" in figure.layout.yaxis.ticktext
    assert any("<b>a.&lt;b&gt;x&lt;/b&gt;</b>" in text for text in bars(figure)[0].hovertext)


def test_a_study_that_searches_nothing() -> None:
    with pytest.raises(
        NothingToDrawError,
        match=r"^study example: figure importance needs a parameter that is searched, got none\. ",
    ):
        find_figure("importance").info([StudySource(example_record())])
