"""What is in the cache, what is let go, and that nothing else is ever touched."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ablate.data.dataset import digest_images
from ablate.data.stored import Pixels, stored_split
from ablate.errors import UsageError
from ablate.files.cache import locked, publish_folder
from ablate.files.damage import heard_damage
from ablate.files.inventory import (
    KINDS,
    Kind,
    bound_evaluation_sets,
    evaluation_bound,
    holds_others,
    list_entries,
    list_leftovers,
    mark_used,
    remove_entry,
    remove_leftover,
)

HOUR, DAY = 3600.0, 86400.0


def key(number: int) -> str:
    return f"{number:032x}"


def make(cache: Path, kind: Kind, number: int, *, size: int = 1000, hours_ago: float = 0.0) -> Path:
    """An entry of `size` bytes, made under its lock as the cache's own are."""
    folder, file = KINDS[kind]
    entry = cache / folder / key(number)
    with locked(entry), publish_folder(entry) as temporary:
        (temporary / file).write_bytes(bytes(size))
    used = time.time() - hours_ago * HOUR
    os.utime(entry, (used, used))
    return entry


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """3,000 bytes for evaluation sets."""
    monkeypatch.setenv("ABLATE_CACHE_GB", "3e-6")
    return monkeypatch


@pytest.mark.parametrize("kind", KINDS)
def test_entries_are_listed_by_last_use(tmp_path: Path, kind: Kind) -> None:
    assert list_entries(tmp_path, kind) == []
    old = make(tmp_path, kind, 1, hours_ago=5)
    new = make(tmp_path, kind, 2, size=7, hours_ago=1)
    found = list_entries(tmp_path, kind)
    assert [entry.path for entry in found] == [new, old]
    assert [entry.size for entry in found] == [7, 1000]
    assert found[1].used == pytest.approx(time.time() - 5 * HOUR, abs=60)
    assert found[0].about == {}
    mark_used(old)
    assert [entry.path for entry in list_entries(tmp_path, kind)] == [old, new]
    mark_used(tmp_path / "no such entry")


def test_an_entry_says_what_it_is(tmp_path: Path) -> None:
    entry = make(tmp_path, "data", 1)
    for text, about in (
        ('{"what": "ours"}', {"what": "ours"}),
        ("[1]", {}),
        ("{", {}),
        ("[" * 99_999, {}),
    ):
        (entry / "about.json").write_text(text)
        assert list_entries(tmp_path, "data")[0].about == about
    record = json.dumps({"made_from": {"model": {"name": "resnet8"}}})
    (make(tmp_path, "baseline", 1) / "baseline.json").write_text(record)
    assert list_entries(tmp_path, "baseline")[0].about == json.loads(record)


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
    for kind in KINDS:
        assert list_entries(tmp_path, kind) == []
        assert list_leftovers(tmp_path, kind, time.time()) == []


def test_what_is_mapped_stays_readable_after_it_is_gone(tmp_path: Path) -> None:
    entry = make(tmp_path, "evaluation", 1)
    np.save(entry / "images.npy", np.arange(5000))
    mapped = np.load(entry / "images.npy", mmap_mode="r")
    assert remove_entry(entry)
    assert not list((tmp_path / "evaluation").iterdir())  # no lock, nothing half removed
    assert np.array_equal(mapped, np.arange(5000))
    assert remove_entry(entry)  # gone is gone


def test_what_is_being_made_stays(tmp_path: Path) -> None:
    entry = make(tmp_path, "evaluation", 1)
    with locked(entry):
        assert not remove_entry(entry)
    assert (entry / "images.npy").is_file()
    assert remove_entry(entry)


def leave(cache: Path, name: str, *, days_ago: float) -> Path:
    """What a process leaves that is killed while it makes an entry."""
    left = cache / "evaluation" / name
    left.mkdir(parents=True)
    (left / "images.npy").write_bytes(bytes(50))
    stamp = time.time() - days_ago * DAY
    for path in (left / "images.npy", left):
        os.utime(path, (stamp, stamp))
    return left


def temporary_name(number: int) -> str:
    return f".{key(number)}.{number:016x}"


