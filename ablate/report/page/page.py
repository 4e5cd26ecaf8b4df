"""The page of a report: content in, one HTML text out, plotly in it once, no network at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from ablate.report.page.content import ReportContent
from ablate.report.theme import DARK

_FOLDER = files("ablate.report.page")
_SCRIPTS = ("memory", "colours", "figures", "trial", "rows", "tables", "begin")
"""In one scope, in this order: each uses what stands before it."""


def report_page(content: ReportContent) -> str:
    """The page as HTML.

    Whatever the study's author wrote is escaped: as text by Jinja, in data by escaping every `<`.
    """
    from jinja2 import Environment
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_text("page.html.j2"))
    made = datetime.fromtimestamp(content.made, UTC)
    return template.render(
        content=content,
        # Figures and trials are data; scripts and style are the package's own.
        figures={figure.anchor: Markup(_data(figure.json)) for figure in content.figures},
        trials=Markup(_data(json.dumps(content.trials.to_json(), separators=(",", ":")))),
        settings=Markup(_data(json.dumps(_page_settings(content)))),
        style=Markup(_text("page.css")),
        script=Markup("\n".join(_text(f"script/{name}.js") for name in _SCRIPTS)),
        plotly=Markup(get_plotlyjs()),
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _page_settings(content: ReportContent) -> dict[str, Any]:
    return {
        "dark": DARK,
        "export": content.export,
        "reloadSeconds": content.reload_seconds,
        "study": content.study,
    }


def _data(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
