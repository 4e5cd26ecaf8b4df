"""The files of a run: copying a trial's weights, and counting bytes on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from ablate.analysis.pareto import Point, point_of
from ablate.errors import DataError, InfrastructureError, UsageError
from ablate.files.cache import cache_folder, publish_file
from ablate.files.durable import folder_bytes
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.model.weights.export_metadata import ExportMetadata, read_metadata
from ablate.study.scores import ReportedScores
from ablate.trial.task import weights_file

_SUFFIX = ".safetensors"


def exported_point(
    record: StudyRecord, folder: Path, number: int, alpha: float | None = None
) -> Point:
    """The network of a trial to export.

    Args:
        folder: of the run.
        alpha: in (0, 1]; None: that of the network whose scores are the trial's, which for a
            confirmed point is that of its weights.

    Raises:
        UsageError: if there is no such trial, it is not complete, its weights are missing or
            damaged, or alpha is out of range.
    """
    row = _row(record, number)
    if alpha is None and row.path is None:
        _check_complete(row)
        alpha = _alpha_of(_source(record, folder, _origin(row))[1])
    if alpha is not None and not 0 < alpha <= 1:
        raise UsageError(f"--alpha: must be above 0 and at most 1, got {alpha:g}. Write 0.5.")
    return point_of(row) if alpha is None else Point(number, alpha)


def export_weights_of(
    record: StudyRecord,
    folder: Path,
    point: Point | None,
    output: Path,
    *,
    cache: Path | None = None,
) -> Path:
    """Write the weights of a trial, completely or not at all.

    Args:
        record: the study from its ledger.
        folder: of the run.
        point: the trial's network, at any alpha; None: the plain finetune.
        output: a .safetensors file; its folder is created, an existing file is replaced.
        cache: holds the baseline, for an alpha below 1; None: the usual one.

    Returns:
        The file, absolute.

    Raises:
        UsageError: if there is no such trial, it is not complete, its weights are missing or
            damaged, or the output cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    if output.suffix != _SUFFIX:
        raise UsageError(
            f"{output}: must end in {_SUFFIX}, got {output.suffix or 'no ending'!r}. "
            f"Write {output.with_suffix(_SUFFIX) if output.name else f'weights{_SUFFIX}'}."
        )
    number = None
    if point is None:
        _check_plain(record)
    else:
        row = _row(record, point.trial)
        _check_complete(row)
        number = _origin(row)
    source, metadata = _source(record, folder, number)
    if point is not None and point.alpha != _alpha_of(metadata):
        _export_between(source, metadata, point, output.absolute(), cache or cache_folder())
        return output.absolute()
    publish_file(output.absolute(), lambda temporary: shutil.copyfile(source, temporary))
    return output.absolute()


def checkpoint_bytes(folder: Path, checkpoints: str) -> tuple[int, int] | None:
    """Disk space used by a study.

    Args:
        folder: of the run.
        checkpoints: absolute path or fsspec URI of the training states.

    Returns:
        Bytes of training states and of weights; None if the run's folder is not on this host, or
        the file system of the training states cannot be read.
    """
    if not folder.is_dir():
        return None
    try:
        states = folder_bytes(checkpoints)
    except (UsageError, InfrastructureError):
        return None
    return states, folder_bytes(str(weights_file(folder.absolute(), None).parent))


def _alpha_of(metadata: ExportMetadata | None) -> float:
    """Of weights, between the baseline, 0, and the finetuned network, 1."""
    return 1.0 if metadata is None else metadata.alpha


def _origin(row: RowRecord) -> int:
    """The trial that wrote the weights: a copy has those of its original."""
    return row.number if row.copy_of is None else row.copy_of


def _export_between(
    source: Path, metadata: ExportMetadata | None, point: Point, output: Path, cache: Path
) -> None:
    from ablate.finetune.baseline import kept_baseline, read_weights
    from ablate.finetune.interpolation import export_between

    if _alpha_of(metadata) != 1:
        raise UsageError(
            f"--alpha {point.alpha:g}: needs the finetuned network, got weights that are at alpha "
            f"{_alpha_of(metadata):g} already. Leave --alpha out."
        )
    if metadata is None or not metadata.baseline_sha256:
        raise UsageError(
            f"--alpha {point.alpha:g}: needs the baseline that the trial started from, got weights "
            "of an earlier version, which does not name it. Export alpha 1, or run the trial again."
        )
    baseline = kept_baseline(cache, metadata.baseline_sha256)
    if baseline is None:
        raise UsageError(
            f"{point.name}: needs the baseline's weights in {cache}, got none with their sha256. "
            "Run the command on the host where the study was launched; `ablate launch` of the same "
            "study under another name trains the baseline again."
        )
    export_between(read_weights(baseline), source, point.alpha, output, metadata)


def _row(record: StudyRecord, number: int) -> RowRecord:
    for row in record.rows:
        if row.number == number:
            return row
    last = max((row.number for row in record.rows), default=None)
    there = "none" if last is None else "0 alone" if last == 0 else f"0 to {last}"
    raise UsageError(
        f"trial {number}: must be a trial of {record.name}, got an unknown number. "
        f"Its trials: {there}."
    )


def _check_plain(record: StudyRecord) -> None:
    if "plain" not in record.references:
        raise UsageError(
            f"plain: must be finished, got {record.name} without scores of the plain finetune. "
            "Resume the study, or name a trial by its number."
        )


def _check_complete(row: RowRecord) -> None:
    if row.state != "COMPLETE":
        why = f" ({row.failure.reason})" if row.failure else ""
        raise UsageError(
            f"trial {row.number}: must be COMPLETE, got {row.state}{why}. "
            "Only complete trials have weights: name another."
        )
    if isinstance(row.scores, ReportedScores):
        raise UsageError(
            f"trial {row.number}: must be a finetuning by ablate, got a custom training loop. Its "
            "weights are where that loop wrote them."
        )


def _source(
    record: StudyRecord, folder: Path, number: int | None
) -> tuple[Path, ExportMetadata | None]:
    """The file of a trial's weights, and its metadata; None: of the plain finetune."""
    source = weights_file(folder.absolute(), number)
    who = "plain" if number is None else f"trial {number}"
    if source.is_file():
        try:
            return source, read_metadata(source)
        except DataError as error:
            raise DataError(
                f"{source}: must be the weights that {who} wrote, got a damaged file. Restore it "
                "from a backup, or run the same trial again."
            ) from error
    if not source.parent.is_dir():
        raise UsageError(
            f"{source.parent}: must hold the weights of {record.name}, got no such folder. "
            "Run the command on the host and in the folder where the study was launched."
        )
    keep = record.study.run.keep_checkpoints
    if number is not None and keep != "all":
        raise UsageError(
            f"{who}: must have its weights, got none: run.keep_checkpoints is {keep}, so they "
            "were deleted. `run.keep_checkpoints: all` keeps those of all future trials."
        )
    raise UsageError(
        f"{who}: must have its weights in {source}, got no such file. "
        "It was moved or deleted: restore it."
    )
