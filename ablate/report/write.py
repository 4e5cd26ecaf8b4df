"""Figures as files: pages that make no network request, or images."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.errors import MissingDependencyError, ParameterError, UsageError, pip_install
from ablate.errors.masking import without_secrets
from ablate.files.cache import publish_file, writing
from ablate.report.style import FONT, INCHES_PER_PIXEL, INK, PAPER

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_PIXELS_PER_INCH = {"png": 400.0, "svg": 96.0, "pdf": 96.0}
_IMAGE_PIXELS = (434, 400)
PAGE = ".html"
ENDINGS = (PAGE, ".png", ".svg", ".pdf")

_PAGE_TEXT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
html {{ height: 100%; }}
body {{ min-height: 100%; margin: 0; display: flex; flex-direction: column; }}
figure {{ margin: 0; flex: 1 0 {height}px; display: flex; flex-direction: column; }}
figure > div {{ flex: 1; }}
figcaption {{ order: 1; margin: 0 auto; padding: 8px 16px 16px; max-width: 52em; color: {ink};
  background: {paper}; font: 14px/1.45 {font}; }}
</style>
</head>
<body style="background: {paper}">
{caption}<figure>{figure}</figure>
</body>
</html>
"""


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically: see `write_figures`."""
    write_figures([(figure, path)])


def write_figures(drawn: Sequence[tuple[Figure, Path]]) -> None:
    """Write figures, each atomically; one browser draws all images.

    Args:
        drawn: figures and paths; the page title is `layout.meta["title"]`, if set. The ending
            selects the format: .html includes plotly.js and needs no network; .png, .svg and .pdf
            are drawn by Chromium from a layout of `layout.meta["image_pixels"]`, at
            `layout.meta["inches"]` (.png: 400 pixels an inch). `layout.meta["caption"]`, if set,
            stands under the figure of a page.

    Raises:
        ParameterError: if an ending is none of these.
        UsageError: if a folder is missing or cannot be written.
        MissingDependencyError: if an image is requested without kaleido or without a browser.
    """
    for _, path in drawn:
        check_file(path)
        if path.suffix.lower() not in ENDINGS:
            raise ParameterError(
                f"{path}: a figure's file must end with {', '.join(ENDINGS)}, got "
                f"{path.suffix or 'no ending'}. Write {path.with_suffix(PAGE).name}."
            )
    of_image = {path: figure for figure, path in drawn if path.suffix.lower() != PAGE}
    asked = [(figure, path.suffix.lower()[1:]) for path, figure in of_image.items()]
    images = dict(zip(of_image, _images(asked), strict=True))
    for figure, path in drawn:
        _publish(images.get(path) or figure_page(figure).encode(), path)


def write_text(text: str, path: Path) -> None:
    """Write a text as UTF-8 atomically; its folder is made.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    _publish(text.encode(), path)


def make_folder(path: Path) -> None:
    """Make a folder for several files, and those above it.

    Raises:
        UsageError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path}: must be a folder that can be created, got {error.strerror}. Choose another."
        ) from error


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, before it is made.

    Raises:
        UsageError: if the folder is missing or cannot be written.
    """
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{path}: must be a file, got a folder. Name a file in it.")
    if not folder.is_dir():
        raise UsageError(
            f"{path}: the folder must exist, got {folder}. Create it with: mkdir -p '{folder}'"
        )
    with writing(path), tempfile.TemporaryFile(dir=folder):
        pass


def figure_page(figure: Figure) -> str:
    """The figure as a complete HTML page with plotly.js, 5 MB.

    It fills the window; a figure that is higher as an image has that height here too.
    """
    meta = figure.layout.meta or {}
    caption = meta.get("caption", "")
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
    return _PAGE_TEXT.format(
        title=escape(meta.get("title", "ablate")),
        height=meta.get("image_pixels", _IMAGE_PIXELS)[1],
        figure=body,
        caption=f"<figcaption>{escape(caption)}</figcaption>\n" if caption else "",
        ink=figure.layout.font.color or INK,
        paper=figure.layout.paper_bgcolor or PAPER,
        font=FONT,
    )


def _images(figures: Sequence[tuple[Figure, str]]) -> list[bytes]:
    """Each figure as an image of its ending ("png"), all by one browser."""
    if not figures:
        return []
    ending = figures[0][1]
    if find_spec("kaleido") is None:
        raise MissingDependencyError(
            f"a .{ending} needs kaleido, which is not installed. "
            f"Install it with: {pip_install('images')}, or write a .html."
        )
    from choreographer.channels import ChannelClosedError
    from choreographer.errors import BrowserFailedError, ChromeNotFoundError

    try:
        # In a thread of its own: a notebook has a loop that runs already.
        with without_secrets(), ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, _drawn_by_chromium(figures)).result()
    except (ChromeNotFoundError, BrowserFailedError, ChannelClosedError) as error:
        chosen = os.environ.get("BROWSER_PATH")
        got = f"BROWSER_PATH={chosen}" if chosen else "the one on the PATH, if any"
        raise MissingDependencyError(
            f"a .{ending} needs Chromium or Chrome that starts, got {got}. Install one (Debian, "
            "Ubuntu: apt install chromium; or: kaleido_get_chrome), or write a .html."
        ) from error


async def _drawn_by_chromium(figures: Sequence[tuple[Figure, str]]) -> list[bytes]:
    from kaleido import Kaleido

    images = []
    # No MathJax from its server; and a proxy that is nowhere keeps Chromium's own services
    # (updates, field trials) off the network too: the figures are all local.
    async with Kaleido(n=1, mathjax=False, proxy_server="127.0.0.1:9") as browser:
        for figure, ending in figures:
            meta = figure.layout.meta or {}
            width, height = meta.get("image_pixels", _IMAGE_PIXELS)
            inches, _ = meta.get("inches", (INCHES_PER_PIXEL * width, 0))
            image = await browser.calc_fig(
                figure.to_dict(),
                opts={
                    "format": ending,
                    "width": width,
                    "height": height,
                    "scale": _PIXELS_PER_INCH[ending] * inches / width,
                },
            )
            images.append(bytes(image))
    return images


def _publish(content: bytes, path: Path) -> None:
    publish_file(path, lambda temporary: temporary.write_bytes(content))
