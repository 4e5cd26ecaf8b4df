"""The benchmark's elastic transform: a random affine map, then random smooth displacements.

Source: hendrycks/robustness, after Simard et al. 2003.  Differs: OpenCV's affine warp rounds
places to 1/32 pixel, this one does not.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ablate.distortion.random import as_uniform, draw_bits
from ablate.distortion.shapes import Images
from ablate.robustness.corruption.separable import gaussian_filter

Places = Float[Tensor, "batch 2 pixel"]
"""Where each pixel is read: x, across, and y, down, from -1 to 1."""

TRUNCATE_SIGMAS = 3.0


def elastic(
    images: Images,
    alpha_pixels: float,
    sigma_pixels: float,
    affine_pixels: float,
    generator: torch.Generator,
) -> Images:
    """The images warped, each by a map and a field of its own.

    Args:
        images: any values.
        alpha_pixels: what the smoothed field of uniform noise in (-1, 1) is multiplied by; 0: no
            displacements.
        sigma_pixels: of the Gaussian that smooths it.
        affine_pixels: how far each of the affine map's three points moves at most, in both axes.
    """
    height, width = images.shape[2:]
    sides = torch.tensor((width, height), device=images.device, dtype=images.dtype)
    places = _places(height, width, images.device)
    linear, shift = _draw_affine(images, affine_pixels, generator)
    # From pixels to -1 at the middle of the first and 1 at that of the last.
    to_ends = 2 / (sides - 1)
    linear, shift = linear * to_ends[:, None], shift * to_ends - 1
    mapped = torch.baddbmm(shift[:, :, None], linear, places.expand(len(images), -1, -1))
    warped = _read(images, mapped, edge_repeated=False)
    if alpha_pixels == 0:
        return warped
    drawn = as_uniform(draw_bits(torch.Size((len(images), 2, height, width)), generator))
    field = gaussian_filter(drawn, sigma_pixels, border="reflect", truncate=TRUNCATE_SIGMAS)
    # From pixels to -1 at the outer edge of the first and 1 at that of the last; and the noise,
    # which is in (0, 1), to be in (-1, 1).
    to_edges = (2 / sides)[:, None]
    still = (places + (0.5 - alpha_pixels)) * to_edges - 1
    displaced = torch.addcmul(still, field.flatten(2), to_edges, value=2 * alpha_pixels)
    return _read(warped, displaced, edge_repeated=True)


def _places(height: int, width: int, device: torch.device) -> Float[Tensor, "2 pixel"]:
    """Where the pixels are: across and down, in pixels from 0."""
    across, down = (torch.arange(side, device=device).float() for side in (width, height))
    return torch.stack(torch.meshgrid(across, down, indexing="xy")).flatten(1)


def _draw_affine(
    images: Images, reach_pixels: float, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 2 2"], Float[Tensor, "batch 2"]]:
    """The map from where three moved points are to where they were.

    As in the reference the points' x is about half of the height, and their y half of the width.

    Returns:
        What columns (x, y) are multiplied by, and what is added to them.
    """
    height, width = images.shape[2:]
    square = min(height, width) // 3
    corner = (height // 2 + square, width // 2 - square)
    moved = torch.rand((len(images), 3, 2), generator=generator, device=images.device)
    moved = moved.mul_(2).sub_(1).mul_(reach_pixels)
    # From the corner to the other two points, where they were: (0, 2s) and (-2s, 0).
    a, c = (moved[:, 0] - moved[:, 1]).unbind(1)
    b, d = (moved[:, 2] - moved[:, 1]).unbind(1)
    c, b = c + 2 * square, b - 2 * square
    # [[0, -2s], [2s, 0]] times the inverse of [[a, b], [c, d]]
    scale = 2 * square / (a * d - b * c)
    linear = torch.stack([c * scale, -a * scale, d * scale, -b * scale], dim=1).view(-1, 2, 2)
    corners = torch.tensor(corner, device=images.device, dtype=images.dtype)
    moved_corner = moved[:, 1] + corners
    return linear, corners - (linear @ moved_corner[:, :, None])[:, :, 0]


def _read(images: Images, places: Places, *, edge_repeated: bool) -> Images:
    """The images at these places, by linear interpolation; beyond the border they are mirrored.

    Args:
        images: any values.
        places: as `grid_sample` counts them.
        edge_repeated: whether the mirror stands beyond the pixel at the border, or on it.
    """
    grid = places.view(-1, 2, *images.shape[2:]).movedim(1, 3)
    return functional.grid_sample(
        images, grid, padding_mode="reflection", align_corners=not edge_repeated
    )
