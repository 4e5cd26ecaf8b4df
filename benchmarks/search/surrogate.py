"""Answers for the recorded study: the learning curve of any point of its space, at once.

    python benchmarks/search/surrogate.py            # how well it ranks points that it has not seen

The mean curve of the two training seeds is predicted from the encoded point and from what its
values do together, by boosted trees and a Gaussian process, half each.  To it is added what two
seeds differ by, drawn as a whole curve from recorded points with a curve like that, so that noise
is correlated over epochs, metrics and alphas as it is in training, and one that nearly collapses
varies more.

A regression's predictions differ less than what they predict, so a search would run in a landscape
that is flatter than the real one, and noise would decide it.  So they are stretched to the spread
that the recorded means have beside their noise; no rank changes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import torch
from scipy.stats import norm, rankdata, spearmanr
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor

from ablate.space.domain import (
    CategoricalDimension,
    ChoiceDomain,
    Dimension,
    SimplexDomain,
    SubsetDomain,
)
from ablate.space.space import Space

TABLE = Path(__file__).parent / "table"
ALPHAS = ("0.5", "1")
OBJECTIVES = ("val_clean_accuracy", "val_robust_accuracy")
INACTIVE = -1.0
"""Of the features of a parameter that is not active; active ones are from 0 to 1."""
FMA_ANCHORS = ("clean", "pretrained")
ANCHORS = (*(("fma", one) for one in FMA_ANCHORS), ("st", "both"), ("st", "pretrained"))
LAYERS = ("stem", "stage1", "stage2", "stage3")
FAMILIES = ("noise", "blur", "photometric")
SPREAD_SAMPLES = 1000
"""Random points whose predictions show how much spread was lost."""
MIN_RELIABILITY = 1e-3
"""Of a mean over two seeds, so that its root can be divided by."""
FRONT_SAMPLES = 20_000
"""Random points whose front is printed."""
FOLDS = 5
"""Of the cross-validation."""
NEIGHBOURS = 10
"""Recorded points with curves like that of a point, one of which gives its noise."""
COLLAPSED = 0.1
"""Difference of two seeds in an accuracy, from which one of them has collapsed."""
TREES = 300
BOOSTING: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "max_depth": 4,
    "subsample": 0.6,
    "max_features": 0.4,
}
MIN_WEIGHT = 1e-3
"""Weight of a term that a training does not have, so that its logarithm is finite."""
MIN_LAYER_WEIGHT = 1e-2
"""The same, of a layer whose maps are not compared."""
LENGTH_SCALE = 1.0
"""Centre of the prior of a length scale of the Gaussian process, for inputs of deviation 1, in
square roots of their number."""
VARIANCES = (1.0, 0.1, 0.1)
"""Centres of the priors of its variances: smooth, linear, noise."""
MAX_ITERATIONS = 60
"""In which its length scales and variances are found."""
MIN_POINTS = 5
"""Points of a set of terms of which a rank correlation is printed."""


@dataclass(frozen=True)
class Table:
    """The recorded points of one study at one budget.

    Attributes:
        name: of the study file.
        params: resolved values by dotted key, one point each.
        curves: `[point, seed, epoch, alpha, metric]`, accuracies; alphas as in `ALPHAS`.
        train_seconds, score_seconds: `[point, seed, epoch]`, of one core; scoring is of one
            network.
        baseline: `[metric]`.
        diverged: points of which a training ended early; they are in none of the arrays.
    """

    name: str
    epochs: int
    space: Space
    metrics: tuple[str, ...]
    params: tuple[Mapping[str, Any], ...]
    curves: np.ndarray
    train_seconds: np.ndarray
    score_seconds: np.ndarray
    baseline: np.ndarray
    images: int
    diverged: int

    def __len__(self) -> int:
        return len(self.params)

    @property
    def objectives(self) -> list[int]:
        """Places of `OBJECTIVES` in the metrics."""
        return [self.metrics.index(name) for name in OBJECTIVES]

    @property
    def reference_point(self) -> list[float]:
        """ablate's: the baseline's accuracies, the clean one - 0.10."""
        clean, robust = map(float, self.baseline[self.objectives])
        return [clean - 0.10, robust]

    def take(self, places: Sequence[int]) -> Table:
        """Some of the points."""
        chosen = {name: getattr(self, name)[list(places)] for name in _BY_POINT}
        params = tuple(self.params[place] for place in places)
        return Table(**{**self.__dict__, **chosen, "params": params})


_BY_POINT = ("curves", "train_seconds", "score_seconds")


def load_table(name: str = "quickstart", epochs: int = 4, folder: Path = TABLE) -> Table:
    """Read all chunks of a study at a budget.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if chunks are of different studies.
    """
    files = sorted(folder.glob(f"{name}_{epochs}_*.json.gz"))
    if not files:
        raise FileNotFoundError(
            f"{folder}: needs chunks {name}_{epochs}_*.json.gz, got none. Record one: "
            f"python benchmarks/search/record.py --chunk 0 --epochs {epochs}"
        )
    chunks = [json.loads(gzip.decompress(file.read_bytes())) for file in files]
    first = chunks[0]
    for file, chunk in zip(files, chunks, strict=True):
        same = ["fingerprint", "metrics", "space"]
        if chunk["environment"] == first["environment"]:  # else its scores differ in rounding
            same.append("baseline")
        for key in same:
            if chunk[key] != first[key]:
                raise ValueError(
                    f"{file}: chunks must be of one study, got another {key} than in "
                    f"{files[0].name}. Remove one of them."
                )
    environments: list[Any] = []
    params, rows, machines, diverged = [], [], [], 0
    for chunk in chunks:
        by_point: dict[int, list[Any]] = {}
        for row in chunk["rows"]:
            by_point.setdefault(row["point"], []).append(row)
        for seeds in by_point.values():
            if any(row["ended"] != "COMPLETE" for row in seeds):
                diverged += 1
                continue
            params.append(seeds[0]["params"])
            rows.append(seeds)
            if chunk["environment"] not in environments:
                environments.append(chunk["environment"])
            machines.append(environments.index(chunk["environment"]))

    def recorded(key: str) -> np.ndarray:
        return np.array([[row[key] for row in seeds] for seeds in rows], dtype=float)

    train, score, machine = recorded("train_seconds"), recorded("score_seconds"), np.array(machines)
    curves = [[[row["curves"][alpha] for alpha in ALPHAS] for row in seeds] for seeds in rows]
    return Table(
        name=name,
        epochs=epochs,
        space=Space.from_json(first["space"]),
        metrics=tuple(first["metrics"]),
        params=tuple(params),
        curves=np.array(curves, dtype=float).swapaxes(2, 3),
        train_seconds=_as_the_first(train, recorded("train_flops")[:, :, -1], machine),
        score_seconds=_as_the_first(score, np.ones(score.shape[:2]), machine) / 2,
        baseline=np.array(first["baseline"]),
        images=first["images"],
        diverged=diverged,
    )


def _as_the_first(seconds: np.ndarray, work: np.ndarray, machines: np.ndarray) -> np.ndarray:
    """Seconds as the first machine would have needed, by the medians of what each took.

    Args:
        seconds: `[point, seed, epoch]`.
        work: `[point, seed]`, what was done in all epochs together, in any unit.
        machines: `[point]`, number of the machine.
    """
    pace = seconds.sum(axis=2) / work
    medians = np.array([np.median(pace[machines == one]) for one in range(machines.max() + 1)])
    return seconds * (medians[0] / medians)[machines, None, None]


def encode(space: Space, params: Mapping[str, Any]) -> list[float]:
    """A point as numbers: per parameter whether it is active, and its values from 0 to 1.

    A number is its place in its range, in logarithms where the space has them; a choice is one
    number for each of its values; a subset and a mix are one for each item.
    """
    features: list[float] = []
    for parameter in space.parameters:
        key, domain = parameter.key, parameter.domain
        there = key in params
        value = params.get(key)
        if isinstance(domain, ChoiceDomain):
            found = [float(value == choice) for choice in domain.choices]
        elif isinstance(domain, SubsetDomain):
            found = [float(there and name in value) for name in domain.names]
        elif isinstance(domain, SimplexDomain):
            found = [float(value[name]) if there else 0.0 for name in domain.names]
        else:
            low, high, given = float(domain.low), float(domain.high), float(value if there else 1)
            if domain.log:
                low, high, given = np.log([low, high, given])
            found = [(given - low) / (high - low)]
        features += [float(there), *(found if there else [INACTIVE] * len(found))]
    return features


def joint_features(params: Mapping[str, Any]) -> list[float]:
    """What the values of a finetuning do together; numbers, not scaled.

    How far the weights move depends on the learning rate times the weight of a term, and what they
    learn on a family's share of the copies and on its strength.
    """
    terms = str(params.get("loss.terms", "")).split("+")
    weights = {
        term: float(params.get(f"loss.{term}.weight", 1.0)) if term in terms else 0.0
        for term in ("da", "st", "fma")
    }
    pull = sum(weights.values()) + MIN_WEIGHT
    rate = np.log(params.get("finetune.learning_rate", 1.0))
    labels = np.log(weights["da"] + weights["st"] + MIN_WEIGHT)
    maps = np.log(weights["fma"] + MIN_WEIGHT)
    features = [rate, np.log(pull), rate + np.log(pull), rate + labels, rate + maps]
    features.append(weights["fma"] / pull)
    for term, anchor in ANCHORS:
        has = params.get(f"loss.{term}.anchor") == anchor
        features.append(rate + np.log(weights[term] * has + MIN_WEIGHT))
    layers = params.get("loss.fma.layers") or ()
    for anchor in FMA_ANCHORS:
        share = weights["fma"] * (params.get("loss.fma.anchor") == anchor) / max(len(layers), 1)
        features += [np.log(share * (layer in layers) + MIN_LAYER_WEIGHT) for layer in LAYERS]
    strength = float(params.get("augment.strength", 1.0))
    mix = params.get("augment.mix") or {}
    for family in FAMILIES:
        share = float(mix.get(family, 0.0))
        features += [share, share * strength, float(share > 0)]
    return list(map(float, features))


def _written_domain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter of `Space.to_json` as a space file has it."""
    when = {one["key"]: {one["operator"]: one["operand"]} for one in entry["when"]}
    domain: dict[str, Any]
    match entry["domain"]:
        case "choice":
            domain = {"choice": entry["choices"]}
        case "subset":
            domain = {"subset": entry["names"]}
        case "simplex":
            domain = {"simplex": entry["of"] or entry["names"]}
        case kind:
            domain = {kind: [entry["low"], entry["high"]], "log": entry["log"]}
            domain |= {} if entry["step"] is None else {"step": entry["step"]}
    return domain | ({"when": when} if when else {})


