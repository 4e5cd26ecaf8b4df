"""Record learning curves of random points of a study's space: the table of this folder.

    python benchmarks/search/record.py --chunk 0                   # 10 points, 4 epochs, 2 seeds
    python benchmarks/search/record.py --chunk 0 --epochs 8

A chunk is two searches of ablate, one for each training seed, of the same points: sampled at random
with the chunk's number as the sampler's seed.  Each epoch is scored at alpha 1 (the network) and
0.5 (halfway to the baseline), as at a rung of a search.  An interrupted chunk is resumed by the
same command; a finished one is written to `table/`, and is not recorded again.

All chunks of a study begin from one network, whatever processor records them: the one that
`--set baseline=...` names, or else the first trains it, and its weights lie beside the chunks.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from surrogate import ALPHAS, OBJECTIVES, TABLE, replayed_study

import ablate
from ablate.files.cache import cache_folder, publish_file
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.place import place_of_file
from ablate.robustness.suites import added_types, find_suite
from ablate.space.parse import parse_space
from ablate.space.space import Space
from ablate.study.fingerprint import fingerprint, study_fingerprint
from ablate.study.provenance import PACKAGES, versions
from ablate.study.scores import Scores
from ablate.study.seeds import Seeds
from ablate.study.settings import Study
from ablate.trial.own_loop import TrialContext
from ablate.trial.robustness import TrialRun
from ablate.trial.task import Prepared
from ablate.trial.workbench import Workbench

STUDY = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
SEEDS = (0, 1)
RECORDED = "ABLATE_RECORDED"
"""Environment variable with the chunk that is recorded, for the training loop."""


class Chunk(NamedTuple):
    """Some points of a study, at one budget.

    Attributes:
        file: of the study; settings: `key=value`, as for `ablate launch --set`.
        number: of the chunk, the sampler's seed.
    """

    file: str
    settings: tuple[str, ...]
    number: int
    points: int
    epochs: int

    @property
    def name(self) -> str:
        return f"{Path(self.file).stem}_{self.epochs}_{self.number:03d}"

    @property
    def baseline(self) -> Path:
        """Weights of the network that is finetuned: for the digits those that come with ablate."""
        if Path(self.file) == STUDY:
            return Path(ablate.__file__).parent / "model/weights/resnet8_digits.safetensors"
        return TABLE / f"{Path(self.file).stem}.safetensors"

    @property
    def command(self) -> str:
        """Without the places of files."""
        words = ["--chunk", self.number, "--points", self.points, "--epochs", self.epochs]
        if (file := Path(self.file)) != STUDY:
            root = STUDY.parents[1]
            words += ["--study", file.relative_to(root) if file.is_relative_to(root) else file.name]
        for setting in self.settings:
            key, _, value = setting.partition("=")
            words += ["--set", f"{key}={'FOLDER' if key.endswith('path') else value}"]
        return " ".join(map(str, ["python benchmarks/search/record.py", *words]))


def keep_baseline(chunk: Chunk) -> None:
    """Train the study's baseline on all training images, if the table has none and no other is
    named."""
    if chunk.baseline.exists() or any(one.startswith("baseline=") for one in chunk.settings):
        return
    settings = (*chunk.settings, "dataset.train_fraction=1.0")
    study = place_of_file(Path(chunk.file), settings).study
    assert study is not None
    bench = Workbench.get(study, Path(chunk.file).parent, cache_folder())
    publish_file(chunk.baseline, lambda new: shutil.copyfile(bench.baseline.path, new))


@cache
def finetuning(chunk: Chunk) -> tuple[Study, Workbench, Prepared]:
    """The study whose points are recorded, its data and baseline, and the baseline's scores."""
    settings = (
        f"baseline={{checkpoint: {chunk.baseline}, saw_validation: false}}",
        f"finetune.budget={{epochs: {chunk.epochs}}}",
        "finetune.interpolation.alphas=[0.5, 1.0]",
        "run.gpus_per_trial=0",
        *chunk.settings,
    )
    study = place_of_file(Path(chunk.file), settings).study
    assert study is not None
    bench = Workbench.get(study, Path(chunk.file).parent, cache_folder())
    return study, bench, bench.prepare()


