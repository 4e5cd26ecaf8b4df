"""Tables that leave something out where a terminal is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_WIDE = 10_000


@dataclass(frozen=True)
class FittedTable:
    """One table in several widths, for rich to print.

    Attributes:
        tables: the widest first: the first that fits is printed, the last where none does.
    """

    tables: tuple[Table, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update_width(_WIDE)  # a measure in a narrow terminal is cut to fit it
        for table in self.tables[:-1]:
            if Measurement.get(console, wide, table).minimum <= options.max_width:
                yield table
                return
        yield self.tables[-1]


def add_whole_column(table: Table, heading: str, printed: Sequence[str]) -> None:
    """Add a column of numbers, which are never folded.

    Args:
        printed: what its cells will be: rich takes no notice of `no_wrap` where it measures.
    """
    lines = [line for text in (heading, *printed) for line in text.split("\n")]
    width = max(map(cell_len, lines))
    table.add_column(Text(heading), justify="right", no_wrap=True, min_width=width)
