"""The images that a network is evaluated on: clean images and corrupted copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.data import NAMED
from ablate.data.evaluated import (
    EvaluatedImages,
    ImageRequest,
    check_size_is_stated,
    load_evaluated,
)
from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.cache import cache_folder
from ablate.files.shown import few, show_name
from ablate.robustness.corruption import Scale, scale_for
from ablate.robustness.corruption.frost_photographs import load_frost
from ablate.robustness.evaluation.argument_checks import Asked
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.official.open import open_official
from ablate.robustness.suites import ANY, Suite, find_suite, restrict
from ablate.study.settings import RobustnessSettings

if TYPE_CHECKING:
    from ablate.data.dataset import Split
    from ablate.distortion.shapes import ByteImages
    from ablate.model.origin import Origin
    from ablate.robustness.score import CorruptedImages

_NOT_SCORED = "the clean images were not scored; name them with --dataset"


@dataclass(frozen=True)
class ScoredImages:
    """The images to score.

    Attributes:
        clean: the clean images; None: there are only copies.
        copies: copies of them, or official files.
        suite: the corruptions of the copies.
        seed: seed of the copies; None: existing files are read.
        classes: names, in the order of the labels; numbers up to the highest label if there are no
            names.
        are_named: whether the classes have names.
        shape: channel, height and width of an image of a copy.
        resize: shorter side in pixels before the centre crop of the images; None: not cut.
        notes: notes to be shown with the scores.
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
    def scale(self) -> Scale | None:
        """The parameter table of the copies; None for training distortions."""
        if self.suite.made_by == "distortion":
            return None
        return self.suite.scale or scale_for(min(self.shape[1:]))

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The distinct shapes of all images; official copies may have another size."""
        clean = [] if self.clean is None else [tuple(self.clean.split.images.shape[1:])]
        return list(dict.fromkeys([self.shape, *clean]))

    def with_classes(self, count: int) -> ScoredImages:
        """The images with this number of classes, if the files do not tell it."""
        if self.are_named or count == len(self.classes):
            return self
        note = f"labels are up to {len(self.classes) - 1}; the network has {count} classes"
        classes = tuple(str(label) for label in range(count))
        return replace(self, classes=classes, notes=(*self.notes, note))


def find_images(asked: Asked, request: ImageRequest, origin: Origin) -> ScoredImages:
    """Find the requested images, and check that they fit each other and an export.

    Official copies must have the labels of the clean images, in the same order, and the same names
    if both are folders of files.  Arrays have no names; only labels are compared.

    Args:
        request: the clean images.
        origin: source of the network.

    Raises:
        UsageError: if no images are given (`ParameterError`, `DataError`: if they are invalid).
    """
    clean = _load_clean(asked, request, origin)
    seed = None if asked.official is not None else asked.seed
    notes = (_NOT_SCORED,) if clean is None else clean.notes
    trained = None if origin.metadata is None else origin.metadata.classes
    named = trained if clean is None else clean.classes
    copies: CorruptedImages
    if asked.official is not None:
        copies, suite, told = _official_copies(asked.official, asked, request, named)
        notes = (*notes, *told)
        _check_labels(clean, copies)
        _check_names(clean, copies)
        shape = tuple(_first_block(copies).shape[1:])
        check_size_is_stated(request, shape[1:])
    else:
        assert clean is not None
        suite = _choose_suite(asked, min(clean.split.images.shape[2:]))
        copies = _generated_copies(clean.split, suite, asked)
        shape = tuple(clean.split.images.shape[1:])
    _check_classes(origin, clean, copies)
    named = named or getattr(copies, "classes", None)
    classes = named or tuple(str(label) for label in range(int(copies.labels.max()) + 1))
    resize = asked.resize if clean is None else clean.resize
    return ScoredImages(
        clean, copies, suite, seed, classes, named is not None, shape, resize, notes
    )


def _load_clean(asked: Asked, request: ImageRequest, origin: Origin) -> EvaluatedImages | None:
    dataset = asked.dataset
    if dataset is None and asked.official is not None:
        return None
    if dataset is None and origin.metadata is not None and origin.metadata.dataset in NAMED:
        dataset = origin.metadata.dataset
    if dataset is None:
        raise UsageError(
            "--dataset: must name the images to evaluate on, got none. Give a name "
            f"({', '.join(NAMED)}), a folder, or --official FOLDER."
        )
    if not Path(dataset).is_dir() and not request.as_trained:
        # A network's own crop is for files.
        request = replace(request, resize=asked.resize)
    return load_evaluated(dataset, asked.data, request, cache_folder())


def _choose_suite(asked: Asked, side: int) -> Suite:
    """The requested suite, restricted to the requested types.

    Args:
        side: shorter side of the images, in pixels.
    """
    if asked.suite is None and asked.types is not None:
        return find_suite(restrict(ANY, asked.types).types)
    usual = "cifar10c" if scale_for(side) == "cifar" else "imagenetc"
    suite = find_suite(usual if asked.suite is None else asked.suite)
    return suite if asked.types is None else restrict(suite, asked.types)


def _generated_copies(split: Split, suite: Suite, asked: Asked) -> EvaluationSet:
    """Generated copies, cached up to the same size as in a study."""
    folder = asked.frost_images if "frost" in suite.types else None
    frost = None if folder is None else load_frost(folder)
    made = EvaluationSet(split, suite, asked.severities, asked.seed, cache_folder(), frost)
    return made.stored_up_to(RobustnessSettings().stored_gb)


def _official_copies(
    folder: Path, asked: Asked, request: ImageRequest, classes: Sequence[str] | None
) -> tuple[CorruptedImages, Suite, tuple[str, ...]]:
    """Copies from files, the suite that describes them, and notes.

    Args:
        classes: classes of the labels, if known.
    """
    wanted = asked.types
    if asked.suite is not None:
        suite = find_suite(asked.suite)
        if suite.made_by == "distortion":
            raise ParameterError(
                f"--suite: must contain the benchmark's corruptions with --official, got "
                f"{asked.suite}. Leave it out, or write cifar10c or imagenetc."
            )
        wanted = (suite if asked.types is None else restrict(suite, asked.types)).types
    side, resize = request.image_size, asked.resize
    if resize is not None and (side is None or resize < side):
        rule = "needs --image-size" if side is None else f"must be at least the image size {side}"
        fix = "Give both" if side is None else "Raise it"
        raise ParameterError(f"--resize: {rule}, got {resize}. {fix}.")
    copies = open_official(
        folder,
        types=wanted,
        severities=asked.severities,
        # They are corrupted at their own size; the network resizes its input.
        image_size=None if resize is None else side,
        resize=resize,
        classes=classes,
        n=request.count,
    )
    name = asked.suite or folder.resolve().name
    notes: tuple[str, ...] = getattr(copies, "notes", ())
    if resize is not None:
        notes = (*notes, f"copies: shorter side {resize} pixels, centre crop {side} x {side}")
    return copies, Suite(name, copies.families, "corruption", "types"), notes


def _first_block(copies: CorruptedImages) -> ByteImages:
    kind = next(kind for kinds in copies.families.values() for kind in kinds)
    return next(islice(copies.blocks(kind, copies.severities[0]), 1))


def _check_classes(origin: Origin, clean: EvaluatedImages | None, copies: CorruptedImages) -> None:
    """An export knows the names of its classes."""
    known = None if origin.metadata is None else origin.metadata.classes
    found: tuple[str, ...] | None = clean.classes if clean else getattr(copies, "classes", None)
    if known is None or found is None or known == found:
        return
    odd = sorted(set(known) ^ set(found))
    listed = f"{few(odd)} in only one of them"
    where = f"--dataset: {show_name(clean.name)}" if clean else "--official: the folders"
    raise DataError(
        f"{where} must have the {len(known)} classes that {origin.checkpoint} was finetuned on, "
        f"got {len(found)}: {listed if odd else 'the same classes in another order'}. Name that "
        "data set."
    )


def _check_labels(clean: EvaluatedImages | None, copies: CorruptedImages) -> None:
    if clean is None:
        return
    mine, theirs = clean.split.labels.tolist(), copies.labels.tolist()
    if len(mine) != len(theirs):
        raise DataError(
            f"--official: must be copies of the images of --dataset, got {len(theirs)} for "
            f"{len(mine)}. Name the images that they were made from."
        )
    for place, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        if one != other:
            raise DataError(
                "--official: must have the images of --dataset in the same order, got label "
                f"{other} for {one} at image {place}. Name the images that they were made from."
            )


def _check_names(clean: EvaluatedImages | None, copies: CorruptedImages) -> None:
    """Check the names of files: labels alone do not identify images."""
    mine, theirs = None if clean is None else clean.names, getattr(copies, "names", None)
    if mine is None or theirs is None:
        return
    for place, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        if one != other:
            raise DataError(
                "--official: must have the images of --dataset, got "
                f"{show_name(other)} for {show_name(one)} at image {place}. Name the images that "
                "they were made from."
            )