def replayed_study(
    space: Space, trainable: str, epochs: int, metrics: Sequence[str], search: Mapping[str, Any]
) -> dict[str, Any]:
    """A study file: a search of the same space by another training loop."""
    parameters = [parameter.to_json() for parameter in space.parameters]
    return {
        "version": 1,
        "name": "replay",
        "trainable": trainable,
        "finetune": {"budget": {"epochs": epochs}},
        "space": {one["key"]: _written_domain(one) for one in parameters},
        "objectives": [{"metric": metric} for metric in metrics],
        "search": dict(search),
    }


class SmoothModel:
    """A Gaussian process with a length scale for each input, the same for all outputs.

    Matern 5/2, a linear part and noise.  Logarithms of length scales and variances are at their
    most probable values (normal priors, deviation 1 for length scales and 2 for variances).
    """

    def fit(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Of `[point, input]`, deviation 1, and `[point, output]`."""
        self._inputs, targets = torch.from_numpy(inputs), torch.from_numpy(outputs)
        self._centre, self._deviation = targets.mean(dim=0), targets.std(dim=0)
        targets = (targets - self._centre) / self._deviation
        count = inputs.shape[1]
        length = LENGTH_SCALE * np.sqrt(count)
        centres = torch.tensor([length] * count + [*VARIANCES], dtype=torch.double).log()
        deviations = torch.tensor([1.0] * count + [2.0] * len(VARIANCES), dtype=torch.double)
        self._found = centres.clone().requires_grad_()
        search = torch.optim.LBFGS(
            [self._found], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe"
        )

        def loss() -> torch.Tensor:
            search.zero_grad()
            factor = self._factor()
            fit = (targets * torch.cholesky_solve(targets, factor)).sum() / 2 / targets.shape[1]
            prior = ((self._found - centres) / deviations).square().sum() / 2
            value = fit + factor.diagonal().log().sum() + prior
            value.backward()
            return value

        search.step(loss)
        with torch.no_grad():
            self._weights = torch.cholesky_solve(targets, self._factor())

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Means, `[point, output]`."""
        with torch.no_grad():
            found = self._covariance(torch.from_numpy(inputs)) @ self._weights
            return (found * self._deviation + self._centre).numpy()

    def _factor(self) -> torch.Tensor:
        noise = self._found[-1].exp() * torch.eye(len(self._inputs), dtype=torch.double)
        return torch.linalg.cholesky(self._covariance(self._inputs) + noise)

    def _covariance(self, inputs: torch.Tensor) -> torch.Tensor:
        """With the fitted points: `[point, fitted point]`."""
        count = inputs.shape[1]
        lengths, (smooth, linear, _) = self._found[:count].exp(), self._found[count:].exp()
        one, other = inputs / lengths, self._inputs / lengths
        squares = one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
        scaled = (5 * squares.clamp(min=1e-12)).sqrt()
        matern = (1 + scaled + scaled.square() / 3) * (-scaled).exp()
        return smooth * matern + linear * (inputs @ self._inputs.T / count + 1)


class Surrogate:
    """Predicts learning curves and seconds of a table's study.

    Args:
        trees: that are boosted, for each output.
    """

    def __init__(self, table: Table, trees: int = TREES) -> None:
        self.table = table
        means = table.curves.mean(axis=1)
        self._shape = means.shape[1:]
        seconds = np.log(table.train_seconds.mean(axis=(1, 2)))
        outputs = np.column_stack([means.reshape(len(table), -1), seconds])
        self._sorted = np.sort(outputs, axis=0)
        # Normal scores: a collapsed training has the weight of any other, and all outputs alike.
        self._scores = norm.ppf((np.arange(len(table)) + 0.5) / len(table))
        scores = _normal_scores(outputs)
        inputs = self._inputs(table.params)
        self._centre, self._spread = inputs.mean(axis=0), inputs.std(axis=0)
        self._spread[self._spread == 0] = 1.0
        self._models = (
            MultiOutputRegressor(
                GradientBoostingRegressor(n_estimators=trees, **BOOSTING, random_state=0)
            ),
            SmoothModel(),
        )
        for model in self._models:
            model.fit(self._scaled(inputs), scores)
        self.stretch = np.ones(outputs.shape[1])
        self.stretch = self._spread_of_means() / self._spread_of_predictions()
        """Of predicted normal scores: `[output]`."""
        self._recorded = scores
        self._differences = (table.curves[:, 0] - table.curves[:, 1]) / np.sqrt(2.0)
        self._known: dict[str, np.ndarray] = {}
        self.score_seconds = float(table.score_seconds.mean())
        """Of one network, once."""

    def means(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Expected curves: `[point, epoch, alpha, metric]`."""
        return self._values(self._predict(params))[:, :-1].reshape(-1, *self._shape)

    def curve(self, params: Mapping[str, Any], seed: int) -> np.ndarray:
        """A training at a point: `[epoch, alpha, metric]`; the same for the same seed and point.

        Clean accuracies are multiples of one image.
        """
        text = _text(params)
        random = np.random.default_rng([seed, zlib.crc32(text.encode())])
        distances = ((self._recorded - self._at(params)) ** 2).sum(axis=1)
        near = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        noise = random.choice([-1.0, 1.0]) * self._differences[random.choice(near)]
        mean = self.mean(params)
        curve = mean + noise
        if np.abs(noise[-1]).max() * np.sqrt(2.0) > COLLAPSED:
            # It says how far a training may fall, not how far one may rise.
            curve = np.minimum(curve, np.maximum(mean, self.table.curves[near].max(axis=(0, 1))))
        curve = np.clip(curve, 0.0, 1.0)
        curve[..., 0] = np.round(curve[..., 0] * self.table.images) / self.table.images
        return curve

    def mean(self, params: Mapping[str, Any]) -> np.ndarray:
        """The expected curve at a point: `[epoch, alpha, metric]`."""
        return self._values(self._at(params)[None])[0, :-1].reshape(self._shape)

    def train_seconds(self, params: Mapping[str, Any]) -> float:
        """Of an epoch."""
        return float(np.exp(self._values(self._at(params)[None])[0, -1]))

    def _at(self, params: Mapping[str, Any]) -> np.ndarray:
        """Normal scores of a point: `[output]`."""
        text = _text(params)
        if text not in self._known:
            self._known[text] = self._predict([params])[0]
        return self._known[text]

    def _inputs(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return np.array([encode(self.table.space, one) + joint_features(one) for one in params])

    def _scaled(self, inputs: np.ndarray) -> np.ndarray:
        return (inputs - self._centre) / self._spread

    def _predict(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Normal scores: `[point, output]`."""
        inputs = self._scaled(self._inputs(params))
        return self.stretch * np.mean([model.predict(inputs) for model in self._models], axis=0)

    def _spread_of_means(self) -> np.ndarray:
        """Deviation of the recorded means beside noise, in normal scores: `[output]`.

        The two seeds tell how much of a mean's variance is noise.
        """
        table = self.table
        seconds = table.train_seconds.mean(axis=2)[:, :, None]
        both = np.concatenate([table.curves.reshape(len(table), 2, -1), seconds], axis=2)
        first, second = _normal_scores(both).swapaxes(0, 1)
        between = (first * second).mean(axis=0) / (first.std(axis=0) * second.std(axis=0))
        return np.sqrt(np.maximum(_reliability_of_mean(between), MIN_RELIABILITY))

    def _spread_of_predictions(self) -> np.ndarray:
        """Deviation of what is predicted of points that were not recorded: `[output]`."""
        random = np.random.default_rng(0)
        space = self.table.space
        return self._predict(
            [space.draw(partial(draw_at_random, random)).values for _ in range(SPREAD_SAMPLES)]
        ).std(axis=0)

    def _values(self, scores: np.ndarray) -> np.ndarray:
        """What normal scores mean, by the values that were recorded: `[point, output]`."""
        columns = zip(scores.T, self._sorted.T, strict=True)
        return np.array([np.interp(one, self._scores, known) for one, known in columns]).T


def draw_at_random(random: np.random.Generator, dimension: Dimension) -> Any:
    """For `Space.draw`: every value of a dimension, without its step, is as likely as another."""
    if isinstance(dimension, CategoricalDimension):
        return dimension.choices[random.integers(len(dimension.choices))]
    low, high = dimension.low, dimension.high
    if dimension.is_whole:
        return int(random.integers(int(low), int(high) + 1))
    return low * (high / low) ** random.random() if dimension.log else random.uniform(low, high)


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Of the ranks along the first axis."""
    return norm.ppf((rankdata(values, axis=0) - 0.5) / len(values))


def _reliability_of_mean(between: np.ndarray) -> np.ndarray:
    """The share of a mean's variance that is not noise, by the correlation of the two that it is
    the mean of (Spearman and Brown); from 0 to 1."""
    return np.clip(2 * between / (1 + between), 0.0, 1.0)


def _text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


# -- How well it ranks points that it has not seen ------------------------------------------


@dataclass(frozen=True)
class Quality:
    """Of one metric at the end of a training, over the points of a set of terms.

    Attributes:
        between_seeds: Spearman's correlation of the two seeds.
        ceiling: what a perfect prediction would have with their mean, by Spearman and Brown.
        reached: what predictions of held-out points have.
    """

    metric: str
    terms: str
    points: int
    between_seeds: float
    ceiling: float
    reached: float

    @property
    def share(self) -> float:
        return self.reached / self.ceiling


def measure(table: Table) -> list[Quality]:
    """Hold out each point once, in a cross-validation, and compare predictions with records."""
    predicted = np.empty((len(table), len(table.metrics)))
    folds = min(FOLDS, len(table))
    for train, held in KFold(folds, shuffle=True, random_state=0).split(np.arange(len(table))):
        surrogate = Surrogate(table.take(train.tolist()))
        predicted[held] = surrogate.means([table.params[i] for i in held])[:, -1, -1]
    terms = np.array([str(params.get("loss.terms", "all")) for params in table.params])
    ends = table.curves[:, :, -1, -1]
    return [
        _quality(metric, one, ends[places, :, i], predicted[places, i])
        for i, metric in enumerate(table.metrics)
        for one, places in _groups(terms)
    ]


def _groups(terms: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    yield "all", np.ones(len(terms), dtype=bool)
    for one in np.unique(terms):
        if (terms == one).sum() >= MIN_POINTS:
            yield str(one), terms == one


def _quality(metric: str, terms: str, ends: np.ndarray, predicted: np.ndarray) -> Quality:
    """`ends` are `[point, seed]`, `predicted` `[point]`."""
    between = float(spearmanr(ends[:, 0], ends[:, 1]).statistic)
    ceiling = float(np.sqrt(_reliability_of_mean(np.array(between))))
    reached = float(spearmanr(ends.mean(axis=1), predicted).statistic)
    return Quality(metric, terms, len(ends), between, ceiling, reached)


def correlation_with_end(table: Table) -> np.ndarray:
    """Spearman's correlation of what is known after an epoch with the end of the other training.

    Returns:
        `[alpha, epoch]`: of the hypervolume that a point has alone, with that of the network itself
        after the last epoch with the other seed; mean over both.
    """
    above = np.clip(table.curves[..., table.objectives] - table.reference_point, 0.0, None)
    alone = above.prod(axis=-1)
    ends = alone[:, ::-1, -1, ALPHAS.index("1")]
    found = np.empty((2, len(ALPHAS), table.epochs))
    for seed, alpha, epoch in np.ndindex(found.shape):
        known = alone[:, seed, epoch, alpha]
        found[seed, alpha, epoch] = spearmanr(known, ends[:, seed]).statistic
    return found.mean(axis=0)


def front_volumes(table: Table) -> dict[str, float]:
    """Hypervolume of the recorded means, and of random points with and without the stretch."""
    surrogate = Surrogate(table)
    random = np.random.default_rng(1)
    points = [
        table.space.draw(partial(draw_at_random, random)).values for _ in range(FRONT_SAMPLES)
    ]
    volume = moocore.Hypervolume(ref=table.reference_point, maximise=True)

    def of(means: np.ndarray) -> float:
        return float(volume(means[:, -1, ALPHAS.index("1")][:, table.objectives]))

    stretched = of(surrogate.means(points))
    surrogate.stretch = np.ones_like(surrogate.stretch)
    return {
        "the recorded means": of(table.curves.mean(axis=1)),
        f"{FRONT_SAMPLES} random points": stretched,
        "the same without the stretch": of(surrogate.means(points)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How well the surrogate ranks unseen points.")
    parser.add_argument("--study", default="quickstart", help="name of the study's file")
    parser.add_argument("--epochs", type=int, default=4)
    asked = parser.parse_args()
    table = load_table(asked.study, asked.epochs)
    print(f"{table.name}, {table.epochs} epochs: {len(table)} points, {table.diverged} diverged")
    print("| metric | terms | points | between seeds | ceiling | held out | share of the ceiling |")
    print("|---|---|---|---|---|---|---|")
    for one in measure(table):
        values = (one.between_seeds, one.ceiling, one.reached, one.share)
        numbers = " | ".join(f"{value:.2f}" for value in values)
        print(f"| {one.metric} | {one.terms} | {one.points} | {numbers} |")
    print("\ncorrelation of a point's own hypervolume, by epoch, with the other seed's at the end")
    for alpha, values in zip(ALPHAS, correlation_with_end(table), strict=True):
        print(f"alpha {alpha}: {', '.join(f'{value:.2f}' for value in values)}")
    print("\nhypervolume of the front of")
    for name, volume in front_volumes(table).items():
        print(f"{name}: {volume:.4f}")


if __name__ == "__main__":
    main()
