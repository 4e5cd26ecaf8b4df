"""What a search finds by real trainings, on test images: trials, networks in between, mixtures.

    python benchmarks/search/live.py --folder runs/live                                # the digits
    python benchmarks/search/live.py --folder runs/live --data FOLDER \\
        --baseline studies/paper/baselines/0.safetensors --baseline ...                # CIFAR-10

For each training seed (of the digits), or each baseline (of CIFAR-10), the default search and `tpe`
run 24 whole trials, and `tpe` goes on to 64.  What is taken from a search is chosen on validation
images, scored under the types of the suite `families`: the front of its trials; of these and of the
networks between the baseline and the trials on their front; of all these and averages of trials.
What is printed is measured on test images, under other types.

A search, and the score of a network, is kept in the folder, so the same command goes on where it
was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moocore
import numpy as np

import ablate
from ablate.ablation.intervals import t_interval
from ablate.analysis.hypervolume import nondominated
from ablate.analysis.pareto import pareto_info
from ablate.files.cache import publish_file
from ablate.ledger.record import StudyRecord
from ablate.study.mixture import Mixture

STUDIES = Path(__file__).parents[2] / "studies"
FEW, MANY = 24, 64
"""Trials of both searches, and those to which `tpe` goes on."""
SEARCHES: Mapping[str, str] = {"default": "{}", "tpe": "{sampler: tpe}"}
OTHER_TYPES = (
    *("shot_noise", "speckle_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "spatter", "elastic_transform", "pixelate"),
)
"""Corruptions of the test images, at severity 3: none is a type of the suite `families`."""
AT_BASELINE = 1e-6
"""Weight of a trial in a network that is the baseline but for rounding."""
KINDS = ("trials", "networks in between", "mixtures")
"""What a front is of; each has the ones before it."""
SMALL = (
    "finetune.budget={images: 16000}",
    "robustness.severities=[3]",
    "robustness.images=600",
    "dataset.name=image_folder",
    "dataset.download=false",
)
"""Settings of `studies/cifar10_joint.yaml`."""


@dataclass(frozen=True)
class Case:
    """What both searches begin from: a baseline, or a seed.

    Attributes:
        study: file; settings: as for `ablate launch --set`.
        test: data set whose test images are read; images: of them, clean and in each
            copy; None: all.
        folder: for what is kept.
    """

    study: Path
    settings: tuple[str, ...]
    test: str
    images: int | None
    folder: Path

    def search(self, name: str, trials: int) -> StudyRecord:
        """Run a search to so many trials, or read it."""
        options: dict[str, Any] = {"executor": "inline", "progress": False}
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(self.folder):
            if Path("runs", name).exists():
                return ablate.resume(f"runs/{name}", trials=trials, **options)
            settings = (*self.settings, f"name={name}", f"search={SEARCHES[name]}")
            settings += (f"search.trials={trials}", "answer.mixtures=true", "run.gpus_per_trial=0")
            return ablate.launch(self.study, settings, **options)

    def tested(self, name: str, network: Mixture) -> tuple[float, float]:
        """Clean and robust accuracy of a search's network on the test images."""
        result = self.folder / f"{name}_{network.numbers}_{network.alpha:g}.json"
        if not result.exists():
            run = self.folder / "runs" / name
            found = ablate.evaluate(
                ablate.load_model(run, network.numbers, alpha=network.alpha),
                dataset=self.test,
                split="test",
                suite="all",
                types=OTHER_TYPES,
                severities=(3,),
                images=self.images,
            )
            assert found.clean is not None
            scores = json.dumps([found.clean.accuracy, found.accuracy(OTHER_TYPES)])
            publish_file(result, lambda new: new.write_text(scores))
        clean, robust = json.loads(result.read_text())
        return clean, robust


@dataclass(frozen=True)
class Found:
    """What is on a front, measured on test images.

    Attributes:
        volume: hypervolume from clean accuracy - 0.1 and robust accuracy of the baseline.
        kept: gains in clean and robust accuracy to the baseline, of the most robust network that
            loses no clean accuracy on validation images; None: there is none.
    """

    volume: float
    kept: tuple[float, float] | None


def found(case: Case, name: str, trials: int) -> dict[str, Found]:
    """Run a search to so many trials, and measure its fronts, one for each of `KINDS`."""
    result = case.folder / f"{name}_{trials}.json"
    if not result.exists():
        text = json.dumps({kind: vars(one) for kind, one in measured(case, name, trials).items()})
        publish_file(result, lambda new: new.write_text(text))
    return {kind: Found(**one) for kind, one in json.loads(result.read_text()).items()}


