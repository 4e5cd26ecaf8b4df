"""Corrupted copies as files: the bytes, the layouts, and what is refused before any is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ablate.data.evaluated import ImageRequest, load_evaluated
from ablate.errors import AblateError, DataError, ParameterError, UsageError
from ablate.robustness.corrupt import class_folders, corrupt, corrupt_files
from ablate.robustness.evaluation_set import EvaluationSet
from ablate.robustness.official import open_official
from ablate.robustness.suites import find_suite

Write = Callable[..., dict[str, object]]


def pixels(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images of 16 x 16."""
    root = tmp_path / "photos"
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for index in range(3):
            pixels(10 * label + index).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def write(tmp_path: Path, notes: list[str]) -> Write:
    """Writes to `out`, contrast and fog at two severities unless told otherwise."""

    def run(
        source: object,
        *,
        output: str = "out",
        types: tuple[str, ...] | None = ("contrast", "fog"),
        severities: tuple[int, ...] = (2, 5),
        **options: object,
    ) -> dict[str, object]:
        return corrupt_files(
            str(source),
            tmp_path / output,
            types=types,
            severities=severities,
            progress=options.pop("progress", lambda done, total: None),  # type: ignore[arg-type]
            say=notes.append,
            **options,  # type: ignore[arg-type]
        )

    return run


