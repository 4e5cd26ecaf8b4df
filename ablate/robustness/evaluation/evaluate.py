"""`ablate evaluate`: score any network on any images under a suite.

From Python: `ablate.evaluate`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ablate.data import NAMED
from ablate.data.evaluated import (
    EvaluatedImages,
    ImageRequest,
    Part,
    check_size_is_stated,
    load_evaluated,
)
from ablate.distortion import FAMILIES
from ablate.errors import DataError, ParameterError, UsageError, did_you_mean
from ablate.files.cache import cache_folder
from ablate.files.shown import few, show_name
from ablate.model.environment import DeviceKind, resolve_environment
from ablate.model.origin import Normalization, Origin, find_origin, module_origin
from ablate.model.subject import Subject, build_subject, probe
from ablate.robustness.adaptation import BATCH_SIZE, adapted_batch_norm
from ablate.robustness.arguments import (
    check_choice,
    check_whole,
    named_by_parameters,
    read_names,
    read_severities,
    read_statistics,
)
from ablate.robustness.corruption import scale_for
from ablate.robustness.corruption.frost_photographs import load_frost
from ablate.robustness.corruption.kind import code_version
from ablate.robustness.evaluation.evaluation import (
    CellScores,
    EvaluatedData,
    EvaluatedModel,
    EvaluatedSuite,
    Evaluation,
    relate,
)
from ablate.robustness.evaluation.evaluation_file import load_evaluation
from ablate.robustness.evaluation.summary import INCOMPARABLE
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.official import OfficialImages, open_official
from ablate.robustness.score import CorruptedImages, Progress, score_set
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
_NOT_FINITE = "Score it with `precision='fp32'`, or use weights from a finished training."
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
    check_whole("seed", seed, 0)
    check_whole("adapt_batch_norm", adapt_batch_norm, 0)
    check_whole("images", images, 1)
    check_whole("batch_size", batch_size, 1)
    check_whole("threads", threads, 1, os.cpu_count() or usable_cores())
    check_whole("resize", resize, 8, LARGEST_RESIZE)
    check_whole("image_size", image_size, 8, LARGEST_IMAGE)
    check_choice("precision", precision, ("auto", "bf16", "fp16", "fp32"))
    check_choice("device", device, ("cpu", "cuda"))
    check_choice("split", split, ("test", "val"))
    asked = _Asked(
        dataset=None if dataset is None else str(dataset),
        data=None if data is None else Path(data),
        official=None if official is None else Path(official),
        suite=suite,
        types=read_names("types", types),
        severities=read_severities(severities),
        seed=int(seed),
        frost_images=None if frost_images is None else Path(frost_images),
        resize=resize,
    )
    asked.check_official(split=split, skip_unreadable=skip_unreadable)
    seen = _check_seen(seen)
    mean, std = read_statistics("mean", mean), read_statistics("std", std)
    normalized = Normalization(normalization, mean, std)
    with named_by_parameters():
        normalized.check()
        if isinstance(relative_to, (str, Path)):
            relative_to = load_evaluation(relative_to)
        weights = None if checkpoint is None else str(checkpoint)
        module = None if isinstance(model, (str, Path)) else model
        if module is None:
            origin = find_origin(str(model), weights)
        else:
            origin = module_origin(module, weights)
        if origin.kind == "program" and precision == "auto":
            precision = "fp32"  # what the file's code was written in
        threads = threads or usable_cores()
        environment = resolve_environment(precision, threads=threads, device=device)
        channels = 3 if origin.metadata is None else len(origin.metadata.mean)
        request = ImageRequest(
            part=split,
            image_size=image_size or origin.image_size,
            size_is_asked=image_size is not None,
            is_silent=origin.is_silent,
            as_trained=origin.metadata is not None and image_size is None,
            resize=resize or origin.resize,
            resize_is_asked=resize is not None,
            count=images,
            channels=channels if mean is None else len(mean),
            skip_unreadable=skip_unreadable,
        )
        scored = _find_images(asked, request, origin)
        clean = scored.clean
        subject = build_subject(
            origin,
            len(scored.classes),
            replace(normalized, dataset=None if clean is None else clean.training_statistics),
            image_size=image_size,
            by_order=checkpoint_order,
            device=environment.device,
            module=module,
            may_have_more=not scored.are_named,
        )
        environment.apply()
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
    return replace(
        evaluation,
        clean=None if outcomes.clean is None else CellScores.of(outcomes.clean),
        cells={cell: CellScores.of(answers) for cell, answers in outcomes.cells.items()},
        seconds=time.perf_counter() - began,
    )


def _check_seen(given: Sequence[str] | None) -> tuple[str, ...] | None:
    seen = read_names("seen", given)
    known = [kind for kinds in FAMILIES.values() for kind in kinds]
    for kind in seen or ():
        if kind not in known:
            raise ParameterError(
                f"`seen`: must name training distortions, got {kind!r}. {did_you_mean(kind, known)}"
            )
    return seen


@dataclass(frozen=True)
class _Asked:
    """The arguments of `evaluate` about images."""

    dataset: str | None
    data: Path | None
    official: Path | None
    suite: str | None
    types: tuple[str, ...] | None
    severities: tuple[int, ...]
    seed: int
    frost_images: Path | None
    resize: int | None

    def check_official(self, *, split: str | None, skip_unreadable: bool) -> None:
        """Refuse arguments that have no effect on official files."""
        if self.official is None:
            return
        if skip_unreadable:
            raise UsageError(
                "`skip_unreadable=True`: cannot be used with `official`, whose copies must all "
                "have the same images. Leave it out, and replace the unreadable files."
            )
        for name, is_given in {"seed": self.seed > 0, "frost_images": self.frost_images}.items():
            if is_given:
                raise UsageError(
                    f"`{name}`: applies only to generated copies, got it with `official`. Leave it "
                    "out."
                )
        for name, given in {"data": self.data, "split": split}.items():
            if given and self.dataset is None:
                raise UsageError(
                    f"`{name}`: applies only to the images of `dataset`, got it with `official` "
                    "alone. Leave it out, or add `dataset`."
                )


@dataclass(frozen=True)
class _ScoredImages:
    """The images to score: clean ones, if any, and copies of them, or official files.

    Attributes:
        seed: seed of the copies; None: existing files are read.
        classes: names, in the order of the labels; numbers up to the highest label if there are no
            names, which `are_named` tells.
        shape: channel, height and width of an image of a copy.
        resize: shorter side in pixels before the centre crop of the images; None: not cut.
    """

    clean: EvaluatedImages | None
    copies: CorruptedImages
    suite: Suite
    seed: int | None
    classes: tuple[str, ...]
    are_named: bool
    shape: tuple[int, ...]
    resize: int | None
    notes: tuple[str, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The distinct shapes of all images; official copies may have another size."""
        clean = [] if self.clean is None else [tuple(self.clean.split.images.shape[1:])]
        return list(dict.fromkeys([self.shape, *clean]))

    def with_classes(self, count: int) -> _ScoredImages:
        """The images with this number of classes, if the files do not tell it."""
        if self.are_named or count == len(self.classes):
            return self
        note = f"labels are up to {len(self.classes) - 1}; the network has {count} classes"
        return replace(self, classes=_numbered(count), notes=(*self.notes, note))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(count))


