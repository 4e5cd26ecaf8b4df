"""What a search gains by stopping trials, and by learning from the stopped ones.

    python benchmarks/pruning.py --seeds 40

Searches of two objectives over learning curves that are made from a formula: clean accuracy is
traded for robust accuracy by one parameter, curves of different learning rates cross, and values
are noisy.  Points are sampled by the ledger's mirror of a study and compared by its pruner, one
trial at a time, until the epochs of 32 whole trials are spent.  Rules for ties are compared on
random points.  Every seed is another landscape.  Last, clean accuracy must be at least LEAST:
searches with and without this constraint, until the epochs of 64 whole trials are spent.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import moocore
import numpy as np
from optuna.trial import TrialState

from ablate.ledger.mirror import Mirror
from ablate.search import asha
from ablate.space.parse import parse_space
from ablate.study.scores import violation
from ablate.study.settings import Study

EPOCHS, WHOLE = 9, 32
NAMES = ("x0", "x1", "x2", "x3", "x4", "x5")
REFERENCE = (0.70, 0.35)
LEAST, CONSTRAINED_WHOLE = 0.83, 64
MODES = {
    "random": "random points, no pruner",
    "tpe": "tpe, no pruner",
    "pruned_random": "random points, pareto_asha",
    "pruned_alone": "tpe on complete rows alone, pareto_asha",
    "pruned": "tpe on expected values, pareto_asha",
    "gp": "gp, no pruner",
    "pruned_gp": "gp on expected values, pareto_asha",
}


CONSTRAINED_MODES = {
    "tpe": "tpe, no pruner",
    "constrained_tpe": "tpe with the constraint, no pruner",
    "pruned": "tpe, pareto_asha",
    "constrained_pruned": "tpe with the constraint, pareto_asha",
    "constrained_pruned_judged": "the same, the constraint first at rungs",
    "gp": "gp, no pruner",
    "constrained_gp": "gp with the constraint, no pruner",
    "constrained_pruned_gp": "gp with the constraint, pareto_asha",
}


class Found(NamedTuple):
    """A search: epochs spent and hypervolume after each whole trial, and how many of these violate
    the constraint, if there is one."""

    trace: list[tuple[int, float]]
    infeasible: int


class Landscape:
    """Learning curves of every point; `seed` makes another one."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(1000 + seed)
        self._clean = random.uniform(0.2, 0.8, 6)
        self._weights = random.uniform(0.3, 1.5, 6)
        self._robust = np.clip(self._clean + random.normal(0, 0.15, 6), 0, 1)

    def curve(self, x: np.ndarray, seed: int) -> np.ndarray:
        """`[epoch, metric]`: clean and robust accuracy."""
        random = np.random.default_rng(seed)
        strength, rate = x[0], 0.15 + 1.2 * x[1]
        of_clean, of_robust = (
            float((self._weights[2:] * (x[2:] - best[2:]) ** 2).sum())
            for best in (self._clean, self._robust)
        )
        clean = 0.90 - 0.12 * strength**1.5 - 0.12 * of_clean - 0.25 * (x[1] - 0.55) ** 2
        robust = 0.45 + 0.30 * strength**0.7 - 0.15 * of_robust - 0.5 * (x[1] - 0.55) ** 2
        left = np.exp(-rate * np.arange(1, EPOCHS + 1))
        drift = 0.6 * np.cumsum(random.normal(0, 0.004, (2, EPOCHS))[:, ::-1], axis=1)[:, ::-1]
        noise = drift - drift[:, -1:] + random.normal(0, 0.005, 2)[:, None]
        curves = clean - 0.10 * (0.3 + strength) * left, robust - (robust - 0.35) * left
        return np.stack(curves, axis=1) + noise.T


def hypervolume(points: Sequence[np.ndarray]) -> float:
    """Of clean and robust accuracy."""
    measure = moocore.Hypervolume(ref=REFERENCE, maximise=True)
    return float(measure(np.array(points))) if points else 0.0