def read(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def copies_of(
    source: Path | str,
    cache: Path,
    types: tuple[str, ...],
    severities: tuple[int, ...],
    seed: int = 0,
    **request: int,
) -> tuple[EvaluationSet, np.ndarray]:
    """What `ablate evaluate` scores, as `[type, severity, n, height, width, channel]`."""
    found = load_evaluated(str(source), None, ImageRequest(**request), cache)
    made = EvaluationSet(found.split, find_suite(types), severities, seed, None)
    cells = [
        [torch.cat(list(made.blocks(kind, severity))) for severity in severities] for kind in types
    ]
    stacked = torch.stack([torch.stack(row) for row in cells])
    return made, stacked.permute(0, 1, 2, 4, 5, 3).numpy()


def test_images_are_those_that_are_scored(write: Write, folder: Path, tmp_path: Path) -> None:
    types = ("contrast", "fog")
    write(folder, seed=3, types=types)
    _, scored = copies_of(folder, tmp_path / "cache", types, (2, 5), 3, image_size=16)
    out = tmp_path / "out"
    for row, kind in enumerate(types):
        for column, severity in enumerate((2, 5)):
            for number, name in enumerate(f"{c}/{i}" for c in ("cat", "dog") for i in range(3)):
                file = out / kind / str(severity) / f"{name}.png"
                assert (read(file) == scored[row, column, number]).all()
    assert len([file for file in out.rglob("*") if file.is_file()]) == 2 * 2 * 6 + 1


def test_arrays_are_those_that_are_scored(write: Write, tmp_path: Path) -> None:
    write("digits", types=("fog",), severities=(1, 2, 3, 4, 5), image_size=8)
    made, scored = copies_of("digits", tmp_path / "cache", ("fog",), (1, 2, 3, 4, 5), image_size=8)
    array = np.load(tmp_path / "out" / "fog.npy", mmap_mode="r")
    assert array.dtype == np.uint8
    assert (array.reshape(scored[0].shape) == scored[0]).all()
    labels = np.load(tmp_path / "out" / "labels.npy")
    assert labels.tolist() == made.labels.tolist() * 5
    assert labels.dtype == np.int64


def test_a_folder_cut_to_a_size_is_what_is_scored(write: Write, tmp_path: Path) -> None:
    (tmp_path / "large" / "val" / "one").mkdir(parents=True)
    pixels(1, (40, 30)).save(tmp_path / "large" / "val" / "one" / "a.jpeg")
    pixels(2, (33, 50)).save(tmp_path / "large" / "val" / "one" / "b.bmp")
    for resize, output in ((None, "usual"), (28, "own")):
        write(tmp_path / "large", output=output, layout="npy", image_size=24, resize=resize)
        request = {"image_size": 24} if resize is None else {"image_size": 24, "resize": resize}
        _, scored = copies_of(tmp_path / "large", tmp_path / "cache", ("fog",), (2, 5), **request)
        fog = np.load(tmp_path / output / "fog.npy")
        assert (fog.reshape(scored[0].shape) == scored[0]).all()


def test_the_copies_open_as_official_files(write: Write, folder: Path, tmp_path: Path) -> None:
    write(folder, severities=(1, 2, 3, 4, 5), output="images")
    write(folder, severities=(1, 2, 3, 4, 5), output="arrays", layout="npy")
    opened = [
        open_official(tmp_path / name, types=None, severities=(1, 4), classes=None)
        for name in ("images", "arrays")
    ]
    for copies in opened:
        assert copies.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for kind in ("contrast", "fog"):
        one, other = (torch.cat(list(copies.blocks(kind, 4))) for copies in opened)
        assert torch.equal(one, other)


def test_workers_and_other_types_change_nothing(write: Write, folder: Path, tmp_path: Path) -> None:
    write(folder, output="one", workers=1, layout="npy")
    write(folder, output="more", workers=3, layout="npy", types=("snow", "fog"), severities=(5,))
    one, more = (np.load(tmp_path / name / "fog.npy") for name in ("one", "more"))
    assert (one[6:] == more).all()
    write(folder, output="other", layout="npy", seed=1)
    assert (np.load(tmp_path / "other" / "fog.npy") != one).any()


def test_each_image_keeps_its_size(write: Write, tmp_path: Path) -> None:
    root = tmp_path / "mixed"
    root.mkdir()
    sizes = {"a": (20, 12), "b": (9, 30), "c": (20, 12)}
    for seed, (name, size) in enumerate(sizes.items()):
        pixels(seed, size).save(root / f"{name}.png")
    manifest = write(root)
    for name, size in sizes.items():
        assert Image.open(tmp_path / "out" / "fog" / "5" / f"{name}.png").size == size
    assert manifest["source"]["classes"] == []  # type: ignore[index]
    with pytest.raises(DataError, match=r"one size .*20 x 12 \(a\) and 9 x 30 \(b\)\. Give `im"):
        write(root, output="array", layout="npy")


def test_the_manifest_says_how(write: Write, folder: Path, tmp_path: Path) -> None:
    types = ("frost", "fog")
    said = write(folder, types=types)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(said))
    assert manifest["severities"] == [2, 5]
    assert manifest["seed"] == 0
    assert manifest["types"] == ["frost", "fog"]
    assert manifest["parameters"] == {
        "cifar": {"frost": [[1, 0.3], [0.75, 0.45]], "fog": [[0.5, 3], [1.5, 1.75]]}
    }
    assert manifest["frost"] == "frost: procedural texture, approximate"
    assert manifest["source"]["images"] == 6
    assert manifest["source"]["classes"] == ["cat", "dog"]
    assert {"ablate", "torch", "code_version", "licences"} <= set(manifest)
    again = write(folder, output="again", types=types)
    assert again == said
    pixels(99).save(folder / "cat" / "0.png")
    assert write(folder, output="changed")["source"] != said["source"]


def test_grey_is_expanded_and_said(write: Write, folder: Path, notes: list[str]) -> None:
    Image.new("L", (16, 16), 80).save(folder / "cat" / "0.png")
    write(folder)
    assert notes == ["grey images: 1 of them; their channel is repeated three times"]


