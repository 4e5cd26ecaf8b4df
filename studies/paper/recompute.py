#!/usr/bin/env python
"""The tables of an archive once more, from which images were right: NumPy, SciPy, and no ablate.

    python studies/paper/recompute.py FILE.tar           # each number beside that of the archive
    python studies/paper/recompute.py FILE.tar FILE.tar  # primary contrasts of several, pooled,
                                                         # and the p of what README.md claims

Written from docs/statistics.md and docs/howto/publish.md. Accuracies of a run must be the same
floats, statistics the same to a relative 1e-9 (or an absolute 1e-12), p to six digits; p and bound
in "kept" as printed, if there. Exit code 1 if anything differs. Networks between baseline and
finetuned weights are left out but those that were scored on test images, and so are fronts.
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
from functools import cache
from statistics import fmean

import numpy as np
from scipy import optimize, stats

EXPOSED = {name: (name,) for name in ("seen_type", "seen_family", "unseen")}
EXPOSED["untrained"] = ("seen_family", "unseen")
WORST = ", failed runs as the worst"
AT_LOSS = "_at_clean_loss"
ADDED_IMAGES, ALPHA, LEAST_SEEDS, LEAST_P = 2.5, 0.05, 3, 1e-15


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
        for kind, by_severity in scores["accuracies"].items():
            for severity in by_severity:
                self.copies[kind, severity] = rest[: scores["n_corrupted"] or n]
                rest = rest[scores["n_corrupted"] or n :]

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


class Study:
    """A folder of an archive: its networks by cell and seed, and what it compares."""

    def __init__(self, files, folder):
        kept = json.loads(files[f"{folder}study.json"])["attributes"]
        head, tested = kept["ablate:head"], kept.get("ablate:test_references") or {}
        self.design = head["design"] or {"claims": [], "contrasts": [], "cells": []}
        self.split = "test" if head["test"] else "val"
        self.cells = {cell["name"]: {} for cell in self.design["cells"]}
        self.rows, self.failed = {}, set()
        for row in map(json.loads, files[f"{folder}rows.jsonl"].splitlines()):
            of_row, number = row["attributes"], row["number"]
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
        self.claims = [(one["contrast"], self.here(one["metric"])) for one in self.design["claims"]]
        self.has_equivalence = any("equivalent_within" in one for one in self.design["claims"])
        if self.design.get("selected") and self.split == "test":
            self.claims = self._confirmed(head["study"]["objectives"])
        self.weights = {one["name"]: one["weights"] for one in self.design["contrasts"]}
        self.looks = sum("looked" in event for event in kept.get("ablate:log") or [])
        settings = head["study"]["ablation"] or {}
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
        name = metric.partition("robust_accuracy_")[2].removesuffix(AT_LOSS)
        if pairs and name in EXPOSED:
            gaining = [self.networks(cell)[pairs[0]] for cell in weights if weights[cell] > 0]
            (kinds,) = {one.exposed(name) for one in gaining}
        return sum(
            weight * np.array([self._share(cell, pair, metric, kinds) for pair in pairs])
            for cell, weight in weights.items()
        )

    def _share(self, cell, pair, metric, kinds):
        shares = self.networks(cell)[pair].metrics(lambda bits: bits, kinds)
        return shares[f"exposed{suffix(metric)}" if kinds else metric]

    def worst(self, contrast, metric):
        """The model where failed runs count as the worst of their cell, in each metric."""
        weights = {cell: one for cell, one in self.weights[contrast].items() if one}
        kinds, name = (), metric.partition("robust_accuracy_")[2].removesuffix(AT_LOSS)
        pairs = [
            pair
            for pair in self.pairs
            if all(pair in self.networks(cell) or (cell, pair) in self.failed for cell in weights)
        ]
        if name in EXPOSED:
            gaining = [self.networks(cell) for cell in weights if weights[cell] > 0]
            (kinds,) = {next(iter(one.values())).exposed(name) for one in gaining}
        parts = [f"{self.split}_accuracy.{kind}{suffix(metric)}" for kind in kinds] or [metric]

        def share(cell, pair, part):
            networks = self.networks(cell)
            worst = min(networks.values(), key=lambda one: one.metrics()[part])
            return networks.get(pair, worst).metrics(lambda bits: bits)[part]

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


def _networks(val, test, bits, is_baseline=False):
    """By split, but those that were scored under some cells alone; a baseline has lost nothing."""
    scores = {"val": val, "test": test}
    at_loss = {split: bits.get(split if is_baseline else f"{split}{AT_LOSS}") for split in scores}
    return {
        split: Network(scores[split], bits[split], at_loss[split])
        for split in scores
        if split in bits and scores[split].get("cell_share", 1.0) == 1
    }


def suffix(metric):
    return AT_LOSS if metric.endswith(AT_LOSS) else ""


# -- Statistics ------------------------------------------------------------------------------


class Model:
    """Mean, interval and p of differences: over seeds, `[K]`, or seeds and images, `[K, n]`."""

    def __init__(self, table):
        self.seeds = seeds = table if table.ndim == 1 else table.mean(axis=1)
        self.k, self.n_images = k, n = len(seeds), table[0].size if len(seeds) else 0
        self.mean = float(seeds.mean()) if k else math.nan
        self.sd = float(seeds.std(ddof=1)) if k > 1 else math.nan
        self.forms = []  # each some parts of the variance, with their degrees of freedom
        over_seeds = [(self.sd**2 / max(k, 1), k - 1)]
        if k > 1 and n > 1:
            self.forms = [*_crossed(table), *([over_seeds] if k == 2 else [])]
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


def holm(p_values):
    """Adjusted p in their order; where there is no test, p is 1."""
    p_values = [1.0 if math.isnan(p) else p for p in p_values]
    adjusted, most = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = most
    return adjusted


def simultaneous(model, claims, p_adjusted):
    """The interval of one of so many claims, which ends at 0 where Holm alone excludes 0."""
    low, high = model.bounds(ALPHA / claims)
    if p_adjusted < ALPHA and low <= 0 <= high:
        return (0.0, high) if model.mean > 0 else (low, 0.0)
    return low, high


class Effects:
    """Contrasts on metrics, the primary ones with Holm's p and simultaneous intervals."""

    def __init__(self, claims, margin, model, tuned=frozenset(), looks=0):
        self.looked = f", {looks + 1} looks" if looks else ""
        self.claims, self.margin, self.model, self.tuned = claims, margin, cache(model), tuned
        adjusted = holm([self.model(*of).p() for of in claims])
        self.adjusted = dict(zip(claims, adjusted, strict=True))

    def bounds(self, *of):
        model = self.model(*of)
        if of in self.adjusted:
            return simultaneous(model, len(self.claims), self.adjusted[of])
        return model.bounds()

    def verdict(self, *of):
        model = self.model(*of)
        if of not in self.adjusted:
            return "exploratory"
        if of[0] in self.tuned:
            return "exploratory (tuned)"
        if model.k < LEAST_SEEDS:
            return "too few seeds: a claim needs 3"
        if not self.adjusted[of] < ALPHA:
            return "not shown"
        if model.n_images and abs(model.mean) * model.n_images <= 1 + 1e-12:
            return "no claim: at most one image"
        return ("better" if model.mean > 0 else "worse") + self.looked

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
                of_seeds = [mean([one[metric] for one in pair]) for pair in values]
                model = effects.model(*of) if reference else Model(np.array(of_seeds))
                bounds = effects.bounds(*of) if reference else model.bounds()
                yield name, column, archived, model.numbers(bounds)[field]


