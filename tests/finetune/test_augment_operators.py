"""AugMix's operators against PIL's, which they are read from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from ablate.finetune.augment.operators import COLOUR, GEOMETRY, OPERATORS, apply_operators

HEIGHT, WIDTH = 20, 28
BYTE = 1 / 255


def make_images(batch: int = 6) -> Tensor:
    """Smooth images of bytes, of different contrast; one is nearly of one value."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3, 4, 5, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)
    spread = torch.linspace(0.3, 1, batch).view(-1, 1, 1, 1)
    images = (255 * (0.5 + spread * (fine - 0.5))).round() / 255
    images[0] = 100 / 255
    images[0, :, 3, 4:8] = 101 / 255
    return images


def run(name: str, images: Tensor, level: float, sign: float = 1.0) -> Tensor:
    ones = torch.ones(len(images))
    operators = torch.full((len(images),), OPERATORS.index(name))
    return apply_operators(images, operators, level * ones, sign * ones)


def by_pil(images: Tensor, operator: Callable[[Image.Image], Image.Image]) -> Tensor:
    results = []
    for image in images:
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        results.append(np.asarray(operator(Image.fromarray(pixels))))
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2) / 255


def test_equalize() -> None:
    images = make_images()
    expected = by_pil(images, ImageOps.equalize)
    assert not torch.equal(expected, images)
    torch.testing.assert_close(run("equalize", images, 0.5), expected, rtol=0, atol=1e-6)


def test_autocontrast() -> None:
    images = make_images()
    expected = by_pil(images, ImageOps.autocontrast)
    torch.testing.assert_close(run("autocontrast", images, 0.5), expected, rtol=0, atol=1.01 * BYTE)


@pytest.mark.parametrize(("level", "bits"), [(0.1, 4), (0.3, 3), (0.6, 2), (0.8, 1)])
def test_posterize(level: float, bits: int) -> None:
    images = make_images()
    expected = by_pil(images, lambda image: ImageOps.posterize(image, bits))
    torch.testing.assert_close(run("posterize", images, level), expected, rtol=0, atol=1e-6)
    assert not run("posterize", images, 1.0).any()


@pytest.mark.parametrize(("level", "threshold"), [(0.0, 256), (0.25, 192), (0.3, 180), (1.0, 0)])
def test_solarize(level: float, threshold: int) -> None:
    images = make_images()
    expected = by_pil(images, lambda image: ImageOps.solarize(image, threshold))
    torch.testing.assert_close(run("solarize", images, level), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("name", COLOUR)
def test_colour(name: str, level: float) -> None:
    images, factor = make_images(), 0.1 + 1.8 * level
    enhancer = getattr(ImageEnhance, name.capitalize())
    expected = by_pil(images, lambda image: enhancer(image).enhance(factor))
    # PIL rounds its plain image, and cuts the mixture to bytes.
    torch.testing.assert_close(run(name, images, level), expected, rtol=0, atol=2 * BYTE)


def test_grey_images_have_no_colour_to_lose() -> None:
    images = make_images()[:, :1]
    assert torch.equal(run("color", images, 0.0), images)


def pil_move(name: str, amount: float) -> Callable[[Image.Image], Image.Image]:
    """AugMix's operator by PIL; `amount` is the level with its sign."""
    bilinear = Image.Resampling.BILINEAR
    if name == "rotate":
        return lambda image: image.rotate(30 * amount, bilinear)
    data = {
        "shear_x": (1, 0.3 * amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.3 * amount, 1, 0),
        "translate_x": (1, 0, int(amount * WIDTH / 3), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, int(amount * HEIGHT / 3)),
    }[name]
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, data, bilinear)


@pytest.mark.parametrize("level", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry(name: str, sign: int, level: float) -> None:
    """Up to the border: what comes from the edge is as bright as the edge, or black."""
    images = make_images()
    expected = by_pil(images, pil_move(name, sign * level))
    assert (expected - images)[expected > 0].abs().max() > 10 * BYTE
    assert 0 < (expected == 0).float().mean() < 0.5
    # PIL cuts to bytes.
    torch.testing.assert_close(run(name, images, level, sign), expected, rtol=0, atol=1.01 * BYTE)


def test_translations_are_whole_pixels() -> None:
    images = make_images()
    moved = run("translate_x", images, 0.25)  # 2.33 pixels
    torch.testing.assert_close(moved[..., :-2], images[..., 2:])
    assert moved[..., -2:].max() < 1e-5
    torch.testing.assert_close(run("translate_y", images, 0.1), images)


def test_every_image_has_its_own_operator_level_and_sign() -> None:
    images = make_images(len(OPERATORS) + 1)
    operators = torch.arange(-1, len(OPERATORS))
    levels = torch.linspace(0.2, 0.9, len(images))
    signs = torch.where(torch.arange(len(images)) % 2 == 0, 1.0, -1.0)
    together = apply_operators(images, operators, levels, signs)
    assert torch.equal(together[0], images[0])
    for row, name in enumerate(OPERATORS, start=1):
        alone = run(name, images[row : row + 1], levels[row].item(), signs[row].item())
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-6)
        assert not torch.equal(together[row], images[row])