def test_unreadable_files(write: Write, folder: Path, tmp_path: Path, notes: list[str]) -> None:
    whole = (folder / "dog" / "1.png").read_bytes()
    (folder / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "2.png").write_text("no image")
    rule = r"2 of 6 image files that cannot be read: cat/2.png \(a file .*, or give `skip_unread"
    with pytest.raises(DataError, match=rule):
        write(folder)
    assert not (tmp_path / "out").exists()
    manifest = write(folder, layout="npy", skip_unreadable=True)
    assert manifest["source"]["left_out"] == ["cat/2.png", "dog/1.png"]  # type: ignore[index]
    assert notes == [
        "2 of 6 image files cannot be read and are left out: cat/2.png (a file that is not an "
        "image), dog/1.png (a truncated image)"
    ]
    assert np.load(tmp_path / "out" / "labels.npy").tolist() == [0, 0, 1, 1] * 2
    for file in folder.rglob("*.png"):
        file.write_text("no image")
    with pytest.raises(DataError, match=r"readable images, got none among 6\. Replace"):
        write(folder, output="none", skip_unreadable=True)


def test_output_must_be_empty(write: Write, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(folder)
    with pytest.raises(UsageError, match=r"out: must be a new or an empty folder, got files in"):
        write(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: must be a new or an empty folder, got a file"):
        write(folder, output="file")


def test_a_stopped_copy_says_that_it_is_unfinished(
    write: Write, folder: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(folder, progress=stop)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["finished"] is False
    assert (tmp_path / "out" / "fog").exists()
    rule = r"out: must be finished, got an incomplete copy\. Remove it and write it"
    with pytest.raises(DataError, match=rule):
        open_official(tmp_path / "out")
    finished = write(folder, output="whole")
    assert finished == {**manifest, "finished": True}
    open_official(tmp_path / "whole", severities=(2, 5))


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("cat", "dog"), ("cat", "dog")),
        (("a/b", "c d-e_f.g"), ("a_b", "c d-e_f.g")),
        (("../../../escaped", "z"), ("_.._.._escaped", "z")),
        (("T-shirt/top", "Bag"), ("0-T-shirt_top", "1-Bag")),
        (("a:b", "a?b"), ("0-a_b", "1-a_b")),
        (("a", "A"), ("0-a", "1-A")),
        (("..", "x"), ("0", "1-x")),
        (("k" * 300,), ("k" * 60,)),
    ],
)
def test_classes_become_folders(classes: tuple[str, ...], folders: tuple[str, ...]) -> None:
    assert class_folders(classes) == folders
    assert list(folders) == sorted(folders)


