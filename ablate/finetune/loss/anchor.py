"""What a consistency term compares the copies with, and whether that learns too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ablate.errors import ParameterError, did_you_mean
from ablate.finetune.loss.term import View, Views

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
    """The teacher that an anchor asks for; None where it is the student's own branch."""
    return anchor if anchor in TEACHERS else None


def hold_anchor(clean: Tensor, anchor: str) -> Tensor:
    """The anchor's tensor: with its gradient for "both", without for every other anchor."""
    return clean if anchor == "both" else clean.detach()


def anchor_view(views: Views, anchor: str) -> View:
    """What the copies are compared with.

    Raises:
        ParameterError: if the batch holds no such view.
    """
    teacher = teacher_of(anchor)
    return views.require_clean() if teacher is None else views.require_teacher(teacher)


def check_teacher(where: str, what: str, teacher: Tensor, student: Tensor) -> None:
    """Refuse a teacher whose output cannot be compared with the student's.

    Args:
        where: the key of the anchor.
        what: of the teacher is compared.

    Raises:
        ParameterError: if the shapes differ.
    """
    if teacher.shape != student.shape:
        raise ParameterError(
            f"{where}: {what} must have the student's shape, got {list(teacher.shape)} "
            f"and {list(student.shape)}. Use a teacher of the same network."
        )
