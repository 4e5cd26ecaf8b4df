"""`ablate evaluate`: score any network on any images under a suite.

From Python: `ablate.evaluate`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ablate.data.evaluated import ImageRequest, Part
from ablate.distortion import FAMILIES
from ablate.errors import ParameterError, did_you_mean
from ablate.model.environment import (
    DeviceKind,
    Environment,
    resolve_environment,
)
from ablate.model.origin import Normalization, Origin, find_origin, module_origin
from ablate.model.subject import Subject, build_subject, probe
from ablate.robustness.adaptation import BATCH_SIZE, adapted_batch_norm
from ablate.robustness.corruption.kind import code_version
from ablate.robustness.evaluation.argument_checks import (
    Asked,
    check_choice,
    check_official,
    check_whole,
    named_by_options,
    read_names,
    read_severities,
    read_statistics,
)
from ablate.robustness.evaluation.evaluation import (
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
    keep_scores,
    relate,
)
from ablate.robustness.evaluation.evaluation_file import load_evaluation
from ablate.robustness.evaluation.scored_images import ScoredImages, find_images
from ablate.robustness.evaluation.summary import INCOMPARABLE
from ablate.robustness.score import Progress, score_set
from ablate.robustness.suites import exposures
from ablate.study.preparation import Preprocessing
from ablate.study.provenance import usable_cores, versions
from ablate.study.settings import LARGEST_IMAGE, LARGEST_RESIZE

if TYPE_CHECKING:
    from torch import nn

_PACKAGES = ("ablate", "torchvision", "timm", "numpy")
_PRECISIONS = ("auto", "bf16", "fp16", "fp32")
_PROBABILITIES = (
    "the network returns probabilities; its calibration error is computed from their softmax"
)
_NOT_FINITE = "Score it with --precision fp32, or use weights from a finished training."
_MADE = {
    "corruption": "corrupted by ablate: same distribution as the benchmark, not the same bytes",
    "distortion": "training distortions, not the benchmark's corruptions",
}


def evaluate(
    model: str | Path | nn.Module,
    *,
    checkpoint: str | Path | None = None,
    checkpoint_order: bool = False,
    dataset: str | Path | None = None,
    data: str | Path | None = None,
    split: Part | None = None,
    suite: str | None = None,
    types: Sequence[str] | None = None,
    severities: Iterable[int] = (1, 2, 3, 4, 5),
    seed: int = 0,
    images: int | None = None,
    official: str | Path | None = None,
    frost_images: str | Path | None = None,
    relative_to: str | Path | Evaluation | None = None,
    normalization: Literal["auto", "dataset", "imagenet", "none"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    seen: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto",
    threads: int | None = None,
    device: DeviceKind | None = None,
    batch_size: int | None = None,
    adapt_batch_norm: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a network on clean images and under every corruption at every severity.

    Args:
        model: name of a network, an export of a trial, a TorchScript or torch.export file, or a
            module, which takes normalised images and is moved to the device.
        checkpoint: weights for a named network: a file, `torchvision:WEIGHTS` or `timm:pretrained`.
        checkpoint_order: match the file's tensors by their order, not by their names.
        dataset: name of a data set, or a folder with test/CLASS/*, val/CLASS/* or CLASS/*.  With
            `official` it may be left out; then clean images are not scored.  Without both, the data
            set of an export is used, if it has a name.
        data: folder with the files of a named data set.
        split: "test" or "val" of a folder; None: test/ if it exists, else val/.
        suite: a name of `SUITES`; None: "cifar10c" up to a side of 96 pixels, else "imagenetc".
        types: only these corruptions.
        severities: whole numbers from 1 to 5.
        seed: seed of the corruptions.
        images: number of images, balanced over classes, always the same ones; None: all.
        official: folder of published corrupted files to score instead of generated ones.
        frost_images: folder of photographs of frost; None: a generated texture.
        relative_to: scores of another network on the same copies, for normalising mCE.
        normalization: statistics for normalising images; None or "auto": the network's own.
        mean, std: one value per channel, instead of `normalization`.
        image_size: input size in pixels, 8 to 1,024; None: the network's own.
        resize: shorter side in pixels of a folder's images before the centre crop.
        seen: training distortions that the network was finetuned on; None: as recorded in an
            export.
        skip_unreadable: leave out files that cannot be read.
        precision: "auto": bf16 if the hardware supports it, else fp32.
        threads: CPU threads of torch, at most one per CPU; None: one per core.
        device: None: the GPU if torch sees one, else the CPU.
        batch_size: None: chosen for device and image size.
        adapt_batch_norm: mix the batch-norm statistics of the network, which count as this number
            of images, with those of each batch of a copy (Schneider et al. 2020, arXiv:2006.16971);
            clean images are a copy too.  Batches are then 256 by default.  None: as trained.
        progress: called before each copy.

    Raises:
        UsageError: if arguments are invalid or files are missing (`ParameterError`, `DataError`).
        NotFiniteError: if a logit is NaN or infinite; the message names the copies.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
        >>> found = ablate.evaluate(
        ...     network, dataset="digits", types=["fog"], severities=[3], normalization="none"
        ... )
        >>> found.clean.n, sorted(found.cells)
        (359, [('fog', 3)])
        >>> 0 <= found.accuracy(["fog"]) <= 1
        True
    """
    check_whole({"--seed": seed, "--adapt-batch-norm": adapt_batch_norm}, 0)
    check_whole({"--images": images, "--batch-size": batch_size}, 1)
    check_whole({"--threads": threads}, 1, os.cpu_count() or usable_cores())
    check_whole({"--resize": resize}, 8, LARGEST_RESIZE)
    check_whole({"--image-size": image_size}, 8, LARGEST_IMAGE)
    check_choice("--precision", precision, _PRECISIONS)
    check_choice("--device", device, ("cpu", "cuda"))
    check_choice("--split", split, ("test", "val"))
    asked = Asked(
        dataset=None if dataset is None else str(dataset),
        data=None if data is None else Path(data),
        official=None if official is None else Path(official),
        suite=suite,
        types=read_names("--types", types),
        severities=read_severities(severities),
        seed=int(seed),
        frost_images=None if frost_images is None else Path(frost_images),
        resize=resize,
    )
    check_official(asked, split=split, skip_unreadable=skip_unreadable)
    said = Normalization(
        normalization, read_statistics("--mean", mean), read_statistics("--std", std)
    )
    with named_by_options():
        said.check()
        trained = _check_seen(seen)
        reference = _read_reference(relative_to)
        origin = _origin(model, checkpoint)
        environment = _environment(origin, precision, threads, device)
        request = ImageRequest(
            part=split,
            image_size=image_size or origin.image_size,
            size_is_asked=image_size is not None,
            is_silent=origin.is_silent,
            as_trained=origin.metadata is not None and image_size is None,
            resize=resize or origin.resize,
            resize_is_asked=resize is not None,
            count=images,
            channels=_channels(said, origin),
            skip_unreadable=skip_unreadable,
        )
        found = find_images(asked, request, origin)
        clean = found.clean
        subject = build_subject(
            origin,
            len(found.classes),
            replace(said, dataset=None if clean is None else clean.training_statistics),
            image_size=image_size,
            by_order=checkpoint_order,
            device=environment.device,
            module=None if isinstance(model, (str, Path)) else model,
            may_have_more=not found.are_named,
        )
        environment.apply()
        probed = [probe(subject, shape, environment.device) for shape in found.shapes]
        marks: tuple[str, ...] = (
            (_PROBABILITIES,) if any(one.gives_probabilities for one in probed) else ()
        )
        if adapt_batch_norm is not None:
            with adapted_batch_norm(subject.model, adapt_batch_norm):
                pass  # refused before the copies are made
            marks += (_adapted_mark(adapt_batch_norm, batch_size or BATCH_SIZE),)
        found = found.with_classes(probed[0].outputs)
        unscored = _describe(origin, subject, found, trained, marks)
        model_used = replace(unscored.model, adapt_batch_norm=adapt_batch_norm)
        unscored = replace(unscored, model=model_used)
        if reference is not None:
            unscored = relate(unscored, reference)
    began = time.perf_counter()
    outcomes = score_set(
        subject.model,
        None if clean is None else clean.split,
        found.copies,
        environment,
        where=f"MODEL: {origin.name}",
        fix=_NOT_FINITE,
        batch_size=batch_size,
        adapt_batch_norm=adapt_batch_norm,
        progress=progress,
    )
    of_clean, cells = keep_scores(outcomes)
    return replace(
        unscored,
        clean=of_clean,
        cells=cells,
        environment=environment.to_json(),
        seconds=time.perf_counter() - began,
    )


