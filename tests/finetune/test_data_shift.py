"""Shifted and mirrored training images."""

from __future__ import annotations

import torch
from torch.nn import functional

from ablate.distortion.random import make_generator
from ablate.finetune.forward import flip_images, shift_images


def make_images(batch: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (batch, 3, 8, 10), generator=generator, dtype=torch.uint8)


def test_every_shift_is_a_window_of_the_padded_image() -> None:
    images = make_images()
    shifted = shift_images(images, 2, make_generator(1, "cpu"))
    padded = functional.pad(images, (2, 2, 2, 2))
    found = set()
    for image, moved in zip(padded, shifted, strict=True):
        places = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(image[:, down : down + 8, right : right + 10], moved)
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 15


def test_every_image_is_mirrored_or_left() -> None:
    images = make_images()
    flipped = flip_images(images, make_generator(1, "cpu"))
    mirrored = [
        torch.equal(after, before.flip(-1)) for before, after in zip(images, flipped, strict=True)
    ]
    left = [torch.equal(after, before) for before, after in zip(images, flipped, strict=True)]
    assert all(one != other for one, other in zip(mirrored, left, strict=True))
    assert 16 < sum(mirrored) < 48
