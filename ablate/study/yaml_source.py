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
from ablate.study.document import Document, Path, Place, dotted, show, unstorable

MAX_DEPTH = 40
MAX_NODES = 20_000

_TAG = "tag:yaml.org,2002:"
_FIXES = (
    ("mapping values", 'Put text that holds ": " in quotes, or check the indentation.'),
    ("'\\t'", "Indent with spaces, not with tabs."),
    ("undefined alias", "Define it with & before it is used."),
    ("another document", "Keep one document in a file."),
    ("levels", "Make it flatter."),
    ("", "Check the indentation, brackets and quotes there."),
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

_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": lambda text: int(text, 0 if text[:2] in ("0o", "0x") else 10),
    f"{_TAG}float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
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
    place, loader = Place(file), None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document).build(node, ())
        return document
    except ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, error.position - before.rfind("\n"))
        rule = f"a control character, got {show(text[error.position])}. Remove it."
    except yaml.MarkedYAMLError as error:
        place = _place(file, error.problem_mark or error.context_mark)
        what = (error.problem or error.context or "it ends too early").removeprefix("but ")
        rule = f"{what}. {next(fix for sign, fix in _FIXES if sign in what)}"
    except RecursionError:
        place = Place(file, 1, 1)
        rule = "nested too deeply, perhaps by aliases of aliases. Make it flatter."
    finally:
        if loader is not None:
            loader.dispose()
    document.problems.append(Problem(*place, f"invalid YAML: {rule}"))
    return document


def _place(file: str, mark: Mark | None) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)


class _Builder:
    """Converts nodes to plain data; an alias is built at each use, so that positions differ."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._document.values[path] = _place(self._document.file, node.start_mark)
        self._count += 1
        if self._count > MAX_NODES:
            problem = f"more than {MAX_NODES} values after aliases. Use fewer aliases"
            raise ComposerError(None, None, problem, node.start_mark)
        if id(node) in self._open:
            raise ComposerError(None, None, "an alias contains itself", node.start_mark)
        self._open.add(id(node))
        try:
            if node.tag not in _SCALARS.keys() | _COLLECTIONS:
                rule = f"tags are not allowed, got {show(node.tag)}. Remove the tag."
                return self._refuse(node, path, rule)
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.remove(id(node))

    def _refuse(self, node: yaml.Node, path: Path, rule: str) -> None:
        self._document.refused.add(path)
        name = f"{dotted(path)}: " if path else ""
        place = _place(self._document.file, node.start_mark)
        self._document.problems.append(Problem(*place, name + rule))

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            value = _SCALARS[node.tag](node.value)
        except (KeyError, ValueError):
            if not node.value.lstrip("+-").isdecimal():
                kind = node.tag.removeprefix(_TAG)
                rule = f"must fit its tag !!{kind}, got {show(node.value)}. Remove the tag."
                return self._refuse(node, path, rule)
            value = 2**63  # of more digits than Python reads
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._document.written[path] = cut(node.value)
        if isinstance(value, int) and abs(value) >= 2**63:
            rule = f"whole numbers must be below 2**63, got {cut(node.value, 40)}"
            return self._refuse(node, path, f"{rule}. Write a smaller one.")
        if isinstance(value, str) and (rule := unstorable(value) or ""):
            return self._refuse(node, path, rule)
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        keys, data = self._document.keys, dict[str, Any]()
        for key, value in node.value:
            inner = (*path, key.value if isinstance(key.value, str) else "?")
            if key.tag != f"{_TAG}str":
                got = "a list or mapping" if key.tag in _COLLECTIONS else key.value
                rule = f"keys must be text, got {got}. Put it in quotes."
                self._refuse(key, (*path, "?"), rule)
            elif key.value in data:
                rule = f"key given twice, got it here and on line {keys[inner].line}. Remove one."
                self._refuse(key, inner, rule)
            else:
                keys[inner] = _place(self._document.file, key.start_mark)
                data[key.value] = self.build(value, inner)
        return data


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
