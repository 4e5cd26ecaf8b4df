"""What is found of a package's network is kept: the next process loads neither it nor torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.model import LayerNames, inspect

NAME = "torchvision:squeezenet1_1"
READ = f"""
import sys
from ablate.model import inspect
print(inspect.inspect_layers({NAME!r}).modules[:2], inspect.has_adaptable_norm({NAME!r}))
print(len(inspect.torchvision_names()), "torch" in sys.modules)
"""


def test_a_second_process_loads_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path))

    def find() -> tuple[LayerNames, tuple[str, ...]]:
        inspect._inspect.cache_clear()
        inspect.torchvision_names.cache_clear()
        return inspect.inspect_layers(NAME), inspect.torchvision_names()

    layers, names = found = find()
    files = list((tmp_path / "networks").iterdir())
    assert len(files) == 2
    command = [sys.executable, "-c", READ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"{layers.modules[:2]} False\n{len(names)} False\n"
    for file in files:
        file.write_text("damaged")
    assert find() == found
