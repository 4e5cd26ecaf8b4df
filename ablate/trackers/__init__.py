"""A study in other tools: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ablate.errors import MissingDependencyError
from ablate.errors.installation import pip_install
from ablate.study.settings import TrackerSettings, path_from
from ablate.trackers.tracked import TrackedRow, TrackedStudy


class Tracker(Protocol):
    """One tool.  Any method may raise anything: its server is away, its disk is full.

    Attributes:
        name: of its setting; place: where its files or runs are.
        takes_running: whether it takes a row after each epoch, else only one that has ended.
        load_seconds: processor time that loading its package takes, in seconds, as measured.
    """

    name: str
    takes_running: bool
    load_seconds: float

    @property
    def place(self) -> str: ...

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Find what it has of a study; called first, and again after a failure.

        Returns:
            Numbers of the rows that it has whole.
        """

    def write(self, row: TrackedRow) -> None:
        """Write a row; one that it has is replaced."""

    def finish(self, study: TrackedStudy) -> None:
        """Write what is known of the study itself."""

    def attach(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Add finished pages and tables to the study, which it has; `begin` is not needed."""


def missing_packages(trackers: Sequence[TrackerSettings]) -> Iterator[tuple[int, str]]:
    """The trackers whose package is not installed: their place in the list, and the rule."""
    for place, tracker in enumerate(trackers):
        if find_spec(tracker.name) is None:
            yield (
                place,
                f"{tracker.name} must be installed, got no such package. Run "
                f"{pip_install(tracker.name)}.",
            )


def check_installed(trackers: Sequence[TrackerSettings]) -> None:
    """Refuse a study whose trackers are not installed, before it starts.

    Raises:
        MissingDependencyError: naming what to install.
    """
    for place, rule in missing_packages(trackers):
        raise MissingDependencyError(f"run.trackers[{place}]: {rule}")


def make_trackers(
    settings: Sequence[TrackerSettings], base: Path, folder: Path
) -> tuple[Tracker, ...]:
    """The trackers of a study; nothing is written yet, and no package is loaded.

    Args:
        base: folder of the study file; folder: of the run.

    Raises:
        UsageError: if one lacks a setting.
    """

    def made() -> Iterator[Tracker]:
        for one in settings:
            if one.tensorboard is not None:
                from ablate.trackers.tensorboard import TensorBoard

                yield TensorBoard(_folder(one.tensorboard.folder, base, folder / one.name))
            if one.mlflow is not None:
                from ablate.trackers.mlflow import MLflow

                yield MLflow(one.mlflow)
            if one.wandb is not None:
                from ablate.trackers.wandb import Wandb

                yield Wandb(one.wandb, _folder(one.wandb.folder, base, folder / one.name))

    return tuple(made())


def _folder(written: str | None, base: Path, usual: Path) -> Path:
    return usual if written is None else path_from(base, written)