def _find_images(asked: _Asked, request: ImageRequest, origin: Origin) -> _ScoredImages:
    """Find the requested images, and check that they fit each other and an export."""
    dataset, clean, exported = asked.dataset, None, origin.metadata
    if dataset is None and asked.official is None:
        dataset = None if exported is None else exported.dataset
        if dataset not in NAMED:
            raise UsageError(
                "`dataset`: must name the images to evaluate on, got none. Give a name "
                f"({', '.join(NAMED)}), a folder, or `official`."
            )
    if dataset is not None:
        # A network's own crop is for files.
        keeps_crop = Path(dataset).is_dir() or request.as_trained
        request_of = request if keeps_crop else replace(request, resize=asked.resize)
        clean = load_evaluated(dataset, asked.data, request_of, cache_folder())
    known = None if exported is None else exported.classes
    notes = (_NOT_SCORED,) if clean is None else clean.notes
    copies: CorruptedImages
    if asked.official is not None:
        named = known if clean is None else clean.classes
        copies, suite = _open_copies(asked.official, asked, request, named)
        _check_alike(clean, copies)
        found = copies.classes if clean is None else clean.classes
        first = next(kind for kinds in copies.families.values() for kind in kinds)
        shape = tuple(next(iter(copies.blocks(first, copies.severities[0]))).shape[1:])
        check_size_is_stated(request, shape[1:])
        notes = (*notes, *copies.notes)
    else:
        assert clean is not None
        found, shape = clean.classes, tuple(clean.split.images.shape[1:])
        usual = "cifar10c" if scale_for(min(shape[1:])) == "cifar" else "imagenetc"
        suite = select(asked.suite, asked.types, usual=usual)
        folder = asked.frost_images if "frost" in suite.types else None
        frost = None if folder is None else load_frost(folder)
        made = EvaluationSet(
            clean.split, suite, asked.severities, asked.seed, cache_folder(), frost
        )
        copies = made.stored_up_to(RobustnessSettings().stored_gb)  # as in a study
    _check_classes(origin, found, clean)
    classes = found or known
    return _ScoredImages(
        clean=clean,
        copies=copies,
        suite=suite,
        seed=asked.seed if asked.official is None else None,
        classes=classes or _numbered(int(copies.labels.max()) + 1),
        are_named=classes is not None,
        shape=shape,
        resize=asked.resize if clean is None else clean.resize,
        notes=notes,
    )


