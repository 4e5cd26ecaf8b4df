"""Which branch a consistency term teaches: both, or the distorted one towards the clean one."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ablate.errors import ParameterError, did_you_mean

Anchor = Literal["both", "clean"]
ANCHORS: tuple[Anchor, ...] = ("both", "clean")


def check_anchor(where: str, anchor: str) -> None:
    """Refuse an unknown anchor.

    Raises:
        ParameterError: naming `where`.
    """
    if anchor not in ANCHORS:
        raise ParameterError(
            f"{where}: must be a registered anchor, got {anchor!r}. {did_you_mean(anchor, ANCHORS)}"
        )


def hold_anchor(clean: Tensor, anchor: str) -> Tensor:
    """The clean branch, without gradient if it is the anchor."""
    return clean.detach() if anchor == "clean" else clean
