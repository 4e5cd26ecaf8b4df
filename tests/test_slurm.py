"""The Slurm recipe: the file that ships.  Under a real Slurm: `python benchmarks/slurm.py`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "slurm.sh"


def test_the_recipe_is_shell_and_says_what_it_lacks() -> None:
    subprocess.run(["bash", "-n", RECIPE], check=True)
    done = subprocess.run(["bash", RECIPE], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the study file is missing: sbatch slurm.sh STUDY.yaml" in done.stderr


def test_the_tutorial_points_to_the_recipe() -> None:
    tutorial = (ROOT / "docs/tutorials/cluster.md").read_text()
    section = tutorial.partition("## Slurm")[2].partition("\n## ")[0]
    assert "(../../examples/slurm.sh)" in section
    assert re.search(r"sbatch .*examples/slurm\.sh STUDY\.yaml", section)


def test_what_the_recipe_waits_for_has_a_limit() -> None:
    """No fixed sleep before anything begins: `wait_for SECONDS COMMAND`."""
    recipe = RECIPE.read_text()
    assert [line.strip() for line in recipe.splitlines() if "sleep" in line] == ["sleep 1"]
    assert len(re.findall(r"wait_for \d+ \w+", recipe)) == 2
