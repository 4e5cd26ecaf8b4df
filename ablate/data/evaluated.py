"""The images that a network is evaluated on: of a named data set or a folder."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from ablate.data import GREY, NAMED, SIDES, from_callable
from ablate.data.dataset import Source, Split, Statistics, channel_statistics, draw_stratified
from ablate.data.decode import Listing, list_classes, read_size
from ablate.data.load import read_source
from ablate.data.scan import leave_out_unreadable
from ablate.data.stored import decoded_split
from ablate.distortion.photometric import LUMA
from ablate.errors import DataError, ParameterError, did_you_mean
from ablate.files.shown import few, show_name
from ablate.study.callables import is_callable_name
from ablate.study.settings import DatasetSettings

Part = Literal["test", "val"]

_WITHOUT_SIZE = 32
_SMALL = 96
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
                "`normalization`: dataset needs a data set with known training images, got "
                f"{show_name(self.name)}. Give `mean` and `std`."
            )
        return channel_statistics(train.images)


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
        ParameterError: if a folder's images are requested without a size.
        UsageError: if the cache cannot be written.
    """
    if dataset == "image_folder" and path is not None:
        dataset, path = str(path), None
    if dataset in NAMED or is_callable_name(dataset):
        images = _load_named(dataset, path, request, cache)
    elif Path(dataset).is_dir():
        if path is not None:
            raise DataError(
                f"`data`: applies only to a named data set, got it with the folder {dataset}. "
                "Leave it out."
            )
        images = _load_folder(Path(dataset), request, cache)
    else:
        raise DataError(
            "`dataset`: must be a known data set, package.module:callable or an existing folder, "
            f"got {dataset!r}. "
            f"{'Correct the path.' if os.sep in dataset else did_you_mean(dataset, NAMED)}"
        )
    return _as_grey(images) if request.channels == 1 else images


def check_size_is_stated(
    request: ImageRequest, stored: tuple[int, ...], *, is_cut: bool = False
) -> None:
    """Refuse images of another size than the network's, where its weights do not say theirs.

    Args:
        stored: height and width of the images; is_cut: whether their middle is cut out, by a
            default.

    Raises:
        ParameterError: without the parameters that state it.
    """
    side = request.image_size
    is_known = side is None or stored == (side, side) or not request.is_silent
    if is_known or (request.size_is_asked and not is_cut):
        return
    resize, cut = "", ""
    if is_cut:
        resize, cut = " and `resize`", ", and the shorter side before the centre crop"
    raise ParameterError(
        f"`image_size`{resize}: must be given, since the weights do not say at what size they were "
        f"trained, got images of {stored[0]} x {stored[1]} for a network of {side} x {side}. Give "
        f"the side in pixels that it saw{cut}."
    )


def usual_resize(image_size: int) -> int:
    """Default shorter side in pixels before the crop: ImageNet's 256 for 224, and no crop for small
    images."""
    return image_size if image_size <= _SMALL else round(image_size / (224 / 256))


def _load_named(
    name: str, path: Path | None, request: ImageRequest, cache: Path
) -> EvaluatedImages:
    if request.part == "val":
        raise DataError(
            f"`split`: {name} has no validation images, got val. Leave it out, or choose a folder."
        )
    if request.resize is not None and not request.as_trained:
        raise ParameterError(
            f"`resize`: applies only to folders of image files, got it with {name}, whose images "
            "are resized without cropping. Leave it out."
        )
    # Digits are scans, enlarged to any size before they are corrupted.
    own = None if request.as_trained or name == "digits" else SIDES.get(name)
    side = own or request.image_size or _WITHOUT_SIZE
    files = None if path is None else str(path)
    settings = DatasetSettings(name=name, path=files, resize=request.resize)
    if is_callable_name(name):
        # As for files, square images that are not larger than the network's input keep their size.
        kept = 0 if request.as_trained else request.image_size or sys.maxsize
        source = from_callable.read(settings, Path(), cache, side, keep_up_to=kept)
    else:
        source = read_source(settings, Path(), cache, side)
    check_size_is_stated(request, source.stored_size)
    split, notes = source.test(), list[str]()
    if name == "digits" and side > SIDES[name]:
        whole = f"{SIDES[name]} x {SIDES[name]} to {side} x {side}"
        notes.append(f"digits: enlarged from {whole} before corruption")
    if (rows := _sample(split.labels, request, notes)) is not None:
        split = split.take(rows)
    if name in GREY and request.channels == 3:
        notes.append(f"{name} is grey; its channel is repeated three times")
    return EvaluatedImages(
        split, source.classes, name, "test", tuple(notes), source, resize=request.resize
    )


