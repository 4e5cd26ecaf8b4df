"""What may be shown of a text that may hold a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from urllib.parse import quote

import pytest
from secret_spellings import spellings

from ablate.errors import StudyFileError, UsageError, masking
from ablate.errors.masking import (
    environment_without_secrets,
    has_secret,
    keep_secret,
    keep_variable,
    masked,
    masked_data,
    without_secrets,
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_kept", {})


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
        ("postgresql://u:p@w@h:1/d?a=b", "postgresql://u:***@h:1/d?a=b"),
        ("postgresql://u:pw/d", "postgresql://u:***"),
        ("--set postgresql://u:pw", "--set postgresql://u:***"),
        ("postgresql://u:my own pw@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p/w?x#y@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?passwd=a&sslmode=b", "postgresql://u@h/d?passwd=***&sslmode=b"),
        ("x://h/d?sslkey=/k&sslpassword=c#n", "x://h/d?sslkey=***&sslpassword=***#n"),
        ("s3://b/k?AccessKeySecret=a&X-Token=c", "s3://b/k?AccessKeySecret=***&X-Token=***"),
        ("postgresql://u:pw@[::1]:5432/d", "postgresql://u:***@[::1]:5432/d"),
    ],
)
def test_a_secret_of_a_known_url_is_masked(text: str, shown: str) -> None:
    keep_secret(text)
    assert masked(f"got '{text}'. Fix") == f"got '{shown}'. Fix"
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
    keep_secret(text)
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
    keep_secret("postgresql://u:pw@h/d")
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


REPEATED = ("?token=a&", "a://b:c@", "\\", "%25", "&#0", "\\x5a", NASTY[:-1])


@pytest.mark.parametrize("part", REPEATED)
def test_time_grows_as_the_text_does(part: str) -> None:
    """Eight times the text takes eight times as long; were it quadratic, 64 times."""
    keep_secret(f"postgresql+psycopg://u:{quote(NASTY, safe='')}@h/d")
    keep_secret("postgresql+psycopg://u:\\\\\\\\%%%%&&&&@h/d")
    masked(part)

    def seconds(length: int) -> float:
        text = part * (length // len(part))
        times = []
        for _ in range(2):
            begun = time.thread_time()
            masked(text)
            keep_secret(text)
            times.append(time.thread_time() - begun)
        return min(times)

    assert seconds(16_000) < 24 * max(seconds(2_000), 1e-4)