def measured(case: Case, name: str, trials: int) -> dict[str, Found]:
    """As `found`, of a search that may have to run."""
    record = case.search(name, trials)
    info = pareto_info(record)
    clean, robust = case.tested(name, Mixture((info.points[0].number,), AT_BASELINE))
    least = record.references["baseline"].clean_accuracy
    measures = {}
    between = [one for one in info.mixtures if len(one.point.trials) == 1]
    for kind, networks in zip(
        KINDS,
        (info.points, (*info.points, *between), (*info.points, *info.mixtures)),
        strict=True,
    ):
        on_front = nondominated([one.values for one in networks], record.study.objectives)
        front = [networks[place] for place in np.flatnonzero(on_front)]
        tested = [case.tested(name, one.point) for one in front]
        volume = moocore.hypervolume(tested, ref=(clean - 0.1, robust), maximise=True)
        without_loss = [place for place, one in enumerate(front) if one.values[0] >= least]
        kept = None
        if without_loss:
            best = max(without_loss, key=lambda place: front[place].values[1])
            kept = (tested[best][0] - clean, tested[best][1] - robust)
        measures[kind] = Found(float(volume), kept)
    return measures


def cases(asked: argparse.Namespace) -> Iterator[Case]:
    folder = asked.folder.resolve()
    if asked.data is None:
        for seed in range(asked.seeds):
            settings = (f"finetune.seed={seed}", f"search.seed={seed}")
            place = folder / f"digits_{seed}"
            yield Case(STUDIES / "quickstart.yaml", settings, "digits", None, place)
    for number, baseline in enumerate(asked.baseline):
        settings = (
            *SMALL,
            f"dataset.path={asked.data.resolve()}",
            f"baseline={{checkpoint: {baseline.resolve()}, saw_validation: false}}",
            f"finetune.seed={number}",
            f"search.seed={number}",
        )
        study, place = STUDIES / "cifar10_joint.yaml", folder / f"cifar10_{baseline.stem}"
        yield Case(study, settings, str(asked.data.resolve()), 1000, place)


def ratio_text(over: Sequence[float], under: Sequence[float]) -> str:
    """Geometric mean of a ratio, with its 95 % t interval over the cases."""
    spread = t_interval(np.log(np.array(over) / np.array(under)))
    mean, low, high = np.exp([spread.mean, spread.low, spread.high])
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="What searches find, on test images.")
    parser.add_argument("--folder", type=Path, default=Path("runs/live"))
    parser.add_argument("--seeds", type=int, default=6, help="of the digits")
    parser.add_argument("--data", type=Path, help="CIFAR-10: folder with train/ and test/")
    parser.add_argument("--baseline", type=Path, action="append", default=[], help="weights")
    asked = parser.parse_args()
    print("| case | search | trials | hypervolume: " + " | ".join(KINDS) + " | at no clean loss |")
    print("|---|---|---|---|---|---|---|")
    volumes: dict[tuple[str, int, str], list[float]] = {}
    for case in cases(asked):
        for name, trials in (("default", FEW), ("tpe", FEW), ("tpe", MANY)):
            measures = found(case, name, trials)
            for kind, one in measures.items():
                volumes.setdefault((name, trials, kind), []).append(one.volume)
            kept = measures[KINDS[-1]].kept
            gains = "none" if kept is None else f"{100 * kept[1]:+.1f} ({100 * kept[0]:+.1f} clean)"
            cells = [f"{one.volume:.5f}" for one in measures.values()]
            line = " | ".join([case.folder.name, name, str(trials), *cells, gains])
            print(f"| {line} |", flush=True)
    mixtures, ours = KINDS[-1], ("default", FEW)
    print("\nRatios of hypervolumes, geometric means over the cases:")
    for text, over, under in (
        ("mixtures of the default's 24 trials to networks in between", mixtures, KINDS[1]),
        ("the same to its trials", mixtures, KINDS[0]),
    ):
        print(f"- {text}: {ratio_text(volumes[*ours, over], volumes[*ours, under])}")
    for trials, kind in ((MANY, KINDS[0]), (MANY, mixtures), (FEW, mixtures), (FEW, KINDS[0])):
        ratio = ratio_text(volumes[*ours, mixtures], volumes["tpe", trials, kind])
        print(f"- the same to {kind} of {trials} trials of tpe: {ratio}")


if __name__ == "__main__":
    main()
