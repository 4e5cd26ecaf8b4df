"""`ablate evaluate`: score any network on any images under a suite.

From Python: `ablate.evaluate`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ablate.data import NAMED
from ablate.data.evaluated import (
    EvaluatedImages,
    ImageRequest,
    Part,
    check_size_is_stated,
    load_evaluated,
)
from ablate.distortion import FAMILIES
from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.files.shown import count_text, few, show_name
from ablate.model.environment import DeviceKind, Environment, resolve_environment
from ablate.model.modes import kept_mode
from ablate.model.subject import (
    Normalization,
    Origin,
    Subject,
    build_subject,
    find_origin,
    probe,
)
from ablate.model.weights.export_metadata import ONNX_ENDING
from ablate.robustness.arguments import (
    check_choice,
    check_whole,
    named_by_parameters,
    read_names,
    read_severities,
    read_statistics,
)
from ablate.robustness.corruption import CORRUPTIONS, scale_for
from ablate.robustness.corruption.frost import load_frost
from ablate.robustness.corruption.kind import code_version
from ablate.robustness.evaluation import (
    INCOMPARABLE,
    CellScores,
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
    load_evaluation,
    relate,
)
from ablate.robustness.evaluation_set import EvaluationSet, check_own_types
from ablate.robustness.official import DISTORTIONS, OfficialImages, open_official
from ablate.robustness.score import (
    BATCH_SIZE,
    CorruptedImages,
    Progress,
    adapted_batch_norm,
    score_set,
)
from ablate.robustness.suites import Suite, exposures, select
from ablate.study.preparation import Preprocessing
from ablate.study.provenance import usable_cores, versions
from ablate.study.settings import LARGEST_IMAGE, LARGEST_RESIZE, RobustnessSettings

if TYPE_CHECKING:
    from torch import nn

_PACKAGES = ("ablate", "torchvision", "timm", "numpy")
_NOT_SCORED = "the clean images were not scored: their data set was not named"
_PROBABILITIES = (
    "the network returns probabilities; its calibration error is computed from their softmax"
)
_WARM_UP_CALLS, _CALLS = 20, 200
_NOT_FINITE = "Score it with `precision='fp32'`, or use weights from a finished training."
_MADE = {
    "corruption": "corrupted by ablate: same distribution as the benchmark, not the same bytes",
    "distortion": DISTORTIONS,
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
    latency: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a network on clean images and under every corruption at every severity.

    Args:
        model: name of a network, an export of a trial, a TorchScript, torch.export or ONNX file, or
            a module, which takes normalised images and is moved to the device.
        checkpoint: weights for a named network: a file, `torchvision:WEIGHTS` or `timm:pretrained`.
        checkpoint_order: match the file's tensors by their order, not by their names.
        dataset: name of a data set, or a folder with test/CLASS/*, val/CLASS/* or CLASS/*.  With
            `official` it may be left out; then clean images are not scored.  Without both, the data
            set of an export is used, if it has a name.
        data: folder with the files of a named data set.
        split: "test" or "val" of a folder; None: test/ if it exists, else val/.
        suite: a name of `SUITES`; None: "cifar10c" up to a side of 96 pixels, else "imagenetc".
        types: only these corruptions; without a suite also functions of your own
            (`ablate.distortion.own`), as "package.module:function".
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
        latency: also measure the time that the network takes for one image.
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
    for name, value, least, most in (
        ("seed", seed, 0, None),
        ("adapt_batch_norm", adapt_batch_norm, 0, None),
        ("images", images, 1, None),
        ("batch_size", batch_size, 1, None),
        ("threads", threads, 1, os.cpu_count() or usable_cores()),
        ("resize", resize, 8, LARGEST_RESIZE),
        ("image_size", image_size, 8, LARGEST_IMAGE),
    ):
        check_whole(name, value, least, most)
    for name, choice, choices in (
        ("precision", precision, ("auto", "bf16", "fp16", "fp32")),
        ("device", device, ("cpu", "cuda")),
        ("split", split, ("test", "val")),
    ):
        check_choice(name, choice, choices)
    types, severities = read_names("types", types), read_severities(severities)
    if official is not None:
        _check_official(
            {"seed": seed, "frost_images": frost_images},
            {} if dataset is not None else {"data": data, "split": split},
            skip_unreadable=skip_unreadable,
        )
    seen = read_names("seen", seen, [kind for kinds in FAMILIES.values() for kind in kinds])
    mean, std = read_statistics("mean", mean), read_statistics("std", std)
    normalized = Normalization(normalization, mean, std)
    with named_by_parameters():
        normalized.check()
        if isinstance(relative_to, (str, Path)):
            relative_to = load_evaluation(relative_to)
        origin = find_origin(model, None if checkpoint is None else str(checkpoint))
        is_onnx = origin.name.endswith(ONNX_ENDING)  # which onnxruntime runs, on the CPU
        if is_onnx or (origin.kind == "program" and precision == "auto"):
            precision = "fp32"  # what the file's code was written in
        environment = resolve_environment(
            precision, threads=threads or usable_cores(), device="cpu" if is_onnx else device
        )
        exported = origin.metadata
        # A program of ours makes grey of colours itself.
        channels = 3 if exported is None or origin.kind == "program" else len(exported.mean)
        request = ImageRequest(
            part=split,
            image_size=image_size or origin.image_size,
            size_is_asked=image_size is not None,
            is_silent=origin.is_silent,
            as_trained=exported is not None and image_size is None,
            resize=resize or origin.resize,
            resize_is_asked=resize is not None,
            count=images,
            channels=channels if mean is None else len(mean),
            skip_unreadable=skip_unreadable,
        )
        if dataset is None and official is None:
            dataset = _own_dataset(origin)
        clean = None if dataset is None else _load_clean(str(dataset), data, request, resize)
        asked: dict[str, Any] = {"suite": suite, "types": types, "severities": severities}
        if clean is not None and official is None:
            scored = _make_copies(clean, **asked, seed=int(seed), frost_images=frost_images)
        else:
            known = None if exported is None else exported.classes
            scored = _open_copies(
                Path(str(official)), clean, request, known=known, **asked, resize=resize
            )
        _check_classes(origin, scored)
        environment.apply()
        subject = build_subject(
            origin,
            scored.class_count,
            replace(normalized, dataset=None if clean is None else clean.training_statistics),
            image_size=image_size,
            by_order=checkpoint_order,
            device=environment.device,
            may_have_more=scored.classes is None,
        )
        probed = [probe(subject, shape, environment.device) for shape in scored.shapes]
        marks = [_PROBABILITIES] if any(one.gives_probabilities for one in probed) else []
        if adapt_batch_norm is not None:
            with adapted_batch_norm(subject, adapt_batch_norm):
                pass  # refused before the copies are made
            marks.append(
                "batch norm adapted at test time to batches of "
                f"{batch_size or BATCH_SIZE} images of one copy; the network's own statistics "
                f"count as {adapt_batch_norm} images"
            )
        scored = scored.with_classes(probed[0].outputs)
        evaluation = _unscored(origin, subject, scored, seen, marks)
        network = replace(evaluation.model, adapt_batch_norm=adapt_batch_norm)
        evaluation = replace(evaluation, model=network, environment=environment.to_json())
        if relative_to is not None:
            evaluation = relate(evaluation, relative_to)
    began = time.perf_counter()
    outcomes = score_set(
        subject,
        None if clean is None else clean.split,
        scored.copies,
        environment,
        where=f"`model`: {origin.name}",
        fix=_NOT_FINITE,
        batch_size=batch_size,
        adapt_batch_norm=adapt_batch_norm,
        progress=progress,
    )
    if latency:
        evaluation = _with_latency(evaluation, subject, environment)
    return replace(
        evaluation,
        clean=None if outcomes.clean is None else CellScores.of(outcomes.clean),
        cells={cell: CellScores.of(answers) for cell, answers in outcomes.cells.items()},
        seconds=time.perf_counter() - began,
    )


def _with_latency(evaluation: Evaluation, subject: Subject, environment: Environment) -> Evaluation:
    image, times = torch.rand(1, *evaluation.data.image_shape, device=environment.device), []
    with kept_mode(subject), torch.inference_mode(), environment.autocast():
        subject.eval()
        for _ in range(_WARM_UP_CALLS + _CALLS):
            began = time.perf_counter()
            subject(image).cpu()  # which waits for a GPU
            times.append(1000 * (time.perf_counter() - began))
    median, p95 = np.quantile(times[_WARM_UP_CALLS:], (0.5, 0.95)).tolist()
    note = (
        f"ms: of one image, {_CALLS} calls after {_WARM_UP_CALLS} to warm up, "
        f"{count_text(environment.threads, 'thread')}, {environment.device_name}"
    )
    network = replace(evaluation.model, latency_ms=(median, p95))
    return replace(evaluation, model=network, notes=(*evaluation.notes, note))


def _check_official(
    of_generated: Mapping[str, object], of_clean: Mapping[str, object], *, skip_unreadable: bool
) -> None:
    """Refuse arguments that have no effect on official files, or none without clean images."""
    if skip_unreadable:
        raise UsageError(
            "`skip_unreadable=True`: cannot be used with `official`, whose copies must all have "
            "the same images. Leave it out, and replace the unreadable files."
        )
    for name in (name for name, given in of_generated.items() if given):
        raise UsageError(
            f"`{name}`: applies only to generated copies, got it with `official`. Leave it out."
        )
    for name in (name for name, given in of_clean.items() if given):
        raise UsageError(
            f"`{name}`: applies only to the images of `dataset`, got it with `official` alone. "
            "Leave it out, or add `dataset`."
        )


@dataclass(frozen=True)
class _ScoredImages:
    """The images to score: clean ones, if any, and copies of them, or official files.

    Attributes:
        classes: names, in the order of the labels; None: unknown.
        shape: channel, height and width of an image of a copy.
        resize: shorter side in pixels before the centre crop of the images; None: not cut.
        seed: seed of the copies; None: existing files are read.
    """

    clean: EvaluatedImages | None
    copies: CorruptedImages
    suite: Suite
    classes: tuple[str, ...] | None
    shape: tuple[int, ...]
    resize: int | None
    notes: tuple[str, ...]
    seed: int | None = None

    @property
    def class_count(self) -> int:
        """The highest label tells the least number if there are no names."""
        return len(self.classes or ()) or int(self.copies.labels.max()) + 1

    def with_classes(self, count: int) -> _ScoredImages:
        """The images with so many numbered classes, if the files do not name them."""
        if self.classes is not None:
            return self
        note = f"labels are up to {self.class_count - 1}; the network has {count} classes"
        notes = (note,) if count != self.class_count else ()
        return replace(self, classes=tuple(map(str, range(count))), notes=(*self.notes, *notes))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The distinct shapes of all images; official copies may have another size."""
        clean = [] if self.clean is None else [tuple(self.clean.split.images.shape[1:])]
        return list(dict.fromkeys([self.shape, *clean]))


