"""What every figure is: one kind of Info, read from studies, and a drawing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

from ablate.ablation.study_source import StudySource
from ablate.errors import AblateError, NothingToDrawError, ParameterError, error_text

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from ablate.ablation.info import AblationInfo
    from ablate.report.figures.canvas import Sheet


class Info(Protocol):
    """What a figure shows, computed: frozen, and also a table, one row a mark."""

    def frame(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class FigureOptions:
    """What a person may ask of a figure, by names; empty: what suits the study."""

    trials: tuple[int, ...] = ()
    params: tuple[str, ...] = ()
    objective: str = ""

    @property
    def given(self) -> list[str]:
        """The names of those that are asked for."""
        return [field.name for field in fields(self) if getattr(self, field.name)]


USUAL = FigureOptions()


@dataclass(frozen=True)
class FigureKind:
    """A figure that `ablate plot` and the report draw.

    Attributes:
        name: for `--figure`, and of its module.
        section: of the report's page that it stands in (`ablate.report.page.page.SECTIONS`).
        title, says: head its section in the report; a sentence on how to read it.
        read: raises NothingToDrawError if it does not apply to these studies. A study without data
            so far gives an empty Info.
        draw: in the light theme.
        width: of an image whose size is not given, in pixels (`Sheet`).
        several: whether it takes more than one study.
        takes: names of the `FigureOptions` that it uses.
    """

    name: str
    section: str
    title: str
    says: str
    read: Callable[[Sequence[StudySource], FigureOptions], Any]
    draw: Callable[[Any, Sheet], Figure]
    width: int = 434
    several: bool = False
    takes: tuple[str, ...] = ()

    def info(self, sources: Sequence[StudySource], options: FigureOptions = USUAL) -> Info:
        """The Info of these studies.

        Raises:
            NothingToDrawError: if the figure does not apply to them.
            ParameterError: of too many studies, an option that it does not use or a wrong one.
        """
        if not sources:
            raise ParameterError(f"`name={self.name}`: needs a study, got none. Name one.")
        if len(sources) > 1 and not self.several:
            raise ParameterError(
                f"`name={self.name}`: takes one study, got {len(sources)}. Draw one at a time."
            )
        for name in options.given:
            if name not in self.takes:
                raise ParameterError(f"`name={self.name}`: takes no `{name}`. Leave it out.")
        info: Info = self.read(sources, options)
        return info


def usual_figure(source: StudySource) -> str:
    """The name of the figure that shows the result of a study."""
    if not source.is_search:
        return "effects"
    return "pareto" if len(source.record.study.objectives) > 1 else "history"


def why_not_drawn(name: str, error: Exception) -> str:
    """In one line, why there is no figure of this name: whatever went wrong."""
    if isinstance(error, AblateError):
        return str(error)
    return f"figure {name} could not be drawn: {error_text(error)}."


def the_search(sources: Sequence[StudySource], figure: str) -> StudySource:
    """The one study, which must be a search.

    Raises:
        NothingToDrawError: if it is an ablation.
    """
    (source,) = sources
    if not source.is_search:
        rule = "needs a search, got an ablation"
        raise NothingToDrawError(source.record.name, figure, rule, "Draw effects.")
    return source


def the_ablation(sources: Sequence[StudySource], figure: str) -> AblationInfo:
    """The Info of an ablation or a confirmation (`StudySource.decided`), or of several of the same
    arms read as one.

    Raises:
        NothingToDrawError: if one is a search.
        UsageError: if several do not match (`ablate.ablation.pooled`).
    """
    for source in sources:
        if source.ablation is None:
            rule, usual = "needs an ablation, got a search", usual_figure(source)
            fix = f"Draw {usual}, or run ablate confirm and draw runs/NAME/confirm."
            raise NothingToDrawError(source.record.name, figure, rule, fix)
    if len(sources) == 1 and (decided := sources[0].decided.ablation) is not None:
        return decided
    from ablate.ablation.pooled import pooled_info

    rows = ([row.number for row in source.record.rows] for source in sources)
    return pooled_info(
        [(one.record, *one.read_bits(numbers)) for one, numbers in zip(sources, rows, strict=True)]
    )
