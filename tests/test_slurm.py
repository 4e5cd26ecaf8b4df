"""The Slurm recipe: the file that ships.  Under a real Slurm: `python benchmarks/slurm.py`."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "slurm.sh"


def test_the_recipe_is_shell_and_says_what_it_lacks() -> None:
    subprocess.run(["bash", "-n", RECIPE], check=True)
    done = subprocess.run(["bash", RECIPE], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the study file is missing: sbatch slurm.sh STUDY.yaml" in done.stderr