def _load_folder(folder: Path, request: ImageRequest, cache: Path) -> EvaluatedImages:
    root, part = _find_part(folder, request.part)
    listing, notes = list_classes(root), list[str]()
    if (rows := _sample(listing.labels, request, notes)) is not None:
        listing = listing.take(rows)
    side, resize = _choose_size(folder, listing, request)
    if resize < side:
        raise ParameterError(
            f"`resize`: must be at least the image size {side}, got {resize}. Raise it."
        )
    if request.skip_unreadable:
        total = len(listing.files)
        listing, unreadable = leave_out_unreadable(listing, cache)
        if unreadable:
            count = f"{len(unreadable)} of {total} images"
            notes.append(f"left out as unreadable: {count} ({few(unreadable)})")
    split = decoded_split(listing, side, resize, cache)
    notes.append(files_note(side, resize))
    if request.channels == 3:
        checked = split.images[:: max(1, len(split) // _LOOKED_AT)]
        if grey := int((checked == checked[:, :1]).flatten(1).all(dim=1).sum()):
            of = f"{grey} of {len(checked)} checked images"
            notes.append(f"{of} are grey; their channel is repeated three times")
    return EvaluatedImages(
        split,
        listing.classes,
        folder.name or str(folder),
        part,
        tuple(notes),
        names=listing.stems,
        resize=resize if resize > side else None,
    )


def files_note(side: int, resize: int) -> str:
    """How files were brought to one size."""
    return f"files: shorter side {resize} pixels" + (
        f", centre crop {side} x {side}" if resize > side else ""
    )


def _sample(labels: torch.Tensor, request: ImageRequest, notes: list[str]) -> torch.Tensor | None:
    """The rows of the requested number of images, which is noted; None: all."""
    if request.count is None or request.count >= len(labels):
        return None
    notes.append(f"{request.count} of {len(labels)} images, balanced over classes")
    return draw_stratified(labels, request.count, 0)


def _choose_size(folder: Path, listing: Listing, request: ImageRequest) -> tuple[int, int]:
    """Size in pixels at which files are decoded, and their shorter side before the crop.

    Square files are not resized if they have the network's size or are smaller, because they are
    corrupted at their size and resized afterwards.
    """
    side = request.image_size
    if request.as_trained and side is not None:
        return side, request.resize or side
    try:
        first = read_size(listing.root / listing.files[0].name)
    except DataError:  # it is refused with all others that cannot be read
        first = None
    square = first[0] if first is not None and first[0] == first[1] else None
    if side is None:
        if square is None or square > _SMALL:
            raise ParameterError(
                f"`image_size`: must be set for the images in {show_name(folder)}, got a network "
                "with unknown input size. Give its input size in pixels."
            )
        return square, square
    if first is not None:
        is_cut = not request.resize_is_asked and (square is None or square > side)
        check_size_is_stated(request, first[::-1], is_cut=is_cut)
    if request.resize is not None and request.resize_is_asked:
        return side, request.resize
    if square is not None and square <= side:
        return square, square
    return side, request.resize or usual_resize(side)


def _find_part(folder: Path, part: Part | None) -> tuple[Path, str]:
    there = [name for name in ("test", "val") if (folder / name).is_dir()]
    if part is not None and part not in there:
        raise DataError(
            f"{show_name(folder)}: must have {part}/CLASS/*, got no {part}/. Correct `dataset` "
            "or `split`."
        )
    if there:
        chosen = part or there[0]
        return folder / chosen, chosen
    if (folder / "train").is_dir():
        raise DataError(
            f"{show_name(folder)}: must have test/ or val/ next to train/, got neither. Choose the "
            "folder with the images to evaluate on."
        )
    return folder, ""


def _as_grey(images: EvaluatedImages) -> EvaluatedImages:
    """Convert to one channel: the first of three equal ones, else the luma."""
    pixels = images.split.images
    if pixels.shape[1] == 1:
        return images
    first = pixels[:, :1]
    if bool((pixels == first).all()):
        grey, note = first.contiguous(), "the network takes one channel"
    else:
        luma = torch.tensor(LUMA).view(1, 3, 1, 1)
        grey = (pixels.float() * luma).sum(1, keepdim=True).round().to(torch.uint8)
        note = "the network takes one channel: the images are converted to luma"
    split = Split(grey, images.split.labels, f"{images.split.digest}-grey")
    return replace(images, split=split, notes=(*images.notes, note))
