"""A figure becomes a file: a page that asks no network for anything, or an image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.errors import MissingDependencyError, ParameterError, UsageError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

IMAGE_SCALE = 3
"""Pixels of a .png for one pixel of the layout: 1680 across, 500 an inch in a column of print."""
IMAGE_PIXELS = (560, 500)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>html, body {{ height: 100%; margin: 0; }}</style>
</head>
<body>
{figure}
</body>
</html>
"""


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all.

    Args:
        figure: any; the page takes its title from `layout.meta["title"]` where it has one.
        path: the ending says what: .html holds plotly.js and needs no network; .png, .svg and
            .pdf are drawn by Chromium, at `layout.meta["image_pixels"]` or 560 x 500 pixels
            (.png: threefold).

    Raises:
        ParameterError: if the ending is none of these.
        UsageError: if the folder is missing or cannot be written.
        MissingDependencyError: if an image is asked for without kaleido or without a browser.
    """
    render = _RENDERERS.get(path.suffix.lower())
    if render is None:
        raise ParameterError(
            f"{path}: a figure's file must end with {', '.join(_RENDERERS)}, got "
            f"{path.suffix or 'no ending'}. Name it {path.with_suffix('.html').name}."
        )
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(
            f"{path}: the folder must exist, got {folder}. Make it with: mkdir -p '{folder}'"
        )
    try:
        descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            content = render(figure)
            try:
                file.write(content)
                file.flush()
                _as_a_new_file(unfinished)
                Path(unfinished).replace(path)
            except OSError as error:
                raise _not_writable(path, error) from error
    finally:
        Path(unfinished).unlink(missing_ok=True)


def figure_page(figure: Figure) -> str:
    """The figure as a whole HTML page with plotly.js in it, 5 MB."""
    title = (figure.layout.meta or {}).get("title", "ablate")
    body = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        default_height="100%",
        config={
            "displaylogo": False,
            "responsive": True,
            # "Share chart" would send the study to a server of plotly's.
            "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d"],
        },
    )
    return _PAGE.format(title=escape(title), figure=body)


def _page_bytes(figure: Figure) -> bytes:
    return figure_page(figure).encode()


def _image_renderer(ending: str) -> Callable[[Figure], bytes]:
    def render(figure: Figure) -> bytes:
        return _image_bytes(figure, ending)

    return render


_RENDERERS: dict[str, Callable[[Any], bytes]] = {
    ".html": _page_bytes,
    ".png": _image_renderer("png"),
    ".svg": _image_renderer("svg"),
    ".pdf": _image_renderer("pdf"),
}


def _image_bytes(figure: Figure, ending: str) -> bytes:
    if find_spec("kaleido") is None:
        raise MissingDependencyError(
            f"a .{ending} needs kaleido, which is not installed. "
            "Install it with: pip install 'ablate[images]', or write a .html."
        )
    import kaleido
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    width, height = (figure.layout.meta or {}).get("image_pixels", IMAGE_PIXELS)
    try:
        image = kaleido.calc_fig_sync(
            figure.to_dict(),
            opts={
                "format": ending,
                "width": width,
                "height": height,
                "scale": IMAGE_SCALE if ending == "png" else 1,
            },
            # No MathJax from its server; and a proxy that is nowhere keeps Chromium's own
            # services (updates, field trials) off the network too: the figure is all local.
            kopts={"mathjax": False, "proxy_server": "127.0.0.1:9"},
        )
    except ChromeNotFoundError as error:
        chosen = os.environ.get("BROWSER_PATH")
        got = f"BROWSER_PATH={chosen}" if chosen else "none on the PATH"
        raise MissingDependencyError(
            f"a .{ending} needs Chromium or Chrome, got {got}. Install one (Debian, Ubuntu: apt "
            "install chromium; or: kaleido_get_chrome), or write a .html."
        ) from error
    except BrowserFailedError as error:
        raise MissingDependencyError(
            f"a .{ending} needs a Chromium that starts, got one that ended at once. Try it with: "
            "chromium --headless --version, or write a .html."
        ) from error
    return bytes(image)


def _as_a_new_file(name: str) -> None:
    """Give the file the rights of any new file: a temporary one is its owner's alone."""
    mask = os.umask(0)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)


def _not_writable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path}: the folder must be writable, got {error.strerror}. Write elsewhere."
    )
