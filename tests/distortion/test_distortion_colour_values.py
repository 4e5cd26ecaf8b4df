"""Hue, gamma, JPEG and pixelate against Pillow and against values worked out by hand."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ablate.distortion import load

gamma = load("gamma").apply
hue = load("hue").apply
jpeg = load("jpeg").apply
pixelate = load("pixelate").apply
NOTHING = torch.empty(1, 0)


def smooth_images(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def test_hue_by_hand() -> None:
    colour, turn = (0.5, 0.4, 0.3), math.radians(60)
    images = torch.tensor(colour).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    turned = hue(images, torch.tensor([0.5, 0.5]), torch.tensor([1.0, -1.0])).view(2, 3)
    luma = 0.299 * 0.5 + 0.587 * 0.4 + 0.114 * 0.3
    chroma = complex(
        0.596 * 0.5 - 0.274 * 0.4 - 0.322 * 0.3, 0.211 * 0.5 - 0.523 * 0.4 + 0.312 * 0.3
    )
    for row, angle in ((0, -turn), (1, turn)):
        moved = chroma * complex(math.cos(angle), math.sin(angle))
        expected = [
            luma + 0.956 * moved.real + 0.621 * moved.imag,
            luma - 0.272 * moved.real - 0.647 * moved.imag,
            luma - 1.106 * moved.real + 1.703 * moved.imag,
        ]
        assert turned[row].tolist() == pytest.approx(expected, abs=1e-3)


def test_gamma_by_hand() -> None:
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).repeat(3, 1, 1, 1)
    changed = gamma(images, torch.tensor([1.0, 1.0, 0.5]), torch.tensor([1.0, -1.0, 1.0]))
    powers = (3, 1 / 3, math.sqrt(3))
    for row, power in zip(changed.flatten(1), powers, strict=True):
        expected = torch.tensor([0, 0.25**power, 0.5**power, 1])
        torch.testing.assert_close(row, expected)


def test_jpeg_of_a_flat_block_by_hand() -> None:
    # 150 is 22 above the middle, so its first coefficient is 8 x 22 = 176.  In steps of 16 it is
    # 11 and stays; in steps of 40 it is 4.4, becomes 4, and 160 / 8 = 20 above the middle is 148.
    flat = torch.full((2, 1, 8, 8), 150 / 255)
    changed = jpeg(flat, torch.tensor([0.4, 1.0]), torch.empty(2, 0))
    torch.testing.assert_close(changed[0], flat[0])
    torch.testing.assert_close(changed[1], torch.full((1, 8, 8), 148 / 255))


@pytest.mark.parametrize(
    ("strength", "quality", "size"), [(1.0, 20, (37, 50)), (0.2, 75, (32, 32))]
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_near_pillows(
    mode: str, strength: float, quality: int, size: tuple[int, int]
) -> None:
    pixels = (smooth_images(*size)[0, : len(mode)] * 255).round().to(torch.uint8)
    file = io.BytesIO()
    original = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
    original.save(file, "JPEG", quality=quality, subsampling=0)
    theirs = torch.from_numpy(np.array(Image.open(file))).view(*size, -1).permute(2, 0, 1).float()
    ours = jpeg(pixels[None].float() / 255, torch.tensor([strength]), NOTHING)[0] * 255
    between, loss = (ours - theirs).abs().mean(), (theirs - pixels).abs().mean()
    # Pillow rounds to bytes: the result, and before that the colours, which tips some coefficients.
    assert between < (0.6 if mode == "L" else loss / 2)
    assert (ours - pixels).abs().mean().item() == pytest.approx(loss.item(), rel=0.05)


def test_pixelate_in_whole_cells_is_an_average_pool() -> None:
    images = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    cells = pixelate(images, torch.tensor([0.5, 0.5]), torch.empty(2, 0))
    expected = functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(cells, expected)


def test_pixelate_between_whole_cells_by_hand() -> None:
    # Cells of 1.5 pixels: the first has half of pixel 1, the second the other half and pixel 2,
    # and pixel 1 shows the second, in which its centre lies.
    images = torch.zeros(1, 1, 8, 8)
    images[..., 0], images[..., 2] = 0.3, 0.9
    cells = pixelate(images, torch.ones(1), NOTHING)[0, 0]
    assert cells[4, :3].tolist() == pytest.approx([0.3 / 1.5, 0.9 / 1.5, 0.9 / 1.5])
