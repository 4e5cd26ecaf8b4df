"""What the cache promises: whole or not there, one at a time, a clear line where it cannot."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.errors import InfrastructureError, UsageError
from ablate.files.cache import cache_folder, locked, publish_file, publish_folder


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("ABLATE_CACHE")
    assert cache_folder() == Path("/shared/ablate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/somebody/.cache/ablate")


@pytest.mark.parametrize("kind", ["pipe", "link to a device"])
def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "output"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/null")
    with pytest.raises(UsageError) as error:
        publish_file(path, lambda temporary: temporary.write_text("one"))
    assert str(error.value) == (
        f"{path}: must be a file, got a device, a pipe or a socket. Choose another name."
    )
    assert path.is_fifo() or path.is_symlink()


def test_others_may_read_a_file_whatever_wrote_it(tmp_path: Path) -> None:
    """As safetensors does, which writes to a private file of its own and renames it."""

    def write(temporary: Path) -> None:
        own = temporary.with_name("own")
        own.touch(mode=0o600)
        own.replace(temporary)

    before = os.umask(0o027)
    try:
        publish_file(tmp_path / "file", write)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_folder_that_fails_is_not_there(tmp_path: Path) -> None:
    def fill() -> None:
        with publish_folder(tmp_path / "entry") as temporary:
            (temporary / "half").write_text("half")
            raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_whatever_is_there(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(elsewhere)
    for path in (tmp_path / "file", tmp_path / "link"):
        with publish_folder(path) as temporary:
            (temporary / "one").write_text("one")
        assert (path / "one").read_text() == "one"
        assert not path.is_symlink()
    assert not list(elsewhere.iterdir())


COUNT_UP = """
import pathlib, sys, time
from ablate.files.cache import locked
path = pathlib.Path(sys.argv[1])
with locked(path):
    count = int(path.read_text())
    time.sleep(0.05)
    path.write_text(str(count + 1))
"""


@pytest.mark.slow
def test_processes_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    command = [sys.executable, "-c", COUNT_UP, str(path)]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait(timeout=120) == 0
    assert path.read_text() == "3"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "below" / "entry"
    fix = "Choose another folder or change its owner."
    for publish in (
        lambda: publish_file(path, lambda _: None),
        lambda: publish_folder(path).__enter__(),
        lambda: locked(path).__enter__(),
    ):
        with pytest.raises(UsageError) as error:
            publish()
        assert str(error.value) == (
            f"{path}: must be in a writable folder, got 'Not a directory'. {fix}"
        )


def test_a_full_disk_is_nobodys_fault(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for code, rule in (
        (errno.ENOSPC, "cannot be written, got 'No space left on device'. Free disk space and"),
        (errno.ESTALE, "must be reachable, got 'Stale file handle'. Restore it and"),
    ):

        def write(_: Path, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        with pytest.raises(InfrastructureError) as error:
            publish_file(file, write)
        assert str(error.value) == f"{file}: {rule} resume."
