"""AugMix: shares, chains, and that an image is what its draws say."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from ablate.finetune.augment.augmix import LEAST_LEVEL, augmix, draw_chains, draw_shares, seen_types
from ablate.finetune.augment.operators import (
    COLOUR,
    DISJOINT,
    OPERATORS,
    OVERLAPS,
    apply_operators,
)
from ablate.study.seeds import derive_seed
from ablate.study.settings import AugMixSettings


def make_images(batch: int = 32, height: int = 8, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(batch, 3, height, width, generator=generator)


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.0])
def test_shares_are_dirichlet(concentration: float) -> None:
    shares = draw_shares(4000, 3, concentration, seed=1)
    assert shares.shape == (4000, 3)
    torch.testing.assert_close(shares.sum(1), torch.ones(4000))
    marginal = stats.beta(concentration, 2 * concentration)
    for part in shares.double().unbind(1):
        assert stats.kstest(part.numpy(), marginal.cdf).pvalue > 1e-3


@pytest.mark.parametrize("concentration", [1e-300, 1e-3, 1e9])
def test_shares_are_finite_at_the_ends(concentration: float) -> None:
    shares = draw_shares(400, 3, concentration, seed=1)
    torch.testing.assert_close(shares.sum(1), torch.ones(400))
    if concentration < 1:
        # One part has everything, each equally often.
        assert (shares.amax(1) > 0.999).float().mean() > 0.98
        assert torch.allclose(shares.mean(0), torch.full((3,), 1 / 3), atol=0.1)
    else:
        assert torch.allclose(shares, torch.full((), 1 / 3), atol=1e-3)


def test_chains_are_1_to_3_operators_of_those_that_overlap_nothing() -> None:
    chains = draw_chains(2000, AugMixSettings(), seed=0)
    assert chains.operators.shape == (3, 3 * 2000)
    lengths = (chains.operators >= 0).sum(0)
    for length in (1, 2, 3):
        assert (lengths == length).float().mean().item() == pytest.approx(1 / 3, abs=0.03)
    assert bool((chains.operators[0] >= 0).all())
    used = chains.operators[chains.operators >= 0]
    counts = torch.bincount(used, minlength=len(OPERATORS)) / len(used)
    assert counts[: len(DISJOINT)].tolist() == pytest.approx([1 / 9] * 9, abs=0.015)
    assert counts[len(DISJOINT) :].sum() == 0
    assert chains.signs.unique().tolist() == [-1, 1]
    assert abs(chains.signs.mean().item()) < 0.05
    assert LEAST_LEVEL <= chains.levels.min() < 0.02
    assert 0.29 < chains.levels.max() <= 0.3


def test_a_fixed_depth_and_all_operators() -> None:
    settings = AugMixSettings(depth=2, operators="all", chains=1, severity=0.05)
    chains = draw_chains(1000, settings, seed=0)
    assert chains.operators.shape == (2, 1000)
    assert chains.operators.unique().tolist() == list(range(len(OPERATORS)))
    assert torch.allclose(chains.levels, torch.tensor(0.005))


def test_a_chain_is_the_same_whatever_the_number_of_chains() -> None:
    one, three = (draw_chains(16, AugMixSettings(chains=chains), seed=0) for chains in (1, 3))
    for first, all_three in zip(one, three, strict=True):
        assert torch.equal(first, all_three[:, :16])


def test_an_image_is_the_mixture_of_its_chains_and_itself() -> None:
    images, seed = make_images(6, 7, 9), 11
    settings = AugMixSettings(chains=2, depth=0, severity=8.0)
    chains = draw_chains(6, settings, seed)
    shares = draw_shares(6, 2, 1.0, derive_seed(seed, "chains"))
    mixed = draw_shares(6, 2, 1.0, derive_seed(seed, "mixed"))[:, 0]
    copy = augmix(images, seed, settings)
    for row in range(6):
        expected = (1 - mixed[row]) * images[row]
        for chain in range(2):
            end, column = images[row : row + 1], chain * 6 + row
            for step in range(3):
                draws = (part[step, column].view(1) for part in chains)
                end = apply_operators(end, *draws)
            expected = expected + mixed[row] * shares[row, chain] * end[0]
        torch.testing.assert_close(copy[row], expected, rtol=0, atol=1e-5)


def test_beta_sets_how_much_of_the_clean_image_is_left() -> None:
    # With a large beta, half of the image and half of its chain; with a small one, either.
    images = make_images(256)
    change = {}
    for beta in (1e-3, 1e6):
        copy = augmix(images, 3, AugMixSettings(beta=beta, chains=1, severity=8.0))
        change[beta] = (copy - images).abs().mean((1, 2, 3))
    assert (change[1e-3] < 1e-6).float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert (change[1e6] < 1e-6).float().mean() < 0.1


def test_what_the_network_sees() -> None:
    assert seen_types(AugMixSettings()) == ()
    assert seen_types(AugMixSettings(operators="all")) == ("brightness", "contrast", "saturation")
    assert set(OVERLAPS) <= set(COLOUR)
    assert set(OPERATORS) == {*DISJOINT, *COLOUR}
