"""Weights & Biases: one run per row, by `wandb.init`.

Offline, a run is written aside and renamed, so a row is there once; `wandb sync` uploads it.
Online, it is renamed after its upload, so a row is uploaded at least once.  A run's id follows from
study and row: one that is uploaded again is the same run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ablate.errors.masking import without_secrets
from ablate.study.settings import WandbSettings
from ablate.trackers.tracked import TrackedRow, TrackedStudy

_START_SECONDS = 30
"""Until a server has to have answered, in mode online."""


class Wandb:
    """Writes the offline runs of one study below a folder."""

    name = "wandb"
    _study: TrackedStudy

    def __init__(self, settings: WandbSettings, folder: Path) -> None:
        self._settings = settings
        self._root = folder
        self._kind = "offline-run" if settings.mode == "offline" else "run"

    @property
    def place(self) -> str:
        """Where its files are."""
        return str(self._root)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study; returns the numbers of the rows that are written."""
        import wandb

        self._study = study
        with without_secrets():
            wandb.setup()  # starts its process
        for left in self._root.glob(f".{study.identity}-*"):  # by a driver that was killed
            shutil.rmtree(left)
        folders = self._root.glob(f"{self._kind}-*-{study.identity}-*")
        names = [folder.name.rpartition("-")[2] for folder in folders]
        return {int(name) for name in names if name.isdecimal()}

    def write(self, row: TrackedRow) -> None:
        """Write a row that has ended; a former run of it is replaced."""

        def log(run: Any) -> None:
            for epoch in row.epochs:
                run.log({**epoch.values, "_timestamp": epoch.time}, step=epoch.epoch)
            run.summary.update(dict(row.facts))

        of_row = {"name": row.name, "job_type": "trial", "config": dict(row.params)}
        self._publish(f"{row.number:05d}", log, exit_code=int(row.state == "FAIL"), **of_row)

    def finish(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Write the run of the study itself; HTML is shown on its page."""
        from wandb import Html

        def log(run: Any) -> None:
            pages = [file for file in files if file.suffix == ".html"]
            run.log({file.stem: Html(file.read_text("utf-8"), inject=False) for file in pages})
            run.summary.update({**study.facts, **study.references})
            folder = Path(run.dir)
            (folder / "study.yaml").write_text(study.text, encoding="utf-8")
            for file in set(files) - set(pages):
                shutil.copy(file, folder)
            for file in folder.glob("*.*"):
                run.save(file, base_path=folder, policy="now")

        self._publish("study", log, name=study.name, job_type="study")

    def _publish(
        self, which: str, log: Callable[[Any], None], *, exit_code: int = 0, **about: Any
    ) -> None:
        """Write a run: "study", or the number of a row."""
        import wandb

        study, root = self._study, self._root
        quiet = wandb.Settings(
            silent=True,
            init_timeout=_START_SECONDS,
            console="off",
            disable_git=True,
            save_code=False,
            reinit="create_new",  # a run of the user's own, in this process, goes on
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=root, prefix=f".{study.identity}-") as aside:
            run = wandb.init(
                id=f"{study.identity}-{which}",
                resume="allow",
                mode=self._settings.mode,
                project=self._settings.project,
                entity=self._settings.entity,
                group=study.key,
                tags=[study.name],
                dir=aside,
                settings=quiet,
                **about,
            )
            log(run)
            run.finish(exit_code=exit_code)
            # The start of a study never changes, so that a run has one folder.
            moment = datetime.fromtimestamp(study.started, UTC)
            folder = root / f"{self._kind}-{moment:%Y%m%d_%H%M%S}-{study.identity}-{which}"
            shutil.rmtree(folder, ignore_errors=True)
            Path(run.dir).parent.replace(folder)
