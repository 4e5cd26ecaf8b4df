#!/usr/bin/env python
"""The tables of an archive once more, from which images were right: NumPy, SciPy, and no ablate.

    python studies/paper/recompute.py FILE.tar           # each number beside that of the archive
    python studies/paper/recompute.py FILE.tar FILE.tar  # primary contrasts of several, pooled,
                                                         # and the p of what README.md claims

Written from docs/statistics.md and docs/howto/publish.md. Accuracies of a run must be the same
floats, statistics the same to a relative 1e-9 (or an absolute 1e-12), p to six digits; p and bound
in "kept" as printed, if there. Planned looks are taken again: nominal levels by integration of
another kind than ablate's. Either has an error of about 0.5 % of a level, so they must be the same
to 2 %, intervals to 2 % of their half-width. Exit code 1 if anything differs. It says what it
omits: claims about networks between baseline and finetuned weights on validation images (on test
images they are recomputed), looks whose contrasts have weights of their own, replicates in which
runs have failed, alphas after which seeds were added. Fronts are left out.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
import re
import sys
import tarfile
from copy import copy
from functools import cache
from statistics import fmean

import numpy as np
from scipy import optimize, special, stats

EXPOSED = {name: (name,) for name in ("seen_type", "seen_family", "unseen")}
EXPOSED["untrained"] = ("seen_family", "unseen")
WORST = ", failed runs as the worst"
AT_LOSS = "_at_clean_loss"
ADDED_IMAGES, ALPHA, LEAST_SEEDS, LEAST_P = 2.5, 0.05, 3, 1e-15
POWERS = {"quadratic": 2, "cubic": 3, "quartic": 4}
NEAR = 0.02  # of nominal levels, and of half-widths of intervals at them
ROUNDING = 1e-9  # that is added to a stated clean loss: less than one image


# -- Accuracies ------------------------------------------------------------------------------


def mean(parts):
    """Of accuracies, or of arrays with a number for each image."""
    if not parts:
        return math.nan
    return fmean(parts) if isinstance(parts[0], float) else sum(parts) / len(parts)


class Network:
    """What a network got right on a split: bits as `scores` say, clean images first."""

    def __init__(self, scores, text, at_loss=None):
        """at_loss: the bits of the network of the run that is scored at the stated clean loss."""
        self.at_loss = Network(scores, at_loss) if at_loss else None
        bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)).astype(float)
        n, self.scores, self.copies = scores["n_images"], scores, {}
        self.clean, rest = bits[:n], bits[n:]
        cells = [(kind, level) for kind, of in scores["accuracies"].items() for level in of]
        images, share = scores["n_corrupted"] or n, scores.get("cell_share", 1.0)
        self.dealt = dealt(images, len(cells), share, scores.get("cell_seed", 0))
        for cell, own in zip(cells, self.dealt, strict=True):
            self.copies[cell], rest = rest[: own.sum()], rest[own.sum() :]

    def exposed(self, name):
        """The scored types that were seen in training, or not."""
        exposure = self.scores["exposure"]
        return tuple(kind for kind in exposure if exposure[kind] in EXPOSED[name])

    def metrics(self, of=lambda bits: float(bits.sum()) / len(bits), kinds=()):
        """Accuracies by name; with `of` that leaves bits alone, the share of each image in them.

        kinds: types whose mean is "exposed", as a name by exposure has other types elsewhere.
        """
        scores, split = self.scores, self.scores["split"]
        copies = {cell: of(bits) for cell, bits in self.copies.items()}
        types = {
            kind: mean([copies[kind, severity] for severity in by_severity])
            for kind, by_severity in scores["accuracies"].items()
        }
        families = {
            family: mean([types[kind] for kind in members])
            for family, members in scores["families"].items()
        }
        whole = families if scores["mean_over"] == "families" else types
        found = {"clean_accuracy": of(self.clean), "robust_accuracy": mean([*whole.values()])}
        for name in EXPOSED:
            found[f"robust_accuracy_{name}"] = mean([types[kind] for kind in self.exposed(name)])
        found |= {f"accuracy.{name}": one for name, one in (types | families).items()}
        found |= {f"accuracy.{kind}.{level}": one for (kind, level), one in copies.items()}
        found = {f"{split}_{name}": one for name, one in found.items()}
        found["exposed"] = mean([types[kind] for kind in kinds])
        there = {} if self.at_loss is None else self.at_loss.metrics(of, kinds)
        return found | {f"{name}{AT_LOSS}": one for name, one in there.items()}

    def shares(self, metric, kinds=()):
        """What each image adds to a metric, `[n]`: its mean is the metric.

        Of sparse scores the metric, and as each cell of the image weighs, its bit less the metric;
        without the images that have no cell of it.
        """
        if self.dealt.all():
            shares = self.metrics(lambda bits: bits, kinds)
            return shares[f"exposed{suffix(metric)}" if kinds else metric]
        if "clean_accuracy" in metric:
            return self.clean
        right, ones = copy(self), copy(self)
        right.copies, ones.copies, right.at_loss, ones.at_loss = {}, {}, None, None
        for (cell, bits), own in zip(self.copies.items(), self.dealt, strict=True):
            ones.copies[cell] = own * (len(own) / own.sum())
            right.copies[cell] = ones.copies[cell].copy()
            right.copies[cell][own] *= bits
        sums, cells = (one.metrics(lambda bits: bits) for one in (right, ones))
        names = [f"{self.scores['split']}_accuracy.{kind}" for kind in kinds] or [metric]
        there = sum(cells[name] for name in names) > 0
        return mean(
            [
                sums[name].mean()
                + (sums[name] - sums[name].mean() * cells[name])[there] * there.mean()
                for name in names
            ]
        )


@cache
def dealt(images, cells, share, seed):
    """Which images are scored under which cell, `[cells, images]`.

    Cells are cards: image after image takes its number of them from a shuffled deck, and where that
    is used up from the next one, from which it leaves the cards that it has.
    """
    found = np.full((cells, images), share == 1)
    if share == 1:
        return found
    digest = hashlib.blake2b(f"{seed}\x1fcells".encode(), digest_size=8).digest()
    random = np.random.RandomState((int.from_bytes(digest, "big") >> 1) % 2**32)
    total, deck = round(share * cells * images), []
    for image in range(images):
        count = total * (image + 1) // images - total * image // images
        hand, deck = deck[:count], deck[count:]
        if len(hand) < count:
            fresh = random.permutation(cells).tolist()
            more = [card for card in fresh if card not in hand][: count - len(hand)]
            hand, deck = hand + more, [card for card in fresh if card not in more]
        found[hand, image] = True
    return found


class Study:
    """A folder of an archive: its networks by cell and seed, and what it compares."""

    def __init__(self, files, folder):
        kept = json.loads(files[f"{folder}study.json"])["attributes"]
        self.head = head = kept["ablate:head"]
        tested = kept.get("ablate:test_references") or {}
        self.design = head["design"] or {"claims": [], "contrasts": [], "cells": []}
        self.split = "test" if head["test"] else "val"
        self.cells = {cell["name"]: {} for cell in self.design["cells"]}
        self.rows, self.failed = {}, set()
        self.curves, self.values, loss = {}, {}, head["study"].get("answer", {}).get("clean_margin")
        for row in map(json.loads, files[f"{folder}rows.jsonl"].splitlines()):
            of_row, number = row["attributes"], row["number"]
            if row["state"] == "COMPLETE" and of_row.get("ablate:path"):
                cell = of_row.get("ablate:cell", {}).get("cell")
                self.curves[number] = Curve(of_row, cell, loss)
            if row["state"] == "COMPLETE":
                self.values[number] = row["values"]
            if row["state"] == "COMPLETE" and "ablate:outcomes" in of_row:
                scores = of_row["ablate:scores"], of_row.get("ablate:test")
                self.rows[number] = _networks(*scores, of_row["ablate:outcomes"])
                place = of_row.get("ablate:cell", {"cell": "", "pair": number})
                of_cell = self.cells.setdefault(place["cell"], {})
                of_cell[place["pair"]] = self.rows[number][self.split]
            elif row["state"] == "FAIL" and "ablate:cell" in of_row:
                self.failed.add((of_row["ablate:cell"]["cell"], of_row["ablate:cell"]["pair"]))
        pairs = {pair for of_cell in self.cells.values() for pair in of_cell}
        self.pairs = sorted(pairs | {pair for _, pair in self.failed})
        self.fixed = {
            name: _networks(scores, tested.get(name), kept.get(f"ablate:outcomes:{name}", {}), True)
            for name, scores in kept["ablate:references"].items()
        }
        self.claims = [
            (one["contrast"], self.here(one["metric"]), *within(one.get("equivalent_within")))
            for one in self.design["claims"]
        ]
        if self.design.get("selected") and self.split == "test":
            self.claims = self._confirmed(head["study"]["objectives"])
        self.weights = {one["name"]: one["weights"] for one in self.design["contrasts"]}
        self.looks = sum("looked" in event for event in kept.get("ablate:log") or [])
        settings = head["study"]["ablation"] or {}
        self.stop = settings.get("stop")
        self.tuned = self._tuned(settings) if self.split == "val" else set()
        margin = settings.get("noninferior")
        self.margin = (self.here(margin["metric"]), margin["margin"]) if margin else None

    def _tuned(self, settings):
        """Contrasts of cells that were tuned on the images that they are scored on."""
        cells = {*self.design.get("tuning", {})}
        if "study" in settings.get("reference", {}):
            cells = {*self.cells} - {"baseline"}
        return {
            name for name, of in self.weights.items() if any(of[one] for one in of if one in cells)
        }

    def _confirmed(self, objectives):
        """Each network of a confirmed front less the reference, in the accuracies searched for."""
        scored = {metric for row in self.rows.values() for metric in row["test"].metrics()}
        metrics = [self.here(one["metric"]) for one in objectives if "accuracy" in one["metric"]]
        return [
            (f"{name} - {self.design['reference']}", metric)
            for metric in metrics
            if metric in scored
            for name in self.design["selected"]
        ]

    def here(self, metric):
        """A confirmation has the claims of its study, on the test images."""
        return f"{self.split}_{metric.partition('_')[2]}"

    def lacks(self, metric):
        """Whether its networks are between others, and are not recomputed."""
        return "_interpolated" in metric or (self.split == "val" and AT_LOSS in metric)

    def networks(self, cell):
        """By seed; a network without runs is the same at every seed."""
        return self.cells.get(cell) or dict.fromkeys(self.pairs, self.fixed[cell][self.split])

    def whole_pairs(self, cells):
        return [pair for pair in self.pairs if all(pair in self.networks(cell) for cell in cells)]

    def differences(self, contrast, metric, pairs):
        """`[K, n]`: by exposure all cells on the types of those with a positive weight."""
        weights, kinds = {cell: one for cell, one in self.weights[contrast].items() if one}, ()
        name = exposure_of(metric)
        if pairs and name in EXPOSED:
            gaining = [self.networks(cell)[pairs[0]] for cell in weights if weights[cell] > 0]
            (kinds,) = {self.exposed(one, name) for one in gaining}
        return sum(
            weight * np.array([self.networks(cell)[pair].shares(metric, kinds) for pair in pairs])
            for cell, weight in weights.items()
        )

    def exposed(self, network, name):
        """The types of a network; of one that has seen none those of the others, if they agree."""
        firsts = [next(iter(of.values())) for of in self.cells.values() if of]
        found = {one.exposed(name) for one in firsts if one.scores["seen_types"]}
        is_alike = len(found) == 1 and not network.scores["seen_types"]
        return found.pop() if is_alike else network.exposed(name)

    def over(self, cells, metric):
        """The accuracies that a mean by exposure is over, in a column of arms."""
        name = exposure_of(metric)
        firsts = [next(iter(self.networks(cell).values()), None) for cell in cells]
        if name not in EXPOSED or None in firsts:
            return [metric]
        kinds = {self.exposed(one, name) for one in firsts}
        whole = kinds.pop() if len(kinds) == 1 else ()
        return [f"{self.split}_accuracy.{kind}{suffix(metric)}" for kind in whole] or [metric]

    def worst(self, contrast, metric):
        """The model where failed runs count as the worst of their cell, in each metric."""
        weights = {cell: one for cell, one in self.weights[contrast].items() if one}
        kinds, name = (), exposure_of(metric)
        pairs = [
            pair
            for pair in self.pairs
            if all(pair in self.networks(cell) or (cell, pair) in self.failed for cell in weights)
        ]
        if name in EXPOSED:
            gaining = [self.networks(cell) for cell in weights if weights[cell] > 0]
            (kinds,) = {self.exposed(next(iter(one.values())), name) for one in gaining}
        parts = [f"{self.split}_accuracy.{kind}{suffix(metric)}" for kind in kinds] or [metric]

        def share(cell, pair, part):
            networks = self.networks(cell)
            worst = min(networks.values(), key=lambda one: one.metrics()[part])
            return networks.get(pair, worst).shares(part)

        return Model(
            sum(
                one * np.array([mean([share(cell, pair, x) for x in parts]) for pair in pairs])
                for cell, one in weights.items()
            )
        )

    def effects(self):
        def model(contrast, metric):
            pairs = self.whole_pairs(self.weights[contrast])
            return Model(self.differences(contrast, metric, pairs))

        return Effects(self.claims, self.margin, model, self.tuned, self.looks)


class Curve:
    """Accuracies of the networks between baseline and finetuned weights, on validation images."""

    def __init__(self, of_row, cell, loss):
        points, scores = of_row["ablate:path"]["points"], of_row["ablate:scores"]
        self.cell, self.alphas = cell, [float(alpha) for alpha in points]
        self.clean = [point["clean_accuracy"] for point in points.values()]
        self.bits = {  # of each network that has some, with its accuracies
            alpha: (point, Network(scores, of_row["ablate:outcomes"][name]))
            for alpha, point in points.items()
            for name in ["val" if float(alpha) == 1 else f"val@{alpha}"]
            if cell is not None and name in of_row["ablate:outcomes"]
        }
        self.archived, self.at_loss = scores.get("at_clean_loss") or {}, {}
        if self.archived:
            found = [accuracies(scores | point) for point in points.values()]
            alpha = alpha_at(self.alphas, self.clean, loss)
            self.at_loss = {
                name: float(np.interp(alpha, self.alphas, [one[name] for one in found]))
                for name in self.archived
            }


def alpha_at(alphas, clean, loss):
    """Where clean accuracy has fallen by the stated loss, the last time before the end."""
    lower = clean[0] - loss - ROUNDING
    after = len(clean) - 1
    if clean[after] >= lower:
        return alphas[after]
    while clean[after - 1] < lower:
        after -= 1
    part = (clean[after - 1] - lower) / (clean[after - 1] - clean[after])
    return alphas[after - 1] + part * (alphas[after] - alphas[after - 1])


def accuracies(scores):
    """By their names without split, as `Network.metrics`, from accuracies of type and severity."""
    network = object.__new__(Network)
    network.scores, network.at_loss, network.clean = scores, None, scores["clean_accuracy"]
    network.copies = {
        (kind, level): one for kind, of in scores["accuracies"].items() for level, one in of.items()
    }
    return {name.partition("_")[2]: one for name, one in network.metrics(float).items()}


def _networks(val, test, bits, is_baseline=False):
    """By split; a baseline has lost nothing."""
    scores = {"val": val, "test": test}
    at_loss = {split: bits.get(split if is_baseline else f"{split}{AT_LOSS}") for split in scores}
    return {
        split: Network(scores[split], bits[split], at_loss[split])
        for split in scores
        if split in bits
    }


def within(margin):
    """What a claim of equivalence has as its third part."""
    return [] if margin in (None, "", "-") else [float(margin)]


def exposure_of(metric):
    """ "untrained" of a mean by exposure."""
    return metric.partition("robust_accuracy_")[2].removesuffix(AT_LOSS)


def suffix(metric):
    return AT_LOSS if metric.endswith(AT_LOSS) else ""


# -- Statistics ------------------------------------------------------------------------------


class Model:
    """Mean, interval and p of differences: over seeds, `[K]`, or seeds and images, `[K, n]`."""

    def __init__(self, table, *, is_look=False):
        self.seeds = seeds = table if table.ndim == 1 else table.mean(axis=1)
        self.k, self.n_images = k, n = len(seeds), table[0].size if len(seeds) else 0
        self.mean = float(seeds.mean()) if k else math.nan
        self.sd = float(seeds.std(ddof=1)) if k > 1 else math.nan
        self.forms = []  # each some parts of the variance, with their degrees of freedom
        over_seeds = [(self.sd**2 / max(k, 1), k - 1)]
        if k > 1 and n > 1:
            forms = [_of_look(table)] if is_look else _crossed(table)
            self.forms = [*forms, *([over_seeds] if k == 2 else [])]
        elif k > 1 and np.ptp(seeds) > 1e-12 * abs(seeds).max():
            self.forms = [over_seeds]

    def half(self, alpha):
        """Half the width of the interval at 1 - alpha, that of the widest form."""
        return max(
            math.sqrt(sum(part * stats.t.isf(alpha / 2, free) ** 2 for part, free in form))
            for form in self.forms
        )

    def bounds(self, alpha=ALPHA):
        half = self.half(alpha) if self.forms else math.nan
        return self.mean - half, self.mean + half

    def numbers(self, bounds):
        """By the columns of a table."""
        return {"mean": self.mean, "sd": self.sd, "low": bounds[0], "high": bounds[1], "n": self.k}

    def p(self, null=0.0):
        """The level at which the interval reaches `null`."""
        distance = abs(self.mean - null)
        if not self.forms or distance < 1e-15:
            return 1.0 if self.forms else math.nan
        if self.half(LEAST_P) <= distance:
            return LEAST_P
        ends = math.log(LEAST_P), 0.0
        return math.exp(optimize.brentq(lambda x: self.half(math.exp(x)) - distance, *ends))


def mean_squares(table):
    """Of seeds, of images with those that are added, and of the rest."""
    (k, n), seeds, images, grand = table.shape, table.mean(axis=1), table.mean(axis=0), table.mean()
    added = (table**4).sum() / (table**2).sum() if table.any() else 1.0
    ms_k = n * ((seeds - grand) ** 2).sum() / (k - 1)
    ms_i = k * (((images - grand) ** 2).sum() + ADDED_IMAGES * added) / (n - 1 + ADDED_IMAGES)
    ms_e = ((table - seeds[:, None] - images + grand) ** 2).sum() / ((k - 1) * (n - 1))
    return ms_k, ms_i, ms_e


def _crossed(table):
    """Two forms of the variance of the mean of D_ki = mu + S_k + I_i + E_ki."""
    (k, n), (ms_k, ms_i, ms_e) = table.shape, mean_squares(table)
    of_k, of_i, of_e = k - 1, n - 1, (k - 1) * (n - 1)
    total, size = max(ms_k + ms_i - ms_e, 0.0), k * n
    freedom = total**2 / (ms_k**2 / of_k + ms_i**2 / of_i + ms_e**2 / of_e)
    parts = [(max(ms_k - ms_e, 0.0) / size, of_k), (max(ms_i, ms_e) / size, of_i)]
    return [(total / size, max(freedom, of_k))], parts


def _of_look(table):
    """One form, which holds at the small levels of looks: noise counts with the replicates."""
    (k, n), (ms_k, ms_i, ms_e) = table.shape, mean_squares(table)
    return [(ms_k / table.size, k - 1), (max(ms_i - ms_e, 0.0) / table.size, n - 1)]


def p_of(model, margin=None):
    """Of a difference, or of equivalence: then of the margin that is nearer to the mean."""
    if margin is None:
        return model.p()
    half = model.p(math.copysign(margin, model.mean)) / 2
    return half if abs(model.mean) < margin else 1 - half


def compared_p(model, margin=None):
    """What is compared with a level: a claim of equivalence has half of each, so p is doubled."""
    return p_of(model, margin) * (1 if margin is None else 2)


def holm(p_values):
    """Adjusted p in their order; where there is no test, p is 1."""
    p_values = [1.0 if math.isnan(p) else p for p in p_values]
    adjusted, most = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def simultaneous(model, claims, p_adjusted, margin=None):
    """The interval of one of so many claims, which excludes what Holm alone excludes."""
    return agreeing(*model.bounds(ALPHA / claims), model.mean, p_adjusted < ALPHA, margin)


def agreeing(low, high, middle, is_rejected, margin=None):
    """An interval that excludes what the test excludes: 0, or differences beyond a margin."""
    if is_rejected and margin is not None:
        return max(low, -margin), min(high, margin)
    if is_rejected and low <= 0 <= high:
        return (0.0, high) if middle > 0 else (low, 0.0)
    return low, high


def verdict_if(model, margin=None):
    """What a claim is worth if its null hypothesis is rejected."""
    if model.k < LEAST_SEEDS:
        return "too few seeds: a claim needs 3"
    changed = 1 if margin is not None else abs(model.mean)
    if model.n_images and changed * model.n_images <= 1 + 1e-12:
        return "no claim: at most one image"
    if margin is not None:
        return "equivalent"
    return "better" if model.mean > 0 else "worse"


class Effects:
    """Contrasts on metrics, the primary ones with Holm's p and simultaneous intervals.

    Each is named by (contrast, metric), a claim of equivalence by (contrast, metric, margin).
    """

    def __init__(self, claims, margin, model, tuned=frozenset(), looks=0):
        self.looked = f", {looks + 1} looks" if looks else ""
        self.claims, self.margin, self.model, self.tuned = claims, margin, cache(model), tuned
        adjusted = holm([min(1.0, compared_p(self.model(*of[:2]), *of[2:])) for of in claims])
        self.adjusted = dict(zip(claims, adjusted, strict=True))

    def bounds(self, *of):
        model = self.model(*of[:2])
        if of in self.adjusted:
            return simultaneous(model, len(self.claims), self.adjusted[of], *of[2:])
        return model.bounds()

    def verdict(self, *of):
        if of not in self.adjusted:
            return "exploratory"
        if of[0] in self.tuned:
            return "exploratory (tuned)"
        found = verdict_if(self.model(*of[:2]), *of[2:])
        if not self.adjusted[of] < ALPHA and "few seeds" not in found:
            return "not shown"
        return found + self.looked if found in ("better", "worse", "equivalent") else found

    def kept(self, *of):
        """Whether the metric with a margin is kept, in the texts that a table may have."""
        if self.margin is None or of not in self.adjusted:
            return ["-"]
        if of[0] in self.tuned:
            return ["exploratory (tuned)"]
        of, least = (of[0], self.margin[0]), -self.margin[1]
        model, low = self.model(*of), self.bounds(*of)[0]
        if model.k < LEAST_SEEDS or not model.forms:
            return ["too few seeds" if model.k < LEAST_SEEDS else "no interval"]
        if low <= least:
            return [f"not shown (bound -{-100 * low:.{digits}f})" for digits in (1, 2, 3)]
        p = model.p(least) / 2
        return [f"yes (p {text})" for text in p_texts(p if model.mean > least else 1 - p)]


# -- Beside the archive: (row, column, archived, recomputed or the texts that it may have) ---


def p_texts(p):
    """p as a table has it: two or three digits, more near a limit."""
    if math.isnan(p) or p < 1e-4:
        return ["-" if math.isnan(p) else "<.0001"]
    return [f"{p:.{one}g}".removeprefix("0") for one in ((3, 4, 6) if p >= 0.1 else (2, 3, 4, 6))]


def six_digits(p):
    return ["-" if math.isnan(p) else f"{p:.6g}"]


def of_scores(study, _):
    for name, networks in [*study.rows.items(), *study.fixed.items()]:
        for split, one in networks.items():
            found, scores = one.metrics(), one.scores
            clean = f"{split}_clean_accuracy"
            yield name, clean, scores["clean_accuracy"], found[clean]
            for kind, level in one.copies:
                metric = f"{split}_accuracy.{kind}.{level}"
                yield name, metric, scores["accuracies"][kind][level], found[metric]


def of_curves(study):
    """Accuracies from bits, then those at the stated clean loss from the accuracies."""
    for number, curve in study.curves.items():
        for alpha, (point, network) in curve.bits.items():
            found, where = network.metrics(), f"{number}, alpha {alpha}"
            yield where, "clean", point["clean_accuracy"], found["val_clean_accuracy"]
            for kind, level in network.copies:
                name = f"accuracy.{kind}.{level}"
                yield where, name, point["accuracies"][kind][level], found[f"val_{name}"]
        for name, archived in curve.archived.items():
            yield number, f"{name}{AT_LOSS}", archived, curve.at_loss[name]


def of_alphas(study, archived):
    """At which the cells of a confirmation are scored: of the mean curve of a cell's runs."""
    for cell, alpha in archived["alphas"].items():
        curves = [curve for curve in study.curves.values() if curve.cell == cell]
        clean = np.mean([curve.clean for curve in curves], axis=0).tolist()
        found = round(alpha_at(curves[0].alphas, clean, archived["clean_loss"]), 4)
        yield cell, "alpha", alpha, found