def test_leftovers_of_killed_processes(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    left = leave(tmp_path, temporary_name(1), days_ago=0)
    earlier = leave(tmp_path, f".{key(2)}.ab_c09zz", days_ago=0)  # as of earlier versions
    leave(tmp_path, f".{key(3)}.backup", days_ago=9)  # somebody's own
    half = folder / temporary_name(5)
    half.write_bytes(bytes(10))
    lock = folder / f"{key(4)}.lock"
    lock.touch()
    found = list_leftovers(tmp_path, "evaluation", time.time())
    sizes = [(left, 50), (earlier, 50), (half, 10), (lock, 0)]
    assert [(one.path, one.size) for one in found] == sizes
    with locked(folder / key(1)), locked(folder / key(4)):  # their builders live
        live = list_leftovers(tmp_path, "evaluation", time.time())
        assert [one.path for one in live] == [earlier, half]
        assert [remove_leftover(one) for one in found] == [False, True, True, False]
    assert left.is_dir()
    found = list_leftovers(tmp_path, "evaluation", time.time())
    assert [remove_leftover(one) for one in found] == [True] * len(found)
    assert list_leftovers(tmp_path, "evaluation", time.time()) == []
    assert [path.name for path in folder.iterdir()] == [f".{key(3)}.backup"]


def test_leftovers_of_other_kinds_wait_a_day(tmp_path: Path) -> None:
    for number, days_ago in ((1, 2.0), (2, 0.5), (3, 2.0)):
        leave(tmp_path, temporary_name(number), days_ago=days_ago)
    (tmp_path / "evaluation").rename(tmp_path / "data")
    os.utime(tmp_path / "data" / temporary_name(3) / "images.npy")  # still being written
    found = list_leftovers(tmp_path, "data", time.time())
    assert [left.path.name for left in found] == [temporary_name(1)]


def test_the_state_of_a_training_is_kept_for_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "baselines"
    folder.mkdir()
    names = (f"{key(1)}.state", f"{key(2)}.state", f".{key(3)}.state.{1:016x}", "notes.state")
    for name, days_ago in zip(names, (2, 0.5, 2, 9), strict=True):
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (time.time() - days_ago * DAY,) * 2)
    found = list_leftovers(tmp_path, "baseline", time.time())
    assert [left.path.name for left in found] == [names[2], names[0]]
    with locked(folder / key(1)):  # somebody goes on with it
        assert not remove_leftover(found[1])
    assert [remove_leftover(left) for left in found] == [True, True]
    assert sorted(path.name for path in folder.iterdir()) == sorted([names[1], names[3]])


def _die_in_the_middle(entry: Path, started: multiprocessing.Queue[bool]) -> None:
    with locked(entry), publish_folder(entry) as temporary:
        (temporary / "images.npy").write_bytes(bytes(100))
        started.put(True)
        time.sleep(60)


