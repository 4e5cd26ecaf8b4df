"""`benchmarks/gpu.py`: what it asks of a GPU, asked of a device that is pretended; that it goes on
where it stopped; and how many operations a step has."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from claimed_device import Watch
from waiting import wait_until

from ablate.distortion import digital, photometric, random
from ablate.doctor.selftest import device_findings
from ablate.errors import AblateError
from ablate.files.cache import locked
from ablate.finetune import loop
from ablate.model.environment import Environment

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu  # noqa: E402
from gpu import Place  # noqa: E402

pytestmark = pytest.mark.long


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A device whose tensors claim to be elsewhere; without a GPU's generator and its autocast."""
    monkeypatch.setattr(loop, "own_generators", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(loop, "seed_generators", lambda _seed, _device: None)
    monkeypatch.setattr(loop, "drawing_modules", lambda _model, _images: [])

    def autocast(environment: Environment) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, environment.precision == "bf16")

    monkeypatch.setattr(Environment, "autocast", autocast)
    monkeypatch.setattr(
        Place,
        "environment",
        lambda _place, _precision="fp32": Environment("cuda", "fp32", 1, "", ""),
    )
    monkeypatch.setattr(Place, "wait", lambda _place: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    # A file of such tensors is none of weights alone.
    monkeypatch.setattr(gpu, "through_file", lambda state, _device: state)
    # Its matrix is sparse, which no such tensor can be.
    kinds = [name for name in gpu.corruption.CORRUPTIONS if name != "zoom_blur"]
    monkeypatch.setattr(gpu.corruption, "CORRUPTIONS", kinds)
    with Watch():
        yield Place("cuda", quick=True)
    for kept in (digital._jpeg_constants, photometric._chroma_planes, random._normal_quantiles):
        kept.cache_clear()


@pytest.mark.parametrize(
    "name", ["distortions", "corruptions", "cells", "losses", "resume", "seed"]
)
def test_the_part_right_runs_on_another_device(name: str, pretended: Place) -> None:
    result = gpu.measurements(pretended)[f"right {name}"](pretended)
    assert result["ok"], result
    if "apart" in result:
        assert len(result["apart"]) == {"distortions": 16, "corruptions": 18}[name]


def test_the_part_fast_runs_on_another_device(pretended: Place) -> None:
    result = gpu.fast_network(pretended, "resnet20", 32, 16)
    assert result["ok"], result
    assert all(result[kind]["steps a second"][1] > 0 for kind in ("ablate", "usual", "bare"))
    assert result["against usual"][0] > 0
    assert "aim" not in result  # of two steps nothing is claimed
    assert "peak bytes" in result
    assert result["profiler"] == "saw nothing of the device"


def test_what_a_profiler_sees_of_a_device_is_counted(
    pretended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Profiled(contextlib.nullcontext["Profiled"]):
        """Six kernels of 1 ms each, and what is none."""

        def __enter__(self) -> Profiled:
            return self

        def events(self) -> list[Any]:
            span = torch.autograd.profiler_util.Interval(0, 1000)
            device = torch.autograd.DeviceType
            of = ((device.CUDA, False),) * 6 + ((device.CPU, False), (device.CUDA, True))
            return [
                gpu.argparse.Namespace(
                    device_type=kind, is_user_annotation=annotates, time_range=span
                )
                for kind, annotates in of
            ]

    monkeypatch.setattr(torch.profiler, "profile", lambda **_: Profiled())
    found = gpu.busy(pretended, lambda: time.sleep(0.012), 3)
    assert found["launches a step"] == 2
    assert 0.1 < found["share on the device"] <= 0.5


def test_a_trial_of_the_part_packed_runs_on_another_device(pretended: Place) -> None:
    ready, start = threading.Semaphore(0), threading.Event()
    start.set()
    gpu.one_trial(pretended, 4, 8, ready, start)
    assert ready.acquire(blocking=False)


def test_what_is_wrong_on_a_device_is_seen(
    pretended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = gpu.corruption.load

    class Off:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, images: Any, severity: int, generator: Any) -> Any:
            made = load(self.name)(images, severity, generator)
            return made + 5 * (self.name == "fog" and generator.device.type == "cuda")

    monkeypatch.setattr(gpu.corruption, "load", Off)
    result = gpu.right_corruptions(pretended)
    assert not result["ok"]
    assert [name for name, share in result["apart"].items() if share > 0.5] == ["fog"]


@pytest.mark.parametrize("change", [lambda made: made + 3 / 255, lambda made: made * math.nan])
def test_a_distortion_that_is_wrong_on_a_device_is_seen(
    change: Callable[[Any], Any], pretended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = gpu.distortion.load

    def wrong_on_the_device(name: str) -> Any:
        kind = load(name)

        def apply(images: Any, strength: Any, draws: Any) -> Any:
            made = kind.apply(images, strength, draws)
            return change(made) if name == "hue" and images.is_cuda else made

        return dataclasses.replace(kind, apply=apply)

    monkeypatch.setattr(gpu.distortion, "load", wrong_on_the_device)
    result = gpu.right_distortions(pretended)
    assert not result["ok"]
    assert [name for name, share in result["apart"].items() if share > 0] == ["hue"]


def test_a_resume_that_loses_something_on_a_device_is_seen(
    pretended: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_state = loop.Finetuning.load_state

    def load_less(run: loop.Finetuning, state: dict[str, Any]) -> None:
        load_state(run, state)
        run._optimizer.state.clear()

    monkeypatch.setattr(loop.Finetuning, "load_state", load_less)
    result = gpu.right_resume(pretended)
    assert not result["ok"]
    assert result["weights apart"] > 2 * gpu.RESUMED_WAY


def test_a_step_is_a_bounded_number_of_operations() -> None:
    """Of ResNet-20, whose own are 147; see `docs/measurements.md`."""
    operations = gpu.fast_operations(Place("cpu", quick=True))
    assert 147 <= operations["launched"] <= 317
    assert operations["casts"] <= 4


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: its exit code and what it says."""

    def run_with(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick", *arguments])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run_with


def test_a_measurement_that_the_time_ends_is_left(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "measure", lambda *_: None)
    code, said, _ = run("--parts", "packed", "-o", str(tmp_path / "gpu.json"))
    assert code == 3
    assert "1 measurement is left" in said


def test_it_goes_on_where_it_stopped_and_repeats_what_failed(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "gpu.json"
    options = ["--parts", "right", "-o", str(file)]
    code, said, _ = run(*options, "--minutes", "0")
    assert code == 3
    assert "6 measurements are left: run the same command again" in said
    assert not file.exists()

    names = [name for name in gpu.measurements(Place("cpu", True)) if name.startswith("right")]
    results: dict[str, Any] = {name: {"ok": True, "said": "kept"} for name in names}
    results["right distortions"] = {"error": "no end in 1 s"}
    report = gpu.read_report(gpu.argparse.Namespace(device="cpu", quick=True, output=file))
    file.write_text(json.dumps({**report, "results": results}))
    code, said, beside = run(*options)
    assert code == 0
    assert beside.endswith(f" cores, up to 8 minutes, {file}\nright distortions ...\n")
    again = json.loads(file.read_text())["results"]
    assert again.pop("right distortions")["apart"].keys() == set(distortion_names())
    assert {one["said"] for one in again.values()} == {"kept"}
    assert "| right distortions | ok | 16 kinds, at most 0 " in said

    other = json.dumps({**report, "conditions": {}, "results": results})
    for number, text in enumerate([other, file.read_text()[:300], "[]"], start=1):
        file.write_text(text)
        code, _, beside = run(*options, "--minutes", "0")
        assert f"of other conditions, now gpu.{number}.json: {file}" in beside
        assert code == 3
        assert (tmp_path / f"gpu.{number}.json").read_text() == text
    assert (tmp_path / "gpu.1.json").read_text() == other


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_what_cannot_run_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for options, said in [
        (["--device", "cuda"], "device: must be available, got cuda, but torch sees no GPU"),
        (["-o", str(tmp_path / "file" / "gpu.json")], "must be in a writable folder, got"),
    ]:
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", *options])
        with pytest.raises(AblateError, match=said):
            gpu.main()
    held = tmp_path / "held.json"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "-o", str(held)]
    with locked(held):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"gpu.py: {held}: must be written by one command at a time, got another that runs. "
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert ended.stderr.startswith(said)


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_a_measurement_ends_with_the_command(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--quick"]
    command += ["--parts", "packed", "-o", str(tmp_path / "gpu.json")]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert driver.stderr is not None
    while "packed" not in driver.stderr.readline():
        assert driver.poll() is None
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    wait_until(lambda: children.read_text().split())
    (measurement,) = children.read_text().split()
    of_it = Path(f"/proc/{measurement}/task/{measurement}/children")
    wait_until(lambda: of_it.read_text().split())
    driver.send_signal(signal.Signals[name])
    assert driver.wait() == {"SIGINT": 130, "SIGKILL": -signal.SIGKILL}[name]
    assert "Traceback" not in driver.stderr.read()
    wait_until(lambda: not in_group(int(measurement)))


def in_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def distortion_names() -> list[str]:
    return [name for names in gpu.distortion.FAMILIES.values() for name in names]


def test_a_measurement_that_crashes_is_an_error_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    options = gpu.argparse.Namespace(device="cpu", quick=True, data=None)
    assert gpu.measure("no such", options, 600.0) == {"error": "KeyError: 'no such'"}
    assert gpu.measure("right seed", options, 0.2) is None  # the call's time is up
    monkeypatch.setattr(gpu, "CELL_SECONDS", 0.2)
    assert gpu.measure("right seed", options, 0.2) == {"error": "no end in 0 s"}


def one_of_two_fails(_place: Place, _steps: int, _size: int, ready: Any, start: Any) -> None:
    if int(gpu.multiprocessing.current_process().name.rpartition("-")[2]) % 2:
        raise RuntimeError("out of memory")
    ready.release()
    start.wait()


def test_a_trial_that_waits_for_one_that_failed_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fork = gpu.multiprocessing.get_context("fork")  # which imports nothing again
    monkeypatch.setattr(gpu.multiprocessing, "get_context", lambda _way: fork)
    monkeypatch.setattr(gpu, "one_trial", one_of_two_fails)
    monkeypatch.setattr(gpu, "PACKED", (2,))
    with pytest.raises(RuntimeError, match="a trial ended before it began"):
        gpu.packed(Place("cpu", quick=True))
    (waits,) = gpu.multiprocessing.active_children()
    assert waits.daemon  # so that Python ends it, and does not wait for it
    waits.kill()


def test_doctor_runs_parts_of_it(tmp_path: Path) -> None:
    """Of those that are there already, so that it measures nothing."""
    file, said = tmp_path / "gpu.json", list[str]()
    report = gpu.read_report(gpu.argparse.Namespace(device="cpu", quick=True, output=file))
    file.write_text(
        json.dumps({**report, "results": {"packed": {"ok": False, "said": "1 1; 2 0"}}})
    )
    findings = list(device_findings("cpu", ["packed"], tmp_path, said.append))
    assert said == ["cpu: packed, short, into gpu.json"]
    assert [(one.what, one.state) for one in findings] == [("cpu packed", "broken")]
    assert findings[0].found == "1 1; 2 0"
    if not torch.cuda.is_available():  # what is in the file is not of this run
        (refused,) = device_findings("cuda", ["packed"], tmp_path, said.append)
        assert (refused.state, "got cuda" in refused.found) == ("broken", True)
