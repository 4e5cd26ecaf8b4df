"""What a user names as a file is regular, and of a stated size at most: one line, and no wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import ablate
from ablate.cli.main import main
from ablate.errors import UsageError
from ablate.files.regular import (
    MOST_READ_BYTES,
    MOST_TEXT_BYTES,
    MOST_WEIGHTS_BYTES,
)
from ablate.model.weights.export_metadata import read_metadata
from ablate.model.weights.external_checkpoint import find_checkpoint
from ablate.robustness.official import map_array, open_official
from ablate.study.settings import ModelSettings

RESNET = ModelSettings(name="resnet8")


def shown(path: Path) -> str:
    """The one line of `ablate check`."""
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    return line


def test_a_study_file(tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    for make, got in (
        (lambda: os.mkfifo(odd), "a FIFO"),
        (lambda: odd.symlink_to("/dev/zero"), "a device"),
        (lambda: odd.write_text("version: 1\n#" + "x" * MOST_TEXT_BYTES), "1,000,012 bytes, above"),
    ):
        make()
        rule = "must be a regular file of at most 1 MB, got"
        assert shown(odd).startswith(f"ablate: {odd}: {rule} {got}")
        odd.unlink()
    assert shown(Path("/proc/self/mem")).startswith("ablate: /proc/self/mem: cannot be read, got")


READERS: dict[str, tuple[str, int | None, Callable[[Path], object]]] = {
    "archive": ("a.tar", MOST_READ_BYTES, ablate.verify),
    "checkpoint": ("a.pt", MOST_WEIGHTS_BYTES, lambda path: find_checkpoint(RESNET, str(path))),
    "export": ("a.safetensors", MOST_WEIGHTS_BYTES, read_metadata),
    "array": ("a.npy", None, map_array),
    "copies": ("manifest.json", MOST_READ_BYTES, lambda path: open_official(path.parent)),
    "scores": ("a.json", MOST_READ_BYTES, ablate.load_evaluation),
}
"""Name of the file, its largest size, what reads it."""


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_or_too_large_is_one_line(reader: str, tmp_path: Path) -> None:
    name, most, read = READERS[reader]
    path = tmp_path / name
    made: list[tuple[Callable[[], object], str]] = [
        (lambda: os.mkfifo(path), "a FIFO"),
        (lambda: path.symlink_to("/dev/zero"), "a device"),
    ]
    if most is not None:
        made.append((lambda: _hole(path, most + 1), f"{most + 1:,} bytes, above {most:,}"))
    for make, got in made:
        make()
        with pytest.raises(UsageError) as refused:
            read(path)
        assert got in str(refused.value)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)
        path.unlink()


def _hole(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
