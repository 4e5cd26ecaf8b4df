#!/usr/bin/env python
"""All tables of the studies of this folder, as Markdown, from the archives that there are.

    python studies/paper/tables.py FOLDER                       # studies/paper/results/tables.md

Of three baselines everything that README.md announces; of fewer the same numbers, of which nothing
is claimed.  An archive that is missing is named, and its table left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

import ablate
from ablate.ablation.cell import Design
from ablate.ablation.searches import expected_best
from ablate.ledger.record import StudyRecord
from ablate.study.scores import COSTS, Scores

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2] / "benchmarks")]

from claims import (
    ARMS,
    CLEAN,
    MARGIN,
    Ablations,
    claims,
    markdown,
    number,
    over,
    percent,
    points,
    within,
)
from clean_loss import at_clean_loss, curve_of

HEAD = (
    "What was asked, and how, is in [the plan](../README.md), and what came out in "
    "[the measurements](../../../docs/measurements.md#fma-st-and-ca-in-detail). CIFAR-10, JPEG "
    "copies; ResNet-20; in brackets 95 % intervals. "
    "`python studies/paper/tables.py studies/paper/results`."
)
BASELINES = (0, 1, 2)
LOSSES = (0.0, 0.005, 0.01)
"""Of clean accuracy, at which curves are read."""
BUDGETS = (1, 2, 4, 8, 16)
"""Trials of a search."""


# -- All arms --------------------------------------------------------------------------------


def all_arms(arms: Ablations) -> str:
    """Each arm's accuracies, and its differences to the plain finetune and to DA+CA."""
    groups = arms.groups()
    absolute = markdown(
        ["arm, accuracy in %", *groups],
        [
            [arm, *(percent(arms.value(arm, metrics)) for metrics in groups.values())]
            for arm in ("baseline", *ARMS)
        ],
    )
    parts = [f"Over {arms.basis}. 95 % each, exploratory but for the claims.", absolute]
    for to in ("plain", "DA+CA"):
        rows = [
            [
                arm,
                *(points(arms.model(arm, to, one).estimate()) for one in groups.values()),
                str(arms.model(arm, to, [CLEAN]).n),
            ]
            for arm in ARMS
            if arm != to
        ]
        parts.append(markdown([f"less {to}, points", *groups, "n"], rows))
    return "\n\n".join([*parts, *(f"- {one}" for one in arms.info.failures)])


def by_type(arms: Ablations) -> str:
    """Each type and family, less the plain finetune; what was trained on is marked."""
    first, trained = arms.parts[0].first, arms.names("seen_type")
    assert isinstance(first, Scores)
    others = ARMS[1:]
    rows = []
    for name in (*first.families, *first.accuracies):
        metric = f"accuracy.{name}"
        plain = number(arms.value("plain", [metric]))
        gains = [points(arms.model(arm, "plain", [metric]).estimate()) for arm in others]
        shown = name + " (trained)" * (metric in trained)
        if name in first.families:
            members = {f"accuracy.{kind}" for kind in first.families[name]}
            shown = f"*{name}*" + " (some trained)" * bool(members & {*trained})
        rows.append([shown, plain, *gains])
    return markdown(["less plain, points", "plain, %", *others], rows)


def costs(arms: Ablations) -> str:
    """What a finetuning of each arm takes."""
    found = {one.name: one.costs for one in arms.info.arms if one.name in ARMS}
    _, flops, images, teacher = COSTS
    return markdown(
        ["arm", "images learnt from", "images through a teacher", "TFLOPs", "of plain's"],
        [
            [
                *(arm, f"{one[images]:,.0f}", f"{one[teacher]:,.0f}"),
                *(f"{one[flops] / 1e12:,.2f}", f"{one[flops] / found['plain'][flops]:.2f}"),
            ]
            for arm, one in found.items()
        ],
    )


# -- Searches --------------------------------------------------------------------------------


def kept_scores(record: StudyRecord) -> np.ndarray:
    """Robust accuracy of each trial; NaN of one that loses more clean accuracy than `MARGIN`, or
    has failed."""
    least = record.references["plain"].clean_accuracy - MARGIN
    values = (row.values or (np.nan, np.nan) for row in record.rows)
    return np.array([robust if clean >= least else np.nan for clean, robust in values])


def best_of(record: StudyRecord) -> np.ndarray:
    """Expected best robust accuracy of 1, 2, ... trials; one that is not kept counts as the plain
    finetune, which each search has as its reference."""
    scores = kept_scores(record)
    plain = record.references["plain"].robust_accuracy
    return expected_best(np.where(np.isfinite(scores), scores, plain))


