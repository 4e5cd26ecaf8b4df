"""What both sides of the parity tests corrupt, and the network that looks at it: no data files.

The images are handwritten digits, brighter than their coloured ground, whose spectrum falls as
1 / frequency as that of photographs does.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ablate.data.digits import read_scans

COUNT = 192
_EPOCHS = 8


@cache
def read_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1,797 digits, uint8 `[n, 3, 32, 32]`, and their labels, shuffled."""
    scans, labels = read_scans()
    ink = torch.from_numpy(scans).float()[:, None] / 16
    ink = functional.interpolate(ink, (24, 24), mode="bilinear", align_corners=False)
    generator = torch.Generator().manual_seed(0)
    colours = 0.3 + 0.2 * torch.rand(len(ink), 3, 1, 1, generator=generator)
    images = make_ground(len(ink), 32, generator) + functional.pad(ink, (4, 4, 4, 4)) * colours
    order = torch.randperm(len(ink), generator=generator)
    return (images.clamp(0, 1) * 255).to(torch.uint8)[order], labels[order]


def make_ground(count: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """Coloured noise of the spectrum 1 / frequency, `[count, 3, side, side]`, not clamped."""
    squared = torch.fft.fftfreq(side)[:, None] ** 2 + torch.fft.rfftfreq(side)[None] ** 2
    fall = squared.clamp_min(1 / side**2).rsqrt()
    fall[0, 0] = 0
    white = torch.randn(count, 4, side, side, generator=generator)
    planes = torch.fft.irfft2(torch.fft.rfft2(white) * fall, s=(side, side))
    planes = planes / planes.std((2, 3), keepdim=True)
    mean = 0.15 + 0.4 * torch.rand(count, 3, 1, 1, generator=generator)
    return mean + 0.12 * planes[:, 3:] + 0.07 * planes[:, :3]


@cache
def held_out_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """The last `COUNT` of them, that the network was not trained on."""
    images, labels = read_digits()
    return images[-COUNT:], labels[-COUNT:]


@cache
def large_images(count: int) -> torch.Tensor:
    """Colours of the same spectrum and the whole range, uint8 `[count, 3, 224, 224]`."""
    ground = make_ground(count, 224, torch.Generator().manual_seed(1))
    return ((1.5 * ground - 0.1).clamp(0, 1) * 255).to(torch.uint8)


@cache
def photographs(side: int) -> tuple[np.ndarray, ...]:
    """Six in the place of frost's, uint8 `[side, side + 20, 3]`; the sixth would be seen: black."""
    generator = torch.Generator().manual_seed(2)
    ground = make_ground(6, side + 20, generator)[..., :side, :] + 0.2
    ground[5] = 0
    return tuple((ground.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())


@cache
def trained_network() -> nn.Module:
    """Three convolutions, trained within seconds on all but the last `COUNT` digits."""
    images, labels = (part[:-COUNT] for part in read_digits())
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    steps = _EPOCHS * -(-len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(64):
            loss = functional.cross_entropy(network(as_input(images[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def as_input(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 127.5 - 1
