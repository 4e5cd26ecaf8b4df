"""Stratified splits and what a data set says about its images."""

from __future__ import annotations

import pytest
import torch

from ablate.data.dataset import (
    Source,
    Split,
    channel_statistics,
    digest_images,
    draw_stratified,
    split_stratified,
    split_validation,
    take_fraction,
)
from ablate.errors import DataError
from ablate.study.settings import ValidationSettings


def make_split(labels: list[int]) -> Split:
    generator = torch.Generator().manual_seed(0)
    shape = (len(labels), 3, 8, 8)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    chosen = torch.tensor(labels)
    return Split(images, chosen, digest_images(images.numpy(), chosen.numpy()))


def make_source(labels: list[int], classes: tuple[str, ...]) -> Source:
    split = make_split(labels)
    return Source(classes, split, lambda: split, (8, 8))


def test_every_class_keeps_its_share() -> None:
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    first, second = split_stratified(labels, 0.2, seed=3)
    assert torch.bincount(labels[second]).tolist() == [10, 6, 4]
    assert torch.bincount(labels[first]).tolist() == [40, 24, 16]
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(100))
    assert first.tolist() == sorted(first.tolist())
    assert split_stratified(labels, 0.2, seed=2)[1].tolist() != second.tolist()


def test_split_is_the_same_in_every_version() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10)
    assert split_stratified(labels, 0.3, seed=0)[1].tolist() == [2, 4, 8, 11, 13, 15]


def test_a_validation_split_that_leaves_a_class_without_images_is_refused() -> None:
    source = make_source([0] * 20 + [1], ("cat", "dog"))
    with pytest.raises(DataError) as error:
        split_validation(source, ValidationSettings(fraction=0.1))
    assert str(error.value) == (
        "dataset.validation.fraction: must leave each class in both splits, got 0.1 with 1 images "
        "of 'dog', none for training. Change the fraction or add images."
    )


def test_digest_follows_content() -> None:
    split = make_split([0, 1, 1])
    pixels = split.images.clone()
    pixels[1, 2, 3, 4] ^= 1
    labels = split.labels.numpy()
    assert digest_images(split.images.clone().numpy(), labels.copy()) == split.digest
    assert digest_images(pixels.numpy(), labels) != split.digest
    assert digest_images(split.images.numpy(), labels[::-1].copy()) != split.digest


def test_digest_of_a_part_follows_its_rows() -> None:
    split = make_split([0, 1, 1, 0])
    part = split.take(torch.tensor([0, 2]))
    assert torch.equal(part.images, split.images[[0, 2]])
    assert part.labels.tolist() == [0, 1]
    assert part.digest == split.take(torch.tensor([0, 2])).digest
    assert part.digest not in (split.digest, split.take(torch.tensor([0, 3])).digest)


def test_channel_statistics_are_those_of_the_pixels() -> None:
    images = make_split([0] * 40).images
    mean, std = channel_statistics(images)
    pixels = images.double() / 255
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-12)
    expected = pixels.std(dim=(0, 2, 3), correction=0).tolist()
    assert std == pytest.approx(expected, abs=1e-12)


def test_a_fraction_keeps_every_class_and_holds_the_smaller_ones() -> None:
    split = make_split([0] * 40 + [1] * 20 + [2] * 10)
    kept = [
        {image.numpy().tobytes() for image in take_fraction(split, share, seed=5).resident().images}
        for share in (0.1, 0.2, 0.5)
    ]
    assert [len(images) for images in kept] == [7, 14, 35]
    assert kept[0] < kept[1] < kept[2]
    assert torch.bincount(take_fraction(split, 0.2, seed=5).labels).tolist() == [8, 4, 2]
    assert take_fraction(split, 0.2, seed=5).digest != take_fraction(split, 0.2, seed=6).digest
    assert sorted(take_fraction(split, 0.01, seed=0).labels.tolist()) == [0, 1, 2]
    assert take_fraction(split, 1.0, seed=1) is split


@pytest.mark.parametrize("count", [1, 3, 4, 10, 37, 59])
def test_a_draw_has_so_many_images_of_all_classes_alike(count: int) -> None:
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 30)[torch.randperm(60)]
    rows = draw_stratified(labels, count, seed=0)
    assert len(set(rows.tolist())) == len(rows) == count
    assert rows.tolist() == sorted(rows.tolist())
    found = torch.bincount(labels[rows], minlength=3)
    for number, size in zip(found.tolist(), (10, 20, 30), strict=True):
        assert abs(number - count * size / 60) < 1.5
    assert torch.equal(rows, draw_stratified(labels, count, seed=0))
    assert draw_stratified(labels, 60, seed=0).tolist() == list(range(60))
