"""From studies that a person names to a figure: read, compute, draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ablate.errors import AblateError, ParameterError, UsageError
from ablate.lifecycle.open_study import OpenStudy, each_replicate, open_study
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
from ablate.report.write import ENDINGS, PAGE, check_file, make_folder, write_figures, write_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def plot(
    name: str,
    *studies: StudyReference,
    theme: str = "light",
    trials: Sequence[int] = (),
    params: Sequence[str] = (),
    objective: str = "",
) -> Figure:
    """Draw a figure of one study or several.

    Args:
        name: a name of `ablate.report.figures.FIGURES`.
        studies: study files, run folders, `URL#NAME`, or studies from Python.
        theme: "light" or "dark".
        trials: show only these trials; params: only these parameters; objective: this objective.

    Raises:
        ParameterError: if the figure or an option is unknown, or the figure takes fewer studies.
        NothingToDrawError: if the studies have no data for it.
        StudyNotFoundError: if there is no such study.

    Example:
        >>> figure = ablate.plot("parameters", "runs/own", params=["lr"], theme="dark")
        >>> figure.write_html("parameters.html")
    """
    options = FigureOptions(tuple(trials), tuple(params), objective)
    kind = find_figure(name)
    opened = [open_study(study) for study in studies]
    shown = each_replicate(opened) if len(opened) > 1 else opened
    info = kind.info([study.source for study in shown], options)
    figure = _themed(kind.draw(info, WIDE), theme)
    return figure.update_layout(height=figure.layout.meta["image_pixels"][1])


def _themed(figure: Figure, theme: str) -> Figure:
    """The figure in a theme, which must be known."""
    if theme not in ("light", "dark"):
        raise ParameterError(f"theme: must be light or dark, got {theme}.")
    return dark(figure) if theme == "dark" else figure


# -- The size of a figure in print: inches of the image, points of its smallest text ------


_PER_INCH = {"in": 1.0, "mm": 25.4, "px": 96.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*x\s*(\d+(?:\.\d+)?)\s*(in|mm|px)")


def print_sheet(size: str, points: float, *, titled: bool) -> Sheet:
    """The sheet for a size that a person wrote.

    Args:
        size: as "3.25x2.4in", "83x60mm" or "640x480px" (96 px an inch); empty: the figure's own.
        points: of the smallest text.

    Raises:
        ParameterError: if it is written in another way, or out of bounds.
    """
    if not 4 <= points <= 40:
        raise ParameterError(
            f"`font_size`: must be from 4 to 40 points, got {points:g}. "
            f"Give `font_size={SMALL_POINTS:g}`."
        )
    if not size:
        return Sheet(titled=titled, points=points)
    written = _SIZE.fullmatch(size.strip())
    sides = [float(written[side]) / _PER_INCH[written[3]] for side in (1, 2)] if written else [0.0]
    if not all(1 <= side <= 40 for side in sides):
        raise ParameterError(
            "`size`: must be width x height with in, mm or px, each from 1 to 40 inches, got "
            f"{size}. Write 3.25x2.4in."
        )
    width, height = (round(Sheet(points=points).pixels_per_inch * side) for side in sides)
    return Sheet(width, height, titled, points)


# -- `ablate plot`: which figures, into which files ----------------------------------------


Drawn: TypeAlias = "tuple[FigureKind, Info, Figure]"


def draw_usual(study: OpenStudy) -> Path:
    """Write the usual figure of a study, the front of a search or an ablation's effects, into its
    run folder.

    Raises: as `draw_to_files`.
    """
    return draw_to_files([study])[0][0]


def draw_to_files(
    studies: Sequence[OpenStudy],
    names: Sequence[str] | None = None,
    output: Path | None = None,
    *,
    ending: str | None = None,
    theme: str = "light",
    with_data: bool = False,
    options: FigureOptions = USUAL,
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
        raise ParameterError("`name`: needs a name, got nothing. Name one, or leave it out.")
    shown = each_replicate(studies) if len(studies) > 1 else studies
    sources = [study.source for study in shown]
    is_all = names is not None and set(names) == {"all"}
    asked = FIGURES if is_all else dict.fromkeys(names or [usual_figure(sources[0])])
    kinds = [find_figure(name) for name in asked]
    several = len(kinds) > 1
    if output is not None:
        _check_output(output, ending, several=several)
    folder = studies[0].place.folder if output is None else output
    files = {kind.name: folder / f"{kind.name}.{ending or 'html'}" for kind in kinds}
    if output is not None and not several:
        files = {kinds[0].name: output}
    is_page = files[kinds[0].name].suffix.lower() == PAGE
    _check_options(kinds, options, sheet, is_page=is_page)
    drawn: list[Drawn] = []
    remarks, missing = list[str](), list[str]()
    for kind in kinds:
        own = FigureOptions(**{name: getattr(options, name) for name in kind.takes})
        on = WIDE if is_page else replace(sheet, width=kind.width)
        on = sheet if sheet.height is not None else replace(on, titled=sheet.titled)
        try:
            info = kind.info(sources, own if several else options)
            drawn.append((kind, info, _themed(kind.draw(info, on), theme)))
        except Exception as error:
            if not several and isinstance(error, AblateError):
                raise
            if is_all and isinstance(error, AblateError):
                remarks.append(f"{kind.name} is left out: {getattr(error, 'reason', error)}")
            else:
                missing.append(why_not_drawn(kind.name, error))
    if not drawn:
        raise ParameterError("\n".join(missing or remarks))
    if several or output is None:
        make_folder(folder)
    beside = _texts_beside(drawn, files, captioned=captioned, with_data=with_data)
    write_figures([(figure, files[kind.name]) for kind, _, figure in drawn])
    for path, text in beside.items():
        write_text(text, path)
    return [*(files[kind.name] for kind, _, _ in drawn), *beside], remarks, missing


def _texts_beside(
    drawn: Sequence[Drawn], files: Mapping[str, Path], *, captioned: bool, with_data: bool
) -> dict[Path, str]:
    """The captions of images, and the data; of a page the caption stands in it."""
    texts = {}
    for kind, info, figure in drawn:
        file, caption = files[kind.name], caption_text(kind, figure) if captioned else ""
        if file.suffix.lower() == PAGE:
            figure.layout.meta |= {"caption": caption}
        elif captioned:
            texts[file.with_suffix(".txt")] = f"{caption}\n"
        if with_data:  # numbers with all digits
            texts[file.with_suffix(".csv")] = info.frame().to_csv(index=False)
    return texts


def _check_output(output: Path, ending: str | None, *, several: bool) -> None:
    """Refuse a file where a folder is needed, or the reverse, and two formats."""
    if several and output.suffix.lower() in ENDINGS:
        raise UsageError(
            f"{output}: must be a folder for several figures, got a file name. Give a folder; "
            "`ending` sets the format."
        )
    if ending is not None and not several:
        raise UsageError(
            f"`ending={ending}`: applies only to several figures, got the file {output}. The file "
            "name sets the format."
        )
    if not several:
        check_file(output)


def _check_options(
    kinds: Sequence[FigureKind], options: FigureOptions, sheet: Sheet, *, is_page: bool
) -> None:
    """Refuse what none of the figures, or no page, takes."""
    if is_page and sheet != replace(COLUMN, titled=sheet.titled):
        raise ParameterError(
            f"`size` and `font_size`: apply to .png, .svg and .pdf, got a {PAGE}. "
            "A page fills its window: leave them out."
        )
    for name in options.given:
        if not any(name in kind.takes for kind in kinds):
            raise ParameterError(f"--{name}: none of these figures takes it. Leave it out.")


def caption_text(kind: FigureKind, figure: Figure) -> str:
    """What a figure shows, how to read it, and what its numbers stand on, as sentences."""
    meta = figure.layout.meta
    facts, question = "; ".join(meta["facts"]), meta.get("question") or ""
    asked = question if isinstance(question, str) else ""  # of several studies a list
    sentences = filter(None, (meta["heading"], asked, kind.says, facts[:1].upper() + facts[1:]))
    return " ".join(text if text[-1] in ".?!" else f"{text}." for text in sentences)
