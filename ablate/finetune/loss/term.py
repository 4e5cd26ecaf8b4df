"""What the terms of the objective have in common: what they see and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ablate.distortion.shapes import Labels, Logits, Scalar
from ablate.errors import ParameterError, did_you_mean
from ablate.model.taps import FeatureMaps
from ablate.study.settings import Anchor


class View(NamedTuple):
    """What one network made of one version of the images.

    Attributes:
        logits: one row an image.
        features: layer -> feature map, for the layers in `RobustLoss.layers`.
    """

    logits: Logits
    features: FeatureMaps


class Views(NamedTuple):
    """Outputs of the networks for a batch; row i of every view is image i.

    Attributes:
        labels: the class of each image; -1 without a label.
        clean: the student on the clean images; None if no term reads it.
        copies: the student on each augmented copy; empty if no term reads them.
        copy_weights: weight of each copy in a mean over copies; sum 1.
        teachers: anchor -> that teacher on the clean images, without gradient.
    """

    labels: Labels
    clean: View | None
    copies: tuple[View, ...] = ()
    copy_weights: tuple[float, ...] = ()
    teachers: Mapping[str, View] = MappingProxyType({})

    def of_anchor(self, anchor: str) -> View:
        """What a consistency term compares the copies with: a teacher's view, or the student's."""
        view = self.teachers[anchor] if anchor in TEACHERS else self.clean
        assert view is not None, "of a term without needs_clean"
        return view

    def mean_over_copies(self, value: Callable[[View], Tensor]) -> Scalar:
        """The mean of a value of each copy, by the copies' weights."""
        return weighted_sum(self.copy_weights, map(value, self.copies))


@dataclass(frozen=True)
class Term:
    """One term of the objective.

    Attributes:
        name: as in `TERMS`.
        weight: factor of its value, >= 0.
        value: the mean over the batch, unweighted.
        needs_clean: whether it reads the student on the clean images.
        needs_augmented: whether it reads the student on augmented copies.
        needs_labels: whether it reads labels.
        layers: names of the layers whose feature maps it reads.
        activation: whether those are read after or before a layer's last activation.
        teacher: the anchor whose view it reads: "pretrained" or "ema"; None: of none.
        scale: "value": the weight multiplies the value; "gradient": it is the ratio of this
            term's gradient norm to that of the cross-entropy on the copies at the start.
        min_images: the fewest images that it can compare.
    """

    name: str
    weight: float
    value: Callable[[Views], Scalar]
    needs_clean: bool
    needs_augmented: bool
    needs_labels: bool
    layers: tuple[str, ...] = ()
    activation: Literal["after", "before"] = "after"
    teacher: str | None = None
    scale: Literal["value", "gradient"] = "value"
    min_images: int = 1


def weighted_sum(weights: Iterable[float | Tensor], values: Iterable[Tensor]) -> Scalar:
    """Sum of values by their weights, at least one; so many of both."""
    first, *others = (scaled(value, weight) for weight, value in zip(weights, values, strict=True))
    total: Tensor = sum(others, start=first)
    return total


def scaled(value: Tensor, factor: float | Tensor) -> Tensor:
    """A value times a factor; nothing is computed for the number 1."""
    return value if isinstance(factor, float | int) and factor == 1 else factor * value


# -- The precision that losses are computed in, whatever the network computes in -----------


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """fp32, or fp64 for an fp64 tensor."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def widen(tensor: Tensor) -> Tensor:
    """Convert a tensor to fp32, unless it is fp64; the same tensor if nothing changes."""
    return tensor.to(wide_dtype(tensor))


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products keep the tensor's own precision."""
    return torch.autocast(tensor.device.type, enabled=False)


# -- What a consistency term compares the copies with, and whether that learns too ---------


ANCHORS: tuple[str, ...] = get_args(Anchor)
"""What `loss.st.anchor` and `loss.fma.anchor` may name."""

BRANCHES = ("both", "clean")
"""Anchors that are the student's clean branch, with its gradient or without."""

TEACHERS = ("pretrained", "ema")
"""Other networks: the student before finetuning, and the average of its weights."""


def check_branch(where: str, anchor: str) -> None:
    """Refuse an anchor that a loss without a teacher does not have.

    Raises:
        ParameterError: naming `where`.
    """
    if anchor not in BRANCHES:
        raise ParameterError(
            f"{where}: must be a registered anchor, got {anchor!r}. "
            f"{did_you_mean(anchor, BRANCHES)}"
        )


def anchor_target(clean: Tensor, anchor: str) -> Tensor:
    """The anchor's tensor: with its gradient for "both", without for every other anchor."""
    return clean if anchor == "both" else clean.detach()
