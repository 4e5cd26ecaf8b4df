"""A model card beside an exported network: read again by Hugging Face's own library."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

import pytest
from commands import run_here
from needs import missing

import ablate
from ablate.study.scores import Scores


@pytest.fixture(autouse=True)
def _packages() -> None:
    if find_spec("huggingface_hub") is None:
        missing("huggingface_hub")


def export(*arguments: object) -> str:
    result = run_here("export", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stderr


def use(folder: Path) -> str:
    """Run the snippet of the card as a stranger does, in its folder; what it prints."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue()


def test_its_numbers_are_those_of_the_study(done: Path) -> None:
    from huggingface_hub import ModelCard

    export(done, "--trial", 1, "--card", "-o", "net/one.safetensors")
    card = ModelCard.load("net/README.md")
    scores = ablate.read(done).rows[1].scores
    assert isinstance(scores, Scores)
    found = {one.metric_name: one.metric_value for one in card.data.eval_results or ()}
    assert found == {
        "Clean accuracy": round(scores.clean_accuracy, 4),
        "Robust accuracy": round(scores.robust_accuracy, 4),
    }
    assert {one.dataset_split for one in card.data.eval_results or ()} == {"validation"}
    assert (card.data.model_name, card.data.library_name) == ("done, trial 1", "ablate")
    assert card.data.license is None
    clean = f"| Clean accuracy | {100 * scores.clean_accuracy:.1f} | "
    assert clean in card.text
    # Of the types that this network was not trained on, the baseline's too.
    untrained = scores.exposed_types("untrained")
    assert 0 < len(untrained) < len(scores.accuracies)
    before = ablate.read(done).references["baseline"]
    mean = 100 * fmean(fmean(before.accuracies[kind].values()) for kind in untrained)
    assert re.search(rf"\| Robust accuracy, types not trained on \|.* \| {mean:.1f} \|", card.text)
    assert re.search(r"\| Robust accuracy \| [\d.]+ \| [\d.]+ to [\d.]+ \| [\d.]+ \|", card.text)
    assert "so the numbers are optimistic" in card.text
    assert f"Scored under {len(scores.accuracies)} corruptions at severity 3 of 5" in card.text
    assert f"fingerprint `{ablate.read(done).fingerprint}`" in card.text
    assert "ablate export runs/done --trial 1 --card -o one.safetensors" in card.text
    assert set(re.findall(r"\w+", use(Path("net")))) <= {"left", "middle", "right"}


def test_other_networks_are_not_given_numbers_of_a_trial(done: Path) -> None:
    from huggingface_hub import ModelCard

    export(done, "--trial", 0, "--alpha", 0.5, "--card", "-o", "net/half.safetensors")
    card = ModelCard.load("net/README.md")
    assert card.data.eval_results is None
    assert "This network was not scored in its study" in card.text
    export(done, "--trial", "plain", "--card", "-o", "net/plain.safetensors")
    card = ModelCard.load("net/README.md")
    assert "These are validation images: no test result." in card.text
    assert len(card.data.eval_results or ()) == 2


@pytest.mark.slow
def test_of_8_bits_it_says_what_they_changed(done: Path) -> None:
    from huggingface_hub import ModelCard

    if find_spec("onnxruntime") is None:
        missing("onnxruntime")
    said = export(done, "--trial", 0, "--int8", "--card", "-o", "net/one.int8.onnx")
    card = ModelCard.load("net/README.md")
    assert said.removeprefix("ablate: ").strip() in card.text
    assert "calibrated with 9 others" in said
    assert card.data.eval_results is None
    assert "of the float network" in card.text
    assert (card.data.library_name, "int8" in (card.data.tags or ())) == ("onnx", True)
    assert set(re.findall(r"\w+", use(Path("net")))) <= {"left", "middle", "right"}
    result = run_here("export", done, "--trial", 0, "--int8", "-o", "net/one.pt2")
    assert result.stderr == (
        "ablate: --int8: needs --format onnx, got torch_export. Write net/one.onnx.\n"
    )


def test_a_readme_of_somebody_else_stays(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("README.md").write_text("# My project\n")
    result = run_here("export", done, "--trial", 0, "--card", "-o", "one.safetensors")
    assert result.returncode == 2
    assert result.stderr == (
        f"ablate: {Path('README.md').absolute()}: must be a model card that ablate wrote, got "
        "another file. Export to a folder of its own: one/one.safetensors.\n"
    )
    assert Path("README.md").read_text() == "# My project\n"
    assert not Path("one.safetensors").exists()
    monkeypatch.setattr("ablate.report.card.find_spec", lambda name: None)
    result = run_here("export", done, "--trial", 0, "--card", "-o", "net/one.safetensors")
    assert result.stderr == (
        "ablate: --card: needs huggingface_hub, got no such package. Run pip install "
        "'ablate-robustness[card]'.\n"
    )
