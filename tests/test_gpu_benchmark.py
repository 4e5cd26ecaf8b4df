"""`benchmarks/gpu.py`: what it asks of a GPU, asked of a device that is pretended; that it goes on
where it stopped; and how many operations a step has."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from claimed_device import Watch

from ablate.distortion import digital, photometric, random
from ablate.doctor.selftest import device_findings
from ablate.finetune import loop
from ablate.model.environment import Environment

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu  # noqa: E402
from gpu import Place  # noqa: E402


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A device whose tensors claim to be elsewhere; without a GPU's generator and its autocast."""
    monkeypatch.setattr(loop, "own_generators", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(loop, "seed_generators", lambda _seed, _device: None)

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
    assert gpu.fast_operations(pretended)["launched"] >= 147
    result = gpu.fast_network(pretended, "resnet20", 32, 16)
    assert result["ok"], result
    assert all(result[kind]["steps a second"][1] > 0 for kind in ("ablate", "usual", "bare"))
    assert result.keys() >= {"launches a step", "share on the device", "peak bytes", "aim"}


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


def test_a_step_is_a_bounded_number_of_operations() -> None:
    """Of ResNet-20, whose own are 147; see `docs/measurements.md`."""
    operations = gpu.count_operations(16)
    assert operations.launched.total() <= 317
    assert operations.all["aten::_to_copy"] <= 4


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
    assert (code, beside) == (0, "right distortions ...\n")
    again = json.loads(file.read_text())["results"]
    assert again.pop("right distortions")["apart"].keys() == set(distortion_names())
    assert {one["said"] for one in again.values()} == {"kept"}
    assert "| right distortions | ok | 16 kinds, at most 0 " in said

    file.write_text(json.dumps({**report, "conditions": {}, "results": results}))
    _, _, beside = run(*options, "--minutes", "0")
    assert f"of other conditions, now gpu.old.json: {file}" in beside
    assert (tmp_path / "gpu.old.json").exists()


def distortion_names() -> list[str]:
    return [name for names in gpu.distortion.FAMILIES.values() for name in names]


def test_a_measurement_that_crashes_is_an_error_and_no_end(tmp_path: Path) -> None:
    options = gpu.argparse.Namespace(device="cpu", quick=True, data=None)
    assert gpu.measure("no such", options, 600.0) == {"error": "KeyError: 'no such'"}
    assert gpu.measure("right seed", options, 0.2) == {"error": "no end in 0 s"}


@pytest.mark.slow
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