def of_tuning(files, folder, study):
    """The scores of the trials of each search, and the best one."""
    (objective,), name = study.head["study"]["objectives"], study.head["study"]["name"]
    whole = name.removesuffix(folder.removesuffix("/")) if folder else f"{name}~"
    for cell, tuning in study.design["tuning"].items():
        search = Study(files, f"{tuning['study'].removeprefix(whole)}/")
        values = {number: curve.at_loss for number, curve in search.curves.items()}
        values = {
            number: {f"val_{one}{AT_LOSS}": x for one, x in of.items()}
            for number, of in values.items()
        }
        for number, networks in search.rows.items():
            values[number] = networks["val"].metrics() | values.get(number, {})
        of_metric = {number: values[number][objective["metric"]] for number in sorted(values)}
        sign = -1 if objective["direction"] == "minimize" else 1
        picked = max(of_metric, key=lambda number: sign * round(of_metric[number], 9))
        yield cell, "trial", tuning["trial"], picked
        for number, value in of_metric.items():
            yield cell, f"score of trial {number}", tuning["scores"][number], value
            yield cell, f"value of trial {number}", search.values[number][0], value


def of_trials(study, rows):
    for row in rows:
        for network in study.rows.get(int(row["number"]), {}).values():
            for metric, value in network.metrics().items():
                if metric in row:
                    yield row["number"], metric, row[metric], value


