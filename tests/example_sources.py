"""Studies as the figures meet them: usual ones, and every one at which a figure could stumble."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from example_ablations import (
    example_ablation,
    factorial_ablation,
    own_loop_ablation,
    single_models_ablation,
)
from example_records import BEGAN, TWO, example_record, example_row

from ablate.ablation.cell import Design
from ablate.ablation.info import TuningCurve
from ablate.ablation.study_source import StudySource
from ablate.ledger.record import Attempt, Drive, Failure, RowRecord, Rung, StudyRecord
from ablate.report.figures.canvas import COLUMN
from ablate.report.figures.pareto import FIGURE
from ablate.study.interpolation import Curve, alpha_text, curve_point
from ablate.study.scores import ReportedScores, Scores

FAMILIES = {
    "noise": ("gaussian_noise", "impulse_noise"),
    "blur": ("gaussian_blur", "motion_blur"),
    "photometric": ("brightness", "contrast"),
}
TAPS = ("stem", "stage1", "stage2", "stage3")
TERMS = ("clean+da", "clean+st", "clean+fma", "clean+st+fma")


def sloped_scores(clean: float, robust: float, *, seen: tuple[str, ...] = ()) -> Scores:
    """Six types in three families, five points lost from one severity to the next."""
    accuracies = {
        kind: {
            str(severity): robust + 0.1 * place - 0.1 - 0.05 * (severity - 3) / 2
            for severity in (1, 3, 5)
        }
        for place, kinds in enumerate(FAMILIES.values())
        for kind in kinds
    }
    return Scores("val", 359, clean, accuracies, FAMILIES, seen, 4, 11504, 20.0)


def usual_params(random: np.random.Generator) -> dict[str, Any]:
    """A draw of a joint space: conditional weights, layers, a mix, a choice, an int."""
    terms = str(random.choice(TERMS))
    params: dict[str, Any] = {
        "loss.terms": terms,
        "augment.mix": dict(zip(FAMILIES, random.dirichlet((1.0, 1.0, 1.0)).tolist(), strict=True)),
        "augment.strength": float(random.uniform(0.2, 1.0)),
        "finetune.learning_rate": float(10 ** random.uniform(-3, -1)),
        "finetune.batch_size": int(random.choice((32, 64))),
    }
    if "fma" in terms:
        params["loss.fma.weight"] = float(10 ** random.uniform(-2, 1.5))
        params["loss.fma.layers"] = [tap for tap in TAPS if random.random() < 0.5] or ["stage3"]
    if "st" in terms.split("+"):
        params["loss.st.weight"] = float(10 ** random.uniform(-2, 1))
    return params


def usual_rows(count: int, *, seed: int = 0, epochs: int = 4) -> Iterator[RowRecord]:
    """Of every ten rows one is pruned after two epochs, one fails, the others are complete."""
    random = np.random.default_rng(seed)
    for number in range(count):
        params = usual_params(random)
        fma = 0.06 * ("stage3" in params.get("loss.fma.layers", ()))
        robust = 0.62 + 0.1 * params["augment.strength"] + fma + float(random.normal(0, 0.01))
        clean = 0.96 - 0.05 * params["augment.strength"] + float(random.normal(0, 0.005))
        state = {3: "PRUNED", 7: "FAIL"}.get(number % 10, "COMPLETE")
        done = epochs if state == "COMPLETE" else 2
        curve = [
            {
                "epoch": epoch,
                "epochs": epochs,
                "train_loss": 1 / epoch,
                "seconds": 2.5,
                "images": 96,
            }
            for epoch in range(1, done + 1)
        ]
        begun = BEGAN.timestamp() + 5 * number
        host = f"node{number % 2}"
        last = Attempt(
            1, begun, begun + 10, state.lower(), host=host, pid=100 + number % 4, epochs=done
        )
        attempts = [last]
        if number % 8 == 4:
            lost = replace(last, end="lost", reason="node lost", ended=begun + 4, epochs=1)
            attempts = [lost, replace(last, attempt=2, started=begun + 6, first_epoch=1)]
        yield example_row(
            number,
            (clean, robust) if state == "COMPLETE" else None,
            state=state,  # type: ignore[arg-type]
            params=params,
            scores=sloped_scores(clean, robust) if state == "COMPLETE" else None,
            failure=Failure("raised", "ValueError: boom") if state == "FAIL" else None,
            curve=curve,
            attempts=attempts,
            rungs=[Rung(2, {"val_robust_accuracy": robust - 0.1}, state == "PRUNED", number + 1)],
        )


def usual_record(count: int = 30, **settings: Any) -> StudyRecord:
    """A search of a joint space with a baseline and a plain finetune, driven once."""
    drives = [Drive(BEGAN.timestamp(), "node0", 1, BEGAN.timestamp() + 5 * count + 10, "finished")]
    seed = settings.pop("seed", 0)
    return example_record(
        list(usual_rows(count, seed=seed)),
        trials=count,
        references={"baseline": sloped_scores(0.95, 0.60), "plain": sloped_scores(0.96, 0.61)},
        **{"drives": drives, **settings},
    )


def one_objective(count: int = 30, **settings: Any) -> StudyRecord:
    """The usual search, for robust accuracy alone."""
    usual = usual_record(count, **settings)
    study = usual.study.model_copy(update={"objectives": usual.study.objectives[1:]})
    rows = [replace(row, values=row.values[1:] if row.values else None) for row in usual.rows]
    return replace(usual, study=study, rows=tuple(rows), reference_point=None)


def draw_front(record: StudyRecord) -> Any:
    """The Pareto figure of one study, without a confirmation."""
    return FIGURE.draw(FIGURE.info([StudySource(record)]), COLUMN)


def ablation_source(info: Any) -> StudySource:
    """A source of an ablation whose rows nobody looks at."""
    design = Design(info.design, (), (), ()).to_json()
    return StudySource(replace(example_record(), design=design, name=info.study), info)


def curved_row(number: int, path: Mapping[float, tuple[float, float]], margin: float) -> RowRecord:
    """A trial with these clean and robust accuracies by alpha, and the network that stands for
    it."""
    scored = {alpha: sloped_scores(*pair) for alpha, pair in path.items()}
    points = {alpha_text(alpha): curve_point(one) for alpha, one in scored.items()}
    found = Curve(points).chosen(scored[1.0], margin)
    scores = found.scores(scored[1.0], found.alpha)
    values = (scores.clean_accuracy, scores.robust_accuracy)
    params = {"loss.terms": TERMS[number % len(TERMS)]}
    return replace(example_row(number, values, params=params, scores=scores), path=found)


def curved_record() -> StudyRecord:
    """Three trials with curves: one stands in the middle, one at its end, one has a barrier."""
    start = (0.95, 0.60)
    rows = [
        curved_row(0, {0.0: start, 0.5: (0.945, 0.70), 1.0: (0.90, 0.75)}, 0.01),
        curved_row(1, {0.0: start, 0.5: (0.955, 0.63), 1.0: (0.96, 0.66)}, 0.01),
        curved_row(2, {0.0: start, 0.5: (0.70, 0.40), 1.0: (0.93, 0.80)}, 0.01),
    ]
    return example_record(rows, finetune={"interpolation": {"alphas": [0.5, 1.0]}})


def searches() -> Mapping[str, StudySource]:
    """Every search that a figure must bear, by what is odd about it."""
    terms = {"loss.terms": "clean+fma"}
    complete = [example_row(at, (0.9, 0.7), params=terms) for at in range(4)]
    three = [*((metric, "maximize") for metric in TWO), ("train_seconds", "minimize")]
    found = {
        "usual": usual_record(),
        "empty": example_record(),
        "nothing scored": example_record(references={}, reference_point=None),
        "one": usual_record(1),
        "all failed": example_record(
            [
                example_row(at, None, state="FAIL", failure=Failure("raised", "ValueError: boom"))
                for at in range(3)
            ]
        ),
        "all pruned": example_record(
            [replace(row, state="PRUNED", values=None, scores=None) for row in usual_rows(4)]
        ),
        "running": example_record(
            [
                example_row(0, (0.9, 0.7), scores=sloped_scores(0.9, 0.7)),
                example_row(1, None, state="RUNNING"),
                example_row(2, None, state="WAITING", params={}),
            ]
        ),
        "ties": example_record(complete),
        "curved": curved_record(),
        "not a number": example_record(
            [*complete, example_row(4, (math.nan, 0.7)), example_row(5, (math.inf, 0.7))]
        ),
        "three objectives": example_record(
            [
                replace(row, values=(*row.values, 20.0 + row.number) if row.values else None)
                for row in usual_rows(12)
            ],
            objectives=three,
            reference_point=(0.85, 0.6, 60.0),
            trials=12,
        ),
        "one objective": one_objective(),
        "own loop": example_record(
            [
                example_row(
                    at,
                    (0.1 * at, 2.0 - at),
                    params={"x": 0.1 * at, "kind": "ab"[at % 2]},
                    scores=ReportedScores({"loss": 0.1 * at, "speed": 2.0 - at}),
                    curve=[
                        {"epoch": epoch, "epochs": 2, "seconds": 1.0, "scores": {"loss": 1 / epoch}}
                        for epoch in (1, 2)
                    ],
                )
                for at in range(6)
            ],
            objectives=[("loss", "minimize"), ("speed", "maximize")],
            trainable="loops:train",
            references={},
            reference_point=None,
        ),
        "markup": usual_record(12, name="<script>alert(1)", question="<b>a</b> & b?"),
    }
    return {name: StudySource(record) for name, record in found.items()}


def ablations() -> Mapping[str, StudySource]:
    """Ablations of every shape."""
    metric = "val_robust_accuracy"
    tuning = (
        TuningCurve("DA", metric, (0.70, 0.74, 0.75), is_random=True),
        TuningCurve("FMA", metric, (0.71, 0.77), is_random=False),
    )
    infos = {
        "ablation": example_ablation(),
        "single models": single_models_ablation(),
        "tuned ablation": example_ablation(tuning=tuning),
        "ablation of an own loop": own_loop_ablation(),
        "factorial": factorial_ablation(),
        "ablation with nothing": example_ablation(arms=(), effects=(), metrics=(), ended=0),
    }
    return {name: ablation_source(info) for name, info in infos.items()}