def _own_dataset(origin: Origin) -> str:
    dataset = None if origin.metadata is None else origin.metadata.dataset
    if dataset not in NAMED:
        raise UsageError(
            "`dataset`: must name the images to evaluate on, got none. Give a name "
            f"({', '.join(NAMED)}), a folder, or `official`."
        )
    return dataset


def _load_clean(
    dataset: str, data: str | Path | None, request: ImageRequest, resize: int | None
) -> EvaluatedImages:
    if not (Path(dataset).is_dir() or request.as_trained):  # a network's own crop is for files
        request = replace(request, resize=resize)
    return load_evaluated(dataset, None if data is None else Path(data), request, cache_folder())


def _make_copies(
    clean: EvaluatedImages,
    *,
    suite: str | None,
    types: Sequence[str] | None,
    severities: tuple[int, ...],
    seed: int,
    frost_images: str | Path | None,
) -> _ScoredImages:
    """Copies of the clean images that are generated when they are read, as in a study."""
    shape = tuple(clean.split.images.shape[1:])
    usual = "cifar10c" if scale_for(min(shape[1:])) == "cifar" else "imagenetc"
    chosen = select(suite, types, usual=usual)
    check_own_types(chosen, clean.split.images)
    frost = load_frost(Path(frost_images)) if frost_images and "frost" in chosen.types else None
    copies = EvaluationSet(clean.split, chosen, severities, seed, cache_folder(), frost)
    copies = copies.stored_up_to(RobustnessSettings().stored_gb)
    return _ScoredImages(
        clean, copies, chosen, clean.classes, shape, clean.resize, clean.notes, seed
    )


