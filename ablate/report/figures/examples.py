"""What does it look like?  Validation images under distortions, and what two networks see in them:
the baseline before the finetuning, a trial after it.

The first images that match are shown, not the most striking ones.  Data and weights are needed;
torch is loaded to make an Info, not to import this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ablate.ablation.answer import best_number
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.errors import AblateError, NothingToDrawError
from ablate.files.cache import cache_folder
from ablate.files.shown import shown_if
from ablate.lifecycle.open_study import open_ledger
from ablate.report.contact_sheet import Tile, TileRow, draw_tiles
from ablate.report.figures.canvas import Sheet, basis_meta, finish
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import share_text
from ablate.report.style import SERIES
from ablate.study.callables import NotImportedError, imports_limited, is_limited, was_imported
from ablate.study.scores import Scores
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.trial.examples import Compared

_MOST_IMAGES = 4
_RIGHT, _WRONG = SERIES[0], SERIES[4]
_WHEN = ("before", "after")


class Copy(NamedTuple):
    """An image of the sample under a distortion ("clean" of severity 0: none), and the classes that
    the baseline and the trial see in it; pixels are uint8 `[height, width, 3]`."""

    image: int
    kind: str
    severity: int
    label: str
    before: str
    after: str
    pixels: np.ndarray


@dataclass(frozen=True)
class ExamplesInfo(Basis):
    """Images of a study, and what the baseline and a trial see in them.

    Attributes:
        sample: number of validation images that were looked at; differ: of them, those of which
            one network alone is right in a copy.
        right_before, right_after: of all distorted copies of the sample, the share that the
            baseline and the trial classify correctly.
        copies: of the first images that differ, of each class one before the second of any; if
            none do, of the first images. Image by image, the clean one first.
    """

    trial: int
    sample: int
    differ: int
    right_before: float
    right_after: float
    copies: tuple[Copy, ...]

    def frame(self) -> pd.DataFrame:
        """One row an image and copy, as `Copy` without the pixels, and who is right."""
        types = {"image": "int64", "kind": "string", "severity": "int64"}
        types |= dict.fromkeys(("label", "before", "after"), "string")
        types |= dict.fromkeys(("right_before", "right_after"), "bool")
        right = [(one.before == one.label, one.after == one.label) for one in self.copies]
        rows = [(*one[:-1], *both) for one, both in zip(self.copies, right, strict=True)]
        return typed_frame(types, rows)


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> ExamplesInfo:
    """Read data and weights, and let both networks classify some of the validation images.

    Takes seconds on a CPU.  A network or data set that is a function is imported only if this user
    has run the study (`ablate.study.callables.was_imported`), or the caller allows it.

    Raises:
        NothingToDrawError: if something is missing; says what.
    """
    (source,) = sources
    record, place = source.record, source.place

    def nothing(reason: str, fix: str = "Draw it where the study ran.") -> NothingToDrawError:
        return NothingToDrawError(record.name, "examples", reason, fix)

    if record.foreign or record.study.trainable is not None:
        why = "needs a network of ablate's, got a training loop of its own"
        raise nothing(why, "Leave it out.")
    if place is None or place.archive is not None:
        raise nothing(f"needs weights, got {'only rows' if place is None else 'an archive'}")
    if len(options.trials) > 1:
        raise nothing(f"shows one trial, got {len(options.trials)}", "Name one.")
    number = options.trials[0] if options.trials else _best(source)
    row = next((row for row in record.rows if row.number == number), None)
    if row is None or row.state != "COMPLETE":
        asked = "a trial on the front" if number is None else f"trial {number} to be complete"
        got = "none" if row is None else row.state.lower()
        raise nothing(f"needs {asked}, got {got}", "Name one with `trials`.")
    weights = weights_file(place.folder, row.number)
    if not weights.is_file():
        raise nothing(f"needs the weights of trial {row.number}, got no file {weights}")
    from ablate.trial.examples import compare

    with closing(open_ledger(place)) as ledger:
        head = ledger.head
    kept = {"base": Path(head.base), "cache": cache_folder()}
    try:
        with nullcontext() if is_limited() else imports_limited(was_imported):
            compared = compare(record.study, row, weights, head.baseline_sha256, **kept)
    except NotImportedError as error:
        why = "needs code that only running the study imports, got no `trust`"
        raise nothing(why, "Read that code, then: ablate report STUDY --trust") from error
    except (AblateError, OSError) as error:
        got = " ".join(str(error).split()).removesuffix(".")
        raise nothing(f"needs data and weights, got: {got}") from error
    return ExamplesInfo(**vars(study_basis(record)), trial=row.number, **_chosen(compared))


def _best(source: StudySource) -> int | None:
    """The trial that the answer of a search names first; of an ablation the most robust run."""
    if source.is_search:
        picked = source.front.picked
        number = best_number(source.record, source.front)
        return picked.number if number is None and picked is not None else number
    scored = {
        row.scores.robust_accuracy: row.number
        for row in source.record.complete
        if isinstance(row.scores, Scores)
    }
    return scored[max(scored)] if scored else None


def _chosen(compared: Compared) -> dict[str, Any]:
    """The first images that one network alone gets right, with all their copies, and counts."""
    labels, images = compared.labels, compared.images
    before, after = (
        np.array([of[kind] == labels for kind in images])
        for of in (compared.before, compared.after)
    )
    differ = np.flatnonzero((before != after).any(axis=0)).tolist()
    seen, turns = Counter[int](), list[tuple[int, int]]()
    for place in differ or range(len(labels)):
        turns.append((seen[labels[place]], place))
        seen[labels[place]] += 1
    copies = []
    for _, place in sorted(turns)[:_MOST_IMAGES]:
        for severity, kind in zip([0, *[compared.severity] * len(images)], images, strict=False):
            classes = labels[place], compared.before[kind][place], compared.after[kind][place]
            label, first, then = (compared.classes[one] for one in classes)
            picture = compared.picture(kind, place)
            copies.append(Copy(place, kind, severity, label, first, then, picture))
    right = {"right_before": float(before[1:].mean()), "right_after": float(after[1:].mean())}
    return {"sample": len(labels), "differ": len(differ), **right, "copies": tuple(copies)}


# -- The drawing


def draw(info: ExamplesInfo, sheet: Sheet) -> Figure:
    """Draw a row of copies for each image, the clean one first, as many of both as fit."""
    images = [list(copies) for _, copies in groupby(info.copies, lambda one: one.image)]
    rows = [TileRow(_name(one[0].label), _WHEN, [*map(_tile, one)]) for one in images]
    heads = [copy.kind.replace("_", " ") for copy in images[0]]
    figure, height, shown = draw_tiles(sheet, heads, rows)
    which = "that only one of the two gets right" if info.differ else "images"
    return finish(
        figure,
        sheet,
        title="What do the networks see in distorted images?",
        facts=[
            f"before: the baseline, after: trial {info.trial}",
            f"the first {shown} of {info.sample} validation images {which}",
            f"severity {images[0][-1].severity}",
            f"of all {info.sample} under these {len(heads) - 1} distortions right: "
            f"{share_text(info.right_before)} before, {share_text(info.right_after)} after",
            *info.marks,
        ],
        meta=basis_meta("Example images", info),
        height=height,
    )


def _tile(copy: Copy) -> Tile:
    lines, said = (
        [],
        [f"{copy.label}: {copy.kind}" + shown_if(copy.severity > 0, f", severity {copy.severity}")],
    )
    for when, answer in zip(_WHEN, (copy.before, copy.after), strict=True):
        is_right = answer == copy.label
        lines.append(("right", _RIGHT) if is_right else (_name(answer), _WRONG))
        said.append(f"{when}: {answer}")
    return Tile(copy.pixels, lines, said)


def _name(label: str) -> str:
    """A class by its first name: those of ImageNet have several, as "tench, Tinca tinca"."""
    return label.partition(",")[0]


FIGURE = FigureKind(
    name="examples",
    section="examples",
    title="Example images",
    says="Validation images under distortions. Below each: what the baseline (before) and a trial "
    "(after) see in it, right or the wrong class. The first images that one of the two alone gets "
    "right, not the most striking.",
    read=info_of,
    draw=draw,
    width=900,
    takes=("trials",),
)
