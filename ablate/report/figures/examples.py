"""What does it look like?  Validation images under distortions, and what two networks see in them:
the baseline before the finetuning, a trial after it.

The first images that match are shown, not the most striking ones.  Data and weights are needed;
torch is loaded to make an Info, not to import this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ablate.ablation.answer import best_number
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.errors import AblateError, NothingToDrawError
from ablate.files.cache import cache_folder
from ablate.ledger.record import RowRecord
from ablate.lifecycle.open_study import open_ledger
from ablate.report.contact_sheet import Tile, TileRow, draw_tiles
from ablate.report.figures.canvas import Sheet, basis_meta, finish
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import share_text
from ablate.report.style import SERIES
from ablate.study.callables import NotImportedError, imports_limited, is_limited, was_imported
from ablate.study.scores import Scores
from ablate.study.settings import Study
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_MOST_IMAGES, _MOST_KINDS = 4, 6
CLEAN = "clean"
"""The kind of an image that is not distorted."""
_RIGHT, _WRONG = SERIES[0], SERIES[4]


class Copy(NamedTuple):
    """An image under a distortion, and the classes that the networks see in it.

    Attributes:
        kind: of distortion, or `CLEAN`.
        pixels: uint8 `[height, width, 3]`.
    """

    kind: str
    pixels: np.ndarray
    before: str
    after: str


class Example(NamedTuple):
    """An image, by its place in the sample, with its class and copies; the clean one is first."""

    place: int
    label: str
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class ExamplesInfo(Basis):
    """Images of a study, and what the baseline and a trial see in them.

    Attributes:
        trial: its number.
        severity: of all distortions: the middle one that the study scores.
        kinds: one of each family in turn, at most `_MOST_KINDS`.
        sample: number of validation images that were looked at.
        differ: of them, those of which one network alone is right in a copy.
        right_before, right_after: of all distorted copies of the sample, the share that the
            baseline and the trial classify correctly.
        examples: the first that differ, of each class one before the second of any; if none do,
            the first images.
    """

    trial: int
    severity: int
    kinds: tuple[str, ...]
    sample: int
    differ: int
    right_before: float
    right_after: float
    examples: tuple[Example, ...]

    def frame(self) -> pd.DataFrame:
        """One row per image and copy.

        Columns: image (int64, its place in the sample); kind (text); severity (int64, 0: clean);
        label, before, after (text, classes); right_before, right_after (bool).
        """
        texts = dict.fromkeys(("kind", "label", "before", "after"), "string")
        types = {"image": "int64", **texts, "severity": "int64"}
        types |= dict.fromkeys(("right_before", "right_after"), "bool")
        names = ("image", "kind", "severity", "label", "before", "after")
        rows = [
            (
                *(example.place, copy.kind, self.severity * (copy.kind != CLEAN), example.label),
                *(copy.before, copy.after),
                *(copy.before == example.label, copy.after == example.label),
            )
            for example in self.examples
            for copy in example.copies
        ]
        return typed_frame({name: types.pop(name) for name in names} | types, rows)


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> ExamplesInfo:
    """Read data and weights, and let both networks classify some of the validation images.

    Takes seconds on a CPU.  A network or data set that is a function is imported only if this user
    has run the study (`ablate.study.callables.was_imported`), or the caller allows it.

    Raises:
        NothingToDrawError: if something is missing; says what.
    """
    (source,) = sources

    def nothing(reason: str, fix: str = "Draw it where the study ran.") -> NothingToDrawError:
        return NothingToDrawError(source.record.name, "examples", reason, fix)

    study, place = source.record.study, source.place
    if source.record.foreign or study.trainable is not None:
        raise nothing(
            "needs a network of ablate's, got a training loop of its own", "Leave it out."
        )
    if place is None or place.archive is not None:
        raise nothing(f"needs weights, got {'only rows' if place is None else 'an archive'}")
    row = _shown_row(source, options.trials, nothing)
    weights = weights_file(place.folder, row.number)
    if not weights.is_file():
        raise nothing(f"needs the weights of trial {row.number}, got no file {weights}")
    finetuned = study.with_values(dict(row.params))
    if not _has_the_baseline(finetuned, study):
        raise nothing(f"needs a baseline of the study, got trial {row.number} with its own")
    try:
        with nullcontext() if is_limited() else imports_limited(was_imported):
            return _examples(source, row, finetuned, weights, nothing)
    except NotImportedError as error:
        raise nothing(
            "needs code that only running the study imports, got no --trust",
            "Read that code, then: ablate report STUDY --trust",
        ) from error
    except NothingToDrawError:
        raise
    except (AblateError, OSError) as error:
        got = " ".join(str(error).split()).removesuffix(".")
        raise nothing(f"needs data and weights, got: {got}") from error


Nothing = Callable[..., NothingToDrawError]


def _shown_row(source: StudySource, trials: Sequence[int], nothing: Nothing) -> RowRecord:
    """The trial that was asked for; else the one that the answer names first; of an ablation the
    run of the highest robust accuracy."""
    rows = {row.number: row for row in source.record.complete if isinstance(row.scores, Scores)}
    if not rows:
        raise nothing("needs a complete trial, got none", "Wait for one, or run more.")
    if len(trials) > 1:
        raise nothing(f"shows one trial, got {len(trials)}", "Name one.")
    if trials:
        number: int | None = trials[0]
    elif source.is_search:
        picked = source.front.picked
        number = best_number(source.record, source.front)
        number = picked.number if number is None and picked else number
    else:
        number = max(rows, key=lambda one: _robust(rows[one]))
    if number not in rows:
        asked = "a trial on the front" if number is None else f"trial {number} to be complete"
        raise nothing(f"needs {asked}, got none", "Name one with --trials.")
    return rows[number]


def _robust(row: RowRecord) -> float:
    return row.scores.robust_accuracy if isinstance(row.scores, Scores) else 0.0


def _has_the_baseline(trial: Study, study: Study) -> bool:
    """Whether a trial's values leave the settings of the baseline and its scores unchanged."""
    fraction = {"train_fraction": study.dataset.train_fraction}
    same = trial.dataset.model_copy(update=fraction) == study.dataset
    sections = ("model", "baseline", "robustness")
    return same and all(getattr(trial, one) == getattr(study, one) for one in sections)


