"""Rules of a study whose trials are a training loop of the user's own."""

from __future__ import annotations

from ablate.study.document import Document, show
from ablate.study.sections.training import UNITS

_OTHERS = ("dataset", "model", "baseline", "loss", "augment", "robustness")
_FINETUNE = ("budget", "seed")


def check_trainable(document: Document) -> None:
    """Note what stands beside `trainable` and would mean nothing, and what is missing.

    Args:
        document: of a study with a trainable.
    """
    for section in _OTHERS:
        _refuse_section(document, section)
    written = document.get(("finetune",))
    for key in written if isinstance(written, dict) else ():
        if key not in _FINETUNE:
            rule = f"means nothing with trainable, got {show(written[key])}. Remove it: a trainable"
            document.refuse(("finetune", key), f"{rule} reads budget.epochs and seed.", key=True)
    for unit in UNITS[1:]:
        amount = document.get(("finetune", "budget", unit))
        if amount is not None:
            rule = f"must be epochs with trainable, got {unit}: {show(amount)}"
            path = ("finetune", "budget", unit)
            document.refuse(path, f"{rule}. Write budget: {{epochs: 4}}.", key=True)
    if document.get(("objectives",)) is None:
        rule = "are required with trainable, got none"
        fix = "Name what its function reports, as [{metric: accuracy}, {metric: seconds}]."
        document.refuse(("objectives",), f"{rule}. {fix}")


def _refuse_section(document: Document, section: str) -> None:
    written = document.get((section,))
    if written is not None:
        rule = f"means nothing with trainable, got {show(written)}"
        document.refuse((section,), f"{rule}. Remove it, or trainable.", key=True)
