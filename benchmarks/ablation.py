"""Time to analyse 10,000 runs, including images, compared with a manual pandas and SciPy analysis.

    python benchmarks/ablation.py

1,250 cells x 8 seeds of made-up bits (359 images, clean and in 18 corrupted copies) are written
through the ledger into SQLite.  Ours is `ablate.read_ablation`: reading the database, unpacking
every image of every run, an interval over seeds and images and an exact test for each contrast and
metric, Holm. The peer is pandas and SciPy on a frame of the same metrics, without images:
`groupby`, then `ttest_rel` with its interval and an exact `permutation_test` for each contrast and
metric; its frame exists already. Each round is a separate process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

NAME, PAIRS, IMAGES = "many", 8, 359
SEVERITIES = ("1", "3", "5")
LIMIT_SECONDS = 10.0
_PEER_CONTRASTS = 40
_PACKAGES = ("numpy", "scipy", "pandas", "sqlalchemy")


# -- the study ------------------------------------------------------------------------------


def write_study(url: str, cells: int) -> None:
    """Write a complete ablation with this number of cells."""
    from ablate.ablation.cell import Arm, Cell, Claim, Design, difference
    from ablate.ablation.design import planned_rows
    from ablate.ledger.driving import Driving
    from ablate.ledger.ledger import Ledger
    from ablate.ledger.record import Head
    from ablate.study.settings import Study

    values: dict[str, dict[str, Any]] = {
        f"arm {place}": {"loss.st.weight": float(place)} for place in range(cells)
    }
    study = Study.model_validate(
        {
            "version": 1,
            "name": NAME,
            "dataset": {"name": "digits"},
            "model": {"name": "resnet8"},
            "finetune": {"budget": {"images": 1000}},
            "robustness": {"severities": [int(one) for one in SEVERITIES]},
            "ablation": {"design": "arms", "arms": values, "seeds": PAIRS, "max_runs": 10**6},
        }
    )
    made = tuple(Cell(name, own) for name, own in values.items())
    arms = (Arm("baseline", ("baseline",)), *(Arm(cell.name, (cell.name,)) for cell in made))
    contrasts = tuple(difference(arm, arms[1]) for arm in arms if arm is not arms[1])
    claims = tuple(Claim(one.name, "val_robust_accuracy") for one in contrasts[1:4])
    design = Design("arms", made, arms, contrasts, arms[1].name, claims)
    planned = planned_rows(study, design)
    head = Head(
        identity="0a1b2c3d",
        study=study,
        text="",
        space={"parameters": [], "fixed": {}},
        base="/",
        fingerprint={},
        baseline_sha256="",
        environment={"device": "cpu"},
        reference_point=None,
        design=design.to_json(),
    )
    ledger = Ledger.create(url, head, len(planned), planned)
    random = np.random.default_rng(0)
    of_images = random.normal(0, 1, IMAGES)
    scores, bits = _scored(random, of_images, 0.0)
    ledger.set_reference("baseline", scores)
    ledger.set_outcomes("baseline", {"val": bits})
    driving = Driving(ledger)
    effects = random.normal(0, 0.1, cells)
    for row in planned:
        begun = driving.ask()
        assert begun is not None
        assert begun.number is not None
        ability = float(effects[int(row.cell.split()[1])] + random.normal(0, 0.05))
        scores, bits = _scored(random, of_images, ability)
        driving.complete(begun.number, scores, kept={"outcomes": {"val": bits}})
    ledger.close()


def _scored(random: np.random.Generator, of_images: np.ndarray, ability: float) -> tuple[Any, str]:
    """Random scores of a network, and their bits."""
    from ablate.robustness.bits import Outcomes, SetOutcomes, pack_bits
    from ablate.robustness.suites import find_suite
    from ablate.study.scores import Scores

    suite = find_suite("families")

    def outcomes(difficulty: float) -> Outcomes:
        noise = random.normal(0, 1, IMAGES)
        return Outcomes(of_images + noise + ability > difficulty, None, *2 * [np.empty(0)])

    found = SetOutcomes(
        outcomes(-2.5),
        {
            (kind, int(severity)): outcomes(-1.5 + int(severity) / 3)
            for kind in suite.types
            for severity in SEVERITIES
        },
    )
    accuracies: dict[str, dict[str, float]] = {kind: {} for kind in suite.types}
    for (kind, severity), cell in found.cells.items():
        accuracies[kind][str(severity)] = cell.accuracy
    assert found.clean is not None
    seen = suite.families["noise"]
    scores = Scores(
        "val",
        IMAGES,
        found.clean.accuracy,
        accuracies,
        suite.families,
        seen,
        n_corrupted=IMAGES,
        student_images=1000,
        train_seconds=1.0,
        exposure={kind: "seen_type" if kind in seen else "unseen" for kind in suite.types},
    )
    return scores, pack_bits(found)


# -- each in a process of its own -----------------------------------------------------------


def ours(url: str) -> dict[str, Any]:
    """Seconds of `ablate.read_ablation`, and the number of its results."""
    from ablate import api

    info, (seconds, cpu_seconds) = timed(lambda: api.read_ablation(url))
    assert info.ended == info.runs
    assert all(one.estimate.method == "t over seeds and images" for one in info.effects)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "runs": info.runs,
        "contrasts": len({one.contrast for one in info.effects}),
        "metrics": len(info.metrics),
        "effects": len(info.effects),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def by_hand(url: str) -> dict[str, Any]:
    """Seconds of pandas and SciPy on the same numbers, extrapolated from some contrasts to all."""
    import pandas as pd
    from scipy import stats

    from ablate import api

    record = api.read(url)
    frame = pd.DataFrame(
        {"cell": row.cell, "pair": row.pair, **row.scores.metrics()}
        for row in record.rows
        if row.scores is not None
    )
    metrics = [
        name
        for name in frame.columns
        if name.startswith("val_") and not name[-1].isdigit() and frame[name].notna().all()
    ]

    def mean(sample: np.ndarray, axis: int) -> Any:
        return sample.mean(axis=axis)

    names = list(dict.fromkeys(frame["cell"]))
    some = names[1 : 1 + _PEER_CONTRASTS]

    def group() -> dict[Any, Any]:
        table = frame.groupby("cell")[metrics].agg(["mean", "std"])
        assert len(table) == len(names)
        return {name: one.sort_values("pair") for name, one in frame.groupby("cell")}

    def test(by_cell: dict[Any, Any]) -> None:
        for name in some:
            for metric in metrics:
                one, other = by_cell[name][metric].to_numpy(), by_cell[names[0]][metric].to_numpy()
                stats.ttest_rel(one, other).confidence_interval(0.95)
                stats.permutation_test(
                    (one - other,), mean, permutation_type="samples", n_resamples=np.inf
                )

    by_cell, grouped = timed(group)
    _, tested = timed(lambda: test(by_cell))
    seconds, cpu_seconds = grouped + tested * (len(names) - 1) / len(some)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "metrics": len(metrics),
        "tests": len(some) * len(metrics),
    }


def timed(work: Callable[[], T]) -> tuple[T, np.ndarray]:
    """The result of a function, and its seconds: wall time and CPU time."""
    began = np.array([time.perf_counter(), time.process_time()])
    result = work()
    return result, np.array([time.perf_counter(), time.process_time()]) - began


# -- all of them ----------------------------------------------------------------------------


def apart(what: str, url: str) -> dict[str, Any]:
    """Run a part in a separate process."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", what, url],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{what}: {json.dumps({key: round(one, 3) for key, one in result.items()})}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1250, help=f"of {PAIRS} runs each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", type=Path, help="kept, and taken where it is there")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        what, url = options.part
        print("\n" + json.dumps({"ours": ours, "by_hand": by_hand}[what](url)))
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    print(f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {versions}")
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as text:
        file = (options.database or Path(text) / "study.db").absolute()
        if not file.exists():
            began = time.monotonic()
            write_study(f"sqlite:///{file}", options.cells)
            size = file.stat().st_size / 1e6
            print(f"written in {time.monotonic() - began:.0f} s, {size:.0f} MB", flush=True)
        url = f"sqlite:///{file}#{NAME}"
        rounds = [(apart("ours", url), apart("by_hand", url)) for _ in range(options.rounds)]
    found = {
        "ours, s": [mine["seconds"] for mine, _ in rounds],
        "ours, s of one CPU": [mine["cpu_seconds"] for mine, _ in rounds],
        "by hand, s": [peer["seconds"] for _, peer in rounds],
        "by hand / ours": [peer["seconds"] / mine["seconds"] for mine, peer in rounds],
        "the same, of CPU time": [
            peer["cpu_seconds"] / mine["cpu_seconds"] for mine, peer in rounds
        ],
    }
    for label, values in found.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{label}: median {statistics.median(values):.2f}, {spread}, n = {len(values)}")
    print(f"load before and after: {before:.1f}, {os.getloadavg()[0]:.1f}")
    for label in ("ours, s", "ours, s of one CPU"):
        slow = statistics.median(found[label]) > LIMIT_SECONDS
        print(f"limit {LIMIT_SECONDS:g}, {label}: {'missed' if slow else 'kept'}")


if __name__ == "__main__":
    main()
