"""The images that a network is evaluated on: of a named data set or a folder."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import torch

from ablate.data import NAMED, SIDES, from_callable
from ablate.data.dataset import Source, Split, Statistics, channel_statistics, draw_stratified
from ablate.data.decode import Listing, list_classes, open_rgb
from ablate.data.scan import leave_out_unreadable
from ablate.data.stored import decoded_split
from ablate.distortion.photometric import LUMA
from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.files.shown import few, show_name
from ablate.study.callables import is_callable_name
from ablate.study.settings import DatasetSettings

Part = Literal["test", "val"]

_GREY = ("digits", "fashion_mnist")
_WITHOUT_SIZE = 32
_SMALL = 96
_USUAL_CROP = 224 / 256
_SAMPLE_SEED = 0
_LOOKED_AT = 256


@dataclass(frozen=True)
class EvaluatedImages:
    """Images to evaluate on, and how they were prepared.

    Attributes:
        split: uint8 `[n, channel, side, side]`, at the size for corruption.
        classes: names, in the order of the labels.
        name: of the data set, or the folder's.
        part: its split; empty if it has none.
        notes: how they were prepared, one line each.
        source: with the training images, if the data set has known ones.
        names: of files, CLASS/NAME without extension; None: no names.
        resize: shorter side in pixels before the centre crop; None: not cut, beyond to a square.
    """

    split: Split
    classes: tuple[str, ...]
    name: str
    part: str
    notes: tuple[str, ...] = ()
    source: Source | None = None
    names: tuple[str, ...] | None = None
    resize: int | None = None

    def training_statistics(self) -> Statistics:
        """Mean and deviation of the training images.

        Raises:
            ParameterError: if they are not known.
        """
        train = None if self.source is None else self.source.train
        if not isinstance(train, Split):
            raise ParameterError(
                "--normalization: dataset needs a data set with known training images, got "
                f"{show_name(self.name)}. Give --mean and --std."
            )
        return Statistics(*channel_statistics(train.images))


@dataclass(frozen=True)
class ImageRequest:
    """The requested form of images.

    Attributes:
        part: "test" or "val"; None: test images, else validation images.
        image_size: input size of the network in pixels; None: unknown.
        size_is_asked: whether a person gave it.
        is_silent: whether the weights do not say at what size they were trained.
        as_trained: whether images are resized to that size before corruption, as in a study;
            otherwise a data set with a fixed size keeps it.
        resize: shorter side in pixels before the centre crop of a file's image; None: the default.
        resize_is_asked: whether it also applies to small images; otherwise it is the network's
            default.
        count: number of images, balanced over classes, always the same; None: all.
        channels: 3, or 1 for a network that takes grey images.
        skip_unreadable: leave out files that cannot be read.
    """

    part: Part | None = None
    image_size: int | None = None
    size_is_asked: bool = False
    is_silent: bool = False
    as_trained: bool = False
    resize: int | None = None
    resize_is_asked: bool = False
    count: int | None = None
    channels: int = 3
    skip_unreadable: bool = False


def load_evaluated(
    dataset: str, path: Path | None, request: ImageRequest, cache: Path
) -> EvaluatedImages:
    """Load the images of a data set, or of a folder.

    Args:
        dataset: a name of `DATASETS`, `package.module:callable`, or a folder with test/CLASS/*,
            val/CLASS/* or CLASS/*.
        path: folder of a named data set's files.
        cache: folder for decoded images.

    Raises:
        DataError: if it is unknown, missing or inconsistent, has no such split, or has unreadable
            images.
        ParameterError: if a folder's images are requested without a size, or `count` is below 1.
        UsageError: if the cache cannot be written.
    """
    if request.count is not None and request.count < 1:
        raise ParameterError(f"--images: must be at least 1, got {request.count}. Correct it.")
    if dataset == "image_folder" and path is not None:
        dataset, path = str(path), None
    if dataset in NAMED or is_callable_name(dataset):
        found = _load_named(dataset, path, request, cache)
    elif Path(dataset).is_dir():
        if path is not None:
            raise DataError(
                f"--data: applies only to a named data set, got it with the folder {dataset}. "
                "Leave it out."
            )
        found = _load_folder(Path(dataset), request, cache)
    else:
        raise DataError(
            "--dataset: must be a known data set, package.module:callable or an existing folder, "
            f"got {dataset!r}. "
            f"{'Correct the path.' if os.sep in dataset else did_you_mean(dataset, NAMED)}"
        )
    return _as_grey(found) if request.channels == 1 else found


def check_size_is_stated(
    request: ImageRequest, stored: tuple[int, ...], *, is_cut: bool = False
) -> None:
    """Refuse images of another size than the network's, where its weights do not say theirs.

    Args:
        stored: height and width of the images; is_cut: whether their middle is cut out, by a
            default.

    Raises:
        ParameterError: without the options that state it.
    """
    side = request.image_size
    is_known = side is None or stored == (side, side) or not request.is_silent
    if is_known or (request.size_is_asked and not is_cut):
        return
    resize = " and --resize" if is_cut else ""
    raise ParameterError(
        f"--image-size{resize}: must be given, since the weights do not say at what size they were "
        f"trained, got images of {stored[0]} x {stored[1]} for a network of {side} x {side}. Give "
        "the side in pixels that it saw"
        f"{', and the shorter side before the centre crop' if is_cut else ''}."
    )


def usual_resize(image_size: int) -> int:
    """Default shorter side in pixels before the crop.

    ImageNet's 256 for 224, and no crop for small images.
    """
    return image_size if image_size <= _SMALL else round(image_size / _USUAL_CROP)


def _load_named(
    name: str, path: Path | None, request: ImageRequest, cache: Path
) -> EvaluatedImages:
    if request.part == "val":
        raise DataError(
            f"--split: {name} has no validation images, got val. Leave it out, or choose a folder."
        )
    if request.resize is not None and not request.as_trained:
        raise ParameterError(
            f"--resize: applies only to folders of image files, got it with {name}, whose images "
            "are resized without cropping. Leave it out."
        )
    # Digits are scans, enlarged to any size before they are corrupted.
    own = None if request.as_trained or name == "digits" else SIDES.get(name)
    side = own or request.image_size or _WITHOUT_SIZE
    place = None if path is None else str(path)
    settings = DatasetSettings(name=name, path=place, resize=request.resize)
    source: Source
    if is_callable_name(name):
        # As for files, square images that are not larger than the network's input keep their size.
        kept = 0 if request.as_trained else request.image_size or sys.maxsize
        source = from_callable.read(settings, Path(), cache, side, keep_up_to=kept)
    else:
        source = import_module(f"ablate.data.{name}").read(settings, Path(), cache, side)
    check_size_is_stated(request, source.stored_size)
    split = source.test()
    notes = []
    if name == "digits" and side > SIDES[name]:
        whole = f"{SIDES[name]} x {SIDES[name]} to {side} x {side}"
        notes.append(f"digits: enlarged from {whole} before corruption")
    if request.count is not None and request.count < len(split):
        total = len(split)
        split = split.take(draw_stratified(split.labels, request.count, _SAMPLE_SEED))
        notes.append(_sampled(len(split), total))
    if name in _GREY and request.channels == 3:
        notes.append(f"{name} is grey; its channel is repeated three times")
    classes, resize = source.classes, request.resize
    return EvaluatedImages(split, classes, name, "test", tuple(notes), source, resize=resize)


def _load_folder(folder: Path, request: ImageRequest, cache: Path) -> EvaluatedImages:
    root, part = _find_part(folder, request.part)
    listing = list_classes(root)
    notes = []
    if request.count is not None and request.count < len(listing.files):
        total = len(listing.files)
        listing = _sample(listing, request.count)
        notes.append(_sampled(len(listing.files), total))
    side, resize = _choose_size(folder, listing, request)
    if resize < side:
        raise ParameterError(
            f"--resize: must be at least the image size {side}, got {resize}. Raise it."
        )
    listing, split, skipped = _decode(listing, side, resize, cache, request)
    notes += skipped
    cut = f", centre crop {side} x {side}" if resize > side else ""
    notes.append(f"files: shorter side {resize} pixels{cut}")
    if request.channels == 3:
        notes += _note_grey(split)
    name = folder.name or str(folder)
    return EvaluatedImages(
        *(split, listing.classes, name, part, tuple(notes)),
        names=listing.stems,
        resize=resize if resize > side else None,
    )


def _choose_size(folder: Path, listing: Listing, request: ImageRequest) -> tuple[int, int]:
    """Size in pixels at which files are decoded, and their shorter side before the crop.

    Square files are not resized if they have the network's size or are smaller, because they are
    corrupted at their size and resized afterwards.
    """
    side = request.image_size
    if request.as_trained and side is not None:
        return side, request.resize or side
    first = _first_size(listing)
    square = first[0] if first is not None and first[0] == first[1] else None
    if first is not None and side is not None:
        is_cut = not request.resize_is_asked and (square is None or square > side)
        check_size_is_stated(request, first[::-1], is_cut=is_cut)
    if side is None:
        if square is None or square > _SMALL:
            raise ParameterError(
                f"--image-size: must be set for the images in {show_name(folder)}, got a network "
                "with unknown input size. Give its input size in pixels."
            )
        return square, square
    if request.resize is not None and request.resize_is_asked:
        return side, request.resize
    if square is not None and square <= side:
        return square, square
    return side, request.resize or usual_resize(side)


def _find_part(folder: Path, part: Part | None) -> tuple[Path, str]:
    there = [name for name in ("test", "val", "train") if (folder / name).is_dir()]
    if part is not None:
        if part not in there:
            raise DataError(
                f"{show_name(folder)}: must have {part}/CLASS/*, got no {part}/. Correct --dataset "
                "or --split."
            )
        return folder / part, part
    for name in ("test", "val"):
        if name in there:
            return folder / name, name
    if "train" in there:
        raise DataError(
            f"{show_name(folder)}: must have test/ or val/ next to train/, got neither. Choose the "
            "folder with the images to evaluate on."
        )
    return folder, ""


def _sample(listing: Listing, count: int) -> Listing:
    rows = draw_stratified(listing.labels, count, _SAMPLE_SEED).tolist()
    return replace(listing, files=tuple(listing.files[row] for row in rows))


def _first_size(listing: Listing) -> tuple[int, int] | None:
    try:
        return open_rgb(listing.root / listing.files[0][0]).size
    except DataError:
        return None  # said with all others that cannot be read


def _decode(
    listing: Listing, side: int, resize: int, cache: Path, request: ImageRequest
) -> tuple[Listing, Split, list[str]]:
    """The images, and what was left out."""
    notes = []
    if request.skip_unreadable:
        total = len(listing.files)
        listing, scan = leave_out_unreadable(listing, cache)
        if scan.unreadable:
            names = few([one.name for one in scan.unreadable])
            count = f"{len(scan.unreadable)} of {total} images"
            notes.append(f"left out as unreadable: {count} ({names})")
    return listing, decoded_split(listing, side, resize, cache), notes


def _note_grey(split: Split) -> list[str]:
    """Whether some of the images were grey before they became RGB."""
    images = split.images[:: max(1, len(split) // _LOOKED_AT)]
    equal = (images == images[:, :1]).flatten(1).all(dim=1)
    count = int(equal.sum())
    if not count:
        return []
    return [
        f"{count} of {len(images)} checked images are grey; their channel is repeated three times"
    ]


def _sampled(count: int, total: int) -> str:
    return f"{count} of {total} images, balanced over classes"


def _as_grey(found: EvaluatedImages) -> EvaluatedImages:
    """Convert to one channel: the first of three equal ones, else the luma."""
    images = found.split.images
    if images.shape[1] == 1:
        return found
    first = images[:, :1]
    if bool((images == first).all()):
        grey, note = first.contiguous(), "the network takes one channel"
    else:
        luma = torch.tensor(LUMA).view(1, 3, 1, 1)
        grey = (images.float() * luma).sum(1, keepdim=True).round().to(torch.uint8)
        note = "the network takes one channel: the images are converted to luma"
    split = Split(grey, found.split.labels, f"{found.split.digest}-grey")
    return replace(found, split=split, notes=(*found.notes, note))
