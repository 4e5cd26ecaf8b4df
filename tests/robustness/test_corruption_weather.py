"""Snow, frost, fog, brightness and spatter, against what they are said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference.canny import find_edges
from reference.filters import average_3x3, chamfer_distance, correlate, equalise
from reference.weather import EMBOSS, make_plasma
from scipy import ndimage

from ablate.distortion.random import as_uniform, draw_bits
from ablate.errors import DataError
from ablate.robustness.corruption import FAMILIES, load
from ablate.robustness.corruption.frost import (
    FrostPhotographs,
    frost_plates,
    load_frost,
    of_photographs,
)
from ablate.robustness.corruption.spatter import (
    canny,
    smooth_layer,
    squared_distance,
    water,
)
from ablate.robustness.corruption.weather import draw_plasma

CORRUPTIONS = {name: load(name) for name in FAMILIES["weather"]}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(256, shape, generator=generator(seed), dtype=torch.uint8)


class Draws:
    """Gives the reference our draws, at the points that it fills: midst, rows, columns by step."""

    def __init__(self, noise: np.ndarray) -> None:
        self.noise, self.step, self.turn = noise, len(noise), 0

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        half = self.step // 2
        down, across = [(half, half), (0, half), (half, 0)][self.turn % 3]
        drawn = self.noise[down :: self.step, across :: self.step]
        self.turn += 1
        self.step //= 2 if self.turn % 3 == 0 else 1
        return high * drawn


@pytest.mark.parametrize("decay", [3.0, 1.75])
def test_plasma_is_diamond_and_square(decay: float) -> None:
    made = draw_plasma(3, 16, decay, generator(5))
    draws = as_uniform(draw_bits(torch.Size((16, 16, 3, 1)), generator(5)))[..., 0] * 2 - 1
    for image in range(3):
        expected = make_plasma(16, decay, Draws(draws[..., image].double().numpy()))
        assert made[image, 0].numpy() == pytest.approx(expected, abs=1e-5)


def photograph(height: int, width: int) -> np.ndarray:
    """Every pixel tells its place: row in red, column in green."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(height)[:, None]
    pixels[..., 1] = np.arange(width)
    return pixels


def frost_layer(
    photographs: FrostPhotographs, scale: str, height: int, width: int, count: int = 64
) -> np.ndarray:
    """What is laid over black images, in levels."""
    black = torch.zeros(count, 3, height, width)
    weight = CORRUPTIONS["frost"].tables[scale][0][1]
    frosted = CORRUPTIONS["frost"](black, 1, generator(), scale=scale, frost=photographs)
    return (frosted / weight * 255).round().int().numpy()


def test_frost_crops_photographs_as_they_are_for_imagenet() -> None:
    layer = frost_layer(of_photographs([photograph(60, 90)]), "imagenet", 20, 30, count=600)
    top, left = layer[:, 0, 0, 0], layer[:, 1, 0, 0]
    assert (layer[:, 0] == top[:, None, None] + np.arange(20)[:, None]).all()
    assert (layer[:, 1] == left[:, None, None] + np.arange(30)).all()
    assert set(top) == set(range(40))
    assert set(left) == set(range(60))


def test_frost_crops_a_fifth_of_photographs_for_cifar() -> None:
    layer = frost_layer(of_photographs([photograph(203, 248)]), "cifar", 32, 32)
    top, left = layer[:, 0, 0, 0], layer[:, 1, 0, 0]
    assert (layer[:, 0] == top[:, None, None] + 5 * np.arange(32)[:, None]).all()
    assert (layer[:, 1] == left[:, None, None] + 5 * np.arange(32)).all()
    assert set(top % 5) == {2}
    assert top.max() == 2 + 5 * 8  # 41 rows remain, the last place is never taken


def test_plates_look_like_the_photographs() -> None:
    """Means and deviations of five photographs of the benchmark, in fractions of 255."""
    plates = frost_plates()
    assert frost_plates() is plates
    known = [
        ((0.30, 0.58, 0.65), 0.08),
        ((0.78, 0.80, 0.84), 0.085),
        ((0.78, 0.80, 0.84), 0.085),
        ((0.54, 0.60, 0.65), 0.114),
        ((0.44, 0.48, 0.53), 0.17),
    ]
    for plate, (mean, deviation) in zip(plates.photographs, known, strict=True):
        shares = plate.double() / 255
        assert shares.mean((1, 2)).tolist() == pytest.approx(mean, abs=0.05)
        assert shares.std((1, 2)).mean() == pytest.approx(deviation, abs=0.04)


