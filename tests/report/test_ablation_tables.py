"""An ablation as it is printed, and the same as data."""

from __future__ import annotations

import io
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
from printed_ablations import row, said
from printed_tables import lines, strict
from rich.console import Console

from ablate.ablation.info import AblationInfo, Transfer, TuningCurve
from ablate.ablation.significance import RankStability, rank_stability
from ablate.report.arms import decimals
from ablate.report.terminal.ablation import (
    ablation_rows,
    arms_table,
    effects_table,
    ranks_text,
    transfer_table,
    tuning_lines,
)

ODD = "<script>[red]a_b & 50%|"


def bold(table: Any, width: int = 160) -> list[str]:
    """The bold numbers of the table's body."""
    console = Console(file=io.StringIO(), width=width)
    found = []
    for line in console.render_lines(table, pad=False):
        for segment in line:
            style = segment.style
            if style is not None and style.bold and any(map(str.isdigit, segment.text)):
                found.append(segment.text.strip())
    return found


def with_robust(*arms: tuple[str, float, float | None], **changes: Any) -> AblationInfo:
    """Arms of a name, a robust accuracy, and half an interval."""
    made = [example_arm(name, {ROBUST: estimate(mean, half)}) for name, mean, half in arms]
    return example_ablation(arms=tuple(made), metrics=(ROBUST,), **changes)


def test_a_row_an_arm() -> None:
    table = arms_table(example_ablation())
    printed = lines(table)
    assert printed[0] == "example: 24 of 24 runs ended"
    assert [line.split()[0] for line in printed[4:8]] == ["baseline", "plain", "DA", "FMA"]
    assert "Arm Clean (%) Noise (%) Blur (%) Robust (%) Difference to plain" in printed
    assert row(table, "baseline") == "baseline 95.0 50.0 70.0 60.0 -1.0 [-3.0, +1.0]"
    assert row(table, "plain") == "plain 96.0 ± 0.4 51.0 ± 0.4 71.0 ± 0.4 61.0 ± 0.4 reference"
    assert row(table, "FMA").endswith("67.3 ± 0.4 87.3 ± 0.4 77.3 ± 0.4 +16.3 [+14.3, +18.3]")


def test_what_stands_under_the_arms() -> None:
    text = said(arms_table(example_ablation()))
    for note in (
        "validation accuracy in %, n = 359 images, 100 of them corrupted, robust = mean over "
        "families",
        "mean ± standard deviation over 8 seeds",
        "difference to plain: robust accuracy, in points",
        "brackets: 95 % interval, t over seeds and images (of new seeds on new images)",
        "bold: the best, and all whose paired difference to it has a 95 % interval that contains 0",
        "conditional on the one baseline that all runs start from",
        "study example, fingerprint abc123def456",
    ):
        assert note in text


def test_of_test_images_the_test_metrics_are_shown() -> None:
    arm = example_arm("plain", {"test_clean_accuracy": estimate(0.9), CLEAN: estimate(0.8)})
    info = example_ablation(
        arms=(arm,),
        metrics=("test_clean_accuracy", CLEAN),
        split="test",
        rank_metric="test_robust_accuracy",
    )
    assert row(arms_table(info), "plain") == "plain 90.0 ± 0.4 reference"
    assert "test accuracy in %" in said(arms_table(info))


def test_the_best_are_bold() -> None:
    assert bold(arms_table(example_ablation())) == [
        "96.0 ± 0.4", "95.5 ± 0.4", "67.3 ± 0.4", "87.3 ± 0.4", "77.3 ± 0.4",
    ]  # fmt: skip
    best = {CLEAN: ("baseline",), ROBUST: ()}  # of the others nothing is known
    assert bold(arms_table(example_ablation(best=best))) == ["95.0"]
    assert bold(arms_table(own_loop_ablation())) == [
        "0.4312 ± 0.0040", "0.4325 ± 0.0040", "1300 ± 0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "said_of_few"),
    [(2, True), (4, True), (5, False), (8, False)],
)
def test_of_few_seeds_it_is_said_that_much_is_bold(seeds: int, said_of_few: bool) -> None:
    text = said(arms_table(example_ablation(seeds=seeds)))
    few = f"contains 0 (of {seeds} seeds the interval is wide, so many are bold)"
    assert (few in text) == said_of_few


def test_an_own_loop_has_all_its_metrics_as_it_names_them() -> None:
    table = arms_table(own_loop_ablation())
    assert "Arm loss images/s Difference to a" in lines(table)
    assert row(table, "a") == "a 0.4312 ± 0.0040 1250 ± 0 reference"
    assert row(table, "b") == "b 0.4325 ± 0.0040 1300 ± 0 +0.0013 [-0.0017, +0.0043]"
    assert row(table, "c") == "c 0.5100 ± 0.0040 - +0.0788 [+0.0688, +0.0888]"
    text = said(table)
    assert "difference to a: loss brackets: 95 % interval, t over seeds bold: " in text
    assert "less is better: loss" in text
    assert "accuracy" not in text
    effects = said(effects_table(own_loop_ablation()))
    assert "p: two-sided, from the model of the interval" in effects
    assert "sign flips" not in effects  # nothing is claimed
    assert "image " not in effects


