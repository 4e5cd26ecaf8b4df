"""Databases that are made in a fraction of the time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory


def make_databases_fast(replace: Callable[[type, str, object], object] = setattr) -> None:
    """In this process: Optuna reads its files of migrations once, and SQLite waits for no disk.

    It would read them once or three times for each database that is opened: most of the time of a
    test that makes one.  And no test cuts the power.
    """
    read, kept = ScriptDirectory.from_config, {}

    def read_once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in kept:
            kept[place] = read(config)
        return kept[place]

    def wait_for_no_disk(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", wait_for_no_disk)
    replace(ScriptDirectory, "from_config", read_once)
