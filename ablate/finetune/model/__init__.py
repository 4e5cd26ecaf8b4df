"""Networks, as plain data: importing this loads no torch."""

from __future__ import annotations

TAPS: dict[str, tuple[str, ...]] = {
    "resnet8": ("stem", "stage1", "stage2", "stage3"),
    "resnet20": ("stem", "stage1", "stage2", "stage3"),
}
"""Network -> the layers whose feature maps have a name, first to last."""

MODELS = tuple(TAPS)
"""What `model.name` may name."""
