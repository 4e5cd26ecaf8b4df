"""The networks of a run: a trial's weights as a file or a module; counting bytes on disk."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.ablation.searches import pick_trial
from ablate.analysis.pareto import point_of
from ablate.errors import LONGEST, DataError, ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder, publish_file
from ablate.files.durable import folder_bytes, is_uri
from ablate.finetune.baseline_record import sha256_of
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.open_study import OpenStudy, open_study
from ablate.lifecycle.place import StudyReference
from ablate.model.weights.export_metadata import ExportMetadata, mixed_metadata, read_metadata
from ablate.study.mixture import Mixture, read_numbers
from ablate.study.scores import ReportedScores
from ablate.study.seeds import needs_plain, seeded_study
from ablate.trial.task import weights_file

if TYPE_CHECKING:
    from ablate.data.dataset import Split
    from ablate.model.trained import TrainedNetwork

_SUFFIX = ".safetensors"

FORMATS = {"safetensors": _SUFFIX, "torch_export": ".pt2", "onnx": ".onnx"}
"""Of an exported file, with its ending."""


Network = Mixture | int | None
"""A mixture; a trial by its number, at the alpha of its scores; None: the plain finetune."""
MOST_ALPHA = 2.0


def asked_trial(record: StudyRecord, trial: int | str, *, where: str = "trial") -> Network:
    """The network that is asked for.

    Args:
        trial: a number, several as "0-2,4" (their average), "plain", "knee", or "best METRIC" (of
            an objective; `val_` may be left out).
        where: for messages.

    Raises:
        ParameterError: if it is none of these, or the study has no such trial.
    """
    text = str(trial).strip()
    if text == "plain" or (text.isdecimal() and text.isascii()):
        return None if text == "plain" else int(text)
    if text[:1].isdecimal() and text.isascii():
        return Mixture(read_numbers(text, where))
    words = text.split()
    if words == ["knee"] or (len(words) == 2 and words[0] == "best"):
        picked = pick_trial(record, text, key=where, mixtures=True)
        return picked.point if picked.is_mixture else picked.number
    known = ["plain", "knee", *(f"best {asked.metric}" for asked in record.study.objectives)]
    raise ParameterError(
        f"{where}: must be a trial's number, plain, knee or best METRIC, got {text or 'nothing'}. "
        f"{did_you_mean(text, known)}"
    )


def export_network(
    opened: OpenStudy,
    trial: Network,
    output: Path,
    *,
    alpha: float | None = None,
    kind: str | None = None,
    int8: bool = False,
) -> tuple[Mixture | None, str]:
    """Write the network of a trial, completely or not at all.

    Args:
        kind: a name of `FORMATS`; None: that of the output's ending.
        int8: whether an ONNX file is in 8 bits, calibrated and checked with validation images.
        trial, output, alpha: as of `write_weights`.

    Returns:
        What `write_weights` does; of 8 bits what they have changed, in one line.

    Raises: as `write_weights`; also
        UsageError: if the ending is not the format's, or the network cannot be written in it.
        DataError: if validation images that are needed are missing; nothing is downloaded.
        MissingDependencyError: if the format needs a package that is not installed.
    """
    if isinstance(trial, int):
        opened, trial = opened.owner(trial)
    kinds = {ending: name for name, ending in FORMATS.items()}
    kind = kind or kinds.get(output.suffix, "safetensors")
    if output.suffix != FORMATS[kind]:
        raise UsageError(
            f"{output}: must end in {FORMATS[kind]}, got {output.suffix or 'no ending'!r}. "
            f"Write {output.with_suffix(FORMATS[kind]) if output.name else f'weights{_SUFFIX}'}."
        )
    if int8 and kind != "onnx":
        raise UsageError(
            f"`int8=True`: needs `kind=onnx`, got {kind}. Write {output.with_suffix('.onnx')}."
        )
    if kind == "safetensors":
        return write_weights(opened.record, opened.place.folder, trial, output, alpha), ""
    from ablate.model.weights.programs import write_onnx, write_torch_export

    network, point = _load(opened, trial, alpha)
    split = _validation_images(opened, point, network.image_size) if int8 else None
    if kind == "onnx":
        return point, write_onnx(network, output.absolute(), split)
    write_torch_export(network, output.absolute())
    return point, ""


def _validation_images(opened: OpenStudy, point: Mixture | None, side: int) -> Split:
    """What a trial, or the first of several, was scored on; at most 2,000 of it."""
    from ablate.data.load import load_validation

    study, base = opened.record.study, Path(opened.head.base)
    row = None if point is None else opened.record.rows[point.trials[0]]
    if row is not None and row.seeds is not None:
        study = seeded_study(study, row.params, row.seeds)
    return load_validation(study.dataset, base, cache_folder(), count=2000, image_size=side)[1]


def load_model(
    study: StudyReference, trial: int | str | None = None, *, alpha: float | None = None
) -> TrainedNetwork:
    """Load the finetuned network of a trial, ready to be used: in eval mode, on the CPU.

    Args:
        study: the study; or a .safetensors file that `ablate export` wrote.
        trial: its number, several as "0-2,4" for their average, "plain" (the plain finetune),
            "knee", or "best METRIC" of the front, such as "best val_robust_accuracy"; of a file,
            None.
        alpha: weight of the finetuned network against the baseline, above 0; 1 is that network;
            None: that of the trial's, or mixture's, scores.

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
    asked = asked_trial(opened.record, trial)
    if isinstance(asked, int):
        opened, asked = opened.owner(asked)
    return _load(opened, asked, alpha)[0]


