"""The corruptions of CIFAR-10-C-bar and ImageNet-C-bar, by their names and descriptions.

Source: Mintun, Kirillov and Xie 2021, arXiv:2102.11273.  Differs: written anew from what each is
said to look like; forms and strengths are ours [O].  So the images are not those of the published
files, and scores are not comparable with published ones.

A place is a complex number, across + i * down, from the centre, in shares of the shorter side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.random import as_normal, draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.kind import Setting, corruption
from ablate.robustness.corruption.weather import draw_plasma

_TURN = 2 * math.pi


def _draw(
    like: Images, setting: Setting, low: float | int, high: float | int, *shape: int
) -> Tensor:
    """Uniform numbers for each image, `[batch, *shape, 1, 1]`; one without a shape."""
    size = (len(like), *(shape or (1,)), 1, 1)
    return torch.rand(size, generator=setting.generator, device=like.device) * (high - low) + low


def _draw_centre(images: Images, setting: Setting) -> Tensor:
    return torch.complex(*(_draw(images, setting, -0.5, 0.5) for _ in range(2)))


def _direction(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def _places(images: Images) -> Tensor:
    """Of the pixels, `[height, width]`."""
    height, width = images.shape[2:]
    down, across = (
        torch.arange(side, device=images.device).float() - (side - 1) / 2
        for side in (height, width)
    )
    grid = torch.meshgrid(down, across, indexing="ij")
    return torch.complex(grid[1], grid[0]) / min(height, width)


def _read(images: Images, places: Tensor) -> Images:
    """The images at places `[(batch), height, width]`, linearly between pixels, mirrored beyond."""
    (height, width), unit = images.shape[2:], 2 * min(images.shape[2:])
    across, down = places.real * (unit / (width - 1)), places.imag * (unit / (height - 1))
    grid = torch.stack([across, down], dim=-1).expand(len(images), height, width, 2)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def _noise(images: Images, setting: Setting, exponent: float) -> Tensor:
    """One plane of noise for each image, `[batch, 1, height, width]`, of mean 0 and deviation 1;
    its amplitude is the frequency to this power: above 0 blue."""
    height, width = images.shape[2:]
    white = as_normal(draw_bits(torch.Size((len(images), 1, height, width)), setting.generator))
    rows = torch.fft.fftfreq(height, device=images.device)[:, None]
    amplitude = torch.hypot(rows, torch.fft.rfftfreq(width, device=images.device)).pow_(exponent)
    amplitude[0, 0] = 0
    return _scaled(torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width)))


def _scaled(field: Tensor) -> Tensor:
    """To a mean square of 1."""
    return field / field.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)


@corruption(cifar=(0.04, 0.07, 0.1, 0.15, 0.2), imagenet=(0.1, 0.15, 0.2, 0.28, 0.35))
def brownish_noise(images: Images, setting: Setting, sigma: float) -> Images:
    """Grey noise of an amplitude that falls nearly as that of brown noise does."""
    return images + sigma * _noise(images, setting, -1.5)


@corruption(cifar=(0.05, 0.1, 0.15, 0.25, 0.35), imagenet=(0.15, 0.25, 0.35, 0.5, 0.65))
def blue_noise_sample(images: Images, setting: Setting, lost: float) -> Images:
    """A share of the pixels black, evenly spread: where blue noise is low."""
    quantile = math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * lost - 1)))
    return images * (_noise(images, setting, 1.0) > quantile)


@corruption(cifar=(0.08, 0.12, 0.16, 0.22, 0.3), imagenet=(0.15, 0.22, 0.3, 0.4, 0.5))
def single_frequency_greyscale(images: Images, setting: Setting, amplitude: float) -> Images:
    """One grey plane wave, of 3 to 24 periods, in any direction."""
    along = (_places(images) * _direction(_draw(images, setting, 0, _TURN))).real
    phase = _draw(images, setting, 3, 24) * along + _draw(images, setting, 0, 1)
    return images + amplitude * (_TURN * phase).sin()


@corruption(cifar=(0.1, 0.15, 0.2, 0.27, 0.35), imagenet=(0.2, 0.27, 0.35, 0.45, 0.55))
def cocentric_sine_waves(images: Images, setting: Setting, amplitude: float) -> Images:
    """Wavy rings about a point, in one colour."""
    away = _places(images) - _draw_centre(images, setting)
    lobes = _draw(images, setting, 2, 10).round()
    radius = away.abs() + 0.03 * (lobes * away.angle()).sin()
    rings = (_TURN * _draw(images, setting, 4, 12) * radius).sin()
    return images + amplitude * _draw(images, setting, 0.4, 1, 3) * rings


@corruption(cifar=(0.2, 0.3, 0.4, 0.55, 0.7), imagenet=(0.35, 0.5, 0.65, 0.8, 1.0))
def perlin_noise(images: Images, setting: Setting, amplitude: float) -> Images:
    """Grey gradient noise of 6 cells a side.  Source: Perlin 2002, "Improving noise"."""
    angle = _draw(images, setting, 0, _TURN, 7, 7)[..., 0, 0]
    down, across = (
        torch.arange(side, device=images.device) * (6 / side) for side in images.shape[2:]
    )
    top, left = down.long(), across.long()
    v, u = (down - top)[:, None], across - left
    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))

    def corner(below: int, right: int) -> Tensor:
        at = angle[:, top + below][:, :, left + right]
        return at.cos() * (u - right) + at.sin() * (v - below)

    upper, lower = (torch.lerp(corner(k, 0), corner(k, 1), fade_u) for k in (0, 1))
    return images + amplitude * torch.lerp(upper, lower, fade_v)[:, None]


@corruption(cifar=(0.1, 0.15, 0.2, 0.28, 0.36), imagenet=(0.2, 0.3, 0.4, 0.5, 0.6))
def plasma_noise(images: Images, setting: Setting, amplitude: float) -> Images:
    """Bands of colour along the levels of a plasma fractal."""
    height, width = images.shape[2:]
    side = 1 << (max(height, width) - 1).bit_length()
    plasma = draw_plasma(len(images), side, 1.4, setting.generator)[:, :, :height, :width]
    return images + amplitude * (2 * _TURN * plasma + _draw(images, setting, 0, _TURN, 3)).sin()


@corruption(cifar=(0.35, 0.5, 0.6, 0.75, 0.9), imagenet=(0.5, 0.65, 0.8, 0.9, 1.0))
def checkerboard_cutout(images: Images, setting: Setting, share: float) -> Images:
    """Black squares, of a share of the side, in every other cell (1/8 to 1/4) of a turned board."""
    board = _places(images) * _direction(_draw(images, setting, 0, _TURN))
    board = (board + _draw_centre(images, setting)) * _draw(images, setting, 4, 8)
    column, row = board.real.floor(), board.imag.floor()
    away = torch.maximum((board.real - column - 0.5).abs(), (board.imag - row - 0.5).abs())
    return images * ~((away < share / 2) & ((row + column).remainder(2) == 0))


def _stars(images: Images, setting: Setting, count: float, size: float) -> Tensor:
    """How much of each pixel stars of four to nine rays leave, in [0, 1]."""
    kept = torch.ones((len(images), 1, *images.shape[2:]), device=images.device)
    for _ in range(int(count)):
        away = _places(images) - _draw_centre(images, setting)
        phase = _draw(images, setting, 4, 9).round() / 2 * away.angle()
        beam = (phase + _draw(images, setting, 0, _TURN)).cos().abs() ** 6
        reach = size * (0.3 + beam) * _draw(images, setting, 0.6, 1.4)
        kept *= 1 - torch.exp(-(away.abs() / reach).square() / 2)
    return kept


_STARS = ((2.0, 0.05), (3.0, 0.06), (4.0, 0.08), (5.0, 0.1), (6.0, 0.12))


@corruption(cifar=_STARS)
def sparkles(images: Images, setting: Setting, count: float, size: float) -> Images:
    """White stars over the image."""
    return 1 - (1 - images) * _stars(images, setting, count, size)


@corruption(cifar=_STARS)
def inverse_sparkles(images: Images, setting: Setting, count: float, size: float) -> Images:
    """Black stars over the image."""
    return images * _stars(images, setting, count, size)


@corruption(cifar=(2.0, 4.0, 6.0, 9.0, 12.0))
def lines(images: Images, setting: Setting, count: float) -> Images:
    """Straight lines across the image, each of a colour and 1/40 to 1/16 wide."""
    for _ in range(int(count)):
        along = _places(images) * _direction(_draw(images, setting, 0, _TURN))
        away = (along.real - _draw(images, setting, -0.5, 0.5)).abs()
        beyond = _draw(images, setting, 1 / 80, 1 / 32) - away
        cover = (beyond * min(images.shape[2:]) + 0.5).clamp(0, 1)
        images = torch.lerp(images, _draw(images, setting, 0, 1, 3).expand_as(images), cover)
    return images


_TWIRLS = ((0.2, 0.7), (0.3, 1.1), (0.4, 1.5), (0.5, 1.9), (0.6, 2.4))


@corruption(cifar=[(3.0, *row) for row in _TWIRLS], imagenet=[(5.0, *row) for row in _TWIRLS])
def pinch_and_twirl(
    images: Images, setting: Setting, tiles: float, pinch: float, turn: float
) -> Images:
    """Discs, so many a side, drawn to their centres and turned about them, either way (radians);
    the pull is that of GIMP's whirl and pinch."""
    places = _places(images)
    signs = _draw(images, setting, -1, 1, int(tiles), int(tiles))[..., 0, 0].sign()
    column, row = (
        ((axis + 0.5) * tiles).clamp(0, tiles - 1e-3).long() for axis in (places.real, places.imag)
    )
    centres = (torch.complex(column + 0.5, row + 0.5) / tiles) - (0.5 + 0.5j)
    radius = ((places - centres).abs() * (2 * tiles)).clamp(1e-3, 1)  # 1 at the disc's edge
    angle = signs[:, row, column] * turn * (1 - radius).square()
    pulled = (radius * math.pi / 2).sin() ** -pinch
    return _read(images, centres + (places - centres) * pulled * _direction(angle))


