"""The images of a study's report: the scored suite, the training types of a trial, and examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ablate.ledger.record import StudyRecord
from ablate.lifecycle.place import Place
from ablate.report.images.contact_sheet import SheetInfo, draw_sheet, encoded, shown_size
from ablate.report.images.example_images import (
    ExampleImages,
    Origin,
    example_images,
    find_origin,
    suite_sheet,
    training_sheet,
)
from ablate.report.page.content import Gallery, Picture
from ablate.study.callables import imports_limited, was_imported

if TYPE_CHECKING:
    from ablate.trial.examples import Example

_WIDEST = 1160
"""Pixels of a sheet."""
_PHOTOGRAPH = 96
"""Pixels of a side above which a tile is a photograph."""
_LARGEST = 160
"""Pixels of an example, across."""


def study_galleries(
    place: Place, record: StudyRecord, *, trust: bool = False
) -> tuple[tuple[Gallery, ...], list[str]]:
    """The images of a study.

    Takes seconds on a CPU: two networks are run on some of the validation images.

    Args:
        place: of the study; record: of the same.
        trust: import the functions that the study names; else only those that this user has
            imported by running a study.

    Returns:
        One gallery for each; one that cannot be made has its reason as a note.  No gallery for a
        custom training loop.  And the names that were not imported.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    study = record.study
    if study.trainable is not None:
        return (), []
    origin = find_origin(place, record)
    with imports_limited(lambda name, base: trust or was_imported(name, base)) as refused:
        return _galleries(origin), list(dict.fromkeys(refused))


def _galleries(origin: Origin) -> tuple[Gallery, ...]:
    scored = _sheet_gallery(
        "scored",
        "Scored distortions",
        "A validation image under every type and severity that robust accuracy averages over.",
        lambda: suite_sheet(origin),
    )
    trained = _sheet_gallery(
        "trained",
        "Training distortions",
        "The same image under every type that the trial was trained on, from weak to strong.",
        lambda: training_sheet(origin),
    )
    return (scored, trained, *_example_galleries(origin))


def _sheet_gallery(
    anchor: str, title: str, says: str, make: Callable[[], tuple[SheetInfo | None, str]]
) -> Gallery:
    info, reason = make()
    if info is None:
        return Gallery(anchor, title, says, note=_not_shown(reason))
    sheet = draw_sheet(info)
    if sheet.width > _WIDEST:
        height = round(sheet.height * _WIDEST / sheet.width)
        sheet = sheet.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    uri = encoded(sheet, is_photograph=max(info.original.shape[:2]) > _PHOTOGRAPH)
    alt = f"{info.title}: {', '.join(row.name for row in info.rows)}"
    return Gallery(anchor, title, says, (Picture(uri, alt, sheet.width, sheet.height),))


def _not_shown(reason: str) -> str:
    """Args: reason: with or without a full stop; the message of an error has one."""
    return f"Not shown: {reason.removesuffix('.')}."


def _example_galleries(origin: Origin) -> tuple[Gallery, ...]:
    found, reason = example_images(origin)
    if found is None:
        says = "Images that one of two networks classifies correctly."
        return (Gallery("examples", "Examples", says, note=_not_shown(reason)),)
    who = f"trial {found.number} ({found.loss_terms})"
    looked = (
        f"Left: original; right: distorted.  The first matches among {found.images} validation "
        "images, under the types on which the two networks differ most"
    )
    return (
        _cards(
            "gained",
            f"The baseline is wrong, {who} is right",
            f"{looked} in favour of the trial.",
            found,
            found.gained,
        ),
        _cards(
            "lost",
            f"The baseline is right, {who} is wrong",
            f"{looked} in favour of the baseline, or on which the trial gains least.",
            found,
            found.lost,
        ),
    )


def _cards(
    anchor: str, title: str, says: str, found: ExampleImages, examples: Sequence[Example]
) -> Gallery:
    pictures = [_pair(one, found.number) for one in examples]
    return Gallery(anchor, title, says, tuple(pictures), "" if pictures else "None found.")


def _pair(one: Example, trial: int) -> Picture:
    """The image beside its distorted copy, and what two networks say of the copy."""
    gap = np.full((len(one.clean), max(1, one.clean.shape[1] // 16), 3), 255, np.uint8)
    pair = Image.fromarray(np.concatenate([one.clean, gap, one.distorted], axis=1))
    scale = min(shown_size(one.clean)[0], _LARGEST) / one.clean.shape[1]
    lines = (
        f"{one.kind}, severity {one.severity}",
        f"is {one.label}",
        f"baseline: {one.by_baseline}, {_verdict(one.by_baseline, one.label)}",
        f"trial {trial}: {one.by_trial}, {_verdict(one.by_trial, one.label)}",
    )
    uri = encoded(pair, is_photograph=max(one.clean.shape[:2]) > _PHOTOGRAPH)
    size = round(scale * pair.width), round(scale * pair.height)
    return Picture(uri, "; ".join(lines), *size, lines)


def _verdict(said: str, label: str) -> str:
    return "right" if said == label else "wrong"
