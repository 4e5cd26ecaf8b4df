"""The shuffle of the benchmark's glass blur: each pixel becomes a copy of one beside it.

Source: hendrycks/robustness.  Its swap of two pixels goes through views of one array, so that one
end is copied and the other stays; the pixels are visited one by one, last row and column first, and
a source that was visited before shows what it became.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Int64
from torch import Tensor

from ablate.distortion.random import draw_bits

Sources = Int64[Tensor, "batch place"]
"""For each pixel of an image, in reading order, the place of the pixel that it is a copy of."""


def draw_sources(
    shape: torch.Size, reach: int, iterations: int, generator: torch.Generator
) -> Sources:
    """What a shuffle of each image makes of its pixels.

    Args:
        shape: of the images; their channels are shuffled alike.
        reach: offsets are drawn from -reach to reach - 1 in both axes.
        iterations: how often all pixels are visited.
        generator: on the device that is wanted.
    """
    batch, _, height, width = shape
    places = torch.arange(height * width, device=generator.device)
    sources = places.expand(batch, -1)
    for _ in range(iterations):
        taken = places + _draw_offsets(shape, reach, generator)
        if reach > 1:
            taken = _follow(taken, places, _is_visited(height, width, reach, generator.device))
        sources = sources.gather(1, taken)
    return sources


def _draw_offsets(shape: torch.Size, reach: int, generator: torch.Generator) -> Sources:
    """How far from each pixel its source lies, in places; 0 at the borders, which are not visited.

    Sixteen bits choose among the (2 * reach) ** 2 pairs, which are equally likely to 1 part in
    1,000 up to a reach of 4.
    """
    batch, _, height, width = shape
    drawn = (batch, 1, height - 2 * reach, width - 2 * reach)
    bits = draw_bits(torch.Size(drawn), generator)[:, 0]
    pair = (bits.int() + 2**15).mul_(4 * reach**2) >> 16
    table = _offset_table(width, reach, generator.device)
    offsets = torch.zeros((batch, height, width), dtype=torch.long, device=generator.device)
    visited = offsets[:, reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    visited.copy_(table.index_select(0, pair.view(-1)).view(pair.shape))
    return offsets.view(batch, -1)


@lru_cache(maxsize=32)
def _offset_table(width: int, reach: int, device: torch.device) -> Int64[Tensor, " pair"]:
    step = torch.arange(-reach, reach)
    return (step[:, None] * width + step).flatten().to(device)


def _is_visited(height: int, width: int, reach: int, device: torch.device) -> Tensor:
    visited = torch.zeros((height, width), dtype=torch.bool, device=device)
    visited[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    return visited.flatten()


def _follow(taken: Sources, places: Tensor, visited: Tensor) -> Sources:
    """Sources at the time of the visit -> sources before the first visit.

    A source behind its pixel has been visited and is a copy itself. Such chains are followed for
    all pixels at once, twice as far each time.
    """
    ends = ~(visited[taken] & (taken > places))
    # A place with its end found stays; the others move on to what their source became.
    step = torch.where(ends, places, taken)
    while True:
        further = step.gather(1, step)
        if torch.equal(further, step):
            break
        step = further
    # The last of a chain was not moved on from: what it took was old.
    return taken.gather(1, step)
