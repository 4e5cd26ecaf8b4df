"""Every error that `ablate` raises on purpose.

    AblateError                     exit code
    ├── UsageError                  2   invalid arguments
    │   ├── ParameterError          2   a wrong argument of a public function (also a ValueError)
    │   │   └── NothingToDrawError  2   a figure of what this study does not have
    │   ├── StudyFileError          2   a wrong study or space file: every problem at once
    │   ├── DataError               2   a data set that is missing, empty or inconsistent
    │   ├── StudyNotFoundError      2   no such study in the storage
    │   ├── StudyExistsError        2   `launch` on a study that started with other contents
    │   ├── FingerprintError        2   a resumed study differs from the one that started
    │   ├── ResourceError           2   more CPUs or GPUs requested than exist
    │   └── MissingDependencyError  2   an optional package or program is not installed
    ├── NotFiniteError              1   a training has diverged
    ├── StoppedError                1   trials keep failing; running more would not help
    ├── UnexpectedError             2   an unexpected fault that would occur again
    └── InfrastructureError         3   storage, cluster or disk failure; the study can be resumed
        ├── StorageError            3
        └── LeaseError              3   another driver holds the study

A message is one line: where, the rule, what was got, the fix.  No secret is in it (`masked`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ablate.errors.masking import masked

LONGEST = 200
"""Characters of a text from elsewhere in a message."""
_LONGEST_LINE = 500
_END = 120
"""Of a line that is cut: its end, where the fix is."""


def cut(text: str, most: int = LONGEST) -> str:
    """A text as a message can hold it; of a longer one its beginning and "..."."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _readable(line: str) -> str:
    line = re.sub(rf"\S{{{LONGEST + 1},}}", lambda found: cut(found[0]), line)
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE - _END - 5]} ... {line[-_END:]}"


class AblateError(Exception):
    """Base class of all errors that `ablate` raises on purpose.

    Attributes:
        exit_code: exit code of a command that ends with this error.

    Example:
        >>> try:
        ...     ablate.read("runs/none")
        ... except ablate.AblateError as error:
        ...     print(error)
        runs/none: must be a study file, a run folder or URL#NAME, not recognised. Check the path.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(masked(message))

    def __str__(self) -> str:
        """The message; what somebody wrote or sent is cut, so that each line can be read."""
        return "\n".join(map(_readable, super().__str__().split("\n")))


class UsageError(AblateError):
    """What was asked for cannot be done as it was asked.

    Args:
        message: keys of a study are dotted in it, as `dataset.path`.
        fix: its end; option_fix: the same for a command that takes options in place of a study
            file, where the names of the keys are not all that differs.
    """

    exit_code = 2

    def __init__(self, message: str = "", fix: str = "", option_fix: str = "") -> None:
        super().__init__(f"{message} {fix}" if fix else message)
        self._for_options = masked(f"{message} {option_fix}" if option_fix else str(self))

    def named_by(self, options: Mapping[str, str]) -> UsageError:
        """The same error, with options in place of the study's keys."""
        keys = re.compile("|".join(map(re.escape, sorted(options, key=len, reverse=True))))
        return type(self)(keys.sub(lambda key: options[key[0]], self._for_options))


class ParameterError(UsageError, ValueError):
    """An argument of a public function is outside its domain."""


class NothingToDrawError(ParameterError):
    """A study has nothing that this figure could show, and will have none.

    Attributes:
        reason: "needs a search, got an ablation".
    """

    def __init__(self, study: str, figure: str, reason: str, fix: str) -> None:
        super().__init__(f"study {study}: figure {figure} {reason}. {fix}")
        self.reason = reason


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a study or space file.

    Attributes:
        file: as the user named it.
        line, column: from 1; 0 where there is no place (a missing file, a `--set`).
        message: `key: rule, got X. Fix.`
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


