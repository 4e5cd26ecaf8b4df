"""What IPython shows of studies, fronts, effects and evaluations, as a kernel would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core import displaypub, interactiveshell

import ablate
from ablate.analysis.pareto import pareto_info
from tests.example_ablations import example_ablation
from tests.own_study import write_own_study

PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a search with a training loop, finished."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        file = write_own_study(folder, "shown")
        ablate.launch(file, executor="inline", progress=False)
    return folder / "runs" / "shown"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shell that passes for a kernel's, and keeps what it displays."""
    found = interactiveshell.InteractiveShell.instance()
    monkeypatch.setattr(found, "kernel", object(), raising=False)
    monkeypatch.setattr(found, "display_pub", displaypub.CapturingDisplayPublisher(parent=found))
    return found


def shown(shell: Any, thing: Any) -> tuple[str, list[str]]:
    """The table's HTML, and the kinds of data of everything that is displayed."""
    html: str = thing._repr_html_()
    shell.display_formatter.format(thing)
    displayed = [kind for one in shell.display_pub.outputs for kind in one["data"]]
    assert shell.display_pub.outputs[0]["data"]["text/html"] == html
    return html, displayed


def test_a_study_shows_its_answer_its_front_and_its_figure(shell: Any, study: Path) -> None:
    record = ablate.read(study)
    html, displayed = shown(shell, record)
    assert html.startswith("<p>shown: 3 of 3 trials ended.</p>\n<p>")
    assert "`" not in html
    assert PLOTLY in displayed
    assert pareto_info(record)._repr_html_() in html, "the front alone"
    assert "trainable: loop_shown:train" in record.study._repr_html_(), "a study as its file"


def test_outside_of_a_kernel_text_is_printed(study: Path) -> None:
    terminal = interactiveshell.InteractiveShell.instance()
    assert not hasattr(terminal, "kernel")
    data, _ = terminal.display_formatter.format(ablate.read(study))
    assert data["text/plain"].startswith("StudyRecord(")


def test_effects_show_their_table_and_their_figure(shell: Any) -> None:
    html, displayed = shown(shell, example_ablation())
    assert "seeds" in html
    assert PLOTLY in displayed
    layout = shell.display_pub.outputs[-1]["data"][PLOTLY]["layout"]
    assert layout["height"] == layout["meta"]["image_pixels"][1] > 0


def test_an_evaluation_shows_its_scores(shell: Any, work: Path) -> None:
    from PIL import Image
    from torch import nn

    for name in ("a", "b"):
        file = work / "images" / "test" / name / "0.png"
        file.parent.mkdir(parents=True)
        Image.new("RGB", (16, 16), "red" if name == "a" else "blue").save(file)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    asked = {"types": ["gaussian_noise"], "severities": [1], "normalization": "none"}
    html, _ = shown(shell, ablate.evaluate(model, dataset=work / "images", **asked))
    assert "clean" in html
