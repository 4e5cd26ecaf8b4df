"""Names that only a network, or torch, knows: looked up where a study asks for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.errors import StudyFileError
from ablate.lifecycle.place import place_of_file

Write = Callable[..., Path]
RESNET = "torchvision:resnet18"


def refusal(file: Path) -> str:
    with pytest.raises(StudyFileError) as error:
        place_of_file(file)
    return str(error.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("resnet8", ["stem", "stage2.0.conv1"]),
        pytest.param("timm:resnet18", ["stage4", "layer2.1.bn1"], marks=pytest.mark.slow),
    ],
)
def test_taps_and_module_paths_are_layers(
    write_study: Write, model: str, layers: list[str]
) -> None:
    file = write_study(model={"name": model}, loss={"fma": {"layers": layers}}, space={})
    assert place_of_file(file).study is not None


def test_a_layer_that_does_not_exist_has_a_nearest(write_study: Write) -> None:
    loss = {"fma": {"layers": ["layer2.1.bn9"]}}
    assert refusal(write_study(model={"name": RESNET}, loss=loss, space={})).startswith(
        "loss.fma.layers[0]: unknown layer, got 'layer2.1.bn9'. Did you mean layer2.1.bn"
    )


def test_a_bare_name_of_torchvision_is_told_from_a_misspelt_one(write_study: Write) -> None:
    assert refusal(write_study(model={"name": "resnet18"})) == (
        "model.name: unknown model, got 'resnet18'. Did you mean torchvision:resnet18?"
    )


def test_a_wrong_callable_is_one_problem_of_the_file(write_study: Write) -> None:
    """With its line, and beside all others."""
    data = {"name": "no_module:data", "validation": {"fraction": 0.2}}
    file = write_study(
        dataset=data, model={"name": "my_nets:nte"}, finetune={"budget": {"epochs": -1}}
    )
    (file.parent / "my_nets.py").write_text("def net(classes):\n    raise KeyError('lost')\n")
    with pytest.raises(StudyFileError) as error:
        place_of_file(file)
    found = [problem.message for problem in error.value.problems]
    assert [text.partition(": ")[0] for text in found] == [
        "dataset.name",
        "model.name",
        "finetune.budget.epochs",
    ]
    assert "got 'no_module:data' and no module no_module. Install it or put" in found[0]
    assert "my_nets must have nte, got a module without it" in found[1]
    assert found[1].endswith("Did you mean net?")
    assert all(problem.line for problem in error.value.problems)


def test_a_network_that_cannot_be_built_has_no_layers(write_study: Write) -> None:
    """That is reported, and nothing of its layers."""
    file = write_study(model={"name": "my_nets:net"}, space={"loss.fma.layers": {"subset": "taps"}})
    (file.parent / "my_nets.py").write_text("def net(classes):\n    raise KeyError('lost')\n")
    with pytest.raises(StudyFileError) as error:
        place_of_file(file)
    (problem,) = error.value.problems
    assert problem.message.startswith("model.name: my_nets:net must return a network when called")
    assert problem.message.endswith("got KeyError: 'lost'. Fix it.")


def test_the_taps_of_a_network_of_the_user_s_own_are_searched(write_study: Write) -> None:
    file = write_study(model={"name": "my_net:make"}, space={"loss.fma.layers": {"subset": "taps"}})
    (file.parent / "my_net.py").write_text(
        "from torch import nn\n\n\n"
        "def make(classes):\n"
        "    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)]\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *head)\n"
        "    net.taps = {'early': '0', 'late': '1'}\n"
        "    return net\n"
    )
    study = place_of_file(file).study
    assert study is not None
    file.write_text(file.read_text().replace("taps", "[early, lat]"))
    assert "loss.fma.layers: unknown layer, got 'lat'. Did you mean late?" in refusal(file)


@pytest.mark.slow
def test_torch_is_not_loaded_where_the_name_says_all(write_study: Write) -> None:
    file = write_study(
        model={"name": "resnet20"},
        loss={"fma": {"layers": ["stage1"]}},
        space={"augment.strength": {"float": [0.2, 1.0]}},
    )
    code = (
        "import sys; from pathlib import Path; from ablate.lifecycle.place import place_of_file\n"
        f"place_of_file(Path({str(file)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_list_of_the_suite_names_corruptions_and_text_a_suite(write_study: Write) -> None:
    metrics = [{"metric": "val_accuracy.fog.2"}, {"metric": "val_accuracy.digital"}]
    suite = {"suite": ["fog", "jpeg_compression"], "severities": [2]}
    assert place_of_file(write_study(robustness=suite, objectives=metrics)).study is not None
    text = refusal(write_study(robustness={"suite": ["fog", "jpeg"]}))
    assert text.startswith("robustness.suite[1]: unknown corruption, got 'jpeg'. Did you mean jpeg")


def test_a_path_is_of_the_folder_that_a_link_leads_to(tmp_path: Path) -> None:
    for folder in ("real/studies", "real/spaces", "here"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "real/spaces/rate.yaml").write_text("finetune.learning_rate: {float: [0.01, 1]}\n")
    study = "version: 1\nname: a\ndataset: {name: digits}\nmodel: {name: resnet8}\n"
    enqueue = "search: {enqueue: [{finetune.learning_rate: 0.1}, {finetune.learning_rate: 0.2}]}\n"
    (tmp_path / "real/studies/a.yaml").write_text(f"{study}space: ../spaces/rate.yaml\n{enqueue}")
    (tmp_path / "here/studies").symlink_to(tmp_path / "real/studies")
    read = place_of_file(tmp_path / "here/studies/a.yaml").study
    assert read is not None
    assert list(read.space) == ["finetune.learning_rate"]
    # Of a file that is not there one line is said, not one for each key that might be in it.
    (tmp_path / "real/spaces/rate.yaml").unlink()
    with pytest.raises(StudyFileError) as caught:
        place_of_file(tmp_path / "here/studies/a.yaml")
    assert len(caught.value.problems) == 1


def test_a_space_is_no_study(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "loss.terms: {choice: [clean, clean+da]}\n"
        "da: {when: {loss.terms: clean+da}, parameters: {loss.da.weight: {float: [0, 1]}}}\n"
    )
    with pytest.raises(StudyFileError) as caught:
        place_of_file(file)
    (problem,) = caught.value.problems
    assert problem.message.startswith("must be a study file, got a search space. Name it")


def test_a_search_of_nothing_is_refused(
    write_study: Write, ablate: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for space in ({}, {"loss.terms": {"choice": ["clean+da"]}}):
        file = write_study(space=space)
        for command in ("check", "launch"):
            done = ablate(command, file)
            assert done.returncode == 2
            assert "trials needs a parameter with two values or more, got " in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert ablate("check", write_study(space={}, search={"trials": 1})).returncode == 0