def test_what_a_killed_builder_leaves_goes_with_the_next_set(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started: multiprocessing.Queue[bool] = context.Queue()
    entry = tmp_path / "evaluation" / key(1)
    builder = context.Process(target=_die_in_the_middle, args=(entry, started))
    builder.start()
    started.get(timeout=120)
    new = make(tmp_path, "evaluation", 2)
    assert list_leftovers(tmp_path, "evaluation", time.time()) == []
    assert bound_evaluation_sets(tmp_path, keep=new) == []
    assert len(list(entry.parent.glob(f".{key(1)}.*"))) == 1  # it lives
    builder.kill()
    builder.join()
    (left, lock) = list_leftovers(tmp_path, "evaluation", time.time())
    assert (left.size, lock.path.name) == (100, f"{key(1)}.lock")
    assert bound_evaluation_sets(tmp_path, keep=new) == []
    assert list_leftovers(tmp_path, "evaluation", time.time()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_with_other_files_stays(tmp_path: Path, kind: Kind) -> None:
    entry = make(tmp_path, kind, 1)
    assert not holds_others(entry)
    for other in ("thesis.txt", "digest/thesis.txt"):
        (entry / "digest").unlink(missing_ok=True)
        (entry / other).parent.mkdir(exist_ok=True)
        (entry / other).write_text("mine")
        assert holds_others(entry)
        assert not remove_entry(entry)
        assert (entry / other).read_text() == "mine"
        (entry / other).unlink()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere = make(tmp_path / "elsewhere", "evaluation", 1)
    (elsewhere / "other.txt").write_text("mine")
    link = tmp_path / "evaluation" / key(1)
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    assert [entry.path for entry in list_entries(tmp_path, "evaluation")] == [link]
    assert remove_entry(link)
    assert not list(link.parent.iterdir())
    assert len(list(elsewhere.iterdir())) == 2


def test_what_cannot_be_removed_is_not_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = make(tmp_path, "evaluation", 1)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as context:
        context.setattr("shutil.rmtree", refuse)
        assert not remove_entry(entry)
        (left, lock) = list_leftovers(tmp_path, "evaluation", time.time())
        assert not remove_leftover(left)
    assert left.path.is_dir()
    assert [remove_leftover(one) for one in (left, lock)] == [True, True]


def test_a_lock_beside_its_entry_is_no_leftover(tmp_path: Path) -> None:
    make(tmp_path, "data", 1)
    assert (tmp_path / "data" / f"{key(1)}.lock").is_file()
    assert list_leftovers(tmp_path, "data", time.time()) == []


@pytest.mark.usefixtures("bound")
def test_the_least_recently_used_sets_make_room(tmp_path: Path) -> None:
    oldest, old, used = (
        make(tmp_path, "evaluation", number, hours_ago=hours)
        for number, hours in ((1, 9), (2, 8), (3, 7))
    )
    assert bound_evaluation_sets(tmp_path, keep=oldest) == []  # 3,000 bytes are not above it
    new = make(tmp_path, "evaluation", 4)
    mark_used(oldest)
    assert bound_evaluation_sets(tmp_path, keep=new) == [old]
    assert sorted(entry.path for entry in list_entries(tmp_path, "evaluation")) == sorted(
        [oldest, used, new]
    )


@pytest.mark.usefixtures("bound")
def test_what_is_in_use_passes_the_bound(tmp_path: Path) -> None:
    recent = [make(tmp_path, "evaluation", number, hours_ago=0.5) for number in range(5)]
    kept = make(tmp_path, "evaluation", 9, hours_ago=3)
    make(tmp_path, "data", 1, size=9000, hours_ago=9)  # of another kind
    assert bound_evaluation_sets(tmp_path, keep=kept) == []
    assert len(list_entries(tmp_path, "evaluation")) == len(recent) + 1
    assert bound_evaluation_sets(tmp_path, keep=recent[0]) == [kept]


@pytest.mark.usefixtures("bound")
def test_a_set_that_is_being_made_again_does_not_count_as_gone(tmp_path: Path) -> None:
    oldest, old = (make(tmp_path, "evaluation", n, hours_ago=9 - n) for n in (1, 2))
    new = [make(tmp_path, "evaluation", number) for number in (3, 4)]
    with locked(oldest):
        assert bound_evaluation_sets(tmp_path, keep=new[0]) == [old]
    assert oldest.is_dir()


def _bound(cache: Path, keep: Path, gone: multiprocessing.Queue[list[str]]) -> None:
    gone.put([str(path) for path in bound_evaluation_sets(cache, keep)])


@pytest.mark.usefixtures("bound")
def test_processes_that_make_room_at_once_remove_no_more_than_one_would(tmp_path: Path) -> None:
    entries = [make(tmp_path, "evaluation", n, hours_ago=40 - n) for n in range(12)]
    context = multiprocessing.get_context("spawn")
    gone: multiprocessing.Queue[list[str]] = context.Queue()
    workers = [context.Process(target=_bound, args=(tmp_path, entries[-1], gone)) for _ in range(4)]
    for worker in workers:
        worker.start()
    removed = [path for _ in workers for path in gone.get(timeout=120)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(removed) == sorted(str(entry) for entry in entries[:9])
    assert [entry.path for entry in list_entries(tmp_path, "evaluation")] == entries[:8:-1]


def test_the_bound_is_50_gb_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABLATE_CACHE_GB", raising=False)
    assert evaluation_bound() == 50e9
    for text, bound in (("0", 0.0), ("2.5", 2.5e9)):
        monkeypatch.setenv("ABLATE_CACHE_GB", text)
        assert evaluation_bound() == bound
    for text in ("many", "-1", "nan", "inf", "1e400", "1e300"):
        monkeypatch.setenv("ABLATE_CACHE_GB", text)
        message = (
            rf"^ABLATE_CACHE_GB: must be a number of GB, at least 0, got '{text}'\. Correct it,"
        )
        with pytest.raises(UsageError, match=message):
            evaluation_bound()


def _pixels() -> Pixels:
    return Pixels(np.array([0, 1]), [np.full((2, 3, 4, 4), 7, dtype=np.uint8)])


def test_data_say_what_they_are_and_when_they_were_used(tmp_path: Path) -> None:
    stored_split(tmp_path, "ours", _pixels, what="ours, test")
    (entry,) = list_entries(tmp_path, "data")
    assert entry.about == {"what": "ours, test"}
    os.utime(entry.path, (0, 0))
    stored_split(tmp_path, "ours", _pixels, what="ours, test")
    assert list_entries(tmp_path, "data")[0].used == pytest.approx(time.time(), abs=60)


def test_data_that_were_let_go_are_made_again(tmp_path: Path) -> None:
    first = stored_split(tmp_path, "ours", _pixels, what="ours")
    (entry,) = list_entries(tmp_path, "data")
    assert remove_entry(entry.path)
    again = stored_split(tmp_path, "ours", _pixels, what="ours")
    assert again.digest == first.digest
    assert first.images.float().mean() == 7


def _change(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a pixel": lambda entry: _change(entry / "images.npy", -1),
    "a label": lambda entry: _change(entry / "labels.npy", -8),
    "the head": lambda entry: _change(entry / "images.npy", 25),
    "no Python": lambda entry: (entry / "images.npy").write_bytes(
        (entry / "images.npy").read_bytes()[:10] + b'("(("' + bytes(200)
    ),
    "cut short": lambda entry: os.truncate(entry / "images.npy", 150),
    "no labels": lambda entry: os.truncate(entry / "labels.npy", 0),
    "zeros": lambda entry: (entry / "images.npy").write_bytes(bytes(300)),
    "an archive": lambda entry: (entry / "images.npy").write_bytes(b"PK\3\4" + bytes(300)),
    "the digest": lambda entry: (entry / "digest").write_bytes(b"\xff" * 64),
    "another kind": lambda entry: np.save(
        entry / "images.npy", np.load(entry / "images.npy").view(np.int8)
    ),
    "removed": lambda entry: (entry / "images.npy").unlink(),  # by hand
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_data_that_are_damaged_are_made_again_and_that_is_said(tmp_path: Path, damage: str) -> None:
    first = stored_split(tmp_path, "ours", _pixels, what="ours, test")
    (entry,) = list_entries(tmp_path, "data")
    DAMAGE[damage](entry.path)
    with heard_damage() as said:
        again = stored_split(tmp_path, "ours", _pixels, what="ours, test")
        assert said == ["cache: images of ours, test were damaged; regenerated"]
        assert again.digest == first.digest
        assert again.images.dtype == first.images.dtype
        assert (again.images == 7).all()
        assert again.labels.tolist() == [0, 1]
        stored_split(tmp_path, "ours", _pixels, what="ours, test")
    assert len(said) == 1


def test_data_are_compared_with_their_digest_once_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_split(tmp_path, "ours", _pixels, what="ours")
    looks: list[int] = []

    def digest(images: np.ndarray, labels: np.ndarray) -> str:
        looks.append(1)
        return digest_images(images, labels)

    monkeypatch.setattr("ablate.data.stored.digest_images", digest)
    (entry,) = list_entries(tmp_path, "data")
    stored_split(tmp_path, "ours", _pixels, what="ours")
    assert len(looks) == 0
    os.utime(entry.path / "images.npy")  # somebody may have written to it
    for _ in range(2):
        stored_split(tmp_path, "ours", _pixels, what="ours")
        assert len(looks) == 1
