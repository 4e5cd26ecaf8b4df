"""An evaluation as it is printed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from ablate.report.terminal.evaluation import evaluation_report
from ablate.robustness.corruption import BENCHMARK, FAMILIES
from ablate.robustness.evaluation import (
    CellScores,
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
)

N = 1000


def cell(right: int) -> CellScores:
    return CellScores(np.arange(N) < right, None, 0.1)


EVALUATION = Evaluation(
    model=EvaluatedModel(
        "timm:tf_efficientnet_lite0", "/far/away/lite0.pth", f"sha256:{'ab' * 32}", 4_652_008, 224
    ),
    data=EvaluatedData(
        "sample", "val", N, tuple(f"n{label}" for label in range(4)), (3, 224, 224), "c", "d"
    ),
    suite=EvaluatedSuite(
        "imagenetc",
        {
            family: tuple(kind for kind in kinds if kind in BENCHMARK)
            for family, kinds in FAMILIES.items()
        },
        (1, 2, 3, 4, 5),
        "corruption",
        "types",
        "imagenet",
    ),
    seed=7,
    labels=np.arange(N) % 4,
    clean=cell(874),
    cells={
        (kind, severity): cell(900 - 100 * severity)
        for kinds in FAMILIES.values()
        for kind in kinds
        if kind in BENCHMARK
        for severity in (1, 2, 3, 4, 5)
    },
    marks=("approximate frost [a texture]",),
    notes=("files: shorter side 256 pixels",),
    environment={"precision": "bf16", "device": "cpu"},
    seconds=125.0,
)


def printed(made: Evaluation, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(evaluation_report(made))
    text = console.file.getvalue()
    return [" ".join(line.replace("│", " ").split()) for line in text.split("\n")]


def test_what_one_looks_for_stands_first_then_what_was_evaluated() -> None:
    assert printed(EVALUATION)[:14] == [
        "timm:tf_efficientnet_lite0",
        "clean_accuracy 87.4 % (85.2 to 89.3)",
        "1000 images",
        "mean_corruption_accuracy_unnormalised 60.0 % (57.5 to 62.5)",
        "15 types x 5 severities",
        "mean_corruption_error_unnormalised 40.0 %",
        "15 types x 5 severities",
        "mark: approximate frost [a texture]",
        "",
        "weights: lite0.pth, sha256:abababababab, 4,652,008 parameters",
        "data: sample val, 1,000 images of 224 x 224, 4 classes",
        "a network that always answers n0: 25.0 %",
        "suite: imagenetc, seed 7, bf16 on cpu, 2 min 05 s",
        "note: files: shorter side 256 pixels",
    ]


def test_extra_types_stand_beside_the_benchmarks() -> None:
    suite = replace(EVALUATION.suite, name="all", families=FAMILIES)
    extra = [kind for kind in suite.types if kind not in BENCHMARK]
    cells = {
        (kind, severity): cell(0 if kind in extra else 600)
        for kind in suite.types
        for severity in suite.severities
    }
    lines = printed(replace(EVALUATION, suite=suite, cells=cells))
    assert "benchmark (15) 60.0 60.0 60.0 60.0 60.0 60.0" in lines
    assert "all (19) 47.4 47.4 47.4 47.4 47.4 47.4" in lines
    assert not any(line.startswith("benchmark") for line in printed(EVALUATION))


def test_every_corruption_has_a_row_by_severity() -> None:
    lines = printed(EVALUATION)
    assert "clean 87.4" in lines
    for kind in BENCHMARK:
        assert f"{kind} 80.0 70.0 60.0 50.0 40.0 60.0" in lines
    assert "noise (3) 80.0 70.0 60.0 50.0 40.0 60.0" in lines
    assert "all (15) 80.0 70.0 60.0 50.0 40.0 60.0" in lines


def test_what_it_was_trained_on_is_a_column() -> None:
    exposure = dict.fromkeys(BENCHMARK, "unseen")
    exposure |= {"gaussian_noise": "seen_type", "shot_noise": "seen_family"}
    made = replace(
        EVALUATION,
        exposure=exposure,
        model=replace(
            EVALUATION.model,
            training={"study": "small", "trial": None, "loss_terms": "clean+da"},
        ),
    )
    lines = printed(made)
    assert "finetuned: study small, plain finetune, loss clean+da" in lines
    assert "gaussian_noise 80.0 70.0 60.0 50.0 40.0 60.0 type" in lines
    assert "shot_noise 80.0 70.0 60.0 50.0 40.0 60.0 family" in lines
    assert "fog 80.0 70.0 60.0 50.0 40.0 60.0 no" in lines
    assert any("not comparable with methods" in line for line in lines)


@pytest.mark.parametrize("width", [80, 200])
def test_it_fits_a_terminal(width: int) -> None:
    exposure = dict.fromkeys(BENCHMARK, "seen_family")
    console = Console(file=io.StringIO(), width=width)
    right = dict.fromkeys(EVALUATION.cells, cell(N))
    console.print(evaluation_report(replace(EVALUATION, exposure=exposure, cells=right)))
    lines = console.file.getvalue().split("\n")
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)


def test_files_have_no_seed_and_no_clean_images() -> None:
    made = replace(EVALUATION, seed=None, clean=None, data=replace(EVALUATION.data, split=""))
    lines = printed(made)
    at = next(place for place, line in enumerate(lines) if line.startswith("data: "))
    assert lines[at : at + 3] == [
        "data: sample, 1,000 images of 224 x 224, 4 classes",
        "a network that always answers n0: 25.0 %",
        "suite: imagenetc, bf16 on cpu, 2 min 05 s",
    ]
    assert not any(line.startswith("clean") for line in lines)