def of_arms(study, rows):
    effects, arms = study.effects(), {one["name"]: one["cells"] for one in study.design["arms"]}
    yield "all", "arm", ", ".join(row["arm"] for row in rows), [", ".join(arms)]
    for row in rows:
        name, cells = row["arm"], arms[row["arm"]]
        pairs = study.whole_pairs(cells)[: None if cells[0] in study.cells else 1]
        values = [[study.networks(cell)[pair].metrics() for cell in cells] for pair in pairs]
        for column, archived in row.items():
            whole, _, field = column.rpartition(".")
            metric, _, reference = whole.partition(" - ")
            if name == reference:
                yield name, column, archived, [""]
            elif whole and not study.lacks(metric):
                of = f"{name} - {reference}", metric
                parts = study.over(cells, metric)
                is_there = AT_LOSS not in metric or name != "adapted baseline"  # on no curve
                scored = values if is_there else []
                of_seeds = [mean([one[x] for one in pair for x in parts]) for pair in scored]
                model = effects.model(*of) if reference else Model(np.array(of_seeds))
                bounds = effects.bounds(*of) if reference else model.bounds()
                yield name, column, archived, model.numbers(bounds)[field]


def of_effects(study, rows):
    effects = study.effects()
    leading = [f"{study.split}_clean_accuracy", f"{study.split}_robust_accuracy"]
    asked = [(one, metric) for one in study.weights for metric in leading]
    for contrast, metric, *_ in study.claims:
        if suffix(metric):
            beside = metric.removesuffix(AT_LOSS), f"{study.split}_clean_accuracy{AT_LOSS}"
            asked += [(contrast, other) for other in beside]
    claimed = {of[:2] for of in study.claims}
    asked = study.claims + [of for of in asked if of not in claimed]
    named = {(of[0], short(of[1]), *of[2:]): of for of in asked}
    there = {
        (row["contrast"], row["metric"], *within(row.get("equivalent_within"))): row for row in rows
    }
    worst = {key: row for key, row in there.items() if key[0].endswith(WORST)}
    yield "all", "contrast, metric", f"{sorted({*there} - {*worst})}", [f"{sorted(named)}"]
    for key, row in worst.items():
        of = named[key[0].removesuffix(WORST), *key[1:]]
        model = study.worst(*of[:2])
        alpha = ALPHA / len(study.claims) if of in study.claims else ALPHA
        for field, value in model.numbers(model.bounds(alpha)).items():
            yield key, f"difference.{field}", row[f"difference.{field}"], value
    for name, of in named.items():
        row, model = there[name], effects.model(*of[:2])
        if study.stop and of in study.claims:
            yield from of_decided(study, of, name, row)
            continue
        for field, value in model.numbers(effects.bounds(*of)).items():
            yield name, f"difference.{field}", row[f"difference.{field}"], value
        yield name, "p", row["p"], six_digits(p_of(model, *of[2:]))
        adjusted = effects.adjusted.get(of, math.nan) if model.forms else math.nan
        yield name, "p_adjusted", row["p_adjusted"], six_digits(adjusted)
        for key, may in (("verdict", [effects.verdict(*of)]), ("kept", effects.kept(*of))):
            yield name, key, row[key], [*may, *map(in_short, may)]


