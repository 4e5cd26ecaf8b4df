"""The baseline: trained once, cached, the same for everybody."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.data.dataset import Dataset
from ablate.data.load import load_dataset
from ablate.errors import DataError, ParameterError, UsageError
from ablate.files.cache import DamagedError, heard_damage, state_file
from ablate.finetune import baseline as module
from ablate.finetune.baseline import (
    Baseline,
    TrainingStates,
    kept_baseline,
    load_baseline,
    obtain_baseline,
)
from ablate.finetune.loop import EpochReport, Finetuning
from ablate.model.build import build_model
from ablate.model.environment import resolve_environment
from ablate.model.normalization import carried_statistics
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.study.settings import (
    BaselineSettings,
    DatasetSettings,
    ModelSettings,
    ValidationSettings,
)

DATA = DatasetSettings(
    name="digits", image_size=8, validation=ValidationSettings(fraction=0.5, seed=0)
)
MODEL = ModelSettings(name="resnet8")
ONE_EPOCH = BaselineSettings(epochs=1)


def load(data: DatasetSettings = DATA) -> Dataset:
    return load_dataset(data, Path(), Path(), image_size=data.image_size or 8)


def obtain(
    cache: Path,
    *,
    data: DatasetSettings = DATA,
    settings: BaselineSettings = ONE_EPOCH,
    precision: str = "fp32",
    model: ModelSettings = MODEL,
    base: Path | None = None,
    checkpoint_seconds: float = 300.0,
) -> Baseline:
    environment = resolve_environment(precision, threads=1, device="cpu")
    return obtain_baseline(
        load(data),
        data,
        model,
        settings,
        environment=environment,
        cache=cache,
        base=base,
        checkpoint_seconds=checkpoint_seconds,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the baseline."""
    cache = tmp_path_factory.mktemp("trained")
    obtain(cache)
    return cache


@pytest.fixture
def cache(trained: Path, tmp_path: Path) -> Path:
    """A cache of one's own that has the baseline."""
    return Path(shutil.copytree(trained, tmp_path / "cache"))


def tell(cache: Path, answers: multiprocessing.Queue[Baseline]) -> None:
    answers.put(obtain(cache))


def test_the_second_time_it_is_read(tmp_path: Path) -> None:
    """The time that a training took tells one training from another."""
    torch.backends.cudnn.deterministic = False
    first = obtain(tmp_path)
    assert first.train_seconds > 0
    assert torch.backends.cudnn.deterministic  # its bits are compared when it is made again
    assert obtain(tmp_path) == first


