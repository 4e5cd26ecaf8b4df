"""Compare searches on a recorded study, at equal seconds.

    python benchmarks/search/compare.py --seeds 20 --peers peers --folder runs/searches

ablate's searches run through its own dispatcher and ledger, with the surrogate as training loop;
others ask the same surrogate over a pipe (`peers.py`), for points of the same space with every
dimension sampled.  Trainings are whole, and scored once.  Their seconds are those of the table,
simulated; those that a search itself needs between them are processor seconds of this machine.

Each search with each seed is kept in the folder, so the same command goes on where it was stopped,
several may run at once, and with fewer `--seeds` it prints what there is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import environ
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import moocore
import numpy as np
import yaml
from numpy.typing import NDArray
from peers import PEERS
from surrogate import ALPHAS, OBJECTIVES, Surrogate, Table, load_table, replayed_study

import ablate
import ablate.space.gaussian_process  # before its seconds count
from ablate.ablation.intervals import t_interval
from ablate.files.cache import publish_file
from ablate.lifecycle.place import place_of_file
from ablate.search import run_context
from ablate.space.domain import CategoricalDimension
from ablate.space.space import Space
from ablate.space.start import start_points
from ablate.trial.own_loop import TrialContext

HERE = Path(__file__).parent
STUDIES = (HERE, HERE.parents[1] / "studies")
REFERENCE, DEFAULT = "optuna_tpe", "ablate, each method first"
SAME_START = "the same points and cells"
ENVIRONMENTS = {"optuna": None, "syne": "botorch", "botorch": "botorch", "neps": "neps"}
"""Of each package, by the first word of a peer's name: the folder with its environment."""
NO_LIMIT = 10_000
"""Trials of a search that ends by its seconds."""
STEPS = 100
"""Shares of the reference's seconds at which a search is looked at."""
RESAMPLES = 10_000


class End(NamedTuple):
    """A whole trial.

    Attributes:
        seconds: of training and scoring, from the beginning of the search to its end.
        own_seconds: that the search itself has taken until then.
        values: its objectives; expected: those of the surrogate's mean curve, without noise.
    """

    seconds: float
    own_seconds: float
    values: tuple[float, ...]
    expected: tuple[float, ...]


@dataclass
class Replay:
    """One search on the surrogate.

    Attributes:
        seed: of the search, and of all its trainings.
        seconds: of training and scoring, so far.
        own_seconds: of the search itself, so far, from its first point on.
    """

    surrogate: Surrogate
    seed: int
    seconds: float = 0.0
    own_seconds: float = 0.0
    ends: list[End] = field(default_factory=list)

    def train(self, params: Mapping[str, Any]) -> tuple[float, ...]:
        """Train at a point and score it once; its objectives, of the network itself."""
        surrogate, table = self.surrogate, self.surrogate.table
        self.seconds += table.epochs * surrogate.train_seconds(params) + surrogate.score_seconds
        curves = (surrogate.curve(params, self.seed), surrogate.mean(params))
        values, expected = (
            tuple(map(float, curve[-1, ALPHAS.index("1"), table.objectives])) for curve in curves
        )
        self.ends.append(End(self.seconds, self.own_seconds, values, expected))
        return values


# -- ablate's own, through its dispatcher ------------------------------------------------------

current: tuple[Replay, float]
"""The search that runs in this process, and its processor time when it began to ask."""


def train(trial: TrialContext) -> None:
    """The training loop of a replayed study."""
    global current  # noqa: PLW0603 (the loop is called by its name alone)
    replay, asked = current
    if replay.ends:  # what comes before the first is not the sampler's
        replay.own_seconds += time.process_time() - asked
    scores = dict(zip(OBJECTIVES, replay.train(trial.params), strict=True))
    current = replay, time.process_time()
    for epoch in range(1, trial.epochs + 1):
        trial.report(epoch, scores)  # nothing reads those of the earlier ones