def of_decided(study, of, name, row):
    """A primary contrast as the last look has found it; open before the first."""
    model = study.effects().model(*of[:2])
    shown = row["by_baseline"].split(", ")
    for place, (archived, found) in enumerate(
        zip([x for x in shown if x != "nan"], model.seeds, strict=True)
    ):
        yield name, f"by_baseline {place}", archived, found
    if not study.taken:
        yield name, "difference.mean", row["difference.mean"], model.mean
        yield name, "p", row["p"], ["-"]
        yield name, "verdict", row["verdict"], ["open"]
        return
    one = study.taken[-1]["decisions"][study.claims.index(of)]
    for field in ("mean", "sd", "low", "high", "n"):
        yield name, f"difference.{field}", row[f"difference.{field}"], one[field]
    yield name, "p", row["p"], six_digits(one["p"] / 2 if of[2:] else one["p"])
    adjusted = min(1.0, ALPHA * one["p"] / one["nominal"])
    archived = "nan" if row["p_adjusted"] == "-" else row["p_adjusted"]
    yield name, "p_adjusted", archived, Near(adjusted, NEAR * adjusted)
    yield name, "verdict", row["verdict"], ["open" if one["is_open"] else one["verdict"]]


# -- Planned looks ---------------------------------------------------------------------------


