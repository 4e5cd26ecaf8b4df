"""A file's content as plain data, with the position of each key and value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ablate.errors import Problem, storable_text

Path = tuple[str | int, ...]
Rules = Iterator[tuple[Path, str]]
"""What is wrong: the path of a key, and `rule, got X. Fix.`"""


@dataclass(frozen=True)
class Place:
    """A position in a file or option.

    Attributes:
        file: as the user named it, or `--set KEY`.
        line, column: from 1; 0 if unknown.
    """

    file: str
    line: int = 0
    column: int = 0


@dataclass
class Document:
    """Plain data, the position of each part, and the problems found.

    Attributes:
        file: of the complete data; empty for data from Python, whose parts are named by their path.
        data: dicts, lists, text, numbers, true, false and None; text keys only.
        keys, values: positions by path, such as `("loss", "fma", "layers", 0)`; a list has no keys.
        written: text of each number, by path.
        problems: found so far; reading continues, so that all are shown at once.
        refused: paths of the problems.
    """

    file: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)

    def get(self, path: Path, default: Any = None) -> Any:
        """The value at a path, or the default where the path leads nowhere."""
        node = self.data
        for part in path:
            if not has(node, part):
                return default
            node = node[part]
        return node

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Position of the value (or its key); the nearest one above if it is not written."""
        if key and path in self.keys:
            return self.keys[path]
        for end in range(len(path), -1, -1):
            if path[:end] in self.values:
                return self.values[path[:end]]
        return Place(self.file)

    def replace(self, path: Path, other: Document, *, key: Place | None = None) -> None:
        """Put another document at a path whose parent is a mapping, with its places."""
        parent = self.get(path[:-1])
        parent[path[-1]] = other.data
        for places in (self.keys, self.values, self.written):
            for old in [old for old in places if old[: len(path)] == path and old != path]:
                del places[old]
        self.values.pop(path, None)
        self.written.pop(path, None)
        self.keys.update({path + inner: place for inner, place in other.keys.items()})
        self.values.update({path + inner: place for inner, place in other.values.items()})
        self.written.update({path + inner: text for inner, text in other.written.items()})
        if key is not None:
            self.keys[path] = key
        self.problems += other.problems

    def refuse(self, path: Path, rule: str, *, name: str | None = None, key: bool = False) -> None:
        """Add a problem.

        Args:
            path: path of the problem.
            rule: `rule, got X. Fix.`
            name: name in the message; default: the dotted path.
            key: the key itself is wrong, so its position is shown.
        """
        if path in self.written and not key:  # 1e3, where it was read as 1000.0
            rule = rule.replace(f"got {show(self.get(path))}", f"got {self.written[path]}", 1)
        self.refused.append(path)
        place = self.place(path, key=key)
        name = dotted(path) if name is None or not place.file else name
        prefix = "" if not name or place.file == f"--set {name}" else f"{name}: "
        self.problems.append(Problem(place.file, place.line, place.column, prefix + rule))


def has(node: Any, part: str | int) -> bool:
    """Whether a mapping has this key, or a list this index."""
    if isinstance(part, int):
        return isinstance(node, list) and 0 <= part < len(node)
    return isinstance(node, dict) and part in node


def dotted(path: Path) -> str:
    """A path as a reader writes it: `objectives[1].metric`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def unstorable(text: str) -> str | None:
    """Why a text cannot be kept in a database or be a path, as `rule, got X. Fix.`; else None."""
    if storable_text(text) == text:
        return None
    return f"must be text that can be stored, got {show(text)}. Remove the control character."


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
        inner = ", ".join(f"{key}: {_flow(item)}" for key, item in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return repr(value)