def tuning(searches: Mapping[str, Sequence[StudyRecord]]) -> str:
    """The expected best of smaller searches, over searches."""
    rows = []
    for arm, records in searches.items():
        scores = [kept_scores(record) for record in records]
        best = [best_of(record) for record in records]
        shown = [percent(over([one[n - 1] for one in best if len(one) >= n])) for n in BUDGETS]
        kept = ", ".join(f"{np.isfinite(one).sum()} of {len(one)}" for one in scores)
        rows.append([arm, *shown, kept])
    heads = ["arm", *(f"{n} trial{'s' * (n > 1)}" for n in BUDGETS), "keep clean accuracy"]
    return (
        "Expected best validation robust accuracy in % among trials that lose at most "
        f"{100 * MARGIN:g} points of clean accuracy to the plain finetune; another counts as that "
        "plain finetune. Mean over searches with its 95 % interval (t over searches, each "
        "from a baseline of its own); the first trial is the default, the others are random, and "
        f"all count as draws (without replacement).\n\n{markdown(heads, rows)}"
    )


# -- Curves ----------------------------------------------------------------------------------


def mean_curve(record: StudyRecord, cell: str) -> tuple[np.ndarray, np.ndarray]:
    """Clean and robust accuracy from the baseline to the finetuned network, over seeds."""
    baseline = record.references["baseline"]
    rows = [row for row in record.complete if row.cell == cell]
    clean, robust = np.mean([curve_of(row, baseline) for row in rows], axis=0)
    return clean, robust


def curves(records: Sequence[StudyRecord]) -> str:
    """Where each curve has lost so much clean accuracy."""

    def at(arm: str, loss: float) -> np.ndarray:
        return np.array([at_clean_loss(*mean_curve(one, arm), loss) for one in records])

    def ends_before(arm: str, loss: float) -> bool:
        """Whether a curve never loses so much, and is read at its end."""
        curves = (mean_curve(one, arm)[0] for one in records)
        return any(clean[-1] > clean[0] - loss for clean in curves)

    rows = []
    for arm in ARMS[1:]:
        shown = []
        for loss in LOSSES:
            less = over(at(arm, loss) - at("DA+CA", loss))
            shown += [percent(over(at(arm, loss))) + "*" * ends_before(arm, loss)]
            shown += ["" if arm == "DA+CA" else points(less)]
        rows.append([arm, *shown])
    heads = [
        head
        for loss in LOSSES
        for head in (f"robust at {100 * loss:g} points of clean loss", "less DA+CA")
    ]
    return (
        f"Validation images, mean over the types of the searches, {_over(records)}; linear between "
        "alphas. * A curve that has lost less at its end is read there.\n\n"
        f"{markdown(['arm', *heads], rows)}"
    )


def beside(records: Sequence[StudyRecord], curve_records: Sequence[StudyRecord]) -> str:
    """What else moves along the trade-off of DA, beside its curve at the same clean loss."""
    assert records[0].design is not None
    names = [cell.name for cell in Design.from_json(records[0].design).cells]
    rows = []
    for name in names:
        losses, found, gains = [], [], []
        is_beyond = False
        for record, of_curve in zip(records, curve_records, strict=True):
            clean, robust = (one[-1] for one in mean_curve(record, name))
            losses.append(clean - record.references["baseline"].clean_accuracy)
            found.append(robust)
            curve = mean_curve(of_curve, "DA+CA")
            gains.append(robust - at_clean_loss(*curve, max(0.0, -losses[-1])))
            is_beyond |= bool(clean < curve[0][-1])
        estimates = [over(one) for one in (losses, found, gains)]
        clean, robust, gain = estimates
        mark = "*" * is_beyond
        rows.append([name.rpartition(": ")[2], points(clean), percent(robust), points(gain) + mark])
    heads = ["DA+CA with", "clean less baseline", "robust, %", "less the curve, same clean loss"]
    return (
        f"Validation images, {_over(records)}. * From at least one baseline it loses more clean "
        "accuracy than the curve does at its end, and is compared with that end.\n\n"
        f"{markdown(heads, rows)}"
    )


def chosen_alphas(arms: Ablations) -> str:
    """The alphas that were fixed on validation images, on the test images."""
    designs = [Design.from_json(record.design or {}) for record in arms.records]
    untrained = arms.names()
    rows = []
    for arm in ARMS[1:]:
        name = f"{arm} between"
        alphas = [one.cell(name).values["finetune.interpolation"]["alpha"] for one in designs]
        gain = (
            ""
            if arm == "DA+CA"
            else points(arms.model(name, "DA+CA between", untrained).estimate())
        )
        for one, shown in ((arm, "1"), (name, ", ".join(map(str, alphas)))):
            differences = [
                points(arms.model(one, "baseline", metrics).estimate())
                for metrics in ([CLEAN], untrained)
            ]
            rows.append([arm, shown, *differences, gain if one == name else ""])
    heads = ["arm", "alpha", "clean less baseline", "untrained types less baseline"]
    table = markdown([*heads, "untrained types less DA+CA between"], rows)
    return f"Test images, over {arms.basis}. 95 % each, exploratory.\n\n{table}"


def _over(records: Sequence[object]) -> str:
    many = len(records) > 1
    return f"mean over {len(records)} baselines, t over them" if many else "one baseline"


# -- Apart -----------------------------------------------------------------------------------


