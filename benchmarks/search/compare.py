"""Compare searches on the recorded study, at equal seconds of training and scoring.

    python benchmarks/search/compare.py --seeds 20 --peers FOLDER

ablate's searches run through its own dispatcher and ledger, with the surrogate as training loop;
others ask the same surrogate over a pipe (`peers.py`), for points of the same space with every
dimension sampled.  Seconds are those of the table, simulated: each epoch that is trained, and one
scoring at each rung and at the end.  Only whole trials count for a hypervolume.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import moocore
import numpy as np
import yaml
from peers import PACKAGES, PEERS
from surrogate import ALPHAS, OBJECTIVES, Surrogate, load_table, replayed_study

import ablate
from ablate.ablation.intervals import t_interval
from ablate.lifecycle.place import place_of
from ablate.search import run_context
from ablate.space.domain import CategoricalDimension
from ablate.space.space import Space
from ablate.space.start import start_points
from ablate.study.settings import PrunerSettings
from ablate.trial.own_loop import TrialContext

HERE = Path(__file__).parent
RANDOM_FACTOR = 4
"""Random search has this many times the seconds, to see when it reaches TPE's hypervolume."""
REFERENCE, DEFAULT = "optuna_tpe", "ablate default"
PRUNER = PrunerSettings()
PRUNING = ("syne_tune_moasha", "neps_moasha")
"""Peers that are also run with a first rung in the middle of the budget."""
NO_LIMIT = 10_000
"""Trials of a search that ends by its seconds."""
STUDIES = HERE.parents[1] / "studies"
AFTER, FIRST = "after the study's own points", "each method first"