def train(trial: TrialContext) -> None:
    """Finetune at a point, and report the scores of both networks after each epoch."""
    file, settings, *numbers = json.loads(os.environ[RECORDED])
    study, bench, _ = finetuning(Chunk(file, tuple(settings), *numbers))
    seeds = Seeds(study.dataset.validation.seed, trial.seed, study.robustness.seed)
    run = TrialRun(bench, trial.params, seeds)
    for epoch in range(1, trial.epochs + 1):
        began = time.process_time()
        run.run_epoch()
        trained = time.process_time()
        by_alpha = run.interim().by_alpha
        scores = {"train_seconds": trained - began, "score_seconds": time.process_time() - trained}
        for alpha, values in by_alpha.items():
            scores |= {f"{metric}@{alpha}": values[metric] for metric in metrics_of(study)}
        trial.report(epoch, {**scores, "train_flops": by_alpha["1"]["train_flops"]})


def metrics_of(study: Study) -> list[str]:
    """Clean and robust accuracy, and that of each family."""
    families = find_suite(study.robustness.suite).families
    return [*OBJECTIVES, *(f"val_accuracy.{family}" for family in families)]


def launched(chunk: Chunk, space: Space, seed: int) -> StudyRecord:
    """The search of a chunk with one training seed, run to its end."""
    name = f"table_{chunk.name}_{seed}"
    file = Path("runs") / f"{name}.yaml"
    file.parent.mkdir(exist_ok=True)
    search = {"trials": chunk.points, "sampler": "random", "seed": chunk.number}
    objectives = [f"{metric}@1" for metric in OBJECTIVES]
    study = replayed_study(space, "record:train", chunk.epochs, objectives, search)
    study |= {"name": name, "run": {"max_failed_fraction": 1.0}}
    study["finetune"]["seed"] = seed
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    return ablate.launch(file, resume=True, executor="inline", progress=False)


def recorded(row: RowRecord, seed: int, metrics: Sequence[str]) -> dict[str, Any]:
    """A row as the table has it; a training that diverged has fewer epochs."""
    reports = [entry["scores"] for entry in row.curve]
    return {
        "point": row.number,
        "seed": seed,
        "params": dict(row.params),
        "ended": row.state if row.failure is None else row.failure.kind,
        "curves": {
            alpha: [[round(one[f"{metric}@{alpha}"], 5) for metric in metrics] for one in reports]
            for alpha in ALPHAS
        },
        "train_seconds": [round(one["train_seconds"], 3) for one in reports],
        "score_seconds": [round(one["score_seconds"], 3) for one in reports],
        "train_flops": [round(one["train_flops"]) for one in reports],
    }


def record(chunk: Chunk) -> Path:
    """Record a chunk, and write it to the table."""
    written = TABLE / f"{chunk.name}.json.gz"
    if written.exists():
        return written
    keep_baseline(chunk)
    os.environ[RECORDED] = json.dumps(chunk)
    study, _, prepared = finetuning(chunk)
    space = parse_space(study, names_for(study.model.name, Path(chunk.file).parent))
    metrics = metrics_of(study)
    studies = [launched(chunk, space, seed) for seed in SEEDS]
    assert isinstance(prepared.baseline_scores, Scores)
    baseline = prepared.baseline_scores.metrics()
    added = added_types(find_suite(study.robustness.suite))
    table = {
        "command": chunk.command,
        "fingerprint": fingerprint(study_fingerprint(study, space, prepared.data_digest, added)),
        "versions": versions(PACKAGES),
        "environment": dict(prepared.environment),
        "epochs": chunk.epochs,
        "metrics": metrics,
        "baseline": [round(baseline[metric], 5) for metric in metrics],
        "images": prepared.baseline_scores.n_images,
        "space": space.to_json(),
        "rows": [
            recorded(row, seed, metrics)
            for seed, one in zip(SEEDS, studies, strict=True)
            for row in one.rows
        ],
    }
    content = gzip.compress(json.dumps(table, separators=(",", ":")).encode(), 9, mtime=0)
    publish_file(written, lambda new: new.write_bytes(content))
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a chunk of the table.")
    parser.add_argument("--chunk", type=int, required=True, help="from 0; the sampler's seed")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--set", action="append", default=[], help="key=value of the study")
    asked = parser.parse_args()
    file, settings = str(asked.study.resolve()), tuple(asked.set)
    print(record(Chunk(file, settings, asked.chunk, asked.points, asked.epochs)))


if __name__ == "__main__":
    main()
