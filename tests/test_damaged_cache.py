"""A cache that is damaged between two runs, as the user of a command sees it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.api import read

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


def damage(file: Path) -> None:
    """Half of its bytes are others; its size is the same."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle:] = bytes(one ^ 255 for one in content[middle:])
    file.write_bytes(content)


def scores(name: str) -> list[tuple[float, ...] | None]:
    return [row.values for row in read(f"runs/{name}").rows]


@pytest.mark.long
def test_a_damaged_cache_changes_no_score_and_is_said(
    ablate: Run,
    ablate_alone: Run,
    write_study: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second command is a process of its own: it has nothing of the cache in memory."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("ABLATE_CACHE", str(cache))
    search = {"trials": 1, "sampler": "random"}
    for name in ("before", "after"):
        write_study(
            name,
            search=search,
            baseline={"epochs": 1, "batch_size": 24},
            finetune={"budget": {"images": 48}, "batch_size": 24},
            robustness={"suite": ["gaussian_noise"], "severities": [3]},
        )
    done = ablate("launch", "before.yaml", "--executor", "inline")
    assert done.returncode == 0, done.stderr
    assert "regenerated" not in done.stdout + done.stderr
    for pattern in ("evaluation/*/images.npy", "data/*/images.npy", "baselines/*/weights.*"):
        files = list(cache.glob(pattern))
        assert files, pattern
        for file in files:
            damage(file)
    done = ablate_alone("launch", "after.yaml", "--executor", "inline")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "after: cache: images of gaussian_noise, severity 3 were damaged; regenerated" in said
    assert "train were damaged; regenerated" in said
    assert "after: cache: the baseline was damaged; regenerated" in said
    assert "Traceback" not in said
    assert scores("after") == scores("before")
    assert None not in scores("after")
    log = ablate("logs", "runs/after").stdout
    assert "cache: the baseline was damaged; regenerated" in log
