"""The networks of a run: a trial's weights as a file or a module; counting bytes on disk."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.ablation.searches import pick_trial
from ablate.analysis.pareto import point_of
from ablate.errors import LONGEST, DataError, ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder, publish_file
from ablate.files.durable import folder_bytes, is_uri
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.open_study import OpenStudy, open_study
from ablate.lifecycle.place import StudyReference
from ablate.model.weights.export_metadata import ExportMetadata, read_metadata
from ablate.study.mixture import Mixture
from ablate.study.scores import ReportedScores
from ablate.study.seeds import needs_plain
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    from ablate.model.trained import TrainedNetwork

_SUFFIX = ".safetensors"

FORMATS = {"safetensors": _SUFFIX, "torch_export": ".pt2", "onnx": ".onnx"}
"""Of an exported file, with its ending."""


def asked_trial(record: StudyRecord, trial: int | str, *, where: str = "trial") -> int | None:
    """The number of a trial; None: the plain finetune.

    Args:
        trial: a number, "plain", "knee", or "best METRIC" (of an objective; `val_` may be left
            out).
        where: for messages.

    Raises:
        ParameterError: if it is none of these, or the study has no such trial.
    """
    text = str(trial).strip()
    if text == "plain" or text.isdecimal():
        return None if text == "plain" else int(text)
    words = text.split()
    if words == ["knee"] or (len(words) == 2 and words[0] == "best"):
        return pick_trial(record, text, key=where).number
    known = ["plain", "knee", *(f"best {asked.metric}" for asked in record.study.objectives)]
    raise ParameterError(
        f"{where}: must be a trial's number, plain, knee or best METRIC, got {text or 'nothing'}. "
        f"{did_you_mean(text, known)}"
    )


def export_network(
    opened: OpenStudy,
    trial: int | None,
    output: Path,
    *,
    alpha: float | None = None,
    kind: str | None = None,
) -> Mixture | None:
    """Write the network of a trial, completely or not at all.

    Args:
        kind: a name of `FORMATS`; None: that of the output's ending.
        trial, output, alpha: as of `write_weights`.

    Returns, Raises: as `write_weights`; also
        UsageError: if the ending is not the format's, or the network cannot be written in it.
        MissingDependencyError: if the format needs a package that is not installed.
    """
    opened, trial = opened.owner(trial)
    kinds = {ending: name for name, ending in FORMATS.items()}
    kind = kind or kinds.get(output.suffix, "safetensors")
    if output.suffix != FORMATS[kind]:
        raise UsageError(
            f"{output}: must end in {FORMATS[kind]}, got {output.suffix or 'no ending'!r}. "
            f"Write {output.with_suffix(FORMATS[kind]) if output.name else f'weights{_SUFFIX}'}."
        )
    if kind == "safetensors":
        return write_weights(opened.record, opened.place.folder, trial, output, alpha)
    from ablate.model.weights.programs import write_onnx, write_torch_export

    network, point = _load(opened, trial, alpha)
    (write_onnx if kind == "onnx" else write_torch_export)(network, output.absolute())
    return point


def load_model(
    study: StudyReference, trial: int | str | None = None, *, alpha: float | None = None
) -> TrainedNetwork:
    """Load the finetuned network of a trial, ready to be used: in eval mode, on the CPU.

    Args:
        study: the study; or a .safetensors file that `ablate export` wrote.
        trial: its number, "plain" (the plain finetune), "knee", or "best METRIC" of the front, such
            as "best val_robust_accuracy"; of a file, None.
        alpha: weight of the finetuned network against the baseline, in (0, 1]; None: that of the
            trial's scores.

    Returns:
        A `torch.nn.Module` from images (batch, 3, height, width), in [0, 1] or uint8, to logits
        (batch, classes), its normalisation inside; with `classes`, `image_size` and `provenance`.

    Raises:
        ParameterError: if the trial is none of these, or its network cannot be built.
        UsageError: if the trial is not complete, has no weights, or they are gone; the message says
            how to make them again.
        DataError: if a file is missing, damaged, or no export.

    Example:
        >>> model = ablate.load_model("runs/search", "plain")
        >>> model.classes, model.training, model.provenance.study
        (('left', 'middle', 'right'), False, 'search')
        >>> import torch
        >>> model(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3])
    """
    if isinstance(study, str | Path) and Path(study).suffix == _SUFFIX:
        if (trial, alpha) != (None, None):
            raise ParameterError(
                f"{study}: is the network of one trial, got trial and alpha too. Leave them out."
            )
        from ablate.model.trained import load_export

        return load_export(Path(study), Path.cwd())
    if trial is None:
        raise ParameterError(
            "trial: must be a trial's number, plain, knee or best METRIC, got nothing. Write "
            "trial='knee'."
        )
    opened = open_study(study)
    return _load(*opened.owner(asked_trial(opened.record, trial)), alpha)[0]


def _load(
    opened: OpenStudy, trial: int | None, alpha: float | None
) -> tuple[TrainedNetwork, Mixture | None]:
    from ablate.model.trained import load_export

    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        file = Path(folder) / f"weights{_SUFFIX}"
        point = write_weights(opened.record, opened.place.folder, trial, file, alpha)
        return load_export(file, Path(opened.head.base)), point


def write_weights(
    record: StudyRecord, folder: Path, trial: int | None, output: Path, alpha: float | None = None
) -> Mixture | None:
    """Write the weights of a trial into a .safetensors file, completely or not at all.

    Args:
        folder: of the run.
        trial: its number; None: the plain finetune.
        output: its folder is created, an existing file is replaced.
        alpha: weight of the finetuned network against the baseline, in (0, 1]; None: that of the
            trial's scores, which for a confirmed point is that of its weights.

    Returns:
        What was written; None: the plain finetune.

    Raises:
        UsageError: if there is no such trial, it is not complete, its weights are missing or
            damaged, alpha is out of range, or the output cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    output = output.absolute()
    if trial is None:
        _check_plain(record, alpha)
        source, _ = _source(record, folder, None)
        publish_file(output, lambda temporary: shutil.copyfile(source, temporary))
        return None
    if alpha is not None and not 0 < alpha <= 1:
        raise UsageError(f"`alpha`: must be above 0 and at most 1, got {alpha:g}. Write 0.5.")
    row = _complete_row(record, trial)
    source, metadata = _source(record, folder, row.origin)
    kept_alpha = 1.0 if metadata is None else metadata.alpha
    if alpha is None and row.path is not None:
        point = point_of(row)
    else:
        point = Mixture((row.number,), kept_alpha if alpha is None else alpha)
    if point.alpha == kept_alpha:
        publish_file(output, lambda temporary: shutil.copyfile(source, temporary))
        return point
    from ablate.finetune.baseline import kept_baseline, read_weights
    from ablate.finetune.interpolation import export_between

    if metadata is None or kept_alpha != 1:
        got = "weights without metadata" if metadata is None else f"those at {kept_alpha:g}"
        raise UsageError(
            f"`alpha={point.alpha:g}`: needs the weights of the finetuned network, got {got}. "
            "Leave it out."
        )
    baseline = kept_baseline(cache_folder(), metadata.baseline_sha256)
    if baseline is None:
        raise UsageError(
            f"{point.name}: needs the baseline's weights in {cache_folder()}, got none with their "
            "sha256. Run the command on the host where the study was launched; `ablate launch` of "
            "the same study under another name trains the baseline again."
        )
    export_between(read_weights(baseline), source, point.alpha, output, metadata)
    return point


