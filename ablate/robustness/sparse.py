"""Sparse scoring: the cells, type by severity, that each image is scored under.

A fixed design for all networks of a study: images are dealt cells from shuffled decks, class by
class, so that a cell has as many images as another, and each class its share of them.

Source: matrix sampling of items by persons, Lord 1962, Educational and Psychological Measurement
22, 259.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ablate.study.scores import scored_copies
from ablate.study.seeds import derive_seed


@lru_cache(maxsize=4)
def scored_cells(n_images: int, n_cells: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which image is scored under which cell.

    Args:
        n_images: in the order of `dealing_order`.
        share: of the cells that an image is scored under, above 0, to 1.
        seed: of the decks.

    Returns:
        `[n_cells, n_images]`, not to be written to. A row has as many images as another, a column
        as many cells, each within one.
    """
    if share == 1:
        return np.ones((n_cells, n_images), dtype=np.bool_)
    counts = np.diff(np.arange(n_images + 1) * scored_copies(n_images, n_cells, share) // n_images)
    random = np.random.RandomState(derive_seed(seed, "cells") % 2**32)  # its stream is frozen
    scored = np.zeros((n_cells, n_images), dtype=np.bool_)
    deck = np.empty(0, dtype=np.intp)
    for image, count in enumerate(counts.tolist()):
        hand, short = scored[:, image], count - len(deck)
        hand[deck[:count]] = True
        deck = deck[count:]
        if short > 0:
            fresh = random.permutation(n_cells)
            more = fresh[~hand[fresh]][:short]
            hand[more] = True
            is_left = np.ones(n_cells, dtype=np.bool_)
            is_left[more] = False
            deck = fresh[is_left[fresh]]
    scored.flags.writeable = False
    return scored


def dealing_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Indices of the images in the order in which they are dealt cells, `[n]`: class by class,
    at random within a class."""
    order = np.random.RandomState(derive_seed(seed, "images") % 2**32).permutation(len(labels))
    return order[np.argsort(labels[order], kind="stable")]


def images_of_cells(
    labels: NDArray[np.int64], n_cells: int, share: float, seed: int
) -> list[NDArray[np.intp]]:
    """The indices of each cell's images, in the order in which they were dealt."""
    order = dealing_order(labels, seed)
    return [order[row] for row in scored_cells(len(labels), n_cells, share, seed)]
