"""Weights & Biases: one offline run per row, in files that `wandb sync` uploads.

The file of a run is a log of records, as the program of W&B writes it offline (LevelDB's log
format, https://github.com/google/leveldb/blob/main/doc/log_format.md, with crc32).  It is written
here, because `wandb.init` starts a process, takes a second, and has the time of the call for that
of an epoch.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from ablate.errors import InfrastructureError
from ablate.errors.masking import environment_without_secrets
from ablate.files.cache import publish_file
from ablate.study.sections.search import WandbSettings
from ablate.trackers.tracked import TrackedRow, TrackedStudy

_BLOCK, _HEAD = 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_IDENT = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_SYNCED = ".wandb.synced"
"""Ending of the mark that `wandb sync` leaves beside a file that it has uploaded."""
_SYNC_SECONDS = 60
"""Without another run uploaded, after which `wandb sync` is stopped."""


class Wandb:
    """Writes the offline runs of one study below a folder."""

    name = "wandb"
    takes_running = False
    load_seconds = 0.3
    _study: TrackedStudy

    def __init__(self, settings: WandbSettings, folder: Path) -> None:
        self._settings = settings
        self._root = folder

    @property
    def place(self) -> str:
        """Where its files are."""
        return str(self._root)

    def begin(self, study: TrackedStudy) -> Collection[int]:
        """Start with a study.

        Returns:
            Numbers of the rows that are written.
        """
        self._study = study
        files = self._root.glob(f"offline-run-*-{study.identity}-*/run-*.wandb")
        names = [file.stem.rpartition("-")[2] for file in files]
        return {int(name) for name in names if name.isdecimal()}

    def write(self, row: TrackedRow) -> None:
        """Write a row that has ended; a former file of it is replaced."""
        history = [(one.epoch, one.time, dict(one.values)) for one in row.epochs]
        self._publish(
            f"{row.number:05d}",
            row.name,
            "trial",
            config=row.params,
            history=history,
            summary={**row.facts, **row.scores},
            times=(row.started, row.ended or row.started),
            exit_code=int(row.state == "FAIL"),
        )

    def finish(self, study: TrackedStudy) -> None:
        """Write the run of the study itself, with the files that it has; upload what was not, if
        the mode is online.

        Raises:
            InfrastructureError: if the upload failed.
        """
        self._study = study
        folder = self._folder("study") / "files"
        pages = folder / "media" / "html"
        publish_file(
            folder / "study.yaml", lambda path: path.write_text(study.text, encoding="utf-8")
        )
        summary: dict[str, Any] = {**study.facts, **study.references}
        for page in sorted(pages.glob("*.html")):
            digest, path = hashlib.sha256(page.read_bytes()).hexdigest(), f"media/html/{page.name}"
            shown = {"_type": "html-file", "path": path, "sha256": digest}
            summary[page.stem] = {**shown, "size": page.stat().st_size}
        self._publish(
            "study",
            study.name,
            "study",
            config={},
            history=[],
            summary=summary,
            times=(study.started, study.ended or study.started),
            files=[str(file.relative_to(folder)) for file in _files_below(folder)],
        )
        if self._settings.mode == "online":
            self._sync()

    def attach(self, study: TrackedStudy, files: Sequence[Path]) -> None:
        """Add files to the run of the study; HTML is shown on its page."""
        self._study = study
        folder = self._folder("study") / "files"
        for file in files:
            into = folder / "media" / "html" if file.suffix == ".html" else folder
            publish_file(into / file.name, partial(shutil.copyfile, file))
        self.finish(study)

    def _folder(self, which: str) -> Path:
        """The folder of a run.  Its name has the start of the study, which never changes, so that
        a run has one folder."""
        moment = datetime.fromtimestamp(self._study.started, UTC)
        return self._root / f"offline-run-{moment:%Y%m%d_%H%M%S}-{self._study.identity}-{which}"

    def _publish(
        self,
        which: str,
        title: str,
        job_type: str,
        *,
        config: Mapping[str, Any],
        history: Sequence[tuple[int, float, Mapping[str, Any]]],
        summary: Mapping[str, Any],
        times: tuple[float, float],
        exit_code: int = 0,
        files: Sequence[str] = (),
    ) -> None:
        """Write the file of a run.

        Args:
            which: "study", or the number of a row.
            history: step, time and numbers of each epoch.
            times: start and end, in seconds since 1970.
        """
        from wandb.proto import wandb_internal_pb2 as proto

        began, ended = times
        run = proto.RunRecord(
            run_id=f"{self._study.identity}-{which}",
            entity=self._settings.entity or "",
            project=self._settings.project,
            run_group=self._study.key,
            job_type=job_type,
            display_name=title,
            tags=[self._study.name],
        )
        run.start_time.FromNanoseconds(int(began * 1e9))
        for key, value in {**config, "_wandb": {}}.items():
            run.config.update.add(key=key, value_json=_json(value))
        records = [proto.Record(header=_header(proto)), proto.Record(run=run)]
        for step, time, values in history:
            record = proto.Record()
            record.history.step.num = step
            passed = {"_step": step, "_timestamp": time, "_runtime": max(0.0, time - began)}
            for key, value in {**values, **passed}.items():
                record.history.item.add(key=key, value_json=_json(value))
            records.append(record)
        record = proto.Record()
        for key, value in {**summary, "_runtime": ended - began, "_timestamp": ended}.items():
            record.summary.update.add(key=key, value_json=_json(value))
        records.append(record)
        if files:
            record = proto.Record()
            for name in files:
                record.files.files.add(path=name, policy=proto.FilesItem.PolicyType.END)
            records.append(record)
        last = proto.RunExitRecord(exit_code=exit_code, runtime=int(ended - began))
        records.append(proto.Record(exit=last))
        for number, record in enumerate(records, 1):
            record.num = number
        folder = self._folder(which)
        content = b"".join(_log(record.SerializeToString() for record in records))
        file = folder / f"run-{self._study.identity}-{which}.wandb"
        for left in folder.glob(f".{file.name}.*"):  # by a driver that was killed
            left.unlink()
        publish_file(file, lambda path: path.write_bytes(content))
        file.with_suffix(_SYNCED).unlink(missing_ok=True)

    def _sync(self) -> None:
        """Upload the runs that were not uploaded since they were written, with `wandb sync`."""
        waiting = left = self._not_synced()
        if not waiting:
            return
        with tempfile.TemporaryFile("w+") as output:
            sync = subprocess.Popen(
                [sys.executable, "-m", "wandb", "sync", *map(str, waiting)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment_without_secrets(),
            )
            try:
                # It tries again for ever if the server is away.
                while not _ends(sync) and len(self._not_synced()) < len(left):
                    left = self._not_synced()
            finally:
                sync.kill()
                sync.wait()
            left = self._not_synced()
            output.seek(0)
            lines = [line.strip() for line in output.read().splitlines() if line.strip()]
        if left:
            why = lines[-1] if lines else f"exit code {sync.returncode}"
            raise InfrastructureError(
                f"wandb sync left {len(left)} of {len(waiting)} runs, the last line is: {why}"
            )

    def _not_synced(self) -> list[Path]:
        """The folders of runs without the mark of `wandb sync`."""
        files = self._root.glob(f"offline-run-*-{self._study.identity}-*/run-*.wandb")
        return sorted(file.parent for file in files if not file.with_suffix(_SYNCED).exists())


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Wait for its end, for `_SYNC_SECONDS` at most; returns whether it came."""
    try:
        process.wait(_SYNC_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _header(proto: Any) -> Any:
    import wandb

    version = proto.VersionInfo(producer=wandb.__version__, min_consumer="0.70.0")
    return proto.HeaderRecord(version_info=version)


def _json(value: Any) -> str:
    """A value as W&B has it in its records: numbers that JSON lacks are text."""
    if isinstance(value, float) and not math.isfinite(value):
        value = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return json.dumps(value)


def _log(records: Iterable[bytes]) -> Iterator[bytes]:
    """Records as a log: in blocks of 32 KiB, each part of a record with its checksum, length and
    kind; the end of a block that is too short for these is zeros."""
    yield _IDENT
    place = len(_IDENT)
    for record in records:
        first, rest = True, record
        while True:
            room = _BLOCK - place % _BLOCK
            if room < _HEAD:
                yield b"\0" * room
                place, room = place + room, _BLOCK
            part, rest = rest[: room - _HEAD], rest[room - _HEAD :]
            kind = (_FULL if first else _LAST) if not rest else (_FIRST if first else _MIDDLE)
            checksum = zlib.crc32(part, zlib.crc32(bytes([kind])))
            yield struct.pack("<IHB", checksum, len(part), kind) + part
            place, first = place + _HEAD + len(part), False
            if not rest:
                break
