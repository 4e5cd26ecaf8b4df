"""YAML as a study file means it: YAML 1.2's scalars, no key twice, every part with its place.

Differs from PyYAML, which reads YAML 1.1: `1e-3` is a number here; `no`, `yes`, `on`, `off`,
`2020-01-01` and `1:30` are text; `010` is ten; `<<` is a key like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.error import Mark
from yaml.reader import ReaderError

from ablate.errors import Problem, cut
from ablate.study.document import Document, Path, Place, show, unstorable

MAX_DEPTH = 40
MAX_NODES = 20_000

_TAG = "tag:yaml.org,2002:"
_FIXES = (
    ("mapping values", 'Put text that holds ": " in quotes, or check the indentation.'),
    ("'\\t'", "Indent with spaces, not with tabs."),
    ("undefined alias", "Define it with & before it is used."),
    ("another document", "Keep one document in a file."),
    ("levels", "Make it flatter."),
)


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalars and a bounded depth."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (replaced below, for this class alone)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(None, None, f"more than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(rf"^(?:{_pattern})$"), _first)


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": _int,
    f"{_TAG}float": _float,
    f"{_TAG}str": str,
}
_COLLECTIONS = {f"{_TAG}seq", f"{_TAG}map"}


def parse_yaml(text: str, file: str) -> Document:
    """Read YAML text.

    Args:
        text: one YAML document.
        file: name in messages.

    Returns:
        The data with the position of every key and value.  Problems are in `problems`; the data is
        None if the text is not YAML.
    """
    document = Document(file)
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document).build(node, ())
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        rule = f"invalid YAML: a control character, got {show(text[error.position])}. Remove it."
        document.problems.append(Problem(file, line, column, rule))
    except yaml.MarkedYAMLError as error:
        place = _place(file, error.problem_mark or error.context_mark)
        what = error.problem or error.context or "it ends too early"
        fix = next((fix for sign, fix in _FIXES if sign in what), None)
        fix = fix or "Check the indentation, brackets and quotes there."
        rule = f"invalid YAML: {what.removeprefix('but ')}. {fix}"
        document.problems.append(Problem(file, place.line, place.column, rule))
    except RecursionError:
        rule = "invalid YAML: nested too deeply, perhaps by aliases of aliases. Make it flatter."
        document.problems.append(Problem(file, 1, 1, rule))
    finally:
        if loader is not None:
            loader.dispose()
    return document


def without_key(text: str, key: str) -> str:
    """Remove one key from the YAML text of a mapping.

    Args:
        text: a document that `parse_yaml` accepts.
        key: of the mapping; in block style its lines are removed, with a trailing comment.
    """
    root, entries = _entries(text)
    for at in reversed([at for at, entry in enumerate(entries) if entry[0] == key]):
        _, start, end = entries[at]
        if not root.flow_style:
            line = text.rfind("\n", 0, start.index) + 1
            has_line = text[line : start.index].strip() in ("", "?")  # and no --- before it
            first = line if has_line else start.index
            after = text.find("\n", end.index) + 1 if end.column else end.index
            text = text[:first] + (text[after:] if after else "")
        elif at + 1 < len(entries):
            text = text[: start.index] + text[entries[at + 1][1].index :]
        else:
            text = text[: entries[at - 1][2].index if at else start.index] + text[end.index :]
    return text


def _entries(text: str) -> tuple[yaml.MappingStartEvent, list[tuple[str, Mark, Mark]]]:
    """The keys of a document's mapping, with the start of each key and the end of its value.

    From events instead of nodes, because the event of an alias has the alias's position.
    """
    events: list[Any] = [
        event
        for event in yaml.parse(text, Loader=_Loader)
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent)
    ]
    found: list[tuple[Any, Mark]] = []
    depth = 0
    for event in events[1:-1]:
        is_end = isinstance(event, yaml.CollectionEndEvent)
        depth -= is_end
        if depth == 0 and is_end:
            found[-1] = (found[-1][0], event.end_mark)
        elif depth == 0:
            found.append((event, event.end_mark))
        depth += isinstance(event, yaml.CollectionStartEvent)
    return events[0], [
        (getattr(key, "value", ""), key.start_mark, end)
        for (key, _), (_, end) in zip(found[::2], found[1::2], strict=True)
    ]


class _Dumper(yaml.SafeDumper):
    """SafeDumper that puts in quotes what `_Loader` would not read as text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def serialize(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = False
        super().serialize(node)


def write_yaml(data: Any) -> str:
    """The text that `parse_yaml` reads as this plain data; innermost lists and mappings below the
    first level in one line."""
    text: str = yaml.dump(
        data,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return text


def _place(file: str, mark: Mark | None) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)


class _Builder:
    """Converts nodes to plain data; an alias is built at each use, so that positions differ."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        document = self._document
        document.values[path] = _place(document.file, node.start_mark)
        self._count += 1
        if self._count > MAX_NODES:
            problem = f"more than {MAX_NODES} values after aliases. Use fewer aliases"
            raise ComposerError(None, None, problem, node.start_mark)
        if id(node) in self._open:
            raise ComposerError(None, None, "an alias contains itself", node.start_mark)
        if node.tag not in _SCALARS.keys() | _COLLECTIONS:
            document.refuse(path, f"tags are not allowed, got {show(node.tag)}. Remove the tag.")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.remove(id(node))

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            value = _SCALARS[node.tag](node.value)
        except (KeyError, ValueError):
            kind = node.tag.removeprefix(_TAG)
            if node.value.lstrip("+-").isdecimal():  # of more digits than Python reads
                return self._too_large(node, path)
            self._document.refuse(
                path, f"must fit its tag !!{kind}, got {show(node.value)}. Remove the tag."
            )
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._document.written[path] = cut(node.value)
        if isinstance(value, int) and abs(value) >= 2**63:
            return self._too_large(node, path)
        if isinstance(value, str) and (rule := unstorable(value)) is not None:
            self._document.refuse(path, rule)
            return None
        return value

    def _too_large(self, node: yaml.Node, path: Path) -> None:
        rule = f"whole numbers must be below 2**63, got {cut(node.value, 40)}"
        self._document.refuse(path, f"{rule}. Write a smaller one.")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        document, made = self._document, dict[str, Any]()
        for key_node, value_node in node.value:
            place = _place(document.file, key_node.start_mark)
            if key_node.tag != f"{_TAG}str":
                document.values[(*path, "?")] = place
                got = "a list or mapping" if key_node.tag in _COLLECTIONS else key_node.value
                document.refuse((*path, "?"), f"keys must be text, got {got}. Put it in quotes.")
                del document.values[(*path, "?")]
                continue
            inner = (*path, key_node.value)
            if key_node.value in made:
                first = document.keys[inner].line
                document.keys[inner] = place
                rule = f"key given twice, got it here and on line {first}. Remove one."
                document.refuse(inner, rule, key=True)
                continue
            document.keys[inner] = place
            made[key_node.value] = self.build(value_node, inner)
        return made
