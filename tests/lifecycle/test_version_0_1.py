"""Studies that version 0.1 began are reported, drawn, tabled and exported; nothing that trains
continues them, because weights of FMA have another meaning.

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
from contextlib import closing
from pathlib import Path

import pytest

import ablate
from ablate.analysis.summary import continuation
from ablate.errors import FingerprintError
from ablate.lifecycle.open_study import open_study
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.report.page.content import report_content
from ablate.study.settings import ModelSettings
from ablate.trial.task import weights_file

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


REFUSED = (
    "study {}: must be of method 2 {}, got method 1, in which weights of FMA have another meaning. "
    "Launch it again under another `name:`, or use ablate 0.1."
)


def rows_of(name: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(f"runs/{name}/study.db")
    with closing(database):
        attributes = "SELECT * FROM {}_user_attributes ORDER BY 1"
        found = [attributes.format(kind) for kind in ("study", "trial")]
        return [row for query in found for row in database.execute(query)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ablate.resume("runs/own"), REFUSED.format("own", "to be resumed")),
        (lambda: ablate.resume("runs/digits"), REFUSED.format("digits", "to be resumed")),
        (lambda: ablate.resume("runs/own", add=2), REFUSED.format("own", "to be resumed")),
        (
            lambda: ablate.launch("digits.yaml", executor="inline"),
            REFUSED.format("digits", "to be resumed"),
        ),
        (
            lambda: ablate.launch("digits.yaml", resume=True, executor="inline"),
            REFUSED.format("digits", "to be resumed"),
        ),
        (lambda: ablate.confirm("runs/digits"), REFUSED.format("digits", "to be confirmed")),
        (
            lambda: ablate.enqueue("runs/own", {"lr": 0.1}),
            REFUSED.format("own", "to get more trials"),
        ),
        (
            lambda: ablate.launch("ablation.yaml", executor="inline"),
            REFUSED.format("digits", "to be the reference of an ablation"),
        ),
    ],
)
def test_what_trains_refuses_it(kept: Path, call: Callable[[], object], message: str) -> None:
    """Finished or not, and whatever the file says now; nothing is written."""
    head = "version: 1\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
    search = "name: digits\nspace: {loss.fma.weight: {float: [1, 2]}}\n"
    (kept / "digits.yaml").write_text(f"{head}{search}")
    ablation = "{design: leave_one_out, components: [fma], reference: {study: runs/digits}}"
    (kept / "ablation.yaml").write_text(f"{head}name: ablation\nablation: {ablation}\n")
    before = rows_of("own"), rows_of("digits")
    with pytest.raises(FingerprintError) as caught:
        call()
    assert str(caught.value) == message
    assert (rows_of("own"), rows_of("digits")) == before


def test_a_study_stores_its_method_when_it_starts(kept: Path) -> None:
    (kept / "new.yaml").write_text(
        "version: 1\nname: new\ntrainable: loop01:train\nspace: {lr: {float: [0.1, 0.2]}}\n"
        "objectives: [{metric: accuracy}, {metric: cost, direction: minimize}]\n"
        "search: {trials: 1, reference_point: [0, 10]}\n"
        "finetune: {budget: {epochs: 1}}\n"
    )
    ablate.launch("new.yaml", executor="inline")
    heads = [
        json.loads(str(row[3]))
        for name in ("new", "own")
        for row in rows_of(name)
        if row[2] == "ablate:head"
    ]
    assert [head.get("method") for head in heads] == [2, None]
    assert len(ablate.resume("runs/new", add=1, executor="inline").rows) == 2


def test_no_command_that_refuses_it_is_named(kept: Path) -> None:
    unfinished = ablate.read("runs/own")
    assert not unfinished.is_over
    text = "method 1 cannot be continued; use ablate 0.1"
    assert continuation(unfinished) == text
    state = report_content(open_study("runs/own").source, reference="runs/own", now=0.0).state
    assert state == f"3 of {unfinished.trials} rows have ended; not running ({text})"
    assert continuation(ablate.read("runs/digits")) == ""


def test_its_rows_are_read(kept: Path) -> None:
    record = ablate.read("runs/own")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 3 + ["RUNNING"]
    assert list(ablate.load_trials("runs/digits")["state"]) == ["COMPLETE"] * 4


@pytest.mark.slow
def test_a_search_is_reported_and_drawn(
    kept: Path, ablate: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    study = open_study("runs/digits")
    assert study.record.count("COMPLETE") == 4
    assert study.source.is_search
    drawn = ablate("plot", "runs/digits", "--figure", "pareto,parameters", "-o", "figures")
    assert drawn.returncode == 0, drawn.stderr
    names = {file.stem for file in Path("figures").iterdir()}
    assert names == {"pareto", "parameters"}
    reported = ablate("report", "runs/digits", "--no-images")
    assert reported.returncode == 0, reported.stderr
    assert "Does DA, ST or FMA help on digits?" in Path("runs/digits/report.html").read_text()
    tabled = ablate("table", "runs/digits", "--format", "csv")
    assert tabled.returncode == 0, tabled.stderr
    weights = weights_file(Path("runs/digits").absolute(), 2)
    weights.parent.mkdir()
    export_weights(build_model(ModelSettings(name="resnet8"), 10, [0.5], [0.5], seed=0), weights)
    exported = ablate("export", "runs/digits", "--trial", "2", "-o", "two.safetensors")
    assert exported.returncode == 0, exported.stderr
    refused = ablate("resume", "runs/digits", "--add", "1")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [f"ablate: {REFUSED.format('digits', 'to be resumed')}"]
    rows = json.loads(ablate("trials", "runs/digits", "--json").stdout)
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
