"""The console that displays and tables are printed on."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ablate.files.shown import without_controls


class TextConsole(Console):
    """Rich's, but of control characters it writes none besides its own."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        # On standard output of a command all control characters would be escaped.
        file = getattr(sys.stderr if stderr else sys.stdout, "for_rich", None)
        # `loop:train:` has no emoji.
        super().__init__(stderr=stderr, file=file, width=width, emoji=False)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else without_controls(text), style, control)
