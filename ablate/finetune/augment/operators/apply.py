"""Every image through its own operator, with one pass for each operator in use."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor

from ablate.distortion.shapes import Images, PerImage
from ablate.finetune.augment.operators import GEOMETRY, OPERATORS, colour, geometry, tone

_OF_VALUES: dict[str, Callable[[Images, PerImage], Images]] = {
    "autocontrast": tone.autocontrast,
    "equalize": tone.equalize,
    "posterize": tone.posterize,
    "solarize": tone.solarize,
    "color": colour.color,
    "contrast": colour.contrast,
    "brightness": colour.brightness,
    "sharpness": colour.sharpness,
}
_MOVES = torch.tensor([OPERATORS.index(name) for name in GEOMETRY])


def apply_operators(
    images: Images, operators: Int64[Tensor, " batch"], level: PerImage, sign: PerImage
) -> Images:
    """Each image by its own operator, or as it is.

    Args:
        images: in [0, 1], fp32 or fp64.
        operators: number in `OPERATORS`, -1 for none; on the CPU.
        level: of each image, in [0, 1]: 1 is the strongest; on the images' device.
        sign: 1 or -1: the direction of what moves an image; on the images' device.

    Returns:
        New images in [0, 1], up to rounding.
    """
    result, device = images.clone(), images.device
    for name, operator in _OF_VALUES.items():
        rows = (operators == OPERATORS.index(name)).nonzero().flatten().to(device)
        if len(rows):
            result[rows] = operator(images[rows], level[rows])
    rows = torch.isin(operators, _MOVES).nonzero().flatten()
    if len(rows):
        moves, rows = operators[rows].to(device), rows.to(device)
        result[rows] = geometry.move(images[rows], moves, level[rows], sign[rows])
    return result
