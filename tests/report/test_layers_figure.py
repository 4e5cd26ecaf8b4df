"""The layers figure's marks, by values."""

from __future__ import annotations

from typing import Any

import pytest
from example_records import example_record, example_row

from ablate.analysis.layers import layers_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures import layers
from ablate.report.figures.layers import plot_layers
from ablate.report.style import INK, terms_style


def draw(record: StudyRecord) -> Any:
    return plot_layers(layers_info(record, 1))


def tap_record(*trials: tuple[list[str], float], terms: str = "clean+fma") -> StudyRecord:
    return example_record(
        [
            example_row(at, (0.9, robust), params={"loss.terms": terms, "loss.fma.layers": taps})
            for at, (taps, robust) in enumerate(trials)
        ]
    )


FOUR = tap_record((["a"], 0.60), (["a"], 0.62), (["a", "b"], 0.70), (["a", "b"], 0.74))


def test_a_tap_has_its_difference_or_a_word() -> None:
    figure = draw(FOUR)
    _, told = figure.data[:2]
    assert list(told.y) == [1]
    assert list(told.x) == pytest.approx([11])  # points
    assert told.hovertext[0].startswith("<b>b</b><br>Robust accuracy: +11.0<br>95% interval +1.4")
    assert [(note.y, note.text) for note in figure.layout.annotations] == [(0, "in every trial")]
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]


def test_a_subset_is_a_row_of_dots_its_trials_and_their_mean() -> None:
    figure = draw(FOUR)
    out, into, trials, mean = figure.data[2:]
    assert list(zip(out.x, out.y, strict=True)) == [(1, 1)], "b is out of the second row"
    assert list(zip(into.x, into.y, strict=True)) == [(0, 0), (1, 0), (0, 1)]
    assert into.marker.color == INK
    assert trials.customdata == (2, 3, 0, 1)
    assert list(trials.y) == [0, 0, 1, 1]
    assert list(trials.x) == pytest.approx([0.70, 0.74, 0.60, 0.62])
    assert trials.marker.color == terms_style("clean+fma").color
    assert trials.name == "clean+fma (4)"
    assert list(mean.x) == pytest.approx([0.72, 0.61])
    assert mean.error_x.array[1] == pytest.approx(12.7062 * 0.01, rel=1e-4)


def test_a_single_trial_is_its_own_mean() -> None:
    figure = draw(tap_record((["a"], 0.6), (["b"], 0.7)))
    *_, mean = figure.data
    assert list(mean.x) == []
    assert not mean.showlegend


def test_a_tap_of_too_few_trials_has_no_mark() -> None:
    figure = draw(tap_record((["a"], 0.6), (["a", "b"], 0.7)))
    assert "yaxis3" not in figure.layout, "no empty panel"
    said = "too few trials for the difference with each layer"
    assert said in figure.layout.meta["facts"]
    trials = [(["a"], 0.6), (["a", "b", "c"], 0.7), (["a", "d"], 0.6)]
    figure = draw(tap_record(*trials, *((taps, score + 0.01) for taps, score in trials)))
    said = "cannot be separated from other layers"
    assert [note.text for note in figure.layout.annotations] == ["in every trial", said, said]


def test_long_paths_lose_what_they_all_begin_with() -> None:
    record = tap_record((["net.encoder.block1.conv"], 0.6), (["net.encoder.block2.conv"], 0.7))
    assert list(draw(record).layout.xaxis.ticktext) == ["block1.conv", "block2.conv"]
    assert list(draw(tap_record((["a.b"], 0.6), (["a.c"], 0.7))).layout.xaxis.ticktext) == [
        "a.b", "a.c",
    ]  # fmt: skip


def test_facts() -> None:
    facts = " · ".join(draw(FOUR).layout.meta["facts"])
    assert "4 of 16 trials complete with fma" in facts
    assert "association over the trials of a search, not a paired effect" in facts


def test_of_many_subsets_those_with_the_most_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_SUBSETS", 1)
    figure = draw(tap_record((["a"], 0.9), (["b"], 0.7), (["b"], 0.6)))
    trials = figure.data[2]
    assert trials.customdata == (1, 2)
    assert "1 subset with fewer trials not shown" in " · ".join(figure.layout.meta["facts"])


def test_above_two_thousand_trials_webgl_draws_them() -> None:
    many = tap_record(*((["a"] if at % 2 else ["b"], 0.6 + at * 1e-5) for at in range(2002)))
    assert [trace.type for trace in draw(many).data].count("scattergl") == 1


def test_without_a_trial() -> None:
    figure = draw(example_record(space={"loss.fma.layers": {"subset": "taps"}}))
    assert [note.text for note in figure.layout.annotations] == ["no complete trial"]
