"""`studies/paper/run`: its plan adds up, and every study of it is one that ablate accepts."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import ablate

ROOT = Path(__file__).parents[1]


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = SourceFileLoader("paper_run", str(ROOT / "studies" / "paper" / "run"))
    spec = spec_from_loader("paper_run", loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "paper_run", module)
    monkeypatch.chdir(ROOT)
    loader.exec_module(module)
    return module


def test_the_plan_is_that_of_the_readme_and_within_its_hours(paper: ModuleType) -> None:
    plan = paper.plan()
    assert plan in (ROOT / "studies" / "paper" / "README.md").read_text()
    *steps, whole = (float(line.split("|")[-2]) for line in plan.splitlines()[2:])
    assert whole == pytest.approx(sum(steps), abs=0.05 * len(steps))
    assert whole < 20


def test_each_study_is_accepted(paper: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def default(arm: str) -> dict[str, Any]:
        return {"loss.terms": paper.ARMS[arm].terms, **paper.ARMS[arm].default}

    monkeypatch.setattr(paper, "picked", lambda *_: {arm: default(arm) for arm in paper.ARMS})
    monkeypatch.setattr(paper, "alpha_at", lambda *_: 0.5)
    monkeypatch.setattr(ablate, "read", lambda *_: None)
    for name in ("launched", "confirmed"):
        monkeypatch.setattr(paper, name, lambda study, *_: asked.append(study))
    for step in ("kept", "curves", "beside", "curves_on_test", "tier2"):
        paper.STEPS[step].run(0, {})
    asked += [paper.search(0, arm) for arm in paper.ARMS]
    assert len(asked) == 5 + len(paper.ARMS)
    for study in asked:
        assert ablate.check(study).name == study["name"]
    runs = {study["name"]: len(study.get("ablation", {}).get("arms", {})) for study in asked}
    assert runs["paper_kept_0"] == 6
    assert 3 * runs["paper_tier2_0"] <= paper.STEPS["tier2"].networks[0]


def test_a_pick_keeps_clean_accuracy_or_says_so(
    paper: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def record(*values: tuple[float, float]) -> Any:
        rows = [
            SimpleNamespace(number=number, state="COMPLETE", values=pair)
            for number, pair in enumerate(values)
        ]
        plain = SimpleNamespace(clean_accuracy=0.90)
        return SimpleNamespace(name="tune", rows=rows, references={"plain": plain})

    found = paper.picks(record((0.899, 0.5), (0.896, 0.6), (0.88, 0.7)))
    assert {name: row.number for name, row in found.items()} == {"robust": 2, "kept": 1}
    assert not capsys.readouterr().out
    found = paper.picks(record((0.89, 0.5), (0.88, 0.7)))
    assert {name: row.number for name, row in found.items()} == {"robust": 1, "kept": 0}
    assert "no trial has a clean accuracy of 0.8950" in capsys.readouterr().out