@pytest.mark.slow
def test_two_processes_train_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[Baseline] = context.Queue()
    processes = [context.Process(target=tell, args=(tmp_path, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    one, other = (answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert one == other


SMALL = DatasetSettings(
    name="digits", image_size=8, validation=ValidationSettings(fraction=0.9, seed=0)
)
LONG = BaselineSettings(epochs=20, batch_size=16)


def obtain_long(cache: Path) -> Baseline:
    return obtain(cache, data=SMALL, settings=LONG, checkpoint_seconds=0.1)


def kept_states(cache: Path) -> list[dict[str, Any]]:
    """The state of a training that is under way, if any is kept."""
    return [
        torch.load(io.BytesIO(path.read_bytes()[64:]), weights_only=True)
        for path in (cache / "baselines").glob("*.state")
    ]


def killed_amid(cache: Path) -> None:
    """A training whose process is killed once a state with an epoch is kept."""
    save = TrainingStates.save

    def save_and_die(
        self: TrainingStates, training: Finetuning, reports: list[EpochReport]
    ) -> None:
        save(self, training, reports)
        if reports:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        # Else the next state waits for 100 times the duration of the first write: too long here.
        patch.setattr(TrainingStates, "is_due", lambda self: True)
        patch.setattr(TrainingStates, "save", save_and_die)
        obtain_long(cache)


@pytest.mark.long
def test_a_training_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=killed_amid, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (state,) = kept_states(tmp_path)
    again = obtain_long(tmp_path)
    curve = json.loads((again.path.parent / "baseline.json").read_text())["curve"]
    assert curve[: len(state["curve"])] == state["curve"]  # their seconds too
    assert [entry["epoch"] for entry in curve] == list(range(1, 21))
    assert kept_states(tmp_path) == []

    whole = tmp_path / "whole"
    entry = whole / "baselines" / again.key
    entry.parent.mkdir(parents=True)
    state_file(entry).write_bytes(b"damaged: it begins again")
    assert obtain_long(whole).sha256 == again.sha256
    assert kept_states(whole) == []


RECORDS = {
    "cut short": b"{",
    "a list": b"[]",
    "no curve": b'{"sha256": "0", "curve": 5}',
    "nested": b"[" * 99_999,
}
DAMAGED = "cache: the baseline was damaged; regenerated"


@pytest.mark.parametrize("damage", ["weights", "missing", *RECORDS])
def test_a_damaged_entry_is_made_again(
    cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the training gives the same bits is looked at in two of the cases, to save the time."""
    first = obtain(cache)
    if damage not in ("weights", "a list"):
        model = load_baseline(first, load(), MODEL)
        monkeypatch.setattr("ablate.finetune.baseline.train_baseline", lambda *_, **__: (model, []))
    if damage == "weights":
        content = bytearray(first.path.read_bytes())
        content[-1] ^= 1
        first.path.write_bytes(content)
    elif damage == "missing":
        first.path.unlink()
    else:
        (first.path.parent / "baseline.json").write_bytes(RECORDS[damage])
    assert kept_baseline(cache, first.sha256) is None
    with heard_damage() as said:
        again = obtain(cache)
    assert said == [DAMAGED]
    assert again.train_seconds != first.train_seconds
    assert (again.path, again.sha256, again.key) == (first.path, first.sha256, first.key)
    with heard_damage() as said:
        assert obtain(cache) == again
    assert said == []


def test_weights_damaged_while_the_network_is_built_are_not_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, data = obtain(cache), load()
    build = module.build_model

    def build_slowly(*arguments: Any, **options: Any) -> Any:
        content = bytearray(baseline.path.read_bytes())
        content[-1] ^= 1
        baseline.path.write_bytes(content)
        return build(*arguments, **options)

    monkeypatch.setattr(module, "build_model", build_slowly)
    with pytest.raises(DamagedError, match=r"must contain the baseline.s weights .* other bytes"):
        load_baseline(baseline, data, MODEL)
    monkeypatch.undo()
    baseline.path.unlink()
    with pytest.raises(
        DamagedError, match=r"got No such file or directory\. Resume; it is then retrained"
    ):
        load_baseline(baseline, data, MODEL)


@pytest.mark.slow
def test_what_changes_it_makes_another(cache: Path) -> None:
    split = DATA.model_copy(update={"validation": ValidationSettings(fraction=0.5, seed=1)})
    keys = {
        obtain(cache).key,
        obtain(cache, data=split).key,
        obtain(cache, data=DATA.model_copy(update={"crop_padding": 1})).key,
        obtain(cache, settings=BaselineSettings(epochs=1, seed=1)).key,
        obtain(cache, settings=BaselineSettings(epochs=1, learning_rate=0.05)).key,
        obtain(cache, precision="bf16").key,
    }
    assert len(keys) == 6


def checkpoint(path: Path) -> BaselineSettings:
    return BaselineSettings(checkpoint=str(path), saw_validation=False)


def test_a_checkpoint_is_the_baseline(cache: Path) -> None:
    """What obtain_baseline wrote is a checkpoint that it reads."""
    trained = obtain(cache)
    given = obtain(cache, settings=checkpoint(trained.path))
    assert given.train_seconds == 0
    assert given.key != trained.key
    assert given.sha256 == trained.sha256
    assert obtain(cache, settings=checkpoint(trained.path)) == given
    seen = BaselineSettings(checkpoint=str(trained.path), saw_validation=True)
    assert obtain(cache, settings=seen) == given
    record = json.loads((given.path.parent / "baseline.json").read_text())
    assert record["made_from"]["checkpoint"] == f"sha256:{trained.sha256}"
    assert record["curve"] == []


def test_a_checkpoint_is_known_by_its_content(cache: Path, tmp_path: Path) -> None:
    trained = obtain(cache)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(trained.path.read_bytes())
    given = obtain(cache, settings=checkpoint(Path("moved.safetensors")), base=tmp_path)
    assert given == obtain(cache, settings=checkpoint(trained.path))
    other = obtain(cache, settings=BaselineSettings(epochs=1, seed=1))
    moved.write_bytes(other.path.read_bytes())
    again = obtain(cache, settings=checkpoint(Path("moved.safetensors")), base=tmp_path)
    assert (again.sha256, again.key) != (given.sha256, given.key)


def test_a_checkpoint_of_another_network_leaves_no_entry(cache: Path, tmp_path: Path) -> None:
    trained = obtain(cache)
    deeper = ModelSettings(name="resnet20")
    with pytest.raises(DataError, match=r"must contain the weights of resnet20, got .* missing \("):
        obtain(tmp_path / "other", settings=checkpoint(trained.path), model=deeper)
    assert not list((tmp_path / "other").glob("baselines/*/*"))


NET = """
from torch import nn

def small(classes):
    return nn.Sequential(nn.Conv2d(3, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


def test_a_network_of_ones_own_is_trained_anew_when_its_code_changes(tmp_path: Path) -> None:
    model = ModelSettings(name="baseline_nets:small")
    (tmp_path / "baseline_nets.py").write_text(NET)
    one = obtain(tmp_path, model=model, base=tmp_path)
    assert obtain(tmp_path, model=model, base=tmp_path) == one
    loaded = load_baseline(one, load(), model, base=tmp_path)
    assert set(loaded.state_dict()) == {"0.weight", "0.bias"}
    (tmp_path / "baseline_nets.py").write_text(NET + "# other\n")
    assert obtain(tmp_path, model=model, base=tmp_path).key != one.key


def test_an_exports_normalisation_goes_with_its_weights(tmp_path: Path) -> None:
    """Also of a network that does not store it, as those of others do."""
    (tmp_path / "baseline_exported.py").write_text(NET)
    model = ModelSettings(name="baseline_exported:small")
    data = load()
    network = build_model(model, len(data.classes), (0.1,) * 3, (0.2,) * 3, 0, base=tmp_path)
    metadata = ExportMetadata(
        **{"model": model.name, "classes": data.classes, "mean": (0.1,) * 3, "std": (0.2,) * 3},
        **{"image_size": 8, "resize": None, "dataset": "digits", "study": "earlier", "trial": 0},
        **{"loss_terms": "clean", "seen_types": ()},
    )
    file = tmp_path / "earlier.safetensors"
    export_weights(network, file, metadata)
    given = obtain(tmp_path / "c", model=model, settings=checkpoint(file), base=tmp_path)
    loaded = load_baseline(given, data, model, base=tmp_path)
    assert carried_statistics(loaded) == carried_statistics(network)
    images = data.validation.images[:4].float() / 255
    assert torch.equal(loaded.eval()(images), network.eval()(images))
    export_weights(network, file)
    plain = obtain(tmp_path / "c", model=model, settings=checkpoint(file), base=tmp_path)
    silent = load_baseline(plain, data, model, base=tmp_path)
    statistics = carried_statistics(silent)
    assert statistics is not None
    assert statistics.mean == pytest.approx(data.mean)


def test_a_network_that_does_not_take_the_images(tmp_path: Path) -> None:
    """Before anything is trained, and in words that name the key."""
    (tmp_path / "baseline_flat.py").write_text(
        "from torch import nn\n\n"
        "def flat(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))\n"
    )
    with pytest.raises(ParameterError) as error:
        obtain(tmp_path, model=ModelSettings(name="baseline_flat:flat"), base=tmp_path)
    assert str(error.value).startswith(
        "dataset.image_size: baseline_flat:flat must take images of 8 x 8, got RuntimeError: "
    )


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="must be in a writable folder"):
        obtain(tmp_path / "file")
