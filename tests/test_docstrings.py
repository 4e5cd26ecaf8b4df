"""The example in the docstring of each public name is run."""

from __future__ import annotations

import contextlib
import doctest
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from tests.test_docs import own_loop

WHICH = """
version: 1
name: which
trainable: my_loop:train
finetune: {budget: {epochs: 3}}
objectives: [{metric: error, direction: minimize}, {metric: size, direction: minimize}]
ablation: {design: one_at_a_time, reference: {lr: 0.5}, factors: {lr: [0.1, 0.9]}, seeds: 4}
"""
OF_A_SEARCH = ("confirm", "load_model", "read_confirmation")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tutorial's study of an own loop and an ablation of it, both finished."""
    folder = tmp_path_factory.mktemp("studies")
    own_loop(folder)
    (folder / "which.yaml").write_text(WHICH)
    with contextlib.chdir(folder):
        for file in ("own.yaml", "which.yaml"):
            ablate.launch(file, executor="inline", progress=False)
    return folder


@pytest.fixture(scope="module")
def search(write_study_in: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search of one trial, which is confirmed."""
    folder = tmp_path_factory.mktemp("search")
    keys = {"space": {"loss.terms": {"choice": ["clean+da", "clean+st"]}}, "search": {"trials": 1}}
    file = write_study_in(folder, "search", **keys)
    with contextlib.chdir(folder):
        ablate.launch(file, executor="inline", progress=False)
        ablate.confirm(file, seeds=2, executor="inline", progress=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ablate.__all__)
def test_the_example_of_a_public_name_runs(
    name: str, work: Path, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue("search" if name in OF_A_SEARCH else "studies")
    shutil.copytree(made, work, dirs_exist_ok=True)
    if name == "launch":
        shutil.rmtree(work / "runs")
    if name == "load_evaluation":
        run_examples("write_evaluation")
    run_examples(name)


def run_examples(name: str) -> None:
    text = getattr(ablate, name).__doc__
    test = doctest.DocTestParser().get_doctest(text, {"ablate": ablate}, name, None, None)
    assert test.examples, f"{name} has no example"
    told: list[str] = []
    doctest.DocTestRunner().run(test, out=told.append)
    assert not told, "".join(told)
