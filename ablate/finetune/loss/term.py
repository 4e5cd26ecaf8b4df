"""What the terms of the objective have in common: what they see and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ablate.distortion.shapes import FeatureMap, Labels, Logits, Scalar
from ablate.errors import ParameterError, did_you_mean

Activation = Literal["after", "before"]
Scale = Literal["value", "gradient"]


class View(NamedTuple):
    """What one network made of one version of the images.

    Attributes:
        logits: one row an image.
        features: layer -> feature map, for the layers in `RobustLoss.layers`.
    """

    logits: Logits
    features: dict[str, FeatureMap]


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

    def require_clean(self) -> View:
        """The student's view of the clean images.

        Raises:
            ParameterError: if the batch has none.
        """
        if self.clean is None:
            raise ParameterError(
                "views: a term reads the clean images, got clean=None. "
                "Run them through the student where RobustLoss.needs_clean is true."
            )
        return self.clean

    def require_copies(self) -> tuple[View, ...]:
        """The student's views of the augmented copies, at least one.

        Raises:
            ParameterError: if the batch has none, or not one weight for each.
        """
        if not self.copies:
            raise ParameterError(
                "views: a term reads the augmented copies, got none. "
                "Run them through the student where RobustLoss.needs_augmented is true."
            )
        if len(self.copies) != len(self.copy_weights):
            raise ParameterError(
                f"views: each copy needs a weight, got {len(self.copies)} copies and "
                f"{len(self.copy_weights)} weights. Pass copy_weights that sum to 1."
            )
        return self.copies

    def require_teacher(self, anchor: str) -> View:
        """A teacher's view of the clean images.

        Raises:
            ParameterError: if the batch has none.
        """
        if anchor not in self.teachers:
            raise ParameterError(
                f"views: a term's anchor is the teacher {anchor}, got {sorted(self.teachers)}. "
                "Run the clean images through each of RobustLoss.teachers."
            )
        return self.teachers[anchor]


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
    activation: Activation = "after"
    teacher: str | None = None
    scale: Scale = "value"
    min_images: int = 1


def weighted_sum(weights: Iterable[float], values: Iterable[Tensor]) -> Scalar:
    """Sum of values by their weights, at least one; so many of both."""
    first, *others = (weight * value for weight, value in zip(weights, values, strict=True))
    total: Tensor = sum(others, start=first)
    return total


# -- The precision that losses are computed in, whatever the network computes in -----------


def wide_dtype(tensor: Tensor) -> torch.dtype:
    """fp32, or fp64 for an fp64 tensor."""
    return torch.promote_types(tensor.dtype, torch.float32)


def widen(tensor: Tensor) -> Tensor:
    """Convert a tensor to fp32, unless it is fp64; the same tensor if nothing changes."""
    return tensor.to(wide_dtype(tensor))


def without_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products keep the tensor's own precision."""
    return torch.autocast(tensor.device.type, enabled=False)


# -- What a consistency term compares the copies with, and whether that learns too ---------


BRANCHES = ("both", "clean")
"""The student's clean branch, with its gradient or without."""

TEACHERS = ("pretrained", "ema")
"""Other networks: the student before finetuning, and the average of its weights."""

ANCHORS = (*BRANCHES, *TEACHERS)
"""What `loss.st.anchor` and `loss.fma.anchor` may name."""


def check_anchor(where: str, anchor: str, known: Sequence[str] = BRANCHES) -> None:
    """Refuse an unknown anchor.

    Raises:
        ParameterError: naming `where`.
    """
    if anchor not in known:
        raise ParameterError(
            f"{where}: must be a registered anchor, got {anchor!r}. {did_you_mean(anchor, known)}"
        )


def teacher_of(anchor: str) -> str | None:
    """The teacher of an anchor; None if it is the student's own branch."""
    return anchor if anchor in TEACHERS else None


def hold_anchor(clean: Tensor, anchor: str) -> Tensor:
    """The anchor's tensor: with its gradient for "both", without for every other anchor."""
    return clean if anchor == "both" else clean.detach()


def anchor_view(views: Views, anchor: str) -> View:
    """The output that the copies are compared with.

    Raises:
        ParameterError: if the batch has no such view.
    """
    teacher = teacher_of(anchor)
    return views.require_clean() if teacher is None else views.require_teacher(teacher)


def check_teacher(where: str, what: str, teacher: Tensor, student: Tensor) -> None:
    """Refuse a teacher whose output cannot be compared with the student's.

    Args:
        where: the key of the anchor.
        what: the compared output of the teacher.

    Raises:
        ParameterError: if the shapes differ.
    """
    if teacher.shape != student.shape:
        raise ParameterError(
            f"{where}: {what} must have the student's shape, got {list(teacher.shape)} "
            f"and {list(student.shape)}. Use a teacher of the same network."
        )