@pytest.fixture
def drops() -> torch.Tensor:
    """Layers as spatter cuts them: float `[height, width, batch]`, zero outside of the drops."""
    layers = smooth_layer(torch.randn(24, 31, 6, generator=generator(3)), 1.0) * 0.3 + 0.65
    layers[..., 5] = 0.0
    return torch.where(layers < 0.69, 0.0, layers).clamp(0, 1)


def test_canny_is_cannys(drops: torch.Tensor) -> None:
    planes = (drops * 255).to(torch.int16)
    planes[..., 4] = noise(24, 31)  # long weak ridges
    for low, high in ((50, 150), (100, 900)):
        edges = canny(planes, low, high).numpy()
        for image in range(planes.shape[2]):
            wanted = find_edges(planes[..., image].numpy(), low, high)
            assert (edges[..., image] == wanted).all()
    assert not edges[..., 5].any()


def test_distances_are_exact(drops: torch.Tensor) -> None:
    edges = (drops > 0.75).to(torch.uint8)
    edges[..., 3] = 0
    edges[0, 0, 3] = 1
    got = squared_distance(edges, 20).double().sqrt().numpy()
    for image in range(5):
        wanted = ndimage.distance_transform_edt(1 - edges[..., image].numpy())
        assert got[..., image] == pytest.approx(wanted.clip(max=20))
    assert (got[..., 5] == 20).all()


def literal_water(plane: np.ndarray) -> np.ndarray:
    """The light of one plane, step by step."""
    depth = (plane * 255).astype(np.uint8)
    far = average_3x3(chamfer_distance(find_edges(depth, 50, 150), cut=20))
    lit = correlate(equalise((far + 1e-9).astype(np.uint8)).astype(int), EMBOSS).clip(0, 255)
    light = depth * average_3x3(lit.astype(np.uint8)).astype(float)
    return light / max(light.max(), 1)


def test_water_is_lit_along_its_edges(drops: torch.Tensor) -> None:
    got = water(drops).numpy()
    for image in range(drops.shape[2]):
        assert got[..., image] == pytest.approx(literal_water(drops[..., image].numpy()), abs=2e-2)
        close = np.isclose(got[..., image], literal_water(drops[..., image].numpy()), atol=1e-4)
        assert close.mean() > 0.99
    assert (got[..., :5].max((0, 1)) == 1).all()
    assert (got[..., 5] == 0).all()  # no drops, no water


# -- Photographs of frost, from a folder of the user's


def save(folder: Path, name: str, level: int, size: tuple[int, int] = (40, 30)) -> None:
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, (level, level + 1, level + 2)).save(folder / name)


def test_the_first_five_by_name(tmp_path: Path) -> None:
    for number in (3, 1, 6, 2, 5, 4):
        save(tmp_path / "frost", f"frost{number}.png", 10 * number)
    (tmp_path / "frost" / "licence.txt").write_text("whose they are")
    (tmp_path / "frost" / ".hidden.png").write_text("no image")
    found = load_frost(tmp_path / "frost")
    assert [int(photograph[0, 0, 0]) for photograph in found.photographs] == [10, 20, 30, 40, 50]
    assert found.photographs[0].shape == (3, 30, 40)
    assert found.photographs[0][:, 0, 0].tolist() == [10, 11, 12]  # red first


def test_the_digest_is_of_what_is_drawn(tmp_path: Path) -> None:
    for number in range(1, 7):
        save(tmp_path / "frost", f"frost{number}.png", 10 * number)
    first = load_frost(tmp_path / "frost").digest
    assert load_frost(tmp_path / "frost").digest == first
    save(tmp_path / "frost", "frost6.png", 200)
    assert load_frost(tmp_path / "frost").digest == first
    save(tmp_path / "frost", "frost5.png", 200)
    second = load_frost(tmp_path / "frost").digest
    assert second != first
    save(tmp_path / "frost", "frost5.png", 200, size=(30, 40))  # the same bytes in another shape
    assert load_frost(tmp_path / "frost").digest != second


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"away: must be a folder of frost photographs.*no such folder"
    ):
        load_frost(tmp_path / "away")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: must contain frost photographs .*got none\. Add"):
        load_frost(tmp_path / "empty")
    (tmp_path / "torn").mkdir()
    np.save(tmp_path / "torn" / "x.npy", np.zeros(3))
    (tmp_path / "torn" / "x.npy").rename(tmp_path / "torn" / "frost1.png")
    with pytest.raises(DataError, match=r"frost1.png: must be a readable image, got"):
        load_frost(tmp_path / "torn")
