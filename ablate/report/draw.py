"""From studies that a person names to a figure: read, compute, draw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ablate.errors import AblateError, ParameterError, UsageError
from ablate.lifecycle.open_study import OpenStudy, open_study
from ablate.lifecycle.place import StudyReference
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.canvas import COLUMN, WIDE, Sheet
from ablate.report.figures.figure import (
    USUAL,
    FigureKind,
    FigureOptions,
    Info,
    usual_figure,
    why_not_drawn,
)
from ablate.report.style import SMALL_POINTS, dark
from ablate.report.write import ENDINGS, PAGE, make_folder, write_figures, write_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


THEMES = ("light", "dark")


def plot(
    name: str,
    *studies: StudyReference,
    theme: str = "light",
    trials: Sequence[int] = (),
    params: Sequence[str] = (),
    objective: str = "",
    rungs: bool = False,
    color: str = "",
) -> Figure:
    """Draw a figure of one study or several.

    Args:
        name: a name of `ablate.report.figures.FIGURES`, as for `ablate plot --figure`.
        studies: study files, run folders, `URL#NAME`, or studies from Python.
        theme: "light" or "dark".
        trials: show only these trials; params: only these parameters; objective: this objective.
        rungs: show trials that were stopped at rungs, with their scores there.
        color: colour the trials by this parameter.

    Raises:
        ParameterError: if the figure or an option is unknown, or the figure takes fewer studies.
        NothingToDrawError: if the studies have no data for it.
        StudyNotFoundError: if there is no such study.

    Example:
        >>> figure = ablate.plot("parameters", "runs/own", params=["lr"], theme="dark")
        >>> figure.write_html("parameters.html")
    """
    options = FigureOptions(tuple(trials), tuple(params), objective, rungs, color)
    kind = find_figure(name)
    info = kind.info([open_study(study).source for study in studies], options)
    figure = themed(kind.draw(info, WIDE), theme)
    return figure.update_layout(height=figure.layout.meta["image_pixels"][1])


def themed(figure: Figure, theme: str) -> Figure:
    """The figure in a theme, which must be known."""
    if theme not in THEMES:
        raise ParameterError(f"theme: must be light or dark, got {theme}.")
    return dark(figure) if theme == "dark" else figure


# -- The size of a figure in print: inches of the image, points of its smallest text ------


_PER_INCH = {"in": 1.0, "mm": 25.4, "px": 96.0}
_INCHES = (1.0, 40.0)
"""Shortest and longest side."""
_POINTS = (4.0, 40.0)


def print_sheet(size: str, points: float, *, titled: bool) -> Sheet:
    """The sheet for a size that a person wrote.

    Args:
        size: as "3.25x2.4in", "83x60mm" or "640x480px" (96 px an inch); empty: the figure's own.
        points: of the smallest text.

    Raises:
        ParameterError: if it is written in another way, or out of bounds.
    """
    low, high = _POINTS
    if not low <= points <= high:
        raise ParameterError(
            f"--font-size: must be from {low:g} to {high:g} points, got {points:g}. "
            f"Give --font-size {SMALL_POINTS:g}."
        )
    if not size:
        return Sheet(titled=titled, points=points)
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(rf"{number}\s*x\s*{number}\s*(in|mm|px)", size.strip())
    if found is None:
        raise ParameterError(
            f"--size: must be width x height with in, mm or px, got {size}. Write 3.25x2.4in."
        )
    unit = _PER_INCH[found[3]]
    width, height = float(found[1]) / unit, float(found[2]) / unit
    low, high = _INCHES
    if not (low <= width <= high and low <= height <= high):
        raise ParameterError(
            f"--size: each side must be from {low:g} to {high:g} inches, got {size}, which is "
            f"{width:.3g} x {height:.3g} inches. Give a size such as 3.25x2.4in."
        )
    scale = Sheet(points=points).pixels_per_inch
    return Sheet(round(scale * width), round(scale * height), titled, points)


# -- `ablate plot`: which figures, into which files ----------------------------------------


ALL = "all"
Drawn: TypeAlias = "tuple[FigureKind, Info, Figure]"


def draw_usual(study: OpenStudy) -> Path:
    """Write the usual figure of a study, the front of a search or an ablation's effects, into its
    run folder.

    Raises: as `draw_to_files`.
    """
    files, _, _ = draw_to_files(
        [study], None, None, ending=None, theme="light", with_data=False, options=USUAL
    )
    return files[0]


def draw_to_files(
    studies: Sequence[OpenStudy],
    names: Sequence[str] | None,
    output: Path | None,
    *,
    ending: str | None,
    theme: str,
    with_data: bool,
    options: FigureOptions,
    sheet: Sheet = COLUMN,
    captioned: bool = True,
) -> tuple[list[Path], list[str], list[str]]:
    """Draw figures and write them; a figure that cannot be drawn does not stop the others.

    Args:
        names: of figures, or `all`; None: the default figure of the study.
        output: a file for one figure; for several a folder, which is created; None: the run folder
            of the first study.
        ending: of files in a folder.
        options: of several figures each takes those that it knows.
        with_data: whether each figure's data is written too.
        sheet: of images; of a page only whether it has titles.
        captioned: whether a page has the caption under the figure, and an image has it in a .txt
            beside it.

    Returns:
        The files, in the order of the figures; remarks, one line each: for `all`, the figures
        that do not apply and the reason; why other requested figures are not drawn.

    Raises:
        ParameterError: if a name or an option is unknown, or none of the figures can be drawn;
            see also `ablate.report.draw.plot` and `ablate.report.write.write_figures`.
    """
    if names is not None and not names:
        raise ParameterError("--figure: needs a name, got nothing. Name one, or leave it out.")
    is_all = names is not None and set(names) == {ALL}
    kinds = [find_figure(name) for name in (FIGURES if is_all else dict.fromkeys(names or ()))]
    into_folder = len(kinds) > 1
    if output is not None and not into_folder:
        _check_one_file(output, ending)
    ending = ending or "html"
    sources = [study.source for study in studies]
    kinds = kinds or [find_figure(usual_figure(sources[0]))]
    is_page = (output.suffix.lower() if output and not into_folder else f".{ending}") == PAGE
    _check_options(kinds, options, sheet, is_page=is_page)
    drawn: list[Drawn] = []
    remarks, missing = list[str](), list[str]()
    for kind in kinds:
        own = FigureOptions(**{name: getattr(options, name) for name in kind.takes})
        try:
            info = kind.info(sources, own if into_folder else options)
            figure = kind.draw(info, _sheet_of(kind, sheet, is_page=is_page))
            drawn.append((kind, info, themed(figure, theme)))
        except Exception as error:
            if not into_folder and isinstance(error, AblateError):
                raise
            if is_all and isinstance(error, AblateError):
                remarks.append(f"{kind.name} is left out: {getattr(error, 'reason', error)}")
            else:
                missing.append(why_not_drawn(kind.name, error))
    if not drawn:
        raise ParameterError("\n".join(missing or remarks))
    files = _files([kind.name for kind, _, _ in drawn], studies[0], output, into_folder, ending)
    beside = _captions(drawn, files) if captioned else {}
    if with_data:
        beside |= {
            file.with_suffix(".csv"): info.frame().to_csv(index=False)  # numbers with all digits
            for (_, info, _), file in zip(drawn, files, strict=True)
        }
    write_figures([(figure, file) for (_, _, figure), file in zip(drawn, files, strict=True)])
    for file, text in beside.items():
        write_text(text, file)
    return [*files, *beside], remarks, missing


def _check_one_file(output: Path, ending: str | None) -> None:
    """Refuse a folder, or a format that the file's name sets, for one figure."""
    if ending is not None:
        raise UsageError(
            f"--format {ending}: applies only to several figures, got the file {output}. The file "
            "name sets the format."
        )
    if output.name in ("", ".."):
        raise UsageError(
            f"{output}: must name a file for one figure, got a folder. Write "
            f"{output / 'FIGURE.html'}."
        )


