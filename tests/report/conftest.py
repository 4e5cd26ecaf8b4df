"""A real Chromium for the tests that look at a page, and recorded studies."""

from __future__ import annotations

import lzma
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ablate.lifecycle.open_study import OpenStudy, open_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


KEPT = Path(__file__).with_name("ledgers")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OpenStudy]:
    """A recorded study, by its name, from its file in `ledgers/`, without a text."""
    files = {"quickstart": "quickstart", "ablation_quickstart": "ablation_quickstart"}
    files["defaults_methods_cifar10_12"] = "cifar10_arms"

    def opened(name: str, without: str = "") -> OpenStudy:
        file = tmp_path_factory.mktemp(name) / "study.db"
        with closing(sqlite3.connect(file)) as database:
            packed = (KEPT / f"{files[name]}.sql.xz").read_bytes()
            database.executescript(lzma.decompress(packed).decode().replace(without, ""))
        return open_study(f"sqlite:///{file}#{name}")

    return opened


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=list(QUIET))
        yield browser
        browser.close()
