"""The curves from the baseline to finetuned networks: behind the front, and by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import facts, traces
from example_ablations import example_ablation, example_arm
from example_records import example_record, example_row
from example_sources import curved_record, curved_row
from explicit_statistics import images_right

from ablate.ablation.cell import Arm, Cell, Design
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import result_marks
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError
from ablate.report.arms import printed
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.figure import FigureOptions
from ablate.report.terminal.trials import trials_table
from ablate.robustness.bits import pack_row
from ablate.study.interpolation import FINETUNED_BITS
from ablate.study.scores import Scores

THIN = "From the baseline"


def drawn(source: StudySource, *trials: int, name: str = "curve") -> tuple[Any, Any]:
    kind = find_figure(name)
    info = kind.info([source], FigureOptions(trials=trials))
    return info, kind.draw(info, COLUMN)


def test_thin_lines_stand_behind_the_front_if_there_are_curves() -> None:
    record = curved_record()
    info = pareto_info(record)
    assert [point.name for point in info.points] == ["trial 0 at alpha 0.5", "trial 1", "trial 2"]
    _, figure = drawn(StudySource(record), name="pareto")
    line = figure.data[0]
    assert line.name == THIN
    assert line.line.width < 1
    on_front = [point.number for point in info.points if point.on_front]
    assert on_front == [0, 1, 2]
    x = [0.95, 0.945, 0.90, None, 0.95, 0.955, 0.96, None, 0.95, 0.70, 0.93, None]
    assert list(line.x) == x
    assert list(line.y)[:4] == pytest.approx([0.60, 0.70, 0.75, None])

    bare = example_record([replace(row, path=None) for row in record.rows])
    assert traces(drawn(StudySource(bare), name="pareto")[1], THIN) == []


def test_the_curves_of_a_front_and_the_networks_that_stand_for_its_trials() -> None:
    info, figure = drawn(StudySource(curved_record()))
    assert [curve.name for curve in info.curves] == ["trial 1", "trial 0", "trial 2"]
    (line,) = traces(figure, "Trial 0")
    assert list(line.x) == [0.95, 0.945, 0.90]
    assert list(line.y) == pytest.approx([0.60, 0.70, 0.75])
    assert [list(one.text or ()) for one in traces(figure, "Trial")] == [
        [],
        [],
        ["", "alpha 0.5", "1"],  # the lowest: the alphas are the same for all
    ]
    assert set(line.error_x.array) == {None}
    assert line.hovertext[1] == (
        "<b>Trial 0</b>, clean+da, alpha 0.5<br>Clean accuracy: <b>94.5</b><br>"
        "Robust accuracy: <b>70.0</b><br>stands for the trial"
    )
    rings = {trace.customdata[0]: trace for trace in traces(figure, "Stands for the trial")}
    assert {number: trace.x[0] for number, trace in rings.items()} == {0: 0.945, 1: 0.96, 2: 0.93}
    (star,) = traces(figure, "Baseline")
    assert (star.x[0], star.y[0]) == pytest.approx((0.95, 0.60))
    said = facts(figure)
    assert "ring: the most robust that loses at most 1 point of clean accuracy" in said
    assert "trial 2: alpha 1 is used: at alpha 0.5 clean accuracy is 23.0 points below" in said

    table = info.frame()
    assert len(table) == 9
    chosen = table[table.chosen]
    assert list(zip(chosen.trial, chosen.alpha, strict=True)) == [(1, 1.0), (0, 0.5), (2, 1.0)]
    assert table.barrier.max() == pytest.approx(0.23)


def bits_of(right: int, of_each: int, seed: int) -> str:
    """Of 359 images and 18 copies each: so many right, drawn."""
    rows = [np.arange(359) < count for count in (right, *[of_each] * 18)]
    drawn = np.random.default_rng(seed)
    return pack_row(np.concatenate([drawn.permutation(row) for row in rows]))


def test_the_network_of_a_trial_against_its_finetuned_one() -> None:
    """Over images, in hover, caption and data; on the row's own bits, or those of its original."""
    record, names = curved_record(), ("clean", "robust")
    copied = replace(record.rows[0], number=3, copy_of=0)
    record = replace(record, rows=(*record.rows, copied), trials=4)
    kept = {0: {"val": bits_of(340, 250, 0), FINETUNED_BITS: bits_of(320, 270, 1)}, 1: {}}
    info, figure = drawn(StudySource(record, read_bits=lambda _: (kept, {})))
    scores = record.rows[0].scores
    assert isinstance(scores, Scores)
    for curve in info.curves:
        for point in curve.points:
            expected = curve.number in (0, 3) and point.alpha == 0.5
            assert (point.less_finetuned is not None) == expected
    less = next(one for one in info.curves if one.number == 3).points[1].less_finetuned
    for name, found in zip(names, less, strict=True):
        one, other = (
            images_right(text, scores, f"val_{name}_accuracy") for text in kept[0].values()
        )
        difference = one - other
        assert found.mean == pytest.approx(difference.mean())
        assert found.low < found.mean < found.high
        plain = 1.967 * difference.std(ddof=1) / 359**0.5  # 2.5 images of any difference are added
        assert plain < (found.high - found.low) / 2 < 1.2 * plain
    clean, robust = map(printed, less)
    assert clean.startswith("+5.6 [+")
    text = f"alpha 0.5 less alpha 1: {clean} points clean, {robust} robust"
    (line,) = traces(figure, "Trial 0")
    assert line.hovertext[1].endswith(f"stands for the trial<br>{text}")
    assert f"trial 0, {text}" in facts(figure)
    assert facts(figure).endswith("brackets: 95 % interval, t over images")
    table = info.frame().set_index(["trial", "alpha"])
    assert table.loc[(0, 0.5), "clean_less_finetuned.low"] == pytest.approx(less[0].low)
    assert table["robust_less_finetuned"].count() == 2