@dataclass(frozen=True)
class Own:
    """A search of ablate.

    Attributes:
        search: the section of that name in its study.
    """

    search: Mapping[str, Any]

    def __call__(self, surrogate: Surrogate, seed: int, limit: float, trials: int) -> Replay:
        """Run a study until it has spent `limit` seconds of training and scoring."""
        global current  # noqa: PLW0603
        table, replay = surrogate.table, Replay(surrogate, seed)
        current = replay, 0.0
        budget = {"trials": trials, "budget": {"seconds": limit}}
        point = {"reference_point": table.reference_point}  # as a shipped study has it
        search = {**self.search, "seed": seed, **budget, **point}
        study = replayed_study(table.space, "compare:train", table.epochs, OBJECTIVES, search)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), simulated_clock():
            file = Path("replay.yaml")
            file.write_text(yaml.safe_dump(study, sort_keys=False))
            ablate.launch(file, executor="inline", progress=False)
        return replay


@contextlib.contextmanager
def simulated_clock() -> Iterator[None]:
    """Let `search.budget.seconds` count the seconds of the surrogate."""
    real = run_context.time
    run_context.time = SimpleNamespace(monotonic=lambda: current[0].seconds)  # type: ignore
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
        first: points that it begins with, as raw draws; it is then also told each point without
            the dimensions that were not active, so that points that mean the same are one.
    """

    name: str
    python: Path
    first: Sequence[Mapping[str, Any]] = ()

    def __call__(self, surrogate: Surrogate, seed: int, limit: float, trials: int) -> Replay:
        """Run it until it has spent `limit` seconds of training and scoring, or has so many trials.

        Raises:
            PeerError: if it ends by itself.
        """
        with tempfile.TemporaryFile("w+") as errors:
            try:
                process = subprocess.Popen(
                    [str(self.python), str(HERE / "peers.py"), self.name, str(seed)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env={**environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
                )
            except OSError as error:
                raise PeerError(f"{self.python}: {error.strerror}") from error
            try:
                return self._answer(process, Replay(surrogate, seed), limit, trials)
            except EOFError as error:
                errors.seek(0)
                said = errors.read().strip().splitlines() or ["it ended without a message"]
                raise PeerError(said[-1]) from error
            finally:
                process.kill()
                with contextlib.suppress(BrokenPipeError):
                    process.communicate()

    def _answer(
        self, process: subprocess.Popen[str], replay: Replay, limit: float, trials: int
    ) -> Replay:
        """Answer what it asks; raises EOFError if it asks nothing more."""
        space = replay.surrogate.table.space
        assert process.stdin is not None
        assert process.stdout is not None
        began: float | None = None
        answer: Any = described(replay.surrogate.table, self.first)
        while replay.seconds < limit and len(replay.ends) < trials:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(answer), file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                raise EOFError
            asked = json.loads(line)
            began = asked["cpu"] if began is None else began
            replay.own_seconds = asked["cpu"] - began
            values = replay.train(space.resolve(asked["raw"]))
            raw = space.canonical(asked["raw"]) if self.first else asked["raw"]
            answer = {"values": values, "raw": raw}
        return replay


def described(table: Table, first: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The study as a peer reads it: every dimension of the space, sampled always."""
    space = [
        {
            "name": one.name,
            "choices": list(one.choices) if isinstance(one, CategoricalDimension) else None,
            "is_integer": getattr(one, "is_whole", False),
            **{key: getattr(one, key, None) for key in ("low", "high", "log")},
        }
        for one in table.space.dimensions
    ]
    return {
        "space": space,
        "objectives": len(OBJECTIVES),
        "reference": table.reference_point,
        "first": first,
    }


# -- The searches --------------------------------------------------------------------------


def methods(study: str, space: Space) -> list[dict[str, Any]]:
    """The points that a search of this space begins with by default, without those of the file."""
    file = next(file for folder in STUDIES if (file := folder / f"{study}.yaml").exists())
    place = place_of_file(file, ("search.sampler=auto", "search.enqueue=[]"))
    assert place.study is not None
    return list(start_points(place.study, space) or ())


def searches(table: Table, peers: Path) -> dict[str, Own | Peer]:
    """Each search by its name.

    Args:
        peers: folder with an environment for each package but Optuna, which is in this one.
    """
    points = methods(table.name, table.space)
    first = [table.space.encode(point) for point in points]
    tpe = {"sampler": "tpe"}
    found: dict[str, Own | Peer] = {
        DEFAULT: Own({"enqueue": points}),
        "ablate, random start": Own({}),
        "ablate tpe, each method first": Own({**tpe, "enqueue": points}),
        "ablate tpe, random start": Own(tpe),
    }
    for name in PEERS:
        environment = ENVIRONMENTS[name.partition("_")[0]]
        python = peers / environment / "bin" / "python" if environment else Path(sys.executable)
        found[name] = Peer(name, python)
        if name != "optuna_random":
            found[f"{name}, {SAME_START}"] = Peer(name, python, first)
    return found


