"""The example of the README runs, the table of the docs names every type, names load no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ablate.distortion
from ablate.distortion import FAMILIES

README = (Path(ablate.distortion.__file__).parent / "README.md").read_text()
DOCS = (Path(__file__).parents[2] / "docs/reference/distortions.md").read_text()


def test_its_example_runs() -> None:
    example = "\n".join(line[4:] for line in README.splitlines() if line.startswith("    "))
    names = {"images": torch.rand(2, 3, 8, 8), "strength": torch.tensor([0.0, 1.0])}
    exec(example, names)
    assert torch.equal(names["noisy"][0], names["images"][0])
    assert not torch.equal(names["noisy"][1], names["images"][1])


def test_its_table_names_every_type_in_its_family() -> None:
    table = DOCS.partition("\n## Corruptions")[0]
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \|", table, flags=re.MULTILINE)
    assert rows == [(family, kind) for family, types in FAMILIES.items() for kind in types], (
        "docs/reference/distortions.md: one row for each type, in the order of FAMILIES"
    )


@pytest.mark.parametrize("module", ["ablate.distortion", "ablate.finetune.loss"])
def test_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "False"
