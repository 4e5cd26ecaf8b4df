"""What is in the cache, what is let go, and that nothing else is ever touched."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ablate.data.stored import Pixels, stored_split
from ablate.errors import UsageError
from ablate.files.cache import (
    KINDS,
    Entry,
    bound_evaluation_sets,
    evaluation_bound,
    heard_damage,
    list_cache,
    locked,
    mark_used,
    publish_folder,
    remove,
)

HOUR, DAY = 3600.0, 86400.0


def key(number: int) -> str:
    return f"{number:032x}"


def make(cache: Path, kind: str, number: int, *, size: int = 1000, hours_ago: float = 0.0) -> Path:
    """An entry of `size` bytes, made under its lock as the cache's own are."""
    folder, file = KINDS[kind]
    entry = cache / folder / key(number)
    with locked(entry), publish_folder(entry) as temporary:
        (temporary / file).write_bytes(bytes(size))
    used = time.time() - hours_ago * HOUR
    os.utime(entry, (used, used))
    return entry


def the_entry(cache: Path, kind: str = "evaluation") -> Entry:
    (entry,) = list_cache(cache, kind)
    return entry


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 bytes for evaluation sets."""
    monkeypatch.setenv("ABLATE_CACHE_GB", "3e-6")


@pytest.mark.parametrize("kind", KINDS)
def test_entries_are_listed_by_last_use(tmp_path: Path, kind: str) -> None:
    assert list_cache(tmp_path, kind) == []
    old = make(tmp_path, kind, 1, hours_ago=5)
    new = make(tmp_path, kind, 2, size=7, hours_ago=1)
    assert [(one.path, one.size) for one in list_cache(tmp_path, kind)] == [(new, 7), (old, 1000)]
    mark_used(old)
    assert [entry.path for entry in list_cache(tmp_path, kind)] == [old, new]


def test_a_home_folder_is_safe(tmp_path: Path) -> None:
    """Where somebody names a folder that has other things in it, they are not seen."""
    others = [
        tmp_path / "data" / "thesis" / "digest",
        tmp_path / "data" / key(1) / "somebody's.txt",  # a key's name alone is not enough
        tmp_path / "evaluation" / "images.npy",
        tmp_path / "evaluation" / f"{key(2)}0" / "images.npy",
        tmp_path / "baselines" / f".{key(3)[:-1]}.old" / "baseline.json",
        tmp_path / "baselines" / "thesis.lock",
        tmp_path / "evaluation" / f".{key(5)}.old" / "images.npy",
        tmp_path / "elsewhere" / key(4) / "images.npy",
    ]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("mine")
        os.utime(other, (0, 0))
        os.utime(other.parent, (0, 0))
    assert [entry for kind in KINDS for entry in list_cache(tmp_path, kind)] == []


def test_what_is_mapped_stays_readable_after_it_is_gone(tmp_path: Path) -> None:
    path = make(tmp_path, "evaluation", 1)
    np.save(path / "images.npy", np.arange(5000))
    mapped = np.load(path / "images.npy", mmap_mode="r")
    entry = the_entry(tmp_path)
    with locked(path):
        assert not remove(entry)  # somebody makes it
    assert remove(entry)
    assert not list((tmp_path / "evaluation").iterdir())  # no lock, nothing half removed
    assert np.array_equal(mapped, np.arange(5000))
    assert remove(entry)  # gone is gone


def test_what_killed_processes_leave(tmp_path: Path) -> None:
    """It is listed after a day: a machine without file locks may still write it."""
    folder = tmp_path / "baselines"
    names = [
        f".{key(1)}.{1:016x}",
        f"{key(2)}.state",
        f".{key(3)}.state.{1:016x}",
        f"{key(4)}.lock",
    ]
    kept = [f"{key(5)}.state", "notes.state", f".{key(6)}.backup"]
    for name in (*names, *kept):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights").write_bytes(bytes(10))
        if name != kept[0]:
            for path in (folder / name / "weights", folder / name):
                os.utime(path, (time.time() - 2 * DAY,) * 2)
    (folder / names[3] / "weights").unlink()
    (folder / names[3]).rmdir()
    (folder / names[3]).touch()
    os.utime(folder / names[3], (0, 0))
    found = list_cache(tmp_path, "baseline")
    assert {entry.path.name for entry in found} == set(names)
    assert all(entry.is_left for entry in found)
    with locked(folder / key(2)):  # somebody goes on with it
        gone = {entry.path.name for entry in found if remove(entry)}
    assert gone == {names[0], names[2], names[3]}
    assert {path.name for path in folder.iterdir()} == {*kept, names[1], f"{key(2)}.lock"}
    make(tmp_path, "data", 1)
    os.utime(tmp_path / "data" / f"{key(1)}.lock", (0, 0))
    assert not the_entry(tmp_path, "data").is_left  # a lock beside its entry


@pytest.mark.usefixtures("bound")
def test_the_least_recently_used_sets_make_room(tmp_path: Path) -> None:
    oldest, old, used = (
        make(tmp_path, "evaluation", number, hours_ago=hours)
        for number, hours in ((1, 9), (2, 8), (3, 7))
    )
    assert bound_evaluation_sets(tmp_path, keep=oldest) == []  # 3,000 bytes are not above it
    new = make(tmp_path, "evaluation", 4)
    mark_used(oldest)
    make(tmp_path, "data", 1, size=9000, hours_ago=9)  # of another kind
    assert bound_evaluation_sets(tmp_path, keep=new) == [old]
    left = {entry.path for entry in list_cache(tmp_path, "evaluation")}
    assert left == {oldest, used, new}


@pytest.mark.usefixtures("bound")
def test_what_is_in_use_or_being_made_passes_the_bound(tmp_path: Path) -> None:
    oldest, old = (make(tmp_path, "evaluation", n, hours_ago=9 - n) for n in (1, 2))
    recent = [make(tmp_path, "evaluation", n, hours_ago=0.5) for n in range(3, 7)]
    with locked(oldest):
        assert bound_evaluation_sets(tmp_path, keep=old) == []
        assert bound_evaluation_sets(tmp_path, keep=recent[0]) == [old]
    assert bound_evaluation_sets(tmp_path, keep=recent[0]) == [oldest]


def _bound(cache: Path, keep: Path, gone: multiprocessing.Queue[list[str]]) -> None:
    gone.put([str(path) for path in bound_evaluation_sets(cache, keep)])


@pytest.mark.long
@pytest.mark.usefixtures("bound")
def test_processes_that_make_room_at_once_remove_no_more_than_one_would(tmp_path: Path) -> None:
    entries = [make(tmp_path, "evaluation", n, hours_ago=40 - n) for n in range(12)]
    context = multiprocessing.get_context("spawn")
    gone: multiprocessing.Queue[list[str]] = context.Queue()
    workers = [context.Process(target=_bound, args=(tmp_path, entries[-1], gone)) for _ in range(3)]
    for worker in workers:
        worker.start()
    removed = [path for _ in workers for path in gone.get(timeout=120)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(removed) == sorted(str(entry) for entry in entries[:9])
    assert [entry.path for entry in list_cache(tmp_path, "evaluation")] == entries[:8:-1]


def test_the_bound_is_50_gb_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABLATE_CACHE_GB", raising=False)
    assert evaluation_bound() == 50e9
    for text, bound in (("0", 0.0), ("2.5", 2.5e9)):
        monkeypatch.setenv("ABLATE_CACHE_GB", text)
        assert evaluation_bound() == bound
    for text in ("many", "-1", "nan", "inf", "1e300"):
        monkeypatch.setenv("ABLATE_CACHE_GB", text)
        rule = rf"^ABLATE_CACHE_GB: must be a number of GB, at least 0, got '{text}'\. Correct it,"
        with pytest.raises(UsageError, match=rule):
            evaluation_bound()


def _pixels() -> Pixels:
    return Pixels(np.array([0, 1]), [np.full((2, 3, 4, 4), 7, dtype=np.uint8)])


def test_data_that_were_removed_are_made_again(tmp_path: Path) -> None:
    first = stored_split(tmp_path, "ours", _pixels, what="ours")
    os.utime(the_entry(tmp_path, "data").path, (0, 0))
    stored_split(tmp_path, "ours", _pixels, what="ours")
    entry = the_entry(tmp_path, "data")
    assert entry.used == pytest.approx(time.time(), abs=60)
    assert remove(entry)
    assert stored_split(tmp_path, "ours", _pixels, what="ours").digest == first.digest
    assert first.images.float().mean() == 7


def _change(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a pixel": lambda entry: _change(entry / "images.npy", -1),
    "a label": lambda entry: _change(entry / "labels.npy", -8),
    "no Python": lambda entry: (entry / "images.npy").write_bytes(
        (entry / "images.npy").read_bytes()[:10] + b'("(("' + bytes(200)
    ),
    "the digest": lambda entry: (entry / "digest").write_bytes(b"\xff" * 64),
    "another kind": lambda entry: np.save(
        entry / "images.npy", np.load(entry / "images.npy").view(np.int8)
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_data_that_are_damaged_are_made_again_and_reported(tmp_path: Path, damage: str) -> None:
    first = stored_split(tmp_path, "ours", _pixels, what="ours, test")
    DAMAGE[damage](the_entry(tmp_path, "data").path)
    with heard_damage() as reports:
        again = stored_split(tmp_path, "ours", _pixels, what="ours, test")
        assert reports == ["cache: images of ours, test were damaged; regenerated"]
        assert again.digest == first.digest
        assert again.images.dtype == first.images.dtype
        assert (again.images == 7).all()
        assert again.labels.tolist() == [0, 1]
        stored_split(tmp_path, "ours", _pixels, what="ours, test")
    assert len(reports) == 1
