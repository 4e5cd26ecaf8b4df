"""A study that is registered before its first run: what is stored and printed, and what has changed
since."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_records import example_record

import ablate
from ablate.analysis.caveats import result_marks
from ablate.cli.main import main
from ablate.errors import UsageError
from ablate.ledger.record import Drive, Registration, registered_parts
from ablate.study.provenance import source_digest

LOOP = """
def train(context):
    context.report(1, {"a": context.params["x"] + 0.01 * context.seed})
"""
FILE = """version: 1
name: arms
trainable: registered_loop:train
finetune: {budget: {epochs: 1}}
objectives: [{metric: a}]
ablation: {design: one_at_a_time, seeds: 2, reference: {x: 0.25}, factors: {x: [0.75]},
  primary: [{compare: 'x: 0.75', metric: a, equivalent_within: 0.7}]}
"""
PARTS = {"study file", "contrasts", "looks", "code"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "registered_loop.py").write_text(LOOP)
    (tmp_path / "arms.yaml").write_text(FILE)
    return tmp_path / "arms.yaml"


def sha256(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def launched(file: Path, **options: Any) -> Any:
    return ablate.launch(file, executor="inline", progress=False, **options)


@pytest.mark.slow
def test_it_is_printed_before_the_first_run_and_verified(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["launch", str(file), "--register", "--executor", "inline"], standalone_mode=False)
    out = capsys.readouterr()
    lines = (out.err + out.out).splitlines()
    record = ablate.read("runs/arms")
    assert record.registration is not None
    digest = record.registration.digest
    registered = next(at for at, line in enumerate(lines) if f"sha256 {digest}" in line)
    assert registered < next(at for at, line in enumerate(lines) if "trials ended" in line)
    assert record.since_registration == {}
    found = ablate.verify("runs/arms")
    assert (found.holds, found.sha256, len(found.checks)) == (True, "", 4)
    ablate.archive("runs/arms", "first.tar")
    assert ablate.verify("first.tar").holds
    main(["verify", "first.tar"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.count(f"UTC, digest {digest[:12]}, by its own word") == 4
    assert "no registration" not in shown

    record = ablate.resume("runs/arms", seeds=3, executor="inline", progress=False)
    said = "outside of what was registered"
    assert f"{said}: looks (ablation.seeds: 2 -> 3)" in result_marks(record)
    ablate.archive("runs/arms", "more.tar")
    for reference in ("runs/arms", "more.tar"):
        with pytest.raises(SystemExit, match="1"):
            main(["verify", reference])
        differs = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")
        ]
        assert differs == [f"differs arms, looks: {said}: ablation.seeds: 2 -> 3"]
    main(["status", "runs/arms"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert f"digest {digest[:12]}" in shown
    assert said in shown


@pytest.mark.slow
def test_what_has_begun_is_not_registered(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launched(file)
    rule = (
        "study arms: a study is registered before its first run, got one that has begun. Leave out "
        "`register=True`, or give the file another `name:`."
    )
    with pytest.raises(UsageError) as error:
        launched(file, register=True)
    assert str(error.value) == rule
    with pytest.raises(UsageError) as error:
        ablate.resume(file, executor="inline", progress=False, register=True)
    assert str(error.value) == rule
    with pytest.raises(
        UsageError, match=r"`register`: is for `ablate\.launch`, got a confirmation"
    ):
        ablate.confirm(file, executor="inline", progress=False, register=True)
    assert ablate.read(file).registration is None
    with pytest.raises(UsageError) as error:
        ablate.verify("runs/arms")
    assert str(error.value) == (
        "runs/arms: must be an archive, or without `rerun` a registered study, got the folder of a "
        "run. Write its archive: `ablate archive runs/arms -o FILE.tar`."
    )
    ablate.archive("runs/arms", "first.tar")
    main(["verify", "first.tar"], standalone_mode=False)
    assert "ok      arms: this archive has no registration" in capsys.readouterr().out


def test_what_a_digest_is_of() -> None:
    folder = Path(ablate.__file__).parent
    sources = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.py")}
    assert source_digest() == sha256(sources)
    record = example_record([], objectives=[("val_robust_accuracy", "maximize")])
    parts = registered_parts(record.study, None)
    written = {**record.study.written(), "storage": None}
    assert parts == {
        "study file": sha256(written),
        "contrasts": sha256([None, None]),
        "looks": sha256(None),
    }
    made = Registration(12.5, parts | {"code": "c"}, "0.1", {"commit": "a", "dirty": False})
    assert made.digest == sha256({**made.to_json(), "time": 0})
    assert made.digest == replace(made, time=99.0).digest != replace(made, version="2").digest
    assert Registration.from_json(made.to_json()) == made


def test_other_code_another_file_and_other_contrasts_are_named() -> None:
    record = example_record([])
    parts = registered_parts(record.study, record.design) | {"code": source_digest()}
    begun = replace(record, registration=Registration(0.0, parts, "0.1"))
    drives = [Drive(1.0, "a", 1, provenance={"sources": one}) for one in (source_digest(), "other")]
    assert begun.since_registration == {}
    assert replace(begun, drives=tuple(drives[:1])).since_registration == {}
    other = record.study.with_values({"finetune.seed": 77})
    design = {"contrasts": [], "claims": []}
    changed = replace(begun, study=other, design=design, drives=tuple(drives))
    assert changed.since_registration == {
        "study file": "changed",
        "contrasts": "changed",
        "code": "1 of 2 drives by other code of ablate",
    }
    assert set(parts) == PARTS
    assert record.since_registration == {}
