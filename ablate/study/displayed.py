"""What a study, its results and an evaluation look like in a notebook: the report says it, which
knows of all that it shows and is loaded when something is shown."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """Base of what shows itself in a notebook: as a table, in a kernel with its figure."""

    def _repr_html_(self) -> str:
        return str(_notebook().html(self))

    def _ipython_display_(self) -> None:
        _notebook().display(self)


def _notebook() -> Any:
    return import_module("ablate.report.notebook")
