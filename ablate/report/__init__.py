"""Frozen Info objects become figures, tables and the live display."""

from typing import Any


def __getattr__(name: str) -> Any:
    """PyPI's `ablate` imports `Report` from here if it was installed over this package."""
    if name == "Report":
        from ablate_robustness import another_ablate

        if message := another_ablate():
            raise ImportError(message)
    raise AttributeError(f"module 'ablate.report' has no attribute {name!r}")
