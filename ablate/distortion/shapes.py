"""The shapes of tensors, named once; the tests check them at every call."""

from __future__ import annotations

from jaxtyping import Float, Int16, Int64, UInt8
from torch import Tensor

Images = Float[Tensor, "batch channel height width"]
"""Pixels in [0, 1]."""

ByteImages = UInt8[Tensor, "batch channel height width"]
"""Pixels in 0 to 255: how a data set is stored."""

Strengths = Float[Tensor, " batch"]
"""One strength per image, in [0, 1]; 0 is the identity."""

Bits = Int16[Tensor, "batch channel height width"]
"""Sixteen random bits for each value of the images."""

PixelBits = Int16[Tensor, "batch 1 height width"]
"""Sixteen random bits for each pixel, shared by its channels."""

Labels = Int64[Tensor, " batch"]
"""Class of each image, from 0."""

Logits = Float[Tensor, "batch classes"]
"""Unnormalised log probabilities."""

FeatureMap = Float[Tensor, "batch channel *positions"]
"""Output of one layer, with any number of axes after the first two."""

PerImage = Float[Tensor, " batch"]
"""One number per image."""

Scalar = Float[Tensor, ""]
"""One number, with its gradient."""
