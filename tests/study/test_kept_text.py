"""The text of a study file as the ledger keeps it: without the storage, a study file still."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors.masking import keep_secrets_in
from ablate.lifecycle.study_file import kept_text
from ablate.study.yaml_source import parse_yaml

URL = "postgresql+psycopg://u:s3cr%65t-word@h/d"
SECRET = "s3cr%65t-word"


def kept(tmp_path: Path, text: str) -> str:
    file = tmp_path / "s.yaml"
    file.write_text(text, newline="")
    return kept_text(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a: 1\nstorage: {URL}\nb: 2\n", "a: 1\nb: 2\n"),
        (f"b: 2\r\nstorage: {URL}\r\nc: 3\r\n", "b: 2\r\nc: 3\r\n"),
        (f"b: 2\nstorage:\n  {URL}\n\n# c\nc: 3\n", "b: 2\nc: 3\n"),
        (f"b: 2\nstorage: >-\n  {URL[:20]}\\\n  {URL[20:]}\n# c\nc: 3\n", "b: 2\nc: 3\n"),
        (f'b: 2\n"stor\\x61ge": "{URL[:20]}\\\n  {URL[20:]}" # d\nc: 3\n', "b: 2\nc: 3\n"),
        ("a: &n 7\nstorage: *n\nb: [1,\n 2]\n", "a: &n 7\nb: [1,\n 2]\n"),
        (f"{{a: 1, storage: '{URL}', b: 2}}", "a: 1\nb: 2\n"),
        (f"{{storage: '{URL}', a: {{storage: 3}}}}", "a: {storage: 3}\n"),
        (f"storage: &s {URL}\nquestion: *s\n", "question: postgresql+psycopg://u:***@h/d\n"),
        (f"# storage: {URL}\na: 1\n", "# storage: postgresql+psycopg://u:***@h/d\na: 1\n"),
        (f"--- # x\nstorage: {URL}\na: 1\n...\n", "--- # x\na: 1\n...\n"),
    ],
)
def test_the_storage_alone_is_cut_out(tmp_path: Path, text: str, expected: str) -> None:
    found = kept(tmp_path, text)
    assert found == expected
    before, after = parse_yaml(text, "s"), parse_yaml(found, "s")
    assert not after.problems
    if "*s" not in text:
        assert after.data == {key: one for key, one in before.data.items() if key != "storage"}


def test_a_secret_that_is_also_another_value_is_masked_there(tmp_path: Path) -> None:
    text = f"storage: {URL}\nname: s3cret-word\nquestion: '{SECRET}'\n"
    keep_secrets_in(parse_yaml(text, "s").data)
    found = kept(tmp_path, text)
    assert parse_yaml(found, "s").data == {"name": "***", "question": "***"}