def run(seed: int, mode: str, whole: int = WHOLE, least: float | None = None) -> Found:
    """One search.

    Args:
        whole: its budget, in whole trials.
        least: of clean accuracy; trials below it add nothing to the hypervolume.
    """
    study = Study.model_validate(
        {
            "version": 1,
            "name": "pruning",
            "trainable": "none:none",
            "finetune": {"budget": {"epochs": EPOCHS}},
            "space": {name: {"float": [0.0, 1.0]} for name in NAMES},
            "objectives": [{"metric": "clean"}, {"metric": "robust"}],
            "constraints": [] if least is None else [{"metric": "clean", "min": least}],
            "search": {
                "sampler": next((one for one in ("random", "gp") if mode.endswith(one)), "tpe"),
                "seed": seed,
                "pruner": {},
            },
        }
    )
    assert study.search.pruner is not None
    used = study.bounds(None) if mode.startswith("constrained") else ()
    mirror = Mirror(study, parse_space(study, {}), {}, used)
    pruner = asha.Asha(study.search.pruner, study.objectives, (), used)
    if mode.endswith("judged"):  # a constraint on an objective, too
        pruner._bounds = list(used)
    landscape, infeasible = Landscape(seed), 0
    spent, ends, trace = 0, list[np.ndarray](), list[tuple[int, float]]()
    while spent < whole * EPOCHS:
        number = len(mirror)
        params, _ = mirror.draw(number)
        curve = landscape.curve(np.array([params[name] for name in NAMES]), seed * 7919 + number)
        for epoch, values in enumerate(curve[:-1], start=1):
            spent += 1
            scores = dict(zip(("clean", "robust"), map(float, values), strict=True))
            rung = pruner.decide(number, epoch, {"scores": scores})
            if rung is None or "pruned" not in mode:
                continue
            if mode in ("pruned", "pruned_gp") or used:
                mirror.reach(number, rung)
            if rung.stop:
                mirror.end(number, TrialState.PRUNED)
                break
        else:
            spent += 1
            values = dict(zip(("clean", "robust"), map(float, curve[-1]), strict=True))
            excess = [bound.excess(values) for bound in used]
            mirror.end(number, TrialState.COMPLETE, [*values.values(), *excess])
            if spent > whole * EPOCHS:
                break
            if violation(study.bounds(None), values):
                infeasible += 1
            else:
                ends.append(curve[-1])
            trace.append((spent, hypervolume(ends)))
    return Found(trace, infeasible)


def by_hypervolume(points: np.ndarray, count: int) -> list[int]:
    """Always the point that adds most to the hypervolume of those taken."""
    measure = moocore.Hypervolume(ref=[-0.1] * points.shape[1], maximise=True)
    chosen: list[int] = []
    while len(chosen) < count:
        left = [place for place in range(len(points)) if place not in chosen]
        chosen.append(max(left, key=lambda place: measure(points[[*chosen, place]])))
    return chosen


def compare(seeds: int, modes: Mapping[str, str]) -> None:
    """Print each mode beside `tpe`, paired over seeds."""
    traces = {mode: [run(seed, mode).trace for seed in range(seeds)] for mode in ("tpe", *modes)}
    ends = {mode: [trace[-1][1] for trace in traces[mode]] for mode in traces}
    for mode, text in modes.items():
        gains = np.array(ends[mode]) / np.array(ends["tpe"]) - 1
        reached = [
            next((epochs for epochs, volume in trace if volume >= goal), np.inf) / (WHOLE * EPOCHS)
            for trace, goal in zip(traces[mode], ends["tpe"], strict=True)
        ]
        print(
            f"{text:42s} hypervolume {gains.mean():+.3f} +- {gains.std() / seeds**0.5:.3f} of "
            f"tpe's; reached it after {statistics.median(reached):.2f} of the epochs (median)",
            flush=True,
        )


def compare_ties(seeds: int, rules: Mapping[str, Callable[[np.ndarray, int], list[int]]]) -> None:
    """Print the hypervolume of random points under each rule, beside the first, paired."""
    ends = []
    for name, rule in rules.items():
        asha.choose = rule
        ends.append(np.array([run(seed, "pruned_random").trace[-1][1] for seed in range(seeds)]))
        gains = ends[-1] / ends[0] - 1
        print(
            f"ties by {name:30s} {gains.mean():+.4f} +- {gains.std() / seeds**0.5:.4f}", flush=True
        )


def compare_constraint(seeds: int, modes: Mapping[str, str]) -> None:
    """Print the rows of each mode that violate the constraint, and the hypervolume of the others
    beside `tpe`: the difference of means, paired over seeds."""
    volumes: dict[str, np.ndarray] = {}
    for mode, text in modes.items():
        found = [run(seed, mode, CONSTRAINED_WHOLE, LEAST) for seed in range(seeds)]
        counts = np.array([(one.infeasible, len(one.trace)) for one in found])
        volumes[mode] = np.array([one.trace[-1][1] for one in found])
        reference = volumes["tpe"]
        gains = (volumes[mode] - reference) / reference.mean()
        infeasible, complete = counts.mean(axis=0)
        print(
            f"{text:42s} {infeasible:.1f} of {complete:.1f} complete rows violate it "
            f"({infeasible / complete:.2f}); hypervolume {gains.mean():+.3f} +- "
            f"{gains.std() / seeds**0.5:.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--tie-seeds", type=int, default=200)
    parser.add_argument("--only", choices=["pruning", "ties", "constraint"])
    asked = parser.parse_args()
    if asked.only in (None, "constraint"):
        compare_constraint(asked.seeds, CONSTRAINED_MODES)
    if asked.only in (None, "pruning"):
        compare(asked.seeds, MODES)
    if asked.only in ("pruning", "constraint"):
        return
    ties: Mapping[str, Callable[[np.ndarray, int], list[int]]] = {
        "each point's own hypervolume": asha.choose,
        "hypervolume, one by one": by_hypervolume,
        "epsilon-net": asha.epsilon_net,
    }
    compare_ties(asked.tie_seeds, ties)


if __name__ == "__main__":
    main()
