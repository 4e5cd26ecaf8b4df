"""Overhead of a trial: rows without work, compared with plain Ray Tune.

    python benchmarks/overhead.py --rows 10000

The peers are Ray Tune with OptunaSearch, as in its documentation, with and without reused workers;
ours is `ablate launch` with a trainable that does nothing.  Both: 4 parameters, 2 objectives, the
random sampler, SQLite, 2 CPUs, one run after the other in separate processes.

    python benchmarks/overhead.py --trackers --rounds 5

compares 1,000 rows with and without trackers, in alternating pairs: time and processor time of the
driver from the first row to the last, of which `trackers_cpu` is what its thread for trackers used,
and what catching up takes after it.  With ABLATE_MLFLOW_PYTHON, the
Python of an environment with `pip install mlflow`, on a real server; else without MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from mlflow_server import PYTHON, MlflowServer

TRIAL = """\
import time

SECONDS = {seconds}


def train(context):
    for epoch in range(1, context.epochs + 1):
        time.sleep(SECONDS)
        context.report(epoch, {{"a": context.params["w"], "b": 1 - context.params["x"]}})
"""


def write_study(folder: Path, *, seconds: float = 0.0, epochs: int = 1, **keys: Any) -> Path:
    """A study of a trainable that only sleeps."""
    (folder / "idle.py").write_text(TRIAL.format(seconds=seconds))
    study = {
        "version": 1,
        "name": "idle",
        "trainable": "idle:train",
        "finetune": {"budget": {"epochs": epochs}},
        "space": {key: {"float": [0.0, 1.0]} for key in "wxyz"},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        **keys,
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return file


# -- each in a process of its own -----------------------------------------------------------


def ours(folder: Path, rows: int, trackers: Sequence[Any] = ()) -> dict[str, Any]:
    """Rows per second of `ablate launch`: overall, and for parts of a long run."""
    import ablate

    run = {"parallel": 2, "trackers": list(trackers)}
    file = write_study(folder, search={"trials": rows, "sampler": "random"}, run=run)
    os.chdir(folder)
    drive_seconds = _timed_drive()
    began = time.monotonic()
    record = ablate.launch(file)
    wall = time.monotonic() - began
    ends = sorted(row.finished.timestamp() for row in record.rows if row.finished)
    starts = min(row.attempts[0].started for row in record.rows)

    def rate(first: int, last: int) -> float:
        return (last - first) / (ends[last - 1] - ends[first])

    # As the peers are timed: from the call to the last row, workers' start included; then without.
    parts = {"rate": rows / wall, "steady": rows / (ends[-1] - starts), "wall": wall}
    if rows >= 10_000:
        parts |= {"rate_100_1000": rate(100, 1000), "rate_9000_10000": rate(9000, 10_000)}
    return parts | drive_seconds | {"peak_gb": _peak_gb()}


def _timed_drive() -> dict[str, float]:
    """Filled by the next run: seconds and processor seconds of its drive, and of what follows."""
    from ablate.lifecycle import drive as lifecycle

    found: dict[str, float] = {}
    times: list[tuple[float, float]] = []

    def now() -> tuple[float, float]:
        return time.monotonic(), time.process_time()

    def note(name: str) -> None:
        times.append(now())
        for unit, last, before in zip(("", "_cpu"), times[-1], times[-2], strict=True):
            found[name + unit] = last - before

    def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            times.append(now())
            try:
                return function(*arguments, **named)
            finally:
                note(name)

        return run

    class Feed(lifecycle.Feed):
        def wait(self) -> bool:
            ended = super().wait()
            found["trackers_cpu"] = self._used
            return ended

    lifecycle.Feed = Feed  # type: ignore[misc]
    lifecycle.drive = timed(lifecycle.drive, "drive")  # type: ignore[assignment]
    lifecycle.catch_up = timed(lifecycle.catch_up, "catch_up")  # type: ignore[assignment]
    return found


def compare_trackers(rounds: int) -> None:
    """Pairs of runs with and without trackers."""
    python = os.environ.get(PYTHON)
    server = None if python is None else MlflowServer(python)
    if server is not None:
        server.start()
    ratios: dict[str, list[float]] = {"drive": [], "drive_cpu": [], "trackers_cpu": []}
    try:
        for number in range(rounds):
            trackers: list[Any] = ["tensorboard", "wandb"]
            if server is not None:
                named = {"uri": server.uri, "experiment": f"round {number}"}
                trackers.append({"mlflow": named})
            found = {}
            for written in ("[]", json.dumps(trackers))[:: 1 if number % 2 == 0 else -1]:
                with tempfile.TemporaryDirectory() as folder:
                    found[written] = apart("tracked", folder, 1000, written)
            without, with_them = found["[]"], found[json.dumps(trackers)]
            for name in ("drive", "drive_cpu"):
                ratios[name].append(with_them[name] / without[name] - 1)
            ratios["trackers_cpu"].append(with_them["trackers_cpu"] / without["drive_cpu"])
    finally:
        if server is not None:
            server.remove()
    for name, kept in ratios.items():
        middle = statistics.median(kept)
        print(f"{name}: {middle:+.1%} [{min(kept):+.1%}, {max(kept):+.1%}], n = {rounds}")


def bare(folder: Path, rows: int, *, reuse_actors: bool) -> dict[str, Any]:
    """Rows per second of Ray Tune with OptunaSearch."""
    import logging

    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Idle(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._config = config

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._config = new_config
            return True

        def step(self) -> dict[str, Any]:
            return {"a": self._config["w"], "b": 1 - self._config["x"], "done": True}

    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    search = OptunaSearch(
        metric=["a", "b"],
        mode=["max", "max"],
        sampler=optuna.samplers.RandomSampler(seed=0),
        storage=optuna.storages.RDBStorage(f"sqlite:///{folder}/bare.db"),
        study_name="bare",
    )
    tuner = tune.Tuner(
        tune.with_resources(Idle, {"cpu": 1}),
        param_space={key: tune.uniform(0.0, 1.0) for key in "wxyz"},
        tune_config=tune.TuneConfig(search_alg=search, num_samples=rows, reuse_actors=reuse_actors),
        run_config=tune.RunConfig(storage_path=str(folder / "bare"), verbose=0),
    )
    began = time.monotonic()
    results = tuner.fit()
    wall = time.monotonic() - began
    assert len(results) == rows
    ray.shutdown()
    return {"rate": rows / wall, "wall": wall, "peak_gb": _peak_gb()}


def asks(folder: Path, sampler: str) -> dict[str, Any]:
    """Seconds to load the study for driving, and seconds per ask after that."""
    from ablate.ledger.driving import Driving
    from ablate.ledger.ledger import Ledger

    ledger = Ledger.open(f"sqlite:///{folder}/runs/idle/study.db", "idle")
    search = ledger.head.study.search.model_copy(update={"sampler": sampler})
    study = ledger.head.study.model_copy(update={"search": search})
    ledger.set_head(replace(ledger.head, study=study))
    ledger.set_trials(ledger.trials + 10)
    began = time.monotonic()
    driving = Driving(ledger)
    loaded = time.monotonic() - began
    times = []
    for _ in range(10):
        began = time.monotonic()
        assert driving.ask() is not None
        times.append(time.monotonic() - began)
    return {"load": loaded, "ask": statistics.median(times), "most": max(times)}


def busy(folder: Path) -> dict[str, Any]:
    """Fraction of the time that 8 workers train, with trials of 5 epochs of a second."""
    import ablate

    file = write_study(
        folder,
        seconds=1.0,
        epochs=5,
        search={"trials": 32, "sampler": "tpe"},
        run={"parallel": 8},
    )
    os.chdir(folder)
    record = ablate.launch(file)
    began = min(attempt.started for row in record.rows for attempt in row.attempts)
    ended = max(attempt.ended or 0 for row in record.rows for attempt in row.attempts)
    return {"busy": 32 * 5 / (8 * (ended - began)), "wall": ended - began}


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


# -- all of them ----------------------------------------------------------------------------


def apart(what: str, *arguments: Any) -> dict[str, Any]:
    """Run a part in a separate process, on files only."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", what, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    if done.returncode:
        raise SystemExit(f"{what}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{what} {arguments}: {json.dumps({k: round(v, 3) for k, v in result.items()})}")
    return result


