"""An archive that somebody has altered, and signed again: one line says so, whatever reads it."""

from __future__ import annotations

import copy
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import run_here
from own_study import write_own_study

import ablate
from ablate.errors import UsageError
from ablate.files.tar import read_tar, write_tar
from ablate.lifecycle.archive import MANIFEST, sha256
from ablate.lifecycle.open_study import OpenStudy

READERS = (
    "status {}",
    "trials {}",
    "table {}",
    "plot {} -o front.html",
    "report {} -o report.html",
    "export {} --trial 0 -o weights.safetensors",
    "verify {}",
)
DELETED = object()


@pytest.fixture(scope="module")
def packed(
    recorded: Callable[[str], OpenStudy], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, bytes]]:
    """The files of the archive of a recorded study."""
    folder = tmp_path_factory.mktemp("packed")

    def files(name: str) -> dict[str, bytes]:
        file = folder / f"{name}.tar"
        if not file.exists():
            ablate.archive(f"{recorded(name).place.url}#{name}", file)
        return read_tar(file)

    return files


def written(files: dict[str, bytes], folder: Path, *, signed: bool = True) -> Path:
    """An archive of these files, whose manifest knows of them or not."""
    if signed:
        manifest = json.loads(files[MANIFEST])
        for name in manifest["files"]:
            manifest["files"][name]["sha256"] = sha256(files[name])
        files[MANIFEST] = json.dumps(manifest).encode()
    write_tar(folder / "altered.tar", "altered", files)
    return folder / "altered.tar"


def altered(text: bytes, line: int | None, path: tuple[str | int, ...], value: Any) -> bytes:
    """JSON, or a line of it, with another value at a path, or without it."""
    lines = text.decode().split("\n") if line is not None else [text.decode()]
    place = line or 0
    data = json.loads(lines[place])
    *above, last = path
    node = data
    for part in above:
        node = node[part]
    if value is DELETED:
        del node[last]
    else:
        node[last] = value
    lines[place] = json.dumps(data)
    return "\n".join(lines).encode()


STUDY, ROWS = "study.json", "rows.jsonl"
HEAD, REFERENCES = ("attributes", "ablate:head"), ("attributes", "ablate:references")
CURVE, SCORES = ("attributes", "ablate:curve"), ("attributes", "ablate:scores")


ATTEMPT, ACCURACIES = (*CURVE, "attempts", 0), (*SCORES, "accuracies")
BASELINE, OUTCOMES = (*REFERENCES, "baseline"), ("attributes", "ablate:outcomes")
PARAMS = ("attributes", "ablate:row", "params")


@pytest.mark.parametrize(
    ("member", "path", "value", "said"),
    [
        (ROWS, (*CURVE, "curve", 0, "train_loss"), "low", "train_loss"),
        (ROWS, (*ATTEMPT, "started"), 1e300, "must be from 0 to 8.58993"),
        (ROWS, (*SCORES, "clean_accuracy"), 7, "must be from 0 to 1, got 7"),
        (ROWS, (*ACCURACIES, "brightness"), DELETED, "trial 0: must have the exposure of each"),
        (ROWS, SCORES, DELETED, "must have scores and 2 values, got no scores"),
        (ROWS, OUTCOMES, DELETED, "must have val scores and bits as"),
        (ROWS, ("values", 0), math.nan, "line 1.values[0]: must be finite, got nan"),
        (ROWS, ("started",), "soon", "Invalid isoformat string"),
        (STUDY, ("name",), "other", "study 'quickstart' under the name other"),
        (STUDY, (*BASELINE, "families"), {}, "must have val scores and bits as"),
        ("confirm/study.json", (*HEAD, "parent"), "other", "belongs to other"),
        (STUDY, (*HEAD, "design", "arms", 0), 3, "Design.arms[0]: Input sho"),
        (ROWS, PARAMS, {"loss.terms": "da"}, "row 0: must have the params of its cell, got others"),
    ],
)
def test_every_reader_refuses_it_in_the_same_line(
    member: str,
    path: tuple[str | int, ...],
    value: Any,
    said: str,
    *,
    packed: Callable[[str], dict[str, bytes]],
    work: Path,
) -> None:
    is_of_ablation = "design" in path or path == PARAMS
    name = "ablation_quickstart" if is_of_ablation else "quickstart"
    files = packed(name)
    line = 0 if member.endswith(ROWS) else None
    files[member] = altered(files[member], line, path, value)
    file = written(files, work)
    with pytest.raises(UsageError) as refused:
        ablate.verify(file)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(UsageError) as read:
        ablate.read(file)
    assert str(read.value) == str(refused.value)


