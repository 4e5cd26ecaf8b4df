"""The page of a report: content in, one HTML text out, plotly in it once, no network at all."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from ablate.errors import MissingDependencyError
from ablate.report.formats import html_table
from ablate.report.page.content import ReportContent
from ablate.report.style import DARK
from ablate.report.write import figure_image

_FOLDER = files("ablate.report.page")
_TOGETHER = re.compile(r"[+-][\d.]+ points|\([^()]{,24} to [^()]{,12}\)|\d %|trials? \d+")
_CODE = re.compile(r"`([^`]+)`")
_SPELLED = ("FMA", "ST", "DA", "CA", "robust accuracy")


def report_page(content: ReportContent, *, brief: bool = False) -> str:
    """The page as HTML.

    Args:
        brief: only the first screen, with its figure as an image and without scripts; the figure
            is left out where no image can be drawn.

    Whatever the study's author wrote is escaped: as text by Jinja, in data by escaping every `<`.
    """
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    terms = Terms()
    environment.filters["prose"] = lambda text: Markup(terms.explained(text))
    page_settings = {
        "dark": DARK,
        "export": content.export,
        "reloadSeconds": content.reload_seconds,
        "study": content.study,
    }
    return environment.from_string(_text("page.html.j2")).render(
        content=content,
        brief=brief,
        picture=_picture(content) if brief else "",
        names=spelled_out(" ".join(content.answer.sentences)),
        table=lambda table: Markup(html_table(table)),
        # Figures and trials are data; scripts and style are the package's own.
        figures={figure.anchor: Markup(_data(figure.json)) for figure in content.figures},
        trials=Markup(_data(json.dumps(vars(content.trials), separators=(",", ":")))),
        settings=Markup(_data(json.dumps(page_settings))),
        style=Markup(_text("page.css")),
        script=Markup("\n".join(_text(name) for name in ("figures.js", "rows.js"))),
        plotly="" if brief else Markup(get_plotlyjs()),
        made=datetime.fromtimestamp(content.made, UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


class Terms:
    """Explains each term of the glossary (`glossary.yaml`) where a page prints it first."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def explained(self, text: str) -> str:
        """The text as HTML: terms with what they mean as a tooltip, `words in backticks` as code,
        numbers not parted from their unit or interval at the end of a line."""
        from markupsafe import escape

        pattern, meanings = _glossary()

        def term(found: re.Match[str]) -> str:
            word = found["term"]
            key = word if word in meanings else word.lower()
            if key in self._seen or key not in meanings:
                return found[0]
            self._seen.add(key)
            return f'<abbr title="{escape(meanings[key])}">{found[0]}</abbr>'

        parts = re.split(r"(`[^`]+`)", text)
        shown = (
            f"<code>{escape(part.strip('`'))}</code>"
            if _CODE.fullmatch(part)
            else pattern.sub(term, str(escape(_TOGETHER.sub(_unbroken, part))))
            for part in parts
        )
        return "".join(shown)


def spelled_out(text: str) -> str:
    """ "FMA: feature-map augmentation loss · ST: stability training", of the names in a text."""
    meanings = _glossary()[1]
    said = {
        name: meanings[name].partition(":")[0]
        for name in _SPELLED
        if re.search(rf"\b{name}\b", text)
    }
    return " · ".join(f"{name}: {short[:1].lower()}{short[1:]}" for name, short in said.items())


def _unbroken(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")


@cache
def _glossary() -> tuple[re.Pattern[str], dict[str, str]]:
    """The terms, the longest first, also in the plural; and what each means."""
    import yaml

    meanings = yaml.safe_load(_text("glossary.yaml"))
    longest = sorted(meanings, key=len, reverse=True)
    words = "|".join(
        re.escape(one) if one.isupper() else f"(?i:{re.escape(one)})" for one in longest
    )
    return re.compile(rf"\b(?P<term>{words})(?:s|es)?\b"), meanings


def _picture(content: ReportContent) -> str:
    """The first figure as the source of an image; empty where none can be drawn."""
    import plotly.io

    if content.first is None:
        return ""
    figure = plotly.io.from_json(content.first.json, skip_invalid=True)
    try:
        image = figure_image(figure, (content.first.width, content.first.height))
    except MissingDependencyError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"


def _data(text: str) -> str:
    """JSON that cannot end its script element."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