def checkpoint_bytes(folder: Path, checkpoints: str) -> tuple[int, int] | None:
    """Disk space used by a study.

    Args:
        folder: of the run.
        checkpoints: absolute path or fsspec URI of the training states.

    Returns:
        Bytes of training states and of weights; None if the run's folder is not on this host, or
        the training states are behind a URL, which only a drive opens.
    """
    if not folder.is_dir() or is_uri(checkpoints):
        return None
    weights = weights_file(folder.absolute(), None).parent
    return folder_bytes(checkpoints), folder_bytes(str(weights))


def _complete_row(record: StudyRecord, number: int) -> RowRecord:
    """A complete trial of ablate's own finetuning: only these have weights."""
    row = next((row for row in record.rows if row.number == number), None)
    if row is None:
        last = max((row.number for row in record.rows), default=None)
        there = "none" if last is None else "0 alone" if last == 0 else f"0 to {last}"
        raise UsageError(
            f"trial {number}: must be a trial of {record.name}, got an unknown number. Its trials: "
            f"{there}."
        )
    if row.state != "COMPLETE":
        why = f" ({row.failure.reason})" if row.failure else ""
        raise UsageError(
            f"trial {number}: must be COMPLETE, got {row.state}{why}. Only complete trials have "
            "weights: name another."
        )
    if isinstance(row.scores, ReportedScores):
        raise UsageError(
            f"trial {number}: must be a finetuning by ablate, got a custom training loop. Its "
            "weights are where that loop wrote them."
        )
    return row


def _check_plain(record: StudyRecord, alpha: float | None) -> None:
    if alpha not in (None, 1):
        got = f"`alpha={alpha:g}`. Leave that out."
    elif not needs_plain(record.study):
        got = f"{record.name}, which has none. Name a trial by its number."
    elif "plain" not in record.references:
        got = f"{record.name}, where it has no scores yet. Resume the study."
    else:
        return
    raise UsageError(f"plain: must be the finished plain finetune of a search, got {got}")


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
    got = f"no file {source}: it was moved or deleted. Restore it."
    if number is not None and keep != "all" and len(record.complete) > keep:
        got = f"none: run.keep_checkpoints is {keep}, so they were deleted."
    again = ""
    if number is not None and record.design is None:
        params = [record.rows[number].params]
        values, name = json.dumps(params), shlex.quote(f"name={record.name}_again")
        if len(values) > LONGEST:  # a long line would be cut, and could not be copied
            values = json.dumps(params, indent=0)
        again = (
            f" To train it again, launch the study file with --set {name} --set search.trials=1 "
            f"--set 'search.enqueue={values}'"
        )
    raise UsageError(f"{who}: must have its weights, got {got}{again}")
