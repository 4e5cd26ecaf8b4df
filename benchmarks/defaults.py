"""The studies behind the defaults: candidates, methods at equal clean accuracy, cheaper trade-offs.

    python benchmarks/defaults.py candidates                        # digits
    python benchmarks/defaults.py methods --data FOLDER             # CIFAR-10, train/CLASS/*
    python benchmarks/defaults.py tradeoff --data FOLDER --baseline 20

Each is an ablation that `ablate launch` runs and resumes, in `runs/`; its table is printed from the
ledger.  All are scored on validation images.

    candidates  the same number of settings for each method, 3 seeds each, the same images through
                the network; the best of a method goes into `METHODS` and into the shipped studies
    around      one thing at a time around the best `clean+fma`: taps, anchor, batch norm; and the
                best of each method without `clean`, which reads twice as many copies
    competitors what costs nothing or little beside `clean+da` and `clean+fma`: batch norm adapted
                at test time, TRADES, layer-wise learning rates, frozen stages, probing first
    methods     the best of each method on 8 seeds that no candidate has seen
    tradeoff    the networks between baseline and finetuned weights (`finetune.interpolation`)
                against other ways of losing less clean accuracy, each of which trains on more
                images, for about the seconds that scoring the networks takes: robust accuracy less
                that of the networks between at the same clean accuracy
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from clean_loss import at_clean_loss, curve_of, differences_to_first

import ablate
from ablate.ablation.intervals import t_interval
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.study.scores import Scores

Values = dict[str, Any]

MARGIN = 0.01
"""Clean accuracy lost to the baseline at which methods are compared, as `answer.clean_margin`."""
SEEDS = {"methods": range(1, 9)}
SEEDS |= dict.fromkeys(["candidates", "around", "competitors"], range(101, 104))
SEEDS |= dict.fromkeys(["curve", "others"], range(201, 204))
RATES = (0.01, 0.03)

LOSSES: dict[str, dict[str, Values]] = {
    "DA": {
        "weight 1": {"loss.terms": "clean+da"},
        "weight 3": {"loss.terms": "clean+da", "loss.da.weight": 3.0},
        "half of the copies clean": {"loss.terms": "clean+da", "augment.clean_fraction": 0.5},
    },
    "ST": {
        "weight 1, both": {"loss.terms": "clean+st", "loss.st.weight": 1.0},
        "weight 1, pretrained": {
            "loss.terms": "clean+st",
            "loss.st.weight": 1.0,
            "loss.st.anchor": "pretrained",
        },
        "weight 3, pretrained": {
            "loss.terms": "clean+st",
            "loss.st.weight": 3.0,
            "loss.st.anchor": "pretrained",
        },
    },
    "FMA": {
        "weight 1, both": {
            "loss.terms": "clean+fma",
            "loss.fma.weight": 1.0,
            "loss.fma.anchor": "both",
        },
        "weight 1, pretrained": {
            "loss.terms": "clean+fma",
            "loss.fma.weight": 1.0,
            "loss.fma.anchor": "pretrained",
        },
        "weight 3, pretrained": {
            "loss.terms": "clean+fma",
            "loss.fma.weight": 3.0,
            "loss.fma.anchor": "pretrained",
        },
    },
    "DA+FMA": {
        "weight 0.3, clean": {
            "loss.terms": "clean+da+fma",
            "loss.fma.weight": 0.3,
            "loss.fma.anchor": "clean",
        },
        "weight 1, clean": {
            "loss.terms": "clean+da+fma",
            "loss.fma.weight": 1.0,
            "loss.fma.anchor": "clean",
        },
        "weight 1, pretrained": {
            "loss.terms": "clean+da+fma",
            "loss.fma.weight": 1.0,
            "loss.fma.anchor": "pretrained",
        },
    },
}
"""By method: settings of its loss, each of which is tried with each of `RATES`."""


class Data(NamedTuple):
    """Where methods are compared.

    Attributes:
        name: "digits" or "cifar10".
        study: keys of the study.
        images: through the network in a run of each kind of study.
    """

    name: str
    study: Mapping[str, Any]
    images: Mapping[str, int]


def data_of(folder: Path | None, epochs: int | None) -> Data:
    if folder is None:
        study = {
            "dataset": {"name": "digits", "validation": {"fraction": 0.25}},
            "model": {"name": "resnet8"},
            "baseline": {"epochs": epochs or 10},
            "finetune": {"batch_size": 64},
            "robustness": {"suite": "families_grey"},
        }
        images = {"candidates": 10_000, "methods": 10_000, "curve": 10_000, "others": 14_000}
        images |= dict.fromkeys(["around", "competitors"], images["candidates"])
        return Data("digits", study, images)
    study = {
        "dataset": {
            "name": "image_folder",
            "path": str(folder.absolute()),
            "crop_padding": 4,
            "horizontal_flip": True,
            "validation": {"fraction": 0.04},
        },
        "model": {"name": "resnet20"},
        "baseline": {"epochs": epochs or 12, "batch_size": 128},
        "finetune": {"batch_size": 128},
        "robustness": {"suite": "families", "images": 1000},
    }
    images = {"candidates": 12_000, "methods": 24_000, "curve": 12_000, "others": 19_000}
    images |= dict.fromkeys(["around", "competitors"], images["candidates"])
    return Data("cifar10", study, images)


def candidates() -> dict[str, Values]:
    return {
        f"{method} {loss} lr {rate:g}": values | {"finetune.learning_rate": rate}
        for method, losses in LOSSES.items()
        for loss, values in losses.items()
        for rate in RATES
    }


METHODS: dict[str, dict[str, str]] = {
    "digits": {
        "DA": "DA weight 1 lr 0.03",
        "ST": "ST weight 1, both lr 0.03",
        "FMA": "FMA weight 3, pretrained lr 0.01",
        "DA+FMA": "DA+FMA weight 1, clean lr 0.03",
    },
    "cifar10": {
        "DA": "DA weight 1 lr 0.01",
        "ST": "ST weight 1, pretrained lr 0.01",
        "FMA": "FMA weight 1, pretrained lr 0.03",
        "DA+FMA": "DA+FMA weight 1, pretrained lr 0.01",
    },
}
"""The best candidate of each method: robust accuracy at one point of clean loss."""


CURVE: Values = {"loss.terms": "clean+da", "finetune.learning_rate": 0.03}
"""The training whose networks between are compared with `others`."""


def others(data: Data) -> dict[str, Values]:
    """What moves along the same trade-off as the networks between, in one training each."""
    few = data.images["others"] // 4
    varied: dict[str, Values] = {
        "lr 0.03": {},
        "lr 0.01": {"finetune.learning_rate": 0.01},
        "lr 0.003": {"finetune.learning_rate": 0.003},
        "a quarter of the steps": {"finetune.budget.images": few},
        "stopped early": {"finetune.budget.images": few, "finetune.schedule": "constant"},
        "strength 0.5": {"augment.strength": 0.5},
        "half of the copies clean": {"augment.clean_fraction": 0.5},
        "averaged weights": {"finetune.ema_decay": 0.99},
    }
    return {name: CURVE | values for name, values in varied.items()}


def methods(data: Data) -> dict[str, Values]:
    return {name: candidates()[best] for name, best in METHODS[data.name].items()}


def around(data: Data) -> dict[str, Values]:
    best = methods(data)
    varied: dict[str, Values] = {
        "last tap": {},
        "all taps": {"loss.fma.layers": "taps"},
        "anchor clean": {"loss.fma.anchor": "clean"},
        "batch norm separate": {"finetune.batch_norm": "separate"},
        "batch norm frozen": {"finetune.batch_norm": "frozen"},
    }
    alone = {
        f"{name}, copies alone": values | {"loss.terms": str(values["loss.terms"])[len("clean+") :]}
        for name, values in best.items()
    }
    return {name: best["FMA"] | values for name, values in varied.items()} | alone


ADAPTED_IMAGES = 64
"""How many images the baseline's own statistics count as, where batch norm is adapted."""


