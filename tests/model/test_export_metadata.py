"""What an export says of itself, and weights that are matched by their order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ablate.errors import DataError
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import ExportMetadata, export_weights, read_metadata
from ablate.model.weights.external_checkpoint import load_external, match_by_order
from ablate.study.settings import ModelSettings

METADATA = ExportMetadata(
    model="resnet8",
    classes=("left", "right"),
    mean=(0.1, 0.2, 0.3),
    std=(0.2, 0.2, 0.25),
    image_size=16,
    resize=None,
    dataset="image_folder",
    study="small",
    trial=3,
    loss_terms="clean+fma",
    seen_types=("gaussian_noise",),
)
OWN = ModelSettings(name="resnet8")


def build(seed: int = 0) -> nn.Module:
    return build_model(OWN, 2, METADATA.mean, METADATA.std, seed)


def test_metadata_stands_beside_the_tensors(tmp_path: Path) -> None:
    export_weights(build(), tmp_path / "said.safetensors", METADATA)
    export_weights(build(), tmp_path / "silent.safetensors")
    assert read_metadata(tmp_path / "said.safetensors") == METADATA
    assert read_metadata(tmp_path / "silent.safetensors") is None
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("said", "silent"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert METADATA.training == {
        **{"study": "small", "trial": 3, "dataset": "image_folder"},
        **{"loss_terms": "clean+fma", "seen_types": ("gaussian_noise",)},
    }


def test_every_byte_of_an_export_counts(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    export_weights(build(), file, METADATA)
    whole = file.read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    digest = whole.index(b"sha256") + 20
    name = whole.index(b"left")
    for place in (0, 9, name, digest, length, (length + len(whole)) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[place] ^= 1
        file.write_bytes(content)
        assert refusal(file).endswith("Copy or export it again.") or place == 9
    for content in (whole[:-1], whole[:100], b"", bytes(len(whole)), whole + b"0"):
        file.write_bytes(content)
        assert refusal(file).startswith("FILE: must ")
    content = bytearray(whole)
    content[-1] ^= 1
    file.write_bytes(content)
    assert refusal(file) == (
        "FILE: must be an undamaged export, got different bytes. Copy or export it again."
    )
    with pytest.raises(
        DataError, match=r"^baseline.checkpoint: must be a complete .*damaged: not the bytes"
    ):
        load_external(build(), OWN, str(file))
    export_weights(build(), file, METADATA)
    assert file.read_bytes() == whole


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_metadata(path)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "FILE")


def test_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"short")
    assert refusal(file).startswith("FILE: must be a complete .safetensors file, got ")
    assert refusal(file).endswith(". Copy or export it again.")
    tensors = {"weight": torch.zeros(1)}
    for text in ("no json", "[]", "{}", json.dumps({"version": 1, "model": "resnet8"})):
        save_file(tensors, file, metadata={"ablate": text})
        assert refusal(file).startswith(
            "FILE: must have the metadata that `ablate export` writes, got something else ("
        )
        assert refusal(file).endswith("Name its network: ablate evaluate NAME `checkpoint=FILE`.")
    header = {**METADATA.to_json(), "version": 2}
    save_file(tensors, file, metadata={"ablate": json.dumps(header)})
    assert refusal(file) == (
        "FILE: must be an export of version 1, got version 2. Export it again with this version of "
        "ablate, or update ablate."
    )


def test_tensors_are_matched_by_their_order(tmp_path: Path) -> None:
    trained = build(seed=1)
    renamed = {
        key.replace("stem.0", "first").replace("stage", "_s"): value
        for key, value in trained.state_dict().items()
        if "num_batches" not in key and "normalize" not in key
    }
    torch.save(renamed, tmp_path / "peer.pth")
    model = build()
    with pytest.raises(DataError, match=r"must contain the weights of resnet8"):
        load_external(model, OWN, "peer.pth", tmp_path)
    load_external(model, OWN, "peer.pth", tmp_path, by_order=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key])


def mismatch(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> str:
    with pytest.raises(DataError) as error:
        match_by_order(own, found, "resnet8", "peer.pth")
    return str(error.value)


def test_what_does_not_fit_in_order_is_named() -> None:
    conv, flat = torch.zeros(4, 3, 3, 3), torch.zeros(4)
    own = {"conv.weight": conv, "bn.weight": flat, "bn.bias": flat}
    assert mismatch(own, {"a.weight": conv, "b.weight": flat}) == (
        "`checkpoint_order`: 'peer.pth' must have the 3 tensors of resnet8, got 2. Choose the "
        "network that it belongs to."
    )
    # Only a network that normalises by itself takes a file's normalisation.
    inside = {"mu": torch.zeros(1, 3, 1, 1), "a.weight": conv, "b.weight": flat, "b.bias": flat}
    assert "must have the 3 tensors of resnet8, got 4" in mismatch(own, inside)
    odd = {"a.weight": conv, "b.weight": torch.zeros(5), "b.bias": flat}
    assert mismatch(own, odd) == (
        "`checkpoint_order`: tensor 2 of 'peer.pth' must fit bn.weight (4,) of resnet8, got "
        "b.weight (5,). Choose the network that it belongs to, or rename its keys."
    )
    # The same shapes, and yet bias and weight would change places.
    swapped = {"a.weight": conv, "b.bias": flat, "b.weight": flat}
    assert "must fit bn.weight (4,) of resnet8, got b.bias (4,)" in mismatch(own, swapped)
    other_names = {"a.kernel": conv, "b.gamma": flat, "b.beta": flat}
    assert match_by_order(own, other_names, "resnet8", "peer.pth")["bn.bias"] is flat
