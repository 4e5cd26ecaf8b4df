"""How a study's values are named and shown, what a rule finds, and where a file has each value.

A rule is a function of plain values and gives findings.  Only the border, which reads a file,
`--set` or Python, knows a `Document`, and turns findings into messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ablate.errors import Problem, cut, storable_text

Path = tuple[str | int, ...]
"""Of a value in a study's data, such as `("loss", "fma", "layers", 0)`."""


class Finding(NamedTuple):
    """What is wrong with the value at a path: `rule, got X. Fix.`"""

    path: Path
    rule: str


def dotted(path: Path) -> str:
    """A path as a reader writes it: `objectives[1].metric`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif text:
            text += f".{part}"
        else:
            text = part
    return text


def starts_with(path: Path, above: Path) -> bool:
    """Whether a path is this one, or below it."""
    return path[: len(above)] == above


def has(node: Any, part: str | int) -> bool:
    """Whether a mapping has this key, or a list this index."""
    if isinstance(part, int):
        return isinstance(node, list) and 0 <= part < len(node)
    return isinstance(node, dict) and part in node


def get(data: Any, path: Path, default: Any = None) -> Any:
    """The value at a path of plain data, or the default where the path leads nowhere."""
    for part in path:
        if not has(data, part):
            return default
        data = data[part]
    return data


def unstorable(value: Any) -> str | None:
    """Why a text or number cannot be kept in a database, as `rule, got X. Fix.`; else None."""
    if isinstance(value, str) and storable_text(value) != value:
        return f"must be text that can be stored, got {show(value)}. Remove the control character."
    if isinstance(value, int) and abs(value) >= 2**63:
        got = cut(str(value), 40)
        return f"whole numbers must be below 2**63, got {got}. Write a smaller one."
    return None


def show(value: Any) -> str:
    """A value as the `got` of a message: as YAML would write it, at most 60 characters."""
    text = _flow(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flow(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return repr(value)


# -- Where a file has each value -----------------------------------------------------------


class Place(NamedTuple):
    """A position: the file as the user named it, or `--set KEY`; line and column from 1, 0 if
    unknown; and whether `file` already names the key there, as `--set KEY` does."""

    file: str
    line: int = 0
    column: int = 0
    names_key: bool = False

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.column, message)


@dataclass
class Document:
    """Plain data, the position of each part, and the problems in it.

    Attributes:
        file: of the complete data; empty for data from Python, whose parts are named by their path.
        data: dicts, lists, text, numbers, true, false and None; text keys only.
        places: of each key of a mapping and each item of a list, by path.
        problems: so far; reading continues, so that all are shown at once.
        refused: paths of the problems, and of values that are not known because of them.
    """

    file: str
    data: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)

    def get(self, path: Path, default: Any = None) -> Any:
        """The value at a path, or the default where the path leads nowhere."""
        return get(self.data, path, default)

    def report(self, findings: Iterable[Finding]) -> None:
        """Add a problem for each finding that is not about a value that was refused before."""
        before = tuple(self.refused)
        for path, rule in findings:
            if any(starts_with(path, refused) for refused in before):
                continue
            self.refused.add(path)
            place = self.place(path)
            name = name_of(path) if place.file else dotted(path)
            is_named = place.names_key and path in self.places
            prefix = "" if not name or is_named else f"{name}: "
            self.problems.append(place.problem(prefix + rule))

    def place(self, path: Path) -> Place:
        """Position of a value; of the nearest one above if it is not written."""
        above = (path[:end] for end in range(len(path), -1, -1))
        return next((self.places[at] for at in above if at in self.places), Place(self.file))

    def put(self, path: Path, data: Any, place: Place, inner: Document | None = None) -> None:
        """Put data at a path whose parent is a mapping.

        Args:
            place: of the key.
            inner: the document of the data, for the places in it and what was refused there.
        """
        self.get(path[:-1])[path[-1]] = data
        self.places = {at: kept for at, kept in self.places.items() if not starts_with(at, path)}
        if inner is not None:
            self.places |= {path + at: where for at, where in inner.places.items()}
            self.problems += inner.problems
            self.refused |= {path + at for at in inner.refused}
        self.places[path] = place


def name_of(path: Path) -> str:
    """What a message calls a value: in a space its parameter, or its block, alone."""
    if path[:1] != ("space",) or len(path) == 1:
        return dotted(path)
    path = path[1:]
    while len(path) > 2 and path[1] == "parameters":
        path = path[2:]
    return str(path[0])