def competitors(data: Data) -> dict[str, Values]:
    best = methods(data)
    trades = {"loss.terms": "clean+st", "loss.st.form": "kl", "loss.st.weight": 6.0}
    return {
        "DA": best["DA"],
        "FMA": best["FMA"],
        "TRADES, beta 6": best["DA"] | trades,
        "DA, layer_decay 0.7": best["DA"] | {"finetune.layer_decay": 0.7},
        "DA, stem and stage1 frozen": best["DA"] | {"finetune.frozen": ["stem", "stage1"]},
        "DA, last layer first": best["DA"] | {"finetune.probe_fraction": 0.25},
    }


def arms_of(kind: str, data: Data) -> dict[str, Values]:
    if kind == "candidates":
        return candidates()
    if kind == "curve":
        return {"networks between": CURVE}
    made = {"methods": methods, "around": around, "competitors": competitors, "others": others}
    return made[kind](data)


ALL_ALPHAS = [0.25, 0.5, 0.75, 1.0]
ALPHAS = {
    "candidates": [0.5, 1.0],
    "around": [0.5, 1.0],
    "competitors": [0.5, 1.0],
    "methods": ALL_ALPHAS,
    "curve": ALL_ALPHAS,
}


def study_of(kind: str, data: Data) -> Values:
    arms = arms_of(kind, data)
    finetune = dict(data.study["finetune"])
    finetune["budget"] = {"images": data.images[kind]}
    if kind in ALPHAS:
        finetune["interpolation"] = {"alphas": ALPHAS[kind]}
    first, *rest = arms
    ablation: Values = {"design": "arms", "arms": arms}
    if kind == "others":  # not at equal images, so these are no `arms`
        levels = {name: arms[name] for name in rest}
        factors = {"along the trade-off": levels}
        ablation = {"design": "one_at_a_time", "reference": arms[first], "factors": factors}
    elif rest:
        ablation["compare_to"] = first
    if kind == "methods":
        metric = "val_robust_accuracy_at_clean_loss"
        ablation["primary"] = [{"compare": one, "to": first, "metric": metric} for one in rest]
    severities = [1, 3, 5]
    if data.name != "digits":
        severities = [2, 4] if kind in ("candidates", "around", "competitors") else [3]
    robustness = {**data.study["robustness"], "severities": severities}
    if kind == "competitors":
        robustness["adapt_batch_norm"] = ADAPTED_IMAGES
    return {
        "version": 1,
        "name": f"defaults_{kind}_{data.name}_{data.study['baseline']['epochs']}",
        "question": "Which settings are good defaults, and what keeps clean accuracy?",
        **data.study,
        "robustness": robustness,
        "finetune": finetune,
        "loss": {"fma": {"layers": ["stage3"]}},
        "ablation": {**ablation, "seeds": list(SEEDS[kind])},
        "run": {"parallel": "auto", "cpus_per_trial": 1},
    }


