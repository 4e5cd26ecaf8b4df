"""Combined augmentations: who gets which type, and that the mix moves nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from ablate.distortion import FAMILIES, load
from ablate.distortion.random import make_generator
from ablate.errors import ParameterError
from ablate.finetune.augment.combined import CombinedAugmentations, type_ratios
from ablate.study.seeds import derive_seed


def make_images(batch: int = 64, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.1 + 0.8 * torch.rand(batch, channels, 8, 8, generator=generator)


def recognise(images: Tensor, copies: Tensor, seed: int, strength: float = 1.0) -> list[str]:
    """The type of each copy: the one whose own draw makes these very pixels."""
    generator = make_generator(derive_seed(seed, "strength"), "cpu")
    strengths = torch.rand(len(images), generator=generator) * strength
    found = [""] * len(images)
    for kind in (kind for types in FAMILIES.values() for kind in types):
        whole = load(kind)(images, strengths, make_generator(derive_seed(seed, kind), "cpu"))
        for row in range(len(images)):
            if torch.allclose(whole[row], copies[row], rtol=0, atol=1e-6):
                found[row] = kind
    return found


def test_each_image_is_distorted_by_one_type_at_its_own_strength() -> None:
    images = make_images()
    found = recognise(images, CombinedAugmentations(strength=0.7)(images, seed=3), 3, strength=0.7)
    assert set(found) == {kind for types in FAMILIES.values() for kind in types}


def test_types_come_in_their_ratios() -> None:
    images = make_images(256)
    augment = CombinedAugmentations(mix={"noise": 2.0, "blur": 1.0, "photometric": 1.0})
    counts = Counter(
        kind for seed in range(8) for kind in recognise(images, augment(images, seed=seed), seed)
    )
    n = 8 * 256
    expected = type_ratios(tuple(FAMILIES), {"noise": 2.0, "blur": 1.0, "photometric": 1.0})
    for kind, ratio in expected.items():
        spread = 4 * (ratio * (1 - ratio) / n) ** 0.5
        assert counts[kind] / n == pytest.approx(ratio, abs=spread), kind


def test_ratios_are_shared_within_a_family_and_sum_to_1() -> None:
    ratios = type_ratios(("photometric", "noise"), {"noise": 3.0, "photometric": 1.0, "blur": 0.0})
    assert list(ratios) == [
        "gaussian_noise",
        "impulse_noise",
        "brightness",
        "contrast",
        "saturation",
    ]
    assert ratios["gaussian_noise"] == pytest.approx(3 / 8)
    assert ratios["contrast"] == pytest.approx(1 / 12)
    assert sum(ratios.values()) == pytest.approx(1)


def test_without_a_mix_families_weigh_the_same() -> None:
    assert type_ratios(("blur", "noise"), None) == {
        "gaussian_noise": 0.25,
        "impulse_noise": 0.25,
        "gaussian_blur": 0.5,
    }


def test_a_family_that_the_mix_leaves_out_is_not_drawn() -> None:
    assert CombinedAugmentations(mix={"blur": 1.0}).types == ("gaussian_blur",)


def test_one_family_of_one_type_is_that_type() -> None:
    images = make_images()
    augment = CombinedAugmentations(("blur",))
    assert augment.types == ("gaussian_blur",)
    assert set(recognise(images, augment(images, seed=1), 1)) == {"gaussian_blur"}


def test_an_image_of_one_type_has_the_same_pixels_under_any_mix() -> None:
    images = make_images(256)
    first = CombinedAugmentations()(images, seed=5)
    second = CombinedAugmentations(("noise", "blur"), {"noise": 1.0, "blur": 3.0})(images, seed=5)
    types = recognise(images, first, 5), recognise(images, second, 5)
    same = [row for row in range(256) if types[0][row] == types[1][row]]
    assert len(same) > 40
    assert {types[0][row] for row in same} >= {"gaussian_noise", "gaussian_blur"}
    torch.testing.assert_close(first[same], second[same], rtol=0, atol=1e-6)
    others = [row for row in range(256) if types[0][row] != types[1][row]]
    assert others


def test_the_order_of_families_does_not_matter() -> None:
    images = make_images()
    first = CombinedAugmentations(("noise", "blur"))(images, seed=1)
    assert torch.equal(first, CombinedAugmentations(("blur", "noise"))(images, seed=1))


def test_the_seed_decides() -> None:
    images, augment = make_images(), CombinedAugmentations()
    first = augment(images, seed=1)
    assert torch.equal(first, augment(images, seed=1))
    assert not torch.equal(first, augment(images, seed=2))


def test_strength_bounds_the_strengths() -> None:
    images = torch.full((256, 3, 8, 8), 0.5)
    augment = CombinedAugmentations(("photometric",), strength=0.2)
    shifts = (augment(images, seed=1) - 0.5).abs().amax((1, 2, 3))
    assert shifts.max() <= 0.1 + 1e-6
    assert shifts.max() > 0.08


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_what_the_batch_is(channels: int, dtype: torch.dtype) -> None:
    images = make_images(channels=channels).to(dtype, memory_format=torch.channels_last)
    copies = CombinedAugmentations()(images, seed=1)
    assert (copies.shape, copies.dtype) == (images.shape, images.dtype)
    assert copies.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= copies.min() <= copies.max() <= 1


def test_an_image_more_or_less_is_no_problem() -> None:
    augment = CombinedAugmentations()
    assert augment(torch.empty(0, 3, 8, 8), seed=1).shape == (0, 3, 8, 8)
    assert augment(torch.rand(1, 3, 8, 8), seed=1).shape == (1, 3, 8, 8)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    CombinedAugmentations()(make_images(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


BAD = [
    (
        {"families": ()},
        "augment.families: needs at least one family, got none. Known: noise, blur, photometric.",
    ),
    (
        {"families": ("noice",)},
        "augment.families: must be families of distortion, got 'noice'. Did you mean noise?",
    ),
    (
        {"families": ("noise", "noise")},
        "augment.families: a family may stand once, got noise twice. "
        "Raise its ratio in augment.mix.",
    ),
    (
        {"mix": {"blurr": 1.0}},
        "augment.mix: must name families of distortion, got 'blurr'. Did you mean blur?",
    ),
    (
        {"mix": {"noise": -0.5}},
        "augment.mix.noise: must be finite and at least 0, got -0.5. 0 leaves the family out.",
    ),
    (
        {"mix": {"noise": float("nan")}},
        "augment.mix.noise: must be finite and at least 0, got nan. 0 leaves the family out.",
    ),
    (
        {"families": ("noise",), "mix": {"noise": 1.0, "blur": 0.5}},
        "augment.mix.blur: must be 0 for a family outside augment.families, got 0.5. "
        "Add blur to augment.families.",
    ),
    (
        {"mix": {"noise": 0.0, "blur": 0.0}},
        "augment.mix: one ratio must be above 0, got {'noise': 0.0, 'blur': 0.0}. "
        "Leave mix out for equal ratios.",
    ),
    (
        {"strength": 0.0},
        "augment.strength: must be above 0 and at most 1, got 0. 1 is the strongest distortion.",
    ),
    (
        {"strength": 1.5},
        "augment.strength: must be above 0 and at most 1, got 1.5. 1 is the strongest distortion.",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        CombinedAugmentations(**arguments)
    assert str(caught.value) == message


def test_bad_images() -> None:
    with pytest.raises(ParameterError) as caught:
        CombinedAugmentations()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), seed=1)
    assert str(caught.value) == (
        "augment: images must be floating point in [0, 1], got torch.uint8. "
        "Divide bytes by 255 first."
    )
