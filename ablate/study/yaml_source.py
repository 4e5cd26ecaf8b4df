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
from yaml.reader import ReaderError

from ablate.errors import Problem
from ablate.study.document import Document, Finding, Path, Place, dotted, show, unstorable

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


def parse_yaml(text: str, file: str) -> Document:
    """Read YAML text.

    Args:
        text: one YAML document.
        file: name in messages.

    Returns:
        The data with the position of every part.  Problems are in `problems`; the data is None if
        the text is not YAML.
    """
    document, loader = Document(file), None
    line, column = 0, 0
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(document).build(node, ())
        return document
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        rule = f"a control character, got {show(text[error.position])}. Remove it."
    except yaml.MarkedYAMLError as error:
        if mark := error.problem_mark or error.context_mark:
            line, column = mark.line + 1, mark.column + 1
        what = (error.problem or error.context or "it ends too early").removeprefix("but ")
        rule = f"{what}. {next(fix for sign, fix in _FIXES if sign in what)}"
    except RecursionError:
        line, column = 1, 1
        rule = "nested too deeply, perhaps by aliases of aliases. Make it flatter."
    finally:
        if loader is not None:
            loader.dispose()
    document.problems.append(Problem(file, line, column, f"invalid YAML: {rule}"))
    return document


class _Builder:
    """Converts nodes to plain data; an alias is built at each use, so that positions differ."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: set[int] = set()
        self._count = 0

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._document.places.setdefault(path, self._place(node))
        self._count += 1
        if self._count > MAX_NODES:
            problem = f"more than {MAX_NODES} values after aliases. Use fewer aliases"
            raise ComposerError(None, None, problem, node.start_mark)
        if id(node) in self._open:
            raise ComposerError(None, None, "an alias contains itself", node.start_mark)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.remove(id(node))

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._document.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        rule, value = None, None
        if node.tag not in _SCALARS or not isinstance(node, yaml.ScalarNode):
            rule = f"tags are not allowed, got {show(node.tag)}. Remove the tag."
        elif node.tag == f"{_TAG}int" and len(node.value) > 1000:
            length = len(node.value)  # more digits than Python may read
            rule = f"whole numbers must be below 2**63, got one of {length} characters. Shorten it."
        else:
            try:
                value = _SCALARS[node.tag](node.value)
            except ValueError:
                rule = f"must fit its tag, got {show(node.value)}. Remove the tag."
        rule = rule or unstorable(value)
        if rule is not None:
            self._document.report([Finding(path, rule)])
            return None
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        places, data = self._document.places, dict[str, Any]()
        for key, value in node.value:
            is_text = key.tag == f"{_TAG}str" and isinstance(key, yaml.ScalarNode)
            name = key.value if is_text else "?"
            inner, rule = (*path, name), None
            if not is_text:
                got = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                rule = f"keys must be text, got {got}. Put it in quotes."
            elif name in data:
                rule = f"key given twice, got it here and on line {places[inner].line}. Remove one."
            if rule is not None:
                problem = self._place(key).problem(f"{dotted(inner)}: {rule}")
                self._document.problems.append(problem)
                self._document.refused.add(inner)
                continue
            places[inner] = self._place(key)
            data[name] = self.build(value, inner)
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
