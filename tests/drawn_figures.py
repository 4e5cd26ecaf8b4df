"""What a test looks for in a figure."""

from __future__ import annotations

from typing import Any


def traces(figure: Any, name: str) -> list[Any]:
    """Those whose name begins so."""
    return [trace for trace in figure.data if (trace.name or "").startswith(name)]


def facts(figure: Any) -> str:
    """Of its caption, joined by " · "."""
    return " · ".join(figure.layout.meta["facts"])