def test_classes_never_lead_out_of_the_output(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_data.py").write_text(
        "import numpy as np\n"
        "def load(**_):\n"
        "    images, labels = np.zeros((4, 3, 16, 16), np.uint8), np.arange(4) % 2\n"
        "    return {'train': (images, labels), 'test': (images, labels),\n"
        "            'classes': ['T-shirt/top', '../../../escaped']}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    manifest = write("named_data:load", layout="images", types=("fog",), severities=(1,))
    root = tmp_path / "out" / "fog" / "1"
    assert sorted(path.name for path in root.iterdir()) == ["T-shirt_top", "_.._.._escaped"]
    assert len(list(root.glob("*/*.png"))) == 4
    assert manifest["source"]["folders"] == {  # type: ignore[index]
        "T-shirt/top": "T-shirt_top",
        "../../../escaped": "_.._.._escaped",
    }
    copies = open_official(tmp_path / "out", severities=(1,))
    assert copies.labels.tolist() == [0, 0, 1, 1]
    # A network's classes find their folders again.
    names = ["../../../escaped", "T-shirt/top"]
    with pytest.raises(DataError, match="in their order"):
        open_official(tmp_path / "out", severities=(1,), classes=names)
    assert open_official(tmp_path / "out", severities=(1,), classes=names[::-1]).labels.tolist()


def test_images_beside_classes_are_left_out(write: Write, folder: Path, notes: list[str]) -> None:
    whole = write(folder, output="whole")
    for name in ("stray", "other"):
        pixels(5).save(folder / f"{name}.png")
    manifest = write(folder)
    assert notes[0].startswith("skipped files: 2 beside the class folders. Read are .bmp")
    assert manifest["source"]["digest"] == whole["source"]["digest"]  # type: ignore[index]
    for file in folder.glob("*/*.png"):
        file.unlink()
    assert write(folder, output="flat")["source"]["images"] == 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"types": ("fgo",)}, r"`types`: must be of the suite all, got 'fgo'. Did you mean fog\?"),
        ({"types": ()}, r"`types`: must name at least one type, got none\."),
        ({"suite": "cifar10"}, r"`suite`: must be a known suite, got 'cifar10'. Did you mean cif"),
        ({"severities": (0, 1)}, r"`severities`: must be whole numbers from 1 to 5, got 0\."),
        ({"severities": ()}, r"`severities`: must be whole numbers from 1 to 5, got none\."),
        ({"data": Path("x")}, r"`data`: is the folder of a named data set, got it with "),
        ({"resize": 20}, r"`resize`: sets the shorter side .*got 20 without `image_size`\."),
        ({"resize": 10, "image_size": 16}, r"`resize`: must be at least the image size 16, got 10"),
    ],
)
def test_wrong_use(
    write: Write, folder: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write(folder, **options)
    assert not (tmp_path / "out").exists()


def test_wrong_sources(write: Write, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"`source`: must be an existing folder .*got 'digit'. Did you mean d"
    ):
        write("digit")
    with pytest.raises(UsageError, match=r"`source`: must be a folder or a data set, got the file"):
        write(folder / "cat" / "0.png")
    with pytest.raises(
        ParameterError, match=r"`resize`: applies only to folders .*got it with digits"
    ):
        write("digits", resize=40)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: must have one folder for each class, got none"):
        write(tmp_path / "empty")
    pixels(1).save(folder / "cat" / "0.bmp")
    with pytest.raises(
        DataError, match=r"differ before the extension, got cat/0.bmp and cat/0.png"
    ):
        write(folder)
    (folder / "cat" / "0.bmp").unlink()
    pixels(1, (7, 20)).save(folder / "cat" / "0.png")
    with pytest.raises(DataError, match=r"sides of 8 pixels or more, got 1 smaller \(cat/0.png\)"):
        write(folder)


def test_arrays_need_room_on_the_disk(
    write: Write, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 2 * 2 * 6 * 16 * 16 * 3
    for free in (needed, needed - 1):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free == needed:
            write(folder, output="whole", layout="npy")
            continue
        with pytest.raises(
            UsageError, match=r"out: must have room for arrays of 18 kB, got 18 kB\. "
        ):
            write(folder, layout="npy")
    assert not [*(tmp_path / "out").iterdir()]


def test_corrupt_in_memory(write: Write, folder: Path, tmp_path: Path) -> None:
    name = "gaussian_noise"
    write(folder, types=(name,), severities=(4,), seed=7, layout="npy")
    written = np.load(tmp_path / "out" / f"{name}.npy")
    images = np.stack([read(file) for file in sorted(folder.rglob("*.png"))])
    assert (corrupt(images, name, 4, seed=7) == written).all()
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    tensor = corrupt(planes, name, 4, seed=7)
    assert (tensor.permute(0, 2, 3, 1).numpy() == written).all()
    floats = corrupt(planes.float() / 255, name, 4, seed=7)
    assert floats.dtype == torch.float32
    assert (abs(floats * 255 - tensor) <= 1.01).float().mean() > 0.99


def test_corrupt_in_memory_refuses() -> None:
    images = np.zeros((2, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(ParameterError, match=r"got 'fgo'. Did you mean fog\?"):
        corrupt(images, "fgo", 1)
    with pytest.raises(ParameterError, match=r"fog: severity must be .* got 6"):
        corrupt(images, "fog", 6)
    with pytest.raises(ParameterError, match=r"array of uint8 .*got float64 \[2, 16, 16, 3\]"):
        corrupt(images / 255, "fog", 1)
    with pytest.raises(ParameterError, match=r"array of uint8 .*got uint8 \[16, 16, 3\]"):
        corrupt(images[0], "fog", 1)
    with pytest.raises(AblateError, match="no such folder"):
        corrupt(images, "frost", 1, frost_images="nowhere")
    assert corrupt(images[:0], "fog", 1).shape == (0, 16, 16, 3)