def _open_copies(
    folder: Path,
    clean: EvaluatedImages | None,
    request: ImageRequest,
    *,
    known: tuple[str, ...] | None,
    suite: str | None,
    types: Sequence[str] | None,
    severities: tuple[int, ...],
    resize: int | None,
) -> _ScoredImages:
    """Copies from files: they are scored at their own size, and cut only if that is asked for.

    Args:
        known: classes of an export.
        resize: as asked for.
    """
    if suite is not None:
        chosen = select(suite, types, usual=suite)
        if chosen.made_by == "distortion":
            raise ParameterError(
                "`suite`: must contain the benchmark's corruptions with `official`, got "
                f"{suite}. Leave it out, or write cifar10c or imagenetc."
            )
        types = chosen.types
    side = request.image_size
    if resize is not None and (side is None or resize < side):
        rule = "needs `image_size`" if side is None else f"must be at least the image size {side}"
        fix = "Give both" if side is None else "Raise it"
        raise ParameterError(f"`resize`: {rule}, got {resize}. {fix}.")
    copies = open_official(
        folder,
        types=types,
        severities=severities,
        image_size=None if resize is None else side,
        resize=resize,
        classes=known if clean is None else clean.classes,
        n=request.count,
    )
    if clean is not None:
        _check_alike(clean, copies)
    first = next(kind for kinds in copies.families.values() for kind in kinds)
    shape = tuple(next(iter(copies.blocks(first, severities[0]))).shape[1:])
    check_size_is_stated(request, shape[1:])
    notes = [*((_NOT_SCORED,) if clean is None else clean.notes), *copies.notes]
    if resize is not None:
        notes.append(f"copies: shorter side {resize} pixels, centre crop {side} x {side}")
    named = Suite(suite or folder.resolve().name, copies.families, "corruption", "types")
    found = copies.classes if clean is None else clean.classes
    cut = resize if clean is None else clean.resize
    return _ScoredImages(clean, copies, named, found or known, shape, cut, tuple(notes))


