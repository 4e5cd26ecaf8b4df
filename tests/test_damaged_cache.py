"""A cache that is damaged between two runs, as the user of a command sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.api import read

Run = Callable[..., subprocess.CompletedProcess[str]]


def damage(file: Path) -> None:
    """Half of its bytes are others; its size is the same."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle:] = bytes(one ^ 255 for one in content[middle:])
    file.write_bytes(content)


def scores(name: str) -> list[tuple[float, ...] | None]:
    return [row.values for row in read(f"runs/{name}").rows]


def test_a_damaged_cache_changes_no_score_and_is_said(
    ablate: Run, write_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_CACHE", str(cache))
    search = {"trials": 2, "sampler": "random"}
    for name in ("before", "after"):
        write_study(name, search=search)
    done = ablate("launch", "before.yaml", "--executor", "inline")
    assert done.returncode == 0, done.stderr
    assert "made again" not in done.stdout + done.stderr
    for pattern in ("evaluation/*/images.npy", "data/*/images.npy", "baselines/*/weights.*"):
        files = list(cache.glob(pattern))
        assert files, pattern
        for file in files:
            damage(file)
    done = ablate("launch", "after.yaml", "--executor", "inline")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "after: cache: images of gaussian_noise, severity 3 were damaged; made again" in said
    assert "train were damaged; made again" in said
    assert "after: cache: the baseline was damaged; made again" in said
    assert "Traceback" not in said
    assert scores("after") == scores("before")
    assert None not in scores("after")
    log = ablate("logs", "runs/after").stdout
    assert "cache: the baseline was damaged; made again" in log