# -- The comparison ------------------------------------------------------------------------


Volumes = NDArray[np.float64]
"""Hypervolumes: `[seed, step]`."""


class Comparison:
    """Searches beside Optuna's TPE with its defaults, on the same seeds.

    Args:
        trials: of TPE; all others have its seconds.
        folder: where searches are kept; peers: with their environments.
    """

    def __init__(self, table: Table, trials: int, folder: Path, peers: Path) -> None:
        self.table, self.trials = table, trials
        name = f"{table.name}_{table.epochs}_{len(table)}points_{trials}trials"
        self.folder = folder / name
        self.searches = searches(table, peers)
        self._measure = moocore.Hypervolume(ref=table.reference_point, maximise=True)

    @cached_property
    def surrogate(self) -> Surrogate:
        return Surrogate(self.table)

    def found(self, name: str, seed: int) -> list[End]:
        """What a search found; it is run if the folder does not have it."""
        file = self.folder / f"{re.sub(r'[^a-z0-9]+', '_', name)}_{seed}.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            is_bar = name == REFERENCE
            limit = np.inf if is_bar else self.found(REFERENCE, seed)[-1].seconds
            trials = self.trials if is_bar else NO_LIMIT
            replay = self.searches[name](self.surrogate, seed, limit, trials)
            text = json.dumps({"search": name, "seed": seed, "ends": replay.ends})
            publish_file(file, lambda new: new.write_text(text))
        return [End(*end) for end in json.loads(file.read_text())["ends"]]

    def volumes(self, name: str, seeds: int, *, own: bool, scored: str) -> Volumes:
        """Hypervolume so far, at shares 0 to 1 of the reference's seconds.

        Args:
            own: whether seconds are also those of the search itself.
            scored: "values", as observed; "expected": of the points on the observed front, the
                surrogate's mean, since what is best of many noisy scores is lucky.
        """
        found = np.zeros((seeds, STEPS + 1))
        for seed in range(seeds):
            clock = [end.seconds + own * end.own_seconds for end in self.found(name, seed)]
            last = self.found(REFERENCE, seed)[-1]
            limit = last.seconds + own * last.own_seconds
            ends, known, volume = self.found(name, seed), 0, 0.0
            for step in range(STEPS + 1):
                # The last of the reference's own trials ends at its last second.
                count = int(np.searchsorted(clock, limit * (step / STEPS), side="right"))
                if count > known:
                    known, volume = count, self._volume(ends[:count], scored)
                found[seed, step] = volume
        return found

    def _volume(self, ends: Sequence[End], scored: str) -> float:
        values = np.array([end.values for end in ends])
        front = moocore.is_nondominated(values, maximise=True, keep_weakly=True)
        return float(self._measure(np.array([getattr(end, scored) for end in ends])[front]))

    def row(self, name: str, seeds: int, ours: int) -> str:
        """A line of the table; `ours` is the number of seeds of `DEFAULT`."""
        cells = [name, str(seeds)]
        for scored in ("values", "expected"):
            pair = [self.volumes(one, seeds, own=True, scored=scored) for one in (name, REFERENCE)]
            cells.append(crossing_text(*pair))
        for one, other, count in ((name, REFERENCE, seeds), (DEFAULT, name, min(seeds, ours))):
            for scored in ("values", "expected"):
                ends = [
                    self.volumes(each, count, own=False, scored=scored)[:, -1]
                    for each in (one, other)
                ]
                cells.append("" if one == other else gain_text(100 * (ends[0] / ends[1] - 1)))
        last = [self.found(name, seed)[-1] for seed in range(seeds)]
        counts = [len(self.found(name, seed)) for seed in range(seeds)]
        cells.append(f"{statistics.fmean(counts):.0f}")
        cells.append(f"{statistics.fmean(end.own_seconds for end in last):.1f}")
        return f"| {' | '.join(cells)} |"

    def print(self, chosen: Sequence[str], seeds: int, peer_seeds: int) -> None:
        """Run searches that are not kept yet, seed by seed, and print all, or those chosen."""
        counts = {
            name: seeds if name == REFERENCE or isinstance(search, Own) else peer_seeds
            for name, search in self.searches.items()
            if not chosen or name in chosen
        }
        failed = dict[str, str]()
        for seed in range(seeds):
            for name in (REFERENCE, DEFAULT, *counts):
                if name in failed or seed >= counts.get(name, seeds):
                    continue
                try:
                    self.found(name, seed)
                except PeerError as error:
                    failed[name] = str(error)
        bar = self.volumes(REFERENCE, seeds, own=False, scored="values")[:, -1]
        means = self.volumes(REFERENCE, seeds, own=False, scored="expected")[:, -1]
        limits = [self.found(REFERENCE, seed)[-1].seconds for seed in range(seeds)]
        spread = np.std(bar, ddof=1) if seeds > 1 else np.nan
        print(
            f"{REFERENCE}: {self.trials} trials, {statistics.fmean(limits):.0f} s, hypervolume "
            f"{bar.mean():.5f} observed (standard deviation {spread:.5f} over {seeds} seeds), "
            f"{means.mean():.5f} mean-scored\n"
        )
        ours = f"`{DEFAULT}` against it"
        print(
            "| search | seeds | share of TPE's seconds where mean curves cross, observed | "
            "mean-scored | hypervolume against TPE's at equal seconds of training, observed | "
            f"mean-scored | {ours}, observed | mean-scored | trials | own s |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name, count in counts.items():
            said = failed.get(name)
            print(self.row(name, count, seeds) if said is None else f"| {name} | {said} |")


def crossing(found: Volumes, bar: Volumes) -> float:
    """Share of the reference's seconds at which the mean curve has the reference's last mean;
    infinite if it never has."""
    reached = found.mean(axis=0) >= bar[:, -1].mean()
    return float(np.argmax(reached)) / STEPS if reached.any() else np.inf


def crossing_text(found: Volumes, bar: Volumes) -> str:
    """With a 95 % bootstrap interval (percentiles) over pairs of seeds."""
    random = np.random.default_rng(0)
    draws = random.integers(len(bar), size=(RESAMPLES, len(bar)))
    counts = np.stack([(draws == seed).sum(axis=1) for seed in range(len(bar))], axis=1)
    reached = counts @ found >= (counts @ bar[:, -1])[:, None]
    shares = np.where(reached.any(axis=1), np.argmax(reached, axis=1) / STEPS, np.inf)
    low, high = np.quantile(shares, (0.025, 0.975), method="inverted_cdf")
    texts = [f"{one:.2f}" if np.isfinite(one) else "never" for one in (low, high)]
    share = crossing(found, bar)
    middle = f"{share:.2f}" if np.isfinite(share) else "not reached"
    return f"{middle} [{', '.join(texts)}]"


def gain_text(gains: NDArray[np.float64]) -> str:
    """The mean over seeds, in percent, with its 95 % t interval."""
    spread = t_interval(gains)
    return f"{spread.mean:+.1f} % [{spread.low:+.1f}, {spread.high:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare searches on a recorded study.")
    parser.add_argument("--study", default="quickstart", help="name of the table's study")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=20, help="of ablate's searches and of TPE")
    parser.add_argument("--peer-seeds", type=int, default=20, help="of others, at most --seeds")
    parser.add_argument("--trials", type=int, default=64, help="of TPE; all have its seconds")
    parser.add_argument("--search", action="append", default=[], help="this one (repeat); else all")
    parser.add_argument(
        "--peers", type=Path, default=Path("peers"), help="with environments: botorch, neps"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/searches"), help="of results")
    asked = parser.parse_args()
    table = load_table(asked.study, asked.epochs)
    print(f"{asked.study}, {asked.epochs} epochs, a table of {len(table)} points\n")
    comparison = Comparison(table, asked.trials, asked.folder.resolve(), asked.peers.absolute())
    comparison.print(asked.search, asked.seeds, min(asked.seeds, asked.peer_seeds))


if __name__ == "__main__":
    from compare import main as run  # the module that replayed studies import, not a second one

    run()