@corruption(cifar=(0.012, 0.02, 0.028, 0.038, 0.05))
def ripple(images: Images, setting: Setting, amplitude: float) -> Images:
    """Rows and columns moved by sine waves of 3 to 6 periods."""
    places = _places(images)
    across, down = (
        (_TURN * (_draw(images, setting, 3, 6) * axis + _draw(images, setting, 0, 1))).sin()[:, 0]
        for axis in (places.imag, places.real)
    )
    return _read(images, places + amplitude * torch.complex(across, down))


@corruption(cifar=(3.0, 5.0, 7.0, 10.0, 14.0), channelwise=True)
def circular_motion_blur(images: Images, _: Setting, degrees: float) -> Images:
    """The mean of the image turned about its centre, by up to so many degrees to either side."""
    places, total = _places(images), torch.zeros_like(images)
    count = max(9, round(degrees / 360 * math.pi * min(images.shape[2:])))  # a pixel at the border
    for angle in torch.linspace(-1, 1, count).mul_(math.radians(degrees)):
        total += _read(images, places * _direction(angle.to(images.device)))
    return total.div_(count)


@corruption(cifar=(1.03, 1.05, 1.08, 1.11, 1.15), imagenet=(1.02, 1.03, 1.05, 1.08, 1.12))
def transverse_chromatic_abberation(images: Images, _: Setting, scale: float) -> Images:
    """Red enlarged and blue made smaller, about the centre."""
    places = _places(images)
    sizes = (1 / scale, 1.0, scale)
    planes = [_read(images[:, k, None], places * by) for k, by in enumerate(sizes)]
    return torch.cat(planes, dim=1)


@corruption(cifar=((0.01, 0.08), (0.016, 0.12), (0.024, 0.16), (0.034, 0.2), (0.046, 0.25)))
def caustic_refraction(images: Images, setting: Setting, shift: float, light: float) -> Images:
    """The image as through moving water: moved along the slopes, and lit by the curvature."""
    down, across = torch.gradient(_noise(images, setting, -4.0), dim=(2, 3))
    curvature = torch.gradient(down, dim=2)[0] + torch.gradient(across, dim=3)[0]
    moved = shift * _scaled(torch.cat([across, down], dim=1))
    lit = _read(images, _places(images) + torch.complex(moved[:, 0], moved[:, 1]))
    return lit * (1 - light * _scaled(curvature))
