"""Rows of a design: run as they are given, in every storage; what is kept beside their scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
import pytest
from test_driving import ENTRY, FAILED
from test_ledger_rows import make_head, make_scores

from ablate.errors import UsageError
from ablate.files.durable import Checkpoint
from ablate.ledger import tables
from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head, Planned, Row, RowRecord, TestOpened
from ablate.study.mixture import Mixture
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds

CELLS: dict[str, dict[str, Any]] = {
    "plain": {"loss.terms": "clean"},
    "FMA": {"loss.terms": "clean+fma", "loss.fma.layers": ["stage2"], "loss.fma.weight": 3.0},
    "as it is": {},
}
DESIGN = {"kind": "arms", "cells": list(CELLS)}
KEPT = {"val": "AAAA", "test": "////"}


def planned_rows(seeds: int = 2) -> list[Planned]:
    return [
        Planned(name, pair, values, Seeds(split=0, train=1 + pair, evaluation=5))
        for pair in range(seeds)
        for name, values in CELLS.items()
    ]


def ablation_head(**keys: Any) -> Head:
    settings = {"design": "arms", "arms": CELLS, "seeds": 2}
    return replace(make_head(ablation=settings, **keys), design=DESIGN)


def scores_on_test() -> Scores:
    return replace(make_scores(0.8, 0.4), split="test")


@pytest.fixture
def ledger(storage_url: str) -> Ledger:
    return Ledger.create(storage_url, ablation_head(), 6, planned_rows())


@pytest.fixture
def driving(ledger: Ledger) -> Driving:
    return Driving(ledger)


def driven_again(storage_url: str) -> Driving:
    return Driving(Ledger.open(storage_url, "rows"))


def ask_all(driving: Driving) -> list[tuple[int | None, Any, Any]]:
    found = []
    while row := driving.ask():
        found.append((row.number, dict(row.params), row.seeds))
    return found


def as_asked(planned: Sequence[Planned], first: int = 0) -> list[tuple[int, Any, Any]]:
    return [(number, row.params, row.seeds) for number, row in list(enumerate(planned))[first:]]


# -- asked ----------------------------------------------------------------------------------


def test_rows_are_asked_in_order_as_they_are_given(driving: Driving, storage_url: str) -> None:
    assert ask_all(driving) == as_asked(planned_rows())
    assert driving.ask() is None
    # Nothing was drawn, though the study has a space.
    trials = optuna.load_study(study_name="rows", storage=storage_url).trials
    assert [trial.params for trial in trials] == [{}] * 6
    assert [trial.system_attrs for trial in trials] == [{}] * 6


def test_a_row_is_of_its_cell_in_every_state(driving: Driving, storage_url: str) -> None:
    for _ in range(4):
        driving.ask()
    ended = driving.complete(0, make_scores(), ENTRY)
    assert (ended.cell, ended.pair) == ("plain", 0)
    failed = driving.fail(1, FAILED)
    assert (failed.cell, failed.state) == ("FMA", "FAIL")
    driving.record_epoch(2, ENTRY)
    rows = Ledger.open(storage_url, "rows").read().rows
    assert [row.state for row in rows] == [
        *("COMPLETE", "FAIL", "RUNNING", "RUNNING", "WAITING", "WAITING")
    ]
    for row, planned in zip(rows, planned_rows(), strict=True):
        assert (row.cell, row.pair, dict(row.params)) == (
            planned.cell,
            planned.pair,
            planned.params,
        )
        if row.state != "WAITING":
            assert row.seeds == planned.seeds


def test_a_killed_driver_changes_no_row(driving: Driving, storage_url: str) -> None:
    first, second = driving.ask(), driving.ask()
    assert first is not None
    assert second is not None
    checkpoint = Checkpoint(1, "/x/epoch-1", "a" * 64)
    driving.record_epoch(1, ENTRY, checkpoint)

    later = driven_again(storage_url)
    rows, ended = later.adopt()
    assert ended == []
    assert [(row.number, row.attempt, row.params, row.seeds) for row in rows] == [
        (0, 2, first.params, first.seeds),
        (1, 2, second.params, second.seeds),
    ]
    assert rows[1].checkpoints == (checkpoint,)
    assert ask_all(later) == as_asked(planned_rows(), first=2)
    assert len(later.ledger.read().rows) == 6


# -- mixtures of rows --------------------------------------------------------------------------


def with_mixtures(seeds: int = 2) -> list[Planned]:
    """Of each seed three rows, an average of the first two, and one of all."""
    rows = list[Planned]()
    for pair in range(seeds):
        first = len(rows)
        rows += planned_rows(seeds)[3 * pair : 3 * pair + 3]
        for name, members in (("average of two", (0, 1)), ("average of all", (0, 1, 2))):
            mixture = Mixture(tuple(first + one for one in members), 0.75)
            rows.append(Planned(name, pair, {}, rows[first].seeds, mixture))
    return rows


def complete(driving: Driving, number: int) -> Scores:
    scores = make_scores(0.9 - number / 100)
    driving.complete(number, scores)
    return scores


@pytest.fixture
def mixing(storage_url: str) -> Driving:
    return Driving(Ledger.create(storage_url, ablation_head(), 10, with_mixtures()))


def test_a_mixture_begins_once_its_rows_have_ended(mixing: Driving, storage_url: str) -> None:
    # Those of the next seed do not wait for it.
    assert [row.number for row in iter(mixing.ask, None)] == [0, 1, 2, 5, 6, 7]
    first = complete(mixing, 0)
    assert mixing.ask() is None
    second = complete(mixing, 1)
    row = mixing.ask()
    assert isinstance(row, Row)
    assert (row.number, row.mixture) == (3, Mixture((0, 1), 0.75))
    assert [one.to_json() for one in row.ingredients] == [first.to_json(), second.to_json()]
    sent = Row.from_text(row.to_text())  # to a worker
    assert (sent.mixture, sent.to_json()) == (row.mixture, row.to_json())
    assert mixing.ask() is None
    for number in (2, 5, 6, 7):
        complete(mixing, number)
    later = driven_again(storage_url)  # the driver was killed
    rows, ended = later.adopt()
    assert (rows, ended) == ([replace(row, attempt=2)], [])
    assert [row.number for row in iter(later.ask, None)] == [4, 8, 9]
    again = later.begin_again(rows[0], "lost", "a node died", lost=1)
    assert again == replace(row, attempt=3, lost=1)
    stored = Ledger.open(storage_url, "rows").read().rows
    assert [one.mixture for one in stored] == [planned.mixture for planned in with_mixtures()]


def test_a_mixture_of_a_failed_row_fails_as_that(mixing: Driving, storage_url: str) -> None:
    for _ in range(6):
        mixing.ask()
    complete(mixing, 0)
    mixing.fail(1, FAILED)
    failed = mixing.ask()
    assert isinstance(failed, RowRecord)
    assert (failed.number, failed.state) == (3, "FAIL")
    assert failed.failure is not None
    assert (failed.failure.kind, failed.failure.reason) == (
        FAILED.kind,
        f"it averages FMA, which failed with this seed: {FAILED.reason}",
    )
    assert mixing.ask() is None
    complete(mixing, 2)
    assert isinstance(mixing.ask(), RowRecord)
    for number in (5, 6, 7):
        complete(mixing, number)
    assert [row.number for row in iter(mixing.ask, None)] == [8, 9]
    rows = Ledger.open(storage_url, "rows").read().rows
    assert [row.number for row in rows if row.state == "FAIL"] == [1, 3, 4]


def test_a_driver_that_dies_before_such_a_mixture_has_failed(
    mixing: Driving, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        mixing.ask()
    complete(mixing, 0)
    mixing.fail(1, FAILED)
    with monkeypatch.context() as dying:
        dying.setattr(Driving, "fail", lambda *_: None)
        mixing.ask()
    assert Ledger.open(storage_url, "rows").read().rows[3].state == "RUNNING"
    rows, ended = driven_again(storage_url).adopt()
    assert [row.number for row in rows] == [2, 5, 6, 7]
    assert [(row.number, row.state) for row in ended] == [(3, "FAIL")]


# -- planned --------------------------------------------------------------------------------


def test_planning_twice_appends_nothing_twice(storage_url: str) -> None:
    ledger = Ledger.create(storage_url, ablation_head(), 6)
    tuned = {**DESIGN, "tuning": {"plain": 3}}
    for _ in range(2):
        ledger.plan(planned_rows(), tuned)
        assert ledger.head.design == tuned
        assert ledger.trials == 6
    again = Ledger.open(storage_url, "rows")
    assert again.head.design == tuned
    assert ask_all(Driving(again)) == as_asked(planned_rows())


def test_more_seeds_are_appended(driving: Driving, storage_url: str) -> None:
    for number in range(6):
        driving.ask()
        driving.complete(number, make_scores())
    later = Ledger.open(storage_url, "rows")
    later.plan(planned_rows(3), DESIGN)
    assert later.trials == 9
    assert ask_all(Driving(later)) == as_asked(planned_rows(3), first=6)
    record = later.read()
    assert [row.state for row in record.rows] == ["COMPLETE"] * 6 + ["RUNNING"] * 3
    assert record.rows[0].scores is not None


# -- what is kept beside the scores ---------------------------------------------------------


def test_outcomes_are_read_only_where_they_are_asked_for(
    driving: Driving, storage_url: str
) -> None:
    driving.ask()
    driving.ask()
    kept = {"outcomes": KEPT, "test": scores_on_test().to_json()}
    ended = driving.complete(0, make_scores(), kept=kept)
    driving.complete(1, make_scores())
    driving.ledger.set_outcomes("baseline", {"val": "BBBB"})
    ledger = Ledger.open(storage_url, "rows")
    assert ledger.outcomes() == ({0: KEPT}, {"baseline": {"val": "BBBB"}})

    def stored(connection: Any) -> list[tables.Stored]:
        return tables.read_rows(connection, ledger.study_id)

    first, second, *_ = ledger.store.read(stored)
    assert tables.OUTCOMES not in first.attributes
    assert "ablate:test" in first.attributes
    assert set(first.attributes) - set(second.attributes) == {"ablate:test"}
    record = ledger.read()
    for row in (record.rows[0], ended):
        assert row.test_scores is not None
        assert row.test_scores.metrics() == pytest.approx(scores_on_test().metrics(), nan_ok=True)
    assert record.rows[1].test_scores is None


def test_test_scores_of_a_reference_are_no_reference(ledger: Ledger) -> None:
    ledger.set_reference("baseline", make_scores(0.9))
    ledger.set_reference("baseline", scores_on_test())
    ledger.set_reference("plain", scores_on_test())
    record = ledger.read()
    assert list(record.references) == ["baseline"]
    assert record.references["baseline"].split == "val"
    assert {name: one.split for name, one in record.test_references.items()} == {
        "baseline": "test",
        "plain": "test",
    }


def test_every_opening_of_the_test_images_is_kept(ledger: Ledger, storage_url: str) -> None:
    began = time.time()
    for what in ("confirm", "confirm, 8 seeds"):
        ledger.open_test(what, "rows~confirm")
    opened = Ledger.open(storage_url, "rows").read().test_opened
    assert [one.what for one in opened] == ["confirm", "confirm, 8 seeds"]
    assert all(isinstance(one, TestOpened) and one.study == "rows~confirm" for one in opened)
    assert all(began <= one.time <= time.time() for one in opened)


# -- beside a search ------------------------------------------------------------------------


def test_nothing_is_enqueued_in_an_ablation(ledger: Ledger, storage_url: str) -> None:
    with pytest.raises(UsageError) as error:
        Ledger.open(storage_url, "rows").enqueue({"augment.strength": 0.25})
    assert str(error.value) == (
        "study rows: an ablation's rows are those of its design, got parameters for another row. "
        "Add an arm to a new study file."
    )
    assert len(ledger.read().rows) == 6


# -- the format -----------------------------------------------------------------------------


def test_what_is_read_back_is_what_was_written(ledger: Ledger, storage_url: str) -> None:
    head = Ledger.open(storage_url, "rows").head
    assert head == ablation_head()
    assert head.study.ablation is not None
    assert head.study.ablation.seed_count == 2
    tested = replace(ablation_head(name="tested"), test={"suite": "all"}, parent="rows")
    Ledger.create(storage_url, tested, 0)
    again = Ledger.open(storage_url, "tested")
    assert (again.head.test, again.head.parent) == ({"suite": "all"}, "rows")
    assert again.read().parent == "rows"
    assert again.read().sections == tested.fingerprint
