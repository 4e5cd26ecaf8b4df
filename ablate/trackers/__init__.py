"""A study in other tools: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ablate.errors import MissingDependencyError, pip_install
from ablate.study.settings import TrackerSettings, path_from
from ablate.trackers.mlflow import MLflow
from ablate.trackers.tensorboard import TensorBoard
from ablate.trackers.tracked import TrackedRow, TrackedStudy
from ablate.trackers.wandb import Wandb


class Tracker(Protocol):
    """One tool.  Any method may raise anything: its server is away, its disk is full.

    Attributes:
        name: of its setting; place: where its files or runs are.
    """

    name: str

    @property
    def place(self) -> str: ...

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Find what it has of a study; called first, and again after a failure.

        Returns:
            Numbers of the rows that it has whole.
        """

    def write(self, row: TrackedRow) -> None:
        """Write an ended row that it does not have whole."""

    def finish(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Write what is known of the study itself, with finished pages and tables."""


def missing_packages(trackers: Sequence[TrackerSettings]) -> Iterator[tuple[int, str]]:
    """The trackers whose package is not installed: their index in the list, and the rule."""
    for index, tracker in enumerate(trackers):
        if find_spec(tracker.name) is None:
            fix = f"Run {pip_install(tracker.name)}."
            yield index, f"{tracker.name} must be installed, got no such package. {fix}"


def make_trackers(
    settings: Sequence[TrackerSettings], base: Path, folder: Path
) -> tuple[Tracker, ...]:
    """The trackers of a study; nothing is written yet, and no package is loaded.

    Args:
        base: folder of the study file; folder: of the run.

    Raises:
        MissingDependencyError: naming what to install.
        UsageError: if one lacks a setting.
    """
    for index, rule in missing_packages(settings):
        raise MissingDependencyError(f"run.trackers[{index}]: {rule}")

    def folder_of(name: str, written: str | None) -> Path:
        return folder / name if written is None else path_from(base, written)

    made: list[Tracker] = []
    for tracker in settings:
        if tracker.tensorboard is not None:
            made.append(TensorBoard(folder_of(tracker.name, tracker.tensorboard.folder)))
        elif tracker.mlflow is not None:
            made.append(MLflow(tracker.mlflow))
        elif tracker.wandb is not None:
            made.append(Wandb(tracker.wandb, folder_of(tracker.name, tracker.wandb.folder)))
    return tuple(made)
