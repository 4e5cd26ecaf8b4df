"""`ablate cache list` and `ablate cache clear`, on a cache that the package itself has filled."""

from __future__ import annotations

import json
import multiprocessing
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from ablate.cli.cache import cache as commands
from ablate.data.dataset import Split
from ablate.data.stored import Pixels, stored_split
from ablate.errors import UsageError
from ablate.files.cache import cache_folder, locked
from ablate.files.cache_contents import cache_info, clear, plan_clearing
from ablate.files.inventory import KINDS
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.suites import Suite

DAY = 86400

TWO = Suite("two", {"photometric": ("contrast", "brightness")}, "distortion", "families")
FOUR = Suite(
    "four",
    {"noise": ("gaussian_noise",), "photometric": ("contrast", "brightness", "gamma")},
    "distortion",
    "families",
)


def make_set(split: Split, suite: Suite, severities: tuple[int, ...], seed: int) -> None:
    """Every copy of a set, in the cache of the environment."""
    made = EvaluationSet(split, suite, severities, seed, cache_folder())
    for kind in suite.types:
        for severity in severities:
            assert sum(len(block) for block in made.blocks(kind, severity)) == len(split)


def make_baseline(folder: Path, number: int, **made_from: object) -> Path:
    """A baseline's entry as one is written, with weights that are none."""
    entry = folder / "baselines" / f"{number:032x}"
    entry.mkdir(parents=True)
    (entry / "weights.safetensors").write_bytes(bytes(300))
    record = {"sha256": "", "made_from": {"model": {"name": "resnet8"}, **made_from}}
    (entry / "baseline.json").write_text(json.dumps(record))
    return entry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a split, four copies of it in one evaluation set, and a baseline."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_CACHE", str(folder))
    make_set(make_split(folder), TWO, (1, 5), seed=0)
    make_baseline(folder, 1, classes=["a", "b"], baseline={"epochs": 3})
    return folder


def make_split(folder: Path) -> Split:
    def read() -> Pixels:
        pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 9), dtype=np.uint8)
        return Pixels(np.arange(6) % 2, [pixels])

    return stored_split(folder, "cats", read, what="/pictures/cats")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, catch_exceptions=False)


def rows(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--json").stdout)
    return found


def entries(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).iterdir() if path.is_dir())


def test_the_list_says_what_is_there(folder: Path) -> None:
    text = run("list").output
    assert f"{folder}: " in text
    assert "/pictures/cats: 6 images, 9x8" in text
    set_line = "/pictures/cats: 6 images, 9x8; brightness, contrast, severities 1, 5, seed 0"
    assert set_line in text
    assert "resnet8, 2 classes, 3 epochs" in text
    assert text.count("just now") == 3
    assert "evaluation sets: up to 50 GB (ABLATE_CACHE_GB)" in text


def test_the_list_as_json(folder: Path) -> None:
    found = rows("list")
    assert [row["kind"] for row in found] == ["evaluation", "data", "baseline"]
    assert [row["entries"] for row in found] == [4, 1, 1]
    for row, kind in zip(found, ("evaluation", "data", "baselines"), strict=True):
        assert sorted(row["paths"]) == [str(path) for path in entries(folder, kind)]
        files = [file for path in row["paths"] for file in Path(path).rglob("*")]
        assert row["bytes"] == sum(file.stat().st_size for file in files)
        assert row["last_used"].startswith("20")
    assert cache_info(folder, time.time()).size == sum(row["bytes"] for row in found)


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "none"))
    assert "empty; " in run("list").output
    assert rows("list") == []
    assert "nothing to delete" in run("clear").output
    assert rows("clear") == []
    assert not (tmp_path / "none").exists()


