"""Studies from Python: objects and dicts instead of files, functions that no module holds,
callbacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ablate
from ablate.errors import FingerprintError, StudyFileError, StudyNotFoundError
from ablate.lifecycle.known_names import names_for
from ablate.lifecycle.place import place_of_file
from ablate.lifecycle.study_file import parse_study
from ablate.space.parse import parse_space
from ablate.study.fingerprint import study_fingerprint
from ablate.study.settings import DatasetSettings
from ablate.study.settings import Study as Settings
from tests.commands import run_here

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "studies").glob("*.yaml"))
LR = {"lr": ablate.space.float(0.01, 1, log=True)}
SCALE = 3.0


def own(trainable: Any, name: str = "own", **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trainable": trainable,
        "finetune": {"budget": {"epochs": 2}},
        "space": LR,
        "objectives": [{"metric": "error", "direction": "minimize"}, {"metric": "size"}],
        "search": {"trials": 4, "sampler": "random"},
        **keys,
    }


def make_loop(scale: float = SCALE) -> Callable[..., None]:
    """A training loop that no module holds."""

    def train(context: ablate.TrialContext) -> None:
        for epoch in range(1, context.epochs + 1):
            error = context.params["lr"] * scale / epoch
            context.report(epoch, {"error": error, "size": 1.0})

    return train


def problems(data: Any, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(StudyFileError) as raised:
        ablate.check(data, overrides)
    return str(raised.value)


launch = partial(ablate.launch, executor="inline", progress=False)
resume = partial(ablate.resume, executor="inline", progress=False)


# -- The same schema, the same messages, the same fingerprint ------------------------------


def fingerprint(study: Settings, base: Path) -> dict[str, str]:
    return study_fingerprint(study, parse_space(study, names_for(study.model.name, base)), "")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_study_is_the_same_after_to_yaml(file: Path) -> None:
    study = place_of_file(file).study
    assert study is not None
    names = partial(names_for, base=file.parent)
    again = parse_study(study.to_yaml(), "again.yaml", names=names, base=file.parent)
    assert again == study
    assert fingerprint(again, file.parent) == fingerprint(study, file.parent)


def test_a_study_of_objects_is_the_one_of_a_file(work: Path) -> None:
    space = {
        "loss.terms": ablate.space.choice(["clean+st", "clean+fma"]),
        "loss.fma.layers": ablate.space.subset("taps", when={"loss.terms": {"contains": "fma"}}),
        "augment.families": ablate.space.subset(("noise", "blur")),
        "augment.mix": ablate.space.simplex("augment.families"),
        "finetune.budget.epochs": ablate.space.int(2, 6, step=2),
        "finetune.learning_rate": ablate.space.float(np.float32(0.5), 0.75),
    }
    study = ablate.Study(
        name="same",
        dataset=DatasetSettings(name="digits"),
        model={"name": "resnet8"},
        space=space,
        search={"trials": np.int64(3)},
        robustness={"severities": (1, 3)},
    )
    Path("same.yaml").write_text(
        "version: 1\nname: same\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
        "search: {trials: 3}\nrobustness: {severities: [1, 3]}\nspace:\n"
        "  loss.terms: {choice: [clean+st, clean+fma]}\n"
        "  loss.fma.layers: {subset: taps, when: {loss.terms: {contains: fma}}}\n"
        "  augment.families: {subset: [noise, blur]}\n"
        "  augment.mix: {simplex: augment.families}\n"
        "  finetune.budget.epochs: {int: [2, 6], step: 2}\n"
        "  finetune.learning_rate: {float: [0.5, 0.75]}\n"
    )
    assert study.model_dump() == ablate.check("same.yaml").model_dump()


WRONG = [
    ({"dataset.name": "digit"}, "dataset.name: unknown data set, got 'digit'. Did you mean digits"),
    ({1: 2}, "1: keys must be text, got 1. Put it in quotes."),
    ({"question": {1, 2}}, "question: must be text, a number, a list or a mapping, got an object"),
    ({"dataset.path": "a\0b"}, "dataset.path: must be text that can be stored, got 'a\\x00b'."),
    ({"search.seed": 2**70}, "search.seed: whole numbers must be below 2**63"),
    (
        {"space": {"loss.da.weight": ablate.space.float(10, 0.1)}},
        "space.loss.da.weight.float: low must be below high, got [10, 0.1]. Swap them.",
    ),
]


@pytest.mark.parametrize(("keys", "expected"), WRONG, ids=[str(one[1])[:25] for one in WRONG])
def test_a_wrong_key_of_a_dict_is_named_by_its_path(keys: dict[Any, Any], expected: str) -> None:
    data: dict[Any, Any] = {
        "name": "x",
        "dataset": {"name": "digits"},
        "model": {"name": "resnet8"},
    }
    for key, value in keys.items():
        *above, last = str(key).split(".") if isinstance(key, str) else [key]
        node = data
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    assert problems(data).splitlines()[0].startswith(expected)


# -- Functions that no module holds --------------------------------------------------------

TELL = "a resumed study could not tell whether it has changed."


def test_what_has_no_fingerprint_is_refused_by_its_key() -> None:
    random = np.random.default_rng(0)

    def train(context: ablate.TrialContext) -> None:
        context.report(1, {"error": random.random()})

    assert problems(own(eval("lambda context: None"))) == (
        f"trainable: must have a fingerprint, got <lambda>, without source: {TELL} Write it with "
        "def in a file or a cell."
    )
    assert problems(own(train)) == (
        "trainable: must have a fingerprint, got random, an object of "
        f"numpy.random._generator.Generator, whose content cannot be compared: {TELL} Make it "
        "inside the function, or write it into a module."
    )
    assert problems(own(len)) == (
        "trainable: must be a function or a class written in Python, got "
        "builtin_function_or_method len. Write a function with def that calls it."
    )


def test_the_fingerprint_takes_what_a_function_uses() -> None:
    names = [ablate.Study(**own(make_loop(scale))).trainable for scale in (1.0, 1.0, 2.0)]
    assert names[0] == names[1] != names[2]
    assert names[0] is not None
    assert names[0].startswith(f"{__name__}:make_loop.<locals>.train#")


def test_a_value_that_changed_since_is_refused(work: Path) -> None:
    sizes = [1.0]

    def train(context: ablate.TrialContext) -> None:
        context.report(1, {"error": 1.0, "size": sizes[0]})

    study = ablate.Study(**own(train, finetune={"budget": {"epochs": 1}}))
    sizes[0] = 2.0
    with pytest.raises(FingerprintError, match=r"trainable: a function must be as it was when"):
        launch(study)
    with pytest.raises(StudyNotFoundError):
        ablate.read("runs/own")


@pytest.fixture
def stopped(work: Path) -> ablate.Study:
    """A study of four trials that a callback has stopped after the second."""
    study = ablate.Study(**own(make_loop()))

    def enough(trial: Any) -> None:
        if trial.number == 1:
            raise ablate.StopStudy("two are enough")

    record = launch(study, on_trial_end=enough)
    assert record.count("COMPLETE") == 2
    return study


def test_a_stopped_study_is_resumed_with_the_same_function_alone(
    stopped: ablate.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path("runs/own/log.jsonl").read_text()
    assert "on_trial_end: two are enough: running epochs get 60 s to finish" in log
    with pytest.raises(FingerprintError, match=r"must not change, got trainable: .*train#.* -> "):
        resume(own(make_loop(SCALE + 1)))
    with monkeypatch.context() as patch:
        patch.setattr("ablate.study.callables._GIVEN", {})
        result = run_here("resume", "runs/own", "--executor", "inline")
        assert result.returncode == 2
        assert result.stderr.startswith("ablate: trainable: must be a function that this process")
        assert result.stderr.endswith(
            ", which is in no module. Go on from Python with the same function, as by "
            "ablate.resume(study).\n"
        )
        Path("own.yaml").write_text(stopped.to_yaml())
        result = run_here("check", "own.yaml")
        assert result.stderr.startswith("ablate: own.yaml:3:1: trainable: must be a function that")
    assert resume(own(make_loop())).count("COMPLETE") == 4
    assert ablate.read(stopped).count("COMPLETE") == 4
    assert b"cloudpickle" not in Path("runs/own/study.db").read_bytes()


@pytest.mark.long
def test_data_and_network_of_a_main_module_go_to_rays_workers(work: Path) -> None:
    """A script, whose functions only its own process can import, killed and resumed by Ray."""
    Path("script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = [sys.executable, "script.py"]
    driver = subprocess.run([*script, "inline"], env=environment, check=False)
    assert driver.returncode == -signal.SIGKILL
    killed = ablate.read("runs/script")
    assert len(killed.rows) > 0
    assert killed.count("COMPLETE") < 2
    result = subprocess.run(
        [*script, "ray"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    record = ablate.read("runs/script")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 2
    assert record.study.dataset.name.startswith("__main__:shapes#")
    assert record.study.model.name.startswith("__main__:Small#")


SCRIPT = """
import os, signal, sys
import numpy as np
from torch import nn
import ablate