class StudyFileError(UsageError):
    """A study or space file is wrong; `problems` holds everything found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UsageError):
    """A data set is missing, empty, unreadable or inconsistent."""


class StudyNotFoundError(UsageError):
    """The storage holds no study of that name."""


class StudyExistsError(UsageError):
    """The storage holds a study of that name already."""


class FingerprintError(UsageError):
    """The study or its environment is not the one that was begun."""


class ResourceError(UsageError):
    """More CPUs or GPUs are asked for than there are."""


class MissingDependencyError(UsageError):
    """An optional package or program is needed and not installed."""


class NotFiniteError(AblateError):
    """A loss, an output or a score is NaN or infinite: the training has diverged."""


class StoppedError(AblateError):
    """The study was stopped, since what failed would fail again; it can be resumed."""


class UnexpectedError(AblateError):
    """Something failed in a way that was not foreseen; the same run would fail again."""

    exit_code = 2


class InfrastructureError(AblateError):
    """Something outside the trials failed; nothing is lost and the study can be resumed."""

    exit_code = 3


class StorageError(InfrastructureError):
    """The study's storage cannot be reached or read."""


class LeaseError(InfrastructureError):
    """Another driver is running the study."""


def error_text(error: BaseException) -> str:
    """Kind and message of somebody else's error, on one line."""
    try:
        text = str(error)
    except Exception:  # its own text cannot be made
        text = ""
    return cut(storable_text(" ".join(f"{type(error).__name__}: {text}".split())))


def unencodable(error: UnicodeEncodeError) -> str:
    """The message for a path, of a file or a folder, whose name's bytes are not UTF-8."""
    return f"{error.object!a}: must be UTF-8, got other bytes in a name. Rename it."


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """Somebody else's text as databases, pages and UTF-8 take it.

    NUL (which PostgreSQL refuses) and lone surrogates (which no encoding has) become escapes.
    """
    return _UNSTORABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def unexpected(where: str, error: BaseException) -> AblateError:
    """An exception that nobody raised on purpose, as one of ours.

    Args:
        where: what was being done.

    Returns:
        An `InfrastructureError` where another time or machine may do better (a file, the network,
        memory), so that a job may be requeued; else an `UnexpectedError`.  Its cause is `error`.
    """
    if isinstance(error, OSError | MemoryError):
        found: AblateError = InfrastructureError(
            f"{where}: {error_text(error)}. No result is lost: run `ablate resume`."
        )
    else:
        found = UnexpectedError(
            f"{where}: {error_text(error)}. Trying again would not help; no result is lost. "
            "`ablate --debug` shows the traceback."
        )
    found.__cause__ = error
    return found


_SHOWN = 16
_SHORTEST_STEM = 3


_ALSO_CALLED = {
    "lr": "finetune.learning_rate",
    "wd": "finetune.weight_decay",
    "bs": "finetune.batch_size",
    "n_trials": "search.trials",
}
"""What other tools call a key."""


def also_called(name: str, known: Sequence[str]) -> list[str]:
    """Names that are known, of what other tools call `name`: first that beside it.

    Args:
        name: of a key, its sections before it or not: `lr`, `baseline.lr`.
    """
    above, _, last = name.rpartition(".")
    key = _ALSO_CALLED.get(last.lower())
    if key is None:
        return []
    short = key.rpartition(".")[2]
    return [one for one in (f"{above}.{short}", key, short) if one in known]


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The fix for an unknown name: the nearest known one, or the list of all.

    Args:
        name: what was got.
        known: what there is; may be empty.
    """
    nearest = also_called(name, known)
    # By its end: resnet18 is torchvision:resnet18, and not a misspelt resnet8.
    nearest += [one for one in known if name and one.endswith((f".{name}", f":{name}"))]
    nearest += get_close_matches(name[:LONGEST], known, n=1, cutoff=0.6)
    if not nearest and len(name) >= _SHORTEST_STEM:
        nearest = [one for one in known if one.startswith(name)]
    if nearest:
        return f"Did you mean {nearest[0]}?"
    if not known:
        return "There is none."
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"Known: {', '.join(known[:_SHOWN])}{more}."