def test_many_kinds_of_entries_are_told_apart(folder: Path) -> None:
    make_baseline(folder, 2, classes=["a"], checkpoint={"sha256": "0"})
    make_baseline(folder, 3, baseline={"epochs": 1})
    (folder / "baselines" / f"{3:032x}" / "baseline.json").write_text("{")
    old = folder / "evaluation" / f"{9:032x}"
    old.mkdir()
    np.save(old / "images.npy", np.zeros((2, 3)))
    split = make_split(folder).take(torch.tensor([0]))
    make_set(split, FOUR, (3,), seed=4)
    said = [row["what"] for row in rows("list")]
    digest = split.digest[:8]
    assert f"data {digest}: 1 image, 9x8; 4 distortions, severity 3, seed 4" in said
    assert "images of an earlier version" in said
    assert "resnet8, 1 class, from a checkpoint" in said
    assert "a network" in said
    text = run("list").output
    assert "3 in total" in text


def test_downloads_and_leftovers_are_listed(folder: Path) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "archive").write_bytes(bytes(5000))
    left = folder / "data" / f".{5:032x}.{7:016x}"
    left.mkdir()
    os.utime(left, (0, 0))
    text = run("list").output
    assert "torchvision/, not deleted by clear" in text
    assert "5.0 kB" in text
    assert "of killed processes" in text
    assert [row["kind"] for row in rows("list")][3:] == ["fetched", "left over"]
    run("clear", "--yes")
    assert not left.exists()
    assert (folder / "torchvision" / "archive").is_file()


def test_clear_removes_what_can_be_made_again(folder: Path) -> None:
    (folder / "evaluation" / "mine.txt").write_text("mine")
    text = run("clear", "--yes").output
    assert "evaluation: 4 entries, " in text
    assert "data: 1 entry, " in text
    assert "baseline: 1 entry, " in text
    assert "deleted: " in text
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name != "bound.lock"] == ["mine.txt"]
    assert rows("list") == []
    assert len(make_split(folder)) == 6


def test_clear_of_one_kind(folder: Path) -> None:
    removed = rows("clear", "--kind", "evaluation", "--yes")
    assert len(removed) == 4
    assert all(row["removed"] and row["kind"] == "evaluation" for row in removed)
    assert [row["kind"] for row in rows("list")] == ["data", "baseline"]
    assert rows("clear", "--kind", "evaluation", "--yes") == []
    assert len(rows("clear", "--kind", "data", "--kind", "baseline", "--yes")) == 2


def test_clear_of_what_was_not_used_for_some_days(folder: Path) -> None:
    old, *new = entries(folder, "evaluation")
    then = time.time() - 3 * DAY
    os.utime(old, (then, then))
    assert rows("clear", "--older-than", "4", "--yes") == []
    assert [row["path"] for row in rows("clear", "--older-than", "2.5", "--yes")] == [str(old)]
    assert entries(folder, "evaluation") == new


