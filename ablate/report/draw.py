"""From studies that a person names to a figure: read, compute, draw."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ablate.errors import AblateError, NothingToDrawError, ParameterError, UsageError
from ablate.lifecycle.open_study import OpenStudy, open_study
from ablate.lifecycle.place import StudyReference
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.figure import (
    USUAL,
    FigureKind,
    FigureOptions,
    Info,
    usual_figure,
    why_not_drawn,
)
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    WIDE_PIXELS,
    lay_out,
    least_pixels,
    with_height,
)
from ablate.report.style import SMALL_POINTS, SMALL_SIZE, dark
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
) -> Figure:
    """Draw a figure of one study or several.

    Args:
        name: a name of `ablate.report.figures.FIGURES`, as for `ablate plot --figure`.
        studies: study files, run folders, `URL#NAME`, or studies from Python.
        theme: "light" or "dark".
        trials: show only these trials; params: only these parameters; objective: this objective.
        rungs: show trials that were stopped at rungs, with their scores there.

    Raises:
        ParameterError: if the figure or an option is unknown, or the figure takes fewer studies.
        NothingToDrawError: if the studies have no data for it.
        StudyNotFoundError: if there is no such study.

    Example:
        >>> figure = ablate.plot("slice", "runs/own", params=["lr"], theme="dark")
        >>> figure.write_html("slice.html")
    """
    options = FigureOptions(tuple(trials), tuple(params), objective, rungs)
    kind = find_figure(name)
    info = kind.info([open_study(study).source for study in studies], options)
    return with_height(themed(kind.draw(info), theme))


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


@dataclass(frozen=True)
class PrintSize:
    """How a figure is printed.

    Attributes:
        inches: width and height; None: those of the figure's own pixels.
        text: as it was written; empty without inches.
        points: of the smallest text.
        titled: whether title and subtitle are over the figure.
    """

    inches: tuple[float, float] | None = None
    text: str = ""
    points: float = SMALL_POINTS
    titled: bool = True

    @property
    def _scale(self) -> float:
        """Pixels of the layout an inch."""
        return SMALL_SIZE * 72 / self.points

    def draw(self, kind: FigureKind, info: Info) -> Figure:
        """The figure in the form for this width, for `apply`."""
        if self.inches is None or not kind.is_wide:
            return kind.draw(info)
        column, wide = COLUMN_PIXELS[0], WIDE_PIXELS[0]
        return kind.draw(info, width=min(max(self._scale * self.inches[0], column), wide))

    def apply(self, figure: Figure) -> str:
        """Lay a finished figure out for this size.

        A figure that needs more height is higher; the text of one that needs more width is smaller.

        Returns:
            What has changed, as a sentence; empty where the size is enough.
        """
        if self == _OWN_SIZE:
            return ""
        scale = self._scale
        meta = figure.layout.meta
        width, height = meta["image_pixels"]
        if self.inches is None:
            lay_out(figure, width, height, titled=self.titled, is_page=False)
            figure.layout.meta |= {"inches": (width / scale, height / scale)}
            return ""
        width, height = (scale * side for side in self.inches)
        lay_out(figure, width, height, titled=self.titled, is_page=False)
        needed = least_pixels(figure)
        shrunk = max(1.0, needed[0] / width)
        width, height = shrunk * width, max(shrunk * height, needed[1])
        lay_out(figure, width, height, titled=self.titled, is_page=False)
        inches = self.inches[0], height / scale / shrunk
        figure.layout.meta |= {"inches": inches}
        said = []
        if inches[1] > 1.005 * self.inches[1]:
            said.append(f"is {inches[1]:.1f} in high, which its text needs")
        if shrunk > 1.005:
            said.append(f"its smallest text has {self.points / shrunk:.1f} pt")
        fix = f"For {self.points:g} pt give {needed[0] / scale:.1f} in of width."
        if said and shrunk <= 1.005:
            fix = "Give that height, or a smaller --font-size."
        return f"{' and '.join(said)} at {self.text}. {fix}" if said else ""


def print_size(size: str, points: float, *, titled: bool) -> PrintSize:
    """What a person wrote, checked.

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
        return PrintSize(points=points, titled=titled)
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
    return PrintSize((width, height), size, points, titled)


