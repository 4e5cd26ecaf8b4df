"""Profile and severity: gains by type and accuracies by severity, with intervals, by values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_figures import facts, traces
from example_records import example_record, example_row
from example_results import (
    BLUR,
    IMPULSE,
    NOISE,
    Example,
    make_design,
    make_example,
    make_scored,
    make_scores,
)
from example_sources import sloped_scores

from ablate.ablation.answer import best_point
from ablate.ablation.cell import Arm, Cell, difference
from ablate.ablation.info import ablation_info
from ablate.ablation.intervals import over_images, t_interval
from ablate.ablation.study_source import StudySource
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.report.figures import find_figure
from ablate.report.figures.canvas import COLUMN, Sheet
from ablate.report.figures.figure import FigureOptions
from ablate.robustness.bits import image_shares, unpack_bits
from ablate.robustness.measures import wilson_interval
from ablate.study.mixture import Mixtures, ScoredMixture


def row(number: int, clean: float, robust: float) -> RowRecord:
    scores = sloped_scores(clean, robust, seen=("gaussian_noise",))
    return example_row(number, (clean, robust), scores=scores, params={"loss.terms": "clean+fma"})


def record(*rows: RowRecord) -> StudyRecord:
    references = {"baseline": sloped_scores(0.95, 0.60), "plain": sloped_scores(0.96, 0.61)}
    return example_record(rows, references=references)


def read(name: str, source: StudySource | StudyRecord, *trials: int) -> Any:
    source = source if isinstance(source, StudySource) else StudySource(source)
    return find_figure(name).info([source], FigureOptions(trials=trials))


def draw(info: Any, sheet: Sheet = COLUMN) -> Any:
    return find_figure("severity" if hasattr(info, "severities") else "profile").draw(info, sheet)


def of_ablation(example: Example) -> StudySource:
    info = ablation_info(example.record, example.outcomes, example.references)
    return StudySource(example.record, info)


# -- which networks are shown ----------------------------------------------------------------


def test_the_recommended_trial_stands_first_then_both_ends_of_the_front() -> None:
    """It loses one point of clean accuracy at the most; trial 3 is the knee."""
    robust = [0.6, 0.67, 0.74, 0.8, *(0.8 + 0.001 * at for at in range(1, 8))]
    study = record(*(row(at, 0.99 - 0.01 * at, value) for at, value in enumerate(robust)))
    best = best_point(study, pareto_info(study))
    assert best is not None
    assert best.name == "trial 5"
    assert "8 networks not shown" in read("severity", study).facts
    info = read("profile", study)
    assert [one.number for one in info.profiles] == [None, 5, 0, 10]
    assert "8 networks not shown" in facts(draw(info))
    alone = read("profile", replace(study, references={}))
    assert [one.number for one in alone.profiles] == [3, 0, 10], "nothing is recommended: the knee"


def test_a_mixture_that_is_recommended_stands_before_the_trials() -> None:
    study = record(row(0, 0.98, 0.70), row(1, 0.97, 0.72))
    mixed = ScoredMixture((0, 1), 0.75, sloped_scores(0.98, 0.80))
    study = replace(study, mixtures=Mixtures(2, (mixed,)))
    info = read("profile", study)
    assert [one.number for one in info.profiles] == [None, None, 1, 0]
    assert info.profiles[1].look.label == "Average of trials 0,1 at alpha 0.75"
    assert len(read("severity", study).looks) == 5
    assert [one.number for one in read("profile", study, 1).profiles] == [None, 1]
    title = find_figure("pareto").draw(read("pareto", study), COLUMN).layout.title.text
    assert title.startswith("<b>Average of trials 0,1 at alpha 0.75: +20.0")


def test_trials_that_are_asked_for() -> None:
    study = record(row(0, 0.93, 0.70), row(1, 0.90, 0.60))
    info = read("profile", study, 1, 0, 1)
    _, first, second = info.profiles
    assert (first.number, second.number, info.left_out) == (1, 0, 0)
    # Of the same terms: one colour, two marks and dashes.
    assert first.look.color == second.look.color
    assert first.look.symbol != second.look.symbol
    assert first.look.dash != second.look.dash
    rule = r"^`trials`: must be complete trials of example, got 7\. They are: 0, 1\.$"
    with pytest.raises(ParameterError, match=rule):
        read("severity", study, 7)
    source = of_ablation(make_example({"plain": [make_scores()], "a": [make_scores()]}))
    with pytest.raises(
        ParameterError, match=r"^`trials`: profile of an ablation shows its arms, g"
    ):
        read("profile", source, 0)
    own = replace(study, study=study.study.model_copy(update={"trainable": "loops:train"}))
    rule = r"needs accuracies by type of corruption, got a custom training loop\. Draw pareto\."
    with pytest.raises(NothingToDrawError, match=rule):
        read("profile", own)


# -- profile ---------------------------------------------------------------------------------


def test_a_gain_is_over_the_baseline_and_without_bits_has_no_interval() -> None:
    info = read("profile", record(row(0, 0.93, 0.70)))
    plain, trial = info.profiles
    assert trial.gains["noise"].mean == pytest.approx(0.1)
    assert plain.gains["contrast"].mean == pytest.approx(0.01)
    assert math.isnan(trial.gains["noise"].low)
    frame = info.frame()
    assert len(frame) == 2 * (3 + 6)
    last = frame.iloc[-1]
    assert (last["trial"], last["family"], last["type"]) == (0, "photometric", "contrast")
    assert (last["gain"], last["trained_on"]) == (pytest.approx(0.1), False)
    figure = draw(info)
    assert figure.layout.meta["heading"] == "Robust to what?"
    hollow, filled = traces(figure, "Trial 0, FMA")
    assert (len(filled.x), len(hollow.x)) == (2, 7)
    assert "open" in hollow.marker.symbol
    assert set(hollow.customdata) == {0}
    assert [filled.showlegend, hollow.showlegend] == [True, False]
    assert figure.layout.yaxis.ticktext[:2] == ("<b>noise</b>", "gaussian noise")
    small = draw(info, Sheet(435, 321))
    assert small.layout.yaxis.ticktext == ("<b>noise</b>", "<b>blur</b>", "<b>photometric</b>")
    assert "means over families, for want of room" in facts(small)


def test_gains_of_a_search_are_paired_by_images() -> None:
    random = np.random.default_rng(0)
    both = better, baseline = make_scored(random, 0.9), make_scored(random, 0.5)
    study = example_record(
        [example_row(0, (0.9, 0.9), scores=better.scores, params={"loss.terms": "clean+da"})],
        references={"baseline": baseline.scores},
    )
    kept = ({0: {"val": better.bits}}, {"baseline": {"val": baseline.bits}})
    info = read("profile", StudySource(study, read_bits=lambda _: kept))
    (trial,) = info.profiles
    for part in ("noise", IMPULSE, BLUR):
        bits = [(unpack_bits([one.bits], one.scores), one.scores) for one in both]
        mine, its = (image_shares(*one, f"val_accuracy.{part}") for one in bits)
        gain = over_images((mine - its)[0]).estimate()  # type: ignore[operator]
        assert str(trial.gains[part]) == str(gain)  # NaN is not NaN
    figure = draw(info)
    heading = "Trial 0: more accurate than the baseline on 3 of 3 types"
    assert figure.layout.meta["heading"] == heading
    assert figure.data[0].error_x.array[0] > 0
    # A family of one type is that type.
    assert figure.layout.yaxis.ticktext[-2:] == ("impulse noise", "gaussian blur")


def test_without_a_baseline_there_are_accuracies() -> None:
    alone = read("profile", replace(record(row(0, 0.93, 0.70)), references={}))
    assert alone.profiles[0].gains["gaussian_noise"].mean == pytest.approx(0.60)
    assert draw(alone).layout.xaxis.title.text == "Accuracy (%)"
    nothing = read("profile", replace(record(), references={}))
    assert (nothing.profiles, len(nothing.frame())) == ((), 0)
    assert draw(nothing).layout.annotations[0].text == "no complete trial"


def test_an_ablation_has_its_contrasts_which_are_those_of_the_table() -> None:
    random = np.random.default_rng(1)
    rates = {"plain": (0.5, ()), "a": (0.8, (NOISE,))}
    runs = {
        name: [make_scored(random, rate, seen_types=seen) for _ in range(3)]
        for name, (rate, seen) in rates.items()
    }
    source = of_ablation(make_example(runs))
    info = read("profile", source)
    assert source.ablation is not None
    (one,) = info.profiles
    assert (one.look.label, info.over) == ("a", "plain")
    for part in ("noise", NOISE, BLUR):
        effect = source.ablation.effect("a - plain", f"val_accuracy.{part}")
        assert one.gains[part] == effect.estimate
    assert one.seen == {NOISE: True, IMPULSE: False, BLUR: False}


def test_models_of_one_type_each_are_told_by_whether_it_was_that_type() -> None:
    cells = {kind: Cell(f"DA: {kind}", {"augment.types": [kind]}) for kind in (NOISE, BLUR)}
    arm, design = Arm("DA", tuple(cell.name for cell in cells.values())), make_design(["plain"])
    design = replace(
        design,
        cells=(*design.cells, *cells.values()),
        arms=(*design.arms, arm),
        contrasts=(difference(arm, Arm("plain", ("plain",))),),
    )
    own, other, plain = [0.7, 0.85], [0.6, 0.5], [0.4, 0.5]
    runs: dict[str, Any] = {"plain": list(map(make_scores, plain))}
    for kind, cell in cells.items():
        pairs = zip(own, other, strict=True)
        runs[cell.name] = [make_scores(low, types={kind: high}) for high, low in pairs]
    trained, held_out = read("profile", of_ablation(make_example(runs, design=design))).profiles
    assert trained.look.label == "DA, trained on that type"
    assert held_out.look.label == "DA, trained on others"
    assert trained.gains[NOISE] == t_interval(np.subtract(own, plain))
    assert held_out.gains[NOISE] == t_interval(np.subtract(other, plain))
    assert trained.gains[IMPULSE].n == 0, "no model was trained on it"


# -- severity --------------------------------------------------------------------------------


def test_a_line_of_a_search_begins_at_the_clean_images() -> None:
    info = read("severity", record(row(0, 0.93, 0.80)))
    labels = [look.label for look in info.looks]
    assert labels == ["Before finetuning", "Plain finetuning", "Trial 0, FMA"]
    last = info.accuracies[-1][-1]
    assert (last.low, last.high) == wilson_interval(round(359 * 0.75), 359)
    figure = draw(info)
    assert list(figure.data[-1].y) == pytest.approx([93.0, 85.0, 80.0, 75.0])
    assert figure.layout.xaxis.ticktext == ("clean", "1", "3", "5")
    heading = "At severity 5, trial 0 is right on 75 of 100 images, the baseline on 55"
    assert figure.layout.meta["heading"] == heading
    assert len(info.frame()) == 3 * 4
    assert draw(read("severity", replace(record(), references={}))).data == ()


def test_a_line_of_an_arm_is_the_mean_over_seeds() -> None:
    runs: dict[str, Any] = {"plain": [make_scores(0.5), make_scores(0.6)], "a": [make_scores(0.7)]}
    info = read("severity", of_ablation(make_example(runs, baseline=make_scores(0.4))))
    baseline, a, plain = info.accuracies
    assert baseline[1].mean == pytest.approx(0.4)
    assert plain[1] == t_interval(np.array([0.5, 0.6]))
    assert (info.looks[1].label, a[1].n) == ("a", 1)