class Near(float):
    """A number of which the archived one may differ by so much."""

    def __new__(cls, value, by):
        made = super().__new__(cls, value)
        made.by = by
        return made


POINTS = 300
MIDDLES = [(2 * np.arange(count) + 1) / count for count in (100, 8000)]  # of parts of 0 to 2


@cache
def nominal_levels(level, looks, power):
    """With which p is compared at each look, so that a true null hypothesis of normal replicates is
    rejected until then with probability level (look / last)^power."""
    bounds, found = {}, []
    for look in looks:
        spent = level * (look / looks[-1]) ** power

        def excess(log_p, look=look, spent=spent):
            return 1 - spent - not_rejected({**bounds, look: _u(math.exp(log_p), look)})

        log_p = optimize.brentq(excess, math.log(spent) - 7, math.log(spent) + 0.1, xtol=1e-5)
        bounds[look] = _u(math.exp(log_p), look)
        found.append(math.exp(log_p))
    return found


def _u(p, k):
    """U = sum x / sqrt(sum x^2) of k replicates where t has this p; abs(U) is below sqrt(k)."""
    t = stats.t.isf(p / 2, k - 1)
    return t * math.sqrt(k / (k - 1 + t * t))


def not_rejected(bounds):
    """The probability that abs(U) is within its bounds, one a look, by number of replicates.

    U of k + 1 replicates is u cos a + sin a = r sin(a + turn), a within a quarter of a turn of 0,
    with a density like cos(a)^(k - 1) (docs/statistics.md); U of the first look is sqrt(k) sin a,
    with one like cos(a)^(k - 2).  So the probability of no rejection from k on, a function of u on
    a grid, is integrated backwards from the last look, over the angle by midpoints.
    """
    first, *_, last = *bounds, max(bounds)
    later = None
    for k in range(last - 1, first - 2, -1):
        u = bounds.get(k, math.sqrt(k)) * np.sin(np.linspace(0, math.pi / 2, POINTS))
        r, turn = np.hypot(1, u), np.arctan(u)
        if k < first:
            r, turn = np.array([math.sqrt(first)]), np.zeros(1)
        reach = np.arcsin(np.minimum(bounds.get(k + 1, math.inf) / r, 1))
        ends = turn + math.pi / 2
        total = 0.0
        for low, high in (
            (np.maximum(-reach, turn - math.pi / 2), reach),
            (math.pi - reach, np.maximum(ends, math.pi - reach)),
        ):
            if later is None:  # no look after this one: Student's t
                turns = (np.clip(one - turn, -math.pi / 2, math.pi / 2) for one in (low, high))
                t_low, t_high = (math.sqrt(k) * np.tan(one) for one in turns)
                total += np.where(high > low, special.stdtr(k, t_high) - special.stdtr(k, t_low), 0)
                continue
            half = (high - low)[:, None] / 2
            angle = low[:, None] + half * MIDDLES[k < first]
            density = np.cos(angle - turn[:, None]) ** (k - 1) / special.beta(k / 2, 0.5)
            after = np.interp(abs(r[:, None] * np.sin(angle)), *later)
            total += 2 * (half * density * after).mean(axis=1)
        later = u, total
    return float(later[1][0])