def _load(
    opened: OpenStudy, trial: Network, alpha: float | None
) -> tuple[TrainedNetwork, Mixture | None]:
    from ablate.model.trained import load_export

    with tempfile.TemporaryDirectory(prefix="ablate-") as folder:
        file = Path(folder) / f"weights{_SUFFIX}"
        point = write_weights(opened.record, opened.place.folder, trial, file, alpha)
        return load_export(file, Path(opened.head.base)), point


def write_weights(
    record: StudyRecord, folder: Path, trial: Network, output: Path, alpha: float | None = None
) -> Mixture | None:
    """Write the weights of a trial or mixture into a .safetensors file, completely or not at all.

    Args:
        folder: of the run.
        trial: see `Network`; the weights of every trial of a mixture must be there.
        output: its folder is created, an existing file is replaced.
        alpha: weight of the finetuned network against the baseline, in (0, 2]; None: that of the
            mixture, or of the trial's scores, which for a confirmed point is that of its weights.

    Returns:
        What was written; None: the plain finetune.

    Raises:
        UsageError: if there is no such trial, it is not complete, its weights are missing or
            damaged, alpha is out of range, or the output cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    if alpha is not None and not (isinstance(alpha, Real) and 0 < alpha <= MOST_ALPHA):
        raise UsageError(
            f"`alpha`: must be above 0 and at most {MOST_ALPHA:g}, got {alpha!r}. Write 0.5."
        )
    output = output.absolute()
    if trial is None:
        _check_plain(record, alpha)
        source, _ = _source(record, folder, None)
        publish_file(output, lambda temporary: shutil.copyfile(source, temporary))
        return None
    asked = trial if isinstance(trial, Mixture) else Mixture((trial,))
    rows = [_complete_row(record, number) for number in asked.trials]
    sources = [_source(record, folder, row.origin) for row in rows]
    files, metadata = zip(*sources, strict=True)
    kept_alpha = 1.0 if metadata[0] is None else metadata[0].alpha
    if alpha is None:
        own = point_of(rows[0]).alpha if rows[0].path is not None else kept_alpha
        alpha = asked.alpha if isinstance(trial, Mixture) else own
    point = Mixture(asked.trials, alpha)
    if len(files) == 1 and point.alpha == kept_alpha:
        publish_file(output, lambda temporary: shutil.copyfile(files[0], temporary))
        return point
    from ablate.finetune.baseline import kept_baseline, read_weights
    from ablate.finetune.interpolation import export_mixture

    told = [one for one in metadata if one is not None and one.alpha == 1]
    if len(told) < len(files):
        without = "weights without metadata"
        got = without if None in metadata else f"those at {kept_alpha:g}"
        raise UsageError(
            f"`alpha={point.alpha:g}`: needs the weights of the finetuned network, got {got}. "
            "Leave it out."
        )
    if len({(one.model, one.baseline_sha256) for one in told}) > 1:
        raise UsageError(
            f"{point.name}: must be of trials of one network and baseline, got several. Name "
            "others."
        )
    baseline = None
    if point.alpha != 1:
        found = kept_baseline(cache_folder(), told[0].baseline_sha256)
        if found is None:
            raise UsageError(
                f"{point.name}: needs the baseline's weights in {cache_folder()}, got none with "
                "their sha256. Run the command on the host where the study was launched; `ablate "
                "launch` of the same study under another name trains the baseline again."
            )
        baseline = read_weights(found)
    export_mixture(baseline, files, point.alpha, output, mixed_metadata(told, point))
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
    elif not needs_plain(record.study, record.parent):
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
            metadata, got = read_metadata(source), ""
        except DataError:
            metadata, got = None, "a damaged file"
        written = "" if number is None else record.rows[number].weights_sha256
        if not got and written not in ("", sha256_of(source)):
            got = "another file, by its sha256"
        if not got and number is None and metadata is not None and metadata.trial is not None:
            got = f"those of trial {metadata.trial}"
        if got:
            raise DataError(
                f"{source}: must be the weights that {who} wrote, got {got}. Restore it from a "
                "backup, or run the same trial again."
            )
        return source, metadata
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
