"""What every term of the objective promises, over all that are registered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import ablate.finetune.loss
from ablate.errors import ParameterError
from ablate.finetune.loss import DISTANCES, TERMS
from ablate.finetune.loss.objective import Pair, build_loss
from ablate.study.settings import LossSettings

TAPS = ("stem", "stage1")
SHARED = {"__init__", "anchor", "objective", "term"}

# Every term and variant, and the branches of the pair into which its gradient flows.
VARIANTS = {
    "clean": ({}, {"clean_logits"}),
    "da": ({}, {"augmented_logits"}),
    "st both": ({"st": {"anchor": "both"}}, {"clean_logits", "augmented_logits"}),
    "st clean": ({"st": {"anchor": "clean"}}, {"augmented_logits"}),
    **{
        f"fma {distance} clean": (
            {"fma": {"distance": distance, "anchor": "clean"}},
            {"augmented_features"},
        )
        for distance in DISTANCES
    },
    **{
        f"fma {distance} both": (
            {"fma": {"distance": distance, "anchor": "both"}},
            {"clean_features", "augmented_features"},
        )
        for distance in DISTANCES
    },
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def term_of(variant: str) -> str:
    return variant.partition(" ")[0]


def settings_of(variant: str) -> LossSettings:
    return LossSettings.model_validate({"terms": term_of(variant), **VARIANTS[variant][0]})


def make_pair(dtype: torch.dtype = torch.float32) -> Pair:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype).requires_grad_()

    clean = {"stem": draw(6, 4, 8, 8), "stage1": draw(6, 8, 4, 4)}
    distorted = {"stem": draw(6, 4, 8, 8), "stage1": draw(6, 8, 4, 4)}
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return Pair(draw(6, 3), draw(6, 3), labels, clean, distorted)


def leaves(pair: Pair) -> dict[str, list[Tensor]]:
    assert pair.augmented_logits is not None
    return {
        "clean_logits": [pair.clean_logits],
        "augmented_logits": [pair.augmented_logits],
        "clean_features": list(pair.clean_features.values()),
        "augmented_features": list(pair.augmented_features.values()),
    }


def test_every_file_in_the_folder_is_registered_and_in_this_suite() -> None:
    folder = Path(ablate.finetune.loss.__file__).parent
    assert set(TERMS) == {file.stem for file in folder.glob("*.py")} - SHARED
    assert {term_of(variant) for variant in VARIANTS} == set(TERMS)


def test_gradient_is_alive_where_it_should_flow_and_nowhere_else(variant: str) -> None:
    pair = make_pair()
    build_loss(settings_of(variant), TAPS)(pair).backward()
    for branch, tensors in leaves(pair).items():
        for tensor in tensors:
            if branch in VARIANTS[variant][1]:
                assert tensor.grad is not None, branch
                assert bool(torch.isfinite(tensor.grad).all())
                assert tensor.grad.abs().max() > 1e-8, branch
            else:
                assert tensor.grad is None, branch


def test_a_step_down_the_gradient_lowers_it(variant: str) -> None:
    pair = make_pair()
    loss = build_loss(settings_of(variant), TAPS)
    before = loss(pair)
    before.backward()
    with torch.no_grad():
        for tensors in leaves(pair).values():
            for tensor in tensors:
                if tensor.grad is not None:
                    tensor.sub_(0.01 * tensor.grad / tensor.grad.norm())
        assert loss(pair) < before


def test_scalar_in_fp32_whatever_the_network_computes_in(variant: str) -> None:
    loss = build_loss(settings_of(variant), TAPS)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(make_pair(torch.bfloat16))
    assert value.shape == ()
    assert value.dtype == torch.float32
    wide = loss(make_pair()).item()
    assert value.item() == pytest.approx(wide, rel=0.02)


def test_it_is_a_mean_over_the_batch(variant: str) -> None:
    pair = make_pair()
    loss = build_loss(settings_of(variant), TAPS)
    twice = Pair(
        *(torch.cat([part, part]) for part in pair[:3]),
        *({layer: torch.cat([maps, maps]) for layer, maps in part.items()} for part in pair[3:]),
    )
    torch.testing.assert_close(loss(twice), loss(pair))


def test_its_weight_scales_it(variant: str) -> None:
    name = term_of(variant)
    plain = build_loss(settings_of(variant), TAPS)
    data = settings_of(variant).model_dump()
    data[name]["weight"] = 2.5
    heavy = build_loss(LossSettings.model_validate(data), TAPS)
    pair = make_pair()
    torch.testing.assert_close(heavy(pair), 2.5 * plain(pair))


def test_it_says_what_it_reads(variant: str) -> None:
    loss = build_loss(settings_of(variant), TAPS)
    assert loss.needs_augmented == (variant != "clean")
    assert loss.layers == (TAPS if variant.startswith("fma") else ())


def test_a_batch_without_copies_is_refused_where_they_are_read(variant: str) -> None:
    pair = make_pair()
    alone = Pair(pair.clean_logits, None, pair.labels, pair.clean_features, {})
    loss = build_loss(settings_of(variant), TAPS)
    if variant == "clean":
        assert bool(torch.isfinite(loss(alone)))
    elif variant.startswith("fma"):
        with pytest.raises(ParameterError) as caught:
            loss(alone)
        assert str(caught.value) == (
            "loss.fma: clean and distorted feature maps must be of the same layers, "
            "got ['stage1', 'stem'] and []. Take both from one FeatureTaps."
        )
    else:
        with pytest.raises(ParameterError) as caught:
            loss(alone)
        assert str(caught.value) == (
            "pair: a term reads the augmented copies, got augmented_logits=None. "
            "Run them through the network where RobustLoss.needs_augmented is true."
        )
