"""A PostgreSQL server that a test starts, stops and starts again: Debian's own programs."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def postgres_programs() -> Path | None:
    """Folder of `initdb` and `pg_ctl`; none where there is no PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).parent if elsewhere else None


class PostgresServer:
    """A server of its own folder and port on 127.0.0.1, with a password."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="ablate-postgres-"))
        self.password = secrets.token_hex(8)
        (self._folder / "password").write_text(self.password)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
            shutil.chown(self._folder / "password", "postgres")
        self._is_running = False
        self._as_server(
            f"{programs}/initdb -D {self._data} -U ablate -A scram-sha-256 "
            f"--pwfile={self._folder}/password -E UTF8"
        )

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def url(self) -> str:
        """Of the server, up to the database."""
        return f"postgresql+psycopg://ablate:{self.password}@127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, if it is not running."""
        if self._is_running:
            return
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = self._folder / "log"
        self._as_server(f'{self._programs}/pg_ctl -D {self._data} -l {log} -w -o "{options}" start')
        self._is_running = True

    def stop(self) -> None:
        """At once, as a crash would."""
        self._is_running = False
        self._as_server(f"{self._programs}/pg_ctl -D {self._data} -m immediate stop")

    def new_database(self) -> str:
        """A new database; its URL."""
        import sqlalchemy

        name = f"test_{secrets.token_hex(4)}"
        engine = sqlalchemy.create_engine(f"{self.url}/postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return f"{self.url}/{name}"

    def remove(self) -> None:
        """Stop it and remove what it wrote."""
        if self._is_running:
            self.stop()
        shutil.rmtree(self._folder)

    @staticmethod
    def _as_server(command: str) -> None:
        # PostgreSQL refuses to run as root.
        line = ["su", "postgres", "-c", command] if os.geteuid() == 0 else ["sh", "-c", command]
        subprocess.run(line, check=True, capture_output=True, text=True, cwd="/")