def shapes(image_size, path):
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 60, (60, 1, 16, 16), dtype=np.uint8)
    images[np.arange(60), 0, labels * 2] += 190
    return {"train": (images, labels), "test": (images, labels), "classes": ["a", "b", "c"]}

class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, 2)
        self.head = nn.Linear(4, classes)
        self.taps = {"body": "body"}

    def forward(self, images):
        return self.head(self.body(images).relu().mean((2, 3)))

def tell(epoch):
    if sys.argv[1] == "inline" and epoch.trial == 1:
        os.kill(os.getpid(), signal.SIGKILL)

study = ablate.Study(
    name="script",
    dataset={"name": shapes, "image_size": 16, "validation": {"fraction": 0.3}},
    model={"name": Small},
    baseline={"epochs": 1},
    finetune={"budget": {"epochs": 2}},
    space={"finetune.learning_rate": ablate.space.float(0.001, 0.1, log=True)},
    search={"trials": 2, "sampler": "random"},
    robustness={"suite": ["gaussian_noise"], "severities": [1]},
    run={"parallel": 1},
    answer={"mixtures": False},
)
if __name__ == "__main__":
    ablate.launch(study, resume=True, progress=False, on_epoch=tell, executor=sys.argv[1],
                  accept_baseline=True)
"""


# -- Callbacks ------------------------------------------------------------------------------


def test_callbacks_hear_epochs_trials_and_the_end(work: Path) -> None:
    epochs, trials, ends = [], [], []
    record = launch(
        own(make_loop()),
        on_epoch=epochs.append,
        on_trial_end=trials.append,
        on_study_end=ends.append,
    )
    assert [(one.trial, one.epoch, one.epochs) for one in epochs[:3]] == [
        (0, 1, 2),
        (0, 2, 2),
        (1, 1, 2),
    ]
    assert epochs[1].scores == {"error": record.rows[0].values[0], "size": 1.0}
    assert [trial.values for trial in trials] == [row.values for row in record.rows]
    assert ends == [record]


def test_a_callback_that_raises_is_noted_once_and_breaks_nothing(work: Path) -> None:
    calls = []

    def wrong(event: object) -> None:
        calls.append(event)
        raise ValueError("my own mistake")

    record = launch(own(make_loop()), on_epoch=wrong, on_study_end=wrong)
    assert record.count("COMPLETE") == 4
    assert len(calls) == 2
    log = Path("runs/own/log.jsonl").read_text()
    assert log.count("on_epoch raised ValueError: my own mistake; it is not called again") == 1
    assert log.count("on_study_end raised ValueError: my own mistake") == 1


def test_an_epoch_can_stop_a_study_and_its_trial_goes_on_later(work: Path) -> None:
    def first(epoch: Any) -> None:
        raise ablate.StopStudy

    study = ablate.Study(**own(make_loop()))
    record = launch(study, on_epoch=first)
    assert len(record.rows) < 4  # its trial may have ended meanwhile
    assert resume(study).count("COMPLETE") == 4


def test_a_run_shows_itself_in_a_cell_without_a_loop(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In IPython without a kernel: no event loop, no thread of the display."""
    import threading

    from IPython.core import displaypub, interactiveshell
    from rich.console import Console

    from ablate.report.terminal.live import make_display

    shell = interactiveshell.InteractiveShell.instance()
    shown = displaypub.CapturingDisplayPublisher(parent=shell)
    monkeypatch.setattr(shell, "display_pub", shown)
    before = threading.active_count()
    display = make_display(Console(force_jupyter=True), "own")
    assert threading.active_count() == before
    launch(own(make_loop()), progress=display)
    display.close()
    display.note("too late to be seen")
    last = shown.outputs[-1]["data"]["text/html"]
    assert "4 of 4" in last
    assert "best error" in last
    assert [bool(one["update"]) for one in shown.outputs[:2]] == [False, True]
    assert "too late" not in last