def test_a_refused_curve_is_said_wherever_the_trial_is() -> None:
    record = curved_record()
    (mark,) = (one for one in result_marks(record) if "refused" in one)
    assert mark == (
        "curve of 1 trial was refused (2): networks between lose clean accuracy to both ends, so "
        "alpha 1 is used"
    )
    table = trials_table(record)
    assert "alpha" in table.headings
    notes = [row[-1].printed for row in table.rows]
    refused = "alpha 1 is used: at alpha 0.5 clean accuracy is 23.0 points below both"
    assert [refused in note for note in notes] == [False, False, True]


def test_one_trial() -> None:
    info, figure = drawn(StudySource(curved_record()), 2)
    assert [curve.number for curve in info.curves] == [2]
    assert len(traces(figure, "Trial")) == 1


def test_an_arm_is_its_mean_over_seeds_with_intervals() -> None:
    start = (0.95, 0.60)
    rows = []
    for pair, shift in enumerate((-0.01, 0.0, 0.01)):
        for cell, middle in (("one", 0.70), ("two", 0.80)):
            path = {0.0: start, 0.5: (0.94 + shift, middle), 1.0: (0.90, middle + shift)}
            row = curved_row(len(rows), path, 0.01)
            rows.append(replace(row, cell=cell, pair=pair))
    design = Design(
        kind="arms",
        cells=(Cell("one"), Cell("two")),
        arms=(Arm("baseline", ("baseline",)), Arm("both", ("one", "two")), Arm("two", ("two",))),
        contrasts=(),
    )
    record = replace(
        example_record(rows, finetune={"interpolation": {"alphas": [0.5, 1.0]}}),
        design=design.to_json(),
    )
    arms = tuple(
        replace(example_arm(arm.name, {}), alphas=(0.5,) * (arm.name == "both"))
        for arm in design.arms
    )
    info, figure = drawn(StudySource(record, example_ablation(arms=arms)))
    assert [curve.name for curve in info.curves] == ["both", "two"]
    (both,) = traces(figure, "both")
    assert list(both.x) == pytest.approx([0.95, 0.94, 0.90])
    assert list(both.y) == pytest.approx([0.60, 0.75, 0.75])
    half = 4.303 * 0.01 / 3**0.5  # t of 2 degrees of freedom
    assert list(both.error_x.array) == pytest.approx([None, half, None], abs=1e-4)
    assert list(both.error_y.array) == pytest.approx([None, None, half], abs=1e-4)
    assert traces(figure, "Stands for") == []
    assert "mean over 3 seeds, bars: 95 % interval, t over seeds" in facts(figure)
    table = info.frame()
    assert list(table[table.chosen].alpha) == [0.5]
    assert set(table.seeds) == {3}


def test_a_study_without_curves_has_nothing_to_draw() -> None:
    source = StudySource(example_record([example_row(0, (0.9, 0.7))]))
    with pytest.raises(NothingToDrawError) as caught:
        drawn(source)
    assert str(caught.value) == (
        "study example: figure curve needs networks between baseline and finetuned weights, got a "
        "study without finetune.interpolation. Draw pareto or arms."
    )
    waiting = example_record(finetune={"interpolation": {}})
    _, figure = drawn(StudySource(waiting))
    assert figure.layout.annotations[0].text == "no complete trial with a curve"
