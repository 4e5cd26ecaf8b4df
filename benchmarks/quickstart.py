"""The quickstart with an empty cache: wall time, peak memory, and gains of its best trials.

    python benchmarks/quickstart.py --runs 3
    python benchmarks/quickstart.py --baseline resnet8_digits.safetensors

Each run has an empty folder and an empty cache, and runs the command of the README. Memory is the
proportional set size (Linux's Pss: shared pages counted once) summed over the command's processes
and Ray's, sampled every half second.  With `--baseline` it writes the network that comes with
ablate as `ablate:resnet8_digits`: what `baseline: {epochs: 10}` trains on one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate import read
from ablate.files.cache import cache_folder
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.place import place_of_file
from ablate.model.normalization import carried_statistics
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.trial.workbench import Workbench

STUDY = Path(__file__).parents[1] / "studies" / "quickstart.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description="Wall time and memory of the quickstart.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--baseline", type=Path, help="train and write the baseline instead")
    options = parser.parse_args()
    if options.baseline is not None:
        write_baseline(options.baseline)
        return
    runs = options.runs
    seconds, gigabytes = [], []
    for number in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            took, peak, record = run_once(Path(folder))
        seconds.append(took)
        gigabytes.append(peak / 1e9)
        print(f"run {number + 1}: {took:.0f} s, {peak / 1e9:.2f} GB; {best_line(record)}")
    print(f"{os.cpu_count()} CPUs, Python {platform.python_version()}; n = {runs}")
    for name, values, unit in (("wall", seconds, "s"), ("peak memory", gigabytes, "GB")):
        middle = statistics.median(values)
        print(f"{name}: median {middle:.2f} {unit} [{min(values):.2f}, {max(values):.2f}]")


def write_baseline(file: Path) -> None:
    """Train the network that the quickstart begins with, and write it as `ablate export` does."""
    study = place_of_file(STUDY, ["baseline={epochs: 10}", "run.gpus_per_trial=0"]).study
    assert study is not None
    bench = Workbench.get(study, STUDY.parent, cache_folder())
    model = bench.build_baseline()
    mean, std = carried_statistics(model)
    classes, size = bench.dataset.classes, bench.image_size
    trained = (study.model.name, classes, mean, std, size, study.dataset.resize)
    about = (study.dataset.name, f"{study.name}: baseline", None, "clean", ())
    export_weights(model, file, ExportMetadata(*trained, *about))


def run_once(folder: Path) -> tuple[float, int, StudyRecord]:
    """Launch in an empty folder; returns seconds, peak bytes, and the finished study."""
    began, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate", "launch", str(STUDY)],
        cwd=folder,
        env={**os.environ, "ABLATE_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None:
        peak = max(peak, family_bytes(process.pid))
        time.sleep(0.5)
    took = time.perf_counter() - began
    assert process.returncode == 0
    return took, peak, read(folder / "runs" / "quickstart")


def family_bytes(root: int) -> int:
    """Proportional set size of a process and everything that descends from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            except OSError:
                continue
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grown = bool(more)
    return sum(map(set_size, family))


def set_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def best_line(record: StudyRecord) -> str:
    """The FMA or ST trial with the largest gain that loses at most two points of clean accuracy."""
    baseline = record.references["baseline"]
    gains = []
    for row in record.complete:
        scores = row.scores
        assert scores is not None
        terms = row.params["loss.terms"].split("+")
        lost = baseline.clean_accuracy - scores.clean_accuracy
        if lost <= 0.02 and {"fma", "st"} & set(terms):
            gains.append((scores.robust_accuracy - baseline.robust_accuracy, -lost, row.number))
    gain, clean, number = max(gains)
    return f"trial {number}: robust {100 * gain:+.1f}, clean {100 * clean:+.1f} points"


if __name__ == "__main__":
    main()
