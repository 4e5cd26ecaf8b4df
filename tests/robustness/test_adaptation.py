"""Batch norm adapted at test time: the mixed statistics, and that the network is as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ablate.data.dataset import Split
from ablate.errors import ParameterError
from ablate.model.environment import resolve_environment
from ablate.robustness.evaluate import evaluate
from ablate.robustness.evaluation import load_evaluation, write_evaluation
from ablate.robustness.score import adapted_batch_norm, score_set
from tests.robustness.test_score import Copies

CPU = resolve_environment("fp32", threads=1, device="cpu")


def make_network(classes: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    return nn.Sequential(norm, nn.Conv2d(3, 3, 3), nn.ReLU(), nn.BatchNorm2d(3), head).eval()


@pytest.mark.parametrize("pseudo_images", [0, 4])
def test_statistics_are_mixed_by_images(pseudo_images: int) -> None:
    network = make_network()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    norm, images = network[0], torch.rand(6, 3, 5, 5) * 3 + 1
    assert isinstance(norm, nn.BatchNorm2d)
    share = pseudo_images / (pseudo_images + 6)
    mean = share * norm.running_mean + (1 - share) * images.mean(dim=(0, 2, 3))
    rows = images.transpose(0, 1).flatten(1)
    variance = share * norm.running_var + (1 - share) * rows.var(dim=1, unbiased=True)
    expected = functional.batch_norm(images, mean, variance, norm.weight, norm.bias, eps=norm.eps)
    with torch.no_grad(), adapted_batch_norm(network, pseudo_images):
        torch.testing.assert_close(norm(images), expected)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.allclose(norm(images), expected, atol=1e-2)


def made_copies() -> Copies:
    generator = torch.Generator().manual_seed(0)
    bright = torch.randint(60, (24, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images = {("fog", 1): bright, ("fog", 5): bright + 120, ("contrast", 1): bright // 2}
    images["contrast", 5] = bright // 4
    families = {"weather": ("fog",), "digital": ("contrast",)}
    return Copies(families, (1, 5), torch.arange(24) % 4, images)


def test_a_copy_is_scored_alone_and_in_no_order_of_its_classes() -> None:
    network, copies = make_network(), made_copies()
    clean = Split(copies.images["fog", 1], copies.labels, "made here")
    found = score_set(network, clean, copies, CPU, batch_size=24, adapt_batch_norm=2)
    for (kind, severity), outcomes in found.cells.items():
        images = copies.images[kind, severity].float() / 255
        with torch.no_grad(), adapted_batch_norm(network, 2):
            logits = network(images)
        assert outcomes.correct.tolist() == (logits.argmax(1) == copies.labels).tolist()
        confidence = logits.softmax(1).amax(1)
        torch.testing.assert_close(torch.tensor(outcomes.confidence), confidence)
    assert found.clean is not None
    assert found.clean.confidence.tolist() == found.cells["fog", 1].confidence.tolist()
    # In batches of 6 a sorted copy has one class each; a shuffled one is another batch.
    small = score_set(network, None, copies, CPU, batch_size=6, adapt_batch_norm=2)
    in_order = []
    for images in copies.images["fog", 1].split(6):
        with torch.no_grad(), adapted_batch_norm(network, 2):
            in_order += network(images.float() / 255).softmax(1).amax(1).tolist()
    assert small.cells["fog", 1].confidence.tolist() != pytest.approx(in_order)


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 5]), (10, [4, 4, 2])])
def test_one_image_left_over_joins_the_batch_before_it(count: int, sizes: list[int]) -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 4))
    seen: list[int] = []
    head.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = torch.randint(256, (count, 3, 5, 5)).to(torch.uint8)
    clean = Split(images, torch.arange(count) % 4, "made here")
    none = Copies({}, (), clean.labels, {})
    found = score_set(head, clean, none, CPU, batch_size=4, adapt_batch_norm=2)
    assert found.clean is not None
    assert len(found.clean.correct) == count
    assert seen == sizes


@pytest.mark.parametrize(
    ("network", "images", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
            torch.zeros(2, 3, 2, 2),
            "`adapt_batch_norm`: needs a network with batch norm, got Sequential, in which none is "
            "found. Leave it out.",
        ),
        (
            nn.BatchNorm2d(3).eval(),
            torch.zeros(1, 3, 1, 1),
            "`batch_size`: adapted batch norm needs more than one value per channel, got a batch "
            "of one image. Choose another size.",
        ),
    ],
)
def test_what_cannot_be_adapted(network: nn.Module, images: torch.Tensor, message: str) -> None:
    with pytest.raises(ParameterError) as caught, adapted_batch_norm(network, 8):
        network(images)
    assert str(caught.value) == message


def test_the_result_says_it(tmp_path: Path) -> None:
    network = make_network(classes=10)
    options = {"dataset": "digits", "types": ["contrast"], "severities": [5], "images": 40}
    options |= {"normalization": "none", "device": "cpu", "threads": 1}
    plain, adapted = (evaluate(network, adapt_batch_norm=count, **options) for count in (None, 16))
    mark = (
        "batch norm adapted at test time to batches of 256 images of one copy; the network's own "
        "statistics count as 16 images"
    )
    assert mark in adapted.marks
    assert mark not in plain.marks
    assert adapted.model.label == f"{plain.model.label}, batch norm adapted"
    assert adapted.model.identity == plain.model.identity
    write_evaluation(adapted, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["model"]["adapt_batch_norm"] == 16
    assert load_evaluation(tmp_path / "a.json").model.adapt_batch_norm == 16