def take_look(parts, study, before, count, seeds):
    """A look at so many replicates of so many seeds, as it is stored.

    Each claim that is open is tested at its share of the level (all have equal ones, as by Holm).
    What one that is rejected had goes to the others, which are tested again.
    """
    claims, stop = study.claims, study.stop
    last, most = stop["looks"][-1], len(claims)
    place, power = stop["looks"].index(count), POWERS[stop["spending"]]
    models = {of: pooled_model(parts[:count], is_look=True, seeds=seeds)(*of[:2]) for of in claims}
    p_values = {of: compared_p(models[of], *of[2:]) for of in claims}
    decided = {
        of: one
        for of, one in zip(claims, before, strict=False)
        if one["verdict"] in ("better", "worse", "equivalent")
    }

    def nominal(others):
        return nominal_levels(ALPHA / others, tuple(stop["looks"]), power)[place]

    def decision(of, others, is_rejected):
        model, is_below = models[of], p_values[of] <= nominal(others)
        low, high = model.bounds(nominal(most))
        half, verdict = NEAR * (high - low) / 2, in_short(verdict_if(model, *of[2:]))
        low, high = agreeing(low, high, model.mean, is_rejected, *of[2:])
        return {
            "contrast": of[0],
            "metric": of[1],
            "replicates": count,
            "n": model.k,
            "level": ALPHA / others,
            "nominal": Near(nominal(others), NEAR * nominal(others)),
            "p": p_values[of],
            "mean": model.mean,
            "sd": model.sd,
            "low": Near(low, half),
            "high": Near(high, half),
            "verdict": verdict if is_below or verdict == "too few seeds" else "not shown",
            "is_open": not is_rejected and count < last,
        }

    is_new = True
    while is_new:
        others, is_new = most - len(decided), False
        for of in claims:
            can_be = verdict_if(models[of], *of[2:]) in ("better", "worse", "equivalent")
            if of not in decided and can_be and p_values[of] <= nominal(others):
                decided[of], is_new = decision(of, others, True), True
                break
    found = [decided.get(of) or decision(of, most - len(decided), False) for of in claims]
    weights = parts[0].weights
    going = [
        cell
        for of, one in zip(claims, found, strict=True)
        if one["is_open"]
        for cell, weight in weights[of[0]].items()
        if weight
    ]
    return {"replicates": count, "decisions": found, "cells": [*dict.fromkeys(going)]}


