"""Every error that `ablate` raises on purpose.

    AblateError                exit code 1: what was asked for was tried, and went wrong
    ├── UsageError             2: arguments, a file or the installation must be changed first
    └── InfrastructureError    3: storage, cluster or disk failed; the study can be resumed

A message is one line: where, the rule, what was got, the fix.  It contains no secret (`masked`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ablate.errors.masking import masked

DISTRIBUTION = "ablate-robustness"
"""What pip installs.  The import and the command are `ablate`, a name that PyPI gave to another
package."""
LONGEST = 200
"""Largest number of characters of a foreign text in a message."""
_LONGEST_LINE = 500
_END = 120
"""Number of characters kept at the end of a cut line, where the fix is."""


def pip_install(extra: str) -> str:
    """The command that installs an extra of this package: "postgres", "images", ..."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def cut(text: str, most: int = LONGEST) -> str:
    """Shorten a text for a message: the start of a longer text and "..."."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _readable(line: str) -> str:
    line = re.sub(rf"\S{{{LONGEST + 1},}}", lambda word: cut(word[0]), line)
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
        """The message, with long foreign texts cut, so that each line is readable."""
        return "\n".join(map(_readable, super().__str__().split("\n")))


class UsageError(AblateError):
    """The request cannot be carried out as given.

    Args:
        message: names keys of a study in dotted form, such as `dataset.path`.
        fix: the end of the message; parameter_fix: the same where a function takes parameters
            instead of a study file, if more than the names of the keys differs.
    """

    exit_code = 2

    def __init__(self, message: str = "", fix: str = "", parameter_fix: str = "") -> None:
        super().__init__(f"{message} {fix}" if fix else message)
        self._for_parameters = masked(f"{message} {parameter_fix}" if parameter_fix else str(self))

    def named_by(self, parameters: Mapping[str, str]) -> UsageError:
        """The same error, with parameters instead of the study's keys."""
        keys = re.compile("|".join(map(re.escape, sorted(parameters, key=len, reverse=True))))
        return type(self)(keys.sub(lambda key: parameters[key[0]], self._for_parameters))


class ParameterError(UsageError, ValueError):
    """An argument of a public function is outside its domain."""


class NothingToDrawError(ParameterError):
    """A study has no data for this figure, and will never have any.

    Attributes:
        reason: "needs a search, got an ablation".
    """

    def __init__(self, study: str, figure: str, reason: str, fix: str) -> None:
        super().__init__(f"study {study}: figure {figure} {reason}. {fix}")
        self.reason = reason


@dataclass(frozen=True, order=True)
class Problem:
    """One problem in a study or space file.

    Attributes:
        file: as the user named it; empty for a study from Python.
        line, column: from 1; 0 if there is no position (a missing file, a `--set`).
        message: `key: rule, got X. Fix.`
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" if place else self.message


class StudyFileError(UsageError):
    """A study or space file is invalid; `problems` lists all problems, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UsageError):
    """A data set is missing, empty, unreadable or inconsistent."""


class StudyNotFoundError(UsageError):
    """The storage has no study of that name."""


class StudyExistsError(UsageError):
    """The storage already has a study of that name."""


class FingerprintError(UsageError):
    """The study or its environment has changed since it was started."""


class ResourceError(UsageError):
    """More CPUs or GPUs are requested than exist."""


class MissingDependencyError(UsageError):
    """A required optional package or program is not installed."""


class NotFiniteError(AblateError):
    """A loss, an output or a score is NaN or infinite; the training diverged."""


class StoppedError(AblateError):
    """The study was stopped because its trials would fail again; it can be resumed."""


class UnexpectedError(AblateError):
    """An unexpected failure; the same run would fail again."""

    exit_code = 2


class InfrastructureError(AblateError):
    """Something outside the trials failed; nothing is lost and the study can be resumed."""

    exit_code = 3


class StorageError(InfrastructureError):
    """The study's storage cannot be reached or read."""


class LeaseError(InfrastructureError):
    """Another driver is running the study."""


def error_text(error: BaseException) -> str:
    """Type and message of a foreign exception, on one line."""
    try:
        text = str(error)
    except Exception:  # its own text cannot be made
        text = ""
    return cut(storable_text(" ".join(f"{type(error).__name__}: {text}".split())))


def unencodable(error: UnicodeEncodeError) -> str:
    """The message for a path whose name is not UTF-8."""
    return f"{error.object!a}: must be UTF-8, got other bytes in a name. Rename it."


LONGEST_NAME = 200
"""Bytes of a file's name: file systems take 255, and a file that is being written has more."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """A foreign text in a form that databases, HTML and UTF-8 accept.

    NUL (which PostgreSQL refuses) and lone surrogates (which no encoding has) become escapes.
    """
    return _UNSTORABLE.sub(lambda character: ascii(character[0])[1:-1], text)


def unexpected(where: str, error: BaseException) -> AblateError:
    """Wrap an unexpected exception in one of `ablate`'s errors.

    Args:
        where: what was being done.

    Returns:
        An `InfrastructureError` if a retry or another machine may succeed (a file, the network,
        memory), so that a job may be requeued; else an `UnexpectedError`.  Its cause is `error`.
    """
    kind: type[AblateError] = UnexpectedError
    fix = "Trying again would not help; no result is lost. `ablate --debug` shows the traceback."
    if isinstance(error, OSError | MemoryError):
        kind, fix = InfrastructureError, "No result is lost: run `ablate resume`."
    wrapped = kind(f"{where}: {error_text(error)}. {fix}")
    wrapped.__cause__ = error
    return wrapped


_SHOWN = 16
_SHORTEST_STEM = 3
_ALSO_CALLED = {
    "lr": "finetune.learning_rate",
    "wd": "finetune.weight_decay",
    "bs": "finetune.batch_size",
    "n_trials": "search.trials",
}
"""Names of keys in other tools."""


def also_called(name: str, known: Sequence[str]) -> list[str]:
    """Known keys for a name of another tool; first the one in the same section.

    Args:
        name: a key, with or without its section: `lr`, `baseline.lr`.
    """
    above, _, last = name.rpartition(".")
    key = _ALSO_CALLED.get(last.lower())
    if key is None:
        return []
    short = key.rpartition(".")[2]
    return [candidate for candidate in (f"{above}.{short}", key, short) if candidate in known]


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The fix for an unknown name: the nearest known one, or the list of all.

    Args:
        name: the unknown name.
        known: the known names; may be empty.
    """
    nearest = also_called(name, known)
    # By its end: resnet18 is torchvision:resnet18, and not a misspelt resnet8.
    ends = (f".{name}", f":{name}") if name else ()
    starts = (f"{name}_",) if name else ()
    nearest += [one for one in known if one.endswith(ends) or one.startswith(starts)]
    nearest += get_close_matches(name[:LONGEST], known, n=1, cutoff=0.6)
    if not nearest and len(name) >= _SHORTEST_STEM:
        nearest = [candidate for candidate in known if candidate.startswith(name)]
    if nearest:
        return f"Did you mean {nearest[0]}?"
    if not known:
        return "There is none."
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"Known: {', '.join(known[:_SHOWN])}{more}."