def own_searches(epochs: int) -> dict[str, dict[str, Any]]:
    """ablate's searches, the section `search` of each, for a budget of so many epochs."""
    middle = {"min_epochs": epochs // 2}
    late = {"min_epochs": 3 * epochs // 4, "reduction_factor": 2}
    return {
        DEFAULT: {},
        "ablate tpe": {"sampler": "tpe"},
        "ablate nsga2": {"sampler": "nsga2"},
        "ablate tpe, pareto_asha": {"sampler": "tpe", "pruner": {}},
        "ablate tpe, pareto_asha from the middle": {"sampler": "tpe", "pruner": middle},
        "ablate tpe, half of them from the middle": {
            "sampler": "tpe",
            "pruner": {**middle, "reduction_factor": 2},
        },
        "ablate tpe, half of them from three quarters": {"sampler": "tpe", "pruner": late},
        "ablate default, pareto_asha": {"pruner": {}},
        "ablate default, half of them from three quarters": {"pruner": late},
        "ablate random, pareto_asha": {"sampler": "random", "pruner": {}},
    }


class End(NamedTuple):
    """A whole trial: when it ended, in seconds of its search, and its objectives."""

    seconds: float
    values: tuple[float, ...]


@dataclass
class Replay:
    """One search on the surrogate.

    Attributes:
        seed: of the search, and of all its trainings.
        rungs: epochs at which a trial is scored, beside the last.
        seconds: of training and scoring, so far.
        epochs, scorings: so far.
    """

    surrogate: Surrogate
    seed: int
    rungs: frozenset[int] = frozenset()
    seconds: float = 0.0
    epochs: int = 0
    scorings: int = 0
    started: int = 0
    ends: list[End] = field(default_factory=list)
    cpu_seconds: float = 0.0

    def curve(self, params: Mapping[str, Any]) -> np.ndarray:
        """`[epoch, objective]`: of the network itself."""
        curve = self.surrogate.curve(params, self.seed)[:, ALPHAS.index("1")]
        return curve[:, self.surrogate.table.objectives]

    def spend(self, params: Mapping[str, Any], epochs: int, *, scored: bool) -> None:
        """Count what a trial trains now."""
        self.epochs, self.scorings = self.epochs + epochs, self.scorings + scored
        self.seconds += epochs * self.surrogate.train_seconds(params)
        self.seconds += scored * self.surrogate.score_seconds


# -- ablate's own, through its dispatcher ------------------------------------------------------

current: Replay
"""The search that runs in this process."""


def train(trial: TrialContext) -> None:
    """The training loop of a replayed study."""
    replay = current
    replay.started += 1
    for epoch, values in enumerate(replay.curve(trial.params), start=1):
        scored = epoch in replay.rungs or epoch == trial.epochs
        replay.spend(trial.params, 1, scored=scored)
        scores = dict(zip(OBJECTIVES, map(float, values), strict=True))
        trial.report(epoch, {**scores, "seconds": replay.seconds})


@dataclass(frozen=True)
class Own:
    """A search of ablate.

    Attributes:
        search: the section of that name in its study.
    """

    search: Mapping[str, Any]

    def __call__(self, surrogate: Surrogate, seed: int, limit: float) -> Replay:
        """Run a study until it has spent `limit` seconds of the surrogate's."""
        global current  # noqa: PLW0603 (the loop is called by its name alone)
        table = surrogate.table
        rungs: list[int] = []
        if "pruner" in self.search:
            pruner = PrunerSettings(**self.search["pruner"])
            rungs = [epoch for epoch in range(1, table.epochs) if pruner.is_rung(epoch)]
        current = Replay(surrogate, seed, frozenset(rungs))
        budget = {"trials": NO_LIMIT, "budget": {"seconds": limit}}
        point = {"reference_point": table.reference_point}  # as a shipped study has it
        search = {**self.search, "seed": seed, **budget, **point}
        study = replayed_study(table.space, "compare:train", table.epochs, OBJECTIVES, search)
        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), simulated_clock():
            file = Path("replay.yaml")
            file.write_text(yaml.safe_dump(study, sort_keys=False))
            record = ablate.launch(file, executor="inline", progress=False)
        current.cpu_seconds = time.process_time() - began
        for row in record.complete:
            assert row.scores is not None
            assert row.values is not None
            if row.copy_of is None:
                current.ends.append(End(row.scores.metrics()["seconds"], row.values))
        return current


@contextlib.contextmanager
def simulated_clock() -> Iterator[None]:
    """Let `search.budget.seconds` count the seconds of the surrogate."""
    real = run_context.time
    run_context.time = SimpleNamespace(monotonic=lambda: current.seconds)  # type: ignore
    try:
        yield
    finally:
        run_context.time = real


# -- Others, over a pipe -------------------------------------------------------------------


class PeerError(Exception):
    """A peer cannot run; the reason."""


@dataclass(frozen=True)
class Peer:
    """A search of `peers.py`.

    Attributes:
        python: of its environment.
        trials: whole trials after which it ends, if seconds do not end it before.
        budget_factor: how many times the seconds of others it has.
        pruner: its rungs, if it prunes.
    """

    name: str
    python: Path
    trials: int = NO_LIMIT
    budget_factor: int = 1
    pruner: PrunerSettings = PRUNER

    def __call__(self, surrogate: Surrogate, seed: int, limit: float) -> Replay:
        """Run it until it has spent `limit` seconds of the surrogate's.

        Raises:
            PeerError: if it ends by itself.
        """
        began, children = time.process_time(), _seconds_of_children()
        with tempfile.TemporaryFile("w+") as errors:
            try:
                process = subprocess.Popen(
                    [str(self.python), str(HERE / "peers.py"), self.name, str(seed)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
                )
            except OSError as error:
                raise PeerError(f"{self.python}: {error.strerror}") from error
            try:
                replay = self._answer(process, Replay(surrogate, seed), limit * self.budget_factor)
            except EOFError as error:
                errors.seek(0)
                said = errors.read().strip().splitlines() or ["it ended without a message"]
                raise PeerError(said[-1]) from error
            finally:
                process.kill()
                with contextlib.suppress(BrokenPipeError):
                    process.communicate()
        replay.cpu_seconds = time.process_time() - began + _seconds_of_children() - children
        return replay

    def _answer(self, process: subprocess.Popen[str], replay: Replay, limit: float) -> Replay:
        """Answer what it asks; raises EOFError if it asks nothing more."""
        table, done = replay.surrogate.table, dict[str, int]()
        assert process.stdin is not None
        assert process.stdout is not None
        answer: Any = described(replay.surrogate, self.pruner)
        while replay.seconds < limit and len(replay.ends) < self.trials:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(answer), file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                raise EOFError
            asked = json.loads(line)
            trial, epoch = asked["trial"], asked["epoch"]
            params = table.space.resolve(asked["raw"])
            replay.started += trial not in done
            replay.spend(params, epoch - done.get(trial, 0), scored=True)
            done[trial] = epoch
            values = tuple(map(float, replay.curve(params)[epoch - 1]))
            if epoch == table.epochs:
                replay.ends.append(End(replay.seconds, values))
            answer = {"values": values}
        return replay


def described(surrogate: Surrogate, pruner: PrunerSettings) -> dict[str, Any]:
    """The study as a peer reads it: every dimension of the space, sampled always."""
    space = [
        {
            "name": one.name,
            "choices": list(one.choices) if isinstance(one, CategoricalDimension) else None,
            "is_integer": getattr(one, "is_whole", False),
            **{key: getattr(one, key, None) for key in ("low", "high", "log")},
        }
        for one in surrogate.table.space.dimensions
    ]
    return {
        "space": space,
        "epochs": surrogate.table.epochs,
        "objectives": len(OBJECTIVES),
        "min_epochs": pruner.min_epochs,
        "reduction_factor": pruner.reduction_factor,
    }


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- The comparison ------------------------------------------------------------------------


def methods(study: str, space: Space) -> list[dict[str, Any]]:
    """The points that a search of this space begins with by default, without those of the file."""
    place = place_of(STUDIES / f"{study}.yaml", ("search.sampler=auto", "search.enqueue=[]"))
    assert place.study is not None
    return list(start_points(place.study, space) or ())


def searches(study: str, epochs: int, peers: Path, space: Space) -> dict[str, Own | Peer]:
    """Each search by its name.

    Args:
        study: whose table is replayed; two searches begin with its file's points, if it has any.
        space: of the table.
        epochs: of its trainings.
        peers: folder with an environment for each package but Optuna, which is in this one.
    """
    found: dict[str, Own | Peer] = {}
    for name in PEERS:
        package = next(one for one in PACKAGES if name.startswith(one))
        python = peers / package / "bin" / "python"
        factor = RANDOM_FACTOR if name == "optuna_random" else 1
        found[name] = Peer(
            name, Path(sys.executable) if package == "optuna" else python, budget_factor=factor
        )
        if name in PRUNING:
            middle = PrunerSettings(min_epochs=epochs // 2, reduction_factor=2)
            found[f"{name}, half of them from the middle"] = Peer(name, python, pruner=middle)
    own = own_searches(epochs)
    found |= {name: Own(search) for name, search in own.items()}
    search = yaml.safe_load((STUDIES / f"{study}.yaml").read_text())["search"]
    for name in (DEFAULT, "ablate tpe"):
        found[f"{name}, {FIRST}"] = Own({**own[name], "enqueue": methods(study, space)})
    if "enqueue" in search:
        for name in (DEFAULT, "ablate tpe"):
            found[f"{name}, {AFTER}"] = Own({**own[name], "enqueue": search["enqueue"]})
    return found


class Comparison:
    """Searches beside unpruned TPE, on the same seeds; hypervolumes are of whole trials."""

    def __init__(self, surrogate: Surrogate, seeds: int, trials: int) -> None:
        self._measure = moocore.Hypervolume(ref=surrogate.table.reference_point, maximise=True)
        self.surrogate = surrogate
        self.trials = trials
        bar = Peer(REFERENCE, Path(sys.executable), trials)
        self.bar = [bar(surrogate, seed, np.inf) for seed in range(seeds)]
        self.limits = [replay.seconds for replay in self.bar]
        self.volumes = [self._volume(replay, replay.seconds) for replay in self.bar]
        self.goal = statistics.fmean(self.volumes)
        self.all_volumes = {REFERENCE: self.volumes}
        """Of the searches that were run, at the reference's seconds, one number a seed."""

    def _volume(self, replay: Replay, seconds: float) -> float:
        points = [end.values for end in replay.ends if end.seconds <= seconds]
        return float(self._measure(np.array(points))) if points else 0.0

    def _reached(self, replay: Replay) -> float:
        """Seconds until its hypervolume was the goal; infinite if it never was."""
        ends = (end.seconds for end in replay.ends)
        return next((one for one in ends if self._volume(replay, one) >= self.goal), np.inf)

    def crossing(self, found: Sequence[Replay]) -> float:
        """Share of the reference's seconds at which the mean over seeds of the hypervolume so far
        is the goal, in steps of 0.01; infinite if it never is."""
        pairs = list(zip(found, self.limits, strict=True))
        shares = (step / 100 for step in range(1, 101))
        means = (
            (share, statistics.fmean(self._volume(one, share * limit) for one, limit in pairs))
            for share in shares
        )
        return next((share for share, mean in means if mean >= self.goal), np.inf)

    def row(self, name: str, search: Own | Peer) -> str:
        """A line of the table: paired over seeds, with 95 % t intervals."""
        seeds = range(len(self.bar))
        try:
            found = [
                self.bar[seed]
                if name == REFERENCE
                else search(self.surrogate, seed, self.limits[seed])
                for seed in seeds
            ]
        except PeerError as error:
            return f"| {name} | cannot run: {error} | | | | | |"
        pairs = list(zip(found, self.limits, self.volumes, strict=True))
        self.all_volumes[name] = [self._volume(one, limit) for one, limit, _ in pairs]
        gains = self._gains(name, REFERENCE)
        shares = [self._reached(one) / limit for one, limit, _ in pairs]
        middle, crossing = statistics.median(shares), self.crossing(found)
        whole = [sum(end.seconds <= limit for end in one.ends) for one, limit, _ in pairs]
        gain = "0"
        if name != REFERENCE:
            gain = gain_text(gains)
        cells = (
            name,
            gain,
            "not reached" if np.isinf(middle) else f"{middle:.2f}",
            "not reached" if np.isinf(crossing) else f"{crossing:.2f}",
            f"{np.isfinite(shares).sum()} of {len(shares)}",
            f"{statistics.fmean(whole):.0f} / {statistics.fmean(one.started for one in found):.0f}",
            f"{statistics.fmean(one.cpu_seconds for one in found):.1f}",
        )
        return f"| {' | '.join(cells)} |"

    def _gains(self, name: str, other: str) -> np.ndarray:
        """What a search has more than another, in percent, one number a seed."""
        own, others = (np.array(self.all_volumes[one]) for one in (name, other))
        gains: np.ndarray = 100 * (own / others - 1)
        return gains

    def print(self, chosen: Sequence[str], peers: Path) -> None:
        """Run and print searches: all, or those chosen."""
        spread = np.std(self.volumes, ddof=1)
        print(
            f"{REFERENCE}: {self.trials} trials, {statistics.fmean(self.limits):.0f} s, "
            f"hypervolume {self.goal:.5f}, standard deviation {spread:.5f} over {len(self.bar)} "
            "seeds\n"
        )
        print(
            "| search | hypervolume against TPE's at equal seconds | median seconds to TPE's mean "
            "hypervolume, as a share of all of TPE's | share at which the mean curve has it | "
            "seeds that reached it | trials that ended "
            "in TPE's seconds / started | CPU s a study |"
        )
        print("|---|---|---|---|---|---|---|")
        table = self.surrogate.table
        for name, search in searches(table.name, table.epochs, peers, table.space).items():
            if not chosen or name in chosen:
                print(self.row(name, search), flush=True)
        if DEFAULT in self.all_volumes:
            print(f"\n| search | hypervolume of {DEFAULT} against it at equal seconds |\n|---|---|")
            for name, volumes in self.all_volumes.items():
                if name != DEFAULT and all(volumes):
                    print(f"| {name} | {gain_text(self._gains(DEFAULT, name))} |")


def gain_text(gains: np.ndarray) -> str:
    """The mean over seeds, with its 95 % t interval."""
    spread = t_interval(gains)
    return f"{spread.mean:+.1f} % [{spread.low:+.1f}, {spread.high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare searches on the recorded study.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--trials", type=int, default=64, help="whole trials of unpruned TPE; all have its seconds"
    )
    parser.add_argument("--study", default="quickstart", help="name of the table's study")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--search", action="append", default=[], help="this one (repeat); else all")
    parser.add_argument(
        "--peers", type=Path, default=Path("peers"), help="with environments: syne_tune, neps"
    )
    asked = parser.parse_args()
    surrogate = Surrogate(load_table(asked.study, asked.epochs))
    print(f"{asked.study}, {asked.epochs} epochs, a table of {len(surrogate.table)} points\n")
    Comparison(surrogate, asked.seeds, asked.trials).print(asked.search, asked.peers)


if __name__ == "__main__":
    from compare import main as run  # the module that replayed studies import, not a second one

    run()