def _check_classes(origin: Origin, scored: _ScoredImages) -> None:
    """An export knows the names of its classes."""
    known = None if origin.metadata is None else origin.metadata.classes
    classes = scored.classes
    if known is None or classes is None or known == classes:
        return
    odd = sorted(set(known) ^ set(classes))
    listed = f"{few(odd)} in only one of them" if odd else "the same classes in another order"
    where = "`official`: the folders"
    if scored.clean is not None:
        where = f"`dataset`: {show_name(scored.clean.name)}"
    raise DataError(
        f"{where} must have the {len(known)} classes that {origin.checkpoint or origin.name} was "
        f"finetuned on, got {len(classes)}: {listed}. Name that data set."
    )


def _check_alike(clean: EvaluatedImages, copies: OfficialImages) -> None:
    """Official copies must have the labels of the clean images, in the same order, and the same
    names if both are folders of files: labels alone do not identify images."""
    fix = "Name the images that they were made from."
    mine, theirs = clean.split.labels.tolist(), copies.labels.tolist()
    if len(mine) != len(theirs):
        raise DataError(
            f"`official`: must be copies of the images of `dataset`, got {len(theirs)} for "
            f"{len(mine)}. {fix}"
        )
    for row, (label, other) in enumerate(zip(mine, theirs, strict=True)):
        if label != other:
            raise DataError(
                "`official`: must have the images of `dataset` in the same order, got label "
                f"{other} for {label} at image {row}. {fix}"
            )
    for row, (name, named) in enumerate(zip(clean.names or (), copies.names or (), strict=False)):
        if name != named:
            raise DataError(
                f"`official`: must have the images of `dataset`, got {show_name(named)} for "
                f"{show_name(name)} at image {row}. {fix}"
            )


def _unscored(
    origin: Origin,
    subject: Subject,
    scored: _ScoredImages,
    seen: Sequence[str] | None,
    marks_of_network: Sequence[str],
) -> Evaluation:
    """The evaluation without the network's answers."""
    exported, statistics, clean = origin.metadata, subject.statistics, scored.clean
    suite, copies, shape = scored.suite, scored.copies, scored.shape
    trained = exported.seen_types if seen is None and exported is not None else seen
    exposure = None if trained is None else exposures(suite, trained)
    marks = [*copies.marks, *marks_of_network]
    is_other = suite.made_by == "corruption" and not {*CORRUPTIONS} & {*suite.types}
    if scored.seed is not None and not is_other:
        marks.append(_MADE[suite.made_by])
    if exposure is not None and "seen_type" in exposure.values():
        marks.append(f"the mean includes types that were trained on: {INCOMPARABLE}")
    notes = [*origin.notes, *scored.notes]
    side = subject.image_size
    height, width = shape[1:] if side is None else (side, side)
    if height == width:
        mean, std = statistics or (None, None)
        fed = Preprocessing(height, scored.resize, mean, std, origin.settings.channels)
        notes.append(f"the network was fed {fed.text}")
    if (height, width) != shape[1:]:
        notes.append(f"corrupted at {shape[1]} x {shape[2]}, then resized to {side} x {side}")
    scale = suite.scale or scale_for(min(shape[1:]))
    file = Path(origin.checkpoint or origin.name)
    return Evaluation(
        model=EvaluatedModel(
            name=origin.name,
            checkpoint=origin.checkpoint,
            identity=subject.identity,
            parameters=sum(weights.numel() for weights in subject.parameters()),
            image_size=side,
            mean=None if statistics is None else statistics.mean,
            std=None if statistics is None else statistics.std,
            training={} if exported is None else exported.training,
            file_bytes=file.stat().st_size if file.is_file() else None,
        ),
        data=EvaluatedData(
            name=suite.name if clean is None else clean.name,
            split="" if clean is None else clean.part,
            n=len(copies.labels),
            classes=scored.classes or (),
            image_shape=shape,
            clean_identity=None if clean is None else clean.split.digest,
            corrupted_identity=copies.identity,
        ),
        suite=EvaluatedSuite(
            name=suite.name,
            families=suite.families,
            severities=copies.severities,
            made_by="official files" if scored.seed is None else suite.made_by,
            mean_over=suite.mean_over,
            scale=None if suite.made_by == "distortion" else scale,
        ),
        seed=scored.seed,
        labels=copies.labels.numpy(),
        clean=None,
        cells={},
        exposure=exposure,
        marks=tuple(marks),
        notes=tuple(notes),
        versions={"code": code_version(), **versions(_PACKAGES)},
    )