def _check_options(
    kinds: Sequence[FigureKind], options: FigureOptions, sheet: Sheet, *, is_page: bool
) -> None:
    """Refuse what none of the figures, or no page, takes."""
    if is_page and sheet != replace(COLUMN, titled=sheet.titled):
        raise ParameterError(
            f"--size and --font-size: apply to .png, .svg and .pdf, got a {PAGE}. "
            "A page fills its window: leave them out."
        )
    for name in (field.name for field in fields(options) if getattr(options, field.name)):
        if not any(name in kind.takes for kind in kinds):
            raise ParameterError(f"--{name}: none of these figures takes it. Leave it out.")


def _sheet_of(kind: FigureKind, asked: Sheet, *, is_page: bool) -> Sheet:
    """What a figure is drawn on: a wide sheet for a page, its own width where no size is given."""
    if is_page:
        return replace(WIDE, titled=asked.titled)
    return asked if asked.height is not None else replace(asked, width=kind.width)


def _captions(drawn: Sequence[Drawn], files: Sequence[Path]) -> dict[Path, str]:
    """Put captions into pages; of images, the files beside them, and their texts."""
    found = {}
    for (kind, _, figure), file in zip(drawn, files, strict=True):
        caption = caption_text(kind, figure)
        if file.suffix.lower() == PAGE:
            figure.layout.meta |= {"caption": caption}
        else:
            found[file.with_suffix(".txt")] = f"{caption}\n"
    return found


def caption_text(kind: FigureKind, figure: Figure) -> str:
    """What a figure shows, how to read it, and what its numbers stand on, as sentences."""
    meta = figure.layout.meta
    facts = "; ".join(meta["facts"])
    said = (meta["heading"], meta.get("question"), kind.says, facts[:1].upper() + facts[1:])
    return " ".join(one if one[-1] in ".?!" else f"{one}." for one in said if one)


def _files(
    names: Sequence[str],
    study: OpenStudy,
    output: Path | None,
    into_folder: bool,
    ending: str,
) -> list[Path]:
    if output is not None and not into_folder:
        return [output]
    folder = output
    if folder is None:
        folder = study.place.folder
        folder.mkdir(parents=True, exist_ok=True)
    elif folder.suffix.lower() in ENDINGS:
        raise UsageError(
            f"{folder}: must be a folder for several figures, got a file name. Give a folder; "
            "--format sets the format."
        )
    else:
        make_folder(folder)
    return [folder / f"{name}.{ending}" for name in names]
