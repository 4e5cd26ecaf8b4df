"""The mix figure's points, by values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row

from ablate.analysis.mix import mix_info
from ablate.ledger.record import StudyRecord
from ablate.report.figures.mix import _MOST_POINTS, plot_mix
from ablate.report.style import INK, SEQUENTIAL, terms_style


def draw(record: StudyRecord, place: int = 1) -> Any:
    return plot_mix(mix_info(record, place))


def mix_record(*trials: tuple[dict[str, float], float], **settings: Any) -> StudyRecord:
    return example_record(
        [
            example_row(at, (0.9, score), params={"loss.terms": "clean+fma", "augment.mix": mix})
            for at, (mix, score) in enumerate(trials)
        ],
        **settings,
    )


THREE = mix_record(
    ({"n": 0.5, "b": 0.25, "p": 0.25}, 0.6),
    ({"n": 0.0, "b": 1.0, "p": 0.0}, 0.7),
    ({"n": 0.0, "b": 0.5, "p": 0.5}, 0.65),
)


def of_trials(figure: Any) -> list[Any]:
    return [trace for trace in figure.data if trace.customdata]


def test_three_parts_are_a_triangle_coloured_by_score() -> None:
    figure = draw(THREE)
    dominated, front = of_trials(figure)
    assert (dominated.customdata, front.customdata) == ((0, 2), (1,))
    assert [list(dominated[axis]) for axis in "abc"] == [[0.5, 0.0], [0.25, 0.5], [0.25, 0.5]]
    assert list(dominated.marker.color) == pytest.approx([0.6, 0.65])
    assert front.marker.line.color == INK != dominated.marker.line.color
    assert front.marker.symbol == terms_style("clean+fma").symbol
    scale = figure.layout.coloraxis
    assert (scale.cmin, scale.cmax) == (0.6, 0.7)
    assert not scale.reversescale
    assert scale.colorscale == draw(THREE, 0).layout.coloraxis.colorscale
    corners = figure.layout.ternary
    assert [corners[f"{axis}axis"].title.text for axis in "abc"] == ["n", "b", "p"]
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == ["clean+fma (3)", "On the front"]


def test_of_a_cost_bright_is_still_good() -> None:
    objectives = [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")]
    mixes = ({"n": 1.0, "b": 0.0, "p": 0.0}, 30.0), ({"n": 0.0, "b": 1.0, "p": 0.0}, 20.0)
    figure = draw(mix_record(*mixes, objectives=objectives, reference_point=None))
    assert figure.layout.coloraxis.reversescale
    assert SEQUENTIAL == "Cividis"


def test_of_many_trials_some_are_in_the_triangle_and_it_says_so() -> None:
    random = np.random.default_rng(0)
    mixes = [
        (dict(zip("nbp", random.dirichlet((1, 1, 1)).tolist(), strict=True)), at / 2000)
        for at in range(_MOST_POINTS + 200)
    ]
    record = mix_record(*mixes)
    figure = draw(record)
    numbers = [number for trace in of_trials(figure) for number in trace.customdata]
    assert len(numbers) == len(set(numbers)) == _MOST_POINTS
    assert _MOST_POINTS + 199 in numbers, "the front is drawn whole"
    assert "1,000 of 1,200 trials drawn" in " · ".join(figure.layout.meta["facts"])
    assert figure.to_json() == draw(record).to_json()


def test_a_collapsed_trial_does_not_take_all_colours() -> None:
    even = [({"n": 0.2, "b": 0.4, "p": 0.4}, 0.70 + at / 100) for at in range(8)]
    figure = draw(mix_record(*even, ({"n": 1.0, "b": 0.0, "p": 0.0}, 0.1)))
    assert figure.layout.coloraxis.cmin == 0.70
    assert "1 of the worst in the colour of that end" in figure.layout.meta["facts"]
    # Of four trials, too.
    few = draw(mix_record(*even[:3], ({"n": 1.0, "b": 0.0, "p": 0.0}, 0.1)))
    assert few.layout.coloraxis.cmin == 0.70


def test_nearly_equal_scores_are_nearly_one_colour() -> None:
    scale = draw(mix_record(({"n": 1.0, "b": 0.0, "p": 0.0}, 0.6))).layout.coloraxis
    assert (scale.cmin, scale.cmax) == pytest.approx((0.59, 0.61))


def test_a_score_that_is_no_number_and_no_trial_at_all() -> None:
    figure = draw(mix_record(({"n": 1.0, "b": 0.0, "p": 0.0}, math.nan)))
    assert "1 with a value that is not a number" in " · ".join(figure.layout.meta["facts"])
    assert [note.text for note in figure.layout.annotations] == ["no complete trial"]


def test_a_part_named_like_markup() -> None:
    figure = draw(mix_record(({"<b>n": 1.0, "b": 0.0, "p": 0.0}, 0.6)))
    assert figure.layout.ternary.aaxis.title.text == "&lt;b&gt;n"