def _describe(
    origin: Origin,
    subject: Subject,
    found: ScoredImages,
    seen: tuple[str, ...] | None,
    marks_of_network: tuple[str, ...],
) -> Evaluation:
    """The evaluation without the network's answers."""
    metadata, statistics, clean = origin.metadata, subject.statistics, found.clean
    trained = metadata.seen_types if seen is None and metadata is not None else seen
    exposure = None if trained is None else exposures(found.suite, trained)
    marks = [*found.copies.marks, *marks_of_network]
    if found.seed is not None:
        marks.append(_MADE[found.suite.made_by])
    if exposure is not None and "seen_type" in exposure.values():
        marks.append(f"the mean includes types that were trained on: {INCOMPARABLE}")
    notes = [*origin.notes, *found.notes]
    side = subject.image_size
    sides = found.shape[1:] if side is None else (side, side)
    mean, std = statistics or (None, None)
    if sides[0] == sides[1]:
        fed = Preprocessing(sides[0], found.resize, mean, std)
        notes.append(f"the network was fed {fed.text}")
    if side is not None and (side, side) != found.shape[1:]:
        height, width = found.shape[1:]
        notes.append(f"corrupted at {height} x {width}, then resized to {side} x {side}")
    return Evaluation(
        model=EvaluatedModel(
            name=origin.name,
            checkpoint=origin.checkpoint,
            identity=subject.identity,
            parameters=subject.parameters,
            image_size=side,
            mean=None if statistics is None else statistics.mean,
            std=None if statistics is None else statistics.std,
            training={} if metadata is None else metadata.training,
        ),
        data=EvaluatedData(
            name=found.suite.name if clean is None else clean.name,
            split="" if clean is None else clean.part,
            n=len(found.copies.labels),
            classes=found.classes,
            image_shape=found.shape,
            clean_identity=None if clean is None else clean.split.digest,
            corrupted_identity=found.copies.identity,
        ),
        suite=EvaluatedSuite(
            name=found.suite.name,
            families=found.suite.families,
            severities=tuple(found.copies.severities),
            made_by="official files" if found.seed is None else found.suite.made_by,
            mean_over=found.suite.mean_over,
            scale=found.scale,
        ),
        seed=found.seed,
        labels=found.copies.labels.numpy(),
        clean=None,
        cells={},
        exposure=exposure,
        marks=tuple(marks),
        notes=tuple(notes),
        versions={"code": code_version(found.suite.types), **versions(_PACKAGES)},
    )


