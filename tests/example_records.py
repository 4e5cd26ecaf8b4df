"""Small studies written by hand, for the tests of what reads a ledger's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ablate.ledger.record import (
    Attempt,
    Checkpoint,
    Drive,
    Failure,
    RowRecord,
    Rung,
    State,
    StudyRecord,
)
from ablate.study.scores import AnyScores, Scores
from ablate.study.settings import Study

FAMILIES = {"noise": ("gaussian_noise", "impulse_noise"), "blur": ("gaussian_blur",)}
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TWO = ("val_clean_accuracy", "val_robust_accuracy")


def example_scores(clean: float, robust: float, *, train_seconds: float = 20.0) -> Scores:
    """Scores whose robust accuracy is `robust`: noise lies 0.1 below, blur 0.1 above it."""
    accuracies = {
        kind: {"1": middle + 0.05, "3": middle, "5": middle - 0.05}
        for kind, middle in (
            ("gaussian_noise", robust - 0.1),
            ("impulse_noise", robust - 0.1),
            ("gaussian_blur", robust + 0.1),
        )
    }
    seen = ("gaussian_noise", "impulse_noise")
    return Scores("val", 359, clean, accuracies, FAMILIES, seen, 4, 11504, train_seconds)


def example_row(
    number: int,
    values: Sequence[float] | None,
    *,
    state: State = "COMPLETE",
    params: Mapping[str, Any] | None = None,
    failure: Failure | None = None,
    scores: AnyScores | None = None,
    seconds: float = 10.0,
    attempts: Sequence[Attempt] | None = None,
    curve: Sequence[Mapping[str, Any]] = (),
    checkpoints: Sequence[Checkpoint] = (),
    rungs: Sequence[Rung] = (),
    enqueued: bool = False,
) -> RowRecord:
    """A row that starts 5 seconds after the one before it and runs for `seconds`, in one attempt
    unless others are given; one that is RUNNING has an attempt without an end."""
    started = BEGAN + timedelta(seconds=5 * number)
    ended = state in ("COMPLETE", "PRUNED", "FAIL")
    if attempts is None:
        moment = started.timestamp()
        end = state.lower() if ended else None
        only = Attempt(1, moment, moment + seconds if ended else None, end)
        attempts = [] if state == "WAITING" else [only]
    return RowRecord(
        number=number,
        state=state,
        attempt=len(attempts),
        params={"loss.terms": "clean+fma"} if params is None else params,
        values=None if values is None else tuple(values),
        scores=scores,
        failure=failure,
        curve=tuple(curve),
        checkpoints=tuple(checkpoints),
        attempts=tuple(attempts),
        rungs=tuple(rungs),
        enqueued=enqueued,
        started=None if state == "WAITING" else started,
        finished=started + timedelta(seconds=seconds) if ended else None,
    )


def example_record(
    rows: Sequence[RowRecord] = (),
    *,
    objectives: Sequence[tuple[str, str]] = tuple((metric, "maximize") for metric in TWO),
    trials: int = 16,
    reference_point: tuple[float, ...] | None = (0.85, 0.6),
    references: Mapping[str, Scores] | None = None,
    drives: Sequence[Drive] = (),
    driver: str | None = None,
    **settings: Any,
) -> StudyRecord:
    """A study on digits; the baseline scores 95 % clean and 60 % robust."""
    own = {"dataset": {"name": "digits"}, "model": {"name": "resnet8"}}
    study = Study.model_validate(
        {
            "version": 1,
            "name": "example",
            "question": "Which term buys more?",
            **({} if "trainable" in settings else own),
            "objectives": [
                {"metric": metric, "direction": direction} for metric, direction in objectives
            ],
            **settings,
        }
    )
    baseline = {"baseline": example_scores(0.95, 0.60), "plain": example_scores(0.96, 0.61)}
    return StudyRecord(
        name=study.name,
        storage="sqlite:///runs/example/study.db",
        study=study,
        fingerprint="abc123",
        environment={"device": "cpu"},
        trials=trials,
        reference_point=reference_point,
        references=baseline if references is None else references,
        rows=tuple(rows),
        driver=driver,
        drives=tuple(drives),
    )
