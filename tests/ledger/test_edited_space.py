"""A space that is edited: rows are moved by value, all at once, and a search goes on exactly."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from test_ledger_rows import make_head, make_scores

from ablate.ledger import tables
from ablate.ledger.driving import Driving
from ablate.ledger.lease import Store
from ablate.ledger.ledger import Ledger
from ablate.ledger.record import Rung
from ablate.ledger.row import Moved
from ablate.space.domain import same
from ablate.space.space import Space
from ablate.study.keys import plain_values

TERMS, WEIGHT, STRENGTH = "loss.terms", "loss.fma.weight", "augment.strength"
WITH_FMA = {TERMS: {"contains": "fma"}}
OLD = {
    TERMS: {"choice": ["clean+da", "clean+fma"]},
    WEIGHT: {"float": [0.1, 10.0], "log": True, "when": WITH_FMA},
    STRENGTH: {"float": [0.2, 1.0]},
}
NARROW = OLD | {STRENGTH: {"float": [0.4, 0.9]}}


def begun(url: str, trials: int, **keys: Any) -> Driving:
    return Driving(Ledger.create(url, make_head(**keys), trials=trials))


def run_rows(driving: Driving, until: int | None = None) -> list[Mapping[str, Any]]:
    """Parameters of the rows that are run, up to the row of this number."""
    found = []
    while until is None or driving.asked < until:
        if (row := driving.ask()) is None:
            break
        found.append(dict(row.params))
        strength = float(row.params.get(STRENGTH, 0.5))
        driving.complete(row.number, make_scores(strength, 1 - strength))
    return found


def edit(url: str, space: Mapping[str, Any], **keys: Any) -> Ledger:
    """As `ablate.lifecycle.changes` does it, with a study of this space and these keys."""
    ledger, wanted = Ledger.open(url, "rows"), make_head(space=dict(space), **keys)
    now = Space.from_json(wanted.space)
    moved = Moved(ledger.head.study, wanted.study, now, {*ledger.space.keys, *now.keys})
    head = replace(ledger.head, study=wanted.study, space=wanted.space)
    ledger.edit_space(head, moved, ["space: edited"], [])
    return ledger


def states(url: str) -> list[str]:
    return [row.state for row in Ledger.open(url, "rows").read().rows]


def test_rows_within_count_and_the_others_stay(storage_url: str) -> None:
    before = run_rows(begun(storage_url, 8, search={"seed": 3, "sampler": "random"}))
    edit(storage_url, NARROW, search={"seed": 3, "sampler": "random"})
    record = Ledger.open(storage_url, "rows").read()
    inside = [0.4 <= params[STRENGTH] <= 0.9 for params in before]
    assert 0 < sum(inside) < 8
    assert [row.state == "COMPLETE" for row in record.rows] == inside
    assert {row.state for row in record.rows} == {"COMPLETE", "OUTSIDE"}
    assert [dict(row.params) for row in record.rows] == before
    assert (record.trials, record.ended, record.is_over) == (8, sum(inside), False)
    (one,) = record.edits
    assert (one["rows"], one["outside"]) == (8, 8 - sum(inside))
    assert one["space"] == make_head().space
    drawn = run_rows(Driving(Ledger.open(storage_url, "rows")))
    assert len(drawn) == 8 - sum(inside)
    assert all(0.4 <= params[STRENGTH] <= 0.9 for params in drawn)
    record = Ledger.open(storage_url, "rows").read()
    assert (record.ended, record.rows_at_end, record.trials) == (8, 8, 8)
    study = optuna.load_study(study_name="rows", storage=storage_url)  # other tools can read it
    assert len(study.get_trials()) == 8 + len(drawn)


def test_values_are_moved_and_not_places(tmp_path: Path) -> None:
    """Choices in another order; a parameter with the value that was fixed; one that is fixed."""
    url = f"sqlite:///{tmp_path}/a.db"
    before = run_rows(begun(url, 12, search={"seed": 1, "sampler": "random"}))
    reordered = {
        TERMS: {"choice": ["clean+fma", "clean+st", "clean+da"]},
        WEIGHT: OLD[WEIGHT],
        STRENGTH: {"float": [0.1, 1.0]},
        "loss.fma.anchor": {"choice": ["clean", "pretrained", "both"], "when": WITH_FMA},
    }
    ledger = edit(url, reordered)
    fixed = plain_values(make_head().study)["loss.fma.anchor"]
    for row, old in zip(ledger.read().rows, before, strict=True):
        added = {"loss.fma.anchor": fixed} if old[TERMS] == "clean+fma" else {}
        assert (row.state, dict(row.params)) == ("COMPLETE", {**old, **added})
    trials = optuna.load_study(study_name="rows", storage=url).trials
    assert [trial.params[TERMS] for trial in trials] == [params[TERMS] for params in before]
    alone = {key: value for key, value in NARROW.items() if key not in (TERMS, WEIGHT)}
    ledger = edit(url, alone, loss={"terms": "clean+da"})
    for row, old in zip(ledger.read().rows, before, strict=True):
        lies = old[TERMS] == "clean+da" and 0.4 <= old[STRENGTH] <= 0.9
        assert (row.state == "COMPLETE") == lies, old
    back = edit(url, OLD).read()  # and as it was: rows outside kept all that they had
    assert [row.state for row in back.rows] == ["COMPLETE"] * 12
    assert [dict(row.params) for row in back.rows] == before
    assert [one["rows"] for one in back.edits] == [12, 12, 12]


def test_a_row_that_read_another_value_of_what_is_fixed_now_lies_outside(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    run_rows(begun(url, 4, augment={"families": ["noise"]}, search={"sampler": "random"}))
    ledger = edit(url, OLD, loss={"fma": {"weight": 7.0}}, augment={"families": ["noise"]})
    assert states(url) == ["COMPLETE"] * 4  # where it is not read it may change
    assert ledger.head.outside == 0


@pytest.mark.parametrize("sampler", ["auto", "tpe", "nsga2", "qmc"])
def test_a_search_goes_on_after_an_edit_as_if_it_was_never_stopped(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.space.sampling.CANDIDATES", 60)
    search, found = {"search": {"seed": 3, "sampler": sampler}}, []
    for name, kills in (("whole", ()), ("killed", (9, 11, 12))):
        url = f"sqlite:///{tmp_path}/{name}.db"
        run_rows(begun(url, 14, **search), 8)
        edit(url, NARROW, **search)
        driving, drawn = Driving(Ledger.open(url, "rows")), list[Mapping[str, Any]]()
        for stop in (*kills, None):
            drawn += run_rows(driving, stop)
            driving = Driving(Ledger.open(url, "rows"))
        found.append(drawn)
    assert found[0] == found[1]
    assert len(found[0]) == 14 - 8 + Ledger.open(url, "rows").head.outside


def test_the_model_sees_rows_within_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    run_rows(begun(url, 8, search={"sampler": "random"}))
    edit(url, NARROW)
    mirror = Driving(Ledger.open(url, "rows"))._mirror
    rows = Ledger.open(url, "rows").read().rows
    for trial, row in zip(mirror._study.trials, rows, strict=True):
        assert (trial.state.name == "COMPLETE") == (not row.outside)
        if not row.outside:
            assert trial.params[STRENGTH] == row.params[STRENGTH]
            assert trial.distributions[STRENGTH].low == 0.4  # type: ignore[union-attr]


def test_rows_that_wait_or_run_outside_have_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    points = [{STRENGTH: 0.3}, {STRENGTH: 0.5}, {STRENGTH: 0.25}, {STRENGTH: 0.6}]
    search = {"search": {"seed": 3, "sampler": "random", "enqueue": points}}
    driving = begun(url, 6, **search)
    for _ in range(2):
        assert driving.ask() is not None  # they run when the driver dies
    driving.record_epoch(0, {"epoch": 1, "train_loss": 0.5, "seconds": 1.0})
    edit(url, NARROW, **search)
    assert states(url) == ["RUNNING", "RUNNING", "OUTSIDE", "WAITING"]
    driving = Driving(Ledger.open(url, "rows"))
    (again,), (ended,) = driving.adopt()
    assert (again.number, again.attempt, again.params[STRENGTH]) == (1, 2, 0.5)
    assert (ended.number, ended.state) == (0, "OUTSIDE")
    driving.complete(1, make_scores())
    drawn = run_rows(driving)
    assert drawn[0][STRENGTH] == 0.6
    assert len(drawn) == 5  # N are 6, and one has run
    record = Ledger.open(url, "rows").read()
    assert (record.ended, record.trials, len(record.rows)) == (6, 6, 8)
    # Such rows were not run to their end: they do not count in a wider space either.
    edit(url, OLD, **search)
    assert states(url)[:4] == ["OUTSIDE", "COMPLETE", "OUTSIDE", "COMPLETE"]


def test_a_stopped_row_counts_again_and_outside_rows_are_compared_with_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    enqueue = [{STRENGTH: 0.3}, {STRENGTH: 0.5}]
    search = {"search": {"sampler": "random", "enqueue": enqueue}}
    driving = begun(url, 3, **search)
    for number in range(2):
        driving.ask()
        entry = {"epoch": 1, "train_loss": 0.5, "seconds": 1.0}
        driving.prune(number, entry, Rung(1, {"a": 0.2}, stop=True, sequence=number + 1))
    edit(url, NARROW, **search)
    assert states(url) == ["OUTSIDE", "PRUNED"]
    assert [number for number, _ in Driving(Ledger.open(url, "rows")).rungs()] == [1]
    edit(url, OLD, **search)
    assert states(url) == ["PRUNED", "PRUNED"]


def test_lists_and_ratios_are_moved(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    families = ["noise", "blur", "digital"]
    mix = {"augment.mix": {"simplex": "augment.families"}}
    parts = {"augment.families": {"subset": families}, **mix}
    before = run_rows(begun(url, 10, space=parts, search={"sampler": "random", "seed": 2}))
    fewer = {"augment.families": {"subset": ["blur", "noise"]}, **mix}
    rows = edit(url, fewer).read().rows
    for row, old in zip(rows, before, strict=True):
        assert row.outside == ("digital" in old["augment.families"]), old
        assert same(row.params["augment.families"], old["augment.families"])
    assert {row.outside for row in rows} == {True, False}
    driving = Driving(Ledger.open(url, "rows"))
    for trial, row in zip(driving._mirror._study.trials, rows, strict=True):
        if not row.outside:
            drawn = driving.ledger.space.resolve(trial.params)
            assert drawn["augment.mix"] == pytest.approx(
                {name: dict(row.params["augment.mix"]).get(name, 0.0) for name in ("noise", "blur")}
            )


@pytest.mark.parametrize("last", [False, True])
def test_a_driver_that_is_killed_while_it_edits_has_edited_all_or_nothing(
    storage_url: str, last: bool
) -> None:
    run_rows(begun(storage_url, 6, search={"sampler": "random"}))
    before = Ledger.open(storage_url, "rows").read()
    child = os.fork()
    if not child:
        write, calls = tables.set_attributes, []

        def dying(*given: Any) -> None:
            write(*given)
            calls.append(given)
            if len(calls) == (6 if last else 3):
                os.kill(os.getpid(), signal.SIGKILL)

        tables.set_attributes = dying
        edit(storage_url, NARROW)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    after = Ledger.open(storage_url, "rows").read()
    assert (after.rows, after.edits) == (before.rows, ())
    edit(storage_url, NARROW)
    assert Ledger.open(storage_url, "rows").head.outside > 0


def test_an_edit_that_is_written_twice_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage was lost during a successful commit: the same work is run again."""
    url, write = f"sqlite:///{tmp_path}/a.db", Store.write

    def twice(store: Store, work: Any) -> Any:
        write(store, work)
        return write(store, work)

    run_rows(begun(url, 6, search={"sampler": "random"}))
    monkeypatch.setattr(Store, "write", twice)
    edit(url, NARROW)
    record = Ledger.open(url, "rows").read()
    assert len(record.edits) == 1
    assert record.count("OUTSIDE") == record.edits[0]["outside"]
