"""One driver a study, in every storage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy
from needs import missing

from ablate.errors import LeaseError
from ablate.ledger import lease as lease_module
from ablate.ledger.lease import Holder, Lease, is_proven_dead, process_start, this_process


def change(storage_url: str, what: str, **values: object) -> None:
    """Change the lease's line, as a driver elsewhere or somebody's hand does."""
    with sqlalchemy.create_engine(storage_url).begin() as connection:
        connection.execute(sqlalchemy.text(f"UPDATE ablate_lease SET {what}"), values)


@pytest.fixture
def make_lease(storage_url: str) -> Callable[[], Lease]:
    engine = sqlalchemy.create_engine(storage_url)
    return lambda: Lease(engine, storage_url, 1, "mine")


def test_a_second_driver_is_told_who_holds_it(make_lease: Callable[[], Lease]) -> None:
    first = make_lease()
    first.acquire()
    expected = rf"study mine: one driver at a time, got a second: process {os.getpid()} on .*since"
    with pytest.raises(LeaseError, match=expected):
        make_lease().acquire()
    first.release()
    make_lease().acquire()


@pytest.mark.slow
def test_a_driver_that_is_proven_dead_is_taken_over_at_once(
    make_lease: Callable[[], Lease], storage_url: str
) -> None:
    code = (
        "import os, sqlalchemy\n"
        "from ablate.ledger.lease import Lease\n"
        f"Lease(sqlalchemy.create_engine({storage_url!r}), {storage_url!r}, 1, 'mine').acquire()\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    make_lease().acquire()


def test_a_driver_elsewhere_keeps_it_for_its_term(
    make_lease: Callable[[], Lease], storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = make_lease()
    holder.acquire()
    elsewhere = replace(this_process(), host="elsewhere", machine="another", start="1")
    change(storage_url, "holder = :holder", holder=json.dumps(vars(elsewhere)))
    with pytest.raises(LeaseError, match=r"on elsewhere .*add `takeover=True`"):
        make_lease().acquire()
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 0.0)
    make_lease().acquire()


def test_a_takeover_ends_the_first_drivers_hold(
    make_lease: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 0.6)
    first, second, lost = make_lease(), make_lease(), threading.Event()
    first.acquire()
    first.keep(lambda error: lost.set())
    second.acquire(takeover=True)
    assert lost.wait(120)
    monkeypatch.setattr(lease_module, "TERM_SECONDS", 180)  # the second does not renew it
    first.release()  # must not free what is no longer its own
    with pytest.raises(LeaseError):
        make_lease().acquire()


def test_only_what_is_proven_is_dead() -> None:
    me = this_process()
    assert me.boot
    assert not is_proven_dead(me)
    gone = replace(me, start="1")
    assert is_proven_dead(gone)
    assert is_proven_dead(replace(gone, host="the same machine, renamed"))
    for unlike in (
        {"boot": "another"},
        {"boot": ""},
        {"machine": "another"},
        {"namespace": "pid:[1]"},
        {"namespace": ""},
        {"start": ""},
    ):
        assert not is_proven_dead(replace(gone, **unlike)), unlike


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen(["sleep", "60"])
    holder = replace(this_process(), pid=process.pid, start=process_start(process.pid)[0])
    assert not is_proven_dead(holder)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_proven_dead(holder)  # while nobody has asked how it ended
    process.wait()
    assert is_proven_dead(holder)


IN_ITS_OWN = """
import json, os, sys
from ablate.ledger.lease import Holder, is_proven_dead, this_process
holders = [Holder(**data) for data in json.loads(sys.argv[1])]
if sys.argv[2:]:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([vars(this_process()), *map(is_proven_dead, holders)]))
"""


def said_in(namespaces: list[str], *holders: Holder, other_user: bool = False) -> list[object]:
    """What a process in namespaces of its own says: who it is, and who is dead."""
    if os.geteuid() != 0:
        missing("the right to make namespaces")
    written = json.dumps([vars(holder) for holder in holders])
    program = [sys.executable, "-c", IN_ITS_OWN, written, *(["other"] if other_user else [])]
    result = subprocess.run(
        ["unshare", *namespaces, *program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


@pytest.mark.parametrize("hidden", ["1", "2"])
def test_a_driver_whose_process_is_hidden_is_not_proven_dead(hidden: str) -> None:
    """`/proc` of another user, with hidepid."""
    mount = f'mount -t proc -o hidepid={hidden} proc /proc && exec "$@"'
    alive = this_process()
    ended = subprocess.Popen(["sleep", "60"])
    gone = replace(alive, pid=ended.pid, start=process_start(ended.pid)[0])
    ended.kill()
    ended.wait()
    namespaces = ["--mount", "sh", "-c", mount, "sh"]
    assert said_in(namespaces, alive, gone, other_user=True)[1:] == [False, True]


def test_a_heartbeat_far_ahead_of_the_clock_proves_nothing(
    make_lease: Callable[[], Lease], storage_url: str
) -> None:
    """A clock was set back; a driver that lives renews it by the clock as it is now."""
    make_lease().acquire()
    change(storage_url, "renewed = renewed + 86400")
    later = make_lease()
    later.acquire()
    assert later.last_sign == pytest.approx(time.time(), abs=60)
