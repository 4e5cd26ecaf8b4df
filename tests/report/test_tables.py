"""The tables of a study: their numbers, words, notes, and what a narrow terminal shows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from example_ablations import (
    CLEAN,
    NOISE,
    NOTHING,
    ROBUST,
    estimate,
    example_ablation,
    example_arm,
    example_effect,
    factorial_ablation,
    own_loop_ablation,
    scored_arm,
)
from example_records import example_record, example_row
from example_sources import searches
from printed_tables import RECORD, lines, row, said, strict

from ablate.ablation.confirm import ConfirmInfo
from ablate.analysis.pareto import pareto_info
from ablate.lifecycle.dry_run import DryRun
from ablate.model.build import describe_layers
from ablate.report.arms import decimals
from ablate.report.tables import (
    arms_table,
    effects_table,
    end_table,
    front_table,
    p_text,
    result_table,
    settings_table,
    shown_effects,
)
from ablate.report.terminal.lines import estimate_text, layers_rows, layers_table
from ablate.study.settings import ModelSettings
from ablate.trial.estimate import TrialEstimate

ODD = "<script>[red]a_b & 50%|"


# -- Arms


def test_a_row_an_arm() -> None:
    table = arms_table(example_ablation())
    assert table.title == "Which term earns its keep? (digits, resnet8)"
    assert lines(table)[1] == "Arm Clean (%) Noise (%) Blur (%) Robust (%) Robust less plain"
    assert row(table, "baseline") == "baseline 95.0 50.0 70.0 60.0 -1.0 [-3.0, +1.0]"
    assert row(table, "plain") == "plain 96.0 ± 0.4 51.0 ± 0.4 71.0 ± 0.4 61.0 ± 0.4 reference"
    assert row(table, "FMA").endswith("67.3 ± 0.4 87.3 ± 0.4 77.3 ± 0.4 +16.3 [+14.3, +18.3]")
    assert arms_table(example_ablation(question="")).title == "digits, resnet8"
    assert "less" not in said(arms_table(factorial_ablation()))


def test_the_best_are_bold() -> None:
    def bold(info: Any) -> list[str]:
        return [cell.printed for cells in arms_table(info).rows for cell in cells if cell.is_bold]

    assert bold(example_ablation()) == [
        "96.0 ± 0.4", "95.5 ± 0.4", "67.3 ± 0.4", "87.3 ± 0.4", "77.3 ± 0.4",
    ]  # fmt: skip
    best = {CLEAN: ("baseline",), ROBUST: ()}  # of the others nothing is known
    assert bold(example_ablation(best=best)) == ["95.0"]


def test_an_own_loop_has_all_its_metrics_as_it_names_them() -> None:
    table = arms_table(own_loop_ablation())
    assert table.headings == ["Arm", "loss", "images/s", "loss less a"]
    assert row(table, "b") == "b 0.4325 ± 0.0040 1300 ± 0 +0.0013 [-0.0017, +0.0043]"
    assert row(table, "c") == "c 0.5100 ± 0.0040 - +0.0788 [+0.0688, +0.0888]"
    assert "less is better: loss" in table.notes
    assert "accuracy" not in said(table)
    both = ("val_clean_accuracy", "test_clean_accuracy")
    arm = example_arm("a", {metric: estimate(0.9) for metric in both})
    info = own_loop_ablation(arms=(arm,), metrics=both, effects=(), rank_metric=both[0])
    assert arms_table(info).headings[1:3] == ["val_clean_accuracy (%)", "test_clean_accuracy (%)"]


@pytest.mark.parametrize(
    ("largest", "places"),
    [(0.0, 3), (0.4312, 4), (9.99, 3), (1250.0, 0), (1.0, 3), (123456.0, 0), (0.0012, 6)],
)
def test_decimals_give_the_largest_four_digits(largest: float, places: int) -> None:
    assert decimals("loss", [largest, -largest / 2, math.nan]) == places
    assert decimals(ROBUST, [largest]) == 1


def test_missing_runs_and_one_seed_are_told() -> None:
    arms = (
        *example_ablation().arms[:2],
        scored_arm("DA", 0.94, 0.755, "seed 3 (raised)", "seed 4 (not_finite)", n=6),
        example_arm("FMA", dict.fromkeys((CLEAN, ROBUST), NOTHING), *["seed 1 (raised)"] * 8),
    )
    table = arms_table(example_ablation(arms=arms, effects=()))
    assert row(table, "FMA") == "FMA (n = 0, 8 failed) - - - - -"
    assert row(table, "DA").startswith("DA (n = 6, 2 failed) 94.0")
    single = example_arm("DA", {ROBUST: estimate(0.7, None)})
    effect = example_effect("DA - plain", 0.1, None, n=1, p=1.0)
    info = example_ablation(arms=(single,), metrics=(ROBUST,), effects=(effect,), seeds=1)
    assert row(arms_table(info), "DA") == "DA 70.0 +10.0"
    text = said(arms_table(info))
    assert "one seed: no standard deviation" in text
    assert "1 seed: no interval (how seeds vary is not known)" in text
    assert "brackets" not in text


# -- Effects


def test_contrasts_and_verdicts_in_words() -> None:
    table = effects_table(example_ablation())
    assert table.headings == ["Contrast", "On", "Difference", "p", "Adjusted p", "Verdict"]
    assert row(table, "DA against plain robust").endswith(
        "+14.5 [+12.5, +16.5] .062 .062 not shown to differ; a clean loss is not excluded"
    )
    assert row(table, "FMA against plain robust").endswith(
        "+16.3 [+14.3, +18.3] .0078 .016 more robust; clean accuracy is kept"
    )
    assert row(table, "baseline against plain clean").endswith(".0078 - exploratory")
    assert "p DA against plain .0078; FMA against plain .0078" in said(table)


def test_the_frame_has_the_names_and_signs_of_the_design() -> None:
    frame = effects_table(example_ablation()).frame
    found = [tuple(row) for row in frame[["contrast", "verdict", "kept"]].to_numpy()[:2]]
    assert found == [("DA - plain", "not shown", "not shown"), ("FMA - plain", "better", "yes")]
    arms = tuple(scored_arm(name, 0.9, 0.6) for name in ("reference", "without fma"))
    effect = example_effect("without fma - reference", -0.1, p_adjusted=0.01, verdict="worse")
    info = example_ablation(arms=arms, effects=(effect,), reference="reference")
    printed = row(effects_table(info), "contribution of FMA robust")
    assert printed.endswith("+10.0 [+8.0, +12.0] .0078 .01 more robust")
    assert "p contribution of FMA .0078" in said(effects_table(info))
    (stored,) = effects_table(info).frame.to_dict("records")
    assert (stored["contrast"], stored["difference.mean"]) == ("without fma - reference", -0.1)


def test_claims_of_equivalence_have_their_margin_and_a_note() -> None:
    same = example_effect(
        "FMA - DA", 0.001, 0.004, p=0.01, p_adjusted=0.02, verdict="equivalent", p_seeds=None
    )
    same = replace(same, equivalent_within=0.005)
    table = effects_table(example_ablation(effects=(*example_ablation().effects, same)))
    printed = row(table, "FMA against DA robust")
    assert printed == "FMA against DA robust +0.1 [-0.3, +0.5] .01 .02 equivalent within 0.5 points"
    assert (
        "FMA against DA, equivalent within 0.5 points: shown to differ by no more than 0.5 points, "
        "where the interval is within it; p: the larger of two one-sided, doubled for Holm"
    ) in said(table)
    frame = table.frame.set_index("contrast")
    assert frame.loc["FMA - DA", "verdict"] == "equivalent"
    assert frame.loc["FMA - DA", "equivalent_within"] == 0.005
    assert "equivalent_within" not in effects_table(example_ablation()).frame


def test_effects_of_factors_come_first_and_others_by_their_own_metric() -> None:
    order = [cells[0].printed for cells in effects_table(factorial_ablation()).rows]
    assert order[:2] == ["contribution of FMA", "contribution of ST"]
    unseen = example_effect("unseen noise: without noise - plain", 0.2, metric=NOISE)
    info = example_ablation(effects=(*example_ablation().effects, unseen))
    primary, others = shown_effects(info)
    assert unseen in others
    assert [one.metric for one in others if one.contrast == "FMA - plain"] == [CLEAN]
    assert len(primary) == 2


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (None, "-"), (math.nan, "-"), (1.0, "1"), (0.5, ".5"), (0.0078125, ".0078"),
        (0.00012, ".00012"), (0.00009, "<.0001"), (0.0, "<.0001"), (0.05, ".05"),
        (0.0499, ".0499"), (0.04996, ".04996"), (0.0499999, ".0499999"), (0.0504, ".05"),
        (0.125, ".125"), (0.0995, ".1"), (0.1, ".1"), (0.62349, ".623"), (0.9996, "1"),
    ],
)  # fmt: skip
def test_a_p_stays_on_its_side_of_alpha(p: float | None, text: str) -> None:
    assert p_text(p) == text


# -- A search


def test_the_front_and_its_gains() -> None:
    table = front_table(pareto_info(RECORD))
    assert table.headings == ["Trial", "Loss terms", "Clean (%)", "Gain", "Robust (%)", "Gain"]
    assert [[cell.printed for cell in cells] for cells in table.rows] == [
        ["baseline", "", "95.0", "", "60.0", ""],
        ["plain finetune", "", "96.0", "+1.0", "61.0", "+1.0"],
        ["trial 0", "clean+fma", "94.0", "-1.0", "70.0", "+10.0"],
        ["trial 1", "clean+st", "90.0", "-5.0", "80.0", "+20.0"],
    ]
    assert table.notes == (
        "Pareto front, 2 of 3 complete trials",
        "validation accuracy in %, n = 359 images, robust = mean over families",
        "gain: over the baseline, in points",
        "single seed (0)",
        "types trained on are among the scored: not comparable with methods that hold them out",
        "study example, fingerprint abc123",
    )
    objectives = ((CLEAN, "maximize"), ("train_seconds", "minimize"))
    record = example_record(
        [example_row(0, (0.9, 20.0))], objectives=objectives, reference_point=None
    )
    assert "less is better: train_seconds" in front_table(pareto_info(record)).notes


def test_a_search_ends_with_the_varied_parameters_a_line_a_trial() -> None:
    printed = lines(settings_table(pareto_info(RECORD)), 100)
    assert printed[:2] == [
        "example: Pareto front, 2 of 3 complete trials (16 in all); validation accuracy in %",
        "Trial Loss terms fma.weight st.weight mix Clean (%) Robust (%)",
    ]
    assert "baseline 95.0 60.0" in printed
    assert any(
        line.startswith("trial 0 clean+fma") and line.endswith("94.0 70.0") for line in printed
    )
    many = [example_row(at, (0.9 - at / 100, 0.6 + at / 100)) for at in range(40)]
    info = pareto_info(example_record(many))
    table = settings_table(info)
    assert "40 of 40 complete trials (16 in all), 12 of them shown" in table.title
    assert [cells[0].printed for cells in table.rows[2:]][::11] == ["trial 0", "trial 39"]


@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize("name", searches())
def test_every_search_ends_in_a_table_that_fits(name: str, width: int) -> None:
    table = end_table(pareto_info(searches()[name].record))
    assert len(lines(replace(table, notes=()), width)) <= 20


# -- What an ablation and a confirmation end with


def test_an_ablation_ends_with_its_arms() -> None:
    table = result_table(example_ablation())
    assert table.title == "example: 24 of 24 runs ended, 8 seeds, validation accuracy in %"
    assert str(table.columns) == str(arms_table(example_ablation()).columns)  # NaN is not NaN


def test_a_design_of_factors_ends_with_its_effects() -> None:
    printed = lines(result_table(factorial_ablation()))
    assert printed[1] == "Contrast On Difference p Adjusted p Verdict"
    assert printed[3].startswith("contribution of FMA robust +10.0 [+8.0, +12.0]")


def test_a_confirmation_ends_with_its_arms() -> None:
    test = example_ablation(split="test", study="example~confirm")
    info = ConfirmInfo(test, test, ())
    assert "test accuracy in %" in end_table(info).title


@pytest.mark.parametrize("width", [60, 200])
@pytest.mark.parametrize("made", [example_ablation, factorial_ablation, own_loop_ablation])
def test_a_narrow_terminal_cuts_no_number(made: Any, width: int) -> None:
    info = made()
    for table in (arms_table(info), effects_table(info), result_table(info)):
        assert len(lines(table, width)) > 5


def test_a_narrow_terminal_loses_the_families_first_and_never_what_is_compared() -> None:
    printed = lines(arms_table(example_ablation()), 70)
    assert printed[1] == "Arm Clean (%) Robust (%) Robust less plain"
    assert "not shown (too wide): Noise (%), Blur (%)" in printed
    names = [f"metric number {number}" for number in range(12)]
    arm = example_arm("a", dict.fromkeys(names, estimate(0.5)))
    info = own_loop_ablation(
        arms=(arm,), metrics=tuple(names), effects=(), rank_metric=names[-1], minimized=()
    )
    assert "metric number 11" in lines(arms_table(info), 70)[1]


def test_markup_in_names_is_printed_as_it_is() -> None:
    arms = (scored_arm("plain", 0.9, 0.6), scored_arm(ODD, 0.9, 0.7))
    effects = (example_effect(f"{ODD} - plain", 0.1, p_adjusted=0.0078, verdict="better"),)
    info = example_ablation(study="[red]x", arms=arms, effects=effects)
    assert lines(result_table(info))[0].startswith("[red]x: ")
    assert row(arms_table(info), ODD).endswith("+10.0 [+8.0, +12.0]")
    assert row(effects_table(info), f"{ODD} against plain").endswith("more robust")


# -- Layers and an estimate


def test_layers_of_a_real_model() -> None:
    layers = describe_layers(ModelSettings(name="resnet8"))
    printed = lines(layers_table("resnet8", layers))
    assert printed[0] == f"resnet8: {len(layers)} layers for loss.fma.layers"
    first = layers[0]
    channels, height, width = first.shape
    shown = f"{first.name} {first.module} {channels} x {height} x {width} {channels} (axis 1)"
    assert shown in printed
    assert strict(layers_rows(layers))[0]["shape"] == [channels, height, width]


def test_estimate() -> None:
    trial = TrialEstimate(
        train_images=45_000,
        seen_images=3_000,
        validation_images=287,
        step_seconds=0.05,
        train_seconds=12.0,
        score_seconds=2.0,
        state_bytes=600_000,
        evaluation_bytes=7_000_000,
    )
    info = DryRun("example", 16, 2, 0.5, "cpu, avx2", "fp32", trial, 119.0, 0.03, 25_000_000)
    assert estimate_text(info).split("\n") == [
        "example: 16 trials and the plain finetune, 2 in parallel, 0.5 GPU each, on cpu, avx2 in "
        "fp32",
        "one trial: 12 s of training on 3,000 of 45,000 images, 2 s of scoring on 287",
        "total: 1 min 59 s plus the baseline, 0.03 GPU hours, 25 MB of disk",
        "note: timed alone; trials that share a GPU slow each other down",
    ]
    (total,) = (
        one for one in estimate_text(replace(info, mixtures=True)).split("\n") if "total" in one
    )
    assert "plus the baseline and mixtures (2 s each), 0.03 GPU hours" in total
    first = ({"loss.terms": "clean+da", "loss.da.weight": 1.0}, {"loss.terms": "clean+st"})
    assert estimate_text(replace(info, first_points=first)).split("\n")[2:5] == [
        "first trials (of search.enqueue, then of search.start):",
        "  terms clean+da; weight 1",
        "  terms clean+st",
    ]