def of_effects(study, rows):
    effects = study.effects()
    leading = [f"{study.split}_clean_accuracy", f"{study.split}_robust_accuracy"]
    asked = study.claims + [(one, metric) for one in study.weights for metric in leading]
    for contrast, metric in study.claims:
        if suffix(metric):
            beside = metric.removesuffix(AT_LOSS), f"{study.split}_clean_accuracy{AT_LOSS}"
            asked += [(contrast, other) for other in beside]
    named = {(one, short(metric)): (one, metric) for one, metric in asked}
    there = {(row["contrast"], row["metric"]): row for row in rows}
    worst = {key: row for key, row in there.items() if key[0].endswith(WORST)}
    yield "all", "contrast, metric", f"{sorted({*there} - {*worst})}", [f"{sorted(named)}"]
    for key, row in worst.items():
        of = named[key[0].removesuffix(WORST), key[1]]
        model = study.worst(*of)
        alpha = ALPHA / len(study.claims) if of in study.claims else ALPHA
        for field, value in model.numbers(model.bounds(alpha)).items():
            yield key, f"difference.{field}", row[f"difference.{field}"], value
    for name, of in named.items():
        row, model = there[name], effects.model(*of)
        for field, value in model.numbers(effects.bounds(*of)).items():
            yield name, f"difference.{field}", row[f"difference.{field}"], value
        yield name, "p", row["p"], six_digits(model.p())
        adjusted = effects.adjusted.get(of, math.nan) if model.forms else math.nan
        yield name, "p_adjusted", row["p_adjusted"], six_digits(adjusted)
        for key, may in (("verdict", [effects.verdict(*of)]), ("kept", effects.kept(*of))):
            yield name, key, row[key], [*may, *map(in_short, may)]


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
        if not head["test"] and head["study"].get("robustness", {}).get("cells", 1.0) < 1:
            print(
                f"{folder}rows.jsonl: not recomputed, as images are scored under some cells alone"
            )
            continue
        if (head["study"]["ablation"] or {}).get("replicates"):
            parts = [Study(files, one) for one in folders(files) if is_replicate(one, folder)]
            study, tables = parts[0], {"effects": of_effects}
            study.effects = lambda parts=parts: pooled(parts)
            if any(one.failed for one in parts):
                print(f"{folder}tables: not recomputed, as runs have failed")
                continue
        else:
            study = Study(files, folder)
            tables = {"trials": of_trials, "arms": of_arms, "effects": of_effects}
            equal.append(compare(f"{folder}rows.jsonl", of_scores(study, None), exact=True))
        for name, of in tables.items():
            file = f"{folder}tables/{name}.csv"
            if any(study.lacks(metric) for _, metric in study.claims) and name != "trials":
                print(f"{file}: not recomputed, as claims are about networks between others")
            elif study.has_equivalence and name == "effects":
                print(f"{file}: not recomputed, as a claim is of equivalence")
            elif file in files:
                rows = csv.DictReader(io.StringIO(files[file].decode()))
                equal.append(compare(file, of(study, [*rows]), exact=name == "trials"))
    return all(equal)