# -- `ablate plot`: which figures, into which files ----------------------------------------


ALL = "all"
_OWN_SIZE = PrintSize()
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
    size: PrintSize = _OWN_SIZE,
    captioned: bool = True,
) -> tuple[list[Path], list[str], list[str]]:
    """Draw figures and write them; a figure that cannot be drawn does not stop the others.

    Args:
        names: of figures, or `all`; None: the default figure of the study.
        output: a file for one figure; for several a folder, which is created; None: the run folder
            of the first study.
        ending: of files in a folder.
        with_data: whether each figure's data is written too.
        size: of images; of a page only whether it has titles.
        captioned: whether a page has the caption under the figure, and an image has it in a .txt
            beside it.

    Returns:
        The files, in the order of the figures; remarks, one line each: for `all`, the figures
        without data and the reason, and figures that are too large for the size; why other
        requested figures are not drawn, one line each.

    Raises:
        ParameterError: if a name or an option is unknown, or none of the figures can be drawn;
            see also `ablate.report.draw.plot` and `ablate.report.write.write_figures`.
    """
    if names is not None and not names:
        raise ParameterError("--figure: needs a name, got nothing. Name one, or leave it out.")
    asked = None if names is None else list(dict.fromkeys(names))
    is_all = asked == [ALL]
    kinds = [find_figure(name) for name in (FIGURES if is_all else asked or ())]
    into_folder = len(kinds) > 1
    if output is not None and not into_folder and ending is not None:
        raise UsageError(
            f"--format {ending}: applies only to several figures, got the file {output}. The file "
            "name sets the format."
        )
    if output is not None and not into_folder and output.name in ("", ".."):
        raise UsageError(
            f"{output}: must name a file for one figure, got a folder. Write "
            f"{output / 'FIGURE.html'}."
        )
    sources = [study.source for study in studies]
    kinds = kinds or [find_figure(usual_figure(sources[0]))]
    drawn: list[Drawn] = []
    remarks, missing = list[str](), list[str]()
    for kind in kinds:
        own = _own_options(kind, kinds, options, of_one=len(sources) == 1 or not is_all)
        misfit = kind.misfit(sources, own) if is_all else None
        if misfit is not None:
            remarks.append(f"{kind.name} is left out: {misfit[0]}")
            continue
        try:
            info = kind.info(sources, own)
            drawn.append((kind, info, themed(size.draw(kind, info), theme)))
        except Exception as error:
            if not into_folder and isinstance(error, AblateError):
                raise
            if is_all and isinstance(error, NothingToDrawError | UsageError):
                reason = error.reason if isinstance(error, NothingToDrawError) else error
                remarks.append(f"{kind.name} is left out: {reason}")
            else:
                missing.append(why_not_drawn(kind.name, error))
    if not drawn:
        raise ParameterError("\n".join(missing or remarks))
    files = _files([kind.name for kind, _, _ in drawn], studies[0], output, into_folder, ending)
    remarks += _lay_out(drawn, files, size)
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


def _own_options(
    kind: FigureKind, kinds: Sequence[FigureKind], options: FigureOptions, *, of_one: bool
) -> FigureOptions:
    """The options for one of several figures: beside a figure with stopped trials, others are drawn
    as they are; with `all` of several studies none has them."""
    takers = [one.name for one in kinds if "rungs" in one.takes]
    if not takers or not options.rungs:  # asked of figures that all lack them, it is refused
        return options
    return replace(options, rungs=kind.name in takers and of_one)


def _lay_out(drawn: Sequence[Drawn], files: Sequence[Path], size: PrintSize) -> list[str]:
    """Lay figures out for their files; which of them need a larger size, one line each."""
    remarks = []
    for (kind, _, figure), file in zip(drawn, files, strict=True):
        if file.suffix.lower() == PAGE and (size.inches or size.points != SMALL_POINTS):
            raise ParameterError(
                f"--size and --font-size: apply to .png, .svg and .pdf, got {file.name}. "
                "A page fills its window: leave them out."
            )
        needed = size.apply(figure)
        remarks += [f"{kind.name} {needed}"] if needed else []
    return remarks


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
    ending: str | None,
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
    return [folder / f"{name}.{ending or 'html'}" for name in names]
