"""What sets the methods apart: which types an image, a batch and a copy get."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from ablate.finetune.augment.augmentation import (
    build_augmentation,
    distort_in_sequence,
    distort_per_sample,
    draw_sequences,
)
from ablate.finetune.augment.mixture import Mixture, build_mixture
from ablate.study.settings import AugmentSettings

TYPES = ("gaussian_noise", "gaussian_blur", "brightness", "contrast")


def make_images(batch: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.3 + 0.4 * torch.rand(batch, 3, 8, 8, generator=generator)


def mixture_of(**ratios: float) -> Mixture:
    return build_mixture((), ratios, types=tuple(ratios))


def copies_of(images: Tensor, seed: int, **values: object) -> tuple[Tensor, ...]:
    settings = AugmentSettings.model_validate({"types": TYPES, **values})
    return build_augmentation(settings).copies(images, seed=seed)


def single(images: Tensor, kind: str, seed: int) -> Tensor:
    """The batch under one type: what single augmentation makes."""
    return distort_per_sample(images, seed, mixture_of(**{kind: 1.0}))


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_per_batch_has_one_type_by_the_ratios() -> None:
    images, seeds = make_images(4), range(300)
    mix = {"gaussian_noise": 1.0, "brightness": 1.0, "contrast": 2.0}
    counts: Counter[str] = Counter()
    for seed in seeds:
        (copy,) = copies_of(images, seed, method="per_batch", mix=mix)
        (kind,) = [kind for kind in TYPES if close(copy, single(images, kind, seed))]
        counts[kind] += 1
    assert counts["gaussian_blur"] == 0
    for kind, ratio in mix.items():
        share = ratio / 4
        spread = 4 * (share * (1 - share) / len(seeds)) ** 0.5
        assert counts[kind] / len(seeds) == pytest.approx(share, abs=spread)


def test_all_has_the_pixels_of_single_augmentation_and_weighs_by_the_ratios() -> None:
    images, mix = make_images(), {"gaussian_blur": 1.0, "brightness": 3.0, "contrast": 4.0}
    settings = AugmentSettings.model_validate({"method": "all", "types": TYPES, "mix": mix})
    augmentation = build_augmentation(settings)
    assert augmentation.types == ("gaussian_blur", "brightness", "contrast")
    assert augmentation.copy_weights == pytest.approx((1 / 8, 3 / 8, 1 / 2))
    for kind, copy in zip(augmentation.types, augmentation.copies(images, seed=3), strict=True):
        assert close(copy, single(images, kind, 3))


def test_all_leaves_an_image_clean_for_each_type_apart() -> None:
    images = make_images(64)
    copies = copies_of(images, 1, method="all", clean_fraction=0.5)
    clean = torch.stack([(copy == images).flatten(1).all(1) for copy in copies])
    assert clean.any(1).all()
    assert len(torch.unique(clean, dim=0)) == len(copies)


def test_composed_draws_up_to_depth_distinct_types() -> None:
    mixture = mixture_of(**dict.fromkeys(TYPES, 1.0))
    sequences = draw_sequences(3000, mixture, 3, seed=0)
    numbers = (sequences >= 0).sum(1)
    assert sequences.shape == (3000, 3)
    for count in (1, 2, 3):
        assert (numbers == count).float().mean().item() == pytest.approx(1 / 3, abs=0.035)
    for row in sequences.tolist():
        used = [number for number in row if number >= 0]
        assert row[: len(used)] == used
        assert len(set(used)) == len(used)
    assert draw_sequences(5, mixture, 8, seed=0).shape == (5, 4)


def test_composed_draws_as_from_an_urn_in_any_order() -> None:
    ratios = {"gaussian_noise": 0.6, "brightness": 0.3, "contrast": 0.1}
    n = 20_000
    sequences = draw_sequences(n, mixture_of(**ratios), 2, seed=0)
    names, shares = list(ratios), list(ratios.values())
    alone = Counter(first for first, second in sequences.tolist() if second < 0)
    pairs = Counter((first, second) for first, second in sequences.tolist() if second >= 0)
    for number in range(len(names)):
        assert alone[number] / alone.total() == pytest.approx(shares[number], abs=0.02)
    for one, two in itertools.permutations(range(len(names)), 2):
        a, b = shares[one], shares[two]
        # The pair in either order, and then both orders alike.
        expected = (a * b / (1 - a) + a * b / (1 - b)) / 2
        assert pairs[one, two] / pairs.total() == pytest.approx(expected, abs=0.02)


def test_composed_is_its_types_in_their_order() -> None:
    images, seed = make_images(64), 7
    mixture = mixture_of(gaussian_blur=1.0, brightness=1.0)
    copy = distort_in_sequence(images, seed, mixture, depth=2)
    sequences = draw_sequences(64, mixture, 2, seed).tolist()
    assert {tuple(row) for row in sequences} == {(0, -1), (1, -1), (0, 1), (1, 0)}
    for row, sequence in enumerate(sequences):
        expected = images[row : row + 1]
        for number in sequence:
            if number >= 0:
                # Alone at its place, the type makes of the image what it makes in the chain.
                batch = images.clone()
                batch[row] = expected[0]
                alone = distort_in_sequence(batch, seed, (mixture[number],), depth=1)
                expected = alone[row : row + 1]
        torch.testing.assert_close(copy[row], expected[0], rtol=0, atol=1e-6)


def test_a_type_that_is_added_moves_no_draw_of_the_others() -> None:
    few, more = mixture_of(brightness=1.0), mixture_of(brightness=1.0, contrast=1.0)
    images = make_images(64)
    with_few, with_more = (distort_in_sequence(images, 1, m, depth=1) for m in (few, more))
    same = torch.tensor([close(a, b) for a, b in zip(with_few, with_more, strict=True)])
    drawn = draw_sequences(64, more, 1, seed=1)[:, 0]
    assert torch.equal(same, drawn == 0)
    assert 16 < same.sum() < 48
