"""What may be shown of a text that may hold a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from secret_spellings import spellings

from ablate.errors import StudyFileError, UsageError
from ablate.errors.masking import (
    environment_without_secrets,
    has_secret,
    keep_secret,
    keep_variable,
    masked,
    masked_data,
    masked_output,
    without_secrets,
)

NASTY = "Zz9 'q\"&<@:/?#[%\\ü+€7xY"


def test_every_spelling_of_a_secret_that_was_met_is_masked() -> None:
    keep_secret(f"postgresql+psycopg://u:{quote(NASTY, safe='')}@h/d")
    found = spellings(NASTY)
    assert len(found) >= 30
    for name, spelled in found.items():
        for around in ("{}", "got {}, which", 'x="{}"\n', "[{}]"):
            assert spelled not in masked(around.format(spelled)), name
    text = f"before {NASTY} after"
    assert masked(text) == "before *** after"
    assert masked(masked(text)) == masked(text)
    nested = {"a": [text, 1, None, (text,)], NASTY: 2.5}
    assert masked_data(nested) == {
        "a": ["before *** after", 1, None, ["before *** after"]],
        NASTY: 2.5,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://u:pw@h/d", "postgresql+psycopg://u:***@h/d"),
        ("got 'postgresql://u:p@w@h:1/d?a=b'. Fix", "got 'postgresql://u:***@h:1/d?a=b'. Fix"),
        ("postgresql://u:pw/d: no host", "postgresql://u:*** no host"),
        ("--set postgresql://u:pw: unknown", "--set postgresql://u:*** unknown"),
        ("postgresql://u:my own pw@h/d: no", "postgresql://u:***@h/d: no"),
        ("postgresql://u:p/w?x#y@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?passwd=a&sslmode=b", "postgresql://u@h/d?passwd=***&sslmode=b"),
        ("x://h/d?sslkey=/k&sslpassword=c#n", "x://h/d?sslkey=***&sslpassword=***#n"),
        ("s3://b/k?AccessKeySecret=a&X-Token=c", "s3://b/k?AccessKeySecret=***&X-Token=***"),
        ("host=h password='a b' user=u", "host=h password=*** user=u"),
        ("dsn: passwd=ab,user=u", "dsn: passwd=***,user=u"),
        ("postgresql://u:pw@[::1]:5432/d", "postgresql://u:***@[::1]:5432/d"),
    ],
)
def test_a_secret_is_masked_where_it_stands(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////a/b:c@d.db",
        "postgresql+psycopg://h:5432/d: must be reachable",
        "postgresql+psycopg://u@h:5432/d",
        "postgresql://[::1]:5432/d",
        "postgresql+psycopg://${USER}:${PGPASS}@h/d",
        "Write postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE; or",
        "http://127.0.0.1:8080/dashboard/studies/1  (Ctrl-C ends it)",
        "ray://10.0.0.1:10001.",
        "the cluster's token must be given: RAY_AUTH_TOKEN, a key",
        "--set loss.st.weight=3, n_tokens=128, key=value",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_a_password_that_is_also_a_name_is_hidden_in_its_place_alone() -> None:
    keep_secret("postgresql://postgres:postgres@localhost/postgres")
    keep_secret("postgresql://u:abcde@h/d")
    keep_secret("postgresql://u:1234567@h/d")
    said = "postgres, abcde and 1234567 of postgresql://postgres:postgres@localhost/postgres"
    assert masked(said) == said.replace(":postgres@", ":***@")


def test_what_a_study_file_may_keep_is_told_apart() -> None:
    assert has_secret("postgresql://u:pw@h/d")
    assert has_secret("postgresql://u:${PGPASS}x@h/d")
    assert has_secret("postgresql://u:${PGPASS}@h/d?sslpassword=pw")
    assert not has_secret("postgresql://u:${PGPASS}@h/d?sslpassword=${KEYPASS}")
    assert not has_secret("sqlite:///x.db")


def test_an_error_says_no_secret() -> None:
    assert str(UsageError("x postgresql://u:pw@h/d")) == "x postgresql://u:***@h/d"
    assert "pw" not in repr(UsageError("x postgresql://u:pw@h/d"))
    assert str(StudyFileError([])) == ""


def test_processes_inherit_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("ABLATE_STORAGE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGSSLKEY")
    for name in (*names, "KEPT_ONE", "NAMED_THERE", "MY_OWN"):
        monkeypatch.setenv(name, f"value-of-{name}")
    monkeypatch.setenv("ABLATE_STORAGE", "postgresql://u:${NAMED_THERE}@h/d")
    keep_variable("KEPT_ONE")
    secret = {*names, "KEPT_ONE", "NAMED_THERE"}
    before = dict(os.environ)
    assert set(before) - set(environment_without_secrets()) == secret
    with without_secrets():
        look = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
        seen = json.loads(subprocess.run(look, capture_output=True, check=True, text=True).stdout)
        assert not secret & set(seen)
        assert seen["MY_OWN"] == "value-of-MY_OWN"
    assert dict(os.environ) == before
    assert masked("value-of-PGPASSWORD and value-of-NAMED_THERE") == "*** and ***"


def test_what_is_printed_is_masked_whoever_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    import click

    with masked_output():
        sys.stdout.write("postgresql://u:pw@h/d\n")
        click.echo("postgresql://u:pw@h/d", err=True)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("postgresql://u:pw@h/d", stacklevel=1)
        sys.stdout.writelines(["a", "b\n"])
        sys.stdout.buffer.write(b"bytes postgresql://u:pw@h/d\n")
        assert sys.stdout.isatty() is False
    sys.stdout.write("after\n")
    out, err = capsys.readouterr()
    assert out == "postgresql://u:***@h/d\nab\nbytes postgresql://u:***@h/d\nafter\n"
    assert err.startswith("postgresql://u:***@h/d\n")
    assert ":pw@" not in err
