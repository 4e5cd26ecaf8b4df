"""The studies that come with ablate: listed, written to be edited, and named as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run_here

from ablate.errors import StudyFileError, UsageError
from ablate.lifecycle.place import locate, place_of_file
from ablate.lifecycle.shipped import paths_from_here, shipped_studies, write_shipped

ROOT = Path(__file__).parents[2]
NAMES = sorted(file.stem for file in (ROOT / "studies").glob("*.yaml"))


def test_each_is_listed_with_its_question(tmp_path: Path) -> None:
    *lines, last = run_here("init", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(line.endswith("?") for line in lines)
    assert last == "ablate init NAME writes one to edit; ablate launch NAME runs it"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_the_study(name: str, tmp_path: Path) -> None:
    files = write_shipped(name, tmp_path / "new" / "folder")
    assert files[0] == tmp_path / "new" / "folder" / f"{name}.yaml"
    assert "studies/" not in files[0].read_text()
    written, shipped = place_of_file(files[0]).study, place_of_file(shipped_studies()[name]).study
    assert written is not None
    assert shipped is not None
    path = written.dataset.path
    if path is not None:  # beside the file now, and not beside its folder
        assert shipped.dataset.path is not None
        assert (ROOT / "studies" / shipped.dataset.path).resolve() == (ROOT / path).resolve()
        dataset = written.dataset.model_copy(update={"path": shipped.dataset.path})
        written = written.model_copy(update={"dataset": dataset})
    assert written == shipped


def test_init_says_what_it_wrote_and_how_to_run_it(tmp_path: Path) -> None:
    result = run_here("init", "quickstart", cwd=tmp_path)
    assert result.stdout == (
        "wrote quickstart.yaml and search_spaces/joint.yaml\n"
        "run it: ablate launch quickstart.yaml\n"
    )
    assert run_here("check", "quickstart.yaml", cwd=tmp_path).returncode == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_shipped("quickstart", tmp_path)
    write_shipped("cifar10_joint", tmp_path)  # with the same space
    space = tmp_path / "search_spaces" / "joint.yaml"
    end = "must not exist, got a file. Name another FOLDER, or move the file."
    for other in (b"loss.fma.weight: {float: [0.1, 1]}\n", "# für alle\n".encode("latin-1")):
        space.write_bytes(other)
        with pytest.raises(UsageError) as refused:
            write_shipped("imagenet_joint", tmp_path)
        assert str(refused.value) == f"{space}: {end}"
    assert not (tmp_path / "imagenet_joint.yaml").exists()
    result = run_here("init", "quickstart", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, f"ablate: quickstart.yaml: {end}\n")


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("quikstart", ".", "quikstart: must be a shipped study, got another name. Did you mean "
         "quickstart?"),
        ("quickstart", "file", "file: must be a folder, got a file. Name another FOLDER."),
        ("quickstart", "/proc/no", "/proc/no: must be writable, got: No such file or directory. "
         "Name another FOLDER."),
    ],
)  # fmt: skip
def test_init_refuses(name: str, folder: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run_here("init", name, folder, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, f"ablate: {said}\n")


def test_a_shipped_study_is_named_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_STORAGE", raising=False)
    place = place_of_file(Path("quickstart"))
    assert place.file == ROOT / "studies" / "quickstart.yaml"
    assert place == locate("quickstart")
    assert place.folder == tmp_path / "runs" / "quickstart"
    result = run_here("check", "quickstart")
    assert result.stdout.startswith(f"{place.file}: ok: study quickstart, 16 trials")


def test_a_path_goes_before_a_shipped_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shipped("quickstart", tmp_path)
    with pytest.raises(UsageError) as refused:
        place_of_file(Path("quickstart"))
    assert str(refused.value) == (
        "quickstart: must name one study, got a shipped one and the file quickstart.yaml. Write "
        "quickstart.yaml, or run the shipped one in another folder."
    )
    Path("quickstart").mkdir()
    with pytest.raises(StudyFileError, match="must be a file, got a folder"):
        place_of_file(Path("quickstart"))


def test_paths_that_are_set_are_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.pt").touch()
    kept = ["search.trials=4", "baseline.checkpoint=torchvision:DEFAULT", "run.checkpoints=s3://b"]
    assert paths_from_here([*kept, "baseline.checkpoint=net.pt", "run.checkpoints=~/states"]) == [
        *kept,
        f'baseline.checkpoint="{tmp_path / "net.pt"}"',
        f'run.checkpoints="{Path.home() / "states"}"',
    ]
    for key in ("dataset.path", "dataset.unlabeled", "robustness.frost_images"):
        assert paths_from_here([f"{key}=data"]) == [f'{key}="{tmp_path / "data"}"']
