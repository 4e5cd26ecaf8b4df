"""Pages of the site that are made from the code when it is built; a hook of mkdocs.

Study keys come from the JSON Schema, the Python reference from `ablate.__all__`, the gallery from
recorded studies by the commands that it shows, the pages of the packages from their READMEs. Links
in a page are those of the repository: what they lead to outside docs/ is copied into the site.
"""

from __future__ import annotations

import inspect
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gallery import gallery_images, gallery_page, printed
from mkdocs.structure.files import File, Files

import ablate
from ablate.cli.main import main

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")


_FOUND_LATER = "---\nsearch: {boost: 0.3}\n---\n"
"""Pages of the packages come after the others in the search."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the packages' READMEs, and what pages link to outside docs/."""
    made = {
        "reference/keys.md": keys_page(),
        "reference/commands.md": commands_page(),
        "reference/python.md": python_page(),
        "reference/figures.md": gallery_page(),
        "packages/index.md": packages_page(),
        **{page: notebook_page(ROOT / file) for file, page in NOTEBOOKS.items()},
        **{page: (ROOT / file).read_text() for file, page in STUDIES.items()},
        **{
            page: _FOUND_LATER + (ROOT / file).read_text() for file, page in package_pages().items()
        },
        **gallery_images(),
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    for page in files.documentation_pages():
        for target in linked(page.content_string, origin(page.src_uri)):
            site = site_path(target)
            if not target.startswith("docs/") and files.get_file_from_path(site) is None:
                with suppress(OSError):  # what is not there is a broken link, which mkdocs names
                    content = (ROOT / target).read_bytes()
                    files.append(File.generated(config, site, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_of_mkdocs: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    source = origin(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def to_site(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[0]))
        return posixpath.relpath(site_path(target), here or ".")

    return _LINK.sub(to_site, markdown)


# -- Where a file of the repository is on the site ------------------------------------------


@cache
def package_pages() -> Mapping[str, str]:
    """The README of each package, and its page."""
    readmes = sorted((ROOT / "ablate").rglob("README.md"))
    return {
        str(file.relative_to(ROOT)): f"packages/{file.parent.relative_to(ROOT / 'ablate')}.md"
        for file in readmes
    } | {"benchmarks/search/README.md": "packages/benchmarks.md"}


def origin(page: str) -> str:
    """The file of the repository that a page of the site is made of."""
    pages = package_pages() | NOTEBOOKS | STUDIES
    return {site: file for file, site in pages.items()}.get(page, f"docs/{page}")


def site_path(target: str) -> str:
    """Where the site has a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return (package_pages() | NOTEBOOKS | STUDIES).get(target, f"files/{target}")


def linked(markdown: str, source: str) -> Iterator[str]:
    """The files of the repository that a page made of `source` links to."""
    for target in _LINK.findall(markdown):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


NOTEBOOKS = {"examples/find_the_flaw.ipynb": "tutorials/find_the_flaw.md"}
"""Notebooks whose stored outputs are shown as a page."""
STUDIES = {
    "studies/paper/README.md": "studies/paper.md",
    "studies/paper/results/imagenet_demo.md": "studies/imagenet_demo.md",
    "studies/paper/results/tables.md": "studies/tables.md",
}
"""Plans and results of studies that pages link to."""

# -- Pages from the code --------------------------------------------------------------------


def packages_page() -> str:
    """A list of the packages, each with the title of its README."""
    lines = [
        f"- [{page.removeprefix('packages/').removesuffix('.md')}](../{page})"
        f": {(ROOT / file).read_text().partition(chr(10))[0].lstrip('# ').partition(': ')[2]}"
        for file, page in package_pages().items()
    ]
    return (
        "# Packages\n\nThe README of each package, for those who read or change the code: its "
        "files, its formats, its decisions and their reasons. "
        "[Architecture](../architecture.md) shows how they work together.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def notebook_page(file: Path) -> str:
    """A notebook with its stored outputs."""
    parts = []
    for cell in json.loads(file.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text.replace("<details>", '<details markdown="1">'))
        else:
            parts += [f"```python\n{text}\n```", *map(_output, cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        image = "".join(data["image/png"]).strip()
        return f'<img alt="Figure" src="data:image/png;base64,{image}">'
    if "text/html" in data:
        return f'<div class="output">\n{"".join(data["text/html"])}\n</div>'
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"


def commands_page() -> str:
    """Every command with its arguments and options, from click."""
    _, study, *_ = inspect.cleandoc(main.help or "").split("\n\n")
    parts = [
        "# Commands\n\nMade from the commands themselves: `ablate COMMAND --help` prints the same. "
        f"{' '.join(study.split())} Commands that print tables accept `--json`. "
        "[Exit codes](../howto/resume.md#exit-codes).\n"
    ]
    for name, command in sorted(main.commands.items()):
        of_it = getattr(command, "commands", {})
        for words, one in [(name, command), *((f"{name} {sub}", of_it[sub]) for sub in of_it)]:
            parts.append(_command_section(f"ablate {words}", one))
    return "".join(parts)


def _command_section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = command.get_usage(context).removeprefix("Usage: ")
    said = inspect.cleandoc(command.help or "")
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and not record[0].endswith("--help"):
            options, text = (" ".join(part.split()).replace("|", "\\|") for part in record)
            rows.append(f"| `{options}` | {_plain(text)} |")
    table = "| option | |\n|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return f"\n## {name}\n\n```text\n{usage}\n```\n\n{_plain(said)}\n\n{table}"


def _plain(text: str) -> str:
    """Text for a page: what looks like a tag or a link is none."""
    return text.replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")


def python_page() -> str:
    """Everything public, with its signature and its docstring."""
    parts = [
        "# Python\n\nEverything public is in `ablate`: `import ablate`, then `ablate.launch(...)`. "
        "Made from the docstrings; each example is run by a test. `own.yaml` is the study of "
        "[your training loop](../tutorials/own_loop.md).\n"
    ]
    for name in ablate.__all__:
        thing = getattr(ablate, name)
        parts.append(f"\n## {name}\n\n{_documented(thing, name)}")
        if inspect.ismodule(thing):
            for part in thing.__all__:
                if inspect.isfunction(function := getattr(thing, part)):
                    parts.append(f"\n### {name}.{part}\n\n{_documented(function, part)}")
        if inspect.isclass(thing):
            for part, value in vars(thing).items():
                method = value.fget if isinstance(value, property) else value
                said = inspect.getdoc(method) or ""
                is_called = inspect.isfunction(method) and ("\n" in said or method is not value)
                if is_called and not part.startswith("_"):
                    parts.append(f"\n### {name}.{part}\n\n{_documented(method, part)}")
    return "".join(parts)


def _documented(thing: Any, name: str) -> str:
    signature = ""
    with suppress(ValueError, TypeError):  # a module has none
        signature = f"```python\n{name}{_signature(inspect.signature(thing))}\n```\n\n"
    return signature + _docstring_page(inspect.getdoc(thing) or "")


def _signature(of: inspect.Signature) -> str:
    """Without types, which the docstring says; a long one has a line for each parameter."""
    shown = []
    for one in of.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not any(text.startswith("*") for text in shown):
            shown.append("*")
        shown.append(re.sub(r"=<.*>$", "=...", str(one.replace(annotation=one.empty))))
    together = f"({', '.join(shown)})"
    return together if len(together) < 72 else "(\n    " + ",\n    ".join(shown) + "\n)"


_SECTION = re.compile(
    r"^(Args|Returns|Raises|Yields|Attributes|Example|Source):(.*\n(?:(?:[ ]+.*)?\n)*)",
    re.MULTILINE,
)


def _docstring_page(text: str) -> str:
    """A docstring in Google's style as Markdown."""

    def section(found: re.Match[str]) -> str:
        name, body = found[1], inspect.cleandoc(found[2])
        if name == "Example":
            return f"**Example**\n\n```python\n{body}\n```\n\n"
        if name not in ("Args", "Raises", "Attributes"):
            return f"**{name}**: {_plain(body)}\n\n"
        entry = r"^([\w*][\w*, ]*(?:\([^)]*\))?): "
        items = re.sub(entry, r"- `\1`: ", _plain(body).replace("\\*", "*"), flags=re.MULTILINE)
        return f"**{name}**\n\n{items}\n\n"

    return _SECTION.sub(section, text + "\n")


def keys_page() -> str:
    """Every key of a study file: section by section, from the JSON Schema."""
    schema = json.loads(printed(["schema"]))
    parts = [
        "# Study keys\n\nMade from the schema that `ablate schema` prints and `ablate check` "
        "enforces. A study needs `version`, `name`, and `dataset` and `model` or `trainable`; "
        "every other key has a default. `--set KEY=VALUE` accepts any of them. "
        "[Search spaces](spaces.md) has the domains of `space`.\n"
    ]
    top: list[str] = []
    for key, entry in schema["properties"].items():
        settings = _settings(entry, schema)
        if settings is None or key == "space":
            top.append(_key_row(key, entry, schema, key in schema["required"]))
        else:
            rows = list(_key_rows(f"{key}.", settings, schema))
            said = entry.get("description") or settings.get("description") or ""
            parts.append(f"\n## {key}\n\n{said}\n\n{_HEAD}" + "\n".join(rows) + "\n")
    parts.insert(1, f"\n## The top of the file\n\n{_HEAD}" + "\n".join(top) + "\n")
    return "".join(parts)


_HEAD = "| key | values | default | |\n|---|---|---|---|\n"


def _settings(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section that a key holds, if it holds one; of a list the section of its items."""
    ways = [entry, *entry.get("anyOf", ()), entry.get("items", {})]
    for way in ways:
        found = schema["$defs"].get(way.get("$ref", "").removeprefix("#/$defs/"), {})
        if "properties" in found:
            return dict(found)
    return None


def _key_rows(prefix: str, settings: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    for key, entry in settings["properties"].items():
        inner = _settings(entry, schema)
        yield _key_row(prefix + key, entry, schema, key in settings.get("required", ()))
        if inner is not None:
            yield from _key_rows(f"{prefix}{key}.", inner, schema)


def _key_row(key: str, entry: Mapping[str, Any], schema: Mapping[str, Any], required: bool) -> str:
    default = "required" if required else _shown_default(entry, schema)
    said = entry.get("description", "").replace("|", "\\|").replace("  ", " ")
    return f"| `{key}` | {_values(entry, schema)} | {default} | {said} |"


def _shown_default(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    is_section = _settings(entry, schema) is not None
    if "default" not in entry or (is_section and entry["default"]):
        return ""
    default = entry["default"]
    if default in (None, "", [], {}):
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _values(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Type and range of a key, in a few words."""
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if "anyOf" in entry:
        ways = [_values(way, schema) for way in entry["anyOf"] if way.get("type") != "null"]
        return " or ".join(dict.fromkeys(ways))
    if "$ref" in entry or "allOf" in entry:
        return "section"
    kind = entry.get("type", "")
    if kind == "array":
        items = entry.get("items", {})
        return "list of sections" if "$ref" in items else f"list of {_values(items, schema)}"
    names = {"integer": "int", "number": "float", "string": "text", "boolean": "true or false"}
    return f"{names.get(kind, 'mapping' if kind == 'object' else 'any')}{_range(entry)}"


def _range(entry: Mapping[str, Any]) -> str:
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {entry[name]:g}" for name, sign in bounds.items() if name in entry]
    return f" {', '.join(said)}" if said else ""
