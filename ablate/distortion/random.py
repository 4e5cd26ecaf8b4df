"""Generators made from a seed on the spot, and the draws that the distortion types are made of."""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ablate.distortion.shapes import Bits, Images, PerImage


def make_generator(seed: int, device: torch.device | str) -> torch.Generator:
    """A new generator on the device, so that no generator state must be stored.

    Args:
        seed: in [0, 2**63), as `derive_seed` gives it.
        device: device of the random numbers; another kind of device gives other numbers.
    """
    return torch.Generator(device).manual_seed(seed)


def draw_bits(shape: torch.Size, generator: torch.Generator) -> Bits:
    """Sixteen random bits for each value of the images, as int16.

    A complete batch is drawn although a type needs only the rows of its images, so the draw must be
    cheap: four values come from one 64-bit number, which on a CPU takes a fifth of `randn`'s time.
    `as_uniform` and `as_normal` then work on the used rows.
    """
    count = math.prod(shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=generator.device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:count].view(shape)


def draw_sign(shape: torch.Size, generator: torch.Generator) -> PerImage:
    """1 or -1 for each image, equally likely: the draw of a type that goes both ways."""
    coin = torch.rand(shape[0], generator=generator, device=generator.device)
    return torch.ones_like(coin).copysign_(coin.sub_(0.5))  # a fifth faster than where


def draw_angle(shape: torch.Size, generator: torch.Generator) -> PerImage:
    """A direction in [0, pi) for each image, in radians: the draw of a type along a line."""
    return math.pi * torch.rand(shape[0], generator=generator, device=generator.device)


def draw_nothing(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """The draw of a type without randomness: a row of nothing for each image."""
    return torch.empty((shape[0], 0), device=generator.device)


def as_uniform(bits: Bits) -> Images:
    """Uniform values, the middles of 2**16 equal steps of (0, 1), in fp32."""
    return (bits + 32768.5).div_(65536)


def as_normal(bits: Bits) -> Images:
    """Standard normal values in fp32: the quantiles of `as_uniform`, within +-4.4.

    They are looked up, which on a CPU takes half the time of working each of them out.
    """
    places = bits.view(torch.uint16).long().flatten(1)
    # By rows, since on a CPU a look-up in one dimension runs on a single thread.
    return _normal_quantiles(bits.device).expand(len(bits), -1).gather(1, places).view(bits.shape)


@cache
def _normal_quantiles(device: torch.device) -> Float[Tensor, " 65536"]:
    """The quantile of each bit pattern, in the order of the patterns read as uint16."""
    bits = torch.arange(65536, device=device).short()
    return math.sqrt(2) * torch.erfinv((bits.float() + 0.5) / 32768)