def by_cell(record: StudyRecord) -> dict[str, list[RowRecord]]:
    cells: dict[str, list[RowRecord]] = {}
    for row in sorted(record.complete, key=lambda row: row.pair or 0):
        assert row.cell is not None
        cells.setdefault(row.cell, []).append(row)
    return cells


def seconds_of(rows: Iterable[RowRecord]) -> float:
    """Of training and scoring, the median of the rows."""
    return statistics.median(
        (attempt.ended or attempt.started) - attempt.started
        for row in rows
        for attempt in row.attempts[-1:]
    )


def kept_at(rows: Sequence[RowRecord], baseline: Scores, loss: float) -> np.ndarray:
    """Robust accuracy of each run at a clean loss, in percent."""
    found = [at_clean_loss(*curve_of(row, baseline), loss) for row in rows]
    return 100 * np.array(found)


def mean_of(rows: Sequence[RowRecord], baseline: Scores) -> np.ndarray:
    """Clean and robust accuracy by alpha, means over the runs in percent: `[alphas, 2]`."""
    curves = np.array([np.stack(curve_of(row, baseline), axis=1) for row in rows])
    return np.asarray(100 * curves.mean(axis=0))


def show(record: StudyRecord) -> None:
    """One line an arm, means over seeds; in brackets the deviation of the seeds."""
    baseline = record.references["baseline"]
    for name, scores in record.references.items():
        if name != "plain":
            print(f"{name} {scores.clean_accuracy:.1%} clean, {scores.robust_accuracy:.1%} robust")
    print(
        "\n| arm | seeds | clean | robust | robust at 1 point of clean loss | seconds |\n"
        "|---|---|---|---|---|---|"
    )
    for name, rows in by_cell(record).items():
        clean, robust = mean_of(rows, baseline)[-1]
        kept = kept_at(rows, baseline, MARGIN)
        spread = kept.std(ddof=1) if len(kept) > 1 else math.nan
        print(
            f"| {name} | {len(rows)} | {clean:.1f}% | {robust:.1f}% | "
            f"{kept.mean():.1f}% [{spread:.1f}] | {seconds_of(rows):.0f} |"
        )
    print()


