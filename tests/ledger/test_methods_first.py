"""A search that begins with each method: its rows are there from the start, and exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_ledger_rows import make_head, make_scores

from ablate.ledger.driving import Driving
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Head
from ablate.space.space import Space
from ablate.space.start import start_points

TERMS = "loss.terms"
MINE = {TERMS: "clean+da", "augment.strength": 0.5}


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ablate.space.sampling.CANDIDATES", 60)


def head_with(**search: Any) -> Head:
    head = make_head(search={"seed": 3, **search})
    return replace(head, start=start_points(head.study, Space.from_json(head.space)))


def drawn(
    url: str, head: Head | None = None, *, until: int = 8, kills: tuple[int, ...] = ()
) -> list[dict[str, Any]]:
    """Parameters of the rows, one at a time; killed while some ran, and when some had ended."""
    if head is not None:
        Ledger.create(url, head, trials=until)
    driving, found = Driving(Ledger.open(url, "rows")), []
    while (row := driving.ask()) is not None:
        if row.number in kills:
            driving = Driving(Ledger.open(url, "rows"))
            (row,), _ = driving.adopt()
        found.append(dict(row.params))
        strength = float(row.params["augment.strength"])
        driving.complete(row.number, make_scores(strength, 1 - strength))
        if row.number in kills:
            driving = Driving(Ledger.open(url, "rows"))
    return found


def url_of(folder: Path, name: str) -> str:
    return f"sqlite:///{folder}/{name}.db"


def test_enqueued_points_are_first_then_the_methods_then_the_model(tmp_path: Path) -> None:
    found = drawn(url_of(tmp_path, "a"), head_with(enqueue=[MINE]))
    assert found[0] == MINE
    assert found[1] == {TERMS: "clean+da", "augment.strength": 1.0}
    assert found[2] == {TERMS: "clean+fma", "loss.fma.weight": 3.0, "augment.strength": 1.0}
    rows = Ledger.open(url_of(tmp_path, "a"), "rows").read().rows
    assert [row.enqueued for row in rows] == [True] * 3 + [False] * 5
    at_random = drawn(url_of(tmp_path, "b"), head_with(enqueue=[MINE], start="random"))
    assert at_random[0] == found[0]
    assert found[3] != at_random[3]  # the model's, not drawn


def test_a_search_that_was_killed_draws_the_same(tmp_path: Path) -> None:
    whole = drawn(url_of(tmp_path, "whole"), head_with())
    killed = drawn(url_of(tmp_path, "killed"), head_with(), kills=(0, 1, 2, 5))
    assert killed == whole


def test_a_study_that_began_before_starts_at_random(tmp_path: Path) -> None:
    """Its stored head has no start, and its file no key."""
    url = url_of(tmp_path, "old")
    before = make_head(search={"seed": 3}).to_json()
    del before["start"]
    del before["study"]["search"]["start"]
    old = Head.from_json(before)
    assert old.start is None
    at_random = drawn(url_of(tmp_path, "gp"), make_head(search={"seed": 3, "sampler": "gp"}))
    assert drawn(url, old) == at_random
    assert drawn(url_of(tmp_path, "off"), head_with(start="random")) == at_random


def test_fewer_trials_than_points_run_the_first(tmp_path: Path) -> None:
    assert len(drawn(url_of(tmp_path, "a"), head_with(enqueue=[MINE]), until=2)) == 2


def test_an_unprepared_study_with_its_own_points_can_be_taken_away(tmp_path: Path) -> None:
    head = replace(head_with(), fingerprint={})
    for more in (0, 1):
        ledger = Ledger.create(url_of(tmp_path, "a"), head, trials=8)
        lease = ledger.lease()
        lease.acquire()
        lease.release()
        for _ in range(more):
            ledger.enqueue({"augment.strength": 0.3})
        assert ledger.discard() == (more == 0)


def test_more_rows_at_once_than_points(tmp_path: Path) -> None:
    """What is asked before two have ended is random; then the model proposes."""
    driving = Driving(Ledger.create(url_of(tmp_path, "a"), head_with(), trials=8))
    rows = [driving.ask() for _ in range(6)]
    params = [dict(row.params) for row in rows if row is not None]
    assert len({repr(one) for one in params}) == 6
    for number in (1, 4):
        driving.complete(number, make_scores(0.9, 0.5))
    assert driving.ask() is not None
