"""The commit that a study was run with is that of the repository of its file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ablate.study.provenance import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.git
def test_the_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    assert provenance(tmp_path)["git"] is None
    git(tmp_path, "init", "-q")
    assert provenance(tmp_path)["git"] is None  # no commit yet
    (tmp_path / "study.yaml").write_text("version: 1")
    git(tmp_path, "add", "study.yaml")
    git(tmp_path, "commit", "-q", "-m", "a study")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance(tmp_path)["git"] == {"commit": commit, "dirty": False}
    (tmp_path / "study.yaml").write_text("version: 2")
    assert provenance(tmp_path)["git"] == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(Path(__file__).parent)["git"] is None
