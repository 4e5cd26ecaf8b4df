"""What ended rows leave on disk, removed beside the work."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ablate.files.durable import list_folder, save_blob
from ablate.search.run_context import Janitor
from ablate.trial.task import checkpoint_folder, weights_file


def write_states(checkpoints: str, *numbers: int | None) -> None:
    for number in numbers:
        save_blob(f"{checkpoint_folder(checkpoints, number)}/attempt-1", 1, b"state")


@pytest.fixture(params=["path", "memory"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "checkpoints")
    return f"memory:/{tmp_path}/checkpoints"


def test_states_of_ended_rows_go(tmp_path: Path, checkpoints: str) -> None:
    write_states(checkpoints, None, 3, 12, 123_456)
    janitor = Janitor(tmp_path, checkpoints)
    for number in (None, 3, 123_456, 99):
        janitor.remove_states(number)
    janitor.close()
    assert list_folder(checkpoints) == ["00012"]


def test_only_states_of_its_own_folder_go(tmp_path: Path, checkpoints: str) -> None:
    own = save_blob(f"{checkpoint_folder(checkpoints, 1)}/attempt-1", 1, b"state")
    newer = save_blob(f"{checkpoint_folder(checkpoints, 1)}/attempt-1", 2, b"state")
    others = [tmp_path / "thesis.tex", tmp_path / "checkpoints-of-another" / "a.state"]
    for file in others:
        file.parent.mkdir(exist_ok=True)
        file.write_text("kept")
    janitor = Janitor(tmp_path, checkpoints)
    for uri in (own.uri, *map(str, others), f"{checkpoints}/../thesis.tex"):
        janitor.remove_state(uri)
    janitor.close()
    assert list_folder(f"{checkpoint_folder(checkpoints, 1)}/attempt-1") == [
        newer.uri.rpartition("/")[2]
    ]
    assert all(file.exists() for file in others)


def test_what_a_killed_driver_left_goes_and_nothing_else(tmp_path: Path, checkpoints: str) -> None:
    write_states(checkpoints, None, 1, 2, 3, 123_456)
    save_blob(f"{checkpoints}/somebody-elses", 1, b"file")
    janitor = Janitor(tmp_path, checkpoints)
    janitor.remove_states_except({None, 2, 123_456})
    janitor.close()
    assert sorted(list_folder(checkpoints)) == ["00002", "123456", "plain", "somebody-elses"]


def test_weights_that_are_not_kept_go(tmp_path: Path) -> None:
    for number in (None, 0, 1, 2):
        file = weights_file(tmp_path, number)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"weights")
    janitor = Janitor(tmp_path, str(tmp_path / "checkpoints"))
    janitor.remove_weights([0, 2, 7])
    janitor.remove_weights([])
    janitor.close()
    left = sorted(file.name for file in (tmp_path / "weights").iterdir())
    assert left == ["00001.safetensors", "plain.safetensors"]


def test_a_study_without_weights_or_states_is_no_trouble(tmp_path: Path) -> None:
    janitor = Janitor(tmp_path / "none", "nosuchprotocol://bucket")
    janitor.remove_weights([1])
    janitor.remove_states(1)
    janitor.remove_states_except([])
    file = weights_file(tmp_path / "none", 2)
    file.parent.mkdir(parents=True)
    file.touch()
    janitor.remove_weights([2])  # the thread is still there
    janitor.close()
    assert not file.exists()


def test_closing_is_bounded(tmp_path: Path) -> None:
    janitor = Janitor(tmp_path, str(tmp_path / "checkpoints"))
    held = threading.Event()
    janitor._work.put(held.wait)  # type: ignore[arg-type]
    janitor.close(timeout_seconds=0.2)  # it would wait for ever
    held.set()