def of_looks(study, parts):
    """All looks that were taken, each beside the stored one."""
    study.taken, kept = [], study.head.get("planned_looks") or []
    for stored in kept:
        before = study.taken[-1]["decisions"] if study.taken else []
        there = stored["replicates"], stored["seeds"]
        study.taken.append(take_look(parts, study, before, *there))
    for stored, look in zip(kept, study.taken, strict=True):
        name = f"look {stored['number']}"
        yield name, "cells", ", ".join(stored["cells"]), [", ".join(look["cells"])]
        for archived, found in zip(stored["decisions"], look["decisions"], strict=True):
            where = f"{name}, {found['contrast']} on {found['metric']}"
            for field in ("contrast", "metric", "verdict", "is_open"):
                yield where, field, archived[field], [found[field]]
            for field in ("replicates", "n", "level", "nominal", "p", "mean", "sd", "low", "high"):
                yield where, field, archived[field], found[field]


def in_short(text):
    """What archives have since they leave limits, p and bound out of "verdict" and "kept"."""
    return re.split(r" \(|, |: ", text.removeprefix("no claim: "))[0]


def short(metric):
    """ "robust_untrained" of `val_robust_accuracy_untrained`, "noise" of `val_accuracy.noise`."""
    name, end = metric.removesuffix(AT_LOSS), suffix(metric).replace("_", " ")
    return name.partition("_")[2].removeprefix("accuracy.").replace("_accuracy", "") + end


def compare(name, values, *, exact=False):
    """Print a line about a file, and return whether all of it is equal."""
    count = 0
    for row, column, archived, found in values:
        if isinstance(found, list):
            is_same = archived in found
        else:
            near = {"rel_tol": 0.0} if exact else {"rel_tol": 1e-9, "abs_tol": 1e-12}
            if isinstance(found, Near):
                near = {"rel_tol": 0.0, "abs_tol": found.by}
            ours, theirs = float(found), math.nan if archived in ("", None) else float(archived)
            is_same = math.isclose(ours, theirs, **near) or (
                math.isnan(ours) and math.isnan(theirs)
            )
        if not is_same:
            print(f"{name}: row {row}, {column}: archived {archived}, recomputed {found}")
            return False
        count += 1
    print(f"{name}: {count:,} values equal")
    return True


def check(files):
    """Compare all of an archive."""
    digests = json.loads(files["manifest.json"])["files"]
    found = {name: hashlib.sha256(files.get(name, b"")).hexdigest() for name in digests}
    rows = [(name, "sha256", digests[name]["sha256"], [found[name]]) for name in digests]
    equal = [compare("manifest.json", rows)]
    for folder in folders(files):
        head = json.loads(files[f"{folder}study.json"])["attributes"]["ablate:head"]
        if (head["study"]["ablation"] or {}).get("replicates"):
            names = [one for one in folders(files) if is_replicate(one, folder)]
            parts = [Study(files, one) for one in sorted(names, key=number_of)]
            study, tables = parts[0], {"effects": of_effects}
            study.head, study.effects = head, lambda parts=parts: pooled(parts, are_one=True)
            study.looks = sum(one.looks for one in parts)
            study.stop = head["study"]["ablation"].get("stop")
            if study.stop and study.stop.get("confirm") and study.split == "val":
                print(f"{folder}tables: not recomputed, as looks decide on the test images")
                continue
            if any(one.failed for one in parts):
                print(f"{folder}tables: not recomputed, as runs have failed")
                continue
            if study.stop and study.claims:
                if study.stop.get("weights") or study.stop.get("transitions"):
                    print(f"{folder}looks: not recomputed, as contrasts have weights of their own")
                    continue
                equal.append(compare(f"{folder}looks", of_looks(study, parts)))
        else:
            study = Study(files, folder)
            tables = {"trials": of_trials, "arms": of_arms, "effects": of_effects}
            equal.append(compare(f"{folder}rows.jsonl", of_scores(study, None), exact=True))
            if study.curves:
                equal.append(compare(f"{folder}curves", of_curves(study)))
            equal += check_choices(files, folder, study)
        for name, of in tables.items():
            file = f"{folder}tables/{name}.csv"
            if any(study.lacks(of[1]) for of in study.claims) and name != "trials":
                print(f"{file}: not recomputed, as claims are about networks between others")
            elif file in files:
                rows = csv.DictReader(io.StringIO(files[file].decode()))
                equal.append(compare(file, of(study, [*rows]), exact=name == "trials"))
    return all(equal)