def show_differences(folder: Path, record: StudyRecord) -> None:
    """The curve of each method, and its paired differences to the first at equal clean accuracy,
    in points, with 95 % intervals over seeds and images."""
    baseline, cells = record.references["baseline"], by_cell(record)
    losses = [MARGIN, 2 * MARGIN]
    gains = differences_to_first(folder, record, cells, losses) if len(cells) > 1 else {}
    print("| method | clean / robust at alpha 0.25, 0.5, 0.75, 1 | 1 point | 2 points |")
    print("|---|---|---|---|")
    for name, rows in cells.items():
        curve = mean_of(rows, baseline)[1:]
        shown = ", ".join(f"{clean:.1f} / {robust:.1f}" for clean, robust in curve)
        texts = [
            f"{one.mean:+.1f} [{one.low:+.1f}, {one.high:+.1f}]" for one in gains.get(name, ())
        ]
        print(f"| {name} | {shown} | " + " | ".join(texts or ("", "")) + " |")
    print()


def show_against_curve(record: StudyRecord, curve: StudyRecord) -> None:
    """One line an arm: its robust accuracy, less that of the networks between of the same seed at
    the arm's clean accuracy, in points, with a 95 % t interval over seeds."""
    baseline = record.references["baseline"]
    between = {row.pair: curve_of(row, baseline) for row in curve.complete}
    print(
        "| arm | seeds | clean | robust | less networks between at its clean accuracy | seconds |\n"
        "|---|---|---|---|---|---|"
    )
    for name, rows in by_cell(record).items():
        gains = []
        for row in rows:
            clean, robust = curve_of(row, baseline)
            gains.append(robust[-1] - at_clean_loss(*between[row.pair], clean[0] - clean[-1]))
        last, gain = mean_of(rows, baseline)[-1], t_interval(100 * np.array(gains))
        print(
            f"| {name} | {len(rows)} | {last[0]:.1f}% | {last[1]:.1f}% | "
            f"{gain.mean:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] | {seconds_of(rows):.0f} |"
        )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description="The studies behind the defaults.")
    parser.add_argument(
        "kind", choices=["candidates", "around", "competitors", "methods", "tradeoff"]
    )
    parser.add_argument("--data", type=Path, help="folder with train/CLASS/* and test/CLASS/*")
    parser.add_argument("--baseline", type=int, metavar="EPOCHS", help="of the baseline")
    parser.add_argument("--show", action="store_true", help="print the table, run nothing")
    options = parser.parse_args()
    data = data_of(options.data, options.baseline)
    for kind in ("curve", "others") if options.kind == "tradeoff" else (options.kind,):
        study = study_of(kind, data)
        file = Path("runs", f"{study['name']}.yaml")
        if not options.show:
            file.parent.mkdir(exist_ok=True)
            file.write_text(yaml.safe_dump(study, sort_keys=False))
            command = [sys.executable, "-m", "ablate", "launch", str(file), "--resume"]
            subprocess.run(command, check=True)
        folder = Path("runs", study["name"])
        record = ablate.read(folder)
        if kind == "others":
            curve = ablate.read(Path("runs", study_of("curve", data)["name"]))
            show_against_curve(record, curve)
            continue
        show(record)
        if kind in ("methods", "curve"):
            show_differences(folder, record)


if __name__ == "__main__":
    main()
