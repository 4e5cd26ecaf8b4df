"""What does it look like?  Validation images under distortions, and what two networks see in them:
the baseline before the finetuning, a trial after it.

The first images that match are shown, not the most striking ones.  Data and weights are needed;
torch is loaded to make an Info, not to import this module.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image as PillowImage
from plotly.graph_objects import Figure, Image
from plotly.subplots import make_subplots

from ablate.ablation.answer import best_point
from ablate.ablation.study_source import StudySource
from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.errors import AblateError, NothingToDrawError
from ablate.files.cache import cache_folder
from ablate.files.shown import shown_if
from ablate.lifecycle.open_study import open_ledger
from ablate.report.figures.canvas import Sheet, axis, basis_meta, finish, wrapped
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import plain_text, share_text, shortened
from ablate.report.style import INK, SERIES, SMALL_SIZE
from ablate.study.callables import NotImportedError, imports_limited, is_limited, was_imported
from ablate.study.scores import Scores
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    import pandas as pd

    from ablate.trial.examples import Compared

_MOST_IMAGES = 4
_RIGHT, _WRONG = SERIES[0], SERIES[4]


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
        rows = [
            (*copy[:-1], copy.before == copy.label, copy.after == copy.label)
            for copy in self.copies
        ]
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

    if record.study.trainable is not None:
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
        source = source.of_trials
        best = best_point(source.record, source.front) or source.front.picked
        return best and best.number
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
        np.array([answers[kind] == labels for kind in images])
        for answers in (compared.before, compared.after)
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
            label, first, then = (compared.classes[index] for index in classes)
            picture = compared.picture(kind, place)
            copies.append(Copy(place, kind, severity, label, first, then, picture))
    right = {"right_before": float(before[1:].mean()), "right_after": float(after[1:].mean())}
    return {"sample": len(labels), "differ": len(differ), **right, "copies": tuple(copies)}


# -- The drawing


_LEAST, _LARGEST = 70, 150
"""Pixels of an image, across."""
_GAP, _LINE = 8, 16
"""Pixels between two images, and of a line of words."""
_KEPT, _PHOTOGRAPH = 160, 96
"""Pixels of an image's longer side in a figure's data; and above which it is kept as JPEG: as PNG
it would be many times larger."""


def draw(info: ExamplesInfo, sheet: Sheet) -> Figure:
    """Draw a row of copies for each image, the clean one first, as many of both as fit; below each
    what the baseline sees in it, then the trial."""
    images = [list(copies) for _, copies in groupby(info.copies, lambda copy: copy.image)]
    room = sheet.width - 60  # beside the names
    columns = min(len(images[0]), max(2, room // (_LEAST + _GAP)))
    side = min(_LARGEST, room / columns - _GAP)
    height, width, _ = images[0][0].pixels.shape
    under = 3 * _LINE
    a_row = side * height / width + under
    around = 110 if sheet.titled else 60
    shown = images[: sheet.rows_that_fit(len(images), a_row, around)]
    kinds = [copy.kind.replace("_", " ") for copy in images[0]]
    figure = make_subplots(
        len(shown),
        columns,
        column_titles=[wrapped(kind, side + _GAP, lines=2) for kind in kinds[:columns]],
        horizontal_spacing=_GAP / sheet.width,
        vertical_spacing=under / (a_row * len(shown)),
    )
    figure.update_annotations(font={"size": SMALL_SIZE, "color": INK})
    answers: list[dict[str, Any]] = []
    for row, copies in enumerate(shown, 1):
        for column, copy in enumerate(copies[:columns], 1):
            figure.add_trace(_image(copy), row=row, col=column)
            x, y = figure.data[-1].xaxis, figure.data[-1].yaxis
            for line, answer in enumerate((copy.before, copy.after)):
                is_right = answer == copy.label
                text = "right" if is_right else shortened(_name(answer), int(side / 8))
                answers.append(
                    {
                        **{"text": plain_text(text), "showarrow": False},
                        **{"xref": f"{x} domain", "yref": f"{y} domain"},
                        **{"x": 0.5, "y": 0, "yanchor": "top", "yshift": -_LINE * line},
                        "font": {"size": SMALL_SIZE, "color": _RIGHT if is_right else _WRONG},
                    }
                )
        figure.update_yaxes(axis(_name(copies[0].label)), row=row, col=1)
    # All at once: plotly reads the whole layout for each that is added.
    figure.update_layout(annotations=[*figure.layout.annotations, *answers])
    bare = {"ticks": "", "showticklabels": False, "showline": False, "constrain": "domain"}
    figure.update_xaxes(bare).update_yaxes(bare, constraintoward="top")
    which = "that only one of the two gets right" if info.differ else "images"
    finish(
        figure,
        sheet,
        title="What do the networks see in distorted images?",
        facts=[
            f"before: the baseline, after: trial {info.trial}",
            f"the first {len(shown)} of {info.sample} validation images {which}",
            f"severity {images[0][-1].severity}",
            f"of all {info.sample} under these {len(kinds) - 1} distortions right: "
            f"{share_text(info.right_before)} before, {share_text(info.right_after)} after",
            *info.marks,
        ],
        meta=basis_meta("Example images", info),
        height=a_row * len(shown) + around,
    )
    top = figure.layout.margin.t + 2 * _LINE
    return figure.update_layout(margin_t=top, margin_b=2 * _LINE + 6)


def _image(copy: Copy) -> Image:
    """Where it is enlarged, its pixels stay squares."""
    picture = PillowImage.fromarray(copy.pixels)
    kind = "jpeg" if max(picture.size) > _PHOTOGRAPH else "png"
    picture.thumbnail((_KEPT, _KEPT), PillowImage.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, kind, quality=90)
    severity = shown_if(copy.severity > 0, f", severity {copy.severity}")
    hover = (
        f"{copy.label}: {copy.kind}{severity}",
        f"before: {copy.before}",
        f"after: {copy.after}",
    )
    return Image(
        source=f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}",
        zsmooth="fast" if kind == "jpeg" else False,
        hovertemplate="<br>".join(map(plain_text, hover)).replace("%{", "% {") + "<extra></extra>",
    )


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
