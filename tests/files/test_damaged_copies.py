"""Corrupted copies on the disk that are damaged: found at every read, made again, and said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from waiting import wait_until

from ablate.data.dataset import Split, digest_images
from ablate.errors import InfrastructureError
from ablate.files.cache import heard_damage, locked
from ablate.robustness.evaluation_set import EvaluationSet, KeptCopy
from ablate.robustness.suites import find_suite

SAID = ["cache: images of contrast, severity 3 were damaged; regenerated"]


@pytest.fixture(scope="module")
def long_split() -> Split:
    """Three blocks of images: 512, 512 and 76."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (1100, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(1100) % 4
    return Split(images, labels, digest_images(images.numpy(), labels.numpy()))


def obtain(split: Split, cache: Path | None, *types: str) -> EvaluationSet:
    return EvaluationSet(split, find_suite(types or ["contrast"]), (3,), 0, cache)


def read(made: EvaluationSet, kind: str = "contrast") -> torch.Tensor:
    return torch.cat(list(made.blocks(kind, 3)))


def the_entry(cache: Path) -> Path:
    (file,) = (cache / "evaluation").glob("*/images.npy")
    return file.parent


def flip(file: Path, place: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def say_less(entry: Path) -> None:
    about = json.loads((entry / "about.json").read_text())
    del about["crc32"]
    (entry / "about.json").write_text(json.dumps(about))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": lambda entry: flip(entry / "images.npy"),
    "cut short": lambda entry: cut(entry / "images.npy"),
    "no JSON": lambda entry: (entry / "about.json").write_bytes(b"\xff{"),
    "no checksums": say_less,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_again_and_said(
    tmp_path: Path, long_split: Split, damage: str
) -> None:
    first = read(obtain(long_split, tmp_path))
    with heard_damage() as said:
        assert torch.equal(read(obtain(long_split, tmp_path)), first)
        assert said == []
        DAMAGE[damage](the_entry(tmp_path))
        assert torch.equal(read(obtain(long_split, tmp_path)), first)
        assert said == SAID
        assert torch.equal(read(obtain(long_split, tmp_path)), first)
        assert said == SAID


@pytest.mark.parametrize("damage", ["a bit", "cut short"])
def test_damage_amid_a_reading_changes_no_image(
    tmp_path: Path, long_split: Split, damage: str
) -> None:
    """In a process that has the file open, as one that scores for hours has."""
    made = obtain(long_split, tmp_path)
    first = read(made)
    reading = made.blocks("contrast", 3)
    with heard_damage() as said:
        before = next(reading)
        DAMAGE[damage](the_entry(tmp_path))
        assert torch.equal(torch.cat([before, *reading]), first)
    assert said == SAID


def test_a_disk_that_keeps_nothing_is_given_up(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = KeptCopy.write

    def write_badly(copy: KeptCopy, folder: Path, *rest: object) -> None:
        write(copy, folder, *rest)  # type: ignore[arg-type]
        flip(folder / "images.npy")

    monkeypatch.setattr(KeptCopy, "write", write_badly)
    message = r"that were written, got other bytes 4 times in a row, each time directly after"
    with pytest.raises(InfrastructureError, match=message), heard_damage():
        read(obtain(split, tmp_path))


# -- many copies at once ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_cores(tmp_path: Path) -> None:
    """Of every type: made on three cores, on one, and when it is read, with two threads each."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(3) % 2, "three")
    three, one, read_alone = (
        EvaluationSet(split, find_suite("all"), (5,), 0, cache)
        for cache in (tmp_path / "three", tmp_path / "one", None)
    )
    three.make_all(3)
    one.make_all(1)
    torch.set_num_threads(2)
    for kind in three.suite.types:
        alone = torch.cat(list(read_alone.blocks(kind, 5)))
        for made in (three, one):
            assert torch.equal(torch.cat(list(made.blocks(kind, 5))), alone), kind


def test_what_is_there_is_checked_and_only_the_rest_is_made(
    tmp_path: Path, long_split: Split
) -> None:
    types = ("contrast", "brightness", "pixelate")
    first = read(obtain(long_split, tmp_path))
    flip(the_entry(tmp_path) / "images.npy")
    read(obtain(long_split, tmp_path, "brightness"), "brightness")
    made = obtain(long_split, tmp_path, *types)
    told: list[tuple[int, int]] = []
    threads = torch.get_num_threads()
    with heard_damage() as said:
        made.make_all(2, lambda *told_now: told.append(told_now))
        assert torch.equal(read(made), first)
    assert said == SAID
    assert told[-1] == (2, 2)
    assert torch.get_num_threads() == threads
    told.clear()
    made.make_all(2, lambda *told_now: told.append(told_now))
    assert told == []


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    """Also where a thread waits for another process that makes one of the copies."""
    script = f"""
import torch
from pathlib import Path
from ablate.data.dataset import Split
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.suites import find_suite
split = Split(torch.zeros(40000, 3, 32, 32, dtype=torch.uint8), torch.zeros(40000).long(), "zeros")
made = EvaluationSet(split, find_suite(["contrast", "spatter"]), (1,), 0, Path({str(tmp_path)!r}))
print(*(made._copy(made.cache, kind, 1).entry for kind in made.suite.types), flush=True)
input()
made.make_all(2)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    first, second = map(Path, process.stdout.readline().split())
    with locked(first):
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until(lambda: process.poll() is not None or [*second.parent.glob(f".{second.name}.*")])
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert [path.name for path in first.parent.iterdir() if path.suffix != ".lock"] == []
