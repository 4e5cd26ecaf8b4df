"""Stability training: its forms by hand, its temperature, and the module of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ablate.errors import ParameterError
from ablate.finetune.loss import FORMS
from ablate.finetune.loss.st import StabilityLoss, stability_loss


def logits_of(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows).log()


def entropy(*probabilities: float) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities if p)


def make_logits(count: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(5, 4, generator=generator) for _ in range(count)]


def test_cross_entropy_by_hand() -> None:
    clean = logits_of((0.5, 0.25, 0.25), (1 / 3, 1 / 3, 1 / 3))
    distorted = logits_of((0.25, 0.5, 0.25), (0.2, 0.4, 0.4))
    first = 0.5 * math.log(4) + 0.25 * math.log(2) + 0.25 * math.log(4)
    second = (math.log(5) + 2 * math.log(2.5)) / 3
    assert stability_loss(clean, distorted).item() == pytest.approx((first + second) / 2)


def test_kl_by_hand() -> None:
    clean, distorted = logits_of((0.5, 0.25, 0.25)), logits_of((0.25, 0.5, 0.25))
    expected = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    assert stability_loss(clean, distorted, form="kl").item() == pytest.approx(expected)


def test_kl_with_both_branches_is_the_regulariser_of_trades() -> None:
    """Its value and the gradient of either branch, by the formula in the authors' code."""
    ours = [one.requires_grad_() for one in make_logits(2)]
    theirs = [one.requires_grad_() for one in make_logits(2)]
    clean, distorted = theirs
    apart = functional.kl_div(
        functional.log_softmax(distorted, dim=1), functional.softmax(clean, dim=1), reduction="sum"
    )
    expected, found = apart / len(clean), StabilityLoss("kl", anchor="both")(*ours)
    torch.testing.assert_close(found, expected)
    expected.backward()  # type: ignore[no-untyped-call]
    found.backward()
    for own, other in zip(ours, theirs, strict=True):
        assert own.grad is not None
        assert own.grad.abs().max() > 0.01
        torch.testing.assert_close(own.grad, other.grad)


def test_js_by_hand() -> None:
    none = 1e-12
    clean, distorted = logits_of((0.5, 0.5, none)), logits_of((0.5, none, 0.5))
    expected = entropy(0.5, 0.25, 0.25) - math.log(2)
    assert stability_loss(clean, distorted, form="js").item() == pytest.approx(expected)
    third = logits_of((none, 0.5, 0.5))
    expected = math.log(3) - math.log(2)
    found = stability_loss(clean, distorted, third, form="js").item()
    assert found == pytest.approx(expected)


def test_js_is_bounded_for_predictions_that_exclude_each_other() -> None:
    far = [200 * torch.eye(3)[:1].roll(turn, 1) for turn in range(3)]
    for count in (2, 3):
        moving = [logits.clone().requires_grad_() for logits in far[:count]]
        value = stability_loss(*moving, form="js")
        value.backward()
        assert value.item() == pytest.approx(math.log(count), rel=1e-5)
        for logits in moving:
            assert logits.grad is not None
            assert bool(torch.isfinite(logits.grad).all())


def test_equal_predictions_are_at_0_or_at_their_entropy() -> None:
    logits = logits_of((0.5, 0.25, 0.25))
    same = entropy(0.5, 0.25, 0.25)
    for form, least in {"cross_entropy": same, "kl": 0.0, "js": 0.0}.items():
        loss = StabilityLoss(form)
        assert loss(logits, logits).item() == pytest.approx(least, abs=1e-7)
        assert loss(logits, logits, logits).item() == pytest.approx(least, abs=1e-7)
        assert loss(logits, logits_of((0.25, 0.5, 0.25))).item() > least + 0.01


@pytest.mark.parametrize("form", FORMS)
def test_temperature_divides_logits_and_its_square_multiplies(form: str) -> None:
    logits = make_logits(3)
    expected = 9 * StabilityLoss(form)(*(one / 3 for one in logits))
    found = StabilityLoss(form, temperature=3.0)(*logits)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", ["cross_entropy", "kl"])
def test_copies_of_a_pairwise_form_are_averaged(form: str) -> None:
    clean, *copies = make_logits(3)
    alone = [stability_loss(clean, copy, form=form) for copy in copies]
    torch.testing.assert_close(StabilityLoss(form)(clean, *copies), sum(alone) / 2)
    weighted = stability_loss(clean, *copies, form=form, copy_weights=(0.9, 0.1))
    torch.testing.assert_close(weighted, 0.9 * alone[0] + 0.1 * alone[1])


BAD = [
    (
        lambda: StabilityLoss("cross-entropy"),
        "loss.st.form: must be a registered form, got 'cross-entropy'. Did you mean cross_entropy?",
    ),
    (
        lambda: StabilityLoss(anchor="neither"),
        "loss.st.anchor: must be a registered anchor, got 'neither'. Known: both, clean.",
    ),
    (
        lambda: StabilityLoss(temperature=0.0),
        "loss.st.temperature: must be finite and above 0, got 0. 1 leaves the logits as they are.",
    ),
    (
        lambda: stability_loss(torch.zeros(4, 3), torch.zeros(4, 3), temperature=math.inf),
        "loss.st.temperature: must be finite and above 0, got inf. "
        "1 leaves the logits as they are.",
    ),
    (
        lambda: StabilityLoss()(torch.zeros(4, 10)),
        "loss.st: needs the logits of at least one distorted copy, got none. "
        "Pass them after the clean ones.",
    ),
    (
        lambda: StabilityLoss()(torch.zeros(4, 10), torch.zeros(8, 10)),
        "loss.st: clean and distorted logits must have one shape, got [4, 10] and [8, 10]. "
        "Pass one distorted copy per image.",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[text for _, text in BAD])
def test_bad_arguments(call: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
