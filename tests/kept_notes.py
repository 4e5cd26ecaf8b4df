"""A progress display that keeps its notes."""

from __future__ import annotations

from ablate.search.progress import Progress


class KeptNotes(Progress):
    """Shows nothing, and keeps what it is told to say."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
