"""`ablate doctor --selftest`: what it tries really is broken, and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.doctor.findings import check
from ablate.doctor.selftest import wrong_rows
from ablate.study.provenance import usable_cores

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_cache_behind_a_link_has_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(bytes(3_000_000))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("ABLATE_CACHE", f"{tmp_path}/link")
    assert check("cache").found.startswith(f"{tmp_path}/link: 3 MB used, ")


def test_options_of_the_self_test_need_it(ablate: Run) -> None:
    for option, value in (("--storage", "sqlite:///x.db"), ("--ray-address", "auto")):
        result = ablate("doctor", option, value)
        assert result.returncode == 2
        assert f"{option}: needs --selftest" in result.stderr
    result = ablate("doctor", "--selftest", "--ray-address", "127.0.0.1:1")
    assert result.returncode == 3
    assert "a Ray cluster must answer there" in result.stderr
    url = "postgresql+psycopg://u:s3cret@127.0.0.1:1/d"
    result = ablate("doctor", "--selftest", "--storage", url)
    assert result.returncode == 3
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_study_is_broken_resumed_and_compared(ablate: Run, work: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/users.db"
    result = ablate("doctor", "--selftest", "--json", "--storage", storage)
    assert result.returncode == 0, result.stdout + result.stderr
    findings = {one["what"]: one for one in json.loads(result.stdout)}
    assert {one["state"] for one in findings.values()} <= {"ok", "absent"}
    count = min(2, usable_cores())
    whole = f"{count} of {count} trials complete, each of the 4 epochs once"
    assert findings["CPU trials"]["found"] == whole
    assert "in another process" in findings["CPU worker killed"]["found"]
    assert findings["CPU driver killed"]["found"] == f"resumed: {whole}"
    assert "bit-identical" in findings["CPU result"]["found"]
    assert "its test study is deleted" in findings["storage"]["found"]
    assert "CPU: resuming" in result.stderr
    assert list(work.iterdir()) == []
    assert list(tmp_path.glob("users*")) == []


def test_rows_that_are_wrong_are_seen(write_own: Callable[..., Path]) -> None:
    search = {"trials": 2, "sampler": "random"}
    record = ablate.launch(write_own("tried", search=search), executor="inline")
    assert wrong_rows(record, 3) == "rows [0, 1] instead of 3"
    assert "with epochs [1]" in wrong_rows(record, 2)
