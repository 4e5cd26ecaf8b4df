"""Images for a study's report: its distortions, and images that a trial classifies correctly and
the baseline does not.

Data and weights are needed; importing this module does not load torch.  If data or weights are
missing, a reason is returned instead of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.ablation.answer import search_answer
from ablate.ablation.study_source import no_bits
from ablate.analysis.pareto import pareto_info, point_of
from ablate.errors import AblateError
from ablate.files.cache import cache_folder
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.place import Place
from ablate.report.figures.parts.canvas import NO_TRIAL
from ablate.report.images.contact_sheet import (
    SheetInfo,
    SheetRow,
    sheet_info,
)
from ablate.study.scores import Scores
from ablate.study.settings import Study
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    from ablate.robustness.bits import Cell
    from ablate.trial.examples import Example


_MOST = 6
"""Examples of each kind."""


@dataclass(frozen=True)
class ExampleImages:
    """Validation images on which the baseline and a trial disagree, under the study's distortions.

    Attributes:
        number: of the trial; loss_terms: in one order.
        images: number evaluated, under each distortion.
        gained: classified correctly by the trial, not by the baseline; lost: the reverse.
    """

    number: int
    loss_terms: str
    images: int
    gained: tuple[Example, ...]
    lost: tuple[Example, ...]


_NONE_COUNTS = "no complete trial keeps all constraints, or has a number for each objective"


def example_images(origin: Origin) -> tuple[ExampleImages | None, str]:
    """Images that a trial classifies correctly and the baseline does not, and the reverse.

    The trial is the best of those with weights (`best_trial`).

    Returns:
        The examples and an empty text; or None and a one-line reason.
    """
    record = origin.record
    if record.study.trainable is not None:
        return None, "the weights of a custom training loop are unknown to ablate"
    there = [row for row in record.complete if weights_file(origin.folder, row.number).is_file()]
    row = best_trial(record, there)
    if row is None and there:
        return None, _NONE_COUNTS
    if row is None:
        return None, f"weights of all complete trials are missing in {origin.folder / 'weights'}"
    study = record.study.with_values(dict(row.params))
    if not _has_the_baseline(study, record.study):
        return None, f"trial {row.number} has its own baseline"
    try:
        return _examples(origin, row, study)
    except (AblateError, OSError) as error:
        return None, one_line(error)


def suite_sheet(origin: Origin) -> tuple[SheetInfo | None, str]:
    """A validation image under the suite that the study scores; or None, and why."""
    from ablate.robustness.evaluation_set import Recipe
    from ablate.trial.examples import load_sample

    study = origin.record.study
    if study.trainable is not None:
        return None, "the suite of a custom training loop is unknown to ablate"
    try:
        sample = load_sample(study, origin.base, origin.cache)
        bench = sample.bench
        settings = study.robustness
        frost = bench.frost_for(bench.suite)
        recipe = Recipe(bench.suite, tuple(settings.severities), settings.seed, frost)
        return sheet_info(f"What {study.name} scores", sample.pixels(0), recipe), ""
    except (AblateError, OSError) as error:
        return None, one_line(error)


def training_sheet(origin: Origin) -> tuple[SheetInfo | None, str]:
    """A validation image under the types that the best trial was trained on, from weak to strong.

    Returns:
        The sheet and an empty text; or None and the reason.
    """
    from ablate.trial.examples import load_sample
    from ablate.trial.robustness import trained_types

    record = origin.record
    row = best_trial(record, record.complete)
    if row is None or not isinstance(row.scores, Scores):
        return None, _NONE_COUNTS if record.complete else NO_TRIAL
    study = record.study.with_values(dict(row.params))
    if not row.scores.seen_types:
        return None, f"trial {row.number} trained on no distortion"
    if study.augment.method == "augmix":
        return None, f"trial {row.number} trained with augmix, which uses other operations"
    try:
        sample = load_sample(record.study, origin.base, origin.cache)
        types = trained_types(sample.split.images[:1], study.augment, study.finetune.seed)
    except (AblateError, OSError) as error:
        return None, one_line(error)
    shown = [
        SheetRow(
            family=one.family,
            name=one.kind,
            parameters=tuple(f"strength {strength:.2g}" for strength in one.strengths),
            tiles=one.tiles,
        )
        for one in types
    ]
    columns = ("weak", "middle", "strongest")
    return SheetInfo(
        f"What trial {row.number} was trained on",
        sample.pixels(0),
        tuple(range(1, len(columns) + 1)),
        tuple(shown),
        ("Strengths of a type: one third, two thirds and all of the sampled range.",),
        columns,
    ), ""


def _has_the_baseline(trial: Study, study: Study) -> bool:
    """Whether a trial's values leave the settings of the baseline and its scores unchanged."""
    fraction = {"train_fraction": study.dataset.train_fraction}
    same = trial.dataset.model_copy(update=fraction) == study.dataset
    sections = ("model", "baseline", "robustness")
    return same and all(getattr(trial, one) == getattr(study, one) for one in sections)