# -- Several archives ------------------------------------------------------------------------


def pooled(studies):
    """Effects over replications: of each the mean over the seeds at which all cells ended well."""
    first = studies[0]
    if any((one.weights, one.claims) != (first.weights, first.claims) for one in studies):
        raise SystemExit("recompute: archives that are pooled must compare the same arms.")

    def model(*of):
        tables = [one.differences(*of, one.whole_pairs(one.cells)) for one in studies]
        return Model(np.array([table.mean(axis=0) for table in tables]))

    tuned = set().union(*(one.tuned for one in studies))
    looks = sum(one.looks for one in studies)
    return Effects(first.claims, first.margin, model, tuned, looks)


def table(effects):
    """The primary contrasts as Markdown, in points; what is kept has its own p."""
    heads = ("contrast", "metric", "difference", "p", "adjusted p", "verdict", "kept", "each")
    lines = [heads, ["---"] * len(heads)]
    for of in effects.claims:
        model, kept = effects.model(*of), effects.kept(*of)[0]
        ends = ", ".join(f"{100 * end:+.2f}" for end in effects.bounds(*of))
        each = ", ".join(f"{100 * one:+.2f}" for one in model.seeds)
        p_values = p_texts(model.p())[0], p_texts(effects.adjusted[of])[0]
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