def test_the_study_of_another_archive_is_refused_by_every_command(
    packed: Callable[[str], dict[str, bytes]], work: Path
) -> None:
    files = packed("quickstart")
    files[STUDY] = packed("ablation_quickstart")[STUDY]
    file = written(files, work)
    said = {run_here(*command.format(file).split()).stderr for command in READERS}
    assert said == {
        f"ablate: {file}: study.json and rows.jsonl must be a study of ablate, got something else "
        "(ValueError: study ablation_quickstart, and the manifest says quickstart). Get the file "
        "again.\n"
    }


def test_a_number_that_is_rounded_otherwise_is_told(
    packed: Callable[[str], dict[str, bytes]], work: Path
) -> None:
    files = packed("ablation_quickstart")
    table = files["tables/effects.csv"].decode()
    number = next(one for one in table.split(",") if len(one) > 17 and one.startswith("0."))
    other = f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
    files["tables/effects.csv"] = table.replace(number, other, 1).encode()
    result = run_here("verify", written(files, work))
    assert result.returncode == 0, result.stdout
    assert "columns are those recomputed from the rows; 1 numbers but for rounding" in result.stdout
    assert "all holds, 1 numbers but for rounding; sha256" in result.stdout
    trials = files["tables/trials.csv"].decode()
    number = next(one for one in trials.split(",") if len(one) > 17 and one.startswith("0."))
    other = f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
    files["tables/trials.csv"] = trials.replace(number, other, 1).encode()
    assert run_here("verify", written(files, work)).returncode == 1


def test_markdown_is_compared_by_its_digest_alone(
    packed: Callable[[str], dict[str, bytes]], work: Path
) -> None:
    files = packed("ablation_quickstart")
    files["tables/effects.md"] += b"FMA is better\n"
    result = run_here("verify", written(dict(files), work, signed=False))
    assert result.returncode == 1
    assert "manifest.json: tables/effects.md has sha256 " in result.stdout
    assert run_here("verify", written(files, work)).returncode == 0


def test_an_earlier_version_may_have_said_more_of_a_verdict_but_nothing_else(
    packed: Callable[[str], dict[str, bytes]], work: Path
) -> None:
    files = packed("ablation_quickstart")
    table = files["tables/effects.csv"]
    for said, code in ((b"exploratory (tuned)", 0), (b"better", 1)):
        files["tables/effects.csv"] = table.replace(b"exploratory", said, 1)
        assert run_here("verify", written(dict(files), work)).returncode == code


def test_tables_are_compared_by_the_names_of_their_columns(
    packed: Callable[[str], dict[str, bytes]], work: Path
) -> None:
    """One that a later version has added does not count; one that nothing gives does."""
    files = packed("ablation_quickstart")
    table = pd.read_csv(io.BytesIO(files["tables/effects.csv"]), dtype=str, keep_default_na=False)
    for changed, code, said in (
        (table.drop(columns=["p", "metric"]), 0, "not in the archive: metric, p\n"),
        (table[[*table.columns[:1], *table.columns[:0:-1]]], 0, "all holds"),
        (table.assign(luck="0.5"), 1, "luck: archived 0.5, recomputed no such column"),
        (table.drop(index=0), 1, "rows: archived "),
    ):
        files["tables/effects.csv"] = changed.to_csv(index=False).encode()
        result = run_here("verify", written(dict(files), work))
        assert (result.returncode, said in result.stdout) == (code, True), result.stdout


# -- Whatever is altered, wherever

VALUES = (
    *("text", "", "0.5", "\x1b[31m", None, True, -1, 0, 1e308, 10**30, math.nan, math.inf),
    *([], {}, [1, "x"], {"a": 1}, 2**31),
)


def _paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data[:3])
    for key, one in items:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from _paths(one, (*path, key))


def test_nothing_that_is_altered_ends_in_a_traceback(work: Path) -> None:
    file = write_own_study(work, "own", search={"trials": 2, "sampler": "random"})
    ablate.launch(file, executor="inline", progress=False)
    whole = read_tar(ablate.archive("runs/own", work / "own.tar").file)
    draw = random.Random(0)
    for _ in range(12):
        files = copy.copy(whole)
        member = draw.choice([STUDY, ROWS, MANIFEST])
        first = files[member].decode().partition("\n")[0] if member == ROWS else files[member]
        path = draw.choice(list(_paths(json.loads(first))))
        value = draw.choice((*VALUES, DELETED, DELETED))
        files[member] = altered(files[member], 0 if member == ROWS else None, path, value)
        if files[member] == whole[member]:
            continue
        changed = written(dict(files), work, signed=False)
        told = (member, path, value)
        for command in ("status {}", "trials {}"):
            if member != MANIFEST:
                assert run_here(*command.format(changed).split()).returncode == 2, told
        if member != MANIFEST:
            assert run_here("verify", changed).returncode in (1, 2), told
            changed = written(files, work)
        for command in ("verify {}", "status {}", "trials {}", "table {}"):
            result = run_here(*command.format(changed).split())
            assert result.returncode in (0, 1, 2), told
            if result.returncode == 2:
                assert len(result.stderr.splitlines()) == 1, (told, result.stderr)
