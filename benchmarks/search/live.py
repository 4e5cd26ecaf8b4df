"""Compare ablate's default search with TPE by real trainings, at equal seconds.

    python benchmarks/search/live.py --seeds 4 --folder runs/live

For each seed TPE runs 32 whole trials of the quickstart (handwritten digits).  The default search
then has the processor seconds that TPE needed for training, scoring and its own work, and no more.
Neither has a pruner or is told where good points are; both train with the same seed, one trial at a
time, on one thread.  Each search is a process; one that has ended is kept in the folder,
so the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import moocore
import numpy as np

import ablate
from ablate.ablation.intervals import t_interval
from ablate.files.cache import publish_file
from ablate.ledger.record import RowRecord

STUDY = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
SEARCHES: Mapping[str, Mapping[str, Any]] = {"tpe": {"sampler": "tpe"}, "default": {}}
NO_LIMIT = 1000
"""Trials of a search that ends by its seconds."""


def run(name: str, seed: int, trials: int, seconds: float) -> dict[str, Any]:
    """Run a search in this folder, which has nothing of it yet.

    Args:
        trials: of TPE; a search with a limit of seconds ends by that.

    Returns:
        The reference point, and of each whole trial the processor seconds from the beginning to its
        end, and its values.
    """
    search = {**SEARCHES[name], "seed": seed}
    search["trials"] = NO_LIMIT if np.isfinite(seconds) else trials
    settings = (
        f"search={json.dumps(search)}",
        f"finetune.seed={seed}",
        "run.parallel=1",
        "run.gpus_per_trial=0",
    )
    options: dict[str, Any] = {"executor": "inline", "progress": False}
    # Data, baseline and the corrupted images are made before the clock runs.
    ablate.launch(STUDY, (*settings, "name=warm", "search.trials=1"), **options)
    ends: list[dict[str, Any]] = []
    began = time.process_time()

    def note(row: RowRecord) -> None:
        spent = time.process_time() - began
        if row.values is not None and spent <= seconds:
            ends.append({"seconds": round(spent, 2), "values": [round(v, 5) for v in row.values]})
        if spent > seconds:
            raise ablate.StopStudy(f"{seconds:.0f} s are spent")

    record = ablate.launch(STUDY, (*settings, f"name={name}_{seed}"), on_trial_end=note, **options)
    return {"reference": record.reference_point, "ends": ends}


def found(folder: Path, name: str, seed: int, trials: int, seconds: float) -> dict[str, Any]:
    """What a search found; it is run if the folder does not have it."""
    result = folder / f"{name}_{seed}_{trials}.json"
    if not result.exists():
        work = folder / f"{name}_{seed}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        command = [sys.executable, __file__, "--one", name, "--seed", str(seed)]
        command += ["--trials", str(trials), "--seconds", str(seconds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=work, env=environment, stdout=subprocess.PIPE, check=True
        )
        publish_file(result, lambda new: new.write_bytes(done.stdout))
        shutil.rmtree(work)
    content: dict[str, Any] = json.loads(result.read_text())
    return content


def volume(search: Mapping[str, Any]) -> float:
    """Hypervolume of what a search found."""
    points = [end["values"] for end in search["ends"]]
    return float(moocore.hypervolume(points, ref=search["reference"], maximise=True))


def compare(folder: Path, seeds: int, trials: int) -> None:
    """Print a row for each seed, and the mean difference."""
    print("| seed | seconds | trials: TPE | default | hypervolume: TPE | default |")
    print("|---|---|---|---|---|---|")
    gains = []
    for seed in range(seeds):
        bar = found(folder, "tpe", seed, trials, float("inf"))
        limit = bar["ends"][-1]["seconds"]
        ours = found(folder, "default", seed, trials, limit)
        before, after = volume(bar), volume(ours)
        gains.append(100 * (after / before - 1))
        cells = (seed, f"{limit:.0f}", len(bar["ends"]), len(ours["ends"]))
        row = " | ".join(map(str, (*cells, f"{before:.5f}", f"{after:.5f}")))
        print(f"| {row} |", flush=True)
    spread = t_interval(np.array(gains))
    print(
        f"\nhypervolume of the default against TPE's: {spread.mean:+.1f} % "
        f"[{spread.low:+.1f}, {spread.high:+.1f}], median {statistics.median(gains):+.1f} %, "
        f"{sum(gain > 0 for gain in gains)} of {seeds} seeds above"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two searches by real trainings.")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--trials", type=int, default=32, help="of TPE")
    parser.add_argument("--folder", type=Path, default=Path("runs/live"))
    parser.add_argument("--one", choices=SEARCHES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=float("inf"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run(asked.one, asked.seed, asked.trials, asked.seconds)))
        return
    compare(asked.folder.resolve(), asked.seeds, asked.trials)


if __name__ == "__main__":
    main()
