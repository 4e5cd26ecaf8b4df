"""Combined augmentations: who gets which type, and that the mix moves nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from ablate.distortion import load
from ablate.distortion.random import make_generator
from ablate.finetune.augment.augmentation import CombinedAugmentations
from ablate.study.seeds import derive_seed

# Types that no other one can be taken for.
TYPES = (
    *("gaussian_noise", "impulse_noise", "gaussian_blur"),
    *("brightness", "contrast", "saturation"),
)


def make_images(batch: int = 64, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 + 0.8 * torch.rand(batch, channels, 8, 8, generator=generator)


def recognise(images: Tensor, copies: Tensor, seed: int, strength: float = 1.0) -> list[str]:
    """The type of each copy: the one whose own draw makes these very pixels."""
    generator = make_generator(derive_seed(seed, "strength"), "cpu")
    strengths = torch.rand(len(images), generator=generator) * strength
    found = [""] * len(images)
    for kind in TYPES:
        whole = load(kind)(images, strengths, make_generator(derive_seed(seed, kind), "cpu"))
        for row in range(len(images)):
            if torch.allclose(whole[row], copies[row], rtol=0, atol=1e-6):
                found[row] = kind
    return found


def test_each_image_is_distorted_by_one_type_at_its_own_strength() -> None:
    images = make_images()
    copies = CombinedAugmentations(types=TYPES, strength=0.7)(images, seed=3)
    assert set(recognise(images, copies, 3, strength=0.7)) == set(TYPES)


@pytest.mark.slow
def test_types_come_in_their_ratios() -> None:
    images = make_images(256)
    mix = {"gaussian_noise": 2.0, "gaussian_blur": 1.0, "contrast": 0.5, "saturation": 0.5}
    augment = CombinedAugmentations(mix=mix, types=TYPES)
    assert augment.types == tuple(mix)
    counts = Counter(
        kind for seed in range(8) for kind in recognise(images, augment(images, seed=seed), seed)
    )
    n = 8 * 256
    for kind in TYPES:
        ratio = mix.get(kind, 0) / 4
        spread = 4 * (ratio * (1 - ratio) / n) ** 0.5
        assert counts[kind] / n == pytest.approx(ratio, abs=spread), kind


def test_an_image_of_one_type_has_the_same_pixels_under_any_mix() -> None:
    images = make_images(256)
    first = CombinedAugmentations(types=TYPES)(images, seed=5)
    mix = {"gaussian_noise": 1.0, "gaussian_blur": 3.0}
    second = CombinedAugmentations(mix=mix, types=("gaussian_noise", "gaussian_blur"))(
        images, seed=5
    )
    types = recognise(images, first, 5), recognise(images, second, 5)
    same = [row for row in range(256) if types[0][row] == types[1][row]]
    assert len(same) > 40
    assert {types[0][row] for row in same} >= {"gaussian_noise", "gaussian_blur"}
    torch.testing.assert_close(first[same], second[same], rtol=0, atol=1e-6)
    others = [row for row in range(256) if types[0][row] != types[1][row]]
    assert others


def test_clean_images_move_nothing_else() -> None:
    images = make_images()
    every = CombinedAugmentations()(images, seed=5)
    some = CombinedAugmentations(clean_fraction=0.5)(images, seed=5)
    clean = (some == images).flatten(1).all(1)
    assert 16 < clean.sum() < 48
    torch.testing.assert_close(some[~clean], every[~clean], rtol=0, atol=1e-6)


def test_the_order_of_families_does_not_matter() -> None:
    images = make_images()
    first = CombinedAugmentations(("noise", "blur"))(images, seed=1)
    assert torch.equal(first, CombinedAugmentations(("blur", "noise"))(images, seed=1))
