"""A database that another version of Optuna or of ablate has written."""

from __future__ import annotations

import json

import pytest
import sqlalchemy
from test_ledger_rows import make_head

from ablate.errors import StorageError, StudyNotFoundError
from ablate.ledger import storage
from ablate.ledger.ledger import Ledger


def change(url: str, statement: str, **values: object) -> None:
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text(statement), values)


@pytest.mark.parametrize("version", ["v0.9.0.a", "v99.0.0.a"])
def test_tables_of_another_optuna_are_refused(storage_url: str, version: str) -> None:
    Ledger.create(storage_url, make_head(), trials=3)
    change(storage_url, "UPDATE alembic_version SET version_num = :version", version=version)
    storage._known.clear()  # as in another process
    with pytest.raises(StorageError, match=r"must have the tables of the installed Optuna version"):
        Ledger.open(storage_url, "rows")


def test_a_ledger_of_another_version_is_refused(storage_url: str) -> None:
    Ledger.create(storage_url, make_head(), trials=3)
    known = make_head().to_json()
    study = {**known["study"], "loss": {**known["study"]["loss"], "margin": 1}}
    statement = "UPDATE study_user_attributes SET value_json = :head WHERE key = 'ablate:head'"
    for head, message in (
        ({**known, "format": 99}, r"must be of ledger format 2, got 99\. Use the"),
        ({**known, "study": study}, r"keys that this ablate knows, got Head.study.loss.margin"),
    ):
        change(storage_url, statement, head=json.dumps(head))
        with pytest.raises(StudyNotFoundError, match=message):
            Ledger.open(storage_url, "rows")
