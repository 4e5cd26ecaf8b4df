"""The operators of AugMix, as plain data: importing this loads no torch.

Source: AutoAugment's operators in the reading of Hendrycks et al. 2020, arXiv:1912.02781 (AugMix).
"""

from __future__ import annotations

TONE = ("autocontrast", "equalize", "posterize", "solarize")
GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLOUR = ("color", "contrast", "brightness", "sharpness")

DISJOINT = (*TONE, *GEOMETRY)
"""Those that overlap no test corruption."""

OPERATORS = (*DISJOINT, *COLOUR)
"""All; an operator is a number in this order."""

OVERLAPS = {"color": "saturation", "contrast": "contrast", "brightness": "brightness"}
"""Operator -> the distortion type that it shows to the network."""
