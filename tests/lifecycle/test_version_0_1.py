"""Studies that version 0.1 began are resumed, reported and drawn.

`version_0_1/*.sql` are dumps of its databases: `own`, whose driver was killed during its fourth
trial, and `digits`, a finished search over three sets of loss terms.  Names of folders and machines
are replaced.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.lifecycle.open_study import open_study

Run = Callable[..., subprocess.CompletedProcess[str]]
KEPT = Path(__file__).with_name("version_0_1")


@pytest.fixture
def kept(work: Path) -> Path:
    """Where both studies lie as if version 0.1 had run here."""
    shutil.copy(KEPT / "loop01.py", work)
    for name in ("own", "digits"):
        run = work / "runs" / name
        run.mkdir(parents=True)
        (run / "run.json").write_text(json.dumps({"name": name, "storage": None}))
        database = sqlite3.connect(run / "study.db")
        text = (KEPT / f"{name}.sql").read_text().replace("@FOLDER@", str(work))
        database.executescript(text)
        database.close()
    return work


def test_a_study_is_resumed_where_it_was_killed(kept: Path) -> None:
    before = ablate.read("runs/own")
    assert [row.state for row in before.rows] == ["COMPLETE"] * 3 + ["RUNNING"]
    record = ablate.resume("runs/own", executor="inline", accept_environment=True)
    assert [row.number for row in record.rows] == list(range(6))
    assert [row.attempt for row in record.rows] == [1, 1, 1, 2, 1, 1]
    assert record.rows[:3] == before.rows[:3]
    assert record.rows[3].params == before.rows[3].params
    for row in record.rows:
        lr = row.params["lr"]
        assert row.values == pytest.approx((1 - lr**2 / 4, lr * 4))


@pytest.mark.slow
def test_a_search_is_reported_and_drawn(
    kept: Path, ablate: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    study = open_study("runs/digits")
    assert study.record.count("COMPLETE") == 4
    assert study.source.is_search
    drawn = ablate("plot", "runs/digits", "--figure", "pareto,slice,timeline", "-o", "figures")
    assert drawn.returncode == 0, drawn.stderr
    names = {file.stem for file in Path("figures").iterdir()}
    assert names == {"pareto", "slice", "timeline"}
    reported = ablate("report", "runs/digits", "--no-images")
    assert reported.returncode == 0, reported.stderr
    assert "Does DA, ST or FMA help on digits?" in Path("runs/digits/report.html").read_text()
    rows = json.loads(ablate("trials", "runs/digits", "--json").stdout)
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