def _open_copies(
    folder: Path, asked: _Asked, request: ImageRequest, classes: Sequence[str] | None
) -> tuple[OfficialImages, Suite]:
    """Copies from files, and the suite that describes them.

    They are scored at their own size, and cut only if that is asked for.

    Args:
        classes: of the labels, if known.
    """
    types = asked.types
    if asked.suite is not None:
        suite = select(asked.suite, types, usual=asked.suite)
        if suite.made_by == "distortion":
            raise ParameterError(
                "`suite`: must contain the benchmark's corruptions with `official`, got "
                f"{asked.suite}. Leave it out, or write cifar10c or imagenetc."
            )
        types = suite.types
    side, resize = request.image_size, asked.resize
    if resize is not None and (side is None or resize < side):
        rule = "needs `image_size`" if side is None else f"must be at least the image size {side}"
        fix = "Give both" if side is None else "Raise it"
        raise ParameterError(f"`resize`: {rule}, got {resize}. {fix}.")
    copies = open_official(
        folder,
        types=types,
        severities=asked.severities,
        image_size=None if resize is None else side,
        resize=resize,
        classes=classes,
        n=request.count,
    )
    if resize is not None:
        note = f"copies: shorter side {resize} pixels, centre crop {side} x {side}"
        copies = replace(copies, notes=(*copies.notes, note))
    name = asked.suite or folder.resolve().name
    return copies, Suite(name, copies.families, "corruption", "types")


def _check_classes(
    origin: Origin, classes: tuple[str, ...] | None, clean: EvaluatedImages | None
) -> None:
    """An export knows the names of its classes."""
    known = None if origin.metadata is None else origin.metadata.classes
    if known is None or classes is None or known == classes:
        return
    odd = sorted(set(known) ^ set(classes))
    listed = f"{few(odd)} in only one of them" if odd else "the same classes in another order"
    where = f"`dataset`: {show_name(clean.name)}" if clean else "`official`: the folders"
    raise DataError(
        f"{where} must have the {len(known)} classes that {origin.checkpoint} was finetuned on, "
        f"got {len(classes)}: {listed}. Name that data set."
    )


def _check_alike(clean: EvaluatedImages | None, copies: OfficialImages) -> None:
    """Official copies must have the labels of the clean images, in the same order, and the same
    names if both are folders of files: labels alone do not identify images."""
    if clean is None:
        return
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
    if scored.seed is not None:
        marks.append(_MADE[suite.made_by])
    if exposure is not None and "seen_type" in exposure.values():
        marks.append(f"the mean includes types that were trained on: {INCOMPARABLE}")
    notes = [*origin.notes, *scored.notes]
    side = subject.image_size
    height, width = shape[1:] if side is None else (side, side)
    if height == width:
        fed = Preprocessing(height, scored.resize, *(statistics or (None, None)))
        notes.append(f"the network was fed {fed.text}")
    if (height, width) != shape[1:]:
        notes.append(f"corrupted at {shape[1]} x {shape[2]}, then resized to {side} x {side}")
    scale = suite.scale or scale_for(min(shape[1:]))
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
        ),
        data=EvaluatedData(
            name=suite.name if clean is None else clean.name,
            split="" if clean is None else clean.part,
            n=len(copies.labels),
            classes=scored.classes,
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
        versions={"code": code_version(suite.types), **versions(_PACKAGES)},
    )