def _adapted_mark(pseudo_images: int, batch_size: int) -> str:
    return (
        f"batch norm adapted at test time to batches of {batch_size} images of one copy; the "
        f"network's own statistics count as {pseudo_images} images"
    )


def _read_reference(relative_to: str | Path | Evaluation | None) -> Evaluation | None:
    if relative_to is None or isinstance(relative_to, Evaluation):
        return relative_to
    return load_evaluation(relative_to)


def _origin(model: str | Path | nn.Module, checkpoint: str | Path | None) -> Origin:
    given = None if checkpoint is None else str(checkpoint)
    if isinstance(model, (str, Path)):
        return find_origin(str(model), given)
    return module_origin(model, given)


def _channels(said: Normalization, origin: Origin) -> int:
    if said.mean is not None:
        return len(said.mean)
    return 3 if origin.metadata is None else len(origin.metadata.mean)


def _environment(
    origin: Origin,
    precision: Literal["auto", "bf16", "fp16", "fp32"],
    threads: int | None,
    device: DeviceKind | None,
) -> Environment:
    if origin.kind == "program" and precision == "auto":
        precision = "fp32"  # what the file's code was written in
    return resolve_environment(precision, threads=threads or usable_cores(), device=device)


def _check_seen(given: Sequence[str] | None) -> tuple[str, ...] | None:
    seen = read_names("--seen", given)
    known = [kind for kinds in FAMILIES.values() for kind in kinds]
    for kind in seen or ():
        if kind not in known:
            raise ParameterError(
                f"--seen: must name training distortions, got {kind!r}. {did_you_mean(kind, known)}"
            )
    return seen
