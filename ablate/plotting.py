"""`ablate plot`: which figures, into which files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ablate.drawing import read_source, themed
from ablate.errors import NothingToDrawError, ParameterError, UsageError
from ablate.report.figures import FIGURES, find_figure
from ablate.report.figures.figure import FigureOptions
from ablate.report.write import ENDINGS

ALL = "all"


def draw_to_files(
    studies: Sequence[str],
    names: Sequence[str] | None,
    output: Path | None,
    *,
    ending: str | None,
    theme: str,
    with_data: bool,
    options: FigureOptions,
) -> list[Path]:
    """Draw, and write what is drawn.

    Args:
        names: of figures, or `all`; None: what a study is asked for first.
        output: a file of one figure, a folder of several; None: the run folder of the first study.
        ending: of files in a folder.
        with_data: whether each figure's data stand beside it.

    Returns:
        Every file, in the order of the figures.

    Raises:
        ParameterError, UsageError, NothingToDrawError: see `ablate.drawing.plot` and
            `ablate.report.write.write_figures`.
    """
    from ablate.report.write import write_figures, write_frame

    if names is not None and not names:
        raise ParameterError("--figure: needs a name, got nothing. Name one, or leave it out.")
    asked = None if names is None else list(dict.fromkeys(names))
    is_all = asked == [ALL]
    kinds = [find_figure(name) for name in (FIGURES if is_all else asked or ())]
    into_folder = len(kinds) > 1
    if output is not None and not into_folder and ending is not None:
        raise UsageError(
            f"--format {ending}: is of several figures, got the file {output}. Its ending says it."
        )
    sources = [read_source(study) for study in studies]
    kinds = kinds or [find_figure("pareto" if sources[0].is_search else "effects")]
    if is_all:
        kinds = [kind for kind in kinds if kind.takes_all(sources, options)]
    infos = []
    for kind in kinds:
        try:
            infos.append((kind, kind.info(sources, options)))
        except NothingToDrawError:
            if not is_all:
                raise
    files = _files([kind.name for kind, _ in infos], studies[0], output, into_folder, ending)
    write_figures(
        [
            (themed(kind.draw(info), theme), file)
            for (kind, info), file in zip(infos, files, strict=True)
        ]
    )
    written = list(files)
    if with_data:
        for (_, info), file in zip(infos, files, strict=True):
            beside = file.with_suffix(".csv")
            write_frame(info.frame(), beside)
            written.append(beside)
    return written


def _files(
    names: Sequence[str], study: str, output: Path | None, into_folder: bool, ending: str | None
) -> list[Path]:
    if output is not None and not into_folder:
        return [output]
    folder = output
    if folder is None:
        from ablate.locate import locate

        folder = locate(study).folder
        folder.mkdir(parents=True, exist_ok=True)
    elif folder.suffix.lower() in ENDINGS:
        raise UsageError(
            f"{folder}: must be a folder, where several figures are drawn, got the name of a file. "
            "Name a folder; --format says what the files are."
        )
    elif not folder.is_dir():
        raise UsageError(
            f"{folder}: the folder must exist, where several figures are drawn, got none. "
            f"Make it with: mkdir -p '{folder}'"
        )
    return [folder / f"{name}.{ending or 'html'}" for name in names]