def _examples(
    source: StudySource, row: RowRecord, finetuned: Study, weights: Path, nothing: Nothing
) -> ExamplesInfo:
    from ablate.finetune.baseline import kept_baseline
    from ablate.finetune.interpolation import move_towards
    from ablate.trial.examples import answers, distorted, load_network, load_sample, picture

    assert source.place is not None
    record, cache = source.record, cache_folder()
    with closing(open_ledger(source.place)) as ledger:
        head = ledger.head
    kept = kept_baseline(cache, head.baseline_sha256)
    if kept is None:
        raise nothing(f"needs the baseline's weights, got none in {cache}")
    sample = load_sample(record.study, Path(head.base), cache)
    baseline = load_network(sample, record.study, kept.path, weights)
    trial = load_network(sample, finetuned, weights, weights)
    if row.path is not None and row.path.alpha != 1:
        move_towards(trial, baseline, row.path.alpha)

    turns = zip_longest(*sample.bench.suite.families.values())
    kinds = [kind for turn in turns for kind in turn if kind][:_MOST_KINDS]
    severities = sorted(record.study.robustness.severities)
    severity = severities[len(severities) // 2]
    images = {CLEAN: sample.split.images}
    images |= {kind: distorted(sample, (kind, severity)) for kind in kinds}
    labels = np.asarray(sample.split.labels)
    before, after = (
        {kind: np.asarray(answers(network, copies)) for kind, copies in images.items()}
        for network in (baseline, trial)
    )
    right = np.array([[of[kind] == labels for kind in images] for of in (before, after)])
    differs = np.flatnonzero((right[0] != right[1]).any(axis=0)).tolist()
    places = _first_of_each(differs or range(len(labels)), labels.tolist())[:_MOST_IMAGES]
    examples = tuple(
        Example(
            place,
            sample.classes[labels[place]],
            tuple(
                Copy(
                    kind,
                    picture(copies[place]),
                    sample.classes[before[kind][place]],
                    sample.classes[after[kind][place]],
                )
                for kind, copies in images.items()
            ),
        )
        for place in places
    )
    return ExamplesInfo(
        **vars(study_basis(record)),
        trial=row.number,
        severity=severity,
        kinds=tuple(kinds),
        sample=len(labels),
        differ=len(differs),
        right_before=float(right[0, 1:].mean()),
        right_after=float(right[1, 1:].mean()),
        examples=examples,
    )


def _first_of_each(places: Iterable[int], labels: Sequence[int]) -> list[int]:
    """The places in order, but each class once before any class twice."""
    seen = Counter[int]()
    turns = []
    for place in places:
        turns.append((seen[labels[place]], place))
        seen[labels[place]] += 1
    return [place for _, place in sorted(turns)]


# -- The drawing


def draw(info: ExamplesInfo, sheet: Sheet) -> Figure:
    """Draw a row of copies for each image, the clean one first, as many of both as fit."""
    rows = [
        TileRow(
            example.label,
            ("before", "after"),
            [_tile(info, example.label, copy) for copy in example.copies],
        )
        for example in info.examples
    ]
    heads = [kind.replace("_", " ") for kind in (CLEAN, *info.kinds)]
    figure, height, shown = draw_tiles(sheet, heads, rows)
    which = "that only one of the two gets right" if info.differ else "images"
    return finish(
        figure,
        sheet,
        title="What do the networks see in distorted images?",
        facts=[
            f"before: the baseline, after: trial {info.trial}",
            f"the first {shown} of {info.sample} validation images {which}",
            f"severity {info.severity}",
            f"of all {info.sample} under these {len(info.kinds)} distortions right: "
            f"{share_text(info.right_before)} before, {share_text(info.right_after)} after",
            *info.marks,
        ],
        meta=basis_meta("Example images", info),
        height=height,
    )


def _tile(info: ExamplesInfo, label: str, copy: Copy) -> Tile:
    who = ("the baseline", copy.before), (f"trial {info.trial}", copy.after)
    lines = [("right", _RIGHT) if answer == label else (answer, _WRONG) for _, answer in who]
    said = [f"{name}: {answer}, {'right' if answer == label else 'wrong'}" for name, answer in who]
    where = f"{copy.kind}, severity {info.severity}" if copy.kind != CLEAN else CLEAN
    return Tile(copy.pixels, lines, [f"{label}: {where}", *said])


FIGURE = FigureKind(
    name="examples",
    title="Example images",
    says="Validation images under distortions. Below each: what the baseline (before) and a trial "
    "(after) see in it, right or the wrong class. The first images that one of the two alone gets "
    "right, not the most striking.",
    read=info_of,
    draw=draw,
    width=900,
    takes=("trials",),
)
