"""Networks from anywhere, as they are evaluated: found, built, shown images, and refused."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate.data.dataset import Statistics
from ablate.errors import AblateError, DataError, ParameterError, UsageError
from ablate.model.build import build_model
from ablate.model.normalization import IMAGENET
from ablate.model.subject import (
    Normalization,
    Subject,
    build_subject,
    find_origin,
    probe,
)
from ablate.model.weights.export_metadata import ExportMetadata, export_weights
from ablate.model.weights.programs import load_program
from ablate.study.settings import ModelSettings

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
SAID = Normalization(mean=MEAN, std=STD)
SILENT = Normalization()


class Tiny(nn.Module):
    """Logits of 4 classes from the mean of each channel."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.bn(images).mean(dim=(2, 3)))
        return logits


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    network = Tiny().eval()
    network.bn.running_mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return network


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def normalized(images: Tensor) -> Tensor:
    return (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def refusal(call: Callable[[], Any], kind: type[AblateError] = UsageError) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def export(path: Path, **changed: Any) -> ExportMetadata:
    said = {
        **{"model": "resnet8", "classes": ("a", "b", "c", "d"), "mean": MEAN, "std": STD},
        **{"image_size": 16, "resize": 20, "dataset": "digits", "study": "s", "trial": 0},
        **{"loss_terms": "clean", "seen_types": ()},
    }
    metadata = ExportMetadata(**{**said, **changed})
    settings = ModelSettings(name=metadata.model, normalization="dataset")
    export_weights(build_model(settings, 4, MEAN, STD, 3), path, metadata)
    return metadata


# --- what a name names


@pytest.mark.slow
def test_bare_names_are_ours_then_torchvisions_then_timms() -> None:
    resnet50 = find_origin("resnet50", "torchvision:IMAGENET1K_V2")
    assert (resnet50.name, resnet50.image_size, resnet50.resize) == (
        "torchvision:resnet50",
        224,
        232,
    )
    assert resnet50.notes == ("resnet50 is torchvision's: torchvision:resnet50",)
    assert resnet50.statistics == IMAGENET
    assert resnet50.identity.startswith("torchvision:https://")
    older = find_origin("torchvision:resnet50", "torchvision:IMAGENET1K_V1")
    assert (older.resize, older.notes) == (256, ())
    lite = find_origin("tf_efficientnet_lite0", "timm:pretrained")
    assert (lite.name, lite.image_size, lite.resize) == ("timm:tf_efficientnet_lite0", 224, 256)
    assert lite.statistics == Statistics((0.5,) * 3, (0.5,) * 3)
    assert lite.notes == (
        "tf_efficientnet_lite0 is timm's: timm:tf_efficientnet_lite0",
        "files are resized bilinearly; the network's own evaluation uses bicubic",
    )


def test_an_export_needs_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "trial.safetensors"
    metadata = export(file)
    for found in (find_origin(str(file), None), find_origin("resnet8", str(file))):
        assert found.metadata == metadata
        assert (found.name, found.image_size, found.resize) == ("resnet8", 16, 20)
        assert found.checkpoint == str(file)
        subject = build_subject(found, 4, SILENT)
        assert (subject.image_size, subject.statistics) == (16, Statistics(*_float32(MEAN, STD)))
    expected = build_model(ModelSettings(name="resnet8"), 4, MEAN, STD, 3).eval()
    larger = torch.rand(2, 3, 16, 16)
    assert torch.equal(subject.eval()(larger), expected(larger))


def _float32(*rows: tuple[float, ...]) -> list[tuple[float, ...]]:
    return [tuple(torch.tensor(row).tolist()) for row in rows]


def test_new_weights_are_never_evaluated() -> None:
    assert refusal(lambda: find_origin("torchvision:resnet18", None)) == (
        "`checkpoint`: torchvision:resnet18 must have weights, got no `checkpoint`, and random "
        "weights cannot be evaluated. Give a file, or torchvision:DEFAULT."
    )


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    assert refusal(lambda: find_origin("shufflenet_v2_x1_00", "w.pt"), ParameterError) == (
        "`model`: must be a known network or a file, got 'shufflenet_v2_x1_00'. Did you mean "
        "shufflenet_v2_x1_0?"
    )
    assert refusal(lambda: find_origin("no/such.pt", None), DataError) == (
        "`model`: must be a network or an existing file, got no/such.pt. Correct the path."
    )
    file = tmp_path / "silent.safetensors"
    export_weights(Tiny(), file)
    assert refusal(lambda: find_origin(str(file), None)) == (
        f"{file}: must record its network, as exports do, got a file without it. Name the network: "
        f"ablate evaluate NAME --checkpoint {file}."
    )
    assert refusal(lambda: find_origin(str(file), "w.pt")) == (
        f"`checkpoint`: applies only to a named network, got it with the file {file}. Leave one of "
        "them out."
    )


# --- files with their code


@pytest.fixture
def program(tmp_path: Path, tiny: Tiny) -> Callable[[str], Path]:
    def write(kind: str) -> Path:
        file = tmp_path / f"{kind}.pt"
        example = torch.zeros(2, 3, 8, 8)
        if kind == "TorchScript":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                torch.jit.save(torch.jit.trace(tiny, example), file)
            return file
        file = file.with_suffix(".pt2")
        shapes = ({0: torch.export.Dim("images")},) if kind == "torch.export" else None
        torch.export.save(torch.export.export(tiny, (example,), dynamic_shapes=shapes), file)
        return file

    return write


@pytest.mark.parametrize(
    "kind", ["TorchScript", pytest.param("torch.export", marks=pytest.mark.slow)]
)
def test_a_program_gives_the_logits_of_its_network(
    program: Callable[[str], Path], kind: str, tiny: Tiny, images: Tensor
) -> None:
    file = program(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        origin = find_origin(str(file), None)
        is_script = isinstance(load_program(file), torch.jit.ScriptModule)
        assert is_script == (kind == "TorchScript")
        subject = build_subject(origin, 4, SAID)
    assert (origin.kind, origin.image_size) == ("program", None)
    assert sum(weights.numel() for weights in subject.parameters()) == 22
    assert subject.identity.startswith("sha256:")
    probe(subject, (3, 8, 8))
    with torch.inference_mode():
        found = subject.train().eval()(images)
        assert torch.allclose(found, tiny(normalized(images)), atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["TorchScript", pytest.param("torch.export", marks=pytest.mark.slow)]
)
def test_a_program_whose_weights_were_damaged_is_refused(
    program: Callable[[str], Path], kind: str, tiny: Tiny
) -> None:
    """Torch would load and score it."""
    file = program(kind)
    weight = next(tiny.parameters()).detach().numpy().tobytes()
    content = file.read_bytes()
    assert weight in content
    file.write_bytes(content.replace(weight, weight[:-1] + bytes([weight[-1] ^ 1])))
    text = refusal(lambda: load_program(file), DataError)
    assert text.startswith(f"{file}: must be a complete {kind} file, got ")
    assert "a wrong checksum of " in text


def test_files_that_are_no_programs(tmp_path: Path, program: Callable[[str], Path]) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(Tiny().state_dict(), weights)
    rule = (
        "must be a network with its code (TorchScript, torch.export), got a file without code. If "
        "it is a state dict, name its network: ablate evaluate NAME --checkpoint"
    )
    assert refusal(lambda: load_program(weights), DataError) == f"{weights}: {rule} {weights}."
    (tmp_path / "text.pt").write_text("no network")
    assert rule in refusal(lambda: load_program(tmp_path / "text.pt"), DataError)
    gone = tmp_path / "gone.pt"
    assert refusal(lambda: load_program(gone), DataError) == (
        f"{gone}: must be a file, got no such file. Correct the path."
    )
    file = program("TorchScript")
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, b"damaged" if name.endswith("/data.pkl") else part)
    text = refusal(lambda: load_program(file), DataError)
    assert text.startswith(f"{file}: must be a complete TorchScript file, got ")
    assert text.endswith(". Write it again with this torch.")


# --- in memory, and what is shown to it


def of_memory(network: nn.Module, normalization: Normalization = SAID, **options: Any) -> Subject:
    return build_subject(find_origin(network, None), 4, normalization, **options)


def test_a_network_in_memory_is_wrapped_and_not_changed(tiny: Tiny, images: Tensor) -> None:
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    subject = of_memory(tiny)
    assert torch.allclose(subject.eval()(images), tiny(normalized(images)), atol=1e-6)
    assert torch.equal(tiny(images), Tiny.forward(tiny, images))
    assert all(torch.equal(tiny.state_dict()[key], value) for key, value in before.items())
    assert (subject.name, subject.statistics) == ("Tiny", Statistics(MEAN, STD))
    assert subject.identity == of_memory(tiny).identity
    with torch.no_grad():
        tiny.linear.bias += 1
    assert subject.identity != of_memory(tiny).identity


def test_a_network_of_ablates_own_normalises_itself() -> None:
    network = build_model(ModelSettings(name="resnet8"), 4, MEAN, STD, 0).eval()
    subject = of_memory(network, SILENT)
    shown = torch.rand(2, 3, 16, 16)
    assert torch.equal(subject.eval()(shown), network(shown))
    assert refusal(lambda: of_memory(network, Normalization("imagenet")), ParameterError) == (
        "`normalization`: ResNet has its own, mean (0.4, 0.5, 0.6) and std (0.2, 0.25, 0.5), got a "
        "different one. Leave the option out."
    )


def test_other_sizes_are_resized_after_they_came(tiny: Tiny) -> None:
    subject = of_memory(tiny, Normalization("none"), image_size=8)
    large = torch.rand(2, 3, 32, 32)
    small = nn.functional.interpolate(large, size=(8, 8), mode="bilinear", antialias=True)
    assert torch.allclose(subject.eval()(large), tiny(small), atol=1e-6)


def test_a_network_of_one_channel_is_shown_the_luma() -> None:
    class Grey(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3)).expand(-1, 4)

    subject = of_memory(Grey(), Normalization(mean=(0.5,), std=(0.5,)))
    red = torch.zeros(1, 3, 8, 8)
    red[:, 0] = 1
    assert subject(red)[0, 0].item() == pytest.approx((0.299 - 0.5) / 0.5)
    assert subject(red[:, :1])[0, 0].item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("output", "got"),
    [
        (lambda logits: (logits, logits), "a tuple of 2"),
        (lambda logits: {"out": logits, "aux": logits}, "a dict of out, aux"),
        (lambda logits: logits[:1], "shape (1, 4)"),
    ],
)
def test_other_outputs_are_refused(output: Callable[[Tensor], Any], got: str) -> None:
    class Other(Tiny):
        def forward(self, images: Tensor) -> Any:
            return output(super().forward(images))

    subject = of_memory(Other())
    assert refusal(lambda: probe(subject, (3, 8, 8)), ParameterError) == (
        f"`model`: Other must return the logits (images, classes) as one tensor, got {got}. Return "
        "only logits, without features or auxiliary outputs."
    )