def test_an_own_loop_may_report_accuracies_of_both_splits() -> None:
    metrics = ("val_clean_accuracy", "test_clean_accuracy")
    arm = example_arm("a", {metric: estimate(0.9) for metric in metrics})
    info = own_loop_ablation(arms=(arm,), metrics=metrics, effects=(), rank_metric=metrics[0])
    table = arms_table(info)
    assert "val_clean_accuracy (%) test_clean_accuracy (%)" in said(table)
    assert "accuracies in %" in said(table)
    assert "validation accuracy" not in said(table)


@pytest.mark.parametrize(
    ("largest", "places"),
    [(0.0, 3), (0.4312, 4), (9.99, 3), (1250.0, 0), (1.0, 3), (123456.0, 0), (0.0012, 6)],
)
def test_decimals_give_the_largest_four_digits(largest: float, places: int) -> None:
    assert decimals("loss", [largest, -largest / 2, math.nan]) == places
    assert decimals(ROBUST, [largest]) == 1
    assert decimals("loss", []) == 3


def test_runs_are_told_where_some_are_missing() -> None:
    arms = (
        *example_ablation().arms[:2],
        scored_arm("DA", 0.94, 0.755, "seed 3 (raised)", "seed 4 (not_finite)", n=6),
        example_arm("FMA", dict.fromkeys((CLEAN, ROBUST), NOTHING), *["seed 1 (raised)"] * 8),
    )
    table = arms_table(example_ablation(arms=arms, effects=()))
    assert row(table, "DA").startswith("DA 94.0 ± 0.4")
    assert row(table, "FMA") == "FMA - - - - -"
    assert "DA: n = 6, 2 failed FMA: n = 0, 8 failed" in said(table)
    assert "failed" not in said(arms_table(example_ablation()))


def test_one_seed_has_no_spread() -> None:
    best = {ROBUST: ("DA",)}
    info = with_robust(("plain", 0.6, None), ("DA", 0.7, None), seeds=1, best=best)
    info = replace(info, effects=(example_effect("DA - plain", 0.1, None, n=1, p=1.0),))
    table = arms_table(info)
    assert row(table, "DA") == "DA 70.0 +10.0"
    assert bold(table) == ["70.0"]
    text = said(table)
    assert "one seed: no standard deviation" in text
    assert "1 seed: no interval (how seeds vary is not known)" in text
    assert "bold: the best conditional" in text
    assert "brackets" not in text


def test_nothing_has_ended() -> None:
    arms = (example_arm("plain", {}), example_arm("DA", {}))
    info = example_ablation(
        arms=arms, metrics=(), families=(), effects=(), ranks=None, ended=0, n_images=None
    )
    assert "DA: n = 0" in said(arms_table(info))
    assert "0 exploratory effects" in said(effects_table(info))
    assert ranks_text(info) == []
    assert tuning_lines(info) == []
    assert strict(ablation_rows(info))[0]["arms"][0]["estimates"] == {}


