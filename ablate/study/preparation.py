"""The steps before the first trial, as a display and the ledger show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ablate.study.json_data import JsonData


@dataclass(frozen=True)
class PreparationStep(JsonData):
    """One step of the preparation and its progress.

    Attributes:
        what: such as "training the baseline".
        done, total: units done, and in total; None: unknown.
        unit: of both, in the plural, such as "epochs".
        images_per_second: through the network; None: not known.
        seconds_left: of this step; None: not known.
    """

    what: str
    done: int | None = None
    total: int | None = None
    unit: str = ""
    images_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Preprocessing(JsonData):
    """How images reach the network.

    Attributes:
        image_size: side in pixels.
        resize: shorter side in pixels before the centre crop; None: only cropped to a square.
        mean, std: that red, green and blue in [0, 1] are normalised by; None: they are not.
        channels: "bgr": the network gets the normalised channels in reverse.
    """

    image_size: int
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str = "rgb"

    @property
    def text(self) -> str:
        """Such as "images of 32 x 32, resize 37, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5"."""
        text = f"images of {self.image_size} x {self.image_size}"
        text += f", resize {self.resize}" if self.resize is not None else ""
        text += ", as BGR" if self.channels == "bgr" else ""
        if self.mean is None or self.std is None:
            return f"{text}, not normalised"
        mean, std = (", ".join(f"{one:.3g}" for one in each) for each in (self.mean, self.std))
        return f"{text}, mean {mean}, std {std}"


def fed_text(accuracy: float, images: int, preprocessing: Preprocessing | None) -> str:
    """Clean accuracy of a baseline and how it was fed, to be compared with what a person expects.

    Args:
        accuracy: on so many validation images.
        preprocessing: None: not recorded, as in studies of earlier versions.
    """
    text = f"{100 * accuracy:.1f} % of {images:,} clean validation images"
    return text if preprocessing is None else f"{text}; {preprocessing.text}"


OnStep = Callable[[PreparationStep], None]
"""Called when a step starts or makes progress.  Returns at once and does not raise."""


def ignore_step(_step: PreparationStep) -> None:
    """Nobody watches."""
