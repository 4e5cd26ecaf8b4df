"""Storage URLs: variables, what may be shown, and what cannot be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import StorageError, UsageError
from ablate.ledger.storage import (
    check_backend,
    fill_variables,
    open_storage,
    parse_url,
)


def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASS", "s3cret")
    assert fill_variables("postgresql://u:${PGPASS}@h/d") == "postgresql://u:s3cret@h/d"


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match=r"storage: \$\{NO_SUCH\} must be set .* export NO_SUCH"):
        fill_variables("postgresql://u:${NO_SUCH}@h/d")


def test_what_is_no_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(UsageError, match=r"storage: must be an SQLAlchemy URL") as caught:
        parse_url("my s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_server_that_does_not_answer() -> None:
    url = "postgresql+psycopg://u:s3cret@127.0.0.1:1/d"
    with pytest.raises(StorageError, match=r"storage postgresql.*must be reachable") as caught:
        open_storage(url, create=True)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_no_retry_can_connect_is_wrong_use() -> None:
    """Exit code 2: a job must not be requeued for it."""
    with pytest.raises(UsageError, match=r"port after HOST: must be from 1 to 65535, got 99999"):
        open_storage("postgresql+psycopg://u:s3cret@h:99999/d", create=True)
    with pytest.raises(UsageError, match=r'options of the database, got: .*"passwd"') as caught:
        open_storage("postgresql+psycopg://u@127.0.0.1:1/d?passwd=s3cret", create=True)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"study\.db: must exist, got no such file"):
        open_storage(f"sqlite:///{tmp_path}/study.db", create=False)


def test_another_database_is_refused() -> None:
    for url in ("sqlite:///a.db", "postgresql+psycopg://me@host/a"):
        check_backend(url)
    with pytest.raises(UsageError, match="storage: must be SQLite or PostgreSQL, got mysql"):
        check_backend("mysql+pymysql://me@host/a")
