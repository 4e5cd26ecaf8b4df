"""A trial's local folders go with it, or with the next process where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ablate.trial import own_loop as workspace
from ablate.trial.own_loop import Workspace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace._sweep.cache_clear()
    return tmp_path


def test_it_is_made_when_asked_for_and_removed(place: Path) -> None:
    space = Workspace()
    space.close()
    assert list(place.iterdir()) == []
    folder = space.folder("checkpoint")
    (folder / "state").write_text("x")
    assert space.folder("checkpoint") == folder
    assert space.folder("restored").parent == folder.parent
    space.close()
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed_and_nothing_else(place: Path) -> None:
    code = (
        "import sys, time; from ablate.trial.own_loop import Workspace\n"
        "print(Workspace().folder('checkpoint'), flush=True)\n"
        "space = Workspace(); print(space.folder('checkpoint'), flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(place)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as killed:
        assert killed.stdout is not None
        left = [Path(killed.stdout.readline().strip()).parent for _ in range(2)]
        living = Workspace()
        kept = living.folder("checkpoint").parent
        for root in (*left, kept):
            os.utime(root, (0, 0))
        workspace._sweep.cache_clear()
        Workspace().folder("x")
        assert left[1].exists()  # its owner lives
        killed.send_signal(signal.SIGKILL)
    young = place / "ablate-trial-young"
    young.mkdir()
    (young / ".lock").touch()
    workspace._sweep.cache_clear()
    Workspace().folder("x")
    assert not any(root.exists() for root in left)
    assert kept.exists()
    assert young.exists()
    living.close()