def seconds_of(*command: str, folder: Path) -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "ablate", *command], cwd=folder, check=True, capture_output=True
    )
    return time.monotonic() - began


def seconds_until_a_row(folder: Path) -> float:
    """Seconds from the start of `ablate resume --add 1` to the start of its first row."""
    began = time.time()
    seconds_of("resume", "runs/idle", "--add", "1", folder=folder)
    lines = (folder / "runs/idle/log.jsonl").read_text().splitlines()
    asked = [event for event in map(json.loads, lines[-50:]) if event["event"] == "asked"]
    return float(asked[-1]["time"]) - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000, help="of the long run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trackers", action="store_true", help="only the cost of trackers")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        what, folder, *rest = options.part
        parts = {
            "ours": lambda: ours(Path(folder), int(rest[0])),
            "tracked": lambda: ours(Path(folder), int(rest[0]), json.loads(rest[1])),
            "bare": lambda: bare(Path(folder), int(rest[0]), reuse_actors=False),
            "reused": lambda: bare(Path(folder), int(rest[0]), reuse_actors=True),
            "asks": lambda: asks(Path(folder), rest[0]),
            "busy": lambda: busy(Path(folder)),
        }
        result = parts[what]()
        print("\n" + json.dumps(result))
        return
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}")
    if options.trackers:
        compare_trackers(options.rounds)
        return
    ratios: dict[str, list[float]] = {"bare": [], "reused": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as text:
            rates = {}
            for what, rows in (("bare", 30), ("reused", 30), ("ours", 600)):
                folder = Path(text) / what
                folder.mkdir()
                rates[what] = apart(what, folder, rows)["rate"]
            for peer, kept in ratios.items():
                kept.append(rates["ours"] / rates[peer])
    for peer, kept in ratios.items():
        print(f"against {peer}: {statistics.median(kept):.1f} [{min(kept):.1f}, {max(kept):.1f}]")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        long = apart("ours", folder, options.rows)
        if "rate_9000_10000" in long:
            print(f"flat: {long['rate_9000_10000'] / long['rate_100_1000']:.2f}")
        print(f"status: {seconds_of('status', 'runs/idle', folder=folder):.2f} s")
        print(f"resume until its first row: {seconds_until_a_row(folder):.2f} s")
        for sampler in ("random", "tpe"):
            copy = folder / f"copy-{sampler}"
            shutil.copytree(folder / "runs", copy / "runs")
            apart("asks", copy, sampler)
    with tempfile.TemporaryDirectory() as text:
        apart("busy", Path(text))


if __name__ == "__main__":
    main()
