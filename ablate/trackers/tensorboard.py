"""TensorBoard: one folder per row, with its hyperparameters for the HParams page.

A folder is written aside and renamed when its row has ended, so a TensorBoard that is open shows
it at its next reload.  Below the root: STUDY-IDENTITY/trial-00007/.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.trackers.tracked import TrackedRow, TrackedStudy


class TensorBoard:
    """Writes the folders of one study below a root."""

    name = "tensorboard"
    _study: TrackedStudy

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def place(self) -> str:
        """Where its files are."""
        return str(self._root)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study; returns the numbers of the rows that are written."""
        self._study = study
        folders = (self._root / study.key).glob("trial-*")
        return {int(folder.name.removeprefix("trial-")) for folder in folders}

    def write(self, row: TrackedRow) -> None:
        """Write a row."""
        _, start, end = _hparams(row.params, [])
        with self._publish(f"trial-{row.number:05d}") as writer:
            writer.file_writer.add_summary(start, walltime=row.started)
            writer.file_writer.add_summary(end, walltime=row.ended)
            writer.add_text("facts", _table(row.facts), walltime=row.started)
            for epoch in row.epochs:
                for name, value in epoch.values.items():
                    writer.add_scalar(name, value, epoch.epoch, epoch.time)

    def finish(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Write what is known of the study itself; show the Markdown among the files, and name the
        others, which TensorBoard cannot show."""
        columns, _, _ = _hparams(study.params, study.objectives)
        others = [f"- `{file.absolute()}`" for file in files if file.suffix != ".md"]
        shown = [file.read_text("utf-8") for file in files if file.suffix == ".md"]
        texts = {
            "study file": "".join(f"    {line}\n" for line in study.text.splitlines()),
            "facts": _table(study.facts),
            "results": "\n\n".join([*shown, "\n".join(others)]),
        }
        with self._publish("study") as writer:
            writer.file_writer.add_summary(columns, walltime=study.started)
            for tag, text in texts.items():
                writer.add_text(tag, text, walltime=study.started)
            for name, value in study.references.items():
                writer.add_scalar(name, value, 0, study.started)

    @contextmanager
    def _publish(self, name: str) -> Iterator[Any]:
        """A writer of a folder, which is renamed at the end; a former one is replaced."""
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        folder = self._root / self._study.key / name
        # Beside the root, as TensorBoard reads all that is below it.
        aside = self._root.with_name(f".{self._root.name}-{self._study.key}-{name}")
        shutil.rmtree(aside, ignore_errors=True)  # of a driver that was killed
        with make(str(aside)) as writer:
            yield writer
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)


def _hparams(params: Mapping[str, Any], metrics: Sequence[str]) -> Any:
    """For the HParams page: its columns, and the start and end of a row with these parameters."""
    from torch.utils.tensorboard import summary

    make: Any = summary.hparams
    return make(dict(params), dict.fromkeys(metrics, 0.0))


def _table(facts: Mapping[str, Any]) -> str:
    """A Markdown table of names and values."""
    lines = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in facts.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])
