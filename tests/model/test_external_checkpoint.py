"""Weights from elsewhere: what is read, and what is refused."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, mnasnet0_5, resnet18

from ablate.errors import DataError, MissingDependencyError
from ablate.lifecycle.place import place_of_file
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.model.weights.external_checkpoint import (
    find_checkpoint,
    fit_keys,
    load_backbone,
    load_external,
)
from ablate.model.weights.preprocessing import unstated_sizes
from ablate.study.settings import ModelSettings
from ablate.trial.workbench import Workbench

QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)
OWN = ModelSettings(name="resnet8")
RESNET18 = ModelSettings(name="torchvision:resnet18")
FIRST = "normalize.mean"


def build(
    settings: ModelSettings = OWN, classes: int = 5, seed: int = 0, mean: tuple[float, ...] = MEAN
) -> torch.nn.Module:
    return build_model(settings, classes, mean, STD, seed)


def refusal(
    checkpoint: str, base: Path | None = None, settings: ModelSettings = OWN, classes: int = 5
) -> str:
    model = build(settings, classes)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(DataError) as error:
        load_external(model, settings, checkpoint, base)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    text = str(error.value)
    assert text.isprintable(), "one line"
    return text


@pytest.mark.parametrize("form", ["safetensors", "plain", "state_dict", "model", "data_parallel"])
def test_weights_are_read_as_they_were_written(tmp_path: Path, form: str) -> None:
    trained = build(seed=1)
    state = trained.state_dict()
    if form == "safetensors":
        export_weights(trained, tmp_path / "weights.safetensors")
    else:
        written: dict[str, Any] = {
            "plain": state,
            "state_dict": {"epoch": 3, "state_dict": state},
            "model": {"model": state, "optimizer": {"lr": 0.1}},
            "data_parallel": {
                "model_state_dict": {f"module.{key}": value for key, value in state.items()}
            },
        }[form]
        torch.save(written, tmp_path / "weights.pt")
    model = build()
    load_external(model, OWN, next(tmp_path.iterdir()).name, tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.parametrize(
    ("start", "beside"),
    [
        ("module.", ["n_averaged"]),
        ("model._orig_mod.", ["criterion.weight", "model_ema.module.stem.0.weight"]),
        ("net.backbone.", []),
        ("", ["stem.0.num_batches_tracked", "optimizer.step"]),
    ],
)
def test_what_training_loops_put_around_the_keys(
    tmp_path: Path, start: str, beside: list[str]
) -> None:
    trained = build(seed=1).state_dict()
    state = {f"{start}{key}": value for key, value in trained.items()}
    state |= dict.fromkeys(beside, torch.zeros(1))
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "weights.pt")
    model = build()
    load_external(model, OWN, "weights.pt", tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained[key])
    _, said = fit_keys(build().state_dict(), state)
    assert (repr(start) in said) == bool(start)
    assert all(key in said for key in beside)
    assert fit_keys(trained, trained) == (trained, "")


def test_a_network_that_asks_for_the_version_of_its_weights(tmp_path: Path) -> None:
    trained, model = (mnasnet0_5(num_classes=3) for _ in range(2))
    export_weights(trained, tmp_path / "weights.safetensors")
    load_external(model, OWN, "weights.safetensors", tmp_path)
    state = trained.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_key_of_something_else_is_not_left_out(tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in build().state_dict().items()}
    torch.save({**state, "decoder.weight": torch.zeros(2)}, tmp_path / "weights.pt")
    assert "1 unexpected (decoder.weight)" in refusal("weights.pt", tmp_path)


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_a_network_with_its_code_is_called_so(tmp_path: Path, kind: str) -> None:
    network, images = nn.Conv2d(3, 1, 1), torch.zeros(1, 3, 2, 2)
    if kind == "TorchScript":
        torch.jit.trace(network, images).save(tmp_path / "net.pt")
    else:
        torch.export.save(torch.export.export(network, (images,)), tmp_path / "net.pt2")
    file = next(tmp_path.iterdir()).name
    assert refusal(file, tmp_path).startswith(
        "baseline.checkpoint: must be a .safetensors file or a state dict, got "
        f"{file!r}, a network with its code ({kind}). Save state_dict() of the network"
    )


def test_a_normalisation_in_the_file_goes_before_the_settings(tmp_path: Path) -> None:
    trained = build(seed=1, mean=(0.1, 0.2, 0.3))
    export_weights(trained, tmp_path / "whole.safetensors")
    bare = {
        key: value.contiguous()
        for key, value in trained.state_dict().items()
        if not key.startswith("normalize") and "num_batches" not in key
    }
    save_file(bare, tmp_path / "bare.safetensors")
    for name, mean in (("whole", (0.1, 0.2, 0.3)), ("bare", MEAN)):
        model = build()
        load_external(model, OWN, f"{name}.safetensors", tmp_path)
        assert torch.equal(model.state_dict()["normalize.mean"].flatten(), torch.tensor(mean))


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal("none.pt", tmp_path) == (
        "baseline.checkpoint: must be a readable file, torchvision:WEIGHTS or timm:pretrained, got "
        f"'none.pt' ({tmp_path / 'none.pt'}: No such file or directory). Give its path relative to "
        "the study file."
    )


def test_weights_that_come_with_ablate(tmp_path: Path) -> None:
    """Found from any folder, with the sizes that they were trained at, and right on the digits."""
    study = place_of_file(QUICKSTART, ["run.gpus_per_trial=0"]).study
    assert study is not None
    bench = Workbench.get(study, tmp_path, tmp_path / "cache")
    assert unstated_sizes(study, tmp_path, 32, (8, 8)) == ""
    model, images = bench.build_baseline().eval(), bench.dataset.validation
    right = model(images.images.float() / 255).argmax(1) == images.labels
    assert (len(images), float(right.float().mean())) == (359, pytest.approx(0.986, abs=0.004))
    assert refusal("ablate:resnet9_digits", tmp_path) == (
        "baseline.checkpoint: must be weights that come with ablate, got 'ablate:resnet9_digits'. "
        "They are ablate:resnet8_digits."
    )


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
@pytest.mark.parametrize("kept", [0.9, 0])
def test_a_truncated_file(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(build().state_dict(), path)
    else:
        export_weights(build(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    text = refusal(name, tmp_path)
    assert text.startswith(
        f"baseline.checkpoint: must be a complete .safetensors file or state dict, got '{name}' ("
    )
    assert text.endswith("). Copy or save it again.")


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [None, 4])
@pytest.mark.filterwarnings("error")
def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path, protocol: int | None) -> None:
    """Saved by torch, or pickled with that protocol."""
    harm = tmp_path / "harm"
    path = tmp_path / "weights.pt"
    content = {"extra": _Malicious(harm), **build().state_dict()}
    if protocol is None:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    assert refusal("weights.pt", tmp_path) == (
        "baseline.checkpoint: must contain only tensors, got 'weights.pt', a pickle that would run "
        f"{os.mkdir.__module__}.mkdir; it was not run. Save model.state_dict(), or a .safetensors "
        "file."
    )
    assert not harm.exists()
    if protocol is None:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert harm.exists(), "it would have run"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([1, 2], "list"),
        ({}, "an empty dict"),
        ({"epoch": 3, "stem.0.weight": torch.zeros(1)}, "'epoch': int"),
        (torch.zeros(2), "Tensor"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: Any, kind: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert refusal("weights.pt", tmp_path) == (
        "baseline.checkpoint: must be a state dict, key -> tensor, got 'weights.pt' with "
        f"{kind}. Save model.state_dict()."
    )


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    content = {"model": {**build().state_dict(), 2: torch.zeros(1)}}
    torch.save(content, tmp_path / "weights.pt")
    assert refusal("weights.pt", tmp_path) == (
        "baseline.checkpoint: must be a state dict, key -> tensor, got 'weights.pt' with a key "
        "that is not text: int. Save model.state_dict()."
    )


def _of(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {key: change(value) for key, value in build().state_dict().items()}


def _spoiled(value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    state = build().state_dict()
    state["classifier.bias"] = torch.tensor([0, 1, value, 3, value], dtype=dtype)
    return state


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (_of(lambda one: one.to_sparse()), f"{FIRST} stored as sparse_coo, float32"),
        (_of(lambda one: one.to("meta")), f"{FIRST} without values (device meta)"),
        (_of(lambda one: one.to(torch.complex64)), f"{FIRST} of complex64"),
        (_of(lambda one: one.to(torch.int8)), f"{FIRST} of int8"),
        (_spoiled(float("nan")), "classifier.bias not finite in 2 of 5 values"),
        (_of(lambda one: one * 0), "stem.0.weight and every other weight 0"),
        (_of(lambda one: one - 2), "stem.1.running_var negative in 16 of 16 values"),
        (_spoiled(1e300, torch.float64), "classifier.bias not finite in 2 of 5 values"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path: Path, state: dict[str, Tensor], got: str) -> None:
    torch.save(state, tmp_path / "weights.pt")
    assert refusal("weights.pt", tmp_path) == (
        "baseline.checkpoint: must contain dense, finite, floating-point weights, got 'weights.pt' "
        f"with {got}. Save model.state_dict() of the trained network in float32."
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_precision_is_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    state = _of(lambda one: one.to(dtype) if one.is_floating_point() else one.to(torch.int32))
    torch.save(state, tmp_path / "weights.pt")
    model = build()
    load_external(model, OWN, "weights.pt", tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key].to(value.dtype))


def test_a_key_with_a_line_break(tmp_path: Path) -> None:
    torch.save({**build().state_dict(), "two\nlines": torch.zeros(1)}, tmp_path / "weights.pt")
    assert "with keys 1 unexpected ('two\\nlines'). Name" in refusal("weights.pt", tmp_path)


def test_another_architecture(tmp_path: Path) -> None:
    state = build().state_dict()
    state["extra.weight"] = state.pop("stem.0.weight")
    state["classifier.bias"] = torch.zeros(9)
    torch.save(state, tmp_path / "weights.pt")
    assert refusal("weights.pt", tmp_path) == (
        "baseline.checkpoint: must contain the weights of resnet8, got 'weights.pt' with keys 1 "
        "missing (stem.0.weight), 1 unexpected (extra.weight), 1 of another shape (classifier.bias "
        "(9,) for (5,)); nearest: stem.0.weight for extra.weight. Name its network in model.name; "
        "its classes must be those of the data set."
    )


@pytest.mark.slow
def test_torchvisions_weights_by_name_come_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch finds a file of the right name and does not fetch it again."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub/checkpoints" / ResNet18_Weights.DEFAULT.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    original = resnet18(weights=None)
    torch.save(original.state_dict(), file)
    model = build(RESNET18, 1000)
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        load_external(model, RESNET18, f"torchvision:{name}")
        assert torch.equal(model.state_dict()["fc.weight"], original.fc.weight)
    one, same = (
        find_checkpoint(RESNET18, f"torchvision:{name}") for name in ("DEFAULT", "IMAGENET1K_V1")
    )
    assert one == same
    assert "got 'torchvision:DEFAULT' with 1,000. Write baseline.backbone: torchvision:DEFAULT" in (
        refusal("torchvision:DEFAULT", None, RESNET18)
    )
    begun = build(RESNET18, 3)
    load_backbone(begun, RESNET18, "torchvision:resnet18")
    state = begun.state_dict()
    assert torch.equal(state["layer4.0.conv1.weight"], original.layer4[0].conv1.weight)
    assert state["fc.weight"].shape == (3, 512)
    assert not state["fc.weight"].any()


def test_torchvisions_weights_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    # What was fetched before has kept the proxies of its own time.
    monkeypatch.setattr("urllib.request._opener", None)
    assert refusal("torchvision:DEFAULT", None, RESNET18, 1000) == (
        "baseline.checkpoint: cannot fetch torchvision:DEFAULT, got URLError: <urlopen error "
        "[Errno 111] Connection refused>. Download "
        f"{ResNet18_Weights.DEFAULT.url} elsewhere and set baseline.checkpoint: FILE."
    )


@pytest.mark.parametrize(
    ("settings", "checkpoint", "message"),
    [
        (
            RESNET18,
            "torchvision:IMAGENET1K_V3",
            "must be weights that torchvision has for resnet18, got 'torchvision:IMAGENET1K_V3'. "
            "Did you mean torchvision:IMAGENET1K_V1?",
        ),
        (
            OWN,
            "torchvision:DEFAULT",
            "torchvision:DEFAULT needs model.name: torchvision:NAME, got 'resnet8'. Use that "
            "network, or give a file.",
        ),
    ],
)
def test_weights_that_are_not_of_the_network(
    settings: ModelSettings, checkpoint: str, message: str
) -> None:
    assert refusal(checkpoint, None, settings) == f"baseline.checkpoint: {message}"


@pytest.mark.slow
def test_timms_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ModelSettings(name="timm:convnext_atto_rms")
    assert refusal("timm:pretrained", None, settings) == (
        "baseline.checkpoint: must be weights of timm, got 'timm:pretrained' for "
        "convnext_atto_rms, for which it has none. Set baseline.checkpoint: FILE, or leave it out."
    )
    known = find_checkpoint(ModelSettings(name="timm:resnet18"), "timm:pretrained")
    assert known.identity == "timm:resnet18.a1_in1k"
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match="needs timm, which is not installed"):
        find_checkpoint(settings, "timm:pretrained")
