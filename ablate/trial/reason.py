"""Why an attempt ended: an exception as the report of a failure."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from ablate.errors import AblateError, InfrastructureError, NotFiniteError
from ablate.errors.device import is_lost_gpu, is_out_of_memory
from ablate.ledger.record import Failure
from ablate.trial.task import Report


def failed(error: BaseException, *, own_loop: bool = False) -> Report:
    """The report of an attempt that an error ended.

    Args:
        own_loop: whether a custom training loop raised it, of whose settings nothing is known.

    Raises:
        InfrastructureError: if this process cannot use its GPU any more: every row that it took up
            would fail at once.
    """
    if is_lost_gpu(error):
        traceback.print_exception(error)  # goes to the trial's output
        raise InfrastructureError(
            f"GPU: must answer, got {_reason(error).rstrip('.')}. Its process ends, and "
            "another takes up the trial; without Ray, run `ablate resume`."
        ) from error
    try:
        text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
    except Exception:  # its own text cannot be made
        text = ""
    return Report(failure=asdict(Failure(_kind(error), _reason(error, own_loop=own_loop), text)))


def _kind(error: BaseException) -> Any:
    if isinstance(error, NotFiniteError):
        return "not_finite"
    return "out_of_memory" if is_out_of_memory(error) else "raised"


_REASON_CHARACTERS, _TRACEBACK_CHARACTERS = 1_000, 20_000
_TOO_LARGE = (
    "Lower finetune.batch_size, or raise run.gpu_memory_fraction.",
    "Lower finetune.batch_size.",
)
"""What to do on a GPU, and on its host."""


def _reason(error: BaseException, *, own_loop: bool = False) -> str:
    if isinstance(error, ValidationError):  # its text has a line for each key
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
    try:
        text = str(error).strip()[:_REASON_CHARACTERS]
    except Exception:
        text = ""
    reason = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    if _kind(error) == "out_of_memory" and not (own_loop or isinstance(error, AblateError)):
        return f"{reason.rstrip('.')}. {_TOO_LARGE[isinstance(error, MemoryError)]}"
    return reason