def test_a_dry_run_only_looks(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    assert "to delete: " in run("clear", "--dry-run").output
    assert {row["removed"] for row in rows("clear", "--dry-run")} == {False}
    assert sorted(folder.rglob("*")) == before


def test_what_is_being_made_stays_and_is_said(folder: Path) -> None:
    busy = entries(folder, "evaluation")[0]
    with locked(busy):
        result = run("clear", "--kind", "evaluation", "--yes")
    assert "evaluation: 3 entries" in result.output
    assert "not deleted: 1 entry in use, or without permission to delete" in result.output
    assert entries(folder, "evaluation") == [busy]
    with locked(busy):
        found = rows("clear", "--kind", "evaluation", "--yes")
    assert found == [{"kind": None, "path": str(busy), "bytes": 0, "removed": False}]


def test_an_entry_with_other_files_stays_and_is_said(folder: Path) -> None:
    entry = entries(folder, "baselines")[0]
    (entry / "thesis.txt").write_text("mine")
    for option in ("--dry-run", "--yes"):
        text = run("clear", "--kind", "baseline", option).output
        assert f"not deleted: 1 entry contains files that are not from the cache: {entry}\n" in text
    found = rows("clear", "--yes")
    assert found[-1] == {"kind": None, "path": str(entry), "bytes": 0, "removed": False}
    assert (entry / "thesis.txt").is_file()


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [1, 2], "set": "a"},
        {"shape": "four", "set": []},
        {"shape": [1, 2, 3, "4"], "set": "a", "data": {}, "seed": "\ud800", "type": "\n"},
        {"what": "\ud800[red]"},
        {"what": 7, "made_from": {"model": {"name": "\ud800"}, "classes": 3, "baseline": []}},
        {"made_from": 3},
    ],
)
def test_entries_that_say_nonsense_are_listed(folder: Path, wrong: dict[str, Any]) -> None:
    for kind in ("evaluation", "data", "baselines"):
        for entry in entries(folder, kind):
            name = "baseline.json" if kind == "baselines" else "about.json"
            (entry / name).write_text(json.dumps(wrong))
            if kind == "data":
                np.save(entry / "images.npy", np.zeros((2, 3)))
    assert {row["kind"] for row in rows("list")} == {"evaluation", "data", "baseline"}
    run("list").output.encode()
    with (entries(folder, "data")[0] / "images.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    assert len(rows("list")) >= 3


def test_without_a_terminal_nothing_is_removed_unasked(folder: Path) -> None:
    message = (
        r"^ablate cache clear: must be confirmed, got no terminal to ask on\. Add --yes, or --dry"
    )
    with pytest.raises(UsageError, match=message):
        run("clear")
    assert len(rows("list")) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("y", 0)])
def test_on_a_terminal_it_asks(folder: Path, answer: str, left: int) -> None:
    person, process = pty.openpty()
    script = "from ablate.cli.cache import cache; cache(['clear', '--json'])"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=process,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        os.write(person, f"{answer}\n".encode())
        out, err = child.communicate(timeout=180)
    os.close(person)
    os.close(process)
    assert f"{folder}\nevaluation: 4 entries, " in err
    assert "Delete them? [y/N]" in err
    assert child.returncode == (0 if answer == "y" else 1)
    assert len(json.loads(out or "[]")) == (6 if answer == "y" else 0)
    assert len(rows("list")) == left


def _read_again_and_again(folder: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    expected: torch.Tensor | None = None
    while time.monotonic() < end:
        made = EvaluationSet(make_split(folder), TWO, (1, 5), 0, folder)
        cells = [(kind, severity) for kind in TWO.types for severity in made.severities]
        found = torch.cat([block for cell in cells for block in made.blocks(*cell)])
        assert expected is None or torch.equal(found, expected)
        expected = found


@pytest.mark.slow
def test_readers_go_on_while_the_cache_is_cleared(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=_read_again_and_again, args=(folder, 2.0)) for _ in range(2)]
    for reader in readers:
        reader.start()
    removed = 0
    while any(reader.is_alive() for reader in readers):
        removed += len(clear(plan_clearing(folder, list(KINDS), time.time())).entries)
    for reader in readers:
        reader.join()
        assert reader.exitcode == 0
    assert removed > 6  # more than once over


@pytest.mark.parametrize("command", [(), ("list",), ("clear",)])
def test_each_has_help(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output
    if command:
        assert "--json" in result.output


def test_wrong_options_are_refused(folder: Path) -> None:
    assert run("clear", "--kind", "everything").exit_code == 2
    assert run("clear", "--older-than", "-1").exit_code == 2
    assert len(rows("list")) == 3


def test_a_wrong_bound_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE_GB", "lots")
    with pytest.raises(UsageError, match=r"ABLATE_CACHE_GB: must be a number of GB, at least 0"):
        run("list")


@pytest.mark.slow
def test_the_list_loads_no_torch() -> None:
    script = (
        "import sys; from ablate.cli.cache import cache\n"
        "try: cache(['list'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *({'torch', 'ray', 'optuna', 'plotly'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout.rpartition("LOADED")[2].split() == []
