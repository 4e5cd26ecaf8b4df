"""Arrays are brought to the network's size."""

from __future__ import annotations

import numpy as np
import torch

from ablate.data.decode import resize_chunks, resize_images


def test_images_of_the_right_size_keep_their_bytes() -> None:
    images = torch.randint(256, (3, 3, 12, 12), dtype=torch.uint8)
    assert torch.equal(resize_images(images, 12), images)


def test_a_grey_channel_becomes_three() -> None:
    grey = torch.randint(256, (3, 1, 12, 12), dtype=torch.uint8)
    assert torch.equal(resize_images(grey, 12), grey.repeat(1, 3, 1, 1))


def test_the_middle_is_cut() -> None:
    images = torch.zeros(1, 3, 10, 30, dtype=torch.uint8)
    images[:, :, :, 10:20] = 200
    assert resize_images(images, 10).min() == 200
    doubled = resize_images(images, 10, resize=20)
    assert doubled.shape == (1, 3, 10, 10)
    assert doubled.min() == 200


def test_a_smaller_image_is_an_average() -> None:
    board = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    board[:, :, ::2, ::2] = 200
    board[:, :, 1::2, 1::2] = 200
    middle = resize_images(board, 8)[..., 1:-1, 1:-1].int()
    assert (middle - 100).abs().max() <= 2


def test_pieces_are_the_whole() -> None:
    images = np.random.default_rng(0).integers(256, size=(1030, 1, 9, 9), dtype=np.uint8)
    pieces = list(resize_chunks(images, 12))
    assert [len(piece) for piece in pieces] == [1024, 6]
    whole = resize_images(torch.from_numpy(images), 12).numpy()
    assert np.array_equal(np.concatenate(pieces), whole)