def test_a_design_without_a_reference_has_no_differences() -> None:
    table = arms_table(factorial_ablation())
    assert "Difference" not in said(table)
    assert row(table, "with both") == "with both 95.0 ± 0.4 65.0 ± 0.4 85.0 ± 0.4 75.0 ± 0.4"


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("made", [example_ablation, factorial_ablation, own_loop_ablation])
def test_a_narrow_terminal_cuts_no_number(made: Any, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    info = made()
    for table in (arms_table(info), effects_table(info)):
        console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    assert all(len(line) <= width for line in text.split("\n"))
    assert all(f"{arm.name.split()[-1]} " in text for arm in info.arms)


def test_a_narrow_terminal_loses_the_families_first() -> None:
    console = Console(file=io.StringIO(), width=70)
    console.print(arms_table(example_ablation()))
    text = console.file.getvalue()
    assert "Robust (%)" in text
    assert "Noise (%) " not in text.partition("not shown")[0]
    assert "not shown (terminal too narrow): Noise (%), Blur (%)" in text
    assert "not shown, for want" not in said(arms_table(example_ablation()))


def test_a_narrow_terminal_keeps_the_metric_that_is_compared() -> None:
    names = [f"metric number {number}" for number in range(12)]
    arm = example_arm("a", dict.fromkeys(names, estimate(0.5)))
    info = own_loop_ablation(
        arms=(arm,), metrics=tuple(names), effects=(), rank_metric=names[-1], minimized=()
    )
    console = Console(file=io.StringIO(), width=70)
    console.print(arms_table(info))
    heading = console.file.getvalue().split("\n")[2]
    assert heading.count("metric number") == 2
    assert "metric number 11" in heading
    assert "metric number 0" in heading


def test_markup_in_names_is_printed_as_it_is() -> None:
    arms = (scored_arm("plain", 0.9, 0.6), scored_arm(ODD, 0.9, 0.7))
    effects = (example_effect(f"{ODD} - plain", 0.1, p_adjusted=0.0078125, verdict="better"),)
    ranks = example_ablation().ranks
    assert ranks is not None
    info = example_ablation(
        study="[red]x", arms=arms, effects=effects, ranks=replace(ranks, names=("a", "b", "c", ODD))
    )
    assert lines(arms_table(info))[0].startswith("[red]x: ")
    assert row(arms_table(info), ODD).endswith("+10.0 [+8.0, +12.0]")
    assert row(effects_table(info), f"{ODD} - plain").endswith("better")
    assert ODD in ranks_text(info)[1]


def test_all_of_it_as_data() -> None:
    info = example_ablation(
        transfers=(Transfer("DA", ("x",), ("x",), ((0.5,),), ((math.nan,),)),),
        tuning=(TuningCurve("DA", ROBUST, (0.5, math.nan), is_random=True),),
        failures=("seed 1 of DA: raised: boom",),
    )
    rows = strict(ablation_rows(info))
    assert len(rows) == 1
    data = rows[0]
    assert data["arms"][3]["name"] == "FMA"
    assert data["arms"][3]["estimates"][ROBUST]["mean"] == 0.773
    assert data["arms"][0]["estimates"][ROBUST] == {
        "mean": 0.6, "sd": None, "low": None, "high": None, "n": 1, "method": "none",
    }  # fmt: skip
    assert data["arms"][0]["costs"]["train_flops"] is None
    assert data["arms"][0]["is_one_network"] is True
    assert [effect["primary"] for effect in data["effects"]] == [
        False, False, True, False, True, False, False,
    ]  # fmt: skip
    assert data["effects"][5]["kept"]["margin"] == 0.02
    assert data["effects"][4]["verdict"] == "better"
    assert data["effects"][4]["p_seeds"] == 0.0078125
    assert data["effects"][0]["p_seeds"] is None
    assert sorted(data["best"][CLEAN]) == ["FMA", "plain"]
    assert data["best"][ROBUST] == ["FMA"]
    assert data["effects"][6]["metric"] == NOISE
    assert data["ranks"]["kendall_w"] == 1.0
    assert data["transfers"][0]["gains"] == [[None]]
    assert data["tuning"][0]["scores"] == [0.5, None]
    assert data["failures"] == ["seed 1 of DA: raised: boom"]
    assert data["aliases"] == []
    assert data["marks"] == list(info.marks)


def test_ranks() -> None:
    assert ranks_text(example_ablation()) == [
        "rank by robust accuracy: mean over 8 seeds [range of 95 % of resampled seeds]",
        "  FMA      1.0 [1, 1], first with 100 %",
        "  DA       2.0 [2, 2], first with 0 %",
        "  plain    3.0 [3, 3], first with 0 %",
        "  baseline 4.0 [4, 4], first with 0 %",
        "Kendall's W 1.00 (1: every seed gives the same order)",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.6], [0.7]], ["rank by loss: mean over 1 seed", "  b 1.0", "  a 2.0"]),
        ([[math.nan], [0.7]], ["rank by loss: - (no seed has every arm)"]),
    ],
)
def test_ranks_of_few_seeds(values: list[list[float]], expected: list[str]) -> None:
    import numpy as np

    ranks: RankStability = rank_stability(np.array(values), names=["a", "b"])
    assert ranks_text(own_loop_ablation(ranks=ranks)) == expected


def test_transfer_has_its_diagonal_marked() -> None:
    transfer = Transfer(
        "DA single",
        ("gaussian_noise", "[blur]"),
        ("gaussian_noise", "[blur]", "contrast"),
        ((0.9, 0.5, 0.7), (0.4, 0.8, math.nan)),
        ((0.3, -0.1, 0.0), (-0.2, 0.2, math.nan)),
    )
    table = transfer_table(transfer)
    printed = lines(table)
    assert printed[0] == "DA single: trained on x tested on"
    assert "tested on gaussian_noise [blur]" in printed
    assert "gaussian_noise • 90.0 (+30.0) 40.0 (-20.0)" in printed
    assert "[blur] 50.0 (-10.0) • 80.0 (+20.0)" in printed
    assert "contrast 70.0 (0.0) -" in printed
    assert "brackets: gain over the reference arm, in points" in said(table)
    assert "column: type that the model was trained on; row: type it is tested on" in said(table)


def test_tuning() -> None:
    scores = tuple(0.70 + 0.01 * trial for trial in range(10))
    info = example_ablation(
        tuning=(
            TuningCurve("DA", ROBUST, scores, is_random=True),
            TuningCurve("FMA", ROBUST, scores[:4], is_random=False),
            TuningCurve("ST", "loss", (math.nan,), is_random=True),
        )
    )
    assert tuning_lines(info) == [
        "tuning of DA: expected best robust accuracy after 1, 2, 4, 8, 10 trials: 70.0, 71.0, "
        "73.0, 77.0, 79.0 %",
        "tuning of FMA: expected best robust accuracy after 1, 2, 4 trials: 70.0, 71.0, 73.0 % "
        "(an approximation: its sampler was not random)",
        "tuning of ST: expected best loss after 1 trial: -",
    ]