def _examples(origin: Origin, row: RowRecord, study: Study) -> tuple[ExampleImages | None, str]:
    from ablate.finetune.baseline import kept_baseline
    from ablate.finetune.interpolation import move_towards
    from ablate.trial.examples import find_examples, load_network, load_sample

    kept = kept_baseline(origin.cache, origin.baseline_sha256)
    if kept is None:
        return None, f"the baseline's weights are not in {origin.cache}"
    sample = load_sample(origin.record.study, origin.base, origin.cache)
    weights = weights_file(origin.folder, row.number)
    baseline = load_network(sample, origin.record.study, kept.path, weights)
    trial = load_network(sample, study, weights, weights)
    alpha = point_of(row).alpha
    if alpha != 1:
        move_towards(trial, baseline, alpha)
    gained, lost = (
        find_examples(
            sample,
            baseline,
            trial,
            _cells(origin.record, row, gained=way)[:_MOST],
            _MOST,
            gained=way,
        )
        for way in (True, False)
    )
    terms = origin.record.loss_terms(row)
    return ExampleImages(row.number, terms, len(sample.split), gained, lost), ""


def _cells(record: StudyRecord, row: RowRecord, *, gained: bool) -> list[Cell]:
    """Every type at the severity where the trial gained most, or lost most, that type first."""
    baseline, scores = record.references["baseline"], row.scores
    assert isinstance(scores, Scores)
    sign = 1 if gained else -1
    most: dict[str, tuple[float, int]] = {}
    for kind, by_severity in scores.accuracies.items():
        its = baseline.accuracies[kind]
        most[kind] = max(
            (sign * (accuracy - its[severity]), int(severity))
            for severity, accuracy in by_severity.items()
        )
    kinds = sorted(most, key=lambda kind: -most[kind][0])
    return [(kind, most[kind][1]) for kind in kinds]


# -- Where the images of a study's report come from: its data, its weights, and the trial to show


@dataclass(frozen=True)
class Origin:
    """The location of a study's images and weights.

    Attributes:
        folder: of the run; base: of the study's relative paths.
        baseline_sha256: of the baseline's weights; empty without weights.
        cache: folder of data and baselines.
    """

    record: StudyRecord
    folder: Path
    base: Path
    baseline_sha256: str
    cache: Path


def find_origin(place: Place, record: StudyRecord) -> Origin:
    """Find the images of a study.

    Args:
        place: of the study; record: of the same.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    from ablate.ledger.ledger import Ledger

    with closing(Ledger.open(place.url, place.name)) as ledger:
        head = ledger.head
    return Origin(record, place.folder, Path(head.base), head.baseline_sha256, cache_folder())


def best_trial(record: StudyRecord, rows: Sequence[RowRecord]) -> RowRecord | None:
    """Of these rows the one that the answer names first; without an answer in robust accuracy what
    `pick: knee` takes; of an ablation the best in robust accuracy."""
    scored = {row.number: row for row in rows if isinstance(row.scores, Scores)}
    if record.design is not None:
        robust = {
            number: row.scores.robust_accuracy
            for number, row in scored.items()
            if isinstance(row.scores, Scores)
        }
        return scored[max(robust, key=lambda number: robust[number])] if robust else None
    record = replace(record, rows=tuple(scored.values()))
    front = pareto_info(record)
    answer = search_answer(record, front, no_bits)
    point = front.picked if answer is None else answer.sets[0].best
    return None if point is None else scored[point.number]


def one_line(error: Exception) -> str:
    """The message of an error, on one line."""
    return " ".join(str(error).split())
