"""Networks between others, tensor by tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ablate.finetune.interpolation import average_weights, interpolate_weights, move_towards


def network(seed: int, steps: int) -> nn.Sequential:
    """A convolution with batch norm, which has seen some batches."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3).bfloat16())
    for _ in range(steps):
        made[:2](torch.rand(5, 3, 8, 8))
    return made


def bits(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {
        name: one.contiguous().view(torch.uint8).numpy().tobytes()
        if one.ndim
        else repr(one).encode()
        for name, one in state.items()
    }


BASELINE, FINETUNED = (dict(network(seed, seed).state_dict()) for seed in (2, 5))


def test_the_ends_have_the_bits_of_the_networks() -> None:
    assert bits(interpolate_weights(BASELINE, FINETUNED, 0)) == bits(BASELINE)
    assert bits(interpolate_weights(BASELINE, FINETUNED, 1)) == bits(FINETUNED)
    assert bits(BASELINE) != bits(FINETUNED)


def test_the_middle_is_the_mean_statistics_of_batch_norm_too() -> None:
    middle = interpolate_weights(BASELINE, FINETUNED, 0.5)
    for name in ("0.weight", "1.bias", "1.running_mean", "1.running_var"):
        assert torch.allclose(middle[name], (BASELINE[name] + FINETUNED[name]) / 2, atol=1e-7)
    assert not torch.equal(BASELINE["1.running_var"], FINETUNED["1.running_var"])


def test_counts_are_the_finetuned_networks_and_types_stay() -> None:
    some = interpolate_weights(BASELINE, FINETUNED, 0.25)
    assert some["1.num_batches_tracked"] == 5
    assert {name: one.dtype for name, one in some.items()} == {
        name: one.dtype for name, one in FINETUNED.items()
    }
    wide = BASELINE["2.weight"].float() * 0.75 + FINETUNED["2.weight"].float() * 0.25
    assert torch.equal(some["2.weight"], wide.bfloat16())


def test_beyond_the_finetuned_network_no_variance_is_negative() -> None:
    start = {**BASELINE, "1.running_var": 4 * FINETUNED["1.running_var"]}
    beyond = interpolate_weights(start, FINETUNED, 1.5)
    assert (beyond["1.running_var"] == 0).all()
    expected = 1.5 * FINETUNED["0.weight"] - 0.5 * BASELINE["0.weight"]
    assert torch.allclose(beyond["0.weight"], expected, atol=1e-6)


def test_the_average_of_several_networks() -> None:
    third = dict(network(9, 9).state_dict())
    mean = average_weights(iter([BASELINE, FINETUNED, third]))
    for name, one in mean.items():
        assert one.dtype == BASELINE[name].dtype
        if one.dtype == torch.float32:
            expected = (BASELINE[name] + FINETUNED[name] + third[name]) / 3
            assert torch.allclose(one, expected, atol=1e-6)
    assert mean["1.num_batches_tracked"] == BASELINE["1.num_batches_tracked"]
    assert bits(average_weights([FINETUNED])) == bits(FINETUNED)
    with pytest.raises(ValueError, match="must have the same tensors"):
        average_weights([FINETUNED, {"0.weight": FINETUNED["0.weight"]}])


def test_nothing_that_was_given_changes() -> None:
    before = bits(BASELINE), bits(FINETUNED)
    for alpha in (0, 0.5, 1):
        for tensor in interpolate_weights(BASELINE, FINETUNED, alpha).values():
            tensor.zero_()
    assert (bits(BASELINE), bits(FINETUNED)) == before


def test_a_network_is_moved_in_place() -> None:
    finetuned, baseline = network(5, 5), network(2, 2)
    move_towards(finetuned, baseline, 0.25)
    assert bits(dict(finetuned.state_dict())) == bits(
        interpolate_weights(BASELINE, FINETUNED, 0.25)
    )


@pytest.mark.parametrize("alpha", [-0.1, float("inf"), float("nan")])
def test_alpha_is_not_below_the_baseline(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must be at least 0, got"):
        interpolate_weights(BASELINE, FINETUNED, alpha)


def test_networks_of_another_shape_are_refused() -> None:
    other = {**FINETUNED, "0.weight": FINETUNED["0.weight"][:2]}
    for given in (other, {"0.weight": FINETUNED["0.weight"]}):
        with pytest.raises(ValueError, match="must have the same tensors"):
            interpolate_weights(BASELINE, given, 0.5)