def check_choices(files, folder, study):
    """What was chosen on validation images: trials of searches, and alphas of a confirmation."""
    equal, settings, file = [], study.head["study"], f"{folder}study.json"
    if study.design.get("tuning"):
        pick = settings["tune" if "tune" in settings else "ablation"]
        pick = (pick.get("tune") or pick).get("pick", "")
        if len(settings["objectives"]) > 1 or settings.get("constraints") or "best" not in pick:
            print(f"{file}: trials of searches not recomputed, as not one metric alone picks them")
        else:
            equal.append(compare(f"{file}, trials", of_tuning(files, folder, study)))
    if "alphas" in (study.head["test"] or {}):
        parent = Study(files, folder.replace("confirm~", "").replace("confirm/", ""))
        if parent.looks:
            print(f"{file}: alphas not recomputed, as seeds were added after looks")
        else:
            equal.append(compare(f"{file}, alphas", of_alphas(parent, study.head["test"])))
    return equal


# -- Several archives ------------------------------------------------------------------------


def pooled_model(studies, *, is_look=False, seeds=math.inf):
    """Of each the mean over the seeds, up to so many, at which all cells ended well.

    Later replicates may lack cells, which a look has stopped.
    """

    def model(contrast, metric):
        there = [one for one in studies if contrast in one.weights]
        there = [one for one in there if all(one.networks(x) for x in one.weights[contrast])]
        pairs = [[at for at in one.whole_pairs(one.cells) if at < seeds] for one in there]
        tables = [
            one.differences(contrast, metric, of).mean(axis=0)
            for one, of in zip(there, pairs, strict=True)
            if of
        ]
        return Model(np.array(tables), is_look=is_look)

    return model


def pooled(studies, *, are_one=False):
    """Effects over replications."""
    first = studies[0]
    if not are_one and any(
        (one.weights, one.claims) != (first.weights, first.claims) for one in studies
    ):
        raise SystemExit("recompute: archives that are pooled must compare the same arms.")
    tuned = set().union(*(one.tuned for one in studies))
    looks = sum(one.looks for one in studies)
    return Effects(first.claims, first.margin, pooled_model(studies), tuned, looks)


def table(effects):
    """The primary contrasts as Markdown, in points; what is kept has its own p."""
    heads = ("contrast", "metric", "difference", "p", "adjusted p", "verdict", "kept", "each")
    lines = [heads, ["---"] * len(heads)]
    for of in effects.claims:
        model, kept = effects.model(*of[:2]), effects.kept(*of)[0]
        ends = ", ".join(f"{100 * end:+.2f}" for end in effects.bounds(*of))
        each = ", ".join(f"{100 * one:+.2f}" for one in model.seeds)
        p_values = p_texts(p_of(model, *of[2:]))[0], p_texts(effects.adjusted[of])[0]
        difference = f"{100 * model.mean:+.2f} [{ends}]"
        lines.append([of[0], short(of[1]), difference, *p_values, effects.verdict(*of), kept, each])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claims(effects):
    """By contrast the p of what README.md claims of it, and Holm's.

    A contrast with DA+CA needs clean accuracy too, no worse than plain's by the margin: its p is
    the larger of that of the difference and twice the one-sided one of a loss of the margin.
    """
    larger = {}
    for of in effects.claims:
        (arm, _, other), parts = of[0].partition(" - "), [effects.model(*of).p()]
        if other == "DA+CA":
            model, least = effects.model(f"{arm} - plain", effects.margin[0]), -effects.margin[1]
            p = model.p(least)
            parts.append(p if model.mean > least else 2 - p)
        larger[of] = min(1.0, max(1.0 if math.isnan(p) else p for p in parts))
    adjusted = dict(zip(larger, holm([*larger.values()]), strict=True))
    return {of[0]: (larger[of], adjusted[of]) for of in effects.claims}


def read(file):
    """The files of an archive, by name without its leading folder."""
    with tarfile.open(file) as tar:
        members = [one for one in tar.getmembers() if one.isfile()]
        return {one.name.partition("/")[2]: tar.extractfile(one).read() for one in members}


def folders(files):
    """Of the study, of its confirmation, and of the searches that go with it."""
    return [name.removesuffix("rows.jsonl") for name in files if name.endswith("rows.jsonl")]


def is_replicate(folder, of):
    """Of the study, "r0/"; of its confirmation, "confirm~r0/"."""
    start = f"{of.removesuffix('/')}~" if of else ""
    return re.fullmatch(rf"{start}r[0-9]+/", folder) is not None


def number_of(folder):
    return int(re.findall("[0-9]+", folder)[-1])


def main():
    archives = [read(file) for file in sys.argv[1:]]
    if len(archives) < 2:
        sys.exit(not check(archives[0]) if archives else __doc__)
    for folder in folders(archives[0]):
        studies = [Study(files, folder) for files in archives if f"{folder}rows.jsonl" in files]
        if len(studies) == len(archives) and studies[0].claims:
            effects = pooled(studies)
            print(f"{folder}effects, {len(studies)} replications\n\n{table(effects)}\n")
            if effects.margin and {"plain", "DA+CA"} <= {*studies[0].cells}:
                for name, p_values in claims(effects).items():
                    larger, adjusted = (p_texts(p)[0] for p in p_values)
                    print(f"claim {name}: p {larger}, by Holm {adjusted}")


if __name__ == "__main__":
    main()
