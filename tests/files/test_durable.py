"""Training states as bytes: on paths, and on file systems that fsspec reaches."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations
from needs import missing

from ablate.errors import InfrastructureError, MissingDependencyError, UsageError
from ablate.files.durable import (
    Checkpoint,
    CheckpointError,
    check_writable,
    folder_bytes,
    list_folder,
    load_blob,
    remove_folder,
    remove_state,
    save_blob,
)

CONTENT = bytes(range(256)) * 40


class RenamingFileSystem(MemoryFileSystem):
    """In memory, with a rename of its own, as sftp has."""

    protocol = "renaming"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs: list = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("renaming://").strip("/")

    def mv(self, old: str, new: str) -> None:
        self.store[new] = self.store.pop(old)


class BrokenFileSystem(MemoryFileSystem):
    """In memory; raises on every write what its URI's first folder names."""

    protocol = "broken"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("broken://").strip("/")

    def pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **options: object
    ) -> None:
        if path.startswith("/torn"):
            super().pipe_file(path, value[:-1], mode)
            return
        raise {"rights": PermissionError("Access Denied"), "away": TimeoutError("no answer")}[
            path.split("/")[1]
        ]

    def cat_file(self, path: str, *_: object, **options: object) -> bytes:
        raise TimeoutError("no answer")


fsspec.register_implementation("renaming", RenamingFileSystem, clobber=True)
fsspec.register_implementation("broken", BrokenFileSystem, clobber=True)


@pytest.fixture(params=["path", "file", "memory", "renaming"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder that does not exist yet, on every kind of file system."""
    name = f"{uuid4().hex}/00012/attempt-2"
    roots = {"path": f"{tmp_path}/", "file": f"file://{tmp_path}/"}
    folder = roots.get(request.param, f"{request.param}://") + name
    yield folder
    remove_folder(folder)


def test_what_is_saved_comes_back_until_it_is_removed(folder: str) -> None:
    check_writable(folder)
    assert list_folder(folder) == []
    saved = [save_blob(folder, epoch, CONTENT) for epoch in (1, 2)]
    amid = save_blob(folder, 2, CONTENT, step=70, seconds=1.5)
    assert saved[1].uri == folder.removeprefix("file://") + "/epoch-000002.state"
    assert (saved[1].epoch, saved[1].sha256) == (2, sha256(CONTENT).hexdigest())
    assert (amid.step, amid.seconds, str(amid)) == (70, 1.5, "epoch 2, step 70")
    assert load_blob(amid) == load_blob(saved[1]) == CONTENT
    remove_state(saved[0].uri)
    remove_state(saved[0].uri)  # gone already
    left = ["epoch-000002-step-00000070.state", "epoch-000002.state"]
    assert sorted(list_folder(folder)) == left
    assert folder_bytes(folder) == 2 * len(CONTENT)
    remove_folder(folder)
    remove_folder(folder)
    assert (folder_bytes(folder), list_folder(folder)) == (0, [])
    with pytest.raises(CheckpointError, match="the state of epoch 2 must be readable"):
        load_blob(saved[1])


def test_a_link_to_a_folder_has_the_bytes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "states")
    assert folder_bytes(f"{tmp_path}/link") == 0
    save_blob(f"{tmp_path}/states", 1, CONTENT)
    assert folder_bytes(f"{tmp_path}/link") == len(CONTENT)


def test_a_torn_state_is_a_checkpoint_error_and_the_one_before_is_whole(folder: str) -> None:
    before, torn = save_blob(folder, 1, CONTENT), save_blob(folder, 2, CONTENT)
    with fsspec.open(torn.uri, "wb") as file:
        file.write(CONTENT[:1000])
    with pytest.raises(CheckpointError) as error:
        load_blob(torn)
    assert str(error.value) == (
        f"{torn.uri}: sha256 must be {torn.sha256[:12]}, got "
        f"{sha256(CONTENT[:1000]).hexdigest()[:12]}. Continue from the previous one."
    )
    assert load_blob(before) == CONTENT


@pytest.mark.parametrize(
    ("folder", "kind", "line"),
    [
        (
            "s4://bucket/states",
            UsageError,
            "s4://bucket/states: must use a protocol known to fsspec, got s4. Write a path, or "
            "s3://, gs://, abfs://, sftp://, ...",
        ),
        (
            "nopackage://bucket",
            MissingDependencyError,
            "nopackage://bucket: needs a package for nopackage://, which is not installed. Install "
            "no_such_fs.",
        ),
        (
            "sftp://me:hunter2@host/states",
            UsageError,
            "sftp://...: must not contain a password, got one. Set it in the environment or "
            "configuration file of the protocol's package.",
        ),
        (
            "broken://rights",
            UsageError,
            "broken://rights: must exist and be readable and writable, got PermissionError: Access "
            "Denied. Check the bucket's name and the credentials.",
        ),
        (
            "broken://away",
            InfrastructureError,
            "broken://away: must be reachable, got TimeoutError: no answer. Restore it and resume.",
        ),
    ],
)
def test_a_folder_that_cannot_be_written(
    folder: str, kind: type[Exception], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line before the first trial, and the same kind of error at a save."""
    monkeypatch.setitem(
        known_implementations,
        "nopackage",
        {"class": "no_such_fs.FileSystem", "err": "Install no_such_fs"},
    )
    with pytest.raises(kind):
        save_blob(folder, 1, CONTENT)
    with pytest.raises(kind) as error:
        check_writable(folder)
    assert str(error.value) == line


def test_a_state_that_does_not_answer_may_be_whole() -> None:
    with pytest.raises(InfrastructureError) as error:
        load_blob(Checkpoint(1, "broken://away/epoch-000001.state", "0" * 64))
    assert not isinstance(error.value, CheckpointError)
    rule = r"torn/epoch-000001.state: must be 10240 bytes after writing, got 10239. Check the sto"
    with pytest.raises(InfrastructureError, match=rule):
        save_blob("broken://torn", 1, CONTENT)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("the right to mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_costs_no_state_that_was_there(small_disk: Path) -> None:
    folder = str(small_disk / "attempt-1")
    saved = [save_blob(folder, epoch, CONTENT) for epoch in (1, 2)]
    (small_disk / "filler").write_bytes(bytes(40_960))
    with pytest.raises(InfrastructureError) as error:
        save_blob(folder, 3, CONTENT)
    assert str(error.value) == (
        f"{folder}/epoch-000003.state: cannot be written, got 'No space left on device'. Free disk "
        "space and resume."
    )
    assert [load_blob(state) for state in saved] == [CONTENT, CONTENT]
    assert len(list_folder(folder)) == 2  # no temporary file takes the room that is left
    (small_disk / "filler").unlink()
    assert load_blob(save_blob(folder, 3, CONTENT)) == CONTENT