def tier_2(arms: Ablations) -> str:
    """Each arm less the plain finetune on as many images."""
    first = arms.whole.first
    assert isinstance(first, Scores)
    kinds = [f"accuracy.{kind}" for kind in first.accuracies]
    untrained = [kind for kind in kinds if not kind.endswith("gaussian_blur")]
    groups = {"clean": [CLEAN], f"{len(kinds)} types": kinds, "without gaussian_blur": untrained}
    rows = []
    for arm in arms.info.arms:
        share = arm.name.partition(" on ")[2]
        to = f"plain on {share}" if share.endswith("%") else "plain"
        gains = ["-"] * len(groups)
        if arm.name != to:
            gains = [points(arms.model(arm.name, to, one).estimate()) for one in groups.values()]
        values = [number(arms.value(arm.name, metrics)) for metrics in groups.values()]
        rows.append([arm.name, *values, *gains, to if arm.name != to else ""])
    heads = ["arm", *(f"{name}, %" for name in groups), *(f"{name}, points" for name in groups)]
    table = markdown([*heads, "less"], rows)
    return f"Validation images, over {arms.basis}.\n\n{table}"


def jpeg(files: Sequence[Path]) -> str:
    """Accuracy under jpeg_compression, which is in no mean."""
    found = [json.loads(file.read_text()) for file in files]
    levels = [*found[0]["plain"]["accuracies"]]
    rows = []
    for arm in ARMS:
        table = np.array([[one[arm]["accuracies"][level] for level in levels] for one in found])
        clean = np.array([one[arm]["clean_accuracy"] for one in found])
        plain = np.array([[*one["plain"]["accuracies"].values()] for one in found])
        gain = points(over((table - plain).mean(axis=1))) if arm != "plain" else ""
        shown = [f"{100 * one:.1f}" for one in (clean.mean(), *table.mean(axis=0), table.mean())]
        rows.append([arm, *shown, gain])
    heads = ["arm", "clean, %", *(f"severity {one}" for one in levels), "mean", "less plain"]
    said = f"{found[0]['plain']['n_images']:,} test images, one seed of each arm"
    return f"{said}, {_over(found)}.\n\n{markdown(heads, rows)}"


# -- What there is ---------------------------------------------------------------------------


class Archives:
    """Those in a folder; what is asked for and not there is noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.missing: list[str] = []

    def of(self, name: str, baselines: Sequence[int] = BASELINES) -> list[Path]:
        """Args: name: with {} where the number of the baseline is."""
        files = [self._folder / name.format(baseline) for baseline in baselines]
        gone = [file.name for file in files if not file.exists()]
        self.missing += [one for one in gone if one not in self.missing]
        return [file for file in files if file.exists()]

    def confirmed(self, step: str) -> Ablations | None:
        files = self.of(f"paper_{step}_{{}}.tar")
        return Ablations.read([f"{file}/confirm" for file in files]) if files else None

    def searches(self) -> dict[str, list[StudyRecord]]:
        found = {}
        for arm in ARMS:
            files = self.of(f"paper_tune_{{}}_{arm.replace('+', '_')}.tar")
            if files:
                found[arm] = [ablate.read(file) for file in files]
        return found


def sections(archives: Archives) -> Iterable[tuple[str, Callable[[], str]]]:
    """Headings and their tables, as far as there are archives."""
    arms, alphas = archives.confirmed("kept"), archives.confirmed("curves_on_test")
    if arms is not None:
        yield "Primary contrasts", lambda: claims(arms)
        if len(arms.parts) > 1:
            yield "These baselines alone", lambda: within(arms)
        yield "All arms", lambda: all_arms(arms)
        yield "By family and type", lambda: by_type(arms)
        yield "Costs of a finetuning", lambda: costs(arms)
    searches = archives.searches()
    if searches:
        yield "Expected best of a search", lambda: tuning(searches)
    of_curves, of_beside = (archives.of(f"paper_{one}_{{}}.tar") for one in ("curves", "beside"))
    records = {file.stem[-1]: ablate.read(file) for file in of_curves}
    if records:
        yield "Curves", lambda: curves([*records.values()])
    both = {file.stem[-1]: ablate.read(file) for file in of_beside if file.stem[-1] in records}
    if both:
        yield "Beside DA's curve", lambda: beside([*both.values()], [records[one] for one in both])
    if alphas is not None:
        yield "Chosen alphas", lambda: chosen_alphas(alphas)
    tier2 = archives.of("paper_tier2_{}.tar", BASELINES[:1])
    if tier2:
        yield "Tier 2", lambda: tier_2(Ablations.read([str(tier2[0])]))
    of_jpeg = archives.of("jpeg_compression_{}.json")
    if of_jpeg:
        yield "jpeg_compression", lambda: jpeg(of_jpeg)


def main() -> None:
    parser = argparse.ArgumentParser(description="All tables of the paper studies.")
    parser.add_argument("folder", type=Path, help="of the archives")
    asked = parser.parse_args()
    archives = Archives(asked.folder)
    print(f"# Tables of the paper studies\n\n{HEAD}\n")
    for heading, table in sections(archives):
        print(f"## {heading}\n\n{table()}\n")
    if archives.missing:
        print(f"Not there: {', '.join(archives.missing)}.")


if __name__ == "__main__":
    main()
