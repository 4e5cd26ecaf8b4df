"""Rows of a study: asked, started, adopted, ended; in every storage."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from ablate.errors import ParameterError, StudyExistsError, StudyNotFoundError
from ablate.files.durable import Checkpoint
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Failure, Head
from ablate.lifecycle.known_names import names_for
from ablate.space.parse import parse_space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.scores import Scores
from ablate.study.settings import Study

FAMILIES = {"noise": ("gaussian_noise",), "blur": ("gaussian_blur",)}


def make_scores(clean: float = 0.9, robust: float = 0.5) -> Scores:
    accuracies = {"gaussian_noise": {"3": robust}, "gaussian_blur": {"3": robust}}
    return Scores("val", 100, clean, accuracies, FAMILIES, ("gaussian_noise",), 2, 400, 1.5)


def make_head(**keys: object) -> Head:
    study = Study.model_validate(
        {
            "version": 1,
            "name": "rows",
            "dataset": {"name": "digits"},
            "model": {"name": "resnet8"},
            "space": {
                "loss.terms": {"choice": ["clean+da", "clean+fma"]},
                "loss.fma.weight": {
                    "float": [0.1, 10.0],
                    "log": True,
                    "when": {"loss.terms": {"contains": "fma"}},
                },
                "augment.strength": {"float": [0.2, 1.0]},
            },
            **keys,
        }
    )
    space = parse_space(study, names_for("resnet8"))
    return Head(
        identity="0a1b2c3d",
        study=study,
        text="the file",
        space=space.to_json(),
        base="/",
        fingerprint=study_fingerprint(study, space, "digest"),
        baseline_sha256="b" * 64,
        environment={"device": "cpu", "threads": 1},
        reference_point=(0.8, 0.4),
    )


@pytest.fixture
def ledger(storage_url: str) -> Ledger:
    return Ledger.create(storage_url, make_head(), trials=3)


@pytest.fixture
def driving(ledger: Ledger) -> Driving:
    return Driving(ledger)


def driven_again(storage_url: str) -> Driving:
    return Driving(Ledger.open(storage_url, "rows"))


def test_what_is_read_back_is_what_was_written(driving: Driving, storage_url: str) -> None:
    row = driving.ask()
    assert row is not None
    entry = {"epoch": 1, "train_loss": 0.5, "seconds": 1.0, "images": 200}
    odd = {**entry, "train_loss": 0.6, "scores": {"a": float("nan"), "b": float("inf")}}
    driving.record_epoch(0, odd, None)
    (running,) = Ledger.open(storage_url, "rows").read().rows
    assert repr(running.curve) == repr((odd,))
    driving.record_epoch(0, entry, Checkpoint(1, "/x/epoch-1", "a" * 64))  # trained again
    driving.complete(0, make_scores(0.93, 0.61))
    driving.ask()
    driving.fail(1, Failure("raised", "ValueError: no", "Traceback ..."))
    driving.ledger.set_reference("baseline", make_scores(0.95, 0.4))

    record = Ledger.open(storage_url, "rows").read()
    first, second = record.rows
    assert first.state == "COMPLETE"
    assert first.values == (0.93, 0.61)
    assert first.scores is not None
    assert first.scores.metrics() == make_scores(0.93, 0.61).metrics()
    assert first.params == dict(row.params)
    assert first.curve == (entry,)
    assert first.attempt == 1
    assert second.state == "FAIL"
    assert second.failure == Failure("raised", "ValueError: no", "Traceback ...")
    assert second.values is None
    assert record.references["baseline"].clean_accuracy == 0.95
    assert record.reference_point == (0.8, 0.4)
    assert record.trials == 3


def test_a_running_row_is_adopted_in_place(driving: Driving, storage_url: str) -> None:
    row = driving.ask()
    assert row is not None
    checkpoint = Checkpoint(1, "/x/epoch-1", "a" * 64)
    driving.record_epoch(0, {"epoch": 1, "train_loss": 0.5}, checkpoint)

    later = driven_again(storage_url)
    (adopted,), ended = later.adopt()
    assert ended == []
    assert (adopted.number, adopted.attempt) == (0, 2)
    assert adopted.params == row.params
    assert adopted.checkpoints == (checkpoint,)
    assert len(later.ledger.read().rows) == 1


def test_checkpoints_amid_epochs(driving: Driving, storage_url: str) -> None:
    assert driving.ask() is not None
    first, second = (Checkpoint(0, f"/x/{step}", "a" * 64, step, step / 2) for step in (10, 20))
    after = Checkpoint(1, "/x/1", "b" * 64)
    assert driving.record_epoch(0, None, first, place={"host": "here"}) == ()
    assert driving.record_epoch(0, None, second) == ()
    (row,) = Ledger.open(storage_url, "rows").read().rows
    assert (row.checkpoints, row.curve) == ((first, second), ())
    assert (row.attempts[0].epochs, row.attempts[0].seconds) == (0, 10.0)
    assert driving.record_epoch(0, {"epoch": 1, "seconds": 15.0}, after) == (first,)
    (row,) = Ledger.open(storage_url, "rows").read().rows
    assert (row.checkpoints, row.attempts[0].epochs, row.attempts[0].seconds) == (
        (second, after), 1, 0.0,
    )  # fmt: skip

    later = driven_again(storage_url)  # which finds that `after` is torn
    later.adopt()
    again = Checkpoint(0, "/x/attempt-2/30", "c" * 64, 30, 15.0)
    assert later.record_epoch(0, None, again) == (after,)
    place = {"first_epoch": 0, "first_step": 20, "first_seconds": 10.0}
    assert later.record_epoch(0, {"epoch": 1}, None, place=place) == ()
    (row,) = later.ledger.read().rows
    assert row.checkpoints == (second, again)
    assert (row.attempts[1].first_step, row.attempts[1].first_seconds) == (20, 10.0)


def test_the_plain_finetune_goes_on_where_it_was_stopped(
    driving: Driving, storage_url: str
) -> None:
    plain = driving.begin_plain()
    assert (plain.number, plain.attempt, plain.checkpoints) == (None, 1, ())
    first, second, third = (Checkpoint(0, f"/x/{step}", "a" * 64, step) for step in (10, 20, 30))
    assert driving.record_plain(first) == ()
    assert driving.record_plain(second) == ()
    again = driving.begin_again(plain, "lost", "its node", lost=1)
    assert (again.attempt, again.lost, again.checkpoints) == (2, 1, (first, second))
    assert driving.record_plain(third) == (first,)
    later = driven_again(storage_url).begin_plain()
    assert (later.attempt, later.checkpoints) == (3, (second, third))
    assert later.params == {"loss.terms": "clean"}


def test_a_half_sampled_row_is_completed_in_place(ledger: Ledger, storage_url: str) -> None:
    study = optuna.load_study(study_name="rows", storage=storage_url)
    trial = study.ask()
    trial.suggest_categorical("loss.terms", ["clean+da", "clean+fma"])
    kept = trial.params["loss.terms"]

    (adopted,), _ = driven_again(storage_url).adopt()
    assert adopted.params["loss.terms"] == kept
    assert "augment.strength" in adopted.params
    assert adopted.attempt == 1


def test_an_objective_that_is_not_finite_fails_the_row(storage_url: str) -> None:
    metrics = ("val_clean_accuracy", "val_robust_accuracy_unseen")
    objectives = [{"metric": metric} for metric in metrics]
    driving = Driving(Ledger.create(storage_url, make_head(objectives=objectives), trials=1))
    driving.ask()
    seen = ("gaussian_noise", "gaussian_blur")
    scores = Scores("val", 9, 0.9, make_scores().accuracies, FAMILIES, seen)
    row = driving.complete(0, scores)
    assert row.state == "FAIL"
    assert row.failure is not None
    assert row.failure.kind == "not_finite"
    assert "val_robust_accuracy_unseen = nan" in row.failure.reason


def test_enqueued_rows_count_towards_n_and_come_first(ledger: Ledger, storage_url: str) -> None:
    given = {"loss.terms": "clean+da", "augment.strength": 0.25}
    assert Ledger.open(storage_url, "rows").enqueue(given) == 0
    driving = Driving(ledger)
    first = driving.ask()
    assert first is not None
    assert first.params == given
    assert [driving.ask() is not None for _ in range(3)] == [True, True, False]
    assert [row.enqueued for row in ledger.read().rows] == [True, False, False]


def test_a_study_that_was_never_prepared_is_taken_away_with_no_row_lost(storage_url: str) -> None:
    def create() -> Ledger:
        ledger = Ledger.create(storage_url, replace(make_head(), fingerprint={}), trials=3)
        lease = ledger.lease()
        lease.acquire()
        assert not ledger.discard()  # somebody drives it
        lease.release()
        return ledger

    assert create().discard()
    assert not Ledger.exists(storage_url, "rows")
    ledger = create()
    assert ledger.read().preparing is not None
    assert ledger.read().fingerprint == ""
    ledger.enqueue({"augment.strength": 0.25})
    assert not ledger.discard()
    assert ledger.counts()["WAITING"] == 1


def test_a_row_enqueued_amid_a_run_is_taken_up(driving: Driving, storage_url: str) -> None:
    first = driving.ask()
    number = Ledger.open(storage_url, "rows").enqueue({"augment.strength": 0.25})
    assert number == 1
    second, third = driving.ask(), driving.ask()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.params["augment.strength"] == 0.25
    assert "loss.terms" in second.params  # what is left out is drawn
    assert (first.number, second.number, third.number) == (0, 1, 2)
    assert driving.ask() is None


def test_a_row_enqueued_at_the_end_is_one_more(driving: Driving, storage_url: str) -> None:
    while driving.ask():
        pass
    # By the end of its key, as tables show it.
    assert Ledger.open(storage_url, "rows").enqueue({"strength": 0.25}) == 3
    last = driving.ask()
    assert last is not None
    assert last.number == 3
    assert last.params["augment.strength"] == 0.25
    assert driving.ask() is None
    assert driving.ledger.trials == 4


def test_an_enqueued_value_outside_its_range_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ParameterError, match=r"augment\.strength"):
        ledger.enqueue({"augment.strength": 5.0})
    with pytest.raises(ParameterError, match=r"augment\.strenght.*Did you mean augment\.strength"):
        ledger.enqueue({"augment.strenght": 0.5})
    with pytest.raises(ParameterError, match=r"augment\.strength must be given once"):
        ledger.enqueue({"augment.strength": 0.5, "strength": 0.25})
    assert ledger.read().rows == ()


def test_a_name_that_is_taken_is_refused(ledger: Ledger, storage_url: str) -> None:
    with pytest.raises(StudyExistsError, match=r"study rows: a new study needs a new name, got"):
        Ledger.create(storage_url, make_head(), trials=3)


def test_a_study_that_is_not_there_is_named(ledger: Ledger, storage_url: str) -> None:
    with pytest.raises(StudyNotFoundError, match=r"study rowz: must be in .* It has: rows\."):
        Ledger.open(storage_url, "rowz")


def test_another_tools_study_is_left_alone(ledger: Ledger, storage_url: str) -> None:
    optuna.create_study(study_name="theirs", storage=storage_url)
    with pytest.raises(StudyNotFoundError, match=r"study theirs: .* another tool's"):
        Ledger.open(storage_url, "theirs")
