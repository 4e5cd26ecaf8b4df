"""The timeline of a study, by hand."""

from __future__ import annotations

import pytest
from example_records import BEGAN, example_record, example_row

from ablate.analysis.timeline import MOST_WORKERS, timeline_info
from ablate.ledger.record import Attempt, Drive, Failure

ZERO = BEGAN.timestamp()
HOUR = 3600.0


def attempt(
    number: int, start: float, end: float | None, how: str | None, **more: object
) -> Attempt:
    ended = None if end is None else ZERO + HOUR * end
    return Attempt(number, ZERO + HOUR * start, ended, how, **more)  # type: ignore[arg-type]


NODE = {"host": "node0", "pid": 7}
ROWS = [
    example_row(
        0,
        (0.9, 0.7),
        attempts=[
            attempt(1, 1.0, 2.0, "lost", reason="node gone", epochs=2, **NODE),
            attempt(2, 2.5, 3.0, "complete", host="node1", pid=8, first_epoch=1, epochs=4),
        ],
    ),
    example_row(
        1,
        None,
        state="FAIL",
        failure=Failure("raised", "ValueError: boom"),
        attempts=[attempt(1, 2.0, 2.25, "fail", **NODE)],
    ),
]
DRIVES = [
    Drive(ZERO, "login", 1, ZERO + 2 * HOUR, "stopped", 2),
    Drive(ZERO + 2 * HOUR + 900, "login", 2, ZERO + 3 * HOUR, "finished", 1),
]


def test_attempts_are_spans_in_hours_since_the_first_sign() -> None:
    info = timeline_info(example_record(ROWS, drives=DRIVES))
    assert info.workers == ("node0:7", "node1:8")
    assert [(s.number, s.attempt, s.worker, s.end) for s in info.spans] == [
        (0, 1, 0, "lost"), (1, 1, 0, "fail"), (0, 2, 1, "complete"),
    ]  # fmt: skip
    assert [(s.started_hours, s.ended_hours) for s in info.spans] == [(1, 2), (2, 2.25), (2.5, 3)]
    assert [s.reason for s in info.spans] == ["node gone", "raised: ValueError: boom", ""]
    assert (info.began, info.last_hours) == (ZERO, 3.0)


def test_time_without_a_driver_is_a_pause() -> None:
    info = timeline_info(example_record(ROWS, drives=DRIVES))
    assert info.pauses == ((2.0, 2.25),)
    assert [(d.drive, d.started_hours, d.ended_hours, d.end) for d in info.drives] == [
        (1, 0.0, 2.0, "stopped"), (2, 2.25, 3.0, "finished"),
    ]  # fmt: skip
    # 1.75 h of attempts, in 2 h of two places and 0.75 h of one.
    assert info.busy_fraction == pytest.approx(1.75 / 4.75)
    assert timeline_info(example_record(ROWS)).busy_fraction is None


def test_an_attempt_without_an_end_runs_where_somebody_drives() -> None:
    curve = [{"epoch": 1, "seconds": 900.0}]
    running = example_row(
        2, None, state="RUNNING", curve=curve, attempts=[attempt(1, 1.0, None, None, epochs=1)]
    )
    left = timeline_info(example_record([*ROWS, running])).spans[1]
    assert (left.number, left.end, left.ended_hours - left.started_hours) == (2, "left", 0.25)
    runs = timeline_info(example_record([*ROWS, running], driver="login:2")).spans[1]
    assert (runs.end, runs.started_hours, runs.ended_hours) == ("running", 0.0, 2.0)


@pytest.mark.parametrize("host", ["node", ""])
def test_many_processes_share_the_places_of_their_hosts(host: str) -> None:
    """Trial by trial a process of its own, two at a time: two rows."""
    rows = [
        example_row(
            at,
            (0.5, 0.5),
            attempts=[attempt(1, at / 2, at / 2 + 1, "complete", host=host, pid=at + 1)],
        )
        for at in range(MOST_WORKERS + 1)
    ]
    info = timeline_info(example_record(rows))
    named = ("node, place 1", "node, place 2") if host else ("place 1", "place 2")
    assert info.workers == named
    assert [span.worker for span in info.spans] == [at % 2 for at in range(len(rows))]


def test_the_frame_is_one_row_an_attempt() -> None:
    frame = timeline_info(example_record(ROWS, drives=DRIVES)).frame()
    assert list(frame["worker"]) == ["node0:7", "node0:7", "node1:8"]
    assert list(frame["started"]) == [
        BEGAN.replace(hour=hour, minute=minute) for hour, minute in ((13, 0), (14, 0), (14, 30))
    ]
    assert list(frame["epochs"]) == [2, 0, 4]


def test_nothing_has_begun() -> None:
    waiting = example_row(0, None, state="WAITING", params={})
    info = timeline_info(example_record([waiting]))
    assert (info.spans, info.workers, info.began, info.last_hours) == ((), (), None, 0.0)
    assert len(info.frame()) == 0
    assert info.busy_fraction is None
