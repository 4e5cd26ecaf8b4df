"""Official files: each layout is read as it is published, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.errors import DataError, ParameterError
from ablate.robustness.corruption import BENCHMARK, EXTRA, OTHER
from ablate.robustness.official import DISTORTIONS, OFFICIAL, WRITTEN, open_official
from ablate.robustness.score import CorruptedImages

N = 12
FILES = 6
TYPES = ("fog", "gaussian_noise", "blue_noise_sample")
CLASSES = ("cat", "dog", "frog")

Change = Callable[[Path], object]


def write_arrays(folder: Path, types: Sequence[str] = TYPES, severities: int = 5) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    for kind in types:
        pixels = random.integers(0, 256, (severities * N, 8, 6, 3), dtype=np.uint8)
        np.save(folder / f"{kind}.npy", pixels)
    np.save(folder / "labels.npy", np.tile(np.arange(N) % 4, severities))
    return folder


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Three types of 12 images of 8x6 pixels in 4 classes, as CIFAR-10-C is published."""
    return write_arrays(tmp_path / "CIFAR-10-C")


def write_folders(
    folder: Path, places: Sequence[str], severities: Sequence[str], side: int = 8
) -> Path:
    random = np.random.default_rng(0)
    for place in places:
        for severity in severities:
            for number in range(FILES):
                file = folder / place / severity / CLASSES[number % 3] / f"val_{number:02}.JPEG"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(file, quality=85)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two types of 6 images of 8x8 pixels in 3 classes, as ImageNet-C unpacks."""
    return write_folders(tmp_path / "ImageNet-C", ("fog", "snow"), "12345")


def read(images: CorruptedImages, kind: str, severity: int) -> torch.Tensor:
    return torch.cat(list(images.blocks(kind, severity)))


def test_arrays_are_read_as_they_are_published(arrays: Path) -> None:
    images = open_official(arrays)
    assert images.families == {
        "noise": ("gaussian_noise",),
        "weather": ("fog",),
        OTHER: ("blue_noise_sample",),
    }
    assert images.severities == (1, 2, 3, 4, 5)
    assert images.marks == (OFFICIAL,) == ("official files",)
    assert images.labels.tolist() == [number % 4 for number in range(N)]
    for kind in TYPES:
        stored = np.load(arrays / f"{kind}.npy")
        for severity in images.severities:
            block = stored[(severity - 1) * N : severity * N].transpose(0, 3, 1, 2)
            found = read(images, kind, severity)
            assert found.dtype == torch.uint8
            assert np.array_equal(found.numpy(), block)


def test_an_array_is_mapped_not_read(tmp_path: Path) -> None:
    """One of 150 MB is opened, and a block of it read, in a fraction of that memory."""
    import tracemalloc

    shape = (5 * 10_000, 32, 32, 3)
    np.lib.format.open_memmap(tmp_path / "fog.npy", mode="w+", dtype=np.uint8, shape=shape)
    np.save(tmp_path / "labels.npy", np.zeros(50_000, dtype=np.int64))
    tracemalloc.start()
    next(iter(open_official(tmp_path).blocks("fog", 2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("layout", ["arrays", "folders"])
def test_a_share_of_the_images_is_the_same_everywhere(
    layout: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(layout)
    every, some = open_official(folder), open_official(folder, n=4)
    assert len(some.labels) == 4
    assert torch.equal(some.labels, every.labels[some.rows])
    for severity in (1, 5):
        assert torch.equal(read(some, "fog", severity), read(every, "fog", severity)[some.rows])
    assert some.identity != every.identity
    assert open_official(folder, n=4).identity == some.identity
    assert torch.equal(open_official(folder, n=99).labels, every.labels)


def test_a_download_that_broke_off_is_refused(tmp_path: Path) -> None:
    fewer = [kind for kind in BENCHMARK if kind not in ("fog", "snow")]
    folder = write_arrays(tmp_path / "CIFAR-10-C", [*fewer, *EXTRA])
    with pytest.raises(DataError) as error:
        open_official(folder)
    assert str(error.value).endswith(
        "must have the benchmark's 15, got them without snow, fog. Add the files, or name the "
        "types to score."
    )
    assert open_official(folder, types=fewer).families["weather"] == ("frost", "brightness")
    # A few of them are a choice, and the four extra ones are no part of it.
    assert len(open_official(write_arrays(tmp_path / "few", BENCHMARK[:7])).families) == 2
    assert open_official(write_arrays(tmp_path / "extra", EXTRA)).families["blur"]


def test_what_ablate_corrupt_wrote_is_known_by_its_manifest(tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "written", ("fog", "frost"), severities=2)
    frost = "frost: procedural texture, approximate"
    manifest = {"severities": [3, 5], "suite": "custom", "frost": frost}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    images = open_official(folder, severities=[5])
    assert images.marks == (WRITTEN, frost)
    assert open_official(folder, types=["fog"], severities=[5]).marks == (WRITTEN,)
    stored = np.load(folder / "fog.npy")
    assert np.array_equal(read(images, "fog", 5).permute(0, 2, 3, 1).numpy(), stored[N:])
    with pytest.raises(DataError, match=r"must have severity 1, got 3, 5\. Choose severities that"):
        open_official(folder, severities=[1, 3])
    manifest |= {"suite": "families", "frost": {"photographs": 6, "digest": "0"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert open_official(folder, severities=[5]).marks == (WRITTEN, DISTORTIONS)


def test_folders_are_read_as_they_are_published(folders: Path) -> None:
    images = open_official(folders, classes=CLASSES)
    assert images.families == {"weather": ("snow", "fog")}
    assert images.classes == CLASSES
    assert images.names is not None
    assert images.names[:2] == ("cat/val_00", "cat/val_03")
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for kind in ("snow", "fog"):
        for severity in images.severities:
            files = sorted((folders / kind / str(severity)).glob("*/*"))
            pixels = [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files]
            assert np.array_equal(read(images, kind, severity).numpy(), np.stack(pixels))


def test_families_may_stand_above_the_types(tmp_path: Path) -> None:
    flat = write_folders(tmp_path / "flat", ("fog", "snow"), "12345")
    deep = write_folders(tmp_path / "deep", ("weather/fog", "weather/snow"), "12345")
    one, other = open_official(flat), open_official(deep)
    assert one.families == other.families
    assert one.identity == other.identity
    assert torch.equal(read(one, "snow", 2), read(other, "snow", 2))


def test_five_numbers_are_severities_in_ascending_order(tmp_path: Path) -> None:
    """Those of ImageNet-C-bar, where each type has numbers of its own."""
    numbers = ("2.00", "10.00", "4.75", "9.25", "8.50")
    folder = write_folders(tmp_path / "bar", ("plasma_noise",), numbers)
    images = open_official(folder)
    assert images.families == {OTHER: ("plasma_noise",)}
    assert images.severities == (1, 2, 3, 4, 5)
    only = tmp_path / "only"
    for severity, name in enumerate(("2.00", "4.75", "8.50", "9.25", "10.00"), start=1):
        shutil.copytree(folder / "plasma_noise" / name, only / "plasma_noise" / str(severity))
    plain = open_official(only)
    for severity in (1, 4, 5):
        assert torch.equal(
            read(images, "plasma_noise", severity), read(plain, "plasma_noise", severity)
        )


def test_folders_may_be_resized_and_cut(folders: Path) -> None:
    images = open_official(folders, image_size=6, resize=8)
    whole = open_official(folders)
    assert torch.equal(read(images, "fog", 1), read(whole, "fog", 1)[:, :, 1:7, 1:7])
    assert images.identity == whole.identity
    file = next((folders / "snow" / "3" / "dog").iterdir())
    Image.new("RGB", (9, 20)).save(file)
    assert read(open_official(folders, image_size=8, resize=9), "snow", 3).shape == (FILES, 3, 8, 8)
    with pytest.raises(
        DataError, match=r"snow/3/dog/.* must be 8x8 like the first image, got 9x20"
    ):
        read(open_official(folders), "snow", 3)


def test_the_identity_follows_the_content(arrays: Path, folders: Path) -> None:
    before = open_official(arrays).identity
    assert open_official(arrays).identity == before
    assert open_official(arrays, severities=[1, 2]).identity != before
    stored = np.load(arrays / "fog.npy")
    stored[3] ^= 1
    np.save(arrays / "fog.npy", stored)
    assert open_official(arrays).identity != before
    before = open_official(folders).identity
    file = folders / "fog" / "2" / "cat" / "val_00.JPEG"
    shutil.copy(folders / "fog" / "3" / "cat" / "val_00.JPEG", file)
    assert open_official(folders).identity != before


def spoil_array(kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def spoil(folder: Path) -> None:
        np.save(folder / f"{kind}.npy", change(np.load(folder / f"{kind}.npy")))

    return spoil


def set_label(place: int, value: int) -> Change:
    def change(labels: np.ndarray) -> np.ndarray:
        labels[place] = value
        return labels

    return spoil_array("labels", change)


def cut_short(folder: Path) -> None:
    content = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(content[:-100])


def pickled(folder: Path) -> None:
    np.save(folder / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)


def write_manifest(text: str) -> Change:
    return lambda folder: (folder / "manifest.json").write_text(text)


def drop_labels(folder: Path) -> None:
    (folder / "labels.npy").unlink()


BAD_ARRAYS = [
    (drop_labels, r"CIFAR-10-C: must have labels\.npy next to the images, got none\. It is"),
    (spoil_array("fog", np.float32), r"fog\.npy: must be uint8 \[rows, .* got float32 \[60, 8"),
    (spoil_array("blue_noise_sample", lambda array: array[:-1]), r"must have 5 blocks .* got 59"),
    (spoil_array("fog", lambda array: array[:50]), r"must be \[60, .* as gaussian_noise\.npy, got"),
    (
        spoil_array("labels", lambda labels: labels[:-1]),
        r"integers \[60\] or \[12\], .* int64 \[59",
    ),
    (set_label(2 * N + 5, 0), r"same labels for every severity, .* at severity 3, image 5\."),
    (spoil_array("labels", lambda labels: labels + 1), r"labels must be from 0 to 3, got 4\. Eval"),
    (cut_short, r"fog\.npy: must be a complete array \(\.npy\), got .*Fetch or write it again"),
    (pickled, r"fog\.npy: must be a complete array \(\.npy\), got .*Fetch or write it again"),
    (
        write_manifest("{"),
        r"must be a file written by ablate corrupt, got Expecting .* remove it\.",
    ),
    (write_manifest('{"severities": [1, 6]}'), r"written by ablate corrupt, got severities \[1, 6"),
    (write_manifest('{"source": "x"}'), r"written by ablate corrupt, got 'str' object has no att"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_refused(arrays: Path, change: Change, message: str) -> None:
    change(arrays)
    with pytest.raises(DataError, match=message) as caught:
        open_official(arrays, classes=["a", "b", "c", "d"])
    assert "\n" not in str(caught.value)


def rename(place: str, name: str) -> Change:
    return lambda folder: (folder / place).rename((folder / place).with_name(name))


def copy(place: str, other: str) -> Change:
    def change(folder: Path) -> None:
        is_file = (folder / place).is_file()
        (shutil.copy if is_file else shutil.copytree)(folder / place, folder / other)

    return change


def empty_first(folder: Path) -> None:
    for path in (folder / "snow" / "1").iterdir():
        shutil.rmtree(path)


def lose(folder: Path) -> None:
    file = folder / "snow/1/cat/val_00.JPEG"
    file.unlink()
    file.symlink_to("nowhere")


BAD_FOLDERS = [
    (rename("snow/4/dog", "wolf"), r"snow/4: must have the classes of .*snow/1, got dog, wolf in"),
    (rename("fog/2/dog/val_04.JPEG", "val_40.JPEG"), r"fog/2: must have the images of .*snow/1, g"),
    (copy("fog/2/dog/val_04.JPEG", "fog/2/dog/val_04.png"), r"same images in another order, or on"),
    (rename("fog/3", ".3"), r"fog: must have severity 3, got 1, 2, 4, 5\."),
    (
        copy("fog/1", "fog/0.5"),
        r"fog: must have severities named 1 to 5, or five numbers, got 0\.5",
    ),
    (lose, r"snow/1/cat/val_00\.JPEG: must be a readable file, got No such file or directory\. Un"),
    (copy("fog", "weather/fog"), r"must have each type once, got .*weather/fog and .*fog\. Remove"),
    (empty_first, r"snow/1: must have one folder for each class, got none\."),
]


@pytest.mark.parametrize(("change", "message"), BAD_FOLDERS)
def test_folders_that_do_not_fit_are_refused(folders: Path, change: Change, message: str) -> None:
    change(folders)
    with pytest.raises(DataError, match=message) as caught:
        open_official(folders)
    assert "\n" not in str(caught.value)


def test_class_folders_must_be_the_networks(folders: Path) -> None:
    for classes, message in (
        (["cat", "dog"], r"in their order, .* got 3 class folders for 2\. Rename"),
        (["cat", "dog", "bird"], r"must have the network's classes .* got bird, frog in only one"),
        (["dog", "cat", "frog"], r"got class folders in another order\."),
    ):
        with pytest.raises(DataError, match=message):
            open_official(folders, classes=classes)


def test_an_unreadable_image_is_named(folders: Path) -> None:
    images = open_official(folders)
    file = folders / "fog/4/frog/val_05.JPEG"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"val_05\.JPEG: must be a readable image, got a truncated"):
        read(images, "fog", 4)
    assert read(images, "fog", 3).shape == (FILES, 3, 8, 8)


def test_a_type_that_nobody_knows_is_a_slip(arrays: Path) -> None:
    with pytest.raises(
        ParameterError, match=r"`types`: must name at least one corruption, got non"
    ):
        open_official(arrays, types=[])
    with pytest.raises(DataError, match=r"must have fogg, got only .*\. Did you mean fog\?$"):
        open_official(arrays, types=["fogg"])
    # The near name of one that is known is another corruption.
    with pytest.raises(DataError, match=r"must have gaussian_blur, .* Add the files, or choose"):
        open_official(arrays, types=["gaussian_blur"])


def test_a_folder_of_neither_layout_is_refused(tmp_path: Path, folders: Path) -> None:
    layouts = r"must have TYPE\.npy with labels\.npy, or TYPE/SEVERITY/CLASS/\*\.JPEG"
    with pytest.raises(DataError, match=rf"no: {layouts}, got no such folder\. Correct the path"):
        open_official(tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=rf"{layouts}, got an empty folder\. Unpack the files"):
        open_official(tmp_path / "empty")
    for number in range(8):
        (tmp_path / "empty" / f"{number}.tar").touch()
    with pytest.raises(DataError, match=r"got 0\.tar, 1\.tar, .*5\.tar and 2 more\. Unpack"):
        open_official(tmp_path / "empty")
    # A type's own folder: its severities are no types.
    with pytest.raises(DataError, match=r"fog: must have .* got 1, 2, 3, 4, 5\."):
        open_official(folders / "fog")