@pytest.mark.parametrize(
    "output", [lambda logits: {"logits": logits}, lambda logits: SimpleNamespace(logits=logits)]
)
def test_logits_are_taken_out_of_what_has_them(output: Callable[[Tensor], Any]) -> None:
    class Other(Tiny):
        def forward(self, images: Tensor) -> Any:
            return output(super().forward(images))

    assert probe(of_memory(Other()), (3, 8, 8)).outputs == 4


def test_another_width_is_refused() -> None:
    subject = of_memory(Tiny(classes=7))
    assert refusal(lambda: probe(subject, (3, 8, 8)), ParameterError) == (
        "`model`: Tiny must have an output for each of the data set's 4 classes, got 7. Choose the "
        "data set that it was trained on, or another network."
    )


class Dropped(Tiny):
    """Drops features in eval mode too, as the function does by default."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(images))


class OfBatch(Tiny):
    """Normalises by the batch in eval mode too."""

    def forward(self, images: Tensor) -> Tensor:
        mean, var = torch.zeros(3), torch.ones(3)
        shown = nn.functional.batch_norm(images, mean, var, training=True)
        logits: Tensor = self.linear(shown.mean(dim=(2, 3)))
        return logits


UNSTEADY = (
    "must give an image the same logits each time and in any batch, got different ones. Write it "
    "after .eval()."
)


@pytest.mark.parametrize("kind", [Dropped, OfBatch])
def test_answers_that_change_are_refused(kind: type[Tiny]) -> None:
    torch.manual_seed(0)
    subject = of_memory(kind())
    assert refusal(lambda: probe(subject, (3, 8, 8)), ParameterError) == (
        f"`model`: {kind.__name__} {UNSTEADY}"
    )


@pytest.mark.parametrize(
    ("layer", "kind"), [(nn.BatchNorm1d(4), "TorchScript"), (nn.Dropout(), "torch.export")]
)
def test_a_file_that_was_written_in_training_mode(
    layer: nn.Module, kind: str, tmp_path: Path, tiny: Tiny
) -> None:
    network, example = nn.Sequential(tiny, layer).train(), torch.rand(4, 3, 8, 8)
    file = tmp_path / "training.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "TorchScript":
            file = file.with_suffix(".pt")
            torch.jit.save(torch.jit.trace(network, example, check_trace=False), file)
        else:
            shapes = ({0: torch.export.Dim("images")},)
            torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), file)
    subject = build_subject(find_origin(str(file), None), 4, SAID)
    text = refusal(lambda: probe(subject, (3, 8, 8)), ParameterError)
    assert text.startswith(f"`model`: {file} must ")
    assert text.endswith(". Write it after .eval().")


def test_probabilities_are_noticed() -> None:
    softmax = nn.Sequential(Tiny(), nn.Softmax(dim=1))
    assert probe(of_memory(softmax), (3, 8, 8)).gives_probabilities
    assert not probe(of_memory(Tiny()), (3, 8, 8)).gives_probabilities
    logarithms = nn.Sequential(Tiny(), nn.LogSoftmax(dim=1))
    assert not probe(of_memory(logarithms), (3, 8, 8)).gives_probabilities


def test_more_outputs_than_labels_where_those_alone_are_known() -> None:
    more = of_memory(Tiny(classes=7), may_have_more=True)
    assert probe(more, (3, 8, 8)).outputs == 7
    assert "must have an output for each" in refusal(
        lambda: probe(of_memory(Tiny(classes=3), may_have_more=True), (3, 8, 8)), ParameterError
    )


def test_what_is_no_network(tiny: Tiny) -> None:
    assert find_origin(tiny, None).name == "Tiny"
    assert refusal(lambda: find_origin(lambda images: images, None), ParameterError) == (
        "`model`: must be a torch.nn.Module, a name or a file, got <lambda>. Put the function into "
        "the forward of a module."
    )
    assert "got int." in refusal(lambda: find_origin(3, None), ParameterError)


def test_images_that_it_does_not_take_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    subject = of_memory(network)
    probe(subject, (3, 16, 16))
    text = refusal(lambda: probe(subject, (3, 8, 8)), ParameterError)
    assert text.startswith(
        "`model`: Sequential must take 3 images of 8 x 8 at once, got RuntimeError:"
    )


def test_grey_images_are_shown_to_three_channels(tiny: Tiny) -> None:
    grey = torch.rand(2, 1, 8, 8)
    expected = tiny(normalized(grey.expand(-1, 3, -1, -1)))
    assert torch.allclose(of_memory(tiny).eval()(grey), expected, atol=1e-6)


# --- normalisation


def test_nothing_is_guessed(program: Callable[[str], Path], tmp_path: Path) -> None:
    rule = "whose normalisation is unknown, got none. Give what it was trained with: "
    file = program("TorchScript")
    told = refusal(lambda: build_subject(find_origin(str(file), None), 4, SILENT))
    assert told == (
        f"`mean` and `std`: must be given for {file}, {rule}`normalization` imagenet (mean 0.485, "
        "0.456, 0.406, as torchvision's), dataset (mean and std of the training images), none "
        "(images in [0, 1], or the network normalises itself), or `mean=[0.5, 0.5, 0.5]` "
        "`std=[0.5, 0.5, 0.5]` (images in [-1, 1], or your numbers)."
    )
    assert rule in refusal(lambda: of_memory(Tiny(), Normalization("auto")))
    bare = build_model(ModelSettings(name="resnet8"), 4, MEAN, STD, 0).state_dict()
    for key in ("normalize.mean", "normalize.std"):
        del bare[key]
    torch.save(bare, tmp_path / "bare.pth")
    origin = find_origin("resnet8", str(tmp_path / "bare.pth"))
    assert f"for resnet8, {rule}" in refusal(lambda: build_subject(origin, 4, SILENT))
    assert build_subject(origin, 4, SAID).statistics == Statistics(*_float32(MEAN, STD))
    given = Normalization("dataset", dataset=lambda: Statistics((0.1,) * 3, (0.2,) * 3))
    found = build_subject(origin, 4, given).statistics
    assert found is not None
    assert found.mean == pytest.approx((0.1,) * 3)


@pytest.mark.parametrize("model", ["resnet8", "torchvision:squeezenet1_1"])
def test_what_the_weights_carry_is_not_overruled(tmp_path: Path, model: str) -> None:
    export(tmp_path / "trial.safetensors", model=model, image_size=32)
    origin = find_origin(str(tmp_path / "trial.safetensors"), None)
    assert build_subject(origin, 4, SAID).statistics == Statistics(*_float32(MEAN, STD))
    for other in (Normalization("imagenet"), Normalization(mean=(0.5,) * 3, std=(0.5,) * 3)):
        assert refusal(lambda said=other: build_subject(origin, 4, said), ParameterError) == (
            f"`normalization`: {model} has its own, mean (0.4, 0.5, 0.6) and std (0.2, 0.25, 0.5), "
            "got a different one. Leave the option out."
        )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            Normalization("imagenet", mean=MEAN, std=STD),
            "`normalization`: cannot be combined with `mean` and `std`, got both. Leave one of "
            "them out.",
        ),
        (
            Normalization(mean=MEAN),
            "`mean` and `std`: must have a number for each channel, 3 or 1, got 3 and 0. Write "
            "`mean=[0.5, 0.5, 0.5]` `std=[0.5, 0.5, 0.5]`.",
        ),
        (
            Normalization(mean=MEAN, std=(0.5, 0.0, 0.5)),
            "`std`: must be above 0, up to 1, since images are in [0, 1], got 0. Correct it.",
        ),
        (
            Normalization(mean=(123.7, 116.3, 103.5), std=STD),
            "`mean`: must be from 0 to 1, since images are in [0, 1], got 123.7. Divide it by 255.",
        ),
    ],
)
def test_normalisations_that_contradict_themselves(said: Normalization, message: str) -> None:
    assert refusal(said.check, ParameterError) == message


def test_statistics_of_a_data_set_that_is_not_there() -> None:
    assert refusal(lambda: of_memory(Tiny(), Normalization("dataset")), ParameterError) == (
        "`normalization`: dataset needs a data set with known training images, got none. Give "
        "`mean` and `std`."
    )


# --- by order


def test_order_needs_a_file_that_keeps_one(tmp_path: Path, program: Callable[[str], Path]) -> None:
    export_weights(
        build_model(ModelSettings(name="resnet8"), 4, MEAN, STD, 1), tmp_path / "w.safetensors"
    )
    origin = find_origin("resnet8", str(tmp_path / "w.safetensors"))
    assert refusal(lambda: build_subject(origin, 4, SAID, by_order=True)) == (
        "`checkpoint_order`: needs a `checkpoint` written by torch.save, got "
        f"{tmp_path}/w.safetensors, which keeps no order. Leave it out."
    )
    file = find_origin(str(program("TorchScript")), None)
    assert "got " + file.name in refusal(lambda: build_subject(file, 4, SAID, by_order=True))
